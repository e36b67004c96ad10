"""Revoke: a customer can no longer pull, and that is proven with a key of the same user.

The explicit deny comes first: it holds for keys, and for registry tokens that were minted before and
outlive them. Then the keys are switched off. Then it is tried: with a token that the customer's own
key minted before, where that key is at hand, by a pull from the registry; and with a key that is
made for it and deleted. IAM allows two keys: the old key of a rotation that was switched off by it makes
room. Until the user is deleted, after a grace period, all the rest can be undone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused
from jenkins_release.config import CUSTOMER_KEY_ID, CUSTOMER_KEY_SECRET
from jenkins_release.rules.customers import users as tag
from jenkins_release.rules.customers.iam_policy import MAX_INLINE, deny_policy, policy_text
from jenkins_release.rules.customers.users import Customer, moment_in, tag_value
from jenkins_release.steps.candidate.attest import named
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.customers.access import (
    MOST_KEYS,
    named_customer,
    require_user,
    settle,
    settle_keys,
    settle_tags,
)
from jenkins_release.steps.customers.revocation_proof import OwnKey, keys_without_probe, probe, remove_probes

if TYPE_CHECKING:
    from jenkins_release.aws.iam import AccessKey, IamUser

_UNPROVEN = (
    "the user has two keys, so no test key can be created: set "
    f"{CUSTOMER_KEY_ID} and {CUSTOMER_KEY_SECRET} to the customer's key and run it again"
)
AccessState = Literal["revoked", "restored", "not revoked", "deleted"]


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
    """The result for the access.

    Attributes:
        customer: Name of the customer.
        state: What it is now, or would be.
        keys: Ids of the keys that it is about.
        proof: What was tried with a key and how AWS answered, line by line.
        unproven: Why there is no proof; empty if there is one.
        delete_from: Day from which the user may be deleted; empty afterwards.
        done: What was done, or would be, in order; nothing if nothing is to do.
    """

    customer: str
    state: AccessState
    keys: tuple[str, ...]
    proof: tuple[str, ...] = ()
    unproven: str = ""
    delete_from: str = ""
    done: tuple[str, ...] = ()


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
    own = OwnKey.at_hand(user.name, services)
    if request.dry_run:
        listed = keys_without_probe(user, services)
        spare = _spare(user.tags, listed)
        return RevokeReport(
            customer.name,
            "revoked",
            tuple(key.key_id for key in listed),
            unproven="" if own or spare or len(listed) < MOST_KEYS else _UNPROVEN,
            delete_from=_delete_from(user.tags, services),
            done=_steps(listed, spare, own is not None),
        )
    if own is not None:
        own.log_in()
    services.iam.put_policy(user.name, tag.REVOKED, policy_text(deny_policy(), MAX_INLINE))
    remove_probes(user, services)
    listed = keys_without_probe(user, services)
    known = user.tags.get(tag.REVOKED_KEYS, "").split()
    active = [key.key_id for key in listed if key.active]
    # Noted before they are switched off: an undo after a run that died knows which ones were on.
    noted = {
        tag.REVOKED_KEYS: " ".join(dict.fromkeys([*known, *active])),
        tag.REVOKED_BECAUSE: tag_value(reason),
    }
    if not user.tags.get(tag.REVOKED_AT):
        noted |= {
            tag.REVOKED_AT: services.now().isoformat(timespec="seconds"),
            tag.REVOKED_BY: tag_value(services.user()),
        }
    services.iam.tag(user.name, noted)
    for key_id in active:
        services.iam.set_key_active(user.name, key_id, False)
    spare = _spare(user.tags, listed)
    done = _steps(listed, spare, own is not None)
    if spare:
        services.iam.delete_key(user.name, spare)
        listed = [key for key in listed if key.key_id != spare]
        services.iam.tag(user.name, {tag.DELIVERED: listed[0].key_id})
        services.iam.untag(user.name, [tag.ROTATES, tag.ROTATION_AT])
        settle_keys(user.name, {spare: None}, services)
    settle_tags(user.name, noted, services)
    settle_keys(user.name, {key_id: False for key_id in active if key_id != spare}, services)
    proof = own.refused() if own is not None else []
    unproven = ""
    if len(listed) < MOST_KEYS:
        proof += probe(user, [key.key_id for key in listed], services)
    elif not proof:
        unproven = _UNPROVEN
    return RevokeReport(
        customer.name,
        "revoked",
        tuple(key.key_id for key in listed),
        tuple(proof),
        unproven,
        _delete_from({**user.tags, **noted}, services),
        done,
    )


def _spare(tags: Mapping[str, str], listed: Sequence[AccessKey]) -> str:
    """Return the old key that a rotation has switched off, where it takes the last room for a key.

    A rotation deletes it next. One that the revocation itself switched off is kept for an undo.
    """
    old = tags.get(tag.ROTATES, "")
    off = any(key.key_id == old and not key.active for key in listed)
    room = len(listed) < MOST_KEYS
    return old if off and not room and old not in tags.get(tag.REVOKED_KEYS, "").split() else ""


def _steps(listed: Sequence[AccessKey], spare: str, own: bool) -> tuple[str, ...]:
    """Say what a revocation does, in its order."""
    steps = ["deny everything", *(f"switch off the key {key.key_id}" for key in listed if key.active)]
    if spare:
        steps.append(f"delete the old key {spare} of the rotation, which is off")
    if own:
        steps.append("see the customer's own key refused")
    if spare or len(listed) < MOST_KEYS:
        steps.append("see a key refused that is made for it")
    return tuple(steps)


def _undo(customer: Customer, user: IamUser, request: RevokeRequest, services: Services) -> RevokeReport:
    keys = tuple(user.tags.get(tag.REVOKED_KEYS, "").split())
    if not user.tags.get(tag.REVOKED_AT) and tag.REVOKED not in services.iam.attachments(user.name).inline:
        return RevokeReport(customer.name, "not revoked", keys)
    present = {key.key_id for key in services.iam.keys(user.name)}
    back = [key_id for key_id in keys if key_id in present]
    done = (*(f"switch on the key {key_id}" for key_id in back), "take the denial away")
    if not request.dry_run:
        remove_probes(user, services)
        for key_id in back:
            services.iam.set_key_active(user.name, key_id, True)
        services.iam.delete_policy(user.name, tag.REVOKED)
        gone = [tag.REVOKED_AT, tag.REVOKED_BY, tag.REVOKED_KEYS, tag.REVOKED_BECAUSE]
        services.iam.untag(user.name, gone)
        settle_tags(user.name, {}, services, gone=gone)
        settle_keys(user.name, dict.fromkeys(present & {*keys}, True), services)
    return RevokeReport(customer.name, "restored", keys, done=done)


def _delete(customer: Customer, user: IamUser, request: RevokeRequest, services: Services) -> RevokeReport:
    if not user.tags.get(tag.REVOKED_AT):
        raise GateRefused(
            f"{customer.name} is not revoked, so the access is not deleted", hint="revoke it first"
        )
    first = _delete_from(user.tags, services)
    if services.now().date().isoformat() < first:
        raise GateRefused(
            f"{customer.name} may be deleted from {first}: it was revoked on "
            f"{user.tags[tag.REVOKED_AT][:10]}",
            hint="until then 'customer revoke --undo' gives it back; see customers.delete_after_days",
        )
    keys = tuple(key.key_id for key in services.iam.keys(user.name))
    done = (*(f"delete the key {key_id}" for key_id in keys), f"delete the user {user.name}")
    if request.dry_run:
        return RevokeReport(customer.name, "deleted", keys, done=done)
    # A list from before may leave something out, and IAM refuses to delete the user then.
    services.retry(f"delete {user.name}", _remove, user.name, services)
    settle(
        f"that {user.name} is deleted",
        lambda: services.iam.user(user.name),
        lambda now: now is None,
        services,
    )
    return RevokeReport(customer.name, "deleted", keys, done=done)


def _remove(name: str, services: Services) -> None:
    """Delete a user with all that it has; what is gone already is fine."""
    for key in services.iam.keys(name):
        services.iam.delete_key(name, key.key_id)
    attached = services.iam.attachments(name)
    services.iam.strip(name, attached)
    # The deny goes last: at no moment is there a policy that allows and none that denies.
    for policy in sorted(attached.inline, key=lambda each: each == tag.REVOKED):
        services.iam.delete_policy(name, policy)
    services.iam.delete_user(name)


def _delete_from(tags: Mapping[str, str], services: Services) -> str:
    days = services.configuration.customers.delete_after_days
    revoked = moment_in(tags, tag.REVOKED_AT) or services.now()
    return (revoked + timedelta(days=days)).date().isoformat()
