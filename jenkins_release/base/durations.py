"""Lengths of time as people write them: ``7d``, ``12h``, ``30m``, ``90s``."""

from __future__ import annotations

import re
from datetime import timedelta

from jenkins_release.base.errors import ConfigurationError

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_DURATION = re.compile(
    r"(?:(?P<d>\d{1,6})d)?(?:(?P<h>\d{1,6})h)?(?:(?P<m>\d{1,6})m)?(?:(?P<s>\d{1,9})s)?", re.ASCII
)


def parse_duration(text: str) -> timedelta:
    """Read a length of time: numbers with the units ``d h m s``, the largest first, such as ``1d12h``.

    Raises:
        ConfigurationError: It is not a length of time, or has no unit.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groupdict().values()):
        raise ConfigurationError(
            f"{text!r} is not a length of time", hint="write 7d, 12h, 30m, 90s, or several such as 1d12h"
        )
    return timedelta(**{_UNITS[unit]: int(value) for unit, value in match.groupdict().items() if value})
