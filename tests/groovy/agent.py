"""What the tests put on an agent: a preinstalled program, a wheel, the sources of SkyDRM."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import sys
import zipfile
from pathlib import Path

from jenkins_release.base.version import __version__
from jenkins_release.sandbox.ecr.state import PolicyStatement
from tests.fixtures.release import Product
from tests.groovy.jenkins import ROOT, Job

_SECRET_VARIABLES = (
    "JENKINS_RELEASE_SMB_USER",
    "JENKINS_RELEASE_SMB_PASSWORD",
    "JENKINS_RELEASE_KEY_PASSPHRASE",
    "JENKINS_RELEASE_CONFIG",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
)
_PROGRAM = """\
#!/bin/sh
[ "$1" = --version ] || printf '%s\\0' "$@" >>'{log}'
exec '{program}' "$@"
"""

# The real program with another standard error: it waits for its end behind the line that has the text.
_STALLS = """\
import sys, time
from jenkins_release.program import run

class Stalls:
    def __init__(self, stream):
        self._stream = stream
    def __getattr__(self, name):
        return getattr(self._stream, name)
    def write(self, text):
        self._stream.write(text)
        if {text!r} in text:
            self._stream.write('' if text.endswith('\\n') else '\\n')
            self._stream.flush()
            time.sleep(600)

sys.stderr = Stalls(sys.stderr)
run()
"""


def install_program(folder: Path, log: Path, programs: Path) -> None:
    """Put ``jenkins-release`` into a folder.

    Args:
        folder: Where to.
        log: A file that gets its arguments, each ended by NUL.
        programs: The folder of the fixture ``warm_program``.
    """
    write_program(folder, _PROGRAM.format(log=log, program=programs / "jenkins-release"))


def install_stalling_program(folder: Path, text: str) -> None:
    """Put a ``jenkins-release`` into a folder that goes no further than a line of its log with ``text``."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "stalls.py"
    script.write_text(_STALLS.format(text=text))
    write_program(
        folder, f"#!/bin/sh\nexport PYTHONPATH='{ROOT}'\nexec '{sys.executable}' -P '{script}' \"$@\"\n"
    )


def write_program(folder: Path, text: str) -> None:
    """Put a script named ``jenkins-release`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "jenkins-release"
    program.write_text(text)
    program.chmod(0o755)


def arguments(log: Path) -> list[str]:
    """All arguments that a program of :func:`install_program` got so far."""
    return log.read_bytes().decode().split("\0")[:-1] if log.exists() else []


def write_sources(product: Product, folder: Path) -> None:
    """Write what SkyDRM's repository holds: no private key and no key's location in release.toml."""
    shutil.copytree(Path(__file__).parent / "skydrm", folder)
    shutil.copytree(product.folder / "keys", folder / "keys", ignore=shutil.ignore_patterns("*.pem"))
    text = re.sub(r"\n\[signing\]\n(\w+ = .*\n)+", "\n", product.config.read_text())
    assert "[signing]" not in text
    (folder / "release.toml").write_text(text)


_READING = (
    *("ecr:GetAuthorizationToken", "ecr:DescribeRepositories", "ecr:DescribeImages", "ecr:ListImages"),
    *("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"),
    *("ecr:DescribeImageScanFindings", "ecr:GetAccountSetting"),
)


def _reader(product: Product) -> dict[str, str]:
    """A login that may look at the registry and change nothing there."""
    key, secret = product.sandbox.ecr.add_user(
        f"reader-{product.prefix}", [PolicyStatement(actions=[*_READING])]
    )
    return {"kind": "usernamePassword", "username": key, "password": secret}


def job(product: Product, workspace: Path, programs: Path) -> Job:
    """A job of the product: secrets only as credentials, everything else in the agent's environment."""
    environ = product.environ
    open_values = {name: value for name, value in environ.items() if name not in _SECRET_VARIABLES}
    passphrase = {"kind": "string", "secret": environ["JENKINS_RELEASE_KEY_PASSPHRASE"]}
    sources = product.folder.parent / "sources"
    write_sources(product, sources)
    return Job(
        workspace,
        {**open_values, "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin"},
        {
            "release-share": {
                "kind": "usernamePassword",
                "username": environ["JENKINS_RELEASE_SMB_USER"],
                "password": environ["JENKINS_RELEASE_SMB_PASSWORD"],
            },
            "skydrm-ecr-push": {
                "kind": "usernamePassword",
                "username": environ["AWS_ACCESS_KEY_ID"],
                "password": environ["AWS_SECRET_ACCESS_KEY"],
            },
            "skydrm-ecr-read": _reader(product),
            "skydrm-saas-refresh": {
                "kind": "usernamePassword",
                "username": environ["AWS_ACCESS_KEY_ID"],
                "password": environ["AWS_SECRET_ACCESS_KEY"],
            },
            "skydrm-build-key": _key(product, "build"),
            "skydrm-build-passphrase": passphrase,
            "skydrm-qa-key": _key(product, "qa"),
            "skydrm-qa-passphrase": passphrase,
            "skydrm-approval-key": _key(product, "approval"),
            "skydrm-approval-passphrase": passphrase,
            "skydrm-promotion-key": _key(product, "promotion"),
            "skydrm-promotion-passphrase": passphrase,
        },
        {"folder": str(sources), "commit": "4f0c2d1be7a95d3f2e6b8c1a9d7e5f3b1c0a8e6d"},
    )


def build_wheel(
    folder: Path, version: str = __version__, *, locked: str | None = None, kerberos: str = ""
) -> Path:
    """Write a wheel of this package; by hand, because the build backend comes from a package index.

    Args:
        folder: Where to.
        version: Version that it claims.
        locked: What it asks for instead of the packages that it really needs.
        kerberos: What it asks for besides, for Kerberos.
    """
    files = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for path in sorted((ROOT / "jenkins_release").rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    files["jenkins_release/base/version.py"] = files["jenkins_release/base/version.py"].replace(
        __version__.encode(), version.encode()
    )
    if locked is not None:
        files["jenkins_release/requirements/build.txt"] = b""
        files["jenkins_release/requirements/runtime.txt"] = locked.encode()
        files["jenkins_release/requirements/kerberos.txt"] = f"{locked}{kerberos}".encode()
    entry = b"[console_scripts]\njenkins-release = jenkins_release.program:run\n"
    return write_wheel(folder, "jenkins_release", version, files, entry)


def write_wheel(
    folder: Path, name: str, version: str, files: dict[str, bytes], entry_points: bytes = b""
) -> Path:
    """Write a wheel (binary distribution specification of the Python Packaging Authority)."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    shown = name.replace("_", "-")
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {shown}\nVersion: {version}\n".encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any"
    files[f"{info}/entry_points.txt"] = entry_points
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return wheel


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _key(product: Product, role: str) -> dict[str, str]:
    path = product.folder / "keys" / f"{role}.pem"
    return {"kind": "file", "name": path.name, "content": path.read_text()}
