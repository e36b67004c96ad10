"""Signs with a key that never leaves AWS KMS (securesystemslib's ``awskms:`` URIs).

The digest is computed here, and only the digest is sent (KMS API reference, ``Sign`` with ``MessageType``
DIGEST). The caller needs ``kms:GetPublicKey`` and ``kms:Sign`` on the key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from jenkins_release.aws.errors import error_code, translate
from jenkins_release.aws.session import aws_client
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.signing import AWSSigner, SSlibKey
from jenkins_release.base.waits import Limits

SCHEME = "awskms:"
_WRITE = "write awskms:KEY-ID, awskms:alias/NAME, or awskms: and the key's ARN"
_MAKE = "create a key with the usage SIGN_VERIFY and the spec ECC_NIST_P256"
_HINTS: Mapping[str, str] = {
    "NotFoundException": "check key, account and region; an alias is written awskms:alias/NAME",
    "DisabledException": "enable the key, or sign with another one",
    "KMSInvalidStateException": "the key is pending deletion, import or replica creation: use another one",
    "InvalidKeyUsageException": _MAKE,
    "UnsupportedOperationException": _MAKE,
    "InvalidArnException": _WRITE,
    "ValidationException": _WRITE,
}


class KmsSigner(AWSSigner):
    """securesystemslib's signer, with our client and our errors.

    Args:
        uri: ``awskms:`` and a key id, key ARN, alias name or alias ARN.
        region: AWS region if neither the URI nor the environment names it.
        client: A boto3 ``kms`` client instead of one from boto3's credential chain.
        environ: The environment, for the region.
        limits: How long a call may take.

    Raises:
        ConfigurationError: No key or region, or not a key that signs with ECDSA on P-256; later, from
            ``sign``, a key that currently cannot sign.
        RemoteError: KMS refused or failed; the message names the missing permission.
    """

    def __init__(
        self,
        uri: str,
        *,
        region: str = "",
        client: Any = None,
        environ: Mapping[str, str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        # Not AWSSigner's own client, which has no timeouts and uses boto3's default region.
        self.aws_key_id = uri.removeprefix(SCHEME)
        if not self.aws_key_id:
            raise ConfigurationError(f"the key URI {uri!r} names no key", hint=_WRITE)
        made = client or aws_client("kms", _region(self.aws_key_id, region, environ), limits=limits)
        self.client = _Kms(made, uri)
        try:
            self._public_key = _p256(self.client.get_public_key(KeyId=self.aws_key_id), uri)
        except BaseException:
            self.close()
            raise
        self.aws_algo = self.aws_algos[self._public_key.scheme]

    def close(self) -> None:
        """Close the connections; signing opens new ones."""
        self.client.close()


class _Kms:
    """The two calls, with their errors translated.

    AWSSigner would log botocore's errors, and the answer to a wrong signature quotes the request.
    """

    def __init__(self, client: Any, uri: str) -> None:
        self._client = client
        self._uri = uri

    def get_public_key(self, **given: Any) -> Any:
        return self._call("get_public_key", f"read the public key of {self._uri}", given)

    def sign(self, **given: Any) -> Any:
        return self._call("sign", f"sign with {self._uri}", given)

    def close(self) -> None:
        self._client.close()

    def _call(self, action: str, what: str, given: Mapping[str, Any]) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, action)(**given)
        except (BotoCoreError, ClientError) as error:
            code, found = error_code(error), translate(error, what)
            if code in _HINTS and not found.retryable:
                said = error.response.get("Error", {}).get("Message", "")
                raise ConfigurationError(f"cannot {what}: {code}: {said}", hint=_HINTS[code]) from error
            raise found from error


def _region(key: str, region: str, environ: Mapping[str, str] | None) -> str:
    parts = key.split(":")
    if parts[0] == "arn" and len(parts) > 3:
        return parts[3]
    known = os.environ if environ is None else environ
    return known.get("AWS_REGION") or known.get("AWS_DEFAULT_REGION") or region


def _p256(answer: Mapping[str, Any], uri: str) -> SSlibKey:
    try:
        key = serialization.load_der_public_key(answer["PublicKey"])
    except (KeyError, ValueError, UnsupportedAlgorithm):
        key = None
    usable = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    if key is None or not usable or answer.get("KeyUsage") != "SIGN_VERIFY":
        found = f"{answer.get('KeySpec', 'a key')} for {answer.get('KeyUsage', 'an unknown use')}"
        raise ConfigurationError(f"{uri} is {found}, expected ECC_NIST_P256 for SIGN_VERIFY", hint=_MAKE)
    return SSlibKey.from_crypto(key)
