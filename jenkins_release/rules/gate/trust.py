"""Which version of the trust document is in force: from the pin forward, by TUF's rules.

A pin names a version and the digest of what its root keys signed. It is the starting point, since its root
keys are trusted without further proof, and the minimum, since no older version is trusted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused, IntegrityError
from jenkins_release.base.moments import day, minute
from jenkins_release.base.public_keys import parse_public_key
from jenkins_release.config import Configuration
from jenkins_release.config.model import TrustedKeySection
from jenkins_release.records.trust import TrustVersion

_PIN = re.compile(r"(sha256:[0-9a-f]{64}):([1-9][0-9]{0,5})")
_RESTORE = "restore the published files: 'trust publish' wrote them, and each holder of a root key has them"


@dataclass(frozen=True)
class Pin:
    """Where trust begins.

    Attributes:
        digest: Digest of what the root keys of the version signed.
        version: Its number: the oldest trusted version.
    """

    digest: str
    version: int

    @classmethod
    def parse(cls, text: str, where: str) -> Pin:
        """Read ``sha256:DIGEST:VERSION``. Raises ConfigurationError."""
        match = _PIN.fullmatch(text)
        if match is None:
            shown = text if len(text) <= 100 else f"{text[:97]}..."
            raise ConfigurationError(
                f"{where} holds {shown!r}, expected sha256:DIGEST:VERSION",
                hint="'jenkins-release trust show' prints the pin",
            )
        return cls(match[1], int(match[2]))

    def __str__(self) -> str:
        return f"{self.digest}:{self.version}"


def walk(pins: Sequence[Pin], versions: Mapping[int, bytes], where: str) -> tuple[TrustVersion, ...]:
    """Return the trusted versions, from the pinned one to the newest.

    Args:
        pins: Where trust begins; of several, one for each product, the matching one counts.
        versions: Number to bytes of every version that exists.
        where: Where they are, for messages.

    Raises:
        GateRefused: There is no version, or only older ones than the pinned one.
        IntegrityError: The pinned version is a different one, one in between is missing, or one is not signed
            as its predecessor and itself require.
    """
    if not versions:
        raise GateRefused(f"a trust root is pinned, but there is no trust document in {where}", hint=_RESTORE)
    pin = _fitting(pins, versions, where)
    found = [_read(pin.version, versions, where)]
    if not found[0].self_signed():
        raise IntegrityError(
            f"{found[0].where} is not signed by {found[0].threshold} of its root keys", hint=_RESTORE
        )
    for number in range(pin.version + 1, max(versions) + 1):
        if number not in versions:
            raise IntegrityError(
                f"version {number} of the trust document is missing in {where}, but a later one exists",
                hint=_RESTORE,
            )
        version = _read(number, versions, where)
        missing = version.unsigned(found[-1])
        if missing:
            raise IntegrityError(
                f"{version.where} is not signed as required: it has {missing[0]}",
                hint=f"find out who wrote it; {_RESTORE}",
                reasons=missing,
            )
        if version.document.product != found[0].document.product:
            raise IntegrityError(
                f"{version.where} is about the product {version.document.product}, "
                f"the one before about {found[0].document.product}",
                hint="each product has its own trust document",
            )
        found.append(version)
    return tuple(found)


def in_force(versions: Sequence[TrustVersion], now: datetime) -> TrustVersion:
    """Return the newest version. Raises GateRefused if it has expired."""
    newest = versions[-1]
    if now >= newest.expires:
        raise GateRefused(
            f"version {newest.number} of the trust document expired at {minute(newest.expires)}",
            hint="the holders of the root keys sign the next version: 'trust update', 'trust sign', "
            "'trust publish'",
        )
    return newest


def misfits(version: TrustVersion, configuration: Configuration) -> list[str]:
    """Say how a ``release.toml`` contradicts the trust document; empty if it does not."""
    document = version.document
    problems = []
    if configuration.product.name != document.product:
        problems.append(
            f"product.name is {configuration.product.name!r}, the trust document is that of "
            f"{document.product!r}"
        )
    for key, wanted in sorted(document.fixed.items()):
        found = configured(configuration, key)
        if found != wanted:
            problems.append(f"{key} is {found!r}, but the trust document requires {wanted!r}")
    problems += [
        f"images {image.name!r}: the repository {image.repository} is not one of "
        f"{', '.join(document.repositories)}, which the trust document allows"
        for image in configuration.images
        if not allowed(image.repository, document.repositories)
    ]
    return problems


def allowed(repository: str, names: Sequence[str]) -> bool:
    """Whether a repository is among names and prefixes that end with ``/``; always True if there are none."""
    return not names or any(
        repository == name or (name.endswith("/") and repository.startswith(name)) for name in names
    )


def configured(configuration: Configuration, key: str) -> Any:
    """Return the JSON value of a key such as ``ecr.account``; None for an unknown key."""
    value: Any = configuration
    for part in key.split("."):
        value = getattr(value, part, None) if isinstance(value, BaseModel) else None
    return as_json(value)


def known_keys(configuration: Configuration) -> list[str]:
    """Return every key such as ``ecr.account``."""
    sections = ((name, getattr(configuration, name)) for name in Configuration.model_fields)
    return [
        f"{name}.{key}"
        for name, section in sections
        if isinstance(section, BaseModel)
        for key in type(section).model_fields
    ]


def as_json(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple | list):
        return [as_json(item) for item in value]
    return {key: as_json(item) for key, item in value.items()} if isinstance(value, dict) else value


def differences(before: TrustVersion, after: TrustVersion) -> list[str]:
    """Say what one version changes compared with another, a line for each change."""
    changes = []
    if before.threshold != after.threshold:
        changes.append(f"threshold: {before.threshold} -> {after.threshold}")
    for one, other, what in ((after, before, "added"), (before, after, "removed")):
        lost = {keyid: name for keyid, name in one.root_keys.items() if keyid not in other.root_keys}
        changes += [f"root key {name} ({keyid}): {what}" for keyid, name in lost.items()]
    if before.expires != after.expires:
        changes.append(f"expires: {day(before.expires)} -> {day(after.expires)}")
    old, new = before.document, after.document
    changes += _changes("policy.", as_json(old.policy), as_json(new.policy))
    changes += _changes("fixed: ", old.fixed, new.fixed)
    changes += _changes("", {"repositories": [*old.repositories]}, {"repositories": [*new.repositories]})
    keys = [{key.name: key for key in each.trusted_keys} for each in (old, new)]
    for name in sorted(keys[0].keys() | keys[1].keys()):
        if name not in keys[0]:
            changes.append(f"trusted key {name}: added, {key_words(keys[1][name])}")
        elif name not in keys[1]:
            changes.append(f"trusted key {name}: removed, {key_words(keys[0][name])}")
        else:
            changes += _changes(f"trusted key {name}: ", *(_with_key_id(each[name]) for each in keys))
    return sorted(changes)


def key_words(section: TrustedKeySection) -> str:
    """Describe a trusted key of a document: its roles, owner, validity and key id.

    The key id is given in full: another key could match a shorter one.
    """
    whose = f", of {section.owner}" if section.owner else ", a notary's" if section.notary else ""
    since = f", from {day(section.valid_from)}" if section.valid_from else ""
    until = f", until {day(section.valid_until)}" if section.valid_until else ""
    revoked = ", REVOKED" if section.revoked else ""
    return f"{', '.join(section.roles)}{whose}{since}{until}{revoked}, key id {_key_id(section)}"


def _with_key_id(section: TrustedKeySection) -> dict[str, Any]:
    values: dict[str, Any] = as_json(section)
    values.pop("public_key")
    return values | {"key id": _key_id(section)}


def _key_id(section: TrustedKeySection) -> str:
    try:
        return parse_public_key(section.public_key.encode(), f"the trusted key {section.name}").keyid
    except ConfigurationError:
        return f"none: {section.public_key!r} is not a public key"


def _changes(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        f"{what}{name}: {old.get(name)!r} -> {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _fitting(pins: Sequence[Pin], versions: Mapping[int, bytes], where: str) -> Pin:
    there = [pin for pin in pins if pin.version in versions]
    fitting = [pin for pin in there if _read(pin.version, versions, where).digest == pin.digest]
    if fitting:
        return max(fitting, key=lambda pin: pin.version)
    if there:
        pin = there[0]
        found = _read(pin.version, versions, where)
        raise IntegrityError(
            f"{found.where} is not the pinned one: expected {pin.digest}, found {found.digest}",
            hint=f"find out who wrote it; {_RESTORE}",
        )
    floor = min(pin.version for pin in pins)
    newest = max(versions)
    if newest < floor:
        raise GateRefused(
            f"the newest trust document in {where} is version {newest}, but the pin requires version {floor} "
            "or a newer one: it was rolled back",
            hint=_RESTORE,
        )
    raise IntegrityError(f"version {floor} of the trust document is missing in {where}", hint=_RESTORE)


def _read(number: int, versions: Mapping[int, bytes], where: str) -> TrustVersion:
    name = f"{number}.root.json in {where}"
    version = TrustVersion.read(versions[number], name)
    if version.number != number:
        raise IntegrityError(f"{name} is version {version.number} of the trust document", hint=_RESTORE)
    return version
