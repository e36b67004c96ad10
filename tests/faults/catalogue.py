"""The faults: what each is, how it begins, and with which commands it is played.

A fault *passes* if a command may be expected to get over it: it happens once, or ends before the command's
limits are used up. A fault *holds* if it lasts as long as the command does: Ctrl-C has to end that.
"""

from __future__ import annotations

import email.utils
import json
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jenkins_release.sandbox.process import LOOPBACK, free_port
from jenkins_release.sandbox.stack import CANDIDATE_SHARE, RELEASE_SHARE
from tests.faults import http_proxy, wire
from tests.faults.commands import Key, Play
from tests.faults.http_proxy import Answer, Exchange, HttpProxy, Order
from tests.faults.stage import SMALL, Stage
from tests.faults.wire import RECEIVED, SENT, At, AtCommand, Trouble, Wire

_DEED_S = 60.0
_REFUSED = "refused|cannot be reached|Could not connect"
Came = Callable[[], bool]
Begin = Callable[[Play, str], Came]

SMB_ALL = ("candidate export", "qa sign-off", "promote run (registry)", "release publish")
"""With these every fault of SMB is played."""
BY_DAEMON = ("candidate export (push)", "candidate load (pull)")
"""In these a Docker daemon moves the layers; with the most telling and the lasting ones."""
SMB_SOME = (
    *SMB_ALL,
    *BY_DAEMON,
    "promote approve",
    "release portal",
    "release withdraw",
    "release retire",
    "bundle build",
    "saas refresh",
)
"""With these the most telling."""
HTTP_ALL = ("promote run (registry)", "release portal", "customer issue")
"""With these every fault of HTTP is played."""
HTTP_SOME = (*HTTP_ALL, "release withdraw", "saas refresh", "customer revoke")
"""With these the more telling."""
HTTP_MOST = (*HTTP_SOME, "promote approve", "release retire", "customer rotate")
"""With these the most telling."""
REGISTRY = ("promote run (registry)",)


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        ident: Its name in the table, and for ``-k``.
        told: What it is, in a sentence's words.
        smb: Whether it is one of SMB; else of HTTP.
        begin: Lets it begin, and returns whether it has happened.
        commands: Commands that it is played with.
        passes: Whether the command has to get over it.
        holds: Whether it lasts.
        lies: Whether a command that believes it has failed.
        told_as: What stderr has to say of one that only the client notices, as a regular expression.
    """

    ident: str
    told: str
    smb: bool
    begin: Begin
    commands: tuple[str, ...]
    passes: bool = False
    holds: bool = False
    lies: bool = False
    told_as: str = ""


def line_of(fault: Fault, command_lines: dict[str, Key]) -> str:
    """Return the line that a fault is put on: S3 and IAM before ECR where a command has both."""
    if fault.smb:
        return "smb"
    return "aws" if "aws" in command_lines else "ecr"


def _wire(stage: Stage, line: str) -> Wire:
    found: Wire = getattr(stage, line)
    return found


def _proxy(stage: Stage, line: str) -> HttpProxy:
    found: HttpProxy = getattr(stage, f"{line}_proxy")
    return found


def _suffer(play: Play, line: str, trouble: Trouble, came: Came | None = None) -> Came:
    where = _wire(play.stage, line)
    where.suffer(trouble)
    if came is not None:
        return came
    return lambda: bool(getattr(trouble, "came", where.count))


def on_wire(make: Callable[[Wire, Key], Trouble]) -> Begin:
    """A trouble on the wire, made for the command."""

    def begin(play: Play, line: str) -> Came:
        return _suffer(play, line, make(_wire(play.stage, line), play.command.lines[line]))

    return begin


def refused(play: Play, line: str) -> Came:
    """No connection is accepted. Nobody but the client notices: its words tell, see ``Fault.told_as``."""
    begun = time.monotonic()
    _wire(play.stage, line).suffer(wire.Deaf())
    return lambda: time.monotonic() > begun + 3


class Deed:
    """What is done to a server or wire, once, beside the command.

    Args:
        action: Does it; returns False if there was nothing to do it to.
    """

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action
        self._thread = threading.Thread(target=self._do, daemon=True)
        self._done = False

    def begin(self) -> None:
        """Begin it."""
        self._thread.start()

    def came(self) -> bool:
        """Whether it was done; waits for its end if it has begun, so that it is not done to the next cell."""
        if self._thread.ident is not None:
            self._thread.join(_DEED_S)
        return self._done

    def _do(self) -> None:
        self._done = self._action() is not False


def at_moment(action: Callable[[Play, str], object]) -> Begin:
    """Something is done to a server or wire at the command's telling request."""

    def begin(play: Play, line: str) -> Came:
        key = play.command.lines[line]
        deed = Deed(lambda: action(play, line))
        if line == "smb":
            return _suffer(play, line, wire.Moment(key.label, deed.begin), deed.came)

        def act(exchange: Exchange) -> None:
            deed.begin()
            exchange.send(exchange.forward())

        _proxy(play.stage, line).suffer(Order(key.write or key.label, act, times=1))
        return deed.came

    return begin


def _restart_samba(seconds: float) -> Callable[[Play, str], None]:
    def act(play: Play, line: str) -> None:
        samba = play.stage.sandbox.samba
        samba.stop()
        time.sleep(seconds)
        samba.start(tied=True)

    return act


def _restart_ecr(play: Play, line: str) -> None:
    play.stage.sandbox.ecr.stop()
    play.stage.sandbox.ecr.start(tied=True)


def _close_share(play: Play, line: str) -> None:
    samba = play.stage.sandbox.samba
    for share in samba.shares:
        command = ["smbcontrol", "-s", str(samba.config_file), "smbd", "close-share", share]
        subprocess.run(command, check=True, capture_output=True, timeout=_DEED_S)


def small(*, tells: bool) -> Begin:
    """The share that is written to has too little room, and tells of it or of more than there is."""

    def begin(play: Play, line: str) -> Came:
        name, share, size = (
            ("RELEASES", RELEASE_SHARE, SMALL // 8)
            if play.command.step == "publish"
            else ("RELEASE_CANDIDATE", CANDIDATE_SHARE, SMALL)
        )
        # Under the same name as the large one: an approval is for the place that it names.
        server = play.stage.small_share(share, play.product.name, size=size, told=None if tells else 1 << 30)
        space = wire.Space()
        server.suffer(space)
        variable = f"JENKINS_RELEASE_SHARE_{name}"
        play.more[variable] = f"smb://{LOOPBACK}:{server.port}/{share}/{play.product.name}"
        play.lifted.append(lambda: play.more.pop(variable))
        return lambda: space.full or (tells and space.asked)

    return begin


def order(
    act: Callable[[Exchange], None],
    label: str = "",
    *,
    times: int | None = None,
    write: bool = False,
    skip: int = 0,
) -> Begin:
    """What happens to the command's telling requests, or to those with a label."""

    def begin(play: Play, line: str) -> Came:
        key = play.command.lines[line]
        wanted = label or (key.write if write and key.write else key.label)
        made = Order(wanted, act, times=times, skip=skip)
        _proxy(play.stage, line).suffer(made)
        return lambda: made.hits > 0

    return begin


def _dated(seconds: float) -> Callable[[Exchange], None]:
    """429 with a moment in Retry-After (RFC 9110 10.2.3)."""

    def act(exchange: Exchange) -> None:
        moment = email.utils.formatdate(time.time() + seconds, usegmt=True)
        http_proxy.status(429, THROTTLED, Retry_After=moment)(exchange)

    return act


def no_way_out(play: Play, line: str) -> Came:
    """The environment names a proxy that refuses connections; see ``Fault.told_as``."""
    for name in ("HTTP_PROXY", "http_proxy"):
        play.more[name] = f"http://{LOOPBACK}:{free_port()}"
        play.lifted.append(lambda name=name: play.more.pop(name))  # type: ignore[misc]
    return lambda: True


def _location(value: str) -> Callable[[Exchange], None]:
    return http_proxy.changed(lambda answer: answer.replace("Location", value))


def _header(name: str, value: str) -> Callable[[Exchange], None]:
    return http_proxy.changed(lambda answer: answer.replace(name, value))


def _all_available(answer: Answer) -> None:
    """Say of every layer that was asked for that it is there."""
    told = json.loads(answer.body)
    for failure in told.get("failures", []):
        told.setdefault("layers", []).append(
            {"layerDigest": failure["layerDigest"], "layerAvailability": "AVAILABLE"}
        )
    for layer in told.get("layers", []):
        layer["layerAvailability"] = "AVAILABLE"
    answer.body = json.dumps({**told, "failures": []}).encode()


def _alter_manifest(answer: Answer) -> None:
    told = json.loads(answer.body)
    for image in told.get("images", []):
        image["imageManifest"] = image["imageManifest"].replace('"size":', '"size": ', 1)
    answer.body = json.dumps(told).encode()


def _half(answer: Answer) -> None:
    answer.body = answer.body[: len(answer.body) // 2]


def _cut(exchange: Exchange) -> None:
    """The length of the whole answer, and half of it."""
    answer = exchange.forward()
    head = f"HTTP/1.1 {answer.status} OK\r\nContent-Length: {len(answer.body) + 100}\r\n\r\n"
    exchange.raw(head.encode() + answer.body)
    exchange.reset()


def _go_on(exchange: Exchange) -> None:
    """Say without end that the request may go on (RFC 9110 15.2.1)."""
    http_proxy.endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n")(exchange)


def _redirect(exchange: Exchange) -> None:
    here = f"http://{exchange.headers.get('host', '')}{exchange.path}?{exchange.query}"
    exchange.send(Answer(307, [("Location", here)]))


PAGE = b"<!DOCTYPE html><html><body>Please log in to the proxy.</body></html>"


def _errors(code: str, message: str, json_code: str = "") -> tuple[bytes, bytes]:
    """Return an error as AWS's JSON, with what the registry API wants, and as AWS's XML."""
    told = {"__type": json_code or code, "message": message, "errors": [{"code": code, "message": message}]}
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    xml = f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"
    return json.dumps(told).encode(), xml.encode()


THROTTLED = _errors("TOOMANYREQUESTS", "Rate exceeded", "ThrottlingException")[0]
BROKEN = _errors("UNKNOWN", "it is broken", "ServerException")[0]
TOKEN = _errors("DENIED", "Your authorization token has expired. Reauthenticate and try again.")[0]
EXPIRED = _errors(
    "ExpiredToken", "The security token included in the request is expired", "ExpiredTokenException"
)
SKEWED = _errors(
    "RequestTimeTooSkewed",
    "Signature expired: 20260101T000000Z is now earlier than 20260101T005500Z",
    "InvalidSignatureException",
)
LOST = _errors("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")[0]
WRONG = "sha256:" + "0" * 64
_API = r"[A-Z]\w*"
_ANY = ".*"


def _of_kind(json_body: bytes, xml_body: bytes, number: int) -> Callable[[Exchange], None]:
    def act(exchange: Exchange) -> None:
        is_json = "x-amz-target" in exchange.headers or exchange.path.startswith("/v2/")
        body = json_body if is_json else xml_body
        http_proxy.status(number, body, "application/x-amz-json-1.1" if is_json else "text/xml")(exchange)

    return act


def _smb() -> list[Fault]:
    def fault(ident: str, told: str, begin: Begin, commands: tuple[str, ...] = SMB_ALL, **how: Any) -> Fault:
        return Fault(f"smb-{ident}", told, True, begin, commands, **how)

    def answer_lost(label: str, what: str) -> Begin:
        return on_wire(lambda w, k: AtCommand(label, what, wire=w))

    def held(label: str) -> Begin:
        return on_wire(lambda w, k: AtCommand(label, "stall", wire=w, times=None))

    def gone(number: int) -> Begin:
        return on_wire(lambda w, k: AtCommand(k.label, "answer", wire=w, status=number))

    # A load writes nothing.
    renames = tuple(name for name in SMB_SOME if name != BY_DAEMON[1])
    writes = ("candidate export", "qa sign-off", "release publish", BY_DAEMON[0])
    return [
        fault("delay", "every message takes 20 ms", on_wire(lambda w, k: wire.Delay(0.02)), passes=True),
        fault(
            "rate",
            "one byte a second, from a byte on",
            on_wire(lambda w, k: wire.Rate(1, after=k.byte)),
            SMB_SOME,
            holds=True,
        ),
        fault(
            "stall-once",
            "one connection passes nothing more from a byte on",
            on_wire(lambda w, k: At("stall", k.byte, k.way)),
            (*SMB_ALL, *BY_DAEMON),
            passes=True,
        ),
        fault(
            "stall",
            "every connection passes nothing more from a byte on",
            on_wire(lambda w, k: At("stall", k.byte, k.way, times=None)),
            holds=True,
        ),
        fault(
            "one-way",
            "no answer arrives any more on the connections there are",
            on_wire(lambda w, k: At("oneway", k.byte, k.way, wire=w)),
            SMB_SOME,
            passes=True,
        ),
        fault(
            "reset",
            "one connection is reset at a byte",
            on_wire(lambda w, k: At("reset", k.byte, k.way)),
            SMB_SOME,
            passes=True,
        ),
        fault(
            "reset-always",
            "every connection is reset at a byte",
            on_wire(lambda w, k: At("reset", k.byte, k.way, times=None)),
        ),
        fault(
            "closed",
            "one connection is closed at a byte",
            on_wire(lambda w, k: At("close", k.byte, k.way)),
            passes=True,
        ),
        fault(
            "half-open",
            "one connection dies without a word at the telling command",
            on_wire(lambda w, k: AtCommand(k.label, "stall", wire=w)),
            passes=True,
        ),
        fault(
            "half-open-all",
            "all connections die without a word at the telling command; new ones pass",
            on_wire(lambda w, k: AtCommand(k.label, "hold", wire=w)),
            SMB_SOME,
            passes=True,
        ),
        fault(
            "changed-answer",
            "one byte of an answer is changed",
            on_wire(lambda w, k: At("change", 1_000, RECEIVED)),
            SMB_SOME,
            passes=True,
        ),
        fault(
            "changed-request",
            "one byte of a request is changed",
            on_wire(lambda w, k: At("change", k.byte if k.way == SENT else 2_000, SENT)),
            passes=True,
        ),
        fault(
            "garbage-once",
            "bytes of no protocol in place of one answer",
            on_wire(lambda w, k: At("garbage", 1_000, RECEIVED)),
            passes=True,
        ),
        fault(
            "garbage", "bytes of no protocol in place of every answer", on_wire(lambda w, k: wire.Babble())
        ),
        fault(
            "silent",
            "connections are accepted, and nothing is answered",
            on_wire(lambda w, k: wire.Mute()),
            SMB_SOME,
            holds=True,
        ),
        fault(
            "hang-up",
            "connections are accepted and closed at once",
            on_wire(lambda w, k: wire.HangUp()),
        ),
        fault("refused", "connections are refused", refused, holds=True, told_as=_REFUSED),
        fault(
            "refused-3s",
            "all connections are reset and new ones refused for 3 s",
            at_moment(lambda play, line: play.stage.smb.refuse(3.0)),
            SMB_SOME,
            passes=True,
        ),
        fault(
            "restart",
            "the server restarts at the telling command",
            at_moment(_restart_samba(0.0)),
            SMB_SOME,
            passes=True,
        ),
        fault(
            "restart-2s",
            "the server restarts and is away for 2 s",
            at_moment(_restart_samba(2.0)),
            passes=True,
        ),
        fault(
            "killed",
            "the server's processes for the connections are killed",
            at_moment(lambda play, line: play.stage.sandbox.samba.kill_clients() > 0),
            passes=True,
        ),
        fault(
            "frozen",
            "the server stops answering, its connections stay",
            at_moment(lambda play, line: play.stage.sandbox.samba.freeze()),
            SMB_SOME,
            holds=True,
        ),
        fault(
            "share-closed",
            "the administrator takes the share off its users once",
            at_moment(_close_share),
            passes=True,
        ),
        fault("session-deleted", "STATUS_USER_SESSION_DELETED once", gone(0xC0000203), passes=True),
        fault("session-expired", "STATUS_NETWORK_SESSION_EXPIRED once", gone(0xC000035C), passes=True),
        fault(
            "full",
            "the share is full, and says so",
            small(tells=True),
            ("candidate export", "release publish", BY_DAEMON[0]),
        ),
        fault(
            "quota",
            "the share tells of free space that there is not",
            small(tells=False),
            ("candidate export", "release publish", BY_DAEMON[0]),
        ),
        *(
            fault(
                f"stall-at-{label.lower()}".replace("_", "-"),
                f"{label} is never answered",
                held(label),
                commands,
                holds=True,
            )
            for label, commands in (
                ("NEGOTIATE", ("candidate export",)),
                ("SESSION_SETUP", ("candidate export", "promote run (registry)")),
                ("TREE_CONNECT", ("candidate export",)),
                ("CREATE", SMB_ALL),
                ("WRITE", writes),
                ("FLUSH", writes),
                ("READ", ("promote run (registry)", "release portal", "release publish", *BY_DAEMON)),
                ("RENAME", renames),
                ("CLOSE", SMB_ALL),
                ("DELETE", ("qa sign-off", "promote run (registry)")),
                ("QUERY_DIRECTORY", ("promote run (registry)", "release retire")),
            )
        ),
        *(
            fault(
                f"lost-{label.lower()}".replace("_", "-"),
                f"{label} is done, its answer is lost, and the connection reset",
                answer_lost(label, "lose"),
                commands,
                passes=True,
            )
            for label, commands in (
                ("CREATE", SMB_ALL),
                ("WRITE", writes),
                ("FLUSH", writes),
                ("RENAME", renames),
                ("CLOSE", SMB_ALL),
                ("DELETE", ("qa sign-off", "promote run (registry)")),
            )
        ),
        *(
            fault(
                f"stranded-{label.lower()}",
                f"{label} is done, its answer is lost, and the server does not learn of it",
                answer_lost(label, "strand"),
                commands,
                passes=True,
            )
            for label, commands in (
                ("CREATE", SMB_ALL),
                ("RENAME", renames),
                ("DELETE", ("qa sign-off", "promote run (registry)")),
            )
        ),
        fault(
            "stranded-rename-all",
            "RENAME is done, its answer is lost, and no connection passes anything any more",
            answer_lost("RENAME", "strand-all"),
            renames,
            passes=True,
        ),
    ]


def _http() -> list[Fault]:
    def fault(ident: str, told: str, begin: Begin, commands: tuple[str, ...] = HTTP_ALL, **how: Any) -> Fault:
        return Fault(f"http-{ident}", told, False, begin, commands, **how)

    status = http_proxy.status
    return [
        fault("delay", "every piece takes 20 ms", on_wire(lambda w, k: wire.Delay(0.02)), passes=True),
        fault("slow", "every answer takes 0.3 s", order(http_proxy.slow(0.3), _ANY), passes=True),
        fault(
            "rate",
            "one byte a second, from a byte on",
            on_wire(lambda w, k: wire.Rate(1, after=k.byte)),
            (*HTTP_SOME, "promote run (docker)"),
            holds=True,
        ),
        fault(
            "drip",
            "the telling answer comes one byte a second",
            order(http_proxy.drip),
            HTTP_SOME,
            holds=True,
        ),
        fault(
            "stall",
            "the telling request is never answered",
            order(http_proxy.stall),
            (*HTTP_MOST, "promote run (docker)"),
            holds=True,
        ),
        fault(
            "stall-once",
            "the telling request is not answered once",
            order(http_proxy.stall, times=1),
            passes=True,
        ),
        *(
            fault(
                f"stall-at-{what}",
                f"{label} is never answered",
                order(http_proxy.stall, label),
                REGISTRY,
                holds=True,
            )
            for what, label in (
                ("login", "GetAuthorizationToken"),
                ("repositories", "DescribeRepositories"),
                ("layers", "BatchCheckLayerAvailability"),
                ("upload", "POST blobs/uploads"),
                ("commit", "PUT blobs/uploads"),
                ("manifest", "PUT manifests"),
                ("tag", "PutImage"),
            )
        ),
        fault(
            "stall-byte",
            "every connection passes nothing more from a byte on",
            on_wire(lambda w, k: At("stall", k.byte, k.way, times=None)),
            holds=True,
        ),
        fault(
            "one-way",
            "no answer arrives any more on the connections there are",
            on_wire(lambda w, k: At("oneway", k.byte, k.way, wire=w)),
            passes=True,
        ),
        fault(
            "half-open",
            "all connections die without a word at a byte; new ones pass",
            on_wire(lambda w, k: At("stall", k.byte, k.way, wire=w)),
            HTTP_MOST,
            passes=True,
        ),
        fault(
            "reset",
            "one connection is reset at a byte",
            on_wire(lambda w, k: At("reset", k.byte, k.way)),
            HTTP_MOST,
            passes=True,
        ),
        fault(
            "reset-always",
            "every connection is reset at a byte",
            on_wire(lambda w, k: At("reset", k.byte, k.way, times=None)),
        ),
        fault(
            "changed",
            "one byte of what is sent is changed",
            on_wire(lambda w, k: At("change", k.byte, SENT)),
            ("promote run (registry)", "release portal"),
        ),
        fault(
            "garbage",
            "bytes of no protocol in place of every answer",
            on_wire(lambda w, k: wire.Babble()),
            HTTP_SOME,
        ),
        fault(
            "status-line",
            "a status line that is none",
            order(lambda e: e.raw(b"HTTP/1.1 2x0 Oh\r\nContent-Length: 0\r\n\r\n")),
        ),
        fault(
            "silent",
            "connections are accepted, and nothing is answered",
            on_wire(lambda w, k: wire.Mute()),
            HTTP_SOME,
            holds=True,
        ),
        fault(
            "hang-up",
            "connections are accepted and closed at once",
            on_wire(lambda w, k: wire.HangUp()),
        ),
        fault("refused", "connections are refused", refused, HTTP_MOST, holds=True, told_as=_REFUSED),
        fault(
            "refused-3s",
            "all connections are reset and new ones refused for 3 s",
            at_moment(lambda play, line: _wire(play.stage, line).refuse(3.0)),
            HTTP_SOME,
            passes=True,
        ),
        # Not with saas refresh: the sandbox's ECS forgets its services when it stops.
        fault(
            "restart",
            "ECR restarts at the first change",
            at_moment(_restart_ecr),
            ("promote run (registry)", "release withdraw"),
            passes=True,
        ),
        fault(
            "proxy-refuses",
            "the environment names a proxy that refuses connections",
            no_way_out,
            HTTP_SOME,
            told_as=r"the proxy 127\.0\.0\.1:\d+ cannot be reached",
        ),
        fault("429", "429 without end", order(status(429, THROTTLED)), HTTP_SOME),
        fault(
            "429-twice",
            "429 twice, with Retry-After: 1",
            order(status(429, THROTTLED, Retry_After="1"), times=2),
            HTTP_SOME,
            passes=True,
        ),
        fault(
            "429-date",
            "429 twice, with a moment in 2 s in Retry-After",
            order(_dated(2), times=2),
            passes=True,
        ),
        fault(
            "429-wait",
            "429 without end, with Retry-After: 4",
            order(status(429, THROTTLED, Retry_After="4")),
            holds=True,
        ),
        fault(
            "429-long",
            "429 without end, with Retry-After: 600",
            order(status(429, THROTTLED, Retry_After="600")),
            HTTP_SOME,
        ),
        fault("429-far", "429 without end, with a moment in a year in Retry-After", order(_dated(3e7))),
        fault(
            "429-huge",
            "429 without end, with Retry-After: 9 and 300 zeros",
            order(status(429, THROTTLED, Retry_After="9" + "0" * 300)),
        ),
        fault(
            "429-odd", "429 without end, with Retry-After: ²", order(status(429, THROTTLED, Retry_After="²"))
        ),
        fault("503", "503 without end", order(status(503, BROKEN)), HTTP_MOST),
        fault("503-twice", "503 twice", order(status(503, BROKEN), times=2), HTTP_SOME, passes=True),
        fault("502-page", "502 with a page of HTML, without end", order(status(502, PAGE, "text/html"))),
        fault(
            "page",
            "a page of HTML in place of an answer, without end",
            order(status(200, PAGE, "text/html")),
            HTTP_MOST,
        ),
        fault(
            "page-layers",
            "a page of HTML from BatchCheckLayerAvailability",
            order(status(200, PAGE, "text/html"), "BatchCheckLayerAvailability"),
            REGISTRY,
        ),
        fault("page-once", "a page of HTML once", order(status(200, PAGE, "text/html"), times=1)),
        fault(
            "half-json",
            "half of each JSON document",
            order(http_proxy.changed(_half), _API),
            ("promote run (registry)", "release withdraw", "saas refresh"),
        ),
        fault("cut-answer", "an answer that ends before its length, once", order(_cut, times=1), passes=True),
        fault(
            "endless-error",
            "500 with a body without end",
            order(http_proxy.endless(b"HTTP/1.1 500 Oh\r\nContent-Type: text/plain\r\n\r\n", b"x" * 4096)),
            HTTP_SOME,
        ),
        fault(
            "endless-answer",
            "200 with a body without end",
            order(
                http_proxy.endless(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b" " * 4096)
            ),
            HTTP_SOME,
        ),
        fault(
            "endless-header",
            "a header without end",
            order(http_proxy.endless(b"HTTP/1.1 200 OK\r\nX-A: ", b"x" * 4096)),
        ),
        fault("endless-100", "100 Continue without end", order(_go_on), holds=True),
        fault(
            "lost-answer",
            "the first change is done, its answer is lost, and the connection reset",
            order(http_proxy.lose, write=True, times=1),
            HTTP_MOST,
            passes=True,
        ),
        fault(
            "lost-silently",
            "the first change is done, its answer never comes",
            order(http_proxy.lose_silently, write=True, times=1),
            HTTP_SOME,
            passes=True,
        ),
        *(
            fault(
                f"lost-{what}",
                f"{label} is done, its answer is lost once",
                order(http_proxy.lose, label, times=1),
                REGISTRY,
                passes=True,
            )
            for what, label in (
                ("create", "CreateRepository"),
                ("upload", "POST blobs/uploads"),
                ("part", "PATCH blobs/uploads"),
                ("commit", "PUT blobs/uploads"),
                ("manifest", "PUT manifests"),
                ("delete", "BatchDeleteImage"),
            )
        ),
        fault(
            "upload-lost",
            "the upload session is lost once, at PATCH",
            order(status(404, LOST), "PATCH blobs/uploads", times=1),
            REGISTRY,
            passes=True,
        ),
        fault(
            "upload-lost-commit",
            "the upload session is lost once, at PUT",
            order(status(404, LOST), "PUT blobs/uploads", times=1),
            REGISTRY,
            passes=True,
        ),
        fault(
            "upload-lost-always",
            "every upload session is lost",
            order(status(404, LOST), "PATCH blobs/uploads"),
            REGISTRY,
        ),
        fault(
            "wrong-digest-blob",
            "another Docker-Content-Digest in the answer to each blob",
            order(_header("Docker-Content-Digest", WRONG), "PUT blobs/uploads"),
            REGISTRY,
            lies=True,
        ),
        fault(
            "wrong-digest-manifest",
            "another Docker-Content-Digest in the answer to each manifest",
            order(_header("Docker-Content-Digest", WRONG), "PUT manifests"),
            REGISTRY,
            lies=True,
        ),
        fault(
            "altered-manifest",
            "manifests that are read have other bytes",
            order(http_proxy.changed(_alter_manifest), "BatchGetImage"),
            ("promote run (registry)", "release withdraw"),
            lies=True,
        ),
        fault(
            "lying-head",
            "every layer is said to be there already",
            order(http_proxy.changed(_all_available), "BatchCheckLayerAvailability"),
            REGISTRY,
        ),
        fault(
            "lying-range",
            "each part is answered with Range: 0-0",
            order(_header("Range", "0-0"), "PATCH blobs/uploads"),
            REGISTRY,
        ),
        fault(
            "lying-range-beyond",
            "each part is answered with a Range beyond it",
            order(_header("Range", "0-99999999999"), "PATCH blobs/uploads"),
            REGISTRY,
        ),
        fault(
            "odd-range",
            "each part is answered with Range: 0-²",
            order(_header("Range", "0-²"), "PATCH blobs/uploads"),
            REGISTRY,
        ),
        fault(
            "bad-location",
            "Location: http://[::1/ä x for each upload",
            order(_location("http://[::1/ä x"), "POST blobs/uploads"),
            REGISTRY,
        ),
        fault(
            "elsewhere",
            "Location leads to another server for each upload",
            order(_location("http://127.0.0.1:1/v2/x/blobs/uploads/1"), "POST blobs/uploads"),
            REGISTRY,
        ),
        fault("redirects", "a redirect to itself", order(_redirect), HTTP_SOME),
        fault(
            "token-expired",
            "the registry's token is expired once",
            order(status(403, TOKEN), "PATCH blobs/uploads|PUT blobs/uploads", times=1, skip=1),
            REGISTRY,
            passes=True,
        ),
        fault(
            "token-always",
            "the registry's token is always expired",
            order(status(403, TOKEN), r"\w+ (blobs|manifests).*"),
            REGISTRY,
        ),
        fault(
            "credentials-expired",
            "AWS credentials are expired",
            order(_of_kind(*EXPIRED, 403)),
            HTTP_SOME,
        ),
        fault(
            "clock",
            "AWS finds the clock of this machine wrong",
            order(_of_kind(*SKEWED, 403)),
            HTTP_SOME,
        ),
        fault(
            "docker-stall",
            "the daemon's upload is never answered",
            order(http_proxy.stall, r"PATCH blobs/uploads|PUT blobs/uploads"),
            ("promote run (docker)",),
            holds=True,
        ),
        fault(
            "docker-reset",
            "the daemon's upload is reset once",
            order(http_proxy.reset, r"PATCH blobs/uploads", times=1),
            ("promote run (docker)",),
            passes=True,
        ),
        fault(
            "docker-lost-tag",
            "PutImage is done, its answer is lost",
            order(http_proxy.lose, "PutImage", times=1),
            ("promote run (docker)",),
            passes=True,
        ),
    ]


FAULTS: dict[str, Fault] = {fault.ident: fault for fault in (*_smb(), *_http())}
