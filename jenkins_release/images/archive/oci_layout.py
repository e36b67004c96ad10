"""``index.json`` and ``blobs/``: the OCI layout that Docker writes since version 25.

Follows the OCI image specification v1.1: image-layout.md, image-index.md, manifest.md. Names of
images are containerd's annotation ``io.containerd.image.name``, else
``org.opencontainers.image.ref.name``. BuildKit's attestations are told by their platform
``unknown/unknown`` (BuildKit, docs/attestations/attestation-storage.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jenkins_release.errors import ConfigurationError, IntegrityError
from jenkins_release.images.archive.catalog import Catalog
from jenkins_release.images.archive.config import archived_image, match_layers, read_config
from jenkins_release.images.archive.documents import digest, field, optional
from jenkins_release.images.archive.index import ArchivedImage
from jenkins_release.images.archive.platforms import Platform, normalise

INDEX = "index.json"
"""Name of the document that lists a layout's images."""
LAYOUT = "oci-layout"
"""Name of the document that gives a layout's version."""

_INDEX_TYPES = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
}
_MANIFEST_TYPES = {
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
}
_CONFIG_TYPES = {
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
}


@dataclass(frozen=True)
class OciImage:
    """An image of the chosen platform, and what else its name could mean.

    Attributes:
        image: The image.
        configs: Config digests of every platform under the same name, for the comparison with
            ``manifest.json``, which names the platform of the machine that saved.
    """

    image: ArchivedImage
    configs: frozenset[str]


@dataclass(frozen=True)
class _Descriptor:
    media_type: str
    digest: str
    size: int
    platform: Platform | None
    annotations: dict[str, Any]


@dataclass(frozen=True)
class _Candidate:
    manifest: _Descriptor
    platform: Platform
    config: _Descriptor | None


def read_oci_layout(catalog: Catalog, wanted: Platform | None, depth: int) -> list[OciImage]:
    """Read the images that ``index.json`` lists, in the wanted platform.

    Args:
        catalog: The archive's members.
        wanted: The platform; None for the only one that there is.
        depth: How many indexes may be inside one another.

    Raises:
        IntegrityError: A document, config or layer is missing or wrong.
        ConfigurationError: An image is not there in the wanted platform.
    """
    version = field(catalog.document(catalog.blob(LAYOUT, INDEX)), "imageLayoutVersion", str, LAYOUT)
    if version != "1.0.0":
        raise IntegrityError(f"{LAYOUT} gives the version {version!r}, expected '1.0.0'")
    index = catalog.document(catalog.blob(INDEX, "the archive"))
    found = []
    for descriptor in _descriptors(index, "manifests", INDEX):
        candidates = list(_candidates(catalog, descriptor, INDEX, depth))
        if candidates:
            found.append(_image(catalog, descriptor, candidates, wanted))
    if not found:
        raise IntegrityError(
            f"{INDEX} lists no images", hint="Docker 25 wrote such archives: update Docker and save again"
        )
    return found


def _image(
    catalog: Catalog, top: _Descriptor, candidates: list[_Candidate], wanted: Platform | None
) -> OciImage:
    reference = _reference(top)
    label = reference or top.digest
    chosen = _choose(label, candidates, wanted)
    if chosen.config is None:
        raise IntegrityError(f"{label}: the manifest {chosen.manifest.digest} is not in the archive")
    where = f"manifest {chosen.manifest.digest}"
    config_blob = catalog.blob_of(chosen.config.digest, where)
    _check_size(chosen.config, config_blob.size, where)
    config = read_config(catalog, config_blob)
    if (config.platform.os, config.platform.architecture) != (
        chosen.platform.os,
        chosen.platform.architecture,
    ):
        raise IntegrityError(
            f"{label}: the index says {chosen.platform}, the config {config_blob.name} says {config.platform}"
        )
    layers = []
    manifest = catalog.document(catalog.blob_of(chosen.manifest.digest, label))
    for descriptor in _descriptors(manifest, "layers", where):
        layer = catalog.blob_of(descriptor.digest, where)
        _check_size(descriptor, layer.size, where)
        layers.append(layer)
    return OciImage(
        archived_image(
            [reference] if reference else [], config, chosen.platform, match_layers(config, layers, where)
        ),
        frozenset(c.config.digest for c in candidates if c.config),
    )


def _choose(label: str, candidates: list[_Candidate], wanted: Platform | None) -> _Candidate:
    present = [c for c in candidates if c.config]
    available = sorted({c.platform for c in present})
    if wanted is None:
        if len(available) != 1:
            raise ConfigurationError(
                f"{label} is in the archive for {_listed(available)}", hint="choose one of the platforms"
            )
        wanted = available[0]
    matching = {c.manifest.digest: c for c in present if c.platform == wanted}
    if len(matching) > 1:
        raise IntegrityError(f"{label} has several manifests for {wanted}: {', '.join(sorted(matching))}")
    if not matching:
        raise no_such_platform(label, wanted, available, listed={c.platform for c in candidates})
    return matching.popitem()[1]


def no_such_platform(
    label: str, wanted: Platform, available: list[Platform], *, listed: set[Platform] | None = None
) -> ConfigurationError:
    """Return the error that an image is not there in the wanted platform."""
    note = f" ({wanted} is listed, its content is not there)" if wanted in (listed or ()) else ""
    return ConfigurationError(
        f"{label} is not in the archive for {wanted}{note}; the archive holds {_listed(available)}",
        hint="save the image for that platform, or configure a platform that it has",
    )


def _listed(platforms: list[Platform]) -> str:
    return ", ".join(map(str, platforms)) or "no platform of it"


def _candidates(catalog: Catalog, descriptor: _Descriptor, parent: str, depth: int) -> Iterator[_Candidate]:
    platform = descriptor.platform
    if platform is not None and platform.is_unknown:
        return
    if descriptor.media_type not in _INDEX_TYPES | _MANIFEST_TYPES:
        return
    if not catalog.has_digest(descriptor.digest):
        if parent == INDEX or platform is None:
            catalog.blob_of(descriptor.digest, parent)
        elif descriptor.media_type in _MANIFEST_TYPES:
            yield _Candidate(descriptor, platform, None)
        return
    where = f"manifest {descriptor.digest}"
    blob = catalog.blob_of(descriptor.digest, parent)
    _check_size(descriptor, blob.size, parent)
    document = catalog.document(blob)
    own_type = optional(document, "mediaType", str, where) or descriptor.media_type
    if own_type != descriptor.media_type or ("manifests" in document and "layers" in document):
        # An image to one program and an index to another: CVE-2021-41190.
        raise IntegrityError(f"{where} is {own_type} by itself, {descriptor.media_type} in {parent}")
    if descriptor.media_type in _INDEX_TYPES:
        if depth == 0:
            raise IntegrityError(f"{parent} has too many indexes inside one another")
        for child in _descriptors(document, "manifests", where):
            yield from _candidates(catalog, child, where, depth - 1)
        return
    config = _descriptor(field(document, "config", dict, where), f"config of {where}")
    if config.media_type not in _CONFIG_TYPES:
        return
    if platform is None:
        platform = read_config(catalog, catalog.blob_of(config.digest, where)).platform
    yield _Candidate(descriptor, platform, config)


def _reference(descriptor: _Descriptor) -> str:
    where = f"annotations of {descriptor.digest}"
    name = optional(descriptor.annotations, "io.containerd.image.name", str, where)
    if not name:
        name = optional(descriptor.annotations, "org.opencontainers.image.ref.name", str, where) or ""
        if ":" not in name:
            return ""
    return "" if "@" in name else name.removeprefix("docker.io/").removeprefix("library/")


def _descriptors(document: Any, key: str, where: str) -> Iterator[_Descriptor]:
    for number, entry in enumerate(optional(document, key, list, where) or [], 1):
        yield _descriptor(entry, f"entry {number} of {key!r} in {where}")


def _descriptor(entry: Any, where: str) -> _Descriptor:
    size = field(entry, "size", int, where)
    platform = optional(entry, "platform", dict, where)
    return _Descriptor(
        media_type=field(entry, "mediaType", str, where),
        digest=digest(entry, "digest", where),
        size=size,
        platform=None
        if platform is None
        else normalise(
            field(platform, "os", str, where),
            field(platform, "architecture", str, where),
            optional(platform, "variant", str, where) or "",
        ),
        annotations=optional(entry, "annotations", dict, where) or {},
    )


def _check_size(descriptor: _Descriptor, found: int, where: str) -> None:
    if descriptor.size != found:
        raise IntegrityError(
            f"{where} gives {descriptor.digest} a size of {descriptor.size} bytes, found {found}"
        )
