"""Finds and reads the JUnit reports of a test run, on which a verdict is based."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.files import read_named
from jenkins_release.records.junit import MAX_REPORT_BYTES, TestResults, read_junit, together

MAX_REPORTS = 10_000
_STALE = "remove the reports before the tests run, and look why this run wrote none"
_HINT = "give files or patterns as for Jenkins' junit step, such as '**/TEST-*.xml'"


def read_results(given: Path | Sequence[str | Path], newer_than: Path | None = None) -> TestResults:
    """Read the reports of a test run, and combine them.

    Args:
        given: Files and patterns, relative to the current directory. A string may hold several, separated
            by commas; ``**`` matches any folders, as in Ant and Jenkins.
        newer_than: A file from before the test run; a report that is older than it is from another run.

    Raises:
        ConfigurationError: No file matches a pattern, more than :data:`MAX_REPORTS` files match, or a file
            cannot be read, is not a report, or is too old.
    """
    files = _found(given, needed=True)
    if len(files) > MAX_REPORTS:
        raise ConfigurationError(f"{len(files)} test reports, at most {MAX_REPORTS} are read", hint=_HINT)
    if newer_than is not None:
        _require_newer(files, newer_than)
    alone = len(files) == 1
    return together([_read(file, file.name if alone else file.as_posix()) for file in files])


def remove_results(given: Path | Sequence[str | Path]) -> list[Path]:
    """Remove the reports of an earlier test run, so that they are not taken for those of the next one.

    Args:
        given: Files and patterns, as for :func:`read_results`.

    Returns:
        The files that were removed.

    Raises:
        ConfigurationError: One cannot be removed.
    """
    files = _found(given, needed=False)
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{file} cannot be removed: {error.strerror}", hint=_STALE) from error
    return files


def _found(given: Path | Sequence[str | Path], *, needed: bool) -> list[Path]:
    wanted = [given] if isinstance(given, str | Path) else list(given)
    return list(dict.fromkeys(file for each in wanted for file in _files(each, needed=needed)))


def _files(given: str | Path, *, needed: bool) -> Iterator[Path]:
    if Path(given).is_file() or (needed and isinstance(given, Path)):
        yield Path(given)
        return
    for pattern in filter(None, (piece.strip() for piece in str(given).split(","))):
        whole = f"{pattern}**" if pattern.endswith("/") else pattern
        # Path.glob does not accept absolute patterns.
        found = sorted(map(Path, glob.iglob(whole, recursive=True, include_hidden=True)))  # noqa: PTH207
        files = [path for path in found if path.is_file()]
        if not files and needed:
            where = "" if Path(pattern).is_absolute() else f" in {Path.cwd()}"
            raise ConfigurationError(f"there is no test report {pattern}{where}", hint=_HINT)
        yield from files


def _require_newer(files: Sequence[Path], than: Path) -> None:
    try:
        begin = than.stat().st_mtime_ns
        old = [file for file in files if file.stat().st_mtime_ns < begin]
    except OSError as error:
        raise ConfigurationError(f"{error.filename} cannot be read: {error.strerror}") from error
    if old:
        raise ConfigurationError(
            f"{old[0]} is older than {than}: it is the report of an earlier test run",
            hint=_STALE,
            reasons=[f"older: {file}" for file in old],
        )


def _read(file: Path, name: str) -> TestResults:
    return read_junit(read_named(file, MAX_REPORT_BYTES, hint=_HINT), name)
