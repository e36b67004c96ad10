"""ECR's registry token from GetAuthorizationToken, checked before it is used."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from jenkins_release.aws import aws_errors
from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.registry.protocol import RegistryLogin

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_MIN_LIFE = timedelta(minutes=1)
_ENDPOINT = re.compile(r"https?://[!-~]{1,300}")
_ACCOUNT_HOST = re.compile(r"\d{12}(?=\.dkr[.-]ecr)")


def mint(client: Any, now: datetime, account: str | None) -> tuple[str, RegistryLogin]:
    """Get a token.

    Args:
        client: A boto3 ``ecr`` client.
        now: The current time, to check the token's lifetime.
        account: Account that owns the registry; the credentials' own account if None.

    Returns:
        The registry's URL, and the login for it.

    Raises:
        ConfigurationError: There are no credentials, or ECR names an endpoint without TLS.
        RemoteError: ECR refused or failed, or its answer cannot be used.
    """
    with aws_errors("get a token for Amazon ECR"):
        answer = client.get_authorization_token()
    return read_token(answer, now, account)


def read_token(answer: Mapping[str, Any], now: datetime, account: str | None) -> tuple[str, RegistryLogin]:
    """Return the registry's URL and the login for it from an answer of ``GetAuthorizationToken``.

    Args:
        answer: The answer.
        now: The current time, to check the token's lifetime.
        account: Account that owns the registry; the credentials' own account if None.

    Raises:
        ConfigurationError: ECR names an endpoint without TLS.
        RemoteError: The answer cannot be used.
    """
    data = (answer.get("authorizationData") or [{}])[0]
    user, password = _credentials(str(data.get("authorizationToken", "")))
    expires = data.get("expiresAt")
    if not password or not isinstance(expires, datetime):
        raise RemoteError("ECR's answer to GetAuthorizationToken contains no usable token", retryable=True)
    if expires - now < _MIN_LIFE:
        raise RemoteError(
            f"ECR's token expires at {expires.isoformat()}, but the time here is {now.isoformat()}",
            hint="check this machine's clock",
            retryable=True,
        )
    endpoint = _checked_endpoint(str(data.get("proxyEndpoint", "")), account)
    return endpoint, RegistryLogin(urlsplit(endpoint).netloc, user, password)


def _checked_endpoint(endpoint: str, account: str | None) -> str:
    try:
        url = urlsplit(endpoint)
        _ = url.port  # parsed only on access
        usable = bool(url.hostname) and _ENDPOINT.fullmatch(endpoint) is not None
    except ValueError:
        usable = False
    if not usable or "@" in url.netloc or (url.scheme != "https" and url.hostname not in _LOOPBACK):
        raise ConfigurationError(
            f"ECR names the registry {endpoint[:200]!r}: tokens are sent only over https or on loopback",
            hint="check AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_ECR",
        )
    host = _ACCOUNT_HOST.sub(account, url.netloc) if account else url.netloc
    return f"{url.scheme}://{host}"


def _credentials(token: str) -> tuple[str, str]:
    """Split a token into user and password; both empty if it is invalid, so that no error quotes it."""
    try:
        user, _, password = base64.b64decode(token, validate=True).decode().partition(":")
    except ValueError:  # not base64, ASCII or UTF-8
        return "", ""
    return user, password
