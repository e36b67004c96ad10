"""The sections [portal] and [support]: what they take, and what they refuse."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, date, datetime

import pytest
from pydantic import ValidationError

from jenkins_release.config.portal import PortalSection
from jenkins_release.config.support import SupportSection


def test_without_it_there_is_no_portal() -> None:
    """A file without the section stays valid."""
    assert PortalSection().kind == "none"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "s3"}, "needs a bucket"),
        ({"kind": "share"}, "needs a location"),
        ({"kind": "share", "location": "/www"}, "has no expiring links"),
        ({"bucket": "s3://downloads"}, "is not a bucket name"),
        ({"bucket": "Downloads"}, "is not a bucket name"),
        ({"bucket": "a..b"}, "is not a bucket name"),
        ({"prefix": "/products"}, "without a slash at either end"),
        ({"prefix": "products/"}, "without a slash at either end"),
        ({"prefix": "a/../b"}, "without a slash at either end"),
        ({"url": "downloads.example"}, "is not the address of a web server"),
        ({"url": "https://u:p@downloads.example"}, "contains a login"),
        ({"url": "https://downloads.example/?a"}, "remove everything from"),
        ({"release_notes": "docs/notes.md"}, "has no {version}"),
        ({"release_notes": "docs/{version}/{build}.md"}, "a field other than"),
        ({"upgrade_notes": "docs/upgrade.md"}, "has no {version}"),
        ({"logo": "logo.jpg"}, "is not a PNG or SVG"),
        ({"colour": "blue"}, "is not a colour"),
        ({"colour": "#fff"}, "is not a colour"),
        ({"colour": "#ffffff;} body{}"}, "is not a colour"),
        ({"systems": {"out/*.zip": "Linux"}}, "expected one for file names"),
        ({"systems": {"*.zip": ""}}, "expected a system"),
        ({"systems": {"*.zip": "x" * 41}}, "expected a system"),
        ({"encryption": "kms"}, "'bucket', 'AES256' or 'aws:kms'"),
        ({"encryption": "AES256", "kms_key": "alias/k"}, "uses no kms_key"),
        ({"cache_control": "max-age=1\r\nX: y"}, "is not a value for a Cache-Control header"),
        ({"part_size_mib": 4}, "greater than or equal to 5"),
        ({"workers": 0}, "greater than or equal to 1"),
        ({"secret_access_key": "x"}, "Extra inputs"),
    ],
)
def test_what_is_refused(given: dict[str, object], said: str) -> None:
    """Each with what is wrong."""
    with pytest.raises(ValidationError, match=said.replace("{", r"\{").replace("}", r"\}")):
        PortalSection(**given)  # type: ignore[arg-type]  # the point of the test


def test_an_address_ends_without_a_slash() -> None:
    """What follows is added with one."""
    assert PortalSection(url="https://downloads.example/x/").url == "https://downloads.example/x"


def test_files_are_kept_by_caches_for_a_day() -> None:
    """Nothing is overwritten, but releases are withdrawn: no cache serves one longer by default."""
    assert PortalSection(access="public").caching == "public, max-age=86400, immutable"
    assert PortalSection().caching == "private, max-age=86400, immutable"
    assert PortalSection(cache_control="max-age=60").caching == "max-age=60"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"ends": {"8": date(2027, 3, 31)}},
            "ends names '8'; with line = \"major.minor\" write a line such as",
        ),
        ({"ends": {"8.0.1": date(2027, 3, 31)}}, "ends names '8.0.1'"),
        ({"ends": {"08.0": date(2027, 3, 31)}}, "ends names '08.0'"),
        ({"line": "major", "ends": {"8.0": date(2027, 3, 31)}}, 'write a line such as "8"'),
        ({"ends": {"8.0": "2027-03-31"}}, "write it without quotes and time, such as 2027-03-31"),
        ({"ends": {"8.0": datetime(2027, 3, 31, tzinfo=UTC)}}, "write it without quotes and time"),
    ],
)
def test_ends_of_support_that_are_refused(given: dict[str, object], said: str) -> None:
    """A line of another kind would never be on the page, and support ends on a day."""
    with pytest.raises(ValidationError, match=re.escape(said)):
        SupportSection(**given)  # type: ignore[arg-type]  # the point of the test


def test_ends_of_support_are_days_of_lines() -> None:
    """As TOML has them."""
    ends = tomllib.loads("ends = { '8.0' = 2027-03-31 }")
    assert SupportSection(**ends).ends == {"8.0": date(2027, 3, 31)}
    assert SupportSection(line="major", ends={"8": date(2027, 3, 31)}).ends
