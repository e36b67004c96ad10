"""The ECR front's actions on images and layers, following the ECR API reference."""

from __future__ import annotations

import re
import uuid
from typing import Any

from jenkins_release.oci.manifests import sha256_digest
from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.ecr.access import download_path
from jenkins_release.sandbox.ecr.api import REPOSITORY_ACTIONS, Action, ApiCall, invalid
from jenkins_release.sandbox.ecr.manifests import referrer, remove_image, store_image
from jenkins_release.sandbox.ecr.scans import describe_image_scan_findings
from jenkins_release.sandbox.ecr.state import Image, RepositoryState

REFERRERS_PAGE = 50
"""Most items in one answer of ListImageReferrers."""
MOST_ARTIFACT_TYPES = 5
"""Most artifact types in the filter of ListImageReferrers."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def _batch_get_image(call: ApiCall) -> dict[str, Any]:
    repository = call.repository()
    accepted = call.parameters.get("acceptedMediaTypes")
    images, failures = [], []
    for wanted in call.parameters["imageIds"]:
        image, failure = _look_up(repository, wanted)
        if image is not None and accepted and image.media_type not in accepted:
            image, failure = None, ("ImageNotFound", "The image has none of the accepted media types")
        if image is None:
            failures.append({"imageId": wanted, "failureCode": failure[0], "failureReason": failure[1]})
            continue
        data = call.store.manifest(repository.storage, image.digest, image.media_type)
        images.append(
            {
                "registryId": call.state.account,
                "repositoryName": repository.name,
                "imageId": {**wanted, "imageDigest": image.digest},
                "imageManifest": call.fault.spoil(data).decode(),
                "imageManifestMediaType": image.media_type,
            }
        )
    return {"images": images, "failures": failures}


def _batch_check_layer_availability(call: ApiCall) -> dict[str, Any]:
    repository = call.repository()
    layers, failures = [], []
    for digest in call.parameters["layerDigests"]:
        if not _DIGEST.fullmatch(digest):
            reason = "Invalid layer digest"
            failures.append(
                {"layerDigest": digest, "failureCode": "InvalidLayerDigest", "failureReason": reason}
            )
            continue
        # A late answer is from before the layer arrived.
        size = None if call.fault.stale else call.store.has_blob(repository.storage, digest)
        layer: dict[str, Any] = {"layerDigest": digest, "layerAvailability": "UNAVAILABLE"}
        if size is not None:
            layer |= {"layerAvailability": "AVAILABLE", "layerSize": size}
        layers.append(layer)
    return {"layers": layers, "failures": failures}


def _put_image(call: ApiCall) -> dict[str, Any]:
    given, repository = call.parameters, call.repository()
    data = given["imageManifest"].encode()
    digest = sha256_digest(data)
    if given.get("imageDigest", digest) != digest:
        raise ApiFault(
            "ImageDigestDoesNotMatchException",
            f"The image digest '{given['imageDigest']}' does not match the digest of the image manifest: "
            f"'{digest}'",
        )
    tag = given.get("imageTag")
    image = store_image(
        call.state, call.store, repository.name, data, given.get("imageManifestMediaType"), tag
    )
    named = {"imageDigest": image.digest} | ({"imageTag": tag} if tag else {})
    return {
        "image": {
            "registryId": call.state.account,
            "repositoryName": repository.name,
            "imageId": named,
            "imageManifest": given["imageManifest"],
            "imageManifestMediaType": image.media_type,
        }
    }


def _batch_delete_image(call: ApiCall) -> dict[str, Any]:
    repository = call.repository()
    removed, failures = [], []
    for wanted in call.parameters["imageIds"]:
        image, failure = _look_up(repository, wanted)
        if image is not None:
            try:
                removed += remove_image(
                    call.state, repository.name, wanted.get("imageTag"), wanted.get("imageDigest")
                )
                continue
            except ApiFault as error:
                failure = (error.code, error.message)
        failures.append({"imageId": wanted, "failureCode": failure[0], "failureReason": failure[1]})
    return {"imageIds": removed, "failures": failures}


def _describe_images(call: ApiCall) -> dict[str, Any]:
    repository = call.repository()
    if wanted := call.parameters.get("imageIds"):
        if "maxResults" in call.parameters or "nextToken" in call.parameters:
            raise invalid("maxResults and nextToken do not go with imageIds")
        found = [_must_find(call, repository, each) for each in wanted]
        return {"imageDetails": [_detail(call, repository, image) for image in found]}
    status = _tag_status(call)
    with call.state.read():
        images = [repository.images[digest] for digest in sorted(repository.images)]
        chosen = [each for each in images if status in {"ANY", _status(repository, each)}]
    page, more = call.page(chosen)
    return {"imageDetails": [_detail(call, repository, image) for image in page], **more}


def _list_images(call: ApiCall) -> dict[str, Any]:
    repository = call.repository()
    status = _tag_status(call)
    ids: list[dict[str, str]] = []
    with call.state.read():
        for digest in sorted(repository.images):
            tags = repository.tags_of(digest)
            if status in {"ANY", "TAGGED" if tags else "UNTAGGED"}:
                ids += [{"imageDigest": digest, "imageTag": tag} for tag in tags] or [{"imageDigest": digest}]
    page, more = call.page(ids)
    return {"imageIds": list(page), **more}


def _list_image_referrers(call: ApiCall) -> dict[str, Any]:
    """List the artifacts that refer to an image; the caller needs ``ecr:BatchGetImage``."""
    repository = call.repository()
    subject = call.parameters["subjectId"]["imageDigest"]
    if not _DIGEST.fullmatch(subject):
        raise invalid("the imageDigest of subjectId is not a sha256 digest")
    wanted = call.parameters.get("filter", {})
    types = wanted.get("artifactTypes", [])
    if len(types) > MOST_ARTIFACT_TYPES:
        raise invalid(f"Member must have length less than or equal to {MOST_ARTIFACT_TYPES}: artifactTypes")
    if call.parameters.get("maxResults", REFERRERS_PAGE) > REFERRERS_PAGE:
        raise invalid(f"Member must have value less than or equal to {REFERRERS_PAGE}: maxResults")
    with call.state.read():
        found = repository.referrers(subject, types)
    page, more = call.page(found, REFERRERS_PAGE)
    # Nothing is archived here.
    shown = [] if wanted.get("artifactStatus", "ACTIVE") in {"ARCHIVED", "ACTIVATING"} else page
    return {"referrers": [referrer(each) | {"artifactStatus": "ACTIVE"} for each in shown], **more}


def _describe_image_scan_findings(call: ApiCall) -> dict[str, Any]:
    return describe_image_scan_findings(call, _must_find(call, call.repository(), call.parameters["imageId"]))


def _get_download_url_for_layer(call: ApiCall) -> dict[str, Any]:
    repository, digest = call.repository(), call.parameters["layerDigest"]
    if call.store.has_blob(repository.storage, digest) is None:
        raise ApiFault(
            "LayersNotFoundException",
            f"Layers with digests '[{digest}]' do not exist in the repository with name '{repository.name}' "
            f"in the registry with id '{call.state.account}'",
        )
    path = download_path(call.state, repository.storage, digest)
    return {"downloadUrl": f"http://{call.host}{path}", "layerDigest": digest}


def _initiate_layer_upload(call: ApiCall) -> dict[str, Any]:
    """Begin an upload that only ``/v2/`` can continue: shows who may push."""
    call.repository()
    return {"uploadId": str(uuid.uuid4()), "partSize": 20 * 1024 * 1024}


def _look_up(repository: RepositoryState, wanted: dict[str, str]) -> tuple[Image | None, tuple[str, str]]:
    tag, digest = wanted.get("imageTag"), wanted.get("imageDigest")
    if tag is None and digest is None:
        return None, ("MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null")
    if digest is not None and not _DIGEST.fullmatch(digest):
        return None, (
            "InvalidImageDigest",
            "Invalid request parameters: image digest should satisfy the regex",
        )
    image = repository.images.get(digest or repository.tags.get(tag or "", ""))
    if image is None or (tag is not None and tag not in repository.tags):
        return None, ("ImageNotFound", "Requested image not found")
    if tag is not None and repository.tags[tag] != image.digest:
        return None, ("ImageTagDoesNotMatchDigest", "The tag does not name the image with this digest")
    return image, ("", "")


def _must_find(call: ApiCall, repository: RepositoryState, wanted: dict[str, str]) -> Image:
    image, _ = _look_up(repository, wanted)
    if image is None:
        tag, digest = wanted.get("imageTag", "null"), wanted.get("imageDigest", "null")
        raise ApiFault(
            "ImageNotFoundException",
            f"The image with imageId {{imageDigest:'{digest}', imageTag:'{tag}'}} does not exist within the "
            f"repository with name '{repository.name}' in the registry with id '{call.state.account}'",
        )
    return image


def _tag_status(call: ApiCall) -> str:
    return str(call.parameters.get("filter", {}).get("tagStatus", "ANY"))


def _status(repository: RepositoryState, image: Image) -> str:
    return "TAGGED" if repository.tags_of(image.digest) else "UNTAGGED"


def _detail(call: ApiCall, repository: RepositoryState, image: Image) -> dict[str, Any]:
    detail: dict[str, Any] = {
        "registryId": call.state.account,
        "repositoryName": repository.name,
        "imageDigest": image.digest,
        "imageSizeInBytes": image.size,
        "imagePushedAt": image.pushed_at,
        "imageManifestMediaType": image.media_type,
    }
    if image.artifact_type:
        detail["artifactMediaType"] = image.artifact_type
    if image.subject:
        detail["subjectManifestDigest"] = image.subject
    if image.pulled_at is not None:
        detail["lastRecordedPullTime"] = image.pulled_at
    if tags := repository.tags_of(image.digest):
        detail["imageTags"] = tags
    return detail


ACTIONS: dict[str, Action] = {
    **REPOSITORY_ACTIONS,
    "BatchGetImage": _batch_get_image,
    "BatchCheckLayerAvailability": _batch_check_layer_availability,
    "InitiateLayerUpload": _initiate_layer_upload,
    "PutImage": _put_image,
    "BatchDeleteImage": _batch_delete_image,
    "DescribeImages": _describe_images,
    "ListImages": _list_images,
    "ListImageReferrers": _list_image_referrers,
    "DescribeImageScanFindings": _describe_image_scan_findings,
    "GetDownloadUrlForLayer": _get_download_url_for_layer,
}
"""Every action that the front knows."""
PERMISSIONS = {"ListImageReferrers": "BatchGetImage"}
"""Actions whose permission has another name than their own (ECR API reference)."""
