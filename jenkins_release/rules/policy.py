"""What a release has to fulfil: the policy, and its digest, which an approval names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import sha256

from jenkins_release.records.attestation import TrustedKey
from jenkins_release.records.base import canonical_json
from jenkins_release.rules.people import same_person

SEPARATE = ("requester", "builder", "tester")
"""Who may not be the approver."""
SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "UNDEFINED")
"""ECR's severities, worst first (ECR API reference, ``ImageScanFindings``)."""


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
    """What the gate asks for.

    Attributes:
        sign_offs: Testers, each with a key of their own, whose latest verdict must be a pass.
        sign_off_keys: Names of the keys that may sign off; any QA key where empty.
        sign_off_max_age_days: Days after which a sign-off is too old; 0 for no bound.
        soak_hours: Hours that a candidate has to rest between export and release.
        required_suites: Test suites that the passing sign-offs have to cover between them.
        build_attestation: Whether a build attestation by a trusted build key is required.
        approvals: People, each with a key of their own, who have to approve the plan.
        approvers: Who may approve, names or ``group:NAME``; anyone with an approval key where empty.
        groups: Group name to people.
        separate: Whom an approver must not be: ``requester``, ``builder``, ``tester``.
        allow_downgrade: Whether a version older than one that is released in its line may go out.
        freezes: Times in which nothing is released.
        scan: Worst severities that ECR's image scan must not find; empty where no scan is asked for.
    """

    sign_offs: int = 1
    sign_off_keys: tuple[str, ...] = ()
    sign_off_max_age_days: int = 0
    soak_hours: float = 0.0
    required_suites: tuple[str, ...] = ()
    build_attestation: bool = False
    approvals: int = 0
    approvers: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    separate: tuple[str, ...] = SEPARATE
    allow_downgrade: bool = False
    freezes: tuple[Freeze, ...] = ()
    scan: tuple[str, ...] = ()

    @property
    def named_approvers(self) -> tuple[str, ...]:
        """Everybody in ``approvers``, groups resolved, each name once."""
        named: list[str] = []
        for name in self.approvers:
            group = name.removeprefix("group:")
            named += self.groups.get(group, ()) if name != group else (name,)
        return tuple(dict.fromkeys(named))

    def may_approve(self, person: str) -> bool:
        """Whether a person is among the approvers."""
        return not self.approvers or any(same_person(person, name) for name in self.named_approvers)


def policy_digest(policy: Policy, trusted: Sequence[TrustedKey]) -> str:
    """Return the digest of a policy and of the keys that it trusts.

    An approval names it: a policy that was loosened afterwards is not the one that was approved.
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
        for key in sorted(trusted, key=lambda key: key.name)
    ]
    values = asdict(policy)
    values["freezes"] = [
        [freeze.start.isoformat(), freeze.end.isoformat(), freeze.reason] for freeze in policy.freezes
    ]
    return f"sha256:{sha256(canonical_json({'policy': values, 'keys': keys})).hexdigest()}"
