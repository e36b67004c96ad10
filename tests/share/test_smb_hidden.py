"""Servers that list only what the account may read: what is not listed is not taken for missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.ledger.folder import FolderLedger
from jenkins_release.portal.folder import SharePortal
from jenkins_release.sandbox.samba import SambaServer, SambaShare
from jenkins_release.share import PathExists, SmbShare
from jenkins_release.share.candidate_records import read_records
from jenkins_release.share.candidates import CandidateArea, CandidateRef
from jenkins_release.share.protocol import AccessRefused, HiddenEntries
from jenkins_release.share.releases import ReleaseArea
from jenkins_release.steps.context.trust_store import ShareTrustStore
from tests.fixtures.share import OpenSmb, StartSamba, hide, lent, starting, unprivileged

REF = CandidateRef("8.1.0", "42")
ATTESTATIONS = "SkyDRM/8.1.0/42/attestations"
NOT_LISTED = "exists, but the server does not list it for this account"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, smb_password: str) -> Iterator[SambaServer]:
    """A server that hides what the account may not read."""
    with lent() as folder, starting(tmp_path_factory, smb_password) as start:
        options = {"hide unreadable": "yes", "access based share enum": "yes", **unprivileged()}
        yield start({"data": SambaShare(folder, options=options)})


@pytest.fixture
def root(server: SambaServer) -> Iterator[Path]:
    """The folder behind the share, empty."""
    folder = server.shares["data"].path
    yield folder
    for each in folder.iterdir():
        each.chmod(0o700)
        shutil.rmtree(each) if each.is_dir() else each.unlink()


@pytest.fixture
def share(server: SambaServer, open_smb: OpenSmb, root: Path) -> SmbShare:
    """The share with a candidate that has three attestations."""
    opened = open_smb(server)
    for name in ("0001-build", "0002-qa", "0003-withdrawal"):
        put(opened, f"{ATTESTATIONS}/{name}.dsse.json", name.encode())
    put(opened, "SkyDRM/8.1.0/42/candidate.json", b"{}")
    return opened


@pytest.fixture
def area(share: SmbShare) -> CandidateArea:
    """The candidates on it."""
    return CandidateArea(share, "SkyDRM")


def put(share: SmbShare, path: str, data: bytes = b"content") -> None:
    share.make_folder(path.rpartition("/")[0] or path)
    with share.create(path) as writer:
        writer.write(data)


@pytest.mark.parametrize(
    ("option", "lists_all"), [("hide unreadable", False), ("hide unwriteable files", False), ("", True)]
)
def test_the_server_says_whether_it_hides(
    start_samba: StartSamba, open_smb: OpenSmb, tmp_path: Path, option: str, lists_all: bool
) -> None:
    """When the share is connected; so other shares cost no request more."""
    options = {option: "yes"} if option else {}
    assert open_smb(start_samba({"data": SambaShare(tmp_path, options=options)})).lists_all() is lists_all


def test_a_share_that_is_not_for_this_account(
    start_samba: StartSamba, open_smb: OpenSmb, tmp_path: Path
) -> None:
    """Not even its name is listed: it is refused, not missing."""
    options = {"valid users": "somebody-else"}
    server = start_samba(
        {"data": SambaShare(tmp_path, options=options)}, options={"access based share enum": "yes"}
    )
    with pytest.raises(AccessRefused, match="STATUS_ACCESS_DENIED") as caught:
        open_smb(server).list("")
    assert not caught.value.retryable
    assert "give the user the permission" in caught.value.hint


class TestFolders:
    def test_a_candidate_is_not_written_over_one_that_is_hidden(
        self, area: CandidateArea, root: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An export of that build finds it, although no listing has it; a list says that it may lack some."""
        hide(root / "SkyDRM/8.1.0/42")
        assert area.refs(all_count=False) == []
        assert not caplog.messages
        assert area.refs() == []
        assert area.refs() == []
        assert caplog.messages == [
            r"\\127.0.0.1\data lists only what this account may read: there may be other candidates"
        ]
        assert area.exists(REF)
        with pytest.raises(ConfigurationError, match="already exists"), area.stage(REF, "me"):
            pass
        with pytest.raises(AccessRefused, match=r"8\.1\.0.42.candidate\.json: the server denies access"):
            area.read_small(REF, "candidate.json")

    def test_one_that_appears_meanwhile_is_not_renamed_onto(self, share: SmbShare, root: Path) -> None:
        """The server keeps the name taken, whether it lists it or not."""
        put(share, "SkyDRM/8.1.0/.incoming-43/file")
        put(share, "SkyDRM/8.1.0/43/file")
        hide(root / "SkyDRM/8.1.0/43")
        with pytest.raises(PathExists):
            share.rename("SkyDRM/8.1.0/.incoming-43", "SkyDRM/8.1.0/43")
        assert (root / "SkyDRM/8.1.0/43/file").read_bytes() == b"content"

    def test_a_release_is_not_published_over_one_that_is_hidden(self, share: SmbShare, root: Path) -> None:
        """As an export."""
        put(share, "SkyDRM/8.2.0/release.json")
        hide(root / "SkyDRM/8.2.0")
        area = ReleaseArea(share, "SkyDRM")
        assert area.versions() == ["8.1.0"]
        with pytest.raises(PathExists, match="already exists"), area.stage("8.2.0"):
            pass

    @pytest.mark.parametrize("what", ["file", "folder", "folder/file"])
    def test_a_folder_that_only_looks_empty_is_not_removed(
        self, share: SmbShare, root: Path, what: str
    ) -> None:
        """It says that there is something, and does not try again and again."""
        put(share, f"old/{what}")
        hide(root / "old" / what)
        with pytest.raises(
            HiddenEntries, match="is not empty, but the server lists nothing in it for this account"
        ) as caught:
            share.remove("old")
        assert not caught.value.retryable
        assert "let the account read and delete in that folder" in caught.value.hint
        assert (root / "old" / what).exists()

    def test_the_portal_keeps_a_folder_that_only_looks_empty(
        self, share: SmbShare, root: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The file that was to go is gone; that something else is there is said."""
        put(share, "SkyDRM/8.3.0/setup.msi")
        put(share, "SkyDRM/8.3.0/other")
        hide(root / "SkyDRM/8.3.0/other")
        SharePortal(share, holder="me").remove("SkyDRM/8.3.0/setup.msi")
        assert [path.name for path in (root / "SkyDRM/8.3.0").iterdir()] == ["other"]
        assert "lists nothing in it for this account" in caplog.text

    def test_a_lock_file_of_another_account(self, share: SmbShare, root: Path) -> None:
        """It says which permission is missing: the folder's files are everybody's who runs commands."""
        with share.lease("lock", "me"):
            pass
        hide(root / "lock")
        with pytest.raises(AccessRefused, match="the lock file exists, and this account may not") as caught:
            share.lease("lock", "you").__enter__()
        assert "every account that runs commands" in caught.value.hint


class TestRecords:
    @pytest.mark.parametrize("name", ["0001-build", "0002-qa", "0003-withdrawal"])
    def test_an_attestation_that_is_hidden(self, area: CandidateArea, root: Path, name: str) -> None:
        """The last one too: without it, the chain looks whole. Nothing is decided, and nothing appended."""
        assert len(area.attestations(REF)) == 3
        hide(root / ATTESTATIONS / f"{name}.dsse.json")
        with pytest.raises(IntegrityError, match=rf"{name}\.dsse\.json {NOT_LISTED}") as caught:
            area.attestations(REF)
        assert "access-based enumeration" in caught.value.hint
        with pytest.raises(IntegrityError, match=NOT_LISTED):
            area.add_attestation(REF, "promotion", lambda _: b"signed", "me")
        assert sorted(path.name for path in (root / ATTESTATIONS).iterdir())[3:] == []

    def test_all_of_them(self, area: CandidateArea, root: Path) -> None:
        """An empty folder has no attestations only if nothing can be found there by name."""
        for path in (root / ATTESTATIONS).iterdir():
            hide(path)
        with pytest.raises(IntegrityError, match=NOT_LISTED):
            area.attestations(REF)

    def test_several_at_the_end(self, area: CandidateArea, root: Path) -> None:
        """The first of them is found, and that is enough."""
        for name in ("0002-qa", "0003-withdrawal"):
            hide(root / ATTESTATIONS / f"{name}.dsse.json")
        with pytest.raises(IntegrityError, match=rf"0002-qa\.dsse\.json {NOT_LISTED}"):
            area.attestations(REF)

    def test_many_candidates_at_once(self, area: CandidateArea, share: SmbShare, root: Path) -> None:
        """One with a hidden attestation is not among those that are read together."""
        put(share, "SkyDRM/8.1.0/43/candidate.json", b"{}")
        put(share, "SkyDRM/8.1.0/43/attestations/0001-build.dsse.json", b"build")
        other = CandidateRef("8.1.0", "43")
        assert set(read_records(area, [REF, other])) == {REF, other}
        hide(root / ATTESTATIONS / "0003-withdrawal.dsse.json")
        assert set(read_records(area, [REF, other])) == {other}

    def test_one_that_is_added_meanwhile_is_not_hidden(
        self, area: CandidateArea, share: SmbShare, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the listing and the look for others."""
        lists_all = share.lists_all

        def late() -> bool:
            put(share, f"{ATTESTATIONS}/0004-qa.dsse.json", b"qa")
            return lists_all()

        monkeypatch.setattr(share, "lists_all", late)
        assert len(area.attestations(REF)) == 3

    def test_the_last_line_of_the_ledger(self, share: SmbShare, root: Path) -> None:
        """What the ledger is asked for is all of it."""
        ledger = FolderLedger(share)
        for number in range(3):
            ledger.add(f"SkyDRM/8.1.0/42/abc/{number:04d}.json", b"{}")
        assert len(ledger.read("SkyDRM/8.1.0/42/abc")) == 3
        hide(root / "SkyDRM/8.1.0/42/abc/0002.json")
        with pytest.raises(IntegrityError, match=rf"0002\.json {NOT_LISTED}"):
            ledger.read("SkyDRM/8.1.0/42/abc")

    def test_the_last_version_of_the_trust_document(self, share: SmbShare, root: Path) -> None:
        """It may be the one that revokes a key."""
        store = ShareTrustStore(share, "trust")
        store.write(1, b"one")
        store.write(2, b"two")
        assert store.read() == {1: b"one", 2: b"two"}
        hide(root / "trust/2.root.json")
        with pytest.raises(IntegrityError, match=rf"2\.root\.json {NOT_LISTED}"):
            store.read()
        hide(root / "trust/1.root.json")
        with pytest.raises(IntegrityError, match=rf"1\.root\.json {NOT_LISTED}"):
            store.read()


def test_a_folder_of_dfs_replication_is_no_version(share: SmbShare, area: CandidateArea, root: Path) -> None:
    """Windows lists DfsrPrivate in spite of access-based enumeration, and lets nobody read it."""
    (root / "SkyDRM/DfsrPrivate").mkdir(mode=0o000)
    assert area.refs() == [REF]
    assert "DfsrPrivate" not in ReleaseArea(share, "SkyDRM").versions()
