"""Whether a document is about an image, as far as it says which one it is about."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from jenkins_release.base.references import familiar
from jenkins_release.records.sbom import Names, Subject

if TYPE_CHECKING:
    from packageurl import PackageURL

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ARCHIVES = (".tar", ".tar.gz", ".tgz")


def image_digest(text: str) -> list[str]:
    """Return a text as a list with one digest; an empty list if it is none."""
    lower = text.strip().lower()
    return [lower] if _DIGEST.fullmatch(lower) else []


def image_names(names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split what scanners give as the name of what they scanned into image names and config digests.

    They take whatever they were called with: a name, the id of an image, or the path of an archive, which
    says nothing.
    """
    found: dict[str, None] = {}
    ids: dict[str, None] = {}
    for name in names:
        bare = name.strip().split("@")[0]
        as_id = image_digest(bare if bare.startswith("sha256:") else f"sha256:{bare}")
        if as_id:
            ids[as_id[0]] = None
        elif bare and not bare.endswith(_ARCHIVES) and familiar(_tagged(bare)) is not None:
            found[bare] = None
    return tuple(found), tuple(ids)


def purl_subject(purl: PackageURL) -> Subject:
    """Return the image that a purl of the type ``oci`` or ``docker`` names."""
    qualifiers = purl.qualifiers if isinstance(purl.qualifiers, dict) else {}
    name = unquote(str(qualifiers.get("repository_url") or "")).split("@")[0]
    own = "/".join(part for part in (purl.namespace, purl.name) if part)
    if name.rpartition("/")[2] != purl.name:
        name = own
    version = unquote(str(purl.version or ""))
    digests = image_digest(version)
    tag = str(qualifiers.get("tag") or "") or ("" if digests else version)
    names, ids = image_names([f"{name}:{tag}" if tag else name])
    return Subject(names, ids, tuple(digests))


def contradiction(
    subject: Subject,
    *,
    reference: str,
    repository: str,
    config_digests: Collection[str],
    manifests: Collection[str] = (),
    others: Collection[str] = (),
) -> tuple[Names, str]:
    """Compare what a document is about with an image.

    A config digest is the image's identity: if the document gives one, it decides. A document may give the
    digest of a manifest instead. Scanners compute one of their own for an image of a Docker daemon, where it
    has no manifest yet, so such a digest proves nothing unless it is one of this image, or of another image
    of the candidate. Then the name decides, and the tag if there is one.

    Args:
        subject: The image of the document.
        reference: Name and tag of the image on the build machine.
        repository: Its repository in the registry.
        config_digests: Its config digest, or that of each platform; empty if unknown.
        manifests: Digests of its manifests and its index, as far as they are known.
        others: Config digests of the candidate's other images.

    Returns:
        By what the document names this image; and why it is about another one, empty if it is not.
    """
    stated = {*subject.image_ids, *subject.digests}
    if stated & {*config_digests, *manifests}:
        return "digest", ""
    if config_digests and subject.image_ids:
        expected = " or ".join(config_digests)
        return "nothing", f"it is about the image {subject.image_ids[0]}, expected {expected}"
    foreign = sorted(stated & {*others})
    if foreign:
        return "nothing", f"it is about {foreign[0]}, another image of the candidate"
    if not subject.names:
        return "nothing", ""
    own, tag = _split(reference)
    known = (own, repository)
    fitting = [each for each in subject.names if any(_same(_split(each)[0], name) for name in known)]
    if not fitting:
        return "nothing", f"it is about the image {subject.names[0]!r}, expected {reference!r}"
    tags = {found for each in fitting if (found := _split(each)[1])}
    if tags and tag not in tags:
        return "nothing", f"it is about the image {own}:{min(tags)}, expected {reference!r}"
    return "name", ""


def _split(name: str) -> tuple[str, str]:
    """Return repository and tag of a name as people write it; an empty tag if it has none."""
    name = name.split("@")[0]
    short = familiar(_tagged(name))
    if short is None:
        return name.lower(), ""
    repository, _, tag = short.rpartition(":")
    return repository, tag if ":" in name.rpartition("/")[2] else ""


def _tagged(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _same(name: str, known: str) -> bool:
    """Whether two repositories are the same as far as both say: a purl has only the last part of a name."""
    one, other = name.lower().split("/"), known.lower().split("/")
    length = min(len(one), len(other))
    return one[-length:] == other[-length:]
