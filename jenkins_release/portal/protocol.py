"""What the release process needs from a download portal of any kind.

Paths are relative to the portal's root, with ``/`` between the parts (``SkyDRM/8.1.0/SHA256SUMS``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import field
from datetime import timedelta
from typing import Protocol

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError

Advance = Callable[[int], None]
"""Called with the number of additional bytes at the portal; negative if they must be sent again."""


class NotAtPortal(RemoteError):
    """The file does not exist at the portal."""


@dataclass(frozen=True)
class Upload:
    """A file to upload to the portal.

    Attributes:
        path: Its path at the portal.
        size: Expected size in bytes.
        sha256: Expected SHA-256 in hex.
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
        kept: Bytes that were already at the portal: the whole file, or parts of an interrupted upload.
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
    """A link that downloads one file for a limited time.

    Attributes:
        url: The URL: anyone who has it can download. Not part of the representation.
        lasts: How long it works; less than requested if the signing credentials expire earlier.
    """

    url: str = field(repr=False)
    lasts: timedelta


class Portal(Protocol):
    """Where customers download from.

    In addition to the errors that it names, every method may raise :class:`RemoteError` (``retryable`` if the
    same call may succeed later), and :class:`ConfigurationError` if the portal itself does not exist.
    """

    @property
    def name(self) -> str:
        """The readable name of the portal, such as ``s3://downloads/products``; never with a password."""
        ...

    def put(self, upload: Upload, advance: Advance) -> Sent:
        """Upload a file, complete and verified or not at all; it never replaces another.

        The file becomes visible only after its bytes were read once from the beginning, hashed and compared.
        An existing file with the same bytes is a success. If the portal can, an interrupted upload is
        continued.

        Raises:
            IntegrityError: The bytes are not what the upload says, or the path has other bytes. Nothing was
                changed.
        """
        ...

    def write_page(self, path: str, make: Callable[[], bytes], content_type: str) -> bool:
        """Write a page that replaces the one before it.

        Of concurrent writers, each sees what the previous one wrote: ``make`` is called again if another
        writer was faster.

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
        """Remove a file; it may be missing."""
        ...

    def discard_unfinished(self, folder: str) -> int:
        """Abort interrupted uploads below a folder; return how many there were."""
        ...

    def link(self, path: str, *, customer: str, expires: timedelta) -> Link:
        """Return a link that downloads one file for a limited time, without a login.

        Anyone who has the link can download: it is handled like a password.

        Args:
            path: The file.
            customer: The customer; part of the URL, so that the portal's log shows who downloaded.
            expires: How long it works.

        Raises:
            ConfigurationError: The portal has no such links, or not for that long; or the signing session
                expires very soon.
            NotAtPortal: The file does not exist.
        """
        ...


MAX_SMALL_FILE = 16 * 1024 * 1024


def other_bytes(shown: str, expected: str, found: str) -> IntegrityError:
    """Return the error for a source that differs from its record."""
    return IntegrityError(
        f"{shown} was not uploaded: expected {expected}, read {found}",
        hint="the file in the release area was changed after it was published; find out who changed it",
    )


def check_read(upload: Upload, shown: str, size: int, sha256: str) -> None:
    """Compare what was read from a source with its record.

    Raises:
        IntegrityError: It has another size or hash.
    """
    if (size, sha256) != (upload.size, upload.sha256):
        expected = f"{upload.size} bytes with SHA-256 {upload.sha256}"
        raise other_bytes(shown, expected, f"{size} bytes with SHA-256 {sha256}")


def taken(shown: str, upload: Upload, found: str) -> IntegrityError:
    """Return the error for a path that has something else."""
    return IntegrityError(
        f"{shown} exists with different content: expected {upload.size} bytes with SHA-256 {upload.sha256}, "
        f"found {found}",
        hint="the portal never overwrites anything: find out who put it there, and remove it",
    )


def check_expiry(expires: timedelta, longest: timedelta) -> None:
    """Check the duration of a link.

    Raises:
        ConfigurationError: It is not positive, or too long.
    """
    if not timedelta(seconds=1) <= expires <= longest:
        raise ConfigurationError(
            f"a link cannot work for {expires}: give at least a second and at most {longest}",
            hint="give --expires, such as 7d or 12h",
        )
