"""Requests that are sent in one packet, each about the file of the one before (MS-SMB2 section 3.2.4.1.4).

smbprotocol sends and receives them too, with an object for each field of each message. A listing of hundreds
of files spends most of its time on these.
"""

from __future__ import annotations

import threading
from typing import Any

from smbprotocol.header import SMB2HeaderResponse

from jenkins_release.base.dataclass import dataclass
from jenkins_release.share.smb.packed.messages import (
    FLAG_ANSWER,
    FLAG_ASYNC,
    HEADER,
    PENDING,
    MessageHeader,
    parse_header,
)


@dataclass(frozen=True)
class Body:
    """A request without its header, which may be sent several times.

    Attributes:
        command: What it requests.
        data: Its bytes.
        charge: Credits that it uses; 0 if the server has no multi-credit requests.
    """

    command: int
    data: bytes
    charge: int


class RelatedRequest:
    """A request on its way; for smbprotocol, which may receive its answer, one of its own.

    Args:
        number: Its message id.
        command: What it requests.
        session_id: Its session.
    """

    def __init__(self, number: int, command: int, session_id: int) -> None:
        self.number = number
        self.session_id = session_id
        self.message = {"message_id": _Value(number), "command": _Value(command), "reserved": _NONE}
        self.async_id: bytes | None = None
        self.response: Any = None
        self.response_event = threading.Event()
        self.response_event_lock = threading.Lock()
        self._command = command
        self._answer: tuple[int, bytes] | None = None

    def settle(self, header: MessageHeader, message: bytes) -> None:
        """Take its answer, or an interim one.

        Raises:
            ValueError: It is the answer to something else.
        """
        self._check(header)
        with self.response_event_lock:
            if header.flags & FLAG_ASYNC:
                self.async_id = message[32:40]
            if header.status != PENDING:
                self._answer = (header.status, message)
                self.response_event.set()

    def taken(self) -> Answer | None:
        """Return the answer; None if there is only an interim one, or none. Call it with the lock held.

        Raises:
            ValueError: What smbprotocol took is the answer to something else.
        """
        if self._answer is not None:
            return Answer(*self._answer)
        if self.response is None:
            return None
        message = self.response.pack()
        header = parse_header(message)
        self._check(header)
        return None if header.status == PENDING else Answer(header.status, message, self.response)

    def _check(self, header: MessageHeader) -> None:
        """Raise ValueError if it is no answer to this request (MS-SMB2 section 3.2.5.1)."""
        if not header.flags & FLAG_ANSWER or header.command != self._command:
            raise ValueError(f"request {self.number} has no such answer: command {header.command}")
        if header.session_id != self.session_id:
            raise ValueError(f"request {self.number} is answered in another session")


class Answer:
    """What the server answered.

    Args:
        status: NTSTATUS.
        message: The message, with its header.
        header: The same, as smbprotocol's errors take it; made of the message by default.
    """

    def __init__(self, status: int, message: bytes, header: Any = None) -> None:
        self.status = status
        self._message = message
        self._header = header

    @property
    def body(self) -> bytes:
        """The message after its header."""
        return self._message[HEADER:]

    @property
    def header(self) -> Any:
        """The message, as smbprotocol's errors take it."""
        if self._header is None:
            self._header = SMB2HeaderResponse()
            self._header.unpack(self._message)
        return self._header


class _Value:
    """A field of a message, as smbprotocol asks for its value."""

    def __init__(self, value: int) -> None:
        self._value = value

    def get_value(self) -> int:
        return self._value


_NONE = _Value(0)
