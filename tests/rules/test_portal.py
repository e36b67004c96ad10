"""What belongs on a portal: the support window, and how browsers treat files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.rules.release.portal import content_type
from jenkins_release.rules.release.support import support_window

VERSIONS = st.builds(
    lambda a, b, c, word: ReleaseVersion.parse(f"{a}.{b}.{c}{word}"),
    st.integers(7, 9),
    st.integers(0, 2),
    st.integers(0, 2),
    st.sampled_from(["", "-hotfix1", "-rc1"]),
)


def supported(*versions: str, withdrawn: tuple[str, ...] = ()) -> list[str]:
    gone = {ReleaseVersion.parse(version) for version in withdrawn}
    left = {ReleaseVersion.parse(version) for version in versions} - gone
    return [version.text for version in support_window(left).supported(left)]


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ((), []),
        (("8.1.0",), ["8.1.0"]),
        (("8.0.0", "8.1.0"), ["8.1.0", "8.0.0"]),
        (("7.9.0", "8.0.0", "8.1.0", "8.1.1"), ["8.1.1", "8.1.0", "8.0.0"]),
        (("7.9.0", "8.0.0", "8.0.0-hotfix1"), ["8.0.0-hotfix1", "8.0.0", "7.9.0"]),
        (("8.0.0", "8.1.0", "9.0.0-rc1"), ["9.0.0-rc1", "8.1.0", "8.0.0"]),
        (("9.10.0", "9.9.0", "9.2.0"), ["9.10.0", "9.9.0"]),
        (("2018.3", "2018.2", "2017.9"), ["2018.3", "2018.2"]),
    ],
)
def test_the_two_newest_lines_with_all_their_patches(versions: tuple[str, ...], expected: list[str]) -> None:
    """Newest first; a pre-release pushes no line out."""
    assert supported(*versions) == expected


def test_a_withdrawn_version_opens_no_line() -> None:
    """N goes back where the only version of the newest line was withdrawn."""
    assert supported("7.9.0", "8.0.0", "8.1.0", withdrawn=("8.1.0",)) == ["8.0.0", "7.9.0"]


@given(st.lists(VERSIONS), st.sets(VERSIONS))
def test_the_newest_is_supported_and_no_withdrawn_one_is(
    versions: list[ReleaseVersion], withdrawn: set[ReleaseVersion]
) -> None:
    """Whatever was released: every version of a supported line, and of final lines at most two."""
    left = {version for version in versions if version not in withdrawn}
    found = support_window(left).supported(left)
    assert not withdrawn & set(found)
    assert not left or max(left) in found
    lines = {version.numbers[:2] for version in found}
    assert {version for version in left if version.numbers[:2] in lines} == set(found)
    final = {v.numbers[:2] for v in left if v.word != "rc"}
    assert len(lines & final) == min(2, len(final))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("installers/a.msi", "application/x-msi"),
        ("installers/A.ZIP", "application/zip"),
        ("a.tar.gz", "application/gzip"),
        ("installers.msi/README", "application/octet-stream"),
        ("a.unknown", "application/octet-stream"),
        ("a.html", "application/octet-stream"),
        ("a.svg", "application/octet-stream"),
    ],
)
def test_media_types(path: str, expected: str) -> None:
    """By the end of the name; nothing that a browser would run as a page of the portal."""
    assert content_type(path) == expected
