"""Which known layers were proven before: by an export whose build attestation counts."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace

from jenkins_release.base.errors import ReleaseError
from jenkins_release.records.attestation import PROVENANCE
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.known_layers import KnownLayers, Stretch
from jenkins_release.steps.candidate.opened import open_candidate
from jenkins_release.steps.context.services import Services

_log = logging.getLogger(__name__)


def attested_layers(known: KnownLayers, diff_ids: Collection[str], services: Services) -> KnownLayers:
    """Return the known layers that may be needed, and mark those that an earlier export proved.

    An export hashes each layer as stored and as the config names it. If its build attestation counts, what
    ``candidate.json`` says of them is as good as a new proof. Anyone who can write to the share can write the
    rest of what is there.

    Args:
        known: Layers on the share.
        diff_ids: The layers that may be needed.
        services: Share and trusted keys.
    """
    found = [stretch for diff_id in diff_ids if (stretch := known.gzip_of(diff_id)) is not None]
    return KnownLayers(attested(found, services))


def attested(found: Collection[Stretch], services: Services) -> list[Stretch]:
    """Return the same layers, and mark those that an earlier export proved; see :func:`attested_layers`."""
    proven: set[tuple[str, str]] = set()
    for origin in {stretch.origin for stretch in found if not stretch.proven}:
        proven |= _attested(origin, services)
    return [
        replace(stretch, proven=stretch.proven or (stretch.digest, stretch.diff_id) in proven)
        for stretch in found
    ]


def _attested(origin: str, services: Services) -> set[tuple[str, str]]:
    try:
        opened = open_candidate(CandidateRef.parse(origin), services)
        evidence = opened.evidence
    except ReleaseError as error:
        _log.info("the layers of %s are proven again: %s", origin, error.message)
        return set()
    if evidence.altered or not evidence.of(PROVENANCE):
        return set()
    parts = [part for image in opened.record.images for part in image.parts]
    return {(layer.digest, layer.diff_id) for part in parts for layer in part.layers}
