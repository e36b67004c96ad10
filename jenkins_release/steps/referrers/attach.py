"""Attaches statements to the images of a release: anyone with the public key can verify them in the registry.

Nothing on the share changes, and nothing that customers pull. Whatever fails here can be repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused, ReleaseError, RemoteError
from jenkins_release.base.signing import Signer, SSlibKey
from jenkins_release.oci.manifests import sha256_digest
from jenkins_release.oci.referrers import Subject
from jenkins_release.records.candidate import CandidateImage, ListedPlatform, MultiPlatformRecord
from jenkins_release.records.release import Promotion, ReleasedImage
from jenkins_release.records.sigstore import ImageStatement, sign_about_image
from jenkins_release.rules.release.consumer import examine
from jenkins_release.rules.release.image_statements import Said, image_statements, repeats
from jenkins_release.share.protocol import Lease
from jenkins_release.steps.candidate.attest import trusted_key
from jenkins_release.steps.candidate.authority import release_refusals
from jenkins_release.steps.candidate.opened import OpenCandidate, reopen
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.notices.delivery import defect
from jenkins_release.steps.referrers.artifacts import Attached, ImageArtifacts
from jenkins_release.steps.referrers.documents import document_statements

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AttachedStatement:
    """A statement that is attached to an image, or would be.

    Attributes:
        image: Short name of the image.
        repository: Its repository.
        digest: Digest of its manifest or index, or of the manifest of one platform: the statement's only
            subject.
        predicate_type: What kind of statement it is.
        artifact: Digest of the artifact in the registry; empty if a dry run found none.
        added: Whether this run attached it, or would.
    """

    image: str
    repository: str
    digest: str
    predicate_type: str
    artifact: str
    added: bool


@dataclass(frozen=True)
class Attachment:
    """What was attached at the end of a promotion.

    Attributes:
        statements: What is attached; empty if something failed.
        problem: Why not everything is attached; empty if it is.
        command: The command that tries again; empty if there is nothing to do.
    """

    statements: tuple[AttachedStatement, ...]
    problem: str = ""
    command: str = ""


def attach_after_promotion(
    opened: OpenCandidate, signer: Signer | None, services: Services
) -> Attachment | None:
    """Attach statements, if that is configured. Raises nothing but an interrupt: the promotion is complete.

    Returns:
        What was attached; None if that is not configured, or in a dry run.
    """
    if not services.configuration.attestations.attach or signer is None:
        return None
    try:
        return Attachment(attach_statements(opened, signer, services))
    except Exception as error:  # noqa: BLE001 - a defect here must not fail a release
        problem = error.message if isinstance(error, ReleaseError) else defect(error)
        command = f"jenkins-release release attach {opened.ref.version} --build {opened.ref.build}"
        _log.warning(
            "%s is promoted, but not everything is attached to its images: %s; to try again: %s",
            *(opened.ref, problem, command),
        )
        return Attachment((), problem, command)


def attach_statements(
    opened: OpenCandidate, signer: Signer | None, services: Services, *, dry_run: bool = False
) -> tuple[AttachedStatement, ...]:
    """Attach what can be said about each image of a release; what is attached already is left as it is.

    Args:
        opened: The candidate that was promoted to the configured registry.
        signer: The promotion key; None only for a dry run.
        services: Registry, keys, policy and time.
        dry_run: Read what is attached, change nothing.

    Raises:
        GateRefused: The release is not validated and in force.
        ConfigurationError: The registry lacks an image, or its repository's tags are immutable.
        IntegrityError: The registry's answers are not what they should be.
        RemoteError: The registry failed, after the retries, or takes nothing that refers to an image.
        LeaseHeld: A promotion or a withdrawal of this candidate is running.
    """
    if dry_run:
        return _attach_all(opened, signer, services, None)
    # A withdrawal at the same time would miss what is attached after it.
    with services.holding_candidate(opened.ref) as lease:
        return _attach_all(reopen(opened), signer, services, lease)


def _attach_all(
    opened: OpenCandidate, signer: Signer | None, services: Services, lease: Lease | None
) -> tuple[AttachedStatement, ...]:
    """Attach under a lease; without one, see what would be attached."""
    release = examine(opened.dated, services.trusted_keys, services.now())
    problems = dict.fromkeys((*opened.evidence.altered, *release.problems, *release_refusals(opened)))
    if problems or release.promoted is None:
        found = [*problems] or ["it was not promoted"]
        raise GateRefused(
            f"nothing is attached to the images of {opened.ref}: {found[0]}",
            hint=f"'jenkins-release release history {opened.ref.version}' shows what happened to it",
            reasons=found,
        )
    statements, done = image_statements(release, services.now()), []
    records = {record.name: record for record in opened.record.images}
    for image in release.promoted.images:
        wanted = [*statements, *document_statements(opened, image.name, None, services)]
        done += _attach(image, release.promoted, wanted, signer, services, lease)
        for part in _platforms(records.get(image.name)):
            documents = document_statements(opened, image.name, part.platform, services)
            if documents:
                one = image.model_copy(update={"digest": part.manifest.digest})
                done += _attach(one, release.promoted, documents, signer, services, lease)
    return tuple(done)


def _platforms(image: CandidateImage | None) -> Sequence[ListedPlatform]:
    return image.platforms if isinstance(image, MultiPlatformRecord) else ()


def subject_of(image: ReleasedImage, services: Services) -> Subject | None:
    """Return the manifest or index of a promoted image, as the registry holds it; None if it is gone."""
    what = f"read {image.repository}@{image.digest}"
    manifest = services.retry(what, services.referrers.manifest, image.repository, image.digest)
    return None if manifest is None else Subject.of(manifest)


def _attach(
    image: ReleasedImage,
    promoted: Promotion,
    wanted: Sequence[Said],
    signer: Signer | None,
    services: Services,
    lease: Lease | None,
) -> list[AttachedStatement]:
    subject = subject_of(image, services)
    if subject is None:
        raise ConfigurationError(
            f"the registry lacks {image.repository}@{image.digest}, so nothing can be attached to it",
            hint="'jenkins-release promote run' pushes it again",
        )
    artifacts = ImageArtifacts(image.repository, subject, services)
    own = trusted_key(signer, services).key if signer is not None else None
    keys = [own] if own is not None else _promotion_keys(services)

    def ours(statement: ImageStatement) -> bool:
        return any(statement.is_signed_by(key) for key in keys)

    def as_written(each: Attached) -> bool:
        # Cosign skips a signature with the id or the hint of another key.
        return any(sha256_digest(each.statement.bundle(key)) == each.content for key in keys)

    existing: dict[int, Attached] = {}  # at most one for each that is wanted, however many there are
    for each in artifacts.statements(artifacts.bundles()):
        if ours(each.statement) and as_written(each):
            for number, said in enumerate(wanted):
                if number not in existing and _says(each.statement, said):
                    existing[number] = each
    done, statements, added = [], [], {}
    for number, said in enumerate(wanted):
        found = existing.get(number)
        digest = found.artifacts[0] if found else ""
        if found is not None:
            statements.append(found.statement)
        elif lease is not None:
            assert signer is not None and own is not None and lease is not None  # only a dry run has none
            name = f"{promoted.registry}/{image.repository}"
            statement = sign_about_image(*said, name, subject.digest, signer)
            lease.confirm()
            digest = artifacts.attach(statement, own)
            statements.append(statement)
            added[digest] = statement
        kind = said.predicate_type
        done.append(
            AttachedStatement(image.name, image.repository, subject.digest, kind, digest, found is None)
        )
    if added:
        services.retry(f"see what was attached to {image.repository}", _require_shown, artifacts, added)
    if services.configuration.attestations.legacy_tags and lease is not None:
        artifacts.attach_legacy(statements)
    return done


def _says(statement: ImageStatement, said: Said) -> bool:
    return repeats(statement.predicate_type, statement.predicate, said)


def _require_shown(artifacts: ImageArtifacts, added: dict[str, ImageStatement]) -> None:
    """Read back what was attached, as those will read it who verify it."""
    bundles = [each for each in artifacts.bundles() if each.digest in added]
    shown = {digest: each.statement for each in artifacts.statements(bundles) for digest in each.artifacts}
    for digest, statement in added.items():
        if shown.get(digest) != statement:
            raise RemoteError(
                f"{digest} was attached, but the registry does not list it with this content",
                hint="run the command again",
                retryable=True,  # the answer may be out of date
            )


def _promotion_keys(services: Services) -> Sequence[SSlibKey]:
    now = services.now()
    return [
        key.key
        for key in services.trusted_keys
        if "promotion" in key.roles and not key.revoked and key.valid_at(now)
    ]
