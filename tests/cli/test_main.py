"""The command line: statuses, documents, files, help."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from jenkins_release.cli.command import Group
from jenkins_release.cli.entry import main
from jenkins_release.cli.main import _GROUPS, cli
from jenkins_release.cli.output import size, table
from jenkins_release.cli.progress import PlainProgress, PlainTask, progress_for
from jenkins_release.cli.runtime import Runtime


@contextlib.contextmanager
def unwritable(where: str) -> Iterator[int]:
    """A descriptor that takes nothing: of a full ``disk``, or of a ``pipe`` that nobody reads."""
    if where == "disk":
        stream = os.open("/dev/full", os.O_WRONLY)
    else:
        read, stream = os.pipe()
        os.close(read)
    try:
        yield stream
    finally:
        os.close(stream)


def commands() -> list[list[str]]:
    """Every command as words."""
    found = []
    context = click.Context(cli)
    for group in cli.list_commands(context):
        command = cli.get_command(context, group)
        if isinstance(command, click.Group):
            found += [[group, verb] for verb in command.list_commands(context)]
        else:
            found.append([group])
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_explains_itself(words, capsys):
    """Help exits with 0 and describes the command and every option."""
    assert main([*words, "--help"], environ={}) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: jenkins-release {' '.join(words)}")
    # These run where there is no release.toml.
    bare = words in (["verify"], ["trust", "sign"], ["qa", "results"])
    options = ("--json", "--result", "--verbose") + (() if bare else ("--config",))
    for option in options:
        assert option in out


def test_the_list_of_groups_says_what_each_says_of_itself():
    """It is spelled out again, so that the help imports nothing."""
    context = click.Context(cli)
    said = {name: (cli.get_command(context, name) or cli).help or "" for name in cli.list_commands(context)}
    assert {name: text.splitlines()[0] for name, text in said.items()} == _GROUPS


def examples() -> dict[str, str]:
    """The example of the program and of each group of commands."""
    context = click.Context(cli)
    groups = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    found = {name: group.example for name, group in groups.items() if isinstance(group, Group)}
    return {"": cli.example, **found}


@pytest.mark.parametrize(("group", "example"), examples().items())
def test_the_help_of_a_group_begins_with_an_example_that_works(group: str, example: str, capsys):
    """The program takes the line as it is, to the last option."""
    assert main([*group.split(), "--help"], environ={}) == 0
    _, empty, line, *_ = capsys.readouterr().out.splitlines()
    assert (empty, line) == ("", f"  Example: {example}")
    program, *words = shlex.split(example)
    assert program == "jenkins-release"
    assert not group or words[0] == group
    context = cli.make_context(program, list(words), obj=Runtime({}))
    while isinstance(context.command, click.Group):
        left = [*context._protected_args, *context.args]
        name, command, left = context.command.resolve_command(context, left)
        assert command is not None
        context = command.make_context(name, left, parent=context)
    assert not context.args


def test_no_arguments_show_the_help_and_are_a_usage_error(capsys):
    """As with every other tool."""
    assert main([], environ={}) == 2
    assert "Usage: jenkins-release" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["candidate", "show"],
        ["candidate", "show", "8.1.0/42", "--colour"],
        ["qa", "sign-off", "8.1.0/1"],
        ["candidate", "show", "8.1.0/42", "--config", "a.toml", "--config", "b.toml"],
        ["verify", "--bundle", __file__, "--release", "8.1.0", "--release", "8.1.1"],
    ],
)
def test_wrong_usage_has_status_2(words, capsys):
    """And says what is wrong on stderr."""
    assert main(words, environ={}) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Usage:" in captured.err


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_an_option_with_one_value_is_given_once(words, capsys):
    """The first value would be dropped without a word."""
    assert main([*words, "--result", "a.json", "--result", "b.json"], environ={}) == 2
    assert "Option '--result' was given 2 times, expected once." in capsys.readouterr().err


def test_flags_and_lists_are_given_as_often_as_one_likes(capsys):
    """They do not contradict themselves."""
    assert (
        main(["candidate", "list", "--json", "--json", "-v", "-v", "--config", "none.toml"], environ={}) == 2
    )
    assert "was given" not in capsys.readouterr().err


def test_a_failure_is_a_json_document_on_stdout_and_in_the_result_file(tmp_path, capsys):
    """Category, message, hint and all reasons; the log goes to stderr."""
    result = tmp_path / "result.json"
    words = [
        "candidate",
        "show",
        "8.1.0/42",
        "--config",
        str(tmp_path / "none.toml"),
        "--json",
        "--result",
        str(result),
    ]
    assert main(words, environ={}) == 2
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document == json.loads(result.read_text())
    assert set(document["error"]) == {"category", "message", "hint", "reasons"}
    assert document["error"]["category"] == "configuration"
    assert captured.err.startswith("error: there is no configuration file")


def test_a_usage_error_reaches_the_result_file(tmp_path):
    """The Groovy step reads one file, whatever went wrong."""
    result = tmp_path / "result.json"
    assert main(["qa", "revoke", "8.1.0/1", "--result", str(result)], environ={}) == 2
    assert "--reason" in json.loads(result.read_text())["error"]["message"]


def test_a_candidate_without_a_build_is_a_usage_error(tmp_path, capsys):
    """The hint shows the form."""
    assert main(["candidate", "show", "8.1.0"], environ={}) == 2
    assert "8.1.0/42" in capsys.readouterr().err


def test_an_unexpected_exception_is_a_bug_with_status_70(monkeypatch, capsys):
    """Never a bare traceback as the result."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("jenkins_release.config.load_configuration", broken)
    assert main(["candidate", "list", "--json"], environ={}) == 70
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["category"] == "bug"


def test_a_path_that_cannot_be_used_is_no_bug(monkeypatch, capsys, tmp_path):
    """Also where nobody expected it: a name that is too long, a folder of somebody else."""
    place = tmp_path / ("x" * 300)
    monkeypatch.setattr("jenkins_release.config.load_configuration", lambda *_, **__: place.is_dir())
    assert main(["candidate", "list", "--json"], environ={}) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["message"] == f"{str(place)[:200]} cannot be used: File name too long"


def test_tables_never_wrap_or_cut():
    """A digest stays whole, whatever the terminal's width."""
    digest = "sha256:" + "a" * 64
    assert table(["image", "digest"], [["rms", digest]]) == f"image  digest\nrms    {digest}"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_000_000_000, "2.0 GB")]
)
def test_sizes_are_decimal(count, text):
    """As disks and networks are sold."""
    assert size(count) == text


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_progress_writes_a_line_every_ten_percent_or_fifteen_seconds(capsys):
    """Bytes, rate and time left; no control characters."""
    import sys

    clock = Clock()
    with PlainProgress(sys.stderr, clock).task("export x.tar", 1_000_000_000) as task:
        for _ in range(20):
            clock.now += 2.0
            task.advance(50_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[0] == "export x.tar: 100.0 MB of 1.0 GB (10 %), 25.0 MB/s, 36 s left"
    assert lines[-1] == "export x.tar: done, 1.0 GB in 40.0 s, 25.0 MB/s"
    assert not any("\r" in line or "\x1b" in line for line in lines)


def test_plain_progress_speaks_up_when_it_is_slow_and_may_go_back(capsys):
    """A line every 15 seconds; a retry that rewinds is no error."""
    import sys

    clock = Clock()
    with PlainProgress(sys.stderr, clock).task("load x.tar", 1000) as task:
        clock.now += 16.0
        task.advance(10)
        task.advance(-10)
        clock.now += 16.0
        task.advance(5)
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "load x.tar: 10 B of 1.0 kB (1 %)",
        "load x.tar: 5 B of 1.0 kB (0 %)",
        "load x.tar: done",
    ]


def test_a_wait_is_told_after_three_seconds_and_then_now_and_then(capsys):
    """What for, since when, and how long; bytes end it, and the next wait is told again."""
    import sys

    clock = Clock()
    task = PlainTask("export x.tar", 1000, sys.stderr, clock)
    task.waits_for("the Docker daemon to prepare 4 images")
    for seconds in (2.5, 0.5, 5, 9, 1):
        clock.now += seconds
        task.look()
    task.advance(50)
    task.waits_for("")
    for seconds in (2.5, 1.5):
        clock.now += seconds
        task.look()
    told = [re.sub(r"\d\d:\d\d:\d\d", "T", line) for line in capsys.readouterr().err.splitlines()]
    assert told == [
        "export x.tar: 0 B, waiting for the Docker daemon to prepare 4 images since T UTC (3 s)",
        "export x.tar: 0 B, waiting for the Docker daemon to prepare 4 images since T UTC (18 s)",
        "export x.tar: 50 B, waiting for more bytes since T UTC (4 s)",
    ]


def test_a_console_log_gets_plain_lines():
    """Bars are for terminals only."""
    import io

    assert isinstance(progress_for(io.StringIO()), PlainProgress)


def _ended(words: list[str], **streams: int) -> int:
    command = [sys.executable, "-m", "jenkins_release", *words]
    return subprocess.run(command, check=False, timeout=60, **streams).returncode  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    ("where", "as_json"), [("disk", []), ("pipe", ["--json"])], ids=["disk-text", "pipe-json"]
)
def test_what_was_done_stays_done_if_stdout_takes_nothing(tmp_path: Path, where: str, as_json: list[str]):
    """A full disk, or a reader that has gone: status and result file are those of the command."""
    result = tmp_path / "r.json"
    words = ["sandbox", "stop", "--folder", str(tmp_path / "none"), "--result", str(result), *as_json]
    with unwritable(where) as out, (tmp_path / "err").open("wb") as err:
        assert _ended(words, stdout=out, stderr=err.fileno()) == 0
    assert "error" not in json.loads(result.read_text())
    reason = {"disk": "No space left on device", "pipe": "Broken pipe"}[where]
    assert (tmp_path / "err").read_text() == f"warning: stdout cannot be written: {reason}\n"


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("disk", ["--help"]),
        ("pipe", ["--help"]),
        ("disk", ["--version"]),
        ("pipe", ["candidate", "--help"]),
        ("disk", ["candidate", "list", "-h"]),
    ],
)
def test_help_ends_like_any_other_output_if_stdout_takes_nothing(
    where: str, words: list[str], warm_python: str
):
    """`jenkins-release --help | true`: with 0, and a warning, as a result does."""
    with unwritable(where) as out:
        done = subprocess.run(
            [warm_python, "-m", "jenkins_release", *words], check=False, timeout=60, stdout=out, stderr=-1
        )
    reason = {"disk": "No space left on device", "pipe": "Broken pipe"}[where]
    told = f"warning: stdout cannot be written: {reason}\n"
    assert (done.returncode, done.stderr.decode()) == (0, told)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("disk", ["nonsense"]),
        ("pipe", ["nonsense"]),
        ("disk", ["candidate"]),
        ("pipe", ["candidate", "list", "x"]),
        ("disk", [b"\xff"]),
    ],
)
def test_wrong_usage_keeps_its_status_if_stderr_takes_nothing(where: str, words: list[str]):
    with unwritable(where) as out:
        assert _ended(words, stdout=out, stderr=out) == 2


@pytest.mark.parametrize("where", ["disk", "pipe"])
def test_a_failure_keeps_its_status_if_nothing_can_be_written(tmp_path: Path, where: str):
    result = tmp_path / "r.json"
    words = ["candidate", "list", "--config", str(tmp_path / "none.toml"), "--json", "--result", str(result)]
    with unwritable(where) as stream:
        assert _ended(words, stdout=stream, stderr=stream) == 2
    assert json.loads(result.read_text())["error"]["category"] == "configuration"


@pytest.mark.parametrize("where", ["disk", "pipe"])
def test_progress_that_cannot_be_written_is_no_failure_of_the_transfer(where: str):
    now = 0.0
    with unwritable(where) as stream, os.fdopen(os.dup(stream), "w", buffering=1) as out:
        with PlainProgress(out, lambda: now).task("push", 100) as task:
            now = 20.0
            task.advance(50)
        assert isinstance(task, PlainTask)
        assert task.done == 50
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


def test_a_sandbox_that_was_not_there_was_not_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["sandbox", "stop", "--remove", "--folder", str(tmp_path / "none"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["removed"] is False
