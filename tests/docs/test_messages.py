"""The messages that the pages explain are messages of the program."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import cache

import pytest

from tests.docs.pages import ROOT, table

TROUBLE = ROOT / "docs" / "troubleshooting.md"
MANAGER = ROOT / "docs" / "release-manager.md"
GATE = ROOT / "docs" / "gate.md"
SHARES = ROOT / "docs" / "company-shares.md"
_EXPLAINED = [
    *(cells[0] for cells in table(TROUBLE, "message", "cause", "cure")),
    *(cells[2] for cells in table(SHARES, "what the share does")),
    *(cells[2] for cells in table(SHARES, "what the share has")),
    *(cells[2] for cells in table(SHARES, "what others do")),
    *(cells[2] for cells in table(SHARES, "what the network does")),
    *(cells[2] for cells in table(SHARES, "when", "what happens")),
    *(cells[0] for cells in table(MANAGER, "reason", "what to do")),
    *(cells[2] for cells in table(GATE, "condition", "policy", "refusal")),
    *(cells[1] for cells in table(MANAGER, "status", "message", "what to do")),
]
_OF_OTHERS = {"docs/attestations/attestation-storage.md"}  # BuildKit's, named as a source
MESSAGES = [message for cell in _EXPLAINED for message in re.findall(r"`([^`]+)`", cell)]


@cache
def _sources() -> tuple[str, ...]:
    """Return every string of the package once, with ``...`` for what is filled in."""
    found: dict[str, None] = {}
    for file in sorted((ROOT / "jenkins_release").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [str(p.value) if isinstance(p, ast.Constant) else "..." for p in node.values]
                found[" ".join("".join(parts).split())] = None
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found[" ".join(node.value.split())] = None
    return tuple(found)


@cache
def _long_sources() -> tuple[tuple[str, ...], ...]:
    """Return the parts of the strings that are more than a word or two."""
    return tuple(tuple(source.split("...")) for source in _sources() if len(source.replace("...", "")) >= 12)


def _has(text: str, parts: Iterable[str]) -> bool:
    """Whether a text has all parts, one after another."""
    position = 0
    for part in parts:
        position = text.find(part, position)
        if position < 0:
            return False
        position += len(part)
    return True


def _is_known(message: str) -> bool:
    """Whether the message is a piece of one of the strings, or one of them filled in."""
    parts = message.split("...")
    if any(_has(source, parts) for source in _sources()):
        return True
    return any(_has(message, source) for source in _long_sources())


@pytest.mark.parametrize("message", MESSAGES)
def test_an_explained_message_is_one_of_the_program(message: str):
    """With dots or with an example for what is filled in."""
    assert _is_known(message)


def test_there_are_messages_and_a_wrong_one_is_noticed():
    """The check can fail."""
    assert len(MESSAGES) > 60
    assert not _is_known("the share ... is on fire")


def test_the_pages_of_the_hints_exist():
    """Hints and messages name pages of the project, not of others."""
    named = re.findall(r"(?<![\w/])((?:docs|examples)/[\w./-]+\.(?:md|toml))\b", "\n".join(_sources()))
    assert {page for page in named if not (ROOT / page).exists() and page not in _OF_OTHERS} == set()
    assert "docs/configuration.md" in named
