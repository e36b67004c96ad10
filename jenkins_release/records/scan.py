"""What a registry says about an image's vulnerability scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from jenkins_release.base.dataclass import dataclass

_MAY_COME = frozenset(
    {"none", "PENDING", "IN_PROGRESS", "COMPLETE", "ACTIVE", "PENDING_INITIAL_SCAN", "SCAN_IN_PROGRESS"}
)


@dataclass(frozen=True)
class Scan:
    """What the registry says about an image's vulnerability scan.

    Attributes:
        status: ECR's ``ImageScanStatus`` (ECR API reference), Inspector's ``ScanStatusReason`` (Inspector
            API reference), or ``none`` where there is no scan.
        findings: Severity to number of findings; empty for a clean image.
        counted: Whether ECR or Inspector says that the scan is done and these are all findings. An answer
            without counts does not say so: ECR gives it before it has scanned anything.
    """

    status: str
    findings: Mapping[str, int] = field(default_factory=dict)
    counted: bool = False

    @property
    def complete(self) -> bool:
        """Whether these are all findings: basic scans end as COMPLETE, enhanced ones stay ACTIVE."""
        return self.counted and self.status in {"COMPLETE", "ACTIVE"}

    @property
    def coming(self) -> bool:
        """Whether it may still complete: a scan on push begins some time after the push."""
        return not self.complete and self.status in _MAY_COME
