"""What the doctor says about shares, on real servers."""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from jenkins_release.base.checks import Status
from jenkins_release.sandbox.process import LOOPBACK, free_port
from jenkins_release.sandbox.samba import SambaServer, SambaShare
from tests.doctor.machine import Desk, examined, told
from tests.fixtures.listener import Listener
from tests.fixtures.process import signalled, started
from tests.fixtures.share import USER, StartSamba, Tap, eventually

STAGES = ("name", "port", "dialect", "login", "path", "clock", "rights", "free space")


@pytest.fixture
def machine(tmp_path: Path, smb_password: str) -> Desk:
    """A machine with an account for the share."""
    login = {"JENKINS_RELEASE_SMB_USER": USER, "JENKINS_RELEASE_SMB_PASSWORD": smb_password}
    return Desk(tmp_path, login)


def everything(folder: Path) -> dict[str, float]:
    """Return every path below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.stat().st_mtime for path in folder.rglob("*")}


def test_a_good_share_and_release_area(machine: Desk, samba: SambaServer, smb_folder: Path):
    """Each stage says what it found, and nothing is left on the share."""
    (smb_folder / "releases" / "SkyDRM").mkdir(parents=True)
    before = set(everything(smb_folder))
    place = samba.location("data", smb_folder.name)
    found = told(machine.of(place, releases=f"{place}/releases"), "--for", "publish")
    assert found.named("fail", "warning") == {"keys: trusted"}, "this product has no keys"
    found.ended("share: name", "ok", f"{LOOPBACK} is an address")
    found.ended("share: port", "ok", f"{LOOPBACK} port {samba.port} takes connections")
    found.ended("share: dialect", "ok", "SMB 3.1.1, signed, encrypted by AES-128-GCM")
    found.ended("share: login", "ok", f"NTLM as {USER}")
    found.ended("share: path", "ok", smb_folder.name, "is there")
    found.ended("share: clock", "ok", "agree")
    found.ended("share: rights", "ok", "may create, write, rename, lock and delete")
    found.ended("share: free space", "ok", "GB free")
    found.ended("release area: rights", "ok", "may create, write, rename, lock and delete")
    assert "release area: login" not in str(found.result), "the same server was looked at twice"
    assert set(everything(smb_folder)) == before


def test_a_wrong_password_is_tried_once(machine: Desk, samba: SambaServer, smb_folder: Path, tap: Tap):
    """Each further attempt would bring the account closer to being locked: release area and share are one."""
    place = f"smb://{LOOPBACK}:{tap.port}/data/{smb_folder.name}"
    machine.of(place, releases=f"{place}/releases").more["JENKINS_RELEASE_SMB_PASSWORD"] = "mistyped-4711"
    found = told(machine, "--for", "publish")
    assert found.status == 5
    found.ended("share: login", "fail", "STATUS_LOGON_FAILURE", "further attempts may lock the account")
    needs = {"share: path", "share: rights", "share: free space", "release area: path"}
    for name in needs:
        found.ended(name, "skipped", "not checked: needs share: login")
    found.ended("share: clock", "ok")
    # NTLM's login takes two messages: a second attempt would take two more.
    logins = [each for way, each in tap.headers if way == "sent" and each[12:14] == b"\x01\x00"]
    assert len(logins) == 2


def test_a_refused_account_is_not_tried_on_another_server(
    machine: Desk, samba: SambaServer, smb_folder: Path, make_tap
):
    """Servers of one domain count the attempts of an account together."""
    one, two = make_tap(samba.port), make_tap(samba.port)
    places = [f"smb://{LOOPBACK}:{each.port}/data/{smb_folder.name}" for each in (one, two)]
    machine.of(places[0], releases=places[1]).more["JENKINS_RELEASE_SMB_PASSWORD"] = "mistyped-4711"
    found = told(machine, "--for", "publish")
    found.ended("release area: dialect", "ok")
    found.ended("release area: login", "skipped", "not checked: needs share: login")
    assert not [each for way, each in two.headers if way == "sent" and each[12:14] == b"\x01\x00"]


def test_an_unknown_server(machine: Desk):
    """The name is where it ends; nothing else is tried, and nothing else is called a failure."""
    found = told(machine.of(r"\\no-such-server.invalid\data"), "--for", "qa")
    assert found.status == 5
    found.ended("share: name", "fail", "no-such-server.invalid", "correct the name")
    for stage in STAGES[1:]:
        found.ended(f"share: {stage}", "skipped", "not checked: needs share: name")


def test_a_closed_port(machine: Desk):
    """The name is right; the port is told with the address."""
    port = free_port()
    found = told(machine.of(f"smb://{LOOPBACK}:{port}/data"), "--for", "qa")
    found.ended("share: port", "fail", f"{LOOPBACK} port {port}: Connection refused", "firewall")
    found.ended("share: dialect", "skipped", "not checked: needs share: port")


def test_something_else_on_the_port(machine: Desk):
    """A server that does not speak SMB fails at the dialect."""
    listener = Listener(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    try:
        found = told(machine.of(f"smb://{LOOPBACK}:{listener.port}/data"), "--for", "qa")
    finally:
        listener.close()
    found.ended("share: port", "ok")
    found.ended("share: dialect", "fail", "cannot talk SMB with")


@pytest.mark.parametrize(
    ("place", "said"),
    [("nothing", "STATUS_BAD_NETWORK_NAME"), ("data/nowhere", "the root is never created")],
)
def test_a_share_or_folder_that_is_missing(machine: Desk, samba: SambaServer, place: str, said: str):
    """The login is right, and is said to be."""
    found = told(machine.of(samba.location(place)), "--for", "qa")
    found.ended("share: login", "ok")
    found.ended("share: path", "fail", said)
    found.ended("share: rights", "skipped", "not checked: needs share: path")


def test_no_account(machine: Desk, samba: SambaServer):
    """Without a user and password there is nothing to try."""
    machine.of(samba.location("data"), releases=samba.location("data", "releases")).more.clear()
    machine.edit("[share]\n", '[share]\nauth = "ntlm"\n')  # else a ticket might do
    found = told(machine, "--for", "publish")
    assert found.status == 2
    found.ended("share: account", "fail", "JENKINS_RELEASE_SMB_USER")
    found.ended("release area: path", "skipped", "not checked: needs share: account")


def test_a_read_only_share(machine: Desk, start_samba: StartSamba, tmp_path: Path):
    """A share that may only be read is enough for nobody who signs."""
    (tmp_path / "data").mkdir()
    server = start_samba({"data": SambaShare(tmp_path / "data", read_only=True)})
    found = told(machine.of(server.location("data")), "--for", "qa")
    found.ended("share: path", "ok")
    found.ended("share: rights", "fail", "the server denies access", "permission")
    found.ended("share: free space", "ok")
    assert not everything(tmp_path / "data")


def test_a_user_who_may_create_but_not_rename_or_delete(
    machine: Desk, start_samba: StartSamba, tmp_path: Path
):
    """What cannot be removed is named: nobody else would find it."""
    options = {"vfs objects": "worm", "worm:grace_period": "-1"}
    server = start_samba({"data": SambaShare(tmp_path / "data", options=options)})
    found = told(machine.of(server.location("data")), "--for", "qa")
    found.ended("share: rights", "fail", "may create files, but cannot rename", "modify and delete")
    (left,) = (path.name for path in (tmp_path / "data").iterdir())
    found.ended("share: rights", "fail", f"{left} could not be removed again", f"then remove {left} from")


def test_a_server_without_encryption(machine: Desk, start_samba: StartSamba):
    """It is refused before the account is sent; with share.encrypt = false it is used."""
    server = start_samba(encrypt="off")
    found = told(machine.of(server.location("data")), "--for", "qa")
    found.ended("share: dialect", "fail", "the server offers no SMB encryption", "share.encrypt = false")
    found.ended("share: login", "skipped", "not checked: needs share: dialect")
    machine.edit("[share]\n", "[share]\nencrypt = false\n")
    found = told(machine, "--for", "qa")
    found.ended("share: dialect", "ok", "not encrypted, as share.encrypt = false")
    found.ended("share: rights", "ok")


def test_the_target_of_a_dfs_link_is_named(machine: Desk, start_samba: StartSamba, tmp_path: Path):
    """All targets that the server names are shown, and the one that is used."""
    root, data = tmp_path / "root", tmp_path / "data"
    root.mkdir()
    shares = {"root": SambaShare(root, options={"msdfs root": "yes"}), "data": SambaShare(data)}
    server = start_samba(shares)
    (root / "link").symlink_to(rf"msdfs:{LOOPBACK}\gone,{LOOPBACK}\data")
    found = told(machine.of(server.location("root", "link")), "--for", "qa")
    found.ended("share: path", "ok", rf"DFS leads \\{LOOPBACK}\root\link to \\{LOOPBACK}\data")
    found.ended("share: path", "ok", rf"other targets: \\{LOOPBACK}\gone")
    found.ended("share: rights", "ok")


def test_a_folder_of_this_machine(machine: Desk, tmp_path: Path):
    """There is no server to look at; rights and space are looked at as on one."""
    (tmp_path / "candidates").mkdir()
    found = told(machine.of(tmp_path / "candidates", releases=tmp_path / "gone"), "--for", "publish")
    found.ended("share: path", "ok", "is there")
    found.ended("share: rights", "ok")
    found.ended("release area: path", "fail", "there is no folder")
    found.ended("release area: rights", "skipped", "needs release area: path")
    assert not everything(tmp_path / "candidates")


@pytest.mark.parametrize(
    ("late", "status", "said"),
    [
        (timedelta(minutes=10), Status.FAIL, "10 minutes behind the server"),
        (timedelta(minutes=-10), Status.FAIL, "10 minutes ahead of the server"),
        (timedelta(seconds=100), Status.WARNING, "behind the server"),
        (timedelta(seconds=20), Status.OK, "behind the server"),
    ],
)
def test_a_clock_that_is_off(
    machine: Desk, samba: SambaServer, smb_folder: Path, late: timedelta, status: Status, said: str
):
    """The server's own time, from the negotiation, is what counts."""
    report = examined(machine.of(samba.location("data", smb_folder.name)), "qa", late=late)
    clock = next(check for check in report.checks if check.name == "share: clock")
    assert (clock.status, said in clock.said) == (status, True), clock
    assert bool(clock.hint) == (status is not Status.OK)


def test_what_a_doctor_left_is_no_candidate_and_is_removed(
    machine: Desk, samba: SambaServer, smb_folder: Path
):
    """Only what is old by the server's clock: another doctor may be at work."""
    old, new = (smb_folder / "SkyDRM" / f".incoming-doctor-0000000{n}" for n in (1, 2))
    for each in (old, new):
        (each / "folder").mkdir(parents=True)
        (each / "file").write_text("left")
    older = smb_folder / ".incoming-doctor-00000003"  # from before the product had a folder
    older.mkdir()
    for each in (old, older):
        os.utime(each, (time.time() - 7200,) * 2)
    place = samba.location("data", smb_folder.name)
    machine.of(place, releases=place)
    assert machine.ok("candidate", "list") == {"candidates": []}
    found = told(machine, "--for", "qa")
    found.ended("share: rights", "ok")
    assert [each.exists() for each in (old, older, new)] == [False, False, True]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_within_two_seconds(
    machine: Desk, samba: SambaServer, smb_folder: Path, tap: Tap, number: signal.Signals
):
    """Also while a server does not answer; what it waits for is told."""
    tap.flowing.clear()
    machine.of(f"smb://{LOOPBACK}:{tap.port}/data/{smb_folder.name}")
    command = [sys.executable, "-m", "jenkins_release", "doctor", "--for", "qa"]
    process = started(command, {**machine.environ, "PATH": "/usr/bin:/bin"})
    ended = signalled(process, number, lambda: tap.connections > 1, settle_s=4.0)
    assert ended.status == 128 + number
    assert ended.took_s < 2.0
    assert "waiting for the server" in ended.err


def test_a_silent_server_fails_in_time(machine: Desk, samba: SambaServer, smb_folder: Path, tap: Tap):
    """The limit is told; what needs the answer is not waited for."""
    tap.flowing.clear()
    machine.of(f"smb://{LOOPBACK}:{tap.port}/data/{smb_folder.name}")
    machine.edit("[share]\n", "[share]\ntimeout_s = 1\n")
    begun = time.monotonic()
    found = told(machine, "--for", "qa")
    assert time.monotonic() - begun < 10
    found.ended("share: dialect", "fail", "did not answer in time")
    found.ended("share: clock", "skipped", "needs share: dialect")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_rights_are_tried_leaves_nothing(
    machine: Desk, samba: SambaServer, smb_folder: Path, tap: Tap, number: signal.Signals
):
    """The folder is removed before the process ends."""
    tap.latency_s = 0.03
    machine.of(f"smb://{LOOPBACK}:{tap.port}/data/{smb_folder.name}")
    command = [sys.executable, "-m", "jenkins_release", "doctor", "--for", "qa"]
    process = started(command, {**machine.environ, "PATH": "/usr/bin:/bin"})
    ended = signalled(process, number, lambda: [*smb_folder.glob(".incoming-doctor-*/*")])
    assert ended.status == 128 + number
    assert ended.took_s < 2.0
    assert eventually(lambda: not everything(smb_folder), within_s=2.0), everything(smb_folder)
