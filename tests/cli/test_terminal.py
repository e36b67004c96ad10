"""Results on a real terminal: colours, weight and width; in a pipe they are as they always were."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path

import pytest

from jenkins_release.cli.terminal import columns
from tests.fixtures.configuration import release_toml, trusted_key
from tests.fixtures.terminal import terminal
from tests.snapshots.documents import INSTALLER, KEPT, installer

KEEP = sorted(KEPT.iterdir())[-1]
ROLES = ("build", "qa", "request", "approval", "override", "promotion")
SHOW = ["candidate", "show", "8.1.0/42"]
RESULTS = [SHOW, ["candidate", "list"], ["release", "history", "8.1.0"]]
GREEN, RED, DIM, BOLD = "\x1b[32m", "\x1b[1;31m", "\x1b[2m", "\x1b[1m"


@pytest.fixture(scope="session")
def program(warm_program: Path) -> str:
    """The program."""
    return str(warm_program / "jenkins-release")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of a product whose share holds one release."""
    folder = tmp_path_factory.mktemp("product")
    shutil.copytree(KEEP / "share", folder / "share")
    (folder / INSTALLER).write_bytes(installer())
    keys = [trusted_key(role, KEEP / "keys" / f"{role}.pem.pub") for role in ROLES]
    (folder / "release.toml").write_text(release_toml(folder / "share", *keys, images=("rms", "viewer")))
    return {"JENKINS_RELEASE_CONFIG": str(folder / "release.toml"), "HOME": str(folder)}


def _base() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS"}}


def _piped(program: str, words: list[str], environ: Mapping[str, str]) -> str:
    done = subprocess.run(
        [program, *words],
        env={**_base(), "TERM": "xterm", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


def _on_terminal(
    program: str, words: list[str], environ: Mapping[str, str], *, columns: int = 400, status: int = 0
) -> tuple[str, list[str]]:
    """Return what was sent, and the lines on the screen."""
    with terminal([program, *words], environ, columns=columns, rows=200) as ours:
        assert ours.ended() == status, ours.screen.text
        assert not ours.screen.broken
        return ours.sent.replace("\r\n", "\n"), ours.screen.text


@pytest.mark.parametrize("words", RESULTS, ids=" ".join)
@pytest.mark.parametrize("plain", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_without_colours_it_is_what_a_pipe_gets(
    program: str, product: Mapping[str, str], words: list[str], plain: Mapping[str, str]
):
    """Byte for byte, on a terminal that is wide enough."""
    sent, _ = _on_terminal(program, words, {**product, **plain})
    assert sent == _piped(program, words, product)
    assert "\x1b" not in sent
    assert "\0" not in sent


@pytest.mark.parametrize("words", RESULTS, ids=" ".join)
def test_colours_change_no_letter(program: str, product: Mapping[str, str], words: list[str]):
    """An empty NO_COLOR is as if it were not set."""
    sent, lines = _on_terminal(program, words, {**product, "NO_COLOR": ""})
    assert lines == _piped(program, words, product).splitlines()
    assert "\x1b[" in sent
    # What is switched on is switched off again in the same line.
    for line in sent.split("\n"):
        assert re.sub(r"\x1b\[[1-9][\d;]*m[^\x1b]*\x1b\[0m", "", line).count("\x1b") == 0


def test_the_gate_and_digests_have_their_colours(program: str, product: Mapping[str, str]):
    sent, _ = _on_terminal(program, SHOW, product)
    assert f"gate: {RED}shut\x1b[0m" in sent
    assert re.search(r"candidate.json \x1b\[2m(sha256:)?[0-9a-f]{64}\x1b\[0m", sent)
    assert f"{BOLD}attestation\x1b[0m" in sent
    words = ["verify", "--bundle", str(KEEP / "8.1.0.jsonl"), "--trusted-keys", str(KEEP / "keys")]
    sent, _ = _on_terminal(program, [*words, "--files", f"{product['HOME']}/{INSTALLER}"], product)
    assert f"{GREEN}verified\x1b[0m file" in sent


def test_json_has_no_colours_on_a_terminal(program: str, product: Mapping[str, str]):
    """Also on a narrow one."""
    words = [*SHOW, "--json"]
    with terminal([program, *words], product, columns=40) as ours:
        assert ours.ended() == 0
    assert ours.sent.replace("\r\n", "\n") == _piped(program, words, product)
    assert json.loads(ours.sent)["candidate"] == "8.1.0/42"


def test_each_stream_is_judged_for_itself(program: str, product: Mapping[str, str], tmp_path: Path):
    """A failure in colour while the result goes into a file, and the other way round."""
    wrong = ["candidate", "show", "8.1.0/43"]
    with (tmp_path / "out").open("wb") as out:
        with terminal([program, *SHOW], product, streams={"stdout": out.fileno()}) as ours:
            assert ours.ended() == 0
            assert ours.sent == ""
        with terminal([program, *wrong], product, streams={"stdout": out.fileno()}) as ours:
            assert ours.ended() != 0
            assert ours.sent.startswith(f"{RED}error:\x1b[0m ")
            assert f"{BOLD}hint:\x1b[0m " in ours.sent
    assert (tmp_path / "out").read_text() == _piped(program, SHOW, product)
    with (
        (tmp_path / "err").open("wb") as err,
        terminal([program, *wrong], product, streams={"stderr": err.fileno()}) as ours,
    ):
        assert ours.ended() != 0
    assert (tmp_path / "err").read_text().startswith("error: ")


def test_what_others_wrote_is_no_markup(program: str, product: Mapping[str, str], tmp_path: Path):
    """A name in a candidate moves no cursor and has no colour."""
    shutil.copytree(product["HOME"], tmp_path / "home")
    config = tmp_path / "home" / "release.toml"
    config.write_text(config.read_text().replace(product["HOME"], str(tmp_path / "home")))
    record = tmp_path / "home" / "share" / "SkyDRM" / "8.1.0" / "42" / "candidate.json"
    document = json.loads(record.read_text())
    document["builtBy"] = "\x1b[32mgood\x1b[0m\x00aa\x00 [bold]"
    record.write_text(json.dumps(document))
    environ = {"JENKINS_RELEASE_CONFIG": str(config), "HOME": str(tmp_path / "home")}
    with terminal([program, *SHOW], environ, columns=200, rows=200) as ours:
        ours.ended()
    assert "\x1b[32mgood" not in ours.sent
    assert "\x00" not in ours.sent


@pytest.mark.parametrize("columns", [40, 80, 100, 132])
@pytest.mark.parametrize("words", [SHOW, ["candidate", "list"]], ids=" ".join)
def test_results_fit_the_terminal(program: str, product: Mapping[str, str], words: list[str], columns: int):
    """No digest is cut, no word is lost, and no line of a table is wrapped by the terminal."""
    piped = _piped(program, words, product)
    with terminal([program, *words], product, columns=columns, rows=300) as ours:
        assert ours.ended() == 0
    lines = re.sub(r"\x1b\[[\d;]*m", "", ours.sent).replace("\r", "").splitlines()
    told = " ".join(lines)
    for digest in re.findall(r"\b[0-9a-f]{64}\b", piped):
        assert digest in told
    # Prose is the terminal's to wrap.
    long = [line for line in lines if len(line) > columns]
    assert all(line in piped or re.fullmatch(r"\s*\S+", line) for line in long), long
    assert {*told.split()} >= {*piped.split()}


_TABLES = r"""
import itertools, os, random, re, sys
from jenkins_release.cli.output import indented, shown_on_terminal, styled, table
random.seed(7)
letters = "abc\u00e4\u4e16\u0301 "
def bare(text):
    return re.sub("\x00[0-9a-f]{16}[a-z]*\x00", "", text)
heads = ["image", "manifest digest", "state", "says what there is to say", ""]
for width, count in itertools.product((20, 45, 80, 81, 96, 120, 160, 200), range(1, 6)):
    os.environ["COLUMNS"] = str(width)
    rows = []
    for _ in range(3):
        free = "".join(random.choice(letters) for _ in range(random.randrange(120)))
        rows.append(["rms", "sha256:" + "a" * 64, styled("in force", "good"), free, "x"][:count])
    with indented(4):
        found = shown_on_terminal(table(heads[:count], rows))
    print(repr((width, bare(found).split("\n"), [list(map(bare, row)) for row in rows])))
"""


def test_a_table_fits_any_width(warm_python: str):
    """Whole words in each case; wide letters take two columns."""
    import ast
    import unicodedata

    def wide(text: str) -> int:
        return sum(
            0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text
        )

    with terminal([warm_python, "-c", _TABLES], columns=20000, rows=200) as ours:
        assert ours.ended() == 0, ours.screen.text[-5:]
    found = [ast.literal_eval(line) for line in ours.screen.text]
    assert len(found) == 40
    for width, lines, rows in found:
        for line in lines:
            assert wide(line) <= width - 4 or len(line.split()) == 1, (width, line)
        words = " ".join(lines).split()
        for row in rows:
            for cell in row:
                assert all(words.count(word) for word in cell.split()), (width, cell, lines)


def test_a_history_in_a_file_is_as_wide_as_necessary(
    program: str, product: Mapping[str, str], tmp_path: Path
):
    """Whatever the terminal is."""
    page = tmp_path / "page.txt"
    words = ["release", "history", "8.1.0"]
    with terminal([program, *words, "--out", str(page)], product, columns=60) as ours:
        assert ours.ended() == 0
    assert page.read_text() == _piped(program, words, product)


@pytest.mark.parametrize("given", ["9" * 5000, "-1", "0", "x", "\u0661", ""])
def test_columns_that_are_no_number_are_not_believed(monkeypatch: pytest.MonkeyPatch, given: str):
    """Python refuses to read very long numbers."""
    monkeypatch.setenv("COLUMNS", given)
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 77))
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "w") as stream:
        assert columns(stream) == 77
