"""A plain archive becomes one with gzip layers: the same images, and Docker reads it as well."""

from __future__ import annotations

import gzip
import hashlib
import io
import socket
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.base.stream import fan_out
from jenkins_release.base.waits import Call
from jenkins_release.images import ArchiveIndex, ArchiveReader, DockerEngine, spool
from jenkins_release.images.gzip_archive import GzipArchive
from jenkins_release.sandbox.sample_images import demo_archive
from tests.fixtures.archives import STARTS, OciLayout, docker_members, join, layer_beginning, layer_tar
from tests.fixtures.silence import GENEROUS_S, silent_server

PLATFORM = "linux/amd64"


def convert(archive: bytes | Iterator[bytes], piece: int = 1 << 20) -> tuple[ArchiveIndex, bytes]:
    """Convert an archive; returns what the converter says of the new one, and its bytes."""
    pieces = (
        iter([archive[start : start + piece] for start in range(0, len(archive), piece)])
        if isinstance(archive, bytes)
        else archive
    )
    made = GzipArchive(PLATFORM)
    data = b"".join(made.convert(pieces))
    return made.index(hashlib.sha256(data).hexdigest(), len(data)), data


def read(data: bytes, *, repacked: bool = False) -> ArchiveIndex:
    reader = ArchiveReader(PLATFORM, repacked=repacked)
    reader.feed(data)
    return reader.finish()


def oci() -> bytes:
    layout = OciLayout()
    for name, compression in (("a", "none"), ("b", "gzip"), ("c", "zstd")):
        image = layout.image([layer_tar("base", size=300_000), layer_tar(name)], compression=compression)
        layout.name(image, f"skydrm/{name}:1")
        layout.name_docker(image, f"skydrm/{name}:1")
    return join(layout.members())


SOURCES = {
    "as Docker up to 24 writes it": lambda: join(
        docker_members({"a:1": [layer_tar("x", size=700_000), layer_tar("y")], "b:1": [layer_tar("y")]})
    ),
    "as Docker 25 writes it, with every compression": oci,
    "a first file whose name looks like JSON": lambda: join(
        docker_members({"a:1": [layer_tar("[", size=9000)]})
    ),
    **{
        f"a first file whose name looks like {kind}": lambda start=start: join(
            docker_members({"a:1": [layer_beginning(start)]})
        )
        for kind, start in STARTS.items()
    },
    "an empty layer": lambda: join(docker_members({"a:1": [bytes(1024)]})),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_the_images_are_the_same_and_every_plain_layer_is_gzip(source):
    """Config digests, diff_ids and names stay; what the converter says is what a reader finds."""
    plain = source()
    index, data = convert(plain)
    assert read(data) == index
    before = read(plain, repacked=True)
    assert [(i.references, i.config_digest, i.diff_ids) for i in index.images] == [
        (i.references, i.config_digest, i.diff_ids) for i in before.images
    ]
    for image, old in zip(index.images, before.images, strict=True):
        for layer, was in zip(image.layers, old.layers, strict=True):
            stored = data[layer.offset : layer.offset + layer.size]
            assert layer.digest == f"sha256:{hashlib.sha256(stored).hexdigest()}"
            if was.compression == "none":
                assert f"sha256:{hashlib.sha256(gzip.decompress(stored)).hexdigest()}" == layer.diff_id
            else:
                assert (layer.compression, layer.digest) == (was.compression, was.digest)


def test_the_same_input_gives_the_same_archive():
    """Whatever the pieces; and an archive that was converted already stays as it is."""
    plain = b"".join(demo_archive("8.1.0", "42", base_size=3 << 20, own_size=1 << 18))
    _, first = convert(plain)
    assert convert(plain, 10_007)[1] == first
    assert convert(first)[1] == first
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        assert len(archive.getmembers()) == 5 + 4 + 1


def test_a_large_layer_is_gathered_in_a_file_without_a_name(monkeypatch, tmp_path):
    """Memory is bounded, and nothing is left behind."""
    monkeypatch.setattr(spool, "IN_MEMORY", 1 << 16)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    plain = b"".join(demo_archive("8.1.0", "42", names=["rms"], base_size=3 << 20))
    assert read(convert(plain)[1]) == convert(plain)[0]
    assert list(tmp_path.iterdir()) == []


def test_a_full_temporary_disk_is_told_with_its_place(monkeypatch):
    """Nothing is written any more, and the way out is named."""
    monkeypatch.setattr(spool, "IN_MEMORY", 1)
    opened = tempfile.SpooledTemporaryFile

    def full(*arguments: object) -> object:
        file = opened(*arguments)  # type: ignore[arg-type]
        file._file = Path("/dev/full").open("r+b", buffering=0)  # noqa: SIM115
        return file

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", full)
    with pytest.raises(RemoteError, match=r"temporary file .* No space left") as caught:
        convert(join(docker_members({"a:1": [layer_tar("x", size=100_000)]})))
    assert "TMPDIR" in caught.value.hint


def test_a_damaged_source_ends_it_with_its_own_error():
    """What came before is no archive."""
    plain = join(docker_members({"a:1": [layer_tar("x", size=100_000)]}))
    with pytest.raises(IntegrityError, match="truncated"):
        convert(plain[:-2000])


def test_a_source_that_fails_ends_it_with_that_error():
    """The daemon's error, not one about the archive."""

    def source() -> Iterator[bytes]:
        yield join(docker_members({"a:1": [layer_tar("x", size=100_000)]}))[:5000]
        raise RemoteError("the daemon went away")

    with pytest.raises(RemoteError, match="the daemon went away"):
        convert(source())


def test_whoever_stops_early_leaves_no_thread_behind():
    """The share failed: reading the daemon ends too."""
    made = GzipArchive(PLATFORM)
    chunks = made.convert(demo_archive("8.1.0", "42", base_size=8 << 20, own_size=1 << 20))
    next(chunks)
    chunks.close()
    assert not [t for t in threading.enumerate() if t.name in {"compress-archive", "stream-consumer"}]


def test_docker_loads_it(engine: DockerEngine):
    """Also by hand: `docker load -i`."""
    plain = b"".join(demo_archive("8.1.0", "gz", names=["rms"], own_size=1 << 20))
    index, data = convert(plain)
    engine.load([data])
    assert engine.config_digest("skydrm/rms:8.1.0-gz") == index.images[0].config_digest
    engine.untag("skydrm/rms:8.1.0-gz")


def _stalled(port: int) -> Iterator[bytes]:
    """A daemon that says nothing after the first layer."""
    yield join(docker_members({"a:1": [layer_tar("x", size=700_000)]}))[:900_000]
    with Call("the daemon", 60.0), socket.create_connection(("127.0.0.1", port)) as made:
        yield made.recv(1)


def test_whoever_stops_early_does_not_wait_for_the_daemon():
    with silent_server() as (port, connected):
        made = GzipArchive(PLATFORM).convert(_stalled(port))
        next(made)
        assert connected.wait(GENEROUS_S)
        made.close()
        names = {thread.name for thread in threading.enumerate()}
        assert not names & {"compress-archive", "stream-consumer"}


def test_a_share_that_is_full_ends_the_wait_for_the_daemon():
    """The consumer of the archive failed: nothing that may come any more is wanted."""
    begun = time.monotonic()
    with silent_server() as (port, connected):

        def full(_: bytes) -> None:
            assert connected.wait(GENEROUS_S)
            raise OSError("full")

        with pytest.raises(OSError, match="full"):
            fan_out(GzipArchive(PLATFORM).convert(_stalled(port)), [full])
    assert time.monotonic() - begun < 2 * GENEROUS_S
    assert not [thread for thread in threading.enumerate() if thread.name == "compress-archive"]
