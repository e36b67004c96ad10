"""``[[jenkins.jobs]]``: every kind of job, from its row in ``release.toml`` to the controller."""

from __future__ import annotations

from typing import get_args

import pytest

from jenkins_release.config.jenkins import ROLE_FOLDERS, ROLE_OF, JobKind
from jenkins_release.jenkins.templates import TEMPLATES
from tests.docs.pages import ROOT
from tests.fixtures.jenkins import JOB, Desk

EVERY_KIND = """
[[jenkins.jobs]]
kind = "candidate"
[[jenkins.jobs]]
kind = "candidate"
name = "candidate-8.0"
branch = "release/8.0"
[[jenkins.jobs]]
kind = "qa"
[[jenkins.jobs]]
kind = "publish"
script = "ci/publish.Jenkinsfile"
[[jenkins.jobs]]
kind = "customer-access"
name = "access"
[[jenkins.jobs]]
kind = "pipeline"
name = "saas"
script = "jobs/saas.Jenkinsfile"
role = "saas"
[[jenkins.jobs]]
kind = "pipeline"
name = "nightly"
script = "ci/nightly.Jenkinsfile"
"""
JOBS = {
    JOB: ("jobs/promote.Jenkinsfile", "*/main"),
    "SkyDRM/build/candidate": ("Jenkinsfile", "*/main"),
    "SkyDRM/build/candidate-8.0": ("Jenkinsfile", "*/release/8.0"),
    "SkyDRM/qa/qa": ("jobs/qa.Jenkinsfile", "*/main"),
    "SkyDRM/release/publish": ("ci/publish.Jenkinsfile", "*/main"),
    "SkyDRM/customers/access": ("jobs/customer-access.Jenkinsfile", "*/main"),
    "SkyDRM/saas/saas": ("jobs/saas.Jenkinsfile", "*/main"),
    "SkyDRM/build/nightly": ("ci/nightly.Jenkinsfile", "*/main"),
}
FOLDERS = ["SkyDRM", *(f"SkyDRM/{role}" for role in ("release", "build", "qa", "customers", "saas"))]


@pytest.fixture
def every_kind(empty_desk: Desk) -> Desk:
    """An administrator whose ``release.toml`` names a job of every kind."""
    return add(empty_desk, EVERY_KIND)


def add(desk: Desk, rows: str) -> Desk:
    """Append tables to ``release.toml``."""
    desk.append(rows)
    return desk


def names(desk: Desk, path: str) -> list[str] | None:
    """The parameters that the controller has for a job."""
    found = desk.double.controller.items[path].parameters()
    return None if found is None else [each["name"] for each in found]


def test_a_row_and_a_script_make_a_job(every_kind: Desk):
    """Each with its script, its branch and its parameters; a second time nothing is written."""
    report = every_kind.ok("jobs", "apply")
    assert [item["path"] for item in report["items"]] == [*FOLDERS, *JOBS]
    for path, expected in JOBS.items():
        definition = every_kind.double.controller.items[path].root.find("definition")
        assert definition is not None
        found = (definition.findtext("scriptPath"), definition.findtext("scm/branches/*/name"))
        assert found == expected, path
    assert names(every_kind, "SkyDRM/qa/qa") == ["VERSION", "BUILD"]
    assert names(every_kind, "SkyDRM/release/publish") == ["VERSION", "BUILD", "REASON", "TICKET", "DRY_RUN"]
    access = every_kind.double.controller.items["SkyDRM/customers/access"].parameters() or []
    assert access[0]["choices"] == ["doctor", "list", "audit", "issue", "rotate", "revoke"]
    assert names(every_kind, "SkyDRM/build/candidate") is None
    every_kind.double.requests.clear()
    assert not every_kind.ok("jobs", "apply")["changed"]
    assert every_kind.double.posts() == []


def test_diff_shows_all_of_them(every_kind: Desk):
    """Before they are there, and one that somebody changed."""
    text = every_kind.run("jobs", "diff").out
    assert [line[4:] for line in text.splitlines() if line.startswith("+++")] == [
        f"release.toml: {path}" for path in [*FOLDERS, *JOBS]
    ]
    every_kind.ok("jobs", "apply")
    item = every_kind.double.controller.items["SkyDRM/qa/qa"]
    item.config = item.config.replace("jobs/qa.Jenkinsfile", "jobs/other.Jenkinsfile")
    text = every_kind.run("jobs", "diff").out
    assert "+script: jobs/qa.Jenkinsfile" in text
    assert "SkyDRM/release/publish" not in text


@pytest.mark.parametrize("kind", ["candidate", "pipeline"])
def test_the_parameters_of_a_products_own_script_are_left_alone(every_kind: Desk, kind: str):
    """Its first run declares them: neither a difference nor removed by what applies something else."""
    every_kind.ok("jobs", "apply")
    path = {"candidate": "SkyDRM/build/candidate", "pipeline": "SkyDRM/saas/saas"}[kind]
    item = every_kind.double.controller.items[path]
    declared = (
        "<properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>"
        "<hudson.model.StringParameterDefinition><name>OWN</name></hudson.model.StringParameterDefinition>"
        "</parameterDefinitions></hudson.model.ParametersDefinitionProperty></properties>"
    )
    item.config = item.config.replace("<properties />", declared)
    assert every_kind.run("jobs", "diff").out.startswith("no difference")
    item.config = item.config.replace("*/main", "*/other")
    every_kind.ok("jobs", "apply")
    assert names(every_kind, path) == ["OWN"]
    assert "*/main" in item.config


def test_one_foreign_job_stops_all_of_them(every_kind: Desk):
    """Every job in the way is named, nothing is made, and --adopt takes them over."""
    controller = every_kind.double.controller
    for path in ("SkyDRM", "SkyDRM/qa", "SkyDRM/release", "SkyDRM/qa/qa", "SkyDRM/release/publish"):
        kind = "com.cloudbees.hudson.plugins.folder.Folder" if path in FOLDERS else "flow-definition"
        controller.create(path, f"<{kind}><description>Ops</description><properties/></{kind}>")
    done = every_kind.run("jobs", "apply")
    assert done.status == 2
    assert "SkyDRM/qa/qa: is a job that this tool does not manage" in done.err
    assert "SkyDRM/release/publish: is a job that this tool does not manage" in done.err
    assert every_kind.double.posts() == []
    every_kind.ok("jobs", "apply", "--adopt")
    assert set(controller.items) == {*FOLDERS, *JOBS}


def test_a_job_in_a_folder_of_its_own_gets_that_folder(empty_desk: Desk):
    """``name`` may hold folders, and so may ``promote_job``."""
    add(empty_desk, '[[jenkins.jobs]]\nkind = "qa"\nname = "nightly/sign-off"\n')
    report = empty_desk.ok("jobs", "apply")
    folders = ["SkyDRM", "SkyDRM/release", "SkyDRM/qa", "SkyDRM/qa/nightly"]
    assert [item["path"] for item in report["items"]] == [*folders, JOB, "SkyDRM/qa/nightly/sign-off"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ('kind = "promote"', "jenkins.jobs[0].kind: Input should be 'candidate', 'qa'"),
        ('kind = "pipeline"\nname = "x"', "a job of the kind pipeline needs a name and a script"),
        ('kind = "publish"\nname = "Promote"', "two jobs have the name 'release/Promote'"),
        ('kind = "qa"\n[[jenkins.jobs]]\nkind = "qa"', "two jobs have the name 'qa/qa'"),
        ('kind = "qa"\nrole = "release"', "a job of the kind qa is in the folder qa: remove role"),
        ('kind = "qa"\nname = "a?b"', "contains '?', which is not allowed in the name of a job"),
    ],
)
def test_a_wrong_row_is_told(empty_desk: Desk, rows: str, told: str):
    """Before the controller is asked anything."""
    add(empty_desk, f"[[jenkins.jobs]]\n{rows}\n")
    done = empty_desk.run("jobs", "apply")
    assert done.status == 2
    assert told in done.err
    assert empty_desk.double.requests == []


def test_the_configuration_knows_every_kind():
    """The promote job has keys of its own: ``promote launch`` looks for it."""
    assert {*get_args(JobKind), "promote"} == set(TEMPLATES) == set(ROLE_OF)
    assert set(ROLE_OF.values()) < set(ROLE_FOLDERS)


def test_default_scripts_are_those_of_this_repository():
    """What the library brings stands where the templates look for it."""
    for template in TEMPLATES.values():
        if template.parameters is not None:
            assert template.script == f"jobs/{template.kind}.Jenkinsfile"
    assert (ROOT / TEMPLATES["candidate"].script).exists()
