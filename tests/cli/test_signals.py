"""Ctrl-C, and SIGTERM as Jenkins sends it: one line, the result, the status that shells know."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest

from jenkins_release.base.errors import ReleaseError
from jenkins_release.cli import entry
from jenkins_release.cli.entry import main
from jenkins_release.cli.main import LazyGroup
from jenkins_release.cli.runtime import Runtime
from tests.fixtures.configuration import release_toml
from tests.fixtures.process import says, signalled, started
from tests.fixtures.share import in_own_mounts
from tests.fixtures.silence import silent_server

SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


@pytest.mark.parametrize(
    ("words", "number", "status", "word"),
    [(("candidate", "list"), *SIGNALS[0]), (("candidate", "verify", "8.1.0/42"), *SIGNALS[1])],
    ids=["candidate list", "candidate verify"],
)
def test_a_command_that_waits_ends_with_one_line_and_its_result(
    tmp_path: Path, words: tuple[str, ...], number: signal.Signals, status: int, word: str, warm_python: str
):
    """The share does not answer."""
    config, result = tmp_path / "release.toml", tmp_path / "result.json"
    environ = {
        **os.environ,
        "JENKINS_RELEASE_SHARE_ENCRYPT": "false",
        "JENKINS_RELEASE_SHARE_TIMEOUT_S": "60",
        "JENKINS_RELEASE_SMB_USER": "u",
        "JENKINS_RELEASE_SMB_PASSWORD": "hunter2hunter2",
        "HOME": str(tmp_path),
    }
    result.write_text('{"of": "an earlier run"}')
    command = [warm_python, "-m", "jenkins_release", *words, "--config", str(config)]
    with silent_server() as (port, connected):
        config.write_text(release_toml(f"smb://127.0.0.1:{port}/rc"))
        process = started([*command, "--result", str(result), "--json"], environ)

        def ready() -> bool:
            assert not (connected.is_set() and result.exists())
            return connected.is_set()

        ended = signalled(process, number, ready)
    assert ended.status == status, ended.err
    # What it waits for is told where the machine is slow.
    assert [line for line in ended.err.split("\n") if not line.startswith("waiting for ")] == [word, ""]
    assert json.loads(ended.out) == json.loads(result.read_text())
    assert json.loads(ended.out)["error"]["category"] == "interrupted"


def test_on_a_terminal_the_word_takes_the_place_of_what_the_terminal_wrote(tmp_path: Path):
    """It writes ``^C`` for the key, into a line that nobody has ended."""
    config = tmp_path / "release.toml"
    ours, its = pty.openpty()
    login = {"JENKINS_RELEASE_SMB_USER": "u", "JENKINS_RELEASE_SMB_PASSWORD": "hunter2hunter2"}
    with silent_server() as (port, connected):
        config.write_text(release_toml(f"smb://127.0.0.1:{port}/rc"))
        command = [sys.executable, "-m", "jenkins_release", "candidate", "list", "--config", str(config)]
        process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            env={**os.environ, **login, "HOME": str(tmp_path)},
            stdin=its,
            stdout=its,
            stderr=its,
        )
        os.close(its)
        guard = threading.Timer(60, process.kill)
        guard.start()
        assert connected.wait(60)
        os.write(ours, b"\x03")
        said = b""
        # A terminal that nobody has open any more is an error.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 4096):
                said += piece
    os.close(ours)
    assert process.wait() == 130
    guard.cancel()
    lines = [line for line in said.split(b"\r\n") if not line.startswith(b"waiting for ")]
    assert lines == [b"^C\r\x1b[Kinterrupted", b""]


def test_the_end_of_a_file_is_no_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """For click it is one: a defect would look as if somebody had pressed Ctrl-C."""

    def read() -> None:
        raise EOFError

    monkeypatch.setattr(entry, "cli", LazyGroup(callback=read, invoke_without_command=True))
    assert main([]) == 70
    # The log may be on stderr: a command before may have begun it.
    assert "interrupted" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "hangs", "number", "status", "word"),
    [
        ("click", False, *SIGNALS[0]),
        ("click", True, *SIGNALS[1]),
        ("jenkins_release.cli.main", True, *SIGNALS[0]),
        ("jenkins_release.cli.main", False, *SIGNALS[1]),
        ("jenkins_release.cli.runtime", False, *SIGNALS[0]),
        ("jenkins_release.cli.runtime", True, *SIGNALS[1]),
        ("jenkins_release.base.retry", True, *SIGNALS[0]),
        ("jenkins_release.base.retry", False, *SIGNALS[1]),
    ],
)
def test_while_it_is_loaded_it_ends_without_a_traceback(
    tmp_path: Path, number: signal.Signals, status: int, word: str, module: str, hangs: bool
):
    """An import that takes long, as from a network drive, and does not end by the signal."""
    hook = f"""
import importlib.abc, sys, time
class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            print("loading", flush=True)
            try:
                time.sleep(60)
            finally:
                time.sleep(60 * {hangs})
sys.meta_path.insert(0, Slow())
from jenkins_release.program import run
run()
"""
    process = started([sys.executable, "-c", hook, "candidate", "list"], os.environ)
    ended = signalled(process, number, lambda: says(process, "loading"))
    assert (ended.status, ended.err) == (status, f"{word}\n")


def test_a_signal_that_is_ignored_stays_ignored():
    """`nohup`, or a shell that started it in the background."""
    code = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from jenkins_release.base.signals import end_at_once, interrupt_commands
end_at_once(); interrupt_commands()
print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)
"""
    out, _ = started([sys.executable, "-c", code], os.environ).communicate(timeout=60)
    assert out == "True\n"


def test_the_function_installs_nothing(capsys: pytest.CaptureFixture[str]):
    """Who calls it has signals of their own."""
    before = [signal.getsignal(number) for number, _, _ in SIGNALS]
    assert main(["--version"]) == 0
    assert [signal.getsignal(number) for number, _, _ in SIGNALS] == before


@pytest.mark.parametrize("stuck", ["threading.Event().wait()", "while True: pass", "with lock: pass"])
def test_a_main_thread_that_does_not_end_is_ended(warm_python: str, tmp_path: Path, stuck: str):
    """Clean-up hangs, or a library swallows the interrupt: line and result come all the same."""
    result = tmp_path / "result.json"
    code = f"""
import sys, threading
from jenkins_release.cli import entry
from jenkins_release.config import redaction  # a command has read its configuration by then
from jenkins_release.base.signals import interrupt_commands
import click
lock = threading.Lock()
@click.command()
@click.argument("word")
@click.pass_obj
def stuck(runtime, word):
    from pathlib import Path
    runtime.result_file = Path({str(result)!r})
    try:
        print("ready", flush=True)
        threading.Event().wait()
    finally:
        lock.acquire()
        {stuck}
entry.cli = stuck
interrupt_commands()
sys.exit(entry.main(["x"]))
"""
    process = started([warm_python, "-c", code], os.environ)
    ended = signalled(process, signal.SIGTERM, lambda: says(process, "ready"))
    assert (ended.status, ended.err) == (143, "terminated\n")
    assert json.loads(result.read_text())["error"]["category"] == "interrupted"


@pytest.mark.parametrize("signals", [1, 2])
def test_a_wait_that_does_not_let_itself_be_ended_keeps_nothing(warm_python: str, signals: int):
    """Whatever holds up who ends the waits: neither the limit nor the second signal depends on it."""
    code = f"""
import threading, time
from jenkins_release.base import signals
from jenkins_release.base.waits import Wait, process_waits
if {signals} == 2:
    signals.END_S = 60.0
class Stuck(Wait):
    def stop(self):
        print("ending", flush=True)
        time.sleep(60)
signals.interrupt_commands()
now = time.monotonic()
process_waits().begin(Stuck("x", now, now + 60, threading.get_ident()))
try:
    print("ready", flush=True)
    threading.Event().wait()
finally:
    time.sleep(60)
"""
    process = started([warm_python, "-c", code], os.environ)

    def ready() -> bool:
        assert says(process, "ready")
        if signals == 2:
            process.send_signal(signal.SIGINT)
            assert says(process, "ending")
        return True

    ended = signalled(process, signal.SIGINT, ready, within_s=30.0)
    assert (ended.status, ended.err) == (130, "interrupted\n")


def test_a_second_signal_ends_at_once(tmp_path: Path, warm_python: str):
    code = """
import sys, threading, time
from jenkins_release.base import signals
signals.END_S = 60.0
signals.interrupt_commands()
try:
    print("ready", flush=True)
    threading.Event().wait()
finally:
    print("cleaning", flush=True)
    time.sleep(60)
"""
    process = started([warm_python, "-c", code], os.environ)

    def ready() -> bool:
        assert says(process, "ready")
        process.send_signal(signal.SIGINT)
        return says(process, "cleaning")

    assert signalled(process, signal.SIGINT, ready).status == 130


def test_the_word_is_said_once(warm_python: str):
    """The main thread comes back from a library while another one says it already."""
    code = """
import hashlib, sys, time
from jenkins_release.base import signals
signals.END_S, signals._LAST_S = 0.01, 30.0
def speak(number):
    print("word", file=sys.stderr, flush=True)
    time.sleep(3)
signals.interrupt_commands()
signals.last_words(speak)
try:
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 3_000_000)
except KeyboardInterrupt:
    with signals.speaking() as first:
        if first:
            speak(2)
    sys.exit(130)
"""
    process = started([warm_python, "-c", code], os.environ)
    ended = signalled(process, signal.SIGINT, lambda: says(process, "ready"))
    assert (ended.status, ended.err) == (130, "word\n")


@pytest.mark.parametrize("signals", [1, 2])
def test_what_ended_before_the_signal_keeps_its_status_and_result(
    warm_python: str, tmp_path: Path, signals: int
):
    """The server of a connection that is being closed does not answer."""
    result = tmp_path / "result.json"
    code = f"""
import sys, threading
from pathlib import Path
from jenkins_release.cli import entry
from jenkins_release.base.signals import interrupt_commands
import click
class Services:
    notified, changed = [], False
    def close(self):
        try:
            print("closing", flush=True)
            threading.Event().wait()
        finally:
            print("still", flush=True)
            threading.Event().wait()
@click.command()
@click.argument("word")
@click.pass_obj
def done(runtime, word):
    runtime.result_file = Path({str(result)!r})
    runtime.__dict__["services"] = Services()
    runtime.succeed({{"done": True}}, "done")
entry.cli = done
interrupt_commands()
sys.exit(entry.main(["x"]))
"""
    process = started([warm_python, "-c", code], os.environ)

    def ready() -> bool:
        assert says(process, "done")
        assert says(process, "closing")
        if signals == 2:
            process.send_signal(signal.SIGINT)
            assert says(process, "still")
        return True

    ended = signalled(process, signal.SIGINT, ready)
    assert (ended.status, ended.err) == (0, "")
    assert json.loads(result.read_text()) == {"done": True}


def test_what_cannot_be_closed_changes_no_status(monkeypatch: pytest.MonkeyPatch):
    class Services:
        changed = False

        def close(self) -> None:
            raise OSError("gone")

    @click.command()
    @click.pass_obj
    @click.argument("word")
    def done(runtime: Runtime, word: str) -> int:
        runtime.__dict__["services"] = Services()
        return 3 if word == "x" else 0

    monkeypatch.setattr(entry, "cli", done)
    assert main(["x"]) == 3


def test_a_signal_while_the_failure_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """No traceback: the result says that it was interrupted."""
    written = Runtime.result_only

    def interrupted(runtime: Runtime, error: ReleaseError) -> None:
        monkeypatch.setattr(Runtime, "result_only", written)
        raise KeyboardInterrupt

    @click.command()
    @click.pass_obj
    @click.argument("word")
    def failing(runtime: Runtime, word: str) -> None:
        runtime.result_file = tmp_path / word
        raise ReleaseError("no")

    monkeypatch.setattr(entry, "cli", failing)
    monkeypatch.setattr(Runtime, "result_only", interrupted)
    assert main(["result"]) == 130
    assert json.loads((tmp_path / "result").read_text())["error"]["category"] == "interrupted"


@pytest.mark.root
@pytest.mark.parametrize("where", ["main thread", "other threads"])
def test_a_name_that_no_name_server_answers_does_not_hold_up_the_end(tmp_path: Path, where: str):
    """The C library waits for the name server, and nothing but the end of the process ends that."""
    config = tmp_path / "resolv.conf"
    code = """
import os, socket, sys
from jenkins_release.base import signals, waits
from jenkins_release.base.parallel import map_parallel
signals.interrupt_commands()
def look(_):
    with waits.Call("the registry to answer", 60.0):
        os.write(1, b"looking\\n")
        socket.getaddrinfo("registry.example", 443)
map_parallel(look, range(int(sys.argv[1])))
"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.53.53.53", 53))
        config.write_text("nameserver 127.53.53.53\noptions timeout:30 attempts:5\n")
        own = in_own_mounts("mount --bind {} /etc/resolv.conf", str(config))
        count = "1" if where == "main thread" else "3"
        process = started([*own, sys.executable, "-c", code, count], os.environ)

        def asked() -> bool:
            return says(process, "looking") and bool(silent.recv(512))

        ended = signalled(process, signal.SIGINT, asked)
    assert ended.status == 130, ended.err
    assert ended.err.endswith("interrupted\n")
    assert ended.took_s < 5.0
