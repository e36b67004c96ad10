"""What is imported on first use: names of a package (PEP 562), and what libraries import for other uses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any


def imported_on_use(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package.

    Args:
        package: Its name.
        homes: Name to the module below the package that has it.
    """

    def found(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return found


def homes_in_stub(package: str, stub: Path) -> dict[str, str]:
    """Read the public names of a package from its stub.

    Args:
        package: Its name.
        stub: A file with a docstring of one line, and then lines such as
            ``from package.module import Name as Name``, and nothing else.

    Returns:
        Name to the module below the package that has it, for :func:`imported_on_use`.

    Raises:
        ValueError: A line is something else.
    """
    found: dict[str, str] = {}
    lines = stub.read_text(encoding="utf-8").splitlines()
    # Not by ast: each command begins with it.
    for number, line in enumerate(lines[1:], 2):  # the docstring is the first
        if not line:
            continue
        match line.split():
            case ["from", module, "import", name, "as", same] if module.startswith(f"{package}.") and (
                same == name and name not in found
            ):
                found[name] = module.removeprefix(f"{package}.")
            case _:
                raise ValueError(
                    f"{stub}, line {number}: expected from {package}.module import Name as Name, once"
                )
    return found


@contextmanager
def left_for_later(*libraries: str) -> Iterator[None]:
    """Let what is imported in the block import these libraries only when it uses them.

    Imports outside of the block are not affected. A library that is imported already, or not installed, stays
    so.

    Args:
        *libraries: Modules that are imported in the block with ``import``, and not with ``from``.
    """
    left = {name: _stand_in(name) for name in libraries if name not in sys.modules and find_spec(name)}
    sys.modules.update(left)
    try:
        yield
    finally:
        for name, module in left.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _stand_in(name: str) -> ModuleType:
    """Return a module that imports the one of that name when it is asked for what that has."""
    module = ModuleType(name)
    # Not importlib.util.LazyLoader, which Python 3.11 has import the module as soon as it is named.
    module.__getattr__ = lambda attribute: getattr(import_module(name), attribute)  # type: ignore[method-assign]
    return module
