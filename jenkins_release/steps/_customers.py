"""What the commands for customers have in common: the product's scope, names in IAM, a key that works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jenkins_release.errors import ConfigurationError, GateRefused, RemoteError
from jenkins_release.rules.customers import (
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


def make_key(customer: Customer, user: str, handover: HandOver, services: Services) -> str:
    """Create a key, see that it works and only pulls, and hand it over.

    The caller has noted in the user's tags, before, that a key is on its way.

    Returns:
        The key's id.

    Raises:
        GateRefused: The key may do more than pull; it stays unknown to everybody but IAM.
        RemoteError: IAM or ECR failed, or the key does not work after the retries.
    """
    credentials = services.iam.create_key(user)
    prove_key(credentials, services)
    registry = services.registry.host
    handover.give(
        HandedKey(
            customer.name, user, customer.product, services.configuration.ecr.region, registry, credentials
        )
    )
    return credentials.key_id


def prove_key(credentials: Credentials, services: Services) -> None:
    """See with the key itself that it mints a token, reads the repositories, and cannot push.

    IAM is eventually consistent: a new key and a new policy may be refused for some seconds.
    """
    from jenkins_release.aws.key_access import KeyAccess

    scope = place_of(services).scope
    access = KeyAccess(credentials, scope.region, scope.account)

    def attempt() -> None:
        for tried in (access.token(), *(access.pull(name) for name in scope.repositories)):
            if tried.verdict in {"denied", "unknown key"}:
                raise RemoteError(
                    f"the new key {credentials.key_id} is refused {tried.action}: {tried.said}",
                    hint="a new key takes up to 15 seconds; run the command again, the key is replaced",
                    retryable=True,
                )

    services.retry(f"use the new key {credentials.key_id}", attempt)
    pushed = access.push(scope.repositories[0])
    if pushed.verdict == "allowed":
        raise GateRefused(
            f"the new key {credentials.key_id} may push to {scope.repositories[0]}: it was not handed over",
            hint="'jenkins-release customer audit' says which policy or group allows it",
        )


def adopt(
    tags: dict[str, str], name: str, handover: HandOver, services: Services, *, foreign: frozenset[str]
) -> tuple[str, ...]:
    """Put in order what a run that died left: keys that nobody was told.

    A key that the hand-over holds was only not noted; any other one is deleted, because its secret
    is lost.

    Args:
        tags: The user's tags.
        name: User name.
        handover: Where the secret would have gone.
        services: IAM.
        foreign: Keys that are known and stay as they are.

    Returns:
        Ids of the keys that were handed over, the ones found now included.
    """
    delivered = delivered_keys(tags)
    present = [key.key_id for key in services.iam.keys(name)]
    unknown = [key for key in present if key not in delivered and key not in foreign]
    if len(unknown) > 1:
        raise ConfigurationError(
            f"the IAM user {name} has two access keys that were not handed over: {', '.join(unknown)}",
            hint="only one can be this program's; find out who made the other, and delete it",
        )
    for key_id in unknown:
        if handover.holds(name, key_id):
            delivered = (*delivered, key_id)
        else:
            services.iam.delete_key(name, key_id)
    return tuple(key for key in delivered if key in present)
