"""The chain as it was read: a signature is verified once for a key, and for each key."""

from __future__ import annotations

from dataclasses import replace

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from jenkins_release.base.errors import IntegrityError
from jenkins_release.records.attestation import TrustedKey
from jenkins_release.rules.gate.chain import Chain as Attested
from jenkins_release.rules.gate.chain import Document
from tests.fixtures.gate import CANDIDATE, KEYS, QA, QA2, Chain, trusted


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[Envelope]:
    """Every envelope whose signature was verified, in order."""
    found: list[Envelope] = []
    verify = Envelope.verify

    def counted(envelope: Envelope, *arguments: object) -> object:
        found.append(envelope)
        return verify(envelope, *arguments)

    monkeypatch.setattr(Envelope, "verify", counted)
    return found


def document() -> Document:
    (found,) = Attested.of(CANDIDATE, Chain().verdict().files).documents
    return found


def test_a_good_signature_is_verified_once(verified: list[Envelope]):
    """Also if the key is trusted under another name or for something else by then."""
    found = document()
    assert [found.signed_by(KEYS).name for _ in range(3)] == ["quinn"] * 3  # type: ignore[union-attr]
    assert found.signed_by([trusted("lent", QA, "build")]).name == "lent"  # type: ignore[union-attr]
    assert len(verified) == 1


def test_a_key_that_is_revoked_by_then_is_the_revoked_one():
    """What was verified is the signature, not the key."""
    found = document()
    (key,) = [key for key in KEYS if key.name == "quinn"]
    assert found.signed_by([key]) is key
    revoked = replace(key, revoked=True)
    assert found.signed_by([key, revoked]) is revoked
    assert found.signed_by([]) is None


def test_another_key_of_the_same_id_is_not_the_one_that_was_verified():
    """An id is what a trust document says it is."""
    found = document()
    assert found.signed_by(KEYS) is not None
    other = QA2.public_key
    forged = SSlibKey(QA.public_key.keyid, other.keytype, other.scheme, other.keyval)
    key = TrustedKey("mallory", frozenset({"qa"}), forged)
    with pytest.raises(IntegrityError, match="does not match the statement"):
        found.signed_by([key])


def test_a_bad_signature_is_refused_each_time():
    """Nothing that failed once passes later."""
    good = document()
    key = next(key for key in KEYS if key.name == "quinn")
    bad = Document(good.file, good.data.replace(b'"sig":"', b'"sig":"00'))
    for _ in range(2):
        with pytest.raises(IntegrityError):
            bad.signed_by([key])


def test_what_stood_before_is_not_verified_again(verified: list[Envelope]):
    """The gate is asked again about the chain as it was."""
    chain = Attested.of(CANDIDATE, Chain().build().verdict().verdict(tester="Robin", signer=QA2).files)
    for each in chain.documents:
        each.signed_by(KEYS)
    before = chain.before(3)
    assert [each.file for each in before.documents] == [each.file for each in chain.documents][:2]
    for each in before.documents:
        each.signed_by(KEYS)
    assert len(verified) == 3
