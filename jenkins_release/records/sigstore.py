"""Statements about one image, as Sigstore bundles and as cosign's legacy attestations.

Formats: ``sigstore_bundle.proto`` (v0.3) and cosign's ``specs/BUNDLE_SPEC.md`` and ``ATTESTATION_SPEC.md``.

The signature carries no key id: cosign skips a signature whose key id is not the one that it computes itself
(``EnvelopeVerifier.Verify`` of go-securesystemslib), and a bundle names its key by the hint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from cryptography.hazmat.primitives import serialization
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.public_keys import public_pem
from jenkins_release.base.signing import Envelope, Signature, Signer, SSlibKey
from jenkins_release.base.strict_json import Fields, Items, Keyed, Scalar, check_shape, strict_json
from jenkins_release.records.attestation import PAYLOAD_TYPE, STATEMENT_TYPE
from jenkins_release.records.base import canonical_json

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
"""Media type of an envelope alone, as cosign's legacy attestations have it."""
MAX_SIGSTORE_BYTES = 48 * 1024 * 1024
"""Largest bundle that is read: the largest SBOM has 32 MiB, and a third more in Base64."""

_ENVELOPE = Fields(
    {
        "payload": Scalar.TEXT,
        "payloadType": Scalar.TEXT,
        "signatures": Items(Fields({"keyid": Scalar.TEXT, "sig": Scalar.TEXT}, required=frozenset({"sig"}))),
    },
    required=frozenset({"payload", "payloadType", "signatures"}),
)
_BUNDLE = Fields(
    {
        "mediaType": Scalar.TEXT,
        "verificationMaterial": Fields({}),
        "dsseEnvelope": _ENVELOPE,
    },
    required=frozenset({"mediaType", "verificationMaterial", "dsseEnvelope"}),
    foreign=frozenset({"messageSignature"}),
)
_STATEMENT = Fields(
    {
        "_type": Scalar.TEXT,
        "subject": Items(
            Fields({"name": Scalar.TEXT, "digest": Keyed(Scalar.TEXT)}, required=frozenset({"digest"}))
        ),
        "predicateType": Scalar.TEXT,
        "predicate": Fields({}),
    },
    required=frozenset({"_type", "subject", "predicateType", "predicate"}),
)


@dataclass(frozen=True)
class ImageStatement:
    """A signed statement about one image. Its signature is not verified yet.

    Attributes:
        predicate_type: Type URI.
        predicate: What it says.
        subjects: Digests that it is about, ``sha256:...``.
        payload: The signed bytes.
        signature: The signature.
    """

    predicate_type: str
    predicate: Mapping[str, Any]
    subjects: tuple[str, ...]
    payload: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def is_signed_by(self, key: SSlibKey) -> bool:
        """Whether a key made the signature."""
        signed = Envelope(self.payload, PAYLOAD_TYPE, {}).pae()
        try:
            key.verify_signature(Signature(key.keyid, self.signature.hex()), signed)
        except (VerificationError, UnverifiedSignatureError):
            return False
        return True

    def envelope(self) -> dict[str, Any]:
        """Return its DSSE envelope."""
        return {
            "payload": _encoded(self.payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": _encoded(self.signature)}],
        }

    def bundle(self, key: SSlibKey) -> bytes:
        """Return it as a Sigstore bundle that names the key by a hint."""
        hint = _encoded(hashlib.sha256(_spki(key)).digest())
        return canonical_json(
            {
                "mediaType": BUNDLE_TYPE,
                "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
                "dsseEnvelope": self.envelope(),
            }
        )


def sign_about_image(
    predicate_type: str, predicate: Mapping[str, Any], name: str, digest: str, signer: Signer
) -> ImageStatement:
    """Sign a statement whose only subject is the manifest or index of an image.

    Args:
        predicate_type: Type URI.
        predicate: What it says.
        name: The image as customers pull it, without tag and digest.
        digest: Digest of its manifest or index.
        signer: Private key.
    """
    subject = {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
    payload = canonical_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [subject],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )
    signed = signer.sign(Envelope(payload, PAYLOAD_TYPE, {}).pae())
    return ImageStatement(predicate_type, predicate, (digest,), payload, bytes.fromhex(signed.signature))


def read_sigstore(data: bytes, where: str) -> ImageStatement:
    """Read a Sigstore bundle around a statement, without trusting it.

    Raises:
        IntegrityError: It is something else, such as a bundle with several signatures.
    """
    value = strict_json(data, where, limit=MAX_SIGSTORE_BYTES)
    check_shape(value, _BUNDLE, where)
    if value["mediaType"] != BUNDLE_TYPE:
        raise IntegrityError(f"{where} is {value['mediaType']!r}, expected {BUNDLE_TYPE!r}")
    return _read_envelope(value["dsseEnvelope"], where)


def read_legacy(data: bytes, where: str) -> ImageStatement:
    """Read an envelope alone, as cosign's legacy attestations have it, without trusting it.

    Raises:
        IntegrityError: It is something else.
    """
    value = strict_json(data, where, limit=MAX_SIGSTORE_BYTES)
    check_shape(value, _ENVELOPE, where)
    return _read_envelope(value, where)


def _read_envelope(value: Mapping[str, Any], where: str) -> ImageStatement:
    if value["payloadType"] != PAYLOAD_TYPE:
        raise IntegrityError(f"{where} has a payload of {value['payloadType']!r}, expected {PAYLOAD_TYPE!r}")
    signatures = value["signatures"]
    if len(signatures) != 1:
        raise IntegrityError(f"{where} has {len(signatures)} signatures, expected one")
    try:
        payload = base64.b64decode(value["payload"], validate=True)
        signature = base64.b64decode(signatures[0]["sig"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise IntegrityError(f"{where} is not Base64: {error}") from error
    what = f"the statement in {where}"
    # Names in a predicate are data, as those of the properties in an SBOM.
    statement = strict_json(payload, what, limit=MAX_SIGSTORE_BYTES, maps=True)
    check_shape(statement, _STATEMENT, what)
    if statement["_type"] != STATEMENT_TYPE:
        raise IntegrityError(f"{what} is {statement['_type']!r}, expected {STATEMENT_TYPE!r}")
    if unknown := sorted(set(statement) - set(_STATEMENT.known)):
        raise IntegrityError(f"{what} has the field {unknown[0]!r}, which cosign does not know")
    subjects = tuple(f"sha256:{each['digest'].get('sha256', '')}" for each in statement["subject"])
    return ImageStatement(statement["predicateType"], statement["predicate"], subjects, payload, signature)


def legacy_layer(statement: ImageStatement) -> tuple[bytes, dict[str, str]]:
    """Return a statement as a layer of cosign's legacy attestations: its bytes, and its annotations."""
    data = json.dumps(statement.envelope(), separators=(",", ":")).encode()
    return data, {"dev.cosignproject.cosign/signature": "", "predicateType": statement.predicate_type}


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _spki(key: SSlibKey) -> bytes:
    public = serialization.load_pem_public_key(public_pem(key))
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
