"""Live bars on a real terminal: one display for all transfers, and a terminal that is whole afterwards."""

from __future__ import annotations

import re
import signal
import sys
import time

import pytest

from tests.fixtures.terminal import Screen, terminal

_BEGIN = """
import logging, sys, termios, threading, time
from jenkins_release.cli import progress
from jenkins_release.cli.output import tell
from jenkins_release.cli.runtime import configure_logging
progress.WAIT_SECONDS = 0.5
configure_logging(logging.INFO, {})
log = logging.getLogger("jenkins_release")
bars = progress.progress_for(sys.stderr)
go = threading.Event()
def key():
    # The key that is awaited moves no cursor.
    mode = termios.tcgetattr(0)
    mode[3] &= ~termios.ECHO
    termios.tcsetattr(0, termios.TCSANOW, mode)
    input()
def transfer(title, total, pieces, piece):
    with bars.task(title, total) as task:
        for _ in range(pieces):
            task.advance(piece)
            time.sleep(0.05)
        go.wait()
def several(count, **given):
    threads = [
        threading.Thread(target=transfer, args=[f"verify images/image-{n}.tar", 1_000_000, 5, 100_000])
        for n in range(count)
    ]
    for each in threads:
        each.start()
    return threads
def finish(threads):
    go.set()
    for each in threads:
        each.join()
    print("done", flush=True)
"""
_TWO = "threads = several(2); key(); finish(threads)"


def _rows(screen: Screen) -> list[str]:
    return [line for line in screen.text if re.search(r"image-\d+\.tar|total", line)]


def _half(screen: Screen) -> bool:
    rows = _rows(screen)
    return len(rows) == 3 and all("50 %" in row for row in rows)


def test_two_transfers_have_a_row_each_and_a_total(warm_python: str):
    """They would overwrite each other, each with a display of its own."""
    with terminal([warm_python, "-c", _BEGIN + _TWO]) as ours:
        rows = _rows(ours.until(_half))
        assert re.match(r"verify images/image-\d.tar +\S+ +50 % .* 500.0 kB of 1.0 MB$", rows[0]), rows
        assert re.match(r"total +\S+ +50 % .* 1.0 MB of 2.0 MB$", rows[2]), rows
        ours.keys("\r")
        assert ours.ended() == 0
        assert ours.screen.text == ["done"]
        assert not ours.screen.broken


def test_the_log_and_messages_do_not_tear_the_bars(warm_python: str):
    """Each line stays whole above them, in the order in which it was written."""
    code = """
threads = several(3)
for number in range(40):
    log.warning("line %d of the log", number)
    tell(f"message {number}", err=True)
    tell(f"result {number}")
    time.sleep(0.01)
finish(threads)
"""
    with terminal([warm_python, "-c", _BEGIN + code], rows=12) as ours:
        assert ours.ended() == 0
    said = [re.sub(r"^\d\d:\d\d:\d\d WARNING ", "", line) for line in ours.screen.text]
    expected = [f"{what} {n}" for n in range(40) for what in ("line", "message", "result")]
    assert [line.removesuffix(" of the log") for line in said] == [*expected, "done"]


@pytest.mark.parametrize("columns", [10, 24, 40, 60, 200])
def test_a_row_fits_the_terminal(warm_python: str, columns: int):
    """What is least important is left out first; the title keeps its end."""
    with terminal([warm_python, "-c", _BEGIN + _TWO], columns=columns) as ours:
        ours.until(lambda screen: len(screen.text) == 3)
        if columns >= 24:
            ours.until(lambda screen: all("50 %" in row for row in screen.text))
            assert all("0.tar" in row or "1.tar" in row for row in ours.screen.text[:2])
        ours.keys("\r")
        assert ours.ended() == 0
    assert ours.screen.text == ["done"]
    assert not ours.screen.broken


@pytest.mark.parametrize("columns", [10, 24, 40, 60, 80])
def test_wide_letters_fit_the_terminal(warm_python: str, columns: int):
    """They take two columns each: in a title, and in what the transfer waits for."""
    code = """
title = "fetch " + "\u8a2d\u5b9a" * 10 + "0.msi"
def waits():
    with bars.task(title, 1000) as task:
        task.advance(500)
        task.waits_for("\u8a2d\u5b9a" * 40)
        go.wait()
threads = [threading.Thread(target=waits)]; threads[0].start()
key(); finish(threads)
"""
    with terminal([warm_python, "-c", _BEGIN + code], columns=columns) as ours:
        ours.until(lambda screen: any(line.startswith("wait") for line in screen.text))
        assert len(ours.screen.text) == 2
        if columns >= 24:
            assert "0.msi" in ours.screen.text[0]
            assert "50 %" in ours.screen.text[0]
        ours.keys("\r")
        assert ours.ended() == 0
    assert ours.screen.text == ["done"]
    assert not ours.screen.broken


def test_a_window_that_changes_its_size(warm_python: str):
    """Rows are as wide as the window is by now, and nothing of them stays."""
    with terminal([warm_python, "-c", _BEGIN + _TWO], columns=120) as ours:
        ours.until(_half)
        for columns in (50, 100, 30):
            ours.resize(columns)
            ours.until(lambda screen: 0 < max(map(len, screen.text)) < screen.columns)
        ours.keys("\r")
        assert ours.ended() == 0
    assert ours.screen.text == ["done"]


def test_a_terminal_with_fewer_lines_than_transfers(warm_python: str):
    """It would scroll with each drawing. The total is always there."""
    code = "threads = several(9); key(); finish(threads)"
    with terminal([warm_python, "-c", _BEGIN + code], rows=6) as ours:
        ours.until(lambda screen: any("more" in line for line in screen.text))
        assert len(ours.screen.text) <= 5
        assert any(line.startswith("total") for line in ours.screen.text)
        assert any(re.fullmatch(r"\.\.\. and \d more", line) for line in ours.screen.text)
        ours.keys("\r")
        assert ours.ended() == 0
    assert ours.screen.text == ["done"]


def test_a_wait_is_told_below_the_rows(warm_python: str):
    """And for which of them, if several run."""
    code = """
def waits():
    with bars.task("read rms:8.1.0") as task:
        task.advance(5000)
        task.waits_for("the Docker daemon to prepare 4 images")
        go.wait()
threads = several(1); threads.append(threading.Thread(target=waits)); threads[1].start()
key(); finish(threads)
"""
    with terminal([warm_python, "-c", _BEGIN + code], columns=120) as ours:
        ours.until(lambda screen: any("waiting" in line for line in screen.text))
        told = next(line for line in ours.screen.text if "prepare" in line)
        assert re.match(
            r"read rms:8.1.0: waiting for the Docker daemon to prepare 4 images since [\d:]+ UTC \(\d s\)",
            told,
        )
        assert "total" in "".join(ours.screen.text[: ours.screen.text.index(told)])
        ours.keys("\r")
        assert ours.ended() == 0
    assert ours.screen.text == ["done"]


@pytest.mark.parametrize("stuck", ["go.wait()", "while True: pass"])
def test_ctrl_c_leaves_a_clean_terminal(stuck: str):
    """Within two seconds, also where the main thread does not hear of it."""
    code = f"""
from jenkins_release.base.signals import interrupt_commands
from jenkins_release.cli import entry
import click
@click.command()
@click.argument("word")
def command(word):
    tell("begins")
    threads = several(2)
    try:
        go.wait()
    finally:
        {stuck}
entry.cli = command
interrupt_commands()
sys.exit(entry.main(["x"]))
"""
    with terminal([sys.executable, "-c", _BEGIN + code]) as ours:
        ours.until(_half)
        begun = time.monotonic()
        ours.keys("\x03")
        ours.until(lambda screen: "interrupted" in screen.text)
        took = time.monotonic() - begun
        status = ours.ended()
    assert status == 128 + signal.SIGINT
    assert ours.screen.text == ["begins", "interrupted"]
    # 2 s, and what a loaded machine needs to draw.
    assert took < 10.0


def test_no_color_and_a_title_that_is_no_markup(warm_python: str):
    """A bar without colours, and a name that moves no cursor."""
    code = """
thread = threading.Thread(target=transfer, args=["fetch [x64]\\x1b[2J.msi", 1000, 5, 100])
thread.start(); key(); finish([thread])
"""
    for environ in ({"NO_COLOR": "1"}, {"NO_COLOR": ""}):
        with terminal([warm_python, "-c", _BEGIN + code], environ) as ours:
            ours.until(lambda screen: "50 %" in "".join(screen.text))
            assert ours.screen.text[0].startswith("fetch [x64]\\x1b[2J.msi")
            ours.keys("\r")
            assert ours.ended() == 0
        assert ("\x1b[32m" in ours.sent) == (not environ["NO_COLOR"])


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(warm_python: str):
    """As a pipe does."""
    code = "go.set(); transfer('fetch x', 1000, 5, 100)"
    with terminal([warm_python, "-c", _BEGIN + code], {"TERM": "dumb"}) as ours:
        assert ours.ended() == 0
    assert "\x1b" not in ours.sent
    assert any(line.startswith("fetch x: done, 500 B in") for line in ours.screen.text)
