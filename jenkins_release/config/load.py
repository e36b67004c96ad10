"""Read ``release.toml``: defaults < file < environment < options. All mistakes are reported at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.text import did_you_mean
from jenkins_release.base.utf8 import NotUtf8, read_utf8
from jenkins_release.config.home import expand_home
from jenkins_release.config.ledger import LedgerSection
from jenkins_release.config.model import Configuration
from jenkins_release.config.stray_secrets import stray_secrets

S = TypeVar("S", bound=BaseModel)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LINES = "\t\n\r"
"""Allowed in texts of several lines, such as the commands of a Run Command document, but not in a path."""
CONFIG_VARIABLE = "JENKINS_RELEASE_CONFIG"
DEFAULT_FILE = "release.toml"
PREFIX = "JENKINS_RELEASE_"
_MAX_BYTES = 4 * 1024 * 1024
_SOURCE = " from the variable "
_LOGIN = re.compile(r"://[^/@\s]*@")
"""A login in a URL: errors quote the wrong value, but not its password."""
_UNQUOTED = ("url_variable",)
"""Keys whose wrong value is not quoted: it may be the secret itself, by misunderstanding."""


def load_configuration(
    path: Path | None = None,
    *,
    environ: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
) -> Configuration:
    """Read and check the configuration.

    A scalar key can be overridden by ``JENKINS_RELEASE_<SECTION>_<KEY>`` in the environment
    (``JENKINS_RELEASE_SHARE_RELEASE_CANDIDATE``) and by ``options``; ``[policy]`` and ``[ledger]`` cannot.

    Args:
        path: The file; ``JENKINS_RELEASE_CONFIG`` or ``./release.toml`` by default.
        environ: The environment.
        options: Overrides from the command line, ``section.key`` to value; None values are left out.

    Raises:
        ConfigurationError: The file is missing, is not TOML, or has wrong values; ``reasons`` has every
            mistake.
    """
    path = path or Path(environ.get(CONFIG_VARIABLE) or DEFAULT_FILE)
    values = _read(path)
    mistakes = [
        f"{key}: secrets do not belong in this file, and {why}; use the environment (docs/configuration.md)"
        for key, why in stray_secrets(values, Configuration)
    ]
    mistakes += [
        f"{key}: contains the control character {_named(letter)}, "
        "which TOML makes from a backslash in double quotes; write it in single quotes"
        for key, letter in _control_characters(values)
    ]
    given = {f"{section}.{key}": value for section, key, value in _from_environment(environ)}
    _override(values, given)
    _override(values, {key: value for key, value in (options or {}).items() if value is not None})
    configuration: Configuration | None = None
    try:
        configuration = Configuration.model_validate(values)
    except ValidationError as error:
        secret_keys = {m.split(":")[0] for m in mistakes}
        mistakes += [
            _with_source(m, given)
            for m in map(_mistake, error.errors(include_url=False))
            if m.split(":")[0] not in secret_keys
        ]
    if mistakes or configuration is None:
        where = "the environment" if all(_SOURCE in each for each in mistakes) else str(path)
        raise ConfigurationError(
            f"{where}: {len(mistakes)} mistake{'s' if len(mistakes) != 1 else ''} in the configuration",
            hint="docs/configuration.md describes every key; examples/skydrm/release.toml is a working file",
            reasons=mistakes,
        )
    return _with_absolute_paths(configuration, path.parent.absolute())


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise ConfigurationError(
                f"{path} has more than {_MAX_BYTES} bytes, too many for a configuration",
                hint="check that it is the right file",
            )
        return tomllib.loads(read_utf8(data))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"there is no configuration file {path}",
            hint=f"run in the product's repository, give --config, or set {CONFIG_VARIABLE}",
        ) from error
    except NotUtf8 as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}", hint="fix that line") from error
    except RecursionError as error:
        raise ConfigurationError(f"{path} is not TOML: it is nested too deeply") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error


def _named(letter: str) -> str:
    """Return a readable name of a control character: ``U+000D (carriage return)``."""
    names = {"\0": "null", "\b": "backspace", "\t": "tab", "\n": "line feed", "\f": "form feed"}
    names |= {"\r": "carriage return", "\x1b": "escape", "\x7f": "delete"}
    return f"U+{ord(letter):04X}" + (f" ({names[letter]})" if letter in names else "")


def _control_characters(value: Any, name: str = "") -> list[tuple[str, str]]:
    r"""Find the first control character of each text that must not have any.

    A path such as ``"\\server\release"`` in double quotes contains a carriage return.
    """
    if isinstance(value, Mapping):
        parts = [(f"{name}.{key}" if name else key, item) for key, item in value.items()]
    elif isinstance(value, list):
        parts = [(f"{name}[{place}]", item) for place, item in enumerate(value)]
    else:
        text = value if isinstance(value, str) else ""
        found = [each for each in _CONTROL.findall(text) if text.startswith("\\") or each not in _LINES]
        return [(name, each) for each in found[:1]]
    return [each for place, item in parts for each in _control_characters(item, place)]


def _from_environment(environ: Mapping[str, str]) -> list[tuple[str, str, str]]:
    found = []
    for section, field in Configuration.model_fields.items():
        kind = field.annotation
        if section in {"policy", "ledger"}:
            continue  # the gate's requirements are reviewed with the file: no job switches them off
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for key, inner in kind.model_fields.items():
                value = environ.get(f"{PREFIX}{section}_{key}".upper())
                scalar = (
                    inner.annotation in {str, bool, int, float} or get_origin(inner.annotation) is Literal
                )
                if value is not None and scalar:
                    found.append((section, key, value))
    return found


def _override(values: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    for dotted, value in overrides.items():
        section, _, key = dotted.partition(".")
        target = values.setdefault(section, {})
        if isinstance(target, dict):
            target[key] = value


def _mistake(error: Any) -> str:
    place = ""
    for part in error["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    kind = error["type"]
    if kind == "missing":
        return f"{place}: is missing"
    if kind == "extra_forbidden":
        question = did_you_mean(str(error["loc"][-1]), _keys_at(error["loc"][:-1]))
        return f"{place}: is not a known key{f'; {question}' if question else ''}"
    text = str(error["msg"]).removeprefix("Value error, ")
    found = error.get("input")
    if isinstance(found, str):
        found = _LOGIN.sub("://...@", found)
    quoted = isinstance(found, str | int | float | bool) and not place.endswith(_UNQUOTED)
    shown = f" (found {found!r})" if quoted else ""
    return f"{place}: {text}{shown}" if place else text


def _keys_at(place: Sequence[str | int]) -> list[str]:
    """Return the keys that a section may have."""
    model: type[BaseModel] | None = Configuration
    for part in place:
        if model is not None and isinstance(part, str):
            field = model.model_fields.get(part)
            model = None if field is None else _section(field.annotation)
    return list(model.model_fields) if model is not None else []


def _section(kind: Any) -> type[BaseModel] | None:
    """Return the model in a field's type, such as in ``tuple[ImageSection, ...]``."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next((found for part in get_args(kind) if (found := _section(part)) is not None), None)


def _with_source(mistake: str, given: Mapping[str, str]) -> str:
    """Say which variable a wrong value comes from, since it is not in the file."""
    key = mistake.partition(":")[0]
    if key not in given:
        return mistake
    empty = ", which is empty; unset it to take the file's value" if not given[key].strip() else ""
    return f"{mistake}{_SOURCE}{PREFIX}{key.replace('.', '_').upper()}{empty}"


def _with_absolute_paths(configuration: Configuration, folder: Path) -> Configuration:
    """Keys and other files are relative to the configuration file, wherever the command is run."""
    keys = tuple(_anchored(key, folder, "public_key") for key in configuration.trusted_keys)
    notify = tuple(_anchored(each, folder, "ca_file", "template_file") for each in configuration.notify)
    signing = {
        name: f"file2:{folder / expand_home(uri.removeprefix('file2:'))}"
        for name, uri in configuration.signing
        if uri.startswith("file2:")
    }
    return configuration.model_copy(
        update={
            "trusted_keys": keys,
            "signing": configuration.signing.model_copy(update=signing),
            "notify": notify,
            "bundle": _anchored(configuration.bundle, folder, "templates"),
            "ledger": _ledger(configuration.ledger, folder),
            "portal": _anchored(
                configuration.portal, folder, "release_notes", "upgrade_notes", "setup_guide", "logo"
            ),
        }
    )


def _ledger(section: LedgerSection, folder: Path) -> LedgerSection:
    """A ledger in a local folder is the same wherever the command is run."""
    elsewhere = section.location.startswith("\\\\") or "://" in section.location
    return section if elsewhere else _anchored(section, folder, "location")


def _anchored(section: S, folder: Path, *names: str) -> S:
    """Return a section with the files that it names made absolute; an empty name stays empty."""
    found = {name: getattr(section, name) for name in names}
    return section.model_copy(
        update={name: str(folder / expand_home(file)) for name, file in found.items() if file}
    )
