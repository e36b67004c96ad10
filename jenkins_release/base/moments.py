"""Moments for people, always in UTC, wherever they come from.

Times in ``release.toml`` have any time zone, and boto3's have the machine's.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(microsecond=0, tzinfo=UTC)


def moment_of(seconds: float) -> datetime:
    """Return the moment that is this many seconds after the epoch, in UTC.

    A file's time may be any number. Outside the years 1 to 9999, the first or last moment of that range is
    returned.
    """
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return _LAST if seconds > 0 else _FIRST


def in_utc(moment: datetime) -> datetime:
    """Return a moment in UTC; the first or last moment of the years 1 to 9999 if it is outside them there."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return _LAST if moment.year > 1 else _FIRST


def second(moment: datetime) -> str:
    """Return a moment such as ``2026-12-24 18:00:00 UTC``."""
    return f"{in_utc(moment):%Y-%m-%d %H:%M:%S} UTC"


def minute(moment: datetime) -> str:
    """Return a moment such as ``2026-12-24 18:00 UTC``."""
    return f"{in_utc(moment):%Y-%m-%d %H:%M} UTC"


def day(moment: datetime) -> str:
    """Return the day of a moment in UTC, such as ``2026-12-24``."""
    return f"{in_utc(moment):%Y-%m-%d}"


def duration(seconds: float) -> str:
    """Return a time to wait, rounded up: ``42 s``, or ``3 min`` from a minute and a half on."""
    return f"{math.ceil(seconds)} s" if seconds < 90 else f"{math.ceil(seconds / 60)} min"


def age(span: timedelta) -> str:
    """Return how long ago something was, rounded down: ``5 minutes``, ``1 hour`` or ``12 days``."""
    for unit, length in (
        ("day", timedelta(days=1)),
        ("hour", timedelta(hours=1)),
        ("minute", timedelta(minutes=1)),
    ):
        count = span // length
        if count >= 1:
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    return "less than a minute"
