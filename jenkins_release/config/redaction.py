"""Removes secrets from texts that leave this machine, as a last line of defence: no text is made from one."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, urlsplit

from jenkins_release.base.errors import REDACTED, ConfigurationError, without_secrets
from jenkins_release.base.secret_names import CERTAIN
from jenkins_release.config.secrets import (
    CUSTOMER_KEY_SECRET,
    HANDOVER_PASSPHRASE,
    JENKINS_TOKEN,
    KEY_PASSPHRASE,
    REGISTRY_PASSWORD,
    SERVE_PASSWORD,
    SMB_PASSWORD,
    SMTP_PASSWORD,
    secret,
)

__all__ = ["REDACTED", "Redaction", "kept_secrets", "known_secrets"]
_KNOWN = (
    SMB_PASSWORD,
    JENKINS_TOKEN,
    KEY_PASSPHRASE,
    REGISTRY_PASSWORD,
    SERVE_PASSWORD,
    SMTP_PASSWORD,
    HANDOVER_PASSPHRASE,
    CUSTOMER_KEY_SECRET,
    "JENKINS_RELEASE_WEBHOOK_URL",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
_SPEAKS_OF_A_SECRET = re.compile(CERTAIN, re.IGNORECASE)
_SHORTEST = 4
"""Replacing shorter values would damage ordinary words, and they are not real secrets."""
_SHORTEST_GUESSED = 8
"""The same for a variable whose name alone suggests a secret."""


class Redaction:
    """Replaces known secrets anywhere in a text.

    A secret is found literally, percent-encoded as in URLs, and escaped as in JSON. Of a URL, path and query
    alone count too, because libraries quote them without the host.

    Args:
        secrets: The secrets; short ones are left out.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[str] = set()
        for value in secrets:
            forms |= {form for form in _forms(value) if len(form) >= _SHORTEST}
        # The longest first: a secret may be part of another one.
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text without any secret, and without logins and tokens in URLs."""
        for form in self._forms:
            text = text.replace(form, REDACTED)
        return without_secrets(text)

    def __repr__(self) -> str:
        return f"Redaction({len(self._forms)} forms)"


def kept_secrets(environ: Mapping[str, str], variables: Iterable[str] = ()) -> list[str]:
    """Return the secrets of the environment that this program or boto3 reads.

    Args:
        environ: The environment. A secret may be in the file that ``..._FILE`` names.
        variables: Further variables that hold secrets, such as the URLs of webhooks.
    """
    found = []
    for name in (*_KNOWN, *variables):
        # The code that needs the secret reports what is wrong with it.
        with contextlib.suppress(ConfigurationError):
            value = secret(name, environ)
            found += [value.get_secret_value()] if value else []
    return found


def known_secrets(environ: Mapping[str, str], variables: Iterable[str] = ()) -> list[str]:
    """Return every secret of the environment: known variables, and those named like a secret.

    Args:
        environ: The environment. A secret may be in the file that ``..._FILE`` names.
        variables: Further variables that hold secrets, such as the URLs of webhooks.
    """
    return kept_secrets(environ, variables) + [
        value
        for name, value in environ.items()
        if _SPEAKS_OF_A_SECRET.search(name) and not name.endswith("_FILE") and len(value) >= _SHORTEST_GUESSED
    ]


def _forms(value: str) -> set[str]:
    value = value.strip()
    forms = {value, *(line.strip() for line in value.splitlines())}
    if "://" in value:
        with contextlib.suppress(ValueError):
            parts = urlsplit(value)
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            forms |= {path, parts.query} if len(path) >= _SHORTEST_GUESSED else set()
    # Bytes that are not UTF-8 are quoted unchanged.
    quoted = {quote(form, safe="", errors="surrogateescape") for form in forms}
    return forms | quoted | {json.dumps(form)[1:-1] for form in forms}
