"""Archives of Docker up to version 24: ``manifest.json``, configs, ``layer.tar``."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import random
import tarfile
import threading

import pytest

from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.images import ArchiveReader
from tests.fixtures.archives import (
    END,
    config_json,
    docker_members,
    join,
    layer_tar,
    member,
    read,
    sha256,
    to_json,
)

BASE, OWN, OTHER = layer_tar("base"), layer_tar("own"), layer_tar("other")
IMAGES = {"skydrm/rms:8.1.0-42": [BASE, OWN], "skydrm/viewer:8.1.0-42": [BASE, OTHER]}


def test_identity_is_read_from_the_bytes():
    """References, config digest, platform and diff_ids are those that the bytes have."""
    index = read(join(docker_members(IMAGES)))
    assert [image.references for image in index.images] == [(name,) for name in IMAGES]
    for image, layers in zip(index.images, IMAGES.values(), strict=True):
        assert image.config_digest == sha256(config_json(layers))
        assert image.diff_ids == tuple(sha256(layer) for layer in layers)
        assert image.platform == "linux/amd64"


def test_size_and_hash_are_those_of_the_whole_archive():
    """The index names the bytes that were pushed, so they can be recorded without another read."""
    data = join(docker_members(IMAGES))
    index = read(data)
    assert (index.size, index.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_offsets_lead_to_the_layers_and_configs():
    """A layer or config can be cut out of the archive by offset and size."""
    data = join(docker_members(IMAGES))
    for image in read(data).images:
        assert sha256(data[image.config_offset :][: image.config_size]) == image.config_digest
        for layer in image.layers:
            assert sha256(data[layer.offset :][: layer.size]) == layer.digest == layer.diff_id


def test_shared_layer_is_found_behind_its_link():
    """Two images that share a base point to the same bytes."""
    first, second = read(join(docker_members(IMAGES))).images
    assert first.layers[0] == second.layers[0]
    assert first.layers[1] != second.layers[1]


def test_only_a_layer_may_be_a_link():
    """Docker follows links to configs too, skopeo only one link: no `docker save` writes such archives."""
    members = docker_members({"a:1": [BASE]})
    path = next(name for name in members if name.endswith("layer.tar"))
    linked = members | {
        "real.tar": member("real.tar", BASE),
        path: member(path, kind=tarfile.SYMTYPE, target="../real.tar"),
    }
    assert read(join(linked)).images[0].layers[0].digest == sha256(BASE)
    chained = linked | {
        "hop": member("hop", kind=tarfile.SYMTYPE, target="real.tar"),
        path: member(path, kind=tarfile.SYMTYPE, target="../hop"),
    }
    with pytest.raises(IntegrityError, match="'hop', which is a link itself"):
        read(join(chained))
    config = next(name for name in members if name.endswith(".json"))
    other = members | {
        "real.json": member("real.json", members[config][512:].rstrip(b"\0")),
        config: member(config, kind=tarfile.SYMTYPE, target="real.json"),
    }
    with pytest.raises(IntegrityError, match="only a layer may be one"):
        read(join(other))


def test_members_may_come_in_any_order():
    """The same index of images results whatever comes first."""
    members = list(docker_members(IMAGES).values())
    orders = [members[::-1], random.Random(1).sample(members, len(members))]  # noqa: S311
    expected = [(i.references, i.config_digest, i.diff_ids) for i in read(join(members)).images]
    for order in orders:
        found = [(i.references, i.config_digest, i.diff_ids) for i in read(join(order)).images]
        assert found == expected


def test_compressed_layer_has_both_digests():
    """A gzip layer keeps the digest of its bytes and has the diff_id of its content."""
    members = docker_members({"a:1": [BASE]})
    path = next(name for name in members if name.endswith("layer.tar"))
    packed = gzip.compress(BASE)
    members[path] = member(path, packed)
    layer = read(join(members)).images[0].layers[0]
    assert (layer.compression, layer.digest, layer.diff_id) == ("gzip", sha256(packed), sha256(BASE))


def test_names_below_the_current_folder_are_the_same_names():
    """``tar -c .`` writes ``./manifest.json``."""
    config = config_json([BASE])
    manifest = [{"Config": "./config.json", "RepoTags": ["a:1"], "Layers": ["base.tar"]}]
    parts = [
        member("./", kind=tarfile.DIRTYPE),
        member("./config.json", config),
        member("./base.tar", BASE),
        member("./manifest.json", to_json(manifest)),
    ]
    assert read(join(parts)).images[0].config_digest == sha256(config)


def test_long_names_are_understood_in_both_dialects():
    """GNU long names and pax headers may carry a layer's path."""
    path = "/".join(["folder-with-a-long-name"] * 8) + "/layer.tar"
    manifest = [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": [path]}]
    for dialect in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        info = tarfile.TarInfo(path)
        info.size = len(BASE)
        long = info.tobuf(dialect) + BASE
        parts = [long, member("c.json", config_json([BASE])), member("manifest.json", to_json(manifest))]
        assert read(join(parts)).images[0].diff_ids == (sha256(BASE),)


def test_size_may_stand_in_a_pax_header_or_in_base_256():
    """Layers above 8 GiB have their size in one of these forms; small ones may."""
    plain = member("base.tar", BASE)
    record = b"size=%d\n" % len(BASE)
    record = b"%d %s" % (len(record) + 3, record)
    forms = [
        member("pax", record, kind=b"x") + plain[:512] + plain[512:],
        _with_base_256_size(plain),
    ]
    for form in forms:
        manifest = [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["base.tar"]}]
        parts = [form, member("c.json", config_json([BASE])), member("manifest.json", to_json(manifest))]
        assert read(join(parts)).images[0].layers[0].size == len(BASE)


def test_image_saved_by_its_id_has_no_references():
    """``RepoTags`` is null then; the image is in the index, its references are empty."""
    members = docker_members({"a:1": [BASE]})
    config = next(name for name in members if name.endswith(".json") and name != "manifest.json")
    layer = next(name for name in members if name.endswith("layer.tar"))
    for tags in (None, []):
        document = [{"Config": config, "RepoTags": tags, "Layers": [layer]}]
        members["manifest.json"] = member("manifest.json", to_json(document))
        assert read(join(members)).images[0].references == ()


def test_two_names_of_one_image_are_one_image():
    """Entries with the same config are joined, all references kept in order."""
    members = docker_members({"a:1": [BASE], "b:1": [BASE]})
    (image,) = read(join(members)).images
    assert image.references == ("a:1", "b:1")


def test_one_name_for_two_images_is_refused():
    """A reference that two entries claim does not say which image is meant."""
    members = docker_members({"a:1": [BASE], "b:1": [OWN]})
    document = json.loads(members["manifest.json"][512:].split(b"\0", 1)[0])
    document[1]["RepoTags"] = ["a:1"]
    members["manifest.json"] = member("manifest.json", to_json(document))
    with pytest.raises(IntegrityError, match="a:1 names two images"):
        read(join(members))


@pytest.mark.parametrize("step", [1, 7, 511, 512, 513, 10_000])
def test_chunk_size_does_not_matter(step):
    """Whatever pieces the stream comes in, the index is the same."""
    data = join(docker_members(IMAGES))
    assert read(data, step=step) == read(data)


def test_random_chunks_of_any_buffer_type_do_not_matter():
    """bytes, bytearray and memoryview of random lengths give the same index, with or without a thread."""
    data = join(docker_members({"a:1": [layer_tar("x", size=300_000), OWN]}))
    expected = read(data)
    draw = random.Random(7)  # noqa: S311
    for parallel, kind in itertools.product((True, False), (bytes, bytearray, memoryview)):
        reader, position = ArchiveReader(parallel=parallel), 0
        while position < len(data):
            size = draw.choice([1, 100, 5_000, 100_000, 200_000])
            reader.feed(kind(data[position : position + size]))
            position += size
        assert reader.finish() == expected


def test_buffer_may_be_reused_after_feed():
    """A caller may read every chunk into the same buffer."""
    data = join(docker_members({"a:1": [layer_tar("x", size=500_000)]}))
    reader, buffer = ArchiveReader(), bytearray(100_000)
    for start in range(0, len(data), len(buffer)):
        piece = data[start : start + len(buffer)]
        buffer[: len(piece)] = piece
        reader.feed(memoryview(buffer)[: len(piece)])
        buffer[:] = bytes(len(buffer))
    assert reader.finish() == read(data)


def test_feed_returns_when_the_buffer_is_no_longer_needed():
    """The hash of the whole archive may lag behind; feed waits for it where the buffer may change."""
    reader, gate = ArchiveReader(), threading.Event()
    reader._worker.submit(gate.wait)
    opener = threading.Timer(0.1, gate.set)
    opener.start()
    reader.feed(bytearray(join(docker_members({"a:1": [layer_tar("x", size=500_000)]}))))
    assert gate.is_set()
    opener.join()
    assert reader.finish().images


def test_wrong_platform_is_a_matter_of_configuration():
    """The error names the platform that the archive has."""
    data = join(docker_members({"a:1": [BASE]}))
    with pytest.raises(ConfigurationError, match=r"a:1 .* linux/arm64; the archive holds linux/amd64"):
        read(data, "linux/arm64")
    with pytest.raises(ConfigurationError, match="is not os/architecture"):
        ArchiveReader("linux")


def test_zero_padding_after_the_end_is_fine():
    """GNU tar pads an archive to 10,240 bytes."""
    data = join(docker_members({"a:1": [BASE]}))
    assert read(data + bytes(10_240)).images == read(data).images
    assert data.endswith(END)


def _with_base_256_size(plain: bytes) -> bytes:
    block = bytearray(plain[:512])
    block[124:136] = b"\x80" + len(BASE).to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + plain[512:]


def _archive(config: bytes, layers: dict[str, bytes], *, null: bool = False) -> bytes:
    """An archive of one image whose layers have these names."""
    entry = {
        "Config": f"{sha256(config)[7:]}.json",
        "RepoTags": ["a:1"],
        "Layers": None if null else list(layers),
    }
    stored = [member(entry["Config"], config), *(member(name, data) for name, data in layers.items())]
    return join([*stored, member("manifest.json", to_json([entry]))])


@pytest.mark.parametrize("suffix", ["", ".tar", ".tar.gz"])
def test_a_blob_may_be_named_with_what_it_is(suffix):
    """rules_oci of Bazel writes blobs/sha256/<hex>.tar.gz; the digest in the name has to be right still."""
    packed = gzip.compress(BASE, mtime=0)
    data = _archive(config_json([BASE]), {f"blobs/sha256/{sha256(packed)[7:]}{suffix}": packed})
    assert read(data).images[0].diff_ids == (sha256(BASE),)
    wrong = _archive(config_json([BASE]), {f"blobs/sha256/{'0' * 64}{suffix}": packed})
    with pytest.raises(IntegrityError, match="do not match its name"):
        read(wrong)


@pytest.mark.parametrize("stated", [{"os": "", "architecture": ""}, {"os": None}, {"architecture": None}])
def test_an_image_that_states_no_platform_is_intact(stated):
    """Docker loads it for its own platform. It is not for the one that a product is built for."""
    fields = {**json.loads(config_json([BASE])), **stated}
    data = _archive(
        to_json({name: value for name, value in fields.items() if value is not None}), {"l": BASE}
    )
    (image,) = read(data, None).images
    assert (image.platform, image.diff_ids) == ("", (sha256(BASE),))
    with pytest.raises(ConfigurationError, match="the archive holds an unstated platform"):
        read(data)


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("rootfs", [{}, {"diff_ids": None}, {"diff_ids": []}])
def test_an_image_without_layers(rootfs, null):
    """It holds a config alone."""
    fields = {**json.loads(config_json([])), "rootfs": {"type": "layers", **rootfs}}
    (image,) = read(_archive(to_json(fields), {}, null=null)).images
    assert image.diff_ids == ()
