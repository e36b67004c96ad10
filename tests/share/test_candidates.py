"""The layout on the share: staging, commit, attestations, and answers that get lost."""

from __future__ import annotations

import pytest

from jenkins_release.errors import ConfigurationError, IntegrityError, LeaseHeld, RemoteError
from jenkins_release.share import DirectoryShare, PathExists
from jenkins_release.share.candidates import CandidateArea, CandidateRef

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


def test_what_is_not_committed_is_removed(area, tmp_path):
    """A failure half-way leaves nothing, and is not hidden."""
    with pytest.raises(ZeroDivisionError), area.stage(REF, "me") as staging:
        staging.write("candidate.json", b"{}")
        raise ZeroDivisionError
    assert visible(tmp_path) == []


def test_the_left_overs_of_a_dead_export_are_removed_by_the_next(area, tmp_path):
    """Only those of the same build: another build may be on its way."""
    for name in (".incoming-42-dead", ".incoming-421-alive"):
        (tmp_path / "SkyDRM" / "8.1.0" / name).mkdir(parents=True)
    write(area)
    assert visible(tmp_path) == [".incoming-421-alive", "42"]


def test_an_existing_candidate_is_refused(area, tmp_path):
    """Before anything is written, and also when it appears meanwhile."""
    write(area)
    with pytest.raises(ConfigurationError, match="on the share already"):
        write(area)
    other = CandidateRef("8.1.0", "43")
    with pytest.raises(ConfigurationError, match="on the share already"), area.stage(other, "me") as staging:
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
