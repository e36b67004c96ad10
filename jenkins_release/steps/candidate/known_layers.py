"""Layers that are already on the share: in earlier candidates, or in the one being written."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ReleaseError
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.records.archive_index import Compression
from jenkins_release.records.candidate import Candidate, CandidateImage
from jenkins_release.share.candidate_records import read_manifests
from jenkins_release.share.candidates import MANIFEST, CandidateRef
from jenkins_release.steps.candidate.content_store import ShareBlob
from jenkins_release.steps.candidate.order import candidate_order
from jenkins_release.steps.context.services import Services

_log = logging.getLogger(__name__)
CANDIDATES = 12
"""Number of earlier candidates to search: of the same version, then of the same line, then the newest."""
LEAST = 1 << 20
"""Minimum bytes of a layer that is worth a copy by the server, with its round trips and a flush."""


@dataclass(frozen=True)
class Stretch(ShareBlob):
    """A layer inside a file on the share; its path is below the share's root.

    Attributes:
        origin: The candidate it belongs to, for messages.
        diff_id: Digest of the uncompressed layer, as ``candidate.json`` recorded it.
        compression: How the bytes are compressed.
        proven: Whether this export proved them to be that layer.
    """

    origin: str
    diff_id: str = ""
    compression: Compression = "none"
    proven: bool = False


class KnownLayers:
    """Stretches by digest, and by the layer that they are."""

    def __init__(self, stretches: Iterable[Stretch] = ()) -> None:
        self._found: dict[str, Stretch] = {}
        self._gzip: dict[str, Stretch] = {}
        for stretch in stretches:
            self.add(stretch)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, stretch: Stretch) -> None:
        """Remember one, unless its digest is known; by digest not if it is small."""
        if stretch.compression == "gzip":
            self._gzip.setdefault(stretch.diff_id, stretch)
        if stretch.size >= LEAST:
            self._found.setdefault(stretch.digest, stretch)

    def add_layers(
        self, images: Iterable[CandidateImage], folder: str, origin: str, *, proven: bool = False
    ) -> None:
        """Remember the layers of a candidate's images.

        Args:
            images: Their records.
            folder: Where the candidate's files are now, below the share's root.
            origin: The candidate.
            proven: Whether this export wrote them.
        """
        for image in images:
            path = f"{folder}/{image.archive}"
            for layer in (layer for part in image.parts for layer in part.layers):
                self.add(
                    Stretch(
                        layer.digest,
                        layer.size,
                        path,
                        layer.offset,
                        origin,
                        layer.diff_id,
                        layer.compression,
                        proven,
                    )
                )

    def find(self, digest: str, size: int) -> Stretch | None:
        """Return the stretch with this digest, which must also have this size."""
        found = self._found.get(digest)
        return found if found is not None and found.size == size else None

    def of_digest(self, digest: str) -> Stretch | None:
        """Return the stretch with this digest; none that is small."""
        return self._found.get(digest)

    def gzip_of(self, diff_id: str) -> Stretch | None:
        """Return a stretch that is a layer with this ``diff_id``, compressed with gzip."""
        return self._gzip.get(diff_id)

    def of_size(self, size: int) -> list[Stretch]:
        """Return all with a size."""
        return [stretch for stretch in self._found.values() if stretch.size == size]

    def among(self, digests: Iterable[str]) -> KnownLayers:
        """Return those that have one of the digests."""
        wanted = set(digests)
        return KnownLayers(stretch for digest, stretch in self._found.items() if digest in wanted)

    def without(self, stretches: Iterable[Stretch]) -> KnownLayers:
        """Return all but some."""
        unwanted = {stretch.digest for stretch in stretches}
        everything = [*self._found.values(), *self._gzip.values()]
        return KnownLayers(stretch for stretch in everything if stretch.digest not in unwanted)


def find_known_layers(ref: CandidateRef, services: Services) -> KnownLayers:
    """Find the layers of the nearest earlier candidates.

    It only saves time, so no failure here is an error: what cannot be read is left out.
    """
    if not services.configuration.export.reuse:
        return KnownLayers()
    area = services.candidates
    known = KnownLayers()
    try:
        nearest = _nearest(ref, area.refs(all_count=False))
        manifests = read_manifests(area, nearest)
    except ReleaseError as error:
        _log.info("the layers of earlier candidates are not re-used: %s", error.message)
        return known
    for found in nearest:
        try:
            record = Candidate.from_bytes(manifests[found], area.shown(found, MANIFEST))
        except (KeyError, ReleaseError):
            continue
        known.add_layers(record.images, area.folder(found), str(found))
    return known


def _nearest(ref: CandidateRef, refs: Iterable[CandidateRef]) -> list[CandidateRef]:
    newest = sorted((other for other in refs if other != ref), key=candidate_order, reverse=True)
    line = _line(ref)
    newest.sort(key=lambda other: (other.version != ref.version, _line(other) != line))
    return newest[:CANDIDATES]


def _line(ref: CandidateRef) -> tuple[int, int] | None:
    try:
        version = ReleaseVersion.parse(ref.version)
    except ReleaseError:
        return None
    return version.major, version.minor
