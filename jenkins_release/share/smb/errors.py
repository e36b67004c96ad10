"""SMB failures as errors of this package.

NTSTATUS codes and names are those of MS-ERREF section 2.3.1. What is worth another attempt: a lost
connection, a time-out, a refused connect, and temporary states of the server. A refused login never is: each
attempt brings the account closer to being locked.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from smbprotocol.exceptions import (
    SMBAuthenticationError,
    SMBConnectionClosed,
    SMBException,
    SMBResponseException,
)
from smbprotocol.header import NtStatus
from smbprotocol.structure import InvalidFieldDefinition
from spnego.exceptions import FeatureMissingError, NativeError, SpnegoError

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import RemoteError
from jenkins_release.share.protocol import (
    AccessRefused,
    InUse,
    NameRefused,
    PathExists,
    PathNotFound,
    ShareFull,
)

_LOGIN = (SMBAuthenticationError, SpnegoError, FeatureMissingError, NativeError)
"""What a login that fails raises; smbprotocol translates some errors of spnego only."""
FOREIGN = (
    SMBException,
    InvalidFieldDefinition,
    *_LOGIN,
    OSError,
    ValueError,
    struct.error,
    LookupError,
    ArithmeticError,
)
"""What calls into smbprotocol raise: besides its own errors those of a login and of sockets, a bare
``ValueError`` for a refused connection, and those of unpacking a malformed answer: an offset beyond its end,
a time before the first or after the last one, an identifier that no table has."""


class AnswerLost(RemoteError):
    """The connection ended before the server answered: the request may have been carried out."""


class LoginRefused(RemoteError):
    """The server refuses the account. Never retryable: each attempt brings it closer to being locked."""


class MethodRefused(LoginRefused):
    """This way to log in does not work with this server; the account itself may be right."""


@dataclass(frozen=True)
class _Meaning:
    text: str
    hint: str = ""
    kind: type[RemoteError] = RemoteError
    retryable: bool = False
    ends_session: bool = False


_NO_LOGIN = "correct the user name or password first: further attempts may lock the account"
_NO_NTLM = (
    "Kerberos is needed: install jenkins-release[kerberos], name the server as the domain does, not by "
    "address, and log in with an account of the domain"
)
_NO_KEY = (
    "see whether the service principal belongs to this server and no other account (setspn -Q), and whether "
    "its clock is right; a ticket from before the server joined the domain again goes away with kdestroy"
)
_NO_ACCESS = "give the user the permission, on the share and on the folder, or use another user"
_BUSY = (
    "another process has it open, such as a viewer or a virus scanner: try again when it is closed; the "
    "server tells whose it is ('Open Files' of Windows, 'smbstatus --locks' of Samba)"
)
_AGAIN = "the server is busy or restarting: try again"
_VETOED = (
    "Samba refuses and hides names that match 'veto files' in its smb.conf: change the list so that it "
    "does not match the names in docs/share-layout.md, including those that begin with a dot"
)
_SCREENED = (
    "; or a file screen of the server, such as FSRM of Windows, blocks the name: have the folder excepted"
)

_MEANINGS: dict[int, tuple[str, _Meaning]] = {
    0xC000000F: ("STATUS_NO_SUCH_FILE", _Meaning("the file does not exist", kind=PathNotFound)),
    0xC0000022: ("STATUS_ACCESS_DENIED", _Meaning("the server denies access", _NO_ACCESS, AccessRefused)),
    0xC0000033: (
        "STATUS_OBJECT_NAME_INVALID",
        _Meaning("the server refuses the name", _VETOED, kind=NameRefused),
    ),
    0xC0000034: ("STATUS_OBJECT_NAME_NOT_FOUND", _Meaning("the name does not exist", kind=PathNotFound)),
    0xC0000035: ("STATUS_OBJECT_NAME_COLLISION", _Meaning("the name is taken", kind=PathExists)),
    0xC000003A: ("STATUS_OBJECT_PATH_NOT_FOUND", _Meaning("its folder does not exist", kind=PathNotFound)),
    0xC0000043: ("STATUS_SHARING_VIOLATION", _Meaning("it is in use", _BUSY, InUse, retryable=True)),
    0xC0000044: ("STATUS_QUOTA_EXCEEDED", _Meaning("the user's quota is used up", kind=ShareFull)),
    0xC0000054: ("STATUS_FILE_LOCK_CONFLICT", _Meaning("a part of it is locked", _BUSY, retryable=True)),
    0xC0000056: (
        "STATUS_DELETE_PENDING",
        _Meaning("the file is incomplete or being deleted", _BUSY, retryable=True),
    ),
    0xC000005E: (
        "STATUS_NO_LOGON_SERVERS",
        _Meaning(
            "the server reached no domain controller that knows the account",
            "the login was not checked: see whether a domain controller is up, and reachable",
            retryable=True,
        ),
    ),
    0xC000006A: ("STATUS_WRONG_PASSWORD", _Meaning("the password is wrong", _NO_LOGIN, kind=LoginRefused)),
    0xC000006D: (
        "STATUS_LOGON_FAILURE",
        _Meaning("the user name or password is wrong", _NO_LOGIN, kind=LoginRefused),
    ),
    0xC000006E: (
        "STATUS_ACCOUNT_RESTRICTION",
        _Meaning("the account may not log in", _NO_LOGIN, kind=LoginRefused),
    ),
    0xC000006F: (
        "STATUS_INVALID_LOGON_HOURS",
        _Meaning("the account may not log in now", _NO_LOGIN, kind=LoginRefused),
    ),
    0xC0000070: (
        "STATUS_INVALID_WORKSTATION",
        _Meaning("the account may not log in from here", _NO_LOGIN, kind=LoginRefused),
    ),
    0xC0000071: (
        "STATUS_PASSWORD_EXPIRED",
        _Meaning("the password has expired", "set a new password", kind=LoginRefused),
    ),
    0xC0000072: (
        "STATUS_ACCOUNT_DISABLED",
        _Meaning("the account is disabled", "have it enabled", kind=LoginRefused),
    ),
    0xC000007F: ("STATUS_DISK_FULL", _Meaning("the share is full", kind=ShareFull)),
    0xC000009A: (
        "STATUS_INSUFFICIENT_RESOURCES",
        _Meaning("the server is out of resources", _AGAIN, retryable=True),
    ),
    0xC00000A2: ("STATUS_MEDIA_WRITE_PROTECTED", _Meaning("the share is read-only", _NO_ACCESS)),
    0xC00000B5: ("STATUS_IO_TIMEOUT", _Meaning("the server's disk did not answer", _AGAIN, retryable=True)),
    0xC00000BB: (
        "STATUS_NOT_SUPPORTED",
        _Meaning(
            "the server does not support it",
            "it may require another version of SMB, signing or encryption: see share.encrypt and the "
            "server's settings",
        ),
    ),
    0xC00000BA: ("STATUS_FILE_IS_A_DIRECTORY", _Meaning("it is a folder, not a file", kind=PathNotFound)),
    0xC00000C9: (
        "STATUS_NETWORK_NAME_DELETED",
        _Meaning("the share was closed", _AGAIN, retryable=True, ends_session=True),
    ),
    0xC00000CC: (
        "STATUS_BAD_NETWORK_NAME",
        _Meaning("the server has no such share", "correct the share's name"),
    ),
    0xC00000D0: ("STATUS_REQUEST_NOT_ACCEPTED", _Meaning("too many sessions", _AGAIN, retryable=True)),
    0xC0000101: (
        "STATUS_DIRECTORY_NOT_EMPTY",
        _Meaning("someone is writing to the folder", _BUSY, retryable=True),
    ),
    0xC0000103: ("STATUS_NOT_A_DIRECTORY", _Meaning("it is a file, not a folder", kind=PathNotFound)),
    0xC0000121: ("STATUS_CANNOT_DELETE", _Meaning("it is marked read-only", "clear its read-only mark")),
    0xC0000128: (
        "STATUS_FILE_CLOSED",
        _Meaning("the server closed the file", _AGAIN, retryable=True, ends_session=True),
    ),
    0xC0000133: (
        "STATUS_TIME_DIFFERENCE_AT_DC",
        _Meaning(
            "the clocks of this machine and the domain controller differ too much",
            "set this machine's clock, such as with chrony: Kerberos allows five minutes",
            kind=LoginRefused,
        ),
    ),
    0xC000015B: (
        "STATUS_LOGON_TYPE_NOT_GRANTED",
        _Meaning("the account may not use shares", _NO_LOGIN, kind=LoginRefused),
    ),
    0xC0000203: (
        "STATUS_USER_SESSION_DELETED",
        _Meaning("the server ended the session", _AGAIN, retryable=True, ends_session=True),
    ),
    0xC0000205: (
        "STATUS_INSUFF_SERVER_RESOURCES",
        _Meaning("the server is out of resources", _AGAIN, retryable=True),
    ),
    0xC0000224: (
        "STATUS_PASSWORD_MUST_CHANGE",
        _Meaning("the password must be changed", _NO_LOGIN, kind=LoginRefused),
    ),
    0xC0000225: ("STATUS_NOT_FOUND", _Meaning("the name does not exist", kind=PathNotFound)),
    0xC0000234: (
        "STATUS_ACCOUNT_LOCKED_OUT",
        _Meaning("the account is locked", "have it unlocked", kind=LoginRefused),
    ),
    0xC0000257: (
        "STATUS_PATH_NOT_COVERED",
        _Meaning(
            "a DFS link leads to another share there",
            "no link below the location is followed: configure the link, or a folder behind it, as the "
            "location",
        ),
    ),
    0xC000035C: (
        "STATUS_NETWORK_SESSION_EXPIRED",
        _Meaning("the session's ticket expired", _AGAIN, retryable=True, ends_session=True),
    ),
    0xC0000418: (
        "STATUS_NTLM_BLOCKED",
        _Meaning(
            "the server does not accept NTLM",
            _NO_NTLM,
            kind=MethodRefused,
        ),
    ),
    0xC0000466: ("STATUS_SERVER_UNAVAILABLE", _Meaning("the server is down", _AGAIN, retryable=True)),
    0xC0000467: ("STATUS_FILE_NOT_AVAILABLE", _Meaning("it is not available now", _AGAIN, retryable=True)),
    0xC0000802: ("STATUS_DISK_QUOTA_EXCEEDED", _Meaning("the quota is used up", kind=ShareFull)),
    0xC0000906: (
        "STATUS_VIRUS_INFECTED",
        _Meaning(
            "the server's virus scanner found something in the file, and refuses it",
            "check the scanner's log on the server: the file is infected, or it is a false alarm",
        ),
    ),
    0x8000002D: (
        "STATUS_STOPPED_ON_SYMLINK",
        _Meaning("the path contains a symbolic link, which is not followed", "use the path it leads to"),
    ),
}
SESSION_EXPIRED = 0xC000035C
"""``STATUS_NETWORK_SESSION_EXPIRED``: the ticket of the login has ended."""
_LOGON_FAILURE = 0xC000006D
_NTLM_REFUSED = frozenset({0xC000000D, 0xC00000BB, 0xC000006E})
"""``STATUS_INVALID_PARAMETER``, ``STATUS_NOT_SUPPORTED`` and ``STATUS_ACCOUNT_RESTRICTION``."""
_NO_NAME = 0xC0000034
_MAKING = frozenset({"create", "make the folder", "take the lease on"})
"""Operations that create the name."""
_FULL_HINT = "free some space on the share, or ask for a larger volume or quota"
_LOST_HINT = "the next attempt opens a new connection; if this repeats, check the server's log"


def connection_survives(error: BaseException) -> bool:
    """Whether the session can continue after ``error``: the server answered, and still knows us."""
    if not isinstance(error, SMBResponseException):
        return False
    known = _MEANINGS.get(error.status)
    return known is None or not known[1].ends_session


def status_text(status: int) -> str:
    """Return the name and hexadecimal value of an NTSTATUS, such as ``STATUS_DISK_FULL (0xC000007F)``."""
    if status in _MEANINGS:
        name = _MEANINGS[status][0]
    else:
        name = next((name for name, value in vars(NtStatus).items() if value == status), "NTSTATUS")
    return f"{name} (0x{status:08X})"


def translate(error: BaseException, doing: str, where: str) -> RemoteError:
    r"""Turn a failure of smbprotocol or of its socket into one of this package's errors.

    Args:
        error: One of :data:`FOREIGN`.
        doing: A verb such as ``write``.
        where: The UNC path.

    Returns:
        The error to raise ``from error``; ``retryable`` if another attempt may work.
    """
    tried = f"cannot {doing} {where}"
    if isinstance(error, SMBResponseException):
        return _translate_status(error.status, tried, doing)
    if isinstance(error, SMBConnectionClosed):
        return AnswerLost(f"{tried}: the connection was lost: {error}", hint=_LOST_HINT, retryable=True)
    if isinstance(error, TimeoutError | BlockingIOError):
        return AnswerLost(f"{tried}: the server did not answer in time", hint=_LOST_HINT, retryable=True)
    if isinstance(error, _LOGIN):
        return LoginRefused(f"{tried}: login failed: {error}", hint=_NO_LOGIN)
    if isinstance(error, OSError):
        return AnswerLost(f"{tried}: the connection failed: {error}", hint=_LOST_HINT, retryable=True)
    if isinstance(error, ValueError) and str(error).startswith("Failed to connect"):
        return RemoteError(
            f"{tried}: {error}",
            hint="check the server's name and port, that it is up, and that no firewall blocks it",
            retryable=True,
        )
    if isinstance(error, SMBException):
        return RemoteError(f"{tried}: {error}")
    return RemoteError(f"{tried}: the server's answer makes no sense: {error}", hint=_LOST_HINT)


def login_error(error: BaseException, where: str, username: str | None) -> RemoteError:
    r"""Turn the failure of a login into one of this package's errors.

    Args:
        error: One of :data:`FOREIGN`.
        where: The UNC path, and what was tried.
        username: The account.
    """
    found = translate(error, "log in to", where)
    if not isinstance(error, SMBResponseException):
        return found
    if "Kerberos" in where and error.status == _LOGON_FAILURE:
        text = f"cannot log in to {where}: the server does not accept the ticket: {status_text(error.status)}"
        return MethodRefused(text, hint=_NO_KEY)
    if "NTLM" in where and error.status in _NTLM_REFUSED:
        # Windows and Samba have no status of their own for it.
        return MethodRefused(f"{found.message}; it may not accept NTLM", hint=_NO_NTLM)
    if "NTLM" in where and error.status == _LOGON_FAILURE and not set("\\@") & set(username or ""):
        found.hint += "; an account of a domain is written as DOMAIN\\user or user@domain"
    if found.retryable or isinstance(found, LoginRefused):
        return found
    text = found.message
    if isinstance(found, PathNotFound):  # which is said of a file
        text = f"cannot log in to {where}: the server answered {status_text(error.status)}"
    # Another attempt may count as one more wrong password.
    return LoginRefused(text, hint=found.hint or _NO_LOGIN)


def of_all(failures: Sequence[tuple[str, RemoteError]]) -> RemoteError | None:
    """Return one error for several servers, none of which works; None if there is none.

    It is that of the first one which may work later, or else that of the first one: whichever came last is no
    better reason. If there are several, its reasons name each.

    Args:
        failures: What was tried, and how it failed.
    """
    errors = [error for _, error in failures]
    found = next((error for error in errors if error.retryable), errors[0] if errors else None)
    if found is not None and len(failures) > 1:
        told = [error.reasons or (f"{what}: {error.message}",) for what, error in failures]
        found.reasons = tuple(dict.fromkeys(reason for reasons in told for reason in reasons))
    return found


def refused_name(status: int, tried: str) -> NameRefused:
    """Return the error for a new name that the server refuses: its folder exists.

    A folder that is missing is ``STATUS_OBJECT_PATH_NOT_FOUND`` (MS-SMB2 section 3.3.5.9); otherwise nothing
    can be "not found", since the name itself is to be created.
    """
    return NameRefused(f"{tried}: the server refuses the name: {status_text(status)}", hint=_VETOED)


def _translate_status(status: int, tried: str, doing: str) -> RemoteError:
    shown = status_text(status)
    if status == _NO_NAME and doing in _MAKING:
        return refused_name(status, tried)
    if status not in _MEANINGS:
        return RemoteError(f"{tried}: the server answered {shown}")
    meaning = _MEANINGS[status][1]
    hint = meaning.hint or (_FULL_HINT if meaning.kind is ShareFull else "")
    if meaning.kind is AccessRefused and (doing in _MAKING or doing == "rename"):
        hint += _SCREENED
    return meaning.kind(f"{tried}: {meaning.text}: {shown}", hint=hint, retryable=meaning.retryable)
