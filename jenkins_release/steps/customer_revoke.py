"""Revoke: a customer pulls no more, and that is proven with a key of the same user.

The explicit deny comes first: it holds for keys, and for registry tokens that were minted before and
outlive them. Then the keys are switched off. Then it is tried: with a token that the customer's own
key minted before, where that key is at hand, by a pull from the registry; and with a key that is
made for it and deleted. Until the user is deleted, after a grace period, all of it can be undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from jenkins_release.config import CUSTOMER_KEY_ID, CUSTOMER_KEY_SECRET
from jenkins_release.errors import ConfigurationError, GateRefused
from jenkins_release.rules import customers as tag
from jenkins_release.rules.customers import Customer, moment_of, tag_value
from jenkins_release.rules.iam_policy import MAX_INLINE, deny_policy, policy_text
from jenkins_release.steps._attest import named
from jenkins_release.steps._customers import named_customer, require_user
from jenkins_release.steps._proof import OwnKey, probe, remove_probes
from jenkins_release.steps.services import Services

if TYPE_CHECKING:
    from jenkins_release.aws.iam import IamUser

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
    own = OwnKey.at_hand(user.name, services)
    if own is not None:
        own.log_in()
    services.iam.put_policy(user.name, tag.REVOKED, policy_text(deny_policy(), MAX_INLINE))
    remove_probes(user, services)
    listed = services.iam.keys(user.name)
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
    proof = own.refused() if own is not None else []
    unproven = ""
    if len(listed) < 2:
        proof += probe(user, [key.key_id for key in listed], services)
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


def _undo(customer: Customer, user: IamUser, request: RevokeRequest, services: Services) -> RevokeReport:
    keys = tuple(user.tags.get(tag.REVOKED_KEYS, "").split())
    if not user.tags.get(tag.REVOKED_AT) and tag.REVOKED not in services.iam.attachments(user.name).inline:
        return RevokeReport(customer.name, "not revoked", keys)
    if not request.dry_run:
        remove_probes(user, services)
        present = {key.key_id for key in services.iam.keys(user.name)}
        for key_id in keys:
            if key_id in present:
                services.iam.set_key_active(user.name, key_id, True)
        services.iam.delete_policy(user.name, tag.REVOKED)
        gone = [tag.REVOKED_AT, tag.REVOKED_BY, tag.REVOKED_KEYS, tag.REVOKED_BECAUSE]
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
