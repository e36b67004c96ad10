"""What the doctor says about the way to a share in a domain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jenkins_release.base.checks import Check, Examination, Found, Status
from jenkins_release.sandbox.domain.domain import Domain
from jenkins_release.share.smb import survey
from tests.domain.inside.test_login import FS2, bad_passwords
from tests.fixtures.domain import Open


def surveyed(open_domain: Open, *location: str, **options: object) -> dict[str, Check]:
    """Return the checks of a survey by stage."""
    examination = Examination(60.0)
    share = open_domain(*location, **options)
    share.survey(lambda: datetime.now(UTC)).examine(examination, lambda stage: stage)
    return {check.name: check for check in examination.checks}


def test_the_way_through_the_domain_is_told(open_domain: Open) -> None:
    """Who serves the root, which of them is used, and by which ticket."""
    found = surveyed(open_domain)
    assert {check.status for check in found.values()} == {Status.OK}, found
    targets = [rf"target {server}.corp.example\data" for server in ("fs1", "fs2")]
    assert [*found] == ["domain", "name", "port", "dialect", "login", "path", *targets, "clock"]
    assert found["domain"].said.startswith("corp.example is a domain, where share is served by ")
    assert found["login"].said.startswith("Kerberos as release@CORP.EXAMPLE for cifs/")
    assert found["path"].said == (
        r"DFS leads \\corp.example\share\data to \\fs1.corp.example\data; "
        r"other targets: \\fs2.corp.example\data"
    )
    for name, server, use in zip(targets, ("fs1", "fs2"), ("in use", "could be used instead"), strict=True):
        assert found[name].said == (
            f"{use}: SMB 3.1.1, signed, encrypted by AES-128-GCM; Kerberos as release@CORP.EXAMPLE for "
            f"cifs/{server}.corp.example; this machine and the server {server}.corp.example agree"
        )


def test_targets_that_cannot_be_used_are_told(links: Domain, open_domain: Open) -> None:
    """Although another one works, and nothing is sent where the configuration does not allow it."""
    first, last = r"gone.corp.example\data", r"fs.elsewhere.example\data"
    links.link(
        "mixed", first, r"fs1.corp.example\none", r"fs2.corp.example\data", r"corp.example\share\data", last
    )
    found = surveyed(open_domain, r"\\corp.example\share\mixed")
    assert found["path"].status is Status.OK
    used = found[r"target fs2.corp.example\data"]
    assert used.status is Status.OK
    assert used.said.startswith("in use: SMB 3.1.1")
    assert found[r"target corp.example\share"].status is Status.OK, "a target that is a DFS path itself"
    for target, said, hint in (
        (first, "Failed to connect", "check the server's name and port"),
        (r"fs1.corp.example\none", "STATUS_BAD_NETWORK_NAME", "correct the share's name"),
        (last, "nothing was sent there", "add it to share.dfs_targets"),
    ):
        check = found[f"target {target}"]
        assert check.status is Status.WARNING
        assert said in check.said
        assert hint in check.hint


@pytest.mark.parametrize(("target", "status"), [("fs1", Status.FAIL), ("fs2", Status.WARNING)])
def test_the_clock_of_each_target_counts(
    open_domain: Open, monkeypatch: pytest.MonkeyPatch, target: str, status: Status
) -> None:
    """A login on it is refused soon, though the server of the namespace agrees."""
    real = survey.compared
    late = timedelta(minutes=10)

    def compared(whose: str, there: datetime | None, here: datetime) -> Found:
        return real(whose, there and there + late * (whose == f"the server {target}.corp.example"), here)

    monkeypatch.setattr(survey, "compared", compared)
    found = surveyed(open_domain)
    assert found["clock"].status is Status.OK
    check = found[rf"target {target}.corp.example\data"]
    assert check.status is status
    assert f"10 minutes behind the server {target}.corp.example" in check.said
    assert "chrony" in check.hint


def test_a_server_of_the_domain_is_no_domain(open_domain: Open) -> None:
    """There is one stage less."""
    found = surveyed(open_domain, FS2)
    assert "domain" not in found
    assert found["login"].said == "Kerberos as release@CORP.EXAMPLE for cifs/fs2.corp.example"
    assert found["path"].said == rf"{FS2} is there"


def test_a_wrong_password_is_tried_once_in_the_domain(domain: Domain, open_domain: Open) -> None:
    """The domain counts the attempts: controller and servers are not tried one after the other."""
    open_domain().list("")  # a right one starts the count again
    before = bad_passwords(domain)
    found = surveyed(open_domain, password="mistyped")
    assert found["domain"].status is Status.FAIL
    assert {found[stage].status for stage in ("name", "login", "path")} == {Status.SKIPPED}
    assert bad_passwords(domain) - before == 1
