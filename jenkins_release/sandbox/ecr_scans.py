"""Image scans of the ECR front: clean where scan on push is on, and whatever a test or rehearsal orders."""

from __future__ import annotations

from typing import Any

from jenkins_release.sandbox.ecr_api import Call
from jenkins_release.sandbox.ecr_state import ApiFault, EcrState, Image, RepositoryState, ScanOrder


def describe_image_scan_findings(call: Call, image: Image) -> dict[str, Any]:
    """Answer ``DescribeImageScanFindings`` for one image (ECR API reference).

    Raises:
        ApiFault: ScanNotFoundException, where nothing scanned the image.
    """
    repository = call.repository()
    order = _take(call.state, repository, image)
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
    if order.status in {"COMPLETE", "ACTIVE"}:
        answer["imageScanFindings"] = {
            "imageScanCompletedAt": image.pushed_at,
            "findingSeverityCounts": order.findings,
            "findings": [
                {"name": f"CVE-0000-{number:04}", "severity": severity}
                for severity, count in order.findings.items()
                for number in range(1, count + 1)
            ],
        }
    return answer


def _take(state: EcrState, repository: RepositoryState, image: Image) -> ScanOrder:
    """Return what the scan of an image is to be, and count down what it is to be before that."""
    with state.change() as document:
        names = {image.digest, *repository.tags_of(image.digest)}
        for order in reversed(document.scans):
            if order.repository != repository.name or order.image not in {"", *names}:
                continue
            if order.pending:
                order.pending -= 1
                return order.model_copy(update={"status": "PENDING"})
            return order
    return ScanOrder(repository=repository.name, status="COMPLETE" if repository.scan_on_push else "none")
