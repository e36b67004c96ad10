"""Images as product teams have them: programs, libraries and texts of ``/usr``, and data as it comes.

Made without ``docker build`` and without a hub, as a docker archive in one stream: a layer is a tar
of real files, a tail of random bytes, and a salt that makes it a layer which nobody has seen before.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import random
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.timing import MIB
from jenkins_release.oci.platforms import normalise

_ROOTS = ("/usr/bin", "/usr/lib", "/usr/share", "/usr/include", "/usr/sbin", "/usr/local")
_LARGEST = 64 * MIB
_BLOCK = tarfile.BLOCKSIZE
_CREATED = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class Layer:
    """What a layer is made of.

    Attributes:
        salt: Makes it another layer than one with the same files.
        files: Bytes of files of ``/usr``.
        noise: Bytes that do not compress.
        start: Where in ``/usr`` its files begin, in bytes.
    """

    salt: str
    files: int
    noise: int
    start: int = 0

    @property
    def content(self) -> int:
        """Bytes of all its files."""
        return self.files + self.noise


@dataclass(frozen=True)
class Image:
    """An image: its short name, and its layers, base first."""

    name: str
    layers: tuple[Layer, ...]


def one_image(salt: str, size: int) -> list[Image]:
    """Return one image of six layers: programs, libraries, texts, data; three quarters compress.

    Args:
        salt: Tells it from other images.
        size: Bytes of its layers.
    """
    layers, start = [], 0
    for number, (files, noise) in enumerate([(12, 0), (29, 0), (15, 0), (20, 0), (0, 19), (3, 2)]):
        layer = Layer(f"{salt} {number}", size * files // 100, size * noise // 100, start)
        layers.append(layer)
        start += layer.files
    return [Image("rms", tuple(layers))]


FIVE = ("rms", "viewer", "router", "dbmigrate", "sync")


def five_images(salt: str, size: int, *, patch: int = 0, changed: float = 0.05) -> list[Image]:
    """Return five images on one base of three layers, each with two layers of its own.

    The base has half of the bytes, the libraries of each image 9 %, its program 1 % by default. A patch has
    other programs, whatever their size, and all else the same.

    Args:
        salt: Tells them from other images.
        size: Bytes of all layers, those of the base once, with programs of 5 %.
        patch: Number of the patch; 0 for the release before all patches.
        changed: Bytes of all programs, as a part of ``size``.
    """
    shares = (25, 15, 10)
    base, start = [], 0
    for number, share in enumerate(shares):
        base.append(Layer(f"{salt} base {number}", size * share // 100, 0, start))
        start += base[-1].files
    images = []
    for name in FIVE:
        libraries = Layer(f"{salt} {name}", size * 5 // 100, size * 4 // 100, start)
        part = int(size * changed / 10)
        program = Layer(f"{salt} {name} {patch}", part, part, start + libraries.files)
        start += libraries.files
        images.append(Image(name, (*base, libraries, program)))
    return images


def image_archive(images: Sequence[Image], version: str, build: str) -> Iterator[bytes]:
    """Yield a docker archive of images named ``skydrm/<name>:<version>-<build>``."""
    diff_ids: dict[Layer, str] = {}
    for layer in dict.fromkeys(layer for image in images for layer in image.layers):
        member = tarfile.TarInfo(_path(layer))
        member.size = _tar_size(layer)
        yield member.tobuf(tarfile.PAX_FORMAT)
        digest = hashlib.sha256()
        for chunk in _tar(layer):
            digest.update(chunk)
            yield chunk
        diff_ids[layer] = f"sha256:{digest.hexdigest()}"
    manifest = []
    for image in images:
        config = _config(image, version, build, [diff_ids[layer] for layer in image.layers])
        path = f"{hashlib.sha256(config).hexdigest()}.json"
        yield _file(path, config)
        references = image_references([image.name], version, build)
        layers = [_path(layer) for layer in image.layers]
        manifest.append({"Config": path, "RepoTags": references, "Layers": layers})
    yield _file("manifest.json", json.dumps(manifest).encode()) + bytes(2 * _BLOCK)


def image_references(names: Sequence[str], version: str, build: str) -> list[str]:
    """Return the names of the images of a build in the daemon."""
    return [f"skydrm/{name}:{version}-{build}" for name in names]


def _files(folder: str) -> Iterator[tuple[str, int]]:
    """Yield the files of a folder, then those of each folder in it, by name."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_file(follow_symlinks=False) and 0 < (size := entry.stat().st_size) <= _LARGEST:
            yield entry.path, size
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)


class _Corpus:
    """Every readable file of ``/usr`` that is not huge, with its size, in a fixed order.

    Looked for only as far as a layer needs them: ``/usr`` has a hundred thousand files.
    """

    def __init__(self) -> None:
        self._found: list[tuple[str, int]] = []
        self._rest = itertools.chain.from_iterable(map(_files, _ROOTS))

    def __iter__(self) -> Iterator[tuple[str, int]]:
        for position in itertools.count():
            if position == len(self._found):
                if (file := next(self._rest, None)) is None:
                    return
                self._found.append(file)
            yield self._found[position]


_CORPUS = _Corpus()


def _members(layer: Layer) -> Iterator[tuple[str, int]]:
    """Files of ``/usr`` from the layer's start on, round and round; the last one is cut to fit."""
    left, skip, turn = layer.files, layer.start, 0
    while left > 0:
        begun = left
        for path, size in _CORPUS:
            if skip >= size:
                skip -= size
                continue
            skip = 0
            count = min(left, size)
            left -= count
            yield (f"{turn}{path}", count)
            if not left:
                return
        turn += begun > left


def _tar(layer: Layer) -> Iterator[bytes]:
    yield _file("etc/salt", layer.salt.encode())
    for name, count in _members(layer):
        yield _header(name, count)
        path = name[name.index("/") :]
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs more than these small reads
            left = count
            while left and (piece := file.read(min(left, MIB))):
                left -= len(piece)
                yield piece
        # A file that became shorter since it was looked at.
        yield bytes(left + -count % _BLOCK)
    if layer.noise:
        yield _header("var/lib/data.bin", layer.noise)
        source = random.Random(layer.salt)  # noqa: S311 - the same bytes each time, for a benchmark
        left = layer.noise
        while left:
            count = min(left, MIB)
            left -= count
            yield source.randbytes(count)
        yield bytes(-layer.noise % _BLOCK)
    yield bytes(2 * _BLOCK)


def _tar_size(layer: Layer) -> int:
    size = len(_file("etc/salt", layer.salt.encode())) + 2 * _BLOCK
    for name, count in _members(layer):
        size += len(_header(name, count)) + count + -count % _BLOCK
    if layer.noise:
        size += len(_header("var/lib/data.bin", layer.noise)) + layer.noise + -layer.noise % _BLOCK
    return size


def _path(layer: Layer) -> str:
    return f"{hashlib.sha256(repr(layer).encode()).hexdigest()}/layer.tar"


def _config(image: Image, version: str, build: str, diff_ids: Sequence[str]) -> bytes:
    here = normalise("linux", platform.machine())
    document = {
        "architecture": here.architecture,
        "config": {"Cmd": ["/bin/true"], "Env": ["PATH=/bin"], "Labels": {"build": f"{version}-{build}"}},
        "created": _CREATED,
        "history": [{"created": _CREATED, "created_by": f"{image.name} {n}"} for n in range(len(diff_ids))],
        "os": here.os,
        "rootfs": {"diff_ids": list(diff_ids), "type": "layers"},
    }
    if here.variant:
        document["variant"] = here.variant
    return json.dumps(document, sort_keys=True).encode()


def _file(name: str, content: bytes) -> bytes:
    return _header(name, len(content)) + content + bytes(-len(content) % _BLOCK)


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name.lstrip("/"))
    member.size = size
    return member.tobuf(tarfile.PAX_FORMAT)
