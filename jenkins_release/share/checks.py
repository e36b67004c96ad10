"""Checks of arguments that all share implementations have in common."""

from __future__ import annotations

from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.names import check_path
from jenkins_release.share.protocol import MAX_LISTED

_MAX_HOLDER = 500


def check_below_root(path: str) -> list[str]:
    """Split a path that must not be the root itself.

    Raises:
        ConfigurationError: A name in it is invalid, or it is empty.
    """
    names = check_path(path)
    if not names:
        raise ConfigurationError(
            "the root of a share is neither created, renamed nor removed", hint="name a path below it"
        )
    return names


def check_range(offset: int, length: int | None) -> None:
    """Check a range of bytes in a file.

    Raises:
        ConfigurationError: A number is negative.
    """
    if offset < 0 or (length is not None and length < 0):
        raise ConfigurationError(f"{length} bytes from offset {offset} are not a range of a file")


def too_short(place: str, offset: int, wanted: int, size: int) -> IntegrityError:
    """Return the error for a file that has fewer bytes than asked for."""
    return IntegrityError(
        f"{place}: {wanted} bytes expected from offset {offset}, but the file ends at {size}",
        hint="the file differs from its record: compare it with SHA256SUMS, and export it again",
    )


def check_listed(place: str, count: int) -> None:
    """Check how many entries of a folder have been read, before the next ones are requested.

    Raises:
        IntegrityError: There are more than in any folder of a release.
    """
    if count > MAX_LISTED:
        raise IntegrityError(
            f"{place} has more than {MAX_LISTED} entries, and is not listed",
            hint="no folder of a release has that many: find out who put them there, and remove them",
        )


def holder_line(holder: str) -> bytes:
    """Return the line in a lock file while ``holder`` has the lease."""
    return (" ".join(holder.split())[:_MAX_HOLDER] + "\n").encode()
