"""Customers as IAM users: their names and tags, which show how far an issue got.

IAM compares user names without case (IAM user guide, "IAM identifiers"): ``ACME`` and ``acme`` are
one user. The tags of a user are its record: they hold everything that a command needs to continue after
another one died, and nothing secret. Values hold letters, digits, spaces and ``_ . : / = + - @`` (IAM API
reference, Tag).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError

CUSTOMER, TICKET, ISSUED_BY, EXPIRES = "customer", "ticket", "issued-by", "expires"
ISSUED_AT, PRODUCT, STATE, NETWORKS = "issued-at", "product", "state", "source-ips"
DELIVERED = "delivered-keys"
"""Ids of the access keys whose secret was handed over, separated by spaces."""
ROTATES, ROTATION_AT = "rotates-key", "rotation-at"
REVOKED_AT, REVOKED_BY, REVOKED_KEYS = "revoked-at", "revoked-by", "revoked-keys"
REVOKED_BECAUSE = "revoked-because"
PROBE = "probe"
"""Set while a revocation has its own key for a test: ids of the keys that existed before."""
ISSUING, ISSUED = "issuing", "issued"

PULL, REVOKED = "pull", "revoked"
"""Names of the inline policies: what a customer may do, and the deny after a revocation."""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38}[A-Za-z0-9])?")
_TICKET = re.compile(r"[A-Za-z][A-Za-z0-9_]*-[0-9]{1,9}")
_MAX_USER = 64
_NOT_IN_A_TAG = re.compile(r"[^\w .:/=+@-]")


@dataclass(frozen=True)
class Customer:
    """A customer of a product.

    Attributes:
        name: As in the ticket.
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
        ConfigurationError: It is not valid as an IAM user, a file name and a shell word.
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
            f"the IAM user {customer.user} would have {len(customer.user)} characters, at most {_MAX_USER}",
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
    """Return a text as an IAM tag value: characters that IAM refuses become ``_``, at most 256 characters."""
    return _NOT_IN_A_TAG.sub("_", text)[:256]


def default_path(product: str) -> str:
    """Return the IAM path of a product's customers."""
    return f"/{product.lower()}/customers/"


def boundary_name(product: str) -> str:
    """Return the name of the managed policy that is the boundary of a product's customers."""
    return f"{product.lower()}-customer-boundary"


def same_customer(tags: Mapping[str, str], customer: Customer) -> None:
    """Refuse a user with the same name that is someone else.

    Raises:
        ConfigurationError: The user was not made by this program, or is written in another case.
    """
    found = tags.get(CUSTOMER)
    if found is None or tags.get(PRODUCT) != customer.product:
        raise ConfigurationError(
            f"the IAM user {customer.user} exists, but is not a customer of {customer.product}",
            hint="find out who owns it; 'customer audit' lists such users",
        )
    if found != customer.name:
        raise ConfigurationError(
            f"the customer {customer.name!r} exists as {found!r}: IAM ignores case",
            hint=f"write {found}",
        )


def delivered_keys(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ids of the access keys that were handed over."""
    return tuple(tags.get(DELIVERED, "").split())


def day_of(tags: Mapping[str, str], tag: str) -> date | None:
    """Return the date in a tag; None if there is none or it cannot be read."""
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
