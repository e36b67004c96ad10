"""``index.json`` and ``blobs/``: the OCI layout that Docker writes since version 25.

Follows the OCI image specification v1.1: image-layout.md, image-index.md, manifest.md. Names of
images are containerd's annotation ``io.containerd.image.name``, else
``org.opencontainers.image.ref.name``. BuildKit's attestations are recognised by their platform
``unknown/unknown`` (BuildKit, docs/attestations/attestation-storage.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.strict_json import check_shape
from jenkins_release.images.archive.catalog import BLOB_FOLDER, Catalog
from jenkins_release.images.archive.config import archived_image, match_layers, read_config
from jenkins_release.images.archive.documents import digest
from jenkins_release.images.archive.platforms import Platform, normalise
from jenkins_release.images.archive.references import check_reference
from jenkins_release.oci.manifests import LAYER_TYPES
from jenkins_release.oci.shapes import INDEX as INDEX_SHAPE
from jenkins_release.oci.shapes import LAYOUT as LAYOUT_SHAPE
from jenkins_release.oci.shapes import MANIFEST, check_descriptor
from jenkins_release.records.archive_index import ArchivedImage

INDEX = "index.json"
"""Name of the document that lists a layout's images."""
LAYOUT = "oci-layout"
"""Name of the document that gives a layout's version."""

_FULL_NAME = "io.containerd.image.name"
_SHORT_NAME = "org.opencontainers.image.ref.name"
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
_FOREIGN = "programs treat it differently: do not load it, and find out who made the archive"


@dataclass(frozen=True)
class OciImage:
    """An image of the chosen platform, and what else its name could refer to.

    Attributes:
        image: The image.
        configs: Config digests of every platform under the same name, to compare with ``manifest.json``,
            which names the platform of the machine that saved the image.
        listed: Digest that ``index.json`` lists, and that of the image's manifest if the first is an index.
    """

    image: ArchivedImage
    configs: frozenset[str]
    listed: tuple[str, ...]


@dataclass(frozen=True)
class _IndexEntry:
    media_type: str
    digest: str
    size: int
    platform: Platform | None
    annotations: dict[str, Any]


@dataclass(frozen=True)
class _Choice:
    manifest: _IndexEntry
    platform: Platform
    config: _IndexEntry | None


def read_oci_layout(catalog: Catalog, wanted: Platform | None, depth: int) -> list[OciImage]:
    """Read the images that ``index.json`` lists, for the wanted platform.

    Args:
        catalog: The archive's members.
        wanted: The platform; None for the only one.
        depth: How deeply indexes may be nested.

    Raises:
        IntegrityError: A document, config or layer is missing or wrong.
        ConfigurationError: An image does not exist for the wanted platform.
    """
    layout = catalog.document(catalog.blob(LAYOUT, INDEX))
    check_shape(layout, LAYOUT_SHAPE, LAYOUT)
    if (version := layout["imageLayoutVersion"]) != "1.0.0":
        raise IntegrityError(f"{LAYOUT} gives the version {version!r}, expected '1.0.0'")
    index = _index(catalog.document(catalog.blob(INDEX, "the archive")), INDEX)
    found: list[OciImage] = []
    elsewhere: list[ConfigurationError] = []
    for number, descriptor in enumerate(_descriptors(index, "manifests", INDEX), 1):
        _name_all(catalog, descriptor, depth)
        candidates = list(_candidates(catalog, descriptor, INDEX, depth))
        if not candidates:
            # Docker and skopeo find an image by its name, whatever its stated platform.
            raise IntegrityError(f"entry {number} of {INDEX} is an image for no platform", hint=_FOREIGN)
        try:
            found.append(_image(catalog, descriptor, candidates, wanted))
        except ConfigurationError as error:
            elsewhere.append(error)
    raise_all(elsewhere)
    if not found:
        raise IntegrityError(
            f"{INDEX} lists no images", hint="Docker 25 wrote such archives: update Docker and save again"
        )
    return found


def _image(
    catalog: Catalog, top: _IndexEntry, candidates: list[_Choice], wanted: Platform | None
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
            f"{label}: the index says {chosen.platform}, but {config_blob.name} says {config.platform}"
        )
    layers = []
    manifest = catalog.document(catalog.blob_of(chosen.manifest.digest, label))
    for descriptor in _descriptors(manifest, "layers", where):
        if descriptor.media_type not in LAYER_TYPES:
            raise IntegrityError(f"{where} has a layer of the type {descriptor.media_type!r}")
        layer = catalog.blob_of(descriptor.digest, where)
        _check_size(descriptor, layer.size, where)
        layers.append(layer)
    return OciImage(
        archived_image(
            [reference] if reference else [],
            config,
            chosen.platform,
            match_layers(config, layers, where, repacked=catalog.repacked),
        ),
        frozenset(c.config.digest for c in candidates if c.config),
        tuple(dict.fromkeys((top.digest, chosen.manifest.digest))),
    )


def _choose(label: str, candidates: list[_Choice], wanted: Platform | None) -> _Choice:
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
    """Return the error for an image that does not exist for the wanted platform."""
    note = f" ({wanted} is listed, but its content is missing)" if wanted in (listed or ()) else ""
    hint = "save the image for that platform, or configure a platform that it has"
    if available and not any(map(str, available)):
        hint = (
            "set os and architecture in the image's config, as 'docker build' does: Docker runs an image "
            "without them as one for its own platform, but other programs do not"
        )
    return ConfigurationError(
        f"{label} is not in the archive for {wanted}{note}; the archive holds {_listed(available)}", hint=hint
    )


def raise_all(errors: Sequence[ConfigurationError]) -> None:
    """Raise the errors of several images as one, if there are any."""
    if not errors:
        return
    if len(errors) == 1:
        raise errors[0]
    raise ConfigurationError(
        f"{len(errors)} images cannot be used: {errors[0].message}",
        hint="; ".join(dict.fromkeys(error.hint for error in errors)),
        reasons=[error.message for error in errors],
    )


def _listed(platforms: list[Platform]) -> str:
    return ", ".join(str(each) or "an unstated platform" for each in platforms) or "none of its platforms"


def _candidates(catalog: Catalog, descriptor: _IndexEntry, parent: str, depth: int) -> Iterator[_Choice]:
    platform = descriptor.platform
    if platform is not None and platform.is_unknown:
        return
    if descriptor.media_type not in _INDEX_TYPES | _MANIFEST_TYPES:
        # skopeo chooses by platform, and then detects by itself what the document is.
        raise IntegrityError(
            f"{parent} lists {descriptor.digest} of the type {descriptor.media_type!r}, not an image",
            hint=_FOREIGN,
        )
    if not catalog.has_digest(descriptor.digest):
        if parent == INDEX or platform is None:
            catalog.blob_of(descriptor.digest, parent)
        else:
            yield _Choice(descriptor, platform, None)
        return
    where = f"manifest {descriptor.digest}"
    blob = catalog.blob_of(descriptor.digest, parent)
    _check_size(descriptor, blob.size, parent)
    document = catalog.document(blob)
    own_type = document.get("mediaType") if isinstance(document, dict) else None
    if own_type not in {None, descriptor.media_type}:
        # An image to one program and an index to another: CVE-2021-41190.
        raise IntegrityError(f"{where} says that it is {own_type}, but {parent} says {descriptor.media_type}")
    if descriptor.media_type in _INDEX_TYPES:
        if depth == 0:
            raise IntegrityError(f"{parent} has too many nested indexes")
        for child in _descriptors(_index(document, where), "manifests", where):
            yield from _candidates(catalog, child, where, depth - 1)
        return
    config = _descriptor(_manifest(document, where)["config"], f"config of {where}")
    if config.media_type not in _CONFIG_TYPES:
        raise IntegrityError(
            f"{where} has a config of the type {config.media_type!r}, which is not an image's", hint=_FOREIGN
        )
    if platform is None:
        platform = read_config(catalog, catalog.blob_of(config.digest, where)).platform
    yield _Choice(descriptor, platform, config)


def _name_all(catalog: Catalog, descriptor: _IndexEntry, depth: int) -> None:
    """Count what a descriptor leads to as named, including attestations and other platforms."""
    if depth < 0 or not catalog.has_digest(descriptor.digest):
        return
    where = f"manifest {descriptor.digest}"
    blob = catalog.blob_of(descriptor.digest, where)
    if descriptor.media_type not in _INDEX_TYPES | _MANIFEST_TYPES:
        return
    document = catalog.document(blob)
    if descriptor.media_type in _INDEX_TYPES:
        for child in _descriptors(_index(document, where), "manifests", where):
            _name_all(catalog, child, depth - 1)
    else:
        for entry in [_manifest(document, where)["config"], *document["layers"]]:
            catalog.name(BLOB_FOLDER + digest(entry, "digest", where).removeprefix("sha256:"))


def _reference(descriptor: _IndexEntry) -> str:
    where = f"annotations of {descriptor.digest}"
    name: str = descriptor.annotations.get(_FULL_NAME) or ""
    short: str = descriptor.annotations.get(_SHORT_NAME) or ""
    if not name:
        return check_reference(short, where) if ":" in short and "@" not in short else ""
    if "@" in name:
        return ""
    reference = check_reference(name, where)
    if short and short not in {name, reference, reference.rpartition(":")[2]}:
        raise IntegrityError(f"{where} call it {name} and {short}: programs differ in which name they read")
    return reference


def _index(document: Any, where: str) -> dict[str, Any]:
    check_shape(document, INDEX_SHAPE, where)
    return _version_2(document, where)


def _manifest(document: Any, where: str) -> dict[str, Any]:
    check_shape(document, MANIFEST, where)
    return _version_2(document, where)


def _version_2(document: dict[str, Any], where: str) -> dict[str, Any]:
    if document["schemaVersion"] != 2:
        raise IntegrityError(f"{where} has the schemaVersion {document['schemaVersion']}, expected 2")
    return document


def _descriptors(document: dict[str, Any], key: str, where: str) -> Iterator[_IndexEntry]:
    for number, entry in enumerate(document[key], 1):
        yield _descriptor(entry, f"entry {number} of {key!r} in {where}")


def _descriptor(entry: dict[str, Any], where: str) -> _IndexEntry:
    """Read a descriptor, whose shape must have been checked."""
    check_descriptor(entry, where)
    platform = entry.get("platform") or {}
    named = bool(platform.get("os") or platform.get("architecture"))
    return _IndexEntry(
        media_type=entry["mediaType"],
        digest=digest(entry, "digest", where),
        size=entry["size"],
        platform=normalise(
            platform.get("os") or "", platform.get("architecture") or "", platform.get("variant") or ""
        )
        if named
        else None,
        annotations=entry.get("annotations") or {},
    )


def _check_size(descriptor: _IndexEntry, found: int, where: str) -> None:
    if descriptor.size != found:
        raise IntegrityError(
            f"{where} gives {descriptor.digest} a size of {descriptor.size} bytes, found {found}"
        )
