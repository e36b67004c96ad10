"""The Python API: names, kinds, signatures, attributes."""

from __future__ import annotations

import ast
import enum
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import jenkins_release
from jenkins_release.base.errors import EXIT_STATUS, ReleaseError
from tests.fixtures.snapshots import Snapshots


def test_public_names_are_what_they_were(snapshots: Snapshots) -> None:
    """Nothing that scripts import is renamed, removed, or called in another way by accident."""
    snapshots.same("api.txt", "\n".join(_api()))


def test_each_error_keeps_its_exit_status(snapshots: Snapshots) -> None:
    """Pipelines decide by the status what to do next; subclasses have that of their category."""
    for module in pkgutil.walk_packages(jenkins_release.__path__, "jenkins_release."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    kinds = {kind for kind in _kinds(ReleaseError) if not kind.__name__.startswith("_")}
    lines = sorted(f"{kind.__name__}: {kind.category}, {EXIT_STATUS[kind.category]}" for kind in kinds)
    snapshots.same("errors.txt", "\n".join([*lines, ""]))


def test_the_description_of_a_name_shows_what_callers_need() -> None:
    """A field, a default, a method, a property; nothing private."""
    described = "\n".join(_described("PromoteRequest", jenkins_release.PromoteRequest))
    assert "    candidate: CandidateRef" in described
    assert "    dry_run: bool = False" in described
    described = "\n".join(_described("Services", jenkins_release.Services))
    assert "    property share -> " in described
    assert "    def close(self) -> None" in described
    assert "    _" not in described


def _api() -> Iterator[str]:
    for name in sorted(jenkins_release.__all__):
        if name != "__version__":
            yield from _described(name, getattr(jenkins_release, name))
            yield ""


def _described(name: str, thing: Any) -> Iterator[str]:
    """Describe a name by its source, which is the same under every version of Python."""
    if inspect.isfunction(thing):
        yield _signature(_parsed(thing), name)
    elif isinstance(thing, type):
        bases = ", ".join(base.__name__ for base in thing.__bases__ if base is not object)
        yield f"{_kind(thing)} {name}({bases})" if bases else f"{_kind(thing)} {name}"
        seen: set[str] = set()
        for kind in thing.__mro__:
            if kind.__module__.startswith("jenkins_release."):
                yield from _members(kind, seen)
    else:
        yield f"value {name} = {thing!r}"


def _kind(thing: type) -> str:
    if issubclass(thing, BaseException):
        return "exception"
    if issubclass(thing, enum.Enum):
        return "enum"
    return "class"


def _members(kind: type, seen: set[str]) -> Iterator[str]:
    for node in _parsed(kind).body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)):
                text = ast.unparse(node)
            case ast.Assign(targets=[ast.Name(id=name)]):
                text = ast.unparse(node)
            case ast.FunctionDef(name=name):
                text = _signature(node, name)
            case _:
                continue
        if name not in seen and (not name.startswith("_") or name == "__init__"):
            seen.add(name)
            yield f"    {text}"


def _signature(node: Any, name: str) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    decorators = {ast.unparse(each).rpartition(".")[2] for each in node.decorator_list}
    if decorators & {"property", "cached_property"}:
        return f"property {name}{returns}"
    bound = "".join(f"{each} " for each in ("classmethod", "staticmethod") if each in decorators)
    return f"{bound}def {name}({ast.unparse(node.args)}){returns}"


def _parsed(thing: Any) -> Any:
    return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(thing)))).body[0]


def _kinds(kind: type[ReleaseError]) -> Iterator[type[ReleaseError]]:
    yield kind
    for each in kind.__subclasses__():
        if each.__module__.startswith("jenkins_release."):
            yield from _kinds(each)
