"""The journal of a promotion: which run pushed which image, and when. ECR cannot know that.

A promotion never reads from here what is done: it asks the registry. The entries are signed with the
promotion key (DSSE, https://github.com/secure-systems-lab/dsse, under a separate payload type, so that none
passes for an attestation), and only genuine ones are repeated in the promotion attestation. An entry that is
altered, truncated, copied from elsewhere or missing counts as never written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Literal

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.moments import minute
from jenkins_release.base.signing import Envelope, Signer
from jenkins_release.records.attestation import TrustedKey, open_envelope, verified_by
from jenkins_release.records.base import Moment, Part, Record, canonical_json
from jenkins_release.records.candidate import Digest
from jenkins_release.records.identity import IdentifiedImage

PAYLOAD_TYPE = "application/vnd.jenkins-release.journal+json"
_ROLE = "promotion"
_MAX_BYTES = 64 * 1024

JournalEvent = Literal["started", "pushing", "pushed", "tagged", "done"]


class PromotionRun(Part):
    """One run of the promotion command.

    Attributes:
        id: Unique among the runs of a candidate.
        by: Who ran it.
        host: The machine.
        pid: The process there.
        build_url: URL of the Jenkins build, or an empty string.
        started_on: When it took the lease, UTC.
        plan: Digest of its plan at that time.
    """

    id: str
    by: str
    host: str
    pid: int
    build_url: str = ""
    started_on: Moment
    plan: Digest


class JournalImage(IdentifiedImage):
    """The image that an entry is about.

    Attributes:
        name: Short name.
        repository: Repository in the registry.
        digest: Manifest digest in the registry; None before the push.
    """

    name: str
    repository: str
    digest: Digest | None = None


class JournalEntry(Record):
    """One thing that a run did, or was about to do.

    Attributes:
        candidate: Digest of ``candidate.json``.
        registry: Registry host.
        run: The run.
        number: Number in the run, from 1.
        event: ``started``: the lease is held; ``pushing``: the image is absent and about to be pushed;
            ``pushed``: it was pushed and proven; ``tagged``: every release tag is set; ``done``: the
            promotion is recorded.
        at: When, UTC, by the run's clock.
        image: The image of ``pushing`` and ``pushed``.
        attestation: File name of the promotion attestation, with ``done``.
    """

    SCHEMA: ClassVar[str] = "jenkins-release/journal/v1"

    candidate: Digest
    registry: str
    run: PromotionRun
    number: int
    event: JournalEvent
    at: Moment
    image: JournalImage | None = None
    attestation: str = ""

    @property
    def label(self) -> str:
        """The event and its image, for people and file names."""
        return f"{self.event}-{self.image.name}" if self.image else self.event


@dataclass(frozen=True)
class JournalReading:
    """What the journal says.

    Attributes:
        entries: The genuine entries, oldest first.
        ignored: Why each other file is not one.
        unread: Why the journal could not be read; empty if it could.
    """

    entries: tuple[JournalEntry, ...] = ()
    ignored: tuple[str, ...] = ()
    unread: str = ""


def sign_entry(entry: JournalEntry, signer: Signer) -> bytes:
    """Return the entry's file: a DSSE envelope as canonical JSON."""
    envelope = Envelope(entry.to_bytes(), PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return canonical_json(envelope.to_dict())


def read_journal(
    files: Mapping[str, bytes], candidate: str, registry: str | None, trusted: Sequence[TrustedKey]
) -> JournalReading:
    """Read the entries of one candidate's promotion to one registry. Raises nothing.

    Args:
        files: File name to bytes, everything in the journal.
        candidate: Digest of ``candidate.json``.
        registry: Registry host; entries of other registries are left out. None for all of them.
        trusted: Trusted keys.
    """
    found: dict[tuple[str, int], JournalEntry] = {}
    ignored = []
    for name in sorted(files):
        try:
            entry = _read(files[name], name, trusted)
        except IntegrityError as error:
            ignored.append(error.message if name in error.message else f"{name}: {error.message}")
            continue
        if entry.candidate != candidate:
            ignored.append(f"{name} is about another candidate.json than {candidate[:19]}...")
        elif registry in {None, entry.registry}:
            found.setdefault((entry.run.id, entry.number), entry)
    return JournalReading(tuple(sorted(found.values(), key=lambda e: (e.at, e.number))), tuple(ignored))


def push_of(
    entries: Sequence[JournalEntry], repository: str, digest: str, identity: str
) -> JournalEntry | None:
    """Return the entry that says who pushed an image that the registry holds, and when.

    A run writes ``pushing`` only while the image is absent. So the last entry about an image in the registry
    is by the run that pushed it, even if that run died before it could write ``pushed``.

    Args:
        entries: Genuine entries, oldest first.
        repository: Repository.
        digest: The manifest's digest there.
        identity: The digest that QA validated.
    """
    for entry in reversed(entries):
        image = entry.image
        if image is None or (image.repository, image.identity) != (repository, identity):
            continue
        if image.digest in (None, digest):
            return entry
    return None


def runs_of(entries: Sequence[JournalEntry], since: datetime | None = None) -> list[PromotionRun]:
    """Return the runs, oldest first.

    Args:
        entries: Genuine entries.
        since: Leave out runs that started before; None for all.
    """
    found = {entry.run.id: entry.run for entry in entries if since is None or entry.run.started_on >= since}
    return sorted(found.values(), key=lambda run: (run.started_on, run.id))


def _read(data: bytes, where: str, trusted: Sequence[TrustedKey]) -> JournalEntry:
    try:
        envelope = open_envelope(data, PAYLOAD_TYPE, where, limit=_MAX_BYTES)
    except IntegrityError as error:
        raise IntegrityError(f"{where} is not a journal entry: {error.message}") from error
    key = verified_by(envelope, trusted)
    if key is None or _ROLE not in key.roles or key.revoked:
        raise IntegrityError(f"{where} is not signed by a trusted key with the role {_ROLE!r}")
    entry = JournalEntry.from_bytes(envelope.payload, where)
    if not key.valid_at(entry.at):
        raise IntegrityError(
            f"{where} was signed at {minute(entry.at)}, outside the validity of {key.name!r}"
        )
    return entry
