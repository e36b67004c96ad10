"""SLSA Verification Summary Attestation v1 of a release (https://slsa.dev/spec/v1.0/verification_summary).

In terms that other tools know, it tells those who trust the promotion key that the images in the registry
were verified against the release's policy, and from which attestations that follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from jenkins_release.base.dataclass import dataclass
from jenkins_release.records.attestation import KINDS
from jenkins_release.records.candidate import Candidate
from jenkins_release.records.release import Promotion

VERIFIER = "tag:nextlabs.com,2026:jenkins-release/verifier/v1"
POLICY = "tag:nextlabs.com,2026:jenkins-release/policy/v1"
PASSED = "PASSED"
FAILED = "FAILED"
SLSA_VERSION = "1.0"
ATTESTED = "SLSA_BUILD_LEVEL_1"
"""Provenance exists and a trusted key signed it. Higher levels depend on the build platform, which cannot be
seen from here (https://slsa.dev/spec/v1.0/levels)."""
NOT_ATTESTED = "SLSA_BUILD_LEVEL_0"


@dataclass(frozen=True)
class Input:
    """An attestation that a verification relies on.

    Attributes:
        sequence: Its number in the chain.
        predicate_type: Type URI.
        sha256: SHA-256 in hex of the envelope's bytes.
    """

    sequence: int
    predicate_type: str
    sha256: str


def resource_uri(record: Candidate) -> str:
    """Return the package URL (purl-spec, type ``generic``) of a candidate."""
    name, version, build = (quote(text, safe="") for text in (record.product, record.version, record.build))
    return f"pkg:generic/{name}@{version}?build={build}"


def input_attestations(record: Candidate, inputs: Sequence[Input]) -> list[dict[str, Any]]:
    """Return the attestations as resource descriptors; the URI's subpath is their place on the share."""
    return [
        {
            "uri": f"{resource_uri(record)}#attestations/{_file(given)}",
            "digest": {"sha256": given.sha256},
        }
        for given in sorted(inputs, key=lambda given: given.sequence)
    ]


def summary_predicate(
    record: Candidate, policy: str, inputs: Sequence[Input], *, passed: bool, attested: bool
) -> dict[str, Any]:
    """Return the predicate without ``timeVerified``.

    Args:
        record: The candidate.
        policy: Digest of the policy, as the promotion names it.
        inputs: Every attestation before the summary.
        passed: Whether the release is validated and in force.
        attested: Whether a build attestation by a trusted key counts.
    """
    level = (ATTESTED if attested else NOT_ATTESTED) if passed else FAILED
    return {
        "verifier": {"id": VERIFIER},
        "resourceUri": resource_uri(record),
        "policy": {"uri": POLICY, "digest": {"sha256": policy.removeprefix("sha256:")}},
        "inputAttestations": input_attestations(record, inputs),
        "verificationResult": PASSED if passed else FAILED,
        "verifiedLevels": [level],
        "slsaVersion": SLSA_VERSION,
    }


def summary_subjects(promotion: Promotion) -> Mapping[str, str]:
    """Return the subjects besides ``candidate.json``: manifest and config of every image.

    The manifest has the name that customers pull, and its config the same name with ``#config``; the configs
    of several platforms have ``#config/`` and the platform.
    """
    return dict(_subjects(promotion))


def _subjects(promotion: Promotion) -> Iterable[tuple[str, str]]:
    for image in promotion.images:
        name = f"{promotion.registry}/{image.repository}"
        yield name, image.digest.removeprefix("sha256:")
        if image.config_digest:
            yield f"{name}#config", image.config_digest.removeprefix("sha256:")
        for platform, digest in sorted(image.config_digests.items()):
            yield f"{name}#config/{platform}", digest.removeprefix("sha256:")


def _file(given: Input) -> str:
    kind = KINDS.get(given.predicate_type, "other")
    return f"{given.sequence:04d}-{kind}.dsse.json"
