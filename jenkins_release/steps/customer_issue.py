"""Issue: give a customer access to the product's images, and to nothing else.

Each call of IAM may be the last of a run that dies. The tags of the user say how far it came, the
key is noted as handed over only after it was, and a key whose secret nobody has is replaced. Running
the command again ends in the same state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from jenkins_release.aws.iam import AccessKey, IamUser
from jenkins_release.errors import ConfigurationError, GateRefused
from jenkins_release.rules import customers as tag
from jenkins_release.rules.customers import (
    Customer,
    boundary_name,
    checked_ticket,
    same_customer,
    tag_value,
)
from jenkins_release.rules.iam_policy import (
    MAX_INLINE,
    MAX_MANAGED,
    boundary_policy,
    policy_text,
    pull_policy,
    same_policy,
    source_networks,
)
from jenkins_release.steps._customers import (
    Place,
    adopt,
    make_key,
    named_customer,
    place_of,
    require_no_console,
)
from jenkins_release.steps._handover import HandOver
from jenkins_release.steps.services import Services


@dataclass(frozen=True)
class IssueRequest:
    """Who gets access.

    Attributes:
        customer: Name of the customer.
        ticket: Ticket that asks for it.
        handover: Where the secret leaves to; only a dry run needs none.
        networks: Networks that requests have to come from; any where empty.
        expires_days: Days until the access has to be renewed; ``customers.expires_days`` by default.
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
        keys: Its access keys.
        expires: Day on which the access has to be renewed.
        networks: Networks that requests have to come from.
        policy: The policy.
        done: What was done, in order; nothing where all of it existed.
        key_id: The key that was made and handed over now; empty where none was.
        place: Where its secret is.
    """

    customer: str
    user: str
    keys: tuple[AccessKey, ...]
    expires: str
    networks: tuple[str, ...]
    policy: dict[str, Any]
    done: tuple[str, ...]
    key_id: str = ""
    place: str = ""


def issue_customer(request: IssueRequest, services: Services) -> IssueReport:
    """Give a customer access, finish an issue that died, or say what exists.

    An existing customer keeps keys, ticket and expiry; policy and boundary are brought in line with
    the product's repositories.

    Raises:
        ConfigurationError: The request is wrong, the name is taken, or a quota of IAM is reached.
        GateRefused: The user has console access, was revoked, or its key may do more than pull.
        RemoteError: AWS refused or failed.
    """
    customer = named_customer(request.customer, services)
    ticket, networks = checked_ticket(request.ticket), source_networks(request.networks)
    if request.handover is None and not request.dry_run:
        raise ConfigurationError(
            "nowhere to hand the key over to", hint="give --file, --secret or --terminal"
        )
    place = place_of(services)
    user = services.iam.user(customer.user)
    if user is not None:
        networks = _check_existing(user, customer, place, networks)
    policy = pull_policy(place.scope, networks)
    text = policy_text(policy, MAX_INLINE)
    boundary = boundary_policy(place.scope)
    done = _Doing(request.dry_run)
    _bring_boundary(place, boundary, done, services, new_user=user is None)
    tags = _tags(customer, ticket, networks, request, services) if user is None else dict(user.tags)
    if user is None:
        done(
            f"create the user {place.path}{customer.user}",
            lambda: services.iam.create_user(customer.user, place.path, tags, place.boundary),
        )
    elif user.boundary != place.boundary:
        done("set the boundary", lambda: services.iam.set_boundary(customer.user, place.boundary))
    if user is not None or not request.dry_run:
        require_no_console(customer.user, services)
    inline = {} if user is None else services.iam.attachments(customer.user).inline
    if tag.PULL not in inline or not same_policy(inline[tag.PULL], policy):
        done("write the policy", lambda: services.iam.put_policy(customer.user, tag.PULL, text))
    if user is not None and networks != tuple(user.tags.get(tag.NETWORKS, "").split()):
        done("note the networks", lambda: services.iam.tag(customer.user, {tag.NETWORKS: " ".join(networks)}))
    key_id = ""
    if tags.get(tag.STATE) != tag.ISSUED:
        key_id = _hand_key_over(customer, tags, done, request, services)
    arn = user.arn if user is not None else f"{customer.user} (new)"
    if user is None and not request.dry_run:
        found = services.iam.user(customer.user)
        arn = found.arn if found is not None else arn
    return IssueReport(
        customer=customer.name,
        user=arn,
        keys=() if user is None and request.dry_run else tuple(services.iam.keys(customer.user)),
        expires=tags.get(tag.EXPIRES, ""),
        networks=networks,
        policy=policy,
        done=tuple(done.steps),
        key_id=key_id,
        place=request.handover.place(customer.user, key_id) if key_id and request.handover else "",
    )


class _Doing:
    """Does what is to be done and keeps the list; in a dry run only the list."""

    def __init__(self, dry_run: bool) -> None:
        self.steps: list[str] = []
        self._dry_run = dry_run

    def __call__(self, what: str, action: Any) -> Any:
        self.steps.append(what)
        return None if self._dry_run else action()


def _check_existing(
    user: IamUser, customer: Customer, place: Place, networks: tuple[str, ...]
) -> tuple[str, ...]:
    """Check a user that is there; returns the networks that hold for it."""
    same_customer(user.tags, customer)
    if user.path != place.path:
        raise ConfigurationError(
            f"the IAM user {user.name} stands under {user.path}, expected {place.path}",
            hint="set customers.path, or move the user with 'aws iam update-user --new-path'",
        )
    if user.tags.get(tag.REVOKED_AT):
        raise GateRefused(
            f"the access of {customer.name} was revoked on {user.tags[tag.REVOKED_AT][:10]}",
            hint="'customer revoke --undo' gives it back, 'customer revoke --delete' ends it for good",
        )
    return networks or tuple(user.tags.get(tag.NETWORKS, "").split())


def _bring_boundary(
    place: Place, boundary: dict[str, Any], done: _Doing, services: Services, *, new_user: bool
) -> None:
    """See that the boundary of all customers of the product is there and current."""
    text = policy_text(boundary, MAX_MANAGED)
    found = services.iam.managed_policy(place.boundary)
    if new_user:
        _check_quotas(services, new_policy=found is None)
    name = boundary_name(services.configuration.product.name)
    if found is None:
        done(
            f"create the boundary {name}",
            lambda: services.iam.create_managed_policy(name, place.path, text),
        )
    elif not same_policy(found, boundary):
        done(
            f"replace the boundary {name}", lambda: services.iam.replace_managed_policy(place.boundary, text)
        )


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


def _hand_key_over(
    customer: Customer, tags: dict[str, str], done: _Doing, request: IssueRequest, services: Services
) -> str:
    handover = request.handover
    if handover is None or request.dry_run:
        done.steps.append("create an access key and hand it over")
        return ""
    delivered = adopt(tags, customer.user, handover, services, foreign=frozenset())
    if not delivered:
        key_id = done(
            "create an access key and hand it over",
            lambda: make_key(customer, customer.user, handover, services),
        )
        delivered = (key_id,) if key_id else ()
    if not delivered:
        return ""
    noted = {tag.DELIVERED: " ".join(delivered), tag.STATE: tag.ISSUED}
    done("note the hand-over", lambda: services.iam.tag(customer.user, noted))
    return delivered[-1]
