"""Keys in AWS KMS: the signature verifies like any other, and everything that can be wrong is named.

KMS is a small client of our own around `cryptography`, which signs the digest that it is given, as AWS
does (KMS API reference, Sign with MessageType DIGEST).
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, utils
from pydantic import SecretStr

from jenkins_release.aws.kms import KmsSigner
from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.keys import load_public_key, load_signer
from jenkins_release.records.attestation import (
    TEST_RESULT,
    Place,
    TrustedKey,
    read_envelope,
    sign_statement,
    verified_by,
)

URI = "awskms:alias/skydrm-promotion"


class Kms:
    """AWS KMS with one key."""

    def __init__(self, key: Any = None, *, usage: str = "SIGN_VERIFY", spec: str = "ECC_NIST_P256") -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.usage = usage
        self.spec = spec
        self.errors: dict[str, Exception] = {}
        self.asked: list[dict[str, Any]] = []
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def get_public_key(self, **given: Any) -> dict[str, Any]:
        self._count("GetPublicKey", given)
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public = self.key.public_key().public_bytes(serialization.Encoding.DER, form)
        return {
            "PublicKey": public,
            "KeySpec": self.spec,
            "KeyUsage": self.usage,
            "SigningAlgorithms": ["ECDSA_SHA_256"],
        }

    def sign(self, **given: Any) -> dict[str, Any]:
        self._count("Sign", given)
        assert given["MessageType"] == "DIGEST"
        assert given["SigningAlgorithm"] == "ECDSA_SHA_256"
        made = self.key.sign(given["Message"], ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        return {"Signature": made, "KeyId": given["KeyId"]}

    def _count(self, action: str, given: dict[str, Any]) -> None:
        self.asked.append({"action": action, **given})
        if action in self.errors:
            raise self.errors[action]


def answered(code: str, message: str = "said", status: int = 400) -> ClientError:
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "r", "HTTPHeaders": {}},
    }
    return ClientError(response, "Sign")


def test_a_statement_signed_in_kms_counts_like_any_other(tmp_path):
    """The key id is that of the PEM file which the configuration trusts; only a digest went to KMS."""
    kms = Kms()
    signer = load_signer(URI, SecretStr("unused"), kms=kms)
    pem = tmp_path / "promotion.pub"
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem.write_bytes(kms.key.public_key().public_bytes(serialization.Encoding.PEM, form))
    trusted = TrustedKey("kms", frozenset({"qa"}), load_public_key(pem))
    assert signer.public_key.keyid == trusted.key.keyid
    data = sign_statement(
        TEST_RESULT,
        {"result": "PASSED"},
        {"candidate.json": "b" * 64},
        place=Place(1, ""),
        signed_at=datetime(2026, 11, 20, tzinfo=UTC),
        signer=signer,
    )
    envelope, _ = read_envelope(data, "x")
    assert verified_by(envelope, [trusted]) is trusted
    read, signed = kms.asked
    assert read == {"action": "GetPublicKey", "KeyId": "alias/skydrm-promotion"}
    assert signed["Message"] == hashlib.sha256(envelope.pae()).digest()


@pytest.mark.parametrize(
    ("kms", "told"),
    [
        (
            Kms(ec.generate_private_key(ec.SECP384R1()), spec="ECC_NIST_P384"),
            "is ECC_NIST_P384 for SIGN_VERIFY",
        ),
        (Kms(rsa.generate_private_key(65537, 2048), spec="RSA_2048"), "is RSA_2048 for SIGN_VERIFY"),
        (
            Kms(ed25519.Ed25519PrivateKey.generate(), spec="ECC_NIST_EDWARDS25519"),
            "is ECC_NIST_EDWARDS25519 for SIGN_VERIFY",
        ),
        (Kms(usage="KEY_AGREEMENT"), "is ECC_NIST_P256 for KEY_AGREEMENT"),
    ],
    ids=["P-384", "RSA", "Ed25519", "key agreement"],
)
def test_a_key_of_another_kind_is_named(kms, told):
    """What it is, what is expected, and what to make instead."""
    with pytest.raises(ConfigurationError, match=told) as caught:
        load_signer(URI, None, kms=kms)
    assert "expected ECC_NIST_P256 for SIGN_VERIFY" in caught.value.message
    assert "SIGN_VERIFY" in caught.value.hint
    assert kms.closed


@pytest.mark.parametrize("action", ["GetPublicKey", "Sign"])
def test_a_missing_right_is_named(action):
    """Who must be allowed what; not tried again."""
    kms = Kms()
    said = f"User: arn:aws:iam::1:user/jenkins is not authorized to perform: kms:{action} on resource: x"
    kms.errors[action] = answered("AccessDeniedException", said)
    with pytest.raises(RemoteError) as caught:
        load_signer(URI, None, kms=kms).sign(b"x")
    assert URI in caught.value.message
    assert caught.value.hint == (
        f"a policy of arn:aws:iam::1:user/jenkins must allow kms:{action}, and none may deny it"
    )
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("NotFoundException", "an alias is written awskms:alias/NAME"),
        ("DisabledException", "enable the key"),
        ("KMSInvalidStateException", "pending deletion"),
        ("InvalidKeyUsageException", "ECC_NIST_P256"),
        ("UnsupportedOperationException", "ECC_NIST_P256"),
        ("InvalidArnException", "awskms:KEY-ID"),
        ("ValidationException", "awskms:KEY-ID"),
    ],
)
@pytest.mark.parametrize("action", ["GetPublicKey", "Sign"])
def test_a_key_that_cannot_be_used_is_named(code, hint, action):
    """The URI, AWS's code and words, and what to do."""
    kms = Kms()
    kms.errors[action] = answered(code, "Alias is not found.")
    with pytest.raises(ConfigurationError) as caught:
        load_signer(URI, None, kms=kms).sign(b"x")
    assert URI in caught.value.message
    assert f"{code}: Alias is not found." in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "error",
    [
        answered("ThrottlingException"),
        answered("KMSInternalException", status=500),
        answered("DependencyTimeoutException", status=503),
        answered("KeyUnavailableException", status=500),
        EndpointConnectionError(endpoint_url="https://kms"),
    ],
    ids=["throttled", "internal", "timeout", "unavailable", "connection"],
)
def test_what_may_pass_is_worth_another_attempt(error):
    """The retry layer decides; the signer tries once."""
    kms = Kms()
    signer = load_signer(URI, None, kms=kms)
    kms.errors["Sign"] = error
    with pytest.raises(RemoteError) as caught:
        signer.sign(b"x")
    assert caught.value.retryable
    kms.errors.clear()
    signer.public_key.verify_signature(signer.sign(b"x"), b"x")
    assert [each["action"] for each in kms.asked] == ["GetPublicKey", "Sign", "Sign"]


def test_an_empty_uri_names_no_key():
    """Nothing is asked of AWS."""
    with pytest.raises(ConfigurationError, match="names no key"):
        load_signer("awskms:", None, kms=Kms())


@pytest.mark.parametrize(
    ("uri", "environ", "region", "expected"),
    [
        ("awskms:arn:aws:kms:eu-west-1:1:key/x", {"AWS_REGION": "us-east-1"}, "eu-central-1", "eu-west-1"),
        ("awskms:arn:aws:kms:eu-west-1:1:alias/x", {}, "", "eu-west-1"),
        ("awskms:alias/x", {"AWS_REGION": "us-east-1"}, "eu-central-1", "us-east-1"),
        ("awskms:alias/x", {"AWS_DEFAULT_REGION": "us-west-2"}, "eu-central-1", "us-west-2"),
        ("awskms:alias/x", {}, "eu-central-1", "eu-central-1"),
    ],
)
def test_the_region_is_that_of_the_arn_else_of_the_environment_else_configured(
    monkeypatch, no_aws, uri, environ, region, expected
):
    """The request goes to that region's endpoint; here nobody answers it."""
    from botocore import client

    seen: list[str] = []

    def refuse(self: Any, action: str, given: Any) -> None:
        seen.append(self.meta.region_name)
        raise answered("NotFoundException")

    monkeypatch.setattr(client.BaseClient, "_make_api_call", refuse)
    with pytest.raises(ConfigurationError):
        KmsSigner(uri, region=region, environ=environ)
    assert seen == [expected]


def test_no_region_at_all_is_a_clear_error(no_aws):
    """boto3 would guess none either."""
    with pytest.raises(ConfigurationError, match="no AWS region"):
        load_signer(URI, None, environ={})


def test_the_log_of_a_failure_holds_no_secret(caplog, monkeypatch):
    """The answer to a wrong signature quotes the request: neither message nor log repeat it."""
    kms = Kms()
    signer = load_signer(URI, None, kms=kms)
    kms.errors["Sign"] = answered("InvalidSignatureException", "x-amz-security-token:hunter2")
    with caplog.at_level(logging.DEBUG), pytest.raises(RemoteError) as caught:
        signer.sign(b"x")
    assert "hunter2" not in caught.value.message
    assert "hunter2" not in caplog.text
