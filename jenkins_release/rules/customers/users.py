"""Customers as IAM users: names, tags, and what of them says how far an issue came.

IAM compares user names without case (IAM user guide, "IAM identifiers"): ``ACME`` and ``acme`` are
one user. The tags of a user are its record: everything that a command needs to go on where another
one died stands there, none of it secret. Values hold letters, digits, spaces and ``_ . : / = + - @``
(IAM API reference, Tag).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from jenkins_release.base.errors import ConfigurationError

CUSTOMER, TICKET, ISSUED_BY, EXPIRES = "customer", "ticket", "issued-by", "expires"
ISSUED_AT, PRODUCT, STATE, NETWORKS = "issued-at", "product", "state", "source-ips"
DELIVERED = "delivered-keys"
"""Ids of the access keys whose secret was handed over, with spaces between them."""
ROTATES, ROTATION_AT = "rotates-key", "rotation-at"
REVOKED_AT, REVOKED_BY, REVOKED_KEYS = "revoked-at", "revoked-by", "revoked-keys"
REVOKED_BECAUSE = "revoked-because"
PROBE = "probe"
"""Set while a revocation has a key of its own to try with: ids of the keys that were there before."""
ISSUING, ISSUED = "issuing", "issued"

PULL, REVOKED = "pull", "revoked"
"""Names of the inline policies: what a customer may do, and the deny of a revoked one."""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38}[A-Za-z0-9])?")
_TICKET = re.compile(r"[A-Za-z][A-Za-z0-9_]*-[0-9]{1,9}")
_MAX_USER = 64
_NOT_IN_A_TAG = re.compile(r"[^\w .:/=+@-]")


@dataclass(frozen=True)
class Customer:
    """A customer of a product.

    Attributes:
        name: As the ticket writes it.
        product: Name of the product.
    """

    name: str
    product: str

    @property
    def user(self) -> str:
        """IAM user name; the product is in it because names are unique in an account."""
        return f"{self.product.lower()}-{self.name.lower()}"


def customer_named(name: str, product: str) -> Customer:
    """Check a customer's name.

    Raises:
        ConfigurationError: It could not be an IAM user, a file name and a word in a shell at once.
    """
    if not _NAME.fullmatch(name) or "--" in name:
        shown = name if len(name) <= 60 else f"{name[:57]}..."
        raise ConfigurationError(
            f"the customer {shown!r} is not 1 to 40 letters and digits with single - between them",
            hint="write ACME or acme-europe: the name becomes an IAM user and a file name",
        )
    customer = Customer(name, product)
    if len(customer.user) > _MAX_USER:
        raise ConfigurationError(
            f"the IAM user {customer.user} would have {len(customer.user)} characters, IAM takes {_MAX_USER}",
            hint="give the customer a shorter name",
        )
    return customer


def checked_ticket(ticket: str) -> str:
    """Check the ticket that asks for access.

    Raises:
        ConfigurationError: It is not a project and a number.
    """
    if not _TICKET.fullmatch(ticket):
        raise ConfigurationError(
            f"the ticket {ticket[:60]!r} is not a project and a number", hint="give --ticket DEVOPS-123"
        )
    return ticket


def tag_value(text: str) -> str:
    """Return a text as the value of an IAM tag: what IAM does not take becomes ``_``, 256 characters."""
    return _NOT_IN_A_TAG.sub("_", text)[:256]


def default_path(product: str) -> str:
    """Return the IAM path of a product's customers."""
    return f"/{product.lower()}/customers/"


def boundary_name(product: str) -> str:
    """Return the name of the managed policy that bounds a product's customers."""
    return f"{product.lower()}-customer-boundary"


def same_customer(tags: Mapping[str, str], customer: Customer) -> None:
    """Refuse a user that stands for somebody else under the same name.

    Raises:
        ConfigurationError: The user was not made by this program, or is written in another case.
    """
    found = tags.get(CUSTOMER)
    if found is None or tags.get(PRODUCT) != customer.product:
        raise ConfigurationError(
            f"the IAM user {customer.user} exists and is no customer of {customer.product}",
            hint="find out whose it is; 'customer audit' lists such users",
        )
    if found != customer.name:
        raise ConfigurationError(
            f"the customer {customer.name!r} exists as {found!r}: IAM does not tell case apart",
            hint=f"write {found}",
        )


def delivered_keys(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ids of the access keys that were handed over."""
    return tuple(tags.get(DELIVERED, "").split())


def day_of(tags: Mapping[str, str], tag: str) -> date | None:
    """Return a date that stands in a tag; None if there is none or it cannot be read."""
    try:
        return date.fromisoformat(tags.get(tag, "")[:10])
    except ValueError:
        return None


def moment_in(tags: Mapping[str, str], tag: str) -> datetime | None:
    """Return a moment that stands in a tag; None if there is none or it cannot be read."""
    try:
        found = datetime.fromisoformat(tags.get(tag, ""))
    except ValueError:
        return None
    return found if found.tzinfo else None
