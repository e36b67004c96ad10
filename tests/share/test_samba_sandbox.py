"""The sandbox's Samba server: starts for anyone, listens on loopback only, ends with its owner."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.sandbox.process import free_port, listening
from jenkins_release.sandbox.samba import SambaServer, SambaShare
from jenkins_release.share import open_share
from tests.fixtures.share import USER, OpenSmb, StartSamba, eventually, in_own_mounts
from tests.fixtures.unprivileged import NOBODY, SYSTEM_PYTHON


def test_it_stops_and_starts_again_with_what_it_had(start_samba: StartSamba, open_smb: OpenSmb) -> None:
    """Port, shares and contents stay; the pid file tells whether it runs."""
    server = start_samba()
    open_smb(server).make_folder("kept")
    pid = server.pid()
    assert pid is not None
    server.stop()
    assert server.pid() is None
    assert not listening(server.port)
    server.start(tied=True)
    assert server.pid() not in {None, pid}
    assert [entry.name for entry in open_smb(server).list("")] == ["kept"]
    server.stop()
    server.stop()


def test_another_object_finds_the_running_server(start_samba: StartSamba, smb_password: str) -> None:
    """The state folder is enough to end a server that an earlier command started."""
    server = start_samba()
    again = SambaServer(server.folder, server.shares, user=USER, password=smb_password, port=server.port)
    assert again.pid() == server.pid()
    again.stop()
    assert server.pid() is None


def test_a_new_password_counts_from_the_next_start(
    start_samba: StartSamba, smb_password: str, open_smb: OpenSmb
) -> None:
    """Starting with another password replaces the old one."""
    server = start_samba()
    server.stop()
    again = SambaServer(server.folder, server.shares, user=USER, password="another", port=server.port)
    again.start(tied=True)
    try:
        assert open_smb(again, password="another").list("") == []
        with pytest.raises(RemoteError, match="LOGON_FAILURE"):
            open_smb(again).list("")
    finally:
        again.stop()


def test_it_listens_on_loopback_only(samba: SambaServer) -> None:
    """No other interface of the machine serves the share."""
    port = f"{samba.port:04X}"
    addresses = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if local.endswith(f":{port}") and state == "0A":
                addresses.add(local)
    assert addresses == {f"0100007F:{port}"}


def test_the_machines_domain_is_not_asked(tmp_path: Path, start_samba: StartSamba, open_smb: OpenSmb) -> None:
    """A machine that has joined a domain has a winbindd, which knows other users than the sandbox's."""
    with socket.socket(socket.AF_UNIX) as winbindd:
        folder = tmp_path / "w"
        folder.mkdir(mode=0o755)
        winbindd.bind(str(folder / "pipe"))
        winbindd.listen()
        place = "/run/samba/winbindd"
        launcher = in_own_mounts(
            f"mount -t tmpfs none /run; mkdir -p {place}; mount --bind {{}} {place}", str(folder)
        )
        server = start_samba(launcher=launcher)
        assert open_smb(server).list("") == []
        assert select.select([winbindd], [], [], 0)[0] == []


def test_it_runs_for_an_ordinary_user(tmp_path: Path, smb_password: str, open_smb: OpenSmb) -> None:
    """Neither the server nor setting its password needs root, and it ends with a killed owner."""
    server = SambaServer(
        tmp_path / "state", {"data": SambaShare(tmp_path / "data")}, user=USER, password=smb_password
    )
    if os.geteuid() == 0:
        private = [folder for folder in tmp_path.parents if folder.stat().st_mode & 0o077 == 0]
        for folder in (tmp_path, *private):
            folder.chmod(0o755)
        for folder in (tmp_path, server.folder):
            os.chown(folder, NOBODY, NOBODY)
    reading, writing = os.pipe()
    owner = os.fork()
    if owner == 0:
        _own(server, writing)
    try:
        os.close(writing)
        with os.fdopen(reading, "rb") as report:
            assert report.read() == b"started"
        open_smb(server).make_folder("made")
        assert (tmp_path / "data" / "made").stat().st_uid == (tmp_path / "data").stat().st_uid != 0
        os.kill(owner, signal.SIGKILL)
        assert eventually(lambda: not listening(server.port))
    finally:
        os.kill(owner, signal.SIGKILL)
        os.waitpid(owner, 0)


def _own(server: SambaServer, report: int) -> NoReturn:
    """Become an ordinary user in a forked process, start the server, and wait to be killed."""
    try:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            sys.executable = SYSTEM_PYTHON
        server.start(tied=True)
        os.write(report, b"started")
        os.close(report)
        signal.pause()
    finally:
        os._exit(1)


def test_a_frozen_server_answers_again_when_thawed(start_samba: StartSamba, smb_password: str) -> None:
    """Freezing keeps connections open and loses nothing."""
    server = start_samba()
    location = server.location("data")
    with open_share(location, username=USER, password=smb_password, timeout_s=1) as share:
        share.make_folder("before")
        server.freeze()
        with pytest.raises(RemoteError):
            share.list("")
        server.thaw()
        assert [entry.name for entry in share.list("")] == ["before"]


def test_a_port_that_is_taken(samba: SambaServer, tmp_path: Path) -> None:
    """Another server's answer on the port is not taken for ours."""
    server = SambaServer(tmp_path / "state", {}, user=USER, password="x", port=samba.port)
    with pytest.raises(RemoteError, match=f"port {samba.port} is taken"):
        server.start(tied=True)
    assert server.pid() is None


def test_starting_what_runs_changes_nothing(start_samba: StartSamba) -> None:
    """A second start answers with the pid of the first."""
    server = start_samba()
    assert server.start(tied=True) == server.pid()


def test_a_configuration_that_samba_refuses(tmp_path: Path) -> None:
    """The error has what Samba said."""
    server = SambaServer(
        tmp_path / "state",
        {"data": SambaShare(tmp_path / "data")},
        user=USER,
        password="x",
        port=free_port(),
        options={"private dir": "/proc/nowhere"},
    )
    with pytest.raises(RemoteError, match=r"pdbedit did not accept|smbd ended"):
        server.start(tied=True)


def test_an_option_cannot_smuggle_in_a_line(tmp_path: Path) -> None:
    """A line break in an option would be another option."""
    server = SambaServer(
        tmp_path / "state", {}, user=USER, password="x", options={"comment": "a\nmap to guest = bad user"}
    )
    with pytest.raises(ConfigurationError, match="line break"):
        server.start()
