"""Names made from templates: image references and registry tags."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from fnmatch import fnmatchcase

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.references import familiar
from jenkins_release.base.versions import ReleaseVersion

FIELDS = ("version", "build", "major", "minor", "patch")
"""The fields that a template may use in braces."""

_FIELD = re.compile(r"\{[a-z]+\}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_REPOSITORY = re.compile(r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*")


def template_problem(template: str) -> str | None:
    """Return why a template cannot be filled in, or None if it can."""
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        return f"is not a template: {error}"
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        return f"names {{{unknown[0]}}}, known are " + ", ".join(f"{{{name}}}" for name in FIELDS)
    return None


def pattern_problem(pattern: str) -> str | None:
    """Return why ``pattern`` cannot select files of the build's output, or None if it can."""
    if not pattern:
        return "is empty"
    if "\\" in pattern:
        return "contains a backslash: write / between folders, on Windows too"
    if pattern.startswith(("/", "~")) or re.match(r"[A-Za-z]:", pattern):
        return "is not below the build's output: write it relative to that folder"
    if ".." in pattern.split("/"):
        return "leaves the build's output with .."
    if pattern.endswith("/"):
        return "names a folder, not files"
    return template_problem(pattern)


def repository_problem(name: str) -> str | None:
    """Return why ``name`` cannot be an ECR repository, or None if it can.

    The rule is CreateRepository's in the Amazon ECR API reference: 2 to 256 characters,
    lower case, with ``. _ - /`` between letters and digits.
    """
    if not 2 <= len(name) <= 256:
        return "must have 2 to 256 characters"
    if not _REPOSITORY.fullmatch(name):
        return "must be lower case letters and digits with single . _ - or / between them"
    return None


def fill(template: str, version: ReleaseVersion, build: str) -> str:
    """Fill in a template with the parts of a version and a build."""
    return template.format(
        version=version.text, build=build, major=version.major, minor=version.minor, patch=version.patch
    )


def registry_tags(templates: Iterable[str], version: ReleaseVersion, build: str) -> tuple[str, ...]:
    """Fill in tag templates; return each tag once, in order.

    Raises:
        ConfigurationError: A result is not a valid tag (Docker allows 128 letters, digits and ``_ . -``).
    """
    tags: dict[str, None] = {}
    for template in templates:
        tag = fill(template, version, build)
        if not _TAG.fullmatch(tag):
            raise ConfigurationError(
                f"the tag {tag!r} from the template {template!r} is not valid",
                hint="a tag has at most 128 letters, digits, _ . and - and does not begin with . or -",
            )
        tags[tag] = None
    return tuple(tags)


def released_versions(templates: Iterable[str], tags: Iterable[str]) -> tuple[ReleaseVersion, ...]:
    """Read the versions from release tags that were made from templates.

    Args:
        templates: Templates of release tags; one without ``{version}`` gives no version.
        tags: Tags of a repository; tags that no template could have made are ignored.
    """
    found = set()
    patterns = []
    for template in templates:
        pieces = [
            re.escape(text) + ("" if name is None else "(?P<version>.+)" if name == "version" else ".+")
            for text, name, _, _ in string.Formatter().parse(template)
        ]
        if sum("(?P<version>" in piece for piece in pieces) == 1:
            patterns.append(re.compile("".join(pieces)))
    for tag in tags:
        for pattern in patterns:
            match = pattern.fullmatch(tag)
            if match is None:
                continue
            try:
                found.add(ReleaseVersion.parse(match["version"]))
            except ConfigurationError:
                continue
    return tuple(sorted(found))


def pin_tag(version: str, build: str, digest: str) -> str:
    """Return the tag that keeps one withdrawn image: it names the candidate and the image's digest."""
    return f"{_pin_head(version, build)}-{digest.removeprefix('sha256:')[:12]}"


def may_pin(tag: str, version: str, build: str) -> bool:
    """Whether a tag may be one that keeps an image of this candidate.

    Two candidates can have the same prefix, such as 8.1.0 build 42-7 and 8.1.0-42 build 7: only the image
    that the tag names tells them apart.
    """
    return re.fullmatch(f"{re.escape(_pin_head(version, build))}-[0-9a-f]{{12}}", tag) is not None


def _pin_head(version: str, build: str) -> str:
    return f"withdrawn-{version}-{build}"[:115]


def moving_filters(moving: Iterable[str], fixed: Iterable[str]) -> tuple[str, ...]:
    """Return ECR's wildcard filters for moving tags, which an immutable repository excludes.

    ECR's filters know only ``*`` ("Preventing image tags from being overwritten", ECR user
    guide). A filter that would match a fixed tag too is left out: ``{major}.{minor}`` becomes
    ``*.*``, which matches 8.1.0 as well, so it is excluded tag by tag when it is set.
    """
    samples = [fill(template, ReleaseVersion.parse("11.22.33-hotfix4"), "55") for template in fixed]
    samples += [fill(template, ReleaseVersion.parse("11.22.33"), "55") for template in fixed]
    filters = [_FIELD.sub("*", template) for template in moving]
    return tuple(dict.fromkeys(f for f in filters if not any(fnmatchcase(sample, f) for sample in samples)))


def image_reference(template: str, version: ReleaseVersion, build: str) -> str:
    """Fill in the template of an image's name on the build machine.

    Returns:
        The name with its tag, in the short form that archives have: ``docker.io/skydrm/rms:8.1.0`` is
        ``skydrm/rms:8.1.0``.

    Raises:
        ConfigurationError: The result is not ``[host/]repository:tag``, or is the id of an image.
    """
    reference = fill(template, version, build)
    name = familiar(reference)
    if name is None:
        raise ConfigurationError(
            f"the image reference {reference!r} from the template {template!r} is not repository:tag",
            hint="write source as 'skydrm/rms:{version}-{build}'; an id names no image in an archive",
        )
    return name
