"""Reading ``release.toml``: defaults < file < environment < options, every mistake reported at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_origin

from pydantic import BaseModel, ValidationError

from jenkins_release.config.model import Configuration
from jenkins_release.errors import ConfigurationError

S = TypeVar("S", bound=BaseModel)
CONFIG_VARIABLE = "JENKINS_RELEASE_CONFIG"
DEFAULT_FILE = "release.toml"
PREFIX = "JENKINS_RELEASE_"
_LOGIN = re.compile(r"://[^/@\s]*@")
"""A login within a URL: what is refused is quoted, its password is not."""
_UNQUOTED = ("url_variable",)
"""Keys whose wrong value is not quoted: who misunderstands the key writes the secret itself there."""
_SECRET_WORDS = ("password", "passphrase", "secret", "token", "access_key", "credential")


def load_configuration(
    path: Path | None = None,
    *,
    environ: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
) -> Configuration:
    """Read and check the configuration.

    A scalar key can be overridden by ``JENKINS_RELEASE_<SECTION>_<KEY>`` in the environment
    (``JENKINS_RELEASE_SHARE_RELEASE_CANDIDATE``) and by ``options``; ``[policy]`` cannot.

    Args:
        path: The file; ``JENKINS_RELEASE_CONFIG`` or ``./release.toml`` by default.
        environ: The environment.
        options: Overrides from the command line, ``section.key`` to value; None values are left out.

    Raises:
        ConfigurationError: No file, no TOML, or wrong values; ``reasons`` holds every mistake.
    """
    path = path or Path(environ.get(CONFIG_VARIABLE) or DEFAULT_FILE)
    values = _read(path)
    mistakes = [
        f"{key}: secrets do not belong in this file; use the environment (docs/configuration.md)"
        for key in _secrets(values)
    ]
    _override(values, {f"{s}.{k}": v for s, k, v in _from_environment(environ)})
    _override(values, {key: value for key, value in (options or {}).items() if value is not None})
    configuration: Configuration | None = None
    try:
        configuration = Configuration.model_validate(values)
    except ValidationError as error:
        secret_keys = {m.split(":")[0] for m in mistakes}
        mistakes += [
            m for m in map(_mistake, error.errors(include_url=False)) if m.split(":")[0] not in secret_keys
        ]
    if mistakes or configuration is None:
        raise ConfigurationError(
            f"{path}: {len(mistakes)} mistake{'s' if len(mistakes) != 1 else ''} in the configuration",
            hint="docs/configuration.md describes every key; examples/skydrm/release.toml is a working file",
            reasons=mistakes,
        )
    return _with_absolute_paths(configuration, path.parent.absolute())


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"there is no configuration file {path}",
            hint=f"run in the product's repository, give --config, or set {CONFIG_VARIABLE}",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} is not TOML: {error}", hint="mend the line that it names"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error


def _secrets(values: Mapping[str, Any], above: str = "") -> list[str]:
    found = []
    for key, value in values.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            found += _secrets(value, f"{name}.")
        elif isinstance(value, list):
            for place, item in enumerate(value):
                found += _secrets(item, f"{name}[{place}].") if isinstance(item, Mapping) else []
        elif any(word in key.lower() for word in _SECRET_WORDS):
            found.append(name)
    return found


def _from_environment(environ: Mapping[str, str]) -> list[tuple[str, str, str]]:
    found = []
    for section, field in Configuration.model_fields.items():
        kind = field.annotation
        if section == "policy":
            continue  # what the gate asks for is reviewed with the file: no job switches it off
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
        return f"{place}: is not a known key"
    text = str(error["msg"]).removeprefix("Value error, ")
    found = error.get("input")
    if isinstance(found, str):
        found = _LOGIN.sub("://...@", found)
    quoted = isinstance(found, str | int | float | bool) and not place.endswith(_UNQUOTED)
    shown = f" (found {found!r})" if quoted else ""
    return f"{place}: {text}{shown}" if place else text


def _with_absolute_paths(configuration: Configuration, folder: Path) -> Configuration:
    """Keys and other files are named relative to the file, wherever the command is run."""
    keys = tuple(_anchored(key, folder, "public_key") for key in configuration.trusted_keys)
    notify = tuple(_anchored(each, folder, "ca_file", "template_file") for each in configuration.notify)
    signing = {
        name: f"file2:{folder / Path(uri.removeprefix('file2:')).expanduser()}"
        for name, uri in configuration.signing
        if uri.startswith("file2:")
    }
    return configuration.model_copy(
        update={
            "trusted_keys": keys,
            "signing": configuration.signing.model_copy(update=signing),
            "notify": notify,
            "bundle": _anchored(configuration.bundle, folder, "templates"),
            "portal": _anchored(configuration.portal, folder, "release_notes", "setup_guide"),
        }
    )


def _anchored(section: S, folder: Path, *names: str) -> S:
    """Return a section with the files that it names made absolute; an empty name stays empty."""
    found = {name: getattr(section, name) for name in names}
    return section.model_copy(
        update={name: str(folder / Path(file).expanduser()) for name, file in found.items() if file}
    )
