"""Doctor: whether a customer can pull, and if not, why. Changes nothing.

With the vendor's rights it looks into IAM. With the customer's own key, in the environment of the
customer's machine, it tries what Docker does and needs no further right.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from jenkins_release.base.checks import Check, judged
from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import GateRefused, ReleaseError
from jenkins_release.base.moments import day
from jenkins_release.rules.customers import users as tag
from jenkins_release.rules.customers.audit import SeenUser, audit_user
from jenkins_release.rules.customers.iam_evaluate import IamCall, evaluate
from jenkins_release.rules.customers.iam_policy import PULL_ACTIONS, TOKEN_ACTION
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.customers.access import (
    iam_place,
    key_access,
    named_customer,
    own_credentials,
    require_user,
)
from jenkins_release.steps.customers.audit import limits_of, read_user

if TYPE_CHECKING:
    from jenkins_release.registry.key_access import KeyAccess, Tried


@dataclass(frozen=True)
class DoctorReport:
    """Whether a customer can pull.

    Attributes:
        customer: Name of the customer.
        checks: All checks, in the order in which a pull needs them.
        remarks: What does not prevent a pull but should be checked.
    """

    customer: str
    checks: tuple[Check, ...]
    remarks: tuple[str, ...] = ()

    @property
    def can_pull(self) -> bool:
        """Whether all checks are good."""
        return all(check.good for check in self.checks)

    def problem(self) -> GateRefused | None:
        """Return the refusal, None if the customer can pull."""
        if self.can_pull:
            return None
        bad = [check for check in self.checks if not check.good]
        return GateRefused(
            f"{self.customer} cannot pull: {bad[0].name}: {bad[0].said}",
            hint=bad[0].hint,
            reasons=[f"{check.name}: {check.said}" for check in bad],
        )


def examine_customer(
    name: str, services: Services, *, address: str = "", reference: str = "latest"
) -> DoctorReport:
    """Find out whether a customer can pull.

    The customer's own key is tried where ``JENKINS_RELEASE_CUSTOMER_KEY_ID`` and ``..._SECRET`` are
    set; IAM is then not asked, because a customer may not.

    Args:
        name: Name of the customer.
        services: Configuration, IAM, environment.
        address: Public address that the customer's requests come from; only needed if the access
            is limited to networks.
        reference: Tag to pull with the customer's key. Of an image that is missing no layer is read.

    Raises:
        ConfigurationError: No such customer, or half of a key is given.
        RemoteError: IAM failed.
    """
    customer = named_customer(name, services)
    credentials = own_credentials(services)
    if credentials is not None:
        checks = _with_key(key_access(credentials, services), reference, services)
        return DoctorReport(customer.name, tuple(checks))
    user = read_user(require_user(customer, services), services)
    checks = [*_state_checks(user, services), *_key_checks(user)]
    checks += _policy_checks(user, services, address)
    checks += _repository_checks(services)
    remarks = [
        f"{each.message} [{each.check}]" for each in audit_user(user, limits_of(services), services.now())
    ]
    return DoctorReport(customer.name, tuple(checks), tuple(remarks))


def _state_checks(user: SeenUser, services: Services) -> list[Check]:
    revoked = user.tags.get(tag.REVOKED_AT, "")
    issued = user.tags.get(tag.STATE) == tag.ISSUED
    expires = tag.day_of(user.tags, tag.EXPIRES)
    late = expires is not None and expires < services.now().date()
    return [
        judged("issued", issued, user.tags.get(tag.STATE, "unknown"), "finish it with 'customer issue'"),
        judged(
            "not revoked",
            not revoked,
            f"revoked on {revoked[:10]} by {user.tags.get(tag.REVOKED_BY, '?')}" if revoked else "in force",
            "'customer revoke --undo' gives the access back",
        ),
        judged(
            "expiry",
            not late,
            f"the access ended on {expires}" if late else str(expires),
            "'customer issue' with --expires-days renews it",
        ),
    ]


def _key_checks(user: SeenUser) -> list[Check]:
    shown = [
        f"{key.key_id} {'active' if key.active else 'inactive'}, last used "
        + (day(key.last_used) if key.last_used else "never")
        for key in user.keys
    ]
    handed = tag.delivered_keys(user.tags)
    good = any(key.active and key.key_id in handed for key in user.keys)
    return [judged("key", good, "; ".join(shown) or "none", "'customer rotate' creates a new one")]


def _policy_checks(user: SeenUser, services: Services, address: str) -> list[Check]:
    place = iam_place(services)
    policies = [*user.inline.values()]
    policies += [services.iam.managed_policy(arn) or {} for arn in user.managed]
    # A boundary that is gone allows nothing.
    boundary = (services.iam.managed_policy(user.boundary) or {}) if user.boundary else None
    networks = user.tags.get(tag.NETWORKS, "").split()
    context = {"aws:CurrentTime": services.now().isoformat()}
    if address or networks:
        context["aws:SourceIp"] = address or networks[0].partition("/")[0]
    calls = [IamCall(TOKEN_ACTION, "*", context)]
    calls += [IamCall(action, arn, context) for arn in place.scope.resources for action in PULL_ACTIONS]
    refused = []
    for call in calls:
        answer = evaluate(policies, call, boundary)
        if answer != "allow":
            refused.append(f"{call.action} on {call.resource}: {answer}")
    hint = "'customer issue' with the same customer and ticket fixes policy and boundary"
    if networks and address:
        hint = f"the access is limited to {', '.join(networks)}; {hint}"
    found = judged("policy", not refused, refused[0] if refused else "allows every repository", hint)
    bounded = judged("boundary", user.boundary == place.boundary, user.boundary or "none", hint)
    return [found, bounded]


def _repository_checks(services: Services) -> list[Check]:
    checks = []
    for name in iam_place(services).scope.repositories:
        try:
            services.registry.repository(name)
            checks.append(judged(f"repository {name}", True, "is there", ""))
        except ReleaseError as error:
            checks.append(judged(f"repository {name}", False, error.message, "promote a release first"))
    return checks


def _with_key(access: KeyAccess, reference: str, services: Services) -> list[Check]:
    """Try what Docker does, in its order; what comes after something that failed is not tried."""
    checks = [_checked("docker login", access.token)]
    for name in iam_place(services).scope.repositories if checks[0].good else ():
        allowed = _checked(f"right to pull {name}", partial(access.pull, name))
        checks.append(allowed)
        if allowed.good:
            checks.append(_checked(f"pull of {name}", partial(access.fetch, name, reference)))
    return checks


def _checked(what: str, attempt: Callable[[], Tried]) -> Check:
    try:
        tried = attempt()
    except ReleaseError as error:
        # A wrong secret, a wrong clock, a firewall: all of it is why the customer cannot pull.
        return judged(what, False, error.message, error.hint)
    hint = {
        "unknown key": "the key is inactive, deleted or mistyped; a new one takes up to 15 seconds",
        "denied": "the access was revoked, or this machine's address must not pull",
        "no such thing": "the repository is missing: tell your vendor",
    }.get(tried.verdict, "")
    return judged(what, tried.verdict == "allowed", "works" if not hint else tried.said, hint)
