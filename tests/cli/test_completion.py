"""Completion in the shell: bash for real; zsh and fish by what click's protocol asks and answers."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from jenkins_release.cli.main import _GROUPS

PROGRAM = "jenkins-release"
_DRIVER = """
COMP_WORDS=({words})
COMP_CWORD={place}
COMP_LINE={line}
COMP_POINT=${{#COMP_LINE}}
_jenkins_release_completion jenkins-release
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def folder(warm_program: Path, tmp_path: Path) -> dict[str, str]:
    """The environment: the program in the path, and a folder with files."""
    (tmp_path / "release.toml").write_text("")
    (tmp_path / "plan.json").write_text("")
    return {"PATH": f"{warm_program}:{os.environ['PATH']}", "HOME": str(tmp_path)}


def _asked(environ: dict[str, str], shell: str, **given: str) -> str:
    named = {"_JENKINS_RELEASE_COMPLETE": shell, **given}
    done = subprocess.run(
        [PROGRAM], env={**environ, **named}, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout


def _in_bash(environ: dict[str, str], *words: str) -> list[str]:
    """Return what bash offers after words, the last of which is being typed."""
    driver = _DRIVER.format(
        words=" ".join(map(shlex.quote, [PROGRAM, *words])),
        place=len(words),
        line=shlex.quote(" ".join([PROGRAM, *words])),
    )
    code = f'eval "$(_JENKINS_RELEASE_COMPLETE=bash_source {PROGRAM})"\ncomplete -p {PROGRAM}\n{driver}'
    done = subprocess.run(
        ["bash", "--norc", "-c", code],
        env=environ,
        cwd=environ["HOME"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    first, *offered = done.stdout.splitlines()
    assert first.endswith(f"-F _jenkins_release_completion {PROGRAM}")
    return [line for line in offered if line]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([""], list(_GROUPS)),
        (["ca"], ["candidate"]),
        (["--v"], ["--version"]),
        (["release", "re"], ["retire"]),
        (["candidate", "list", "--v"], ["--version", "--verbose"]),
        (["qa", "sign-off", "8.1.0/42", "--verdict", ""], ["pass", "fail"]),
        (["doctor", "--for", "p"], ["promote", "publish"]),
        # The share is not asked: an answer would take seconds.
        (["candidate", "show", ""], []),
        (["candidate", "show", "8."], []),
        (["no-such-group", ""], list(_GROUPS)),
    ],
)
def test_bash_completes(folder: dict[str, str], words: list[str], offered: list[str]):
    """Groups, commands, options, and choices."""
    assert sorted(_in_bash(folder, *words)) == sorted(offered)


def test_bash_completes_file_names(folder: dict[str, str]):
    """Of a plan, and after an option."""
    for words in (["promote", "approve", "pl"], ["candidate", "list", "--config", "rel"]):
        typed = " ".join([PROGRAM, *words])
        line = _asked(folder, "bash_complete", COMP_WORDS=typed, COMP_CWORD=str(len(words)))
        assert line == f"file,{words[-1]}\n"


@pytest.mark.parametrize("words", [["--result", "r.json", "--result", "r.json"], ["--result", "r.json"]])
def test_a_line_that_is_being_typed_does_nothing(folder: dict[str, str], words: list[str]):
    """The result of an earlier run would be removed with a key."""
    result = Path(folder["HOME"]) / "r.json"
    result.write_text("{}")
    offered = _in_bash(folder, "candidate", "list", *words, "--share", "x", "-v", "--")
    assert "--config" in offered
    assert "--share" not in offered
    assert result.read_text() == "{}"


def test_the_first_word_is_completed_without_the_groups():
    """Their modules take longer than anyone waits for a key."""
    code = (
        "import json, sys; from jenkins_release.cli.entry import main\n"
        "try: main([])\nexcept SystemExit: pass\n"
        "print(json.dumps([name for name in sys.modules if name.startswith('jenkins_release.cli.')]))"
    )
    environ = {"_JENKINS_RELEASE_COMPLETE": "bash_complete", "COMP_WORDS": PROGRAM, "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    *offered, modules = done.stdout.splitlines()
    assert offered == [f"plain,{name}" for name in _GROUPS]
    assert "jenkins_release.cli.candidate" not in json.loads(modules)


def test_zsh_and_fish_get_scripts_that_ask_for_the_same(folder: dict[str, str]):
    """What they offer has the help beside it."""
    zsh = _asked(folder, "zsh_source")
    assert zsh.startswith(f"#compdef {PROGRAM}\n")
    assert "_JENKINS_RELEASE_COMPLETE=zsh_complete" in zsh
    assert f"compdef _jenkins_release_completion {PROGRAM}" in zsh
    fish = _asked(folder, "fish_source")
    assert "_JENKINS_RELEASE_COMPLETE=fish_complete" in fish
    assert f"complete --no-files --command {PROGRAM}" in fish
    asked = _asked(folder, "zsh_complete", COMP_WORDS=f"{PROGRAM} q", COMP_CWORD="1")
    assert asked.splitlines() == ["plain", "qa", _GROUPS["qa"]]
    asked = _asked(folder, "fish_complete", COMP_WORDS=f"{PROGRAM} ", COMP_CWORD="q")
    assert "qa" in asked
    asked = _asked(folder, "fish_complete", COMP_WORDS=f"{PROGRAM} doctor --for ", COMP_CWORD="pu")
    assert "publish" in asked
