"""Which way to log in is taken, and what is said if it does not work."""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.sandbox.domain.domain import Domain
from jenkins_release.share.smb import kerberos, login
from jenkins_release.share.smb.errors import LoginRefused
from tests.fixtures.domain import Open

FS1 = r"\\fs1.corp.example\data"
FS2 = r"\\fs2.corp.example\data"
BY_PASSWORD = "Kerberos as release@CORP.EXAMPLE for cifs/"


_COUNT = """
import sys
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB

lp = LoadParm()
lp.load(sys.argv[1])
db = SamDB(url=sys.argv[2], session_info=system_session(lp), lp=lp)
(found,) = db.search(base=db.domain_dn(), expression="(sAMAccountName=release)", attrs=["badPwdCount"])
print(found.get("badPwdCount", idx=0) and int(found["badPwdCount"][0]) or 0)
"""


def bad_passwords(domain: Domain) -> int:
    """How many wrong passwords in a row the domain has counted for the user."""
    controller = domain.controller
    words = ["/usr/bin/python3", "-c", _COUNT, str(controller.config_file), str(controller.database)]
    return int(subprocess.run(words, capture_output=True, check=True, timeout=60).stdout)


def way(caplog: pytest.LogCaptureFixture) -> list[str]:
    """How each server was logged in to."""
    return [
        record.message.partition(" with ")[2].partition(",")[0]
        for record in caplog.records
        if record.message.startswith("logged in to")
    ]


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="jenkins_release")


@pytest.mark.parametrize(
    ("location", "options", "taken"),
    [
        (FS1, {}, f"{BY_PASSWORD}fs1.corp.example"),
        (FS2, {}, f"{BY_PASSWORD}fs2.corp.example"),
        (FS2, {"username": "release"}, f"{BY_PASSWORD}fs2.corp.example"),
        (FS2, {"username": r"CORP\release", "auth": "kerberos"}, f"{BY_PASSWORD}fs2.corp.example"),
        (FS2, {"username": "release@CORP.example"}, f"{BY_PASSWORD}fs2.corp.example"),
        (r"\\fs2\data", {}, f"{BY_PASSWORD}fs2"),
        (FS1, {"auth": "ntlm"}, "NTLM as release@corp.example"),
        (r"\\10.88.0.2\data", {}, "NTLM as release@corp.example"),
        (r"\\files.corp.example\data", {}, "NTLM as release@corp.example"),
    ],
)
def test_the_way_that_works_is_taken(
    open_domain: Open, caplog: pytest.LogCaptureFixture, location: str, options: dict, taken: str
) -> None:
    """Kerberos for a server with a name, else NTLM."""
    open_domain(location, **options).list("")
    assert way(caplog) == [taken]


def test_one_ticket_serves_every_connection(
    open_domain: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The password goes to the domain once, not for each connection."""
    asked = []
    real = kerberos.Tickets._from_password
    monkeypatch.setattr(
        kerberos.Tickets,
        "_from_password",
        lambda self, server: asked.append(self._caches.get("release@CORP.EXAMPLE")) or real(self, server),
    )
    share = open_domain(FS1, auth="kerberos")
    for _ in range(3):
        share.list("")
        share._pool.close()
    assert len(way(caplog)) == 3
    assert asked[0] is None
    assert asked[1] is asked[2] is not None


@pytest.mark.usefixtures("keytab")
@pytest.mark.parametrize("options", [{}, {"username": "release@corp.example"}, {"auth": "kerberos"}])
def test_a_keytab(open_domain: Open, caplog: pytest.LogCaptureFixture, options: dict) -> None:
    """Named by ``KRB5_CLIENT_KTNAME``: no password anywhere."""
    open_domain(FS2, **{"username": None, "password": None, **options}).list("")
    assert way(caplog) == ["Kerberos as release@CORP.EXAMPLE for cifs/fs2.corp.example"]


def test_another_user(
    domain: Domain,
    open_domain: Open,
    tickets: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tester, with a keytab and with a password."""
    open_domain(FS2, username="quinn@corp.example").list("")
    monkeypatch.setenv("KRB5_CLIENT_KTNAME", f"FILE:{domain.keytab_of('quinn')}")
    open_domain(FS2, username=r"CORP\quinn", password=None).list("")
    assert way(caplog) == ["Kerberos as quinn@CORP.EXAMPLE for cifs/fs2.corp.example"] * 2


def test_a_ticket_of_kinit(
    domain: Domain, open_domain: Open, tickets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Named by ``KRB5CCNAME``."""
    subprocess.run(
        ["kinit", "release@CORP.EXAMPLE"],
        input=f"{domain.password}\n".encode(),
        env=dict(os.environ),
        check=True,
        capture_output=True,
        timeout=30,
    )
    open_domain(FS2, username=None, password=None).list("")
    assert way(caplog) == ["Kerberos as release@CORP.EXAMPLE for cifs/fs2.corp.example"]


@pytest.mark.parametrize(
    ("location", "options", "message", "hint"),
    [
        (
            FS1,
            {"password": "no-such-password"},
            f"{BY_PASSWORD}fs1.corp.example: the password is wrong: KDC_ERR_PREAUTH_FAILED",
            "may lock the account",
        ),
        (
            FS1,
            {"username": "nobody@corp.example", "auth": "kerberos"},
            "the realm does not know the account: KDC_ERR_C_PRINCIPAL_UNKNOWN",
            "correct the account",
        ),
        (
            FS1,
            {"username": "nobody@corp.example"},
            "NTLM as nobody@corp.example: the user name or password is wrong: STATUS_LOGON_FAILURE",
            "may lock the account",
        ),
        (
            r"\\10.88.0.2\data",
            {"username": "release"},
            "NTLM as release: the user name or password is wrong",
            r"written as DOMAIN\user or user@domain",
        ),
        (
            r"\\10.88.0.3\data",
            {},
            "NTLM as release@corp.example: the server answered STATUS_INVALID_PARAMETER (0xC000000D); "
            "it may not accept NTLM",
            "Kerberos is needed",
        ),
        (FS2, {"auth": "ntlm"}, "it may not accept NTLM", "Kerberos is needed"),
        (
            r"\\10.88.0.3\data",
            {"auth": "kerberos"},
            "for cifs/10.88.0.3: the realm does not know the server: KDC_ERR_S_PRINCIPAL_UNKNOWN",
            "setspn -L",
        ),
        (
            r"\\files.corp.example\data",
            {"auth": "kerberos"},
            "for cifs/files.corp.example: the realm does not know the server: KDC_ERR_S_PRINCIPAL_UNKNOWN",
            "not an alias",
        ),
        (
            r"\\old.corp.example\data",
            {},
            "for cifs/old.corp.example: the server does not accept the ticket: STATUS_LOGON_FAILURE",
            "setspn -Q",
        ),
        (
            FS2,
            {"username": None, "password": None},
            "Kerberos for cifs/fs2.corp.example: there is no ticket: KRB5_CC_NOTFOUND",
            "kinit",
        ),
        (
            FS2,
            {"username": r"fs2\release", "auth": "kerberos"},
            "is an account of the server itself, not of a realm",
            "user@REALM",
        ),
    ],
)
def test_a_login_that_fails(open_domain: Open, location: str, options: dict, message: str, hint: str) -> None:
    """What was tried against which name, what was answered, and what to do."""
    with pytest.raises(LoginRefused) as caught:
        open_domain(location, **options).list("")
    assert caught.value.message.startswith(f"cannot log in to {location} with ")
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert not caught.value.retryable
    assert "no-such-password" not in f"{caught.value.message}{caught.value.hint}"


@pytest.mark.parametrize("auth", ["negotiate", "kerberos"])
def test_a_wrong_password_is_tried_once(domain: Domain, open_domain: Open, auth: str) -> None:
    """Not by NTLM after Kerberos, and not by the next operation."""
    share = open_domain(FS1, password="no-such-password", auth=auth)
    for _ in range(5):
        with pytest.raises(LoginRefused, match="the password is wrong"):
            share.list("")
    assert bad_passwords(domain) == 1
    open_domain(FS1, auth="ntlm").list("")  # which begins the count again
    assert bad_passwords(domain) == 0


def test_a_wrong_password_is_tried_once_by_ntlm(open_domain: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the server answers: where accounts are locked, Samba 4.17 says ``STATUS_NOT_FOUND``."""
    tried = []
    real = login._new_session
    monkeypatch.setattr(login, "_new_session", lambda *words: tried.append(1) or real(*words))
    share = open_domain(FS1, password="no-such-password", auth="ntlm")
    for _ in range(5):
        with pytest.raises(LoginRefused, match=r"with NTLM as release@corp\.example: the"):
            share.list("")
    assert len(tried) == 1


def test_without_the_libraries(open_domain: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """NTLM as ever; Kerberos on demand says what to install."""
    monkeypatch.setattr(kerberos, "is_available", lambda: False)
    open_domain(FS1).list("")
    with pytest.raises(ConfigurationError, match="Kerberos needs libraries") as caught:
        open_domain(FS1, auth="kerberos").list("")
    assert "jenkins-release[kerberos]" in caught.value.hint
    with pytest.raises(ConfigurationError, match="needs a user name and a password"):
        open_domain(FS1, username=None, password=None)


@pytest.mark.usefixtures("keytab")
def test_a_kdc_that_is_not_reached(
    domain: Domain, open_domain: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told whose ticket was asked for, also if only the keytab names the account."""
    conf = tmp_path / "krb5.conf"
    realm = "[realms]\n  CORP.EXAMPLE = {\n    kdc = 10.88.0.9\n  }\n"
    conf.write_text(domain.krb5_conf.read_text() + realm)
    monkeypatch.setenv("KRB5_CONFIG", str(conf))
    with pytest.raises(RemoteError) as caught:
        open_domain(FS1, username=None, password=None).list("")
    assert f"{BY_PASSWORD}fs1.corp.example: no KDC of the realm was reached" in caught.value.message
    assert "port 88" in caught.value.hint


def test_a_realm_that_nobody_serves(
    open_domain: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, and ``negotiate`` goes on with NTLM, here to a server that does not know the account."""
    conf = tmp_path / "krb5.conf"
    conf.write_text("[libdefaults]\n  dns_lookup_kdc = false\n")
    monkeypatch.setenv("KRB5_CONFIG", str(conf))
    with pytest.raises(RemoteError, match="no KDC of the realm was found: KRB5_REALM_UNKNOWN"):
        open_domain(FS1, username="release@other.example", auth="kerberos").list("")
    with pytest.raises(LoginRefused, match=r"NTLM as release@other\.example"):
        open_domain(FS1, username="release@other.example").list("")


def test_a_kdc_that_is_not_there_is_asked_once(
    open_domain: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not for each connection: every one of them would wait for it."""
    conf = tmp_path / "krb5.conf"
    conf.write_text("[libdefaults]\n  dns_lookup_kdc = false\n")
    monkeypatch.setenv("KRB5_CONFIG", str(conf))
    share = open_domain(FS1)
    for _ in range(3):
        share.list("")
        share._pool.close()
    assert way(caplog) == ["NTLM as release@corp.example"] * 3
    assert caplog.text.count("no Kerberos for fs1.corp.example, so NTLM is used: no KDC of the realm") == 1
