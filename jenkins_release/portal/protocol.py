"""What the release process needs of a download portal, whatever carries it.

Paths are relative to the portal's root, with ``/`` between the parts (``SkyDRM/8.1.0/SHA256SUMS``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError

Advance = Callable[[int], None]
"""Told how many more bytes are at the portal; a negative number where they have to be sent again."""


class NotAtPortal(RemoteError):
    """There is no such file at the portal."""


@dataclass(frozen=True)
class Upload:
    """A file on its way to the portal.

    Attributes:
        path: Where it will stand.
        size: Bytes that it has to have.
        sha256: SHA-256 in hex that it has to have.
        read: Yields its bytes from the beginning; called again for each attempt.
        content_type: Media type.
        download_as: File name that a browser saves it under; empty for a file that it shows.
    """

    path: str
    size: int
    sha256: str
    read: Callable[[], Iterator[bytes]]
    content_type: str = "application/octet-stream"
    download_as: str = ""


@dataclass(frozen=True)
class Sent:
    """What an upload did.

    Attributes:
        sent: Bytes that were sent.
        kept: Bytes that were at the portal already: the whole file, or parts of an interrupted upload.
    """

    sent: int
    kept: int


@dataclass(frozen=True)
class PortalFile:
    """A file at the portal: its path and size."""

    path: str
    size: int


@dataclass(frozen=True)
class Link:
    """An address that downloads one file for some time.

    Attributes:
        url: The address: whoever has it may download. Not part of the representation.
        lasts: How long it works: less than was asked for where the credentials that signed it end before.
    """

    url: str = field(repr=False)
    lasts: timedelta


class Portal(Protocol):
    """Where customers download from.

    Every method may raise :class:`RemoteError` (``retryable`` when the same call may succeed later) and
    :class:`ConfigurationError` where the portal itself is not there, besides the errors that it names.
    """

    @property
    def name(self) -> str:
        """The portal as people write it, such as ``s3://downloads/products``; never with a password."""
        ...

    def put(self, upload: Upload, advance: Advance) -> Sent:
        """Put a file there, whole and proven, or not at all; it never replaces another.

        Nobody sees the file before its bytes were read once from the beginning, hashed and compared. A
        file that is there with the same bytes is success. What an interrupted call left is continued
        where the portal can.

        Raises:
            IntegrityError: The bytes are not what the upload says, or other bytes are there under
                the path. Nothing was changed.
        """
        ...

    def write_page(self, path: str, make: Callable[[], bytes], content_type: str) -> bool:
        """Write a page that replaces the one before it.

        Of writers at the same moment each sees what the one before it wrote: ``make`` is called
        again where somebody else was quicker.

        Returns:
            Whether anything changed.
        """
        ...

    def files(self, folder: str) -> list[PortalFile]:
        """List all files below a folder, sorted by path; unfinished ones are not listed."""
        ...

    def read_small(self, path: str) -> bytes:
        """Read a record or page. Raises :class:`NotAtPortal`; IntegrityError if it is far too large."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file; a missing one is fine."""
        ...

    def discard_unfinished(self, folder: str) -> int:
        """Give up interrupted uploads below a folder; return how many there were."""
        ...

    def link(self, path: str, *, customer: str, expires: timedelta) -> Link:
        """Return an address that downloads one file for some time, without a login.

        Whoever has the address may download: it is handled like a password.

        Args:
            path: The file.
            customer: Whom it is for; part of the address, so that the portal's log tells who downloaded.
            expires: How long it works.

        Raises:
            ConfigurationError: The portal has no such addresses, or not for that long; or the session that
                would sign it ends very soon.
            NotAtPortal: There is no such file.
        """
        ...


MAX_SMALL_FILE = 16 * 1024 * 1024


def other_bytes(shown: str, expected: str, found: str) -> IntegrityError:
    """Return the error for a source that is not what the record says."""
    return IntegrityError(
        f"{shown} was not uploaded: expected {expected}, read {found}",
        hint="the file in the release area was changed after it was published: find out who changed it",
    )


def check_read(upload: Upload, shown: str, size: int, sha256: str) -> None:
    """Compare what was read of a source with what it has to be.

    Raises:
        IntegrityError: It has another size or hash.
    """
    if (size, sha256) != (upload.size, upload.sha256):
        expected = f"{upload.size} bytes with SHA-256 {upload.sha256}"
        raise other_bytes(shown, expected, f"{size} bytes with SHA-256 {sha256}")


def taken(shown: str, upload: Upload, found: str) -> IntegrityError:
    """Return the error for a path under which something else stands."""
    return IntegrityError(
        f"{shown} is there with other content: expected {upload.size} bytes with SHA-256 {upload.sha256}, "
        f"found {found}",
        hint="nothing at the portal is overwritten: find out who put it there, and remove it",
    )


def check_expiry(expires: timedelta, longest: timedelta) -> None:
    """Check how long a link is to work.

    Raises:
        ConfigurationError: Not at all, or longer than possible.
    """
    if not timedelta(seconds=1) <= expires <= longest:
        raise ConfigurationError(
            f"a link cannot work for {expires}: at least a second, at most {longest} is possible",
            hint="give --expires, such as 7d or 12h",
        )
