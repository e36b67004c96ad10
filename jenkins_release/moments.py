"""Moments as people read them: always in UTC, wherever they come from.

Times of ``release.toml`` have the zone that somebody wrote, and boto3's have the machine's own.
"""

from __future__ import annotations

from datetime import UTC, datetime


def second(moment: datetime) -> str:
    """Return a moment such as ``2026-12-24 18:00:00 UTC``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def minute(moment: datetime) -> str:
    """Return a moment such as ``2026-12-24 18:00 UTC``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def day(moment: datetime) -> str:
    """Return the day of a moment in UTC, such as ``2026-12-24``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d}"
