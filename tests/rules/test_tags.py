"""Names from templates: references on the build machine, tags in the registry."""

from __future__ import annotations

import pytest

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.tags import (
    image_reference,
    may_pin,
    moving_filters,
    pin_tag,
    registry_tags,
    repository_problem,
    template_problem,
)
from jenkins_release.base.versions import ReleaseVersion

VERSION = ReleaseVersion.parse("8.1.2")


def test_tags_are_filled_in_once_and_in_order():
    """A tag that two templates give stands there once."""
    templates = ["{version}", "{major}.{minor}.{patch}", "{major}.{minor}", "v{version}-b{build}"]
    assert registry_tags(templates, VERSION, "42") == ("8.1.2", "8.1", "v8.1.2-b42")


@pytest.mark.parametrize("template", ["-{version}", "{version}/x", "é", "x" * 129])
def test_an_impossible_tag_names_its_template(template):
    """Docker's rules for tags hold."""
    with pytest.raises(ConfigurationError, match="is not valid"):
        registry_tags([template], VERSION, "42")


@pytest.mark.parametrize(
    "template", ["{colour}", "{version", "{}", "{0}", "{version.numbers}", "{version!r:>9}x{q}"]
)
def test_a_template_with_unknown_fields_has_a_problem(template):
    """Only the documented fields are known; attributes are not reachable."""
    assert template_problem(template) is not None


def test_a_reference_needs_a_tag():
    """skydrm/rms alone would mean latest, which no release is made of."""
    assert image_reference("skydrm/rms:{version}-{build}", VERSION, "42") == "skydrm/rms:8.1.2-42"
    assert image_reference("registry.corp:5000/a/b:{version}", VERSION, "1") == "registry.corp:5000/a/b:8.1.2"
    for name in ("docker.io/library/app:1", "index.docker.io/app:1", "library/app:1", "app:1"):
        assert image_reference(name, VERSION, "1") == "app:1"
    assert image_reference("my__app/my--app:1", VERSION, "1") == "my__app/my--app:1"
    for wrong in (f"sha256:{'0' * 64}", f"{'0' * 64}:1", "a..b:1", "a___b:1"):
        with pytest.raises(ConfigurationError, match="is not repository:tag"):
            image_reference(wrong, VERSION, "42")
    for wrong in ("skydrm/rms", "skydrm/rms:", "Upper/case:1", "registry.corp:5000/a", "a b:1"):
        with pytest.raises(ConfigurationError):
            image_reference(wrong, VERSION, "42")


def test_filters_of_moving_tags_never_match_a_release_tag():
    """`{major}.{minor}` would be `*.*`, which matches 8.1.0: it is left out."""
    assert moving_filters(["latest", "line-{major}.{minor}", "{major}.{minor}"], ["{version}"]) == (
        "latest",
        "line-*.*",
    )


@pytest.mark.parametrize("name", ["a", "Upper", "a//b", "/a", "a/", "-a", "a" * 257])
def test_repository_names_follow_ecr(name):
    """What CreateRepository would refuse is refused in the configuration."""
    assert repository_problem(name) is not None


def test_a_usual_repository_name_is_fine():
    """Lower case with slashes."""
    assert repository_problem("skydrm/db-migrate_x.y") is None


@pytest.mark.parametrize(
    ("tag", "counts"),
    [
        ("withdrawn-8.1.0-42-0d514d119bfb", True),
        ("withdrawn-8.1.0-42-7-0d514d119bfb", False),
        ("withdrawn-8.1.0-421-0d514d119bfb", False),
        ("withdrawn-8.1.0-42-0d514d119bf", False),
        ("withdrawn-8.1.0-42-0d514d119bfbc", False),
        ("withdrawn-8x1.0-42-0d514d119bfb", False),
        ("withdrawn-8.1.0-42-", False),
        ("x-withdrawn-8.1.0-42-0d514d119bfb", False),
    ],
)
def test_a_pinning_tag_is_compared_in_full(tag: str, counts: bool) -> None:
    """Build 42 is not shut by what keeps an image of build 42-7."""
    assert may_pin(tag, "8.1.0", "42") is counts
    assert pin_tag("8.1.0", "42", "sha256:0d514d119bfb" + "0" * 52) == "withdrawn-8.1.0-42-0d514d119bfb"
