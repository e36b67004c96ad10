"""How a client of AWS sends a request, reads the answer, and tries again.

:class:`AwsExchange` replaces the HTTP session of botocore's ``Endpoint``, and sends through that session,
which has the proxies, CA bundle and client certificate that botocore chose. So each attempt runs inside a
:class:`jenkins_release.base.waits.Call`: it has a deadline as a whole, and ends when the process has to stop.
The answer is read here, with a size limit, and checked.

Handlers of ``needs-retry`` decide on another attempt. botocore's own would sleep and cannot be woken; the one
here pauses in :func:`jenkins_release.base.waits.pause`.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionError as NoConnection
from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ProxyConnectionError,
)

from jenkins_release.aws.answers import BadAnswer, check_answer
from jenkins_release.aws.errors import is_transient, retry_after
from jenkins_release.base.numbers import whole_number
from jenkins_release.base.pools import close_pools
from jenkins_release.base.waits import Call, Limits, pause
from jenkins_release.http.late import is_late

MOST = 16 * 1024 * 1024
"""Maximum bytes of an answer; the largest real one, a page of BatchGetImage, has about 1 MiB."""
MOST_OF_ERROR = 1024 * 1024
"""Maximum bytes of an error that are read."""
_PIECE = 64 * 1024
_MAX_WAIT_S = 20.0
"""Upper bound of a single wait between attempts; if AWS asks for more, the caller decides."""
_BROKEN_S = 0.05
"""Scale of the wait after a broken connection or a 5xx, as in botocore's standard mode."""
_UNREACHABLE_S = 1.0
"""Scale of the wait while no connection can be made; at least half of it is waited, because a server takes
seconds to restart. Five attempts then take 7.5 to 15 s."""
THROTTLED_S = 1.0
"""Scale of the wait if AWS asks to try again later."""
_UNREACHABLE = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)
_NO_BODY = frozenset({204, 304})


class AnswerError(HTTPClientError):  # type: ignore[misc] # botocore has no types
    """An answer is missing, late, or not like AWS's: another attempt may succeed."""

    fmt = "{error}"


class AwsExchange:
    """Sends the requests of one client.

    Args:
        client: A boto3 client, whose sending and retries it takes over.
        attempts: Maximum attempts of one call, including the first.
        limits: How long an attempt may take.
    """

    def __init__(self, client: Any, attempts: int, limits: Limits) -> None:
        self._model = client.meta.service_model
        # botocore has no public access to it; a new session might lack a setting of the profile one day.
        self.session = client._endpoint.http_session
        client._endpoint.http_session = self
        self._attempts = attempts
        self._limits = limits
        self._name = f"AWS {client.meta.service_model.service_name}"

        events, service = client.meta.events, self._model.service_id.hyphenize()
        events.unregister(f"needs-retry.{service}", unique_id=f"retry-config-{service}")
        events.register("before-send", _note_operation)
        events.register("needs-retry", self.again)

    def send(self, request: Any) -> AWSResponse:
        """Send a request and return its answer, checked.

        Raises:
            HTTPClientError: There is no answer, or one that cannot be from AWS.
            ConnectionError: The server cannot be reached (botocore's class).
            Stopped: The process was asked to stop.
        """
        operation = self._model.operation_model(request.operation_name)
        what = f"{self._name} to answer {operation.name}"
        call = self._limits.call(what, _size(request.headers))
        streams, request.stream_output = request.stream_output, True
        with self._in_time(operation.name), call:
            answer = self.session.send(request)
        with contextlib.ExitStack() as unread:
            unread.callback(answer.raw.close)
            if streams and answer.status_code < 300:
                self._check(answer, b"", operation)
                unread.pop_all()
                stream = _Stream(answer, partial(self._in_time, operation.name), self._limits.call(what))
                return AWSResponse(answer.url, answer.status_code, answer.headers, stream)
            with self._in_time(operation.name):
                body = _read(answer, request.method, call)
            unread.pop_all()
        body = self._check(answer, body, operation)
        return AWSResponse(answer.url, answer.status_code, answer.headers, _Whole(body))

    def _check(self, answer: AWSResponse, body: bytes, operation: Any) -> bytes:
        try:
            return check_answer(answer.status_code, answer.headers, body, operation)
        except BadAnswer as error:
            raise AnswerError(error=f"{operation.name}: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        # As with sending, there is no public access to them.
        close_pools(self.session._manager, *self.session._proxy_managers.values())
        self.session.close()

    @contextlib.contextmanager
    def _in_time(self, operation: str) -> Iterator[None]:
        """Turn everything that ends an exchange into an error that botocore knows."""
        try:
            yield
        except _UNREACHABLE:
            raise
        except Exception as error:
            if is_late(error):
                raise AnswerError(
                    error=f"{self._name} did not answer {operation} in time ({self._limits.told})"
                ) from error
            if isinstance(error, HTTPClientError | NoConnection):
                raise
            raise AnswerError(error=f"the answer to {operation} broke off: {type(error).__name__}") from error

    def again(
        self, response: Any, attempts: int, caught_exception: Any, operation: Any, **_: Any
    ) -> float | None:
        """Wait for the next attempt and return 0; return None if there is none or botocore decides."""
        if attempts >= self._attempts:
            return None
        asked = None
        if caught_exception is not None:
            if not isinstance(caught_exception, HTTPClientError | NoConnection):
                return None
            scale = _UNREACHABLE_S if isinstance(caught_exception, _UNREACHABLE) else _BROKEN_S
        else:
            status, headers = int(response[0].status_code), response[0].headers
            error = response[1].get("Error") or {}
            code = str(error.get("Code", ""))
            if status < 300 and not error:
                return None
            throttled = code not in {str(status), ""} and is_transient(code, str(error.get("Message", "")), 0)
            if not throttled and not is_transient(code, "", status) and not _modeled(operation, code):
                return None
            scale = THROTTLED_S if throttled or status == 429 else _BROKEN_S
            asked = retry_after(headers)
        if asked is not None and asked > _MAX_WAIT_S:
            return None
        longest = min(_MAX_WAIT_S, scale * 2.0 ** (attempts - 1))
        shortest = longest / 2 if isinstance(caught_exception, _UNREACHABLE) else 0.0
        wait = random.uniform(shortest, longest)  # noqa: S311  # not a secret
        pause(max(wait, asked or 0.0), f"another attempt of {operation.name} at {self._name}")
        return 0.0


class _Whole:
    """A body that was read completely."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        yield self._body


class _Stream:
    """A body that the caller reads: each read has a limit, and ends when the process stops."""

    def __init__(
        self, answer: AWSResponse, in_time: Callable[[], AbstractContextManager[None]], call: Call
    ) -> None:
        self._raw = answer.raw
        self._in_time = in_time
        self._call = call
        self._left = _stated(answer)

    def read(self, amt: int | None = None) -> bytes:
        if amt is None:
            return b"".join(self.stream())
        data = bytearray()
        while len(data) < amt and (piece := self._next(amt - len(data))):
            data += piece
        if self._left is not None:
            self._left -= len(data)
            if len(data) < amt and self._left > 0:
                raise AnswerError(error=f"the answer broke off with {self._left} bytes to come")
        return bytes(data)

    def _next(self, most: int) -> bytes:
        with self._in_time(), self._call:
            piece: bytes = self._raw.read1(most, decode_content=False)
        self._call.moved(len(piece))
        return piece

    def stream(self) -> Iterator[bytes]:
        left = MOST
        while data := self.read(_PIECE):
            left -= len(data)
            if left < 0:
                raise AnswerError(error=f"an answer is longer than {MOST} bytes")
            yield data

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._raw.close()


def _note_operation(request: Any, event_name: str, **_: Any) -> None:
    request.operation_name = event_name.rpartition(".")[2]


def _size(headers: Any) -> int:
    """Return the number of bytes that a request sends; if it is signed in chunks, that of their content."""
    for name in ("X-Amz-Decoded-Content-Length", "Content-Length"):
        value = headers.get(name)
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
        if (size := whole_number(text)) is not None:
            return size
    return 0


def _read(answer: AWSResponse, method: str, call: Call) -> bytes:
    """Read a whole body. Raises AnswerError if it is longer than AWS ever sends, or incomplete."""
    most = MOST if answer.status_code < 300 else MOST_OF_ERROR
    body = bytearray()
    for piece in call.pieces(iter(lambda: answer.raw.read1(_PIECE, decode_content=False), b""), 1):
        body += piece
        if len(body) > most:
            body.clear()  # the error holds this frame, and each attempt has its own
            raise AnswerError(error=f"the answer is longer than {most} bytes")
    stated = _stated(answer)
    bodyless = method == "HEAD" or answer.status_code in _NO_BODY
    if not bodyless and stated is not None and len(body) < stated:
        raise AnswerError(error=f"the answer broke off after {len(body)} of {stated} bytes")
    return bytes(body)


def _stated(answer: AWSResponse) -> int | None:
    """Return the length of the body that the answer states."""
    return whole_number(str(answer.headers.get("Content-Length", "")))


def _modeled(operation: Any, code: str) -> bool:
    """Whether the service's own model marks an error as temporary."""
    for shape in operation.error_shapes:
        names = {shape.name, shape.metadata.get("error", {}).get("code")}
        if code in names and shape.metadata.get("retryable") is not None:
            return True
    return False
