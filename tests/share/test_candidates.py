"""The layout on the share: staging, commit, attestations, and answers that get lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from jenkins_release.base.errors import ConfigurationError, IntegrityError, LeaseHeld, RemoteError
from jenkins_release.base.retry import RetryPolicy
from jenkins_release.sandbox.samba import SambaServer, SambaShare
from jenkins_release.share import DirectoryShare, PathExists, SmbShare, candidates
from jenkins_release.share import staging as staging_module
from jenkins_release.share.candidate_records import read_records
from jenkins_release.share.candidates import CandidateArea, CandidateRef
from jenkins_release.share.protocol import AccessRefused, NameRefused
from jenkins_release.share.staging import rename_whole
from tests.fixtures.share import OpenSmb, StartSamba

REF = CandidateRef("8.1.0", "42")


class LostAnswers(DirectoryShare):
    """A share whose next rename fails: after it was done, or before."""

    lose: str = ""

    def rename(self, source: str, target: str) -> None:
        how, self.lose = self.lose, ""
        if how == "before":
            raise RemoteError("the connection broke", retryable=True)
        super().rename(source, target)
        if how == "after":
            raise RemoteError("the connection broke", retryable=True)


@pytest.fixture
def share(tmp_path):
    return LostAnswers(tmp_path)


@pytest.fixture
def area(share):
    return CandidateArea(share, "SkyDRM")


def write(area: CandidateArea, ref: CandidateRef = REF) -> None:
    with area.stage(ref, "me") as staging:
        staging.write("images/x.tar", b"tar")
        staging.write("candidate.json", b"{}")
        staging.commit()


def visible(tmp_path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "SkyDRM" / "8.1.0").iterdir())


def test_nothing_is_visible_before_the_commit(area, tmp_path):
    """Readers see a complete candidate or none."""
    with area.stage(REF, "me") as staging:
        staging.write("candidate.json", b"{}")
        assert area.refs() == []
        assert not area.exists(REF)
        staging.commit()
    assert area.refs() == [REF]
    assert visible(tmp_path) == ["42"]


@pytest.mark.parametrize(
    "path", ['"/1', "9.0.0 /1", "COM1/1", f"{'9' * 200}/1", f"{'9' * 100}/{'1' * 110}", "8.1.0/a\nb"]
)
def test_a_folder_that_no_export_makes_hides_no_candidate(area, tmp_path, caplog, path: str):
    """Whoever may write to the share, or to the disk behind it, can make one: it ended every list."""
    write(area)
    (tmp_path / "SkyDRM" / path).mkdir(parents=True)
    refs, unread = area.look()
    assert refs == [REF]
    assert [type(error) for error in unread.values()] == [NameRefused]
    for _ in range(2):
        assert area.refs() == [REF]
    assert caplog.text.count("no candidate is looked for there: ") == 1


def test_a_version_that_this_account_may_not_list(area, tmp_path, monkeypatch):
    """A board can go on without it; nothing is decided without it."""
    write(area)
    write(area, CandidateRef("8.2.0", "1"))
    real = DirectoryShare.list

    def list_(self, path: str):
        if path.endswith("8.2.0"):
            raise AccessRefused("no")
        return real(self, path)

    monkeypatch.setattr(DirectoryShare, "list", list_)
    refs, unread = area.look()
    assert (refs, list(unread)) == ([REF], ["SkyDRM/8.2.0"])
    with pytest.raises(AccessRefused):
        area.refs()


@pytest.mark.parametrize("name", [f"0001-{'q' * 190}.dsse.json", f"{'9' * 100}-qa.dsse.json"])
def test_an_attestation_with_an_endless_name_harms_only_its_candidate(area, tmp_path, monkeypatch, name: str):
    """Its path is one that cannot be asked for, or its number one that nobody counts up to."""
    other = CandidateRef("8.1.0", "43")
    for ref in (REF, other):
        write(area, ref)
    (tmp_path / area.folder(other) / "attestations" / name).write_text("{}")
    monkeypatch.setattr(DirectoryShare, "lists_all", lambda _: False)
    assert REF in read_records(area, [REF, other])


def test_what_is_not_committed_is_removed(area, tmp_path):
    """A failure half-way leaves nothing, and is not hidden."""
    with pytest.raises(ZeroDivisionError), area.stage(REF, "me") as staging:
        staging.write("candidate.json", b"{}")
        raise ZeroDivisionError
    assert visible(tmp_path) == []


def test_the_left_overs_of_a_dead_export_are_removed_by_the_next(area, tmp_path):
    """Only those of the same build: another build may be on its way."""
    alive = [".incoming-42-7-0000a11e", ".incoming-421-0000a11e"]
    for name in (".incoming-42-0000dead", *alive):
        (tmp_path / "SkyDRM" / "8.1.0" / name).mkdir(parents=True)
    write(area)
    assert visible(tmp_path) == [*alive, "42"]


def test_an_existing_candidate_is_refused(area, tmp_path):
    """Before anything is written, and also when it appears meanwhile."""
    write(area)
    with pytest.raises(ConfigurationError, match="already exists on the share"):
        write(area)
    other = CandidateRef("8.1.0", "43")
    with (
        pytest.raises(ConfigurationError, match="already exists on the share"),
        area.stage(other, "me") as staging,
    ):
        (tmp_path / "SkyDRM" / "8.1.0" / "43").mkdir()
        staging.commit()
    assert visible(tmp_path) == ["42", "43"]


def test_two_exports_of_one_build_exclude_each_other(area):
    """The second is told who is at work."""
    with (
        area.stage(REF, "first@host"),
        pytest.raises(LeaseHeld, match="first@host"),
        area.stage(REF, "second"),
    ):
        pass


def test_a_lost_answer_to_the_commit_is_no_failure(area, share, tmp_path):
    """The candidate is there, and only once."""
    share.lose = "after"
    write(area)
    assert visible(tmp_path) == ["42"]


def test_a_commit_that_did_not_happen_is_a_failure(area, share, tmp_path):
    """Nothing is visible, and another attempt is worth it."""
    share.lose = "before"
    with pytest.raises(RemoteError) as caught:
        write(area)
    assert caught.value.retryable
    assert visible(tmp_path) == []
    write(area)
    assert visible(tmp_path) == ["42"]


def test_attestations_are_numbered_in_order_and_never_twice(area, share):
    """Also when the answer to the last step was lost."""
    write(area)

    def make(before: dict[str, bytes]) -> bytes:
        return f"attestation {len(before) + 1}".encode()

    assert area.add_attestation(REF, "qa", make, "me")[0] == "0001-qa.dsse.json"
    share.lose = "after"
    assert area.add_attestation(REF, "qa", make, "me")[0] == "0002-qa.dsse.json"
    share.lose = "before"
    with pytest.raises(RemoteError):
        area.add_attestation(REF, "promotion", make, "me")
    area.add_attestation(REF, "promotion", make, "me")
    assert list(area.attestations(REF)) == [
        "0001-qa.dsse.json",
        "0002-qa.dsse.json",
        "0003-promotion.dsse.json",
    ]
    assert area.attestations(REF)["0002-qa.dsse.json"] == b"attestation 2"


def test_a_folder_with_too_many_attestations_is_not_read(area, tmp_path, monkeypatch):
    """Whoever writes to the share may put any number there; one more is not added either."""
    monkeypatch.setattr(candidates, "MAX_ATTESTATIONS", 3)
    write(area)
    for _ in range(3):
        area.add_attestation(REF, "qa", lambda _: b"x", "me")
    with pytest.raises(IntegrityError, match="has 4 attestations"):
        area.add_attestation(REF, "qa", lambda _: b"x", "me")
    assert len(area.attestations(REF)) == 3
    folder = tmp_path / "SkyDRM" / REF.version / REF.build / "attestations"
    (folder / "0004-qa.dsse.json").write_bytes(b"x")
    for ask in (area.attestations, area.attestation_names):
        with pytest.raises(IntegrityError, match="has 4 attestations with 4 bytes, expected at most 3"):
            ask(REF)
    assert read_records(area, [REF]) == {}


def test_attestations_that_are_too_large_together_are_not_read(area, tmp_path, monkeypatch):
    """By the sizes in the listing: nothing is read."""
    monkeypatch.setattr(candidates, "MAX_ATTESTATIONS_BYTES", 100)
    write(area)
    folder = tmp_path / "SkyDRM" / REF.version / REF.build / "attestations"
    for number in range(1, 4):
        (folder / f"{number:04d}-qa.dsse.json").write_bytes(bytes(40))
    with pytest.raises(IntegrityError, match="has 3 attestations with 120 bytes"):
        area.attestations(REF)
    assert read_records(area, [REF]) == {}


def test_a_missing_file_of_a_candidate_is_told_from_a_missing_candidate(area, tmp_path):
    """Incomplete is an alteration, missing is a mistake in the request."""
    with pytest.raises(ConfigurationError, match="there is no candidate"):
        area.read_small(REF, "candidate.json")
    write(area)
    (tmp_path / "SkyDRM" / "8.1.0" / "42" / "candidate.json").unlink()
    with pytest.raises(IntegrityError, match="is incomplete"):
        area.read_small(REF, "candidate.json")


@pytest.mark.parametrize(
    "text", ["", "8.1.0", "8.1.0/", "/42", "8.1.0/42/1", "../42", "8.1.0/..", "8.1.0/a b"]
)
def test_what_names_no_candidate_is_refused(text):
    """Version and build, each a plain folder name."""
    with pytest.raises(ConfigurationError):
        CandidateRef.parse(text)


def test_a_path_exists_error_of_another_file_stays_what_it_is(area):
    """Writing one file twice is not an existing candidate."""
    with pytest.raises(PathExists), area.stage(REF, "me") as staging:
        staging.write("candidate.json", b"{}")
        staging.write("candidate.json", b"{}")


class TestHeld:
    """Windows refuses to rename what somebody has open: a virus scanner looks at each new file."""

    @pytest.fixture
    def server(self, start_samba: StartSamba, tmp_path) -> SambaServer:
        """A server that refuses such a rename, as Windows does."""
        return start_samba({"data": SambaShare(tmp_path / "held", options={"strict rename": "yes"})})

    @contextlib.contextmanager
    def scanner(self, share: SmbShare, path: str, seconds: float) -> Iterator[None]:
        """Hold a file open for a while, sharing everything."""
        stream = share.read(path)
        next(stream)
        timer = threading.Timer(seconds, stream.close)
        timer.start()
        yield
        timer.join()

    def test_a_commit_waits_until_the_scanner_is_done(
        self, server: SambaServer, open_smb: OpenSmb, tmp_path, caplog
    ):
        """Nothing is lost, and what is waited for is told."""
        share, other = open_smb(server), open_smb(server)
        area = CandidateArea(share, "SkyDRM")
        with area.stage(REF, "me") as staging:
            staging.write("images/x.tar", bytes(1_000_000))
            staging.write("candidate.json", b"{}")
            with self.scanner(other, staging.path("images/x.tar"), 1.5):
                staging.commit()
        assert area.refs() == [REF]
        assert "STATUS_ACCESS_DENIED" in caplog.text
        assert "failed, next in" in caplog.text

    def test_somebody_who_never_lets_go_is_named_as_a_cause(
        self, server: SambaServer, open_smb: OpenSmb, monkeypatch
    ):
        """After a minute; the folder is removed as after any failure."""
        monkeypatch.setattr(staging_module, "_WHILE_HELD", RetryPolicy(None, 1.0, 0.1, 0.1, 0.0))
        share, other = open_smb(server), open_smb(server)
        area = CandidateArea(share, "SkyDRM")
        with pytest.raises(AccessRefused) as raised, area.stage(REF, "me") as staging:
            staging.write("images/x.tar", bytes(1_000_000))
            with self.scanner(other, staging.path("images/x.tar"), 3.0):
                staging.commit()
        assert "virus scanner" in raised.value.hint
        assert not raised.value.retryable
        assert area.refs() == []

    def test_a_record_waits_too(self, server: SambaServer, open_smb: OpenSmb):
        """Attestations and journals are renamed into place as well."""
        share, other = open_smb(server), open_smb(server)
        share.make_folder("f")
        with share.create("f/.a.json.00000000") as writer:
            writer.write(b"{}" * 1000)
        with self.scanner(other, "f/.a.json.00000000", 1.0):
            rename_whole(share, "f/.a.json.00000000", "f/a.json")
        assert [entry.name for entry in share.list("f")] == ["a.json"]
