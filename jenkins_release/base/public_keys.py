"""Public keys in PEM: Ed25519, or ECDSA on P-256."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.signing import SSlibKey


def parse_public_key(pem: bytes, where: str) -> SSlibKey:
    """Read a public key from the bytes of its PEM.

    Args:
        pem: The bytes.
        where: Where they come from, for the message.

    Raises:
        ConfigurationError: Not a public key, or of an unsupported kind.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            f"{where} is not a public key in PEM", hint="give the .pub file that 'keys generate' wrote"
        ) from error
    if not isinstance(key, ed25519.Ed25519PublicKey) and not (
        isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    ):
        raise ConfigurationError(f"public key {where} is neither Ed25519 nor ECDSA P-256")
    return SSlibKey.from_crypto(key)


def public_pem(key: SSlibKey) -> bytes:
    """Return a public key in PEM, whatever form it was read in. Raises ValueError for another kind."""
    text = str(key.keyval["public"])
    if key.keytype != "ed25519":
        return text.encode()
    return ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(text)).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
