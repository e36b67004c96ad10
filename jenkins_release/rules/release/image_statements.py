"""What is attached to an image in the registry, for tools that know in-toto and not this program.

Each statement is about exactly one image: its only subject is the manifest or index that the promotion
recorded. The promotion key signs it anew, because the attestations on the share are about ``candidate.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from jenkins_release.base.errors import IntegrityError
from jenkins_release.records.attestation import PROVENANCE, SUMMARY, extension_field
from jenkins_release.records.base import canonical_json, timestamp
from jenkins_release.records.summary import input_attestations, resource_uri, summary_predicate
from jenkins_release.rules.gate.attested_release import AttestedRelease

_TIME = "timeVerified"
_RELEASE = "release"


class Said(NamedTuple):
    """A predicate and its type."""

    predicate_type: str
    predicate: Mapping[str, Any]


def image_statements(release: AttestedRelease, now: datetime) -> list[Said]:
    """Return what can be said about each image of a promoted release.

    The verification summary relies on the attestations up to the promotion: what is added to the candidate
    later does not make it another one. Provenance is the build's own predicate, if a trusted key signed it,
    and names that attestation.

    Args:
        release: The release, which is validated and in force.
        now: When that was verified, UTC.

    Raises:
        IntegrityError: No promotion counts, or it names no policy.
    """
    promotion, record = release.promotion, release.record
    policy = promotion.statement.predicate.get("policy") if promotion else None
    if promotion is None or not isinstance(policy, str):
        raise IntegrityError(f"no promotion of {record.ident} by a trusted promotion key names the policy")
    inputs = [each for each in release.inputs if each.sequence <= promotion.statement.sequence]
    attested = release.attested
    summary = summary_predicate(record, policy, inputs, passed=True, attested=attested is not None)
    own: dict[str, Any] = {_RELEASE: resource_uri(record)}
    found = [Said(SUMMARY, {**summary, _TIME: timestamp(now), extension_field(SUMMARY): own})]
    if attested is not None:
        build = [each for each in inputs if each.sequence == attested.statement.sequence]
        vouching = {**own, "restates": input_attestations(record, build), "vouchedForBy": "promotion"}
        predicate = {**attested.statement.predicate, extension_field(PROVENANCE): vouching}
        found.append(Said(PROVENANCE, predicate))
    return found


def repeats(predicate_type: str, predicate: Mapping[str, Any], said: Said) -> bool:
    """Whether a statement says the same, at whatever time that was verified."""
    return predicate_type == said.predicate_type and _timeless(predicate) == _timeless(said.predicate)


def release_of_statement(predicate_type: str, predicate: Mapping[str, Any]) -> str:
    """Return the package URL of the release that one of our statements names; empty for any other."""
    own = predicate.get(extension_field(predicate_type))
    named = own.get(_RELEASE) if isinstance(own, Mapping) else None
    return named if isinstance(named, str) else ""


def _timeless(predicate: Mapping[str, Any]) -> bytes:
    return canonical_json({name: value for name, value in predicate.items() if name != _TIME})
