"""Signing keys: PEM files on this machine, or AWS KMS, by securesystemslib's URIs.

``file2:PATH`` is Ed25519 or ECDSA P-256. A private key is written encrypted with a passphrase; one
that is not encrypted is accepted only if no one but its owner can read it (a Jenkins *secret file*).
``awskms:KEY`` is ECDSA P-256 (:mod:`jenkins_release.aws.kms`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from pydantic import SecretStr

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.public_keys import parse_public_key
from jenkins_release.base.signing import CryptoSigner, Signer, SSlibKey
from jenkins_release.base.waits import Limits
from jenkins_release.config.home import expand_home

KeyType = Literal["ed25519", "ecdsa-p256"]
_SCHEME = "file2:"
_KMS = "awskms:"
_PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


def generate_key(path: Path, kind: KeyType, passphrase: SecretStr) -> SSlibKey:
    """Write a new key pair: ``path`` (encrypted PKCS#8, mode 0600) and ``path`` with ``.pub``.

    Args:
        path: Private key file to make; ``.pub`` is appended for the public one.
        kind: Ed25519, or ECDSA on P-256 if your policy requires NIST curves.
        passphrase: Encrypts the private key; never empty.

    Returns:
        The public key.

    Raises:
        ConfigurationError: A file is there already, or cannot be written.
    """
    if not passphrase.get_secret_value():
        raise ConfigurationError(
            "the passphrase of a private key is empty", hint="give one of 12 or more characters"
        )
    key: _PrivateKey = (
        ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.get_secret_value().encode()),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write_new(path, private, 0o600)
    try:
        _write_new(path.with_name(path.name + ".pub"), public, 0o644)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return SSlibKey.from_crypto(key.public_key())


def public_key_of(uri: str, *, region: str = "") -> SSlibKey:
    """Read the public half of a key in AWS KMS, for ``[[trusted_keys]]``.

    Args:
        uri: ``awskms:KEY``.
        region: AWS region if the URI does not name it.

    Raises:
        ConfigurationError: No such key, or not of a usable kind.
        RemoteError: KMS refused or failed.
    """
    from jenkins_release.aws.kms import KmsSigner

    with closing(KmsSigner(uri, region=region)) as signer:
        return signer.public_key


def load_public_key(path: Path) -> SSlibKey:
    """Read a public key from PEM.

    Raises:
        ConfigurationError: No such file, not a public key, or of an unsupported kind.
    """
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"public key {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"public key {str(path)!r} cannot be read: {error}") from error
    return parse_public_key(pem, str(path))


def load_signer(
    uri: str,
    passphrase: SecretStr | None,
    *,
    region: str = "",
    environ: Mapping[str, str] | None = None,
    kms: Any = None,
    limits: Limits | None = None,
) -> Signer:
    """Open a private key for signing.

    Args:
        uri: ``file2:<path>``, or ``awskms:`` and a key id, key ARN, alias name or alias ARN.
        passphrase: Decrypts the key if it is encrypted.
        region: AWS region of the KMS key if neither the URI nor the environment names it.
        environ: The environment, for the region.
        kms: A boto3 ``kms`` client instead of one from boto3's credential chain.
        limits: How long a KMS call may take.

    Raises:
        ConfigurationError: The key is missing, unreadable, unprotected or of an unsupported kind, or the
            passphrase is wrong.
        RemoteError: KMS refused or failed.
    """
    if uri.startswith(_KMS):
        from jenkins_release.aws.kms import KmsSigner

        return KmsSigner(uri, region=region, client=kms, environ=environ, limits=limits)
    if not uri.startswith(_SCHEME):
        raise ConfigurationError(
            f"the key URI {uri!r} is not supported",
            hint="write file2:/path/to/private-key.pem, or awskms:KEY",
        )
    path = expand_home(uri.removeprefix(_SCHEME))
    try:
        pem = path.read_bytes()
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigurationError(f"private key {path} cannot be read: {error.strerror}") from error
    encrypted = b"ENCRYPTED" in pem
    if not encrypted and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(
            f"private key {path} is neither encrypted nor private (mode {stat.S_IMODE(mode):04o})",
            hint=f"chmod 600 {path}, or make a key with 'jenkins-release keys generate'",
        )
    if encrypted and passphrase is None:
        raise ConfigurationError(
            f"private key {path} is encrypted, but no passphrase is set",
            hint="set JENKINS_RELEASE_KEY_PASSPHRASE or JENKINS_RELEASE_KEY_PASSPHRASE_FILE",
        )
    secret = passphrase.get_secret_value().encode() if encrypted and passphrase else None
    try:
        key = serialization.load_pem_private_key(pem, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            f"private key {path} cannot be opened: it is not PKCS#8 in PEM, or the passphrase is wrong"
        ) from error
    if not isinstance(key, ed25519.Ed25519PrivateKey) and not (
        isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
    ):
        raise ConfigurationError(f"private key {path} is neither Ed25519 nor ECDSA P-256")
    return CryptoSigner(key)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise ConfigurationError(
            f"{path} exists already; nothing was changed",
            hint="choose another name; keys are never overwritten",
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}", hint="give a file in a folder that exists"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        path.unlink(missing_ok=True)  # half a key would block the next run
        if not isinstance(error, OSError):
            raise
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}",
            hint="free some space there, or choose another folder",
        ) from error
