"""Files and folders that people marked read-only, as they do to protect releases from a slip of the mouse."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from jenkins_release.base.errors import LeaseHeld
from jenkins_release.portal.folder import SharePortal
from jenkins_release.sandbox.samba import SambaServer, SambaShare
from jenkins_release.share import PathExists, SmbShare
from jenkins_release.share.protocol import AccessRefused
from jenkins_release.share.releases import ReleaseArea
from jenkins_release.share.staging import rename_whole, stage_folder
from tests.fixtures.share import OpenSmb, StartSamba, lent, mark_read_only, starting, unprivileged

STRICT = {"store dos attributes": "yes", "map readonly": "no", "delete readonly": "no"}
"""The attribute is kept and enforced, as on Windows."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, smb_password: str) -> Iterator[SambaServer]:
    """A server that keeps the attribute."""
    with starting(tmp_path_factory, smb_password) as start:
        folder = tmp_path_factory.mktemp("marked")
        yield start({"data": SambaShare(folder, options=STRICT)})


@pytest.fixture
def share(server: SambaServer, open_smb: OpenSmb, request: pytest.FixtureRequest) -> SmbShare:
    """A folder of the test's own on it, with a marked tree ``old`` and a marked file ``file``."""
    name = request.node.name.translate(str.maketrans("[]", "--"))
    open_smb(server).make_folder(name)
    opened = open_smb(server, "data", name)
    opened.make_folder("old/images")
    for path in ("old/images/one.tar", "old/candidate.json", "file"):
        with opened.create(path) as writer:
            writer.write(b"content")
    for path in ("old/images/one.tar", "old/images", "old", "file"):
        mark_read_only(opened, path)
    return opened


def test_it_is_read(share: SmbShare) -> None:
    """Files, listings and descriptions; the mark is told."""
    assert b"".join(share.read("old/images/one.tar")) == b"content"
    assert share.read_heads(["old/images/one.tar"]) == [b"content"]
    assert [(entry.name, entry.read_only) for entry in share.list("old")] == [
        ("candidate.json", False),
        ("images", True),
    ]
    assert share.list_each(["old"]) == [share.list("old")]
    assert share.stat("file").read_only
    assert not share.stat("old/candidate.json").read_only


def test_a_folder_that_is_removed_on_purpose_goes(share: SmbShare) -> None:
    """With marked files and marked folders in it; nothing beside it does."""
    share.remove("old")
    assert [entry.name for entry in share.list("")] == ["file"]


def test_a_marked_link_is_removed_and_its_target_stays_marked(share: SmbShare, server: SambaServer) -> None:
    """What is cleared is the mark of the thing itself."""
    root = server.shares["data"].path.joinpath(*share._address.folder)
    (root / "link").symlink_to("file")
    share.remove("old")
    assert share.stat("file").read_only


def test_what_nobody_may_change_is_named(start_samba: StartSamba, open_smb: OpenSmb) -> None:
    """A mark that this account may not clear is an error that says so, and is not tried again."""
    with lent() as folder:
        share = open_smb(start_samba({"data": SambaShare(folder, options=STRICT | unprivileged())}))
        share.make_folder("old")
        with share.create("old/file") as writer:
            writer.write(b"content")
        mark_read_only(share, "old/file")
        folder.joinpath("old/file").chmod(0o400)
        with pytest.raises(AccessRefused) as caught:
            share.remove("old")
    assert not caught.value.retryable
    assert "old\\file is marked read-only, and this account may not change that" in caught.value.message


def test_it_is_renamed(share: SmbShare) -> None:
    """A folder is set aside with its marks; a staged one gets its name although files in it are marked."""
    share.rename("old", "set aside")
    assert share.stat("set aside").read_only
    with stage_folder(share, "8.1.0", "42") as staging:
        staging.write("file", b"content")
        mark_read_only(share, staging.path("file"))
        staging.commit()
    assert share.stat("8.1.0/42/file").read_only


def test_a_release_is_hidden_with_its_marks(share: SmbShare) -> None:
    """As a release that was altered is."""
    share.make_folder("SkyDRM")
    share.rename("old", "SkyDRM/8.1.0")
    area = ReleaseArea(share, "SkyDRM")
    assert ".altered-8.1.0-" in area.set_aside("8.1.0", "altered")
    assert area.versions() == []


def test_it_is_not_replaced(share: SmbShare) -> None:
    """Neither by a new file nor by a rename."""
    with pytest.raises(PathExists):
        share.create("file").__enter__()
    with share.create("other") as writer:
        writer.write(b"other")
    with pytest.raises(PathExists):
        rename_whole(share, "other", "file")
    assert b"".join(share.read("file")) == b"content"


def test_files_are_added_to_a_marked_folder(share: SmbShare) -> None:
    """The attribute of a folder says nothing about what is in it."""
    with share.create("old/images/two.tar") as writer:
        writer.write(b"two")
    assert [entry.name for entry in share.list("old/images")] == ["one.tar", "two.tar"]


def test_a_lock_file_that_was_marked_with_all_others(
    share: SmbShare, caplog: pytest.LogCaptureFixture
) -> None:
    """It protects nothing: whoever marks a whole tree does not mean it. The log says that it is cleared."""
    with share.lease("lock", "me"):
        pass
    mark_read_only(share, "lock")
    with caplog.at_level(logging.WARNING), share.lease("lock", "you") as lease:
        lease.confirm()
        with pytest.raises(LeaseHeld, match="you"), share.lease("lock", "they"):
            pass
    assert "lock was marked read-only, and is not any more" in caplog.text
    assert not share.stat("lock").read_only


def test_a_page_of_the_portal_that_was_marked(share: SmbShare) -> None:
    """Somebody protected it: it is not replaced, and the message says what to do."""
    portal = SharePortal(share, holder="me")
    portal.write_page("SkyDRM/index.html", lambda: b"one", "text/html")
    mark_read_only(share, "SkyDRM/index.html")
    with pytest.raises(AccessRefused, match="is marked read-only, and is not replaced") as caught:
        portal.write_page("SkyDRM/index.html", lambda: b"two", "text/html")
    assert "clear" in caught.value.hint
    assert not caught.value.retryable
    assert portal.read_small("SkyDRM/index.html") == b"one"
    assert not portal.write_page("SkyDRM/index.html", lambda: b"one", "text/html")
