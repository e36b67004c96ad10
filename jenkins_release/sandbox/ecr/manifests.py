"""Stores and removes images in the ECR front, for both its API and ``/v2/``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.oci.manifests import INDEX_TYPES, MANIFEST_TYPES, sha256_digest
from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.ecr.state import EcrState, Image, RepositoryState
from jenkins_release.sandbox.ecr.store import RegistryStore

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class _Parts:
    media_type: str
    blobs: tuple[str, ...]
    children: tuple[str, ...]
    size: int
    subject: str = ""
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    attesting: tuple[str, ...] = ()


def store_image(
    state: EcrState, store: RegistryStore, name: str, data: bytes, media_type: str | None, tag: str | None
) -> Image:
    """Store a manifest, and set a tag on it.

    Args:
        state: Decides whether the tag may be set; remembers the image.
        store: Keeps the manifest.
        name: Repository.
        data: The manifest's bytes.
        media_type: Its media type; the one that it states itself if None.
        tag: Tag to set, if any.

    Returns:
        The image.

    Raises:
        ApiFault: InvalidParameterException, LayersNotFoundException,
            ReferencedImagesNotFoundException, ImageAlreadyExistsException,
            ImageTagAlreadyExistsException.
    """
    if tag is not None and not _TAG.fullmatch(tag):
        raise _invalid(f"invalid image tag '{tag}'")
    parts = _parts(data, media_type)
    digest = sha256_digest(data)
    repository = state.repository(name)
    _check_tag(state, repository, tag, digest)
    missing = [child for child in parts.children if child not in repository.images]
    if missing:
        raise ApiFault(
            "ReferencedImagesNotFoundException",
            f"The images with digests '{missing}' required for pushing image into repository with name "
            f"'{name}' in the registry with id '{state.account}' do not exist",
        )
    # The registry behind rewrites a manifest that it already has: a read at that moment would miss it.
    if digest not in repository.images:
        refusal = store.put_manifest(repository.storage, digest, parts.media_type, data)
        if refusal:
            raise _refused(state, store, repository, parts, refusal)
    with state.change():
        # Another request may have set the tag in the meantime.
        _check_tag(state, repository, tag, digest)
        image = repository.images.get(digest)
        if image is None:
            image = Image(
                digest=digest,
                media_type=parts.media_type,
                size=parts.size,
                pushed_at=state.clock(),
                children=list(parts.children),
                attesting=list(parts.attesting),
                subject=parts.subject,
                artifact_type=parts.artifact_type,
                manifest_size=len(data),
                annotations=dict(parts.annotations),
            )
            repository.images[digest] = image
            for each in repository.referrers(digest):
                each.orphaned_at = None
        if tag is not None:
            repository.tags[tag] = digest
    return image


def referrer(image: Image) -> dict[str, Any]:
    """Return the descriptor of an artifact, as a list of referrers has it."""
    return {
        "mediaType": image.media_type,
        "digest": image.digest,
        "size": image.manifest_size,
        "artifactType": image.artifact_type,
        "annotations": image.annotations,
    }


def remove_image(state: EcrState, name: str, tag: str | None, digest: str | None) -> list[dict[str, str]]:
    """Remove a tag, or an image with all its tags; an image goes with its last tag.

    Returns:
        What was removed, as ``imageIds`` of BatchDeleteImage; empty if there was no such image.

    Raises:
        ApiFault: ImageTagDoesNotMatchDigest, ImageReferencedByManifestList; these are codes of failures
            inside an answer, not of answers.
    """
    repository = state.repository(name)
    with state.change():
        image = repository.find(tag or digest or "")
        if image is None or (tag is not None and tag not in repository.tags):
            return []
        if digest is not None and image.digest != digest:
            raise ApiFault("ImageTagDoesNotMatchDigest", "The tag does not name the image with this digest")
        gone = [tag] if tag is not None else repository.tags_of(image.digest)
        left = set(repository.tags_of(image.digest)) - set(gone)
        if not left and any(image.digest in other.children for other in repository.images.values()):
            raise ApiFault("ImageReferencedByManifestList", "An index in the repository lists this image")
        for each in gone:
            del repository.tags[each]
        if not left:
            del repository.images[image.digest]
            repository.orphan(image.digest, state.clock())
    return [{"imageDigest": image.digest, "imageTag": each} for each in gone] or [
        {"imageDigest": image.digest}
    ]


def subject_of(data: bytes) -> str:
    """Return the digest of the manifest that a manifest refers to; empty if there is none."""
    try:
        return str((json.loads(data).get("subject") or {}).get("digest", ""))
    except (ValueError, AttributeError):
        return ""


def _check_tag(state: EcrState, repository: RepositoryState, tag: str | None, digest: str) -> None:
    if tag is None:
        if digest in repository.images:
            raise _exists(state, repository, digest, tag)
        return
    present = repository.tags.get(tag)
    if present == digest:
        raise _exists(state, repository, digest, tag)
    if present is not None and repository.is_immutable(tag):
        raise ApiFault("ImageTagAlreadyExistsException", immutable_message(repository.name, tag))


def immutable_message(name: str, tag: str) -> str:
    """Return AWS's text for a tag that cannot be set again."""
    return (
        f"The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten "
        "because the repository is immutable."
    )


def _exists(state: EcrState, repository: RepositoryState, digest: str, tag: str | None) -> ApiFault:
    return ApiFault(
        "ImageAlreadyExistsException",
        f"Image with digest '{digest}' and tag '{tag}' already exists in the repository with name "
        f"'{repository.name}' in registry with id '{state.account}'",
    )


def _parts(data: bytes, media_type: str | None) -> _Parts:
    try:
        document: dict[str, Any] = json.loads(data)
        kind = media_type or document.get("mediaType")
        config = document.get("config") or {}
        refers = (
            str((document.get("subject") or {}).get("digest", "")),
            # Without a type of its own, an artifact has that of its config ("Listing Referrers").
            str(document.get("artifactType") or config.get("mediaType", "")),
            document.get("annotations") or {},
        )
        if kind in INDEX_TYPES:
            listed = document["manifests"]
            children = tuple(each["digest"] for each in listed)
            nowhere = tuple(
                each["digest"] for each in listed if (each.get("platform") or {}).get("os") == "unknown"
            )
            return _Parts(kind, (), children, len(data), *refers, nowhere)
        if kind in MANIFEST_TYPES:
            blobs = [config, *document["layers"]]
            size = sum(int(each["size"]) for each in blobs)
            return _Parts(kind, tuple(each["digest"] for each in blobs), (), size, *refers)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _invalid(f"invalid image manifest: {type(error).__name__}") from error
    raise _invalid(f"the image manifest's media type '{kind}' is not supported")


def _refused(
    state: EcrState, store: RegistryStore, repository: RepositoryState, parts: _Parts, refusal: str
) -> ApiFault:
    missing = [blob for blob in parts.blobs if store.has_blob(repository.storage, blob) is None]
    if not missing:
        return _invalid(f"invalid image manifest: {refusal[:300]}")
    return ApiFault(
        "LayersNotFoundException",
        f"Layers with digests '[{', '.join(missing)}]' required for pushing image into repository with "
        f"name '{repository.name}' in the registry with id '{state.account}' do not exist",
    )


def _invalid(why: str) -> ApiFault:
    return ApiFault(
        "InvalidParameterException",
        f"Invalid parameter at 'ImageManifest' failed to satisfy constraint: '{why}'",
    )
