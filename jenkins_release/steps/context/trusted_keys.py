"""Trusted keys: from their configuration to the public keys themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.public_keys import parse_public_key
from jenkins_release.base.signing import SSlibKey
from jenkins_release.config import TrustedKeySection
from jenkins_release.keys import load_public_key
from jenkins_release.records.attestation import TrustedKey

PEM = "-----BEGIN "
"""Beginning of a public key that is in the entry itself, as in a trust document."""


def public_key(section: TrustedKeySection) -> SSlibKey:
    """Read the public key of an entry: from its file, or from the entry. Raises ConfigurationError."""
    text = section.public_key
    if text.startswith(PEM):
        return parse_public_key(text.encode(), f"the public key of {section.name!r}")
    return load_public_key(Path(text))


def load_trusted_keys(sections: Sequence[TrustedKeySection]) -> tuple[TrustedKey, ...]:
    """Read the public keys.

    Args:
        sections: Name, roles, file and validity of each.

    Raises:
        ConfigurationError: Files cannot be read, or one key is given twice; ``reasons`` has every one.
    """
    found, mistakes = [], []
    for section in sections:
        try:
            key = public_key(section)
        except ConfigurationError as error:
            mistakes.append(f"trusted_keys {section.name!r}: {error.message}")
            continue
        roles = frozenset(section.roles)
        bounds = (section.valid_from, section.valid_until)
        revoked, owner, notary = section.revoked, section.owner, section.notary
        found.append(
            TrustedKey(section.name, roles, key, *bounds, revoked=revoked, owner=owner, notary=notary)
        )
    names: dict[str, str] = {}
    for trusted in found:
        other = names.setdefault(trusted.key.keyid, trusted.name)
        if other != trusted.name:
            mistakes.append(f"trusted_keys {trusted.name!r}: is the same public key as {other!r}")
    if mistakes:
        raise ConfigurationError(
            "some trusted keys cannot be used",
            hint="use one entry for each public key, with all its roles; its name is its holder",
            reasons=mistakes,
        )
    return tuple(found)
