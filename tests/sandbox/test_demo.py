"""``sandbox demo``: where it tells what."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.root
def test_as_json_stdout_is_one_document_and_the_story_goes_to_stderr(tmp_path: Path):
    """A program reads the one, a person follows the other."""
    result = tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, "-m", "jenkins_release", "sandbox", "demo", "--json", "--result", str(result)],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    document = json.loads(done.stdout)
    assert list(document) == ["steps"]
    commands = [line for line in done.stderr.splitlines() if line.startswith("$ ")]
    # Not every step is a command.
    assert document["steps"] >= len(commands) > 5
    assert result.read_text() == done.stdout
