"""What a daemon with containerd's image store may push: any blob, named by the digest of its bytes."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from jenkins_release.base.errors import IntegrityError
from jenkins_release.images.archive.pushed import document_blob, index_document, read_pushed
from jenkins_release.images.spool import IN_MEMORY, KEPT_IN_MEMORY
from jenkins_release.oci.manifests import OCI_INDEX, OCI_MANIFEST, RawManifest, sha256_digest
from jenkins_release.oci.platforms import parse_platform
from jenkins_release.steps.candidate.content_intake import ContentIntake, SentBlob
from jenkins_release.steps.candidate.push_intake import PushIntake


def layer(name: str) -> bytes:
    """A layer with one file."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        member = tarfile.TarInfo(name)
        member.size = 1000
        tar.addfile(member, io.BytesIO(bytes(1000)))
    return data.getvalue()


def push(intake: ContentIntake, data: bytes, digest: str = "", step: int = 300) -> SentBlob:
    blob = intake.blob()
    for at in range(0, len(data), step):
        blob.write(data[at : at + step])
    try:
        blob.finish(digest or sha256_digest(data))
    except IntegrityError:
        blob.abandon()
        raise
    return intake.blobs[sha256_digest(data)]


@pytest.fixture
def packing() -> Iterator[ContentIntake]:
    """One that compresses plain layers."""
    with ThreadPoolExecutor(1) as pool:
        intake = ContentIntake(lambda _: None, pool)
        yield intake
        intake.close()


@pytest.fixture
def keeping() -> Iterator[ContentIntake]:
    """One that keeps everything as it is."""
    intake = ContentIntake(lambda _: None, None)
    yield intake
    intake.close()


def test_other_bytes_than_the_daemon_says(packing: ContentIntake):
    with pytest.raises(IntegrityError, match=f"as sha256:{'0' * 64}, but its bytes are sha256:"):
        push(packing, b"{}", f"sha256:{'0' * 64}")
    assert not packing.blobs


@pytest.mark.parametrize("step", [1, 300, 10_000])
@pytest.mark.parametrize("name", ["file", "{file", "BZhfile"])
def test_a_plain_layer_is_compressed(packing: ContentIntake, name: str, step: int):
    """Also one whose first file has a name that begins like a document, or like compressed data."""
    data = layer(name)
    sent = push(packing, data, step=step)
    stored = b"".join(sent.spool.pieces())
    assert gzip.decompress(stored) == data
    assert (sent.digest, sent.size) == (sha256_digest(stored), len(stored))
    assert sent.blob.document is None


def test_a_compressed_layer_is_kept(packing: ContentIntake):
    data = gzip.compress(layer("file"))
    sent = push(packing, data)
    assert b"".join(sent.spool.pieces()) == data
    assert sent.digest == sha256_digest(data)
    assert (sent.blob.diff_id, sent.blob.compression) == (sha256_digest(layer("file")), "gzip")


def test_for_several_platforms_everything_is_kept(keeping: ContentIntake):
    """A config is read; of an SBOM that is larger than any, only the bytes are kept."""
    for data in (layer("file"), b'{"os": "linux"}', b'{"_type": "' + b"x" * (5 << 20) + b'"}'):
        sent = push(keeping, data, step=1 << 20)
        assert b"".join(sent.spool.pieces()) == data
        assert sent.digest == sha256_digest(data)
        assert sent.blob.document == (data if data.startswith(b'{"os"') else None)


@pytest.mark.parametrize("classic", [True, False])
def test_many_small_layers_do_not_fill_the_memory(classic: bool):
    """Each of them would fit."""
    with ThreadPoolExecutor(1) as pool:
        intake = PushIntake([], pool) if classic else ContentIntake(lambda _: None, pool)
        for _ in range(KEPT_IN_MEMORY // IN_MEMORY + 3):
            data = gzip.compress(os.urandom(IN_MEMORY - 10_000), 1)
            blob = intake.blob()
            blob.write(data)
            blob.finish(sha256_digest(data))
        taken = intake.layers if isinstance(intake, PushIntake) else intake.blobs
        held = [each.spool.held for each in taken.values()]
        assert held.count(0) == 3
        assert sum(held) <= KEPT_IN_MEMORY
        assert all(len(b"".join(each.spool.pieces())) == each.size for each in taken.values())
        intake.close()


def test_what_comes_after_the_end_is_not_kept(keeping: ContentIntake):
    """A thread of the registry may still work then."""
    blob = keeping.blob()
    blob.write(b"{}")
    keeping.close()
    blob.finish(sha256_digest(b"{}"))
    assert not keeping.blobs


def test_an_index_that_lists_what_was_not_pushed():
    """It is refused as in an archive, by the name of the image."""
    entry = {
        "mediaType": OCI_MANIFEST,
        "digest": f"sha256:{'1' * 64}",
        "size": 100,
        "platform": {"os": "linux", "architecture": "amd64"},
    }
    data = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    top = RawManifest(sha256_digest(data), OCI_INDEX, data)
    platforms = [parse_platform("linux/amd64"), parse_platform("linux/arm64")]
    with pytest.raises(IntegrityError, match="skydrm/rms:1: the archive lacks what its index lists"):
        read_pushed({"skydrm/rms:1": top}, [document_blob(data)], platforms)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("base:1", "docker.io/library/base:1"),
        ("skydrm/rms:1", "docker.io/skydrm/rms:1"),
        ("registry.example.com:5000/rms:1", "registry.example.com:5000/rms:1"),
    ],
)
def test_names_are_whole_in_the_layout(name: str, full: str):
    """Containerd reads them so (annotation io.containerd.image.name)."""
    top = RawManifest(f"sha256:{'1' * 64}", OCI_MANIFEST, b"{}")
    (entry,) = json.loads(index_document({name: top}))["manifests"]
    assert entry["annotations"] == {
        "io.containerd.image.name": full,
        "org.opencontainers.image.ref.name": "1",
    }
