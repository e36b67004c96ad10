"""The pinned versions: every one with a hash, and the same in all files."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
RUNTIME = ROOT / "jenkins_release" / "requirements" / "runtime.txt"
BUILD = ROOT / "jenkins_release" / "requirements" / "build.txt"
KERBEROS = ROOT / "jenkins_release" / "requirements" / "kerberos.txt"
_FOR_KERBEROS = frozenset({"cython", "decorator", "gssapi", "krb5"})
"""What constraints.txt leaves out: who only runs the demo need not build it."""
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def pinned(path: Path) -> dict[str, str]:
    """Name to version; each has to have a hash."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        requirement, *hashes = re.split(r"\s+(?=--)", line.strip())
        assert hashes, f"{path.name}: {requirement} has no hash"
        assert all(_HASH.fullmatch(each) for each in hashes), line
        parsed = Requirement(requirement)
        (specifier,) = parsed.specifier
        assert specifier.operator == "==", line
        found[canonicalize_name(parsed.name)] = specifier.version
    return found


@pytest.mark.parametrize("path", [RUNTIME, BUILD, KERBEROS], ids=lambda path: path.name)
def test_an_agent_gets_the_versions_that_were_tested(path: Path) -> None:
    """What the package brings along is a part of constraints.txt, but for what Kerberos needs."""
    given = {name: version for name, version in pinned(path).items() if name not in _FOR_KERBEROS}
    assert given.items() <= pinned(CONSTRAINTS).items()


def test_kerberos_comes_with_all_the_rest() -> None:
    """An agent installs one file or the other."""
    brought = pinned(KERBEROS)
    assert pinned(RUNTIME).items() <= brought.items()
    assert brought.keys() - pinned(RUNTIME).keys() == _FOR_KERBEROS - {"cython"}


def test_what_the_package_asks_for_is_pinned() -> None:
    """`scripts/write-constraints` was run after the last change of setup.cfg."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    needed = setup["options"]["install_requires"]
    extras = dict(setup["options.extras_require"])
    kerberos = extras.pop("kerberos")
    others = "\n".join(extras.values())
    asked = ((RUNTIME, needed), (CONSTRAINTS, f"{needed}\n{others}"), (KERBEROS, f"{needed}\n{kerberos}"))
    for path, lines in asked:
        versions = pinned(path)
        for line in filter(None, map(str.strip, lines.splitlines())):
            if not line.startswith("#"):
                requirement = Requirement(line)
                version = versions[canonicalize_name(requirement.name)]
                assert requirement.specifier.contains(version), f"{path.name}: {line}, found {version}"
