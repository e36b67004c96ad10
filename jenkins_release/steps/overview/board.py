"""The release board: pages that show where every version stands, and what it waits for.

Every candidate is read once. What cannot be read is shown, never left out.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError, LeaseHeld, ReleaseError
from jenkins_release.base.moments import minute
from jenkins_release.base.names import name_problem
from jenkins_release.base.tags import pin_tag, registry_tags
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.config.board import BOARDS
from jenkins_release.records.attestation import OVERRIDE, PROMOTION, RETIREMENT, WITHDRAWAL
from jenkins_release.records.candidate import Candidate
from jenkins_release.records.release import Promotion
from jenkins_release.registry.protocol import RepositoryNotFound
from jenkins_release.rules.gate.evidence import CLOCK_SKEW
from jenkins_release.rules.release.board import (
    GROUPS,
    Board,
    BoardLine,
    Seen,
    make_board,
    page_name,
    told_event,
)
from jenkins_release.rules.release.story import Event, Story, tell
from jenkins_release.rules.release.support import line_of
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.share.journal import JOURNAL
from jenkins_release.share.protocol import Lease, PathNotFound, Share
from jenkins_release.share.staging import present, read_bounded, rename_whole, shown_path, stage_folder
from jenkins_release.steps.candidate.ledger_standing import gone_standing, recorded_refs
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidates
from jenkins_release.steps.candidate.promotion_journal import read_journal_of
from jenkins_release.steps.candidate.waiting import setting_of
from jenkins_release.steps.context.local_files import write_file
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.customers.audit import list_customers
from jenkins_release.steps.overview.compare import compare_candidates, is_released
from jenkins_release.steps.overview.comparison import CompareReport
from jenkins_release.steps.overview.history import build_history
from jenkins_release.steps.overview.listing import AreaLook, look_at_area, releases_among
from jenkins_release.steps.overview.pages import STYLE, render, style_sheet
from jenkins_release.steps.release.releases import build_order

if TYPE_CHECKING:
    from jenkins_release.portal import Portal
    from jenkins_release.steps.customers.audit import CustomerList

_log = logging.getLogger(__name__)
INDEX, DOCUMENT = "index.html", "board.json"
UNKNOWN_BUILD = "unknown"
"""Stands for the build of what is published and cannot be read."""
_COMPARED = 12
"""Newest versions that are compared with the release before: each costs reading its SBOMs."""
_STUCK = timedelta(hours=1)
"""A promotion that noted nothing for so long has died, or has to be looked at."""
_QUICK = {"attempts": 2, "deadline_s": 30.0}
"""How long a command that changed a release tries to write the board."""
_TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "json": "application/json"}
Opened = Mapping[CandidateRef, OpenCandidate | ReleaseError]


@dataclass(frozen=True)
class BoardRequest:
    """Where to write the board.

    Attributes:
        out: Folder on this machine; None for the places that ``[board]`` names.
    """

    out: Path | None = None


@dataclass(frozen=True)
class BoardReport:
    """What was written.

    Attributes:
        board: The board.
        pages: Number of files.
        places: Where it is now.
    """

    board: Board
    pages: int
    places: tuple[str, ...]


@dataclass(frozen=True)
class BuildPage:
    """A candidate on the page of its version.

    Attributes:
        line: Its line on the board.
        location: Its folder.
        record: ``candidate.json``; None if it cannot be read.
        digest: Its digest.
        story: Its attestations; None if they cannot be read.
        sound: Whether what is signed may be shown as proven.
    """

    line: BoardLine
    location: str
    record: Candidate | None = None
    digest: str = ""
    story: Story | None = None
    sound: bool = False

    @property
    def events(self) -> list[tuple[Event, str, str]]:
        """Each attestation, with who speaks in it and what it says."""
        return [(event, *told_event(event)) for event in self.story.events] if self.story else []


@dataclass
class _Reading:
    """What was read for the board."""

    seen: list[Seen] = field(default_factory=list)
    opened: dict[CandidateRef, OpenCandidate] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    registries: dict[str, int] = field(default_factory=dict)
    customers: CustomerList | None = None


def write_board(request: BoardRequest, services: Services) -> BoardReport:
    """Write the release board: to a folder, or to the places that ``[board]`` names.

    Raises:
        ConfigurationError: There is no place to write it to, or a file cannot be written.
        RemoteError: The share of the candidates, the ledger, or a place to write to failed, after the
            retries. If anything else cannot be read, the board says so.
    """
    section = services.configuration.board
    if request.out is None and not section.kept:
        raise ConfigurationError(
            "there is no place for the board", hint="give --out, or set board.share or board.portal"
        )
    at = services.now()
    reading = _read(services)
    board = make_board(
        services.configuration.product.name, reading.seen, setting_of(services), at, reading.notes
    )
    pages = _pages(board, reading, services)
    places = []
    if request.out is not None:
        places.append(_to_folder(request.out, pages))
    else:
        if section.share:
            places.append(_to_share(pages, board, services))
        if section.portal:
            places.append(_to_portal(pages, board, services))
    return BoardReport(board, len(pages), tuple(places))


def refresh_board(services: Services) -> None:
    """Write the board again after a command that changed a release, if ``[board]`` names a place.

    Raises nothing but an interrupt: the command did its work, whatever becomes of the board.

    Args:
        services: Those of the command.
    """
    configuration = services.configuration
    if not services.changed or not configuration.board.kept:
        return
    retry = configuration.retry
    quick = {name: min(value, getattr(retry, name)) for name, value in _QUICK.items()}
    hasty = configuration.model_copy(update={"retry": retry.model_copy(update=quick)})
    try:
        # A connection that the command lost, or a wait that it was allowed, is not the board's.
        with replace(services, configuration=hasty) as own:
            report = write_board(BoardRequest(), own)
    except Exception as error:  # noqa: BLE001 - the command did its work
        why = error.message if isinstance(error, ReleaseError) else f"unexpected {type(error).__name__}"
        _log.warning("the release board was not written: %s", why)
        return
    _log.info("wrote the release board to %s", " and ".join(report.places))


def _read(services: Services) -> _Reading:
    """Read every candidate once, and whatever else there is to compare them with."""
    found = _Reading()
    known = recorded_refs(services)
    refs, unlisted = services.retry("list candidates", services.candidates.look)
    found.notes += [f"no candidate is looked for there: {error.message}" for error in unlisted.values()]
    opened = open_candidates(refs, services)
    area: AreaLook | None = None
    with _noted("the release area", found.notes):
        area = look_at_area(services)
    problems: dict[CandidateRef, list[str]] = {}
    for each in releases_among(opened, area, services):
        if each.problem:
            problems.setdefault(CandidateRef(each.version, each.build or UNKNOWN_BUILD), []).append(
                each.problem
            )
    for ref in known:
        if ref not in opened:
            gone = gone_standing(ref, services).altered
            problems.setdefault(ref, []).extend(gone)
    for ref, one in opened.items():
        if isinstance(one, ReleaseError):
            why = problems.pop(ref, [one.message])
            found.seen.append(Seen(ref.version, ref.build, problems=tuple(why)))
            continue
        found.opened[ref] = one
        found.seen.append(
            Seen(
                ref.version,
                ref.build,
                one.record,
                one.decision(),
                one.evidence,
                one.chain,
                tuple(problems.pop(ref, ())),
            )
        )
    found.seen += [Seen(ref.version, ref.build, problems=tuple(why)) for ref, why in problems.items() if why]
    with _noted("the registry", found.notes):
        found.seen = _with_registry(found, services)
    with _noted("the journals of promotions", found.notes):
        found.seen = _with_journals(found, services)
    if services.configuration.board.customers:
        with _noted("who may pull", found.notes):
            found.customers = list_customers(services)
    return found


@contextmanager
def _noted(what: str, notes: list[str]) -> Iterator[None]:
    """Note that something could not be read, and go on."""
    try:
        yield
    except ReleaseError as error:
        notes.append(f"{what} could not be read: {error.message}")
        _log.warning("%s", notes[-1])


def _with_registry(found: _Reading, services: Services) -> list[Seen]:
    """Compare what is in force with the tags in the registry."""
    wanted: dict[str, Promotion] = {}
    for each in found.seen:
        if each.evidence is None or not each.released:
            continue
        evidence = each.evidence
        last = evidence.of(PROMOTION)[-1:]
        if not last or evidence.latest(RETIREMENT) > last[0].statement.sequence:
            continue
        try:
            promotion = Promotion.of(last[0].statement, last[0].file)
        except IntegrityError as error:
            found.notes.append(f"{each.ident}: {error.message}")
            continue
        found.registries[promotion.registry] = found.registries.get(promotion.registry, 0) + 1
        wanted[each.ident] = promotion
    if not wanted:
        return found.seen
    host = services.retry("ask ECR for the registry", lambda: services.registry.host)
    others = sorted({promotion.registry for promotion in wanted.values()} - {host})
    found.notes.extend(
        f"the registry {other} was not looked at: it is not the configured one" for other in others
    )
    here = {ident: promotion for ident, promotion in wanted.items() if promotion.registry == host}

    def tags(name: str) -> list[str]:
        try:
            return services.retry(f"list the tags of {name}", services.registry.tags, name)
        except RepositoryNotFound:
            return []

    names = sorted({image.repository for promotion in here.values() for image in promotion.images})
    held = dict(zip(names, map(set, services.each(tags, names)), strict=True))
    return [
        replace(each, problems=(*each.problems, *_in_registry(each, here[each.ident], held, services)))
        if each.ident in here
        else each
        for each in found.seen
    ]


def _in_registry(
    seen: Seen, promotion: Promotion, held: Mapping[str, set[str]], services: Services
) -> Iterator[str]:
    """Say what the registry lacks of a release, or has against it."""
    fixed = registry_tags(services.configuration.ecr.tags, ReleaseVersion.parse(seen.version), seen.build)
    for image in promotion.images:
        there = held[image.repository]
        pin = pin_tag(seen.version, seen.build, image.digest)
        if pin in there:
            yield f"it was withdrawn: the registry holds the tag {pin}, and no withdrawal is on the share"
            return
        for tag in image.tags:
            if tag in fixed and tag not in there:
                yield f"{promotion.registry}/{image.repository}:{tag} is gone from the registry"


def _with_journals(found: _Reading, services: Services) -> list[Seen]:
    """Look for promotions that were begun and did not end."""
    area = services.candidates
    refs = {
        CandidateRef(each.version, each.build): each
        for each in found.seen
        if each.sound
        and each.evidence
        and each.record
        and each.record.images
        and not each.released
        and each.evidence.latest(WITHDRAWAL) == 0
        and each.decision is not None
        and (each.evidence.of(OVERRIDE) or any(verdict.passed for verdict in each.decision.verdicts))
    }
    paths = [f"{area.folder(ref)}/{JOURNAL}" for ref in refs]
    listed = services.retry("list the journals", services.share.list_each, paths)
    begun: dict[str, tuple[str, bool]] = {}
    for ref, entries in zip(refs, listed, strict=True):
        if isinstance(entries, PathNotFound) or not entries:
            continue
        if isinstance(entries, ReleaseError):
            found.notes.append(f"the journal of {ref} could not be read: {entries.message}")
            continue
        reading = read_journal_of(ref, found.opened[ref].digest, None, services)
        if reading.unread:
            found.notes.append(f"the journal of {ref} could not be read: {reading.unread}")
        read = reading.entries
        if read and read[-1].event != "done":
            last = max(read, key=lambda entry: entry.at)
            told = f"{last.run.by} began it on {last.run.host} at {minute(last.run.started_on)}"
            told += f"; the last step, {last.label}, was at {minute(last.at)}"
            begun[str(ref)] = told, services.now() - last.at > _STUCK
    return [
        replace(each, begun=begun[each.ident][0], stuck=begun[each.ident][1]) if each.ident in begun else each
        for each in found.seen
    ]


def _pages(board: Board, reading: _Reading, services: Services) -> dict[str, bytes]:
    """Return every file of the board by its name, the first page last."""
    jobs = _jobs(services)
    style = f"./{quote(STYLE)}"
    by_version: dict[str, list[BoardLine]] = {}
    for line in board.lines:
        by_version.setdefault(line.version, []).append(line)
    versions = [version for version in by_version if name_problem(version) is None]
    compared = dict(
        zip(
            (chosen := [version for version in _newest_first(versions) if version in versions][:_COMPARED]),
            services.each(lambda version: _compared(version, reading, services), chosen),
            strict=True,
        )
    )
    found: dict[str, bytes] = {STYLE: style_sheet()}
    for version in versions:
        comparison, uncompared = compared.get(version, (None, ""))
        found[page_name(version)] = render(
            "version.html",
            style=style,
            board=board,
            version=version,
            builds=[
                _build_page(line, reading, services)
                for line in sorted(
                    by_version[version], key=lambda line: build_order(line.build), reverse=True
                )
            ],
            comparison=comparison,
            uncompared=uncompared,
            most=_COMPARED,
            jobs=jobs,
        )
    found[DOCUMENT] = (json.dumps(board.document(), indent=2) + "\n").encode()
    found[INDEX] = render(
        "board.html",
        style=style,
        board=board,
        groups=GROUPS,
        pages={*found},
        jobs=jobs,
        places=_places(reading, services),
        customers=reading.customers,
    )
    return found


def _newest_first(versions: Sequence[str]) -> list[str]:
    def order(version: str) -> tuple[bool, Any]:
        try:
            return True, ReleaseVersion.parse(version)
        except ConfigurationError:
            return False, version

    return sorted(versions, key=order, reverse=True)


def _build_page(line: BoardLine, reading: _Reading, services: Services) -> BuildPage:
    ref = CandidateRef(line.version, line.build)
    location = services.candidates.shown(ref)
    opened = reading.opened.get(ref)
    if line.build == UNKNOWN_BUILD:
        return BuildPage(line, services.releases.shown(line.version))
    if opened is None:
        try:
            told = build_history(ref, services)
        except ReleaseError:
            return BuildPage(line, location)
        return BuildPage(line, location, None, told.story.digest, told.story)
    story = tell(opened.dated, services.trusted_keys, services.now())
    return BuildPage(line, location, opened.record, opened.digest, story, bool(line.cells))


def _compared(version: str, reading: _Reading, services: Services) -> tuple[CompareReport | None, str]:
    """Compare the released or newest build of a version with the release before it."""
    builds = sorted(
        (opened for ref, opened in reading.opened.items() if ref.version == version),
        key=lambda opened: build_order(opened.ref.build),
    )
    if not builds:
        return None, "no build of it can be read"
    now = ([each for each in builds if is_released(each)] or builds)[-1]
    before = _release_before(now, reading, services)
    if before is None:
        return None, "no older release is known"
    try:
        return compare_candidates(before, now, services), ""
    except ReleaseError as error:
        return None, f"{now.ref} cannot be compared with {before.ref}: {error.message}"


def _release_before(now: OpenCandidate, reading: _Reading, services: Services) -> OpenCandidate | None:
    """Find the newest release of the same line, or else of any line, that is older."""
    kind = services.configuration.support.line
    try:
        own = ReleaseVersion.parse(now.record.version)
    except ConfigurationError:
        return None
    older = []
    for seen in reading.seen:
        ref = CandidateRef(seen.version, seen.build)
        if not seen.released or ref == now.ref or ref not in reading.opened:
            continue
        try:
            version = ReleaseVersion.parse(seen.version)
        except ConfigurationError:
            continue
        if version < own:
            same = line_of(version, kind) == line_of(own, kind)
            older.append((same, version, build_order(seen.build), reading.opened[ref]))
    return max(older, key=lambda each: each[:3])[-1] if older else None


def _jobs(services: Services) -> dict[str, str]:
    """Return the address of the Jenkins job of each kind; none if no controller is known."""
    try:
        root = services.jenkins_url
    except ConfigurationError:
        return {}
    section = services.configuration.jenkins
    paths = {"promote": section.promote_path}
    for job in section.jobs:
        paths.setdefault(job.kind, job.path)

    def address(path: str) -> str:
        return root + "".join(
            f"job/{quote(name)}/" for name in f"{services.jenkins_folder}/{path}".split("/")
        )

    return {kind: address(path) for kind, path in paths.items()}


def _places(reading: _Reading, services: Services) -> list[tuple[str, str]]:
    """Say where the product is: shares, registries, regions, stack and portal."""
    configuration = services.configuration
    found = [("Candidates", services.share.name)]
    if configuration.share.releases:
        with _noted("the release area", []):
            found.append(("Releases", services.release_share.name))
    for host, count in sorted(reading.registries.items()):
        found.append(("Registry", f"{host}, {count} release{'s' if count > 1 else ''} in force"))
    if configuration.ecr.region:
        found.append(("Region of the registry", configuration.ecr.region))
    if configuration.saas.strategy != "none":
        found.append((f"Region of the SaaS stack {configuration.saas.stack}", services.saas_region))
    if configuration.portal.kind == "s3":
        region = configuration.portal.region or configuration.ecr.region
        found.append(("Portal", f"s3://{configuration.portal.bucket} in {region}"))
    elif configuration.portal.kind == "share":
        found.append(("Portal", configuration.portal.location))
    return found


def _to_folder(folder: Path, pages: Mapping[str, bytes]) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"the folder {folder} cannot be made: {error.strerror}") from error
    before = _pages_in(folder)
    for name, data in pages.items():
        write_file(folder / name, data, "the board")
    for name in before - pages.keys():
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            _log.warning("the page %s of an earlier board was not removed: %s", name, error.strerror)
    return str(folder)


def _pages_in(folder: Path) -> set[str]:
    """Return the pages of versions that an earlier board in a folder has, as far as it can be read."""
    try:
        listed = json.loads((folder / DOCUMENT).read_bytes())["candidates"]
        versions = {str(each["candidate"]).partition("/")[0] for each in listed}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()
    return {page_name(version) for version in versions if name_problem(version) is None}


def _to_share(pages: Mapping[str, bytes], board: Board, services: Services) -> str:
    """Replace the board's folder on the releases share: complete or not at all."""
    share, above, name = services.release_share, services.configuration.board.share, board.product
    target = f"{above}/{name}"

    def write() -> None:
        share.make_folder(above)
        try:
            with share.lease(f"{above}/.{name}.board", services.holder()) as lease:
                if not _is_newer(lambda: read_bounded(share, f"{target}/{DOCUMENT}"), board.at, target):
                    _replace(share, above, name, pages, lease)
        except LeaseHeld as error:
            # Whoever writes it is soon done.
            raise LeaseHeld(error.message, hint=error.hint, retryable=True) from error

    services.retry(f"write the board to {target}", write)
    return shown_path(share, target)


def _replace(share: Share, above: str, name: str, pages: Mapping[str, bytes], lease: Lease) -> None:
    target, aside = f"{above}/{name}", f"{above}/.before-{name}-{secrets.token_hex(4)}"
    with stage_folder(share, above, name, lease=lease) as staging:
        for page, data in pages.items():
            staging.write(page, data)
        lease.confirm()
        moved = present(share, target)
        if moved:
            rename_whole(share, target, aside)
        try:
            staging.commit()
        except BaseException:
            if moved:
                rename_whole(share, aside, target)
            raise
    earlier = re.compile(rf"\.before-{re.escape(name)}-[0-9a-f]{{8}}", re.IGNORECASE)
    for entry in share.list(above):
        if entry.is_folder and earlier.fullmatch(entry.name):
            try:
                share.remove(f"{above}/{entry.name}")
            except ReleaseError as error:
                _log.warning("an earlier board, %s, was not removed: %s", entry.name, error)


def _to_portal(pages: Mapping[str, bytes], board: Board, services: Services) -> str:
    """Write the board beside the product in the portal's bucket, the first page last."""
    portal: Portal = services.portal
    folder = f"{BOARDS}/{board.product}"
    if not _is_newer(lambda: portal.read_small(f"{folder}/{DOCUMENT}"), board.at, folder):
        for name, data in pages.items():
            kind = _TYPES[name.rpartition(".")[2]]
            path = f"{folder}/{name}"
            services.retry(f"write {path}", portal.write_page, path, lambda data=data: data, kind)
    return f"{portal.name}/{folder}"


def _is_newer(read: Callable[[], bytes], at: datetime, place: str) -> bool:
    """Whether the board that is there shows a later state: another command was faster."""
    try:
        found = datetime.fromisoformat(json.loads(read())["asOf"])
        # What claims to be of tomorrow would keep every board away until then.
        newer = at < found.astimezone(UTC) <= at + CLOCK_SKEW
    except (ReleaseError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return False
    if newer:
        _log.info("the board in %s is of a later moment, and stays", place)
    return newer
