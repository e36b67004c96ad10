"""``sandbox demo``: where it tells what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.docs.scenarios import bare
from tests.fixtures.command import run


@pytest.mark.root
@pytest.mark.usefixtures("small_demo", "warm_commands")
def test_as_json_stdout_is_one_document_and_the_story_goes_to_stderr(tmp_path: Path):
    """A program reads the one, a person follows the other."""
    result = tmp_path / "result.json"
    done = run("sandbox", "demo", "--json", "--result", str(result), environ=bare(tmp_path).environ)
    assert done.status == 0, done.err[-2000:]
    document = json.loads(done.out)
    assert list(document) == ["steps"]
    commands = [line for line in done.err.splitlines() if line.startswith("$ ")]
    # Not every step is a command.
    assert document["steps"] >= len(commands) > 5
    assert result.read_text() == done.out
