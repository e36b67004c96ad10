"""The journal: genuine entries tell who pushed what; anything else is as if it were not there."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner

from jenkins_release.records.attestation import PROMOTION, Place, TrustedKey, sign_statement
from jenkins_release.records.base import canonical_json
from jenkins_release.records.journal import (
    JournalEntry,
    JournalImage,
    PromotionRun,
    push_of,
    read_journal,
    runs_of,
    sign_entry,
)

SIGNER, STRANGER = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
KEYS = (TrustedKey("jenkins", frozenset({"promotion"}), SIGNER.public_key),)
CANDIDATE, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
CONFIG, DIGEST = f"sha256:{'c' * 64}", f"sha256:{'d' * 64}"
HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

ATTESTATION = sign_statement(PROMOTION, {}, {}, place=Place(1, ""), signed_at=START, signer=SIGNER)


def run(name: str = "r1", *, minutes: int = 0) -> PromotionRun:
    start = START + timedelta(minutes=minutes)
    return PromotionRun(id=name, by=f"user-{name}", host="agent-1", pid=7, started_on=start, plan=OTHER)


def entry(
    event: str = "pushed", number: int = 1, *, of: PromotionRun | None = None, **more: Any
) -> JournalEntry:
    by = of or run()
    image = None
    if event in {"pushing", "pushed"}:
        digest = DIGEST if event == "pushed" else None
        image = JournalImage(name="rms", repository="skydrm/rms", config_digest=CONFIG, digest=digest)
    values: dict[str, Any] = {
        "candidate": CANDIDATE,
        "registry": HOST,
        "run": by,
        "number": number,
        "event": event,
        "at": by.started_on + timedelta(seconds=number),
        "image": image,
    }
    return JournalEntry(**(values | more))


def files(*entries: JournalEntry, signer: CryptoSigner = SIGNER) -> dict[str, bytes]:
    return {f"{n:04d}-{each.label}.json": sign_entry(each, signer) for n, each in enumerate(entries, start=1)}


def read(found: dict[str, bytes], keys: tuple[TrustedKey, ...] = KEYS) -> tuple[JournalEntry, ...]:
    return read_journal(found, CANDIDATE, HOST, keys).entries


def test_entries_read_back_in_the_order_of_their_time():
    """Whatever the files are called."""
    written = [entry("started", 1), entry("pushing", 2), entry("pushed", 3)]
    named = dict(zip(("0009-x.json", "0002-y.json", "0001-z.json"), files(*written).values(), strict=True))
    assert list(read(named)) == written


def test_a_copied_file_counts_once():
    """Under another number too."""
    one = sign_entry(entry(), SIGNER)
    assert len(read({"0001-a.json": one, "0002-a.json": one})) == 1


def altered(data: bytes) -> bytes:
    envelope = json.loads(data)
    envelope["payload"] = ("B" if envelope["payload"][0] == "A" else "A") + envelope["payload"][1:]
    return canonical_json(envelope)


def revoked(key: TrustedKey) -> TrustedKey:
    return TrustedKey(key.name, key.roles, key.key, revoked=True)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not valid JSON"),
        (b"null", "not a journal entry"),
        (b"{}", "not a journal entry"),
        (b"[" * 50_000, "not valid JSON"),
        (b" " * 70_000, "at most"),
        (sign_entry(entry(), SIGNER)[:-20], "not valid JSON"),
        (altered(sign_entry(entry(), SIGNER)), "does not match"),
        (sign_entry(entry(), STRANGER), "not signed by a trusted key"),
        (sign_entry(entry(candidate=OTHER), SIGNER), "another candidate.json"),
        (ATTESTATION, "payload type"),
    ],
    ids=[
        "empty", "null", "object", "deep", "large", "cut short", "altered", "stranger", "other candidate",
        "attestation",
    ],
)  # fmt: skip
def test_what_is_not_genuine_is_left_out_with_its_reason(data: bytes, reason: str):
    """And what is genuine beside it counts."""
    reading = read_journal({"0001-x.json": data, **files(entry(), entry())}, CANDIDATE, HOST, KEYS)
    assert [each.event for each in reading.entries] == ["pushed"]
    (line,) = reading.ignored
    assert reason in line
    assert "0001-x.json" in line


@pytest.mark.parametrize(
    "key",
    [
        TrustedKey("qa", frozenset({"qa"}), SIGNER.public_key),
        revoked(KEYS[0]),
        TrustedKey("old", frozenset({"promotion"}), SIGNER.public_key, valid_until=START),
        TrustedKey("new", frozenset({"promotion"}), SIGNER.public_key, valid_from=START + timedelta(days=1)),
    ],
    ids=["role", "revoked", "expired", "not yet valid"],
)
def test_an_entry_needs_a_key_that_counts(key: TrustedKey):
    """Role, revocation and validity as for attestations."""
    assert read(files(entry()), (key,)) == ()


def test_a_promotion_to_another_registry_is_another_story():
    """Left out without a word where one registry is asked for."""
    elsewhere = entry(registry="other.example")
    assert read_journal(files(elsewhere), CANDIDATE, HOST, KEYS).entries == ()
    assert read_journal(files(elsewhere), CANDIDATE, HOST, KEYS).ignored == ()
    assert read_journal(files(elsewhere), CANDIDATE, None, KEYS).entries == (elsewhere,)


@given(st.dictionaries(st.text(min_size=1), st.binary() | st.text().map(str.encode), max_size=4))
def test_no_bytes_stop_the_reading(found: dict[str, bytes]):
    """Everything is ignored, nothing is raised."""
    reading = read_journal(found, CANDIDATE, HOST, KEYS)
    assert reading.entries == ()
    assert len(reading.ignored) == len(found)


@given(st.data())
def test_no_flipped_bit_makes_another_entry(data: st.DataObject):
    """One changed bit: the entry as it was written, or none."""
    genuine = entry()
    envelope = bytearray(sign_entry(genuine, SIGNER))
    place = data.draw(st.integers(0, len(envelope) * 8 - 1))
    envelope[place // 8] ^= 1 << place % 8
    assert read({"0001-x.json": bytes(envelope)}) in {(), (genuine,)}


def test_the_last_word_about_an_image_tells_who_pushed_it():
    """A run says that it pushes only while the image is absent: so the last one brought it."""
    first, second = run("r1"), run("r2", minutes=5)

    def pusher(*entries: JournalEntry) -> str | None:
        found = push_of(entries, "skydrm/rms", DIGEST, CONFIG)
        return found.run.id if found else None

    assert pusher() is None
    assert pusher(entry("started", of=first)) is None
    assert pusher(entry("pushing", of=first)) == "r1"
    assert pusher(entry("pushing", of=first), entry("started", of=second)) == "r1"
    assert pusher(entry("pushed", of=first), entry("pushing", of=second)) == "r2"


@pytest.mark.parametrize("changed", ["repository", "identity", "digest"])
def test_an_entry_about_another_image_tells_nothing(changed: str):
    """Repository, config and manifest have to be those in the registry."""
    asked = {"repository": "skydrm/rms", "digest": DIGEST, "identity": CONFIG}
    assert push_of([entry()], **asked) is not None
    assert push_of([entry()], **(asked | {changed: OTHER})) is None


def test_runs_of_an_earlier_promotion_can_be_left_out():
    """By the moment when it was recorded."""
    entries = [entry(of=run("r2", minutes=5)), entry(of=run("r1")), entry("done", 2, of=run("r1"))]
    assert [each.id for each in runs_of(entries)] == ["r1", "r2"]
    assert [each.id for each in runs_of(entries, START + timedelta(minutes=1))] == ["r2"]
