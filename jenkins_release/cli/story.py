"""The history of a version on one page, and as JSON with every fact."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from jenkins_release.cli.output import bullets, counted, indented, plain, styled, table
from jenkins_release.cli.statements import shown_build, what_is_said
from jenkins_release.records.candidate import Candidate
from jenkins_release.rules.release.story import Event
from jenkins_release.steps.overview.history import BuildHistory, VersionHistory

_RULE = "!" * 78
_INDENT = " " * 22


def history_json(found: VersionHistory) -> dict[str, Any]:
    """Return the whole history for programs."""
    return {
        "product": found.product,
        "version": found.version,
        "altered": list(found.altered),
        "candidates": [_build_json(build) for build in found.builds],
    }


_SPOKEN = frozenset({"request", "qa", "revocation", "approval", "override"})
"""Kinds in which a person speaks, so that it matters whether the key is that person's own."""


def history_text(found: VersionHistory) -> str:
    """Return the whole history for people, with untrusted text made harmless."""
    states = ", ".join(f"build {build.ref.build} {build.story.state}" for build in found.builds)
    pages = [f"{found.product} {found.version}: {states}", *(_build_text(build) for build in found.builds)]
    if found.area:
        what = styled("!! ALTERED: what is published is not what was recorded", "bad")
        pages.append("\n".join([_RULE, what, bullets(_plain(found.area)), _RULE]))
    return "\n\n".join(pages)


def _build_json(build: BuildHistory) -> dict[str, Any]:
    story = build.story
    return {
        "candidate": str(build.ref),
        "build": build.ref.build,
        "state": story.state,
        "location": build.location,
        "digest": story.digest,
        "exported": _record_json(story.record),
        "events": [_event_json(event) for event in story.events],
        "overridden": any(_overrides(event) for event in story.events),
        "chain": {"length": len(story.events), "head": story.head, "intact": not build.altered},
        "altered": list(build.altered),
        "unproven": list(build.unproven),
    }


def _record_json(record: Candidate | None) -> dict[str, Any] | None:
    return record.model_dump(mode="json", by_alias=True, exclude_none=True) if record else None


def _event_json(event: Event) -> dict[str, Any]:
    said = event.statement
    return {
        "file": event.file,
        "kind": event.kind,
        "predicateType": said.predicate_type if said else None,
        "sequence": said.sequence if said else None,
        "signedAt": said.signed_at.isoformat() if said else None,
        "key": event.key,
        "notary": event.notary,
        "counts": event.counts,
        "notes": list(event.notes),
        "subjects": dict(said.subjects) if said else {},
        "facts": dict(event.facts),
    }


def _build_text(build: BuildHistory) -> str:
    story = build.story
    lines = [f"== build {build.ref.build}: {story.state}", f"   {build.location}"]
    if story.record is None:
        lines.append("   candidate.json cannot be read: it is unknown what was exported")
    else:
        lines.append(f"   candidate.json {story.digest}")
        with indented(len(_INDENT)):
            lines += _exported(story.record)
    with indented(len(_INDENT)):
        for event in story.events:
            lines += _event_text(event)
    count = counted(len(story.events), "attestation")
    if build.unproven:
        what = styled("!! NOT PROVABLE: the policy does not allow this release, whoever signed it", "bad")
        lines += [_RULE, what, bullets(_plain(build.unproven)), _RULE]
    if build.altered:
        lines += [
            _RULE,
            styled("!! ALTERED: what is here is not what was recorded", "bad"),
            bullets(_plain(build.altered)),
        ]
        lines.append(_RULE)
    elif story.events:
        lines.append(f"   {count}, chain complete up to {story.events[-1].file}, SHA-256 {story.head}")
    else:
        lines.append("   no attestations: nothing is signed")
    return "\n".join(lines)


def _exported(record: Candidate) -> list[str]:
    parts = []
    if record.images:
        rows = [[image.name, image.identity, image.platform] for image in record.images]
        parts.append(_block(table(["image", record.identities, "platform"], rows)))
    if record.installers:
        rows = [[i.name, i.kind, record.file(i.path).sha256] for i in record.installers]
        parts.append(_block(table(["installer", "kind", "SHA-256"], rows)))
    revision, build = plain(record.revision) or "unknown", shown_build(record.build_url)
    return [
        f"{_when(record.exported_at)}built and exported by {plain(record.built_by)}",
        f"{_INDENT}revision {revision}, {build}, with {plain(record.exporter)}",
        *parts,
    ]


def _event_text(event: Event) -> list[str]:
    said = event.statement
    when = _when(said.signed_at) if said else " " * 3 + "?".ljust(19)
    key = f"key {plain(event.key)}" if event.key else "no trusted key"
    spoken = event.notary and event.kind in _SPOKEN
    signed = f"[{event.file}, {key}{', attested by Jenkins, not by a key of their own' if spoken else ''}]"
    if not event.counts:
        lines = [f"{when}{styled('NOT COUNTED', 'bad')} {plain(event.kind)} {signed}"]
        lines += [f"{_INDENT}{plain(note)}" for note in event.notes]
        return [*lines, *(f"{_INDENT}it says: {line}" for line in what_is_said(event))]
    first, *rest = what_is_said(event)
    lines = [f"{when}{first} {signed}", *(_block(line) for line in rest)]
    lines += [f"{_INDENT}{plain(note)}" for note in event.notes]
    if _overrides(event):
        return [_RULE, styled("!! OVERRIDDEN", "bad"), *lines, _RULE]
    return lines


def _overrides(event: Event) -> bool:
    """Whether a counted attestation waives conditions, or was made although some were not met."""
    return event.counts and (
        event.kind == "override"
        or (event.kind in {"promotion", "publication"} and bool(event.facts.get("overridden")))
    )


def _when(moment: datetime) -> str:
    return f"   {moment.astimezone(UTC):%Y-%m-%d %H:%M}Z  "


def _block(text: str) -> str:
    return "\n".join(_INDENT + line for line in text.splitlines())


def _plain(lines: tuple[str, ...]) -> list[str]:
    return [plain(line) for line in lines]
