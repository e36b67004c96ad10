"""What IAM would answer: the evaluation of identity policies under a permissions boundary.

After "Policy evaluation logic" of the IAM user guide: an explicit deny wins; otherwise an action
needs an allow from the identity's policies and, if there is a boundary, one from the boundary.
Actions are compared without case, resources with it; ``*`` and ``?`` are the only wildcards. What this module
does not know never favours the caller: an unknown condition or a policy variable never meets an Allow, and
always meets a Deny. A repository's own policy is not evaluated: it can grant a user of the account access
whatever boundary the user has ("Permissions boundaries for IAM entities", same guide).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from jenkins_release.base.dataclass import dataclass
from jenkins_release.rules.customers.iam_policy import Policy

Answer = Literal["allow", "implicit deny", "explicit deny"]


@dataclass(frozen=True)
class IamCall:
    """A call that IAM is asked about.

    Attributes:
        action: For example ``ecr:BatchGetImage``.
        resource: ARN that the action is for; ``*`` for actions without one.
        context: Condition keys, such as ``aws:SourceIp``.
    """

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


def evaluate(policies: Iterable[Policy], call: IamCall, boundary: Policy | None = None) -> Answer:
    """Return what IAM answers to a call of a user.

    Args:
        policies: Everything attached to the user, inline, managed and through groups.
        call: The call.
        boundary: The permissions boundary; None if the user has none.
    """
    identity = [statement for policy in policies for statement in statements(policy)]
    limits = None if boundary is None else statements(boundary)
    if any(_applies(each, call, "Deny") for each in [*identity, *(limits or [])]):
        return "explicit deny"
    allowed = any(_applies(each, call, "Allow") for each in identity)
    within = limits is None or any(_applies(each, call, "Allow") for each in limits)
    return "allow" if allowed and within else "implicit deny"


def statements(policy: Policy) -> list[Mapping[str, Any]]:
    """Return the statements of a policy, which may be a single one; anything else is left out."""
    found = policy.get("Statement", [])
    many = found if isinstance(found, list) else [found]
    return [each for each in many if isinstance(each, Mapping)]


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern with IAM's wildcards covers a text: ``*`` any number of characters, ``?`` one."""
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    pieces = {"*": ".*", "?": "."}
    return re.compile("".join(pieces.get(letter, re.escape(letter)) for letter in pattern), re.DOTALL)


def _applies(statement: Mapping[str, Any], call: IamCall, effect: str) -> bool:
    if statement.get("Effect") != effect:
        return False
    action = call.action.lower()
    named = _covers(statement, "Action", effect, lambda pattern: matches(pattern.lower(), action))
    resource = _covers(statement, "Resource", effect, lambda pattern: matches(pattern, call.resource))
    return named and resource and _conditions_hold(statement.get("Condition", {}), call, effect)


def _covers(statement: Mapping[str, Any], element: str, effect: str, holds: Callable[[str], bool]) -> bool:
    """Whether an element covers the call, or its negation (``NotAction``) does not name it."""
    if element in statement:
        return any(_holds(each, holds, effect == "Deny") for each in _texts(statement[element]))
    excluded = statement.get(f"Not{element}")
    return excluded is not None and not any(
        _holds(each, holds, effect == "Allow") for each in _texts(excluded)
    )


def _holds(pattern: str, holds: Callable[[str], bool], unknown: bool) -> bool:
    """Whether a pattern names the call; ``unknown`` if it contains a policy variable."""
    return unknown if "${" in pattern else holds(pattern)


def _texts(value: Any) -> Sequence[str]:
    return [value] if isinstance(value, str) else [str(each) for each in value]


def _conditions_hold(conditions: Any, call: IamCall, effect: str) -> bool:
    if not isinstance(conditions, Mapping):
        return effect == "Deny"
    context = {name.lower(): value for name, value in call.context.items()}
    for operator, keys in conditions.items():
        test = _OPERATORS.get(str(operator))
        if test is None or not isinstance(keys, Mapping):
            if effect == "Allow":
                return False
            continue
        for key, wanted in keys.items():
            # A negated operator also holds where the key is missing (IAM user guide, "Condition operators").
            found = context.get(str(key).lower())
            missing = str(operator).startswith(("Not", "StringNot"))
            if not (missing if found is None else test(found, _texts(wanted))):
                return False
    return True


def _in_networks(address: str, networks: Sequence[str]) -> bool:
    try:
        found = ipaddress.ip_address(address)
        return any(found in ipaddress.ip_network(network, strict=False) for network in networks)
    except ValueError:
        return False


def _before(moment: str, bounds: Sequence[str]) -> bool:
    try:
        found = datetime.fromisoformat(moment)
        return any(found < datetime.fromisoformat(bound) for bound in bounds)
    except (ValueError, TypeError):  # no date, or one without a time zone
        return False


_OPERATORS: Mapping[str, Any] = {
    "DateLessThan": _before,
    "IpAddress": _in_networks,
    "NotIpAddress": lambda found, wanted: not _in_networks(found, wanted),
    "StringEquals": lambda found, wanted: found in wanted,
    "StringNotEquals": lambda found, wanted: found not in wanted,
    "StringLike": lambda found, wanted: any(matches(pattern, found) for pattern in wanted),
    "StringNotLike": lambda found, wanted: not any(matches(pattern, found) for pattern in wanted),
}
