"""Rotate: a new access key for a customer, one state at a time, without an hour in which none works.

1. A second key is made and handed over.
2. The new key is in use, or the grace period is over: the old key is switched off.
3. The old key is deleted.

Each call does at most one state and says what comes next. Where the rotation stands is read from the
keys and the tags of the user, so a run that died is finished by the next one. Two keys that no
rotation made are a matter for a person: nothing is changed then.
"""

from __future__ import annotations

from dataclasses import field
from datetime import date, datetime, timedelta
from typing import Literal

from jenkins_release.aws.iam import AccessKey
from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused
from jenkins_release.rules.customers import users as tag
from jenkins_release.rules.customers.users import Customer, moment_in
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.customers.access import (
    hand_key_over,
    named_customer,
    require_no_console,
    require_place,
    require_user,
    settle_keys,
    settle_tags,
)
from jenkins_release.steps.customers.handover import HandOver

_OWN_USE = timedelta(minutes=10)
_NO_KEY = "none"
"""Means that the customer had no old key."""
RotationState = Literal["handed over", "waiting", "switched off", "deleted", "switched on again"]


@dataclass(frozen=True)
class RotateRequest:
    """Whose key is rotated.

    Attributes:
        customer: Name of the customer.
        handover: Where the new secret leaves to; only the first state needs it.
        undo: Switch an old key on again that was switched off too early.
        dry_run: Tell what would be done, change nothing.
    """

    customer: str
    handover: HandOver | None = field(default=None, repr=False)
    undo: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class RotationReport:
    """Where the rotation stands.

    Attributes:
        customer: Name of the customer.
        state: What was done now; ``waiting`` where it was too early.
        old: Id of the old key; empty if there was none.
        new: Id of the new key; empty in a dry run of the first state.
        keys: The keys as they are now.
        next: What comes next, for people; empty at the end.
        place: Where the new secret is, in the first state.
        done: What was done now, or would be; nothing if it was too early.
    """

    customer: str
    state: RotationState
    old: str
    new: str
    keys: tuple[AccessKey, ...]
    next: str
    place: str = ""
    done: tuple[str, ...] = ()


def rotate_customer(request: RotateRequest, services: Services) -> RotationReport:
    """Bring the rotation of a customer's key one state further.

    Raises:
        ConfigurationError: No such customer, nowhere to hand the key over to, two keys that no
            rotation made, or no rotation that could be undone.
        GateRefused: The customer is revoked, was never issued completely, or has console access.
        RemoteError: AWS refused or failed.
    """
    customer = named_customer(request.customer, services)
    user = require_user(customer, services)
    tags = dict(user.tags)
    _check_state(customer, tags, services.now().date())
    require_no_console(user.name, services)
    keys = services.iam.used_keys(user.name)
    noted = tag.delivered_keys(tags)
    old = next((key for key in keys if key.key_id == tags.get(tag.ROTATES)), None)
    new = next((key for key in keys if key.key_id in noted and key != old), None)
    if request.undo:
        if tag.ROTATES not in tags or old is None or new is None:
            raise ConfigurationError(
                f"{customer.name} has no rotation to undo: there is no old key next to a new one",
                hint="'customer list' shows the keys and their states",
            )
        return _switch_on(customer, old, new, request, services)
    if tag.ROTATES not in tags:
        _check_startable(customer, keys)
        return _begin(customer, tags, keys, request, services)
    if new is None:
        return _begin(customer, tags, keys, request, services)
    if old is None or not old.active:
        return _end(customer, tags[tag.ROTATES], new, request, services)
    return _switch_off(customer, tags, old, new, request, services)


def _check_state(customer: Customer, tags: dict[str, str], today: date) -> None:
    if tags.get(tag.REVOKED_AT):
        raise GateRefused(
            f"the access of {customer.name} was revoked on {tags[tag.REVOKED_AT][:10]}: no key is rotated",
            hint="'customer revoke --undo' gives it back first",
        )
    if tags.get(tag.STATE) != tag.ISSUED:
        raise GateRefused(
            f"the access of {customer.name} was not issued completely",
            hint="finish it with 'customer issue', with the same customer and ticket",
        )
    expires = tag.day_of(tags, tag.EXPIRES)
    if expires is not None and expires < today:
        raise GateRefused(
            f"the access of {customer.name} ended on {expires}: a new key would be refused",
            hint="'customer issue' with --expires-days renews it first",
        )


def _check_startable(customer: Customer, keys: list[AccessKey]) -> None:
    if len(keys) > 1:
        raise ConfigurationError(
            f"{customer.name} has two access keys that no rotation created: "
            + ", ".join(key.key_id for key in keys),
            hint="find out which one is used ('customer list') and delete the other; nothing was changed",
        )


def _begin(
    customer: Customer,
    tags: dict[str, str],
    keys: list[AccessKey],
    request: RotateRequest,
    services: Services,
) -> RotationReport:
    old = tags.get(tag.ROTATES, keys[0].key_id if keys else _NO_KEY)
    handover = require_place(request.handover, customer, services.environ)
    if request.dry_run:
        return _report(customer, "handed over", old, "", services, "the customer takes the new key into use")
    if tag.ROTATES not in tags:
        # Noted before the key is made: a key without a note would look like somebody else's.
        begun = {tag.ROTATES: old, **_from_now(services)}
        services.iam.tag(customer.user, begun)
        tags = {**tags, **begun}
    handed = hand_key_over(customer, tags, handover, services, keep=frozenset({old}))
    note = {tag.DELIVERED: " ".join(handed), **_from_now(services)}
    services.retry("note the hand-over", services.iam.tag, customer.user, note)
    settle_tags(customer.user, note, services)
    settle_keys(customer.user, {handed[-1]: True}, services)
    then = "the customer takes the new key into use; then run this again"
    place = handover.place(customer.user, handed[-1])
    return _report(customer, "handed over", old, handed[-1], services, then, place=place)


def _from_now(services: Services) -> dict[str, str]:
    """The tag that says from when on the grace period runs."""
    return {tag.ROTATION_AT: services.now().isoformat(timespec="seconds")}


def _switch_off(
    customer: Customer,
    tags: dict[str, str],
    old: AccessKey,
    new: AccessKey,
    request: RotateRequest,
    services: Services,
) -> RotationReport:
    days = services.configuration.customers.rotation_grace_days
    begun = moment_in(tags, tag.ROTATION_AT) or new.created
    over = services.now() >= begun + timedelta(days=days)
    if not over and not _in_use(new, old, begun):
        until = (begun + timedelta(days=days)).date().isoformat()
        then = f"the new key was not used yet; the old one works until it was, or until {until}"
        return _report(customer, "waiting", old.key_id, new.key_id, services, then)
    if not request.dry_run:
        services.iam.set_key_active(customer.user, old.key_id, False)
        settle_keys(customer.user, {old.key_id: False}, services)
    then = "if nothing breaks, run this again to delete the old key; --undo switches it on again"
    return _report(customer, "switched off", old.key_id, new.key_id, services, then)


def _switch_on(
    customer: Customer, old: AccessKey, new: AccessKey, request: RotateRequest, services: Services
) -> RotationReport:
    """Switch an old key on again; the grace period starts again, so that the next call leaves it on."""
    if not request.dry_run:
        begun = _from_now(services)
        services.iam.tag(customer.user, begun)
        services.iam.set_key_active(customer.user, old.key_id, True)
        settle_tags(customer.user, begun, services)
        settle_keys(customer.user, {old.key_id: True}, services)
    then = "both keys work; run this again when the customer uses the new one"
    return _report(customer, "switched on again", old.key_id, new.key_id, services, then)


def _in_use(new: AccessKey, old: AccessKey, begun: datetime) -> bool:
    """Whether the customer moved: the new key was used after it was handed over, the old one not since.

    The first minutes do not count: the key was tried before it was handed over.
    """
    if new.last_used is None or new.last_used <= begun + _OWN_USE:
        return False
    return old.last_used is None or old.last_used < new.last_used


def _end(
    customer: Customer, old: str, new: AccessKey, request: RotateRequest, services: Services
) -> RotationReport:
    if not request.dry_run:
        if old != _NO_KEY:
            services.iam.delete_key(customer.user, old)
        ended = {tag.DELIVERED: new.key_id}
        services.iam.tag(customer.user, ended)
        services.iam.untag(customer.user, [tag.ROTATES, tag.ROTATION_AT])
        settle_tags(customer.user, ended, services, gone=[tag.ROTATES, tag.ROTATION_AT])
        settle_keys(customer.user, {old: None}, services)
    return _report(customer, "deleted", old, new.key_id, services, "")


def _report(
    customer: Customer,
    state: RotationState,
    old: str,
    new: str,
    services: Services,
    then: str,
    *,
    place: str = "",
) -> RotationReport:
    keys = tuple(services.iam.used_keys(customer.user))
    old = "" if old == _NO_KEY else old
    done = {
        "handed over": "create a second access key and hand it over",
        "switched off": f"switch off the old key {old}",
        "deleted": f"delete the old key {old}" if old else "note that the rotation has ended",
        "switched on again": f"switch on the old key {old} again",
    }
    told = (done[state],) if state in done else ()
    return RotationReport(customer.name, state, old, new, keys, then, place, told)
