"""Images for several platforms, carried with everything that their index lists."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from jenkins_release.base.errors import ConfigurationError, IntegrityError, ReleaseError
from jenkins_release.images import ArchiveIndex, ArchiveReader
from tests.fixtures.archives import (
    CONFIG_TYPE,
    INDEX_TYPE,
    MANIFEST_TYPE,
    OciLayout,
    bend,
    blob_path,
    docker_members,
    join,
    layer_tar,
    sha256,
    to_json,
)

NAME = "skydrm/rms:8.1.0-42"
BASE, AMD, ARM = layer_tar("base"), layer_tar("amd"), layer_tar("arm")
AMD64 = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64", "variant": "v8"}
ARM7 = {"os": "linux", "architecture": "arm", "variant": "v7"}
BOTH = ("linux/amd64", "linux/arm64")
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def whole(layout: OciLayout, *platforms: str) -> ArchiveIndex:
    """Read a layout to be kept as it is."""
    reader = ArchiveReader(platforms=platforms or BOTH)
    reader.feed(join(layout.members()))
    return reader.finish()


class Built:
    """What BuildKit writes for two platforms; tests bend it before :meth:`layout`."""

    def __init__(self) -> None:
        self.made = OciLayout()
        self.amd = self.made.image([BASE, AMD], compression="gzip", stated=AMD64)
        self.arm = self.made.image([BASE, ARM], "linux/arm64/v8", compression="gzip", stated=ARM64)
        self.entries = [
            self.amd,
            self.arm,
            self.made.attestation(self.amd),
            self.made.attestation(self.arm, b"{}"),
        ]

    def layout(self) -> OciLayout:
        self.made.name(self.made.nested(*self.entries), NAME)
        return self.made


def test_everything_that_the_index_lists_is_found_where_it_is():
    """Digests, offsets and sizes lead to the bytes in the archive, which are carried unchanged."""
    layout = Built().layout()
    data = join(layout.members())
    found = whole(layout)
    (index,) = found.indexes
    assert found.images == ()
    assert index.references == (NAME,)
    assert index.index.digest == layout.index[0]["digest"]
    assert [image.platform for image in index.images] == ["linux/amd64", "linux/arm64"]
    listed = json.loads(layout.blobs[index.index.digest])["manifests"]
    manifests = [*(image.manifest for image in index.images), *(each.manifest for each in index.attestations)]
    assert [each.digest for each in manifests if each] == [entry["digest"] for entry in listed]
    assert [each.of for each in index.attestations] == [listed[0]["digest"], listed[1]["digest"]]
    blobs = [index.index, *manifests, *(blob for each in index.attestations for blob in each.blobs)]
    for blob in blobs:
        assert blob is not None
        assert sha256(data[blob.offset : blob.offset + blob.size]) == blob.digest
    for image, layers in zip(index.images, ([BASE, AMD], [BASE, ARM]), strict=True):
        assert image.diff_ids == tuple(sha256(layer) for layer in layers)
        for layer in image.layers:
            assert layer.compression == "gzip"
            assert sha256(data[layer.offset : layer.offset + layer.size]) == layer.digest


def test_an_image_for_one_platform_has_its_manifest():
    """BuildKit without attestations lists the manifest itself."""
    layout = OciLayout()
    entry = layout.image([BASE], compression="gzip")
    layout.name(entry, NAME)
    found = whole(layout, "linux/amd64")
    (image,) = found.images
    assert found.indexes == ()
    assert image.manifest is not None
    assert image.manifest.digest == entry["digest"]


def test_an_archive_of_docker_save_is_read_as_before():
    """Without ``index.json`` there is no manifest to carry."""
    reader = ArchiveReader(platforms=["linux/amd64"])
    reader.feed(join(docker_members({NAME: [BASE]})))
    (image,) = reader.finish().images
    assert image.manifest is None


def test_names_in_both_documents_must_agree():
    """The daemon's ``manifest.json`` names the image of its own platform."""
    built = Built()
    layout = built.layout()
    layout.name_docker(built.arm, NAME)
    assert whole(layout).indexes[0].references == (NAME,)
    other = layout.image([AMD], stated=AMD64)
    layout.docker.clear()
    layout.name_docker(other, NAME)
    with pytest.raises(IntegrityError, match="has the config"):
        whole(layout)


def test_variants_are_platforms_of_their_own():
    """``arm/v7`` is found by its normal form, ``arm``."""
    built = Built()
    built.entries.append(built.made.image([ARM], "linux/arm/v7", stated=ARM7))
    assert [image.platform for image in whole(built.layout(), *BOTH, "linux/arm").indexes[0].images] == [
        "linux/amd64",
        "linux/arm64",
        "linux/arm/v7",
    ]


def test_an_attestation_as_an_artifact_is_carried():
    """BuildKit 0.21 and later may write an empty config with a copy, an artifact type and a subject."""
    built = Built()
    empty = built.made.put(b"{}", "application/vnd.oci.empty.v1+json")
    empty["data"] = base64.b64encode(b"{}").decode()
    kind = "application/vnd.docker.attestation.manifest.v1+json"
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": kind,
        "config": empty,
        "layers": [built.made.put(b'{"_type": "x"}', "application/vnd.in-toto+json")],
        "subject": {name: built.amd[name] for name in ("mediaType", "digest", "size")},
    }
    entry = built.made.put(to_json(document), MANIFEST_TYPE, **{**_attests(built.amd), "artifactType": kind})
    built.entries.append(entry)
    assert whole(built.layout()).indexes[0].attestations[-1].manifest.digest == entry["digest"]
    document["config"]["data"] = base64.b64encode(b"[]").decode()
    built.entries[-1] = built.made.put(to_json(document), MANIFEST_TYPE, **_attests(built.amd))
    built.made.index.clear()
    with pytest.raises(
        IntegrityError, match=r"cannot be used: 'data' of its config does not have its digest"
    ):
        whole(built.layout())


@pytest.mark.parametrize("said", [None, "", "nothing"])
def test_what_does_not_say_its_media_type_is_what_lists_it_says(said: str | None):
    """The specification says that it should; registries, Docker and skopeo go by the descriptor."""

    def forget(document: dict[str, Any]) -> None:
        del document["mediaType"]
        if said != "nothing":
            document["mediaType"] = said

    (index,) = whole(bend(Built().layout(), "all", forget)).indexes
    assert index.index.media_type == INDEX_TYPE
    manifests = [*(image.manifest for image in index.images), *(each.manifest for each in index.attestations)]
    assert [each and each.media_type for each in manifests] == [MANIFEST_TYPE] * 4


def _bent(which: str, change: Callable[[dict[str, Any]], object], listed_as: str = "") -> OciLayout:
    return bend(Built().layout(), which, change, listed_as)


def _without_type(document: dict[str, Any]) -> None:
    del document["mediaType"]


def _grown(document: dict[str, Any]) -> None:
    """As many annotations as no registry takes."""
    document["annotations"] = {"filler": "x" * (4 << 20)}


def _artifact(document: dict[str, Any]) -> None:
    document["artifactType"] = "application/vnd.example"


def _referrer(document: dict[str, Any]) -> None:
    document["subject"] = {"mediaType": MANIFEST_TYPE, "digest": sha256(b"x"), "size": 1}


def _respelled(document: dict[str, Any]) -> None:
    document["manifests"][0]["platform"]["architecture"] = "x86_64"


def _listed_twice() -> OciLayout:
    return _with(lambda built: {**built.arm, "platform": ARM7})


def _attests(about: dict[str, Any]) -> dict[str, Any]:
    return {
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {
            "vnd.docker.reference.digest": about["digest"],
            "vnd.docker.reference.type": "attestation-manifest",
        },
    }


def _lost(layout: OciLayout, digest: str) -> OciLayout:
    del layout.blobs[digest]
    return layout


def _missing_child() -> OciLayout:
    built = Built()
    return _lost(built.layout(), built.arm["digest"])


def _missing_layer() -> OciLayout:
    built = Built()
    layers = json.loads(built.made.blobs[built.arm["digest"]])["layers"]
    return _lost(built.layout(), layers[1]["digest"])


def _missing_attestation() -> OciLayout:
    built = Built()
    return _lost(built.layout(), built.entries[2]["digest"])


def _with(entry: Callable[[Built], dict[str, Any]]) -> OciLayout:
    built = Built()
    built.entries.append(entry(built))
    return built.layout()


def _nested() -> OciLayout:
    return _with(
        lambda built: {**built.made.nested(built.amd), "platform": {"os": "linux", "architecture": "s390x"}}
    )


def _foreign_layers() -> OciLayout:
    def windows(built: Built) -> dict[str, Any]:
        config = built.made.put(
            to_json(
                {
                    "os": "windows",
                    "architecture": "amd64",
                    "rootfs": {"type": "layers", "diff_ids": [sha256(BASE)]},
                }
            ),
            CONFIG_TYPE,
        )
        layer = {
            **built.made.describe(BASE, FOREIGN),
            "urls": ["https://mcr.microsoft.com/v2/windows/blobs/x"],
        }
        document = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": [layer]}
        return built.made.put(
            to_json(document), MANIFEST_TYPE, platform={"os": "windows", "architecture": "amd64"}
        )

    built = Built()
    built.made.put(BASE)
    built.entries.append(windows(built))
    return built.layout()


def _of_another_image() -> OciLayout:
    return _with(
        lambda built: {**built.entries[2], "annotations": _attests({"digest": sha256(b"x")})["annotations"]}
    )


def _about_another_subject() -> OciLayout:
    def attestation(built: Built) -> dict[str, Any]:
        document = json.loads(built.made.blobs[built.entries[2]["digest"]])
        document["subject"] = {name: built.arm[name] for name in ("mediaType", "digest", "size")}
        return built.made.put(to_json(document), MANIFEST_TYPE, **_attests(built.amd))

    return _with(attestation)


def _flat() -> OciLayout:
    layout = OciLayout()
    for platform, stated in (("linux/amd64", AMD64), ("linux/arm64", ARM64)):
        layout.index.append(layout.image([BASE], platform, stated=stated))
    return layout


WRONG: dict[str, tuple[Callable[[], OciLayout], tuple[str, ...], type[ReleaseError], str]] = {
    "a missing manifest": (
        _missing_child,
        BOTH,
        IntegrityError,
        r"lacks what its index lists: sha256:\w{64} \(linux/arm64\)$",
    ),
    "a missing layer": (
        _missing_layer,
        BOTH,
        IntegrityError,
        r"lacks what its index lists: sha256:\w{64} \(linux/arm64\)$",
    ),
    "a missing attestation": (
        _missing_attestation,
        BOTH,
        IntegrityError,
        r"sha256:\w{64} \(the attestation for sha256:\w{64}\)$",
    ),
    "an index in the index": (_nested, BOTH, IntegrityError, "lists another index, sha256:"),
    "a platform too many": (
        lambda: Built().layout(),
        ("linux/amd64",),
        ConfigurationError,
        "is in the archive for linux/amd64, linux/arm64, expected linux/amd64$",
    ),
    "a platform too few": (
        lambda: Built().layout(),
        (*BOTH, "linux/s390x"),
        ConfigurationError,
        "expected linux/amd64, linux/arm64, linux/s390x$",
    ),
    "two images without an index": (
        _flat,
        BOTH,
        IntegrityError,
        r"index\.json lists several images for one name, for linux/amd64, linux/arm64$",
    ),
    "a platform twice": (
        lambda: _with(lambda b: b.made.image([AMD], stated=AMD64)),
        BOTH,
        IntegrityError,
        "has several manifests for linux/amd64$",
    ),
    "a variant twice": (
        lambda: _with(
            lambda b: b.made.image([ARM], "linux/arm64", stated={"os": "linux", "architecture": "arm64"})
        ),
        BOTH,
        IntegrityError,
        "has several manifests for linux/arm64$",
    ),
    "no platform": (
        lambda: _with(lambda b: b.made.image([AMD])),
        BOTH,
        IntegrityError,
        "states no platform for sha256:",
    ),
    "another platform than the config's": (
        lambda: _with(lambda b: b.made.image([AMD], stated={"os": "linux", "architecture": "s390x"})),
        (*BOTH, "linux/s390x"),
        IntegrityError,
        "the index says linux/s390x, but .* says linux/amd64",
    ),
    "foreign layers": (_foreign_layers, (*BOTH, "windows/amd64"), IntegrityError, "has 'urls'"),
    "an attestation of another image": (_of_another_image, BOTH, IntegrityError, "which is no image in it"),
    "an attestation about another subject": (
        _about_another_subject,
        BOTH,
        IntegrityError,
        "says that it is about",
    ),
    "an attestation for a platform": (
        lambda: _with(lambda b: {**b.entries[2], "platform": {"os": "linux", "architecture": "s390x"}}),
        BOTH,
        IntegrityError,
        "with vnd.docker.reference.type 'attestation-manifest'",
    ),
    "what runs nowhere and attests nothing": (
        lambda: _with(lambda b: {**b.amd, "platform": {"os": "unknown", "architecture": "unknown"}}),
        BOTH,
        IntegrityError,
        "for unknown/unknown with vnd.docker.reference.type None",
    ),
    "Docker's manifest without a media type": (
        lambda: _bent("image", _without_type, DOCKER),
        BOTH,
        IntegrityError,
        r"the manifest sha256:\w{64} cannot be used: it has no 'mediaType', as Docker's formats must",
    ),
    "Docker's index without a media type": (
        lambda: _bent("index", _without_type, DOCKER_LIST),
        BOTH,
        IntegrityError,
        r"the index sha256:\w{64} cannot be used: it has no 'mediaType', as Docker's formats must",
    ),
    "Docker's manifest with layers of OCI": (
        lambda: _bent("image", lambda d: d.update(mediaType=DOCKER), DOCKER),
        BOTH,
        IntegrityError,
        "one of its layers is 'application/vnd.oci.image.layer.v1.tar",
    ),
    "an index that is an artifact": (
        lambda: _bent("index", _artifact),
        BOTH,
        IntegrityError,
        "it has 'artifactType': it is not an image",
    ),
    "an index that refers to an image": (
        lambda: _bent("index", _referrer),
        BOTH,
        IntegrityError,
        "it has 'subject': it is not an image",
    ),
    "an image that is an artifact": (
        lambda: _bent("image", _artifact),
        BOTH,
        IntegrityError,
        "it has 'artifactType': it is not an image",
    ),
    "an attestation of schema 1": (
        lambda: _bent("attestation", lambda d: d.update(schemaVersion=1)),
        BOTH,
        IntegrityError,
        "not a JSON object of schemaVersion 2",
    ),
    "an index larger than registries accept": (
        lambda: _bent("index", _grown),
        BOTH,
        IntegrityError,
        r"the manifest sha256:\w{64} has 4\d{6} bytes, expected at most 4194304, which registries accept$",
    ),
    "an image larger than registries accept": (
        lambda: _bent("image", _grown),
        BOTH,
        IntegrityError,
        r"the manifest sha256:\w{64} has 4\d{6} bytes, expected at most 4194304, which registries accept$",
    ),
    "an attestation larger than registries accept": (
        lambda: _bent("attestation", _grown),
        BOTH,
        IntegrityError,
        r"the manifest sha256:\w{64} has 4\d{6} bytes, expected at most 4194304, which registries accept$",
    ),
    "a platform that only Docker finds": (
        lambda: _bent("index", _respelled),
        BOTH,
        IntegrityError,
        "for linux/x86_64, expected linux/amd64$",
    ),
    "a manifest for two platforms": (
        _listed_twice,
        (*BOTH, "linux/arm/v7"),
        IntegrityError,
        r"twice, the second time for linux/arm/v7$",
    ),
    "another kind of manifest": (
        lambda: _with(lambda b: {**b.amd, "mediaType": "application/vnd.cncf.helm.config.v1+json"}),
        BOTH,
        IntegrityError,
        "of the type 'application/vnd.cncf.helm.config.v1\\+json', not an image",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_refused(case: str):
    """One error says what is wrong with which image, and what to do."""
    make, platforms, kind, message = WRONG[case]
    with pytest.raises(kind, match=message) as caught:
        whole(make(), *platforms)
    assert type(caught.value) is kind
    assert caught.value.hint


def test_every_altered_byte_of_the_layout_is_noticed():
    """Whatever blob is altered, its name no longer fits."""
    layout = Built().layout()
    for digest in layout.blobs:
        members = layout.members()
        altered = bytearray(members[blob_path(digest)])
        altered[512] ^= 1
        members[blob_path(digest)] = bytes(altered)
        reader = ArchiveReader(platforms=BOTH)
        with pytest.raises(IntegrityError):
            reader.feed(join(members))
            reader.finish()


def test_a_hundred_platforms_with_large_attestations_take_little_memory():
    """Attestations of 1 MiB each are not kept, though each may be a document of an image."""
    layout = OciLayout()
    entries, platforms = [], []
    filler = b'{"_type": "https://in-toto.io/Statement/v0.1", "predicate": "' + b"x" * (1 << 20)
    for number in range(100):
        platform = f"linux/cpu{number}"
        stated = {"os": "linux", "architecture": f"cpu{number}"}
        entry = layout.image([layer_tar(platform)], platform, compression="gzip", stated=stated)
        entries += [entry, layout.attestation(entry, filler + f'{number}"}}'.encode())]
        platforms.append(platform)
    layout.name(layout.nested(*entries), NAME)
    reader = ArchiveReader(platforms=platforms, parallel=False)
    members = layout.members()
    tracemalloc.start()
    try:
        for data in members.values():
            reader.feed(data)
        reader.feed(bytes(1024))
        found = reader.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.indexes[0].images) == len(found.indexes[0].attestations) == 100
    assert peak < 16 << 20


def test_an_image_of_ten_thousand_layers_is_read():
    """Its manifest has more than a megabyte."""
    layout = OciLayout()
    layer = layer_tar("one")
    descriptor = layout.put(layer)
    config = to_json(
        {
            "os": "linux",
            "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": [sha256(layer)] * 10_000},
        }
    )
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": layout.put(config, CONFIG_TYPE),
        "layers": [descriptor] * 10_000,
    }
    layout.name(layout.nested(layout.put(to_json(document), MANIFEST_TYPE, platform=AMD64)), NAME)
    (image,) = whole(layout, "linux/amd64").indexes[0].images
    assert len(image.layers) == 10_000


def test_an_index_of_ten_thousand_manifests_is_refused_soon():
    """What is missing is told by its beginning."""
    layout = OciLayout()
    entries = [
        {
            "mediaType": MANIFEST_TYPE,
            "digest": sha256(str(n).encode()),
            "size": 9,
            "platform": {"os": "linux", "architecture": f"cpu{n}"},
        }
        for n in range(10_000)
    ]
    layout.name(
        layout.put(to_json({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}), INDEX_TYPE),
        NAME,
    )
    with pytest.raises(IntegrityError, match=r"and 9995 more$") as caught:
        whole(layout)
    assert len(caught.value.message) < 1000
