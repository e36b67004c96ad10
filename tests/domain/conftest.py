"""Runs the tests of ``inside`` in the network of a domain, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

from jenkins_release.sandbox.domain.domain import Domain
from tests.fixtures.domain import ADDRESSES, FOLDER
from tests.fixtures.remains import left_behind

HERE = Path(__file__).parent
collect_ignore = [] if FOLDER in os.environ else ["inside"]
_LONGEST_S = 900


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[str]]:
    """What failed in each file of ``inside``, after one run of all of them in a network of its own."""
    report = tmp_path_factory.mktemp("inside") / "junit.xml"
    kept = ("-n", "0", "-p", "no:cacheprovider", f"--allow-hosts={ADDRESSES}")
    words = [sys.executable, "-m", "pytest", "-q", *kept, f"--junitxml={report}", str(HERE / "inside")]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    domain = Domain(tmp_path_factory.mktemp("domain"))
    environ[FOLDER] = str(domain.folder)
    done = subprocess.run(
        domain.enter(words),
        env=environ,
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    found: dict[str, list[str]] = {path.stem: [] for path in HERE.glob("inside/test_*.py")}
    cases = 0
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - our own
        cases += 1
        file = case.get("classname", "").split(".inside.")[-1].split(".")[0]
        for kind in ("failure", "error", "skipped"):
            found.setdefault(file, []).extend(
                f"{case.get('classname')}.{case.get('name')}: {each.get('message')}\n{each.text}"
                for each in case.iter(kind)
            )
    # Whatever else went wrong, such as a file that cannot be imported.
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert cases
    assert not left_behind(domain.folder)
    return found
