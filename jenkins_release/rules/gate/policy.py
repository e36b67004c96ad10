"""What a release must meet: the policy, and its digest, which an approval names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, field
from datetime import datetime
from functools import cached_property
from hashlib import sha256

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.people import People
from jenkins_release.config.model import PolicySection
from jenkins_release.records.attestation import TrustedKey
from jenkins_release.records.base import canonical_json

SEPARATE = ("requester", "builder", "tester")
"""Who must not be the approver."""
NOTARY_ROLES = ("request", "qa", "approval", "override")
"""Roles in which a key speaks for a person, and for which a policy may accept a notary's word instead."""


@dataclass(frozen=True)
class Freeze:
    """A time in which nothing is released.

    Attributes:
        start: First moment.
        end: First moment after it.
        reason: Why.
    """

    start: datetime
    end: datetime
    reason: str


@dataclass(frozen=True)
class Policy:
    """What the gate requires.

    Attributes:
        sign_offs: Number of testers, each with their own key, whose latest verdict must be a pass.
        sign_off_keys: Names of the keys that may sign off; any QA key if empty.
        sign_off_max_age_days: Days after which a sign-off is too old; 0 for no limit.
        soak_hours: Minimum hours between export and release.
        tested: Whether a passing sign-off counts only if it is bound to what was tested, by a receipt or by
            the digest that the tester gave.
        required_suites: Test suites that the passing sign-offs must cover together.
        build_attestation: Whether a build attestation by a trusted build key is required.
        approvals: Number of people, each with their own key, who must approve the plan.
        approvers: Who may approve, names or ``group:NAME``; anyone with an approval key if empty.
        groups: Group name to people.
        separate: Whom an approver must not be: ``requester``, ``builder``, ``tester``.
        allow_downgrade: Whether a version may be released that is older than a released one in its line.
        freezes: Times in which nothing is released.
        scan: Worst severities that ECR's image scan must not find; empty if no scan is asked for.
        sbom: Whether each image must have an SBOM.
        people: Name of each person to the other ways in which the person is written.
        machines: Accounts that are not people.
        accept_notary: Roles in which a notary's word for a person suffices: ``request``, ``qa``,
            ``approval``, ``override``.
    """

    sign_offs: int = 1
    sign_off_keys: tuple[str, ...] = ()
    sign_off_max_age_days: int = 0
    soak_hours: float = 0.0
    tested: bool = False
    required_suites: tuple[str, ...] = ()
    build_attestation: bool = False
    approvals: int = 0
    approvers: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    separate: tuple[str, ...] = SEPARATE
    allow_downgrade: bool = False
    freezes: tuple[Freeze, ...] = ()
    scan: tuple[str, ...] = ()
    sbom: bool = False
    people: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    machines: tuple[str, ...] = ()
    accept_notary: tuple[str, ...] = ()

    @cached_property
    def directory(self) -> People:
        """Who is who."""
        return People(self.people, self.machines)

    @property
    def named_approvers(self) -> tuple[str, ...]:
        """Everyone in ``approvers``, with groups resolved, each name once."""
        named: list[str] = []
        for name in self.approvers:
            group = name.removeprefix("group:")
            named += self.groups.get(group, ()) if name != group else (name,)
        return tuple(dict.fromkeys(named))

    def may_approve(self, person: str) -> bool:
        """Whether a person is among the approvers."""
        same = self.directory.surely_same
        return not self.approvers or any(same(person, name) for name in self.named_approvers)

    def voice_problem(self, key: TrustedKey, name: str, role: str) -> str | None:
        """Return why a key must not speak for a person, or None if it may.

        Without a list of people, nothing shows whether a name is the owner's, so owners are not checked.

        Args:
            key: The signing key.
            name: The person, as named in the statement.
            role: The role: ``request``, ``qa``, ``approval`` or ``override``.
        """
        who = self.directory
        if who.listed and key.owner and who.person(name) != key.owner:
            return f"the key {key.name!r} is {key.owner}'s and speaks for no one else"
        if key.notary and role not in self.accept_notary:
            return (
                f"Jenkins vouches for it with the key {key.name!r}, and policy.accept_notary "
                f"does not name {role!r}"
            )
        if not who.listed:
            return None
        if not key.owner and not key.notary:
            return f"the key {key.name!r} has no owner and is not a notary's"
        if who.is_machine(name):
            return f"{name} is a machine of policy.machines, not a person"
        return None if who.person(name) else f"{name} is not in policy.people"


def policy_from(section: PolicySection, trusted: Sequence[TrustedKey]) -> Policy:
    """Return the policy of a configuration; with a trusted build key, builds must be attested."""
    freezes = tuple(Freeze(each.start, each.end, each.reason) for each in section.freezes)
    values = section.model_dump(exclude={"freezes"})
    builders = any("build" in key.roles and not key.revoked for key in trusted)
    return Policy(**values, freezes=freezes, build_attestation=builders)


def policy_digest(policy: Policy, trusted: Sequence[TrustedKey]) -> str:
    """Return the digest of a policy and its trusted keys.

    An approval names it, so a policy that was loosened later is not the one that was approved.
    """
    keys = [
        {
            "name": key.name,
            "keyid": key.key.keyid,
            "roles": sorted(key.roles),
            "from": key.valid_from.isoformat() if key.valid_from else None,
            "until": key.valid_until.isoformat() if key.valid_until else None,
            "revoked": key.revoked,
        }
        | ({"owner": key.owner} if key.owner else {})
        | ({"notary": True} if key.notary else {})
        for key in sorted(trusted, key=lambda key: key.name)
    ]
    values = asdict(policy)
    for name in ("people", "machines", "accept_notary", "sbom"):
        # A policy that names no people has one digest, however that is written. What came later and is not
        # used does not change the digest either.
        if not values[name]:
            del values[name]
    values["freezes"] = [
        [freeze.start.isoformat(), freeze.end.isoformat(), freeze.reason] for freeze in policy.freezes
    ]
    return f"sha256:{sha256(canonical_json({'policy': values, 'keys': keys})).hexdigest()}"
