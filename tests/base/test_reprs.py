"""What shows itself shows no secret: a failing test, a debugger or a log prints it."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType

import pytest
from pydantic import BaseModel

import jenkins_release
import tests

_SECRET = re.compile(r"(?i)password|passphrase|secret|token$|environ(ment)?$|^login$|private")
_IDS = frozenset({"Source.login"})
"""The ids of credentials in Jenkins, which open nothing by themselves."""


def modules(package: ModuleType) -> list[str]:
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return sorted(each.name for each in found if not each.name.endswith("__main__"))


def shown(module: ModuleType) -> Iterator[str]:
    """The fields with a telling name that the module's classes show."""
    for value in vars(module).values():
        if not isinstance(value, type) or value.__module__ != module.__name__:
            continue
        fields: dict[str, tuple[bool, object]] = {}
        if dataclasses.is_dataclass(value) and "__repr__" in vars(value):
            fields = {each.name: (each.repr, each.type) for each in dataclasses.fields(value)}
        elif issubclass(value, BaseModel):
            fields = {name: (each.repr, each.annotation) for name, each in value.model_fields.items()}
        for name, (told, kind) in fields.items():
            if told and "SecretStr" not in str(kind) and _SECRET.search(name):
                yield f"{value.__name__}.{name}"


@pytest.mark.parametrize("package", [jenkins_release, tests], ids=lambda package: package.__name__)
def test_no_class_shows_a_secret(package: ModuleType):
    """Of the package, and of what tests it against real servers."""
    for name in modules(package):
        assert {*shown(importlib.import_module(name))} <= _IDS, name
