"""Issue: give a customer access to the product's images, and to nothing else.

Each call of IAM may be the last of a run that dies. The tags of the user say how far it came, the
key is noted as handed over only after it was, and a key whose secret nobody has is replaced. Running
the command again ends in the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import timedelta
from functools import partial
from typing import Any

from jenkins_release.aws.iam import AccessKey, IamUser
from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused, RemoteError
from jenkins_release.rules.customers import users as tag
from jenkins_release.rules.customers.iam_policy import (
    MAX_MANAGED,
    boundary_policy,
    policy_text,
    pull_policy,
    room_for_pull,
    same_policy,
    source_networks,
)
from jenkins_release.rules.customers.users import (
    Customer,
    boundary_name,
    checked_ticket,
    same_customer,
    tag_value,
)
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.customers.access import (
    IamPlace,
    hand_key_over,
    iam_place,
    named_customer,
    require_no_console,
    require_place,
    seen,
    settle_keys,
    settle_tags,
)
from jenkins_release.steps.customers.handover import HandOver


@dataclass(frozen=True)
class IssueRequest:
    """Who gets access.

    Attributes:
        customer: Name of the customer.
        ticket: Ticket that asks for it.
        handover: Where the secret leaves to; only needed if a key is made.
        networks: Networks that requests have to come from; any where empty. For an existing customer
            empty leaves them as they are, and ``any`` lifts the limit.
        expires_days: Days until the access ends; ``customers.expires_days`` by default. An existing
            customer's last day only changes if it is given.
        dry_run: Check everything and tell what would be done, change nothing.
    """

    customer: str
    ticket: str
    handover: HandOver | None = field(default=None, repr=False)
    networks: tuple[str, ...] = ()
    expires_days: int | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class IssueReport:
    """What a customer has now.

    Attributes:
        customer: Name of the customer.
        user: ARN of the IAM user.
        ticket: Ticket that the access was given for.
        keys: Its access keys.
        expires: Last day of the access, in UTC; the policy ends with it.
        networks: Networks that requests have to come from.
        policy: The policy.
        done: What was done, in order; nothing if all of it existed.
        key_id: The key that was made and handed over now; empty if none was.
        place: Where its secret is.
    """

    customer: str
    user: str
    ticket: str
    keys: tuple[AccessKey, ...]
    expires: str
    networks: tuple[str, ...]
    policy: dict[str, Any]
    done: tuple[str, ...]
    key_id: str = ""
    place: str = ""


def issue_customer(request: IssueRequest, services: Services) -> IssueReport:
    """Give a customer access, finish an issue that died, or report what exists.

    An existing customer keeps keys and ticket; policy and boundary are brought in line with the
    product's repositories, networks and expiry where the request names them.

    Raises:
        ConfigurationError: The request is wrong, the name is taken, or a quota of IAM is reached.
        GateRefused: The user has console access, was revoked, or its key may do more than pull.
        RemoteError: AWS refused or failed.
    """
    customer = named_customer(request.customer, services)
    ticket, networks = checked_ticket(request.ticket), source_networks(request.networks)
    place = iam_place(services)
    user = services.iam.user(customer.user)
    unfinished = user is None or user.tags.get(tag.STATE) != tag.ISSUED
    if user is not None:
        _check_existing(user, customer, place)
        if not request.networks:
            networks = tuple(user.tags.get(tag.NETWORKS, "").split())
    if unfinished:
        require_place(request.handover, customer, services.environ)
    tags = _tags(customer, ticket, networks, request, services)
    if user is not None and not _sets_expiry(request, user):
        tags[tag.EXPIRES] = user.tags[tag.EXPIRES]
    policy = pull_policy(place.scope, networks, expires=tag.day_of(tags, tag.EXPIRES))
    text = policy_text(policy, room_for_pull())
    done = _Doing(request.dry_run, services)
    _bring_boundary(place, done, services, new_user=user is None)
    if user is None:
        done(
            f"create the user {place.path}{customer.user}",
            lambda: services.iam.create_user(customer.user, place.path, tags, place.boundary),
        )
        user = None if request.dry_run else _made(customer, services)
    elif user.boundary != place.boundary:
        done("set the boundary", lambda: services.iam.set_boundary(customer.user, place.boundary))
    if user is not None:
        require_no_console(customer.user, services)
    inline = {} if user is None else services.iam.attachments(customer.user).inline
    if tag.PULL not in inline or not same_policy(inline[tag.PULL], policy):
        done("write the policy", lambda: services.iam.put_policy(customer.user, tag.PULL, text))
    if user is not None:
        tags = _bring_tags(user, tags, done, services)
    given = ""
    if tags.get(tag.STATE) != tag.ISSUED:
        given = _hand_over(customer, tags, done, request, services)
        if given:
            settle_keys(customer.user, {given: True}, services)
    return IssueReport(
        customer=customer.name,
        user=user.arn if user is not None else f"{customer.user} (new)",
        ticket=tags.get(tag.TICKET, ""),
        keys=() if user is None else tuple(services.iam.used_keys(customer.user)),
        expires=tags.get(tag.EXPIRES, ""),
        networks=networks,
        policy=policy,
        done=tuple(done.steps),
        key_id=given,
        place=request.handover.place(customer.user, given) if given and request.handover else "",
    )


class _Doing:
    """Does what is to be done and keeps the list; in a dry run only the list."""

    def __init__(self, dry_run: bool, services: Services) -> None:
        self.steps: list[str] = []
        self.dry_run = dry_run
        self._services = services

    def __call__(self, what: str, action: Callable[[], None]) -> None:
        self.steps.append(what)
        if not self.dry_run:
            # IAM may not know everywhere yet what was just created.
            self._services.retry(what, action)


def _check_existing(user: IamUser, customer: Customer, place: IamPlace) -> None:
    """Check a user that is there. Raises ConfigurationError, or GateRefused for a revoked one."""
    same_customer(user.tags, customer)
    if user.path != place.path:
        raise ConfigurationError(
            f"the IAM user {user.name} is under {user.path}, expected {place.path}",
            hint="set customers.path, or move the user with 'aws iam update-user --new-path'",
        )
    if user.tags.get(tag.REVOKED_AT):
        raise GateRefused(
            f"the access of {customer.name} was revoked on {user.tags[tag.REVOKED_AT][:10]}",
            hint="'customer revoke --undo' gives it back, 'customer revoke --delete' ends it for good",
        )


def _made(customer: Customer, services: Services) -> IamUser:
    """Read the user that was just created; someone else may have been faster, under another spelling."""
    user = seen(
        f"the user {customer.user}",
        lambda: services.iam.user(customer.user),
        # Its tags may show later than the user itself.
        lambda now: now is not None and bool(now.tags),
        services,
    )
    assert user is not None
    same_customer(user.tags, customer)
    return user


def _sets_expiry(request: IssueRequest, user: IamUser) -> bool:
    """Whether the access gets another last day: it is requested, or there is no readable one on record."""
    return bool(request.expires_days) or tag.day_of(user.tags, tag.EXPIRES) is None


def _bring_tags(user: IamUser, wanted: Mapping[str, str], done: _Doing, services: Services) -> dict[str, str]:
    """Bring networks and expiry in line with what is asked for; returns the tags as they are then."""
    tags = dict(user.tags)
    networks = wanted.get(tag.NETWORKS, "")
    if networks and networks != tags.get(tag.NETWORKS):
        done("note the networks", lambda: services.iam.tag(user.name, {tag.NETWORKS: networks}))
        tags[tag.NETWORKS] = networks
    elif not networks and tags.get(tag.NETWORKS):
        done("note the networks", lambda: services.iam.untag(user.name, [tag.NETWORKS]))
        del tags[tag.NETWORKS]
    expires = wanted[tag.EXPIRES]
    if expires != tags.get(tag.EXPIRES):
        done("note the expiry", lambda: services.iam.tag(user.name, {tag.EXPIRES: expires}))
        tags[tag.EXPIRES] = expires
    if tags != user.tags and not done.dry_run:
        kept = {name: tags[name] for name in (tag.NETWORKS, tag.EXPIRES) if name in tags}
        settle_tags(user.name, kept, services, gone={tag.NETWORKS} - kept.keys())
    return tags


def _bring_boundary(place: IamPlace, done: _Doing, services: Services, *, new_user: bool) -> None:
    """See that the boundary of all customers of the product is there and current."""
    boundary = boundary_policy(place.scope)
    text = policy_text(boundary, MAX_MANAGED)
    found = services.retry(f"read the policy {place.boundary}", services.iam.managed_policy, place.boundary)
    if new_user:
        _check_quotas(services, new_policy=found is None)
    name = boundary_name(services.configuration.product.name)
    if found is None:
        done(
            f"create the boundary {name}",
            lambda: services.iam.create_managed_policy(name, place.path, text),
        )
    elif same_policy(found, boundary):
        return
    else:
        done(
            f"replace the boundary {name}", lambda: services.iam.replace_managed_policy(place.boundary, text)
        )
    if not done.dry_run:
        _await_boundary(place, boundary, services)


def _await_boundary(place: IamPlace, boundary: Mapping[str, Any], services: Services) -> None:
    """Wait until the boundary shows, which may have been made before, and elsewhere. Raises RemoteError."""
    read = partial(services.iam.managed_policy, place.boundary)
    try:
        seen(
            f"the policy {place.boundary}",
            read,
            lambda now: now is not None and same_policy(now, boundary),
            services,
        )
    except RemoteError as error:
        raise RemoteError(
            error.message, hint=f"{error.hint}; is there a policy with that name under another path?"
        ) from error


def _check_quotas(services: Services, *, new_policy: bool) -> None:
    """Read the quotas before the first change. Raises ConfigurationError with every one that is reached."""
    summary = services.iam.quotas()
    wanted = {"Users": 1, "Policies": 1 if new_policy else 0}
    full = [
        f"{name}: {summary[name]} of {summary[f'{name}Quota']} are used"
        for name, more in wanted.items()
        if more and name in summary and summary[name] + more > summary.get(f"{name}Quota", 1 << 62)
    ]
    if full:
        raise ConfigurationError(
            f"a quota of IAM is reached in the account {services.iam.account}: nothing was changed",
            hint="'customer audit' shows unused customers; quotas are raised in Service Quotas",
            reasons=full,
        )


def _tags(
    customer: Customer, ticket: str, networks: tuple[str, ...], request: IssueRequest, services: Services
) -> dict[str, str]:
    now = services.now()
    days = request.expires_days or services.configuration.customers.expires_days
    return {
        tag.CUSTOMER: customer.name,
        tag.PRODUCT: customer.product,
        tag.TICKET: ticket,
        tag.ISSUED_BY: tag_value(services.user()),
        tag.ISSUED_AT: now.isoformat(timespec="seconds"),
        tag.EXPIRES: (now + timedelta(days=days)).date().isoformat(),
        tag.STATE: tag.ISSUING,
        **({tag.NETWORKS: " ".join(networks)} if networks else {}),
    }


def _hand_over(
    customer: Customer, tags: Mapping[str, str], done: _Doing, request: IssueRequest, services: Services
) -> str:
    """See that a key was handed over, and note it; returns its id, nothing in a dry run."""
    handover = request.handover
    done.steps.append("create an access key and hand it over")
    if handover is None or request.dry_run:
        return ""
    handed = hand_key_over(customer, tags, handover, services)
    noted = {tag.DELIVERED: " ".join(handed), tag.STATE: tag.ISSUED}
    done("note the hand-over", lambda: services.iam.tag(customer.user, noted))
    settle_tags(customer.user, noted, services)
    return handed[-1]
