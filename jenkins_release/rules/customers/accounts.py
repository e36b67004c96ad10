"""Customers' own AWS accounts, as statements in repository policies.

Each repository of the product gets one statement for a customer. Its ``Sid`` allows only letters and digits,
and consists of product and customer, a hash that tells ``acme-x`` and ``acmex`` apart, and the ticket. Other
statements are not touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.rules.customers.users import Customer

_NOT_IN_A_SID = re.compile(r"[^A-Za-z0-9]")
_HASH = 8


@dataclass(frozen=True)
class SharedAccount:
    """An account that may pull.

    Attributes:
        customer: Name of the customer, reduced to what a statement can hold: letters and digits.
        account: The account.
        ticket: Ticket that the access was granted for, reduced to letters and digits.
        repositories: Repositories that let it in.
    """

    customer: str
    account: str
    ticket: str
    repositories: tuple[str, ...]


def sid_start(customer: Customer) -> str:
    """Return what the ``Sid`` of a customer's statements begins with."""
    return _NOT_IN_A_SID.sub("", customer.user) + sha256(customer.user.encode()).hexdigest()[:_HASH]


def sid_of(customer: Customer, ticket: str) -> str:
    """Return the ``Sid`` of a customer's statements. The ticket is in capitals: a hash has none."""
    return sid_start(customer) + _NOT_IN_A_SID.sub("", ticket).upper()


def own_statements(customer: Customer, policy: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the statements of a customer in the policy of a repository."""
    start = sid_start(customer)
    return [each for each in policy["Statement"] if str(each.get("Sid", "")).startswith(start)]


def shared_accounts(product: str, policies: Iterable[tuple[str, Mapping[str, Any]]]) -> list[SharedAccount]:
    """Read from the repository policies who has access.

    Args:
        product: Name of the product.
        policies: Repository and its policy.
    """
    start = re.escape(_NOT_IN_A_SID.sub("", product.lower()))
    pattern = re.compile(rf"{start}(?P<customer>[a-z0-9]+)[0-9a-f]{{{_HASH}}}(?P<ticket>[A-Z][A-Z0-9]*)")
    found: dict[tuple[str, str, str], list[str]] = {}
    for repository, policy in policies:
        for each in policy["Statement"]:
            match = pattern.fullmatch(str(each.get("Sid", "")))
            if match:
                key = match["customer"], account_of(each), match["ticket"]
                found.setdefault(key, []).append(repository)
    return [SharedAccount(*key, tuple(names)) for key, names in sorted(found.items())]


def account_of(statement: Mapping[str, Any]) -> str:
    """Return the account that a statement lets in; the whole principal if it is not a single account."""
    principal = statement.get("Principal")
    arn = principal.get("AWS", "") if isinstance(principal, Mapping) else ""
    found = re.search(r":iam::([0-9]{12}):root$", str(arn)) or re.fullmatch(r"([0-9]{12})", str(arn))
    return found[1] if found else str(principal)
