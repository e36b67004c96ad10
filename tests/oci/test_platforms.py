"""Platforms are compared as containerd compares them."""

from __future__ import annotations

import pytest

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.oci.platforms import parse_platform


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/aarch64/8", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
        ("macos/arm64", "darwin/arm64"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_normal_form(written, normal):
    """Different spellings of one platform are equal."""
    assert str(parse_platform(written)) == normal
    assert parse_platform(written) == parse_platform(normal)


@pytest.mark.parametrize("written", ["", "linux", "linux/", "/amd64", "linux/amd64/v1/x", "linux/am d64"])
def test_anything_else_is_refused(written):
    """The error shows how a platform is written."""
    with pytest.raises(ConfigurationError, match="is not os/architecture") as caught:
        parse_platform(written)
    assert "linux/amd64" in caught.value.hint
