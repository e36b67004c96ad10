"""The causes of an error: each library wraps the errors of sockets and TLS in its own way."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

_ENDED = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
_CHANGED = "BAD_RECORD_MAC"


def causes(error: BaseException, *, context: bool = True) -> Iterator[BaseException]:
    """Yield an error and everything that it wraps.

    urllib3 keeps it as ``reason``, requests in ``args``, botocore in ``kwargs``.

    Args:
        error: The error.
        context: Whether to include what was being handled when it was raised. In a call that cleans up, that
            is the error of another call.
    """
    waiting, seen = [error], set[int]()
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        named = getattr(current, "kwargs", None)
        wrapped = [
            current.__cause__,
            current.__context__ if context else None,
            getattr(current, "reason", None),
            *current.args,
            *(named.values() if isinstance(named, dict) else ()),
        ]
        waiting += [item for item in wrapped if isinstance(item, BaseException)]


def is_broken_tls(error: BaseException) -> bool:
    """Whether TLS failed because its connection ended or its bytes were changed: another attempt may help."""
    if not isinstance(error, ssl.SSLError):
        return False
    # Only OpenSSL's own errors have a reason.
    return isinstance(error, _ENDED) or _CHANGED in str(getattr(error, "reason", ""))


def caused_by(error: BaseException, *kinds: type[BaseException]) -> bool:
    """Whether an error is of one of these kinds, or wraps one that is."""
    return any(isinstance(each, kinds) for each in causes(error))
