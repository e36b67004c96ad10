"""What an import costs, and what is exported; the directions of imports are contracts in pyproject.toml."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jenkins_release

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
        "heavy = {'boto3', 'botocore', 'docker', 'smbprotocol', 'pydantic', 'requests', 'rich'}; "
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


def test_the_types_of_what_is_exported_come_from_where_it_is():
    """The stub names every public name, from the module that it is loaded from."""
    body = ast.parse((ROOT / "__init__.pyi").read_text()).body
    imports = [node for node in body if isinstance(node, ast.ImportFrom)]
    typed = {alias.name: str(node.module) for node in imports for alias in node.names}
    homes = {
        name: f"jenkins_release.{home}" for home, names in jenkins_release._HOMES.items() for name in names
    }
    assert typed == {**homes, "__version__": "jenkins_release.base.version"}
    assert set(typed) == set(jenkins_release.__all__)
    with pytest.raises(AttributeError):
        _ = jenkins_release.no_such_name
