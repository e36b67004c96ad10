"""The HTTP layer of python-jenkins: each request has a deadline, and each answer a size limit."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from jenkins_release.base.waits import Limits
from jenkins_release.http.exchange import FOREIGN
from jenkins_release.http.late import is_late

CONSOLE_PIECE = 1024 * 1024
"""Maximum bytes of a console in one request: Jenkins sends everything."""
MOST = 32 * 1024 * 1024
"""Maximum bytes of any other answer; a hundred builds with their parameters have about 100 KiB."""
_MOST_OF_ERROR = 128 * 1024
_BLOCK = 8 * 1024
"""Maximum bytes that are lost, and requested again, if a connection breaks."""
_MOST_REDIRECTS = 5
_ERROR = 400


class Body(BytesIO):
    """The part of an answer that was read.

    Attributes:
        whole: Whether it is complete.
    """

    def __init__(self, data: bytes, whole: bool, raw: Any) -> None:
        super().__init__(data)
        self.whole = whole
        # requests takes a session's cookies from there.
        self._original_response = getattr(raw, "_original_response", None)


class BoundedAdapter(HTTPAdapter):
    """Sends requests inside a call, and always reads their answers here.

    Of an answer that is requested as a stream, it reads the beginning: what came before a connection broke is
    used.

    Args:
        limits: How long a request may take.
    """

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a request.

        Raises:
            requests.RequestException: There is no answer, or one that is too long.
            Stopped: The process was asked to stop.
        """
        host = urlsplit(request.url or "").netloc.rpartition("@")[2]
        size = len(request.body) if isinstance(request.body, bytes | str) else 0
        call = self._limits.call(f"Jenkins at {host} to answer", size)
        try:
            with call:
                answer = super().send(request, True, timeout, verify, cert, proxies)
        except FOREIGN as error:
            if isinstance(error, requests.RequestException) and not is_late(error):
                raise
            raise _failure(error, request) from error
        most = CONSOLE_PIECE if stream else MOST
        if answer.status_code >= _ERROR:
            most = _MOST_OF_ERROR
        data, whole = bytearray(), True
        try:
            for piece in call.pieces(answer.raw.stream(_BLOCK, decode_content=True), _BLOCK):
                data += piece
                if len(data) >= most:
                    whole = False
                    break
        except FOREIGN as error:
            whole = False
            if not (stream and data):
                raise _failure(error, request) from error
        finally:
            answer.raw.close()
        if not whole and not stream and answer.status_code < _ERROR:
            data.clear()  # the error holds this frame
            raise requests.ConnectionError(f"an answer of more than {MOST} bytes", request=request)
        answer.raw = Body(bytes(data), whole, answer.raw)
        return answer


def _failure(error: Exception, request: requests.PreparedRequest) -> requests.RequestException:
    if is_late(error):
        return requests.ReadTimeout(str(error), request=request)
    return requests.ConnectionError(type(error).__name__, request=request)


def bound(session: requests.Session, limits: Limits) -> None:
    """Let a session send everything inside calls.

    Args:
        session: The session.
        limits: How long a request may take.
    """
    session.max_redirects = _MOST_REDIRECTS
    for scheme in ("https://", "http://"):
        session.mount(scheme, BoundedAdapter(limits))
