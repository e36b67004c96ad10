"""Archives that are generated and bent: headers, members, documents, layers. The same for the same number."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from dataclasses import dataclass, field
from random import Random

import zstandard

from tests.fixtures.archives import (
    CONFIG_TYPE,
    INDEX_TYPE,
    MANIFEST_TYPE,
    STARTS,
    OciLayout,
    config_json,
    docker_members,
    header_with,
    join,
    layer_beginning,
    layer_tar,
    member,
    sha256,
    star,
    to_json,
)
from tests.fuzz import documents

BASE, OWN, EVIL = (layer_tar(name) for name in ("base", "own", "evil"))
EVIL_CONFIG = config_json([EVIL])
_STARTS = {BASE[:10], OWN[:10]}
_SKIPPABLE = b"\x50\x2a\x4d\x18"
_ZSTD_STARTS = {zstandard.MAGIC_NUMBER.to_bytes(4, "little"), _SKIPPABLE}
_BEGINNINGS = (*STARTS.values(), b"\x1f\x8b\x00", b"\xfd7zXZ", b"PK\x03\x04", b"{", b"[")
NAMES = ("fuzz/a:1", "fuzz/b:1")
_DOCUMENTS = ("manifest.json", "index.json", "oci-layout", "repositories")


@dataclass
class Case:
    """An archive.

    Attributes:
        number: Its number; :func:`make` gives the same archive again.
        label: What was done to it.
        data: Its bytes.
        linked: Whether a layer is a symbolic link: skopeo cannot read those that `docker save` writes.
        dotted: Whether names begin with ``./``, which skopeo does not take for the same.
        zstd: Whether a layer is compressed with zstd, which Docker reads from version 23 on.
        named_zstd: Whether one only begins so, with the name of its first file: Docker reads it before 23.
    """

    number: int
    label: list[str] = field(default_factory=list)
    data: bytes = b""
    linked: bool = False
    dotted: bool = False
    zstd: bool = False
    named_zstd: bool = False

    @property
    def docker(self) -> bool:
        """Whether it is for every Docker: the OCI layout alone is read from version 25 on."""
        return any(
            self.data.startswith((b"manifest.json\0", b"./manifest.json\0"), at)
            and self.data[at + 156 : at + 157] in {b"0", b"\0"}
            and any(self.data[at + 148 : at + 156])
            for at in range(0, len(self.data), 512)
        )


def make(number: int) -> Case:
    """Generate the archive of that number."""
    draw = Random(number)  # noqa: S311 - the same archive again, nothing secret
    case = Case(number)
    apart = Random(f"zstd {number}")  # noqa: S311 - apart: what the others draw stays what it was
    packed = "zstd" if apart.random() < 0.15 else ""
    named = Random(f"begins {number}")  # noqa: S311 - apart as well
    base = BASE if named.random() > 0.12 else layer_beginning(named.choice(_BEGINNINGS))
    members = _base(draw, case, packed, base)
    listed = Random(f"listed {number}")  # noqa: S311 - apart as well
    if listed.random() < 0.12:
        case.label = ["index"]
        members = _index(listed)
    if packed:
        case.label.append("zstd")
        members = _zstd(apart, members)
    for _ in range(draw.choice((0, 1, 1, 1, 1, 2, 3))):
        way = draw.choice(
            (_document, _document, _config, _header, _header, _extension, _second, _order, _layer)
        )
        case.label.append(way.__name__.strip("_"))
        members = way(draw, members)
    data = join(members)
    if draw.random() < 0.08:
        case.label.append("bytes")
        data = _bytes(draw, data)
    case.data = data
    case.linked = any(block[156:157] == b"2" for block in members.values())
    case.zstd = any(data[at : at + 4] in _ZSTD_STARTS for at in range(0, len(data), 512))
    case.named_zstd = case.zstd and not packed and base[:4] in _ZSTD_STARTS and "layer" not in case.label
    case.dotted = any(block.startswith(b"./") for block in members.values()) or b'"./' in data
    return case


def _base(draw: Random, case: Case, packed: str, base: bytes) -> dict[str, bytes]:
    kind = draw.choice(("docker", "docker", "shared", "plain", "gzip", "both", "both", "oci"))
    case.label.append(kind)
    if base is not BASE:
        case.label.append(f"first file {base[:8]!r}")
    if kind == "docker":
        return docker_members({NAMES[0]: [base, OWN]})
    if kind == "shared":
        return docker_members({NAMES[0]: [base, OWN], NAMES[1]: [base]})
    if kind in {"plain", "gzip"}:
        stored = [gzip.compress(layer, mtime=0) if kind == "gzip" else layer for layer in (base, OWN)]
        config = config_json([base, OWN])
        paths = [f"blobs/sha256/{sha256(data)[7:]}" for data in (*stored, config)]
        manifest = [{"Config": paths[2], "RepoTags": [NAMES[0]], "Layers": paths[:2]}]
        members = {path: member(path, data) for path, data in zip(paths, (*stored, config), strict=True)}
        return members | {"manifest.json": member("manifest.json", to_json(manifest))}
    layout = OciLayout()
    compression = draw.choice(("none", "gzip"))
    image = layout.image([base, OWN], compression=packed or compression)
    layout.name(image, NAMES[0])
    if kind == "both":
        layout.name_docker(image, NAMES[0])
    return layout.members()


_AMD64 = {"os": "linux", "architecture": "amd64"}
_PLATFORMS = [
    *(_AMD64, {"os": "unknown", "architecture": "unknown"}, {"os": "Linux", "architecture": "x86_64"}),
    *({"os": "linux", "architecture": "arm64"}, {**_AMD64, "variant": "v2"}, {"os": "linux"}, {}, None),
]
_TYPES = [MANIFEST_TYPE, MANIFEST_TYPE, INDEX_TYPE, "application/x-other", ""]


def _index(draw: Random) -> dict[str, bytes]:
    """An index with one image, and with others that a program may pass over or take in its place."""
    layout = OciLayout()
    good = layout.image([BASE, OWN], stated=_AMD64)
    entries = [good]
    spare = []
    for _ in range(draw.choice((0, 1, 1, 1, 2))):
        config = layout.put(EVIL_CONFIG, draw.choice((CONFIG_TYPE, CONFIG_TYPE, "application/x-other")))
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config,
            "layers": [layout.put(EVIL)],
        }
        evil = layout.put(to_json(document), draw.choice(_TYPES))
        platform = draw.choice(_PLATFORMS)
        evil |= {"platform": platform} if platform is not None else {}
        target = entries if draw.random() < 0.7 else spare
        target.insert(draw.randrange(len(target) + 1), evil)
        if draw.random() < 0.5:
            # Named by a document that nobody runs: so every blob is there for a reason.
            entries.append({**evil, "mediaType": MANIFEST_TYPE, "platform": _PLATFORMS[1]})
    top = layout.nested(*entries) if len(entries) > 1 or draw.random() < 0.5 else good
    layout.name(top, NAMES[0])
    for evil in spare:
        layout.name(evil, draw.choice((NAMES[0], "fuzz/c:2")))
    if draw.random() < 0.5:
        layout.index.reverse()
    return layout.members()


def _content(block: bytes) -> bytes:
    digits = block[124:135].rstrip(b"\0 ")
    return block[512 : 512 + int(digits, 8)] if digits.isdigit() and not {*digits} & {*b"89"} else b""


def _document(draw: Random, members: dict[str, bytes]) -> dict[str, bytes]:
    """Change one of the documents that have a fixed name."""
    name = draw.choice([name for name in _DOCUMENTS if name in members])
    folder = "e" * 64
    evil_path = f"{sha256(EVIL_CONFIG)[7:]}.json"
    evil = [
        evil_path,
        f"{folder}/layer.tar",
        NAMES[1],
        [NAMES[1]],
        [f"{folder}/layer.tar"],
        sha256(EVIL_CONFIG),
    ]
    try:
        changed = documents.mutate(draw, _content(members[name]), evil)
    except ValueError:
        return members
    more = {}
    if evil_path.encode() in changed and draw.random() < 0.8:
        more = {
            evil_path: member(evil_path, EVIL_CONFIG),
            f"{folder}/layer.tar": member(f"{folder}/layer.tar", EVIL),
        }
    return {**more, **members, name: member(name, changed)}


def _config(draw: Random, members: dict[str, bytes]) -> dict[str, bytes]:
    """Change a config, and every name that is made of its digest."""
    old = next(
        (name for name, block in members.items() if b'"rootfs"' in block[:2000] and name not in _DOCUMENTS),
        "",
    )
    if not old:
        return members
    before = _content(members[old])
    try:
        after = documents.mutate(draw, before, [sha256(EVIL), [sha256(EVIL)], "windows", "arm64"])
    except ValueError:
        return members
    found = {}
    swaps = {sha256(before)[7:]: sha256(after)[7:]}
    for _ in range(3):
        # A manifest that names the config has another digest too, and so on.
        found = {}
        for name, block in members.items():
            data = after if name == old else _content(block)
            for one, other in swaps.items():
                if name != old:
                    data = data.replace(one.encode(), other.encode())
            if name.startswith("blobs/sha256/") and len(name) == 77 and data != _content(block):
                swaps[name[13:]] = sha256(data)[7:]
            new = name
            for one, other in swaps.items():
                new = new.replace(one, other)
            kind, target = block[156:157], block[157:257].split(b"\0")[0].decode()
            found[new] = (
                block if kind != b"0" or (data == _content(block) and new == name) else member(new, data)
            )
            if kind == b"2":
                found[new] = member(new, kind=kind, target=target)
    return _resize(found, before, after)


def _resize(members: dict[str, bytes], before: bytes, after: bytes) -> dict[str, bytes]:
    """Put the new size into the descriptors that have the old one."""
    old, new = f'"size": {len(before)}'.encode(), f'"size": {len(after)}'.encode()
    return {
        name: member(name, _content(block).replace(old, new))
        if name == "manifest.json" and old in block
        else block
        for name, block in members.items()
    }


_FIELDS = {
    "magic": (257, [b"ustar\x0000", b"ustar  \0", b"ustar\0  ", b"ustar\x0001", bytes(8), b"USTAR\x0000"]),
    "trailer": (508, [b"tar\0", b"rat\0", b"\0\0\0\1"]),
    "prefix": (345, [b"./", b"a", b"./" * 65 + b".", b"./" * 65 + b".00000000001\0", b"..", b"/", b"\xff"]),
    "type": (156, [bytes([kind]) for kind in b"\x000123456789gxLKSDVMNAZ"]),
    "size": (
        124,
        [b"\x80" + bytes(11), b"\xff" * 12, b"-0000000001\0", b" 1\0", b"0" * 12, b"1" * 12],
    ),
    "mode": (100, [b"\x80" + bytes(7), b"\xff" * 8, b"0000000\0", b"9999999\0", b"       \0", b"0100644 "]),
    "owner": (108, [b"\x80" + bytes(7), b"\xff" * 8, b"zzzzzzz\0", b"\x80\xff\xff\xff\xff\xff\xff\xff"]),
    "time": (136, [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"77777777777\0", b"x" * 12, b" " * 12]),
    "device": (329, [b"\x80" + bytes(7), b"\xff" * 8, b"0000000\0", b"junk", b" " * 16]),
    "gnu-times": (345, [b"00000000001\0" * 2, b"junk", b"\0" * 12 + b"junk", b"manifest", b"\xffunk"]),
    "name": (
        0,
        [b"manifest.json\0", b"./manifest.json\0", b"a//b\0", b"\xff\0", b"/abs\0"],
    ),
    "after-name": (99, [b"x"]),
    "target": (157, [b"../manifest.json\0", b"manifest.json\0", b"/etc/passwd\0"]),
}


def _header(draw: Random, members: dict[str, bytes]) -> dict[str, bytes]:
    """Change a field of a header, or any byte of it, with a checksum that is right."""
    name = draw.choice(list(members))
    block = members[name]
    for _ in range(draw.choice((1, 1, 2))):
        if draw.random() < 0.2:
            at = draw.choice([*range(148), *range(156, 512)])
            block = header_with(block, at, bytes([draw.randrange(256)]))
        else:
            at, values = _FIELDS[draw.choice(list(_FIELDS))]
            block = header_with(block, at, draw.choice(values))
    if draw.random() < 0.1:
        signed = sum(byte - 256 * (byte > 127) for byte in block[:148] + b" " * 8 + block[156:512])
        block = block[:148] + b"%06o\0 " % max(signed, 0) + block[156:]
    return {**members, name: block}


_RECORDS = [
    *("path=manifest.json", "path=./manifest.json", "path=other", "path=", "size=0", "size=512", "size=-1"),
    *("linkpath=manifest.json", "mtime=1.5", "mtime=-1", "mtime=x", "atime=1", "uid=0", "uid=x", "comment=a"),
    *("GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=manifest.json", "GNU.sparse.size=1"),
    *("GNU.sparse.map=0,1", "GNU.sparse.numblocks=1", "SCHILY.xattr.user.a=b", "Path=other", "charset=x"),
    *("hdrcharset=BINARY", "SCHILY.dev=1", "LIBARCHIVE.creationtime=1", "uname=a\0b", "path=a\0b", "=x", "x"),
]


def _record(text: str) -> bytes:
    length = len(text) + 3
    while len(f"{length} {text}\n") != length:
        length = len(f"{length} {text}\n")
    return f"{length} {text}\n".encode()


def _extension(draw: Random, members: dict[str, bytes]) -> dict[str, bytes]:
    """Put extension headers before a member."""
    name = draw.choice(list(members))
    before = b""
    for _ in range(draw.choice((1, 1, 2))):
        kind = draw.choice((b"x", b"x", b"g", b"L", b"K", b"X"))
        if kind in b"LK":
            data = draw.choice([b"manifest.json\0", name.encode() + b"\0", b"\0", b"other", b"a\0b\0", b""])
        else:
            own = f"path={name}"
            data = b"".join(_record(draw.choice([*_RECORDS, own])) for _ in range(draw.choice((1, 1, 2))))
            data = draw.choice([data, data, data, data[:-1], b"0" + data])
        before += member(draw.choice(("pax", "manifest.json", name)), data, kind=kind)
    return {key: before + block if key == name else block for key, block in members.items()}


_SPELLINGS = [
    *("manifest.json", "./manifest.json", "x/../manifest.json", "manifest.json/", "Manifest.json"),
    *("/manifest.json", "manifest.json ", ".//manifest.json", "repositories", "index.json", "notes.txt"),
]


def _second(draw: Random, members: dict[str, bytes]) -> dict[str, bytes]:
    """Hide a second document, config or layer somewhere."""
    evil = docker_members({NAMES[0]: [EVIL]})
    manifest = _content(evil.pop("manifest.json"))
    spelling = draw.choice(_SPELLINGS)
    hidden = member(spelling, manifest)
    way = draw.randrange(6)
    if way == 0:
        hidden = star(member("manifest.json", manifest))
    elif way == 1:
        hidden = member("x", manifest)
        hidden = header_with(hidden, 345, b"manifest.json"[: draw.randint(1, 13)])
    elif way == 2:
        hidden = member("l", _record("path=manifest.json"), kind=b"x") + member("x", manifest)
    elif way == 3:
        hidden = member("l", b"manifest.json\0", kind=b"L") + member("x", manifest)
    elif way == 4:
        hidden = bytes(draw.choice((512, 1024))) + hidden
    extra = {f"evil {key}": block for key, block in evil.items()} if draw.random() < 0.7 else {}
    extra["hidden"] = hidden
    return {**extra, **members} if draw.random() < 0.3 else {**members, **extra}


def _order(draw: Random, members: dict[str, bytes]) -> dict[str, bytes]:
    """Shuffle, leave out or repeat members, rename them all, or write them in another format."""
    names = list(members)
    way = draw.randrange(6)
    if way == 0:
        draw.shuffle(names)
        return {name: members[name] for name in names}
    if way == 1:
        gone = draw.choice(names)
        return {name: block for name, block in members.items() if name != gone}
    if way == 2:
        return {**members, "again": members[draw.choice(names)]}
    if way == 3:
        spare = draw.choice(
            [
                member("spare", kind=tarfile.DIRTYPE),
                member("spare", b"x"),
                member("blobs/sha256/" + sha256(b"x")[7:], b"x"),
            ]
        )
        return {**members, "spare": spare}
    dialect = draw.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    dotted = "./" if way == 4 else ""
    found = {}
    for name, block in members.items():
        if len(name) > 100 or block[156:157] not in b"025":
            return members
        info = tarfile.TarInfo(dotted + name + ("/" if block[156:157] == b"5" else ""))
        info.size, info.type = len(_content(block)), block[156:157]
        info.linkname = block[157:257].split(b"\0")[0].decode("utf-8", "replace")
        info.mtime = 1.5 if dialect == tarfile.PAX_FORMAT else 0
        found[name] = info.tobuf(dialect, errors="surrogateescape") + block[512:]
    return found


def _drawn_layer(draw: Random, members: dict[str, bytes]) -> tuple[str, bytes] | None:
    """Choose a layer; None if there is none."""
    layers = {name: _content(block) for name, block in members.items() if _content(block)[:10] in _STARTS}
    if not layers:
        return None
    name = draw.choice(list(layers))
    return name, layers[name]


def _layer(draw: Random, members: dict[str, bytes]) -> dict[str, bytes]:
    """Compress a layer in some way, damage it, or take another one."""
    if (drawn := _drawn_layer(draw, members)) is None:
        return members
    name, data = drawn
    packed = gzip.compress(data, mtime=0)
    stream = io.BytesIO()
    with gzip.GzipFile("layer.tar", "wb", fileobj=stream, mtime=0) as file:
        file.write(data)
    new = draw.choice(
        [
            *(packed, stream.getvalue(), gzip.compress(data[:5000]) + gzip.compress(data[5000:])),
            *(packed + b"x", packed + bytes(512), packed[:-1], packed[:-8], packed[:-4] + bytes(4)),
            *(
                packed[:3] + b"\x02" + packed[4:],
                packed[:3] + b"\x20" + packed[4:],
                b"\x1f\x8b\x09" + packed[3:],
            ),
            *(bz2.compress(data), lzma.compress(data), EVIL, data + bytes(512), data[:-512], b"", b"{}"),
        ]
    )
    return {**members, name: member(name, new)}


def _zstd(draw: Random, members: dict[str, bytes]) -> dict[str, bytes]:
    """Compress a layer with zstd, and damage it in half of the cases."""
    if (drawn := _drawn_layer(draw, members)) is None:
        return members
    name, data = drawn
    plain = zstandard.ZstdCompressor(write_checksum=draw.random() < 0.5, level=draw.choice((1, 3, 19)))
    packed = plain.compress(data)
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    unsized = stream.compress(data) + stream.flush()
    wide = zstandard.ZstdCompressionParameters(window_log=draw.choice((10, 23, 27)))
    windowed = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    skipped = _SKIPPABLE + b"\4\0\0\0skip"
    sound = [packed, unsized, windowed.compress(data) + windowed.flush(), packed + skipped, skipped + packed]
    sound.append(plain.compress(data[:5000]) + plain.compress(data[5000:]))
    bent = [packed + b"x", packed + bytes(512), packed[:-1], packed[:-4] + bytes(4), packed + packed]
    bent += [packed[:4] + bytes([packed[4] ^ 1 << draw.randrange(8)]) + packed[5:], plain.compress(EVIL)]
    new = draw.choice(sound if draw.random() < 0.5 else bent)
    return {**members, name: member(name, new)}


def _bytes(draw: Random, data: bytes) -> bytes:
    at = draw.randrange(len(data))
    damaged = bytearray(data)
    damaged[at] ^= 1 << draw.randrange(8)
    return draw.choice(
        [
            *(bytes(damaged), data[:at], data[: at - at % 512], data[:-512], data[:-1024], data + bytes(512)),
            *(
                data + bytes(9216),
                data + b"x" * 512,
                data + member("late", b"x"),
                gzip.compress(data),
                data[512:],
            ),
        ]
    )


_WAYS = (_document, _document, _config, _header, _header, _extension, _second, _order, _layer)
