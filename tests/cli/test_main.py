"""The command line: statuses, documents, files, help."""

from __future__ import annotations

import json

import click
import pytest

from jenkins_release.__main__ import main
from jenkins_release.cli.main import cli
from jenkins_release.cli.output import size, table
from jenkins_release.cli.progress import PlainProgress, progress_for


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
    # `verify` runs where there is no release.toml.
    options = ("--json", "--result", "--verbose") + (() if words == ["verify"] else ("--config",))
    for option in options:
        assert option in out


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
    ],
)
def test_wrong_usage_has_status_2(words, capsys):
    """And says what is wrong on stderr."""
    assert main(words, environ={}) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Usage:" in captured.err


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
    assert "--tester" in json.loads(result.read_text())["error"]["message"]


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


def test_a_console_log_gets_plain_lines():
    """Bars are for terminals only."""
    import io

    assert isinstance(progress_for(io.StringIO()), PlainProgress)
