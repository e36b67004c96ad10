"""``index.json`` and ``blobs/``: the OCI layout that Docker writes since version 25.

Follows the OCI image specification v1.1: image-layout.md, image-index.md, manifest.md. Names of
images are containerd's annotation ``io.containerd.image.name``, else
``org.opencontainers.image.ref.name``. BuildKit's attestations are recognised by their platform
``unknown/unknown`` (BuildKit, docs/attestations/attestation-storage.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.strict_json import check_shape
from jenkins_release.images.archive.catalog import BLOB_FOLDER, Catalog
from jenkins_release.images.archive.config import archived_image, match_layers, read_config
from jenkins_release.images.archive.references import reference_of
from jenkins_release.oci.manifests import (
    ACCEPTED_TYPES,
    INDEX_TYPES,
    OCI_INDEX,
    Content,
    Listed,
    RawManifest,
    read_attestation,
    read_content,
    read_entries,
)
from jenkins_release.oci.platforms import Platform
from jenkins_release.oci.shapes import LAYOUT as LAYOUT_SHAPE
from jenkins_release.records.archive_index import ArchivedImage

INDEX = "index.json"
"""Name of the document that lists a layout's images."""
LAYOUT = "oci-layout"
"""Name of the document that gives a layout's version."""

_FOREIGN = "programs treat it differently: do not load it, and find out who made the archive"


@dataclass(frozen=True)
class OciImage:
    """An image of the chosen platform, and what else its name could refer to.

    Attributes:
        image: The image.
        configs: Config digests of every platform under the same name, to compare with ``manifest.json``,
            which names the platform of the machine that saved the image.
        image_ids: Digest that ``index.json`` lists, and that of the manifest if the first is an index.
    """

    image: ArchivedImage
    configs: frozenset[str]
    image_ids: tuple[str, ...]


@dataclass(frozen=True)
class _Choice:
    manifest: Listed
    platform: Platform
    content: Content | None


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
    found: list[OciImage] = []
    elsewhere: list[ConfigurationError] = []
    for number, entry in enumerate(layout_entries(catalog), 1):
        candidates = list(_candidates(catalog, entry, INDEX, depth))
        if not candidates:
            # Docker and skopeo find an image by its name, whatever its stated platform.
            raise IntegrityError(f"entry {number} of {INDEX} is an image for no platform", hint=_FOREIGN)
        try:
            found.append(_image(catalog, entry, candidates, wanted))
        except ConfigurationError as error:
            elsewhere.append(error)
    raise_all(elsewhere)
    return found


def read_every_image(catalog: Catalog, depth: int) -> list[ArchivedImage]:
    """Read the images of all platforms that are there.

    Raises:
        IntegrityError: A document, config or layer is missing or wrong.
    """
    found: dict[str, ArchivedImage] = {}
    for entry in layout_entries(catalog):
        reference = reference_of(entry)
        for choice in _candidates(catalog, entry, INDEX, depth):
            if choice.content is None:
                continue
            image = platform_image(
                catalog,
                reference or entry.digest,
                choice.manifest,
                choice.platform,
                choice.content,
                [reference] if reference else [],
            )
            found.setdefault(image.config_digest, image)
    return list(found.values())


def layout_entries(catalog: Catalog) -> tuple[Listed, ...]:
    """Return what ``index.json`` lists.

    Raises:
        IntegrityError: The layout is of another version, or lists nothing.
    """
    layout = catalog.document(catalog.blob(LAYOUT, INDEX))
    check_shape(layout, LAYOUT_SHAPE, LAYOUT)
    if (version := layout["imageLayoutVersion"]) != "1.0.0":
        raise IntegrityError(f"{LAYOUT} gives the version {version!r}, expected '1.0.0'")
    blob = catalog.blob(INDEX, "the archive")
    found = read_entries(RawManifest(blob.digest, OCI_INDEX, catalog.content(blob)), INDEX)
    if not found:
        raise IntegrityError(
            f"{INDEX} lists no images", hint="Docker 25 wrote such archives: update Docker and save again"
        )
    return found


def _image(catalog: Catalog, top: Listed, candidates: list[_Choice], wanted: Platform | None) -> OciImage:
    reference = reference_of(top)
    label = reference or top.digest
    chosen = _choose(label, candidates, wanted)
    if chosen.content is None:
        raise IntegrityError(f"{label}: the manifest {chosen.manifest.digest} is not in the archive")
    image = platform_image(
        catalog, label, chosen.manifest, chosen.platform, chosen.content, [reference] if reference else []
    )
    return OciImage(
        image,
        frozenset(c.content.config_digest for c in candidates if c.content),
        tuple(dict.fromkeys((top.digest, chosen.manifest.digest))),
    )


def platform_image(
    catalog: Catalog,
    label: str,
    entry: Listed,
    platform: Platform,
    content: Content,
    references: Sequence[str],
) -> ArchivedImage:
    """Read the image of one platform: its config and layers, each compared with what the manifest says.

    Args:
        catalog: The archive's members.
        label: The image, for messages.
        entry: Lists the manifest.
        platform: The platform that the index gives it.
        content: What the manifest names.
        references: Names of the image.

    Raises:
        IntegrityError: A config or layer is missing or wrong.
    """
    where = f"manifest {entry.digest}"
    config = read_config(catalog, catalog.stored(content.config, where))
    if (config.platform.os, config.platform.architecture) != (platform.os, platform.architecture):
        raise IntegrityError(
            f"{label}: the index says {platform}, but {config.blob.name} says {config.platform}",
            hint="programs choose by the index and run by the config: build the image again",
        )
    layers = [catalog.stored(layer, where) for layer in content.blobs]
    return archived_image(
        references, config, platform, match_layers(config, layers, where, repacked=catalog.repacked)
    )


def _choose(label: str, candidates: list[_Choice], wanted: Platform | None) -> _Choice:
    present = [c for c in candidates if c.content]
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


def _candidates(catalog: Catalog, entry: Listed, parent: str, depth: int) -> Iterator[_Choice]:
    """Yield the images that an entry leads to, and count all that it leads to as named by a document."""
    if entry.runs and entry.media_type not in ACCEPTED_TYPES:
        # skopeo chooses by platform, and then detects by itself what the document is.
        raise IntegrityError(
            f"{parent} lists {entry.digest} of the type {entry.media_type!r}, not an image", hint=_FOREIGN
        )
    if not catalog.has_digest(entry.digest):
        if entry.runs and (parent == INDEX or entry.normal is None):
            catalog.stored(entry, parent)
        elif entry.runs and entry.normal is not None:
            yield _Choice(entry, entry.normal, None)
        return
    where = f"manifest {entry.digest}"
    if entry.media_type in INDEX_TYPES:
        if depth == 0:
            raise IntegrityError(f"{parent} has too many nested indexes")
        for child in catalog.manifest(entry, read_entries, parent, parent):
            choices = _candidates(catalog, child, where, depth - 1)
            yield from [each for each in choices if entry.runs]
    elif entry.runs:
        content = catalog.manifest(entry, read_content, parent, parent)
        _name_parts(catalog, content)
        platform = entry.normal or read_config(catalog, catalog.stored(content.config, where)).platform
        yield _Choice(entry, platform, content)
    elif entry.media_type in ACCEPTED_TYPES:
        _name_parts(catalog, catalog.manifest(entry, read_attestation, parent, parent))
    else:
        catalog.stored(entry, parent)


def _name_parts(catalog: Catalog, content: Content) -> None:
    for part in content.parts:
        catalog.name(BLOB_FOLDER + part.digest.removeprefix("sha256:"))
