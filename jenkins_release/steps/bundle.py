"""Bundle: the setup zip with which a customer deploys the images of a promoted version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from jenkins_release.errors import ConfigurationError, GateRefused
from jenkins_release.records.setup import SetupBundle, setup_zip_name
from jenkins_release.records.setup_zip import write_zip
from jenkins_release.rules.consumer import examine
from jenkins_release.rules.setup_files import Target, setup_members
from jenkins_release.rules.setup_proof import first_proof, prove_setup_zip
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps._files import write_file
from jenkins_release.steps._open import open_candidate, require_unaltered
from jenkins_release.steps._setup_files import read_templates, setup_scripts
from jenkins_release.steps.attestations import (
    AttestationsRequest,
    Gathered,
    gather_attestations,
    released_candidate,
)
from jenkins_release.steps.services import Services

_ECR_HOST = re.compile(r"\d{12}\.dkr[.-]ecr\.([a-z0-9-]+)\.")


@dataclass(frozen=True)
class BundleRequest:
    """Which release's setup zip to build.

    Attributes:
        version: The version.
        out: File to write; ``<product>-setup-<version>.zip`` in the current folder where None.
        build: The build, where several of the version were promoted.
        key: URI of the promotion key, for a verification summary that is missing;
            ``signing.promotion_key`` by default.
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
        sha256: SHA-256 of its bytes in hex; empty after a dry run, when the summary may be missing yet.
        size: Its bytes.
        bundle: Its record: images by digest, and files with their hashes.
        added: File name of the summary that was added to the candidate; empty where it was there.
    """

    candidate: CandidateRef
    out: Path
    sha256: str
    size: int
    bundle: SetupBundle
    added: str


def build_bundle(request: BundleRequest, services: Services) -> BundleReport:
    """Build the setup zip of a promoted version. The same release and templates make the same bytes.

    The digests are those of the signed promotion attestation; the registry is not asked.

    Raises:
        ConfigurationError: The version was not promoted, or by several builds, templates are wrong, or
            the file cannot be written.
        GateRefused: The release was withdrawn, or its sign-off revoked.
        IntegrityError: The candidate was altered.
        RemoteError: The share failed, after the retries.
    """
    templates = read_templates(Path(services.configuration.bundle.templates))
    out = request.out or Path(setup_zip_name(services.configuration.product.name, request.version))
    found = _evidence(request, out, services)
    release = found.release
    scripts = setup_scripts()
    bundle, members = setup_members(
        release,
        _target(release.promoted.registry if release.promoted else "", services),
        scripts=scripts,
        templates=templates,
        attestations=found.data,
    )
    data = write_zip(bundle.folder, members, bundle.promoted_at)
    if request.dry_run:
        return BundleReport(found.ref, out, "", len(data), bundle, "")
    # Judged as its receivers will: a zip that they would refuse is not written.
    prove_setup_zip(data, str(out), services.trusted_keys, services.now(), scripts=scripts)
    write_file(out, data, "the setup zip")
    return BundleReport(found.ref, out, sha256(data).hexdigest(), len(data), bundle, found.added)


def _evidence(request: BundleRequest, out: Path, services: Services) -> Gathered:
    wanted = AttestationsRequest(request.version, out, request.build, request.key, request.dry_run)
    ref = released_candidate(wanted, services)
    opened = open_candidate(ref, services)
    require_unaltered(opened, services)
    whole = opened.manifest, opened.attestations
    release = examine(*whole, services.trusted_keys, services.now())
    if release.problems:
        raise GateRefused(
            f"{ref} is no release that customers may deploy: {release.problems[0]}",
            hint="build the bundle of a release that is validated, promoted and not withdrawn",
            reasons=release.problems,
        )
    data = first_proof(*whole, release, services.trusted_keys, services.now())
    if data is None:
        return gather_attestations(wanted, services)
    return Gathered(ref, release, data, data.count(b"\n") - 1, "")


def _target(registry: str, services: Services) -> Target:
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
    )
