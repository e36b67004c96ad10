"""How far this machine's clock is from a server's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from jenkins_release.base.checks import Found
from jenkins_release.base.errors import ConfigurationError

NOTICED = timedelta(minutes=1)
"""A difference that gets a warning."""
HARMFUL = timedelta(minutes=5)
"""A difference that fails: Kerberos refuses it (RFC 4120 section 8.2), and AWS soon after."""
_HINT = "set this machine's clock, such as with chrony; if other servers agree with it, the server's is wrong"


def compared(whose: str, there: datetime | None, here: datetime) -> Found:
    """Compare the clocks.

    Args:
        whose: Whose clock the other one is.
        there: Its time; None if the server does not tell it.
        here: The time here, at the same moment.

    Raises:
        ConfigurationError: They differ too much.
    """
    if there is None:
        return Found(f"{whose} does not tell the time")
    ahead = here - there
    size = abs(ahead)
    if size < timedelta(seconds=2):
        return Found(f"this machine and {whose} agree")
    said = f"this machine's clock is {_told(size)} {'ahead of' if ahead > timedelta() else 'behind'} {whose}"
    if size > HARMFUL:
        raise ConfigurationError(f"{said}; signatures and logins are refused", hint=_HINT)
    return Found(said, _HINT if size > NOTICED else "")


def http_date(stated: str) -> datetime | None:
    """Return the time of a ``Date`` header (RFC 9110 section 6.6.1); None if it cannot be read."""
    try:
        found = parsedate_to_datetime(stated)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _told(size: timedelta) -> str:
    seconds = int(size.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} minutes"
