"""A download portal on a share: a web server's folder, local, mounted or over SMB."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from hashlib import sha256

from jenkins_release.base.errors import ConfigurationError, LeaseHeld
from jenkins_release.portal.protocol import (
    Advance,
    Link,
    NotAtPortal,
    PortalFile,
    Sent,
    Upload,
    check_read,
    taken,
)
from jenkins_release.share.protocol import (
    AccessRefused,
    Entry,
    HiddenEntries,
    Lease,
    PathExists,
    PathNotFound,
    Share,
)
from jenkins_release.share.staging import present, read_bounded, rename_whole, shown_path

_log = logging.getLogger(__name__)
_UPLOAD_LOCK = ".portal-upload.lock"
_PAGE_LOCK = ".portal-page.lock"
_BEFORE = ".before-"
"""Prefix of the hidden name that a page has until its successor is in place."""


class SharePortal:
    """A folder of a share, which a web server or the customers themselves read.

    Each file is written under a hidden name in its folder, and renamed after its hash was compared. Leases
    keep two writers of one product apart; files whose names begin with a full stop are not part of the
    portal.

    Args:
        share: The share; its root is the portal's.
        holder: Who holds the leases, one line.
    """

    def __init__(self, share: Share, holder: str) -> None:
        self._share = share
        self._holder = holder

    @property
    def name(self) -> str:
        """The share's name."""
        return self._share.name

    def put(self, upload: Upload, advance: Advance) -> Sent:
        """Upload a file; an interrupted upload starts again from its beginning."""
        if present(self._share, upload.path):
            self._same(upload)
            advance(upload.size)
            return Sent(0, upload.size)
        product = upload.path.partition("/")[0]
        self._share.make_folder(product)
        with self._share.lease(f"{product}/{_UPLOAD_LOCK}", self._holder) as lease:
            return self._put(upload, advance, lease)

    def _put(self, upload: Upload, advance: Advance, lease: Lease) -> Sent:
        folder, _, name = upload.path.rpartition("/")
        self._share.make_folder(folder)
        self._clear(folder, name)
        temporary, counted = f"{folder}/.{name}.{secrets.token_hex(4)}", 0
        try:
            with self._share.create(temporary) as writer:
                whole, size = sha256(), 0
                for piece in upload.read():
                    size += len(piece)
                    if size > upload.size:
                        break
                    writer.write(piece)
                    whole.update(piece)
                    advance(len(piece))
                    counted += len(piece)
                check_read(upload, shown_path(self._share, upload.path), size, whole.hexdigest())
            lease.confirm()
            rename_whole(self._share, temporary, upload.path)
        except PathExists:
            self._share.remove(temporary)
            self._same(upload)
            return Sent(0, upload.size)
        except BaseException:
            advance(-counted)
            raise
        return Sent(upload.size, 0)

    def write_page(self, path: str, make: Callable[[], bytes], content_type: str) -> bool:  # noqa: ARG002
        """Write a page under a lease.

        Between two renames there is briefly no page; :meth:`read_small` then reads the previous one.
        """
        folder, _, name = path.rpartition("/")
        self._share.make_folder(folder)
        try:
            with self._share.lease(f"{folder}/{_PAGE_LOCK}", self._holder) as lease:
                return self._replace(folder, name, make, lease)
        except LeaseHeld as error:
            # Writing a page takes a moment, so the lease is soon free again.
            raise LeaseHeld(error.message, hint=error.hint, retryable=True) from error

    def _replace(self, folder: str, name: str, make: Callable[[], bytes], lease: Lease) -> bool:
        path = f"{folder}/{name}"
        entries = self._clear(folder, name)
        data = make()
        before = f"{folder}/{_BEFORE}{name}"
        page = self._page(path)
        if page is not None:
            self._share.remove(before)  # left by a writer that died when its page was in place
        if page == data:
            return False
        if any(entry.name == name and entry.read_only for entry in entries):
            raise AccessRefused(
                f"{shown_path(self._share, path)} is marked read-only, and is not replaced",
                hint="someone protected the page, and it still shows what it did: clear its read-only mark, "
                "and run it again",
            )
        temporary = f"{folder}/.{name}.{secrets.token_hex(4)}"
        with self._share.create(temporary) as writer:
            writer.write(data)
        lease.confirm()
        # The page remembers withdrawals, so it always exists under one of the two names.
        if page is not None:
            rename_whole(self._share, path, before)
        rename_whole(self._share, temporary, path)
        self._share.remove(before)
        return True

    def files(self, folder: str) -> list[PortalFile]:
        """List the files below a folder; names that begin with a full stop are hidden."""
        return sorted(self._walk(folder), key=lambda file: file.path)

    def read_small(self, path: str) -> bytes:
        """Read a record or page; if a page is being replaced, the previous one."""
        folder, _, name = path.rpartition("/")
        # Read the page again: its writer may have finished between the first two reads.
        for each in (path, f"{folder}/{_BEFORE}{name}", path):
            if (data := self._page(each)) is not None:
                return data
        raise NotAtPortal(f"{shown_path(self._share, path)} does not exist")

    def remove(self, path: str) -> None:
        """Remove a file, and the folders that it leaves empty."""
        self._share.remove(path)
        folder = path.rpartition("/")[0]
        while "/" in folder and present(self._share, folder) and not self._share.list(folder):
            try:
                self._share.remove(folder)
            except HiddenEntries as error:
                _log.warning("%s", error)
                return
            folder = folder.rpartition("/")[0]

    def discard_unfinished(self, folder: str) -> int:
        """Remove what interrupted uploads left under hidden names below a folder."""
        found, folders = 0, [folder]
        while folders:
            above = folders.pop()
            for entry in self._entries(above):
                path = f"{above}/{entry.name}"
                if entry.is_folder:
                    folders.append(path)
                elif entry.name.startswith(".") and not entry.name.endswith(".lock"):
                    self._share.remove(path)
                    found += 1
        return found

    def link(self, path: str, *, customer: str, expires: timedelta) -> Link:  # noqa: ARG002
        """Refuse: a folder has no links that expire."""
        raise ConfigurationError(
            f"the portal {self.name} is a folder, which cannot make expiring links",
            hint='links need portal.kind = "s3"; give the customer the address of the web server instead',
        )

    def close(self) -> None:
        """Close the share's connections, if any."""
        close = getattr(self._share, "close", None)
        if close is not None:
            close()

    def _clear(self, folder: str, name: str) -> list[Entry]:
        """Remove what writers of a file left when they died, only under the lease; return what was listed."""
        entries = self._share.list(folder)
        for entry in entries:
            if entry.name.startswith(f".{name}.") and not entry.is_folder:
                self._share.remove(f"{folder}/{entry.name}")
        return entries

    def _page(self, path: str) -> bytes | None:
        try:
            return read_bounded(self._share, path)
        except PathNotFound:
            return None

    def _entries(self, folder: str) -> list[Entry]:
        try:
            return self._share.list(folder)
        except PathNotFound:
            return []

    def _walk(self, folder: str) -> Iterator[PortalFile]:
        folders = [folder]  # not recursive: others can nest folders to any depth
        while folders:
            above = folders.pop()
            for entry in self._entries(above):
                path = f"{above}/{entry.name}"
                if entry.name.startswith("."):
                    continue
                if entry.is_folder:
                    folders.append(path)
                else:
                    yield PortalFile(path, entry.size)

    def _same(self, upload: Upload) -> None:
        """Check that the existing file is the one to upload, and that the source is unchanged."""
        shown = shown_path(self._share, upload.path)
        size, sha = _hash(self._share.read(upload.path))
        if (size, sha) != (upload.size, upload.sha256):
            raise taken(shown, upload, f"{size} bytes, SHA-256 {sha}")
        check_read(upload, shown, *_hash(upload.read()))


def _hash(pieces: Iterator[bytes]) -> tuple[int, str]:
    whole, size = sha256(), 0
    for piece in pieces:
        whole.update(piece)
        size += len(piece)
    return size, whole.hexdigest()
