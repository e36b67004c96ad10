"""A share that lists only what the account may read: no command takes what it does not see for missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jenkins_release.sandbox.samba import SambaServer, SambaShare
from jenkins_release.sandbox.stack import CANDIDATE_SHARE
from tests.fixtures.command import fails
from tests.fixtures.release import Product
from tests.fixtures.share import hide, lent, unprivileged


@contextmanager
def served(product: Product, tmp_path: Path) -> Iterator[Path]:
    """Serve a copy of the product's share from a server that hides what its account may not read."""
    with lent() as folder:
        shutil.copytree(product.share, folder, dirs_exist_ok=True)
        account = folder.stat()
        for path in folder.rglob("*"):
            os.chown(path, account.st_uid, account.st_gid)
        server = SambaServer(
            tmp_path / "hiding",
            {"data": SambaShare(folder, options={"hide unreadable": "yes", **unprivileged()})},
            user=product.sandbox.samba.user,
            password=product.environ["JENKINS_RELEASE_SMB_PASSWORD"],
        )
        server.start(tied=True)
        try:
            product.edit(
                product.sandbox.samba.location(CANDIDATE_SHARE, product.prefix), server.location("data")
            )
            yield folder
        finally:
            server.stop()


def test_a_revocation_that_is_hidden_opens_no_gate(validated: Product, tmp_path: Path) -> None:
    """It is the last of its chain, so nothing else tells that it is there."""
    validated.ok("qa", "revoke", "8.1.0/42", "--tester", "Quinn", "--reason", "tested the wrong machine")
    with served(validated, tmp_path) as folder:
        fails(validated.run("promote", "run", "8.1.0/42"), 3, "sign-off")
        last = sorted((folder / "SkyDRM/8.1.0/42/attestations").iterdir())[-1]
        assert last.name.endswith("-revocation.dsse.json")
        hide(last)
        told = f"{last.name} exists, but the server does not list it for this account"
        for words in (("promote", "run"), ("promote", "plan"), ("candidate", "load")):
            fails(validated.run(*words, "8.1.0/42"), 4, told, "access-based enumeration")
        listed = validated.run("candidate", "list")
        assert "unusable" in listed.text
    assert validated.tags() == {}


def test_a_release_that_is_hidden_is_neither_retired_nor_exported_again(
    promoted: Product, tmp_path: Path
) -> None:
    """Its tags stay: a retirement removes only what a promotion that it sees has recorded."""
    before = promoted.tags()
    assert before
    with served(promoted, tmp_path) as folder:
        hide(folder / "SkyDRM/8.1.0/42")
        report = promoted.ok("release", "retire")
        assert report["removed"] == []
        done = promoted.run("candidate", "export", "--version", "8.1.0", "--build", "42")
        fails(done, 2, "candidate 8.1.0/42 of SkyDRM already exists on the share")
        fails(promoted.run("promote", "run", "8.1.0/42"), 5, "STATUS_ACCESS_DENIED", "give the user")
    assert promoted.tags() == before
