"""What a daemon's answer to a push means.

The daemon answers a push with status 200 and a line of JSON for every event. A failure is one of these lines,
and only its text tells failures apart. The words before the first colon are the error codes of the OCI
distribution specification v1.1 ("Error Codes") in lower case; ECR's sentences are those of its "Common
errors" page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.base.progress import Task
from jenkins_release.registry.protocol import RepositoryNotFound, TagConflict

_STATUS = re.compile(
    r"(?:HTTP(?: status)?|status(?: code)?)[: ]+(\d{3})\b"
    r"|unexpected status from \w+ request to \S+: (\d{3})\b"
)
_SUMMARY = re.compile(r"(\S+): digest: (sha256:[0-9a-f]{64}) size: \d+")
_TAG_IS_TAKEN = re.compile(r"cannot be overwritten|tag .*\bimmutable\b|^tag invalid:")
_EXPIRED = re.compile(r"token has expired|token is expired|expired token|credentials? (?:has|have) expired")
_NO_REPOSITORY = re.compile(
    r"^name unknown\b|^repository name not known|repository with name .* does not exist"
    # A containerd store passes on the status of a request, not the registry's message.
    r"|from POST request to \S+/blobs/uploads/\S*: 404\b|from PUT request to \S+/manifests/\S+: 404\b"
)
_DENIED = re.compile(r"(?:^|: )denied\b|^forbidden\b|access denied|is not authorized to perform")
_NO_LOGIN = re.compile(
    r"^unauthorized\b|no basic auth credentials|authentication required|incorrect username"
)
_BUSY = re.compile(r"^toomanyrequests\b|too many requests|rate exceeded|throttl|slow ?down", re.IGNORECASE)
_TRANSIENT = re.compile(
    r"connection re(?:set|fused)|broken pipe|\bEOF\b|time-?out|timed out|deadline exceeded"
    r"|temporary failure|server misbehaving|use of closed|network is unreachable|no route to host"
    r"|^unknown:|^unavailable\b|internal (?:server )?error|service unavailable|bad gateway"
    r"|blob upload (?:unknown|invalid)",
    re.IGNORECASE,
)
_ADVICE = [
    (
        re.compile(r"server gave HTTP response to HTTPS client|not look like a TLS handshake"),
        "the registry speaks HTTP: list it under insecure-registries in the daemon's daemon.json",
    ),
    (
        re.compile(r"x509:|tls: "),
        "install the registry's CA in /etc/docker/certs.d on the daemon's machine",
    ),
    (re.compile(r"no such host"), "check the registry's name in the configuration, and the daemon's DNS"),
    (
        re.compile(r"^unsupported\b|\b405\b|method not allowed|read-only", re.IGNORECASE),
        "the registry does not accept pushes: is it read-only?",
    ),
    (re.compile(r"no space left on device"), "free disk space on the registry's machine"),
    (
        re.compile(r"/manifests/\S+: 400\b"),
        "the registry refuses the manifest; the tag may be immutable and name another image",
    ),
]


_LONGEST_MESSAGE = 2000


class PushRefused(RemoteError):
    """The daemon answers, but says that it cannot push the image."""


def is_transient(message: str) -> bool:
    """Whether a daemon's or registry's message is about a temporary failure."""
    status = _status(message)
    return status >= 500 or status == 429 or bool(_TRANSIENT.search(message) or _BUSY.search(message))


def push_error(reference: str, message: str) -> ReleaseError:
    """Translate the message of a failed push.

    Args:
        reference: What was pushed.
        message: The daemon's message.

    Returns:
        The error to raise: :class:`~jenkins_release.registry.protocol.RepositoryNotFound`,
        :class:`~jenkins_release.registry.protocol.TagConflict`, ConfigurationError for an image that the
        daemon does not have, else :class:`PushRefused`; ``retryable`` if another attempt with a fresh login
        may succeed.
    """
    text = f"push of {reference} failed: {message}"
    status = _status(message)
    if re.search(r"does not exist locally|^tag does not exist", message) or message.lower().startswith(
        "no such image"
    ):
        return ConfigurationError(text, hint="load or build the image first")
    if _TAG_IS_TAKEN.search(message):
        return TagConflict(
            text, hint="the tag is immutable and names another image: push under another version"
        )
    if _EXPIRED.search(message):
        return PushRefused(text, hint="the login has expired: log in again", retryable=True)
    if _NO_REPOSITORY.search(message):
        return RepositoryNotFound(text, hint="create the repository in the registry first")
    if _DENIED.search(message) or status == 403:
        return PushRefused(text, hint="the registry refuses this user: check its policy")
    if _NO_LOGIN.search(message) or status == 401:
        return PushRefused(text, hint="the registry does not accept the login", retryable=True)
    for pattern, advice in _ADVICE:
        if pattern.search(message):
            return PushRefused(text, hint=advice)
    return PushRefused(text, retryable=is_transient(message))


def error_of(line: object) -> str:
    """Return the error message in a line of a daemon's answer, or an empty string."""
    if not isinstance(line, Mapping):
        return ""
    detail = line.get("errorDetail")
    message = detail.get("message") if isinstance(detail, Mapping) else None
    message = message or line.get("error") or ""
    if not message and detail:
        message = f"the daemon gave no reason ({detail})"
    return str(message)[:_LONGEST_MESSAGE]


def read_push_answer(reference: str, tag: str, lines: Iterable[Mapping[str, Any]], task: Task) -> str:
    """Read every line of the answer to a push.

    Args:
        reference: What was pushed.
        tag: Its tag.
        lines: The answer, decoded.
        task: Receives the bytes sent; bytes that the daemon sends again are first subtracted.

    Returns:
        The digest of the manifest as the registry named it.

    Raises:
        ReleaseError: As :func:`push_error`; RemoteError if no line names a digest.
    """
    digest = ""
    sent: dict[str, int] = {}
    for line in lines:
        if message := error_of(line):
            raise push_error(reference, message)
        detail, layer = line.get("progressDetail"), str(line.get("id", ""))
        if isinstance(detail, Mapping) and isinstance(current := detail.get("current"), int):
            task.advance(current - sent.get(layer, 0))
            sent[layer] = current
        aux = line.get("aux")
        if isinstance(aux, Mapping) and aux.get("Tag", tag) == tag:
            digest = str(aux.get("Digest") or digest)
        elif summary := _SUMMARY.fullmatch(str(line.get("status", ""))):
            # All that a daemon with a containerd store reports.
            digest = summary[2] if summary[1] == tag else digest
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise RemoteError(
            f"push of {reference}: the daemon's answer ended without the manifest's digest",
            hint="the daemon may have been stopped; the image may or may not be in the registry",
            retryable=True,
        )
    return digest


def _status(message: str) -> int:
    found = _STATUS.search(message)
    return int(found[1] or found[2]) if found else 0
