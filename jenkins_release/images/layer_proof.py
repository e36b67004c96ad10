"""Proof by content that the layers of a manifest are those of its config.

A registry stores any layers with any config. Docker compares them when it pulls, but other programs may not,
and a manifest from someone else proves nothing until its layers have been decompressed and hashed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.strict_json import strict_json
from jenkins_release.images.archive.blobs import BlobHasher, as_layer
from jenkins_release.images.archive.limits import ArchiveLimits
from jenkins_release.oci.manifests import Content, Descriptor, is_digest, sha256_digest
from jenkins_release.oci.shapes import check_config

MAX_CONFIG_BYTES = 4 << 20
"""Largest config that is read, as in an archive."""
HINT = "do not release or run it, and find out who pushed this image"

ReadBlob = Callable[[Descriptor], Iterable[bytes]]
"""Returns a blob's bytes as the registry sends them, without checking digest or size."""


@dataclass(frozen=True)
class LayerProof:
    """The layers of a manifest, proven.

    Attributes:
        diff_ids: Digests of the uncompressed layers, base first, the same in the config and of the bytes.
        downloaded: Bytes of the layers that had to be read; the others were known.
    """

    diff_ids: tuple[str, ...]
    downloaded: int


def prove_layers(
    content: Content,
    read: ReadBlob,
    what: str,
    *,
    known: Mapping[str, str] | None = None,
    limits: ArchiveLimits | None = None,
    hint: str = HINT,
) -> LayerProof:
    """Prove that a manifest's layers are those of its config.

    Reads the config, and every layer that is not known, with constant memory.

    Args:
        content: What the manifest names, from ``read_content``.
        read: Reads a blob of the manifest's repository.
        what: Which image it is, for messages.
        known: Digest of a stored layer to its ``diff_id``, as an export computed it from the bytes. A layer
            that is not in it, or has another ``diff_id`` there, is read.
        limits: Limits on decompression.
        hint: What to do about wrong layers.

    Raises:
        IntegrityError: Config or layer does not match its digest or size, the config is invalid, or a layer
            is not what the config says.
    """
    diff_ids = _diff_ids(content.config, read, what)
    if len(diff_ids) != len(content.blobs):
        raise IntegrityError(
            f"{what}: the manifest names {len(content.blobs)} layers, but its config {len(diff_ids)}",
            hint=hint,
        )
    downloaded = 0
    proven: dict[str, str] = {}
    for number, (layer, diff_id) in enumerate(zip(content.blobs, diff_ids, strict=True), 1):
        if (known or {}).get(layer.digest) == diff_id:
            continue
        if layer.digest not in proven:
            proven[layer.digest] = _hash(
                layer, diff_id, read, f"{what}: layer {number}", limits or ArchiveLimits()
            )
            downloaded += layer.size
        if proven[layer.digest] != diff_id:
            raise IntegrityError(
                f"{what}: layer {number}, {layer.digest}, is not in the config: expected {diff_id}, "
                f"found {proven[layer.digest]}",
                hint=hint,
            )
    return LayerProof(tuple(diff_ids), downloaded)


def _diff_ids(config: Descriptor, read: ReadBlob, what: str) -> list[str]:
    if config.size > MAX_CONFIG_BYTES:
        raise IntegrityError(
            f"{what}: its config has {config.size} bytes, expected at most {MAX_CONFIG_BYTES}"
        )
    data = bytearray()
    for piece in read(config):
        data += piece
        if len(data) > config.size:
            break
    if len(data) != config.size or sha256_digest(bytes(data)) != config.digest:
        raise _other_bytes(f"{what}: the config", config, len(data), sha256_digest(bytes(data)))
    where = f"{what}: the config {config.digest}"
    diff_ids = check_config(strict_json(bytes(data), where, maps=True), where)
    if not all(map(is_digest, diff_ids)):
        raise IntegrityError(f"{where} has a diff_id that is not a sha256 digest", hint=HINT)
    return diff_ids


def _hash(layer: Descriptor, diff_id: str, read: ReadBlob, what: str, limits: ArchiveLimits) -> str:
    hasher, size = BlobHasher(limits, keep=False), 0
    for piece in read(layer):
        size += len(piece)
        if size > layer.size:
            raise _other_bytes(what, layer, size, "more bytes")
        hasher.update(memoryview(piece))
    found = hasher.finish(layer.digest, 0, size)
    if (found.digest, size) != (layer.digest, layer.size):
        raise _other_bytes(what, layer, size, found.digest)
    found = as_layer(found, diff_id)
    if found.problem:
        raise IntegrityError(f"{what}, {layer.digest}, cannot be read: {found.problem}", hint=HINT)
    if found.compression != layer.compression:
        raise IntegrityError(
            f"{what}, {layer.digest}, is compressed with {found.compression}, but its media type says "
            f"{layer.compression}",
            hint=HINT,
        )
    return found.diff_id


def _other_bytes(what: str, blob: Descriptor, size: int, digest: str) -> IntegrityError:
    return IntegrityError(
        f"{what} should be {blob.digest} of {blob.size} bytes, the registry sends {digest} of {size} bytes",
        hint="the registry is broken, or something on the way changes what it sends",
    )
