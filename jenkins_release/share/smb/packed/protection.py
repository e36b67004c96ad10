"""Signatures and encryption of SMB 2 and 3 messages, over parts that are never joined.

A signature covers the whole message with its own field zero (MS-SMB2 section 3.1.4.1), encryption
the whole message, with the rest of the transform header authenticated (section 3.1.4.3). The numbers
of the algorithms are those of sections 2.2.3.1.2 and 2.2.3.1.7.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Callable, Sequence
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, aead, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from jenkins_release.base.dataclass import dataclass
from jenkins_release.share.smb.packed.messages import FIXED, TRANSFORM, authenticated, parse_transform

Part = bytes | bytearray | memoryview

SMB_2_1, SMB_3_0, SMB_3_0_2, SMB_3_1_1 = 0x0210, 0x0300, 0x0302, 0x0311
DIALECTS = {SMB_2_1: "2.1", SMB_3_0: "3.0", SMB_3_0_2: "3.0.2", SMB_3_1_1: "3.1.1"}
"""Dialects that the data path supports, and their names."""
HMAC_SHA256, AES_CMAC, AES_GMAC = 0, 1, 2
AES_128_CCM, AES_128_GCM, AES_256_CCM, AES_256_GCM = 1, 2, 3, 4
_GCM = {AES_128_GCM, AES_256_GCM}
_CCM = {AES_128_CCM, AES_256_CCM}
_TAG = 16


class Unprotected(Exception):
    """A received message is not protected as the session requires; internal to this package."""


class Signer(Protocol):
    """Computes the signature of a message."""

    def __call__(self, message_id: int, parts: Sequence[Part], *, answer: bool) -> bytes:
        """Return 16 bytes.

        Args:
            message_id: The message's number, from which AES-GMAC makes its nonce.
            parts: The message, with zeros in place of the signature.
            answer: Whether a server sends it.
        """


class Sealer(Protocol):
    """Encrypts and decrypts messages."""

    nonce_size: int

    def seal(self, transform: bytes, nonce: bytes, parts: Sequence[Part]) -> tuple[bytes, Part]:
        """Return tag and ciphertext; the ciphertext may be overwritten by the next call."""

    def unseal(self, packet: bytes, rest: bytes) -> tuple[bytes, bytes]:
        """Decrypt a message.

        Args:
            packet: The transform header and the beginning of the ciphertext, :data:`FIXED` bytes in all.
            rest: The rest of the ciphertext.

        Returns:
            The first :data:`FIXED` bytes of the message, and what comes after them.

        Raises:
            Unprotected: The tag does not match.
        """


def signer(dialect: int, algorithm: int | None, key: bytes) -> Signer:
    """Return the signer of a session.

    Args:
        dialect: Negotiated dialect.
        algorithm: Negotiated signing algorithm of SMB 3.1.1; None if the server named none.
        key: Signing key of the session.

    Raises:
        KeyError: The algorithm is unknown.
    """
    if dialect < SMB_3_0:
        algorithm = HMAC_SHA256
    elif dialect < SMB_3_1_1 or algorithm is None:
        algorithm = AES_CMAC
    kinds: dict[int, Callable[[bytes], Signer]] = {
        HMAC_SHA256: _HmacSigner,
        AES_CMAC: _CmacSigner,
        AES_GMAC: _GmacSigner,
    }
    return kinds[algorithm](key)


def sealer(dialect: int, cipher: int | None, encrypt_key: bytes, decrypt_key: bytes) -> Sealer:
    """Return the sealer of a session, which encrypts and decrypts.

    Args:
        dialect: Negotiated dialect.
        cipher: Negotiated cipher of SMB 3.1.1; 3.0 and 3.0.2 have AES-128-CCM only.
        encrypt_key: Key of what this side sends.
        decrypt_key: Key of what the server sends.

    Raises:
        KeyError: The cipher is unknown.
    """
    chosen = AES_128_CCM if dialect < SMB_3_1_1 else cipher
    if chosen in _GCM:
        return _GcmSealer(encrypt_key, decrypt_key)
    if chosen in _CCM:
        return _CcmSealer(encrypt_key, decrypt_key)
    raise KeyError(chosen)


def unknown(dialect: int, signing: int | None, cipher: int | None, *, sealed: bool) -> str | None:
    """Name what was negotiated and is not supported here; None if everything is.

    Args:
        dialect: Negotiated dialect.
        signing: Negotiated signing algorithm; None for none.
        cipher: Negotiated cipher; None for none.
        sealed: Whether the session is encrypted, and not signed.
    """
    if dialect not in DIALECTS:
        return f"dialect 0x{dialect:04x}"
    if dialect < SMB_3_1_1:
        return None
    if sealed:
        return None if cipher in _GCM | _CCM else f"cipher {cipher}"
    return None if signing in {None, HMAC_SHA256, AES_CMAC, AES_GMAC} else f"signing algorithm {signing}"


@dataclass(frozen=True)
class _HmacSigner:
    key: bytes

    def __call__(self, message_id: int, parts: Sequence[Part], *, answer: bool) -> bytes:  # noqa: ARG002 - no nonce
        code = hmac.new(self.key, digestmod=hashlib.sha256)
        for part in parts:
            code.update(part)
        return code.digest()[:_TAG]


@dataclass(frozen=True)
class _CmacSigner:
    key: bytes

    def __call__(self, message_id: int, parts: Sequence[Part], *, answer: bool) -> bytes:  # noqa: ARG002 - no nonce
        code = CMAC(algorithms.AES(self.key))
        for part in parts:
            code.update(part)  # type: ignore[arg-type]  # takes any buffer, announces bytes
        return code.finalize()


@dataclass(frozen=True)
class _GmacSigner:
    key: bytes

    def __call__(self, message_id: int, parts: Sequence[Part], *, answer: bool) -> bytes:
        # MS-SMB2 section 3.1.4.1: the message id, then a bit for the server's side.
        nonce = struct.pack("<QI", message_id, 1 if answer else 0)
        code = Cipher(algorithms.AES(self.key), modes.GCM(nonce)).encryptor()
        for part in parts:
            code.authenticate_additional_data(part)
        code.finalize()
        return code.tag


class _GcmSealer:
    nonce_size = 12

    def __init__(self, encrypt_key: bytes, decrypt_key: bytes) -> None:
        self._encrypt = algorithms.AES(encrypt_key)
        self._decrypt = algorithms.AES(decrypt_key)
        self._room = bytearray()

    def seal(self, transform: bytes, nonce: bytes, parts: Sequence[Part]) -> tuple[bytes, Part]:
        total = sum(len(part) for part in parts)
        if len(self._room) < total + _TAG:
            self._room = bytearray(total + _TAG)
        view = memoryview(self._room)
        cipher = Cipher(self._encrypt, modes.GCM(nonce)).encryptor()
        cipher.authenticate_additional_data(authenticated(transform))
        done = 0
        for part in parts:
            done += cipher.update_into(part, view[done:])
        cipher.finalize()
        return cipher.tag, view[:total]

    def unseal(self, packet: bytes, rest: bytes) -> tuple[bytes, bytes]:
        head = parse_transform(packet)
        cipher = Cipher(self._decrypt, modes.GCM(head.nonce[: self.nonce_size], head.tag)).decryptor()
        cipher.authenticate_additional_data(authenticated(packet))
        view = memoryview(rest)
        missing = FIXED - (len(packet) - TRANSFORM)
        start = cipher.update(packet[TRANSFORM:]) + cipher.update(view[:missing])
        data = cipher.update(view[missing:])
        try:
            cipher.finalize()
        except InvalidTag as error:
            raise Unprotected("an encrypted answer does not match its authentication tag") from error
        return start, data


class _CcmSealer:
    nonce_size = 11

    def __init__(self, encrypt_key: bytes, decrypt_key: bytes) -> None:
        self._encrypt = aead.AESCCM(encrypt_key, _TAG)
        self._decrypt = aead.AESCCM(decrypt_key, _TAG)

    def seal(self, transform: bytes, nonce: bytes, parts: Sequence[Part]) -> tuple[bytes, Part]:
        # CCM needs the whole message at once: its first block has the length in it.
        sealed = memoryview(self._encrypt.encrypt(nonce, b"".join(parts), authenticated(transform)))
        return bytes(sealed[-_TAG:]), sealed[:-_TAG]

    def unseal(self, packet: bytes, rest: bytes) -> tuple[bytes, bytes]:
        head = parse_transform(packet)
        sealed = b"".join((packet[TRANSFORM:], rest, head.tag))
        try:
            plain = self._decrypt.decrypt(head.nonce[: self.nonce_size], sealed, authenticated(packet))
        except InvalidTag as error:
            raise Unprotected("an encrypted answer does not match its authentication tag") from error
        return plain[:FIXED], plain[FIXED:]


def new_nonce(size: int) -> bytes:
    """Return a random nonce, as MS-SMB2 section 2.2.41 asks for: never used twice with a key."""
    return os.urandom(size)
