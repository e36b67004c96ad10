"""``jobs apply`` and ``jobs diff``: the folder and the jobs on the controller."""

from __future__ import annotations

import re

import pytest

from jenkins_release.jenkins.templates import PROMOTE
from tests.docs.pages import ROOT
from tests.fixtures.jenkins import FOLDERS, JOB, Desk
from tests.fixtures.jenkins_double.items import parse
from tests.fixtures.jenkins_double.server import Request


def actions(report: dict) -> dict[str, str]:
    return {item["path"]: item["action"] for item in report["items"]}


def test_the_folder_and_the_job_are_made_and_the_first_build_takes_parameters(empty_desk: Desk):
    """Without a first run that fails: the definitions stand in the job itself."""
    report = empty_desk.ok("jobs", "apply")
    assert actions(report) == dict.fromkeys([*FOLDERS, JOB], "create")
    assert report["applied"]
    names = [each["name"] for each in empty_desk.double.controller.items[JOB].parameters() or ()]
    assert names == ["VERSION", "BUILD", "REASON", "TICKET", "DRY_RUN", "PRODUCT", "REQUEST_ID"]
    root = empty_desk.double.controller.items[JOB].root
    assert root.findtext("definition/scm/userRemoteConfigs/*/url") == "https://git.nextlabs.com/skydrm.git"
    assert root.findtext("definition/scriptPath") == "jobs/promote.Jenkinsfile"


def test_applying_again_changes_nothing(empty_desk: Desk):
    """Not a single request that writes."""
    empty_desk.ok("jobs", "apply")
    empty_desk.double.requests.clear()
    report = empty_desk.ok("jobs", "apply")
    assert actions(report) == dict.fromkeys([*FOLDERS, JOB], "keep")
    assert not report["changed"]
    assert empty_desk.double.posts() == []
    assert empty_desk.run("jobs", "diff").out.startswith("no difference")


def test_what_a_run_of_the_script_changes_in_the_job_is_a_difference_only_in_words(desk: Desk):
    """Declarative puts its own definitions into the job; their order and defaults are the same."""
    assert (
        desk.run(
            "promote", "launch", *["--version", "8.1.0", "--build", "42", "--reason", "x", "--detach"]
        ).status
        == 0
    )
    item = desk.double.controller.queue[1]
    for _ in range(3):
        desk.double.controller.look(item)
    done = desk.of("admin").run("jobs", "diff")
    changed = [line for line in done.out.splitlines() if re.match(r"[-+] ?\w", line)]
    assert all(line.startswith("+parameter") for line in changed), done.out


def test_a_dry_run_and_diff_write_nothing(empty_desk: Desk):
    """They tell what would be done."""
    assert actions(empty_desk.ok("jobs", "apply", "--dry-run")) == dict.fromkeys([*FOLDERS, JOB], "create")
    text = empty_desk.run("jobs", "diff").out
    assert "+++ release.toml: SkyDRM/release/promote" in text
    assert "+parameter VERSION: string, default ''" in text
    assert empty_desk.double.posts() == []


def test_a_changed_job_is_brought_back_and_what_others_set_stays(desk: Desk):
    """Parameters and source are managed; build discarder, permissions and the switch are not."""
    admin, item = desk.of("admin"), desk.double.controller.items[JOB]
    kept = (
        "<properties><jenkins.model.BuildDiscarderProperty><strategy/></jenkins.model.BuildDiscarderProperty>"
    )
    item.config = (
        item.config.replace("<name>REASON</name>", "<name>WHY</name>")
        .replace("<scriptPath>jobs/promote.Jenkinsfile", "<scriptPath>jobs/other.Jenkinsfile")
        .replace("<properties>", kept)
        .replace("<disabled>false", "<disabled>true")
        .replace(
            "<extensions />", "<extensions><hudson.plugins.git.extensions.impl.CleanCheckout/></extensions>"
        )
    )
    diff = admin.run("jobs", "diff").out
    assert "-parameter WHY: string, default ''" in diff
    assert "+parameter REASON: string, default ''" in diff
    assert "-script: jobs/other.Jenkinsfile" in diff
    assert actions(admin.ok("jobs", "apply")) == dict.fromkeys(FOLDERS, "keep") | {JOB: "update"}
    root = item.root
    assert root.find("properties/jenkins.model.BuildDiscarderProperty") is not None
    assert root.find("definition/scm/extensions/*") is not None
    assert root.findtext("disabled") == "true"
    assert root.findtext("definition/scriptPath") == "jobs/promote.Jenkinsfile"
    assert "WHY" not in item.config
    assert admin.run("jobs", "diff").out.startswith("no difference")


def test_a_job_of_somebody_else_is_not_overwritten_unless_told(desk: Desk):
    """Nothing is changed, the job is named, and --adopt takes it over."""
    item = desk.double.controller.items[JOB]
    foreign = (
        "<flow-definition><description>Ops</description><properties/>"
        "<definition class='a.CpsFlowDefinition'><script>echo 1</script></definition></flow-definition>"
    )
    item.config = foreign
    admin = desk.of("admin")
    done = admin.run("jobs", "apply")
    assert done.status == 2
    assert f"{JOB}: is a job that this tool does not manage" in done.err
    assert "--adopt" in done.err
    assert item.config == foreign
    assert "--adopt takes it over" in admin.run("jobs", "diff").out
    assert actions(admin.ok("jobs", "apply", "--adopt"))[JOB] == "update"
    assert item.root.findtext("definition/scriptPath") == "jobs/promote.Jenkinsfile"


def test_a_job_of_another_product_is_somebody_elses(desk: Desk):
    """Two products that name the same folder do not fight over one job."""
    desk.edit('name = "SkyDRM"', 'name = "Other"')
    desk.edit("[jenkins]", '[jenkins]\nfolder = "SkyDRM"')
    done = desk.of("admin").run("jobs", "apply")
    assert done.status == 2
    assert "is managed for another product, SkyDRM" in done.err


def test_a_folder_that_exists_keeps_its_credentials_and_permissions(desk: Desk):
    """Its definition is not written at all: Jenkins keeps the folder's credentials in it."""
    folder = desk.double.controller.items["SkyDRM"]
    folder.config = folder.config.replace(
        "<properties />", "<properties><secret>{AQAA}</secret></properties>"
    )
    del desk.double.controller.items[JOB]
    before = folder.config
    done = desk.of("admin").run("jobs", "apply", "--json")
    assert actions(done.json) == dict.fromkeys(FOLDERS, "keep") | {JOB: "create"}
    assert folder.config == before
    assert "AQAA" not in done.text


def test_nested_folders_are_made_from_the_outside_in(empty_desk: Desk):
    """Each of them."""
    empty_desk.edit("[jenkins]", '[jenkins]\nfolder = "Release Team/SkyDRM"')
    report = empty_desk.ok("jobs", "apply")
    assert list(actions(report)) == [
        "Release Team",
        f"Release Team/{FOLDERS[0]}",
        f"Release Team/{FOLDERS[1]}",
        f"Release Team/{JOB}",
    ]
    assert f"Release Team/{JOB}" in empty_desk.double.controller.items


def test_a_job_where_the_folder_should_be_is_told_apart(empty_desk: Desk):
    """It is not turned into a folder."""
    empty_desk.double.controller.create("SkyDRM", "<flow-definition><properties/></flow-definition>")
    done = empty_desk.run("jobs", "apply")
    assert done.status == 5
    assert "SkyDRM on the controller is a flow-definition, expected a com.cloudbees" in done.err


@pytest.mark.parametrize("kind", ["lost", "drop", "restarting"])
def test_a_connection_that_is_lost_while_creating_makes_no_second_job(empty_desk: Desk, kind: str):
    """It looks first whether the first attempt arrived."""
    empty_desk.double.fail(kind, "POST /createItem")
    empty_desk.more["JENKINS_RELEASE_RETRY_FIRST_WAIT_S"] = "0"
    assert empty_desk.run("jobs", "apply").status == 0
    assert set(empty_desk.double.controller.items) == {*FOLDERS, JOB}


@pytest.mark.parametrize(
    "when", ["GET /job/SkyDRM/job/release/job/promote/config.xml", "POST /job/SkyDRM/job/release/createItem"]
)
def test_a_job_that_somebody_else_makes_meanwhile_is_not_taken_for_ours(empty_desk: Desk, when: str):
    """Before it looks for its own, or between that and its own attempt, which Jenkins refuses."""
    other = "<flow-definition><description>mine</description><properties/></flow-definition>"
    asked: list[str] = []

    def make(request: Request) -> None:
        asked.append(f"{request.method} {request.path}")
        controller = empty_desk.double.controller
        # The first look is the survey's.
        if asked[-1].startswith(when) and asked.count(asked[-1]) == (2 if when.startswith("GET") else 1):
            controller.create(JOB, other)

    empty_desk.double.before = make
    done = empty_desk.run("jobs", "apply")
    assert done.status == 5
    assert "made meanwhile" in done.err if when.startswith("GET") else "already exists" in done.err
    assert empty_desk.double.controller.items[JOB].config == other


def test_without_the_permission_it_says_which_one(empty_desk: Desk):
    """And changes nothing."""
    done = empty_desk.of("bob").run("jobs", "apply")
    assert done.status == 2
    assert "the user bob lacks the permission Create" in done.err


def test_without_a_repository_it_says_what_to_set(empty_desk: Desk):
    """The jobs take their scripts from there."""
    empty_desk.edit('git_url = "https://git.nextlabs.com/skydrm.git"\n', "")
    done = empty_desk.run("jobs", "diff")
    assert done.status == 2
    assert "jenkins.git_url is not set" in done.err


def test_parameters_of_the_template_are_those_of_the_script():
    """vars/promotePipeline.groovy and the table, in the same order, with the same words."""
    script = (ROOT / "vars" / "promotePipeline.groovy").read_text()
    block = script.partition("parameters {")[2].partition("stages {")[0]
    found = re.findall(r"(string|booleanParam)\(name: '(\w+)'.*?description: '([^']*)'\)", block)
    kinds = {"string": "string", "booleanParam": "boolean"}
    assert [(kinds[kind], name, text) for kind, name, text in found] == [
        (each.kind, each.name, each.description) for each in PROMOTE.parameters
    ]


def test_the_definition_is_one_that_xstream_reads(empty_desk: Desk):
    """Text from release.toml cannot break out of its element."""
    empty_desk.edit("skydrm.git", "a.git?x=1&y=<z>")
    empty_desk.ok("jobs", "apply")
    root = parse(empty_desk.double.controller.items[JOB].config)
    assert (
        root.findtext("definition/scm/userRemoteConfigs/*/url") == "https://git.nextlabs.com/a.git?x=1&y=<z>"
    )
