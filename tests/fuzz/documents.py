"""Mutations of JSON, as bytes: what two readers may understand differently."""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random
from typing import Any

Pairs = list[tuple[str, Any]]
"""An object whose keys may come twice."""


class Raw(str):
    """A piece of a document that is written as it is."""

    __slots__ = ()


class Object:
    """An object as its pairs."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs


def parse(data: bytes) -> Any:
    """Parse a document so that :func:`render` writes it with every change."""
    return json.loads(data, object_pairs_hook=Object)


def render(value: Any) -> str:
    """Write a document, also one that is none."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Object):
        return "{" + ",".join(f"{_key(key)}:{render(item)}" for key, item in value.pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(render, value)) + "]"
    return json.dumps(value)


def _key(key: str) -> str:
    return str(key) if isinstance(key, Raw) else json.dumps(key, ensure_ascii=False)


_SCALARS: list[Any] = [
    *(None, True, False, 0, -1, 2, 3, 2**31, 2**63, 2**64, Raw("1e3"), Raw("2.0"), Raw("-0"), Raw("1E400")),
    *("", "x", "2", "linux", "LINUX", "windows", "amd64", "\u0000", "../x", "/etc/passwd", "./manifest.json"),
    *(Raw('"\\ud800"'), Raw('"\\u006c\\u0069nux"'), Raw("NaN"), Raw("01"), Raw("+1"), Raw("'x'"), Raw("nul")),
    *([], [None], [[]], Raw("{}"), Raw("[" * 200 + "]" * 200), "2026-01-01T00:00:00Z", "0000-00-00"),
    *("sha256:" + "0" * 64, "sha256:" + "A" * 64, "sha512:" + "0" * 128, "a:1", "A:1", "a/b:1@sha256:00"),
]
_EXTRA = [
    *("urls", "data", "subject", "artifactType", "annotations", "platform", "mediaType", "size", "digest"),
    *("config", "layers", "manifests", "fsLayers", "history", "schemaVersion", "Parent", "LayerSources"),
    *("Config", "Layers", "RepoTags", "os", "architecture", "variant", "rootfs", "created", "id", "unknown"),
    *("os.version", "os.features", "container_config", "parent", "signatures", "name", "tag"),
]


def _fold(draw: Random, key: str) -> str:
    """Write a key so that Go takes it for the same field."""
    ways = [key.upper(), key.lower(), key.capitalize(), key.swapcase()]
    ways += [key.replace("s", "\u017f"), key.replace("k", "\u212a"), key.replace("S", "\u017f")]
    return draw.choice([way for way in ways if way != key] or [key.upper()])


def _places(value: Any, found: list[Any]) -> list[Any]:
    if isinstance(value, Object):
        found.append(value)
        for _, item in value.pairs:
            _places(item, found)
    elif isinstance(value, list):
        found.append(value)
        for item in value:
            _places(item, found)
    return found


def mutate(draw: Random, data: bytes, evil: list[Any]) -> bytes:
    """Return a document with one or two changes.

    Args:
        draw: Where chance comes from.
        data: The document.
        evil: Values of another image that a second reader could be led to.
    """
    if draw.random() < 0.12:
        return _mutate_bytes(draw, data)
    document = parse(data)
    for _ in range(draw.choice((1, 1, 1, 2))):
        place = draw.choice(_places(document, []))
        (_mutate_object if isinstance(place, Object) else _mutate_list)(draw, place, evil)
    return render(document).encode("utf-8", "surrogatepass")


def _value(draw: Random, evil: list[Any]) -> Any:
    # A copy: a second change may be made inside it.
    return deepcopy(draw.choice([*evil, draw.choice(_SCALARS)]))


def _mutate_object(draw: Random, place: Object, evil: list[Any]) -> None:
    pairs = place.pairs
    value = _value(draw, evil)
    if not pairs or draw.random() < 0.15:
        name = draw.choice(_EXTRA)
        pairs.insert(draw.randint(0, len(pairs)), (_fold(draw, name) if draw.random() < 0.3 else name, value))
        return
    number = draw.randrange(len(pairs))
    key, old = pairs[number]
    way = draw.randrange(8)
    if way == 0:
        pairs.insert(draw.randint(0, len(pairs)), (_fold(draw, key), value))
    elif way == 1:
        pairs.insert(draw.randint(0, len(pairs)), (_fold(draw, key), deepcopy(old)))
    elif way == 2:
        pairs.insert(draw.randint(0, len(pairs)), (key, value))
    elif way == 3:
        pairs[number] = (_fold(draw, key), old)
    elif way == 4:
        del pairs[number]
    elif way == 5:
        draw.shuffle(pairs)
    elif way == 6:
        escaped = "".join(f"\\u{ord(letter):04x}" for letter in key)
        pairs[number] = (Raw(f'"{escaped}"'), old)
    else:
        pairs[number] = (key, value)


def _mutate_list(draw: Random, place: list[Any], evil: list[Any]) -> None:
    value = _value(draw, evil)
    way = draw.randrange(5)
    if way == 0 or not place:
        place.insert(draw.randint(0, len(place)), value)
    elif way == 1:
        del place[draw.randrange(len(place))]
    elif way == 2:
        place.insert(draw.randint(0, len(place)), deepcopy(draw.choice(place)))
    elif way == 3:
        draw.shuffle(place)
    else:
        place[draw.randrange(len(place))] = value


_BYTES = [b"\xff", b"\xed\xa0\x80", b"\0", b" ", b"\t", b"//x\n", b",", b'"']


def _mutate_bytes(draw: Random, data: bytes) -> bytes:
    at = draw.randint(0, len(data))
    return draw.choice(
        [
            b"\xef\xbb\xbf" + data,
            data + draw.choice([b"{}", b"\0", b" \n", b"]", b"garbage"]),
            data[:at],
            data[:at] + draw.choice(_BYTES) + data[at:],
            b" \r\n\t" + data,
            data.decode().encode("utf-16"),
        ]
    )
