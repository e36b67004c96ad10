"""Compare: what differs between two versions or candidates, for those who decide about the newer one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.names import check_identifier
from jenkins_release.records.candidate import Candidate, ImageRecord, MultiPlatformRecord, alone
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
from jenkins_release.steps.context.local_files import write_file
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.overview.compare_page import render_comparison, style_sheet
from jenkins_release.steps.overview.comparison import ComparedCandidate, CompareReport, ImageComparison
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
    for opened in (old, new):
        opened.require_unaltered()
    report = CompareReport(
        old.record.product,
        _side(old),
        _side(new),
        _images(old, new, services),
        compare_installers(old.record, new.record),
        tuple(notes),
    )
    if request.page is not None:
        _write_page(report, request.page)
    return report


def _find(text: str, look: CandidateLook, services: Services, notes: list[str]) -> OpenCandidate:
    """Open a candidate, or that of a version: the one that was released, or else the newest build."""
    if "/" in text:
        return open_candidate(CandidateRef.parse(text), services)
    builds = list(look.builds(check_identifier("version", text)))
    released = [opened for opened in builds if _is_released(opened)]
    chosen = (released or builds)[-1]
    if len(builds) > 1 or not released:
        why = "the released build" if released else "the newest build, as none is released"
        notes.append(f"{text}: {chosen.ref} is compared, {why}")
    return chosen


def _is_released(opened: OpenCandidate) -> bool:
    release = release_of(opened)
    return (release is not None and release.withdrawal is None) or publication_recorded(opened)


def _side(opened: OpenCandidate) -> ComparedCandidate:
    record = opened.record
    total = sum(file.size for file in record.files)
    released = _is_released(opened)
    return ComparedCandidate(opened.ref, opened.digest, released, record.exported_at, record.revision, total)


def _images(old: OpenCandidate, new: OpenCandidate, services: Services) -> tuple[ImageComparison, ...]:
    before, now = (_parts(opened.record) for opened in (old, new))
    return tuple(
        _image(shown, (before.get(shown), now.get(shown)), (old, new), services)
        for shown in sorted(before.keys() | now.keys())
    )


def _parts(record: Candidate) -> dict[str, ImageRecord]:
    """Return the image of each platform by what it is called."""
    return {
        f"{image.name} for {part.platform}" if isinstance(image, MultiPlatformRecord) else image.name: part
        for image in record.images
        for part in alone(image)
    }


def _image(
    shown: str,
    images: tuple[ImageRecord | None, ImageRecord | None],
    opened: tuple[OpenCandidate, OpenCandidate],
    services: Services,
) -> ImageComparison:
    before, now = images
    if before is None or now is None:
        return ImageComparison(shown, before, now)
    sides = ((before, opened[0]), (now, opened[1]))
    layers = compare_layers(before, now)
    findings = compare_findings(
        *(
            [each for document in read_documents(side, image, "vex", services) for each in document.findings]
            for image, side in sides
        )
    )
    if before.config_digest == now.config_digest:
        # The same image: SBOMs could only differ in how it was scanned.
        return ImageComparison(shown, before, now, layers, findings=findings)
    settings = compare_settings(
        *(
            services.retry(f"read the config of {shown}", read_config, image, side, services)
            for image, side in sides
        )
    )
    formats = [
        [each.format for each in side.record.documents if each.kind == "sbom" and each.describes(image)]
        for image, side in sides
    ]
    missing = [str(side.ref) for (_, side), found in zip(sides, formats, strict=True) if not found]
    if missing:
        why = f"no SBOM in {' and '.join(missing)}: packages unknown"
        return ImageComparison(shown, before, now, layers, settings, None, why, findings)
    common, note = formats_to_compare(*formats)
    packages = compare_packages(
        *(
            [
                each
                for document in read_documents(side, image, "sbom", services, common)
                for each in document.packages
            ]
            for image, side in sides
        )
    )
    notes = (note,) if note else ()
    return ImageComparison(shown, before, now, layers, settings, packages, "", findings, notes)


def _write_page(report: CompareReport, page: Path) -> None:
    style = page.with_suffix(".css")
    if style == page:
        raise ConfigurationError(f"the page {page} would overwrite its style sheet", hint="name it .html")
    write_file(style, style_sheet(), "the style sheet")
    write_file(page, render_comparison(report, style.name), "the page")
