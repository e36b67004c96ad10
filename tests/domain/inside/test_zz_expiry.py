"""What happens when a ticket ends in the middle of the work. Last, because it has to wait for that."""

from __future__ import annotations

import logging

import pytest

from jenkins_release.base.errors import LeaseHeld
from jenkins_release.sandbox.domain.domain import Domain
from jenkins_release.share.smb.errors import LoginRefused
from tests.domain.inside.conftest import READ, Early
from tests.fixtures.domain import LOCATION, Open

EXPIRED = "the session on fs1.corp.example has expired: logging in again with Kerberos"


@pytest.fixture
def renewable(
    early: Early,
    tickets: object,
    domain: Domain,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Early:
    """The share, once its ticket has ended; its keytab is there."""
    early.wait()
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{early.cache}")
    monkeypatch.setenv("KRB5_CLIENT_KTNAME", f"FILE:{domain.keytab}")
    caplog.set_level(logging.INFO, logger="jenkins_release")
    return early


def test_a_lease_is_never_lost(open_domain: Open, renewable: Early, caplog: pytest.LogCaptureFixture) -> None:
    """Its file stays open; confirming it logs in again to the same session."""
    with (
        pytest.raises(LeaseHeld, match=r"\(target \\\\fs1\.corp\.example\\data\) is held by the early one"),
        open_domain(LOCATION).lease("early.lock", "another"),
    ):
        pass
    renewable.lease.confirm()
    assert EXPIRED in caplog.text
    assert "lost" not in caplog.text


def test_a_transfer_goes_on(renewable: Early, caplog: pytest.LogCaptureFixture) -> None:
    """The file is complete, every byte once."""
    for _ in range(20):
        renewable.writer.write(renewable.written)
    assert renewable.share.copy_into(renewable.copy, "before.bin", length=len(renewable.written))
    renewable.writing.close()
    assert b"".join(renewable.share.read("copy.bin")) == renewable.written
    assert b"".join(renewable.share.read("early.bin")) == 21 * renewable.written
    assert "the session's ticket expired" in caplog.text
    assert "a new connection goes on there" in caplog.text


def test_a_download_goes_on(renewable: Early, caplog: pytest.LogCaptureFixture) -> None:
    """Every byte comes once."""
    rest = b"".join(renewable.reading)
    assert (READ * renewable.written).endswith(rest)
    assert READ * len(renewable.written) - len(rest) <= 1 << 20
    assert "reading " in caplog.text
    assert "a new connection goes on there" in caplog.text


def test_what_is_short_logs_in_again(renewable: Early, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a connection that was idle is asked first."""
    renewable.share.make_folder("late")
    renewable.share.remove("late")


def test_a_password_gets_the_next_ticket(
    early: Early, tickets: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Without anything in the environment, in the session that was open all the time."""
    early.wait()
    caplog.set_level(logging.INFO, logger="jenkins_release")
    early.by_name.list("")
    assert f"{EXPIRED} as release@CORP.EXAMPLE for cifs/fs1.corp.example" in caplog.text


def test_a_ticket_that_nothing_renews(early: Early, tickets: object) -> None:
    """It is told what to do."""
    early.wait()
    with pytest.raises(LoginRefused, match=r"for cifs/fs1\.corp\.example: there is no ticket") as caught:
        early.kinit.list("")
    assert "kinit" in caught.value.hint
