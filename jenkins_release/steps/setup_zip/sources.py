"""The sources of a setup zip: the scripts that come with this program, and a product's templates."""

from __future__ import annotations

import stat
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.records.setup_zip import Member
from jenkins_release.rules.setup_zip.files import is_program

_MAX_BYTES = 1 << 20
_HINT = "bundle.templates names the folder; docs/bundle.md tells what stands in it"


def setup_scripts() -> dict[str, Member]:
    """Return the scripts and the README of every setup zip, by path."""
    found: dict[str, Member] = {}

    def read(folder: Traversable, above: str) -> None:
        for entry in folder.iterdir():
            path = f"{above}{entry.name}"
            if entry.is_dir():
                read(entry, f"{path}/")
            else:
                found[path] = Member(entry.read_bytes(), executable=is_program(path))

    read(files("jenkins_release") / "bundle", "")
    return found


def read_templates(folder: Path) -> dict[str, bytes]:
    """Return a product's templates by path. Hidden files are left out.

    Raises:
        ConfigurationError: The folder does not exist, or something in it cannot be used; ``reasons`` lists
            every finding.
    """
    found: dict[str, bytes] = {}
    mistakes: list[str] = []
    if not folder.is_dir():
        raise ConfigurationError(f"there is no folder {folder} with the templates of the bundle", hint=_HINT)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if any(part.startswith(".") for part in name.split("/")):
            continue
        try:
            mode = path.lstat()
            if stat.S_ISDIR(mode.st_mode):
                continue
            if not stat.S_ISREG(mode.st_mode):
                mistakes.append(f"{name} is a link or no file: the zip has files only")
            elif mode.st_size > _MAX_BYTES:
                mistakes.append(f"{name} has {mode.st_size} bytes, a template has at most {_MAX_BYTES}")
            else:
                found[name] = path.read_bytes()
        except OSError as error:
            mistakes.append(f"{name} cannot be read: {error.strerror}")
    if mistakes:
        raise ConfigurationError(
            f"templates in {folder} cannot be used: {mistakes[0]}", hint=_HINT, reasons=mistakes
        )
    return found
