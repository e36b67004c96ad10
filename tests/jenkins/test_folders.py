"""Where keys lie: a build can bind the credentials of every folder that its job is in, and no others."""

from __future__ import annotations

import pytest

from jenkins_release.jenkins.job_xml import Item, new_config
from jenkins_release.jenkins.templates import PROMOTE, TEMPLATES, JobTemplate, folder_item, mark_of
from tests.fixtures.jenkins import JOB, LAUNCH, Desk
from tests.fixtures.jenkins_double.items import Build
from tests.jenkins.test_job_kinds import EVERY_KIND, add

KEYS = {
    "SkyDRM/release/promote": ("skydrm-approval-key", "skydrm-promotion-key", "skydrm-ecr-push"),
    "SkyDRM/qa/qa": ("skydrm-qa-key",),
    "SkyDRM/build/candidate": ("skydrm-build-key",),
    "SkyDRM/customers/access": ("skydrm-customer-admin",),
    "SkyDRM/saas/saas": ("skydrm-saas-refresh",),
}
"""What each job needs. The ids lie in the folder that the job is in."""


def build(desk: Desk, path: str, ident: str) -> Build:
    """A build that somebody starts of a job whose script binds a credential, to its end."""
    controller = desk.double.controller
    item = controller.items[path]
    controller.repository[item.root.findtext("definition/scriptPath") or ""] = (
        f"withCredentials([file(credentialsId: '{ident}', variable: 'KEY')])\necho 'bound'"
    )
    number, _ = controller.trigger(item, desk.person.name, None, quiet=0)
    controller.look(controller.queue[number])
    found = controller.queue[number].build
    assert found is not None
    found.settle()
    return found


def job(template: JobTemplate) -> str:
    """The document of a job as earlier versions made it too."""
    return new_config(Item("flow-definition", f"{template.summary}\n{mark_of('SkyDRM')}"))


@pytest.fixture
def stocked(empty_desk: Desk) -> Desk:
    """The desk of bob, who may start jobs; each job's credentials are in the folder that the job is in."""
    add(empty_desk, EVERY_KIND).ok("jobs", "apply")
    for path, idents in KEYS.items():
        for ident in idents:
            empty_desk.double.controller.items[path.rpartition("/")[0]].keep_credential(ident)
    return empty_desk.of("bob")


@pytest.fixture
def before(empty_desk: Desk) -> Desk:
    """An administrator's desk: all jobs and keys are in one folder, as earlier versions had it."""
    controller = add(empty_desk, '[[jenkins.jobs]]\nkind = "qa"\n').double.controller
    controller.create("SkyDRM", new_config(folder_item("SkyDRM")))
    controller.create("SkyDRM/promote", job(PROMOTE))
    controller.create("SkyDRM/qa", job(TEMPLATES["qa"]))
    controller.items["SkyDRM"].keep_credential("skydrm-approval-key")
    return empty_desk


@pytest.mark.parametrize("path", KEYS)
def test_a_build_binds_the_keys_of_its_own_role_and_of_no_other(stocked: Desk, path: str):
    """A developer starts a build job: the approval key and its passphrase are not to be had there."""
    for other, idents in KEYS.items():
        for ident in idents:
            done = build(stocked, path, ident)
            if other == path:
                assert done.result == "SUCCESS", done.text()
            else:
                assert f"ERROR: Could not find credentials entry with ID '{ident}'" in done.text()
                assert done.result == "FAILURE"


def test_scopes_are_those_of_jenkins(stocked: Desk):
    """A global credential is for every job, one of the scope System for none."""
    controller = stocked.double.controller
    controller.global_credentials.add("everybody")
    controller.system_credentials.add("mail-server")
    assert build(stocked, "SkyDRM/build/candidate", "everybody").result == "SUCCESS"
    assert build(stocked, "SkyDRM/release/promote", "mail-server").result == "FAILURE"


def test_keys_in_the_folder_above_are_named(stocked: Desk):
    """Subfolders inherit them; the login for the repository is for all jobs."""
    stocked.edit("[jenkins]", '[jenkins]\ngit_login = "skydrm-git"')
    folder = stocked.double.controller.items["SkyDRM"]
    folder.keep_credential("skydrm-git")
    assert stocked.of("admin").ok("jobs", "diff")["inherited"] == []
    folder.keep_credential("skydrm-approval-key")
    assert build(stocked, "SkyDRM/build/candidate", "skydrm-approval-key").result == "SUCCESS"
    done = stocked.of("admin").run("jobs", "diff", "--json")
    assert done.json["inherited"] == [{"folder": "SkyDRM", "credentials": ["skydrm-approval-key"]}]
    assert "AQAAABAAAAAQ" not in done.text
    for verb in ("diff", "apply"):
        text = stocked.of("admin").run("jobs", verb).out
        assert "every job in SkyDRM can bind what its folder holds: skydrm-approval-key" in text


def test_jobs_of_earlier_versions_are_named_and_nothing_is_done(before: Desk):
    """Two promote jobs would not know of each other's launches; the one in the old place has the keys."""
    held = dict(before.double.controller.items)
    done = before.run("jobs", "apply")
    assert done.status == 2
    assert "SkyDRM/promote: is outside the folders by role" in done.err
    assert "SkyDRM/qa: is outside the folders by role" in done.err
    assert "rename the folder SkyDRM in Jenkins" in done.err
    assert before.run("jobs", "apply", "--dry-run").status == 2
    assert before.run("jobs", "apply", "--adopt").status == 2
    assert before.double.posts() == []
    report = before.ok("jobs", "diff")
    assert {each["path"]: each["action"] for each in report["items"]} == {
        "SkyDRM": "keep",
        "SkyDRM/release": "create",
        "SkyDRM/qa": "create",
        JOB: "create",
        "SkyDRM/qa/qa": "create",
    }
    assert [each["path"] for each in report["left"] if each["misplaced"]] == ["SkyDRM/promote", "SkyDRM/qa"]
    assert report["inherited"] == [{"folder": "SkyDRM", "credentials": ["skydrm-approval-key"]}]
    assert before.double.controller.items == held


def test_going_over_as_the_page_says(before: Desk):
    """The old folder gets another name; what is applied then has no key and no job of before."""
    items = before.double.controller.items
    for path in sorted(items):
        item = items.pop(path)
        item.path = path.replace("SkyDRM", "SkyDRM-old", 1)
        items[item.path] = item
    report = before.ok("jobs", "apply")
    assert report["left"] == report["inherited"] == []
    assert {"SkyDRM/qa/qa", JOB} < set(items)


@pytest.mark.parametrize("words", [LAUNCH, ("promote", "status", "8.1.0/42", "--job")])
def test_a_launch_does_not_take_the_job_of_before_and_says_where_it_is(before: Desk, words: tuple[str, ...]):
    """And not only that there is no such job."""
    done = before.of("bob").run(*words)
    assert done.status == 2
    assert f"the promote job is SkyDRM/promote, expected {JOB}" in done.err
    assert "Where keys lie" in done.err
    assert before.double.posts() == []


def test_jobs_beside_those_of_release_toml_are_named_where_keys_are(stocked: Desk):
    """They can bind these. Among the builds others may have jobs of their own."""
    controller = stocked.double.controller
    foreign = "<flow-definition><description>mine</description><properties/></flow-definition>"
    for path in ("SkyDRM/release/try", "SkyDRM/build/branches", "SkyDRM/notes"):
        controller.create(path, foreign)
    controller.create("SkyDRM/build/candidate-7.9", job(TEMPLATES["candidate"]))
    report = stocked.of("admin").ok("jobs", "apply")
    assert {each["path"]: each["why"] for each in report["left"]} == {
        "SkyDRM/release/try": "is not in release.toml, and can bind the credentials in SkyDRM/release",
        "SkyDRM/build/candidate-7.9": "is no longer in release.toml, "
        "and can bind the credentials in SkyDRM/build",
    }
    assert "note: SkyDRM/release/try is not in release.toml" in stocked.of("admin").run("jobs", "diff").out


def test_who_set_jobs_apart_by_their_names_gets_no_folder_twice(empty_desk: Desk):
    """Jenkins takes names that differ in case for the same."""
    empty_desk.edit("[jenkins]", '[jenkins]\npromote_job = "release/promote"')
    add(empty_desk, '[[jenkins.jobs]]\nkind = "qa"\nname = "QA/sign-off"\n')
    report = empty_desk.ok("jobs", "apply")
    assert [each["path"] for each in report["items"]] == [
        "SkyDRM",
        "SkyDRM/release",
        "SkyDRM/QA",
        JOB,
        "SkyDRM/QA/sign-off",
    ]
    again = empty_desk.ok("jobs", "apply")
    assert not again["changed"]
    assert again["left"] == []
