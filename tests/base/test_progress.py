"""Who is waited for while bytes pass on."""

from __future__ import annotations

from jenkins_release.base.progress import telling_waits


class Recorder:
    """A transfer that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def advance(self, count: int) -> None:
        """Remember the bytes."""
        self.told.append(f"{count} bytes")

    def waits_for(self, what: str) -> None:
        """Remember who is waited for."""
        self.told.append(what)


def test_the_one_is_told_whose_turn_it_is():
    """The source before each chunk, the sink while it takes one and at the end."""
    task = Recorder()
    for chunk in telling_waits([b"ab", b"c"], task, source="source", sink="sink", first="first", last="last"):
        task.advance(len(chunk))
    assert task.told == ["first", "sink", "2 bytes", "source", "sink", "1 bytes", "source", "last"]
    task = Recorder()
    assert list(telling_waits([], task, source="source", sink="sink")) == []
    assert task.told == ["source", "sink"]
