"""The images of the demo product SkyDRM, made without ``docker build`` or a registry.

Four images on one base, like a product team's: a static busybox, and a separate layer for each service. The
archive is written as a stream, so large images need no memory, and its bytes depend only on the arguments and
the busybox.
"""

from __future__ import annotations

import hashlib
import json
import platform
import random
import tarfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.images.protocol import ImageEngine
from jenkins_release.oci.platforms import Platform, normalise
from jenkins_release.sandbox.process import find_program

SERVICES = ("rms", "viewer", "router", "dbmigrate")
"""The demo product's images."""

_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 1 << 20
_CREATED = "2026-01-01T00:00:00Z"
_START = """#!/bin/sh
# Entry point of the demo image: says what it is; with "serve" it stays and answers on port 8080.
echo "SkyDRM {name} {version}"
if [ "$1" = serve ]; then
    {serve}
fi
"""
_SERVE = """\
# The first process of a container has no default action for SIGTERM: "docker stop" would take 10 s.
    trap 'exit 0' TERM INT
    /bin/busybox httpd -f -p 8080 -h /srv &
    wait $!"""
_BREAK = 'echo "cannot open the database" >&2; exit 1'


def build_images(
    engine: ImageEngine,
    version: str,
    build: str,
    *,
    names: Sequence[str] = SERVICES,
    base_size: int = 0,
    own_size: int = 0,
    broken: Collection[str] = (),
) -> list[str]:
    """Load the demo images into a daemon.

    ``docker run --network none IMAGE`` prints one line, such as ``SkyDRM rms 8.1.0``.

    Args:
        engine: The daemon.
        version: Product version, such as ``8.1.0``.
        build: Build, such as ``42``.
        names: Services to build.
        base_size: Bytes of incompressible filler in the layer that all images share.
        own_size: Bytes of incompressible filler in each image's own layer.
        broken: Services that end at once instead of serving: a bad release to rehearse with.

    Returns:
        The references, ``skydrm/<name>:<version>-<build>``.

    Raises:
        ConfigurationError: busybox-static is not installed.
    """
    engine.load(
        demo_archive(version, build, names=names, base_size=base_size, own_size=own_size, broken=broken)
    )
    return demo_references(version, build, names=names)


def demo_references(version: str, build: str, *, names: Sequence[str] = SERVICES) -> list[str]:
    """Return the references of the demo images of a build."""
    return [f"skydrm/{name}:{version}-{build}" for name in names]


def is_demo_image(inspected: Mapping[str, Any]) -> bool:
    """Whether an image, from ``docker inspect``, was made here, by its fictitious creation time."""
    config = inspected.get("Config") or {}
    return inspected.get("Created") == _CREATED and config.get("Entrypoint") == ["/bin/start"]


def demo_archive(
    version: str,
    build: str,
    *,
    names: Sequence[str] = SERVICES,
    base_size: int = 0,
    own_size: int = 0,
    busybox: Path | None = None,
    broken: Collection[str] = (),
) -> Iterator[bytes]:
    """Yield a docker archive of the demo images; arguments as :func:`build_images`.

    Args:
        version: Product version.
        build: Build.
        names: Services.
        base_size: Bytes of filler in the shared layer.
        own_size: Bytes of filler in each own layer.
        busybox: The static busybox; the installed one by default.
        broken: Services that end at once instead of serving.

    Raises:
        ConfigurationError: busybox-static is not installed.
    """
    base = base_layer(base_size, busybox)
    own = [own_layer(name, version, build, own_size, broken=name in broken) for name in names]
    layers = [base, *own]
    diff_ids: dict[str, str] = {}
    for layer in layers:
        yield _header(layer.path, layer.size)
        digest = hashlib.sha256()
        for chunk in layer.chunks():
            digest.update(chunk)
            yield chunk
        diff_ids[layer.path] = f"sha256:{digest.hexdigest()}"
    manifest = []
    for layer, name in zip(layers[1:], names, strict=True):
        paths = [base.path, layer.path]
        config = image_config(name, version, build, [diff_ids[path] for path in paths])
        path = f"{hashlib.sha256(config).hexdigest()}.json"
        yield _file(path, config)
        manifest.append(
            {"Config": path, "RepoTags": demo_references(version, build, names=[name]), "Layers": paths}
        )
    yield _file("manifest.json", _json(manifest)) + bytes(2 * _BLOCK)


def base_layer(size: int, busybox: Path | None = None) -> Layer:
    """Return the layer that all demo images share; arguments as :func:`demo_archive`."""
    program = _read_busybox(busybox or Path(find_program("busybox", "busybox-static")))
    return Layer("base/layer.tar", _base_files(program), "base", size)


def own_layer(name: str, version: str, build: str, size: int, *, broken: bool = False) -> Layer:
    """Return the layer of one demo image; arguments as :func:`demo_archive`."""
    files = _own_files(name, version, build, _BREAK if broken else _SERVE)
    return Layer(f"{name}/layer.tar", files, f"{name} {version} {build}", size)


@dataclass(frozen=True)
class Layer:
    """A layer whose size is known in advance, so that it can be streamed into a tar."""

    path: str
    files: bytes
    salt: str
    filler_size: int

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(len(chunk) for chunk in self._frame()) + self.filler_size + -self.filler_size % _BLOCK

    def chunks(self) -> Iterator[bytes]:
        """Yield its bytes."""
        files, filler, end = self._frame()
        yield files + filler
        # Not for secrets: incompressible data that is always the same.
        source = random.Random(self.salt)  # noqa: S311
        left = self.filler_size
        while left:
            piece = source.randbytes(min(left, _CHUNK))
            left -= len(piece)
            yield piece
        yield bytes(-self.filler_size % _BLOCK) + end

    def _frame(self) -> tuple[bytes, bytes, bytes]:
        filler = _header("var/lib/filler.bin", self.filler_size) if self.filler_size else b""
        # Padding to a whole number of blocks, as in every tar.
        return self.files, filler, bytes(2 * _BLOCK)


def _read_busybox(path: Path) -> bytes:
    program = path.resolve().read_bytes()
    if b"/ld-" in program[:4096]:
        raise ConfigurationError(
            f"{path} is linked dynamically and cannot run in an empty image",
            hint="apt-get install busybox-static",
        )
    return program


def _base_files(busybox: bytes) -> bytes:
    folders = [_header(name, 0, tarfile.DIRTYPE) for name in ("bin", "etc", "srv", "tmp", "var", "var/lib")]
    users = b"root:x:0:0:root:/:/bin/sh\nskydrm:x:1000:1000::/:/bin/sh\n"
    return b"".join(
        [
            *folders,
            _file("bin/busybox", busybox, 0o755),
            _header("bin/sh", 0, tarfile.SYMTYPE, target="busybox"),
            _file("etc/passwd", users),
        ]
    )


def _own_files(name: str, version: str, build: str, serve: str) -> bytes:
    release = f"product=SkyDRM\nservice={name}\nversion={version}\nbuild={build}\n"
    return b"".join(
        [
            _file("bin/start", _START.format(name=name, version=version, serve=serve).encode(), 0o755),
            _file("etc/skydrm-release", release.encode()),
            _file("srv/index.html", f"SkyDRM {name} {version}\n".encode()),
        ]
    )


def image_config(
    name: str, version: str, build: str, diff_ids: Sequence[str], machine: Platform | None = None
) -> bytes:
    """Return the config of a demo image.

    Args:
        name: Service.
        version: Product version.
        build: Build.
        diff_ids: Digests of its uncompressed layers.
        machine: Its platform; that of this machine by default.
    """
    here = machine or normalise("linux", platform.machine())
    config: dict[str, Any] = {
        "architecture": here.architecture,
        "config": {
            "Cmd": ["version"],
            "Entrypoint": ["/bin/start"],
            "Env": ["PATH=/bin", f"SKYDRM_VERSION={version}"],
            "ExposedPorts": {"8080/tcp": {}},
            "Labels": {
                "org.opencontainers.image.title": f"SkyDRM {name}",
                "org.opencontainers.image.version": f"{version}-{build}",
            },
            "User": "1000:1000",
            "WorkingDir": "/srv",
        },
        "created": _CREATED,
        "history": [
            {"created": _CREATED, "created_by": "busybox-static"},
            {"created": _CREATED, "created_by": f"SkyDRM {name} {version}-{build}"},
        ],
        "os": here.os,
        "rootfs": {"diff_ids": [*diff_ids], "type": "layers"},
    }
    if here.variant:
        config["variant"] = here.variant
    return _json(config)


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _file(name: str, content: bytes, mode: int = 0o644) -> bytes:
    return _header(name, len(content), mode=mode) + content + bytes(-len(content) % _BLOCK)


def _header(
    name: str, size: int, kind: bytes = tarfile.REGTYPE, *, mode: int = 0o644, target: str = ""
) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = size, kind, target
    member.mode = 0o755 if kind == tarfile.DIRTYPE else mode
    return member.tobuf(tarfile.PAX_FORMAT)
