"""The example file and docs/configuration.md have the keys of the model, and its defaults."""

from __future__ import annotations

import json
import re
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from jenkins_release.base.waits import Limits
from jenkins_release.config import Configuration, load_configuration
from tests.docs.pages import ROOT, table

EXAMPLE = ROOT / "examples" / "skydrm" / "release.toml"
PAGE = ROOT / "docs" / "configuration.md"
_LINE = re.compile(r"""(?P<off># )?(?P<key>[a-z_]+)(\."[^"]+")? = (?P<value>.+)""")
_SECTION = re.compile(r"\[+([\w.]+)\]+")
_CHANGED = {
    "share.auth": "kerberos",
    "product.name": "Other",
    "ecr.region": "ap-southeast-1",
    "ecr.account": "999999999999",
    "export.source": "save",
    "export.platform": "linux/arm64",
    "export.archives": "per-image",
    "export.layers": "plain",
    "load.source": "pull",
    "promote.engine": "docker",
    "jenkins.url": "https://ci.example/",
    "portal.kind": "none",
    "portal.access": "public",
    "portal.encryption": "AES256",
    "portal.url": "https://other.example",
    "portal.release_notes": "{version}.md",
    "portal.upgrade_notes": "{version}.md",
    "portal.logo": "logo.png",
    "portal.colour": "#123456",
    "customers.path": "/changed/",
    "support.line": "major",
    "saas.strategy": "ssm",
    "saas.region": "ap-southeast-1",
    "bundle.layer_host": "layers.example",
    "bundle.docker_version": "24.0",
    "bundle.compose_version": "2.20",
    "bundle.openssl_version": "1.1.1",
}
_OF_KIND = {bool: None, int: "7", float: "7.5", str: "changed"}


def _keys() -> Iterator[tuple[str, FieldInfo]]:
    for section, field in Configuration.model_fields.items():
        kind = field.annotation
        inner = get_args(kind)[0] if get_origin(kind) is tuple else kind
        if get_origin(kind) is tuple:
            yield section, field
        assert isinstance(inner, type) and issubclass(inner, BaseModel), section
        for key, own in inner.model_fields.items():
            yield f"{section}.{key}", own
            for part in get_args(own.annotation):
                if isinstance(part, type) and issubclass(part, BaseModel):
                    yield from (
                        (f"{section}.{key}.{name}", field) for name, field in part.model_fields.items()
                    )


KEYS = dict(_keys())


def _default(field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True)
    return list(value) if isinstance(value, tuple) else value


def _written(field: FieldInfo) -> str:
    """Return a default as the table shows it."""
    value = _default(field)
    if value is PydanticUndefined:
        return "required"
    return "none" if value is None else f"`{json.dumps(value)}`"


def test_the_example_is_valid():
    """It loads as it stands."""
    assert load_configuration(EXAMPLE, environ={}).product.name == "SkyDRM"


def test_the_example_has_every_key_and_nothing_else():
    """Commented out or not, each key of the model stands in its section."""
    found, section = set(), ""
    for line in EXAMPLE.read_text().splitlines():
        if match := _SECTION.fullmatch(line):
            section = match[1]
        elif match := _LINE.fullmatch(line):
            found.add(f"{section}.{match['key']}")
    tables = {key.rpartition(".")[0] for key in KEYS}
    assert found == {key for key in KEYS if "." in key and key not in tables}


def test_what_the_example_comments_out_are_the_defaults():
    """A reader takes them for the defaults."""
    section, checked = "", 0
    for line in EXAMPLE.read_text().splitlines():
        if match := _SECTION.fullmatch(line):
            section = match[1]
        elif (match := _LINE.fullmatch(line)) and match["off"]:
            value = tomllib.loads(f"{match['key']} = {match['value']}")[match["key"]]
            assert value == _default(KEYS[f"{section}.{match['key']}"]), line
            checked += 1
    assert checked > 15


def test_the_page_has_every_key_with_its_default():
    """Keys in the table of docs/configuration.md, and what they are without a file."""
    rows = {cells[0].strip("`"): cells[2] for cells in table(PAGE, "key", "type", "default")}
    assert rows == {key: _written(field) for key, field in KEYS.items()}


def test_the_page_names_a_variable_exactly_where_there_is_one(tmp_path: Path):
    """The named variable changes the key; no other key has one."""
    file = tmp_path / "release.toml"
    file.write_text(EXAMPLE.read_text())
    for cells in table(PAGE, "key", "type", "default"):
        key, named = cells[0].strip("`"), cells[3].strip("`")
        section, _, name = key.partition(".")
        variable = f"JENKINS_RELEASE_{section}_{name}".upper()
        kind = KEYS[key].annotation
        scalar = kind in _OF_KIND or get_origin(kind) is Literal
        repeated = isinstance(Configuration.model_fields[section].annotation, types.GenericAlias)
        plain = scalar and not repeated and "." not in name and section not in {"policy", "ledger"}
        assert named == (variable if plain else ""), key
        if plain:
            before = getattr(getattr(load_configuration(file, environ={}), section), name)
            value = _CHANGED.get(key) or _OF_KIND.get(kind) or str(not before).lower()
            after = getattr(getattr(load_configuration(file, environ={variable: value}), section), name)
            assert after != before, variable


def test_options_that_override_keys_are_the_ones_on_the_page():
    """`--share`, `--releases`, `--docker-host`, `--region` and `--jenkins-url`."""
    text = (ROOT / "jenkins_release" / "cli").glob("*.py")
    options = {
        name for file in text for name in re.findall(r'override_option\(\s*"(--[\w-]+)"', file.read_text())
    }
    line = next(line for line in PAGE.read_text().splitlines() if line.startswith("4. the option:"))
    assert set(re.findall(r"--[\w-]+", line)) == options


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/configuration.md",
        "docs/qa.md",
        "docs/troubleshooting.md",
        "docs/verify.md",
        "docs/customer.md",
    ],
)
def test_variables_on_the_pages_exist(page: str):
    """A mistyped JENKINS_RELEASE_ variable would do nothing, without a word."""
    source = "".join(p.read_text() for p in (ROOT / "jenkins_release").rglob("*.py"))
    rows = {cells[3].strip("`") for cells in table(PAGE, "key", "type", "default")}
    for name in set(re.findall(r"JENKINS_RELEASE_[A-Z_]*[A-Z]", (ROOT / page).read_text())):
        assert name in rows or f'"{name.removesuffix("_FILE")}"' in source, name


@pytest.mark.parametrize("page", ["docs/configuration.md", "docs/verify.md", "jenkins_release/cli/verify.py"])
def test_the_limits_of_commands_without_a_configuration_are_on_the_pages(page: str):
    """Nothing changes them, so they have to be right."""
    text = " ".join((ROOT / page).read_text().split())
    limits = Limits()
    assert f"within {limits.answer_s:g} s" in text
    assert f"at {limits.least_rate // 1024} KiB/s or more" in text
    assert limits.told == "60 s"
