"""Portal: a published release to where customers download from, and nothing else.

Files first, then ``SHA256SUMS`` and ``release.json``, the page last: it never names a file that is
not there. An upload that died is finished by running it again; what arrived is not sent twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import GateRefused, IntegrityError
from jenkins_release.portal import Sent, Upload
from jenkins_release.portal.logo import TYPES, read_logo
from jenkins_release.records.attestation import PORTAL
from jenkins_release.rules.release.portal import content_type
from jenkins_release.share.candidates import CHECKSUMS, CandidateRef
from jenkins_release.share.releases import RELEASE
from jenkins_release.steps.candidate.attest import Claim, attest
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.notices.announce import announced, by_version_alone
from jenkins_release.steps.portal.page import (
    GUIDE,
    INDEX,
    MARKDOWN,
    SOURCES,
    AtPortal,
    PortalSupport,
    logo_name,
    look_at_portal,
    lost_since,
    read_text,
    upgrade_notes,
    window,
    write_index,
)
from jenkins_release.steps.portal.published_release import (
    Published,
    last_at_portal,
    open_published,
    require_files,
    still_published,
)
from jenkins_release.steps.publication.published_files import prove_published_setup


@dataclass(frozen=True)
class PortalRequest:
    """What to upload.

    Attributes:
        version: The published version.
        key: URI of the promotion key; ``signing.promotion_key`` by default; a dry run needs none.
        dry_run: Check everything and tell what would be uploaded, change nothing.
    """

    version: str
    key: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class PortalFileReport:
    """A file of the release at the portal.

    Attributes:
        path: Path below the version's folder.
        size: Bytes.
        sha256: SHA-256 in hex.
        sent: Bytes that were sent, or would be.
        address: Where customers find it; empty where ``portal.url`` is not set.
    """

    path: str
    size: int
    sha256: str
    sent: int
    address: str


@dataclass(frozen=True)
class PortalReport:
    """What an upload did, or would do.

    Attributes:
        candidate: The candidate that the release was published from.
        portal: The portal.
        release_digest: Digest of ``release.json``.
        files: The files of the release.
        page: Where the page is.
        window: What the page shows, and what else is there.
        changed: Whether anything had to be done, or would have to be.
        attestation: File name of the portal attestation; empty after a dry run of a first one.
        head: SHA-256 in hex of the last attestation's file, to be kept elsewhere.
    """

    candidate: CandidateRef
    portal: str
    release_digest: str
    files: tuple[PortalFileReport, ...]
    page: str
    window: PortalSupport
    changed: bool
    attestation: str
    head: str = ""


@announced("release portal", by_version_alone)
def upload_release(request: PortalRequest, services: Services) -> PortalReport:
    """Upload a published release to the portal, or finish an upload that died.

    Each file is hashed while it is read from the release area, and becomes visible only with the hash
    that ``release.json`` has. What is at the portal already is proven, not trusted: its checksum, as S3
    computed it, is compared with the source read again.

    Raises:
        ConfigurationError: Not published, no portal, no key, or a text or the logo of the page is missing
            or refused.
        GateRefused: The release was withdrawn.
        IntegrityError: The release area or the portal holds something else than was published, at the
            beginning or when the page is made.
        RemoteError: Share or portal failed, after the retries.
        LeaseHeld: Another upload to the same folder is running.
    """
    signer = services.promotion_signer(request.key, dry_run=request.dry_run)
    published = open_published(request.version, services)
    require_files(published, services)
    prove_published_setup(published.found, published.opened, services.releases, services)
    sources = _sources(request.version, services)
    uploads = _uploads(published, services)
    there = look_at_portal(services, published=published.found)
    _require_as_published(there, published, services, dry_run=request.dry_run)
    _check_there(there, published, uploads, services)
    name = services.portal.name
    recorded, last = last_at_portal(published.opened, name)
    current = last is not None and (last.action, last.release_digest) == ("upload", published.found.digest)
    if request.dry_run:
        known = there.files(request.version)
        plan = [Sent(0 if path in known else upload.size, 0) for path, upload in uploads.items()]
        missing = any(path not in known for path in uploads)
        after = replace(there, complete={**there.complete, request.version: published.found})
        shown = window(after, services, {request.version: published.opened})
        return _report(
            published, uploads, plan, shown, missing or not current, recorded if current else "", services
        )
    assert signer is not None  # a dry run has ended
    sent = [_put(upload, services) for upload in uploads.values()]
    product = published.record.product
    changed = [
        services.portal.write_page(f"{product}/{SOURCES}/{path}", partial(_same, data), kind)
        for path, (data, kind) in sources.items()
    ]
    # An upload takes its time: what was withdrawn or altered meanwhile does not get onto the page.
    published = still_published(published, services)
    page, shown = write_index(services)
    _require_on_page(request.version, shown, services)
    if not current:
        claim = _claim(published, services)
        digest = published.found.digest
        recorded, opened, _ = attest(
            published.opened,
            claim,
            signer,
            services,
            there=lambda now: _uploaded(now, name, digest),
        )
        published = replace(published, opened=opened)
    did = page or not current or any(changed) or any(each.sent for each in sent)
    return _report(published, uploads, sent, shown, did, recorded, services)


def _uploaded(opened: OpenCandidate, portal: str, digest: str) -> str:
    """Return the file name of the upload that says that a portal has this release; empty for none."""
    file, last = last_at_portal(opened, portal)
    return file if last is not None and (last.action, last.release_digest) == ("upload", digest) else ""


def _same(data: bytes) -> bytes:
    return data


def _sources(version: str, services: Services) -> dict[str, tuple[bytes, str]]:
    """Return what the page is made from beside the releases: name at the portal to bytes and media type."""
    section = services.configuration.portal
    found = {}
    for name, path, what in (
        (f"{version}.md", section.release_notes.replace("{version}", version), "the release notes"),
        (upgrade_notes(version), section.upgrade_notes.replace("{version}", version), "the upgrade notes"),
        (GUIDE, section.setup_guide, "the setup guide"),
    ):
        if path:
            found[name] = (read_text(path, what), MARKDOWN)
    if section.logo:
        name = logo_name(section.logo)
        found[name] = (read_logo(section.logo), TYPES[Path(name).suffix])
    return found


def _uploads(published: Published, services: Services) -> dict[str, Upload]:
    """Return path below the version's folder to upload, in the order in which they become visible."""
    area, record = services.releases, published.record
    folder = f"{record.product}/{record.version}"

    def reader(path: str) -> Callable[[], Iterator[bytes]]:
        return lambda: area.read(record.version, path)

    found = {
        file.path: Upload(
            f"{folder}/{file.path}",
            file.size,
            file.sha256,
            reader(file.path),
            content_type(file.path),
            file.path.rpartition("/")[2],
        )
        for file in record.files
    }
    for path, data, kind in (
        (CHECKSUMS, published.checksums, "text/plain; charset=utf-8"),
        (RELEASE, published.found.data, content_type(RELEASE)),
    ):
        read = partial(iter, (data,))
        found[path] = Upload(f"{folder}/{path}", len(data), sha256(data).hexdigest(), read, kind)
    return found


def _require_as_published(
    there: AtPortal, published: Published, services: Services, *, dry_run: bool
) -> None:
    """Refuse where the portal or the release area was altered, or the page knows more than the chain.

    The page loses first what cannot be proven: a refusal must not keep a bad release on it.
    """
    version = published.record.version
    lost = lost_since(published.opened, there.memory.get(version), services)
    problems = [*([lost] if lost else []), *there.altered.values()]
    if not problems:
        return
    if not dry_run:
        write_index(services)
    raise IntegrityError(
        problems[0],
        hint="find out who changed it; 'release portal VERSION --remove' takes a version from the portal",
        reasons=problems,
    )


def _require_on_page(version: str, shown: PortalSupport, services: Services) -> None:
    """Refuse to record an upload that did not get onto the page, which is made from a look of its own.

    A version that is not supported any more is not on the page either: that is no reason to refuse.
    """
    if version in (*shown.supported, *shown.outside):
        return
    left = f"{version} is at {services.portal.name}, but not on the page"
    if version in shown.withdrawn:
        raise GateRefused(
            f"{left}: it was withdrawn meanwhile",
            hint=f"'release portal {version} --remove' takes from the portal what was uploaded",
        )
    raise IntegrityError(
        f"{left}: {shown.unproven.get(version, 'not all of its files are there')}",
        hint="find out who changed the release area or the portal; then run the command again",
    )


def _check_there(
    there: AtPortal, published: Published, uploads: dict[str, Upload], services: Services
) -> None:
    """Refuse before anything is sent where the portal holds something else of this version."""
    version = published.record.version
    shown = f"{services.portal.name}/{published.record.product}/{version}"
    problems = []
    for path, size in there.files(version).items():
        if path not in uploads:
            problems.append(f"{shown}/{path} is not a file of the release")
        elif uploads[path].size != size:
            problems.append(f"{shown}/{path}: expected {uploads[path].size} bytes, found {size}")
    if problems:
        raise IntegrityError(
            f"the portal has something else for {version}: {problems[0]}",
            hint=f"nothing there is overwritten: find out who put it there, then "
            f"'release portal {version} --remove --force REASON'",
            reasons=problems,
        )


def _put(upload: Upload, services: Services) -> Sent:
    with services.progress.task(f"upload {upload.path}", upload.size) as task:
        return services.retry(f"upload {upload.path}", services.portal.put, upload, task.advance)


def _claim(published: Published, services: Services) -> Claim:
    predicate = {
        "action": "upload",
        "portal": services.portal.name,
        "releaseDigest": published.found.digest,
        "files": [file.model_dump(mode="json") for file in published.record.files],
    }
    subjects = {file.path: file.sha256 for file in published.record.files}
    subjects[RELEASE] = published.found.digest.removeprefix("sha256:")
    return Claim(PORTAL, predicate, {}, subjects, by="uploadedBy")


def _report(
    published: Published,
    uploads: dict[str, Upload],
    sent: list[Sent],
    shown: PortalSupport,
    changed: bool,
    attestation: str,
    services: Services,
) -> PortalReport:
    files = tuple(
        PortalFileReport(path, upload.size, upload.sha256, each.sent, address(upload.path, services))
        for (path, upload), each in zip(uploads.items(), sent, strict=True)
    )
    page = f"{published.record.product}/{INDEX}"
    return PortalReport(
        published.opened.ref,
        services.portal.name,
        published.found.digest,
        files,
        address(page, services) or f"{services.portal.name}/{page}",
        shown,
        changed,
        attestation,
        published.opened.head,
    )


def address(path: str, services: Services) -> str:
    """Return where customers find a file of the portal; empty if that is not configured."""
    url = services.configuration.portal.url
    return f"{url}/{quote(path)}" if url else ""
