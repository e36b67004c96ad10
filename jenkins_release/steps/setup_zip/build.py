"""Bundle: builds the setup zip with which a customer deploys the images of a promoted version."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused, RemoteError
from jenkins_release.base.signing import Key
from jenkins_release.base.tags import registry_tags
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.records.attestation import SETUP
from jenkins_release.records.setup import SetupBundle, setup_zip_name
from jenkins_release.records.setup_zip import Member, write_zip
from jenkins_release.rules.gate.attested_release import AttestedRelease
from jenkins_release.rules.release.consumer import examine
from jenkins_release.rules.setup_zip.files import (
    SetupClaim,
    Target,
    release_claim,
    setup_members,
    with_evidence,
)
from jenkins_release.rules.setup_zip.proof import attests, first_proof, prove_setup_zip, setup_attestation
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.attest import Claim, attest, catch_up
from jenkins_release.steps.candidate.authority import require_allowed
from jenkins_release.steps.candidate.opened import OpenCandidate, reopen
from jenkins_release.steps.context.local_files import write_file
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.release.attestations import (
    AttestationsRequest,
    gather_attestations,
    released_candidate,
)
from jenkins_release.steps.setup_zip.sources import read_templates, setup_scripts

_ATTEMPTS = 5
_ECR_HOST = re.compile(r"\d{12}\.dkr[.-]ecr\.([a-z0-9-]+)\.")


@dataclass(frozen=True)
class BundleRequest:
    """Which release's setup zip to build.

    Attributes:
        version: The version.
        out: File to write; None for ``<product>-setup-<version>.zip`` in the current folder.
        build: The build; only needed if several builds of the version were promoted.
        key: URI of the promotion key, which signs the attestation of the files and the verification summary
            if they are missing; ``signing.promotion_key`` by default; a dry run needs none.
        dry_run: Check everything, write nothing.
    """

    version: str
    out: Path | None = None
    build: str = ""
    key: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class BundleReport:
    """What was built.

    Attributes:
        candidate: The candidate.
        out: The file.
        sha256: SHA-256 of the file in hex; empty after a dry run, when the summary may still be missing.
        size: Its size in bytes.
        bundle: Its record: images by digest, and files with their hashes.
        added: File name of the summary that was added to the candidate; empty if it had one.
        attested: File name of the attestation of the files; empty after a dry run.
        head: SHA-256 in hex of the last attestation's file, to be kept elsewhere.
    """

    candidate: CandidateRef
    out: Path
    sha256: str
    size: int
    bundle: SetupBundle
    added: str
    attested: str
    head: str = ""


def build_bundle(request: BundleRequest, services: Services) -> BundleReport:
    """Build the setup zip of a promoted version. The same release and templates make the same bytes.

    The digests come from the signed promotion attestation, without asking the registry. The promotion key
    attests every file that runs, or decides what runs, once: a later build with the same files finds that
    attestation in the candidate's chain.

    Raises:
        ConfigurationError: No build of the version was promoted, or several were; templates are wrong; there
            is no promotion key to sign a missing attestation; or the file cannot be written.
        GateRefused: The release was withdrawn, its sign-off revoked, or the policy does not allow it.
        IntegrityError: The candidate was altered.
        RemoteError: The share failed, after the retries.
    """
    templates = read_templates(Path(services.configuration.bundle.templates))
    out = request.out or Path(setup_zip_name(services.configuration.product.name, request.version))
    scripts = setup_scripts()
    wanted = AttestationsRequest(request.version, out, request.build, request.key, request.dry_run)
    opened = released_candidate(wanted.version, wanted.build, services)
    ref, added = opened.ref, ""
    for _ in range(_ATTEMPTS):
        opened, release = _release(opened, services)
        target = _target(ref, release.promoted.registry if release.promoted else "", services)
        members = setup_members(release, target, scripts=scripts, templates=templates)
        claim = release_claim(release, members)
        data = first_proof(opened.chain, release, claim, services.trusted_keys, services.now())
        attested = setup_attestation(release)
        if data is not None:
            opened = opened if request.dry_run else catch_up(opened, services)
            return _write(out, members, scripts, data, _Found(opened, release, added), request, services)
        if not attests(attested, claim):
            opened = _attest(opened, claim, request, services)
        gathered = gather_attestations(wanted, services, opened)
        opened = gathered.opened
        if request.dry_run:
            found = _Found(opened, release, "")
            return _write(out, members, scripts, gathered.data, found, request, services)
        added = gathered.added or added
    raise RemoteError(
        f"others keep adding attestations to {ref}: a summary of all of them is out of date at once",
        hint="try again",
        retryable=True,
    )


@dataclass(frozen=True)
class _Found:
    opened: OpenCandidate
    release: AttestedRelease
    added: str


def _release(opened: OpenCandidate, services: Services) -> tuple[OpenCandidate, AttestedRelease]:
    opened = reopen(opened)
    opened.require_unaltered()
    require_allowed(opened)
    release = examine(opened.chain, services.trusted_keys, services.now())
    if release.problems:
        raise GateRefused(
            f"{opened.ref} is no release that customers may deploy: {release.problems[0]}",
            hint="build the bundle of a release that is validated, promoted and not withdrawn",
            reasons=release.problems,
        )
    return opened, release


def _attest(
    opened: OpenCandidate, claim: SetupClaim, request: BundleRequest, services: Services
) -> OpenCandidate:
    signer = services.promotion_signer(request.key, dry_run=request.dry_run)
    if signer is None:
        _require_one_readable(services)
        opened.require_unaltered()
        return opened
    _require_readable([signer.public_key], services)
    said = Claim(SETUP, claim.predicate, {}, claim.subjects, by="builtBy")
    return attest(opened, said, signer, services, dry_run=request.dry_run).opened


def _require_readable(keys: Sequence[Key], services: Services) -> None:
    """Refuse keys whose signatures the customers' OpenSSL, and so their verify.sh, cannot verify."""
    section = services.configuration.bundle
    if not section.reads_ed25519 and any(key.keytype == "ed25519" for key in keys):
        raise ConfigurationError(
            f"the promotion key is Ed25519, which customers' OpenSSL {section.openssl_version} cannot verify",
            hint="sign with an ECDSA P-256 key ('keys generate --type ecdsa-p256', or awskms:), or set "
            "bundle.openssl_version to 3.0 or later",
        )


def _require_one_readable(services: Services) -> None:
    """Refuse in a dry run, which may have no key, if customers cannot verify any trusted promotion key."""
    keys = [each.key for each in services.trusted_keys if "promotion" in each.roles]
    if all(key.keytype == "ed25519" for key in keys):
        _require_readable(keys, services)


def _write(
    out: Path,
    members: Mapping[str, Member],
    scripts: Mapping[str, Member],
    attestations: bytes,
    found: _Found,
    request: BundleRequest,
    services: Services,
) -> BundleReport:
    ref, head = found.opened.ref, found.opened.head
    bundle, whole = with_evidence(found.release, members, attestations)
    data = write_zip(bundle.folder, whole, bundle.promoted_at)
    if request.dry_run:
        return BundleReport(ref, out, "", len(data), bundle, "", "", head)
    # Judge the zip as its receivers will, so that none is written that they would refuse.
    keys, believed = services.trusted_keys, services.authorities
    proof = prove_setup_zip(data, str(out), keys, services.now(), scripts=scripts, authorities=believed)
    summary = proof.release.summary
    _require_readable([item.key.key for item in (proof.attested, summary) if item is not None], services)
    write_file(out, data, "the setup zip")
    digest = sha256(data).hexdigest()
    # Its number in the chain is also its line in the bundle, after the line of candidate.json.
    attested = f"{proof.attested.statement.sequence:04d}-setup.dsse.json"
    return BundleReport(ref, out, digest, len(data), bundle, found.added, attested, head)


def _target(ref: CandidateRef, registry: str, services: Services) -> Target:
    section = services.configuration.bundle
    region = services.configuration.ecr.region
    named = _ECR_HOST.match(registry)
    if named is not None and named[1] != region:
        raise ConfigurationError(
            f"the release was promoted to {registry}, and ecr.region is {region}",
            hint="set ecr.region to the region of the registry",
        )
    return Target(
        region=region,
        layer_host=section.layers_in(region),
        docker_version=section.docker_version,
        compose_version=section.compose_version,
        disk_gb=section.disk_gb,
        memory_gb=section.memory_gb,
        tags=registry_tags(services.configuration.ecr.tags, ReleaseVersion.parse(ref.version), ref.build),
    )
