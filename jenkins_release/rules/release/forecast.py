"""How long a promotion will take, estimated from earlier ones. For people only: it decides nothing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from jenkins_release.base.dataclass import dataclass

PUSHED = "pushed"
"""Field of a promotion attestation's predicate: what its run pushed, and how fast."""


@dataclass(frozen=True)
class SeenRate:
    """The speed of an earlier promotion.

    Attributes:
        candidate: The candidate, such as ``8.1.0/41``.
        bytes: Bytes of the layers that it pushed, counted as in a plan.
        seconds: Time from the first byte read to the last image proven.
    """

    candidate: str
    bytes: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.bytes / self.seconds


@dataclass(frozen=True)
class Forecast:
    """What a promotion will move, and how long it will take.

    Attributes:
        bytes: Maximum bytes of layers to push.
        seconds: The estimate, in seconds; None without earlier promotions.
        rate: Bytes per second that it is based on; None likewise.
        seen: The earlier promotions that it is based on.
    """

    bytes: int
    seconds: float | None = None
    rate: float | None = None
    seen: tuple[str, ...] = ()


def forecast(size: int, seen: Sequence[SeenRate]) -> Forecast:
    """Estimate the time for this many bytes from the median rate, which one slow day does not change.

    Args:
        size: Bytes to push.
        seen: Earlier promotions.
    """
    if not size:
        return Forecast(0, 0.0)
    if not seen:
        return Forecast(size)
    rate = statistics.median(each.rate for each in seen)
    return Forecast(size, size / rate, rate, tuple(each.candidate for each in seen))


def pushed_claim(size: int, seconds: float) -> dict[str, Any]:
    """Return what a promotion attestation says about its push: the counterpart of :func:`seen_rate`."""
    return {"bytes": size, "seconds": round(seconds, 3)}


def seen_rate(candidate: str, predicate: Mapping[str, Any]) -> SeenRate | None:
    """Read how fast a promotion pushed.

    Args:
        candidate: Which candidate it promoted.
        predicate: The attestation's predicate.

    Returns:
        None if it pushed nothing, or does not say so in numbers.
    """
    told = predicate.get(PUSHED)
    size, seconds = (told.get("bytes"), told.get("seconds")) if isinstance(told, Mapping) else (None, None)
    if isinstance(size, bool) or isinstance(seconds, bool):
        return None
    if not isinstance(size, int) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return None
    return SeenRate(candidate, size, float(seconds)) if size > 0 and seconds > 0 else None
