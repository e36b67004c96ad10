"""Who is believed when a server shows its certificate."""

from __future__ import annotations

import ssl

from jenkins_release.base.errors import ConfigurationError


def verifying_context(ca_file: str) -> ssl.SSLContext:
    """Return a TLS context that checks certificate and host name, TLS 1.2 at the least.

    Args:
        ca_file: PEM file of the authorities; the system's where empty.

    Raises:
        ConfigurationError: The file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"notify.ca_file names {ca_file}, which holds no certificates that can be read",
            hint="a PEM file with the certificates of your authorities",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
