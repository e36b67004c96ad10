"""The environment as text: what this program reads of it must be UTF-8."""

from __future__ import annotations

from collections.abc import Mapping

from jenkins_release.base.errors import ConfigurationError

_PREFIXES = ("JENKINS_", "BUILD_", "GIT_", "AWS_", "DOCKER_")
_NAMES = frozenset(
    {"JOB_NAME", "LOGNAME", "USER", "LNAME", "USERNAME", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
)
"""The login name as Python's ``getpass`` finds it, and the proxies of HTTP libraries, in any case."""


def in_build(environ: Mapping[str, str]) -> bool:
    """Whether a build server runs this: its output goes into a log, not to a terminal."""
    return any(environ.get(name) for name in ("JENKINS_URL", "BUILD_URL", "CI"))


def is_text(value: str) -> bool:
    """Whether the bytes of an argument or variable were UTF-8; other bytes arrive as surrogates (PEP 383)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def require_text(environ: Mapping[str, str]) -> None:
    """Refuse variables that are not text: they would go into records, URLs and requests.

    Only variables that this program, boto3 or docker read are checked: Jenkins also puts a build's parameters
    there, in any encoding. Folders such as ``HOME`` may have any name.

    Raises:
        ConfigurationError: ``reasons`` names every variable. Values are left out: they may be secrets.
    """
    wrong = [
        f"the environment variable {name} is not UTF-8"
        for name, value in sorted(environ.items())
        if (name.startswith(_PREFIXES) or name.upper() in _NAMES) and not (is_text(name) and is_text(value))
    ]
    if wrong:
        raise ConfigurationError(wrong[0], hint="set it to text in UTF-8, or remove it", reasons=wrong[1:])
