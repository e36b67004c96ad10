"""The controller's edge: what Jenkins refuses, and what breaks, in our own words."""

from __future__ import annotations

import logging
import socket

import pytest
from pydantic import SecretStr

from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.jenkins import AnswerRefused, Controller, ItemNotFound
from jenkins_release.jenkins.errors import CrumbRefused
from jenkins_release.jenkins.session import CONSOLE_PIECE
from jenkins_release.sandbox.process import free_port
from tests.fixtures.jenkins import JOB, SCRIPT, Desk
from tests.fixtures.jenkins_double import JenkinsDouble

VALUES = {"VERSION": "8.1.0", "BUILD": "42", "REASON": "r", "DRY_RUN": "false", "REQUEST_ID": "x"}


def controller_of(double: JenkinsDouble, name: str, token: str = "", timeout_s: float = 5) -> Controller:
    person = double.controller.people[name]
    return Controller(double.url, name, SecretStr(token or person.token), timeout_s=timeout_s)


@pytest.fixture
def bob(desk: Desk) -> Controller:
    return controller_of(desk.double, "bob")


def started(desk: Desk, controller: Controller) -> None:
    """Start the job, and let it wait for its answer."""
    number = controller.trigger(JOB, VALUES)
    while controller.queue_item(number).build is None:
        pass
    desk.double.controller.items[JOB].builds[1].settle()


def test_a_wrong_token_is_the_callers_mistake(double: JenkinsDouble):
    """401: which variables to look at; the token is not in the message."""
    with pytest.raises(
        ConfigurationError, match=r"does not know this user with this token \(401\)"
    ) as caught:
        controller_of(double, "bob", "11wrong").user()
    assert "JENKINS_RELEASE_JENKINS_TOKEN" in caught.value.hint
    assert "11wrong" not in f"{caught.value!r} {caught.value.diagnostics()}"


def test_a_missing_permission_is_named(desk: Desk):
    """403 with the headers that Jenkins adds."""
    with pytest.raises(ConfigurationError, match=r"the user reader lacks the permission Build on .* \(403\)"):
        controller_of(desk.double, "reader").trigger(JOB, VALUES)


def test_a_job_that_is_hidden_is_not_told_from_one_that_is_missing(desk: Desk):
    """404, as Jenkins answers without Job/Read; the hint names both."""
    with pytest.raises(ItemNotFound) as caught:
        controller_of(desk.double, "stranger").job(JOB)
    assert "Job/Read" in caught.value.hint
    with pytest.raises(ItemNotFound):
        controller_of(desk.double, "bob").job("SkyDRM/other")


def test_a_folder_is_no_job(bob: Controller):
    """It has no parameters and cannot be started."""
    with pytest.raises(RemoteError, match="does not match Jenkins' API"):
        bob.job("SkyDRM")


def test_a_crumb_that_has_expired_is_fetched_anew_by_the_next_attempt(desk: Desk):
    """403 with words about the crumb is retryable; a permission that is missing is not."""
    bob = desk.double.controller.people["bob"]
    controller = controller_of(desk.double, "bob", bob.password)
    controller.trigger(JOB, VALUES)
    desk.double.controller.restart()
    with pytest.raises(CrumbRefused) as caught:
        controller.trigger(JOB, VALUES)
    assert caught.value.retryable
    assert controller.trigger(JOB, VALUES) == 1


def test_a_token_needs_no_session(desk: Desk):
    """It works after a restart without another attempt."""
    controller = controller_of(desk.double, "bob")
    controller.trigger(JOB, VALUES)
    desk.double.controller.restart()
    assert controller.trigger(JOB, VALUES) == 1


@pytest.mark.parametrize(
    ("kind", "retryable", "said"),
    [
        ("drop", True, "no complete answer"),
        ("truncate", True, "no complete answer"),
        ("restarting", True, "is not available (503)"),
        ("broken", True, "failed (500)"),
        ("page", False, "does not match Jenkins' API"),
    ],
)
def test_what_breaks_while_reading(desk: Desk, bob: Controller, kind: str, retryable: bool, said: str):
    """Worth another attempt, except a login page of a proxy."""
    desk.double.fail(kind, "GET /job")
    with pytest.raises(RemoteError) as caught:
        bob.job(JOB)
    assert said in caught.value.message
    assert caught.value.retryable is retryable
    assert "<" not in caught.value.message


def test_a_500_while_changing_something_is_not_repeated(desk: Desk):
    """A definition that Jenkins cannot read does not become better."""
    with pytest.raises(RemoteError) as caught:
        controller_of(desk.double, "admin").create("SkyDRM/bad", "<flow-definition><oops")
    assert not caught.value.retryable


def test_an_answer_that_does_not_come_ends_after_the_timeout():
    """jenkins.timeout_s; and it is worth another attempt."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(RemoteError, match="did not answer in time") as caught:
            Controller(url, "bob", SecretStr("t"), timeout_s=0.2).user()
    assert caught.value.retryable


def test_a_controller_that_does_not_listen_is_named():
    """Host and port; worth another attempt, because a restart looks like this."""
    port = free_port()
    with pytest.raises(RemoteError, match=f"127.0.0.1:{port}") as caught:
        Controller(f"http://127.0.0.1:{port}/", "bob", SecretStr("t"), timeout_s=1).user()
    assert caught.value.retryable


def test_a_controller_below_a_path_is_reached_there(desk: Desk):
    """https://ci.example/jenkins/ is a common form; a missing slash at its end does no harm."""
    person = desk.double.controller.people["bob"]
    controller = Controller(desk.double.url.rstrip("/"), "bob", SecretStr(person.token))
    assert controller.job(JOB).path == JOB


def test_names_of_folders_are_quoted(desk: Desk):
    """Spaces and letters beyond ASCII."""
    admin = controller_of(desk.double, "admin")
    admin.create("Größe 1", "<com.cloudbees.hudson.plugins.folder.Folder/>")
    admin.create("Größe 1/a b", "<flow-definition><properties/></flow-definition>")
    assert admin.job("Größe 1/a b").buildable
    assert "Größe 1/a b" in desk.double.controller.items


def test_a_question_is_refused_with_the_words_of_jenkins(desk: Desk):
    """400 with X-Error: who may answer."""
    mallory = controller_of(desk.double, "mallory")
    started(desk, mallory)
    with pytest.raises(AnswerRefused, match="You need to be release-managers to submit this"):
        mallory.proceed(JOB, 1, "Approve")


def test_an_administrator_may_always_answer(desk: Desk):
    """Jenkins takes it whatever the job says: that is why our gate has rules of its own."""
    admin = controller_of(desk.double, "admin")
    started(desk, admin)
    admin.proceed(JOB, 1, "Approve")
    with pytest.raises(ItemNotFound):
        admin.proceed(JOB, 1, "Approve")


def test_a_long_console_comes_in_bounded_pieces(desk: Desk, bob: Controller):
    """Memory does not grow with the log, and nothing is lost between the pieces."""
    started(desk, bob)
    build = desk.double.controller.items[JOB].builds[1]
    build.log += b"0123456789abcde\n" * 200_000
    pieces, start, more = [], 0, True
    while more and start < len(build.log):
        part = bob.console(JOB, 1, start)
        pieces.append(part.data)
        start, more = part.end, part.more
    assert max(map(len, pieces)) < CONSOLE_PIECE + 128 * 1024
    assert b"".join(pieces) == bytes(build.log)


def test_a_console_that_breaks_off_goes_on_from_there(desk: Desk, bob: Controller):
    """What came is kept; the offset counts bytes, not letters."""
    started(desk, bob)
    build = desk.double.controller.items[JOB].builds[1]
    build.log += "Grüße aus München\n".encode() * 3000
    desk.double.fail("truncate", "progressiveText")
    first = bob.console(JOB, 1, 0)
    assert 0 < len(first.data) < len(build.log)
    assert first.more
    rest = bob.console(JOB, 1, first.end)
    assert first.data + rest.data == bytes(build.log)


def test_no_secret_gets_into_the_log_or_a_representation(desk: Desk, caplog: pytest.LogCaptureFixture):
    """Also with every library talking."""
    caplog.set_level(logging.DEBUG)
    controller = controller_of(desk.double, "bob")
    controller.trigger(JOB, VALUES)
    token = desk.double.controller.people["bob"].token
    assert token not in caplog.text + repr(controller) + repr(desk.services())
    assert all(token not in request.path + request.query + request.body for request in desk.double.requests)


def test_headers_that_python_jenkins_would_log_are_refused(monkeypatch: pytest.MonkeyPatch):
    """It writes JENKINS_API_EXTRA_HEADERS to the log, an Authorization among them."""
    monkeypatch.setenv("JENKINS_API_EXTRA_HEADERS", "Authorization: Bearer s3cret")
    with pytest.raises(ConfigurationError) as caught:
        Controller("http://127.0.0.1:1/", "bob", SecretStr("t"))
    assert "s3cret" not in str(caught.value.diagnostics())


def test_an_unencrypted_connection_elsewhere_is_warned_of(caplog: pytest.LogCaptureFixture):
    """A token that travels openly is everybody's."""
    Controller("http://ci.example/", "bob", SecretStr("t"))
    assert "the token goes to ci.example unencrypted" in caplog.text


def test_the_script_of_the_tests_has_the_parameters_of_the_job(desk: Desk, bob: Controller):
    """Otherwise the double's first run would take some away."""
    assert all(f"'{each.name}'" in SCRIPT for each in bob.job(JOB).parameters or ())
