"""The pieces of an export that re-uses layers, on a folder: cutting, announcing, guessing."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jenkins_release.share import DirectoryShare, SmbShare
from jenkins_release.steps.candidate.known_layers import LEAST, KnownLayers, Stretch
from jenkins_release.steps.candidate.layer_reuse import LayerGuess, NotReusable, ReusingWriter
from tests.fixtures.archives import OciLayout, docker_members, join, layer_tar, sha256

LAYERS = [layer_tar(f"layer {number}", size=LEAST + 20480 * (number // 2)) for number in range(3)]


def known_in(folder: Path, *layers: bytes) -> KnownLayers:
    """Put layers into one file and return where they are."""
    known = KnownLayers()
    data = b"something before"
    for layer in layers:
        known.add(Stretch(sha256(layer), len(layer), "earlier", len(data), "8.1.0/1"))
        data += layer
    (folder / "earlier").write_bytes(data)
    return known


def write(folder: Path, archive: bytes, known: KnownLayers, cuts: list[int]) -> tuple[bytes, list[str]]:
    """Write an archive in pieces, guessing; return what the file holds and the digests that were copied."""
    share = DirectoryShare(folder)
    diff_ids = [sha256(layer) for layer in LAYERS]
    ends = sorted({min(cut, len(archive)) for cut in cuts} | {len(archive)})
    with share.create("new") as writer:
        reusing = ReusingWriter(writer, share)
        guess = LayerGuess(known, diff_ids, share, reusing.announce)
        start = 0
        for end in ends:
            guess.feed(archive[start:end])
            reusing.write(archive[start:end])
            start = end
    found = (folder / "new").read_bytes()
    assert all(
        sha256(found[offset : offset + stretch.size]) == stretch.digest
        for offset, stretch in reusing.copied.items()
    )
    return found, [stretch.digest for stretch in reusing.copied.values()]


def docker_archive() -> bytes:
    return join(docker_members({"a/one:1": LAYERS[:2], "a/two:1": [LAYERS[0], LAYERS[2]]}))


def oci_archive() -> bytes:
    layout = OciLayout()
    layout.name(layout.image(LAYERS[:2]), "a/one:1")
    layout.name(layout.image([LAYERS[0], LAYERS[2]]), "a/two:1")
    return join(layout.members())


@pytest.mark.parametrize("archive", [docker_archive(), oci_archive()], ids=["docker", "oci"])
@given(cuts=st.lists(st.integers(0, len(docker_archive())), max_size=12))
def test_the_file_is_the_archive_however_it_comes(archive: bytes, cuts: list[int]):
    """Byte for byte, and every known layer is copied, once."""
    with tempfile.TemporaryDirectory() as folder:
        found, copied = write(Path(folder), archive, known_in(Path(folder), *LAYERS[:2]), cuts)
    assert hashlib.sha256(found).digest() == hashlib.sha256(archive).digest()
    assert sorted(copied) == sorted(map(sha256, LAYERS[:2]))


def test_a_name_that_is_a_digest_is_not_guessed(tmp_path: Path):
    """In the OCI layout a layer of the same size and beginning is known to be another one."""
    start = "x" * (2 * LEAST)
    old, new = layer_tar(start, "old"), layer_tar(start, "new")
    layout = OciLayout()
    layout.name(layout.image([new]), "a/one:1")
    known = known_in(tmp_path, old)
    announced: list[object] = []
    guess = LayerGuess(known, [sha256(old)], DirectoryShare(tmp_path), lambda *told: announced.append(told))
    guess.feed(join(layout.members()))
    assert announced == []


def test_two_layers_that_could_be_meant_are_both_sent(tmp_path: Path):
    """A guess between two would be wrong half of the time."""
    start = "x" * (2 * LEAST)
    pair = [layer_tar(start, "one"), layer_tar(start, "two")]
    known = known_in(tmp_path, *pair)
    announced: list[object] = []
    guess = LayerGuess(known, map_digests(pair), DirectoryShare(tmp_path), lambda *t: announced.append(t))
    guess.feed(join(docker_members({"a/one:1": pair})))
    assert announced == []


def map_digests(layers: list[bytes]) -> list[str]:
    return [sha256(layer) for layer in layers]


def test_small_layers_are_not_worth_a_request(tmp_path: Path):
    """They are sent."""
    assert len(known_in(tmp_path, layer_tar("small"))) == 0


def test_a_share_that_cannot_copy_is_asked_once_and_gets_the_bytes(smb_share: SmbShare, tmp_path: Path):
    """A folder's file and a share on a server are different machines."""
    layer = LAYERS[0]
    local = DirectoryShare(tmp_path)
    stretch = Stretch(sha256(layer), len(layer), "earlier", 0, "8.1.0/1")
    with local.create("new") as writer:
        reusing = ReusingWriter(writer, smb_share)
        reusing.announce(0, stretch)
        reusing.announce(len(layer), stretch)
        reusing.write(layer + layer)
    assert (tmp_path / "new").read_bytes() == layer + layer
    assert reusing.copied == {}


def test_a_stretch_that_is_gone_makes_the_file_useless(tmp_path: Path):
    """The caller writes it again without; which stretch it was is told."""
    share = DirectoryShare(tmp_path)
    stretch = Stretch(sha256(LAYERS[0]), len(LAYERS[0]), "gone", 0, "8.1.0/1")
    with pytest.raises(NotReusable) as caught, share.create("new") as writer:
        reusing = ReusingWriter(writer, share)
        reusing.announce(0, stretch)
        reusing.write(LAYERS[0])
    assert caught.value.stretches == (stretch,)
    assert "does not exist" in caught.value.why
    assert not (tmp_path / "new").exists()


def test_known_layers_are_found_by_digest_and_size(tmp_path: Path):
    """A record that gives another size for a digest is not believed."""
    known = known_in(tmp_path, *LAYERS)
    digest = sha256(LAYERS[1])
    assert known.find(digest, len(LAYERS[1])) is not None
    assert known.find(digest, len(LAYERS[1]) + 1) is None
    assert known.find(sha256(b"other"), len(LAYERS[1])) is None
    assert len(known.without(known.of_size(len(LAYERS[2])))) == 2
