"""What the rows ``packed-*`` compare with works, and leaves to smbprotocol what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.quota import QuotaMissing, quota
from benchmarks.smb_calls import PARTS
from jenkins_release.sandbox.samba import SambaServer

ROOT = Path(__file__).parents[2]
_PROGRAM = """
import os, sys
from jenkins_release.share import open_share
from jenkins_release.share.smb.packed import exchange, internals

def refuse(*_):
    raise AssertionError("packed by our own code")

if os.environ["PARTS"]:
    exchange.PackedExchange.pack = internals.BulkConnection.send_related = internals.BulkTcp.recv = refuse
with open_share(os.environ["SHARE"], username=os.environ["NAME"], password=os.environ["SECRET"]) as share:
    data = os.urandom(3_000_000)
    with share.create("new") as writer:
        writer.write(data)
    assert b"".join(share.read("new")) == data
    assert share.read_heads(["new", "new"]) == [data[:65536]] * 2
    assert [each.size for each in share.list_each(["", ""])[1]] == [len(data)]
"""


@pytest.mark.parametrize("parts", ["", ",".join(PARTS)], ids=["ours", "smbprotocol"])
def test_both_sides_do_the_same(
    samba: SambaServer, smb_folder: Path, tmp_path: Path, parts: str, smb_password: str
) -> None:
    """A file is written, read and listed, encrypted; the other side has nothing that is packed here."""
    (tmp_path / "copied.py").write_text(_PROGRAM)
    environ = {
        "PARTS": parts,
        "SHARE": samba.location("data", smb_folder.name),
        "NAME": samba.user,
        "SECRET": smb_password,
        "PYTHONPATH": f"{ROOT}:{tmp_path}",
    }
    command = [sys.executable, "-m", "benchmarks.smb_calls", parts, "copied"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_slow_processor_is_slow() -> None:
    """With a tenth of a processor, a command takes several times its processor time."""
    code = "import time\nwhile time.process_time() < 0.2: pass\nprint(time.monotonic())"
    try:
        with quota(0.1) as front:
            begin = "import time; print(time.monotonic())"
            words = [*front, sys.executable, "-c", f"{begin}\n{code}"]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
    except QuotaMissing:
        assert not os.access("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", os.F_OK) or os.geteuid()
        return
    first, last = map(float, done.stdout.split())
    assert last - first > 0.8
    assert not [*Path("/sys/fs/cgroup/cpu").glob("jenkins-release-bench-*")]
