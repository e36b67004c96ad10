r"""How candidates are laid out on a share.

``<product>/<version>/<build>/`` with ``candidate.json``, ``SHA256SUMS``, ``images/`` and
``attestations/``. A candidate is written into a sibling folder ``.incoming-<build>-<id>`` and
renamed into place in one server-side step, so a reader sees a complete candidate or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from jenkins_release.errors import ConfigurationError, IntegrityError, LeaseHeld, RemoteError
from jenkins_release.rules.names import check_identifier
from jenkins_release.share.protocol import Entry, Lease, PathExists, PathNotFound, Share
from jenkins_release.share.staging import (
    Staging,
    present,
    read_bounded,
    remove_unfinished,
    shown_path,
    stage_folder,
    write_new,
)

MANIFEST = "candidate.json"
CHECKSUMS = "SHA256SUMS"
ATTESTATIONS = "attestations"
_SUFFIX = ".dsse.json"


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

    def folder(self, ref: CandidateRef) -> str:
        """Path of the candidate's folder below the share's root."""
        return f"{self.product}/{ref.version}/{ref.build}"

    def shown(self, ref: CandidateRef, path: str = "") -> str:
        """The candidate's folder, or a file in it, as a person reads it."""
        return shown_path(self.share, f"{self.folder(ref)}/{path}")

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
        return present(self.share, self.folder(ref))

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
        return read_bounded(self.share, f"{self.folder(ref)}/{path}")

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
            try:
                with stage_folder(self.share, above, ref.build, [ATTESTATIONS]) as staging:
                    yield staging
            except PathExists as error:
                if self.exists(ref):
                    raise _taken(self, ref) from error
                raise

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


def _taken(area: CandidateArea, ref: CandidateRef) -> ConfigurationError:
    return ConfigurationError(
        f"candidate {ref} of {area.product} is on the share already: {area.shown(ref)}",
        hint="a candidate is never overwritten: export under another build number",
    )
