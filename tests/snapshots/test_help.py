"""What ``--help`` prints, of the program and of every command."""

from __future__ import annotations

import pytest

from jenkins_release.cli.entry import main
from tests.cli.test_main import commands
from tests.fixtures.snapshots import FOLDER, Snapshots

HELP = FOLDER / "help"
GROUPS = list(dict.fromkeys(words[0] for words in commands()))


@pytest.fixture(autouse=True)
def _width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Click wraps at the width of the terminal, up to 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")


def _help(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*words, "--help"], environ={}) == 0
    return capsys.readouterr().out


def test_the_help_of_the_program_is_what_it_was(
    snapshots: Snapshots, capsys: pytest.CaptureFixture[str]
) -> None:
    """The groups and the exit statuses; each group has a file."""
    snapshots.same("program.txt", _help([], capsys), HELP)
    snapshots.no_others(HELP, {"program.txt", *(f"{group}.txt" for group in GROUPS)})


@pytest.mark.parametrize("group", GROUPS)
def test_the_help_of_each_command_is_what_it_was(
    group: str, snapshots: Snapshots, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts and people rely on verbs, options and defaults."""
    shown = [_help([group], capsys)]
    shown += [_help(words, capsys) for words in commands() if words[0] == group and len(words) > 1]
    snapshots.same(f"{group}.txt", "\n".join(shown), HELP)
