"""What is promoted is what the gate saw: a share that changes between two reads gets nothing out."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import smbclient

from jenkins_release.config import SMB_PASSWORD, SMB_USER
from jenkins_release.records.base import canonical_json
from jenkins_release.sandbox.stack import CANDIDATE_SHARE
from jenkins_release.share.smb.address import SmbAddress
from tests.fixtures.command import fails
from tests.fixtures.release import BOTH_ENGINES, Product
from tests.release.boundaries import watched_services

REF = "8.1.0/42"


class Swapper(logging.Handler):
    """Has write access to the share and no key: swaps ``candidate.json`` under the lease, and back later.

    It replaces the file through a handle that lets no one else in, and keeps that until the reader has run
    into it. The journal on the share says when everything is pushed.

    Args:
        product: Whose candidate it is.
        evil: What it puts there.
    """

    def __init__(self, product: Product, evil: bytes) -> None:
        super().__init__()
        self._folder = product.candidate(REF)
        self._lease = product.share / "SkyDRM" / ".leases" / "8.1.0-42.promote"
        self._honest, self._evil = (self._folder / "candidate.json").read_bytes(), evil
        self._images = len(json.loads(self._honest)["images"])
        self._place = product.sandbox.samba.location(CANDIDATE_SHARE, f"{product.prefix}/SkyDRM/8.1.0/42")
        environ = product.environ
        self._login = {"username": environ[SMB_USER], "password": environ[SMB_PASSWORD]}
        self._handle: Any = None
        self.stalled = 0
        self.state = "waits for the lease"

    def passed(self, what: str) -> None:
        """Look at the share after each call of the promotion."""
        if self.state == "waits for the lease" and self._lease.exists():
            self._replace(self._evil)
            self.state = "waits for the journal"
        elif self.state == "waits for the journal":
            pushed = list(self._folder.glob("journal/*-pushed-*.json"))
            if len(pushed) == self._images:
                self._replace(self._honest)
                self.state = "done"

    def emit(self, record: logging.LogRecord) -> None:
        """Let go as soon as the reader has been refused."""
        if "SHARING_VIOLATION" in record.getMessage() and self._handle is not None:
            self.stalled += 1
            self._handle.close()
            self._handle = None

    def close(self) -> None:
        """Let go in any case."""
        if self._handle is not None:
            self._handle.close()
        super().close()

    def _replace(self, data: bytes) -> None:
        address = SmbAddress.parse(self._place)
        # Exclusive: it shares nothing (MS-SMB2 2.2.13, ShareAccess).
        self._handle = smbclient.open_file(
            address.path("candidate.json"),
            "wb",
            share_access=None,
            port=address.port,
            buffering=0,
            **self._login,
        )
        self._handle.write(data)


def forged(product: Product) -> bytes:
    """Return a well-formed ``candidate.json`` of the same name around the images of build 43."""
    product.export("43")
    other = product.candidate("8.1.0/43")
    document = json.loads((other / "candidate.json").read_text())
    document["build"] = "42"
    for image in document["images"]:
        evil = image["archive"].replace("-43", "-evil")
        (product.candidate(REF) / evil).write_bytes((other / image["archive"]).read_bytes())
        image["archive"] = evil
    for file in document["files"]:
        file["path"] = file["path"].replace("-43", "-evil")
    return canonical_json(document)


@BOTH_ENGINES
def test_a_candidate_that_is_swapped_under_the_lease_and_back_again_is_not_promoted(
    validated: Product, tmp_path: Path
):
    """The gate sees the honest candidate before the lease and after the push, the push sees another."""
    validated.edit("approvals = 0", "approvals = 1")
    validated.approve(tmp_path / "plan.json")
    swapper = Swapper(validated, forged(validated))
    log = logging.getLogger("jenkins_release")
    log.addHandler(swapper)
    try:
        with watched_services(swapper):
            done = validated.run("promote", "run", REF)
    finally:
        log.removeHandler(swapper)
        swapper.close()
    released = {name: tags.get("8.1.0") for name, tags in validated.tags().items()}
    assert not any(released.values()), (done.status, released, done.text)
    fails(done, 4, "candidate 8.1.0/42 changed", "candidate.json")
    assert swapper.stalled
