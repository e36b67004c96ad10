"""The trust document: policy and trusted keys, versioned and signed by a threshold of root keys.

Each version is root metadata of The Update Framework (https://theupdateframework.github.io/specification/
latest/, "File formats: root.json"), read and verified by python-tuf. The role ``root`` holds the root keys
and their threshold; our document is an additional field of what they sign. The other roles have no keys.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import field
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator
from tuf.api.metadata import Metadata, Role, Root
from tuf.api.serialization import SerializationError

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.public_keys import parse_public_key, public_pem
from jenkins_release.base.signing import Signer, SSlibKey
from jenkins_release.base.strict_json import strict_json
from jenkins_release.config.model import PolicySection, TrustedKeySection, key_problems
from jenkins_release.records.base import Record, canonical_json

FIELD = "jenkins-release"
"""The field of the signed root metadata with our document, as the text of its canonical JSON: TUF's own
canonical JSON has no fractions, and a text is exactly what was signed."""
MAX_TRUST_BYTES = 2 * 1024 * 1024
"""Largest version that is read; with 50 keys it has about 30 KiB."""
_PREVIOUS = "previous"
_ALTERED = "it was altered or written by another program; do not sign or use it"


class TrustDocument(Record):
    """What applies to a product, whatever a workspace says.

    Attributes:
        product: Product name.
        made_at: When this version was drafted, UTC.
        policy: ``[policy]`` of ``release.toml``.
        trusted_keys: ``[[trusted_keys]]``, each with its public key in PEM in place of a file.
        fixed: Keys of ``release.toml`` that could weaken a decision, such as ``ecr.account``, and their
            required values.
        repositories: Repositories that images may be pushed to: names, or prefixes that end with ``/``.
    """

    SCHEMA: ClassVar[str] = "jenkins-release/trust/v1"

    product: str
    made_at: datetime
    policy: PolicySection
    trusted_keys: tuple[TrustedKeySection, ...]
    fixed: dict[str, Any] = Field(default_factory=dict)
    repositories: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [key.name for key in self.trusted_keys]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two trusted keys are named {twice[0]!r}")
        unknown = sorted({*self.policy.sign_off_keys} - {*names})
        if unknown:
            raise ValueError(f"policy.sign_off_keys names {unknown[0]!r}, which is not a trusted key")
        misfit = key_problems(self.policy, self.trusted_keys)
        if misfit:
            raise ValueError(misfit[0])
        for key in self.trusted_keys:
            # With a file name, each machine would decide which key is trusted.
            try:
                parse_public_key(key.public_key.encode(), f"the public key of {key.name!r}")
            except ConfigurationError as error:
                raise ValueError(error.message) from error
        return self


@dataclass(frozen=True)
class TrustVersion:
    """One version of the trust document, read but not verified.

    Attributes:
        metadata: The signed root metadata.
        document: What it says.
        where: Where it comes from, for messages.
    """

    metadata: Metadata[Root] = field(repr=False)
    document: TrustDocument
    where: str

    @classmethod
    def read(cls, data: bytes, where: str) -> TrustVersion:
        """Read a version, without trusting its signatures.

        Raises:
            IntegrityError: Not root metadata with our document, or its root keys cannot be counted.
        """
        value = strict_json(data, where, limit=MAX_TRUST_BYTES)
        try:
            # from_dict() changes its argument.
            metadata: Metadata[Root] = Metadata.from_dict(json.loads(json.dumps(value)))
            if not isinstance(metadata.signed, Root):
                raise ValueError(f"it is {metadata.signed.type} metadata, not root metadata")
            found = cls(metadata, _document(metadata.signed, where), where)
            _ = found.signed_bytes
            _check_roles(metadata.signed)
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError, SerializationError) as error:
            raise IntegrityError(
                f"{where} is not a version of a trust document: {error}", hint=_ALTERED
            ) from error
        return found

    @property
    def root(self) -> Root:
        """The signed part."""
        return self.metadata.signed

    @property
    def number(self) -> int:
        """Its number, from 1."""
        return self.root.version

    @cached_property
    def signed_bytes(self) -> bytes:
        """What the root keys sign: TUF's canonical JSON of the signed part."""
        return self.metadata.signed_bytes

    @property
    def digest(self) -> str:
        """Digest of what the root keys sign; the same with more or fewer signatures."""
        return f"sha256:{sha256(self.signed_bytes).hexdigest()}"

    @property
    def expires(self) -> datetime:
        """When it expires, UTC."""
        return self.root.expires

    @property
    def threshold(self) -> int:
        """How many root keys have to sign the next version, and this one."""
        return self.root.roles[Root.type].threshold

    @property
    def root_keys(self) -> dict[str, str]:
        """Key id to name of each root key."""
        keys = ((keyid, self.root.keys[keyid]) for keyid in self.root.roles[Root.type].keyids)
        return {keyid: str(key.unrecognized_fields.get("name", keyid[:12])) for keyid, key in keys}

    @property
    def previous(self) -> TrustVersion | None:
        """The version before it, which a draft includes for those who sign offline; not verified."""
        value = self.metadata.unrecognized_fields.get(_PREVIOUS)
        if value is None:
            return None
        return TrustVersion.read(canonical_json(value), f"the version before, in {self.where}")

    def unsigned(self, previous: TrustVersion | None) -> list[str]:
        """Say which signatures are missing; empty if this version may follow ``previous``.

        The thresholds of both versions apply (TUF specification, "Update the
        root role"), each over distinct keys.

        Raises:
            IntegrityError: It does not carry the number after that of ``previous``.
        """
        expected = 1 if previous is None else previous.number + 1
        if self.number != expected:
            raise IntegrityError(
                f"{self.where} is version {self.number} of the trust document, expected version {expected}",
                hint="versions have no gaps: 'trust update' drafts the next one",
            )
        before = None if previous is None else previous.root
        result = self.root.get_root_verification_result(before, self.signed_bytes, self.metadata.signatures)
        parts = {self.number: (result.second, self)}
        if previous is not None:
            parts = {previous.number: (result.first, previous), **parts}
        return [
            f"{len(each.signed)} of the {each.threshold} signatures by root keys of version {number} "
            f"({', '.join(owner.root_keys[keyid] for keyid in each.unsigned) or 'no key'} not signed)"
            for number, (each, owner) in parts.items()
            if not each.verified
        ]

    def self_signed(self) -> bool:
        """Whether enough of its own root keys signed it."""
        return self.root.get_verification_result(
            Root.type, self.signed_bytes, self.metadata.signatures
        ).verified

    def signed_with(self, owner: TrustVersion, keyid: str) -> bool:
        """Whether a root key of a version, this one or the one before it, has signed it."""
        signed = owner.root.get_verification_result(
            Root.type, self.signed_bytes, self.metadata.signatures
        ).signed
        return keyid in signed

    def to_bytes(self, *, draft: bool = False) -> bytes:
        """Return the file's bytes; a draft includes the version before it."""
        value = self.metadata.to_dict()
        if not draft:
            value.pop(_PREVIOUS, None)
        return canonical_json(value)


def draft_version(
    document: TrustDocument,
    root_keys: Sequence[SSlibKey],
    threshold: int,
    expires: datetime,
    previous: TrustVersion | None,
    where: str,
) -> TrustVersion:
    """Make the next version, without signatures.

    Args:
        document: What it says.
        root_keys: The root keys from this version on.
        threshold: How many of them must sign.
        expires: When it expires, UTC.
        previous: The version before it; None for the first.
        where: Name of the draft, for messages.

    Raises:
        ConfigurationError: The threshold cannot be met, or a key is given twice.
    """
    keyids = [key.keyid for key in root_keys]
    if len({*keyids}) != len(keyids):
        raise ConfigurationError(
            "one root key is given twice", hint="a threshold counts keys: give each public key once"
        )
    if not 1 <= threshold <= len(keyids):
        raise ConfigurationError(
            f"a threshold of {threshold} cannot be met by {len(keyids)} root keys",
            hint="give --threshold between 1 and the number of root keys; 2 of 3 survives one lost key",
        )
    roles = {name: Role([], 1) for name in ("timestamp", "snapshot", "targets")}
    roles[Root.type] = Role(keyids, threshold)
    root = Root(
        version=1 if previous is None else previous.number + 1,
        expires=expires,
        keys={key.keyid: key for key in root_keys},
        roles=roles,
        consistent_snapshot=True,
        unrecognized_fields={FIELD: document.to_bytes().decode()},
    )
    carried = {} if previous is None else {_PREVIOUS: json.loads(previous.to_bytes())}
    return TrustVersion(Metadata(root, unrecognized_fields=carried), document, where)


def with_signature(version: TrustVersion, signer: Signer) -> TrustVersion:
    """Return the version with one more signature."""
    value = json.loads(version.to_bytes(draft=True))
    metadata: Metadata[Root] = Metadata.from_dict(value)
    metadata.sign(signer, append=True)
    return TrustVersion(metadata, version.document, version.where)


def named_key(key: SSlibKey, name: str) -> SSlibKey:
    """Return a root key with a name, for messages."""
    return SSlibKey(key.keyid, key.keytype, key.scheme, dict(key.keyval), {"name": name})


def _document(root: Root, where: str) -> TrustDocument:
    text = root.unrecognized_fields.get(FIELD)
    if not isinstance(text, str):
        raise ValueError(f"it contains no {FIELD} document")
    return TrustDocument.from_bytes(text.encode(), f"the document in {where}")


def _check_roles(root: Root) -> None:
    """Refuse root keys if one of them could be counted as two.

    TUF counts key ids, which the author of the metadata chooses, so each must be the id of its key.
    """
    role = root.roles[Root.type]
    if not role.threshold <= len(role.keyids):
        raise ValueError(f"{len(role.keyids)} root keys cannot meet a threshold of {role.threshold}")
    for keyid in role.keyids:
        key = root.keys[keyid]
        if not isinstance(key, SSlibKey):
            raise ValueError(f"the root key {keyid[:12]}... is of the unsupported type {key.keytype!r}")
        try:
            found = parse_public_key(public_pem(key), f"root key {keyid[:12]}...")
        except ConfigurationError as error:
            raise ValueError(error.message) from error
        if found.keyid != keyid or (key.keytype, key.scheme) != (found.keytype, found.scheme):
            raise ValueError(f"the root key {keyid[:12]}... has another key id than its public key")
