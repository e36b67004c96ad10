"""Our frozen dataclasses behave as those of the standard library, which they are for type checkers."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import pkgutil
from collections.abc import Callable
from dataclasses import field
from importlib import import_module
from typing import Any

import pytest

import jenkins_release
from jenkins_release.base.dataclass import dataclass


def _classes(dataclass: Any) -> dict[str, type]:
    @dataclass(frozen=True)
    class Point:
        """A point."""

        x: int
        y: int = 0
        names: list[str] = field(default_factory=list, compare=False)
        hidden: str = field(default="h", repr=False)
        found: int = field(init=False, repr=False, compare=False)
        kept: int = field(default=7, init=False)
        made: list[int] = field(default_factory=list, init=False, compare=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "found", self.x + self.y)

    @dataclass(frozen=True)
    class Deep(Point):
        """A deep point."""

        z: int = 1

    @dataclass(frozen=True)
    class Own:
        """It has methods of its own."""

        x: int

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return True

    @dataclass(frozen=True)
    class Nothing:
        """Without fields."""

    @dataclass(frozen=True)
    class Named:
        """One field has to be named."""

        x: int
        what: str = field(default="w", kw_only=True)

    @dataclass(frozen=True)
    class Below(Named):
        """Fields without a default follow."""

        y: int

    return {cls.__name__: cls for cls in (Point, Deep, Own, Nothing, Named, Below)}


OURS, THEIRS = _classes(dataclass), _classes(dataclasses.dataclass)


def _said(action: Callable[[], Any]) -> str:
    try:
        return repr(action()).replace("_classes.<locals>.", "")
    except (TypeError, AttributeError, ValueError) as error:
        return f"{type(error).__name__}: {error}".replace("_classes.<locals>.", "")


@pytest.mark.parametrize(
    "action",
    [
        lambda c: c["Point"](1),
        lambda c: c["Point"](1, y=2, names=["a"], hidden="b"),
        lambda c: c["Named"](1, what="v"),
        lambda c: c["Named"](1, "v"),
        lambda c: c["Below"](1, 2),
        lambda c: c["Below"](1, 2, what="v"),
        lambda c: c["Point"](1).found,
        lambda c: c["Point"](1).kept,
        lambda c: c["Point"](1).names is not c["Point"](1).names,
        lambda c: c["Point"](1).made is not c["Point"](1).made,
        lambda c: c["Point"](),
        lambda c: c["Point"](1, z=1),
        lambda c: c["Point"](1, 2, [], "h", 3),
        lambda c: c["Point"](1) == c["Point"](1),
        lambda c: c["Point"](1) == c["Point"](1, names=["a"]),
        lambda c: c["Point"](1) == c["Point"](2),
        lambda c: c["Point"](1) == c["Deep"](1),
        lambda c: c["Point"](1) == 1,
        lambda c: hash(c["Point"](1)) == hash(c["Point"](1, names=["a"])),
        lambda c: len({c["Point"](1), c["Point"](1), c["Deep"](1)}),
        lambda c: setattr(c["Point"](1), "x", 2),
        lambda c: setattr(c["Point"](1), "other", 2),
        lambda c: delattr(c["Point"](1), "x"),
        lambda c: dataclasses.replace(c["Deep"](1, z=5), x=2),
        lambda c: dataclasses.replace(c["Point"](1), kept=2),
        lambda c: dataclasses.asdict(c["Point"](1)),
        lambda c: [one.name for one in dataclasses.fields(c["Deep"])],
        lambda c: dataclasses.is_dataclass(c["Deep"]),
        lambda c: c["Deep"].__match_args__,
        lambda c: c["Deep"](1, 2, z=3),
        lambda c: c["Own"](1),
        lambda c: c["Own"](1) == 2,
        lambda c: hash(c["Own"](1)) == hash(c["Own"](1)),
        lambda c: c["Nothing"](),
        lambda c: c["Nothing"]() == c["Nothing"](),
        lambda c: copy.deepcopy(c["Point"](1, names=["a"])),
        lambda c: c["Point"].__doc__,
        lambda c: c["Point"].__init__.__qualname__,
        lambda c: list(inspect.signature(c["Deep"]).parameters),
    ],
)
def test_a_frozen_class_does_what_that_of_the_standard_library_does(action: Callable[[Any], Any]):
    """Values, comparisons, and the words of each error."""
    ours, theirs = _said(lambda: action(OURS)), _said(lambda: action(THEIRS))
    assert ours.replace("Point.__init__", "__init__") == theirs.replace("Point.__init__", "__init__")


def test_a_subclass_calls_the_init_of_its_base():
    """Also if nobody did before."""

    @dataclass(frozen=True)
    class Base:
        x: int

    class Sub(Base):
        def __init__(self) -> None:
            super().__init__(3)

    assert Sub().x == 3
    assert Base(4).x == 4


@dataclass(frozen=True)
class Kept:
    """Of a module, so that it can be pickled."""

    x: int


def test_an_instance_is_pickled():
    """As one of any other class."""
    assert pickle.loads(pickle.dumps(Kept(3))) == Kept(3)  # noqa: S301 - our own bytes


def test_other_kinds_are_those_of_the_standard_library():
    """Their methods are made at once."""

    @dataclass(frozen=True, order=True)
    class Ordered:
        x: int

    @dataclass
    class Changed:
        x: int

    assert Ordered(1) < Ordered(2)
    changed = Changed(1)
    changed.x = 2
    assert changed == Changed(2)


def test_each_class_of_the_package_can_be_made():
    """A mistake in its fields would be found only by the first who makes one."""
    for found in pkgutil.walk_packages(jenkins_release.__path__, "jenkins_release."):
        if found.name.endswith("__main__"):
            continue
        module = import_module(found.name)
        for thing in vars(module).values():
            if isinstance(thing, type) and thing.__module__ == found.name and dataclasses.is_dataclass(thing):
                assert inspect.signature(thing)
