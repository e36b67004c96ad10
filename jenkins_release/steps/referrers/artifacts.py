"""The artifacts that refer to one image: read back and checked, stored, and removed.

A registry without the referrers API has a list of them under a tag of the image, which its clients keep
("Referrers Tag Schema" of the OCI Distribution Specification 1.1). Cosign's legacy attestations are the
layers of another tag.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from securesystemslib.signer import SSlibKey

from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.base.strict_json import check_shape, strict_json
from jenkins_release.oci.manifests import (
    OCI_CONFIG,
    RawManifest,
    is_digest,
)
from jenkins_release.oci.referrers import (
    CLIENT_TAGS,
    EMPTY_CONFIG,
    Blob,
    Referrer,
    Subject,
    artifact_manifest,
    index_of,
    legacy_config,
    legacy_manifest,
    read_artifact,
    referrer_of,
)
from jenkins_release.oci.shapes import MANIFEST
from jenkins_release.records.base import timestamp
from jenkins_release.records.sigstore import (
    BUNDLE_TYPE,
    ENVELOPE_TYPE,
    MAX_SIGSTORE_BYTES,
    ImageStatement,
    legacy_layer,
    read_legacy,
    read_sigstore,
)
from jenkins_release.registry.protocol import BlobPart, Listing, NotSupported, TagConflict
from jenkins_release.steps.context.services import Services

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attached:
    """A statement about the image, as the registry has it; whoever signed it.

    Attributes:
        artifact: Digest of the artifact's manifest.
        statement: The statement.
        content: Digest of the bytes that hold the statement.
    """

    artifact: str
    statement: ImageStatement
    content: str


@dataclass(frozen=True)
class _Layer:
    descriptor: dict[str, Any]
    statement: ImageStatement | None


class ImageArtifacts:
    """What refers to one image.

    Args:
        repository: Its repository.
        subject: Its manifest or index.
        services: The registry.
    """

    def __init__(self, repository: str, subject: Subject, services: Services) -> None:
        self._repository = repository
        self._subject = subject
        self._services = services
        self._what = f"{repository}@{subject.digest}"
        self._legacy_tag = f"{subject.tag}.att"

    def listing(self, artifact_type: str = "") -> Listing:
        """List the artifacts, of one type or of all."""
        what, reader = f"list what refers to {self._what}", self._services.referrers
        return self._services.retry(what, reader.listing, self._repository, self._subject, artifact_type)

    def statements(
        self, keep: Callable[[ImageStatement], bool], only: Collection[str] | None = None
    ) -> list[Attached]:
        """Return some of the statements about the image in Sigstore bundles. Signatures are not verified.

        What is no such bundle, whoever stored it, is left out with a warning. One artifact is in memory at a
        time, besides what is kept.

        Args:
            keep: Whether a statement is wanted.
            only: Digests of the artifacts that are read; None for all.
        """
        return self._services.retry(f"read what refers to {self._what}", self._read_all, keep, only)

    def attach(self, statement: ImageStatement, key: SSlibKey) -> str:
        """Store a statement as a Sigstore bundle, and return the digest of the artifact.

        Raises:
            NotSupported: The registry takes nothing that refers to an image.
            ConfigurationError: The repository's tags are immutable, and the list of artifacts is one of them.
            RemoteError: The registry failed, after the retries.
        """
        services, name, content = self._services, self._repository, Blob(BUNDLE_TYPE, statement.bundle(key))
        annotations = {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": statement.predicate_type,
            "org.opencontainers.image.created": timestamp(services.now()),
        }
        manifest = artifact_manifest(self._subject, content, annotations)
        by_api = self.listing(BUNDLE_TYPE).by_api
        for blob in (EMPTY_CONFIG, content):
            services.retry(f"send {blob.digest} to {name}", self._send, blob)
        what, put = f"attach {statement.predicate_type} to {self._what}", services.blobs.put_manifest
        try:
            services.retry(what, put, name, manifest.digest, manifest.media_type, manifest.data)
        except NotSupported as error:
            raise NotSupported(
                f"the registry does not take what refers to an image: {error.message}",
                hint="nothing is lost: the image stays as it is; repeat 'release attach' once the account "
                "supports it (aws/containers-roadmap #2783)",
            ) from error
        _log.info("%s", what)
        if not by_api:
            entry = referrer_of(manifest)
            self._change_index(lambda now: [*now, *(() if entry in now else (entry,))])
        return manifest.digest

    def remove(self, artifacts: Collection[str]) -> None:
        """Remove artifacts, first from the list that clients keep: the registry keeps what an index lists."""
        if not artifacts:
            return
        services, name = self._services, self._repository
        if self.listing().index is not None:
            self._change_index(lambda now: [each for each in now if each.digest not in artifacts])
            for index in services.retry(f"list {name}", services.registry.inventory, name):
                if not index.tags and index.children & set(artifacts):
                    # An earlier state of the list: nothing else lists artifacts.
                    what = f"remove the old index {index.digest} of {name}"
                    services.retry(what, services.registry.remove_image, name, index.digest)
        for digest in artifacts:
            what = f"remove {digest}, which refers to {self._what}"
            services.retry(what, services.registry.remove_image, name, digest)
            _log.info("%s", what)

    def legacy(self) -> list[Attached]:
        """Return the statements in cosign's legacy attestations. Signatures are not verified."""
        layers = self._services.retry(f"read {self._repository}:{self._legacy_tag}", self._layers)
        return [
            Attached(self._legacy_tag, each.statement, each.descriptor["digest"])
            for each in layers
            if each.statement is not None
        ]

    def attach_legacy(self, statements: Sequence[ImageStatement]) -> None:
        """Add statements to cosign's legacy attestations of the image.

        Raises:
            ConfigurationError: The repository's tags are immutable.
            RemoteError: The registry failed, after the retries.
        """
        layers = []
        for statement in statements:
            data, annotations = legacy_layer(statement)
            blob = Blob(ENVELOPE_TYPE, data)
            self._services.retry(f"send {blob.digest} to {self._repository}", self._send, blob)
            layers.append(_Layer(blob.descriptor(annotations), statement))
        added = {layer.descriptor["digest"] for layer in layers}
        self._change_legacy(
            lambda now: [*(each for each in now if each.descriptor["digest"] not in added), *layers]
        )

    def remove_legacy(self, gone: Callable[[ImageStatement], bool]) -> None:
        """Remove statements from cosign's legacy attestations, if there are any."""
        if any(gone(each.statement) for each in self.legacy()):
            self._change_legacy(
                lambda now: [each for each in now if each.statement is None or not gone(each.statement)]
            )

    def remove_everything(self) -> None:
        """Remove all artifacts and tags that belong to the image, whoever stored them."""
        services, name, tag = self._services, self._repository, self._legacy_tag
        self.remove([each.digest for each in self.listing().referrers])
        if services.retry(f"read {name}:{tag}", services.referrers.manifest, name, tag) is not None:
            services.retry(f"remove {name}:{tag}", services.registry.remove_tag, name, tag)

    def _read_all(
        self, keep: Callable[[ImageStatement], bool], only: Collection[str] | None
    ) -> list[Attached]:
        found = []
        for each in self._services.referrers.listing(self._repository, self._subject, BUNDLE_TYPE).referrers:
            if only is not None and each.digest not in only:
                continue
            try:
                read = self._read(each)
            except IntegrityError as error:
                _log.warning("%s@%s is ignored: %s", self._repository, each.digest, error.message)
                continue
            if read is not None and keep(read.statement):
                found.append(read)
        return found

    def _read(self, referrer: Referrer) -> Attached | None:
        """Read an artifact; None if it is gone by now. Raises IntegrityError if it is no statement."""
        reader, name = self._services.referrers, self._repository
        where = f"{name}@{referrer.digest}"
        manifest = reader.manifest(name, referrer.digest)
        if manifest is None:
            return None
        content = read_artifact(manifest, where)
        if (content.artifact_type, content.media_type) != (BUNDLE_TYPE, BUNDLE_TYPE):
            raise IntegrityError(f"{where} is {content.artifact_type!r} of {content.media_type!r}")
        if content.subject != self._subject.digest:
            raise IntegrityError(f"{where} refers to {content.subject}, expected {self._subject.digest}")
        _check_size(content.size, where)
        statement = read_sigstore(reader.blob(name, content.digest, content.size), where)
        if statement.subjects != (self._subject.digest,):
            raise IntegrityError(f"the statement in {where} is about {', '.join(statement.subjects)}")
        return Attached(referrer.digest, statement, content.digest)

    def _send(self, blob: Blob) -> None:
        blobs = self._services.blobs
        if blobs.holds(self._repository, blob.digest, len(blob.data)):
            return
        with blobs.upload(self._repository) as upload:
            upload.send(BlobPart([blob.data]))
            upload.finish(blob.digest)

    def _change_index(self, change: Callable[[Sequence[Referrer]], list[Referrer]]) -> None:
        """Change the list that clients keep, and look whether somebody else changed it at the same time."""
        name, tag, reader = self._repository, self._subject.tag, self._services.referrers

        def attempt() -> None:
            before = list(reader.listing(name, self._subject).referrers)
            wanted = change(before)
            if before == wanted:
                return
            if wanted:
                self._put(tag, index_of(wanted))
            else:
                self._services.registry.remove_tag(name, tag)
            after = list(reader.listing(name, self._subject).referrers)
            if after != change(after):
                raise _changed_meanwhile(f"{name}:{tag}")

        self._services.retry(f"change {name}:{tag}", attempt)

    def _change_legacy(self, change: Callable[[Sequence[_Layer]], list[_Layer]]) -> None:
        """Change cosign's legacy attestations, and look whether somebody else did at the same time."""
        name, tag = self._repository, self._legacy_tag

        def attempt() -> None:
            wanted = change(self._layers())
            if not wanted:
                self._services.registry.remove_tag(name, tag)
                return
            layers = [layer.descriptor for layer in wanted]
            config = Blob(OCI_CONFIG, legacy_config([layer["digest"] for layer in layers]))
            self._send(config)
            manifest = legacy_manifest(config, layers)
            self._put(tag, manifest)
            shown = self._services.referrers.manifest(name, tag)
            if shown is None or shown.digest != manifest.digest:
                raise _changed_meanwhile(f"{name}:{tag}")

        self._services.retry(f"change {name}:{tag}", attempt)

    def _layers(self) -> list[_Layer]:
        """Return the layers of cosign's legacy attestations; those of others without a statement."""
        manifest = self._services.referrers.manifest(self._repository, self._legacy_tag)
        if manifest is None:
            return []
        where = f"{self._repository}:{self._legacy_tag}"
        document = strict_json(manifest.data, where, maps=True)
        check_shape(document, MANIFEST, where)
        return [_Layer(layer, self._legacy_statement(layer, where)) for layer in document["layers"]]

    def _legacy_statement(self, layer: dict[str, Any], where: str) -> ImageStatement | None:
        digest, size = layer["digest"], layer["size"]
        if layer["mediaType"] != ENVELOPE_TYPE or not is_digest(digest):
            return None
        try:
            _check_size(size, where)
            data = self._services.referrers.blob(self._repository, digest, size)
            statement = read_legacy(data, f"{where} {digest}")
        except IntegrityError as error:
            _log.warning("%s of %s is ignored: %s", digest, where, error.message)
            return None
        return statement if statement.subjects == (self._subject.digest,) else None

    def _put(self, tag: str, manifest: RawManifest) -> None:
        name = self._repository
        try:
            self._services.blobs.put_manifest(name, tag, manifest.media_type, manifest.data)
        except TagConflict as error:
            raise ConfigurationError(
                f"{name}:{tag} cannot be changed, because the repository's tags are immutable",
                hint=f"exclude '{CLIENT_TAGS}': 'aws ecr put-image-tag-mutability --repository-name {name} "
                "--image-tag-mutability IMMUTABLE_WITH_EXCLUSION --image-tag-mutability-exclusion-filters "
                f"filterType=WILDCARD,filter={CLIENT_TAGS}', with the filters that it has already",
            ) from error


def _changed_meanwhile(what: str) -> RemoteError:
    return RemoteError(
        f"someone else changed {what} at the same time", hint="run the command again", retryable=True
    )


def _check_size(size: int, where: str) -> None:
    if not 0 < size <= MAX_SIGSTORE_BYTES:
        raise IntegrityError(f"{where} has a content of {size} bytes, expected at most {MAX_SIGSTORE_BYTES}")
