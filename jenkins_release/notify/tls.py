"""Which certificate authorities are trusted."""

from __future__ import annotations

import ssl

from jenkins_release.base.errors import ConfigurationError


def verifying_context(ca_file: str) -> ssl.SSLContext:
    """Return a TLS context that checks certificate and host name, with at least TLS 1.2.

    Args:
        ca_file: PEM file of the authorities; the system's if empty.

    Raises:
        ConfigurationError: The file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"notify.ca_file names {ca_file}, which contains no readable certificates",
            hint="give a PEM file with the certificates of your authorities",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
