"""Product versions: how they are written and ordered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.versions import ReleaseVersion


def test_versions_sort_as_products_are_released():
    """Numbers first, pre-releases before the release, hotfixes after it."""
    order = [
        "2.9", "8.0.9", "8.1.0-alpha1", "8.1.0-rc1", "8.1.0-rc2", "8.1.0", "8.1.0-hotfix1", "8.1.0-hotfix2",
        "8.1.0-hotfix10", "8.1.0.1", "8.1.1", "8.10.0", "2018.3",
    ]  # fmt: skip
    shuffled = [*order[1::2], *order[::2]]
    assert sorted(shuffled, key=ReleaseVersion.parse) == order


@pytest.mark.parametrize(
    "text",
    ["", "8", "8.1.0.0.0", "v8.1.0", "8.1.0/..", "..", "8..1", "8.1.0 ", "8.1.0-", "8.1.0-1", "con",
     "8.1.0\n", "8.1.0+build", "1" * 200 + ".0", "8.1.0\\x"],
)  # fmt: skip
def test_what_is_no_version_is_refused(text):
    """One clear error with an example."""
    with pytest.raises(ConfigurationError) as caught:
        ReleaseVersion.parse(text)
    assert "8.1.0" in caught.value.hint
    assert "version" in caught.value.message


def test_parts_are_named():
    """Templates use them."""
    version = ReleaseVersion.parse("8.1.2-hotfix3")
    assert (version.major, version.minor, version.patch, version.word, version.count) == (
        8,
        1,
        2,
        "hotfix",
        3,
    )
    assert str(version) == "8.1.2-hotfix3"


@given(st.lists(st.tuples(*[st.integers(0, 30)] * 3), min_size=2, max_size=2))
def test_plain_versions_order_like_their_numbers(pair):
    """The order of three-part versions is that of the numbers."""
    first, second = (ReleaseVersion.parse(".".join(map(str, numbers))) for numbers in pair)
    assert (first < second) == (pair[0] < pair[1])
    assert (first == second) == (pair[0] == pair[1])
