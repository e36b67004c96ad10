"""The records of many candidates on a share, read in a few round trips for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.share.candidates import (
    ATTESTATIONS,
    MANIFEST,
    CandidateArea,
    CandidateRef,
    attestation_entries,
    listable,
    next_names,
    spare_entries,
    within_bounds,
)
from jenkins_release.share.protocol import HEAD, Share
from jenkins_release.share.staging import existing


@dataclass(frozen=True)
class Records:
    """The records of a candidate on the share.

    Attributes:
        manifest: The bytes of ``candidate.json``.
        attestations: File name to bytes, in the order of their numbers.
    """

    manifest: bytes
    attestations: dict[str, bytes]


def read_records(area: CandidateArea, refs: Sequence[CandidateRef]) -> dict[CandidateRef, Records]:
    """Read manifests and attestations of candidates.

    Returns:
        The records by candidate. An unusual one, in which something is missing, large or out of place, is
        left out: the calls for a single candidate read it, or report what is wrong.

    Raises:
        RemoteError: The share failed.
    """
    share, folders = area.share, {ref: area.folder(ref) for ref in refs}
    manifests = share.read_heads([f"{folder}/{MANIFEST}" for folder in folders.values()])
    listings = share.list_each([f"{folder}/{ATTESTATIONS}" for folder in folders.values()])
    usual: dict[CandidateRef, tuple[bytes, list[str]]] = {}
    for ref, manifest, listing in zip(folders, manifests, listings, strict=True):
        if not isinstance(manifest, bytes) or isinstance(listing, RemoteError) or spare_entries(listing):
            continue
        entries = attestation_entries(listing)
        if not all(listable(f"{folders[ref]}/{ATTESTATIONS}/{entry.name}", {}) for entry in entries):
            continue
        if _whole(manifest) and within_bounds(len(entries), sum(entry.size for entry in entries)):
            usual[ref] = manifest, [entry.name for entry in entries]
    for ref in _with_names_left_out(share, {ref: (folders[ref], usual[ref][1]) for ref in usual}):
        del usual[ref]
    paths = [f"{folders[ref]}/{ATTESTATIONS}/{name}" for ref in usual for name in usual[ref][1]]
    bodies = iter(share.read_heads(paths))
    found: dict[CandidateRef, Records] = {}
    for ref, (manifest, names) in usual.items():
        own = {name: next(bodies) for name in names}
        if all(_whole(body) for body in own.values()):
            found[ref] = Records(manifest, {n: body for n, body in own.items() if isinstance(body, bytes)})
    return found


def read_manifests(area: CandidateArea, refs: Sequence[CandidateRef]) -> dict[CandidateRef, bytes]:
    """Read ``candidate.json`` of candidates; those that cannot be read are left out.

    Raises:
        RemoteError: The share failed.
    """
    heads = area.share.read_heads([f"{area.folder(ref)}/{MANIFEST}" for ref in refs])
    found: dict[CandidateRef, bytes] = {}
    for ref, head in zip(refs, heads, strict=True):
        if isinstance(head, RemoteError):
            continue
        try:
            found[ref] = head if len(head) < HEAD else area.read_small(ref, MANIFEST)
        except (ConfigurationError, IntegrityError):
            continue
    return found


def _with_names_left_out(
    share: Share, candidates: Mapping[CandidateRef, tuple[str, Sequence[str]]]
) -> set[CandidateRef]:
    """Return the candidates that have an attestation which the server may not list for this account."""
    if share.lists_all():
        return set()
    owners = {
        f"{folder}/{ATTESTATIONS}/{name}": ref
        for ref, (folder, listed) in candidates.items()
        for name in next_names(listed)
    }
    return {owners[path] for path in existing(share, list(owners))}


def _whole(head: bytes | RemoteError) -> bool:
    return isinstance(head, bytes) and len(head) < HEAD
