"""The files of a setup zip, made from a product's templates and what was promoted. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.names import check_path
from jenkins_release.base.utf8 import NotUtf8, read_utf8
from jenkins_release.base.version import PROGRAM
from jenkins_release.records.candidate import Candidate, FileRecord
from jenkins_release.records.release import Promotion
from jenkins_release.records.setup import (
    ATTESTATIONS,
    COMPOSE,
    NOT_ATTESTED,
    OVERRIDE,
    RECORD,
    RELEASE,
    SETTINGS,
    SUMS,
    SetupBundle,
    SetupImage,
    setup_checksum_lines,
    setup_folder,
)
from jenkins_release.records.setup_zip import Member
from jenkins_release.rules.gate.attested_release import AttestedRelease
from jenkins_release.rules.setup_zip.settings import read_settings

NOTES = "notes.md"
README = "README.md"
_CONFIG = re.compile(r"config/[^/]+\.in")
_REQUIRED = (COMPOSE, SETTINGS)
_KNOWN = {COMPOSE, SETTINGS, OVERRIDE, NOTES}
_PLACEHOLDER = re.compile(r"\{\{ *([a-z][A-Za-z0-9._-]*) *\}\}")
_IMAGE = re.compile(r"^\s*(?:-\s+)?[\"']?image[\"']?\s*:\s*[\"']?([^\s\"'#]*)", re.MULTILINE)
_BUILD = re.compile(r"^\s*[\"']?(build|extends|include)[\"']?\s*:", re.MULTILINE)
_ANY_IMAGE = re.compile(r"\bimage[\"']?\s*:")
_COMMENT = re.compile(r"(^|\s)#.*$", re.MULTILINE)
_SETTING = re.compile(r"@([A-Z][A-Z0-9_]+)@")
_SAFE = re.compile(r"[A-Za-z0-9._:/@+ -]*")


@dataclass(frozen=True)
class Target:
    """What the scripts have to know about the registry and the machines that they run on.

    Attributes:
        region: AWS region of the registry.
        layer_host: Host that serves the layers.
        docker_version: Minimum version of Docker.
        compose_version: Minimum version of Compose.
        disk_gb: Free space that images and data need, in 10^9 bytes.
        memory_gb: Memory that the machine needs, in 10^9 bytes.
        tags: Fixed release tags, made from the configuration.
    """

    region: str
    layer_host: str
    docker_version: str
    compose_version: str
    disk_gb: int
    memory_gb: int
    tags: tuple[str, ...]


def setup_members(
    release: AttestedRelease,
    target: Target,
    *,
    scripts: Mapping[str, Member],
    templates: Mapping[str, bytes],
) -> dict[str, Member]:
    """Return the attested files of a setup zip: those that a customer runs, or that decide what runs.

    Args:
        release: The release, validated and in force.
        target: What the scripts have to know.
        scripts: The scripts and the README of every product, by path.
        templates: The product's own files, by path.

    Raises:
        ConfigurationError: A template is missing or wrong; ``reasons`` has every mistake.
    """
    record, (promoted, _) = release.record, _promotion(release)
    texts, mistakes = _texts(templates)
    values = _values(record, promoted)
    members = {path: member for path, member in scripts.items() if path != README}
    for path in (COMPOSE, OVERRIDE):
        if path in texts:
            texts[path] = _render(texts[path], values, path, mistakes)
    mistakes += compose_problems(texts.get(COMPOSE, ""), promoted) if COMPOSE in texts else []
    mistakes += _unknown_settings(texts)
    notes = _render(texts.pop(NOTES, ""), values, NOTES, mistakes)
    readme = scripts[README].data.decode()
    members[README] = Member(_render(readme, values | {"notes": notes}, README, mistakes).encode())
    if mistakes:
        raise ConfigurationError(
            f"the templates of the bundle cannot be used: {mistakes[0]}",
            hint="docs/bundle.md describes them; examples/skydrm/bundle has working ones",
            reasons=mistakes,
        )
    members |= {path: Member(text.encode()) for path, text in texts.items()}
    return members | {RELEASE: Member(_release_env(record, promoted, target))}


def with_evidence(
    release: AttestedRelease, members: Mapping[str, Member], attestations: bytes
) -> tuple[SetupBundle, dict[str, Member]]:
    """Return the record of a setup zip, and all its files with evidence, record and checksums.

    Args:
        release: The release, validated and in force.
        members: What :func:`setup_members` returned.
        attestations: The attestation bundle, which attests them.
    """
    record, (promoted, moment) = release.record, _promotion(release)
    members = {**members, ATTESTATIONS: Member(attestations)}
    bundle = SetupBundle(
        product=record.product,
        version=record.version,
        build=record.build,
        candidate_digest=release.digest,
        registry=promoted.registry,
        images=tuple(
            SetupImage(name=image.name, repository=image.repository, digest=image.digest)
            for image in promoted.images
        ),
        promoted_at=moment,
        writer=PROGRAM,
        files=file_records(members),
    )
    written = bundle.to_bytes()
    members[RECORD] = Member(written)
    members[SUMS] = Member(setup_checksum_lines(written, bundle.files))
    return bundle, members


@dataclass(frozen=True)
class SetupClaim:
    """What an attestation says about a setup zip.

    Attributes:
        predicate: The folder that it unpacks to, and the program that made it.
        subjects: Path to SHA-256 in hex of every file that an attestation can name.
    """

    predicate: Mapping[str, str]
    subjects: Mapping[str, str]


def setup_claim(folder: str, writer: str, members: Mapping[str, Member]) -> SetupClaim:
    """Return what the promotion key has to attest about the files of a setup zip."""
    subjects = {
        path: sha256(member.data).hexdigest() for path, member in members.items() if path not in NOT_ATTESTED
    }
    return SetupClaim({"folder": folder, "writer": writer}, subjects)


def release_claim(release: AttestedRelease, members: Mapping[str, Member]) -> SetupClaim:
    """Return what has to be attested about the files that this program makes from a release."""
    folder = setup_folder(release.record.product, release.record.version)
    return setup_claim(folder, PROGRAM, members)


def _promotion(release: AttestedRelease) -> tuple[Promotion, datetime]:
    if not release.record.images:
        raise ConfigurationError(
            f"{release.record.ident} has no images, so there is nothing to deploy with Docker Compose",
            hint="'jenkins-release release publish' publishes installers",
        )
    if release.promotion is None or release.promoted is None:
        raise IntegrityError(
            f"the promotion of {release.record.ident} cannot be read",
            hint="'jenkins-release candidate show' shows it",
            reasons=release.problems,
        )
    return release.promoted, release.promotion.statement.signed_at


def reference(registry: str, repository: str, digest: str) -> str:
    """Return an image's name by digest, as in a Compose file."""
    return f"{registry}/{repository}@{digest}"


def compose_problems(text: str, promoted: Promotion) -> list[str]:
    """Say what in a Compose file is not pinned to what was promoted.

    Every service must name one of the promoted images by digest, and every image must be used. The file is
    checked line by line, so that no other way of writing YAML gets past it.
    """
    pinned = {reference(promoted.registry, i.repository, i.digest): i.name for i in promoted.images}
    text = _COMMENT.sub("", text)
    named = _IMAGE.findall(text)
    problems = [
        f"{COMPOSE}: the image {name or '(on another line)'} is not one of the release's images, by digest"
        for name in named
        if name not in pinned
    ]
    problems += [
        f"{COMPOSE}: the image {name} of the release is unused"
        for full, name in sorted(pinned.items())
        if full not in named
    ]
    problems += [f"{COMPOSE}: {word}: is not allowed here" for word in _BUILD.findall(text)]
    if len(_ANY_IMAGE.findall(text)) != len(named):
        problems.append(f"{COMPOSE}: each image must be on a separate line: image: {{{{image.NAME}}}}")
    return problems


def _texts(templates: Mapping[str, bytes]) -> tuple[dict[str, str], list[str]]:
    texts: dict[str, str] = {}
    mistakes = [f"{path} is missing" for path in _REQUIRED if path not in templates]
    for path, data in sorted(templates.items()):
        try:
            check_path(path)
            texts[path] = read_utf8(data).replace("\r\n", "\n")
        except ConfigurationError as error:
            mistakes.append(error.message)
        except NotUtf8 as error:
            mistakes.append(f"{path} cannot be read: {error}")
        if path not in _KNOWN and not _CONFIG.fullmatch(path):
            mistakes.append(f"{path} is not one of {', '.join(sorted(_KNOWN))} and config/NAME.in")
    folded = [path.casefold() for path in templates]
    mistakes += [
        f"{path} exists in upper and lower case" for path in {p for p in folded if folded.count(p) > 1}
    ]
    return texts, mistakes


def _values(record: Candidate, promoted: Promotion) -> dict[str, str]:
    return {
        "product": record.product,
        "project": project_name(record.product),
        "version": record.version,
        "build": record.build,
        "registry": promoted.registry,
        "images": "\n".join(
            f"- {image.name}: `{reference(promoted.registry, image.repository, image.digest)}`"
            for image in promoted.images
        ),
    } | {
        f"image.{image.name}": reference(promoted.registry, image.repository, image.digest)
        for image in promoted.images
    }


def project_name(product: str) -> str:
    """Return a product's name for Compose and systemd: lower-case letters, digits, ``-`` and ``_``."""
    return re.sub(r"[^a-z0-9_-]", "-", product.lower())


def _render(text: str, values: Mapping[str, str], where: str, mistakes: list[str]) -> str:
    unknown = sorted({name for name in _PLACEHOLDER.findall(text) if name not in values})
    mistakes += [f"{where}: there is no value for {{{{{name}}}}}" for name in unknown]
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], ""), text)


def _unknown_settings(texts: Mapping[str, str]) -> list[str]:
    if SETTINGS not in texts:
        return []
    try:
        known = {setting.name for setting in read_settings(texts[SETTINGS], SETTINGS)}
    except ConfigurationError as error:
        return list(error.reasons)
    return [
        f"{path}: there is no setting {name}"
        for path, text in sorted(texts.items())
        if _CONFIG.fullmatch(path)
        for name in sorted(set(_SETTING.findall(text)) - known)
    ]


def image_words(promoted: Promotion) -> str:
    """Return the images for ``release.env``: repository and digest, without the registry."""
    return " ".join(f"{image.repository}@{image.digest}" for image in promoted.images)


def is_program(path: str) -> bool:
    """Whether a file of the zip is a script to run, rather than one that others source."""
    return path.endswith(".sh") and "/" not in path


def _release_env(record: Candidate, promoted: Promotion, target: Target) -> bytes:
    values = {
        "PRODUCT": record.product,
        "PROJECT": project_name(record.product),
        "VERSION": record.version,
        "BUILD": record.build,
        "REGISTRY": promoted.registry,
        "REGION": target.region,
        "LAYER_HOST": target.layer_host,
        "PLATFORM": " ".join(_platforms(record)),
        "MIN_DOCKER": target.docker_version,
        "MIN_COMPOSE": target.compose_version,
        "MIN_DISK_GB": str(target.disk_gb),
        "MIN_MEMORY_GB": str(target.memory_gb),
        "IMAGES": image_words(promoted),
        "RELEASE_TAG": _release_tag(promoted, target.tags),
    }
    for name, value in values.items():
        if not _SAFE.fullmatch(value):
            raise ConfigurationError(f"{name} cannot be passed to a shell: {value!r}")
    lines = ["# What the scripts have to know of this release. Upgrades replace this file."]
    return ("\n".join([*lines, *(f"{name}='{value}'" for name, value in values.items())]) + "\n").encode()


def _platforms(record: Candidate) -> list[str]:
    """Return the platforms that every image is for."""
    each = [{part.platform for part in image.parts} for image in record.images]
    found = sorted(set.intersection(*each)) if each else []
    if not found:
        told = ", ".join(f"{image.name} ({image.platform})" for image in record.images)
        raise ConfigurationError(
            f"no machine can run all images of {record.product} {record.version}: {told}",
            hint="build every image for at least one common platform: export.platforms",
        )
    return found


def release_tags(promoted: Promotion) -> set[str]:
    """Return the fixed and moving tags that every image of a promotion was given."""
    return set.intersection(*(set(image.tags) for image in promoted.images)) if promoted.images else set()


def _release_tag(promoted: Promotion, fixed: Sequence[str]) -> str:
    """Return the tag that shows customers whether the release was withdrawn: a withdrawal removes it."""
    there = release_tags(promoted)
    for tag in fixed:
        if tag in there:
            return tag
    raise ConfigurationError(
        f"the promotion set none of the release tags that ecr.tags makes: {', '.join(fixed)}",
        hint="ecr.tags has changed since the promotion: restore it, or promote again",
    )


def file_records(members: Mapping[str, Member]) -> tuple[FileRecord, ...]:
    """Return the entries of ``bundle.json`` for files."""
    return tuple(
        FileRecord(path=path, size=len(member.data), sha256=sha256(member.data).hexdigest())
        for path, member in sorted(members.items())
    )
