"""``settings.txt``: what ``setup.sh`` asks a customer for, one setting a line.

``NAME|type|default|question``, read by Python here and by ``lib.sh`` on the customer's machine. A ``?`` after
the type allows an empty answer. Empty lines and lines that begin with ``#`` are comments.
"""

from __future__ import annotations

import re

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError

TYPES = ("host", "port", "path", "certificate", "key", "password", "number", "text", "choice")
_NAME = re.compile(r"[A-Z][A-Z0-9_]{1,40}")
_RESERVED = re.compile(r"(COMPOSE|DOCKER|AWS|ECR|SETUP|RUN)_.*|PATH|HOME|IFS|PRODUCT|VERSION")
_CHOICE = re.compile(r"choice\(([A-Za-z0-9._-]+(?:,[A-Za-z0-9._-]+)*)\)")
_VALUE = re.compile(r"[^'\"\\$`|\x00-\x1f\x7f-\x9f]*")


@dataclass(frozen=True)
class Setting:
    """A setting of the product.

    Attributes:
        name: Name of the variable in ``.env``.
        kind: One of :data:`TYPES`.
        optional: Whether it may be empty.
        default: Default; ``generate`` for a password that ``setup.sh`` makes.
        question: The question.
        choices: The allowed answers, if the kind is ``choice``.
    """

    name: str
    kind: str
    optional: bool
    default: str
    question: str
    choices: tuple[str, ...] = ()


def read_settings(text: str, where: str) -> tuple[Setting, ...]:
    """Read the settings.

    Raises:
        ConfigurationError: A line is wrong; ``reasons`` has every one.
    """
    found: list[Setting] = []
    mistakes: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            found.append(_setting(line))
        except ValueError as error:
            mistakes.append(f"{where} line {number}: {error}")
    names = [setting.name for setting in found]
    mistakes += [f"{where}: {name} occurs twice" for name in sorted({n for n in names if names.count(n) > 1})]
    if mistakes:
        raise ConfigurationError(
            f"{where}: {mistakes[0]}",
            hint="a line is NAME|type|default|question; docs/bundle.md lists the types",
            reasons=mistakes,
        )
    return tuple(found)


def _setting(line: str) -> Setting:
    parts = line.split("|")
    if len(parts) != 4:
        raise ValueError(f"has {len(parts)} parts, expected four: NAME|type|default|question")
    name, kind, default, question = (part.strip() for part in parts)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name of capital letters, digits and _")
    if _RESERVED.fullmatch(name):
        raise ValueError(f"{name} is a name that Docker, AWS or the scripts use")
    optional = kind.endswith("?")
    kind = kind.removesuffix("?")
    choice = _CHOICE.fullmatch(kind)
    choices = tuple(choice[1].split(",")) if choice else ()
    kind = "choice" if choice else kind
    if kind not in TYPES or (kind == "choice" and not choices):
        raise ValueError(f"{name}: {kind!r} is not one of {', '.join(TYPES[:-1])} and choice(a,b)")
    if not question or not _VALUE.fullmatch(question) or not _VALUE.fullmatch(default):
        raise ValueError(f"{name}: question and default must not contain quotes, backslashes, $ or `")
    if kind == "password" and default not in {"", "generate"}:
        raise ValueError(
            f"{name}: a password's default must be 'generate' or empty: everyone can read this file"
        )
    if default and choices and default not in choices:
        raise ValueError(f"{name}: the default {default!r} is not one of {', '.join(choices)}")
    return Setting(name, kind, optional, default, question, choices)
