"""What the doctor says about the Jenkins controller."""

from __future__ import annotations

import pytest

from jenkins_release.sandbox.process import LOOPBACK, free_port
from tests.doctor.machine import told
from tests.fixtures.jenkins import JOB, Desk
from tests.fixtures.raw_server import RawServer, answer

pytestmark = pytest.mark.usefixtures("no_aws")


def test_a_controller_with_the_promote_job(desk: Desk):
    """Version, user, job and clock are told."""
    found = told(desk, "--for", "approve")
    found.ended("jenkins: controller", "ok", "Jenkins 2.", desk.double.url)
    found.ended("jenkins: login", "ok", "bob, by token")
    found.ended("jenkins: promote job", "ok", JOB)


def test_no_promote_job_yet(empty_desk: Desk):
    """That is a step to come."""
    found = told(empty_desk, "--for", "approve")
    found.ended("jenkins: promote job", "warning", f"there is no job {JOB}", "jobs apply")


def test_a_wrong_token(desk: Desk):
    """Jenkins answers 401; the job is not looked for."""
    found = told(desk, "--for", "approve", JENKINS_RELEASE_JENKINS_TOKEN="11wrong-token-4711")
    found.ended("jenkins: controller", "ok")
    found.ended("jenkins: login", "fail", "401")
    found.ended("jenkins: promote job", "skipped", "not checked: needs jenkins: login")
    assert "11wrong-token-4711" not in str(found.result)


def test_a_token_without_a_user(desk: Desk):
    """Half a login is a mistake, none is not."""
    name = "JENKINS_RELEASE_JENKINS_USER"
    found = told(desk, "--for", "approve", **{name: ""})
    found.ended("jenkins: login", "fail", f"{name} is not set")
    found = told(desk, "--for", "approve", **{name: "", "JENKINS_RELEASE_JENKINS_TOKEN": ""})
    found.ended("jenkins: login", "skipped", f"not configured: {name}")


def test_jenkins_that_is_down(desk: Desk):
    """Nothing else is tried."""
    url = f"http://{LOOPBACK}:{free_port()}/"
    found = told(desk, "--for", "approve", JENKINS_RELEASE_JENKINS_URL=url)
    found.ended("jenkins: controller", "fail", "no answer from", url)
    for name in ("jenkins: clock", "jenkins: login", "jenkins: promote job"):
        found.ended(name, "skipped", "not checked: needs jenkins: controller")


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [(200, {}, "not as Jenkins does"), (503, {"X_Jenkins": "2.516"}, "answers with status 503")],
)
def test_what_is_no_controller(desk: Desk, status: int, headers: dict[str, str], said: str):
    """The login page of a proxy, and a controller that is starting."""
    with RawServer(lambda _: answer(status, b"hello", **headers)) as server:
        found = told(desk, "--for", "approve", JENKINS_RELEASE_JENKINS_URL=f"{server.url}/")
    found.ended("jenkins: controller", "fail", said)


def test_a_clock_that_is_off(desk: Desk):
    """Jenkins says the time with each answer."""
    date = "Mon, 01 Jan 2001 00:00:00 GMT"
    with RawServer(lambda _: answer(403, X_Jenkins="2.516", Date=date)) as server:
        found = told(desk, "--for", "approve", JENKINS_RELEASE_JENKINS_URL=f"{server.url}/")
    found.ended("jenkins: controller", "ok")
    found.ended("jenkins: clock", "fail", "ahead of Jenkins")


def test_no_jenkins(desk: Desk):
    """What is not configured is said, and is no failure."""
    found = told(desk, "--for", "approve", JENKINS_RELEASE_JENKINS_URL="")
    found.ended("jenkins", "skipped", "not configured: jenkins.url")
