"""Attestations: in-toto Statements v1 in DSSE envelopes.

Sources: https://github.com/in-toto/attestation/tree/main/spec/v1 (Statement, test-result v0.1),
https://slsa.dev/spec/v1.0/provenance, https://slsa.dev/spec/v1.0/verification_summary and
https://github.com/secure-systems-lab/dsse. Our own fields are in the predicate under one name, which other
verifiers ignore: see :func:`extension_field`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.signing import Envelope, Signer, SSlibKey
from jenkins_release.base.strict_json import Fields, Items, Keyed, Scalar, check_shape, strict_json
from jenkins_release.records.base import canonical_json

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
REQUEST = "tag:nextlabs.com,2026:jenkins-release/request/v1"
REVOCATION = "tag:nextlabs.com,2026:jenkins-release/sign-off-revocation/v1"
APPROVAL = "tag:nextlabs.com,2026:jenkins-release/approval/v1"
OVERRIDE = "tag:nextlabs.com,2026:jenkins-release/override/v1"
PROMOTION = "tag:nextlabs.com,2026:jenkins-release/promotion/v1"
WITHDRAWAL = "tag:nextlabs.com,2026:jenkins-release/withdrawal/v1"
RETIREMENT = "tag:nextlabs.com,2026:jenkins-release/retirement/v1"
DELETION = "tag:nextlabs.com,2026:jenkins-release/deletion/v1"
PUBLICATION = "tag:nextlabs.com,2026:jenkins-release/publication/v1"
REFRESH = "tag:nextlabs.com,2026:jenkins-release/refresh/v1"
PORTAL = "tag:nextlabs.com,2026:jenkins-release/portal/v1"
SETUP = "tag:nextlabs.com,2026:jenkins-release/setup/v1"
SUMMARY = "https://slsa.dev/verification_summary/v1"
EXTENSION = "jenkinsRelease"
_EXTENSIONS: Mapping[str, str] = {
    PROVENANCE: "nextlabs_jenkinsRelease",
    SUMMARY: "tag:nextlabs.com,2026:jenkins-release/summary/v1",
}

KINDS: Mapping[str, str] = {
    PROVENANCE: "build",
    TEST_RESULT: "qa",
    REVOCATION: "revocation",
    REQUEST: "request",
    APPROVAL: "approval",
    OVERRIDE: "override",
    PROMOTION: "promotion",
    WITHDRAWAL: "withdrawal",
    RETIREMENT: "retirement",
    DELETION: "deletion",
    PUBLICATION: "publication",
    REFRESH: "refresh",
    PORTAL: "portal",
    SETUP: "setup",
    SUMMARY: "summary",
}
"""Predicate type to its short name in file names and listings."""

ROLES: Mapping[str, str] = {
    PROVENANCE: "build",
    TEST_RESULT: "qa",
    REVOCATION: "qa",
    REQUEST: "request",
    APPROVAL: "approval",
    OVERRIDE: "override",
    PROMOTION: "promotion",
    WITHDRAWAL: "promotion",
    RETIREMENT: "promotion",
    DELETION: "promotion",
    PUBLICATION: "promotion",
    REFRESH: "promotion",
    PORTAL: "promotion",
    SETUP: "promotion",
    SUMMARY: "promotion",
}
"""Predicate type to the role that a key needs to make it."""

MAX_ENVELOPE_BYTES = 4 * 1024 * 1024
_ENVELOPE = Fields(
    {
        "payload": Scalar.TEXT,
        "payloadType": Scalar.TEXT,
        "signatures": Items(Fields({"keyid": Scalar.TEXT, "sig": Scalar.TEXT})),
    },
    required=frozenset({"payload", "payloadType", "signatures"}),
)
_STATEMENT = Fields(
    {
        "_type": Scalar.TEXT,
        "subject": Items(
            Fields(
                {"name": Scalar.TEXT, "digest": Keyed(Scalar.TEXT)}, required=frozenset({"name", "digest"})
            )
        ),
        "predicateType": Scalar.TEXT,
        "predicate": Fields({}),
    },
    required=frozenset({"_type", "subject", "predicateType", "predicate"}),
)
_OWN = Fields({"sequence": Scalar.INTEGER, "previous": Scalar.TEXT, "signedAt": Scalar.TEXT})


@dataclass(frozen=True)
class TrustedKey:
    """A public key that is trusted, for some roles and some time.

    Attributes:
        name: Its name, for messages.
        roles: ``build``, ``qa``, ``request``, ``approval``, ``override``, ``promotion``.
        key: The public key.
        valid_from: Earlier signatures do not count; None for no limit.
        valid_until: Signatures from this moment on do not count; None for no limit.
        revoked: Whether the key is revoked: nothing that it ever signed counts.
        owner: The only person that the key speaks for; empty for none.
        notary: Whether Jenkins holds the key, and states with it whom it authenticated.
    """

    name: str
    roles: frozenset[str]
    key: SSlibKey
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    revoked: bool = False
    owner: str = ""
    notary: bool = False

    def valid_at(self, moment: datetime) -> bool:
        """Whether a signature made at ``moment`` counts."""
        after = self.valid_from is None or moment >= self.valid_from
        return after and (self.valid_until is None or moment < self.valid_until)


@dataclass(frozen=True)
class Place:
    """A place in the chain of a candidate's attestations.

    Attributes:
        sequence: Number, from 1.
        previous: SHA-256 in hex of the attestation before it; empty for the first.
    """

    sequence: int
    previous: str

    @classmethod
    def after(cls, attestations: Mapping[str, bytes]) -> Place:
        """Return the place after these attestations, which are given by file name, in order."""
        last = list(attestations.values())[-1:]
        return cls(len(attestations) + 1, sha256(last[0]).hexdigest() if last else "")


@dataclass(frozen=True)
class Statement:
    """What an attestation says, read from a verified or unverified envelope.

    Attributes:
        predicate_type: Type URI.
        subjects: Name to SHA-256 in hex.
        predicate: The predicate, as it was signed.
        sequence: Place among the candidate's attestations, from 1.
        previous: SHA-256 in hex of the attestation before it; empty for the first.
        signed_at: When it was signed, UTC, by the signer's clock.
    """

    predicate_type: str
    subjects: Mapping[str, str]
    predicate: Mapping[str, Any]
    sequence: int
    previous: str
    signed_at: datetime

    @property
    def kind(self) -> str:
        """Short name for listings; the predicate type itself if it is unknown."""
        return KINDS.get(self.predicate_type, self.predicate_type)

    @property
    def extension(self) -> Mapping[str, Any]:
        """Our own fields."""
        found = self.predicate.get(extension_field(self.predicate_type))
        return found if isinstance(found, dict) else {}


def extension_field(predicate_type: str) -> str:
    """Return the name of our own fields in a predicate.

    in-toto asks for a name that does not collide ("Parsing rules"), SLSA provenance for
    ``<vendor>_<fieldname>`` ("Extension fields"), and a verification summary for a URI ("Parsing rules").
    """
    return _EXTENSIONS.get(predicate_type, EXTENSION)


def sign_statement(
    predicate_type: str,
    predicate: Mapping[str, Any],
    subjects: Mapping[str, str],
    *,
    place: Place,
    signed_at: datetime,
    signer: Signer,
    extension: Mapping[str, Any] | None = None,
) -> bytes:
    """Sign a statement about a candidate.

    Args:
        predicate_type: One of this module's predicate types.
        predicate: The predicate's fields.
        subjects: Name to SHA-256 in hex.
        place: Place in the chain of the candidate's attestations.
        signed_at: The time, UTC.
        signer: Private key.
        extension: Further fields of our own.

    Returns:
        The DSSE envelope as canonical JSON.
    """
    own = {
        **(extension or {}),
        "sequence": place.sequence,
        "previous": place.previous,
        "signedAt": signed_at.isoformat(),
    }
    payload = canonical_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": n, "digest": {"sha256": d}} for n, d in sorted(subjects.items())],
            "predicateType": predicate_type,
            "predicate": {**predicate, extension_field(predicate_type): own},
        }
    )
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return canonical_json(envelope.to_dict())


def read_envelope(data: bytes, where: str) -> tuple[Envelope, Statement]:
    """Read an envelope and the statement in it, without trusting either.

    Raises:
        IntegrityError: Not a DSSE envelope around an in-toto statement of ours.
    """
    envelope = open_envelope(data, PAYLOAD_TYPE, where)
    return envelope, _read_statement(envelope.payload, where)


def open_envelope(data: bytes, payload_type: str, where: str, *, limit: int = MAX_ENVELOPE_BYTES) -> Envelope:
    """Read a DSSE envelope, without trusting it.

    Args:
        data: The bytes of the file.
        payload_type: The expected payload type.
        where: Which file it is, for messages.
        limit: Maximum size in bytes.

    Raises:
        IntegrityError: Not a signed DSSE envelope of that type, or programs could read it differently.
    """
    value = strict_json(data, where, limit=limit)
    check_shape(value, _ENVELOPE, where)
    try:
        envelope = Envelope.from_dict(deepcopy(value))
        if envelope.payload_type != payload_type:
            raise ValueError(f"payload type {envelope.payload_type!r}, expected {payload_type!r}")
        if not envelope.signatures:
            raise ValueError("it has no signature")
        if not all(isinstance(name, str) and name.isprintable() for name in envelope.signatures):
            raise ValueError("a key id is not printable text")
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(
            f"{where} is not a DSSE envelope: {error}", hint="it was altered or only partly written"
        ) from error
    return envelope


def _read_statement(payload: bytes, where: str) -> Statement:
    what = f"the statement in {where}"
    value = strict_json(payload, what, limit=MAX_ENVELOPE_BYTES)
    check_shape(value, _STATEMENT, what)
    try:
        if value["_type"] != STATEMENT_TYPE:
            raise ValueError(f"type {value['_type']!r}, expected {STATEMENT_TYPE!r}")
        subjects = {str(item["name"]): str(item["digest"]["sha256"]) for item in value["subject"]}
        if len(subjects) != len(value["subject"]):
            raise ValueError("two subjects have the same name")
        own = value["predicate"][extension_field(value["predicateType"])]
        check_shape(own, _OWN, f"the predicate of {what}")
        signed_at = datetime.fromisoformat(own["signedAt"])
        sequence, previous = own["sequence"], own["previous"]
        if signed_at.tzinfo is None or type(sequence) is not int or not isinstance(previous, str):
            raise ValueError("signedAt needs a time zone, sequence a number, previous a digest")
        kind = str(value["predicateType"])
        if not kind.isprintable():
            raise ValueError("the predicate type contains control characters")
        return Statement(kind, subjects, value["predicate"], sequence, previous, signed_at.astimezone(UTC))
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise IntegrityError(
            f"{where} contains no in-toto statement about a candidate: {error!r}",
            hint="it was altered, or made by another program",
        ) from error


def named_key(envelope: Envelope, trusted: Sequence[TrustedKey]) -> TrustedKey | None:
    """Return the trusted key that an envelope names as its signer, or None. The signature is not verified.

    If one public key is trusted under several names, revoking any of them revokes it.
    """
    named = [key for key in trusted if key.key.keyid in envelope.signatures]
    return next(iter(sorted(named, key=lambda key: not key.revoked)), None)


def require_signature(envelope: Envelope, key: TrustedKey) -> None:
    """Verify the signature of a key that an envelope names.

    Raises:
        IntegrityError: The signature is not the key's own: the envelope was altered.
    """
    try:
        envelope.verify([key.key], 1)
    except (VerificationError, UnverifiedSignatureError) as error:
        raise IntegrityError(
            f"the signature of key {key.name!r} does not match the statement",
            hint="the attestation was altered after it was signed",
        ) from error


def verified_by(envelope: Envelope, trusted: Sequence[TrustedKey]) -> TrustedKey | None:
    """Return the trusted key that signed the envelope, or None if the envelope names no trusted key.

    Raises:
        IntegrityError: A trusted key is named, but did not make the signature: the envelope was altered.
    """
    key = named_key(envelope, trusted)
    if key is not None:
        require_signature(envelope, key)
    return key
