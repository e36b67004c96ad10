"""The errors of the package, each with a category and an exit status.

A foreign exception (docker, botocore, smbprotocol, requests) is translated into one of these at
the edge where it appears, with ``raise ... from error``. A message names the thing, what was
expected and what was found; the hint says what to do. No error contains the login or token of a URL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar

from jenkins_release.base.secret_names import CERTAIN

REDACTED = "[redacted]"
"""What stands in place of a secret."""
_LOGIN = re.compile(r"""://([^/?#\s"'<>\\]*)@""")
_TOKEN = re.compile(
    rf"""([?&;](?:[\w.-]{{0,40}}(?:{CERTAIN}|signature)[\w.-]{{0,40}}"""
    r"""|sig|_state)=)[^&\s"'<>()\[\]{}]+""",
    re.IGNORECASE,
)


def without_logins(text: str) -> str:
    """Return a text with every login in a URL replaced.

    A user alone, as in ``ssh://git@host``, is not a secret there; in any other URL it may be a token.
    """
    return _LOGIN.sub(_login, text)


def without_secrets(text: str) -> str:
    """Return a text without the logins and the tokens of its URLs, presigned ones among them."""
    return _TOKEN.sub(rf"\1{REDACTED}", without_logins(text))


def _login(found: re.Match[str]) -> str:
    harmless = (
        ":" not in found[1] and found.string[max(0, found.start() - 3) : found.start()].lower() == "ssh"
    )
    return found[0] if harmless else f"://{REDACTED}@"


class Category(StrEnum):
    """The kind of failure; decides the exit status."""

    CONFIGURATION = "configuration"
    REFUSED = "refused"
    INTEGRITY = "integrity"
    REMOTE = "remote"
    LEASE = "lease"
    INTERRUPTED = "interrupted"
    BUG = "bug"


EXIT_STATUS: dict[Category, int] = {
    Category.CONFIGURATION: 2,
    Category.REFUSED: 3,
    Category.INTEGRITY: 4,
    Category.REMOTE: 5,
    Category.LEASE: 6,
    Category.INTERRUPTED: 130,
    Category.BUG: 70,
}
"""Exit status of the command line for each category; 0 is done, or nothing to do."""


class ReleaseError(Exception):
    """Base of every error that a caller of this package has to expect.

    Args:
        message: What went wrong: the thing, what was expected, what was found.
        hint: What to do about it; may be empty.
        reasons: All reasons, if there are several (from the gate, or a configuration file).
        retryable: Whether the same call may succeed later; only :mod:`jenkins_release.base.retry` reads it.
        retry_after: Seconds that the server asked to wait before the next attempt, if any.
    """

    category: ClassVar[Category] = Category.BUG

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        reasons: Sequence[str] = (),
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        # Texts of botocore, requests, urllib3 and docker quote the URLs that they were given.
        self.message = without_secrets(message)
        super().__init__(self.message)
        self.hint = without_secrets(hint)
        self.reasons = tuple(map(without_secrets, reasons))
        self.retryable = retryable
        self.retry_after = retry_after

    @property
    def exit_status(self) -> int:
        """Exit status of the command line for this error."""
        return EXIT_STATUS[self.category]

    def diagnostics(self) -> dict[str, Any]:
        """Return the failure as the JSON document that the command line and the Groovy steps show."""
        return {
            "category": str(self.category),
            "message": self.message,
            "hint": self.hint,
            "reasons": list(self.reasons),
        }


class ConfigurationError(ReleaseError):
    """The request or the configuration is wrong; the caller can fix it."""

    category = Category.CONFIGURATION


class Interrupted(ReleaseError):
    """A signal ended the command: 130 after Ctrl-C; after SIGTERM the command line ends with 143."""

    category = Category.INTERRUPTED


class GateRefused(ReleaseError):
    """The gate refused; ``reasons`` holds every unmet condition."""

    category = Category.REFUSED


class IntegrityError(ReleaseError):
    """Stored or transferred bytes are not what was recorded. Never retryable, never ignored."""

    category = Category.INTEGRITY


class RemoteError(ReleaseError):
    """A service outside failed: daemon, share, registry, AWS, Jenkins."""

    category = Category.REMOTE


class LeaseHeld(ReleaseError):
    """Someone else is working on the same candidate; the message names the holder."""

    category = Category.LEASE


BY_CATEGORY: Mapping[Category, type[ReleaseError]] = {
    kind.category: kind for kind in (ConfigurationError, GateRefused, IntegrityError, RemoteError, LeaseHeld)
}
"""The error of each category that a command ends with, to report another one's failure as one's own."""
