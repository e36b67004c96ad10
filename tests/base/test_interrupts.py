"""A signal may interrupt the main thread at any moment: no lock stays taken that the clean-up needs."""

from __future__ import annotations

import os
import sys

import pytest

from tests.fixtures.process import started

PROGRAM = '''
import contextlib, itertools, logging, os, queue, signal, sys, threading, time, traceback
from concurrent.futures import _base, thread
from jenkins_release.base import signals
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.parallel import map_parallel
from jenkins_release.base.stream import fan_out, read_ahead
from jenkins_release.images.gzip_archive import GzipArchive

signals.END_S = 20.0
LOCKING = {module.__file__ for module in (queue, threading, _base, thread, logging)}

def interrupted(action, at):
    """Return whether it was interrupted, at one of the moments at which a signal's handler may run."""
    signals.interrupt_commands()
    seen = 0
    def trace(frame, event, _):
        nonlocal seen
        # The interpreter looks for signals where a function begins, and where a call has come back; between
        # a block and what leaves it there is a line, and it does not.
        frame.f_trace_lines = False
        if event in {"call", "return"} and frame.f_code.co_filename in LOCKING:
            seen += 1
            if seen == at:
                signal.raise_signal(signal.SIGINT)
        return trace
    sys.settrace(trace)
    try:
        action()
        sys.settrace(None)
        if seen >= at:
            time.sleep(10)  # it was put off
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False

def stream():
    fan_out([b"x"] * 6, [lambda _: None, lambda _: None])

def ahead():
    with read_ahead(iter([b"x"] * 3), 1) as found:
        list(found)

def parallel():
    map_parallel(lambda _: time.sleep(0.001), range(3), workers=2)

def archive():
    with contextlib.suppress(IntegrityError):
        for _ in GzipArchive("linux/amd64").convert(iter([bytes(1024)])):
            pass

logger = logging.getLogger("x")

def log():
    def warn():
        logger.warning("x")
    thread = threading.Thread(target=warn)
    try:
        warn()
    finally:
        thread.start()
        thread.join()

logging.basicConfig(stream=open("/dev/null", "w"))
for at in itertools.count(1):
    print(at, flush=True)
    if (child := os.fork()) == 0:
        try:
            os._exit(interrupted({action}, at))
        except BaseException:
            traceback.print_exc()
            os._exit(3)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 1:
        break
print("done" if status == 0 else f"ended with {status}", flush=True)
'''


@pytest.mark.parametrize("action", ["stream", "ahead", "parallel", "archive", "log"])
def test_an_interrupt_at_any_moment_leaves_no_lock_taken(action: str):
    """Threads that are waited for in the clean-up would wait for it."""
    process = started([sys.executable, "-c", PROGRAM.replace("{action}", action)], os.environ)
    out, err = process.communicate(timeout=250)
    assert out.endswith("done\n"), (out[-20:], err)
    assert err == ""
