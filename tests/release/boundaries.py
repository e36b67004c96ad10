"""Doubles around the real services that count every call to the outside and may end the process after one.

They forward each call as it came and hand back what it returned. A call counts when it has returned or
raised; so does entering and leaving a block, and each piece of a stream.
"""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from jenkins_release.steps.context.services import Services

SERVICES = ("share", "release_share", "registry", "engine", "blobs", "referrers")
ALL = os.environ.get("DEATHS") == "all"
"""Whether commands are killed after every call, and on the share that they have."""
_LOCAL = {"share.name", "release_share.name"}
"""What looks like a service and never leaves the process."""
_READS = frozenset(
    f"{service}.{call}"
    for services, calls in (
        (
            ("share", "release_share"),
            (
                "close",
                "free_space",
                "lease.confirm",
                "list",
                "list raised",
                "list_each",
                "read piece",
                "stat",
                "stat raised",
            ),
        ),
        (
            ("registry",),
            (
                "close",
                "endpoint",
                "host",
                "images",
                "inventory",
                "login",
                "missing_layers",
                "mounts_blobs",
                "repositories",
                "repository",
                "tags",
            ),
        ),
        (("engine",), ("close", "config_digest", "inspect", "inspect raised")),
        (("blobs",), ("close", "holds")),
        (
            ("referrers",),
            (
                *("blob", "client_list", "close", "listing", "manifest"),
                *("client_list raised", "listing raised", "manifest raised"),
            ),
        ),
    )
    for service in services
    for call in calls
)
"""Calls that change nothing outside: a :class:`Witness` watches each kind of command for it."""
_STEPS = frozenset(
    f"{what}{step}"
    for what, steps in (
        ("share.create", (" enter", ".write", " exit")),
        ("release_share.create", (" enter", ".write", " exit")),
        ("blobs.upload", (" enter", ".send", ".finish", " exit")),
    )
    for step in steps
)
"""Steps of one write: a rename or a manifest lets others see what was written."""


class Observer(Protocol):
    """Who is told of each call to the outside that has ended."""

    def passed(self, what: str) -> None:
        """Take note of a call."""


def only_reads(call: str) -> bool:
    """Whether a call to the outside is known to change nothing there."""
    return call in _READS


def deaths(calls: Sequence[str]) -> list[int]:
    """Return the numbers, from 1, of the calls after which a killed command has to be tried.

    One that dies after a call that only reads leaves everything as it was after the call before. All files
    are written by the same steps, and so are all layers: each step is played for the first and the last of
    them. If the environment variable ``DEATHS`` is ``all``, every call is played.
    """
    if ALL:
        return list(range(1, len(calls) + 1))
    ends = {call: (calls.index(call) + 1, number) for number, call in enumerate(calls, 1)}
    return [
        number
        for number, call in enumerate(calls, 1)
        if number == 1 or (not only_reads(call) and (call not in _STEPS or number in ends[call]))
    ]


class Boundaries:
    """Counts the calls, and kills this process after one of them.

    Args:
        log: Descriptor that each call's name is written to, one line each: what stands there survives.
        kill_after: Number of the call, from 1; 0 never kills.
    """

    def __init__(self, log: int, kill_after: int) -> None:
        self._log = log
        self._kill_after = kill_after
        self._count = 0

    def passed(self, what: str) -> None:
        """Count a call that has ended."""
        self._count += 1
        os.write(self._log, f"{what}\n".encode())
        if self._count == self._kill_after:
            os.kill(os.getpid(), signal.SIGKILL)


class Witness:
    """Compares what is outside after each call with what was there before it.

    Args:
        outside: Returns everything that is outside.

    Attributes:
        calls: Names of the calls.
        changed: Those of them that are said to read only, and after which something was different.
    """

    def __init__(self, outside: Callable[[], object]) -> None:
        self._outside = outside
        self._before = outside()
        self.calls: list[str] = []
        self.changed: list[str] = []

    def passed(self, what: str) -> None:
        """Look at everything again."""
        self.calls.append(what)
        now = self._outside()
        if only_reads(what) and now != self._before:
            self.changed.append(what)
        self._before = now


def contents(*folders: Path) -> dict[Path, bytes | None]:
    """Return what is in folders: file to bytes, and None for a folder."""
    found = [path for folder in folders for path in folder.rglob("*")]
    return {path: path.read_bytes() if path.is_file() else None for path in found}


class Moment:
    """Does something once, after a certain call to the outside.

    Args:
        what: Name of the call, such as ``registry.set_tag``.
        number: Which of the calls with that name, from 1.
        action: What to do.
    """

    def __init__(self, what: str, number: int, action: Callable[[], object]) -> None:
        self._what = what
        self._left = number
        self._action = action

    @property
    def came(self) -> bool:
        """Whether it was done."""
        return self._left == 0

    def passed(self, what: str) -> None:
        """Count a call, and act after the right one."""
        if what != self._what or self.came:
            return
        self._left -= 1
        if self.came:
            self._action()


class Watched:
    """A service, or something that it handed out, whose every call is told to an observer."""

    def __init__(self, real: Any, name: str, boundaries: Observer) -> None:
        self._real = real
        self._name = name
        self._boundaries = boundaries

    def __getattr__(self, attribute: str) -> Any:
        what = f"{self._name}.{attribute}"
        found = getattr(self._real, attribute)
        if callable(found):
            return self._counted(what, found)
        if what not in _LOCAL:
            self._boundaries.passed(what)
        return found

    def __enter__(self) -> Any:
        entered = self._real.__enter__()
        self._boundaries.passed(f"{self._name} enter")
        return None if entered is None else Watched(entered, self._name, self._boundaries)

    def __exit__(self, *error: object) -> Any:
        return self._counted(f"{self._name} exit", self._real.__exit__)(*error)

    def _counted(self, what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **words: Any) -> Any:
            try:
                result = call(*arguments, **words)
            except BaseException:
                self._boundaries.passed(f"{what} raised")
                raise
            if isinstance(result, Iterator):  # nothing is asked for before its first piece
                return self._pieces(what, result)
            if isinstance(result, AbstractContextManager):  # nor before it is entered
                return Watched(result, what, self._boundaries)
            self._boundaries.passed(what)
            return result

        return counted

    def _pieces(self, what: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._boundaries.passed(f"{what} piece")
            yield piece


def in_turn(_: Services, action: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """What ``Services.each`` does, one after the other: then calls have numbers."""
    return [action(item) for item in items]


@contextmanager
def watched_services(observer: Observer) -> Iterator[None]:
    """Put a double around each service that this process opens within the block."""
    before = {name: Services.__dict__.get(name) for name in ("each", *SERVICES)}
    watch_services(observer)
    try:
        yield
    finally:
        for name, found in before.items():
            if found is None:
                delattr(Services, name)
            else:
                setattr(Services, name, found)


def watch_services(boundaries: Observer) -> None:
    """Put a double around each service that this process will open.

    What is asked several at a time is asked one after the other.
    """
    Services.each = in_turn
    for name in SERVICES:
        opening = inspect.getattr_static(Services, name).func

        def watched(services: Services, name: str = name, opening: Any = opening) -> Watched:
            return Watched(opening(services), name, boundaries)

        replacement = cached_property(watched)
        replacement.__set_name__(Services, name)
        setattr(Services, name, replacement)
