"""ECR's image scans as a condition: looked at after the push, before any release tag is set."""

from __future__ import annotations

import pytest

from jenkins_release.sandbox.ecr.state import ScanOrder
from tests.fixtures.approval import REF, Release
from tests.fixtures.release import SERVICES


@pytest.fixture
def scanning(tested: Release) -> Release:
    """No critical findings, please; the wait is short."""
    tested.policy("approvals = 0", 'scan = ["CRITICAL"]')
    tested.product.edit("create_repositories = true", "create_repositories = true\nscan_wait_s = 20")
    return tested


def order(release: Release, name: str = "viewer", **more) -> None:
    """Order what the scan of one image is to be."""
    release.product.sandbox.ecr.order_scan(ScanOrder(repository=f"{release.product.prefix}/{name}", **more))


def pushed(release: Release) -> None:
    """Every image is in the registry, and no customer sees one."""
    tags = release.product.tags()
    assert len(tags) == len(SERVICES)
    assert all(tag.startswith("candidate-") for found in tags.values() for tag in found)
    assert release.ok("promote", "status", REF)["state"] == "pushed"


def test_a_clean_scan_lets_a_release_through(scanning: Release):
    """Findings of other severities do not count; plan and run say whether scans were looked at."""
    order(scanning, findings={"HIGH": 3, "LOW": 12})
    planned = scanning.run("promote", "plan", REF)
    assert "gate: open, ECR's scans are checked after the push" in planned.out
    assert scanning.ok("promote", "plan", REF)["gate"]["scansChecked"] is False
    done = scanning.promote()
    assert done.status == 0, done.text
    assert done.json["gate"]["scansChecked"] is True
    assert len(scanning.release_tags()) == len(SERVICES)


def test_a_critical_finding_is_refused_before_any_release_tag(scanning: Release):
    """The reason names image and number; the next run refuses too and pushes nothing again."""
    order(scanning, findings={"CRITICAL": 2, "HIGH": 1})
    (reason,) = scanning.refused("scan")
    assert reason.startswith("ECR's scan of the image viewer found 2 critical [scan: ")
    pushed(scanning)
    before = scanning.product.tags()
    scanning.refused("scan")
    assert scanning.product.tags() == before


def test_a_finding_is_overridden_by_name_only(scanning: Release):
    """The approval and the override of the plan from before the push hold after it."""
    order(scanning, findings={"CRITICAL": 1})
    scanning.policy("approvals = 1", 'scan = ["CRITICAL"]')
    scanning.approved()
    scanning.refused("scan")
    assert scanning.override("freeze").status == 0
    scanning.refused("scan")
    assert scanning.override("scan").status == 0
    done = scanning.promote()
    assert done.status == 0, done.text
    assert [each["condition"] for each in done.json["gate"]["overridden"]] == ["scan"]


def test_an_enhanced_scan_that_lists_nothing_yet_is_waited_for(scanning: Release):
    """ECR says ACTIVE before Inspector has looked. Then it finds three."""
    order(scanning, status="ACTIVE", counts="none", pending=2, findings={"CRITICAL": 3})
    (reason,) = scanning.refused("scan")
    assert reason.startswith("ECR's scan of the image viewer found 3 critical [scan: ")
    pushed(scanning)


def test_an_enhanced_scan_that_never_looks_is_not_clean(scanning: Release):
    """Whatever ECR says of it."""
    scanning.product.edit("scan_wait_s = 20", "scan_wait_s = 0")
    order(scanning, status="ACTIVE", counts="none", coverage="")
    (reason,) = scanning.refused("scan")
    assert "no completed scan of the image viewer (status: ACTIVE, nothing is counted)" in reason
    pushed(scanning)


@pytest.mark.parametrize("status", ["FAILED", "UNSUPPORTED_IMAGE"])
def test_a_scan_that_never_completes_is_not_waited_for(scanning: Release, status):
    """And is not clean."""
    order(scanning, status=status, findings={"LOW": 1})
    (reason,) = scanning.refused("scan")
    assert f"ECR has no completed scan of the image viewer (status: {status})" in reason
    asked = [
        record
        for record in scanning.product.sandbox.ecr.requests()
        if record.action == "DescribeImageScanFindings"
        and record.repository == f"{scanning.product.prefix}/viewer"
    ]
    assert len(asked) == 1
    pushed(scanning)


def test_a_missing_scan_is_not_clean(scanning: Release):
    """Repositories that do not scan on push have none; every image is told at once."""
    scanning.product.edit("scan_wait_s = 20", "scan_wait_s = 0\nscan_on_push = false")
    reasons = scanning.refused("scan")
    assert sorted(reason.partition(" (")[0] for reason in reasons) == sorted(
        f"ECR has no completed scan of the image {name}" for name in SERVICES
    )
    pushed(scanning)


def test_a_scan_that_completes_later_is_waited_for(scanning: Release):
    """PENDING for two answers, then clean."""
    order(scanning, pending=2)
    done = scanning.promote()
    assert done.status == 0, done.text
    assert "ECR has no completed scan of" in done.err
    assert len(scanning.release_tags()) == len(SERVICES)


def test_a_scan_that_completes_with_a_finding_is_refused(scanning: Release):
    """What was waited for counts."""
    order(scanning, pending=1, findings={"CRITICAL": 1})
    assert "found 1 critical" in scanning.refused("scan")[0]


def test_scans_are_not_asked_for_where_the_policy_does_not(tested: Release):
    """No permission for them is needed then."""
    tested.policy("approvals = 0")
    order(tested, findings={"CRITICAL": 9})
    assert tested.promote().status == 0
    prefix = f"{tested.product.prefix}/"
    asked = {
        record.action
        for record in tested.product.sandbox.ecr.requests()
        if record.repository.startswith(prefix)
    }
    assert "DescribeImageScanFindings" not in asked
