"""The system that a downloaded file is for, as far as its name tells.

A wrong system costs a customer more than none: a file whose name says nothing, or two things, is in a
group of its own until ``portal.systems`` names its system.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

CONTAINERS, OTHER = "Containers", "Other files"
SYSTEMS = ("Windows", "macOS", "Linux", CONTAINERS)
"""Those that most products are for, in the order in which a page shows them."""
_SUFFIXES = {
    "Windows": "appx appxbundle exe msi msix msixbundle msp msu",
    "macOS": "dmg pkg",
    "Linux": "appimage deb flatpak rpm snap",
}
_WORDS = {
    "Windows": "win windows",
    "macOS": "darwin mac macos osx",
    "Linux": "centos debian fedora linux rhel sles suse ubuntu",
    CONTAINERS: "container containers docker helm kubernetes oci",
    "AIX": "aix",
    "Android": "android",
    "FreeBSD": "freebsd",
    "iOS": "ios",
    "Solaris": "solaris",
}
_BY_SUFFIX = {suffix: system for system, names in _SUFFIXES.items() for suffix in names.split()}
_BY_WORD = {word: system for system, words in _WORDS.items() for word in words.split()}
_BESIDE = re.compile(r"\.(asc|md5|p7s|sha256|sha512|sig)$")
"""A signature or checksum is for the system of its file."""
_PROCESSORS = {
    "64-bit Intel or AMD": r"x86[_-]64|amd64|x64|win64",
    "64-bit ARM": r"arm64|aarch64",
    "32-bit": r"x86(?![_-]64)|i[3-6]86|win32",
}
_FORMATS = {
    "appimage": "AppImage",
    "deb": "package for Debian and Ubuntu",
    "dmg": "disk image",
    "exe": "program",
    "msi": "Windows Installer package",
    "pkg": "installer package",
    "rpm": "package for Red Hat, SUSE and Fedora",
}


def system_of(name: str, kind: str, named: Mapping[str, str]) -> str:
    """Return the system that a file is for; ``OTHER`` if that is not certain.

    Args:
        name: File name without a folder.
        kind: Its kind in ``release.json``.
        named: Pattern of file names to system, of ``portal.systems``; the first that matches decides.
    """
    for pattern, system in named.items():
        if fnmatchcase(name, pattern):
            return next((each for each in SYSTEMS if each.casefold() == system.casefold()), system)
    if kind == "setup":
        return CONTAINERS
    plain = _BESIDE.sub("", name.casefold())
    found = {_BY_SUFFIX.get(plain.rpartition(".")[2])}
    for word in re.split(r"[^a-z0-9]+", plain):
        found.add(_BY_WORD.get(word.rstrip("0123456789")))
        found |= {"Linux"} if re.fullmatch(r"el\d+", word) else set()
    certain = found - {None}
    return certain.pop() or OTHER if len(certain) == 1 else OTHER


def described(name: str) -> str:
    """Return format and processor of a file in words, as far as its name tells them."""
    plain = name.casefold()
    processors = [
        shown
        for shown, words in _PROCESSORS.items()
        if re.search(rf"(?<![a-z0-9])({words})(?![a-z0-9])", plain)
    ]
    parts = [_FORMATS.get(plain.rpartition(".")[2], ""), *(processors if len(processors) == 1 else [])]
    return ", ".join(part for part in parts if part)
