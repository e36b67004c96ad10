"""Logs in as soon as the first test begins, for the tests of what happens when the tickets have ended."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from jenkins_release.base.retry import RetryPolicy
from jenkins_release.sandbox.domain.domain import LINKS, Domain
from jenkins_release.share import SmbShare
from jenkins_release.share.protocol import Lease, Writer
from jenkins_release.share.smb.address import SmbAddress
from tests.fixtures.domain import LIFETIME, LOCATION

READ = 20
AGAIN = RetryPolicy(attempts=5, first_wait_s=0.1, max_wait_s=0.5)


@dataclass
class Early:
    """What began with tickets that end while the tests run.

    Attributes:
        cache: The ticket cache that the keytab fills.
        share: A share that logged in with it.
        lease: A lease that is held on it.
        writer: A file that is being written on it.
        written: What was written so far.
        reading: The rest of a file of that 20 times, whose first piece was read.
        copy: A file that is to be copied into.
        kinit: A share that logged in with a ticket that nothing renews.
        by_name: A share that logged in with user and password.
        writing: Ends the file when it is closed.
    """

    cache: Path
    share: SmbShare
    lease: Lease
    writer: Writer
    written: bytes
    reading: Iterator[bytes]
    copy: Writer
    kinit: SmbShare
    by_name: SmbShare
    writing: ExitStack
    began: float = field(default_factory=time.monotonic)

    def wait(self) -> None:
        """Wait until the tickets have ended."""
        time.sleep(max(0.0, self.began + float(LIFETIME.rstrip("s")) + 3 - time.monotonic()))


@pytest.fixture(scope="session", autouse=True)
def early(domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Early]:
    """The shares."""
    folder = tmp_path_factory.mktemp("early")
    address = SmbAddress.parse(LOCATION)
    environ = {
        "KRB5_CONFIG": str(domain.krb5_conf),
        "KRB5CCNAME": f"FILE:{folder / 'tickets'}",
        "KRB5_CLIENT_KTNAME": f"FILE:{domain.keytab}",
    }
    written = bytes(range(256)) * 8192
    with pytest.MonkeyPatch.context() as at_end, ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KRB5_CONFIG", str(domain.krb5_conf))
            patch.setenv("KRB5CCNAME", f"FILE:{folder / 'kinit'}")
            subprocess.run(
                ["kinit", "-k", "-t", str(domain.keytab), "release@CORP.EXAMPLE"],
                env=dict(os.environ),
                check=True,
                timeout=30,
            )
            kinit = stack.enter_context(SmbShare(address, None, None, auth="kerberos"))
            kinit.list("")
            account = ("release@corp.example", domain.password)
            by_name = stack.enter_context(SmbShare(address, *account, auth="kerberos"))
            by_name.list("")
            for name, value in environ.items():
                patch.setenv(name, value)
            share = stack.enter_context(SmbShare(address, None, None, auth="kerberos", resume=AGAIN))
            lease = stack.enter_context(share.lease("early.lock", "the early one"))
            writing = stack.enter_context(ExitStack())
            writer = writing.enter_context(share.create("early.bin", resumable=True))
            writer.write(written)
            with share.create("before.bin") as before:
                for _ in range(READ):
                    before.write(written)
            reading = share.read("before.bin", ahead=1)
            assert next(reading)
            copy = writing.enter_context(share.create("copy.bin"))
        yield Early(folder / "tickets", share, lease, writer, written, reading, copy, kinit, by_name, writing)
        for name, value in environ.items():
            at_end.setenv(name, value)


@pytest.fixture
def links(domain: Domain) -> Iterator[Domain]:
    """Whoever changes links leaves none."""
    before = set(LINKS.rglob("*"))
    yield domain
    for path in sorted(set(LINKS.rglob("*")) - before, reverse=True):
        path.unlink() if path.is_symlink() else path.rmdir()


def on(domain: Domain, server: str) -> Path:
    """The folder that a file server shares."""
    return domain.file_servers[server].shares["data"].path
