"""Answers of AWS before anybody reads them: no web page passes for one, and "later" is waited for.

botocore repeats what its own lists of codes call transient. Other refusals for the moment, such as ECS's
"Too many concurrent attempts" under ``ClientException``, are repeated here by the one rule for all of them,
:func:`jenkins_release.aws.errors.is_transient`.
"""

from __future__ import annotations

import random
import re
from typing import Any

from jenkins_release.aws.errors import is_transient

_PAGE = re.compile(rb"\s*(?:<!doctype\s+html|<html|<head|<body)", re.IGNORECASE)
_BEGINS = {"json": b"{", "rest-json": b"{", "query": b"<"}
"""Protocol to how its answers begin."""
_OWN = frozenset({500, 502, 503, 504, 429})
"""HTTP statuses after which botocore itself repeats a call."""
_MAX_WAIT_S = 20.0
"""Upper bound of a single wait, as botocore has it."""


def check_answers(client: Any, attempts: int) -> None:
    """Let a client repeat what is refused for the moment only, and refuse what is no answer of AWS.

    Args:
        client: A boto3 client.
        attempts: Attempts of one call at most, the first included.
    """

    def again(response: Any, attempts: int, **_: Any) -> float | None:
        """Return the seconds until the next attempt; None for no further one, or where botocore decides."""
        if response is None or attempts >= most:
            return None
        error = response[1].get("Error") or {}
        status = int(response[0].status_code)
        if not error or status in _OWN:
            return None
        if not is_transient(str(error.get("Code", "")), str(error.get("Message", "")), status):
            return None
        return random.uniform(0.0, min(_MAX_WAIT_S, 2.0 ** (attempts - 1)))  # noqa: S311  # no secret

    most = attempts
    client.meta.events.register("needs-retry", again)
    client.meta.events.register("before-parse", _refuse_pages)


def _refuse_pages(response_dict: dict[str, Any], operation_model: Any, **_: Any) -> None:
    """Raise HTTPClientError for what a proxy or a load balancer says in place of AWS.

    botocore takes some pages for answers without any content, and cannot parse others.
    """
    body = response_dict.get("body")
    if not isinstance(body, bytes) or not body.strip():
        return
    begins = _BEGINS.get(operation_model.service_model.resolved_protocol, b"")
    if not _PAGE.match(body) and body.lstrip().startswith(begins):
        return
    status = int(response_dict["status_code"])
    if status >= 500:
        response_dict["body"] = b""  # botocore goes by the status then, and repeats the call
        return
    from botocore.exceptions import HTTPClientError

    raise HTTPClientError(error=f"something else than AWS answers, with status {status}")
