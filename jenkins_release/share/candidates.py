r"""How candidates are laid out on a share.

``<product>/<version>/<build>/`` with ``candidate.json``, ``SHA256SUMS``, ``images/`` and
``attestations/``. A candidate is written into a sibling folder ``.incoming-<build>-<id>`` and
renamed into place in one server-side step, so a reader sees a complete candidate or none.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from jenkins_release.errors import ConfigurationError, IntegrityError, LeaseHeld, ReleaseError, RemoteError
from jenkins_release.rules.names import check_identifier
from jenkins_release.share.protocol import Entry, Lease, PathExists, PathNotFound, Share, Writer

_log = logging.getLogger(__name__)
MANIFEST = "candidate.json"
CHECKSUMS = "SHA256SUMS"
ATTESTATIONS = "attestations"
_SUFFIX = ".dsse.json"
_MAX_SMALL_FILE = 16 * 1024 * 1024


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


class Staging:
    """A candidate on its way: files are created here, :meth:`commit` makes all of them visible."""

    def __init__(self, share: Share, folder: str, target: str) -> None:
        self._share = share
        self._folder = folder
        self._target = target
        self.committed = False

    def path(self, path: str) -> str:
        """Where a file of the candidate stands below the share's root until the commit."""
        return f"{self._folder}/{path}"

    def create(self, path: str) -> AbstractContextManager[Writer]:
        """Create a file below the candidate's folder, through breaks of the connection."""
        parent, _, _ = path.rpartition("/")
        if parent:
            self._share.make_folder(f"{self._folder}/{parent}")
        return self._share.create(self.path(path), resumable=True)

    def remove(self, path: str) -> None:
        """Remove a file that is of no use; a missing one is fine."""
        self._share.remove(self.path(path))

    def write(self, path: str, data: bytes) -> None:
        """Create a small file with the given bytes."""
        with self.create(path) as writer:
            writer.write(data)

    def commit(self) -> None:
        """Rename the whole folder into place in one step. Raises PathExists."""
        _rename(self._share, self._folder, self._target)
        self.committed = True


class CandidateArea:
    """The candidates of one product on a share."""

    def __init__(self, share: Share, product: str) -> None:
        self.share = share
        self.product = check_identifier("product", product)

    def folder(self, ref: CandidateRef) -> str:
        """Path of the candidate's folder below the share's root."""
        return f"{self.product}/{ref.version}/{ref.build}"

    def shown(self, ref: CandidateRef, path: str = "") -> str:
        """The candidate's folder, or a file in it, as a person reads it."""
        tail = f"{self.folder(ref)}/{path}".rstrip("/")
        root = self.share.name
        return root + "\\" + tail.replace("/", "\\") if root.startswith("\\\\") else f"{root}/{tail}"

    def refs(self) -> list[CandidateRef]:
        """List the complete candidates, sorted by name; unfinished ones have hidden names.

        One query for the product's folder, and one for each version, all of which overlap.
        """
        try:
            versions = [entry.name for entry in _folders(self.share.list(self.product))]
        except PathNotFound:
            return []
        found = []
        builds = self.share.list_each([f"{self.product}/{version}" for version in versions])
        for version, entries in zip(versions, builds, strict=True):
            if isinstance(entries, PathNotFound):
                continue
            if isinstance(entries, RemoteError):
                raise entries
            found += [CandidateRef(version, entry.name) for entry in _folders(entries)]
        return sorted(found)

    def exists(self, ref: CandidateRef) -> bool:
        """Whether the candidate's folder is there."""
        return _present(self.share, self.folder(ref))

    def read_small(self, ref: CandidateRef, path: str) -> bytes:
        """Read a small file of the candidate.

        Raises:
            ConfigurationError: There is no such candidate.
            IntegrityError: The candidate is there, the file is not, or is far too large.
        """
        try:
            return self._read(ref, path)
        except PathNotFound as error:
            if not self.exists(ref):
                raise ConfigurationError(
                    f"there is no candidate {ref} of {self.product} on {self.share.name}",
                    hint="'jenkins-release candidate list' shows what is there",
                ) from error
            raise IntegrityError(
                f"candidate {ref} is incomplete: {self.shown(ref, path)} is missing",
                hint="export the build again under a new build number; do not repair a candidate by hand",
            ) from error

    def _read(self, ref: CandidateRef, path: str) -> bytes:
        # Bounded by what comes: to ask for the size first would double the way over a slow line.
        data = bytearray()
        for piece in self.share.read(f"{self.folder(ref)}/{path}"):
            data += piece
            if len(data) > _MAX_SMALL_FILE:
                raise IntegrityError(
                    f"{self.shown(ref, path)} has more than {_MAX_SMALL_FILE} bytes",
                    hint="no record is that large: find out who wrote it",
                )
        return bytes(data)

    def attestations(self, ref: CandidateRef) -> dict[str, bytes]:
        """Read all attestations: file name to bytes, in the order of their numbers."""
        return {
            entry.name: self._read(ref, f"{ATTESTATIONS}/{entry.name}") for entry in self._attestations(ref)
        }

    def attestation_names(self, ref: CandidateRef) -> list[str]:
        """Return the names of all attestations, in the order of their numbers."""
        return [entry.name for entry in self._attestations(ref)]

    def _attestations(self, ref: CandidateRef) -> list[Entry]:
        try:
            entries = self.share.list(f"{self.folder(ref)}/{ATTESTATIONS}")
        except PathNotFound:
            return []
        return attestation_entries(entries)

    @contextmanager
    def stage(self, ref: CandidateRef, holder: str) -> Iterator[Staging]:
        """Prepare a candidate under a lease; what is not committed is removed.

        Left-overs of an export of the same build that died are removed first: the lease says that
        no other export is at work on it.

        Raises:
            ConfigurationError: The candidate exists already.
            LeaseHeld: Another export of the same build is running.
        """
        with self.lease(ref, "export", holder):
            if self.exists(ref):
                raise _taken(self, ref)
            above = f"{self.product}/{ref.version}"
            prefix = f".incoming-{ref.build}-"
            self.share.make_folder(above)
            for entry in self.share.list(above):
                if entry.name.startswith(prefix):
                    _log.warning("removing %s, left by an export that died", entry.name)
                    self.share.remove(f"{above}/{entry.name}")
            folder = f"{above}/{prefix}{secrets.token_hex(4)}"
            self.share.make_folder(f"{folder}/{ATTESTATIONS}")
            staging = Staging(self.share, folder, self.folder(ref))
            try:
                yield staging
            except PathExists as error:
                if self.exists(ref):
                    raise _taken(self, ref) from error
                raise
            finally:
                if not staging.committed:
                    self._discard(folder)

    def _discard(self, folder: str) -> None:
        try:
            self.share.remove(folder)
        except ReleaseError as error:
            # The first failure is what the caller has to see; the next export removes the folder.
            _log.warning("the unfinished folder %s could not be removed: %s", folder, error)

    def add_attestation(
        self, ref: CandidateRef, kind: str, make: Callable[[dict[str, bytes]], bytes], holder: str
    ) -> tuple[str, bytes]:
        """Append an attestation behind those that are there.

        Args:
            ref: The candidate.
            kind: Short word for the file name, such as ``qa``.
            make: Makes the envelope from the attestations that are there, in order.
            holder: Who appends, for the lease.

        Returns:
            The file's name and bytes.

        Raises:
            LeaseHeld: Another attestation is being added at this moment; retryable.
        """
        folder = f"{self.folder(ref)}/{ATTESTATIONS}"
        try:
            with self.lease(ref, "attest", holder):
                self.share.make_folder(folder)
                remove_unfinished(self.share, folder)
                before = self.attestations(ref)
                data = make(before)
                name = f"{len(before) + 1:04d}-{kind}{_SUFFIX}"
                write_new(self.share, folder, name, data)
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
    """Return those entries of an attestations folder that are attestations; unfinished ones are hidden."""
    return [entry for entry in entries if not entry.is_folder and not entry.name.startswith(".")]


def _folders(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.is_folder and not entry.name.startswith(".")]


def write_new(share: Share, folder: str, name: str, data: bytes) -> None:
    """Write a small file under a hidden name and rename it: it is there whole, or not at all.

    Raises:
        PathExists: The name is taken; what was written stays until :func:`remove_unfinished`.
    """
    temporary = f"{folder}/.{name}.{secrets.token_hex(4)}"
    with share.create(temporary) as writer:
        writer.write(data)
    _rename(share, temporary, f"{folder}/{name}")


def remove_unfinished(share: Share, folder: str) -> None:
    """Remove what a writer that died left under a hidden name; only under the lease of the writers."""
    for entry in share.list(folder):
        if entry.name.startswith(".") and not entry.is_folder:
            share.remove(f"{folder}/{entry.name}")


def _rename(share: Share, source: str, target: str) -> None:
    """Rename, also where the answer was lost: a source that is gone and a target that is there were it."""
    try:
        share.rename(source, target)
    except RemoteError as error:
        if not error.retryable or _present(share, source) or not _present(share, target):
            raise
        _log.warning("%s was renamed to %s, its answer was lost: %s", source, target, error)


def _present(share: Share, path: str) -> bool:
    try:
        share.stat(path)
    except PathNotFound:
        return False
    return True


def _taken(area: CandidateArea, ref: CandidateRef) -> ConfigurationError:
    return ConfigurationError(
        f"candidate {ref} of {area.product} is on the share already: {area.shown(ref)}",
        hint="a candidate is never overwritten: export under another build number",
    )
