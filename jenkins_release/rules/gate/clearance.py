"""Clearance: which images may get release tags, bound to the decision that allows it.

A clearance can be made only if the decision was about exactly these images of exactly this candidate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.oci.manifests import UNKNOWN, sha256_digest
from jenkins_release.oci.platforms import same_platform
from jenkins_release.records.candidate import (
    Candidate,
    CandidateImage,
    MultiPlatformRecord,
    manifest_digest,
)
from jenkins_release.records.plan import Plan, PlannedImage
from jenkins_release.records.registry_image import StoredImage, StoredManifest
from jenkins_release.rules.gate.decision import Decision

_HINT = "no release tag was set; find out who changed the share or the registry, then run the promotion again"


@dataclass(frozen=True)
class ProvenImage:
    """An image in the registry, with the record that it was verified against.

    Attributes:
        record: What ``candidate.json`` says of the image.
        stored: What the registry holds.

    Raises:
        IntegrityError: They are not the same image.
    """

    record: CandidateImage
    stored: StoredImage

    def __post_init__(self) -> None:
        """Compare the two."""
        record, stored = self.record, self.stored
        where = f"{stored.repository}@{stored.digest}"
        if sha256_digest(stored.manifest) != stored.digest:
            raise IntegrityError(f"{where}: the manifest does not have this digest", hint=_HINT)
        if not is_image(stored, record):
            raise IntegrityError(f"{where}: {difference(stored, record)}", hint=_HINT)


def is_image(stored: StoredImage, record: CandidateImage) -> bool:
    """Whether what the registry holds can be the image that QA validated.

    An index covers everything that it lists by digests. If the export fixed a manifest, it must be exactly
    that one. Otherwise the config digest covers the ``diff_ids`` of all layers, and the bytes of the layers
    must prove that they match.
    """
    return not difference(stored, record)


def difference(stored: StoredImage, record: CandidateImage) -> str:
    """Say what differs from what QA validated; empty if nothing does."""
    if isinstance(record, MultiPlatformRecord):
        if stored.digest != record.index.digest:
            return f"expected the index {record.index.digest}, found {described(stored)}"
        return listed_difference(stored.listed, record)
    if stored.content is None or any(not same_platform(each, record.platform) for each in stored.platforms):
        return f"expected config {record.config_digest}, found {described(stored)}"
    if stored.config_digest != record.config_digest or len(stored.layers) != len(record.layers):
        return (
            f"expected config {record.config_digest} with {len(record.layers)} layers, "
            f"found {stored.config_digest} with {len(stored.layers)}"
        )
    fixed = record.manifest
    if fixed is not None and stored.digest != fixed.digest:
        return f"QA signed the manifest {fixed.digest}, found {stored.digest} around the same config"
    return ""


def listed_difference(listed: Sequence[StoredManifest], record: MultiPlatformRecord) -> str:
    """Say what ``candidate.json`` says of an index and the index does not; empty if they say the same.

    QA tests what ``candidate.json`` names for a platform, customers pull what the index lists for it.

    Args:
        listed: What the index lists.
        record: What ``candidate.json`` says of the image.
    """
    images = {each.manifest.digest: each for each in record.platforms}
    attested = {each.manifest.digest: each for each in record.attestations}
    where = f"the index {record.index.digest}"
    if len(listed) != len(record.manifests) or {each.digest for each in listed} != {*images, *attested}:
        names = ", ".join(each.digest for each in listed)
        return f"{where} lists {names}, candidate.json {', '.join([*images, *attested])}"
    for each in listed:
        known = images.get(each.digest)
        if (known is None) != (each.platform == UNKNOWN) or (
            known and not same_platform(each.platform, known.platform)
        ):
            stated = "an attestation" if known is None else known.platform
            return f"{where} lists {each.digest} for {each.platform}, candidate.json has it for {stated}"
        if known is not None:
            same = each.blobs == (known.config_digest, *(layer.digest for layer in known.layers))
        else:
            same = {*each.blobs} == {blob.digest for blob in attested[each.digest].blobs}
        if not same:
            return f"{where} lists {each.digest} with another config or other layers than candidate.json"
    return ""


def described(stored: StoredImage) -> str:
    """Say what a registry holds."""
    platforms = f" for {', '.join(stored.platforms) or 'no platform'}" if stored.listed else ""
    config = f" with config {stored.config_digest}" if stored.content is not None else ""
    return f"{stored.digest}{platforms}{config}"


@dataclass(frozen=True)
class Clearance:
    """Images that may get the release tags of a candidate.

    Attributes:
        candidate: The bytes of ``candidate.json``.
        plan: The plan, made after the images were pushed.
        decision: The gate's decision about both.
        images: Short name to image, for every image of the candidate.

    Raises:
        IntegrityError: The gate is shut, or the decision, the plan and the images are not about the same
            candidate, configs and manifests.
    """

    candidate: bytes
    plan: Plan
    decision: Decision
    images: Mapping[str, ProvenImage]

    def __post_init__(self) -> None:
        """Compare everything, and keep the images where the caller cannot change them."""
        object.__setattr__(self, "images", MappingProxyType(dict(self.images)))
        digest = manifest_digest(self.candidate)
        _same("the plan's candidate", self.plan.candidate, digest)
        _same("the candidate that the gate decided about", self.decision.candidate, digest)
        _same("the plan that the gate decided about", self.decision.plan, self.plan.digest)
        if not self.decision.allowed:
            raise IntegrityError("the gate is shut: no release tag may be set", hint=_HINT)
        record = Candidate.from_bytes(self.candidate, "candidate.json")
        records = {image.name: image for image in record.images}
        _same("the images of the plan", sorted(image.name for image in self.plan.images), sorted(records))
        _same("the images in the registry", sorted(self.images), sorted(records))
        for planned in self.plan.images:
            self._check(planned, self.images[planned.name], records[planned.name])

    def __iter__(self) -> Iterator[tuple[PlannedImage, StoredImage]]:
        """Go through the images, each with what the plan says of it."""
        for planned in self.plan.images:
            yield planned, self.images[planned.name].stored

    def _check(self, planned: PlannedImage, proven: ProvenImage, record: CandidateImage) -> None:
        stored, what = proven.stored, planned.repository
        _same(f"{what}: the record of the image", proven.record, record)
        _same(f"{what}: the plan's image", planned.identity, record.identity)
        _same(f"{what}: the repository", stored.repository, planned.repository)
        _same(f"{what}: the manifest that the registry names", planned.digest, stored.digest)
        for tag in planned.tags:
            if not tag.moving and tag.digest is not None:
                _same(f"{what}: the manifest behind the tag {tag.tag}", tag.digest, stored.digest)


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise IntegrityError(f"{what}: expected {expected}, found {found}", hint=_HINT)
