"""What is wrong with a customer's access: drift, additional access, old and unused keys.

Decides from what IAM shows, without calling it. Each finding says what was expected, what was found and what
to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.moments import day
from jenkins_release.rules.customers import users as tag
from jenkins_release.rules.customers.iam_policy import (
    Policy,
    PullScope,
    boundary_policy,
    deny_policy,
    pull_policy,
    same_policy,
)
from jenkins_release.rules.customers.users import day_of, delivered_keys, moment_in


@dataclass(frozen=True)
class SeenKey:
    """An access key as IAM lists it."""

    key_id: str
    active: bool
    created: datetime
    last_used: datetime | None = None


@dataclass(frozen=True)
class SeenUser:
    """A user under the product's path, with everything that grants it rights.

    Attributes:
        name: User name.
        tags: Its tags.
        boundary: ARN of its boundary; empty if it has none.
        keys: Its access keys.
        inline: Name to document of its inline policies.
        managed: ARNs of what is attached.
        groups: Its groups.
        console: Whether it has a console password.
    """

    name: str
    tags: Mapping[str, str]
    boundary: str
    keys: tuple[SeenKey, ...] = ()
    inline: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    managed: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    console: bool = False


@dataclass(frozen=True)
class AuditLimits:
    """What the audit holds customers to.

    Attributes:
        product: Name of the product.
        scope: What they may pull.
        boundary: ARN of their boundary.
        key_max_age: Age from which a key is too old.
        unused: Time without use after which a key counts as unused.
        rotation: Time that a rotation may take.
        delete_after: Time from which a revoked customer may be deleted.
    """

    product: str
    scope: PullScope
    boundary: str
    key_max_age: timedelta
    unused: timedelta
    rotation: timedelta
    delete_after: timedelta


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        user: User name; the boundary's ARN if the finding is about that.
        check: Short name of the check, for a nightly job to tell findings apart.
        message: What was found and expected.
        hint: What to do.
    """

    user: str
    check: str
    message: str
    hint: str


def audit_boundary(document: Policy | None, limits: AuditLimits) -> list[Finding]:
    """Compare the boundary of all customers with the generated one."""
    if document is None:
        return [
            Finding(
                limits.boundary, "boundary-missing", "the policy does not exist", "'customer issue' makes it"
            )
        ]
    if not same_policy(document, boundary_policy(limits.scope)):
        message = "the boundary does not match the product's repositories"
        return [
            Finding(limits.boundary, "boundary-drift", message, "'customer issue' for any customer fixes it")
        ]
    return []


def audit_user(user: SeenUser, limits: AuditLimits, now: datetime) -> list[Finding]:
    """Return everything that is wrong with a user."""
    if user.tags.get(tag.PRODUCT) != limits.product or not user.tags.get(tag.CUSTOMER):
        hint = "find out who created it; only 'customer issue' issues access"
        return [
            Finding(user.name, "unknown-user", "is under the customers' path, but lacks their tags", hint),
            *_ways_in(user),
        ]
    return [*_rights(user, limits), *_ways_in(user), *_keys(user, limits, now), *_state(user, limits, now)]


def _rights(user: SeenUser, limits: AuditLimits) -> list[Finding]:
    again = "'customer issue' with the same customer and ticket fixes it"
    found = []
    networks = tuple(user.tags.get(tag.NETWORKS, "").split())
    policy = user.inline.get(tag.PULL)
    if policy is None:
        found.append(Finding(user.name, "policy-missing", "has no pull policy", again))
    elif not same_policy(
        policy, pull_policy(limits.scope, networks, expires=tag.day_of(user.tags, tag.EXPIRES))
    ):
        found.append(Finding(user.name, "policy-drift", "the pull policy is not the generated one", again))
    if user.boundary != limits.boundary:
        message = f"the boundary is {user.boundary or 'missing'}, expected {limits.boundary}"
        found.append(Finding(user.name, "boundary-of-user", message, again))
    if tag.REVOKED in user.inline and not same_policy(user.inline[tag.REVOKED], deny_policy()):
        found.append(
            Finding(user.name, "deny-drift", "the deny of a revoked customer was changed", "revoke again")
        )
    return found


def _ways_in(user: SeenUser) -> list[Finding]:
    found = []
    if user.console:
        message = "has a login profile: customers get no console access"
        found.append(Finding(user.name, "console", message, "aws iam delete-login-profile"))
    further = [
        (name, "extra-policy", "has the further policy", "aws iam delete-user-policy")
        for name in sorted(set(user.inline) - {tag.PULL, tag.REVOKED})
    ]
    further += [
        (arn, "extra-policy", "has the attached policy", "aws iam detach-user-policy") for arn in user.managed
    ]
    further += [
        (group, "group", "is in the group", "aws iam remove-user-from-group") for group in user.groups
    ]
    found += [Finding(user.name, check, f"{said} {what}", hint) for what, check, said, hint in further]
    return found


def _keys(user: SeenUser, limits: AuditLimits, now: datetime) -> list[Finding]:
    found = []
    delivered = delivered_keys(user.tags)
    for key in user.keys:
        if key.key_id not in delivered:
            message = f"the key {key.key_id} was not handed over by this program"
            hint = "find out who created it, and delete it; if a run died, run it again to finish it"
            found.append(Finding(user.name, "unknown-key", message, hint))
        if not key.active:
            continue
        if now - key.created > limits.key_max_age:
            message = f"the key {key.key_id} is {(now - key.created).days} days old"
            found.append(Finding(user.name, "key-age", message, "customer rotate"))
        since = key.last_used or key.created
        if now - since > limits.unused:
            used = "was never used" if key.last_used is None else f"was last used on {day(key.last_used)}"
            message = f"the key {key.key_id} {used}"
            found.append(Finding(user.name, "key-unused", message, "ask the customer, then revoke"))
    return found


def _state(user: SeenUser, limits: AuditLimits, now: datetime) -> list[Finding]:
    found = []
    renew = "'customer issue' with --expires-days renews it; or revoke"
    revoked, expires = moment_in(user.tags, tag.REVOKED_AT), day_of(user.tags, tag.EXPIRES)
    if user.tags.get(tag.STATE) != tag.ISSUED:
        hint = "finish it: 'customer issue' with the same customer and ticket"
        found.append(Finding(user.name, "unfinished-issue", "was never issued completely", hint))
    if expires is None:
        found.append(Finding(user.name, "expiry-missing", "no end date is set for the access", renew))
    elif expires < now.date() and revoked is None:
        found.append(Finding(user.name, "expired", f"the access ended on {expires}", renew))
    rotation = moment_in(user.tags, tag.ROTATION_AT)
    if rotation is not None and now - rotation > limits.rotation and revoked is None:
        message = f"the rotation that began on {day(rotation)} is not finished"
        found.append(Finding(user.name, "rotation-open", message, "customer rotate"))
    if revoked is not None:
        if tag.REVOKED not in user.inline:
            found.append(
                Finding(
                    user.name, "revoked-without-deny", "is revoked, but has no deny policy", "revoke again"
                )
            )
        for key in user.keys:
            if key.active:
                message = f"is revoked, but the key {key.key_id} is active"
                found.append(Finding(user.name, "revoked-with-key", message, "revoke again"))
        if now - revoked > limits.delete_after:
            message = f"was revoked on {day(revoked)} and can be deleted"
            found.append(Finding(user.name, "revoked-left", message, "customer revoke --delete"))
    return found


def problems(findings: Sequence[Finding]) -> list[str]:
    """Return the findings as reasons, one line each."""
    return [f"{each.user}: {each.message} [{each.check}]: {each.hint}" for each in findings]
