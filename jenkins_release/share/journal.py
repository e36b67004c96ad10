"""The journal of a candidate's promotion on the share.

``<product>/<version>/<build>/journal/NNNN-<what>.json``, one small file for each entry, written under a
hidden name and renamed. It is not part of the candidate: ``candidate.json`` and ``SHA256SUMS`` do not name
it, and a candidate without it, or with a damaged one, is just as good.
"""

from __future__ import annotations

import itertools
import logging
import re

from jenkins_release.base.errors import ReleaseError
from jenkins_release.share.candidates import CandidateArea, CandidateRef
from jenkins_release.share.protocol import Entry, Lease, PathNotFound
from jenkins_release.share.staging import remove_unfinished, write_new

_log = logging.getLogger(__name__)
JOURNAL = "journal"
MAX_ENTRY_BYTES = 64 * 1024
"""Largest file that is read as an entry."""
MAX_JOURNAL_BYTES = 16 * 1024 * 1024
"""Maximum bytes of entries that are read; one entry has a few hundred."""
MAX_ENTRIES = 2000
"""Maximum entries that are read, the last ones by name: a run with 40 images writes about 85."""

_NAME = re.compile(r"([0-9]{4,9})-[A-Za-z0-9._-]+\.json")


class JournalFolder:
    """The journal of one candidate.

    Args:
        area: The product's candidates.
        ref: The candidate.
    """

    def __init__(self, area: CandidateArea, ref: CandidateRef) -> None:
        self._share = area.share
        self._path = f"{area.folder(ref)}/{JOURNAL}"
        self._next = 0

    def read(self) -> dict[str, bytes]:
        """Read the entries: file name to bytes, in the order of their names.

        Anything that cannot be an entry is left out: folders, links, files that are too large or gone.

        Raises:
            RemoteError: The share failed; retryable.
        """
        found: dict[str, bytes] = {}
        total = 0
        entries = [entry for entry in self._entries() if entry.size <= MAX_ENTRY_BYTES]
        for entry in entries[-MAX_ENTRIES:]:
            total += entry.size
            if total > MAX_JOURNAL_BYTES:
                break
            try:
                # The length is the listed one: a file that grows meanwhile is not an entry.
                path = f"{self._path}/{entry.name}"
                found[entry.name] = b"".join(self._share.read(path, length=entry.size))
            except ReleaseError as error:
                if error.retryable:
                    raise
                _log.info("%s is left out of the journal: %s", entry.name, error)
        return found

    def append(self, what: str, data: bytes, lease: Lease) -> str:
        """Write an entry under the next free number, under the candidate's ``promote`` lease.

        Args:
            what: Short words for the file name, such as ``pushed-rms``.
            data: The entry.
            lease: The lease, confirmed first: otherwise its current holder may be about to write.

        Returns:
            The file's name.

        Raises:
            RemoteError: The share failed, or refused, or the lease was lost.
        """
        lease.confirm()
        if not self._next:
            self._share.make_folder(self._path)
            remove_unfinished(self._share, self._path)
            self._next = self._free_number()
        name = f"{self._next:04d}-{what}.json"
        try:
            write_new(self._share, self._path, name, data)
        except ReleaseError:
            self._next = 0  # look again at the next attempt
            raise
        self._next += 1
        return name

    def _free_number(self) -> int:
        used = {int(entry.name.partition("-")[0]) for entry in self._entries()}
        return next(number for number in itertools.count(1) if number not in used)

    def _entries(self) -> list[Entry]:
        try:
            entries = self._share.list(self._path)
        except PathNotFound:
            return []
        return [entry for entry in entries if not entry.is_folder and _NAME.fullmatch(entry.name)]
