"""The system that a downloaded file is for."""

from __future__ import annotations

import pytest

from jenkins_release.portal.system import described, system_of


@pytest.mark.parametrize(
    ("name", "system"),
    [
        ("SkyDRM-8.1.0.msi", "Windows"),
        ("SkyDRM-8.1.0.EXE", "Windows"),
        ("SkyDRM-8.1.0-win64.zip", "Windows"),
        ("SkyDRM_8.1.0_windows10_x64.zip", "Windows"),
        ("SkyDRM-8.1.0.dmg", "macOS"),
        ("SkyDRM-8.1.0-darwin-arm64.tar.gz", "macOS"),
        ("SkyDRM-8.1.0.x86_64.rpm", "Linux"),
        ("SkyDRM-8.1.0.el9.tar.gz", "Linux"),
        ("SkyDRM-8.1.0.AppImage", "Linux"),
        ("SkyDRM-8.1.0-linux.tar.gz.asc", "Linux"),
        ("SkyDRM-8.1.0.msi.sha256", "Windows"),
        ("SkyDRM-8.1.0-docker-compose.zip", "Containers"),
        ("SkyDRM-8.1.0-helm.tgz", "Containers"),
        ("SkyDRM-8.1.0-solaris.pkg.gz", "Solaris"),
        # What says nothing, or two things, is no system.
        ("SkyDRM-8.1.0.zip", "Other files"),
        ("SkyDRM-8.1.0.tar.gz", "Other files"),
        ("SkyDRM-8.1.0.jar", "Other files"),
        ("SkyDRM-8.1.0.apk", "Other files"),
        ("SkyDRM-8.1.0.sh", "Other files"),
        ("SkyDRM-windows-agent-8.1.0.rpm", "Other files"),
        ("SkyDRM-8.1.0-linux.exe", "Other files"),
        ("SkyDRM-8.1.0-freebsd.pkg", "Other files"),
        ("SkyDRM-8.1.0-windows-linux.zip", "Other files"),
        ("SkyDRM-8.1.0-windowless-macro.zip", "Other files"),
        ("darwinism", "Other files"),
        ("", "Other files"),
    ],
)
def test_the_name_tells_the_system(name: str, system: str) -> None:
    """By its end and its words; upper and lower case are one."""
    assert system_of(name, "installer", {}) == system


def test_a_setup_zip_is_for_containers() -> None:
    """Whatever its name."""
    assert system_of("SkyDRM-windows.zip", "setup", {}) == "Containers"


def test_the_configuration_is_believed_before_the_name() -> None:
    """The first pattern decides; a usual system is written as usual."""
    named = {"*-agent.rpm": "AIX", "*.rpm": "LINUX", "*.zip": "macos"}
    assert system_of("x-agent.rpm", "installer", named) == "AIX"
    assert system_of("x.rpm", "installer", named) == "Linux"
    assert system_of("x.zip", "setup", named) == "macOS"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SkyDRM-8.1.0-x64.msi", "Windows Installer package, 64-bit Intel or AMD"),
        ("SkyDRM-8.1.0.x86_64.rpm", "package for Red Hat, SUSE and Fedora, 64-bit Intel or AMD"),
        ("SkyDRM-8.1.0_arm64.deb", "package for Debian and Ubuntu, 64-bit ARM"),
        ("SkyDRM-8.1.0-x86.exe", "program, 32-bit"),
        ("SkyDRM-8.1.0-win32.zip", "32-bit"),
        ("SkyDRM-8.1.0-x64-arm64.dmg", "disk image"),
        ("SkyDRM-8.1.0.zip", ""),
    ],
)
def test_format_and_processor_are_in_words(name: str, said: str) -> None:
    """For those who do not know the ends of names; two processors are none."""
    assert described(name) == said
