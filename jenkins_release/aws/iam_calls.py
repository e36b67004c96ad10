"""IAM calls: paged, with every error translated.

IAM is global and eventually consistent: a new key may be refused for some seconds (IAM user guide,
"Changes that I make are not always immediately visible").
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from jenkins_release.aws.answers import ODD, next_page
from jenkins_release.aws.errors import error_code, translate
from jenkins_release.aws.session import aws_client
from jenkins_release.base.errors import RemoteError
from jenkins_release.base.waits import Limits

GONE = "NoSuchEntity"
"""Error code for something missing."""
EXISTS = "EntityAlreadyExists"
"""Error code for something that already exists."""


class IamCalls:
    """The IAM API of one account.

    Args:
        region: AWS region; IAM is global, but boto3 requires one.
        account: The account's number.
        client: A boto3 ``iam`` client instead of one from boto3's credential chain.
        limits: How long a call may take.
    """

    def __init__(
        self, region: str, account: str, *, client: Any = None, limits: Limits | None = None
    ) -> None:
        self.account = account
        self._client = client if client is not None else aws_client("iam", region, limits=limits)
        self._region, self._once, self._limits = region, client, limits

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._client.close()
        if self._once is not None:
            self._once.close()

    def call(
        self,
        action: str,
        what: str,
        *,
        absent: Any = None,
        passing: Sequence[str] = (),
        once: bool = False,
        **given: Any,
    ) -> Any:
        """Call IAM; return ``absent`` for ``passing`` codes and missing things. ``once``: never repeated."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._unrepeated() if once else self._client, action)(**given)
        except (BotoCoreError, ClientError) as error:
            code = error_code(error)
            if code in passing or (absent is not None and code == GONE):
                return absent
            raise _translated(error, what) from error

    def _unrepeated(self) -> Any:
        """The client for calls that always create something: boto3 repeats a call whose answer was lost."""
        if self._once is None:
            self._once = aws_client("iam", self._region, attempts=1, limits=self._limits)
        return self._once

    def pages(self, action: str, what: str, key: str, **given: Any) -> list[Any]:
        """Call IAM until all pages are read; none for a user that is gone."""
        found: list[Any] = []
        marker: dict[str, Any] = {}
        while True:
            answer = self.call(action, what, absent={}, **given, **marker)
            found += answer.get(key, [])
            token = answer.get("Marker") if answer.get("IsTruncated") else None
            if not (token := next_page(token, marker.get("Marker"), action)):
                return found
            marker = {"Marker": token}


def _translated(error: Exception, what: str) -> Exception:
    code, found = error_code(error), translate(error, what)
    if found.retryable:
        return found
    if code == GONE:
        return RemoteError(found.message, hint="IAM needs some seconds for something new", retryable=True)
    if code == "DeleteConflict":
        return RemoteError(
            found.message,
            hint="an MFA device, SSH key, certificate or Git password is left: remove it by hand first",
            retryable=True,  # or IAM did not yet list everything that the user has
        )
    return found


def document_of(document: Any) -> Mapping[str, Any]:
    """Return a policy document; boto3 decodes it, other clients leave it URL-encoded (RFC 3986).

    Raises:
        RemoteError: It is no JSON object.
    """
    try:
        found = json.loads(unquote(document)) if isinstance(document, str) else document
        if not isinstance(found, dict):
            raise TypeError
    except (TypeError, ValueError, RecursionError) as error:
        raise RemoteError(
            f"IAM answers with a policy that is no JSON object ({type(error).__name__})",
            hint=ODD,
            retryable=True,
        ) from error
    return found
