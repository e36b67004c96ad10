"""What the commands for customers have in common: the product's scope, names in IAM, a key that works."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.environment import in_build
from jenkins_release.base.errors import ConfigurationError, GateRefused, ReleaseError, RemoteError
from jenkins_release.base.text import did_you_mean
from jenkins_release.config import CUSTOMER_KEY_ID, CUSTOMER_KEY_SECRET, secret
from jenkins_release.rules.customers.iam_policy import PullScope, arn_partition
from jenkins_release.rules.customers.users import (
    CUSTOMER,
    NETWORKS,
    Customer,
    boundary_name,
    customer_named,
    default_path,
    delivered_keys,
    same_customer,
)
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.customers.handover import HandedKey, HandOver

if TYPE_CHECKING:
    from jenkins_release.aws.iam import AccessKey, Credentials, IamUser
    from jenkins_release.registry.key_access import KeyAccess, Tried

_log = logging.getLogger(__name__)
_SEEN_S = 60.0
"""Seconds that IAM may take to show what was written; it takes some seconds as a rule."""
MOST_KEYS = 2
"""Access keys of a user (IAM user guide, "IAM and AWS STS quotas"); nobody can have it raised."""
T = TypeVar("T")


@dataclass(frozen=True)
class IamPlace:
    """Where a product's customers are in IAM.

    Attributes:
        path: IAM path of the users.
        boundary: ARN of their permissions boundary.
        scope: What they may pull.
    """

    path: str
    boundary: str
    scope: PullScope


def iam_place(services: Services) -> IamPlace:
    """Return where the configured product's customers are in IAM."""
    section, ecr = services.configuration.customers, services.configuration.ecr
    product = services.configuration.product.name
    path = section.path or default_path(product)
    repositories = tuple(image.repository for image in services.configuration.images)
    scope = PullScope(ecr.region, ecr.account, repositories)
    arn = f"arn:{arn_partition(ecr.region)}:iam::{ecr.account}:policy{path}{boundary_name(product)}"
    return IamPlace(path, arn, scope)


def named_customer(name: str, services: Services) -> Customer:
    """Check a name. Raises ConfigurationError."""
    return customer_named(name, services.configuration.product.name)


def require_user(customer: Customer, services: Services) -> IamUser:
    """Return the IAM user of a customer.

    Raises:
        ConfigurationError: There is none, or the user is someone else.
    """
    user = services.iam.user(customer.user)
    if user is None:
        shows = "'jenkins-release customer list' shows who has access; 'customer issue' grants it"
        raise ConfigurationError(
            f"{customer.name} has no access: there is no IAM user {customer.user}",
            hint=f"{_similar(customer, services)} {shows}".lstrip(),
        )
    same_customer(user.tags, customer)
    return user


def _similar(customer: Customer, services: Services) -> str:
    try:
        users = services.iam.users(iam_place(services).path)
    except ReleaseError:  # whoever may not list them gets no suggestion
        return ""
    known = [user.tags.get(CUSTOMER, "") for user in users]
    return did_you_mean(customer.name, [name for name in known if name])


def require_no_console(name: str, services: Services) -> None:
    """Refuse a user that may sign in to the console.

    Raises:
        GateRefused: There is a login profile.
    """
    if services.iam.has_console(name):
        raise GateRefused(
            f"the IAM user {name} has a login profile: customers get no console access",
            hint="remove it with 'aws iam delete-login-profile', and find out who created it",
        )


def require_place(handover: HandOver | None, customer: Customer, environ: Mapping[str, str]) -> HandOver:
    """Return where a new key goes, even for a dry run: nothing can be done without it.

    Raises:
        ConfigurationError: There is none, or it belongs to another user.
    """
    if handover is None:
        raise ConfigurationError(
            f"there is no place to hand over the new key of {customer.name}",
            hint="give --secret or --file" + ("" if in_build(environ) else "; on a terminal also --terminal"),
        )
    handover.require_for(customer.user)
    return handover


def seen(what: str, look: Callable[[], T], shows: Callable[[T], bool], services: Services) -> T:
    """Poll until something that was just written is visible: for a while, IAM answers with the old state.

    Args:
        what: What was written, for messages: ``the user skydrm-acme``.
        look: Reads it.
        shows: Whether what was read has it.
        services: How long to retry.

    Raises:
        RemoteError: It does not show after the retries.
    """

    def attempt() -> T:
        found = look()
        if not shows(found):
            raise RemoteError(
                f"AWS does not show {what} yet, which was just written",
                hint="run the command again in a minute; it continues from there",
                retryable=True,
            )
        return found

    policy = services.retry_policy
    patience = replace(
        policy, attempts=None, deadline_s=min(_SEEN_S, policy.deadline_s), max_wait_s=5.0, setting=""
    )
    return services.retry(f"see {what}", attempt, policy=patience)


def settle(what: str, look: Callable[[], T], shows: Callable[[T], bool], services: Services) -> None:
    """Wait until the last change is visible, so that the next command does not miss it.

    The change stays: if it is not visible in time, only a warning is logged.
    """
    try:
        seen(what, look, shows, services)
    except ReleaseError as error:
        _log.warning("%s; wait a minute before the next command for this customer", error.message)


def settle_tags(name: str, wanted: Mapping[str, str], services: Services, gone: Collection[str] = ()) -> None:
    """Wait until tags of a user show as they were written, and others do not show any more."""

    def shows(tags: Mapping[str, str]) -> bool:
        return wanted.items() <= tags.items() and not tags.keys() & {*gone}

    settle(f"the tags of {name}", lambda: services.iam.tags(name), shows, services)


def settle_keys(name: str, wanted: Mapping[str, bool | None], services: Services) -> None:
    """Wait until keys of a user show as they are: key to whether it works, None for one that is deleted."""

    def shows(keys: Sequence[AccessKey]) -> bool:
        found = {key.key_id: key.active for key in keys}
        return all(found.get(key_id) is state for key_id, state in wanted.items())

    settle(f"the keys of {name}", lambda: services.iam.keys(name), shows, services)


def new_key(name: str, known: Collection[str], services: Services) -> Credentials:
    """Create an access key.

    Args:
        name: Name of the user.
        known: Ids of the keys that the caller has seen and keeps.
        services: IAM.

    Raises:
        ConfigurationError: The user has as many as IAM allows.
        RemoteError: IAM failed; retryable if it counts keys that the caller has not seen.
    """
    try:
        return services.iam.create_key(name)
    except ConfigurationError as error:
        if len({*known}) >= MOST_KEYS:
            raise
        raise RemoteError(
            f"IAM counts more keys of {name} than it listed: {error.message}",
            hint="run the command again in a minute",
            retryable=True,
        ) from error


def name_lost_key(error: RemoteError) -> None:
    """Say in the hint of an error that a key may have been created although the answer was lost."""
    lost = "IAM may have created a key whose secret is lost; running the command again deletes it"
    error.hint = f"{error.hint}; {lost}" if error.hint else lost


def await_key(name: str, key_id: str, services: Services) -> None:
    """Wait until a new key shows: the list has then what was made before it too. Raises RemoteError."""
    seen(
        f"the key {key_id}",
        lambda: services.iam.keys(name),
        lambda keys: key_id in {key.key_id for key in keys},
        services,
    )


def own_credentials(services: Services) -> Credentials | None:
    """Return the customer's own key, if the environment has it.

    Raises:
        ConfigurationError: Only half of it is there.
    """
    from jenkins_release.aws.iam import Credentials

    key_id, value = services.environ.get(CUSTOMER_KEY_ID), secret(CUSTOMER_KEY_SECRET, services.environ)
    if bool(key_id) != (value is not None):
        raise ConfigurationError(
            "only half of the customer's key is set",
            hint=f"set {CUSTOMER_KEY_ID} and {CUSTOMER_KEY_SECRET}",
        )
    return Credentials(key_id, value) if key_id and value is not None else None


def key_access(credentials: Credentials, services: Services) -> KeyAccess:
    """Return ECR, used with a customer's key."""
    from jenkins_release.registry.key_access import KeyAccess

    scope = iam_place(services).scope
    return services.closed_at_end(
        KeyAccess(credentials, scope.region, scope.account, now=services.now, limits=services.limits)
    )


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

    def create() -> tuple[tuple[str, ...], Credentials | None]:
        # Where the answer to an earlier attempt was lost, a key is there that nobody has the secret of.
        found = _adopt(customer, tags, handover, services, keep)
        if set(found) - keep:
            return found, None
        return found, new_key(customer.user, {*found, *keep}, services)

    try:
        handed, credentials = services.retry(f"create an access key of {customer.user}", create)
    except RemoteError as error:
        if error.retryable:
            with contextlib.suppress(ReleaseError):
                _adopt(customer, tags, handover, services, keep)
            name_lost_key(error)
        raise
    if credentials is None:
        return handed
    try:
        await_key(customer.user, credentials.key_id, services)
        handed = _adopt(customer, tags, handover, services, keep | {credentials.key_id})
        prove_key(credentials, services, limited=bool(tags.get(NETWORKS)))
    except ReleaseError:
        with contextlib.suppress(ReleaseError):  # the next run deletes it too
            services.iam.delete_key(customer.user, credentials.key_id)
        raise
    region, host = services.configuration.ecr.region, services.registry.host
    key = HandedKey(customer.name, customer.user, customer.product, region, host, credentials)
    services.retry(f"hand the key {credentials.key_id} over", handover.give, key)
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
        ConfigurationError: A repository is missing: whether the key may push there is not proven.
        GateRefused: It may push.
        RemoteError: It is refused, after the retries, or ECR failed.
    """
    repositories = iam_place(services).scope.repositories
    access = key_access(credentials, services)

    def attempt() -> dict[str, Tried]:
        pushed = {name: access.push(name) for name in repositories}
        pulled = (access.token(), *(access.pull(name) for name in repositories))
        for tried in (*pulled, *pushed.values()):
            denied = tried.verdict == "denied" and not limited and tried in pulled
            if tried.verdict == "unknown key" or denied:
                raise RemoteError(
                    f"the new key {credentials.key_id} is refused {tried.action}: {tried.said}",
                    hint="a new key takes up to 15 seconds; run the command again, which creates another key",
                    retryable=True,
                )
        return pushed

    # A key that is known at one place only proves nothing: that it cannot push was told to a known one.
    pushed = services.retry(f"use the new key {credentials.key_id}", attempt)
    for name, tried in pushed.items():
        if tried.verdict == "no such thing":
            raise ConfigurationError(
                f"there is no repository {name}: whether the new key {credentials.key_id} may push to it "
                "cannot be tried, so it was not handed over",
                hint="promote a release first, which creates the repository, or create it yourself",
            )
        if tried.verdict != "denied":
            raise GateRefused(
                f"the new key {credentials.key_id} may push to {name}: it was not handed over",
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
