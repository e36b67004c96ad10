"""What the doctor says about the way to a share in a domain."""

from __future__ import annotations

from datetime import UTC, datetime

from jenkins_release.base.checks import Check, Examination, Status
from jenkins_release.sandbox.domain.domain import Domain
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
    assert [*found] == ["domain", "name", "port", "dialect", "login", "path", "clock"]
    assert found["domain"].said.startswith("corp.example is a domain, where share is served by ")
    assert found["login"].said.startswith("Kerberos as release@CORP.EXAMPLE for cifs/")
    assert found["path"].said.startswith(r"DFS leads \\corp.example\share\data to \\fs")


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
