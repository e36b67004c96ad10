"""Frozen dataclasses that are cheap to define: a command imports over a hundred of them and uses half.

:func:`dataclasses.dataclass` compiles six methods for each frozen class. Here, all classes share them, except
``__init__``, which each gets on first use.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, NoReturn, cast

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls: type | None = None, /, **options: Any) -> Any:
        """Make a dataclass, as :func:`dataclasses.dataclass` does, which it is for type checkers.

        Args:
            cls: The class; None if there are options.
            **options: With ``frozen=True`` alone, methods are shared; other kinds are made as usual.
        """
        return _frozen if options == {"frozen": True} else dataclasses.dataclass(cls, **options)


def _frozen(cls: type) -> type:
    # Without a docstring, dataclasses would make one of the signature.
    cls.__doc__ = cls.__doc__ or cls.__name__
    dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
    for name, method in _METHODS.items():
        # A class that defines __eq__ and no __hash__ has None for one.
        if vars(cls).get(name) is None:
            setattr(cls, name, method)
    if "__init__" not in vars(cls):
        cls.__init__ = _Init(cls)  # type: ignore[misc]
    return cls


class _Absent:
    def __repr__(self) -> str:
        return "<made for each instance>"


_ABSENT = _Absent()


class _Init:
    """The ``__init__`` of a class until it is first used.

    Args:
        cls: The class.
    """

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def __get__(self, instance: Any, owner: type) -> Any:
        made: Any = _written(self._cls)
        # Two threads may both write it: one is as good as the other.
        self._cls.__init__ = made  # type: ignore[misc]
        return made.__get__(instance, owner)


def _written(cls: type) -> Callable[..., None]:
    """Return an ``__init__`` with a parameter for each field."""
    known: dict[str, Any] = {"set_field": object.__setattr__, "ABSENT": _ABSENT}
    parameters, named, body = ["self"], ["*"], []
    for field in dataclasses.fields(cls):
        name, value = field.name, field.name
        if field.default is not dataclasses.MISSING:
            known[f"default_{name}"] = field.default
            parameter = f"{name}=default_{name}"
        elif field.default_factory is not dataclasses.MISSING:
            known[f"make_{name}"] = field.default_factory
            parameter = f"{name}=ABSENT"
            value = f"make_{name}() if {name} is ABSENT else {name}" if field.init else f"make_{name}()"
        else:
            parameter = name
        if field.init:
            (named if field.kw_only else parameters).append(parameter)
        elif value == name:
            continue  # set by __post_init__, or the class has its default
        body.append(f"  set_field(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("  self.__post_init__()")
    if len(named) > 1:
        parameters += named
    source = "\n".join([f"def __init__({', '.join(parameters)}):", *body, "  return None"])
    exec(source, known)  # noqa: S102 - names of fields, as in dataclasses
    made: Any = known["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__module__ = cls.__module__
    made.__annotations__ = {field.name: field.type for field in dataclasses.fields(cls) if field.init}
    return cast(Callable[..., None], made)


@cache
def _compared(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls) if field.compare)


def _values(instance: Any) -> tuple[object, ...]:
    return tuple([getattr(instance, name) for name in _compared(instance.__class__)])


@recursive_repr()
def _repr(self: Any) -> str:
    fields = [field.name for field in dataclasses.fields(self) if field.repr]
    return f"{self.__class__.__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in fields)})"


def _eq(self: object, other: object) -> bool:
    return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: object) -> int:
    return hash(_values(self))


def _setattr(_: object, name: str, __: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(_: object, name: str) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


_METHODS = {
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
}
