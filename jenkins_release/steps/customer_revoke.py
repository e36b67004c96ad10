"""Revoke: a customer pulls no more, and that is proven with a key of the same user.

The explicit deny comes first: it holds for keys, and for registry tokens that were minted before and
outlive them. Then the keys are switched off. Until the user is deleted, after a grace period, all of
it can be undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from jenkins_release.config import CUSTOMER_KEY_ID, CUSTOMER_KEY_SECRET, secret
from jenkins_release.errors import ConfigurationError, GateRefused, RemoteError
from jenkins_release.rules import customers as tag
from jenkins_release.rules.customers import Customer, moment_of, tag_value
from jenkins_release.rules.iam_policy import MAX_INLINE, deny_policy, policy_text
from jenkins_release.steps._attest import named
from jenkins_release.steps._customers import named_customer, place_of, require_user
from jenkins_release.steps.services import Services

if TYPE_CHECKING:
    from jenkins_release.aws.iam import Credentials, IamUser

AccessState = Literal["revoked", "restored", "deleted"]


@dataclass(frozen=True)
class RevokeRequest:
    """Whose access ends.

    Attributes:
        customer: Name of the customer.
        reason: Why; kept in the user's tags. Not needed for ``undo`` and ``delete``.
        undo: Give the access back.
        delete: Delete keys, policies and user, after the grace period.
        dry_run: Tell what would be done, change nothing.
    """

    customer: str
    reason: str = ""
    undo: bool = False
    delete: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class RevokeReport:
    """What became of the access.

    Attributes:
        customer: Name of the customer.
        state: What it is now, or would be.
        keys: Ids of the keys that it is about.
        proof: What was tried with a key and how AWS answered, line by line.
        unproven: Why there is no proof; empty where there is one.
        delete_from: Day from which the user may be deleted; empty afterwards.
    """

    customer: str
    state: AccessState
    keys: tuple[str, ...]
    proof: tuple[str, ...] = ()
    unproven: str = ""
    delete_from: str = ""


def revoke_customer(request: RevokeRequest, services: Services) -> RevokeReport:
    """End a customer's access, give it back, or delete what is left of it.

    Raises:
        ConfigurationError: No such customer, or no reason.
        GateRefused: Deletion before the grace period is over, or of a customer who is not revoked.
        RemoteError: AWS refused or failed, or the proof could not be had: a pull is still possible.
    """
    customer = named_customer(request.customer, services)
    user = require_user(customer, services)
    if request.undo and request.delete:
        raise ConfigurationError("undo and delete exclude each other", hint="give one of the two")
    if request.delete:
        return _delete(customer, user, request, services)
    if request.undo:
        return _undo(customer, user, request, services)
    return _revoke(customer, user, named("reason", request.reason), request, services)


def _revoke(
    customer: Customer, user: IamUser, reason: str, request: RevokeRequest, services: Services
) -> RevokeReport:
    if request.dry_run:
        keys = tuple(key.key_id for key in services.iam.keys(user.name))
        return RevokeReport(customer.name, "revoked", keys, delete_from=_delete_from(user.tags, services))
    services.iam.put_policy(user.name, tag.REVOKED, policy_text(deny_policy(), MAX_INLINE))
    _remove_probes(user, services)
    listed = services.iam.keys(user.name)
    known = user.tags.get(tag.REVOKED_KEYS, "").split()
    active = [key.key_id for key in listed if key.active]
    # Noted before they are switched off: an undo after a run that died knows which ones were on.
    noted = {
        tag.REVOKED_KEYS: " ".join(dict.fromkeys([*known, *active])),
        "revoked-because": tag_value(reason),
    }
    if not user.tags.get(tag.REVOKED_AT):
        noted |= {
            tag.REVOKED_AT: services.now().isoformat(timespec="seconds"),
            tag.REVOKED_BY: tag_value(services.user()),
        }
    services.iam.tag(user.name, noted)
    for key_id in active:
        services.iam.set_key_active(user.name, key_id, False)
    proof = list(_old_key_proof(services))
    unproven = ""
    if len(listed) < 2:
        proof += _probe(user, services)
    elif not proof:
        unproven = (
            "the user has two keys, so none can be made to try with: set "
            f"{CUSTOMER_KEY_ID} and {CUSTOMER_KEY_SECRET} to the customer's key and run it again"
        )
    return RevokeReport(
        customer.name,
        "revoked",
        tuple(key.key_id for key in listed),
        tuple(proof),
        unproven,
        _delete_from({**user.tags, **noted}, services),
    )


def _probe(user: IamUser, services: Services) -> list[str]:
    """Make a key of the same user, see it refused by the deny, and delete it."""
    services.iam.tag(user.name, {"probe": services.now().isoformat(timespec="seconds")})
    credentials = services.iam.create_key(user.name)
    try:
        # "unknown key" is what a key that is too new is told: only a denial proves anything.
        return _refused(credentials, services, lambda verdict: verdict == "denied", "a key made for this")
    finally:
        services.iam.delete_key(user.name, credentials.key_id)
        services.iam.untag(user.name, ["probe"])


def _remove_probes(user: IamUser, services: Services) -> None:
    """Delete a key that a revocation made to try with, and died before it was deleted."""
    if not user.tags.get("probe"):
        return
    delivered, known = tag.delivered_keys(user.tags), user.tags.get(tag.REVOKED_KEYS, "").split()
    for key in services.iam.keys(user.name):
        if key.key_id not in delivered and key.key_id not in known:
            services.iam.delete_key(user.name, key.key_id)


def _old_key_proof(services: Services) -> list[str]:
    """Try the customer's own key, where the environment has it."""
    from jenkins_release.aws.iam import Credentials

    key_id, value = services.environ.get(CUSTOMER_KEY_ID), secret(CUSTOMER_KEY_SECRET, services.environ)
    if not key_id or value is None:
        return []
    credentials = Credentials(key_id, value)
    return _refused(credentials, services, lambda verdict: verdict != "allowed", f"the key {key_id}")


def _refused(
    credentials: Credentials, services: Services, enough: Callable[[str], bool], shown: str
) -> list[str]:
    from jenkins_release.aws.key_access import KeyAccess

    scope = place_of(services).scope
    access = KeyAccess(credentials, scope.region, scope.account)

    def attempt() -> list[str]:
        tries = [("docker login", access.token())]
        tries += [(f"pull of {name}", access.pull(name)) for name in scope.repositories]
        for what, tried in tries:
            if not enough(tried.verdict):
                raise RemoteError(
                    f"{what} with {shown} was answered {tried.verdict!r}, expected a denial",
                    hint="IAM takes some seconds; run 'customer revoke' again, and if it stays so the deny "
                    "policy is not in force",
                    retryable=True,
                )
        return [f"{what} with {shown}: {tried.verdict} ({tried.action})" for what, tried in tries]

    return services.retry(f"see {shown} refused", attempt)


def _undo(customer: Customer, user: IamUser, request: RevokeRequest, services: Services) -> RevokeReport:
    keys = tuple(user.tags.get(tag.REVOKED_KEYS, "").split())
    if not user.tags.get(tag.REVOKED_AT) and tag.REVOKED not in services.iam.attachments(user.name).inline:
        return RevokeReport(customer.name, "restored", keys)
    if not request.dry_run:
        _remove_probes(user, services)
        present = {key.key_id for key in services.iam.keys(user.name)}
        for key_id in keys:
            if key_id in present:
                services.iam.set_key_active(user.name, key_id, True)
        services.iam.delete_policy(user.name, tag.REVOKED)
        gone = [tag.REVOKED_AT, tag.REVOKED_BY, tag.REVOKED_KEYS, "revoked-because", "probe"]
        services.iam.untag(user.name, gone)
    return RevokeReport(customer.name, "restored", keys)


def _delete(customer: Customer, user: IamUser, request: RevokeRequest, services: Services) -> RevokeReport:
    if not user.tags.get(tag.REVOKED_AT):
        raise GateRefused(
            f"{customer.name} is not revoked: its access is not deleted", hint="revoke it first"
        )
    first = _delete_from(user.tags, services)
    if services.now().date().isoformat() < first:
        raise GateRefused(
            f"{customer.name} may be deleted from {first}: it was revoked on "
            f"{user.tags[tag.REVOKED_AT][:10]}",
            hint="until then 'customer revoke --undo' gives it back; see customers.delete_after_days",
        )
    keys = tuple(key.key_id for key in services.iam.keys(user.name))
    if request.dry_run:
        return RevokeReport(customer.name, "deleted", keys)
    for key_id in keys:
        services.iam.delete_key(user.name, key_id)
    attached = services.iam.attachments(user.name)
    services.iam.strip(user.name, attached)
    # The deny goes last: at no moment is there a policy that allows and none that denies.
    for policy in sorted(attached.inline, key=lambda name: name == tag.REVOKED):
        services.iam.delete_policy(user.name, policy)
    services.iam.delete_user(user.name)
    return RevokeReport(customer.name, "deleted", keys)


def _delete_from(tags: Mapping[str, str], services: Services) -> str:
    days = services.configuration.customers.delete_after_days
    revoked = moment_of(tags, tag.REVOKED_AT) or services.now()
    return (revoked + timedelta(days=days)).date().isoformat()
