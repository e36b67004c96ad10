"""Kerberos tickets for the servers of a share: from a password, a ticket cache or a keytab.

The libraries are MIT's (the extra ``kerberos``), which find realms and key distribution centres (KDC) through
``krb5.conf`` (``KRB5_CONFIG``) or DNS, tickets through ``KRB5CCNAME``, and keys through
``KRB5_CLIENT_KTNAME``. Their calls wait for servers without a way out, so they run aside. The error codes are
those of RFC 4120 section 7.5.9 and of MIT's ``krb5.h``, whose numbers begin at -1765328384.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import field
from typing import Any

from jenkins_release.base.aside import aside
from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.share.smb.errors import LoginRefused

_log = logging.getLogger(__name__)
_OF_ITS_LIFE = 0.9
"""After this part of a ticket's life, the next one is fetched."""
_BASE = -1765328384
_CLOCK = "set this machine's clock, such as with chrony: Kerberos allows five minutes"
_ACCOUNT = "correct the account or password first: further attempts may lock the account"
_NO_TICKET = (
    "get a ticket with kinit, name its cache in KRB5CCNAME or a keytab in KRB5_CLIENT_KTNAME, or set "
    "JENKINS_RELEASE_SMB_USER and JENKINS_RELEASE_SMB_PASSWORD"
)
_REALM = (
    "write the account as user@REALM; the realm's KDC is found through DNS or krb5.conf: check both with "
    "kinit"
)
_KDC = (
    "the realm's KDC is found through DNS or krb5.conf: check both with kinit, and that no firewall on the "
    "way blocks port 88"
)
_SPN = (
    "write the server's own name as the domain knows it, not an alias or an address; if it is right, have "
    "its service principal registered: setspn -L SERVER lists them; if it is a domain that DNS does not "
    "show as one, name a controller in share.domain_controller"
)


@dataclass(frozen=True)
class _Meaning:
    """What an error code says.

    Attributes:
        name: Of the code.
        text: In plain words.
        hint: What to do.
        final: Whether another method of the same account is not to be tried either.
    """

    name: str
    text: str
    hint: str
    final: bool = False


_MEANINGS = {
    _BASE + 6: _Meaning("KDC_ERR_C_PRINCIPAL_UNKNOWN", "the realm does not know the account", _ACCOUNT),
    _BASE + 7: _Meaning("KDC_ERR_S_PRINCIPAL_UNKNOWN", "the realm does not know the server", _SPN),
    _BASE + 12: _Meaning("KDC_ERR_POLICY", "the domain's policy refuses the login", _ACCOUNT, final=True),
    _BASE + 14: _Meaning(
        "KDC_ERR_ETYPE_NOTSUPP",
        "the KDC does not support the encryption of the ticket",
        "check permitted_enctypes in krb5.conf and the account's encryption types in the domain",
    ),
    _BASE + 18: _Meaning(
        "KDC_ERR_CLIENT_REVOKED",
        "the account is locked or disabled",
        "have it unlocked or enabled",
        final=True,
    ),
    _BASE + 23: _Meaning("KDC_ERR_KEY_EXPIRED", "the password has expired", "set a new password", final=True),
    _BASE + 24: _Meaning("KDC_ERR_PREAUTH_FAILED", "the password is wrong", _ACCOUNT, final=True),
    _BASE + 31: _Meaning("KRB_AP_ERR_BAD_INTEGRITY", "the password is wrong", _ACCOUNT, final=True),
    _BASE + 32: _Meaning("KRB_AP_ERR_TKT_EXPIRED", "the ticket has expired", _NO_TICKET),
    _BASE + 37: _Meaning(
        "KRB_AP_ERR_SKEW", "the clocks of this machine and the KDC differ too much", _CLOCK, final=True
    ),
    -1765328230: _Meaning("KRB5_REALM_UNKNOWN", "no KDC of the realm was found", _REALM),
    -1765328228: _Meaning("KRB5_KDC_UNREACH", "no KDC of the realm was reached", _KDC),
    -1765328160: _Meaning("KRB5_CONFIG_NODEFREALM", "there is no default realm", _REALM),
    -1765328164: _Meaning("KRB5_REALM_CANT_RESOLVE", "the KDC's name does not resolve", _REALM),
    -1765328189: _Meaning("KRB5_FCC_NOFILE", "there is no ticket cache", _NO_TICKET),
    -1765328243: _Meaning("KRB5_CC_NOTFOUND", "there is no ticket", _NO_TICKET),
    -1765328203: _Meaning("KRB5_KT_NOTFOUND", "the keytab has no key of the account", _NO_TICKET),
    -1765328161: _Meaning("KRB5_GET_IN_TKT_LOOP", "the KDC refers in a circle", _REALM),
}


class NoTicket(LoginRefused):
    """There is no ticket for a server.

    Attributes:
        final: Whether the account was refused, so that another method is not to be tried.
    """

    def __init__(self, message: str, *, hint: str = "", final: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.final = final


def is_available() -> bool:
    """Whether the libraries are installed."""
    try:
        import gssapi  # noqa: F401
        import krb5  # noqa: F401
    except (ImportError, OSError):  # gssapi: the system's library is missing
        return False
    return True


def is_name(server: str) -> bool:
    """Whether a server is given by name: Kerberos knows no addresses."""
    try:
        ipaddress.ip_address(server)
    except ValueError:
        return server.casefold() != "localhost"
    return False


@dataclass
class Tickets:
    r"""The tickets of one account, which are renewed before they end.

    Attributes:
        username: ``user@realm``, ``DOMAIN\user`` or ``user``; None for the owner of the cache or keytab.
        password: Its password; None to take a ticket cache or keytab.
        limit_s: Longest wait for a KDC, in seconds.
        absent: Why there is no ticket for a server, where NTLM was taken instead: it is not asked for again.
    """

    username: str | None
    password: str | None = field(repr=False)
    limit_s: float
    absent: dict[str, str] = field(default_factory=dict)
    _lock: AbstractContextManager[Any] = field(default_factory=threading.RLock, repr=False)
    _caches: dict[str, tuple[Any, str, float]] = field(default_factory=dict, repr=False)
    _refused: NoTicket | None = field(default=None, repr=False)
    _owner: str = field(default="", repr=False)
    """Whose the ticket cache or keytab is, once one was looked for."""

    def account(self, server: str) -> str:
        """Return the principal that logs in to a server; empty for the owner of the cache or keytab."""
        return principal(self.username, server) if self.username else ""

    def told(self, server: str) -> str:
        """Return what is tried with a server, for messages; after a try also with whose ticket."""
        try:
            account = self.account(server) or self._owner
        except NoTicket:
            account = ""
        return f"Kerberos{f' as {account}' if account else ''} for cifs/{server}"

    def fetch(self, server: str) -> Any:
        """Return a credential of pyspnego whose cache has a ticket for the server.

        Raises:
            ConfigurationError: The libraries are not installed.
            NoTicket: The realm refuses, or was not reached. A wrong password is tried once.
            Stopped: The process was asked to stop.
        """
        if not is_available():
            raise ConfigurationError(
                "Kerberos needs libraries that are not installed",
                hint="pip install 'jenkins-release[kerberos]'; it builds with a C compiler and the Kerberos "
                "headers (Debian: gcc libkrb5-dev)",
            )
        with self._lock:
            refused = self._refused
            if refused is not None:
                raise NoTicket(refused.message, hint=refused.hint, final=True)
            what = f"a KDC to issue a ticket for cifs/{server}"
            try:
                return aside(lambda: self._fetch(server), what=what, limit_s=self.limit_s)
            except NoTicket as error:
                if error.final:
                    self._refused = error
                raise
            except TimeoutError as error:
                raise NoTicket(f"no KDC answered within {self.limit_s:g} s", hint=_KDC) from error

    def _fetch(self, server: str) -> Any:
        import gssapi
        import krb5
        import spnego
        from spnego.exceptions import SpnegoError

        try:
            credential = self._from_password(server) if self.password else self._from_cache(server)
            context = spnego.client(
                credential,
                hostname=server,
                service="cifs",
                options=spnego.NegotiateOptions.session_key,
                protocol="kerberos",
            )
            context.step()
        except SpnegoError as error:
            raise _no_ticket(error.base_error or error) from error
        except (krb5.Krb5Error, gssapi.raw.GSSError) as error:
            raise _no_ticket(error) from error
        return credential

    def _from_password(self, server: str) -> Any:
        import krb5
        import spnego

        account = self.account(server)
        cache, name, until = self._caches.get(account, (None, "", 0.0))
        if cache is None or time.monotonic() > until:
            context = krb5.init_context()
            options = krb5.get_init_creds_opt_alloc(context)
            krb5.get_init_creds_opt_set_canonicalize(options, True)
            client = krb5.parse_name_flags(context, account.encode())
            password = (self.password or "").encode()
            ticket = krb5.get_init_creds_password(context, client, options, password=password)
            cache = krb5.cc_new_unique(context, b"MEMORY")
            krb5.cc_initialize(context, cache, ticket.client)
            krb5.cc_store_cred(context, cache, ticket)
            name = f"MEMORY:{(cache.name or b'').decode()}"
            # The cache lives as long as this object.
            life_s = max(0.0, ticket.times.endtime - time.time())
            self._caches[account] = cache, name, time.monotonic() + life_s * _OF_ITS_LIFE
        return spnego.KerberosCCache(name)

    def _from_cache(self, server: str) -> Any:
        import gssapi
        import krb5
        import spnego

        account = self.account(server)
        name = gssapi.Name(account, name_type=gssapi.NameType.user) if account else None
        self._owner = account or _owner()
        found = gssapi.Credentials(name=name, usage="initiate", mechs=[gssapi.MechType.kerberos])
        # With a keytab, this fetches the first ticket, and the next one when half of its time is over.
        _ = found.lifetime
        self._owner = str(found.name)
        cache = krb5.cc_default(krb5.init_context())
        kind, residual = (cache.cache_type or b"FILE").decode(), (cache.name or b"").decode()
        return spnego.KerberosCCache(f"{kind}:{residual}", account or None)


def principal(username: str, server: str) -> str:
    r"""Return the Kerberos principal of an account.

    The realm of ``user@domain`` is that domain. That of ``DOMAIN\user`` or ``user`` is the default realm of
    ``krb5.conf``, or else the domain of the server.

    Raises:
        NoTicket: Nothing tells the realm, or the account belongs to the server itself.
    """
    domain, separator, user = username.rpartition("\\")
    if not separator:
        user, _, domain = username.partition("@")
    host, _, above = server.partition(".")
    if separator and domain.casefold() in {host.casefold(), "."}:
        raise NoTicket(f"{username} is an account of the server itself, not of a realm", hint=_REALM)
    if "." in domain:
        return f"{user}@{domain.upper()}"
    realm = _default_realm() or above.upper()
    if not realm:
        raise NoTicket(f"nothing tells the realm of {username}", hint=_REALM)
    return f"{user}@{realm}"


def _default_realm() -> str:
    import krb5

    try:
        return krb5.get_default_realm(krb5.init_context()).decode()
    except krb5.Krb5Error:
        return ""


def _owner() -> str:
    """Return the account of the ticket cache, or else the first one of the keytab; empty if there is none."""
    import krb5

    context = krb5.init_context()
    try:
        account = krb5.cc_get_principal(context, krb5.cc_default(context))
        return krb5.unparse_name_flags(context, account).decode()
    except krb5.Krb5Error as error:
        _log.debug("no ticket cache: %s", error)
    try:
        # A principal lives as long as its entry.
        names = [
            krb5.unparse_name_flags(context, entry.principal).decode()
            for entry in krb5.kt_client_default(context)
        ]
    except krb5.Krb5Error as error:
        _log.debug("no keytab: %s", error)
        return ""
    return names[0] if names else ""


def _no_ticket(error: BaseException) -> NoTicket:
    """Return what a failure of the libraries means."""
    code = getattr(error, "err_code", None)
    if code is None:
        code = getattr(error, "min_code", None)
    number = _signed(code) if code is not None else 0
    meaning = _MEANINGS.get(number)
    if meaning is None:
        said = " ".join(str(error).split())
        return NoTicket(f"Kerberos failed: {said}", hint=_NO_TICKET)
    return NoTicket(f"{meaning.text}: {meaning.name}", hint=meaning.hint, final=meaning.final)


def _signed(code: int) -> int:
    return code - (1 << 32) if code >= 1 << 31 else code
