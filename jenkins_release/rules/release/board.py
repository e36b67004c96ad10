"""The release board: a line for each candidate, a column for each stage, problems first.

Everything in it is signed and counts, or it is shown as a problem. Of a candidate that was altered, only the
problem is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import date, datetime
from typing import Any, Literal

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.numbers import whole_number
from jenkins_release.base.text import shortened, size
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.records.attestation import (
    APPROVAL,
    PORTAL,
    PROMOTION,
    PROVENANCE,
    PUBLICATION,
    REFRESH,
    RETIREMENT,
    WITHDRAWAL,
)
from jenkins_release.records.candidate import Candidate
from jenkins_release.records.refresh import RefreshRecord
from jenkins_release.records.release import PortalRecord, Promotion
from jenkins_release.rules.gate.approvals import approvals_of_one_plan
from jenkins_release.rules.gate.chain import Chain
from jenkins_release.rules.gate.decision import Decision
from jenkins_release.rules.gate.evidence import Counted, Evidence
from jenkins_release.rules.gate.policy import Policy
from jenkins_release.rules.release.story import Event
from jenkins_release.rules.release.support import LineKind, Window, line_of, promised_lines, support_window
from jenkins_release.rules.release.waiting import Due, Wait, WaitState, overtaken_by, unreadable, waits_for
from jenkins_release.rules.saas.stack import StackEntry, StackHistory, stack_history

_LONGEST = 200
"""Characters of a text in a cell that somebody else wrote."""
Tone = Literal["good", "bad", "wait", "none"]
GROUPS: Mapping[str, str] = {
    "problem": "Problems",
    "waiting": "Waiting",
    "released": "Released",
    "over": "Over: withdrawn, retired or replaced",
}
"""The parts of the board in their order."""


@dataclass(frozen=True)
class Cell:
    """How a candidate stands at one stage. Texts may quote what others wrote.

    Attributes:
        text: In a few words.
        tone: ``good``, ``bad``, ``wait``, or ``none`` if there is nothing to tell.
        who: Who did it.
        at: When.
        link: Where to look, an address in the web.
        more: A remark.
    """

    text: str = ""
    tone: Tone = "none"
    who: str = ""
    at: datetime | None = None
    link: str = ""
    more: str = ""


@dataclass(frozen=True)
class Seen:
    """A candidate as it was read.

    Attributes:
        version: Version.
        build: Build.
        record: ``candidate.json``; None if it cannot be read.
        decision: What the gate says, without a plan.
        evidence: What the attestations prove.
        chain: The attestations.
        problems: Why it cannot be read or proven, or how release area or registry differ from it.
        begun: Who began a promotion that did not end, and when; empty for none.
        stuck: Whether that promotion has done nothing for a while.
    """

    version: str
    build: str
    record: Candidate | None = None
    decision: Decision | None = None
    evidence: Evidence | None = None
    chain: Chain | None = None
    problems: tuple[str, ...] = ()
    begun: str = ""
    stuck: bool = False

    @property
    def ident(self) -> str:
        """``version/build``."""
        return f"{self.version}/{self.build}"

    @property
    def sound(self) -> bool:
        """Whether what is signed about it may be shown as proven."""
        return not self.problems and self.decision is not None and not self.decision.altered

    @property
    def retired(self) -> bool:
        """Whether its images were taken out of the registry since their promotion."""
        if not self.sound or self.evidence is None:
            return False
        return self.evidence.latest(RETIREMENT) > self.evidence.latest(PROMOTION) > 0

    @property
    def released(self) -> bool:
        """Whether it is in force: promoted and not retired, or published; and not withdrawn."""
        if not self.sound or self.evidence is None:
            return False
        latest = self.evidence.latest
        out = latest(WITHDRAWAL)
        return latest(PROMOTION) > max(out, latest(RETIREMENT)) or latest(PUBLICATION) > out


@dataclass(frozen=True)
class Setting:
    """What the configuration says.

    Attributes:
        policy: The policy.
        publishes: Whether there is a release area.
        portal: Whether there is a portal.
        stack: Name of the SaaS stack; empty for none.
        lines: Number of supported lines.
        kind: What makes a line.
        ends: Line such as ``8.1`` to the last day of its support.
    """

    policy: Policy
    publishes: bool = False
    portal: bool = False
    stack: str = ""
    lines: int = 2
    kind: LineKind = "major.minor"
    ends: Mapping[str, date] = field(default_factory=dict)


@dataclass(frozen=True)
class BoardLine:
    """A line of the board.

    Attributes:
        version: Version.
        build: Build.
        group: Key of :data:`GROUPS`.
        cells: One for each column; none if nothing about it can be shown as proven.
        wait: What it waits for.
        page: File name of its version's page.
        supported: Its place in the support window, in words.
    """

    version: str
    build: str
    group: str
    cells: tuple[Cell, ...]
    wait: Wait
    page: str
    supported: str = ""

    @property
    def ident(self) -> str:
        """``version/build``."""
        return f"{self.version}/{self.build}"


@dataclass(frozen=True)
class Board:
    """The board of a product.

    Attributes:
        product: Product.
        at: When everything was read, UTC.
        columns: The stages.
        lines: Every candidate: problems first, newest versions first.
        window: The supported lines.
        notes: What could not be read, or does not fit together.
        ends: Line to the last day of its support.
    """

    product: str
    at: datetime
    columns: tuple[str, ...]
    lines: tuple[BoardLine, ...]
    window: Window
    notes: tuple[str, ...] = ()
    ends: Mapping[str, date] = field(default_factory=dict)

    @property
    def supported(self) -> tuple[tuple[str, str], ...]:
        """Each supported line, and its place: N, N-1, or until when it is promised."""
        names = self.window.names
        places = ["N", *(f"N-{place}" for place in range(1, len(self.window.lines)))]
        promised = (f"until {self.ends[name]}" for name in names[len(self.window.lines) :])
        return tuple(zip(names, [*places[: len(self.window.lines)], *promised], strict=True))

    def of(self, group: str) -> tuple[BoardLine, ...]:
        """Return the lines of one group."""
        return tuple(line for line in self.lines if line.group == group)

    def document(self) -> dict[str, Any]:
        """Return the board for programs."""
        return {
            "product": self.product,
            "asOf": self.at.isoformat(),
            "supported": list(self.window.names),
            "unread": list(self.notes),
            "candidates": [
                {
                    "candidate": line.ident,
                    "group": line.group,
                    "support": line.supported,
                    "waitsFor": line.wait.what if line.wait.state != "done" else "",
                    "who": line.wait.who,
                    "command": line.wait.command,
                    "reasons": list(line.wait.reasons),
                    "stages": {
                        column: {
                            "state": cell.text,
                            "who": cell.who,
                            "at": cell.at.isoformat() if cell.at else None,
                        }
                        for column, cell in zip(self.columns, line.cells, strict=False)
                    },
                }
                for line in self.lines
            ],
        }

    @property
    def awaited(self) -> list[tuple[str, int]]:
        """Who has to act, and for how many candidates; those with most first."""
        who = Counter(line.wait.who for line in self.lines if line.wait.who)
        return sorted(who.items(), key=lambda each: (-each[1], each[0]))


def page_name(version: str) -> str:
    """Return the file name of a version's page."""
    return f"version-{version}.html"


_PEOPLE = (
    *("tester", "requester", "approver", "by", "promotedBy", "publishedBy", "uploadedBy", "removedBy"),
    *("refreshedBy", "withdrawnBy", "retiredBy", "deletedBy"),
)
_SAYS = (
    *("result", "registry", "location", "portal", "action", "stack", "outcome", "release", "problem"),
    *("conditions", "reason", "note", "acceptedFailures", "supported", "planDigest"),
)


def told_event(event: Event) -> tuple[str, str]:
    """Return who speaks in an attestation, and what it says in a line. Its content is not trusted."""
    facts = event.facts
    who = next((str(facts[name]) for name in _PEOPLE if facts.get(name)), "")
    said = []
    if isinstance(tests := facts.get("tests"), dict):
        counts = (f"{tests.get(name, '?')} {name}" for name in ("passed", "failed", "skipped"))
        said.append(f"tests: {', '.join(counts)}")
    for name in _SAYS:
        value = facts.get(name)
        if isinstance(value, list):
            value = ", ".join(map(str, value))
        if value and isinstance(value, str | int):
            said.append(f"{name}: {value}")
    return who, shortened("; ".join(said), 1000)


def make_board(
    product: str, seen: Sequence[Seen], setting: Setting, at: datetime, notes: Iterable[str] = ()
) -> Board:
    """Make the board.

    Args:
        product: Product.
        seen: Every candidate.
        setting: What the configuration says.
        at: When they were read, UTC.
        notes: What could not be read.
    """
    told = list(notes)
    stacks = _stacks(seen, setting, told)
    in_force = [each.ident for each in seen if each.released]
    window = _window(seen, setting, at.date())
    told += _without_proof(seen, window)
    running = {stack: history.state.release for stack, history in stacks.items() if not history.unsettled}
    newest = _newest([each for each in seen if each.released and each.record and each.record.images])
    lines = []
    for each in seen:
        due: list[Due] = ["publish"] if setting.publishes else []
        if setting.portal and not _at_portal(each):
            due.append("portal")
        if setting.portal and _left_at_portal(each.evidence):
            due.append("removal")
        if setting.stack and newest == each.ident and running.get(setting.stack, newest) != newest:
            due.append("saas")
        lines.append(_line(each, setting, window, stacks, in_force, due))
    order = list(GROUPS)
    lines.sort(key=lambda line: _age(line.version, line.build), reverse=True)
    lines.sort(key=lambda line: order.index(line.group))
    columns = (
        *("Built", "On the share", "QA", "Approved", "Promoted", "Published", "Portal"),
        *(f"SaaS {stack}" for stack in stacks),
        "Support",
    )
    return Board(product, at, columns, tuple(lines), window, tuple(told), setting.ends)


def _line(
    seen: Seen,
    setting: Setting,
    window: Window,
    stacks: Mapping[str, StackHistory],
    in_force: Sequence[str],
    due: Sequence[Due],
) -> BoardLine:
    page = page_name(seen.version)
    record, decision, evidence = seen.record, seen.decision, seen.evidence
    if record is None or decision is None or evidence is None or seen.problems:
        wait = unreadable(seen.ident, "; ".join(seen.problems))
        return BoardLine(seen.version, seen.build, "problem", (), replace(wait, reasons=seen.problems), page)
    overtaken = overtaken_by(seen.ident, in_force, setting.policy)
    wait = waits_for(record, decision, evidence, setting.policy, due=due, overtaken=overtaken)
    if decision.altered:
        return BoardLine(seen.version, seen.build, "problem", (), wait, page)
    if seen.begun and wait.job == "promote":
        command = f"jenkins-release promote run {seen.ident}"
        state: WaitState = "problem" if seen.stuck else "waiting"
        wait = Wait(state, "the end of a promotion", wait.who, command, "promote", (seen.begun,))
    support = _support(seen, record, evidence, setting, window)
    cells = (
        _built(record, evidence, setting),
        _shared(record),
        _tested(decision, seen),
        _approved(record, decision, evidence, setting.policy),
        _promoted(seen, record, evidence),
        _published(record, evidence),
        _portal(evidence),
        *(_runs(seen.ident, history) for history in stacks.values()),
        support,
    )
    if wait.state == "problem":
        group = "problem"
    elif wait.state != "done":
        group = "waiting"
    else:
        group = "released" if seen.released and not seen.retired else "over"
    short = tuple(
        replace(cell, who=shortened(cell.who, _LONGEST), more=shortened(cell.more, _LONGEST))
        for cell in cells
    )
    return BoardLine(seen.version, seen.build, group, short, wait, page, support.text)


def _built(record: Candidate, evidence: Evidence, setting: Setting) -> Cell:
    attested = evidence.of(PROVENANCE)[-1:]
    lacks: Tone = "bad" if setting.policy.build_attestation else "none"
    return Cell(
        "attested" if attested else "not attested",
        "good" if attested else lacks,
        record.built_by,
        attested[0].statement.signed_at if attested else None,
        record.build_url,
        f"revision {record.revision[:12]}" if record.revision else "revision unknown",
    )


def _shared(record: Candidate) -> Cell:
    parts = [(len(record.images), "image"), (len(record.installers), "installer")]
    told = ", ".join(f"{count} {name}{'s' if count > 1 else ''}" for count, name in parts if count)
    return Cell(
        size(sum(file.size for file in record.files)), "good", at=record.exported_at, more=told or "no files"
    )


def _tested(decision: Decision, seen: Seen) -> Cell:
    found = decision.verdicts
    missing = {reason.condition for reason in decision.unmet} & {"sign-offs", "suites", "age", "tested"}
    if seen.released:
        missing = set()  # it was enough when it was released
    if not found:
        return Cell("no verdict", "wait" if missing else "none")
    passed = sum(each.passed for each in found)
    counts = [
        f"{passed} pass" if passed else "",
        f"{len(found) - passed} fail" if passed < len(found) else "",
    ]
    tone: Tone = "bad" if passed < len(found) else "wait" if missing else "good"
    return Cell(
        ", ".join(filter(None, counts)),
        tone,
        ", ".join(each.tester for each in found),
        max(each.signed_at for each in found),
        more="not enough yet" if missing and passed == len(found) else "",
    )


def _approved(record: Candidate, decision: Decision, evidence: Evidence, policy: Policy) -> Cell:
    # A withdrawal makes the approvals before it void, but not the release that they were for.
    released = max(evidence.latest(PROMOTION), evidence.latest(PUBLICATION))
    out = [each.statement.sequence for each in evidence.of(WITHDRAWAL)]
    since = max((number for number in out if number < released), default=0)
    given = [each for each in evidence.of(APPROVAL) if each.statement.sequence > since]
    if not given:
        return Cell(f"0 of {policy.approvals}", "wait") if policy.approvals else Cell("not asked for")
    counting, people = approvals_of_one_plan(
        evidence.after(since, without=WITHDRAWAL), decision.verdicts, record, policy
    )
    others = [each for each in given if each not in counting]
    tone: Tone = "good" if people >= policy.approvals else "wait"
    return Cell(
        f"{people} of {policy.approvals}" if policy.approvals else str(people),
        tone,
        _approvers(counting),
        counting[-1].statement.signed_at if counting else None,
        more=f"{'for another plan, or ' if counting else ''}does not count: {_approvers(others)}"
        if others
        else "",
    )


def _approvers(given: Sequence[Counted]) -> str:
    return ", ".join(dict.fromkeys(str(each.statement.extension.get("approver", "?")) for each in given))


def _promoted(seen: Seen, record: Candidate, evidence: Evidence) -> Cell:
    if not record.images:
        return Cell("no images")
    last = evidence.of(PROMOTION)[-1:]
    if not last:
        return Cell("begun", "bad" if seen.stuck else "wait", more=seen.begun) if seen.begun else Cell()
    gone = max(evidence.latest(WITHDRAWAL), evidence.latest(RETIREMENT)) > last[0].statement.sequence
    cell = _done(last[0], "promoted", "promotedBy", gone=gone)
    try:
        said = Promotion.of(last[0].statement, last[0].file)
    except IntegrityError:
        return Cell("cannot be read", "bad")
    tags = dict.fromkeys(tag for image in said.images for tag in image.tags)
    return Cell(cell.text, cell.tone, cell.who, cell.at, more=", ".join(tags))


def _published(record: Candidate, evidence: Evidence) -> Cell:
    last = evidence.of(PUBLICATION)[-1:]
    if not last:
        return Cell() if record.installers else Cell("no installers")
    gone = evidence.latest(WITHDRAWAL) > last[0].statement.sequence
    return _done(last[0], "published", "publishedBy", gone=gone)


def _portal(evidence: Evidence) -> Cell:
    last = evidence.of(PORTAL)[-1:]
    if not last:
        return Cell()
    try:
        said = PortalRecord.of(last[0].statement, last[0].file)
    except IntegrityError:
        return Cell("cannot be read", "bad")
    if said.action == "upload":
        cell = _done(last[0], "uploaded", "uploadedBy")
        return replace(cell, tone="bad", more="it was withdrawn") if _left_at_portal(evidence) else cell
    return _done(last[0], "removed", "removedBy", gone=True)


def _done(item: Counted, text: str, by: str, *, gone: bool = False) -> Cell:
    who = str(item.statement.extension.get(by, "?"))
    return Cell(text, "none" if gone else "good", who, item.statement.signed_at)


def _runs(ident: str, history: StackHistory) -> Cell:
    last = history.unsettled
    if last is not None and last.record.release == ident:
        begun = last.record.outcome == "started"
        return Cell(f"{last.record.action} {'begun' if begun else 'failed'}", "bad", last.by, last.when)
    mine = [each for each in history.entries if each.record.after.release == ident]
    if history.last is not None and last is None and history.state.release == ident:
        here = [
            each for each in history.entries if each.record.settled and each.record.state.release == ident
        ]
        return Cell("runs", "good", here[-1].by, here[-1].when)
    if mine and mine[-1].record.outcome == "returned":
        return Cell("failed, returned", "bad", mine[-1].by, mine[-1].when)
    return Cell("ran before", "none", mine[-1].by, mine[-1].when) if mine else Cell()


def _support(seen: Seen, record: Candidate, evidence: Evidence, setting: Setting, window: Window) -> Cell:
    out, gone = evidence.latest(WITHDRAWAL), evidence.latest(RETIREMENT)
    promoted, published = evidence.latest(PROMOTION), evidence.latest(PUBLICATION)
    if out and out > max(promoted, published):
        last = evidence.of(WITHDRAWAL)[-1]
        cell = _done(last, "withdrawn", "withdrawnBy")
        return Cell(cell.text, "bad", cell.who, cell.at, more=str(last.statement.extension.get("reason", "")))
    if promoted and gone > promoted:
        return _done(evidence.of(RETIREMENT)[-1], "retired", "retiredBy", gone=True)
    version = _parsed(record.version)
    if not seen.released or version is None:
        return Cell()
    line = line_of(version, setting.kind)
    end = setting.ends.get(".".join(map(str, line)))
    ends = f"until {end}" if end else ""
    if line in window.lines:
        place = window.lines.index(line)
        return Cell(f"N-{place}" if place else "N", "good", more=ends)
    if line in window.promised:
        return Cell("supported", "good", more=ends)
    return Cell("before N" if window.supports(version) else "unsupported", "wait", more=ends)


def _at_portal(seen: Seen) -> bool:
    """Whether the last that is signed about a portal is about this publication."""
    last = seen.evidence.of(PORTAL, PUBLICATION)[-1:] if seen.evidence else []
    return bool(last) and last[0].statement.predicate_type == PORTAL


def _left_at_portal(evidence: Evidence | None) -> bool:
    """Whether it was withdrawn, and the last that is signed about a portal is an upload."""
    if evidence is None:
        return False
    out = evidence.latest(WITHDRAWAL)
    last = evidence.of(PORTAL)[-1:]
    released = max(evidence.latest(PROMOTION), evidence.latest(PUBLICATION))
    return out > released and bool(last) and last[0].statement.predicate.get("action") == "upload"


def _stacks(seen: Iterable[Seen], setting: Setting, notes: list[str]) -> dict[str, StackHistory]:
    """Return the history of each stack by its name, the configured one first; problems are added to notes."""
    entries: list[StackEntry] = []
    for each in seen:
        files = {document.file: document.sha256 for document in each.chain.documents} if each.chain else {}
        for item in each.evidence.of(REFRESH) if each.evidence and each.sound else ():
            try:
                record = RefreshRecord.of(item.statement, item.file)
            except IntegrityError as error:
                notes.append(f"{each.ident}: {error.message}")
                continue
            entries.append(
                StackEntry(
                    each.ident,
                    item.file,
                    files.get(item.file, ""),
                    str(item.statement.extension.get("refreshedBy", "?")),
                    item.statement.signed_at,
                    record,
                )
            )
    names = dict.fromkeys([setting.stack] if setting.stack else [])
    names |= dict.fromkeys(sorted(entry.record.stack for entry in entries))
    found = {name: stack_history(name, entries) for name in names}
    notes += [f"stack {name}: {note}" for name, history in found.items() for note in history.notes]
    return found


def _window(seen: Iterable[Seen], setting: Setting, today: date) -> Window:
    released = [version for each in seen if each.released and (version := _parsed(each.version))]
    promised = promised_lines(setting.ends, today)
    return support_window(released, count=setting.lines, kind=setting.kind, promised=promised)


def _without_proof(seen: Iterable[Seen], window: Window) -> list[str]:
    """Name what may be a release, cannot be proven, and would open a line or be in one of the newest."""
    found = []
    for each in seen:
        version = _parsed(each.version)
        maybe = each.evidence is None or each.evidence.of(PROMOTION, PUBLICATION)
        if each.sound or not maybe or version is None or not version.final:
            continue
        line = line_of(version, window.kind)
        if line not in window.lines and window.supports(version):
            found.append((version, each.ident))
    if not found:
        return []
    names = [ident for _, ident in sorted(found)]
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return [f"the support window is without {listed}, of which nothing is proven: N may be another line"]


def _newest(seen: Sequence[Seen]) -> str:
    known = [each for each in seen if _parsed(each.version)]
    return max(known, key=lambda each: _age(each.version, each.build)).ident if known else ""


def _age(version: str, build: str) -> tuple[bool, ReleaseVersion | str, int, str]:
    found = _parsed(version)
    return (found is not None, found or version, whole_number(build) or 0, build)


def _parsed(version: str) -> ReleaseVersion | None:
    try:
        return ReleaseVersion.parse(version)
    except ConfigurationError:
        return None
