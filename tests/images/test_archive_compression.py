"""Compressed layers: recognised by their bytes, hashed uncompressed, never kept."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import sys
import zlib

import pytest
import zstandard

from jenkins_release.base.errors import IntegrityError
from jenkins_release.images import ArchiveLimits
from tests.fixtures.archives import (
    STARTS,
    OciLayout,
    config_json,
    header_with,
    join,
    layer_beginning,
    layer_tar,
    member,
    read,
    sha256,
    to_json,
)
from tests.fixtures.damage import flipped

LAYER = layer_tar("content", size=400_000)
STEPS = [1, 13, 512, 4096, 1 << 20]


def _archive(stored: bytes, content: bytes = LAYER) -> bytes:
    manifest = [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["layer.tar"]}]
    return join(
        [
            member("layer.tar", stored),
            member("c.json", config_json([content])),
            member("manifest.json", to_json(manifest)),
        ]
    )


def _skippable(size: int) -> bytes:
    return b"\x5e\x2a\x4d\x18" + size.to_bytes(4, "little") + b"s" * size


def _zstd(data: bytes, **options: object) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)


def _zstd_stream(data: bytes) -> bytes:
    # A stream has neither content size nor single segment in its header, and an empty last block.
    packer = zstandard.ZstdCompressor(level=1, write_checksum=True).compressobj()
    return packer.compress(data) + packer.flush()


GZIP_FORMS = {
    "one member": gzip.compress(LAYER),
    "stored": gzip.compress(LAYER, compresslevel=0),
    "two members": gzip.compress(LAYER[:1000]) + gzip.compress(LAYER[1000:]),
    "empty members": gzip.compress(b"") + gzip.compress(LAYER) + gzip.compress(b""),
    "name in the header": b"\x1f\x8b\x08\x08" + bytes(5) + b"\x03layer.tar\0" + gzip.compress(LAYER)[10:],
}
ZSTD_FORMS = {
    "one frame": _zstd(LAYER),
    "checksum": _zstd(LAYER, write_checksum=True),
    "stream": _zstd_stream(LAYER),
    "two frames": _zstd(LAYER[:1000]) + _zstd(LAYER[1000:]),
    "skippable frames": _zstd(LAYER[:70_000])
    + _skippable(9)
    + _skippable(0)
    + _zstd(LAYER[70_000:])
    + _skippable(300),
    "incompressible": _zstd(LAYER, level=-50),
}
FORMS = [("gzip", data) for data in GZIP_FORMS.values()] + [("zstd", data) for data in ZSTD_FORMS.values()]
IDS = [*GZIP_FORMS, *ZSTD_FORMS]


@pytest.mark.parametrize(("compression", "stored"), FORMS, ids=IDS)
def test_every_form_gives_the_same_diff_id(compression, stored):
    """However it was compressed and whatever pieces it comes in, the content is the same."""
    for step in STEPS:
        (image,) = read(_archive(stored), step=step).images
        assert image.layers[0].compression == compression
        assert image.layers[0].digest == sha256(stored)
        assert image.diff_ids == (sha256(LAYER),)


@pytest.mark.parametrize(("compression", "stored"), FORMS, ids=IDS)
def test_every_truncation_is_noticed(compression, stored):
    """A compressed layer that ends early is refused, also where only a checksum is missing."""
    end = len(stored) - (300 if stored.endswith(b"s" * 300) else 0)
    for cut in (1, 2, 4, 5, 8, end // 2, end // 3, end - 4, end - 1):
        with pytest.raises(IntegrityError, match=r"cannot be read|is not in the config"):
            read(_archive(stored[:-cut]))


@pytest.mark.parametrize(("compression", "stored"), FORMS, ids=IDS)
def test_bytes_after_the_end_are_noticed(compression, stored):
    """What is no further member or frame makes the layer unreadable, as it does for Docker."""
    for rest in (b"x", bytes(20), b"\x1f\x8b\x08" if compression == "gzip" else b"\x28\xb5\x2f\xfd"):
        with pytest.raises(IntegrityError, match=f"cannot be read: its {compression} data"):
            read(_archive(stored + rest))


def test_a_skippable_frame_at_the_start_is_refused():
    """Docker looks for data behind it; skopeo takes the layer for one without compression."""
    with pytest.raises(IntegrityError, match="begins with a skippable zstd frame"):
        read(_archive(_skippable(9) + _zstd(LAYER)))


@pytest.mark.parametrize("start", ["zstd", "skippable zstd"])
def test_a_plain_layer_may_begin_as_zstd_does(start):
    """With the name of its first file. Its digest proves it plain, and Docker 20.10 reads it."""
    layer = layer_beginning(STARTS[start])
    for step in STEPS:
        (image,) = read(_archive(layer, layer), step=step).images
        assert image.layers[0].compression == "none"
        assert image.layers[0].digest == image.layers[0].diff_id == sha256(layer)
    with pytest.raises(IntegrityError, match="cannot be read: it"):
        read(_archive(layer, LAYER))


@pytest.mark.parametrize("start", ["gzip", "bzip2", "xz"])
def test_a_plain_layer_that_docker_takes_for_compressed_is_told(start):
    """Docker's classic image store decompresses by the first bytes. Compressed once more it is loaded."""
    layer = layer_beginning(STARTS[start])
    with pytest.raises(
        IntegrityError, match=f"not compressed, but the name of its first file begins like {start} data"
    ):
        read(_archive(layer, layer))
    (image,) = read(_archive(layer, layer), repacked=True).images
    assert (image.layers[0].compression, image.layers[0].digest) == ("none", sha256(layer))


@pytest.mark.parametrize(
    "start", [b"\x1f\x8b\x00", b"\xfd7zXZ", b"BZ", b"PK\x03\x04", b"\xef\xbb\xbf{", b"["]
)
def test_a_plain_layer_that_only_resembles_compressed_data_is_plain(start):
    """As for Docker and skopeo, which look at as many bytes."""
    layer = layer_beginning(start)
    assert read(_archive(layer, layer)).images[0].layers[0].compression == "none"


@pytest.mark.parametrize(
    "stored", [STARTS["zstd"] + bytes(2000), _skippable(9) + LAYER], ids=["zstd", "frame"]
)
def test_what_is_no_tar_archive_is_no_plain_layer(stored):
    """Whatever its digest is."""
    with pytest.raises(IntegrityError, match="cannot be read: it"):
        read(_archive(stored, stored))


def test_compressed_data_that_is_a_tar_header_too_is_what_its_digest_says():
    """A frame that is skipped may hold a tar archive: programs take either, and are held to one digest."""
    layer = layer_beginning(b"\x28\xb5\x2f\xfd")
    head = bytearray(layer[:512])
    head[:8] = b"\x50\x2a\x4d\x18" + (len(layer) - 8).to_bytes(4, "little")
    both = header_with(bytes(head), 0, bytes(head[:8])) + layer[512:] + _zstd(LAYER)
    assert read(_archive(both, both)).images[0].layers[0].diff_id == sha256(both)
    with pytest.raises(IntegrityError, match="skippable zstd frame"):
        read(_archive(both, LAYER))


@pytest.mark.parametrize("start", ["BZh", "P*M\x18"])
def test_an_archive_that_begins_as_compressed_data_does_is_refused(start):
    """With the name of its first member: `docker load` and skopeo decompress by the first bytes."""
    manifest = [{"Config": f"{start}.json", "RepoTags": ["a:1"], "Layers": ["layer.tar"]}]
    members = [member(f"{start}.json", config_json([LAYER])), member("layer.tar", LAYER)]
    members.append(member("manifest.json", to_json(manifest)))
    with pytest.raises(
        IntegrityError, match=r"first member begins like .* Docker takes the archive for that"
    ):
        read(join(members))
    assert read(join(members[::-1])).images


def test_wrong_checksum_is_noticed():
    """The content could be right and its gzip or zstd checksum wrong: docker load refuses that."""
    for stored in (GZIP_FORMS["one member"], ZSTD_FORMS["checksum"]):
        damaged = flipped(stored, -6 if stored[0] == 0x1F else -1)
        with pytest.raises(IntegrityError, match="data is damaged"):
            read(_archive(damaged))


@pytest.mark.parametrize(("pack", "name"), [(bz2.compress, "bzip2"), (lzma.compress, "xz")])
def test_other_compression_is_named(pack, name):
    """bzip2 and xz are not supported; the error says so instead of a digest that differs."""
    with pytest.raises(IntegrityError, match=f"compressed with {name}"):
        read(_archive(pack(LAYER)))


def test_damaged_member_that_is_no_layer_does_not_matter():
    """Only what an image uses has to be readable, not what is attested of it."""
    layout = OciLayout()
    image = layout.image([LAYER], stated={"os": "linux", "architecture": "amd64"})
    layout.name(layout.nested(image, layout.attestation(image, b"\x1f\x8b\x08 not really gzip")), "a:1")
    assert read(join(layout.members())).images[0].diff_ids == (sha256(LAYER),)


def test_expansion_is_bounded():
    """A layer that expands to more than the limit is refused."""
    content = bytes(20 << 20)
    for stored in (gzip.compress(content), _zstd(content)):
        with pytest.raises(IntegrityError, match="expands to more than 1000000 bytes"):
            read(_archive(stored, content), limits=ArchiveLimits(layer_bytes=1_000_000))


_PEAK = """
import hashlib, json, sys, zlib, zstandard
from jenkins_release.images import ArchiveReader
from tests.fixtures.archives import END, config_json, member, to_json

size, kind = int(sys.argv[1]) << 20, sys.argv[2]
piece = bytes(1 << 20)
digest = hashlib.sha256()
packed = []
packer = {"none": None, "gzip": zlib.compressobj(9, wbits=31),
          "zstd": zstandard.ZstdCompressor(level=1).compressobj()}[kind]
for _ in range(size >> 20):
    digest.update(piece)
    if packer:
        packed.append(packer.compress(piece))
stored = b"".join(packed) + (packer.flush() if packer else b"")
config = json.loads(config_json([]))
config["rootfs"]["diff_ids"] = ["sha256:" + digest.hexdigest()]
rest = [member("c.json", to_json(config)), member("manifest.json", to_json(
    [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["layer.tar"]}])), END]

def archive():
    if packer:
        yield member("layer.tar", stored)
    else:
        import tarfile
        info = tarfile.TarInfo("layer.tar")
        info.size = size
        yield info.tobuf(tarfile.GNU_FORMAT)
        for _ in range(size >> 20):
            yield piece
    yield from rest

def peak_kib():
    # ru_maxrss begins with the memory of whoever started this process (Linux, setmax_mm_hiwater_rss).
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

reader = ArchiveReader()
before = peak_kib()
for chunk in archive():
    reader.feed(chunk)
assert reader.finish().images[0].references == ("a:1",)
print(peak_kib() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["none", "gzip", "zstd"])
def test_memory_stays_flat(kind):
    """A quarter of a gigabyte, plain or as a decompression bomb, grows the process by less than 32 MiB."""
    command = [sys.executable, "-c", _PEAK, "256", kind]
    grown_kib = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown_kib < 32 << 10


def test_frames_may_use_any_level():
    """Levels with larger windows read as well as small ones."""
    for level in (1, 3, 19, 22):
        assert read(_archive(_zstd(LAYER, level=level))).images[0].diff_ids == (sha256(LAYER),)
    raw = zlib.compressobj(9, zlib.DEFLATED, 31, 9)
    assert read(_archive(raw.compress(LAYER) + raw.flush())).images[0].diff_ids == (sha256(LAYER),)
