"""The artifacts that refer to one image: read back and checked, stored, and removed.

A registry without the referrers API has a list of them under a tag of the image, which its clients keep
("Referrers Tag Schema" of the OCI Distribution Specification 1.1). Cosign's legacy attestations are the
layers of another tag.

Once a registry gets the API, it must list what that tag lists ("Enabling the Referrers API"), and verifiers
no longer read the tag. So what is attached is what verifiers find, and what is removed is what either lists.

Anyone who may push to the repository can store anything here. Therefore the lists have a limit, each content
is read once, and at most one is in memory besides what the caller keeps.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, TypeVar, TypeVarTuple

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.base.signing import SSlibKey
from jenkins_release.base.strict_json import check_shape, strict_json
from jenkins_release.oci.manifests import OCI_CONFIG, RawManifest, is_digest
from jenkins_release.oci.referrers import (
    CLIENT_TAGS,
    EMPTY_CONFIG,
    MOST_REFERRERS,
    ArtifactContent,
    Blob,
    Referrer,
    Subject,
    artifact_manifest,
    index_of,
    legacy_config,
    legacy_manifest,
    read_artifact,
    referrer_of,
    subject_named,
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
from jenkins_release.steps.referrers.leftovers import Leftovers

_log = logging.getLogger(__name__)
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True)
class Attached:
    """A statement about the image, as the registry has it; whoever signed it.

    Attributes:
        artifacts: Digests of the artifacts with this content; none for a legacy attestation.
        statement: The statement.
        content: Digest of the bytes that hold the statement.
    """

    artifacts: tuple[str, ...]
    statement: ImageStatement
    content: str


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

    def bundles(self) -> Iterator[Referrer]:
        """Yield the Sigstore bundles as verifiers find them: by the API; without it, by the list of clients.

        Raises:
            IntegrityError: The list is none.
            RemoteError: The registry failed, after the retries; or, after the last one, there are more.
        """
        listing = self._listing(BUNDLE_TYPE)
        if listing is None:
            yield from self.listed_bundles()
            return
        yield from listing.referrers
        if listing.more:
            raise RemoteError(
                f"cannot list what refers to {self._what}: there are more than {MOST_REFERRERS}",
                hint="find out who stored them, and remove what nobody needs",
            )

    def listed_bundles(self) -> Sequence[Referrer]:
        """Return the Sigstore bundles on the list that clients keep, also if the registry has the API."""
        return self._client_list(BUNDLE_TYPE) or ()

    def statements(self, bundles: Iterable[Referrer]) -> Iterator[Attached]:
        """Yield the statements about the image in Sigstore bundles. Signatures are not verified.

        What is no such bundle, whoever stored it, is left out with a warning.
        """
        contents: dict[tuple[str, int], list[str]] = {}
        for each in bundles:
            found = self._readable(each.digest, self._content, each.digest)
            if found is not None:
                contents.setdefault((found.digest, found.size), []).append(each.digest)
        for content, artifacts in contents.items():
            statement = self._readable(artifacts[0], self._statement, *content, read_sigstore)
            if statement is not None:
                yield Attached(tuple(artifacts), statement, content[0])

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
        by_api = self._listing(BUNDLE_TYPE) is not None
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
            self._change_list(lambda now: [*now, *(() if entry in now else (entry,))])
        return manifest.digest

    def remove(self, artifacts: Collection[str], left: Leftovers) -> None:
        """Remove artifacts, first from the list that clients keep: the registry keeps what an index lists."""
        if not artifacts:
            return

        def keep(now: Sequence[Referrer]) -> list[Referrer]:
            return [each for each in now if each.digest not in artifacts]

        before: Sequence[Referrer] | None = ()
        with left.collected():
            before = self._client_list()
        if before is not None:
            if keep(before):
                with left.collected():
                    self._change_list(keep)
            with left.collected():
                self._remove_old_lists(artifacts)
            # The tag goes last: while it is there, another run finds what one that died has left.
            with left.collected():
                self._change_list(keep)
        self._remove_all(artifacts, left)

    def legacy(self) -> Iterator[Attached]:
        """Yield the statements in cosign's legacy attestations. Signatures are not verified.

        Raises:
            IntegrityError: The tag names something else, or has too many layers.
            RemoteError: The registry failed, after the retries.
        """
        layers = self._services.retry(f"read {self._repository}:{self._legacy_tag}", self._legacy_layers)
        contents = [
            (each["digest"], each["size"])
            for each in layers
            if each["mediaType"] == ENVELOPE_TYPE and is_digest(each["digest"])
        ]
        for content in dict.fromkeys(contents):
            statement = self._readable(content[0], self._statement, *content, read_legacy)
            if statement is not None:
                yield Attached((), statement, content[0])

    def attach_legacy(self, statements: Sequence[ImageStatement]) -> None:
        """Add statements to cosign's legacy attestations of the image, unless they are there.

        Raises:
            ConfigurationError: The repository's tags are immutable.
            IntegrityError: The tag names something else, or has too many layers.
            RemoteError: The registry failed, after the retries.
        """
        layers = []
        for statement in statements:
            data, annotations = legacy_layer(statement)
            blob = Blob(ENVELOPE_TYPE, data)
            layers.append((blob, blob.descriptor(annotations)))

        def added(now: list[dict[str, Any]]) -> list[dict[str, Any]]:
            lacking = [layer for _, layer in layers if layer not in now]
            digests = {layer["digest"] for layer in lacking}
            return [*(each for each in now if each["digest"] not in digests), *lacking]

        what = f"read {self._repository}:{self._legacy_tag}"
        now = self._services.retry(what, self._legacy_layers)
        for blob, layer in layers:
            if layer not in now:
                self._services.retry(f"send {blob.digest} to {self._repository}", self._send, blob)
        if added(now) != now:
            self._change_legacy(added)

    def remove_legacy(self, digests: Collection[str]) -> None:
        """Remove layers from cosign's legacy attestations. Raises as :meth:`attach_legacy`."""
        if digests:
            self._change_legacy(lambda now: [each for each in now if each["digest"] not in digests])

    def remove_everything(self, left: Leftovers) -> None:
        """Remove all artifacts and tags that belong to the image, whoever stored them.

        A list that cannot be read is removed too. Of what only clients list, nothing is removed that does not
        itself refer to the image: anyone can list the image of another release.
        """
        services, name = self._services, self._repository
        pending: set[str] = set()
        with left.collected():
            pending |= self._listed_by_clients()
            tag = self._subject.tag
            services.retry(f"remove {name}:{tag}", services.registry.remove_tag, name, tag)
        with left.collected():
            tag = self._legacy_tag
            services.retry(f"remove {name}:{tag}", services.registry.remove_tag, name, tag)
        done: set[str] = set()
        answers = True
        while True:
            listing = None
            with left.collected():
                listing = self._listing()
                pending |= {each.digest for each in listing.referrers} if listing else set()
            new = pending - done
            if new:
                with left.collected():
                    self._remove_old_lists(new)
                answers = self._remove_all(new, left)
                done |= new
            if not new or not answers or listing is None or not listing.more:
                return

    def _listing(self, artifact_type: str = "") -> Listing | None:
        what, reader = f"list what refers to {self._what}", self._services.referrers
        return self._services.retry(what, reader.listing, self._repository, self._subject, artifact_type)

    def _client_list(self, artifact_type: str = "") -> Sequence[Referrer] | None:
        what, reader = f"read {self._repository}:{self._subject.tag}", self._services.referrers
        return self._services.retry(what, reader.client_list, self._repository, self._subject, artifact_type)

    def _listed_by_clients(self) -> set[str]:
        """Return what clients list and what itself refers to the image."""
        try:
            listed = self._client_list() or ()
        except IntegrityError as error:
            _log.warning("%s:%s is removed unread: %s", self._repository, self._subject.tag, error.message)
            return set()
        return {each.digest for each in listed if self._readable(each.digest, self._refers, each.digest)}

    def _refers(self, digest: str) -> bool:
        manifest = self._services.referrers.manifest(self._repository, digest)
        return manifest is not None and subject_named(manifest) == self._subject.digest

    def _remove_all(self, artifacts: Iterable[str], left: Leftovers) -> bool:
        """Remove artifacts; the rest is not tried after an outage. Returns whether there was none."""
        services, name = self._services, self._repository
        for digest in artifacts:
            before = len(left)
            with left.collected():
                what = f"remove {digest}, which refers to {self._what}"
                services.retry(what, services.registry.remove_image, name, digest)
                _log.info("%s", what)
            if len(left) > before and left.outage:
                return False
        return True

    def _remove_old_lists(self, artifacts: Collection[str]) -> None:
        """Remove earlier states of the list that clients keep: nothing else without a tag lists artifacts."""
        services, name = self._services, self._repository
        for index in services.retry(f"list {name}", services.registry.inventory, name):
            if not index.tags and index.children & set(artifacts):
                what = f"remove the old index {index.digest} of {name}"
                services.retry(what, services.registry.remove_image, name, index.digest)

    def _readable(self, digest: str, read: Callable[[*Ts], T | None], *arguments: *Ts) -> T | None:
        """Return what is read of something; None, with a warning, if it is not what it should be."""
        where = f"{self._repository}@{digest}"
        try:
            return self._services.retry(f"read {where}", read, *arguments)
        except IntegrityError as error:
            _log.warning("%s is ignored: %s", where, error.message)
            return None

    def _content(self, digest: str) -> ArtifactContent | None:
        """Return the content of a bundle; None if it is gone by now."""
        where = f"{self._repository}@{digest}"
        manifest = self._services.referrers.manifest(self._repository, digest)
        if manifest is None:
            return None
        content = read_artifact(manifest, where)
        if (content.artifact_type, content.media_type) != (BUNDLE_TYPE, BUNDLE_TYPE):
            raise IntegrityError(f"{where} is {content.artifact_type!r} of {content.media_type!r}")
        if content.subject != self._subject.digest:
            raise IntegrityError(f"{where} refers to {content.subject}, expected {self._subject.digest}")
        return content

    def _statement(
        self, digest: str, size: int, read: Callable[[bytes, str], ImageStatement]
    ) -> ImageStatement:
        where = f"{self._repository}@{digest}"
        if not 0 < size <= MAX_SIGSTORE_BYTES:
            raise IntegrityError(f"{where} has {size} bytes, expected at most {MAX_SIGSTORE_BYTES}")
        statement = read(self._services.referrers.blob(self._repository, digest, size), where)
        if statement.subjects != (self._subject.digest,):
            raise IntegrityError(f"the statement in {where} is about {', '.join(statement.subjects)}")
        return statement

    def _send(self, blob: Blob) -> None:
        blobs = self._services.blobs
        if blobs.holds(self._repository, blob.digest, len(blob.data)):
            return
        with blobs.upload(self._repository) as upload:
            upload.send(BlobPart([blob.data]))
            upload.finish(blob.digest)

    def _change_list(self, change: Callable[[Sequence[Referrer]], list[Referrer]]) -> None:
        """Change the list that clients keep, and look whether somebody else changed it at the same time."""
        name, tag, reader = self._repository, self._subject.tag, self._services.referrers

        def attempt() -> None:
            before = list(reader.client_list(name, self._subject) or ())
            wanted = change(before)
            if before == wanted:
                return
            _check_number(f"{name}:{tag}", len(wanted), "entries")
            if wanted:
                self._put(tag, index_of(wanted))
            else:
                self._services.registry.remove_tag(name, tag)
            after = list(reader.client_list(name, self._subject) or ())
            if after != change(after):
                raise _changed_meanwhile(f"{name}:{tag}")

        self._services.retry(f"change {name}:{tag}", attempt)

    def _change_legacy(self, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        """Change cosign's legacy attestations, and look whether somebody else did at the same time."""
        name, tag = self._repository, self._legacy_tag

        def attempt() -> None:
            layers = change(self._legacy_layers())
            if not layers:
                self._services.registry.remove_tag(name, tag)
                return
            _check_number(f"{name}:{tag}", len(layers), "layers")
            config = Blob(OCI_CONFIG, legacy_config([layer["digest"] for layer in layers]))
            self._send(config)
            manifest = legacy_manifest(config, layers)
            self._put(tag, manifest)
            shown = self._services.referrers.manifest(name, tag)
            if shown is None or shown.digest != manifest.digest:
                raise _changed_meanwhile(f"{name}:{tag}")

        self._services.retry(f"change {name}:{tag}", attempt)

    def _legacy_layers(self) -> list[dict[str, Any]]:
        """Return the descriptors of cosign's legacy attestations, whoever stored them."""
        manifest = self._services.referrers.manifest(self._repository, self._legacy_tag)
        if manifest is None:
            return []
        where = f"{self._repository}:{self._legacy_tag}"
        document = strict_json(manifest.data, where, maps=True)
        check_shape(document, MANIFEST, where)
        layers: list[dict[str, Any]] = document["layers"]
        _check_number(where, len(layers), "layers")
        return layers

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


def _check_number(where: str, number: int, what: str) -> None:
    if number > MOST_REFERRERS:
        raise IntegrityError(
            f"{where} has {number} {what}, expected at most {MOST_REFERRERS}",
            hint="find out who stored them, and remove the tag if nothing else needs it",
        )
