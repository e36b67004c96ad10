"""Answers over HTTP as no server of its kind gives them: status, headers, length, chunks, JSON and XML."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any


@dataclass
class Said:
    """An answer.

    Attributes:
        status: What follows the version in the first line.
        headers: Names and values.
        body: The body.
        version: HTTP version.
        end: Bytes after the body.
        framed: Whether ``Content-Length`` is added.
        stalls: Whether the connection stays open after it.
    """

    status: str = "200 OK"
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    version: str = "HTTP/1.1"
    end: bytes = b""
    framed: bool = True
    stalls: bool = False

    def raw(self, *, head: bool) -> bytes:
        """Return the bytes; those of an answer to HEAD have no body."""
        headers = [*self.headers, ("Connection", "close")]
        if self.framed:
            headers.append(("Content-Length", str(len(self.body))))
        lines = [f"{self.version} {self.status}", *(f"{name}: {value}" for name, value in headers), "", ""]
        return "\r\n".join(lines).encode("latin-1", "replace") + (b"" if head else self.body + self.end)


def document(content: Any, status: str = "200 OK", **headers: str) -> Said:
    """Return an answer with JSON."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Said(status, [("Content-Type", "application/json"), *named], json.dumps(content).encode())


ODD_TEXT = [
    "",
    " ",
    "\xb2",
    "-1",
    "0",
    "1e9",
    "9" * 30,
    "true",
    "null",
    "\xff",
    "a" * 70_000,
    "http://[::1/\xe4 x",
    "http://127.0.0.1:1/x",
    "//",
    "../..",
    "\x00",
    "x\x1b[2J",
    "sha256:" + "0" * 64,
    "Thu, 99 Foo 2020 99:99:99 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "text/html; charset=rot13",
    'Bearer realm="http://[::1/",service="\xb2",scope',
    "bytes=5-1",
    "gzip",
    "chunked",
]
HEADERS = [
    "Content-Type",
    "Content-Length",
    "Content-Encoding",
    "Transfer-Encoding",
    "Location",
    "Range",
    "Content-Range",
    "Retry-After",
    "x-amz-retry-after",
    "Docker-Content-Digest",
    "Docker-Upload-UUID",
    "WWW-Authenticate",
    "ETag",
    "Last-Modified",
    "Date",
    "Link",
    "x-amz-bucket-region",
    "x-amz-checksum-sha256",
    "x-amz-version-id",
    "x-amzn-ErrorType",
    "x-amzn-query-error",
    "X-Text-Size",
    "X-More-Data",
    "X-Error",
    "Set-Cookie",
    "Server",
]
STATUSES = [
    "100 Continue",
    "101 Switching Protocols",
    "201 Created",
    "202 Accepted",
    "204 No Content",
    "206 Partial Content",
    "301 Moved",
    "303 See Other",
    "304 Not Modified",
    "307 Temporary Redirect",
    "400 Bad",
    "401 Unauthorized",
    "403 Forbidden",
    "404 Not Found",
    "409 Conflict",
    "412 Precondition",
    "416 Range",
    "429 Slow",
    "500 Error",
    "501 Not Implemented",
    "503 Busy",
    "599 x",
    "600 x",
    "99 x",
    "2\xb20 x",
    "-200 x",
    "",
    "OK",
    "200",
    "200 " + "x" * 70_000,
]
ODD_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\ud800",
    "\x00\x1b[2J",
    "\xb2",
    "a" * 5000,
    [],
    {},
    [None],
    [[]],
    {"": ""},
    {"a": {"a": {}}},
]


def mutated(said: Said, random: Random) -> Said:
    """Return an answer with one to three things wrong."""
    found = copy.deepcopy(said)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        random.choice(_KINDS)(found, random)
    return found


def _status(said: Said, random: Random) -> None:
    said.status = random.choice(STATUSES)


def _version(said: Said, random: Random) -> None:
    said.version = random.choice(["HTTP/1.0", "HTTP/9.9", "ICY", "", "\x16\x03\x01", "HTTP/1.1 "])


def _drop(said: Said, random: Random) -> None:
    if said.headers:
        said.headers.pop(random.randrange(len(said.headers)))


def _value(said: Said, random: Random) -> None:
    if said.headers:
        place = random.randrange(len(said.headers))
        said.headers[place] = (said.headers[place][0], random.choice(ODD_TEXT))


def _add(said: Said, random: Random) -> None:
    said.headers.append((random.choice(HEADERS), _after(random)))


def _after(random: Random) -> str:
    # A short wait that the server asks for is waited for: not in a test of thousands.
    return random.choice(ODD_TEXT)


def _many(said: Said, random: Random) -> None:
    said.headers += [(f"X-{number}", "x") for number in range(random.choice((50, 101, 2000)))]


def _broken_header(said: Said, random: Random) -> None:
    said.headers.insert(0, random.choice([("", ""), ("a b", "x"), ("X\r\nY", "1"), ("\xff", "\x00")]))


def _length(said: Said, random: Random) -> None:
    said.framed = False
    kinds = (None, len(said.body) + 5, max(0, len(said.body) - 5), -1, 10**15, "\xb2", "")
    if (kind := random.choice(kinds)) is not None:
        said.headers.append(("Content-Length", str(kind)))


def _cut(said: Said, random: Random) -> None:
    said.body = said.body[: random.randrange(len(said.body) + 1)]


def _cut_short(said: Said, random: Random) -> None:
    said.headers.append(("Content-Length", str(len(said.body))))
    said.framed = False
    _cut(said, random)


def _replaced(said: Said, random: Random) -> None:
    said.body = random.choice(
        [
            b"",
            b"null",
            b"[]",
            b"{}",
            b'"x"',
            b"<html><body>Sign in</body></html>",
            b"\xff\xfe\x00",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"<a>" * 20_000,
            b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;'>]><x>&b;</x>",
            b"<Error><Code>InternalError</Code></Error>",
            b"<Error><Code>\xc2\xb2</Code><Message/></Error>",
            random.randbytes(300),
        ]
    )


def _flipped(said: Said, random: Random) -> None:
    body = bytearray(said.body)
    for _ in range(min(len(body), random.choice((1, 3)))):
        body[random.randrange(len(body))] = random.randrange(256)
    said.body = bytes(body)


def _chunked(said: Said, random: Random) -> None:
    said.framed = False
    said.headers.append(("Transfer-Encoding", "chunked"))
    half = len(said.body) // 2
    size = random.choice([f"{half:x}", f"{half + 3:x}", "-5", "zz", "", "f" * 20, f"{half:x};{'e' * 70_000}"])
    first, second = said.body[:half], said.body[half:]
    said.body = f"{size}\r\n".encode() + first + b"\r\n" + f"{len(second):x}\r\n".encode() + second + b"\r\n"
    said.end = random.choice([b"0\r\n\r\n", b"", b"0\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"])


def _compressed(said: Said, random: Random) -> None:
    said.headers.append(("Content-Encoding", random.choice(["gzip", "deflate", "br", "x", "gzip, gzip"])))


def _stalled(said: Said, random: Random) -> None:
    if random.random() < 0.05:  # each costs the limit
        said.stalls = True
        _cut_short(said, random)


def _content(said: Said, random: Random) -> None:
    """Change the document: a value of JSON, or the text or a tag of XML."""
    if said.body.lstrip()[:1] in {b"{", b"["}:
        said.body = _odd_json(said.body, random)
    elif said.body.lstrip()[:1] == b"<":
        said.body = _odd_xml(said.body, random)
    else:
        _flipped(said, random)


def _odd_json(body: bytes, random: Random) -> bytes:
    try:
        whole = json.loads(body)
    except (ValueError, RecursionError):
        return body
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            places.append((value, key))
            if isinstance(item, dict | list):
                walk(item)

    if isinstance(whole, dict | list):
        walk(whole)
    if not places:
        return json.dumps(random.choice(ODD_VALUES)).encode()
    holder, key = random.choice(places)
    if random.random() < 0.25 and isinstance(holder, dict):
        del holder[key]
    else:
        holder[key] = random.choice(ODD_VALUES)
    return json.dumps(whole).encode()


def _odd_xml(body: bytes, random: Random) -> bytes:
    texts = list(re.finditer(rb">([^<>]*)<", body))
    tags = list(re.finditer(rb"<(\w+)>[^<]*</\1>", body))
    if tags and random.random() < 0.4:
        found = random.choice(tags)
        return body[: found.start()] + random.choice([b"", found.group(0) * 2]) + body[found.end() :]
    if texts:
        found = random.choice(texts)
        text = random.choice([*ODD_TEXT, "<x/>", "&lt;", "&a;"]).encode("utf-8", "replace")
        return body[: found.start(1)] + text + body[found.end(1) :]
    return body


_KINDS: list[Callable[[Said, Random], None]] = [
    _status,
    _status,
    _version,
    _drop,
    _value,
    _value,
    _add,
    _add,
    _many,
    _broken_header,
    _length,
    _cut,
    _cut_short,
    _replaced,
    _replaced,
    _flipped,
    _chunked,
    _compressed,
    _stalled,
    *[_content] * 8,
]
