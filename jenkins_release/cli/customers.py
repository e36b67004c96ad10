"""Customers and their keys, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jenkins_release.base.moments import day
from jenkins_release.cli.output import plain, table

if TYPE_CHECKING:
    from jenkins_release.aws.iam import AccessKey
    from jenkins_release.steps.customers.audit import CustomerList, ListedCustomer


def list_json(found: CustomerList) -> dict[str, Any]:
    """Return everyone who has access."""
    return {
        "supportedLines": list(found.lines),
        "customers": [
            {
                "user": each.user,
                "customer": each.customer,
                "ticket": each.ticket,
                "state": each.state,
                "supported": each.supported,
                "expires": each.expires,
                "ageDays": each.age_days,
                "keys": keys_json(each.keys),
            }
            for each in found.users
        ],
        "accounts": [asdict(each) for each in found.accounts],
    }


def list_text(found: CustomerList) -> str:
    """Return one line for each key, and one for each AWS account."""
    titles = ["customer", "ticket", "state", "supported", "expires", "key", "key is", "age", "last used"]
    rows = [row for each in found.users for row in _rows(each)]
    lines = [table(titles, rows) if rows else "no customer has an access key"]
    if found.accounts:
        shared = [
            [each.customer, each.ticket, each.account, ", ".join(each.repositories)]
            for each in found.accounts
        ]
        lines.append(table(["customer", "ticket", "AWS account", "repositories"], shared))
    return "\n".join([*lines, f"supported lines: {', '.join(found.lines) or 'none'}"])


def _rows(customer: ListedCustomer) -> list[list[str]]:
    who = plain(customer.customer) or customer.user
    start = [who, plain(customer.ticket), customer.state, "yes" if customer.supported else "no"]
    start.append(plain(customer.expires))
    age = "-" if customer.age_days is None else f"{customer.age_days} d"
    rows = [[*start, key.key_id, _state(key), age, _used(key)] for key in customer.keys]
    return rows or [[*start, "-", "-", age, "never"]]


def keys_json(keys: tuple[AccessKey, ...]) -> list[dict[str, Any]]:
    """Return access keys, without secrets."""
    return [
        {
            "id": key.key_id,
            "active": key.active,
            "created": key.created.isoformat(),
            "lastUsed": key.last_used.isoformat() if key.last_used else None,
        }
        for key in keys
    ]


def keys_text(keys: tuple[AccessKey, ...]) -> str:
    """Return access keys as a table."""
    rows = [[key.key_id, _state(key), day(key.created), _used(key)] for key in keys]
    return table(["key", "state", "created", "last used"], rows) if rows else "no access key"


def _state(key: AccessKey) -> str:
    return "active" if key.active else "inactive"


def _used(key: AccessKey) -> str:
    return day(key.last_used) if key.last_used else "never"
