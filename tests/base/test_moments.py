"""Moments as people read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from dateutil.tz import gettz

from jenkins_release.moments import day, minute, second

PACKAGE = Path(__file__).parents[2] / "jenkins_release"


@pytest.mark.parametrize(
    "zone",
    [UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-10)), gettz("Asia/Kolkata")],
)
def test_a_moment_is_the_same_in_every_zone(zone):
    """boto3 gives times in the zone of the machine."""
    moment = datetime(2026, 11, 20, 20, 30, 5, tzinfo=UTC).astimezone(zone)
    assert (second(moment), minute(moment)) == ("2026-11-20 20:30:05 UTC", "2026-11-20 20:30 UTC")
    assert day(moment) == "2026-11-20"


def test_no_time_is_formatted_in_the_zone_that_it_happens_to_have():
    """What is not converted would be told as if it were UTC."""
    found = {
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"\{[^{}]*:%Y-%m-%d", line) and "astimezone(UTC):" not in line
    }
    assert found == set()
