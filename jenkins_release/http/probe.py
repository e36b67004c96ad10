"""Asks an HTTP server for one answer, as a stranger: no login, no cookie, no redirect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from jenkins_release.base.version import PROGRAM
from jenkins_release.base.waits import Call
from jenkins_release.records.health_answer import HealthAnswer

if TYPE_CHECKING:
    import requests

MAX_BODY = 256 * 1024
"""Bytes of an answer that are read."""
_BLOCK = 16 * 1024


class Prober(Protocol):
    """Asks a URL."""

    def ask(self, url: str, timeout_s: float) -> HealthAnswer:
        """Ask once.

        Args:
            url: Where; http or https.
            timeout_s: Longest wait for the whole answer, in seconds.
        """
        ...


class HttpProber:
    """Asks over HTTP. No answer is a result too: nothing is raised."""

    def ask(self, url: str, timeout_s: float) -> HealthAnswer:
        """Ask once. A redirect is returned as such, and not followed."""
        from jenkins_release.http.exchange import SLACK_S, NoAnswer, Untrusted, open_session, translated

        headers = {"User-Agent": PROGRAM, "Accept": "*/*", "Cache-Control": "no-cache"}
        try:
            # One call for all of it: bytes that arrive buy no time here.
            with (
                Call(f"{url} to answer", timeout_s),
                translated(url),
                open_session() as session,
                session.get(
                    url, headers=headers, timeout=timeout_s + SLACK_S, allow_redirects=False, stream=True
                ) as response,
            ):
                return HealthAnswer(response.status_code, _body(response))
        except TimeoutError:
            return HealthAnswer(0, problem=f"no answer within {timeout_s:g} s")
        except Untrusted as error:
            return HealthAnswer(0, problem=f"the TLS certificate is not accepted: {error.cause}")
        except NoAnswer as error:
            return HealthAnswer(0, problem=f"no answer: {error.cause}")


def _body(response: requests.Response) -> bytes:
    data = bytearray()
    for block in response.iter_content(_BLOCK):
        data += block
        if len(data) >= MAX_BODY:
            break
    return bytes(data[:MAX_BODY])
