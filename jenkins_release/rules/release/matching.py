"""Whether something that a consumer has is part of a release: compared by digests, never by names."""

from __future__ import annotations

from collections.abc import Sequence

from jenkins_release.base.dataclass import dataclass
from jenkins_release.records.archive_index import ArchiveIndex
from jenkins_release.records.candidate import (
    Candidate,
    CandidateImage,
    MultiPlatformRecord,
    PlatformRecord,
)
from jenkins_release.records.release import ReleasedImage
from jenkins_release.rules.gate.attested_release import AttestedRelease


@dataclass(frozen=True)
class Match:
    """What was compared, and the result.

    Attributes:
        kind: ``image``, ``local-image``, ``archive`` or ``file``.
        name: The name that the consumer gave.
        digest: The digest that was found: of the manifest, the config, or the file.
        parts: Names of the release's images, or the path of its file.
        note: How it matches; empty if it does not.
        problems: Why it is not part of the release; empty if it is.
    """

    kind: str
    name: str
    digest: str
    parts: tuple[str, ...] = ()
    note: str = ""
    problems: tuple[str, ...] = ()


def promoted_image(release: AttestedRelease, registry: str, repository: str) -> ReleasedImage | None:
    """Return what the promotion left in a repository, None if it did not push there (a mirror)."""
    if release.promoted is None or release.promoted.registry != registry:
        return None
    return next((image for image in release.promoted.images if image.repository == repository), None)


def match_listed(release: AttestedRelease, name: str, target: tuple[str, str], digest: str) -> Match | None:
    """Compare an image for several platforms in a registry, or its image for one platform, by its digest.

    The digest of an index covers all that it lists, wherever a copy of it is.

    Args:
        release: The release.
        name: The image as the consumer named it.
        target: Registry host and repository.
        digest: Digest of the index or manifest, computed from its bytes.

    Returns:
        None if no image for several platforms decides about it.
    """
    promoted = promoted_image(release, *target)
    several = [image for image in release.record.images if isinstance(image, MultiPlatformRecord)]
    for image in several:
        if promoted is not None and promoted.name != image.name:
            continue
        where = "promoted index" if promoted is not None else "validated index"
        if digest == image.index.digest:
            return Match("image", name, digest, (image.name,), f"the {where}, for {image.platform}")
        for part in image.platforms:
            if digest == part.manifest.digest:
                return Match(
                    "image", name, digest, (image.name,), f"the {part.platform} image of the {where}"
                )
        if promoted is not None:
            problem = (
                f"{name}: expected the index {image.index.digest}, which was promoted as {image.name}, "
                f"found {digest}"
            )
            return Match("image", name, digest, problems=(problem,))
    return None


def match_stored(
    release: AttestedRelease, name: str, target: tuple[str, str], digest: str, config_digest: str, layers: int
) -> Match:
    """Compare an image for one platform in a registry.

    In the repository that the promotion names, the manifest must be the promoted one, byte for byte. A mirror
    may have recompressed the layers: there the config is the identity, which holds the ``diff_ids`` of the
    layers that Docker compares when it pulls.

    Args:
        release: The release.
        name: The image as the consumer named it.
        target: Registry host and repository.
        digest: Digest of the manifest, computed from its bytes.
        config_digest: Digest of the config that the manifest names.
        layers: Number of layers that it names.
    """
    promoted = promoted_image(release, *target)
    if promoted is not None:
        if (digest, config_digest) == (promoted.digest, promoted.config_digest):
            return Match("image", name, digest, (promoted.name,), "the promoted manifest")
        problem = (
            f"{name}: expected {promoted.digest} with config {promoted.config_digest}, which was promoted as "
            f"{promoted.name}, found {digest} with config {config_digest}"
        )
        return Match("image", name, digest, problems=(problem,))
    image, part = part_of(release.record, config_digest)
    if image is None or part is None or layers != len(part.layers):
        found = f"config {config_digest} with {layers} layers"
        problem = f"{name}: {found} is not an image of {release.record.product} {release.record.ident}"
        return Match("image", name, digest, problems=(problem,))
    note = "the validated config, in another registry than the promotion's"
    return Match("image", name, digest, (image.name,), note)


def match_local(release: AttestedRelease, name: str, config_digest: str, diff_ids: Sequence[str]) -> Match:
    """Compare an image of a Docker daemon.

    Args:
        release: The release.
        name: The image as the consumer named it.
        config_digest: Digest of its config.
        diff_ids: Digests of its uncompressed layers, base first.
    """
    image, part = part_of(release.record, config_digest)
    if image is None or part is None or tuple(diff_ids) != part.diff_ids:
        whole = f"{release.record.product} {release.record.ident}"
        problem = f"{name}: config {config_digest} is not an image of {whole}"
        return Match("local-image", name, config_digest, problems=(problem,))
    return Match("local-image", name, config_digest, (image.name,), "the validated config")


def match_archive(release: AttestedRelease, name: str, index: ArchiveIndex) -> Match:
    """Compare an archive: every image in it must be part of the release.

    Args:
        release: The release.
        name: The archive as the consumer named it.
        index: What it holds, every digest computed from its bytes.
    """
    record, digest = release.record, f"sha256:{index.sha256}"
    whole = f"{record.product} {record.ident}"
    problems, parts = [], []
    for held in index.images:
        image, part = part_of(record, held.config_digest)
        if image is None or part is None or held.diff_ids != part.diff_ids:
            what = ", ".join(held.references) or "an image without a name"
            problems.append(f"{name}: {what} with config {held.config_digest} is not an image of {whole}")
        else:
            parts.append(image.name)
    if not index.images:
        problems.append(f"{name} contains no image")
    ordered = tuple(image.name for image in record.images if image.name in parts)
    same = any(file.sha256 == index.sha256 for file in record.archives())
    if not same:
        problems += [
            f"{name}: config {config} for another platform is not an image of {whole}"
            for config in index.others
            if part_of(record, config) == (None, None)
        ]
    note = "the validated archive, byte for byte" if same else "another archive of the validated images"
    return Match("archive", name, digest, ordered, "" if problems else note, tuple(problems))


def match_file(release: AttestedRelease, name: str, size: int, digest: str) -> Match:
    """Compare a file with the files of the candidate.

    Args:
        release: The release.
        name: The file as the consumer named it.
        size: Its size in bytes.
        digest: Its SHA-256 in hex.
    """
    record = release.record
    shown = f"sha256:{digest}"
    if shown == release.digest:
        return Match("file", name, shown, ("candidate.json",), "the candidate that QA signed")
    found = next((file for file in record.files if (file.size, file.sha256) == (size, digest)), None)
    if found is not None:
        return Match("file", name, shown, (found.path,), "as candidate.json records it")
    for file in release.published.files if release.published else ():
        if (file.size, file.sha256) == (size, digest):
            return Match("file", name, shown, (file.path,), "as it was published")
    if release.published and shown == release.published.release:
        return Match("file", name, shown, ("release.json",), "the record of the publication")
    plain = name.replace("\\", "/").rpartition("/")[2]
    named = next((file for file in record.files if file.path.rpartition("/")[2] == plain), None)
    if named is not None:
        problem = (
            f"{name}: expected {named.size} bytes with sha256:{named.sha256} ({named.path}), "
            f"found {size} bytes with {shown}"
        )
    else:
        problem = f"{name}: {shown} is not a file of {record.product} {record.ident}"
    return Match("file", name, shown, problems=(problem,))


def part_of(
    record: Candidate, config_digest: str
) -> tuple[CandidateImage, PlatformRecord] | tuple[None, None]:
    """Return the image that has this config, and its part for that platform; None twice if there is none."""
    for image in record.images:
        for part in image.parts:
            if part.config_digest == config_digest:
                return image, part
    return None, None
