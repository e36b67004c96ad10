"""Statements about one image in Sigstore bundles: what is signed, who accepts it, and what is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from securesystemslib.signer import CryptoSigner, Signer, SSlibKey

from jenkins_release.aws.kms import KmsSigner
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.public_keys import public_pem
from jenkins_release.records.sigstore import (
    BUNDLE_TYPE,
    ImageStatement,
    legacy_layer,
    read_legacy,
    read_sigstore,
    sign_about_image,
)
from tests.base.test_kms import URI, Kms
from tests.fixtures.attached import verify_with_sigstore

KIND = "https://slsa.dev/verification_summary/v1"
DIGEST = "sha256:" + "7" * 64
SIGNERS: dict[str, Callable[[], Signer]] = {
    "ed25519": lambda: CryptoSigner(ed25519.Ed25519PrivateKey.generate()),
    "ecdsa": lambda: CryptoSigner(ec.generate_private_key(ec.SECP256R1())),
    "kms": lambda: KmsSigner(URI, region="eu-central-1", client=Kms()),
}


def public(signer: Signer) -> SSlibKey:
    """Return the public key of a signer."""
    assert isinstance(signer.public_key, SSlibKey)
    return signer.public_key


def made(signer: Signer) -> tuple[ImageStatement, dict[str, Any]]:
    """Return a signed statement, and its bundle as JSON."""
    statement = sign_about_image(KIND, {"verificationResult": "PASSED"}, "host/rms", DIGEST, signer)
    return statement, json.loads(statement.bundle(public(signer)))


@pytest.mark.parametrize("kind", SIGNERS)
def test_sigstores_verifier_accepts_each_kind_of_key(kind: str) -> None:
    """A file with Ed25519 or ECDSA P-256, and ECDSA P-256 in AWS KMS; nobody else's key does."""
    signer, other = SIGNERS[kind](), SIGNERS[kind]()
    statement, bundle = made(signer)
    done = verify_with_sigstore(bundle, public_pem(public(signer)).decode(), DIGEST)
    assert (done.returncode, done.stdout) == (0, KIND), done.stderr
    refused = verify_with_sigstore(bundle, public_pem(public(other)).decode(), DIGEST)
    assert refused.returncode == 1
    read = read_sigstore(json.dumps(bundle).encode(), "the bundle")
    assert read == statement
    assert read.is_signed_by(public(signer)) and not read.is_signed_by(public(other))


def test_the_same_statement_reads_back_from_the_legacy_form() -> None:
    """Its layer is the envelope alone, and the annotations are cosign's."""
    signer = SIGNERS["ecdsa"]()
    statement, bundle = made(signer)
    data, annotations = legacy_layer(statement)
    assert read_legacy(data, "the layer") == statement
    assert json.loads(data) == bundle["dsseEnvelope"]
    assert annotations == {"dev.cosignproject.cosign/signature": "", "predicateType": KIND}


def test_another_payload_is_not_what_was_signed() -> None:
    """It reads, and no key made its signature."""
    signer = SIGNERS["ed25519"]()
    _, bundle = made(signer)
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    statement["predicate"]["verificationResult"] = "FAILED"
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    read = read_sigstore(json.dumps(bundle).encode(), "the bundle")
    assert read.predicate == {"verificationResult": "FAILED"}
    assert not read.is_signed_by(public(signer))


def _envelope(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(bundle: dict[str, Any]) -> None:
        bundle["dsseEnvelope"] |= changes

    return change


def _statement(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(bundle: dict[str, Any]) -> None:
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"])) | changes
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()

    return change


def _twice(bundle: dict[str, Any]) -> None:
    bundle["dsseEnvelope"]["signatures"] *= 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_twice, "has 2 signatures, expected one"),
        (_envelope(signatures=[]), "has 0 signatures, expected one"),
        (_envelope(payloadType="text/plain"), "has a payload of 'text/plain'"),
        (_envelope(payload="%%"), "is not Base64"),
        (_envelope(payload=7), "is 7, expected a string"),
        (_envelope(signatures=[{"keyid": "x"}]), "has no 'sig'"),
        (lambda bundle: bundle.update(mediaType="application/json"), f"expected {BUNDLE_TYPE!r}"),
        (lambda bundle: bundle.update(messageSignature={}), "belongs to another kind of document"),
        (lambda bundle: bundle.pop("verificationMaterial"), "has no 'verificationMaterial'"),
        (_statement(_type="https://in-toto.io/Statement/v0.1"), "expected 'https://in-toto.io/Statement/v1'"),
        (_statement(note="x"), "has the field 'note', which cosign does not know"),
        (_statement(Predicate={}), "instead of 'predicate'"),
        (_statement(subject=[{"name": "x"}]), "has no 'digest'"),
        (_statement(predicate="x"), "expected an object"),
    ],
)
def test_what_is_no_such_bundle_is_refused(change: Callable[[dict[str, Any]], None], why: str) -> None:
    """With the reason; so is everything that programs could read differently."""
    _, bundle = made(SIGNERS["ed25519"]())
    change(bundle)
    with pytest.raises(IntegrityError) as caught:
        read_sigstore(json.dumps(bundle).encode(), "the bundle")
    assert why in caught.value.message
