"""Names on the share: possible on Linux and on Windows alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.names import MAX_NAME, MAX_PATH, check_identifier, check_path, name_problem

BAD = [
    "", ".", "..", "a/b", "a\\b", "a:b", "a*b", 'a"b', "a<b", "a|b", "a?b", "a\0b", "a\nb", "a ", "a.",
    "CON", "con", "nul.txt", "COM1", "lpt9.tar", "com¹", "x" * (MAX_NAME + 1),
]  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_names_are_refused(name):
    """Separators, device names, trailing dots, control characters, over-long ones."""
    assert name_problem(name) is not None
    with pytest.raises(ConfigurationError):
        check_identifier("build", name)


@pytest.mark.parametrize("name", ["42", "8.1.0", "8.1.0-hotfix2", "console", "a+b", "SkyDRM"])
def test_good_names_pass(name):
    """What people use is possible."""
    assert check_identifier("build", name) == name


@pytest.mark.parametrize("path", ["/a", "a//b", "a/../b", "a/", "a\\..\\b", "x/" * 130 + "y"])
def test_bad_paths_are_refused(path):
    """A path cannot leave the share or mean something else on Windows."""
    with pytest.raises(ConfigurationError):
        check_path(path)


@given(st.text(max_size=300))
def test_an_accepted_path_stays_below_the_root(path):
    """Whatever is accepted has only names that are neither empty nor dots."""
    try:
        names = check_path(path)
    except ConfigurationError:
        return
    assert len(path) <= MAX_PATH
    assert all(name not in {"", ".", ".."} and not set(name) & set('\\/:*?"<>|\0') for name in names)
