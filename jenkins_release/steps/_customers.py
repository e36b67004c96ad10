"""What the commands for customers have in common: the product's scope, names in IAM, a key that works."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from jenkins_release.config import CUSTOMER_KEY_ID, CUSTOMER_KEY_SECRET, secret
from jenkins_release.errors import ConfigurationError, GateRefused, ReleaseError, RemoteError
from jenkins_release.rules.customers import (
    NETWORKS,
    Customer,
    boundary_name,
    customer_named,
    default_path,
    delivered_keys,
    same_customer,
)
from jenkins_release.rules.iam_policy import PullScope, partition_of
from jenkins_release.steps._handover import HandedKey, HandOver
from jenkins_release.steps.services import Services

if TYPE_CHECKING:
    from jenkins_release.aws.iam import Credentials, IamUser
    from jenkins_release.registry.key_access import KeyAccess


@dataclass(frozen=True)
class Place:
    """Where a product's customers stand in IAM.

    Attributes:
        path: IAM path of the users.
        boundary: ARN of their permissions boundary.
        scope: What they may pull.
    """

    path: str
    boundary: str
    scope: PullScope


def place_of(services: Services) -> Place:
    """Return where the configured product's customers stand."""
    section, ecr = services.configuration.customers, services.configuration.ecr
    product = services.configuration.product.name
    path = section.path or default_path(product)
    repositories = tuple(image.repository for image in services.configuration.images)
    scope = PullScope(ecr.region, ecr.account, repositories)
    arn = f"arn:{partition_of(ecr.region)}:iam::{ecr.account}:policy{path}{boundary_name(product)}"
    return Place(path, arn, scope)


def named_customer(name: str, services: Services) -> Customer:
    """Check a name. Raises ConfigurationError."""
    return customer_named(name, services.configuration.product.name)


def require_user(customer: Customer, services: Services) -> IamUser:
    """Return the IAM user of a customer.

    Raises:
        ConfigurationError: There is none, or the user stands for somebody else.
    """
    user = services.iam.user(customer.user)
    if user is None:
        raise ConfigurationError(
            f"{customer.name} has no access: there is no IAM user {customer.user}",
            hint="'jenkins-release customer list' shows who has; 'customer issue' gives it",
        )
    same_customer(user.tags, customer)
    return user


def require_no_console(name: str, services: Services) -> None:
    """Refuse a user that may sign in to the console.

    Raises:
        GateRefused: There is a login profile.
    """
    if services.iam.has_console(name):
        raise GateRefused(
            f"the IAM user {name} has a login profile: customers get no console access",
            hint="remove it with 'aws iam delete-login-profile', and find out who made it",
        )


def own_credentials(services: Services) -> Credentials | None:
    """Return the customer's own key, where the environment has it.

    Raises:
        ConfigurationError: Only half of it is there.
    """
    from jenkins_release.aws.iam import Credentials

    key_id, value = services.environ.get(CUSTOMER_KEY_ID), secret(CUSTOMER_KEY_SECRET, services.environ)
    if bool(key_id) != (value is not None):
        raise ConfigurationError(
            "only half of the customer's key is given",
            hint=f"set {CUSTOMER_KEY_ID} and {CUSTOMER_KEY_SECRET}",
        )
    return Credentials(key_id, value) if key_id and value is not None else None


def key_access(credentials: Credentials, services: Services) -> KeyAccess:
    """Return ECR as the holder of a key sees it."""
    from jenkins_release.registry.key_access import KeyAccess

    scope = place_of(services).scope
    return KeyAccess(credentials, scope.region, scope.account, now=services.now)


def hand_key_over(
    customer: Customer,
    tags: Mapping[str, str],
    handover: HandOver,
    services: Services,
    *,
    keep: frozenset[str] = frozenset(),
) -> tuple[str, ...]:
    """See that the customer was told a key besides those in ``keep``: one of a run that died, or a new one.

    The key is seen to work and only to pull before anybody is told. The caller has noted in the
    user's tags, before, that a key is on its way, and notes the result afterwards.

    Returns:
        Ids of the keys that were handed over and are there, the newest last.

    Raises:
        ConfigurationError: There are keys that are not this program's.
        GateRefused: The key may do more than pull; it was deleted.
        RemoteError: IAM, ECR or the hand-over failed, or the key does not work after the retries.
    """
    handed = _adopt(customer, tags, handover, services, keep)
    if set(handed) - keep:
        return handed

    def create() -> Credentials:
        # Where the answer to an earlier attempt was lost, a key is there that nobody has the secret of.
        _adopt(customer, tags, handover, services, keep)
        return services.iam.create_key(customer.user)

    credentials = services.retry(f"create an access key of {customer.user}", create)
    try:
        prove_key(credentials, services, limited=bool(tags.get(NETWORKS)))
    except ReleaseError:
        with contextlib.suppress(ReleaseError):  # the next run deletes it too
            services.iam.delete_key(customer.user, credentials.key_id)
        raise
    region, host = services.configuration.ecr.region, services.registry.host
    key = HandedKey(customer.name, customer.user, customer.product, region, host, credentials)
    services.retry(f"hand the key {credentials.key_id} over", partial(handover.give, key))
    return (*handed, credentials.key_id)


def prove_key(credentials: Credentials, services: Services, *, limited: bool = False) -> None:
    """See with the key itself that it mints a token, reads the repositories, and cannot push.

    IAM is eventually consistent: a new key and a new policy may be refused for some seconds.

    Args:
        credentials: The key.
        services: Where to try.
        limited: Whether only the customer's networks may use it: then a denial, which this machine
            has to expect, shows that the key is known.

    Raises:
        GateRefused: It may push.
        RemoteError: It is refused, after the retries, or ECR failed.
    """
    repositories = place_of(services).scope.repositories
    access = key_access(credentials, services)

    def attempt() -> None:
        for tried in (access.token(), *(access.pull(name) for name in repositories)):
            if tried.verdict == "unknown key" or (tried.verdict == "denied" and not limited):
                raise RemoteError(
                    f"the new key {credentials.key_id} is refused {tried.action}: {tried.said}",
                    hint="a new key takes up to 15 seconds; run the command again: another key is made",
                    retryable=True,
                )

    services.retry(f"use the new key {credentials.key_id}", attempt)
    pushed = access.push(repositories[0])
    if pushed.verdict == "allowed":
        raise GateRefused(
            f"the new key {credentials.key_id} may push to {repositories[0]}: it was not handed over",
            hint="'jenkins-release customer audit' says which policy or group allows it",
        )


def _adopt(
    customer: Customer,
    tags: Mapping[str, str],
    handover: HandOver,
    services: Services,
    keep: frozenset[str],
) -> tuple[str, ...]:
    """Put in order what a run that died left: keys that nobody was told.

    A key that the hand-over holds was only not noted; any other one is deleted, because its secret
    is lost. Those in ``keep`` stay as they are.
    """
    noted = delivered_keys(tags)
    present = [key.key_id for key in services.iam.keys(customer.user)]
    unknown = [key for key in present if key not in noted and key not in keep]
    if len(unknown) > 1:
        raise ConfigurationError(
            f"the IAM user {customer.user} has two access keys that were not handed over: "
            + ", ".join(unknown),
            hint="only one can be this program's; find out who made the other, and delete it",
        )
    found = [key for key in present if key in noted]
    for key_id in unknown:
        if handover.holds(customer.user, key_id):
            found.append(key_id)
        else:
            services.iam.delete_key(customer.user, key_id)
    return tuple(found)
