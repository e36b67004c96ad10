"""What holds on a real controller and on the double alike.

``make test`` runs these against the double, ``make test-jenkins`` against the controller that
``JENKINS_URL``, ``JENKINS_USER`` and ``JENKINS_TOKEN`` name: in a folder of their own, which is removed
at the end.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import jenkins as python_jenkins
import pytest
import requests
from pydantic import SecretStr

from jenkins_release.base.errors import ConfigurationError, GateRefused, RemoteError
from jenkins_release.config import load_configuration
from jenkins_release.jenkins import Controller, ItemNotFound
from jenkins_release.jenkins.job_xml import FOLDER, PIPELINE, Item, new_config
from jenkins_release.jenkins.templates import PROMOTE
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.jenkins.jobs import JobsRequest, apply_jobs, diff_jobs
from jenkins_release.steps.jenkins.launch import LaunchReport, LaunchRequest, launch
from jenkins_release.steps.jenkins.status import JobStatusRequest, job_status
from tests.docs.pages import ROOT
from tests.fixtures.jenkins import TOML, Desk
from tests.jenkins.test_launch import Diary

REAL = "JENKINS_RELEASE_TEST_CONTROLLER"
REF = CandidateRef("8.1.0", "42")
APPROVAL = """\
echo "planning ${params.VERSION}/${params.BUILD}"
input(id: 'Approve', message: "Promote ${params.VERSION}/${params.BUILD}?")
echo 'promoted'
"""


@dataclass
class Site:
    """A controller, and a folder of our own on it."""

    url: str
    user: str
    token: str = field(repr=False)
    folder: str
    config: Path
    wait: Callable[[float], None]

    @property
    def controller(self) -> Controller:
        return Controller(self.url, self.user, SecretStr(self.token))

    def services(self, sleep: Callable[[float], None] | None = None, **changes: str) -> Services:
        environ = {
            "JENKINS_RELEASE_JENKINS_URL": self.url,
            "JENKINS_RELEASE_JENKINS_USER": self.user,
            "JENKINS_RELEASE_JENKINS_TOKEN": self.token,
            **changes,
        }
        configuration = load_configuration(self.config, environ=environ)
        return Services(configuration, environ=environ, sleep=sleep or self.wait)

    def job(self, script: str) -> None:
        """Make the promote job, with a script of its own in it."""
        config = new_config(Item(PIPELINE, "", PROMOTE.parameters))
        definition = (
            '<definition class="org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition" plugin="workflow-cps">'
            f"<script>{escape(script)}</script><sandbox>true</sandbox></definition></flow-definition>"
        )
        self.controller.create(
            f"{self.folder}/release/promote", config.replace("</flow-definition>", definition)
        )

    def post(self, path: str) -> None:
        """Do something that our own client does not."""
        server = python_jenkins.Jenkins(self.url, self.user, self.token, timeout=30)
        server.jenkins_request(requests.Request("POST", f"{self.url}{path}"))

    def launch(
        self, sleep: Callable[[float], None] | None = None, **request: Any
    ) -> tuple[LaunchReport, Diary]:
        diary = Diary()
        report = launch(LaunchRequest(REF, "customers wait", **request), self.services(sleep), diary)
        return report, diary

    @property
    def full_name(self) -> str:
        """Of the user of the token: what Jenkins writes into consoles, where our reports have the id."""
        server = python_jenkins.Jenkins(self.url, self.user, self.token, timeout=30)
        return str(server.get_whoami()["fullName"])

    @property
    def job_path(self) -> str:
        return f"job/{self.folder}/job/release/job/promote"


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """The double, or the real controller where the script asks for it."""
    folder = f"jenkins-release-test-{secrets.token_hex(4)}"
    config = tmp_path / "scenario.toml"
    config.write_text(
        TOML.replace("[policy]", "[policy]\nseparate = []")
        .replace('approvers = ["group:release-managers", "dana"]\n', "")
        .replace("[jenkins]", f'[jenkins]\nfolder = "{folder}"')
        .replace("poll_s = 0.1", "poll_s = 0.5")
    )
    if os.environ.get(REAL):
        names = ("JENKINS_URL", "JENKINS_USER", "JENKINS_TOKEN")
        url, user, token = (os.environ[name] for name in names)
        found = Site(url if url.endswith("/") else f"{url}/", user, token, folder, config, time.sleep)
    else:
        desk: Desk = request.getfixturevalue("empty_desk")
        found = Site(desk.double.url, desk.person.name, desk.person.token, folder, config, lambda _: None)
    for path in (folder, f"{folder}/release"):
        found.controller.create(path, new_config(Item(FOLDER, "made by the tests of jenkins-release")))
    yield found
    found.post(f"job/{folder}/doDelete")


def test_without_the_variables_the_script_says_so_and_fails():
    """It is never skipped without a word."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("JENKINS_")}
    script = str(ROOT / "scripts" / "test-jenkins")
    done = subprocess.run(
        [script], env=environ | {"JENKINS_USER": "me"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "not set: JENKINS_URL JENKINS_TOKEN" in done.stderr


def test_a_build_is_launched_approved_and_followed(site: Site):
    """Queue, console, question, answer, result."""
    site.job(APPROVAL)
    report, diary = site.launch(approve=True)
    assert report.failure is None
    assert report.run.build is not None
    assert report.run.build.result == "SUCCESS"
    assert report.run.build.parameters["REQUEST_ID"] == report.run.request_id
    assert report.run.approved_by == site.controller.user()
    assert "planning 8.1.0/42" in diary.lines
    assert diary.lines[-1] == "Finished: SUCCESS"
    assert f"Approved by {site.full_name}" in diary.lines
    assert not [line for line in diary.lines if "\x1b" in line]


def test_the_same_request_is_not_started_twice(site: Site):
    """The second one follows the first."""
    site.job("echo 'once'\n")
    first, _ = site.launch(request_id="req-1")
    second, _ = site.launch(request_id="req-1")
    assert (first.attached, second.attached) == (False, True)
    assert [build.number for build in site.controller.builds(f"{site.folder}/release/promote")] == [1]


def test_a_duplicate_trigger_is_the_same_queue_item(site: Site):
    """303 in the quiet period."""
    site.job("echo 'x'\n")
    values = {"VERSION": "1", "BUILD": "1", "REASON": "r", "DRY_RUN": "false", "REQUEST_ID": "x"}
    path = f"{site.folder}/release/promote"
    assert site.controller.trigger(path, values) == site.controller.trigger(path, values)


def test_a_failure_has_the_category_that_the_step_named(site: Site):
    """In the console of the build."""
    site.job("error 'refused: not yet'\n")
    report, _ = site.launch()
    assert isinstance(report.failure, GateRefused)
    assert "refused" not in report.failure.message.partition(": ")[2]


def test_a_rejected_question_is_a_refusal(site: Site):
    """Whoever pressed abort is named."""
    site.job(APPROVAL)
    done = []

    def sleep(seconds: float) -> None:
        if not done and (builds := site.controller.builds(f"{site.folder}/release/promote")):
            for question in site.controller.pending_inputs(
                f"{site.folder}/release/promote", builds[0].number
            ):
                site.post(f"{site.job_path}/1/input/{question.ident}/abort")
                done.append(question)
        site.wait(seconds)

    report, _ = site.launch(sleep)
    assert isinstance(report.failure, GateRefused)
    assert "rejected it" in report.failure.message


def test_an_item_cancelled_in_the_queue_ends_following(site: Site):
    """No build was made."""
    site.job("echo 'x'\n")

    def sleep(seconds: float) -> None:
        for item in site.controller.queued(f"{site.folder}/release/promote"):
            site.post(f"queue/cancelItem?id={item.number}")
        site.wait(seconds)

    report, _ = site.launch(sleep)
    assert report.run.state == "cancelled"
    assert isinstance(report.failure, RemoteError)


def test_a_detached_build_is_picked_up_again(site: Site):
    """By candidate alone."""
    site.job("echo 'x'\n")
    detached, _ = site.launch(detach=True)
    diary = Diary()
    status = job_status(JobStatusRequest(REF, follow=True), site.services(), diary)
    assert status.failure is None
    assert status.run.request_id == detached.run.request_id
    assert diary.lines[-1] == "Finished: SUCCESS"


def test_parameters_that_the_job_lacks_are_refused_before_it_is_started(site: Site):
    """Nothing is in the queue, nothing was built."""
    site.job("echo 'x'\n")
    with pytest.raises(ConfigurationError) as caught:
        site.launch(parameters={"CHANNEL": "beta"})
    assert caught.value.reasons
    assert site.controller.builds(f"{site.folder}/release/promote") == []
    assert site.controller.queued(f"{site.folder}/release/promote") == []


def test_a_job_that_is_not_there_and_a_wrong_token_are_told_apart(site: Site):
    """404 and 401."""
    with pytest.raises(ItemNotFound):
        site.launch()
    with pytest.raises(ConfigurationError, match="401"):
        launch(LaunchRequest(REF, "r"), site.services(JENKINS_RELEASE_JENKINS_TOKEN="11" + "0" * 32))


def test_jobs_are_applied_compared_and_adopted(site: Site):
    """What Jenkins stores is what we read back, of every kind of job: no difference after applying."""
    kinds = ("candidate", "qa", "customer-access")
    rows = "".join(f'[[jenkins.jobs]]\nkind = "{kind}"\n' for kind in kinds)
    site.config.write_text(site.config.read_text() + rows)
    applied = apply_jobs(JobsRequest(), site.services())
    assert [item.action for item in applied.items] == ["keep", "keep", *["create"] * 7]
    assert not diff_jobs(site.services()).changed
    path = f"{site.folder}/release/promote"
    ours = site.controller.config(path)
    site.controller.update(path, ours.replace("managed by jenkins-release", "managed by hand"))
    with pytest.raises(ConfigurationError, match="does not manage"):
        apply_jobs(JobsRequest(), site.services())
    assert apply_jobs(JobsRequest(adopt=True), site.services()).applied
    assert not diff_jobs(site.services()).changed
    assert [each.name for each in site.controller.job(path).parameters or ()] == [
        each.name for each in PROMOTE.parameters
    ]
