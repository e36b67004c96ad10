"""Image scans: what ECR answers, and what the registry client makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from jenkins_release.base.errors import ReleaseError, RemoteError
from jenkins_release.registry import EcrRegistry, RepositoryNotFound, Scan
from jenkins_release.sandbox.ecr.state import REGION, PolicyStatement, ScanOrder
from jenkins_release.sandbox.front.front import EcrFront
from tests.fixtures.ecr_push import Pusher

REPOSITORY = "skydrm/rms"
ABSENT = "sha256:" + "0" * 64


@pytest.fixture
def scanned(boto_ecr: Any, pusher: Pusher) -> str:
    """The digest of an image in a repository that scans on push."""
    boto_ecr.create_repository(repositoryName=REPOSITORY, imageScanningConfiguration={"scanOnPush": True})
    return pusher.image(REPOSITORY, "one", "8.1.0").digest


def asked(client: Any, **image: str) -> Any:
    return client.describe_image_scan_findings(repositoryName=REPOSITORY, imageId=image)


def test_a_repository_that_scans_on_push_finds_nothing_by_default(boto_ecr: Any, scanned: str):
    """By digest and by tag."""
    for image in ({"imageDigest": scanned}, {"imageTag": "8.1.0"}):
        answer = asked(boto_ecr, **image)
        assert answer["imageScanStatus"]["status"] == "COMPLETE"
        assert answer["imageScanFindings"]["findingSeverityCounts"] == {}
        assert answer["imageId"]["imageDigest"] == scanned


def test_without_scan_on_push_there_is_no_scan(boto_ecr: Any, pusher: Pusher):
    """ScanNotFoundException, as AWS words it."""
    boto_ecr.create_repository(repositoryName=REPOSITORY)
    digest = pusher.image(REPOSITORY, "one", "8.1.0").digest
    with pytest.raises(ClientError) as caught:
        asked(boto_ecr, imageDigest=digest)
    error = caught.value.response["Error"]
    assert error["Code"] == "ScanNotFoundException"
    assert digest in error["Message"]


@pytest.mark.parametrize(
    ("repository", "image", "code"),
    [
        (REPOSITORY, {"imageDigest": ABSENT}, "ImageNotFoundException"),
        (REPOSITORY, {"imageTag": "none"}, "ImageNotFoundException"),
        ("skydrm/none", {"imageDigest": ABSENT}, "RepositoryNotFoundException"),
    ],
)
def test_what_is_not_there_is_not_scanned(boto_ecr: Any, scanned: str, repository, image, code):
    """AWS's own errors."""
    with pytest.raises(ClientError) as caught:
        boto_ecr.describe_image_scan_findings(repositoryName=repository, imageId=image)
    assert caught.value.response["Error"]["Code"] == code


def test_ordered_findings_are_counted_and_listed(ecr: EcrFront, boto_ecr: Any, scanned: str):
    """The last order for an image holds; another image's does not."""
    ecr.state.order_scan(ScanOrder(repository=REPOSITORY, findings={"LOW": 9}))
    ecr.state.order_scan(ScanOrder(repository=REPOSITORY, image="8.1.0", findings={"CRITICAL": 1, "HIGH": 2}))
    ecr.state.order_scan(ScanOrder(repository=REPOSITORY, image="8.2.0", findings={"CRITICAL": 7}))
    found = asked(boto_ecr, imageDigest=scanned)["imageScanFindings"]
    assert found["findingSeverityCounts"] == {"CRITICAL": 1, "HIGH": 2}
    assert [each["severity"] for each in found["findings"]] == ["CRITICAL", "HIGH", "HIGH"]


def test_a_scan_completes_after_a_while(ecr: EcrFront, registry: EcrRegistry, scanned: str):
    """PENDING so many times, then the result."""
    ecr.state.order_scan(ScanOrder(repository=REPOSITORY, findings={"HIGH": 1}, pending=2))
    found = [registry.scan(REPOSITORY, scanned) for _ in range(3)]
    assert [(scan.status, scan.coming, scan.complete) for scan in found] == [
        ("PENDING", True, False),
        ("PENDING", True, False),
        ("COMPLETE", False, True),
    ]
    assert found[-1].findings == {"HIGH": 1}


def test_an_order_survives_a_restart(ecr: EcrFront, front: Any, scanned: str):
    """As everything that the front knows."""
    from jenkins_release.sandbox.ecr.state import EcrState

    ecr.state.order_scan(ScanOrder(repository=REPOSITORY, status="FAILED"))
    assert EcrState(ecr.state.file.parent)._document.scans == [
        ScanOrder(repository=REPOSITORY, status="FAILED")
    ]


@pytest.mark.parametrize(
    ("status", "complete", "coming"),
    [
        ("none", False, True),
        ("PENDING", False, True),
        ("IN_PROGRESS", False, True),
        ("COMPLETE", True, False),
        ("ACTIVE", True, False),
        ("FAILED", False, False),
        ("UNSUPPORTED_IMAGE", False, False),
    ],
)
def test_the_client_tells_done_from_coming_and_from_never(
    ecr: EcrFront, registry: EcrRegistry, scanned: str, status, complete, coming
):
    """A scan that failed is not waited for, and is not clean."""
    ecr.state.order_scan(ScanOrder(repository=REPOSITORY, status=status, findings={"LOW": 1}))
    scan = registry.scan(REPOSITORY, scanned)
    assert scan == Scan(status, {"LOW": 1} if complete else {}, counted=complete)
    assert (scan.complete, scan.coming) == (complete, coming)


class TestEnhanced:
    """ECR says ACTIVE before Inspector has looked, and after it has found nothing."""

    def order(self, ecr: EcrFront, **more: Any) -> None:
        ecr.state.order_scan(ScanOrder(repository=REPOSITORY, status="ACTIVE", **more))

    def test_an_answer_without_counts_is_as_reports_have_it(self, ecr: EcrFront, boto_ecr: Any, scanned: str):
        """An empty list, and nothing else: the same for an image that is full of findings."""
        self.order(ecr, counts="none", findings={"CRITICAL": 3})
        assert asked(boto_ecr, imageDigest=scanned)["imageScanFindings"] == {"findings": []}

    def test_nothing_found_yet_is_not_clean(self, ecr: EcrFront, registry: EcrRegistry, scanned: str):
        """Then Inspector has looked, and its findings count, page after page."""
        self.order(ecr, counts="none", findings={"CRITICAL": 3, "LOW": 240, "UNDEFINED": 1}, pending=2)
        found = [registry.scan(REPOSITORY, scanned) for _ in range(3)]
        assert [(scan.status, scan.coming, scan.complete) for scan in found] == [
            ("PENDING_INITIAL_SCAN", True, False),
            ("PENDING_INITIAL_SCAN", True, False),
            ("ACTIVE", False, True),
        ]
        assert found[-1].findings == {"CRITICAL": 3, "LOW": 240, "UNDEFINED": 1}

    def test_inspector_has_found_nothing(self, ecr: EcrFront, registry: EcrRegistry, scanned: str):
        """Its coverage is the proof."""
        self.order(ecr, counts="none")
        assert registry.scan(REPOSITORY, scanned) == Scan("ACTIVE", {}, counted=True)

    def test_an_image_that_inspector_does_not_cover(self, ecr: EcrFront, registry: EcrRegistry, scanned: str):
        """It may come; nothing says that it is clean."""
        self.order(ecr, counts="none", coverage="")
        scan = registry.scan(REPOSITORY, scanned)
        assert (scan.complete, scan.coming) == (False, True)

    @pytest.mark.parametrize("reason", ["UNSUPPORTED_OS", "IMAGE_SIZE_EXCEEDED", "ACCESS_DENIED"])
    def test_an_image_that_inspector_cannot_scan(
        self, ecr: EcrFront, registry: EcrRegistry, scanned: str, reason: str
    ):
        """It is not waited for."""
        self.order(ecr, counts="none", coverage=reason)
        scan = registry.scan(REPOSITORY, scanned)
        assert (scan.status, scan.complete, scan.coming) == (reason, False, False)

    def test_findings_that_are_only_listed(self, ecr: EcrFront, registry: EcrRegistry, scanned: str):
        """What is listed is there, whatever Inspector says of its coverage; all of it is another matter."""
        self.order(ecr, counts="listed", findings={"CRITICAL": 2}, coverage="")
        assert registry.scan(REPOSITORY, scanned) == Scan("ACTIVE", {"CRITICAL": 2})

    def test_who_may_not_ask_inspector(self, ecr: EcrFront, scanned: str, monkeypatch: pytest.MonkeyPatch):
        """An answer of ECR's that proves nothing is no reason to go on."""
        self.order(ecr, counts="none")
        key, secret = ecr.state.add_user("promoter", [PolicyStatement(actions=["ecr:*"], resources=["*"])])
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        with pytest.raises(ReleaseError, match="Inspector's coverage") as raised:
            EcrRegistry(REGION).scan(REPOSITORY, scanned)
        assert "inspector2:ListCoverage" in f"{raised.value} {raised.value.hint}"


def test_a_basic_scan_without_counts_is_no_scan(ecr: EcrFront, registry: EcrRegistry, scanned: str):
    """COMPLETE, and an empty list of findings."""
    ecr.state.order_scan(ScanOrder(repository=REPOSITORY, counts="none", coverage=""))
    scan = registry.scan(REPOSITORY, scanned)
    assert (scan.status, scan.complete, scan.coming) == ("COMPLETE", False, True)


def test_no_repository_and_no_image_are_errors(registry: EcrRegistry, scanned: str):
    """Not a missing scan: the image that was asked for has just been pushed."""
    with pytest.raises(RepositoryNotFound):
        registry.scan("skydrm/none", scanned)
    with pytest.raises(RemoteError, match="ImageNotFoundException"):
        registry.scan(REPOSITORY, ABSENT)
