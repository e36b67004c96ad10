"""Plays a cell of the matrix: a command under a fault, watched from outside, and its next run without it."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.docs.pages import ROOT
from tests.faults.catalogue import BY_DAEMON, FAULTS, HTTP_ALL, SMB_ALL, Came, Fault, line_of
from tests.faults.commands import COMMANDS, Command, Play
from tests.faults.stage import Stage

DOCUMENTED = frozenset({0, 2, 3, 4, 5, 6, 130, 143})
"""Exit statuses that README and ``--help`` promise."""
OUTER_S = 75.0
"""A command that runs longer is killed, and its cell fails: its limits add up to a third of this."""
END_S = 4.0
"""Longest time from a signal to the end: 2 s are promised, the rest is for a busy machine."""
MEMORY_MIB = 400
"""Most memory of a command, whatever a server sends."""
COMES_S = 40.0
"""Longest time until a fault that holds has begun."""
SIGNALS = {"SIGINT": (130, "interrupted"), "SIGTERM": (143, "terminated")}
_INTERRUPTED = frozenset(
    {*SMB_ALL, *BY_DAEMON, *HTTP_ALL, "promote run (docker)", "saas refresh", "release withdraw"}
)
"""Commands that signals are sent to: of the others' ways of waiting these have all."""
_BETWEEN_LOOKS_S = 0.2
_NEXT_S = 20.0
"""How long the next run is repeated while the server still keeps what the first one had open."""


@dataclass
class Result:
    """What happened in a cell.

    Attributes:
        fault: The fault.
        command: The command.
        signal: The signal that was sent while the fault held; empty for none.
        status: The exit status; None for a command that had to be killed.
        seconds: Time to the end; with a signal, from the signal to the end.
        visible: What was visible after the run.
        told: The last lines of stderr.
        next: Status of the next run without the fault; None where there was none.
        memory_mib: Most memory of the command.
        problems: What must not be: empty for a cell that holds.
    """

    fault: str
    command: str
    signal: str = ""
    status: int | None = None
    seconds: float = 0.0
    visible: str = ""
    told: list[str] = field(default_factory=list)
    next: int | None = None
    memory_mib: int = 0
    problems: list[str] = field(default_factory=list)


class Watcher:
    """A thread that looks at what customers see, until it is left.

    Args:
        play: What it looks at.
    """

    def __init__(self, play: Play) -> None:
        self._play = play
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._looks = 0
        self._wrong: list[str] = []

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)

    def _watch(self) -> None:
        from botocore.exceptions import BotoCoreError

        took = 0.0
        # A look costs the machine something too: most of the time is the command's.
        while not self._ended.wait(max(_BETWEEN_LOOKS_S, 3 * took)):
            begun = time.monotonic()
            try:
                found = self._play.look()
            except BotoCoreError:
                continue  # the server restarts
            except Exception as error:  # noqa: BLE001 - an observer that has gone would see nothing wrong
                found = [f"the observer cannot look: {type(error).__name__}: {error}"]
            finally:
                took = time.monotonic() - begun
            self._looks += 1
            self._wrong += [each for each in found if each not in self._wrong]

    def problems(self) -> list[str]:
        """Return what was seen and must not be; one that saw nothing at all is a problem too."""
        return self._wrong if self._looks else ["the observer never looked"]


def cells() -> Iterator[tuple[Fault, Command]]:
    """Return every cell of the matrix."""
    for fault in FAULTS.values():
        for name in fault.commands:
            yield fault, COMMANDS[name]


def held(*, first: bool = False) -> Iterator[tuple[Fault, Command]]:
    """Return the cells in which a signal arrives while the fault holds.

    Args:
        first: Only one command for each fault.
    """
    for fault in FAULTS.values():
        if fault.holds:
            commands = [name for name in fault.commands if name in _INTERRUPTED]
            yield from ((fault, COMMANDS[name]) for name in commands[: 1 if first else None])


def play(stage: Stage, fault: Fault, command: Command, *, number: str = "", twice: bool = False) -> Result:
    """Play a cell.

    Args:
        stage: The servers.
        fault: The fault.
        command: The command.
        number: Name of a signal that is sent once the fault holds; empty for none.
        twice: Send it twice: the second one ends the command at once.
    """
    result = Result(fault.ident, command.name, f"{number} twice" if twice else number)
    stage.heal()
    run = Play(stage, command)
    try:
        run.prepare()
        stage.forget()
        _with_fault(run, fault, result, number, twice=twice)
        stage.heal()
        for lifted in run.lifted:
            lifted()
        result.visible = run.visible()
        result.problems += run.look()
        _without_fault(run, result)
    finally:
        stage.heal()
        run.close()
    return result


def _with_fault(run: Play, fault: Fault, result: Result, number: str, *, twice: bool) -> None:
    came = fault.begin(run, line_of(fault, run.command.lines))
    report, err = run.folder / "result.json", run.folder / "stderr"
    words = [sys.executable, "-m", "jenkins_release", *run.words(), "--result", str(report)]
    begun = time.monotonic()
    with Watcher(run) as watcher, err.open("wb") as told, (run.folder / "stdout").open("wb") as out:
        process = subprocess.Popen(words, env=run.environ(), cwd=ROOT, stdout=out, stderr=told)
        ended = Ended(process)
        try:
            if number:
                begun = _interrupt(process, ended, came, result, number, twice=twice)
            result.status = ended.wait(begun + OUTER_S)
            result.seconds = round(time.monotonic() - begun, 1)
        finally:
            ended.kill()
    text = err.read_text(errors="replace")
    result.told = [line for line in text.splitlines() if line.strip()][-4:]
    result.memory_mib = ended.memory_mib
    result.problems += watcher.problems()
    if not came() or (fault.told_as and not number and not re.search(fault.told_as, text)):
        result.problems.append("the fault never happened: the cell tests nothing")
    _judge(result, fault, text, report)


def _judge(result: Result, fault: Fault, text: str, report: Path) -> None:
    wrong = result.problems
    if result.status is None:
        wrong.append(f"still running after {OUTER_S:.0f} s")
    elif result.status not in DOCUMENTED:
        wrong.append(f"status {result.status} is not documented")
    if "Traceback" in text:
        wrong.append("a traceback")
        result.told = text[text.index("Traceback") :].splitlines()
    if result.memory_mib > MEMORY_MIB:
        wrong.append(f"{result.memory_mib} MiB of memory")
    if result.signal:
        name = result.signal.split()[0]
        status, word = SIGNALS[name]
        if result.status is not None and result.status != status:
            wrong.append(f"status {result.status} after {name}, expected {status}")
        if result.seconds > END_S:
            wrong.append(f"ended {result.seconds} s after {name}")
        if not result.told or result.told[-1] != word:
            wrong.append(f"the last line is not {word!r}")
        if "twice" not in result.signal and not report.exists():
            wrong.append("no --result file")
    elif fault.passes and result.status != 0:
        wrong.append(f"status {result.status}: the fault ends before the limits do")
    if fault.lies and result.status == 0:
        wrong.append("it believed what is not so")
    if result.status is not None and report.exists():
        document = json.loads(report.read_text())
        if ("error" in document) != (result.status != 0):
            wrong.append(f"status {result.status}, and the --result file says {str(document)[:200]}")
    elif result.status is not None and not result.signal:
        wrong.append("no --result file")


class Ended:
    """Waits for a process, and knows how much memory it took."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.status: int | None = None
        self.memory_mib = 0

    def wait(self, until: float) -> int | None:
        """Return the exit status, or None where it still runs at a moment of ``time.monotonic``."""
        while self.status is None:
            self.memory_mib = max(self.memory_mib, self._peak_mib())
            code = self._process.poll()
            if code is not None:
                self.status = 128 - code if code < 0 else code  # as shells count it
            elif time.monotonic() > until:
                return None
            else:
                time.sleep(0.01)
        return self.status

    def _peak_mib(self) -> int:
        # Not ru_maxrss, which begins with the memory of the process that started it.
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return 0
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        return int(found[1]) >> 10 if found else 0

    def kill(self) -> None:
        """Kill it if it runs."""
        if self.status is None:
            self._process.kill()
            self.wait(time.monotonic() + 30)
            self.status = None


def _interrupt(
    process: subprocess.Popen[bytes], ended: Ended, came: Came, result: Result, number: str, *, twice: bool
) -> float:
    """Send the signal once the fault holds; returns when it was sent."""
    end = time.monotonic() + COMES_S
    while not came() and ended.status is None and time.monotonic() < end:
        ended.wait(time.monotonic())
        time.sleep(0.02)
    ended.wait(time.monotonic() + 0.5)
    if ended.status is not None:
        result.problems.append("it had ended before the signal")
        return time.monotonic()
    process.send_signal(getattr(signal, number))
    sent = time.monotonic()
    if twice:
        if ended.wait(sent + 0.15) is None:
            process.send_signal(getattr(signal, number))
        return time.monotonic()
    return sent


def _without_fault(run: Play, result: Result) -> None:
    """Run the command again: it finishes, or says that there is nothing left to do."""
    if result.status == 0:
        result.problems += run.problems()
        return
    end = time.monotonic() + _NEXT_S
    for _ in itertools.count():
        done = run.product.stage.runner.run(*run.words(), environ=run.environ())
        # The server may not have noticed yet that the first one has gone.
        if done.status not in {5, 6} or time.monotonic() > end:
            break
        time.sleep(0.5)
    result.next = done.status
    if done.status == 2 and "already exists on the share" in done.text:
        result.next = 0
    if result.next:
        last = [line for line in done.text.splitlines() if line.strip()][-3:]
        result.problems.append(f"the next run ends with {done.status}: {' / '.join(last)}")
    else:
        result.problems += run.problems()


def write(result: Result, folder: Path) -> None:
    """Keep a result for the report."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{result.fault}--{result.command}--{result.signal}".replace(" ", "_")
    (folder / f"{name}.json").write_text(json.dumps(asdict(result), indent=1) + "\n")
