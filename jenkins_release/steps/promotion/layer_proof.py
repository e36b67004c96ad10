"""Proves that an image in the registry has the layers that QA validated, whoever pushed it.

A manifest names the config, which names the ``diff_ids``, but only the layers' own bytes prove that they
match. So a manifest that this run did not push itself is accepted only if each of its layers is proven.
"""

from __future__ import annotations

from collections.abc import Iterator

from jenkins_release.base.errors import IntegrityError
from jenkins_release.images import layer_proof
from jenkins_release.oci.manifests import Descriptor
from jenkins_release.records.attestation import PROMOTION
from jenkins_release.records.candidate import CandidateImage, MultiPlatformRecord
from jenkins_release.records.registry_image import StoredImage
from jenkins_release.steps.candidate.authority import release_refusals
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.services import Services

Promoted = frozenset[tuple[str, str]]
"""Repository and manifest digest of each image."""


def promoted_digests(opened: OpenCandidate) -> Promoted:
    """Return the repository and manifest digest of each image that a promotion of the candidate recorded.

    Only promotions count that a promotion key signed and the policy allows: their manifests were proven when
    they were pushed.
    """
    if release_refusals(opened, {PROMOTION}):
        return frozenset()
    evidence = opened.evidence
    return frozenset(
        (str(image.get("repository")), str(image.get("digest")))
        for item in evidence.of(PROMOTION)
        for image in _images(item.statement.predicate.get("images"))
    )


def _images(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, list):
        yield from (image for image in value if isinstance(image, dict))


def prove_layers(
    stored: StoredImage,
    record: CandidateImage,
    promoted: Promoted,
    services: Services,
) -> None:
    """Prove the layers of an image, whoever pushed it.

    A layer that has the digest recorded in the candidate is proven by that. Any other is read from the
    registry, decompressed, and compared with its ``diff_id``.

    Args:
        stored: What the registry holds, with the right config and number of layers.
        record: The image in ``candidate.json``.
        promoted: Repository and digest of manifests that were proven before.
        services: The registry.

    Raises:
        IntegrityError: A layer differs.
        RemoteError: The registry failed, after the retries.
    """
    if isinstance(record, MultiPlatformRecord) or record.manifest is not None:
        return  # its fixed manifest or index was compared as a whole
    if (stored.repository, stored.digest) in promoted:
        return
    what = f"{stored.repository}@{stored.digest}"
    content = stored.content
    if content is None:
        raise IntegrityError(f"{what} is not an image for {record.platform} only", hint=_HINT)

    def read(blob: Descriptor) -> Iterator[bytes]:
        with services.progress.task(f"check {blob.digest}", blob.size) as task:
            for piece in services.blobs.read(stored.repository, blob.digest):
                task.advance(len(piece))
                yield piece

    def prove() -> None:
        layer_proof.prove_layers(content, read, what, known=record.known_layers(), hint=_HINT)

    services.retry(f"check the layers of {what}", prove)


_HINT = (
    "this manifest has the right config around other layers, and no promotion pushed it: find out who did, "
    "remove it, and run the promotion again"
)
