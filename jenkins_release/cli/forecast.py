"""The forecast of a promotion, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jenkins_release.base.moments import duration
from jenkins_release.cli.output import rate

if TYPE_CHECKING:
    from jenkins_release.rules.release.forecast import Forecast


def forecast_text(forecast: Forecast) -> str:
    """Return a line about the time, after a line feed; empty if there is nothing to push."""
    if not forecast.bytes:
        return ""
    if forecast.seconds is None:
        return "\ntime: unknown, no promotion to this registry is recorded yet"
    speed = rate(forecast.bytes, forecast.seconds)
    return f"\ntime: about {duration(forecast.seconds)} at {speed}, as in {', '.join(forecast.seen)}"


def forecast_json(forecast: Forecast) -> dict[str, Any]:
    """Return the forecast for programs: bytes, seconds, bytes per second; null if unknown."""
    return {
        "bytes": forecast.bytes,
        "seconds": None if forecast.seconds is None else round(forecast.seconds, 1),
        "bytesPerSecond": None if forecast.rate is None else round(forecast.rate),
        "seen": list(forecast.seen),
    }
