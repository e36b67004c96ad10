"""The result of a comparison: the two candidates, and what differs in their images and installers."""

from __future__ import annotations

from datetime import datetime

from jenkins_release.base.dataclass import dataclass
from jenkins_release.records.candidate import PlatformRecord
from jenkins_release.rules.release.comparison import (
    Difference,
    InstallerChange,
    LayerComparison,
    PackageComparison,
)
from jenkins_release.share.candidates import CandidateRef


@dataclass(frozen=True)
class ComparedCandidate:
    """One side of a comparison.

    Attributes:
        ref: The candidate.
        digest: Digest of ``candidate.json``.
        released: Whether it was promoted or published, and not withdrawn since.
        exported_at: When it was exported, UTC.
        revision: Source revision; empty if unknown.
        bytes: Bytes of all files.
    """

    ref: CandidateRef
    digest: str
    released: bool
    exported_at: datetime
    revision: str
    bytes: int


@dataclass(frozen=True)
class ImageComparison:
    """An image before and now.

    Attributes:
        name: Short name; with the platform if the two sides have it for several.
        reference: Its name and tag; those before if it was removed.
        old: As it was; None if it was added.
        new: As it is; None if it was removed.
        layers: Its layers; None unless both are there.
        settings: Settings that differ.
        packages: Its packages; None if unknown.
        unknown: Why its packages are unknown; empty if they are known.
        findings: Statements about vulnerabilities that differ.
        notes: What to keep in mind when reading it.
    """

    name: str
    reference: str
    old: PlatformRecord | None
    new: PlatformRecord | None
    layers: LayerComparison | None = None
    settings: tuple[Difference, ...] = ()
    packages: PackageComparison | None = None
    unknown: str = ""
    findings: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """``added``, ``removed``, ``changed``, or ``same`` for the same config digest."""
        if self.old is None or self.new is None:
            return "added" if self.new else "removed"
        return "same" if self.old.config_digest == self.new.config_digest else "changed"


@dataclass(frozen=True)
class CompareReport:
    """What differs.

    Attributes:
        product: Product name.
        old: The older side.
        new: The newer side.
        images: Every image of either, sorted by name.
        installers: Every installer of either, sorted by name.
        notes: How the candidates were chosen, where a version left a choice.
    """

    product: str
    old: ComparedCandidate
    new: ComparedCandidate
    images: tuple[ImageComparison, ...]
    installers: tuple[InstallerChange, ...]
    notes: tuple[str, ...]
