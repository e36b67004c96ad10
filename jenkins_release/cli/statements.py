"""What each kind of attestation says, for people. Its content is not trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jenkins_release.cli.output import counted, plain, table
from jenkins_release.records.provenance import OUTSIDE_JENKINS
from jenkins_release.rules.gate.binding import tested_text
from jenkins_release.rules.release.story import Event

_REFRESHED = {
    ("refresh", "started"): "begins to refresh {stack} to {after}",
    ("refresh", "done"): "REFRESHED {stack} to {after}",
    ("refresh", "returned"): "refresh of {stack} to {after} FAILED, it runs {before} again",
    ("refresh", "failed"): "refresh of {stack} to {after} FAILED, what it runs is unknown",
    ("rollback", "started"): "begins to return {stack} to {after}",
    ("rollback", "done"): "RETURNED {stack} from {release} to {after}",
    ("rollback", "failed"): "return of {stack} to {after} FAILED, what it runs is unknown",
}


def what_is_said(event: Event) -> list[str]:
    """Return what an attestation says, main line first; values may be anything."""
    lines = _SAID.get(event.kind, _anything)(event.facts)
    if event.kind == "qa" and event.statement is not None:
        lines.append(tested_text(event.statement))
    return lines


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


def _request(facts: Mapping[str, Any]) -> list[str]:
    return [
        f"requested by {plain(facts.get('requester', '?'))}",
        f"plan {plain(facts.get('planDigest', '?'))}",
    ]


def _approval(facts: Mapping[str, Any]) -> list[str]:
    told = facts.get("attestedRequester")
    started = f"; the build was started by {plain(told)}" if told else ""
    plan, requester = plain(facts.get("planDigest", "?")), plain(facts.get("requester", "?"))
    return [
        f"approved by {plain(facts.get('approver', '?'))}: {plain(facts.get('reason', '?'))}",
        f"plan {plan}, requested by {requester}{started}",
    ]


def _override(facts: Mapping[str, Any]) -> list[str]:
    conditions = ", ".join(plain(name) for name in _list(facts.get("conditions")))
    by, reason = plain(facts.get("by", "?")), plain(facts.get("reason", "?"))
    return [
        f"{by} OVERRODE the conditions {conditions}: {reason}",
        f"plan {plain(facts.get('planDigest', '?'))}",
    ]


def _overridden(facts: Mapping[str, Any]) -> list[str]:
    return [
        f"although {plain(each.get('condition', '?'))} was not met: {plain(each.get('message', '?'))}; "
        f"overridden by {plain(each.get('by', '?'))}"
        for each in map(_mapping, _list(facts.get("overridden")))
    ]


def _promotion(facts: Mapping[str, Any]) -> list[str]:
    lines = [f"promoted by {plain(facts.get('promotedBy', '?'))} to {plain(facts.get('registry', '?'))}"]
    lines += _overridden(facts)
    started, ended = plain(facts.get("startedOn", "?")), plain(facts.get("finishedOn", "?"))
    lines.append(f"from {started} to {ended}, {shown_build(facts.get('buildUrl'))}")
    for run in map(_mapping, _list(facts.get("runs"))):
        by, host, plan = (plain(run.get(name, "?")) for name in ("by", "host", "planDigest"))
        lines.append(f"run by {by} on {host} for plan {plan}, {shown_build(run.get('buildUrl'))}")
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
    by, supported = plain(facts.get("retiredBy", "?")), plain(facts.get("supported", "?"))
    return [f"retired by {by}: supported are {supported}", table(["repository", "tags removed"], rows)]


def _deletion(facts: Mapping[str, Any]) -> list[str]:
    images = [_mapping(image) for image in _list(facts.get("images"))]
    rows = [
        [
            plain(image.get("repository", "?")),
            plain(image.get("digest", "?")),
            _tags(image.get("tagsRemoved")),
            plain(image.get("lastPulled") or "-"),
        ]
        for image in images
    ]
    by, reason = plain(facts.get("deletedBy", "?")), plain(facts.get("reason", "?"))
    columns = ["repository", "manifest digest", "tags", "last pull in ECR"]
    return [f"images DELETED by {by}: {reason}", table(columns, rows)]


def _publication(facts: Mapping[str, Any]) -> list[str]:
    lines = [f"published by {plain(facts.get('publishedBy', '?'))} in {plain(facts.get('location', '?'))}"]
    lines += _overridden(facts)
    lines.append(f"release.json {plain(facts.get('release', '?'))}, {shown_build(facts.get('buildUrl'))}")
    rows = [
        [plain(file.get("path", "?")), plain(file.get("kind", "?")), plain(file.get("sha256", "?"))]
        for file in map(_mapping, _list(facts.get("files")))
    ]
    return [*lines, table(["file", "kind", "SHA-256"], rows)]


def _refresh(facts: Mapping[str, Any]) -> list[str]:
    before, after = _mapping(facts.get("before")), _mapping(facts.get("after"))
    action, outcome = str(facts.get("action")), str(facts.get("outcome"))
    values = {
        "stack": plain(facts.get("stack", "?")),
        "release": plain(facts.get("release", "?")),
        "before": _state(before),
        "after": _state(after),
    }
    template = _REFRESHED.get((action, outcome))
    # Untrusted text is never a template.
    said = template.format_map(values) if template else f"{plain(action)} {plain(outcome)}: {values['stack']}"
    lines = [f"{plain(facts.get('refreshedBy', '?'))} {said}"]
    lines.append(
        f"by {plain(facts.get('strategy', '?'))}, from {_state(before)}, record "
        f"{plain(facts.get('number', '?'))} of this stack, {shown_build(facts.get('buildUrl'))}"
    )
    if facts.get("acceptedBecause"):
        count = counted(len(_list(facts.get("acceptedLost"))), "lost record")
        lines.append(f"without {count} of earlier refreshes: {plain(facts['acceptedBecause'])}")
    if outcome == "started":
        return lines
    if facts.get("problem"):
        lines.append(f"problem: {plain(facts['problem'])}")
    rows = [
        [plain(part.get("name", "?")), plain(part.get("definition") or "-"), plain(name), plain(digest)]
        for part in map(_mapping, _list(after.get("parts")))
        for name, digest in (_mapping(part.get("images")) or {"-": "-"}).items()
    ]
    if rows:
        lines.append(table(["part", "task definition", "container", "manifest digest"], rows))
    for check in map(_mapping, _list(facts.get("health"))):
        state = "healthy" if check.get("healthy") is True else "NOT HEALTHY"
        counts = f"{plain(check.get('good', '?'))} of {plain(check.get('answers', '?'))} answers good"
        why = f"; the last bad one: {plain(check['problem'])}" if check.get("problem") else ""
        lines.append(f"{plain(check.get('url', '?'))} {state}, {counts}{why}")
    instances = map(_mapping, _list(facts.get("instances")))
    return lines + [
        f"{plain(each.get('instance', '?'))}: {plain(each.get('status', '?'))}" for each in instances
    ]


def _state(state: Mapping[str, Any]) -> str:
    return plain(state.get("release") or "what is not a release")


def _portal(facts: Mapping[str, Any]) -> list[str]:
    portal, build = plain(facts.get("portal", "?")), shown_build(facts.get("buildUrl"))
    files = list(map(_mapping, _list(facts.get("files"))))
    if facts.get("action") == "removal":
        forced = "although supported and not withdrawn: " if facts.get("forced") else ""
        by, reason = plain(facts.get("removedBy", "?")), plain(facts.get("reason", "?"))
        lines = [f"removed from the portal {portal} by {by}: {forced}{reason}"]
        return [*lines, f"{counted(len(files), 'file')}, {build}"]
    lines = [f"uploaded by {plain(facts.get('uploadedBy', '?'))} to the portal {portal}"]
    lines.append(f"release.json {plain(facts.get('releaseDigest', '?'))}, {build}")
    rows = [[plain(file.get("path", "?")), plain(file.get("sha256", "?"))] for file in files]
    return [*lines, table(["file", "SHA-256"], rows)]


def _summary(facts: Mapping[str, Any]) -> list[str]:
    levels = ", ".join(plain(level) for level in _list(facts.get("verifiedLevels"))) or "no level"
    verifier = plain(_mapping(facts.get("verifier")).get("id", "?"))
    inputs = len(_list(facts.get("inputAttestations")))
    return [
        f"summary for consumers: {plain(facts.get('verificationResult', '?'))}, {levels}",
        f"by {verifier}, from {counted(inputs, 'attestation')}",
    ]


_SAID: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "build": _build,
    "qa": _qa,
    "revocation": _revocation,
    "request": _request,
    "approval": _approval,
    "override": _override,
    "promotion": _promotion,
    "withdrawal": _withdrawal,
    "retirement": _retirement,
    "deletion": _deletion,
    "publication": _publication,
    "refresh": _refresh,
    "portal": _portal,
    "summary": _summary,
}


def shown_build(url: Any) -> str:
    """Say in which Jenkins build something was done."""
    return f"in {plain(url)}" if url else "outside Jenkins"


def _tags(value: Any) -> str:
    return ", ".join(plain(tag) for tag in _list(value)) or "-"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
