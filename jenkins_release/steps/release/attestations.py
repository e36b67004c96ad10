"""Attestations: writes all evidence of a release to one file, for people without access to the share.

The verification summary at its end is an attestation like the others, and is added to the candidate once.
After that, everyone who can read the share writes the same bundle, as long as nothing changes.
"""

from __future__ import annotations

from dataclasses import field, replace
from hashlib import sha256
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.records.attestation import SUMMARY
from jenkins_release.records.base import timestamp
from jenkins_release.records.bundle import read_bundle, write_bundle
from jenkins_release.rules.gate.attested_release import AttestedRelease
from jenkins_release.rules.release.consumer import examine, judge, up_to_date
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.attest import Claim, attest, catch_up
from jenkins_release.steps.candidate.authority import release_refusals
from jenkins_release.steps.candidate.opened import OpenCandidate, reopen
from jenkins_release.steps.context.local_files import write_file
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.notices.announce import announced, by_version
from jenkins_release.steps.release.releases import CandidateLook, published_alone, release_of

_ATTEMPTS = 5


@dataclass(frozen=True)
class AttestationsRequest:
    """Which release's attestations to write.

    Attributes:
        version: The version.
        out: File to write.
        build: The build; only needed if several builds of the version were promoted.
        key: URI of the promotion key; ``signing.promotion_key`` by default. Not needed for a dry run, or
            if the candidate has its summary.
        dry_run: Check everything, write nothing.
    """

    version: str
    out: Path
    build: str = ""
    key: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class AttestationsReport:
    """What was written.

    Attributes:
        candidate: The candidate.
        digest: Digest of ``candidate.json``.
        out: The file.
        sha256: SHA-256 of the file in hex; empty after a dry run.
        attestations: Number of envelopes in it.
        added: File name of the summary that was added to the candidate; empty if it had one.
        problems: Why the summary says FAILED; empty if the release is validated and in force.
        head: SHA-256 in hex of the last attestation's file, to be kept elsewhere.
    """

    candidate: CandidateRef
    digest: str
    out: Path
    sha256: str
    attestations: int
    added: str
    problems: tuple[str, ...]
    head: str = ""


@dataclass(frozen=True)
class Gathered:
    """The evidence of a release, before it is written to a file.

    Attributes:
        opened: The candidate, including a summary that was added.
        release: The release, as its attestations describe it.
        data: The attestation bundle; after a dry run, without a new summary.
        attestations: Number of envelopes in it.
        added: File name of the summary that was added to the candidate; empty if it had one.
    """

    opened: OpenCandidate
    release: AttestedRelease
    data: bytes = field(repr=False)
    attestations: int
    added: str


@announced("release attestations", by_version)
def write_attestations(request: AttestationsRequest, services: Services) -> AttestationsReport:
    """Write the attestation bundle of a candidate that was promoted or published.

    A release that was withdrawn, whose sign-off was revoked, or that the policy does not allow gets a summary
    that says so, and verification with the new bundle fails.

    Raises:
        ConfigurationError: No build of the version was released, or several were; there is no key to sign a
            missing summary; or the file cannot be written.
        IntegrityError: The candidate was altered.
        RemoteError: The share failed, after the retries.
    """
    found = gather_attestations(request, services)
    if not request.dry_run:
        write_file(request.out, found.data, "the bundle")
    return AttestationsReport(
        found.opened.ref,
        found.release.digest,
        request.out,
        "" if request.dry_run else sha256(found.data).hexdigest(),
        found.attestations,
        found.added,
        found.release.problems,
        found.opened.head,
    )


def gather_attestations(
    request: AttestationsRequest, services: Services, opened: OpenCandidate | None = None
) -> Gathered:
    """Gather a promoted candidate's attestations, and sign a missing summary. Writes no file.

    Args:
        request: The version, and the key for a summary.
        services: Share and keys.
        opened: The candidate that it was released from; by default, the version's is opened.

    Raises:
        ConfigurationError: No build of the version was promoted, or several were; or there is no key to sign
            a missing summary.
        IntegrityError: The candidate was altered.
        RemoteError: The share failed, after the retries.
    """
    opened = opened or released_candidate(request.version, request.build, services)
    opened, release, added = _summarized(opened, request, services)
    envelopes = [opened.attestations[name] for name in sorted(opened.attestations)]
    data = write_bundle(opened.manifest, envelopes, services.trust.documents)
    if not request.dry_run:
        _require_readable(data, release, request, services)
    return Gathered(opened, release, data, len(envelopes), added)


def released_candidate(version: str, build: str, services: Services) -> OpenCandidate:
    """Return the candidate that a version was released from. Raises ConfigurationError if there is none."""
    opened = list(CandidateLook(services).builds(version))
    if build:
        ref = CandidateRef.parse(f"{version}/{build}")
        opened = [each for each in opened if each.ref == ref]
    found = [release for each in opened if (release := release_of(each)) is not None]
    if not build:
        # A withdrawn build counts only if no other build replaced it.
        found = [release for release in found if release.withdrawal is None] or found[-1:]
    alone = next((each for each in opened if published_alone(each)), None) if not found else None
    if alone is not None:
        return alone
    if not found:
        what = f"{version}/{build}" if build else version
        raise ConfigurationError(
            f"{what} of {services.candidates.product} was not released: there is nothing to attest",
            hint="'jenkins-release candidate list' lists the candidates; 'promote run' promotes",
        )
    if len(found) > 1:
        names = ", ".join(release.ref.build for release in found)
        raise ConfigurationError(f"several builds of {version} are promoted: {names}", hint="give --build")
    return found[0].opened


def _summarized(
    opened: OpenCandidate, request: AttestationsRequest, services: Services
) -> tuple[OpenCandidate, AttestedRelease, str]:
    """Return the candidate with a summary of all its attestations, which is added if it is missing."""
    added = ""
    for _ in range(_ATTEMPTS):
        opened = reopen(opened)
        opened.require_unaltered()
        release = _examined(opened, services)
        if up_to_date(release, passed=not release.problems):
            return (opened if request.dry_run else catch_up(opened, services)), release, added
        signer = services.promotion_signer(request.key, dry_run=request.dry_run)
        claim = _claim(release, services)
        if signer is None:
            return opened, release, ""
        # Look again: someone else may have added an attestation meanwhile, which the summary would not cover.
        added, opened, _ = attest(opened, claim, signer, services, dry_run=request.dry_run)
        if request.dry_run:
            return opened, release, ""
    raise RemoteError(
        f"others keep adding attestations to {opened.ref}: a summary of all of them is out of date at once",
        hint="try again",
        retryable=True,
    )


def _examined(opened: OpenCandidate, services: Services) -> AttestedRelease:
    """Return what the attestations say; a release that the policy does not allow has that as a problem."""
    release = examine(opened.chain, services.trusted_keys, services.now())
    problems = dict.fromkeys((*release.problems, *release_refusals(opened)))
    return replace(release, problems=tuple(problems))


def _claim(release: AttestedRelease, services: Services) -> Claim:
    subjects = release.subjects
    if subjects is None:
        raise IntegrityError(
            f"the release of {release.record.ident} cannot be summarized",
            hint="'jenkins-release candidate show' shows it",
            reasons=release.problems,
        )
    # An outdated summary at the end of the chain is one of the attestations that the new one covers.
    predicate = release.superseding().expected_summary(passed=not release.problems)
    predicate["timeVerified"] = timestamp(services.now())
    return Claim(SUMMARY, predicate, {}, subjects)


def _require_readable(
    data: bytes, release: AttestedRelease, request: AttestationsRequest, services: Services
) -> None:
    """Judge the bundle as its consumers will, and refuse to hand out one that they could not use."""
    bundle = read_bundle(data, str(request.out))
    _, reasons = judge(bundle, services.trusted_keys, services.now())
    if reasons and not release.problems:
        raise IntegrityError(
            f"the bundle of {release.record.ident} would not be accepted: {reasons[0]}",
            hint="'jenkins-release candidate show' tells what is recorded",
            reasons=reasons,
        )
