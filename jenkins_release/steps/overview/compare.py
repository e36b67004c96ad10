"""Compare: what differs between two versions or candidates, for those who decide about the newer one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.names import check_identifier
from jenkins_release.records.candidate import CandidateImage, PlatformRecord
from jenkins_release.records.sbom import BillOfMaterials, DocumentKind
from jenkins_release.rules.release.comparison import (
    compare_findings,
    compare_installers,
    compare_layers,
    compare_packages,
    compare_settings,
    formats_to_compare,
)
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.archive_reader import read_config
from jenkins_release.steps.candidate.documents import read_documents
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidate
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.overview.comparison import ComparedCandidate, CompareReport, ImageComparison
from jenkins_release.steps.overview.pages import write_page
from jenkins_release.steps.release.releases import CandidateLook, publication_recorded, release_of


@dataclass(frozen=True)
class CompareRequest:
    """What to compare.

    Attributes:
        old: Version or ``version/build`` to compare with.
        new: Version or ``version/build`` whose changes are wanted.
        page: HTML file to write, with a style sheet of the same name beside it; None for no page.
    """

    old: str
    new: str
    page: Path | None = None


def compare_releases(request: CompareRequest, services: Services) -> CompareReport:
    """Compare two versions or candidates, and write a page about it if one is wanted. Changes nothing else.

    It reads only what ``candidate.json`` covers, and proves it: SBOMs as whole files, configs of images by
    their digests. Layers are compared by what was recorded of them.

    Raises:
        ConfigurationError: There is no such version or candidate, or the page cannot be written.
        IntegrityError: A candidate was altered, or a file is not what was recorded.
        RemoteError: The share failed, after the retries.
    """
    look = CandidateLook(services)
    notes: list[str] = []
    old, new = (_find(text, look, services, notes) for text in (request.old, request.new))
    if old.ref == new.ref:
        raise ConfigurationError(
            f"{request.old} and {request.new} are the same candidate, {old.ref}",
            hint="give two versions, or two candidates as VERSION/BUILD",
        )
    report = compare_candidates(old, new, services, notes)
    if request.page is not None:
        write_page("compare.html", request.page, report=report)
    return report


def compare_candidates(
    old: OpenCandidate, new: OpenCandidate, services: Services, notes: Sequence[str] = ()
) -> CompareReport:
    """Compare two candidates that are open already. Changes nothing.

    Args:
        old: The candidate to compare with.
        new: The one whose changes are wanted.
        services: The share.
        notes: How the candidates were chosen.

    Raises:
        IntegrityError: A candidate was altered, or a file is not what was recorded.
        RemoteError: The share failed, after the retries.
    """
    for opened in (old, new):
        opened.require_unaltered()
    return CompareReport(
        old.record.product,
        _side(old),
        _side(new),
        _images(old, new, services),
        compare_installers(old.record, new.record),
        tuple(notes),
    )


def _find(text: str, look: CandidateLook, services: Services, notes: list[str]) -> OpenCandidate:
    """Open a candidate, or that of a version: the one that was released, or else the newest build."""
    if "/" in text:
        return open_candidate(CandidateRef.parse(text), services)
    builds = list(look.builds(check_identifier("version", text)))
    released = [opened for opened in builds if is_released(opened)]
    chosen = (released or builds)[-1]
    if len(builds) > 1 or not released:
        why = "the released build" if released else "the newest build, as none is released"
        notes.append(f"{text}: {chosen.ref} is compared, {why}")
    return chosen


def is_released(opened: OpenCandidate) -> bool:
    """Whether a candidate was promoted or published, and not withdrawn since."""
    release = release_of(opened)
    return (release is not None and release.withdrawal is None) or publication_recorded(opened)


def _side(opened: OpenCandidate) -> ComparedCandidate:
    record = opened.record
    total = sum(file.size for file in record.files)
    released = is_released(opened)
    return ComparedCandidate(opened.ref, opened.digest, released, record.exported_at, record.revision, total)


def _images(old: OpenCandidate, new: OpenCandidate, services: Services) -> tuple[ImageComparison, ...]:
    """Pair the images by name and platform, whether or not a side has them for other platforms too."""
    before, now = _parts(old), _parts(new)
    keys = sorted(before.keys() | now.keys())
    platforms = Counter(name for name, _ in keys)
    return tuple(
        _image(
            name if platforms[name] == 1 else f"{name} for {platform}",
            before.get((name, platform)),
            now.get((name, platform)),
            services,
        )
        for name, platform in keys
    )


@dataclass(frozen=True)
class _Part:
    """The image of one platform in a candidate."""

    image: CandidateImage
    record: PlatformRecord
    opened: OpenCandidate


def _parts(opened: OpenCandidate) -> dict[tuple[str, str], _Part]:
    return {
        (image.name, record.platform): _Part(image, record, opened)
        for image in opened.record.images
        for record in image.parts
    }


def _image(shown: str, old: _Part | None, new: _Part | None, services: Services) -> ImageComparison:
    if old is None or new is None:
        held = old or new
        assert held is not None
        there = (held.record if old else None, held.record if new else None)
        return ImageComparison(shown, held.image.reference, *there)
    sides = (old, new)
    found = ImageComparison(
        shown,
        new.image.reference,
        old.record,
        new.record,
        compare_layers(old.record, new.record),
        findings=compare_findings(
            *(
                [each for document in _documents(side, "vex", services) for each in document.findings]
                for side in sides
            )
        ),
    )
    if found.state == "same":
        # SBOMs could only differ in how it was scanned.
        return found
    settings = compare_settings(
        *(
            services.retry(f"read the config of {shown}", read_config, side.image, side.record, side.opened)
            for side in sides
        )
    )
    found = replace(found, settings=settings)
    formats = [
        [
            each.format
            for each in side.opened.record.documents
            if each.kind == "sbom" and each.describes(side.image.name, side.record.platform)
        ]
        for side in sides
    ]
    missing = [str(side.opened.ref) for side, held in zip(sides, formats, strict=True) if not held]
    if missing:
        return replace(found, unknown=f"no SBOM in {' and '.join(missing)}: packages unknown")
    common, note = formats_to_compare(*formats)
    packages = compare_packages(
        *(
            [each for document in _documents(side, "sbom", services, common) for each in document.packages]
            for side in sides
        )
    )
    return replace(found, packages=packages, notes=(note,) if note else ())


def _documents(
    side: _Part, kind: DocumentKind, services: Services, *formats: Collection[str]
) -> list[BillOfMaterials]:
    return read_documents(side.opened, side.image.name, side.record.platform, kind, services, *formats)
