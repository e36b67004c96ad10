"""The Docker SDK's client with a limit on each wait and each answer.

The SDK is a session of requests: all its calls go through :meth:`Daemon.send`. It reads answers without a
limit, and trusts their JSON; both are checked there, before the SDK sees them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from typing import Any

import docker
import requests

from jenkins_release.base.environment import is_text
from jenkins_release.base.errors import RemoteError
from jenkins_release.base.waits import LEAST_RATE, Call

MOST = 16 * 1024 * 1024
"""Maximum bytes of an answer that is read as a whole; an image's description has a few KiB."""
_MOST_OF_ERROR = 64 * 1024
_LONGEST_LINE = 1024 * 1024
_LONGEST_MESSAGE = 2000
_PIECE = 8 * 1024
_UPLOAD_PIECE = 1 << 20
_REDIRECT = 300
_ERROR = 400


class Daemon(docker.APIClient):
    """A connected daemon, with an API version that it supports.

    Args:
        settings: Where it is, for the SDK: ``base_url``, and ``tls``.
        timeout_s: Longest silence, in seconds.
        least_rate: Bytes a second below which a transfer makes no progress.

    Raises:
        DockerException: It does not answer like a daemon.
        TimeoutError: It did not answer in time.
        Stopped: The process was asked to stop.
    """

    def __init__(self, settings: Mapping[str, Any], timeout_s: float, least_rate: int = LEAST_RATE) -> None:
        self.url = str(settings["base_url"])
        self.timeout_s = timeout_s
        self._least_rate = least_rate
        try:
            with self.call("connect"):
                super().__init__(**settings, version="auto", timeout=timeout_s)  # type: ignore[arg-type]
        except BaseException:
            if self._ready:
                self.close()
            raise

    def call(self, what: str, size: int = 0, until: float = math.inf) -> Call:
        """Return a wait for the daemon.

        Args:
            what: What it should do, such as ``save``.
            size: Size in bytes of the pieces that are sent or received.
            until: When it ends at the latest, in seconds of :func:`time.monotonic`.
        """
        what = f"the Docker daemon at {self.url} ({what})"
        call = Call(what, self.timeout_s, size=size, least_rate=self._least_rate, until=until)
        # Over SSH, paramiko's thread uses the socket.
        ssh = getattr(self.adapters.get("http+docker://ssh"), "ssh_client", None) if self._ready else None
        if ssh is not None and (transport := ssh.get_transport()) is not None:
            call.uses(transport.sock)
        return call

    @property
    def _ready(self) -> bool:
        return hasattr(self, "adapters")

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """Follow no redirects, like Docker's own client; requests would also read the whole body."""
        return None

    def send(self, request: requests.PreparedRequest, **given: Any) -> requests.Response:
        """Send a request and read its answer; a stream is left to the caller and its call.

        Raises:
            RemoteError: The answer is a redirect, or is too long.
        """
        if given.get("stream"):
            return self._here(super().send(request, **given))
        call = self.call(f"{request.method} {(request.path_url or '').partition('?')[0]}")
        with call:
            answer = self._here(super().send(request, **{**given, "stream": True}))
        body = self.body(answer, call)
        if answer.status_code >= _ERROR:
            body = json.dumps({"message": _message(answer.status_code, body)}).encode()
        elif body.lstrip()[:1] in {b"{", b"["}:
            _parsed(body)
        answer.raw = BytesIO(body)
        return answer

    def _here(self, answer: requests.Response) -> requests.Response:
        if _REDIRECT <= answer.status_code < _ERROR:
            answer.close()
            raise RemoteError(
                f"the Docker daemon at {self.url} answers with a redirect (status {answer.status_code})",
                hint="a daemon never does that: check what listens there",
            )
        return answer

    def body(self, answer: requests.Response, call: Call) -> bytes:
        """Read an answer up to a limit; only the beginning of an error.

        Raises:
            RemoteError: It is longer.
        """
        most = MOST if answer.status_code < _ERROR else _MOST_OF_ERROR
        body = bytearray()
        with answer:
            for piece in call.pieces(_stream(answer), _PIECE):
                body += piece
                if len(body) > most and answer.status_code < _ERROR:
                    body.clear()  # the error holds this frame
                    raise RemoteError(
                        f"the Docker daemon at {self.url} answers with more than {most} bytes",
                        hint="check what listens there",
                    )
                if len(body) > most:
                    break
        return bytes(body[:most])

    def message(self, answer: requests.Response, call: Call) -> str:
        """Return the daemon's message in an answer that reports a failure, and close it."""
        return _message(answer.status_code, self.body(answer, call))

    def lines(self, answer: requests.Response, call: Call, what: str) -> Iterator[dict[str, Any]]:
        """Yield the JSON documents of an answer that continues while the daemon works.

        Only news ends a silence: a new line, or bytes of a layer.

        Args:
            answer: The answer, as a stream.
            call: The wait for it.
            what: What the daemon does, for messages.

        Raises:
            RemoteError: A line is too long, or is not a JSON object.
        """
        seen: set[tuple[str, str]] = set()
        moved: dict[str, int] = {}
        for line in _split(self._waited(_stream(answer), call)):
            try:
                document = _parsed(line)
            except requests.JSONDecodeError:
                document = None
            if not isinstance(document, dict):
                raise RemoteError(
                    f"{what}: the Docker daemon at {self.url} answers with something other than JSON objects",
                    hint="check what listens there, and the daemon's log",
                    retryable=True,
                )
            layer = str(document.get("id", ""))
            key = (layer, str(document.get("status") or document.get("stream") or ""))
            detail = document.get("progressDetail")
            current = detail.get("current") if isinstance(detail, Mapping) else None
            if key not in seen:
                seen.add(key)
                call.moved(int(self.timeout_s * self._least_rate) + 1)
            if isinstance(current, int) and current > moved.get(layer, 0):
                call.moved(current - moved.get(layer, 0))
                moved[layer] = current
            yield document

    def sending(self, body: Iterable[bytes], call: Call) -> Iterator[bytes]:
        """Yield a body that is sent inside a call; the time to make a piece does not count.

        Args:
            body: The body.
            call: The call; it is left and entered again around each piece.
        """
        source = iter(body)
        while True:
            call.__exit__(None, None, None)
            try:
                piece = next(source, None)
            finally:
                call.__enter__()
            if piece is None:
                return
            for start in range(0, len(piece), _UPLOAD_PIECE):
                part = piece[start : start + _UPLOAD_PIECE]
                yield part
                call.moved(len(part))

    @staticmethod
    def _waited(pieces: Iterator[bytes], call: Call) -> Iterator[bytes]:
        while True:
            with call:
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece


def _stream(answer: requests.Response) -> Iterator[bytes]:
    pieces: Iterator[bytes] = answer.raw.stream(_PIECE, decode_content=False)
    return pieces


def _split(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield non-blank lines. An endless line is cut, and then is not JSON."""
    held = bytearray()
    for piece in pieces:
        held += piece
        *lines, rest = held.split(b"\n")
        yield from (bytes(line) for line in lines if line.strip())
        held = bytearray(rest)
        if len(held) > _LONGEST_LINE:
            yield bytes(held[:_LONGEST_LINE])
            return
    if held.strip():
        yield bytes(held)


def _parsed(body: bytes) -> Any:
    """Parse JSON. Raises requests.JSONDecodeError, also for invalid text and deep nesting."""
    try:
        text = body.decode()
        found = json.loads(text)
        whole = "\\u" not in text or is_text(json.dumps(found, ensure_ascii=False))
    except (ValueError, RecursionError) as error:
        raise requests.JSONDecodeError(f"unreadable JSON: {type(error).__name__}", "", 0) from error
    if not whole:
        raise requests.JSONDecodeError("unreadable JSON: half a surrogate pair", "", 0)
    return found


def _message(status: int, body: bytes) -> str:
    try:
        found = _parsed(body)
    except requests.JSONDecodeError:
        found = None
    said = found.get("message") if isinstance(found, dict) else None
    if isinstance(said, str) and said:
        return said[:_LONGEST_MESSAGE]
    return f"status {status}: {body[:200].decode('utf-8', 'replace')}"
