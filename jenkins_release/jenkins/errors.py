"""Translates errors of python-jenkins and requests where they appear.

python-jenkins turns 401, 403 and 500 into one text that contains the whole page, and lets connection errors
through. The HTTP answer is available as the context of its exception. Pages are never quoted: they may show
parameters, and differ between versions.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

import jenkins
import requests

from jenkins_release.base.causes import caused_by
from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.base.retry import asked_wait
from jenkins_release.http.exchange import FOREIGN

_FOREIGN = (
    jenkins.JenkinsException,
    *FOREIGN,
    # What malformed documents raise.
    AttributeError,
    KeyError,
    OverflowError,
    RecursionError,
    TypeError,
)
_CRUMB = "No valid crumb"
_LONGEST = 300
_RESTART_HINT = "it is starting or restarting, or its proxy does not reach it"


class ItemNotFound(RemoteError):
    """The job, build or queue item does not exist, or Jenkins does not show it to this user."""


class CrumbRefused(RemoteError):
    """The crumb has expired or belongs to another session; a new one is fetched."""


class AnswerRefused(RemoteError):
    """Jenkins does not accept this user's answer to a question."""


@contextlib.contextmanager
def jenkins_errors(what: str, url: str) -> Iterator[None]:
    """Translate every error of python-jenkins, requests and JSON that leaves the block.

    Args:
        what: The attempted action, as an infinitive: ``read the job SkyDRM/promote``.
        url: The controller's root.

    Raises:
        ReleaseError: See :func:`translate`.
    """
    try:
        yield
    except _FOREIGN as error:
        raise translate(error, what, url) from error


def translate(error: Exception, what: str, url: str) -> ReleaseError:
    """Return our error for one of python-jenkins, requests or JSON.

    Args:
        error: The exception; python-jenkins' exceptions have the HTTP error as context.
        what: The attempted action, as an infinitive.
        url: The controller's root, for messages.
    """
    host = urlsplit(url).netloc
    response = _answer_of(error)
    if response is not None:
        return _refusal(response, what, host)
    if caused_by(error, ssl.SSLCertVerificationError):
        return ConfigurationError(
            f"{what}: the TLS certificate of {host} is not accepted",
            hint="set REQUESTS_CA_BUNDLE to the certificate of your authority",
        )
    if isinstance(error, requests.exceptions.MissingSchema | requests.exceptions.InvalidURL):
        return ConfigurationError(f"{what}: {url} is not a usable URL")
    if isinstance(error, jenkins.TimeoutException | requests.Timeout):
        return RemoteError(
            f"{what}: {host} did not answer in time",
            hint="jenkins.timeout_s limits the wait for one answer",
            retryable=True,
        )
    if isinstance(error, FOREIGN) and not isinstance(error, ValueError):
        return RemoteError(
            f"{what}: no complete answer from {host} ({type(error).__name__})",
            hint="check jenkins.url, the network, and whether the controller runs",
            retryable=True,
        )
    return RemoteError(
        f"{what}: the answer of {host} does not match Jenkins' API",
        hint="is jenkins.url the root of the controller, and not the login page of a proxy?",
    )


def _answer_of(error: Exception) -> requests.Response | None:
    """Return the HTTP answer behind an exception: python-jenkins keeps it only as the context."""
    found: BaseException | None = error
    if isinstance(found, jenkins.JenkinsException) and not isinstance(found, jenkins.NotFoundException):
        found = found.__context__
    if isinstance(found, jenkins.NotFoundException):
        found = found.__context__
    # No further than that: beyond it is what was being handled when the call was made.
    return found.response if isinstance(found, requests.HTTPError) else None


def _refusal(response: requests.Response, what: str, host: str) -> ReleaseError:
    status = response.status_code
    reads = response.request is None or response.request.method in {"GET", "HEAD"}
    said = _said(response)
    if status == HTTPStatus.UNAUTHORIZED:
        return ConfigurationError(
            f"{what}: {host} does not know this user with this token (401)",
            hint="check JENKINS_RELEASE_JENKINS_USER and JENKINS_RELEASE_JENKINS_TOKEN; "
            "create a token under the user's name, Security, API Token",
        )
    if status == HTTPStatus.FORBIDDEN:
        return _forbidden(response, what, host)
    if status == HTTPStatus.NOT_FOUND:
        return ItemNotFound(
            f"{what}: {host} has no such item, or does not show it to this user (404)",
            hint="check jenkins.folder and the job's name, and the user's permission Job/Read",
        )
    if status == HTTPStatus.BAD_REQUEST:
        return RemoteError(
            f"{what}: {host} does not accept the request (400){said}",
            hint="" if said else "Jenkins says this for a job without parameters, and for invalid values",
        )
    later = status in {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
    if later:
        return RemoteError(
            f"{what}: {host} is not available ({status})",
            hint=_RESTART_HINT,
            retryable=True,
            retry_after=asked_wait(response.headers.get("Retry-After", "")),
        )
    failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return RemoteError(
        f"{what}: {host} failed ({status}){said}",
        hint="the controller's log has the stack trace" if failed else "",
        retryable=failed and reads,
    )


def _forbidden(response: requests.Response, what: str, host: str) -> ReleaseError:
    if _CRUMB in response.text[:100_000]:
        return CrumbRefused(
            f"{what}: {host} does not accept the crumb (403)",
            hint="use an API token instead of a password; it needs no crumb",
            retryable=True,
        )
    # hudson.security.AccessDeniedException3.reportAsHeaders
    user = response.headers.get("X-You-Are-Authenticated-As", "")
    permission = response.headers.get("X-Required-Permission", "").rpartition(".")[2]
    who = f"the user {user}" if user else "this user"
    wanted = f"the permission {permission}" if permission else "a permission for it"
    return ConfigurationError(
        f"{what}: {who} lacks {wanted} on {host} (403)",
        hint="docs/jenkins.md lists the permissions for launching, approving and applying jobs",
    )


def _said(response: requests.Response) -> str:
    """Return the message in Jenkins' header: one line, for people, without the page around it."""
    text = response.headers.get("X-Error", "").strip()
    return f": {text[:_LONGEST]}" if text else ""
