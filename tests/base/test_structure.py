"""What an import costs, and what is exported; the directions of imports are contracts in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import jenkins_release
from jenkins_release.base.lazy_imports import homes_in_stub

ROOT = Path(jenkins_release.__file__).parent


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["candidate", "list", "--help"], ["promote", "run", "--help"]],
    ids=" ".join,
)
def test_help_and_version_import_no_heavy_library(words):
    """boto3, docker and smbprotocol are loaded by the commands that need them, when they run."""
    code = (
        "import sys; from jenkins_release.cli.entry import main; "
        f"status = main({words!r}); "
        "heavy = {'boto3', 'botocore', 'docker', 'smbprotocol', 'pydantic', 'requests'}; "
        "print(status, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("steps.candidate.listing", ["docker", "smbprotocol"]),
        ("steps.promotion.plan", ["docker", "smbprotocol"]),
        ("steps.candidate.archive_reader", ["docker", "smbprotocol"]),
    ],
)
def test_a_step_imports_only_the_services_that_it_opens(module, absent):
    """Docker's client without a daemon to talk to, and SMB's on a folder, would cost each command time."""
    code = f"import sys, jenkins_release.{module}; print(sorted({{*{absent!r}}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_everything_that_is_exported_can_be_imported():
    """The Python API: verbs, requests, reports, errors."""
    for name in jenkins_release.__all__:
        assert getattr(jenkins_release, name) is not None
    assert set(jenkins_release.__all__) <= set(dir(jenkins_release))
    with pytest.raises(AttributeError):
        _ = jenkins_release.no_such_name


def test_each_exported_name_is_the_one_of_its_line_in_the_stub():
    """What type checkers see is what a program gets, and no module passes on what another one defines."""
    for name, home in homes_in_stub("jenkins_release", ROOT / "__init__.pyi").items():
        module = import_module(f"jenkins_release.{home}")
        assert getattr(jenkins_release, name) is getattr(module, name)
        assert name in {"__version__", "Configuration", "load_configuration"} or (
            getattr(module, name).__module__ == module.__name__
        )


@pytest.mark.parametrize(
    "line",
    [
        "from package.module import Other",
        "from package.module import Other as Another",
        "from package.module import Name as Name",
        "from .module import Other as Other",
        "from typing import Any as Any",
        "import package.module",
        "Other: int",
    ],
)
def test_a_stub_that_is_no_list_of_names_is_refused(tmp_path: Path, line: str):
    """A name would be missing from the package without a word."""
    stub = tmp_path / "__init__.pyi"
    good = '"""Names."""\n\nfrom package.module import Name as Name\n'
    stub.write_text(good)
    assert homes_in_stub("package", stub) == {"Name": "module"}
    stub.write_text(f"{good}{line}\n")
    with pytest.raises(ValueError, match="line 4"):
        homes_in_stub("package", stub)
