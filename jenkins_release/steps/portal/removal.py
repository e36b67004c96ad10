"""Portal removal: a withdrawn or unsupported release from where customers download.

The signed record stands first, then the page loses the release, then the files go: the page names
nothing that is not there, and a removal that died is finished by running it again.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused, IntegrityError, ReleaseError
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.portal import NotAtPortal
from jenkins_release.records.attestation import PORTAL
from jenkins_release.records.candidate import manifest_digest
from jenkins_release.records.published_release import PublishedRelease
from jenkins_release.share.candidates import CHECKSUMS, CandidateRef
from jenkins_release.share.releases import RELEASE
from jenkins_release.steps.candidate.attest import Claim, attest, named
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidate
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.notices.announce import announced, by_version_alone
from jenkins_release.steps.portal.page import (
    SOURCES,
    AtPortal,
    PortalSupport,
    look_at_portal,
    standings_at,
    supported,
    upgrade_notes,
    window,
    write_index,
)
from jenkins_release.steps.portal.published_release import last_at_portal
from jenkins_release.steps.publication.published_files import FoundRelease, read_published

_log = logging.getLogger(__name__)
UNPROVEN = "not provable"
"""Why a release goes of which it cannot be proven that it is in force."""


@dataclass(frozen=True)
class PortalRemovalRequest:
    """What to remove.

    Attributes:
        version: The version.
        force: Why a release goes that is supported and not withdrawn; recorded.
        key: URI of the promotion key; ``signing.promotion_key`` by default; a dry run needs none.
        dry_run: Tell what would be removed, change nothing.
    """

    version: str
    force: str = ""
    key: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class PortalRemoval:
    """What a removal did, or would do.

    Attributes:
        version: The version.
        portal: The portal.
        why: ``withdrawn``, ``unsupported``, ``not provable``, or the reason that was given.
        files: Path below the version's folder to bytes, of what goes.
        window: What the page shows afterwards.
        changed: Whether anything had to be done, or would have to be.
        attestation: File name of the portal attestation; empty after a dry run, and where the candidate
            is not on the share any more.
        head: SHA-256 in hex of the last attestation's file, to be kept elsewhere;
            empty if the candidate is not on the share any more.
    """

    version: str
    portal: str
    why: str
    files: dict[str, int]
    window: PortalSupport
    changed: bool
    attestation: str
    head: str = ""


@announced("release portal --remove", by_version_alone)
def remove_from_portal(request: PortalRemovalRequest, services: Services) -> PortalRemoval:
    """Remove a release from the portal, or finish a removal that died. The release area keeps it.

    Raises:
        ConfigurationError: No such version there, no portal, or no key.
        GateRefused: Customers are supported on the release, it was not withdrawn, and no reason is given.
        IntegrityError: The candidate was altered, or the portal holds another release that is not ours.
        RemoteError: Share or portal failed, after the retries.
    """
    version = ReleaseVersion.parse(request.version).text
    force = named("reason", request.force, option="force") if request.force else ""
    signer = services.promotion_signer(request.key, dry_run=request.dry_run)
    name = services.portal.name
    there = look_at_portal(services, without=version)
    found = _release(version, there, services)
    read = _candidate(found, services)
    opened = _unaltered(read)
    files = there.files(version)
    recorded, last = last_at_portal(opened, name) if opened else ("", None)
    if not files and last is None:
        raise ConfigurationError(
            f"{version} is not at the portal {name}",
            hint="'release portal --dry-run' of another version shows what is there",
        )
    claimed = last is not None and last.action == "upload"
    why = _why(version, there, found, read, force, services) if files or claimed else "removed already"
    if request.dry_run:
        after = window(there, services)
        head = opened.head if opened else ""
        return PortalRemoval(version, name, why, files, after, bool(files or claimed), "", head)
    assert signer is not None  # a dry run has ended
    if opened is not None and (claimed or (files and last is None)):
        opened.require_unaltered()
        claim = _claim(files, found, why, force, services)
        recorded, opened, _ = attest(opened, claim, signer, services, there=lambda now: _removed(now, name))
    page, after = write_index(services, without=version, leaving=opened)
    _remove(version, files, services)
    head = opened.head if opened else ""
    return PortalRemoval(version, name, why, files, after, bool(page or files or claimed), recorded, head)


def _removed(opened: OpenCandidate, portal: str) -> str:
    """Return the file name of the removal after the last upload; empty for none."""
    file, last = last_at_portal(opened, portal)
    return file if last is not None and last.action == "removal" else ""


def _release(version: str, there: AtPortal, services: Services) -> FoundRelease | None:
    """Return the release from the release area, or else as the portal itself describes it."""
    area, product = services.releases, services.configuration.product.name
    try:
        found = services.retry(f"read {area.shown(version)}", read_published, version, area)
    except IntegrityError as error:
        _log.warning("%s", error.message)
        found = None
    if found is not None or f"{version}/{RELEASE}" not in there.sizes:
        return found
    path = f"{product}/{version}/{RELEASE}"
    try:
        data = services.retry(f"read {path}", services.portal.read_small, path)
        return FoundRelease(data, PublishedRelease.from_bytes(data, f"{services.portal.name}/{path}"))
    except (NotAtPortal, IntegrityError) as error:
        _log.warning("%s", error.message)
        return None


def _candidate(found: FoundRelease | None, services: Services) -> OpenCandidate | ReleaseError | None:
    """Return the candidate of a release, or why it cannot be read; None if the release is not known."""
    if found is None:
        return None
    try:
        return open_candidate(CandidateRef.parse(found.record.candidate), services)
    except (ConfigurationError, IntegrityError) as error:
        return error


def _unaltered(read: OpenCandidate | ReleaseError | None) -> OpenCandidate | None:
    """Return the candidate that the removal can be recorded in."""
    if read is None:
        return None
    try:
        if isinstance(read, ReleaseError):
            raise read
        read.require_unaltered()
    except (ConfigurationError, IntegrityError) as error:
        # What cannot be proven has to be removable all the more.
        _log.warning("the removal cannot be recorded: %s", error.message)
        return None
    return read


def _why(
    version: str,
    there: AtPortal,
    found: FoundRelease | None,
    read: OpenCandidate | ReleaseError | None,
    force: str,
    services: Services,
) -> str:
    complete = {**there.complete, **({version: found} if found is not None else {})}
    candidates = {version: read} if read is not None else {}
    said = standings_at(replace(there, complete=complete), services, candidates)
    if version in said and said[version].withdrawn and not said[version].unproven:
        return "withdrawn"
    own = ReleaseVersion.parse(version)
    known = {own, *(ReleaseVersion.parse(text) for text in said)}
    inside = supported(known, {v for v in known if v.text in said and not said[v.text].in_force}, services)
    unproven = version in said and bool(said[version].unproven)
    if own not in inside and not unproven:
        return "unsupported"
    if force or unproven:
        return force or UNPROVEN
    shown = ", ".join(v.text for v in inside)
    raise GateRefused(
        f"{version} is supported and was not withdrawn, so customers may rely on it",
        hint="'release withdraw' takes back a bad release; --force REASON removes it anyway",
        reasons=[f"supported at {services.portal.name}: {shown}", f"{version} was not withdrawn"],
    )


def _remove(version: str, files: dict[str, int], services: Services) -> None:
    """Remove the records first: without ``release.json`` no page lists what is left."""
    portal, product = services.portal, services.configuration.product.name
    first = [path for path in (RELEASE, CHECKSUMS) if path in files]
    for path in [*first, *(path for path in files if path not in first)]:
        full = f"{product}/{version}/{path}"
        services.retry(f"remove {full}", portal.remove, full)
    folder = f"{product}/{version}"
    services.retry(f"clear {folder}", portal.discard_unfinished, folder)
    for name in (f"{version}.md", upgrade_notes(version)):
        notes = f"{product}/{SOURCES}/{name}"
        services.retry(f"remove {notes}", portal.remove, notes)


def _claim(
    files: dict[str, int], found: FoundRelease | None, why: str, force: str, services: Services
) -> Claim:
    digest = manifest_digest(found.data) if found else ""
    predicate = {
        "action": "removal",
        "portal": services.portal.name,
        "releaseDigest": digest,
        "files": [{"path": path, "size": size} for path, size in files.items()],
    }
    subjects = {RELEASE: digest.removeprefix("sha256:")} if digest else {}
    own = {"reason": why, "forced": bool(force and why == force)}
    return Claim(PORTAL, predicate, own, subjects, by="removedBy")
