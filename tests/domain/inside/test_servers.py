"""The domain's servers: each is started again if it died."""

from __future__ import annotations

import os
import signal

import pytest

from jenkins_release.sandbox.domain.domain import Domain
from tests.fixtures.domain import Open
from tests.fixtures.share import eventually


@pytest.mark.parametrize("died", ["smbd-fs2", "winbindd-fs2"])
def test_one_that_died_is_started_again(domain: Domain, open_domain: Open, died: str) -> None:
    """The others go on; whoever asks the controller about logins is a server like any other."""
    before = domain.pids()
    pid = before[died]
    assert pid is not None
    os.killpg(pid, signal.SIGKILL)
    assert eventually(lambda: domain.pids()[died] is None)
    domain.file_servers["fs2"].start("", tied=True)
    after = domain.pids()
    assert after[died] not in {None, pid}
    assert {**after, died: pid} == before
    open_domain(r"\\fs2.corp.example\data", auth="kerberos").list("")
