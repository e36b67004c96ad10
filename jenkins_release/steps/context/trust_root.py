"""Where policy and trusted keys come from: the trust document of a pinned root, or the workspace.

The pin comes from an administrator, never from the workspace: from a file that only root can write, or
Jenkins' global environment.
"""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused
from jenkins_release.base.moments import minute
from jenkins_release.base.utf8 import NotUtf8, read_utf8
from jenkins_release.config.model import PolicySection, TrustedKeySection

if TYPE_CHECKING:
    from jenkins_release.config import Configuration
    from jenkins_release.records.trust import TrustVersion
    from jenkins_release.rules.gate.authority import Authority
    from jenkins_release.rules.gate.trust import Pin

PIN_FILE = Path("/etc/jenkins-release/trust.toml")
PIN_VARIABLE = "JENKINS_RELEASE_TRUST_ROOT"
SOON = timedelta(days=30)
"""How long before the expiry of a version decisions begin to say so."""
WORKSPACE = "release.toml of the workspace"
_KEY = "roots"
_MAX_PIN_BYTES = 65536


@dataclass(frozen=True)
class PinFile:
    """The file with the pins of a machine. No variable or option can change its path.

    Attributes:
        path: The file.
        owner: User id that must own it; the folders above it may also belong to root.
    """

    path: Path = PIN_FILE
    owner: int = 0

    def read(self) -> tuple[Pin, ...] | None:
        """Return the pins; None without a file.

        Raises:
            ConfigurationError: Someone else could have written it, it cannot be read, or it contains no pin.
        """
        from jenkins_release.rules.gate.trust import Pin

        try:
            self.path.lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(f"cannot be read: {error.strerror}") from error
        self._require_guarded()
        try:
            with self.path.open("rb") as file:
                values = tomllib.loads(read_utf8(file.read(_MAX_PIN_BYTES)))
        except (OSError, NotUtf8, tomllib.TOMLDecodeError) as error:
            raise self._unusable(f"cannot be read: {error}") from error
        except RecursionError as error:
            raise self._unusable("cannot be read: it is nested too deeply") from error
        roots = values.get(_KEY)
        if set(values) != {_KEY} or not isinstance(roots, list) or not roots:
            raise self._unusable(f"contains something other than {_KEY}, a list of pins")
        return tuple(Pin.parse(str(root), str(self.path)) for root in roots)

    def _require_guarded(self) -> None:
        """Refuse a file that anyone but its owner could change, or replace with a folder above it."""
        for place in (self.path, *self.path.parents):
            found = place.lstat()
            loose = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            # In a sticky folder, such as /tmp, users cannot rename or remove what belongs to others.
            sticky = place != self.path and found.st_mode & stat.S_ISVTX
            kind = stat.S_ISREG if place == self.path else stat.S_ISDIR
            if not kind(found.st_mode):
                raise self._unusable(f"is not safe: {place} is a link or of the wrong type")
            if found.st_uid not in ({self.owner} if place == self.path else {0, self.owner}):
                raise self._unusable(f"is not safe: {place} belongs to the user id {found.st_uid}")
            if loose and not sticky:
                raise self._unusable(
                    f"is not safe: {place} can be written by others (mode {stat.S_IMODE(found.st_mode):04o})"
                )

    def _unusable(self, why: str) -> ConfigurationError:
        return ConfigurationError(
            f"the pin of the trust root in {self.path} {why}",
            hint=f'it must contain one line, {_KEY} = ["sha256:DIGEST:VERSION"], and belong to root: '
            f"chown root: {self.path} && chmod 644 {self.path}",
        )


@dataclass(frozen=True)
class Trust:
    """What applies to a product.

    Attributes:
        policy: The policy's section.
        trusted_keys: The sections of the trusted keys.
        version: The trust document in force; None if no root is pinned.
        versions: The versions from the pinned one to that; empty if no root is pinned.
        pins: The pins; empty if no root is pinned.
        pinned_in: Where they come from.
        location: Where the documents are.
        note: A line for every decision that relies on it.
        documents: The bytes of every published version, including those before the pinned one.
    """

    policy: PolicySection
    trusted_keys: tuple[TrustedKeySection, ...]
    version: TrustVersion | None = None
    versions: tuple[TrustVersion, ...] = ()
    pins: tuple[Pin, ...] = ()
    pinned_in: str = ""
    location: str = ""
    note: str = WORKSPACE
    documents: tuple[bytes, ...] = ()

    @property
    def claim(self) -> dict[str, Any]:
        """What promotions and publications record: version and digest; empty without a pinned root."""
        if self.version is None:
            return {}
        return {"trust": {"version": self.version.number, "digest": self.version.digest}}


def pinned(environ: Mapping[str, str], file: PinFile) -> tuple[tuple[Pin, ...], str]:
    """Return the pins and where they come from; no pins if no root is pinned.

    Raises:
        ConfigurationError: A pin is unusable, the variable is set but empty, or file and environment name
            different pins.
    """
    from jenkins_release.rules.gate.trust import Pin

    text = environ.get(PIN_VARIABLE)
    if text is not None and not text.strip():
        # As after PIN=$(command that failed), which must not let the workspace decide.
        raise ConfigurationError(
            f"{PIN_VARIABLE} is set, but contains no pin",
            hint="'jenkins-release trust show' prints the pin; unset the variable to pin no root",
        )
    given = tuple(Pin.parse(word, PIN_VARIABLE) for word in (text or "").split())
    written = file.read()
    if written is None:
        return given, PIN_VARIABLE if given else ""
    if given and {*given} != {*written}:
        raise ConfigurationError(
            f"{file.path} and {PIN_VARIABLE} pin different trust roots",
            hint="the file decides; correct the variable in Jenkins' global environment, or remove it there",
        )
    return written, str(file.path)


def from_workspace(configuration: Configuration) -> Trust:
    """Return what applies if no root is pinned: ``release.toml``."""
    return Trust(configuration.policy, configuration.trusted_keys)


def load_trust(
    configuration: Configuration,
    pins: tuple[Pin, ...],
    pinned_in: str,
    location: str,
    published: Mapping[int, bytes],
    now: datetime,
) -> Trust:
    """Find out what applies if a root is pinned: the newest version of its trust document.

    Args:
        configuration: ``release.toml``, which must not contradict it.
        pins: The pins; see :func:`pinned`.
        pinned_in: Where they come from.
        location: Where the documents are.
        published: Number to bytes of every published version.
        now: The time, UTC.

    Raises:
        GateRefused: The trust document is missing, rolled back or expired, or ``release.toml`` contradicts
            it.
        IntegrityError: The documents are not those that its keys signed.
    """
    from jenkins_release.rules.gate.trust import in_force, misfits, walk

    own = (configuration.policy, configuration.trusted_keys)
    versions = walk(pins, published, location)
    version = in_force(versions, now)
    problems = misfits(version, configuration)
    if problems:
        raise GateRefused(
            f"release.toml contradicts version {version.number} of the trust document: {problems[0]}",
            hint="correct release.toml, or have the holders of the root keys sign another version",
            reasons=problems,
        )
    document = version.document
    note = f"trust document version {version.number}, {version.digest}"
    if _differs(*own, document.policy, document.trusted_keys):
        note += f"; release.toml's policy is not used: version {version.number} is in force"
    if version.expires - now < SOON:
        note += f"; it expires at {minute(version.expires)}"
    documents = tuple(published[number] for number in sorted(published))
    return Trust(
        document.policy,
        document.trusted_keys,
        version,
        versions,
        pins,
        pinned_in,
        location,
        note,
        documents,
    )


def authorities(versions: Sequence[TrustVersion]) -> list[Authority]:
    """Return versions for those who receive a release: keys that were revoked later are revoked.

    Raises:
        ConfigurationError: A key in a version cannot be used.
    """
    from jenkins_release.rules.gate.authority import Authority
    from jenkins_release.rules.gate.policy import policy_digest, policy_from
    from jenkins_release.steps.context.trusted_keys import load_trusted_keys

    own = [load_trusted_keys(version.document.trusted_keys) for version in versions]
    found = []
    for place, (version, keys) in enumerate(zip(versions, own, strict=True)):
        later = {key.key.keyid for each in own[place:] for key in each if key.revoked}
        policy = policy_from(version.document.policy, keys)
        trusted = tuple(replace(key, revoked=key.key.keyid in later) for key in keys)
        digest = policy_digest(policy, keys)
        product = version.document.product
        found.append(
            Authority(version.number, version.digest, policy, digest, trusted, version.expires, product)
        )
    return found


def _differs(
    policy: PolicySection,
    keys: Sequence[TrustedKeySection],
    trusted_policy: PolicySection,
    trusted_keys: Sequence[TrustedKeySection],
) -> bool:
    """Whether a workspace requires something else; one without a policy does not."""
    from jenkins_release.steps.context.trusted_keys import public_key

    def shown(key: TrustedKeySection) -> tuple[str, str]:
        try:
            keyid = public_key(key).keyid
        except ConfigurationError:
            keyid = "unreadable"
        return keyid, key.model_copy(update={"public_key": ""}).model_dump_json()

    silent = not keys and policy == PolicySection()
    return not silent and (policy != trusted_policy or {*map(shown, keys)} != {*map(shown, trusted_keys)})
