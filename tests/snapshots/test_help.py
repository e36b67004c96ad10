"""What ``--help`` prints, of the program and of every command."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cli.test_main import commands
from tests.fixtures.snapshots import FOLDER, Snapshots

HELP = FOLDER / "help"
GROUPS = list(dict.fromkeys(words[0] for words in commands()))
_PROGRAM = """\
import contextlib, io, json, sys
from jenkins_release.cli.entry import main
shown = []
for words in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([*words, "--help"], environ={}) == 0
    shown.append(out.getvalue())
print(json.dumps(shown))
"""


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """Each command's help, from a process of its own: click keeps options that other tests may have made."""
    lines: list[list[str]] = [[], *([group] for group in GROUPS), *commands()]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={"COLUMNS": "80", "LANG": "C.UTF-8"},
    )
    return {" ".join(words): text for words, text in zip(lines, json.loads(done.stdout), strict=True)}


def test_the_help_of_the_program_is_what_it_was(snapshots: Snapshots, helps: dict[str, str]) -> None:
    """The groups and the exit statuses; each group has a file."""
    snapshots.same("program.txt", helps[""], HELP)
    snapshots.no_others(HELP, {"program.txt", *(f"{group}.txt" for group in GROUPS)})


@pytest.mark.parametrize("group", GROUPS)
def test_the_help_of_each_command_is_what_it_was(
    group: str, snapshots: Snapshots, helps: dict[str, str]
) -> None:
    """Scripts and people rely on verbs, options and defaults."""
    shown = [text for words, text in helps.items() if words.split()[:1] == [group]]
    snapshots.same(f"{group}.txt", "\n".join(shown), HELP)
