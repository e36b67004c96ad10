"""The ledger: where attestations are recorded outside the share, written once and never changed.

It stores small lines under paths, and reports when each one arrived. What a line means is decided by
:mod:`jenkins_release.rules.gate.ledger`. The one in a bucket is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jenkins_release.base.lazy_imports import imported_on_use
from jenkins_release.ledger.folder import FolderLedger
from jenkins_release.ledger.protocol import MAX_LINE_BYTES, MAX_LINES, Ledger, NotInLedger
from jenkins_release.records.ledger_line import Line

if TYPE_CHECKING:
    from jenkins_release.ledger.s3 import S3Ledger

__all__ = ["MAX_LINES", "MAX_LINE_BYTES", "FolderLedger", "Ledger", "Line", "NotInLedger", "S3Ledger"]

__getattr__ = imported_on_use(__name__, {"S3Ledger": "s3"})
