"""What a wheel holds beside the modules."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_pattern_of_package_data_names_files() -> None:
    """One that names none is of files that were moved, or will be missing."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    data = setup["options.package_data"]
    assert data
    for package, patterns in data.items():
        folder = ROOT.joinpath(*package.split("."))
        for pattern in patterns.split():
            assert any(path.is_file() for path in folder.glob(pattern)), f"{package}: {pattern}"


def test_each_file_that_is_no_module_is_package_data() -> None:
    """A wheel would lack it, and an installation from this folder has it."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    packaged = {
        path
        for package, patterns in setup["options.package_data"].items()
        for pattern in patterns.split()
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    found = {
        path
        for path in (ROOT / "jenkins_release").rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert found <= packaged
