"""The benchmarks' images: archives that a daemon would load, and a patch that changes what it says."""

from __future__ import annotations

import io
import tarfile
import zlib

from benchmarks.images import FIVE, MIB, Image, Layer, five_images, image_archive, one_image
from jenkins_release.images import ArchiveIndex, ArchiveReader


def read(images: list[Image]) -> ArchiveIndex:
    """Read the archive with the reader of the product, which checks every digest."""
    reader = ArchiveReader()
    for chunk in image_archive(images, "8.1.0", "7"):
        reader.feed(chunk)
    return reader.finish()


def layers(images: list[Image]) -> set[Layer]:
    """Return the layers of all images, shared ones once."""
    return {layer for image in images for layer in image.layers}


def test_the_archive_holds_what_its_manifest_says() -> None:
    """Five images on one base; shared layers stand in it once."""
    index = read(five_images("x", 2 * MIB))
    assert [image.references for image in index.images] == [(f"skydrm/{name}:8.1.0-7",) for name in FIVE]
    found = [tuple(layer.diff_id for layer in image.layers) for image in index.images]
    assert all(each[:3] == found[0][:3] for each in found)
    assert len({diff_id for each in found for diff_id in each}) == 3 + 2 * 5


def test_the_same_arguments_give_the_same_bytes_and_a_salt_other_layers() -> None:
    """So that what a registry has seen, and what not, is known."""
    first, again, other = (b"".join(image_archive(one_image(salt, MIB), "1", "1")) for salt in "aab")
    assert first == again
    seen, unseen = read(one_image("a", MIB)), read(one_image("b", MIB))
    assert not {x.diff_id for x in seen.images[0].layers} & {x.diff_id for x in unseen.images[0].layers}
    assert abs(len(first) - len(other)) < 64 * 1024


def test_a_patch_changes_five_percent_of_the_bytes() -> None:
    """The program of each image, and nothing else."""
    size = 200 * MIB
    before, after = layers(five_images("x", size)), layers(five_images("x", size, patch=1))
    changed = sum(layer.content for layer in after - before)
    whole = sum(layer.content for layer in after)
    assert 0.045 < changed / whole < 0.055
    assert 0.95 < whole / size < 1.05


def test_files_compress_and_noise_does_not() -> None:
    """As with real images: neither all zeros nor all random."""
    for layer, least, most in ((Layer("f", 4 * MIB, 0), 0.05, 0.8), (Layer("n", 0, MIB), 0.95, 1.05)):
        data = b"".join(image_archive([Image("rms", (layer,))], "1", "1"))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            member = archive.extractfile(archive.getnames()[0])
            assert member is not None
            content = member.read()
        assert least < len(zlib.compress(content, 1)) / layer.content < most
