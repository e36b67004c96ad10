"""What the data path relies on inside smbprotocol: a new version that changed it fails here."""

from __future__ import annotations

import configparser
import hashlib
import importlib.metadata
import inspect
import re
import socket
import threading
from pathlib import Path

import pytest
from smbprotocol.connection import Connection, Request
from smbprotocol.open import Open
from smbprotocol.session import Session
from smbprotocol.transport import Tcp
from smbprotocol.tree import TreeConnect

import jenkins_release
from jenkins_release.share.smb.packed import internals as smb_internals
from jenkins_release.share.smb.wire import SmbWire

ROOT = Path(jenkins_release.__file__).parents[1]
RELIED_ON = [
    Tcp,
    Request,
    Connection.__init__,
    Connection.connect,
    Connection.disconnect,
    Connection.receive,
    Connection.echo,
    Connection.verify_signature,
    Connection._check_worker_running,
    Connection._send,
    Connection._process_message_thread,
    Connection._calculate_credit_charge,
    Connection._generate_signature,
    Connection._encrypt,
    Connection._decrypt,
    Session.connect,
    TreeConnect.connect,
    Open.read,
    Open.write,
]
REVIEWED = {"1.17.0": "280825ddb470a304"}
"""Version to fingerprint of the code above, once somebody has read what changed in it."""


def fingerprint() -> str:
    code = "".join(inspect.getsource(each) for each in RELIED_ON)
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def test_the_installed_version_was_reviewed() -> None:
    """Whoever moves the range in setup.cfg reads the changes first, then adds the fingerprint here."""
    version = importlib.metadata.version("smbprotocol")
    assert REVIEWED.get(version) == fingerprint(), (
        f"smbprotocol {version} changed what {smb_internals.__name__} relies on, or is new: "
        "read the changes, run tests/share, then record its fingerprint"
    )


def test_the_range_in_setup_cfg_is_what_was_reviewed() -> None:
    """No version is allowed beyond those that have a fingerprint."""
    configuration = configparser.ConfigParser()
    configuration.read(ROOT / "setup.cfg")
    wanted = configuration["options"]["install_requires"].splitlines()
    (line,) = [line for line in wanted if line.startswith("smbprotocol")]
    lowest, below = line.removeprefix("smbprotocol >= ").split(", < ")
    reviewed = sorted({tuple(map(int, version.split(".")[:2])) for version in REVIEWED})
    assert reviewed[0] == tuple(map(int, lowest.split(".")))
    last = reviewed[-1]
    assert (last[0], last[1] + 1) == tuple(map(int, below.split(".")))


def test_the_coupling_stands_in_one_place() -> None:
    """Private names of the library appear in no other module."""
    private = (
        "_sock",
        "_sock_lock",
        "_close_lock",
        "_t_exc",
        "_t_worker",
        "sequence_window",
        "_check_worker_running",
    )
    for path in sorted((ROOT / "jenkins_release").rglob("*.py")):
        if path.name != "internals.py":
            found = [name for name in private if re.search(rf"\.{name}\b", path.read_text())]
            assert found == [], path


def test_a_connection_that_was_interrupted_while_it_began_is_dropped(monkeypatch: pytest.MonkeyPatch):
    """Ctrl-C between the library's connect and the start of its thread; the interrupt is what is raised."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        wire = SmbWire("127.0.0.1", server.getsockname()[1], 5)

        def interrupted(_: threading.Thread) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            wire.dial()
        wire.drop()
