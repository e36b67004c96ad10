"""Moments as people read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from dateutil.tz import gettz

from jenkins_release.base.moments import day, minute, moment_of, second

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


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        ("0001-01-01T00:00:00+14:00", "1-01-01 00:00 UTC"),
        ("9999-12-31T23:59:59-14:00", "9999-12-31 23:59 UTC"),
    ],
)
def test_a_moment_that_has_no_place_in_utc_is_shown_all_the_same(moment: str, shown: str):
    """A tag in AWS or a file of somebody else's may hold one."""
    assert minute(datetime.fromisoformat(moment)) == shown


def test_records_hold_no_moment_that_has_no_place_in_utc():
    """Their own type refuses it."""
    for path in (PACKAGE / "records").rglob("*.py"):
        assert "AwareDatetime" not in path.read_text() or path.name == "base.py", path


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "1970-01-01T00:00:00"),
        (datetime.max.replace(tzinfo=UTC).timestamp(), "9999-12-31T23:59:59"),
        ((2**63 - 1) / 1e7 - 11_644_473_600, "9999-12-31T23:59:59"),
        (1e30, "9999-12-31T23:59:59"),
        (-1e30, "0001-01-01T00:00:00"),
    ],
)
def test_the_time_of_a_file_may_be_any_number(seconds: float, expected: str):
    """A file system and SMB know times beyond the year 9999 (MS-DTYP section 2.3.3)."""
    assert moment_of(seconds).isoformat() == f"{expected}+00:00"


def test_every_moment_in_seconds_is_made_by_the_one_that_knows_limits():
    """The others end with an error of Python's where a number is too large."""
    found = {
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        if "sandbox" not in path.parts and path.name != "moments.py"
        for line in path.read_text().splitlines()
        if "fromtimestamp(" in line and "clock()" not in line
    }
    assert found == set()


def test_no_time_is_formatted_in_the_zone_that_it_happens_to_have():
    """What is not converted would be told as if it were UTC."""
    found = {
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"\{[^{}]*:%Y-%m-%d", line)
        and not any(known in line for known in ("astimezone(UTC):", "in_utc(moment):"))
    }
    assert found == set()
