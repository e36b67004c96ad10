"""``jenkins-release release compare``: what differs between two versions or candidates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jenkins_release.base.moments import minute
from jenkins_release.base.text import size_difference
from jenkins_release.cli.command import Command
from jenkins_release.cli.output import counted, plain, size, table
from jenkins_release.cli.runtime import Runtime, common_options, pass_runtime, share_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jenkins_release.rules.release.comparison import Difference, InstallerChange, PackageChange
    from jenkins_release.steps.overview.comparison import ComparedCandidate, CompareReport, ImageComparison


@click.command(cls=Command)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write an HTML page to this file, and its style sheet beside it.",
)
@share_option
@common_options
@pass_runtime
def compare(runtime: Runtime, old: str, new: str, page: Path | None) -> None:
    """Show what differs between two versions or candidates: packages, layers, settings, installers.

    OLD and NEW are versions, such as 8.1.0, or candidates, such as 8.1.0/42. A version stands for its
    released build, or else for its newest one.
    """
    from jenkins_release.steps.overview.compare import CompareRequest, compare_releases

    report = compare_releases(CompareRequest(old, new, page), runtime.services)
    result = comparison_json(report)
    text = comparison_text(report)
    if page is not None:
        result["page"] = str(page)
        text += f"\nwrote {page} and {page.with_suffix('.css').name}"
    runtime.succeed(result, text)


def comparison_json(report: CompareReport) -> dict[str, Any]:
    """Return a comparison for the JSON result."""
    return {
        "product": report.product,
        "old": _side_json(report.old),
        "new": _side_json(report.new),
        "notes": list(report.notes),
        "images": [_image_json(each) for each in report.images],
        "installers": [_installer_json(each) for each in report.installers],
    }


def _side_json(side: ComparedCandidate) -> dict[str, Any]:
    return {
        "candidate": str(side.ref),
        "digest": side.digest,
        "released": side.released,
        "exportedAt": side.exported_at.isoformat(),
        "revision": side.revision,
        "bytes": side.bytes,
    }


def _image_json(image: ImageComparison) -> dict[str, Any]:
    packages, layers = image.packages, image.layers
    return {
        "name": image.name,
        "state": image.state,
        "old": {"configDigest": image.old.config_digest, "bytes": image.old.size} if image.old else None,
        "new": {"configDigest": image.new.config_digest, "bytes": image.new.size} if image.new else None,
        "packages": None
        if packages is None
        else {
            "added": [_package_json(each) for each in packages.of("added")],
            "removed": [_package_json(each) for each in packages.of("removed")],
            "changed": [_package_json(each) for each in packages.of("changed")],
            "rebuilt": [_package_json(each) for each in packages.rebuilt],
            "unchanged": packages.unchanged,
        },
        "packagesUnknown": image.unknown,
        "layers": None
        if layers is None
        else {
            "shared": layers.shared,
            "sharedBytes": layers.shared_bytes,
            "added": layers.added,
            "addedBytes": layers.added_bytes,
            "removed": layers.removed,
            "removedBytes": layers.removed_bytes,
        },
        "settings": [_difference_json(each) for each in image.settings],
        "vex": [_difference_json(each) for each in image.findings],
        "notes": list(image.notes),
    }


def _package_json(each: PackageChange) -> dict[str, Any]:
    return {
        "name": each.name,
        "ecosystem": each.ecosystem,
        "key": each.key,
        "old": list(each.old),
        "new": list(each.new),
    }


def _difference_json(each: Difference) -> dict[str, Any]:
    return {"what": each.what, "change": each.change, "old": each.old, "new": each.new}


def _installer_json(each: InstallerChange) -> dict[str, Any]:
    old, new = (
        {"name": side[0], "bytes": side[1], "sha256": side[2]} if side else None
        for side in (each.old, each.new)
    )
    return {"state": each.change, "old": old, "new": new}


def comparison_text(report: CompareReport) -> str:
    """Return a comparison for people: a summary, then what differs in each image."""
    lines = [f"{report.product}: from {report.old.ref} to {report.new.ref}"]
    rows = [
        [
            str(side.ref),
            "released" if side.released else "not released",
            minute(side.exported_at),
            plain(side.revision) or "unknown",
            size(side.bytes),
        ]
        for side in (report.old, report.new)
    ]
    lines.append(table(["candidate", "state", "exported", "revision", "size"], rows))
    lines += [f"note: {plain(note)}" for note in report.notes]
    if report.images:
        heads = ["image", "state", "added", "removed", "changed", "size", "difference", "layers"]
        lines += ["", table(heads, [_summary(image) for image in report.images])]
    for image in report.images:
        details = _details(image)
        lines += ["", f"image {image.name}: {image.state}", *details] if details else []
    if report.installers:
        rows = [_installer_row(each) for each in report.installers]
        lines += ["", table(["installer before", "now", "state", "size", "difference"], rows)]
    return "\n".join(lines)


def _summary(image: ImageComparison) -> list[str]:
    packages, layers = image.packages, image.layers
    if packages is not None:
        numbers = [str(len(packages.of(change))) for change in ("added", "removed", "changed")]
    else:
        numbers = [("?" if image.unknown else "0" if image.state == "same" else "-")] * 3
    held = image.new or image.old
    assert held is not None
    both = image.old is not None and image.new is not None
    return [
        image.name,
        image.state,
        *numbers,
        size(held.size),
        size_difference(image.new.size - image.old.size)
        if image.old is not None and image.new is not None
        else "-",
        f"{layers.shared} shared, {layers.added} new ({size(layers.added_bytes)}), {layers.removed} gone"
        if layers is not None and both
        else "-",
    ]


def _details(image: ImageComparison) -> list[str]:
    lines = [image.unknown] if image.unknown else []
    lines += [f"note: {plain(note)}" for note in image.notes]
    packages = image.packages
    if packages is not None:
        lines += _package_lines("added", packages.of("added"))
        lines += _package_lines("removed", packages.of("removed"))
        lines += _package_lines("changed", packages.of("changed"))
        lines += _package_lines("built again under the same version", packages.rebuilt)
        lines.append(f"  {counted(packages.unchanged, 'package')} unchanged")
    lines += _difference_lines("settings", image.settings)
    lines += _difference_lines("VEX", image.findings)
    return lines


def _package_lines(title: str, changes: Sequence[PackageChange]) -> list[str]:
    if not changes:
        return []
    lines = [f"  {counted(len(changes), 'package')} {title}:"]
    for each in changes:
        versions = " -> ".join(", ".join(map(plain, side)) for side in (each.old, each.new) if side)
        lines.append(f"    {plain(each.name)} ({plain(each.ecosystem)}) {versions}")
    return lines


def _difference_lines(title: str, differences: Sequence[Difference]) -> list[str]:
    if not differences:
        return []
    lines = [f"  {title}:"]
    for each in differences:
        old, new = ("-" if side is None else plain(side) or "(empty)" for side in (each.old, each.new))
        lines.append(f"    {plain(each.what)}: {old} -> {new}")
    return lines


def _installer_row(each: InstallerChange) -> list[str]:
    held = each.new or each.old
    assert held is not None
    difference = size_difference(each.new[1] - each.old[1]) if each.old and each.new else "-"
    names = [side[0] if side else "-" for side in (each.old, each.new)]
    return [*names, each.change, size(held[1]), difference]
