"""Checks of the keys: which ones the gate trusts, and those that this machine signs with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

from jenkins_release.base.checks import Examination, Found
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.moments import day
from jenkins_release.config.home import expand_home
from jenkins_release.config.model import Role
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.trust_root import pinned
from jenkins_release.steps.doctor.machines import MACHINES, Machine
from jenkins_release.steps.doctor.share import PATH

TRUSTED = "keys: trusted"
_SOON = timedelta(days=30)
"""How long before its end a key gets a warning."""


def examine_keys(
    examination: Examination, services: Services, roles: Sequence[Role], *, everywhere: bool
) -> None:
    """Check the trusted keys, and the keys of some roles.

    Args:
        examination: Where.
        services: Configuration, keys.
        roles: The roles that sign on this machine.
        everywhere: Whether the keys of some roles may be on other machines.
    """
    # The trust document may be on the share: a login that was refused is not tried again.
    needs = [PATH] if _pinned(services) else []
    examination.check(TRUSTED, partial(_trusted, services), *needs)
    for role in roles:
        name, uri = f"key: {role}", services.configuration.signing.key_for(role)
        if not uri and (everywhere or not _needed(services, role)):
            examination.skip(name, f"not configured: signing.{role}_key")
            continue
        examination.check(name, partial(_key, services, role, everywhere=everywhere), TRUSTED)


def _needed(services: Services, role: Role) -> bool:
    """Whether a machine of this role cannot do without a key: builds are signed only if a key is trusted."""
    if role in {"build", "request"}:
        return any(role in key.roles for key in services.configuration.trusted_keys)
    return True


def _trusted(services: Services) -> Found:
    trust, keys = services.trust, services.trusted_keys
    where = "the pinned trust document" if trust.version is not None else "release.toml"
    now = services.now()
    usable = [key for key in keys if key.valid_at(now) and not key.revoked]
    roles = sorted({role for key in usable for role in key.roles})
    count = f"{len(usable)} key{'' if len(usable) == 1 else 's'}"
    said = f"{count} in {where}, for {', '.join(roles) or 'no role'}"
    if "qa" not in roles or "promotion" not in roles:
        raise ConfigurationError(
            f"{said}; the gate needs at least a key for qa and one for promotion",
            hint="add public keys to [[trusted_keys]]: docs/gate.md",
        )
    ending = [
        f"{key.name} until {day(key.valid_until)}"
        for key in usable
        if key.valid_until is not None and key.valid_until - now < _SOON
    ]
    if ending:
        return Found(f"{said}; ending soon: {', '.join(ending)}", "replace them: docs/gate.md")
    return Found(said)


def _key(services: Services, role: Role, *, everywhere: bool) -> Found:
    uri = services.configuration.signing.key_for(role)
    file = expand_home(uri.removeprefix("file2:")) if uri.startswith("file2:") else None
    if everywhere and file is not None and not Path(file).exists():
        return Found(
            f"{file} is not on this machine",
            f"right if another machine signs for this role; see 'doctor --for {_machine(role)}' there",
        )
    signer = services.signer(role)
    keyid = signer.public_key.keyid
    trusted = next(key for key in services.trusted_keys if key.key.keyid == keyid)
    owner = f", for {trusted.owner}" if trusted.owner else ""
    return Found(f"{uri} is the trusted key {trusted.name!r}{owner}")


def _pinned(services: Services) -> bool:
    try:
        return bool(pinned(services.environ, services.pin_file)[0])
    except ConfigurationError:
        return False  # the check says what is wrong with it


def _machine(role: Role) -> Machine:
    """Return the machine that signs for a role and nothing else; an override is signed anywhere."""
    return next((name for name, needs in MACHINES.items() if name != "all" and role in needs.roles), "all")
