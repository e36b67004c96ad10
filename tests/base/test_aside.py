"""Calls into C libraries: bounded, and left behind when the process has to stop."""

from __future__ import annotations

import threading
import time

import pytest

from jenkins_release.base import aside as aside_module
from jenkins_release.base.aside import aside
from jenkins_release.base.waits import Stopped, Waits


def test_what_it_returns() -> None:
    """From another thread."""
    assert aside(lambda: threading.current_thread().name, what="a name", limit_s=5.0) == "aside"


def test_what_it_raises() -> None:
    """In the caller's thread."""

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        aside(fail, what="a failure", limit_s=5.0)


def test_what_is_late() -> None:
    """The caller goes on; the call does too, alone."""
    end = threading.Event()
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match=r"the end: not done after 0\.3 s"):
        aside(lambda: end.wait(30), what="the end", limit_s=0.3)
    assert time.monotonic() - begun < 3
    end.set()


def test_a_process_that_has_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for the call."""
    waits, end, told = Waits(), threading.Event(), []
    monkeypatch.setattr(aside_module, "process_waits", lambda: waits)

    def ask() -> None:
        try:
            aside(lambda: end.wait(30), what="the end", limit_s=30.0)
        except Stopped:
            told.append(time.monotonic())

    thread = threading.Thread(target=ask)
    thread.start()
    while not waits.active():
        time.sleep(0.01)
    begun = time.monotonic()
    waits.stop(grace_s=0.5)
    thread.join(10)
    end.set()
    assert told
    assert told[0] - begun < 2
