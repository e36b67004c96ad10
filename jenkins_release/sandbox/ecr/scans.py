"""Image scans of the ECR front: clean with scan on push, or as ordered by a test or rehearsal."""

from __future__ import annotations

from typing import Any

from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.ecr.api import ApiCall
from jenkins_release.sandbox.ecr.state import EcrState, Image, RepositoryState, ScanOrder

_PAGE = 100
_LOOKED = frozenset({"COMPLETE", "ACTIVE"})


def describe_image_scan_findings(call: ApiCall, image: Image) -> dict[str, Any]:
    """Answer ``DescribeImageScanFindings`` for one image (ECR API reference).

    Raises:
        ApiFault: ScanNotFoundException if the image was not scanned.
    """
    repository = call.repository()
    order = ordered(call.state, repository, image, count_down=True)
    if order.status == "none":
        raise ApiFault(
            "ScanNotFoundException",
            f"Image scan does not exist for the image with '{{imageDigest:'{image.digest}'}}' in the "
            f"repository with name '{repository.name}' in the registry with id '{call.state.account}'",
        )
    answer: dict[str, Any] = {
        "registryId": call.state.account,
        "repositoryName": repository.name,
        "imageId": {"imageDigest": image.digest},
        "imageScanStatus": {"status": order.status, "description": f"The scan is {order.status}."},
    }
    if order.status in _LOOKED and order.counts == "none":
        answer["imageScanFindings"] = {"findings": []}
    elif order.status in _LOOKED:
        found = _listed(order, call.parameters)
        if order.counts == "present":
            found |= {"imageScanCompletedAt": image.pushed_at, "findingSeverityCounts": order.findings}
        answer |= {"imageScanFindings": found, **_next(order, call.parameters)}
    return answer


def ordered(
    state: EcrState, repository: RepositoryState, image: Image, *, count_down: bool = False
) -> ScanOrder:
    """Return the ordered scan of an image; PENDING for as long as ordered.

    ECR scans no index, and says UNSUPPORTED_IMAGE of BuildKit's attestations (moby/buildkit #3499).

    Args:
        state: Has the orders.
        repository: The image's repository.
        image: The image.
        count_down: Count this answer as one of those that say PENDING.
    """
    if image.children:
        return ScanOrder(repository=repository.name, status="none")
    if any(image.digest in each.attesting for each in repository.images.values()):
        return ScanOrder(repository=repository.name, status="UNSUPPORTED_IMAGE")
    with state.read() as document:
        names = {image.digest, *repository.tags_of(image.digest)}
        for order in reversed(document.scans):
            if order.repository != repository.name or order.image not in {"", *names}:
                continue
            # If ECR counts nothing, Inspector says that it has not scanned yet.
            if order.pending and order.counts != "none":
                if count_down:
                    with state.change(repositories=False):
                        order.pending -= 1
                return order.model_copy(update={"status": "PENDING"})
            return order
    return ScanOrder(repository=repository.name, status="COMPLETE" if repository.scan_on_push else "none")


def _severities(order: ScanOrder) -> list[str]:
    return [severity for severity, count in order.findings.items() for _ in range(count)]


def _start(parameters: dict[str, Any]) -> int:
    token = str(parameters.get("nextToken") or "0")
    if not token.isdecimal():
        raise ApiFault("InvalidParameterException", "Invalid parameter at 'nextToken'")
    return int(token)


def _listed(order: ScanOrder, parameters: dict[str, Any]) -> dict[str, Any]:
    start = _start(parameters)
    page = list(enumerate(_severities(order), 1))[start : start + _PAGE]
    if order.status == "ACTIVE":
        return {"enhancedFindings": [{"title": f"CVE-0000-{n:04}", "severity": word} for n, word in page]}
    return {"findings": [{"name": f"CVE-0000-{n:04}", "severity": word} for n, word in page]}


def _next(order: ScanOrder, parameters: dict[str, Any]) -> dict[str, Any]:
    end = _start(parameters) + _PAGE
    return {"nextToken": str(end)} if end < len(_severities(order)) else {}
