"""The ledger: where attestations are recorded outside the share, written once and never changed.

It stores small lines under paths, and reports when each one arrived. What a line means is decided by
:mod:`jenkins_release.rules.gate.ledger`.
"""

from jenkins_release.ledger.folder import FolderLedger
from jenkins_release.ledger.protocol import MAX_LINE_BYTES, MAX_LINES, Ledger, NotInLedger
from jenkins_release.ledger.s3 import S3Ledger
from jenkins_release.records.ledger_line import Line

__all__ = ["MAX_LINES", "MAX_LINE_BYTES", "FolderLedger", "Ledger", "Line", "NotInLedger", "S3Ledger"]
