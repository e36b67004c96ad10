"""What is promised of every blob that is read from the share, whoever needs it."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jenkins_release.base.errors import IntegrityError
from jenkins_release.images import ArchivedImage, ArchiveReader
from jenkins_release.records.candidate import (
    BlobRecord,
    CandidateImage,
    ImageRecord,
    ManifestRecord,
    make_manifest,
)
from jenkins_release.share import DirectoryShare, PathNotFound, Share
from jenkins_release.steps.candidate.content_store import ContentStore, ShareBlob, image_blobs, platform_blobs
from jenkins_release.steps.candidate.index_record import index_record, layer_records
from jenkins_release.steps.promotion.blob_source import contents_of
from tests.fixtures.archives import OciLayout, docker_members, join, layer_tar, read, sha256
from tests.fixtures.damage import flip

FOLDER = "SkyDRM/8.1.0/42"
ARCHIVE = "images/layers.tar"
BEFORE = 1000
"""Bytes in the archive before the blob; as many follow it."""
MIB = 1 << 20
DATA = random.Random(1).randbytes(3 * MIB + 4567)  # noqa: S311  # no secret
BLOB = ShareBlob(sha256(DATA), len(DATA), ARCHIVE, BEFORE)
NAME = "skydrm/rms:8.1.0-42"
BASE, AMD, ARM = layer_tar("base"), layer_tar("amd"), layer_tar("arm")


@pytest.fixture(params=["folder", "samba"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The share's root as the machine that serves it sees it."""
    return tmp_path if request.param == "folder" else request.getfixturevalue("smb_folder")


@pytest.fixture
def archive(root: Path) -> Path:
    """The archive with the blob."""
    path = root / FOLDER / ARCHIVE
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(BEFORE) + DATA + bytes(BEFORE))
    return path


@pytest.fixture
def store(request: pytest.FixtureRequest, root: Path, archive: Path) -> ContentStore:
    """What is tested."""
    samba = "samba" in request.node.name
    return ContentStore(request.getfixturevalue("smb_share") if samba else DirectoryShare(root), FOLDER)


def until_error(pieces: Iterator[bytes], match: str) -> int:
    """Return how many bytes come before the expected error."""
    got = 0
    with pytest.raises(IntegrityError, match=match):
        for piece in pieces:
            got += len(piece)
    return got


def test_a_blob_comes_whole_or_in_part(store: ContentStore):
    """Any range, to the byte; whoever goes on after a break gives the first byte."""
    assert store.fetch(BLOB) == DATA
    assert store.intact(BLOB)
    last = len(DATA) - 1
    for first, end in [
        (0, 0),
        (5, MIB + 5),
        (MIB, 2 * MIB - 1),
        (MIB - 1, MIB),
        (last, last),
        (2 * MIB, None),
    ]:
        found = b"".join(store.read(BLOB, first, end, ahead=2))
        assert found == DATA[first : len(DATA) if end is None else end + 1]
    assert b"".join(store.unproven(BLOB, 70_000)) == DATA[:70_000]
    assert store.fetch(ShareBlob(sha256(b""), 0, ARCHIVE, BEFORE)) == b""


@pytest.mark.parametrize("place", [0, MIB, len(DATA) - 1])
def test_of_an_altered_blob_the_end_never_comes(store: ContentStore, archive: Path, place: int):
    """Not of a part of it either that has none of the wrong bytes; what to do is said."""
    flip(archive, BEFORE + place)
    match = (
        f"layers.tar: the layer at byte {BEFORE}: expected {BLOB.digest} of {len(DATA)} bytes, found sha256:"
    )
    assert until_error(store.read(BLOB), match) < len(DATA)
    part = range(MIB + 10, 2 * MIB + 10)
    assert until_error(store.read(BLOB, part[0], part[-1]), match) < len(part)
    with pytest.raises(IntegrityError) as raised:
        store.fetch(BLOB)
    assert "do not use this candidate" in raised.value.hint
    assert not store.intact(BLOB)
    flip(archive, BEFORE + place)
    flip(archive, BEFORE - 1)
    assert store.intact(BLOB), "it is another blob's byte"


def test_a_file_that_ends_early_has_no_blob(store: ContentStore, archive: Path):
    archive.write_bytes(archive.read_bytes()[: BEFORE + len(DATA) - 1])
    until_error(store.read(BLOB), "the file ends at")
    assert not store.intact(BLOB)


def test_a_blob_elsewhere_is_another_one(store: ContentStore):
    """A record with a wrong offset, or a wrong size."""
    for wrong in (replace(BLOB, offset=BEFORE + 1), replace(BLOB, size=BLOB.size - 1)):
        until_error(store.read(wrong), f"expected {BLOB.digest} of {wrong.size} bytes, found")


def test_a_lost_file_is_not_a_damaged_one(store: ContentStore, archive: Path):
    archive.unlink()
    for ask in (store.fetch, store.intact):
        with pytest.raises(PathNotFound):
            ask(BLOB)


class Endless:
    """A share that returns more than it was asked for."""

    name = "//files/data"

    def read(self, path: str, **asked: int) -> Iterator[bytes]:
        while True:
            yield bytes(MIB)


def test_a_share_without_end_fills_no_memory():
    """Neither does a large blob: a piece is held, and no more."""
    share: Share = Endless()  # type: ignore[assignment]
    blob = ShareBlob(BLOB.digest, 64 * MIB, "file", 0)
    tracemalloc.start()
    until_error(
        ContentStore(share).read(blob), f"expected .* of {64 * MIB} bytes, found .* of {65 * MIB} bytes"
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * MIB


def one_platform(found: ArchivedImage) -> ImageRecord:
    """Return the record of an image, which has a manifest if a registry stores its layers as they are."""
    made = make_manifest(found) if found.layers[0].compression == "gzip" else None
    return ImageRecord(
        name="rms",
        reference=NAME,
        archive=ARCHIVE,
        platform=found.platform,
        config_digest=found.config_digest,
        config_offset=found.config_offset,
        config_size=found.config_size,
        layers=layer_records(found, {}),
        manifest=made
        and ManifestRecord(media_type=made.media_type, digest=made.digest, data=made.data.decode()),
    )


def plain() -> tuple[bytes, CandidateImage]:
    data = join(docker_members({NAME: [BASE, AMD]}))
    return data, one_platform(read(data).images[0])


def packed() -> tuple[bytes, CandidateImage]:
    layout = OciLayout()
    layout.name(layout.image([BASE, AMD], compression="gzip"), NAME)
    data = join(layout.members())
    return data, one_platform(read(data).images[0])


def several() -> tuple[bytes, CandidateImage]:
    """An index with two platforms and what BuildKit attests about one."""
    layout = OciLayout()
    amd = layout.image([BASE, AMD], compression="gzip", stated={"os": "linux", "architecture": "amd64"})
    arm = layout.image(
        [BASE, ARM], "linux/arm64", compression="gzip", stated={"os": "linux", "architecture": "arm64"}
    )
    layout.name(layout.nested(amd, arm, layout.attestation(amd)), NAME)
    data = join(layout.members())
    reader = ArchiveReader(platforms=["linux/amd64", "linux/arm64"])
    reader.feed(data)
    (found,) = reader.finish().indexes
    return data, index_record("rms", NAME, ARCHIVE, found)


@pytest.mark.parametrize("make", [plain, packed, several])
def test_every_blob_of_an_image_is_where_its_record_says(tmp_path: Path, make):
    """All that its manifests name, for each platform; a promotion sends exactly those."""
    data, image = make()
    (tmp_path / "images").mkdir()
    (tmp_path / ARCHIVE).write_bytes(data)
    store = ContentStore(DirectoryShare(tmp_path))
    blobs = {blob.digest: blob for blob in image_blobs(image)}
    assert all(sha256(store.fetch(blob)) == digest for digest, blob in blobs.items())
    named = {part.config_digest for part in image.parts}
    named |= {layer.digest for part in image.parts for layer in part.layers}
    attested = {blob.digest for each in getattr(image, "attestations", ()) for blob in each.blobs}
    assert blobs.keys() == named | attested
    assert bool(attested) == (make is several)
    for part in image.parts:
        assert {blob.what for blob in platform_blobs(image, part)} == {
            "config of image rms",
            "layer of image rms",
        }
    sent = list(contents_of(image))
    assert [(each.digest, each.what) for each in sent] == [
        (each.digest, each.what) for each in image_blobs(image)
    ]
    for each in sent:
        assert each.plain == (make is plain and each.what.startswith("layer"))
        assert (each.blob, each.blob_size) == (("", 0) if each.plain else (each.digest, each.size))


def test_a_plain_layer_is_sent_as_the_blob_that_the_export_recorded():
    _, image = plain()
    known = BlobRecord(digest=f"sha256:{'1' * 64}", size=77)
    layers = tuple(layer.model_copy(update={"gzip": known}) for layer in image.parts[0].layers)
    sent = list(contents_of(image.model_copy(update={"layers": layers})))
    assert [(each.blob, each.blob_size) for each in sent if each.plain] == [(known.digest, 77)] * 2
