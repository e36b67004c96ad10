"""The section [portal]: what it takes, and what it refuses."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from jenkins_release.config.portal import PortalSection


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
