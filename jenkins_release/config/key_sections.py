"""Trusted keys without a ``release.toml``: a folder of public keys, or a list of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.utf8 import NotUtf8, read_utf8
from jenkins_release.config.home import expand_home
from jenkins_release.config.model import Role, TrustedKeySection

ROLES: tuple[str, ...] = get_args(Role)
_SUFFIX = ".pub"


class _KeyFile(BaseModel):
    """A file with ``[[trusted_keys]]``, such as ``release.toml``; other sections are ignored."""

    model_config = ConfigDict(extra="ignore")

    trusted_keys: tuple[TrustedKeySection, ...] = ()


def read_key_sections(places: Sequence[Path]) -> tuple[TrustedKeySection, ...]:
    """Read trusted keys from folders and TOML files.

    In a folder, every ``*.pub`` is a key, and its name begins with the role: ``qa.pem.pub``,
    ``qa-quinn.pub`` and ``qa_2.pub`` may sign off. A TOML file has the ``[[trusted_keys]]`` of
    ``release.toml``, with paths relative to it: several roles for one key, validity, revocation.

    Args:
        places: Folders and files.

    Returns:
        The keys, with absolute paths.

    Raises:
        ConfigurationError: A place cannot be read or has no key, or a name occurs twice; ``reasons`` has
            every mistake.
    """
    found: list[TrustedKeySection] = []
    mistakes: list[str] = []
    for place in places:
        read = _folder if place.is_dir() else _file
        sections, wrong = read(place)
        found += sections
        mistakes += wrong
        if not sections and not wrong:
            mistakes.append(f"{place} contains no trusted key")
    names = [section.name for section in found]
    mistakes += [f"two keys are named {name!r}" for name in sorted({n for n in names if names.count(n) > 1})]
    if mistakes or not found:
        raise ConfigurationError(
            f"the trusted keys cannot be used: {mistakes[0] if mistakes else 'none is given'}",
            hint="give a folder with files such as qa.pem.pub, or a TOML file with [[trusted_keys]]",
            reasons=mistakes,
        )
    return tuple(found)


def _folder(place: Path) -> tuple[list[TrustedKeySection], list[str]]:
    found, mistakes = [], []
    for file in sorted(place.glob(f"*{_SUFFIX}")):
        role = re.split(r"[-_.]", file.name, maxsplit=1)[0]
        if role not in ROLES:
            mistakes.append(f"{file}: the name does not begin with a role: {', '.join(ROLES)}")
            continue
        values = {
            "name": file.name.removesuffix(_SUFFIX),
            "roles": [role],
            "public_key": str(file.absolute()),
        }
        found.append(TrustedKeySection.model_validate(values))
    return found, mistakes


def _file(place: Path) -> tuple[list[TrustedKeySection], list[str]]:
    try:
        values = tomllib.loads(read_utf8(place.read_bytes()))
    except (tomllib.TOMLDecodeError, NotUtf8) as error:
        return [], [f"{place} is not TOML: {error}"]
    except RecursionError:
        return [], [f"{place} is not TOML: it is nested too deeply"]
    except OSError as error:
        return [], [f"{place} cannot be read: {error.strerror}"]
    try:
        sections = _KeyFile.model_validate(values).trusted_keys
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        return [], [f"{place}: {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in wrong]
    folder = place.absolute().parent
    return [
        section.model_copy(update={"public_key": str(folder / expand_home(section.public_key))})
        for section in sections
    ], []
