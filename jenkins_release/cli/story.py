"""The history of a version on one page, and as JSON with every fact."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from jenkins_release.cli.output import bullets, counted, plain, table
from jenkins_release.records.candidate import Candidate
from jenkins_release.records.provenance import OUTSIDE_JENKINS
from jenkins_release.rules.story import Event
from jenkins_release.steps.history import BuildHistory, VersionHistory

_RULE = "!" * 78
_INDENT = " " * 22


def history_json(found: VersionHistory) -> dict[str, Any]:
    """Return the whole story for programs."""
    return {
        "product": found.product,
        "version": found.version,
        "altered": list(found.altered),
        "candidates": [_build_json(build) for build in found.builds],
    }


def withdrawn_table(images: Sequence[Mapping[str, Any]]) -> str:
    """Return what a withdrawal does to each image, from the images of its predicate."""
    rows = []
    for image in images:
        back: dict[str, list[str]] = {}
        for tag, way in _mapping(image.get("movedTags")).items():
            back.setdefault(plain(_mapping(way).get("to", "?")), []).append(plain(tag))
        moved = "; ".join(f"{', '.join(tags)} to {digest}" for digest, tags in back.items())
        digest, kept = plain(image.get("digest", "?")), plain(image.get("pinnedBy") or "gone")
        removed = _tags(image.get("tagsRemoved"))
        rows.append([plain(image.get("repository", "?")), digest, kept, removed, moved or "-"])
    columns = ["repository", "manifest digest", "image kept as", "tags removed", "tags moved back"]
    return table(columns, rows)


def history_text(found: VersionHistory) -> str:
    """Return the whole story for people, with all that somebody else wrote made harmless."""
    states = ", ".join(f"build {build.ref.build} {build.story.state}" for build in found.builds)
    pages = [f"{found.product} {found.version}: {states}", *(_build_text(build) for build in found.builds)]
    return "\n\n".join(pages)


def _build_json(build: BuildHistory) -> dict[str, Any]:
    story = build.story
    return {
        "candidate": str(build.ref),
        "build": build.ref.build,
        "state": story.state,
        "location": build.location,
        "digest": story.digest,
        "exported": story.record.model_dump(mode="json", by_alias=True, exclude_none=True)
        if story.record
        else None,
        "events": [_event_json(event) for event in story.events],
        "overridden": any(_overrides(event) for event in story.events),
        "chain": {"length": len(story.events), "head": story.head, "intact": not build.altered},
        "altered": list(build.altered),
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
        "counts": event.counts,
        "notes": list(event.notes),
        "subjects": dict(said.subjects) if said else {},
        "facts": dict(event.facts),
    }


def _build_text(build: BuildHistory) -> str:
    story = build.story
    lines = [f"== build {build.ref.build}: {story.state}", f"   {build.location}"]
    if story.record is None:
        lines.append("   candidate.json cannot be read: nobody can say what was exported")
    else:
        lines.append(f"   candidate.json {story.digest}")
        lines += _exported(story.record)
    for event in story.events:
        lines += _event_text(event)
    count = counted(len(story.events), "attestation")
    if build.altered:
        lines += [
            _RULE,
            "!! ALTERED: what stands here is not what was recorded",
            bullets(_plain(build.altered)),
        ]
        lines.append(_RULE)
    elif story.events:
        lines.append(f"   {count}, chain complete up to {story.events[-1].file}, SHA-256 {story.head}")
    else:
        lines.append("   no attestations: nobody signed anything")
    return "\n".join(lines)


def _exported(record: Candidate) -> list[str]:
    rows = [[image.name, image.config_digest, image.platform] for image in record.images]
    revision, build = plain(record.revision) or "unknown", _in_build(record.build_url)
    return [
        f"{_when(record.exported_at)}built and exported by {plain(record.built_by)}",
        f"{_INDENT}revision {revision}, {build}, with {plain(record.exporter)}",
        _block(table(["image", "config digest", "platform"], rows)),
    ]


def _event_text(event: Event) -> list[str]:
    said = event.statement
    when = _when(said.signed_at) if said else " " * 3 + "?".ljust(19)
    signed = (
        f"[{event.file}, key {plain(event.key)}]" if event.key else f"[{event.file}, no key that is trusted]"
    )
    if not event.counts:
        lines = [f"{when}NOT COUNTED {plain(event.kind)} {signed}"]
        lines += [f"{_INDENT}{plain(note)}" for note in event.notes]
        return [*lines, *(f"{_INDENT}it says: {line}" for line in _said(event))]
    first, *rest = _said(event)
    lines = [f"{when}{first} {signed}", *(_block(line) for line in rest)]
    lines += [f"{_INDENT}{plain(note)}" for note in event.notes]
    if _overrides(event):
        return [_RULE, "!! OVERRIDDEN", *lines, _RULE]
    return lines


def _said(event: Event) -> list[str]:
    """Return what an attestation says, first the main line; values may be anything."""
    return _SAID.get(event.kind, _anything)(event.facts)


def _anything(facts: Mapping[str, Any]) -> list[str]:
    words = [f"{plain(name)}: {plain(value)}" for name, value in facts.items()]
    return [", ".join(words)[:2000] or "nothing"]


def _build(facts: Mapping[str, Any]) -> list[str]:
    details = _mapping(facts.get("runDetails"))
    builder = _mapping(details.get("builder")).get("id", "?")
    if builder == OUTSIDE_JENKINS:
        return ["build attested outside Jenkins"]
    invocation = _mapping(details.get("metadata")).get("invocationId", "?")
    return [f"build attested by {plain(builder)}, {plain(invocation)}"]


def _qa(facts: Mapping[str, Any]) -> list[str]:
    tests = _mapping(facts.get("tests"))
    word = {"PASSED": "validated", "FAILED": "FAILED"}.get(
        str(facts.get("result")), plain(facts.get("result"))
    )
    lines = [f"{word} by {plain(facts.get('tester', '?'))}"]
    if tests:
        counted = ", ".join(
            f"{plain(tests.get(name, '?'))} {name}" for name in ("passed", "failed", "skipped")
        )
        suites = ", ".join(plain(suite) for suite in _list(tests.get("suites"))) or "none named"
        lines.append(f"tests: {counted}; suites: {suites}")
    for report in map(_mapping, _list(facts.get("configuration"))):
        digest = _mapping(report.get("digest")).get("sha256", "?")
        lines.append(f"results {plain(report.get('name', '?'))} sha256:{plain(digest)}")
    failed = [plain(name) for name in _list(facts.get("failedTests"))]
    lines += [f"failed: {name}" for name in failed]
    lines += (
        [f"failures accepted: {plain(facts['acceptedFailures'])}"] if facts.get("acceptedFailures") else []
    )
    lines += [f"note: {plain(facts['note'])}"] if facts.get("note") else []
    return lines


def _revocation(facts: Mapping[str, Any]) -> list[str]:
    return [f"sign-offs REVOKED by {plain(facts.get('tester', '?'))}: {plain(facts.get('reason', '?'))}"]


def _approval(facts: Mapping[str, Any]) -> list[str]:
    return [
        f"approved by {plain(facts.get('approver', '?'))}: {plain(facts.get('reason', '?'))}",
        f"plan {plain(facts.get('planDigest', '?'))}, requested by {plain(facts.get('requester', '?'))}",
    ]


def _override(facts: Mapping[str, Any]) -> list[str]:
    conditions = ", ".join(plain(name) for name in _list(facts.get("conditions")))
    by, reason = plain(facts.get("by", "?")), plain(facts.get("reason", "?"))
    return [
        f"{by} OVERRODE the conditions {conditions}: {reason}",
        f"plan {plain(facts.get('planDigest', '?'))}",
    ]


def _promotion(facts: Mapping[str, Any]) -> list[str]:
    lines = [f"promoted by {plain(facts.get('promotedBy', '?'))} to {plain(facts.get('registry', '?'))}"]
    for each in map(_mapping, _list(facts.get("overridden"))):
        condition, message = plain(each.get("condition", "?")), plain(each.get("message", "?"))
        lines.append(
            f"although {condition} was not met: {message}; overridden by {plain(each.get('by', '?'))}"
        )
    started, ended = plain(facts.get("startedOn", "?")), plain(facts.get("finishedOn", "?"))
    lines.append(f"from {started} to {ended}, {_in_build(facts.get('buildUrl'))}")
    for run in map(_mapping, _list(facts.get("runs"))):
        by, host, plan = (plain(run.get(name, "?")) for name in ("by", "host", "planDigest"))
        lines.append(f"run by {by} on {host} for plan {plan}, {_in_build(run.get('buildUrl'))}")
    for approval in map(_mapping, _list(facts.get("approvals"))):
        number, approver = plain(approval.get("sequence", "?")), plain(approval.get("approver", "?"))
        lines.append(f"on the approval by {approver} (attestation {number})")
    rows = [
        [plain(image.get("repository", "?")), plain(image.get("digest", "?")), _tags(image.get("tags"))]
        for image in map(_mapping, _list(facts.get("images")))
    ]
    return [*lines, table(["repository", "manifest digest", "tags"], rows)]


def _withdrawal(facts: Mapping[str, Any]) -> list[str]:
    lines = [f"WITHDRAWN by {plain(facts.get('withdrawnBy', '?'))}: {plain(facts.get('reason', '?'))}"]
    return [*lines, withdrawn_table([_mapping(image) for image in _list(facts.get("images"))])]


def _retirement(facts: Mapping[str, Any]) -> list[str]:
    images = [_mapping(image) for image in _list(facts.get("images"))]
    rows = [[plain(image.get("repository", "?")), _tags(image.get("tagsRemoved"))] for image in images]
    head = (
        f"retired by {plain(facts.get('retiredBy', '?'))}: supported are {plain(facts.get('supported', '?'))}"
    )
    return [head, table(["repository", "tags removed"], rows)]


def _summary(facts: Mapping[str, Any]) -> list[str]:
    levels = ", ".join(plain(level) for level in _list(facts.get("verifiedLevels"))) or "no level"
    verifier = plain(_mapping(facts.get("verifier")).get("id", "?"))
    inputs = len(_list(facts.get("inputAttestations")))
    return [
        f"summary for consumers: {plain(facts.get('verificationResult', '?'))}, {levels}",
        f"by {verifier}, from {inputs} attestations",
    ]


_SAID: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "build": _build,
    "qa": _qa,
    "revocation": _revocation,
    "approval": _approval,
    "override": _override,
    "promotion": _promotion,
    "withdrawal": _withdrawal,
    "retirement": _retirement,
    "summary": _summary,
}


def _overrides(event: Event) -> bool:
    """Whether an attestation that counts waives conditions, or was made although some were not met."""
    return event.counts and (
        event.kind == "override" or (event.kind == "promotion" and bool(event.facts.get("overridden")))
    )


def _in_build(url: Any) -> str:
    return f"in {plain(url)}" if url else "outside Jenkins"


def _when(moment: datetime) -> str:
    return f"   {moment:%Y-%m-%d %H:%M}Z  "


def _block(text: str) -> str:
    return "\n".join(_INDENT + line for line in text.splitlines())


def _plain(lines: tuple[str, ...]) -> list[str]:
    return [plain(line) for line in lines]


def _tags(value: Any) -> str:
    return ", ".join(plain(tag) for tag in _list(value)) or "-"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
