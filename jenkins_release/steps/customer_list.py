"""List and audit: who has access, and what of it is not as it should be. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from jenkins_release.aws.iam import AccessKey, IamUser
from jenkins_release.errors import GateRefused
from jenkins_release.rules import customers as tag
from jenkins_release.rules.customer_audit import (
    Finding,
    Limits,
    SeenKey,
    SeenUser,
    audit_boundary,
    audit_user,
    problems,
)
from jenkins_release.steps._customers import place_of
from jenkins_release.steps.services import Services

ListedState = Literal["issued", "issuing", "rotating", "revoked", "unknown"]


@dataclass(frozen=True)
class ListedCustomer:
    """A user under the product's path.

    Attributes:
        user: User name.
        customer: Name of the customer; empty for a user that this program did not make.
        ticket: Ticket that asked for the access.
        state: Where the access stands.
        expires: Day on which it has to be renewed.
        keys: Its access keys.
        age_days: Age of the oldest key, in days; None without a key.
    """

    user: str
    customer: str
    ticket: str
    state: ListedState
    expires: str
    keys: tuple[AccessKey, ...]
    age_days: int | None


@dataclass(frozen=True)
class AuditReport:
    """What an audit found.

    Attributes:
        users: How many users stand under the path.
        findings: Everything that is not as it should be.
    """

    users: int
    findings: tuple[Finding, ...]

    def problem(self) -> GateRefused | None:
        """Return the refusal that the findings amount to, None where there are none."""
        if not self.findings:
            return None
        count = f"{len(self.findings)} finding{'s' if len(self.findings) > 1 else ''}"
        return GateRefused(
            f"the audit of {self.users} customers has {count}",
            hint="each finding says what to do",
            reasons=problems(self.findings),
        )


def list_customers(services: Services) -> list[ListedCustomer]:
    """Return everybody under the product's path.

    Raises:
        RemoteError: AWS refused or failed.
    """
    found = []
    for user in services.iam.users(place_of(services).path):
        keys = tuple(services.iam.keys(user.name))
        age = (services.now() - keys[0].created).days if keys else None
        found.append(
            ListedCustomer(
                user.name,
                user.tags.get(tag.CUSTOMER, ""),
                user.tags.get(tag.TICKET, ""),
                _state(user),
                user.tags.get(tag.EXPIRES, ""),
                keys,
                age,
            )
        )
    return found


def audit_customers(services: Services) -> AuditReport:
    """Compare every customer with what this program would have made.

    Raises:
        RemoteError: AWS refused or failed.
    """
    limits, now = limits_of(services), services.now()
    users = services.iam.users(place_of(services).path)
    findings = audit_boundary(services.iam.managed_policy(limits.boundary), limits) if users else []
    for user in users:
        findings += audit_user(seen(user, services), limits, now)
    return AuditReport(len(users), tuple(findings))


def limits_of(services: Services) -> Limits:
    """Return what the configuration holds customers to."""
    section, place = services.configuration.customers, place_of(services)
    return Limits(
        product=services.configuration.product.name,
        scope=place.scope,
        boundary=place.boundary,
        key_max_age=timedelta(days=section.key_max_age_days),
        unused=timedelta(days=section.unused_days),
        rotation=timedelta(days=2 * section.rotation_grace_days + 1),
        delete_after=timedelta(days=section.delete_after_days),
    )


def seen(user: IamUser, services: Services) -> SeenUser:
    """Read everything about a user that an audit looks at."""
    attached = services.iam.attachments(user.name)
    keys = services.iam.keys(user.name)
    return SeenUser(
        name=user.name,
        tags=user.tags,
        boundary=user.boundary,
        keys=tuple(SeenKey(key.key_id, key.active, key.created, key.last_used) for key in keys),
        inline=attached.inline,
        managed=attached.managed,
        groups=attached.groups,
        console=attached.console,
    )


def _state(user: IamUser) -> ListedState:
    if not user.tags.get(tag.CUSTOMER):
        return "unknown"
    if user.tags.get(tag.REVOKED_AT):
        return "revoked"
    if user.tags.get(tag.STATE) != tag.ISSUED:
        return "issuing"
    return "rotating" if tag.ROTATES in user.tags else "issued"
