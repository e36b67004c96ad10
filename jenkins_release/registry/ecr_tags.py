"""Sets a tag in ECR so that it names exactly one image, and is never moved silently."""

from __future__ import annotations

from jenkins_release.aws import error_code, translate
from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.oci import manifests
from jenkins_release.records.registry_image import StoredImage
from jenkins_release.registry.ecr_calls import EcrCalls, changed
from jenkins_release.registry.protocol import TagConflict

_ALREADY = "ImageAlreadyExistsException"
_TAG_TAKEN = "ImageTagAlreadyExistsException"
_OTHER_DIGEST = "ImageDigestDoesNotMatchException"


def put_tag(api: EcrCalls, image: StoredImage, tag: str) -> None:
    """Let ``tag`` name exactly ``image`` (``PutImage``). See ``Registry.set_tag`` for its errors."""
    from botocore.exceptions import ClientError

    name = f"{image.repository}:{tag}"
    actual = manifests.sha256_digest(image.manifest)
    if actual != image.digest:
        raise changed(name, image.digest, actual)
    if api.tag_digest(image.repository, tag) == image.digest:
        return
    try:
        answer = api.call(
            "put_image",
            f"set the tag {name}",
            passing=(_ALREADY, _TAG_TAKEN, _OTHER_DIGEST),
            repositoryName=image.repository,
            imageManifest=image.manifest.decode(),
            imageManifestMediaType=image.media_type,
            imageDigest=image.digest,
            imageTag=tag,
        )
    except ClientError as error:
        _not_put(api, image, tag, error)
        return
    put = str(answer["image"]["imageId"].get("imageDigest"))
    if put != image.digest:
        raise changed(name, image.digest, put)


def _not_put(api: EcrCalls, image: StoredImage, tag: str, error: Exception) -> None:
    """Handle a refused PutImage; return if the tag names the image after all."""
    name, code = f"{image.repository}:{tag}", error_code(error)
    if code == _OTHER_DIGEST:
        raise IntegrityError(
            f"{name}: ECR computes a digest of the manifest that differs from {image.digest}",
            hint="do not release it: the manifest was changed on the way",
        ) from error
    # Someone else may have set it since it was read.
    present = api.tag_digest(image.repository, tag)
    if present == image.digest:
        return
    if present is None:
        raise RemoteError(
            f"cannot set the tag {name}: ECR answers {code}, but does not show the tag",
            hint="run the command again: a new tag takes a moment to become visible",
            retryable=True,
        ) from error
    if code == _TAG_TAKEN:
        raise TagConflict(
            f"{name} is immutable and names {present}: it cannot name {image.digest}",
            hint="release under a new version: published tags are never moved",
        ) from error
    raise translate(error, f"set the tag {name}") from error
