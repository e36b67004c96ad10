"""How much of an archive a reader keeps in memory."""

from __future__ import annotations

from jenkins_release.base.dataclass import dataclass


@dataclass(frozen=True)
class ArchiveLimits:
    """Limits on what an archive can make its reader keep or do.

    Attributes:
        members: Members of the tar, including extension headers.
        extension_bytes: Bytes of one GNU long name or pax header.
        document_bytes: Bytes of one JSON document (containerd refuses manifests above 8 MiB).
        documents_bytes: Bytes of all JSON documents kept.
        layer_bytes: Bytes that one compressed layer may expand to.
        zstd_window_bytes: Memory that one zstd frame may request from the decoder.
        index_depth: Indexes inside indexes.
    """

    members: int = 50_000
    extension_bytes: int = 64 << 10
    document_bytes: int = 4 << 20
    documents_bytes: int = 32 << 20
    layer_bytes: int = 1 << 40
    zstd_window_bytes: int = 128 << 20
    index_depth: int = 4
