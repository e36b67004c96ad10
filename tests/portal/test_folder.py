"""A portal in a folder of a share that breaks, or whose user dies, at any moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from jenkins_release.base.errors import RemoteError
from jenkins_release.portal import SharePortal
from jenkins_release.share import DirectoryShare
from tests.fixtures.memory import MemoryShare

PAGE = "SkyDRM/index.html"


class Killed(BaseException):
    """The process is gone."""


class Breaking(DirectoryShare):
    """A share of which one change fails before it is done; the changes are counted from 1."""

    changes = 0
    broken = 0
    kind: type[BaseException] = Killed

    def _count(self) -> None:
        self.changes += 1
        if self.changes == self.broken:
            raise RemoteError("the line is gone", retryable=True) if self.kind is RemoteError else self.kind()

    def rename(self, source: str, target: str) -> None:
        self._count()
        super().rename(source, target)

    def remove(self, path: str) -> None:
        self._count()
        super().remove(path)


@pytest.mark.parametrize("kind", [Killed, RemoteError])
def test_a_page_is_lost_at_no_moment(tmp_path: Path, kind: type[BaseException]) -> None:
    """Whoever makes the next page reads the one before it: what that remembers is not forgotten."""
    for broken in range(1, 100):
        root = tmp_path / str(broken)
        root.mkdir()
        share = Breaking(root)
        portal = SharePortal(share, "tester")
        portal.write_page(PAGE, lambda: b"one", "text/html")
        share.changes, share.broken, share.kind = 0, broken, kind
        try:
            assert portal.write_page(PAGE, lambda: b"two", "text/html")
        except kind:
            assert portal.read_small(PAGE) in (b"one", b"two")
        else:
            break
        share.broken = 0
        seen: list[bytes] = []

        def make(portal: SharePortal = portal, seen: list[bytes] = seen) -> bytes:
            seen.append(portal.read_small(PAGE))
            return b"two"

        portal.write_page(PAGE, make, "text/html")
        assert seen[0] in (b"one", b"two")
        assert portal.read_small(PAGE) == b"two"
        left = [path.name for path in (root / "SkyDRM").iterdir() if not path.name.endswith(".lock")]
        assert left == ["index.html"]
    assert broken > 2


def test_folders_in_one_another_do_not_end_the_command() -> None:
    """Whoever can write to the portal can make them as deep as a path may be long."""
    deep = f"SkyDRM/{'a/' * 1100}"
    portal = SharePortal(MemoryShare("/portal", {f"{deep}x": b"x", f"{deep}.x.1": b"x"}), "tester")
    assert [file.path for file in portal.files("SkyDRM")] == [f"{deep}x"]
    assert portal.discard_unfinished("SkyDRM") == 1
