r"""The layout of candidates on a share.

``<product>/<version>/<build>/`` with ``candidate.json``, ``SHA256SUMS``, ``images/`` and
``attestations/``. A candidate is written into a sibling folder ``.incoming-<build>-<id>`` and
renamed into place in one server-side step, so a reader sees a complete candidate or none.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from jenkins_release.base.errors import ConfigurationError, IntegrityError, LeaseHeld, RemoteError
from jenkins_release.base.names import check_identifier, check_path
from jenkins_release.share.litter import is_litter
from jenkins_release.share.protocol import Entry, Lease, NameRefused, PathExists, PathNotFound, Share
from jenkins_release.share.staging import (
    Staging,
    not_listed,
    present,
    read_bounded,
    remove_unfinished,
    shown_path,
    stage_folder,
    unlisted,
    write_new,
)

_log = logging.getLogger(__name__)
MANIFEST = "candidate.json"
CHECKSUMS = "SHA256SUMS"
ATTESTATIONS = "attestations"
_SUFFIX = ".dsse.json"
MAX_ATTESTATIONS = 1000
"""Maximum number of attestations of a candidate."""
MAX_ATTESTATIONS_BYTES = 64 * 1024 * 1024
"""Maximum bytes of all attestations of a candidate together: they are read into memory."""
_MAX_SPARE_BYTES = 1024 * 1024
"""Maximum size in bytes of a file without an attestation's name that is read to see what it is."""
_MOST_FREE = 8
"""Maximum free numbers under which attestations are looked for that are not listed."""
_NAMED = re.compile(r"\d{4,}-[^.]+\.dsse\.json")
_UNFINISHED = re.compile(r"\.\d{4,}-[a-z]+\.dsse\.json\.[0-9a-f]{8}")
"""What a step leaves behind if it dies while it adds an attestation; the next one removes it."""


@dataclass(frozen=True, order=True)
class CandidateRef:
    """A candidate's place: version and build of a product."""

    version: str
    build: str

    @classmethod
    def parse(cls, text: str) -> CandidateRef:
        """Read ``8.1.0/42``. Raises ConfigurationError."""
        version, slash, build = text.partition("/")
        if not slash:
            raise ConfigurationError(
                f"{text!r} does not name a candidate", hint="write version/build, such as 8.1.0/42"
            )
        return cls(check_identifier("version", version), check_identifier("build", build))

    def __str__(self) -> str:
        return f"{self.version}/{self.build}"


class CandidateArea:
    """The candidates of one product on a share."""

    def __init__(self, share: Share, product: str) -> None:
        self.share = share
        self.product = check_identifier("product", product)
        self._told: set[str] = set()

    def folder(self, ref: CandidateRef) -> str:
        """Path of the candidate's folder below the share's root."""
        return f"{self.product}/{ref.version}/{ref.build}"

    def shown(self, ref: CandidateRef, path: str = "") -> str:
        """The readable path of the candidate's folder, or of a file in it."""
        return shown_path(self.share, f"{self.folder(ref)}/{path}")

    def refs(self, *, all_count: bool = True) -> list[CandidateRef]:
        """List the complete candidates, sorted by name; unfinished ones have hidden names.

        Folders with a name that no export makes are left out; the log names each once.

        Args:
            all_count: Whether the log says once that the server may leave some out.

        Raises:
            RemoteError: The share failed, or this account may not list one of the folders.
        """
        found, unread = self.look(all_count=all_count)
        for name, error in unread.items():
            if not isinstance(error, NameRefused):
                raise error
            if name not in self._told:
                self._told.add(name)
                _log.warning("no candidate is looked for there: %s", error.message)
        return found

    def look(self, *, all_count: bool = True) -> tuple[list[CandidateRef], dict[str, RemoteError]]:
        """List the complete candidates, and why other folders cannot be: one hides no other.

        One query for the product's folder, and one for each version, all of which overlap.

        Args:
            all_count: Whether the log says once that the server may leave some out.

        Returns:
            The candidates, sorted by name; and the path of each folder that cannot be listed to the reason,
            a :class:`NameRefused` if its name or path is none that an export makes.

        Raises:
            RemoteError: The share failed.
        """
        if all_count and not self.share.lists_all() and "" not in self._told:
            self._told.add("")
            _log.warning(
                "%s lists only what this account may read: there may be other candidates", self.share.name
            )
        try:
            entries = _folders(self.share.list(self.product))
        except PathNotFound:
            return [], {}
        unread: dict[str, RemoteError] = {}
        versions = [each.name for each in entries if listable(f"{self.product}/{each.name}", unread)]
        found = []
        builds = self.share.list_each([f"{self.product}/{version}" for version in versions])
        for version, listed in zip(versions, builds, strict=True):
            if isinstance(listed, PathNotFound):
                continue
            if isinstance(listed, RemoteError):
                if listed.retryable:
                    raise listed
                unread[f"{self.product}/{version}"] = listed
                continue
            refs = [CandidateRef(version, entry.name) for entry in _folders(listed)]
            found += [ref for ref in refs if listable(f"{self.folder(ref)}/{ATTESTATIONS}", unread)]
        return sorted(found), unread

    def exists(self, ref: CandidateRef) -> bool:
        """Whether the candidate's folder is there."""
        return present(self.share, self.folder(ref))

    def read_small(self, ref: CandidateRef, path: str) -> bytes:
        """Read a small file of the candidate.

        Raises:
            ConfigurationError: There is no such candidate.
            IntegrityError: The candidate exists, but the file does not, or is far too large.
        """
        try:
            return self._read(ref, path)
        except PathNotFound as error:
            if not self.exists(ref):
                raise ConfigurationError(
                    f"there is no candidate {ref} of {self.product} on {self.share.name}",
                    hint="'jenkins-release candidate list' lists the candidates",
                ) from error
            raise IntegrityError(
                f"candidate {ref} is incomplete: {self.shown(ref, path)} is missing",
                hint="export the build again under a new build number; do not repair a candidate by hand",
            ) from error

    def _read(self, ref: CandidateRef, path: str) -> bytes:
        return read_bounded(self.share, f"{self.folder(ref)}/{path}")

    def attestations(self, ref: CandidateRef) -> dict[str, bytes]:
        """Read all attestations: file name to bytes, in the order of their numbers.

        Raises:
            IntegrityError: Something else is in their folder, one of them cannot be read, or there are far
                too many. Ignoring that would hide what was signed, such as a withdrawal.
        """
        names, strange = self.look_at_attestations(ref)
        if strange:
            told = list(strange.values())
            hidden = not_listed(self.share, f"{self.folder(ref)}/{ATTESTATIONS}/{next(iter(strange))}")
            hint = hidden.hint if told[0] == hidden.message else "find out who changed the share"
            raise IntegrityError(told[0], hint=hint, reasons=told)
        found: dict[str, bytes] = {}
        total = 0
        for name in names:
            found[name] = self.read_attestation(ref, name)
            # Counted again: a file that grows while it is read had another size in the listing.
            total += len(found[name])
            self._check_bounds(ref, len(found), total)
        return found

    def attestation_names(self, ref: CandidateRef) -> list[str]:
        """Return the names of all attestations, in the order of their numbers."""
        return self.look_at_attestations(ref)[0]

    def look_at_attestations(self, ref: CandidateRef) -> tuple[list[str], dict[str, str]]:
        """List the attestations: their names in order, and every other name there with a description.

        The folder itself has the empty name. Files that operating systems leave there are logged and ignored.
        A file with another name counts as an attestation if it looks like one and is not a copy: it was
        renamed. One that the server does not list for this account, perhaps a withdrawal, is found by name.
        """
        folder = f"{self.folder(ref)}/{ATTESTATIONS}"
        try:
            entries = self.share.list(folder)
        except PathNotFound:
            # An export creates the folder even without attestations.
            state = "is a file instead of a folder" if present(self.share, folder) else "is missing"
            return [], {"": f"{shown_path(self.share, folder)} {state}"}
        found = attestation_entries(entries)
        strange = {}
        for entry in spare_entries(entries):
            shown = shown_path(self.share, f"{folder}/{entry.name}")
            if self._is_litter(folder, entry, found):
                if shown not in self._told:
                    self._told.add(shown)
                    _log.warning("ignored %s: it is not an attestation, and does not belong there", shown)
            elif entry.is_folder or entry.name.startswith("."):
                what = "folder" if entry.is_folder else "file"
                strange[entry.name] = f"{shown} is a {what} that does not belong there"
            else:
                found.append(entry)
        found.sort(key=lambda entry: entry.name)
        for name in unlisted(self.share, folder, next_names([entry.name for entry in found])):
            strange[name] = not_listed(self.share, f"{folder}/{name}").message
        self._check_bounds(ref, len(found), sum(entry.size for entry in found))
        return [entry.name for entry in found], strange

    def _is_litter(self, folder: str, entry: Entry, attestations: Sequence[Entry]) -> bool:
        """Whether an entry is neither an attestation under another name nor something unknown."""
        if entry.is_folder or entry.size > _MAX_SPARE_BYTES:
            return is_litter(entry.name, is_folder=entry.is_folder)
        data = read_bounded(self.share, f"{folder}/{entry.name}")
        if b'"payload' not in data and b'"signatures' not in data:
            # A hidden file with an unknown name is still a sign that something is hidden.
            return is_litter(entry.name, is_folder=False) or not entry.name.startswith(".")
        same = (each.name for each in attestations if each.size == entry.size)
        return any(read_bounded(self.share, f"{folder}/{name}") == data for name in same)

    def read_attestation(self, ref: CandidateRef, name: str) -> bytes:
        """Read an attestation that was listed. Raises IntegrityError if it cannot be read."""
        path = f"{ATTESTATIONS}/{name}"
        try:
            return self._read(ref, path)
        except RemoteError as error:
            if error.retryable:
                raise
            raise IntegrityError(
                f"{self.shown(ref, path)} is listed, but cannot be read: {error.message}",
                hint="find out who changed the share",
            ) from error

    def _check_bounds(self, ref: CandidateRef, count: int, size: int) -> None:
        if within_bounds(count, size):
            return
        raise IntegrityError(
            f"{self.shown(ref, ATTESTATIONS)} has {count} attestations with {size} bytes, expected at most "
            f"{MAX_ATTESTATIONS} with {MAX_ATTESTATIONS_BYTES} bytes",
            hint="no candidate has that many: find out who put them there, and remove them",
        )

    @contextmanager
    def stage(self, ref: CandidateRef, holder: str) -> Iterator[Staging]:
        """Prepare a candidate under a lease; it is removed if it is not committed.

        Leftovers of an export of the same build that died are removed first: the lease guarantees that no
        other export is running.

        Raises:
            ConfigurationError: The candidate exists already.
            LeaseHeld: Another export of the same build is running.
        """
        with self.lease(ref, "export", holder) as lease:
            if self.exists(ref):
                raise _taken(self, ref)
            above = f"{self.product}/{ref.version}"
            try:
                with stage_folder(self.share, above, ref.build, [ATTESTATIONS], lease) as staging:
                    yield staging
            except PathExists as error:
                if self.exists(ref):
                    raise _taken(self, ref) from error
                raise

    def add_attestation(
        self, ref: CandidateRef, kind: str, make: Callable[[dict[str, bytes]], bytes | None], holder: str
    ) -> tuple[str, bytes] | None:
        """Append an attestation to the existing ones.

        Args:
            ref: The candidate.
            kind: Short name for the file name, such as ``qa``.
            make: Makes the envelope from the existing attestations, in order; returns None to add nothing.
            holder: Who appends, for the lease.

        Returns:
            The file's name and bytes; None if nothing was added.

        Raises:
            LeaseHeld: Another attestation is being added right now; retryable.
        """
        folder = f"{self.folder(ref)}/{ATTESTATIONS}"
        try:
            with self.lease(ref, "attest", holder) as lease:
                self.share.make_folder(folder)
                remove_unfinished(self.share, folder)
                before = self.attestations(ref)
                self._check_bounds(ref, len(before) + 1, 0)
                data = make(before)
                if data is None:
                    return None
                name = f"{len(before) + 1:04d}-{kind}{_SUFFIX}"
                write_new(self.share, folder, name, data, lease)
                return name, data
        except LeaseHeld as error:
            raise LeaseHeld(error.message, hint=error.hint, retryable=True) from error

    @contextmanager
    def lease(self, ref: CandidateRef, purpose: str, holder: str) -> Iterator[Lease]:
        """Hold the lease for one purpose (``export``, ``attest``, ``promote``) on a candidate."""
        folder = f"{self.product}/.leases"
        self.share.make_folder(folder)
        with self.share.lease(f"{folder}/{ref.version}-{ref.build}.{purpose}", holder) as lease:
            yield lease


def attestation_entries(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries of an attestations folder that are named like an attestation."""
    return [entry for entry in entries if not entry.is_folder and _NAMED.fullmatch(entry.name)]


def spare_entries(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries that are named neither like an attestation nor like an unfinished one."""
    return [
        entry
        for entry in entries
        if entry.is_folder or not (_NAMED.fullmatch(entry.name) or _UNFINISHED.fullmatch(entry.name))
    ]


def next_names(listed: Collection[str]) -> list[str]:
    """Return the names that an attestation may have that is not listed: for each number that is free.

    Args:
        listed: Names of the attestations that are listed.
    """
    used = {int(name.partition("-")[0]) for name in listed if _NAMED.fullmatch(name)}
    # Anyone may have put a file with a number of a hundred digits there.
    free = islice((each for each in range(1, max(used, default=0) + 2) if each not in used), _MOST_FREE)
    # It loads what signs, which a command that only names a candidate does not need.
    from jenkins_release.records.attestation import KINDS

    return [f"{number:04d}-{kind}{_SUFFIX}" for number in free for kind in KINDS.values()]


def within_bounds(count: int, size: int) -> bool:
    """Whether a candidate may have this many attestations with this total size."""
    return count <= MAX_ATTESTATIONS and size <= MAX_ATTESTATIONS_BYTES


def _folders(entries: Sequence[Entry]) -> list[Entry]:
    return [
        entry
        for entry in entries
        if entry.is_folder and not entry.name.startswith(".") and not is_litter(entry.name, is_folder=True)
    ]


def listable(path: str, refused: dict[str, RemoteError]) -> bool:
    """Whether a path can be asked for. Anyone who may write to the share can make one that cannot.

    Args:
        path: Path below the share's root.
        refused: Gets the path and the reason if it cannot.
    """
    try:
        check_path(path)
    except ConfigurationError as error:
        refused[path] = NameRefused(error.message, hint=error.hint)
        return False
    return True


def _taken(area: CandidateArea, ref: CandidateRef) -> ConfigurationError:
    return ConfigurationError(
        f"candidate {ref} of {area.product} already exists on the share: {area.shown(ref)}",
        hint="candidates are never overwritten: export under another build number",
    )
