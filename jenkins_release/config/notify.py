"""The sections ``[[notify]]`` of ``release.toml``: who is notified about a release. No secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from jenkins_release.config.section import Section

if TYPE_CHECKING:
    from email.headerregistry import Address

EventKind = Literal[
    "candidate",
    "signed-off",
    "revoked",
    "waiting",
    "promoted",
    "published",
    "refreshed",
    "withdrawn",
    "failed",
]
PORTS = {"starttls": 587, "implicit": 465, "none": 25}
"""Ports for mail submission (RFC 6409 section 3.1, RFC 8314 section 3.3, RFC 5321)."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_IPV6 = re.compile(r"[0-9A-Fa-f]*(:[0-9A-Fa-f]*){2,7}")
_NAMED = re.compile(r"(?P<name>[^<>]*?)\s*<(?P<address>[^<>\s]+)>")
_ONLY_MAIL = ("to", "sender", "host", "port", "tls")
_ONLY_WEBHOOK = ("template", "template_file", "url_variable")


def mail_address(value: str) -> Address:
    """Read ``qa@nextlabs.com`` or ``QA <qa@nextlabs.com>``. Raises ValueError otherwise."""
    # Imported here: loading it takes longer than reading a configuration without mail.
    from email.headerregistry import Address

    found = _NAMED.fullmatch(value)
    name, address = (found["name"].strip('"'), found["address"]) if found else ("", value)
    if not value.isprintable() or not address.isascii():
        raise ValueError(f"{value!r} is not a mail address in ASCII")
    try:
        read = Address(name, addr_spec=address)
    except Exception as error:
        raise ValueError(f"{value!r} is not a mail address, such as qa@nextlabs.com") from error
    if not read.username or not _DOMAIN.fullmatch(read.domain):
        raise ValueError(f"{value!r} is not a mail address, such as qa@nextlabs.com")
    return read


def _address(value: str) -> str:
    if value:
        mail_address(value)
    return value


def _host(value: str) -> str:
    if value and not (_DOMAIN.fullmatch(value) or _IPV6.fullmatch(value)):
        raise ValueError("is not the name of a mail server; the port goes into notify.port")
    return value


def _variable(value: str) -> str:
    # Anything that does not look like a variable is not quoted: it may be the URL itself.
    if not _VARIABLE.fullmatch(value):
        raise ValueError("must name the environment variable with the URL, such as SKYDRM_TEAMS_WEBHOOK")
    return value


MailAddress = Annotated[str, AfterValidator(_address)]


class NotifySection(Section):
    """``[[notify]]``: one notifier, a mail server or a webhook.

    ``events`` are the events that it sends; empty means all. ``timeout_s`` limits one notification, including
    retries; all notifiers work at the same time. A webhook's URL contains its token, so the file only names
    the variable with the URL.
    """

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w][\w .+-]*$")]
    kind: Literal["mail", "webhook"]
    events: tuple[EventKind, ...] = ()
    to: tuple[MailAddress, ...] = ()
    sender: MailAddress = ""
    host: Annotated[str, AfterValidator(_host)] = ""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    template: Literal["teams", "slack", "json"] = "json"
    template_file: str = ""
    url_variable: Annotated[str, AfterValidator(_variable)] = "JENKINS_RELEASE_WEBHOOK_URL"
    ca_file: str = ""
    timeout_s: Annotated[float, Field(ge=1, le=120)] = 20.0

    @model_validator(mode="after")
    def _fits_its_kind(self) -> NotifySection:
        foreign = _ONLY_WEBHOOK if self.kind == "mail" else _ONLY_MAIL
        given = [key for key in foreign if key in self.model_fields_set]
        if given:
            raise ValueError(f"{given[0]} has no effect with the kind {self.kind!r}: remove it")
        if self.kind == "mail":
            missing = [key for key in ("to", "sender", "host") if not getattr(self, key)]
            if missing:
                raise ValueError(f"{' and '.join(missing)} must be given for the kind 'mail'")
        return self

    def wants(self, event: EventKind) -> bool:
        """Whether it sends this event."""
        return not self.events or event in self.events
