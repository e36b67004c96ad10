"""Secrets that were written into ``release.toml``, which is in a repository."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel

_WORDS = ("password", "passphrase", "secret", "token", "access_key", "credential")
_LOOKS = {
    "an AWS access key": r"(AKIA|ASIA)[0-9A-Z]{16}",
    # 40 characters of base64, as in "Managing access keys" of the IAM user guide; a Git commit has hex only.
    "an AWS secret access key": r"(?=[A-Za-z0-9+/]*[G-Zg-z+/])(?=[A-Za-z0-9+/]*[0-9])[A-Za-z0-9+/]{40}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*",
    "an age identity": r"AGE-SECRET-KEY-1.*",
    "a GitHub token": r"(gh[pousr]_|github_pat_)\w{20,}",
    "a GitLab token": r"glpat-[\w-]{20,}",
    "a Slack token": r"xox[abeprs]-[\w-]{10,}",
    "a webhook's address with its token": r"https://hooks\.slack\.com/services/.+",
    "a JSON web token": r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]*",
    "a Jenkins API token": r"11[0-9a-f]{32}",
}
_PATTERNS = {what: re.compile(pattern, re.DOTALL) for what, pattern in _LOOKS.items()}


def stray_secrets(
    values: Mapping[str, Any], model: type[BaseModel], above: str = ""
) -> Iterator[tuple[str, str]]:
    """Find secrets by what a value looks like, and by the names of our own keys.

    The keys of a table such as ``ecr.repository_tags`` are names that users chose: only their values are
    checked.

    Args:
        values: The table.
        model: The model of the table.
        above: Name of the table, followed by a dot.

    Yields:
        The key, and why its value looks like a secret.
    """
    for key, value in values.items():
        name, field = f"{above}{key}", model.model_fields.get(key)
        if any(word in key.lower() for word in _WORDS) and not isinstance(value, Mapping | list):
            yield name, "its name suggests a secret"
        else:
            yield from _within(value, field.annotation if field else None, name)


def _within(value: Any, annotation: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        if model := next(_models(annotation), None):
            yield from stray_secrets(value, model, f"{name}.")
        else:
            chosen = any(get_origin(each) in {dict, Mapping} for each in (annotation, *get_args(annotation)))
            for key, item in value.items():
                if not chosen and any(word in key.lower() for word in _WORDS):
                    yield f"{name}.{key}", "its name suggests a secret"
                else:
                    yield from _within(item, None, f"{name}.{key}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _within(item, annotation, f"{name}[{place}]")
    elif isinstance(value, str):
        for what, pattern in _PATTERNS.items():
            if pattern.fullmatch(value.strip()):
                yield name, f"it looks like {what}"
                return


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _models(each)
