"""Asking an HTTP server for one answer, as a stranger: no login, no cookie, no redirect."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from jenkins_release.version import PROGRAM

if TYPE_CHECKING:
    import requests

MAX_BODY = 256 * 1024
"""Bytes of an answer that are looked at."""
_BLOCK = 16 * 1024


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Attributes:
        status: HTTP status; 0 where there was no answer.
        body: The first :data:`MAX_BODY` bytes of its body.
        problem: Why there was no answer; empty where there was one.
    """

    status: int
    body: bytes = b""
    problem: str = ""


class Prober(Protocol):
    """Asks a URL."""

    def ask(self, url: str, timeout_s: float) -> Answer:
        """Ask once.

        Args:
            url: Where; http or https.
            timeout_s: Longest wait for the whole answer, in seconds.
        """
        ...


class HttpProber:
    """Asks over HTTP. That there is no answer is an answer too: nothing is raised."""

    def ask(self, url: str, timeout_s: float) -> Answer:
        """Ask once. A redirect is answered as it stands: what it leads to was not asked for."""
        import requests

        end = time.monotonic() + timeout_s
        try:
            with requests.Session() as session:
                # Otherwise requests sends what .netrc has for the host.
                session.auth = _no_login
                with session.get(
                    url,
                    headers={"User-Agent": PROGRAM, "Accept": "*/*", "Cache-Control": "no-cache"},
                    timeout=timeout_s,
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    return Answer(response.status_code, _body(response, end))
        except requests.Timeout:
            return Answer(0, problem=f"no answer within {timeout_s:g} s")
        except requests.exceptions.SSLError as error:
            return Answer(0, problem=f"the TLS certificate is not accepted: {_cause(error)}")
        except (requests.RequestException, OSError, ValueError) as error:
            return Answer(0, problem=f"no answer: {_cause(error)}")


def _body(response: requests.Response, end: float) -> bytes:
    import requests

    data = bytearray()
    for block in response.iter_content(_BLOCK):
        data += block
        if len(data) >= MAX_BODY:
            break
        if time.monotonic() > end:  # requests bounds only the silence between two bytes
            raise requests.Timeout
    return bytes(data[:MAX_BODY])


def _no_login(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _cause(error: BaseException) -> str:
    """Return the innermost reason, in one line: requests wraps it three times."""
    reason: BaseException = error
    while True:
        inner = getattr(reason, "reason", None) or (reason.args[0] if reason.args else None)
        if not isinstance(inner, BaseException):
            break
        reason = inner
    text = str(reason).rpartition(": ")[2] or type(reason).__name__
    return " ".join(text.split())
