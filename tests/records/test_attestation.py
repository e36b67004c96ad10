"""Attestations: in-toto statements in DSSE envelopes that other tools verify too."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner

from jenkins_release.base.errors import IntegrityError
from jenkins_release.records.attestation import (
    MAX_ENVELOPE_BYTES,
    TEST_RESULT,
    Place,
    TrustedKey,
    read_envelope,
    sign_statement,
    verified_by,
)

SIGNER = CryptoSigner.generate_ed25519()
KEY = TrustedKey("qa", frozenset({"qa"}), SIGNER.public_key)
OTHER_NAME = TrustedKey("old", frozenset({"qa"}), SIGNER.public_key, revoked=True)
WHEN = datetime(2026, 11, 20, tzinfo=UTC)
PLACE = Place(7, "a" * 64)


def signed(signer=SIGNER) -> bytes:
    return sign_statement(
        TEST_RESULT,
        {"result": "PASSED", "configuration": []},
        {"candidate.json": "b" * 64},
        place=PLACE,
        signed_at=WHEN,
        signer=signer,
        extension={"tester": "Quinn"},
    )


def test_an_envelope_reads_back():
    """Type, subject, predicate, number and time survive."""
    envelope, statement = read_envelope(signed(), "x")
    assert verified_by(envelope, [KEY]) is KEY
    assert statement.kind == "qa"
    assert statement.subjects == {"candidate.json": "b" * 64}
    assert (statement.sequence, statement.previous, statement.signed_at) == (7, "a" * 64, WHEN)
    assert statement.extension["tester"] == "Quinn"


def test_securesystemslib_verifies_the_envelope_by_itself():
    """The envelope is plain DSSE around an in-toto Statement v1."""
    envelope = Envelope.from_dict(json.loads(signed()))
    assert list(envelope.verify([SIGNER.public_key], 1)) == [SIGNER.public_key.keyid]
    with pytest.raises(VerificationError):
        envelope.verify([CryptoSigner.generate_ed25519().public_key], 1)
    payload = json.loads(envelope.payload)
    assert payload["_type"] == "https://in-toto.io/Statement/v1"
    assert payload["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"


def test_a_stranger_is_nobody():
    """An envelope by another key is verified by none of the trusted ones."""
    envelope, _ = read_envelope(signed(CryptoSigner.generate_ed25519()), "x")
    assert verified_by(envelope, [KEY]) is None


def test_a_changed_statement_is_an_alteration():
    """A trusted key's name on a statement that it did not sign."""
    document = json.loads(signed())
    payload = base64.b64decode(document["payload"]).replace(b"PASSED", b"FAILED")
    document["payload"] = base64.b64encode(payload).decode()
    envelope, _ = read_envelope(json.dumps(document).encode(), "x")
    with pytest.raises(IntegrityError, match="does not match"):
        verified_by(envelope, [KEY])


def rewritten(**changes) -> bytes:
    document = json.loads(signed())
    return json.dumps(document | changes).encode()


def payload(**changes) -> str:
    statement = json.loads(base64.b64decode(json.loads(signed())["payload"]))
    return base64.b64encode(json.dumps(statement | changes).encode()).decode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        signed()[:-20],
        rewritten(payload="!!!"),
        rewritten(payload=None),
        rewritten(payloadType="text/plain"),
        rewritten(signatures={}),
        rewritten(signatures=[{}]),
        rewritten(signatures=["x"]),
        rewritten(payload=base64.b64encode(b"[]").decode()),
        rewritten(payload=payload(_type="https://in-toto.io/Statement/v0.1")),
        rewritten(payload=payload(predicate={})),
        rewritten(payload=payload(subject=[{"name": "x"}])),
        b" " * (MAX_ENVELOPE_BYTES + 1),
    ],
)
def test_what_is_no_attestation_is_refused_by_name(data):
    """Truncated, oversized, of another type: one kind of error, with the file's name."""
    with pytest.raises(IntegrityError, match="0002-qa"):
        read_envelope(data, "0002-qa.dsse.json")


def test_a_place_follows_what_is_there():
    """The first has no predecessor; each other names the digest of the one before."""
    first = signed()
    assert Place.after({}) == Place(1, "")
    assert Place.after({"0001-x": b"x", "0002-x": first}) == Place(3, sha256(first).hexdigest())


@pytest.mark.parametrize("keys", [[KEY, OTHER_NAME], [OTHER_NAME, KEY]])
def test_a_key_under_two_names_is_revoked_with_either(keys):
    """The revoked entry is the answer, in whatever order they stand."""
    envelope, _ = read_envelope(signed(), "x")
    assert verified_by(envelope, keys) is OTHER_NAME


def test_a_second_signature_by_a_stranger_changes_nothing():
    """The trusted one counts."""
    envelope = Envelope.from_dict(json.loads(signed()))
    envelope.sign(CryptoSigner.generate_ed25519())
    again, _ = read_envelope(json.dumps(envelope.to_dict()).encode(), "x")
    assert verified_by(again, [KEY]) is KEY
