"""Amazon ECR through its own API: tags as data, verified reads, and tokens on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from jenkins_release.aws.answers import ODD
from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.base.waits import Limits
from jenkins_release.oci import manifests
from jenkins_release.records.registry_image import HeldImage, StoredImage, read_listed
from jenkins_release.records.scan import Scan
from jenkins_release.registry.ecr_calls import EcrCalls, batches, failed
from jenkins_release.registry.ecr_tags import put_tag
from jenkins_release.registry.protocol import RegistryLogin, Repository, RepositoryNotFound, TagConflict
from jenkins_release.registry.settings import RepositorySettings, make_room, mutability
from jenkins_release.registry.token import mint


class EcrRegistry:
    """The registry of an AWS account in a region; may be shared between threads.

    Args:
        region: AWS region, such as ``eu-central-1``.
        account: Account that owns the registry; the credentials' own account if None.
        create: How repositories are created.
        profile: Profile of the shared AWS configuration.
        client: A boto3 ``ecr`` client instead of one from boto3's credential chain.
        now: Returns the current time, to check a token's lifetime.
        limits: How long a call may take.
    """

    def __init__(
        self,
        region: str,
        *,
        account: str | None = None,
        create: RepositorySettings | None = None,
        profile: str | None = None,
        client: Any = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        limits: Limits | None = None,
    ) -> None:
        self.region = region
        self.account = account
        self._create = create or RepositorySettings()
        self._api = EcrCalls(region, account, profile, client, limits)
        self._now = now
        self._endpoint = ""
        self._mounts: bool | None = None

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._api.close()

    @property
    def endpoint(self) -> str:
        """URL of the registry; ``http://`` only on loopback. The first use asks ECR for it."""
        if not self._endpoint:
            self.login()
        return self._endpoint

    @property
    def host(self) -> str:
        """Registry host, with port if any. The first use asks ECR for it."""
        return urlsplit(self.endpoint).netloc

    def login(self) -> RegistryLogin:
        """Get a new token: ``GetAuthorizationToken``, valid for 12 hours.

        A token works for every registry that its principal may use (ECR user guide, "Private
        registry authentication"), so it also serves another account's registry.

        Raises:
            ConfigurationError: There are no credentials, or ECR names an endpoint without TLS.
            RemoteError: ECR refused or failed, or its answer cannot be used.
        """
        # Not through call(): the action takes no registryId.
        self._endpoint, login = mint(self._api.client(), self._now(), self.account)
        return login

    def repository(self, name: str) -> Repository:
        """Describe a repository (``DescribeRepositories``).

        Raises:
            RepositoryNotFound: There is none.
            RemoteError: ECR refused or failed, or described another one.
        """
        what = f"describe the repository {name}"
        answer = self._api.call("describe_repositories", what, repositoryNames=[name])
        for described in answer["repositories"]:
            if described["repositoryName"] == name:
                return _repository(described)
        raise RemoteError(f"cannot {what}: the answer is not about it", hint=ODD, retryable=True)

    def repositories(self, names: Sequence[str]) -> dict[str, Repository]:
        """Describe several repositories (``DescribeRepositories``, 100 names in a call).

        Returns:
            The existing repositories, by name.

        Raises:
            RemoteError: ECR refused or failed.
        """
        return {each["repositoryName"]: _repository(each) for each in self._api.repositories(names)}

    def create_repository(self, name: str) -> Repository:
        """Create a repository as configured (``CreateRepository``); an existing one is returned unchanged.

        Raises:
            RemoteError: ECR refused or failed.
        """
        from botocore.exceptions import ClientError

        try:
            answer = self._api.call(
                "create_repository",
                f"create the repository {name}",
                passing=("RepositoryAlreadyExistsException",),
                repositoryName=name,
                **self._create.parameters(),
            )
        except ClientError:
            try:
                return self.repository(name)
            except RepositoryNotFound as error:
                error.retryable = True  # it was just created, and is not visible yet
                raise
        if answer["repository"]["repositoryName"] != name:
            raise RemoteError(
                f"cannot create the repository {name}: the answer is about another one",
                hint=ODD,
                retryable=True,
            )
        return _repository(answer["repository"])

    def images(self, repository: str, references: Sequence[str]) -> dict[str, StoredImage]:
        """Read images by tag or digest (``BatchGetImage``) and check every byte of their manifests.

        What an index lists is read and checked in the same way.

        Returns:
            The existing images, by requested reference.

        Raises:
            RepositoryNotFound: The repository does not exist.
            IntegrityError: The bytes of a manifest do not match its digest, it is malformed, or ECR does not
                hold what an index lists.
            RemoteError: ECR refused or failed.
        """
        found = self._api.manifests(repository, references)
        listed = {
            raw.digest: manifests.read_index(raw, f"{repository} {reference}")
            for reference, raw in found.items()
            if raw.is_index
        }
        wanted = dict.fromkeys(each.digest for children in listed.values() for each in children)
        children = self._api.manifests(repository, list(wanted))
        return {
            reference: _stored(repository, f"{repository} {reference}", raw, listed.get(raw.digest), children)
            for reference, raw in found.items()
        }

    def missing_layers(self, repository: str, digests: Sequence[str]) -> set[str]:
        """Return the blobs that the repository lacks (``BatchCheckLayerAvailability``).

        Raises:
            RepositoryNotFound: The repository does not exist.
            RemoteError: ECR refused, failed, or did not accept a digest.
        """
        missing = set(digests)
        what = f"ask which layers {repository} holds"
        for batch in batches(digests):
            answer = self._api.call(
                "batch_check_layer_availability", what, repositoryName=repository, layerDigests=batch
            )
            for failure in answer.get("failures", []):
                raise failed(what, str(failure.get("layerDigest")), failure)
            for layer in answer.get("layers", []):
                if layer.get("layerAvailability") == "AVAILABLE":
                    missing.discard(layer["layerDigest"])
        return missing

    def mounts_blobs(self) -> bool:
        """Whether the account opted in to blob mounting (``GetAccountSetting``, ``BLOB_MOUNTING``).

        The first use asks ECR. Returns False if the caller may not ask: a blob is then uploaded to each
        repository.

        Raises:
            RemoteError: ECR failed.
        """
        if self._mounts is None:
            self._mounts = self._api.blob_mounting()
        return self._mounts

    def tags(self, repository: str) -> list[str]:
        """Return every tag of a repository (``ListImages``, all pages).

        Raises:
            RepositoryNotFound: The repository does not exist.
            RemoteError: ECR refused or failed.
        """
        return self._api.tags(repository)

    def scan(self, repository: str, digest: str) -> Scan:
        """Return the status and findings of an image's scan (``DescribeImageScanFindings``).

        Raises:
            RepositoryNotFound: The repository does not exist.
            RemoteError: ECR refused or failed.
        """
        return self._api.scan(repository, digest)

    def inventory(self, repository: str) -> list[HeldImage]:
        """Return every image, tagged or not (``DescribeImages``); only manifests of indexes are read.

        ECR records a pull at least once in 24 hours (ECR API reference, ImageDetail).

        Raises:
            RepositoryNotFound: The repository does not exist.
            IntegrityError: An index cannot be read.
            RemoteError: ECR refused or failed.
        """
        held = {each["imageDigest"]: each for each in self._api.described(repository)}
        indexes = [d for d, each in held.items() if manifests.is_index(each.get("imageManifestMediaType"))]
        children = {
            digest: manifests.index_children(raw, f"{repository} {digest}")
            for digest, raw in self._api.manifests(repository, indexes).items()
        }
        return [
            HeldImage(
                digest,
                tuple(sorted(each.get("imageTags", []))),
                each.get("lastRecordedPullTime"),
                children.get(digest, frozenset()),
            )
            for digest, each in held.items()
        ]

    def set_tag(self, image: StoredImage, tag: str) -> None:
        """Let ``tag`` name exactly ``image`` (``PutImage``).

        The tag is read first: ECR refuses to set a tag again even to the same content, also in a mutable
        repository (ECR API reference, PutImage; aws/containers-roadmap #2380).

        Raises:
            TagConflict: The tag is immutable and names other content; nothing was changed.
            IntegrityError: The bytes of ``image`` do not match its digest.
            RepositoryNotFound: The repository does not exist.
            RemoteError: ECR refused or failed, or lacks a layer of the image.
        """
        try:
            put_tag(self._api, image, tag)
        except TagConflict as error:
            # Just after a tag was made movable, ECR may still refuse to move it.
            error.retryable = not self.repository(image.repository).is_immutable(tag)
            raise

    def remove_tag(self, repository: str, tag: str) -> None:
        """Remove a tag (``BatchDeleteImage``); it may be missing.

        **With its last tag, ECR deletes the image itself** (ECR API reference, BatchDeleteImage). To keep the
        image, set another tag first.

        Raises:
            RepositoryNotFound: The repository does not exist.
            RemoteError: ECR refused or failed.
        """
        self._remove(f"remove the tag {repository}:{tag}", repository, {"imageTag": tag})

    def remove_image(self, repository: str, digest: str) -> None:
        """Delete an image with all its tags (``BatchDeleteImage``); it may be missing.

        ECR refuses an image that an index in the repository lists (``ImageReferencedByManifestList``).

        Raises:
            RepositoryNotFound: The repository does not exist.
            RemoteError: ECR refused or failed.
        """
        self._remove(f"delete the image {repository}@{digest}", repository, {"imageDigest": digest})

    def _remove(self, what: str, repository: str, image: dict[str, str]) -> None:
        answer = self._api.call("batch_delete_image", what, repositoryName=repository, imageIds=[image])
        for failure in answer.get("failures", []):
            if failure.get("failureCode") != "ImageNotFound":
                raise failed(what, next(iter(image.values())), failure)

    def allow_moving(self, repository: Repository, tag: str) -> Repository:
        """Make a tag of an immutable repository movable (``PutImageTagMutability``).

        The tag becomes a separate exclusion filter. ECR allows five: the oldest filter without a wildcard is
        dropped if necessary, so the tag of an old line stays fixed.

        Returns:
            The repository as it is now; unchanged if the tag was already movable.

        Raises:
            RepositoryNotFound: The repository does not exist.
            ConfigurationError: There are already five wildcard filters, or the repository is mutable and
                excludes the tag.
            RemoteError: ECR refused or failed.
        """
        now = self.repository(repository.name)
        if not now.is_immutable(tag):
            return now
        if not now.can_allow_moving(tag):
            raise ConfigurationError(
                f"the tag {tag} of {now.name} cannot be moved: the repository is {now.mutability}, and its "
                f"filters {', '.join(now.exclusions)} are its immutable tags",
                hint="make the repository IMMUTABLE_WITH_EXCLUSION, or remove the tag from its filters",
            )
        filters = make_room(now.exclusions, tag, repository.name)
        self._api.call(
            "put_image_tag_mutability",
            f"let the tag {tag} of {repository.name} be moved",
            repositoryName=repository.name,
            **mutability(filters),
        )
        now = self.repository(repository.name)
        if now.is_immutable(tag):
            raise RemoteError(
                f"ECR does not show yet that the tag {tag} of {repository.name} may be moved, which was just "
                "set",
                hint="run the command again",
                retryable=True,
            )
        return now


def _repository(described: dict[str, Any]) -> Repository:
    filters = described.get("imageTagMutabilityExclusionFilters") or []
    return Repository(
        name=described["repositoryName"],
        uri=described["repositoryUri"],
        mutability=described.get("imageTagMutability", "MUTABLE"),
        exclusions=tuple(each["filter"] for each in filters),
    )


def _stored(
    repository: str,
    what: str,
    raw: manifests.RawManifest,
    listed: Sequence[manifests.Listed] | None,
    children: Mapping[str, manifests.RawManifest],
) -> StoredImage:
    if listed is None:
        content = manifests.read_content(raw, what)
        return StoredImage(repository, raw.digest, raw.media_type, raw.data, content)
    held = []
    for each in listed:
        child = children.get(each.digest)
        if child is None or len(child.data) != each.size:
            raise IntegrityError(
                f"{what}: its index names {each.digest} of {each.size} bytes, which ECR does not hold",
                hint="push the image again",
                retryable=True,  # the index may be visible before what it lists
            )
        held.append(read_listed(each, child, what))
    real = [each for each in listed if each.runs]
    single = manifests.read_content(children[real[0].digest], what) if len(real) == 1 else None
    return StoredImage(repository, raw.digest, raw.media_type, raw.data, single, tuple(held))
