"""The house: floors, module sizes, what an import costs, what is exported."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jenkins_release

ROOT = Path(jenkins_release.__file__).parent
FLOORS = {
    **dict.fromkeys(
        (
            "causes",
            "errors",
            "lazy",
            "moments",
            "numbers",
            "pools",
            "regions",
            "utf8",
            "version",
            "waits",
            "progress",
        ),
        0,
    ),
    **dict.fromkeys(("references", "files", "strict_json", "signals", "stream", "parallel", "child"), 1),
    **dict.fromkeys(("retry", "config", "exchange"), 1),
    "aws": 2,
    "environment": 1,
    "probe": 2,
    "keys": 3,
    "registry": 3,
    "jenkins": 4,
    "installers": 4,
    "notify": 4,
    "images": 4,
    "share": 4,
    "portal": 5,
    "ledger": 5,
    "records": 5,
    "rules": 6,
    "steps": 7,
    "sandbox": 8,
    "cli": 9,
    "__init__": 10,
    "program": 10,
    "__main__": 11,
}
"""From the ground up; a module imports from its own package and from lower numbers only."""
SHARED_RULES = {f"jenkins_release.rules.{name}" for name in ("names", "people", "tags", "versions")}
"""Checks of names that lower floors need too: they import nothing but errors and each other."""


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("jenkins_release"):
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("jenkins_release")}
    return found


def floor_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_an_import_only_ever_points_down(path):
    """cli, then steps, rules, records, the outside world, and the ground floor."""
    first = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for module in imports(path):
        other = floor_of(module)
        if other == first or module in SHARED_RULES:
            continue
        assert FLOORS[other] < FLOORS[first], f"{path} imports {module}"


@pytest.mark.parametrize("name", sorted(SHARED_RULES))
def test_the_shared_rules_stand_on_nothing_else(name):
    """They may be imported from everywhere because they import nothing that could come back."""
    path = ROOT.joinpath(*name.split(".")[1:]).with_suffix(".py")
    assert imports(path) <= {"jenkins_release.base.errors", "jenkins_release.base.references", *SHARED_RULES}


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
