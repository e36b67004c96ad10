"""Pushes without a Docker daemon: sends blobs from the share to the registry, and then the manifests.

Only blobs that the repositories lack are read, and each is proven before the registry is told to keep it.
Customers see nothing of a blob until a manifest names it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from jenkins_release.base.parallel import map_parallel
from jenkins_release.oci.manifests import Descriptor, RawManifest, build_manifest
from jenkins_release.records.candidate import MultiPlatformRecord, StoredBlob
from jenkins_release.registry.protocol import LayersNotFound
from jenkins_release.steps.candidate.archive_reader import check_manifests, read_manifest
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.promotion.blob_jobs import BlobSender, Job
from jenkins_release.steps.promotion.blob_source import BlobContent, contents_of
from jenkins_release.steps.promotion.image_push import ImagePush
from jenkins_release.steps.promotion.missing_blobs import MissingBlobs

_log = logging.getLogger(__name__)


class DirectPusher:
    """Pushes without a daemon; see :class:`~jenkins_release.steps.promotion.image_push.ImagePusher`.

    Args:
        opened: The candidate.
        repositories: Every repository of the product that exists.
        services: Share and registry.
    """

    def __init__(self, opened: OpenCandidate, repositories: Sequence[str], services: Services) -> None:
        self._opened = opened
        self._services = services
        self._missing = MissingBlobs(repositories, services)
        self._sender = BlobSender(opened, self._missing, services)
        self._again: set[str] = set()

    def prepare(self, pushes: Sequence[ImagePush]) -> None:
        """Send every blob that is missing, several at a time.

        Raises:
            IntegrityError: A layer or config on the share is not what was recorded, or an index or a
                manifest says something else.
            RemoteError: Share or registry failed, after the retries.
        """
        for push in pushes:
            check_manifests(push.record, self._opened, self._services)
        jobs = self._jobs(pushes)
        total = sum(job.content.size for job in jobs)
        if not jobs:
            return
        workers = self._services.configuration.promote.workers
        with self._services.progress.task(f"push {len(jobs)} layers", total) as task:
            map_parallel(lambda job: self._sender.send(job, task.advance), jobs, workers=workers)

    def push(self, push: ImagePush) -> str:
        """Put the manifest under the candidate's tag and return its digest.

        Raises:
            IntegrityError: The registry names another digest.
            RemoteError: The registry failed.
        """
        name = push.repository.name
        try:
            manifest = self._manifest(push)
            return self._services.blobs.put_manifest(name, push.tag, manifest.media_type, manifest.data)
        except LayersNotFound as error:
            if name in self._again:
                raise
            # A registry may drop a blob that no image names (ECR API, LayersNotFoundException).
            self._again.add(name)
            _log.warning("%s: %s; sending its layers again", name, error)
            self._missing.forget(name)
            self.prepare([push])
            return self.push(push)

    def clean(self, push: ImagePush) -> None:
        """Do nothing: this way leaves nothing outside the registry."""

    def __enter__(self) -> DirectPusher:
        return self

    def __exit__(self, *error: object) -> None:
        self._sender.close()

    def _jobs(self, pushes: Sequence[ImagePush]) -> list[Job]:
        """Return each content that has to be sent, once, with its repositories; the largest first."""
        wanted: dict[tuple[str, str], tuple[BlobContent, list[str]]] = {}
        for push in pushes:
            for content in contents_of(push.record):
                _, repositories = wanted.setdefault((content.digest, content.blob), (content, []))
                if push.repository.name not in repositories:
                    repositories.append(push.repository.name)
        self._missing.look(
            {
                name: [content.blob for content, names in wanted.values() if content.blob and name in names]
                for name in dict.fromkeys(push.repository.name for push in pushes)
            }
        )
        jobs = []
        for content, names in wanted.values():
            lacking = [name for name in names if not content.blob or self._missing.lacks(name, content.blob)]
            if lacking:
                jobs.append(Job(content, tuple(lacking)))
        return sorted(jobs, key=lambda job: -job.content.size)

    def _index(self, image: MultiPlatformRecord, repository: str) -> RawManifest:
        """Put what an index lists, which a registry wants before the index, and return the index."""

        def put(blob: StoredBlob) -> None:
            found = read_manifest(image, blob, self._opened)
            what = f"put {blob.digest} into {repository}"
            self._services.retry(
                what, self._services.blobs.put_manifest, repository, blob.digest, blob.media_type, found.data
            )

        # An index may list the same attestation for several images.
        manifests = {blob.digest: blob for blob in image.manifests}
        map_parallel(put, manifests.values(), workers=self._services.configuration.promote.workers)
        return read_manifest(image, image.index, self._opened)

    def _manifest(self, push: ImagePush) -> RawManifest:
        image = push.record
        if isinstance(image, MultiPlatformRecord):
            return self._index(image, push.repository.name)
        if image.manifest is not None:
            return image.manifest.raw
        contents = {content.digest: content for content in contents_of(image)}
        layers = []
        for layer in image.layers:
            digest, size = self._sender.stored(push.repository.name, contents[layer.digest])
            layers.append(
                Descriptor(digest, size, "gzip" if layer.compression == "none" else layer.compression)
            )
        return build_manifest(Descriptor(image.config_digest, image.config_size), layers)
