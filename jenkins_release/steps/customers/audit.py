"""List and audit: who has access, and what is wrong with it. Changes nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from jenkins_release.aws.iam import AccessKey, IamUser
from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import GateRefused
from jenkins_release.base.tags import released_versions
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.registry.protocol import RepositoryNotFound
from jenkins_release.rules.customers import users as tag
from jenkins_release.rules.customers.accounts import SharedAccount
from jenkins_release.rules.customers.audit import (
    AuditLimits,
    Finding,
    SeenKey,
    SeenUser,
    audit_boundary,
    audit_user,
    problems,
)
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.support import current_window
from jenkins_release.steps.customers.access import iam_place
from jenkins_release.steps.customers.account import list_accounts

ListedState = Literal["issued", "issuing", "rotating", "revoked", "unknown"]


@dataclass(frozen=True)
class ListedCustomer:
    """A user under the product's path.

    Attributes:
        user: User name.
        customer: Name of the customer; empty for a user that this program did not make.
        ticket: Ticket that asked for the access.
        state: Where the access stands.
        expires: Last day of the access.
        keys: Its access keys.
        age_days: Age of the oldest key, in days; None without a key.
        supported: Whether the customer may pull what is supported: not revoked, not expired, and a key
            that was handed over is active.
    """

    user: str
    customer: str
    ticket: str
    state: ListedState
    expires: str
    keys: tuple[AccessKey, ...]
    age_days: int | None
    supported: bool


@dataclass(frozen=True)
class CustomerList:
    """Who has access, and to what.

    Attributes:
        users: IAM users under the product's path.
        accounts: AWS accounts that the repositories let in.
        lines: Supported lines, newest first, by the versions that stand in the registry.
    """

    users: tuple[ListedCustomer, ...]
    accounts: tuple[SharedAccount, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class AuditReport:
    """What an audit found.

    Attributes:
        users: How many users stand under the path.
        findings: Everything that is wrong.
    """

    users: int
    findings: tuple[Finding, ...]

    def problem(self) -> GateRefused | None:
        """Return the refusal that the findings amount to, None if there are none."""
        if not self.findings:
            return None
        count = f"{len(self.findings)} finding{'s' if len(self.findings) > 1 else ''}"
        return GateRefused(
            f"the audit of {self.users} customers has {count}",
            hint="each finding says what to do",
            reasons=problems(self.findings),
        )


def list_customers(services: Services) -> CustomerList:
    """Return everyone who has access, and the supported lines.

    Raises:
        RemoteError: AWS refused or failed.
    """
    users = tuple(_listed(user, services) for user in services.iam.users(iam_place(services).path))
    window = current_window(_standing(services), services)
    return CustomerList(users, tuple(list_accounts(services)), window.names)


def _listed(user: IamUser, services: Services) -> ListedCustomer:
    keys, now = tuple(services.iam.used_keys(user.name)), services.now()
    state, expires = _state(user), tag.day_of(user.tags, tag.EXPIRES)
    handed = tag.delivered_keys(user.tags)
    works = any(key.active and key.key_id in handed for key in keys)
    current = expires is None or expires >= now.date()
    return ListedCustomer(
        user=user.name,
        customer=user.tags.get(tag.CUSTOMER, ""),
        ticket=user.tags.get(tag.TICKET, ""),
        state=state,
        expires=user.tags.get(tag.EXPIRES, ""),
        keys=keys,
        age_days=(now - keys[0].created).days if keys else None,
        supported=state in {"issued", "rotating"} and current and works,
    )


def _standing(services: Services) -> set[ReleaseVersion]:
    """Return the versions that stand in the registry: withdrawn and retired ones do not."""
    templates = services.configuration.ecr.tags
    found: set[ReleaseVersion] = set()
    for name in iam_place(services).scope.repositories:
        try:
            tags = services.retry(f"list the tags of {name}", services.registry.tags, name)
        except RepositoryNotFound:
            continue
        found.update(released_versions(templates, tags))
    return found


def audit_customers(services: Services) -> AuditReport:
    """Compare every customer with what this program would have created.

    Raises:
        RemoteError: AWS refused or failed.
    """
    limits, now = limits_of(services), services.now()
    users = services.iam.users(iam_place(services).path)
    findings = audit_boundary(services.iam.managed_policy(limits.boundary), limits) if users else []
    for user in users:
        findings += audit_user(read_user(user, services), limits, now)
    return AuditReport(len(users), tuple(findings))


def limits_of(services: Services) -> AuditLimits:
    """Return what the configuration holds customers to."""
    section, place = services.configuration.customers, iam_place(services)
    return AuditLimits(
        product=services.configuration.product.name,
        scope=place.scope,
        boundary=place.boundary,
        key_max_age=timedelta(days=section.key_max_age_days),
        unused=timedelta(days=section.unused_days),
        rotation=timedelta(days=2 * section.rotation_grace_days + 1),
        delete_after=timedelta(days=section.delete_after_days),
    )


def read_user(user: IamUser, services: Services) -> SeenUser:
    """Read everything about a user that an audit looks at."""
    attached = services.iam.attachments(user.name)
    keys = services.iam.used_keys(user.name)
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
