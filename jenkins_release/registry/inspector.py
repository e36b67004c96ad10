"""Amazon Inspector, which does ECR's enhanced scans: whether it has scanned an image, and its findings.

ECR reports ACTIVE with an empty list of findings and no counts as soon as Inspector is to scan an image, and
the same if Inspector has found nothing. Only Inspector's coverage tells the two apart (Inspector API
reference, ``ListCoverage``, ``ListFindings``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from jenkins_release.aws import aws_client, translate
from jenkins_release.aws.answers import next_page
from jenkins_release.base.waits import Limits
from jenkins_release.records.scan import Scan

_UNTRIAGED = "UNTRIAGED"
_FINDINGS_PAGE, _COVERAGE_PAGE = 100, 200


class Inspector:
    """Inspector in one account and region.

    Args:
        region: AWS region, such as ``eu-central-1``.
        profile: Profile of the shared AWS configuration.
        client: A boto3 ``inspector2`` client instead of one from boto3's credential chain.
        limits: How long a call may take.
    """

    def __init__(
        self,
        region: str,
        profile: str | None = None,
        client: Any = None,
        limits: Limits | None = None,
    ) -> None:
        self._region = region
        self._profile = profile
        self._made = client
        self._limits = limits

    @cached_property
    def _client(self) -> Any:
        return self._made or aws_client(
            "inspector2", self._region, profile=self._profile, limits=self._limits
        )

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        if "_client" in self.__dict__:
            self._client.close()

    def scan(self, repository: str, arn: str, digest: str) -> Scan:
        """Return the status and findings of an image's scan.

        Args:
            repository: Name of the image's repository.
            arn: ARN of that repository.
            digest: Digest of the image.

        Returns:
            The scan; its status is that of ECR (``ACTIVE``) or Inspector's reason why there is none.

        Raises:
            ReleaseError: Inspector refused or failed.
        """
        what = f"read Inspector's coverage of {repository}@{digest}"
        resource = f"{arn}/{digest}"
        wanted = {"resourceId": _equals(resource)}
        covered = [
            each
            for each in self._pages("list_coverage", what, "coveredResources", wanted, _COVERAGE_PAGE)
            if each.get("resourceId") == resource and each.get("scanType") == "PACKAGE"
        ]
        if not covered:
            return Scan("ACTIVE")
        for each in covered:
            status = each.get("scanStatus") or {}
            if status.get("reason") != "SUCCESSFUL":
                return Scan(str(status.get("reason") or "ACTIVE"))
            if status.get("statusCode") != "ACTIVE" or not each.get("lastScannedAt"):
                return Scan(str(status.get("statusCode") or "ACTIVE"))
        return Scan("ACTIVE", self._found(repository, digest), counted=True)

    def _found(self, repository: str, digest: str) -> Mapping[str, int]:
        wanted = {
            "ecrImageRepositoryName": _equals(repository),
            "ecrImageHash": _equals(digest),
            "findingStatus": _equals("ACTIVE"),
        }
        what = f"read Inspector's findings in {repository}@{digest}"
        findings = self._pages("list_findings", what, "findings", wanted, _FINDINGS_PAGE)
        return Counter(severity_in_ecr(each.get("severity")) for each in findings)

    def _pages(
        self, action: str, what: str, name: str, wanted: Mapping[str, Any], size: int
    ) -> Iterator[Mapping[str, Any]]:
        from botocore.exceptions import BotoCoreError, ClientError

        more: dict[str, str] = {}
        while True:
            try:
                answer = getattr(self._client, action)(filterCriteria=wanted, maxResults=size, **more)
            except (BotoCoreError, ClientError) as error:
                raise translate(error, what) from error
            yield from answer.get(name) or ()
            if not (token := next_page(answer.get("nextToken"), more.get("nextToken"), action)):
                return
            more = {"nextToken": token}


def severity_in_ecr(severity: object) -> str:
    """Return a severity in ECR's terms: Inspector's ``UNTRIAGED``, or none at all, is ``UNDEFINED``."""
    named = str(severity or _UNTRIAGED).upper()
    return "UNDEFINED" if named == _UNTRIAGED else named


def _equals(value: str) -> list[dict[str, str]]:
    return [{"comparison": "EQUALS", "value": value}]
