"""A wait that takes long gets a line, whoever waits."""

from __future__ import annotations

import io
import re
import threading
import time

import pytest

from jenkins_release.base import waits
from jenkins_release.cli import progress
from jenkins_release.cli.progress import PlainProgress, WaitTeller


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "WAIT_SECONDS", 0.3)
    monkeypatch.setattr(progress, "_LOOK_SECONDS", 0.05)


def test_what_since_when_and_until_when():
    said = io.StringIO()
    with WaitTeller(said), waits.Call("ECR to answer GetAuthorizationToken", 60.0):
        time.sleep(1.5)
    assert re.fullmatch(
        r"waiting for ECR to answer GetAuthorizationToken since \d\d:\d\d:\d\d UTC, until \d\d:\d\d:\d\d UTC"
        r" at the latest\n",
        said.getvalue(),
    )


def test_the_token_of_a_url_is_not_told():
    """A health check is asked by its URL, as somebody configured it."""
    said = io.StringIO()
    with WaitTeller(said), waits.Call("http://rms.nextlabs.com/health?token=hunter2 to answer", 60.0):
        time.sleep(1.5)
    assert said.getvalue().startswith("waiting for http://rms.nextlabs.com/health?token=[redacted] to answer")


def test_a_short_wait_is_not_told():
    said = io.StringIO()
    with WaitTeller(said):
        for _ in range(20):
            with waits.Call("ECR", 60.0):
                time.sleep(0.05)
    assert said.getvalue() == ""


def test_a_transfer_does_not_tell_it_a_second_time():
    said = io.StringIO()
    with WaitTeller(said), PlainProgress(said).task("push 2 layers"), waits.Call("the registry", 60.0):
        time.sleep(1.5)
    lines = said.getvalue().splitlines()
    assert [line.partition(" since")[0] for line in lines[:-1]] == ["waiting for the registry"]
    assert lines[-1].startswith("push 2 layers: done")


def test_nor_does_one_that_stood_still_just_before_the_call():
    """At the moment when the call is not yet long but the transfer's standstill is."""
    said = io.StringIO()
    ahead = 0.0
    bars = PlainProgress(said, lambda: time.monotonic() + ahead)
    with bars.task("push 2 layers") as task, waits.Call("the registry", 60.0):
        ahead = progress.WAIT_SECONDS
        task.look()  # type: ignore[attr-defined]
    assert said.getvalue().splitlines()[:-1] == []


def test_a_call_that_began_just_before_a_transfer_stood_still_is_not_told_by_itself():
    """The transfer tells what it waits for, a moment later."""
    said = io.StringIO()
    behind = 0.0
    with waits.Call("the registry", 60.0):
        bars = PlainProgress(said, lambda: time.monotonic() - behind)
        with bars.task("push 2 layers") as task:
            task.waits_for("the registry to take a layer")
            time.sleep(progress.WAIT_SECONDS * 0.6)
            behind = progress.WAIT_SECONDS * 0.4
            with WaitTeller(said):
                time.sleep(1.0)
    told = said.getvalue().splitlines()[:-1]
    assert [line.partition(" since")[0] for line in told] == [
        "push 2 layers: 0 B, waiting for the registry to take a layer"
    ]


def test_another_thread_s_wait_is_told_while_bytes_move():
    said = io.StringIO()
    ended = threading.Event()

    def wait() -> None:
        with waits.Call("the registry", 60.0):
            ended.wait(30)

    thread = threading.Thread(target=wait)
    with WaitTeller(said), PlainProgress(said).task("push 2 layers") as task:
        thread.start()
        for _ in range(30):
            time.sleep(0.05)
            task.advance(1)
        ended.set()
    thread.join()
    assert "waiting for the registry since" in said.getvalue()


def test_a_transfer_that_says_what_it_waits_for_knows_better_than_the_call():
    """The call only adds until when."""
    said = io.StringIO()
    with WaitTeller(said), PlainProgress(said).task("export") as task, waits.Call("the daemon", 60.0):
        task.waits_for("the Docker daemon to prepare 4 images")
        time.sleep(1.5)
    lines = said.getvalue().splitlines()
    assert re.fullmatch(
        r"export: 0 B, waiting for the Docker daemon to prepare 4 images since \d\d:\d\d:\d\d UTC \(\d+ s\)"
        r", until \d\d:\d\d:\d\d UTC at the latest",
        lines[0],
    )
    assert len(lines) == 2
