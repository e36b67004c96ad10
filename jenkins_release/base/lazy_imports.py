"""Names of a package that are imported on first use (PEP 562)."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
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
        stub: A file of lines such as ``from package.module import Name as Name``, and nothing else.

    Returns:
        Name to the module below the package that has it, for :func:`imported_on_use`.

    Raises:
        ValueError: A line is something else.
    """
    found: dict[str, str] = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body[1:]:  # the docstring is the first
        module = node.module if isinstance(node, ast.ImportFrom) and not node.level else None
        if not isinstance(node, ast.ImportFrom) or not module or not module.startswith(f"{package}."):
            raise ValueError(f"{stub}, line {node.lineno}: expected an import from a module of {package}")
        for alias in node.names:
            if alias.asname != alias.name or alias.name in found:
                raise ValueError(f"{stub}, line {node.lineno}: expected {alias.name} as {alias.name}, once")
            found[alias.name] = module.removeprefix(f"{package}.")
    return found
