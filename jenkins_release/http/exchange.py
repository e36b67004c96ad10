"""One request over HTTP and its answer, bounded in time and in bytes, whatever the server sends.

requests and urllib3 read bodies without a limit, follow redirects by themselves, and let errors of several
libraries through. Here, either the answer can be used, or a :class:`NoAnswer` says why not.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.cookies import CookieConflictError
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util.response import assert_header_parsing

from jenkins_release.base.causes import caused_by
from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.pools import close_pools
from jenkins_release.base.waits import Call, Limits, check
from jenkins_release.http.late import is_late

MOST_TOLD = 64 * 1024
"""Maximum bytes of an answer that only says what went wrong, or is not used."""
_PIECE = 1 << 20
_MOST_LOCATION = 16 * 1024
_AUTHORITY = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?:[^/?#]*@)?([^/?#]*)")
"""Scheme, user and password, and the host of a URL."""
_TOLD = 200
SLACK_S = 10.0
"""Seconds by which requests' own limit for each read is longer: a call knows better what was late."""
FOREIGN = (
    requests.RequestException,
    CookieConflictError,
    HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)
"""What requests raises, or lets through from urllib3, http.client and sockets."""


class NoAnswer(OSError):
    """A server gave no usable answer; the text names the server and says what happened.

    Args:
        message: The text.
        cause: The innermost reason, in a few words.
    """

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause


class Untrusted(NoAnswer):
    """The certificate of a server is not trusted."""


@dataclass(frozen=True)
class Answer:
    """A complete answer.

    Attributes:
        status: Its status.
        headers: Its headers; names match in any case.
        body: Its body, or the beginning of its body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class StreamedBody:
    """The body of one request, made while it is sent; it cannot be sent again.

    Args:
        pieces: Its bytes, in pieces of at most 1 MiB.
        size: Their number. None if it is not known: the body is then sent in chunks (RFC 9112 section 7.1).

    Attributes:
        sent: Bytes that were handed to the connection, which may not have arrived.
        complete: Whether all of them were.
    """

    def __init__(self, pieces: Iterable[bytes], size: int | None = None) -> None:
        self._pieces = pieces
        self.size = size
        self.sent = 0
        self.complete = False

    def during(self, call: Call) -> Any:
        """Return what requests can send, for the block of a call."""
        sent = _Sent(self._counted(call))
        return sent if self.size is None else _SentWithLength(sent, self.size)

    def _counted(self, call: Call) -> Iterator[bytes]:
        for piece in call.sending(self._pieces, _PIECE):
            self.sent += len(piece)
            yield piece
        self.complete = True


class _Sent:
    """Bytes that can be iterated over once: requests sends what has no length in chunks."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


class _SentWithLength(_Sent):
    """The same with a length, which requests states."""

    def __init__(self, pieces: _Sent, size: int) -> None:
        super().__init__(iter(pieces))
        self._size = size

    def __len__(self) -> int:
        return self._size


class Exchange:
    """An answer, whose body may still be on its way.

    Attributes:
        status: Its status.
        headers: Its headers; names match in any case.
        host: The server, for messages.
    """

    def __init__(self, answer: requests.Response, call: Call, host: str, setting: str = "") -> None:
        self._setting = setting
        self._answer = answer
        self._call = call
        self.status = answer.status_code
        self.headers: Mapping[str, str] = answer.headers
        self.host = host

    def pieces(self, size: int = _PIECE) -> Iterator[bytes]:
        """Yield the body as it was sent, in pieces of at most this many bytes; the caller bounds the total.

        Raises:
            NoAnswer: It breaks off, comes too slowly, or has an encoding that was not requested.
            Stopped: The process was asked to stop.
        """
        encoding = self.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in {"", "identity"}:
            raise NoAnswer(f"{self.host} answers in the encoding {shown(encoding)}, which was not requested")
        # Not requests' iter_content, which decodes.
        source = self._call.pieces(self._answer.raw.stream(size, decode_content=False), size)
        while True:
            with translated(self.host, self._setting):
                piece = next(source, None)
            if piece is None:
                return
            yield piece

    def body(self, most: int) -> bytes:
        """Return the whole body. Raises :class:`NoAnswer` as :meth:`pieces`, and beyond ``most`` bytes."""
        data = bytearray()
        for piece in self.pieces(min(_PIECE, most + 1)):
            data += piece
            if len(data) > most:
                data.clear()  # the error holds this frame
                raise NoAnswer(f"the answer of {self.host} has more than {most} bytes")
        return bytes(data)

    def told(self) -> Answer:
        """Return the answer with the beginning of its body, which explains the status at best.

        If the body of an error cannot be read, the rest is left out.

        Raises:
            NoAnswer: The body of a success breaks off or comes too slowly: a header may be missing as well.
        """
        data = bytearray()
        try:
            for piece in self.pieces(MOST_TOLD):
                data += piece
                if len(data) >= MOST_TOLD:
                    break
        except NoAnswer:
            if self.status < requests.codes.multiple_choices:
                raise
        return Answer(self.status, self.headers, bytes(data[:MOST_TOLD]))


@contextmanager
def exchange(
    session: requests.Session,
    method: str,
    url: str,
    what: str,
    limits: Limits,
    *,
    size: int = 0,
    streamed: StreamedBody | None = None,
    **how: Any,
) -> Iterator[Exchange]:
    """Send a request and yield its answer, without following redirects.

    Args:
        session: One of :func:`open_session`.
        method: HTTP method.
        url: Where.
        what: What it is for, as an infinitive: shown to people while it takes long.
        limits: How long it may take.
        size: Bytes of its body, if that exists already.
        streamed: Its body, if that is made meanwhile.
        **how: As ``requests.Session.request``.

    Raises:
        Untrusted: The server's certificate is not trusted.
        NoAnswer: There is no usable answer.
        Stopped: The process was asked to stop.
    """
    host = shown(urlsplit(url).netloc.rpartition("@")[2])
    call = limits.call(f"{host} to answer ({what})", size)
    headers = {"Accept-Encoding": "identity", **(how.pop("headers", None) or {})}
    answer = None
    try:
        check()
        if streamed is not None:
            how["data"] = streamed.during(call)
        with translated(host, limits.setting), call:
            answer = session.request(
                method,
                url,
                headers=headers,
                timeout=limits.answer_s + SLACK_S,
                allow_redirects=False,
                stream=True,
                **how,
            )
        yield Exchange(answer, call, host, limits.setting)
    finally:
        if answer is not None:
            answer.close()


class _Response(http.client.HTTPResponse):
    """Refuses what http.client lets pass: truncated or malformed headers, and chunks of a negative size.

    It reads such a chunk until the server closes the connection.
    """

    def begin(self) -> None:
        whole = self.fp
        self.fp = _WholeLines(whole)  # type: ignore[assignment]  # http.client asks for lines only
        try:
            super().begin()
        finally:
            if self.fp is not None:
                self.fp = whole
        try:
            assert_header_parsing(self.msg)
        except HTTPError as error:
            # urllib3 would only log it, with a traceback, and lose the rest of the headers.
            raise http.client.HTTPException("a header line is malformed") from error

    def _safe_read(self, amt: int) -> bytes:
        if amt < 0:
            raise http.client.IncompleteRead(b"")
        return super()._safe_read(amt)  # type: ignore[misc,no-any-return]  # typeshed does not know it


class _WholeLines:
    def __init__(self, source: Any) -> None:
        self._source = source
        self._begun = False

    def readline(self, limit: int) -> bytes:
        line: bytes = self._source.readline(limit)
        if self._begun and not line.endswith(b"\n") and len(line) < limit:
            raise http.client.IncompleteRead(line)
        self._begun = True
        return line

    def close(self) -> None:
        self._source.close()

    def flush(self) -> None:
        self._source.flush()


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """Connects as requests does, with or without a proxy."""

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **named)
        manager.pool_classes_by_scheme = _POOLS
        return manager


_POOLS = {"http": _Pool, "https": _SecurePool}


def close_session(session: requests.Session) -> None:
    """Close the connections of a session, even if an answer from one of them is still referenced."""
    for adapter in session.adapters.values():
        if isinstance(adapter, HTTPAdapter):
            close_pools(adapter.poolmanager, *adapter.proxy_manager.values())
        adapter.close()


class SessionWithoutRedirects(requests.Session):
    """Leaves redirects to the caller.

    To find a redirect's target, requests reads its whole body, even if it is not to follow it.
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """Return None: nowhere."""
        return None

    def close(self) -> None:
        """Close the connections."""
        close_session(self)


def open_session() -> requests.Session:
    """Return a session that follows no redirects, and sends a login only if it is given one.

    requests would take one from ``~/.netrc``.
    """
    session = SessionWithoutRedirects()
    session.auth = _no_login
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter())
    return session


def _no_login(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def location(stated: str, base: str, host: str) -> SplitResult:
    """Return where a ``Location`` leads.

    Args:
        stated: The header.
        base: URL that it may be relative to.
        host: The server that said so, for the message.

    Raises:
        NoAnswer: It is not an http or https URL.
    """
    try:
        if not 0 < len(stated) <= _MOST_LOCATION or not all("!" <= char <= "~" for char in stated):
            raise ValueError("it is empty, too long, or has characters that are invalid in a URL")
        url = urlsplit(urljoin(base, stated))
        _ = url.port  # parsed only on access
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ValueError("it is not an http or https URL")
    except ValueError as error:
        # The rest may contain a signature or a password that gives access to the target.
        found = _AUTHORITY.match(stated)
        where = f" at {shown(found[1])!r}" if found and found[1] else ""
        raise NoAnswer(f"{host} returned an unusable Location{where}: {error}") from error
    return url


@contextmanager
def translated(host: str, setting: str = "") -> Iterator[None]:
    """Turn whatever requests, urllib3 and http.client raise in the block into :class:`NoAnswer`.

    Args:
        host: The server, for the message.
        setting: Name of the setting for the longest wait, if it can be changed.
    """
    try:
        yield
    except NoAnswer:
        raise
    except FOREIGN as error:
        reason = _cause(error)
        if caused_by(error, ssl.SSLCertVerificationError):
            raise Untrusted(f"the certificate of {host} is not trusted: {reason}", reason) from error
        if is_late(error):
            # A call says what was late and for how long.
            called = isinstance(error, TimeoutError)
            late = shown(str(error).rpartition(": ")[2]) if called else "no more data moved"
            where = f" ({setting})" if setting else ""
            raise NoAnswer(f"{host} did not answer in time: {late}{where}", late) from error
        raise NoAnswer(f"the connection to {host} broke: {reason}", reason) from error


def _cause(error: BaseException) -> str:
    """Return the innermost reason of an error, in a few words: requests wraps it three times.

    It contains no URL, which may hold a signature.
    """
    reason: BaseException = error
    for _ in range(10):
        inner = getattr(reason, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((each for each in reason.args if isinstance(each, BaseException)), None)
        if inner is None:
            break
        reason = inner
    text = str(reason).rpartition(": ")[2]
    return shown(text if text and "://" not in text else type(reason).__name__)


def shown(text: str, most: int = _TOLD) -> str:
    """Return what a server said in one line, without terminal control characters.

    Args:
        text: What it said.
        most: Characters at most.
    """
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * most]).split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
