"""Between which attestations a moment lies, and which files were renamed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from securesystemslib.signer import CryptoSigner

from jenkins_release.records.attestation import TEST_RESULT, Place, TrustedKey, sign_statement
from jenkins_release.rules.gate.chain import Chain
from jenkins_release.rules.gate.evidence import misnamed
from jenkins_release.rules.release.timeline import between, marks

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
QA = CryptoSigner.generate_ed25519()
TRUSTED = (TrustedKey("qa-key", frozenset({"qa"}), QA.public_key),)


def chain(count: int = 2, signer: CryptoSigner = QA) -> dict[str, bytes]:
    """Return sign-offs, one each hour from noon on."""
    found: dict[str, bytes] = {}
    for number in range(count):
        found[f"{number + 1:04d}-qa.dsse.json"] = sign_statement(
            TEST_RESULT,
            {"result": "PASSED"},
            {"candidate.json": "ab" * 32},
            place=Place.after(found),
            signed_at=NOON + timedelta(hours=number),
            signer=signer,
        )
    return found


@pytest.mark.parametrize(
    ("minutes", "told"),
    [
        (-1, "before 0001-qa.dsse.json was signed (2026-11-20 12:00:00 UTC)"),
        (
            30,
            "after 0001-qa.dsse.json was signed (2026-11-20 12:00:00 UTC) "
            "and before 0002-qa.dsse.json was signed (2026-11-20 13:00:00 UTC)",
        ),
        (90, "after 0002-qa.dsse.json was signed (2026-11-20 13:00:00 UTC)"),
    ],
)
def test_a_moment_is_told_by_the_attestations_around_it(minutes, told):
    """Before the first, between two, after the last."""
    assert (
        between(NOON + timedelta(minutes=minutes), marks(Chain.of(b"", chain()).documents, TRUSTED)) == told
    )


def test_only_what_a_trusted_key_signed_marks_a_time():
    """Strangers, altered and unreadable files tell no time."""
    files = chain() | {"0003-qa.dsse.json": b"{"}
    files["0001-qa.dsse.json"] = chain(signer=CryptoSigner.generate_ed25519())["0001-qa.dsse.json"]
    files["0002-qa.dsse.json"] = files["0002-qa.dsse.json"].replace(b'"payload":"e', b'"payload":"f')
    assert marks(Chain.of(b"", files).documents, TRUSTED) == []
    assert between(NOON, []) == ""
    assert {mark.candidate for mark in marks(Chain.of(b"", chain()).documents, TRUSTED)} == {"ab" * 32}


def test_a_file_that_is_not_named_as_it_was_signed_was_renamed():
    """Number and kind stand in the name."""
    files = chain()
    assert misnamed(Chain.of(b"", files)) == []
    files["0003-approval.dsse.json"] = files.pop("0002-qa.dsse.json")
    assert misnamed(Chain.of(b"", files)) == [
        "0003-approval.dsse.json was signed as 0002-qa.dsse.json: it was renamed or copied"
    ]
    assert misnamed(Chain.of(b"", {"0001-x.dsse.json": b"not one at all"})) == []
