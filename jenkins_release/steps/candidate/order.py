"""The order of candidates."""

from __future__ import annotations

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.numbers import whole_number
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.share.candidates import CandidateRef


def candidate_order(ref: CandidateRef) -> tuple[bool, ReleaseVersion, int, str]:
    """Return the key that sorts candidates by version and build, invalid versions first."""
    try:
        version, known = ReleaseVersion.parse(ref.version), True
    except ConfigurationError:
        version, known = ReleaseVersion(ref.version, (0, 0, 0, 0), "", 0), False
    return (known, version, whole_number(ref.build) or 0, ref.build)
