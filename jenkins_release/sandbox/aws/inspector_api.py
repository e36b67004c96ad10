"""The sandbox's Amazon Inspector: its coverage and findings for images of the ECR front.

Its answers for an image are those that were ordered for its scan
(:class:`jenkins_release.sandbox.ecr.state.ScanOrder`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.aws.api import Answer, JsonApi
from jenkins_release.sandbox.ecr.scans import ordered
from jenkins_release.sandbox.ecr.state import EcrState, Image, RepositoryState, ScanOrder

_ARN = re.compile(r"arn:aws:ecr:[^:]+:[0-9]+:repository/(?P<repository>.+)/(?P<digest>sha256:[0-9a-f]{64})")
_PENDING = frozenset({"PENDING_INITIAL_SCAN", "SCAN_IN_PROGRESS"})
_PAGE = 25


class InspectorApi(JsonApi):
    """``ListCoverage`` and ``ListFindings`` (Inspector API reference).

    Args:
        state: The front's state.
    """

    def __init__(self, state: EcrState) -> None:
        self._state = state
        actions = {"ListCoverage": self._coverage, "ListFindings": self._findings}
        super().__init__("inspector2", actions, lambda *_: ["*"], invalid="ValidationException")

    def _coverage(self, arguments: Mapping[str, Any]) -> Answer:
        found = []
        for each in _values(arguments, "resourceId"):
            if (parts := _ARN.fullmatch(each)) is None:
                continue
            known = self._image(parts["repository"], parts["digest"])
            if known is None or not (order := self._ordered(*known)).coverage:
                continue
            resource: dict[str, Any] = {
                "resourceType": "AWS_ECR_CONTAINER_IMAGE",
                "resourceId": each,
                "accountId": self._state.account,
                "scanType": "PACKAGE",
                "scanStatus": {
                    "statusCode": "ACTIVE" if order.coverage in {*_PENDING, "SUCCESSFUL"} else "INACTIVE",
                    "reason": order.coverage,
                },
            }
            if order.coverage == "SUCCESSFUL":
                resource["lastScannedAt"] = time.time()
            found.append(resource)
        return {"coveredResources": found}

    def _findings(self, arguments: Mapping[str, Any]) -> Answer:
        (repository,) = _values(arguments, "ecrImageRepositoryName")
        (digest,) = _values(arguments, "ecrImageHash")
        known = self._image(repository, digest)
        order = self._ordered(*known) if known else ScanOrder(repository=repository)
        looked = order.coverage == "SUCCESSFUL"
        severities = [word for word, count in order.findings.items() for _ in range(count) if looked]
        start = int(arguments.get("nextToken") or 0)
        page = severities[start : start + _PAGE]
        more = {"nextToken": str(start + _PAGE)} if start + _PAGE < len(severities) else {}
        return {"findings": [self._finding(digest, number, word) for number, word in enumerate(page)], **more}

    def _finding(self, digest: str, number: int, severity: str) -> dict[str, Any]:
        now, owner = time.time(), f"{self._state.region}:{self._state.account}"
        return {
            "findingArn": f"arn:aws:inspector2:{owner}:finding/{number:032x}",
            "awsAccountId": self._state.account,
            "type": "PACKAGE_VULNERABILITY",
            "description": f"{severity} in {digest}",
            "severity": "UNTRIAGED" if severity == "UNDEFINED" else severity,
            "status": "ACTIVE",
            "remediation": {},
            "firstObservedAt": now,
            "lastObservedAt": now,
            "resources": [{"type": "AWS_ECR_CONTAINER_IMAGE", "id": digest}],
        }

    def _image(self, repository: str, digest: str) -> tuple[RepositoryState, Image] | None:
        with self._state.read() as document:
            state = document.repositories.get(repository)
            image = state.find(digest) if state else None
        return (state, image) if state and image else None

    def _ordered(self, repository: RepositoryState, image: Image) -> ScanOrder:
        order = ordered(self._state, repository, image)
        if order.counts == "none" and order.pending:
            with self._state.change(repositories=False) as document:
                next(each for each in document.scans if each == order).pending -= 1
            return order.model_copy(update={"coverage": "PENDING_INITIAL_SCAN"})
        return order


def _values(arguments: Mapping[str, Any], name: str) -> list[str]:
    """Return the values of a filter; only equality is supported, since nothing else is used."""
    filters = arguments.get("filterCriteria", {}).get(name, [])
    if not filters or any(each["comparison"] != "EQUALS" for each in filters):
        raise ApiFault("ValidationException", f"the sandbox wants {name} EQUALS a value")
    return [each["value"] for each in filters]
