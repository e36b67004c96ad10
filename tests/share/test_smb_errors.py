"""Which NTSTATUS becomes which error: the table of faults, code by code."""

from __future__ import annotations

import errno

import pytest
from smbprotocol.exceptions import (
    SMBAuthenticationError,
    SMBConnectionClosed,
    SMBException,
    SMBResponseException,
)
from smbprotocol.header import SMB2HeaderResponse

from jenkins_release.base.errors import RemoteError
from jenkins_release.share import PathExists, PathNotFound, ShareFull
from jenkins_release.share.protocol import AccessRefused, InUse, NameRefused
from jenkins_release.share.smb.errors import (
    LoginRefused,
    MethodRefused,
    connection_survives,
    status_text,
    translate,
)


def answer(status: int) -> SMBResponseException:
    header = SMB2HeaderResponse()
    header["status"] = status
    return SMBResponseException(header)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (0xC0000034, PathNotFound, False),
        (0xC000003A, PathNotFound, False),
        (0xC0000225, PathNotFound, False),
        (0xC00000BA, PathNotFound, False),
        (0xC0000103, PathNotFound, False),
        (0xC0000033, NameRefused, False),
        (0xC0000035, PathExists, False),
        (0xC000007F, ShareFull, False),
        (0xC0000044, ShareFull, False),
        (0xC0000802, ShareFull, False),
        (0xC000006D, LoginRefused, False),
        (0xC0000234, LoginRefused, False),
        (0xC0000071, LoginRefused, False),
        (0xC0000022, AccessRefused, False),
        (0xC00000A2, RemoteError, False),
        (0xC00000CC, RemoteError, False),
        (0xC0000043, InUse, True),
        (0xC0000056, RemoteError, True),
        (0xC000009A, RemoteError, True),
        (0xC00000C9, RemoteError, True),
        (0xC0000203, RemoteError, True),
        (0xC000035C, RemoteError, True),
        (0xC0000466, RemoteError, True),
        (0xC000005E, RemoteError, True),
        (0xC00000BB, RemoteError, False),
        (0xC0000133, LoginRefused, False),
        (0xC0000418, MethodRefused, False),
        (0xC0000906, RemoteError, False),
        (0xC0000001, RemoteError, False),
        (0xCAFEF00D, RemoteError, False),
    ],
)
def test_every_status_has_its_error(status: int, kind: type[RemoteError], retryable: bool) -> None:
    """The class, whether to try again, and the code in the message."""
    error = translate(answer(status), "write", r"\\server\share\file")
    assert type(error) is kind
    assert error.retryable is retryable
    assert error.message.startswith(r"cannot write \\server\share\file: ")
    assert f"(0x{status:08X})" in error.message


@pytest.mark.parametrize(
    ("status", "name", "words", "hint"),
    [
        (0xC0000418, "STATUS_NTLM_BLOCKED", "the server does not accept NTLM", "Kerberos"),
        (0xC00000BB, "STATUS_NOT_SUPPORTED", "the server does not support it", "encryption"),
        (0xC000005E, "STATUS_NO_LOGON_SERVERS", "the server reached no domain controller", "is up"),
        (0xC0000133, "STATUS_TIME_DIFFERENCE_AT_DC", "the clocks of this machine", "chrony"),
        (0xC0000906, "STATUS_VIRUS_INFECTED", "the server's virus scanner", "scanner's log"),
    ],
)
def test_a_status_is_told_in_words(status: int, name: str, words: str, hint: str) -> None:
    """What it means, and what to do; smbprotocol has no name for some of them."""
    error = translate(answer(status), "log in to", r"\\server\share")
    assert f": {words}" in error.message
    assert error.message.endswith(f": {name} (0x{status:08X})")
    assert hint in error.hint


@pytest.mark.parametrize("doing", ["create", "make the folder", "take the lease on", "rename"])
def test_a_name_that_a_file_screen_may_block(doing: str) -> None:
    """Windows answers what a missing permission gets too: both are named where a name is made."""
    hint = translate(answer(0xC0000022), doing, r"\\server\share\file.exe").hint
    assert "permission" in hint
    assert "FSRM" in hint
    assert "FSRM" not in translate(answer(0xC0000022), "read", r"\\server\share\file.exe").hint


@pytest.mark.parametrize("status", [0xC00000C9, 0xC0000203, 0xC000035C, 0xC0000128])
def test_an_ended_session_ends_the_connection(status: int) -> None:
    """What the server forgot is not used again."""
    assert not connection_survives(answer(status))


def test_an_ordinary_answer_keeps_the_connection() -> None:
    """A refusal, known or unknown, is no reason to log in again."""
    assert connection_survives(answer(0xC0000034))
    assert connection_survives(answer(0xCAFEF00D))


@pytest.mark.parametrize(
    ("error", "message", "retryable"),
    [
        (SMBConnectionClosed("gone"), "connection was lost", True),
        (TimeoutError("no answer within 60 s"), "did not answer in time", True),
        (BlockingIOError(errno.EAGAIN, "again"), "did not answer in time", True),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "connection failed", True),
        (BrokenPipeError(errno.EPIPE, "pipe"), "connection failed", True),
        (OSError(errno.EBADF, "closed"), "connection failed", True),
        (ValueError("Failed to connect to 'x:445': refused"), "Failed to connect", True),
        (ValueError("odd"), "makes no sense", False),
        (SMBAuthenticationError("no ticket"), "login failed: no ticket", False),
        (SMBException("guest"), "guest", False),
    ],
)
def test_every_other_failure_has_its_error(error: Exception, message: str, retryable: bool) -> None:
    """Sockets, smbprotocol's own errors, and its bare ValueError; none keeps the connection."""
    translated = translate(error, "read", r"\\server\share\file")
    assert message in translated.message
    assert translated.retryable is retryable
    assert not connection_survives(error)


def test_names_of_codes() -> None:
    """Codes that only smbprotocol knows, and those that nobody does, can still be looked up."""
    assert status_text(0xC0000001) == "STATUS_UNSUCCESSFUL (0xC0000001)"
    assert status_text(0xCAFEF00D) == "NTSTATUS (0xCAFEF00D)"
