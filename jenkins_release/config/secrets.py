"""Secrets: from the environment, or from the file that ``..._FILE`` names. Never from release.toml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.utf8 import NotUtf8, read_utf8

SMB_USER = "JENKINS_RELEASE_SMB_USER"
SMB_PASSWORD = "JENKINS_RELEASE_SMB_PASSWORD"  # noqa: S105 - the name of a variable
REGISTRY_USER = "JENKINS_RELEASE_REGISTRY_USER"
REGISTRY_PASSWORD = "JENKINS_RELEASE_REGISTRY_PASSWORD"  # noqa: S105 - the name of a variable
JENKINS_USER = "JENKINS_RELEASE_JENKINS_USER"
JENKINS_TOKEN = "JENKINS_RELEASE_JENKINS_TOKEN"  # noqa: S105 - the name of a variable
HANDOVER_PASSPHRASE = "JENKINS_RELEASE_HANDOVER_PASSPHRASE"  # noqa: S105 - the name of a variable
CUSTOMER_KEY_ID = "JENKINS_RELEASE_CUSTOMER_KEY_ID"
CUSTOMER_KEY_SECRET = "JENKINS_RELEASE_CUSTOMER_KEY_SECRET"  # noqa: S105 - the name of a variable
SERVE_USER = "JENKINS_RELEASE_SERVE_USER"
SERVE_PASSWORD = "JENKINS_RELEASE_SERVE_PASSWORD"  # noqa: S105 - the name of a variable
SMTP_USER = "JENKINS_RELEASE_SMTP_USER"
SMTP_PASSWORD = "JENKINS_RELEASE_SMTP_PASSWORD"  # noqa: S105 - the name of a variable
KEY_PASSPHRASE = "JENKINS_RELEASE_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable


def secret(name: str, environ: Mapping[str, str]) -> SecretStr | None:
    """Return the secret ``name``, or None if neither it nor ``<name>_FILE`` is set.

    Args:
        name: Variable name, such as ``JENKINS_RELEASE_SMB_PASSWORD``.
        environ: The environment.

    Raises:
        ConfigurationError: The file cannot be read or has more than one line, or both variables are set.
    """
    value, file = environ.get(name), environ.get(f"{name}_FILE")
    if value and file:
        raise ConfigurationError(f"both {name} and {name}_FILE are set", hint="set one of the two")
    if file:
        try:
            # Editors on Windows put a byte order mark before the text, which no password has.
            found = read_utf8(Path(file).read_bytes()).rstrip("\r\n")
        except (OSError, NotUtf8) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigurationError(
                f"{name}_FILE names {file}, which cannot be read: {reason}",
                hint="a text file with the secret in one line",
            ) from error
        if "\n" in found or "\r" in found or not found:
            lines = len(found.splitlines())
            raise ConfigurationError(
                f"{name}_FILE names {file}, which has {lines} lines, expected one",
                hint="a text file with the secret in one line",
            )
        return SecretStr(found)
    return SecretStr(value) if value else None
