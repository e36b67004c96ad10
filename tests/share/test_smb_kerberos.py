"""Kerberos without a realm: names, messages, and a KDC that does not answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import gssapi
import krb5
import pytest

from jenkins_release.share.smb import kerberos
from jenkins_release.share.smb.errors import LoginRefused
from jenkins_release.share.smb.kerberos import NoTicket, Tickets, is_name, principal


@pytest.fixture
def krb5_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``krb5.conf``, and no tickets."""
    path = tmp_path / "krb5.conf"
    path.write_text("[libdefaults]\n  dns_lookup_kdc = false\n  dns_canonicalize_hostname = false\n")
    monkeypatch.setenv("KRB5_CONFIG", str(path))
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path / 'tickets'}")
    monkeypatch.delenv("KRB5_CLIENT_KTNAME", raising=False)
    return path


@pytest.fixture
def silent_kdc(krb5_conf: Path) -> Iterator[None]:
    """A KDC that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        krb5_conf.write_text(
            f"{krb5_conf.read_text()}  udp_preference_limit = 0\n"
            f"[realms]\n  SILENT.EXAMPLE = {{\n    kdc = 127.0.0.1:{port}\n  }}\n"
        )
        yield


@pytest.mark.usefixtures("krb5_conf")
@pytest.mark.parametrize(
    ("username", "server", "expected"),
    [
        ("release@corp.example", "fs1", "release@CORP.EXAMPLE"),
        ("release@CORP.example", "fs1.other.example", "release@CORP.EXAMPLE"),
        (r"corp.example\release", "fs1", "release@CORP.EXAMPLE"),
        (r"CORP\release", "fs1.corp.example", "release@CORP.EXAMPLE"),
        ("release", "fs1.corp.example", "release@CORP.EXAMPLE"),
    ],
)
def test_the_realm_of_an_account(username: str, server: str, expected: str) -> None:
    """As its name says, or else the domain of the server."""
    assert principal(username, server) == expected


def test_the_default_realm_comes_first(krb5_conf: Path) -> None:
    """Where ``krb5.conf`` has one."""
    krb5_conf.write_text("[libdefaults]\n  default_realm = HOME.EXAMPLE\n")
    assert principal(r"CORP\release", "fs1.corp.example") == "release@HOME.EXAMPLE"
    assert principal("release@corp.example", "fs1.corp.example") == "release@CORP.EXAMPLE"


@pytest.mark.usefixtures("krb5_conf")
@pytest.mark.parametrize(
    ("username", "server", "message"),
    [
        ("release", "fs1", "nothing tells the realm of release"),
        (r"FS1\release", "fs1.corp.example", "an account of the server itself"),
        (r".\release", "fs1.corp.example", "an account of the server itself"),
    ],
)
def test_an_account_without_a_realm(username: str, server: str, message: str) -> None:
    """It cannot have a ticket."""
    with pytest.raises(NoTicket, match=message):
        principal(username, server)


@pytest.mark.parametrize(
    ("server", "name"),
    [("fs1", True), ("fs1.corp.example", True), ("10.0.0.1", False), ("::1", False), ("localhost", False)],
)
def test_a_server_by_name(server: str, name: bool) -> None:
    """Kerberos knows no addresses."""
    assert is_name(server) is name


@pytest.mark.parametrize("code", sorted(kerberos._MEANINGS))
def test_a_code_is_told_in_words(code: int) -> None:
    """With its name, and what to do; from either library."""
    from_krb5 = krb5.Krb5Error(krb5.init_context(), code)
    from_gssapi = gssapi.raw.GSSError(851968, code & 0xFFFFFFFF)
    for error in (kerberos._no_ticket(from_krb5), kerberos._no_ticket(from_gssapi)):
        meaning = kerberos._MEANINGS[code]
        assert error.message == f"{meaning.text}: {meaning.name}"
        assert error.hint
        assert error.final is meaning.final


def test_a_code_that_is_not_known() -> None:
    """What the library says is told."""
    error = kerberos._no_ticket(krb5.Krb5Error(krb5.init_context(), -1765328381))
    assert error.message.startswith("Kerberos failed: ")
    assert not error.final


@pytest.mark.usefixtures("silent_kdc")
def test_a_kdc_that_does_not_answer() -> None:
    """It has as long as the share."""
    begun = time.monotonic()
    with pytest.raises(LoginRefused, match="no KDC answered within 1 s"):
        Tickets("release@SILENT.EXAMPLE", "p", 1.0).fetch("fs1.silent.example")
    assert time.monotonic() - begun < 3


@pytest.mark.usefixtures("krb5_conf")
def test_a_ticket_that_nobody_has() -> None:
    """Neither cache nor keytab: it is told which variables to set."""
    with pytest.raises(NoTicket, match="there is no ticket") as caught:
        Tickets(None, None, 5.0).fetch("fs1.corp.example")
    for name in ("KRB5CCNAME", "KRB5_CLIENT_KTNAME", "JENKINS_RELEASE_SMB_PASSWORD"):
        assert name in caught.value.hint
