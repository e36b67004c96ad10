"""OCI layout archives: Docker 25 and later on either image store, BuildKit, skopeo."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jenkins_release.base.errors import ConfigurationError, IntegrityError
from tests.fixtures.archives import (
    CONFIG_TYPE,
    MANIFEST_TYPE,
    OciLayout,
    blob_path,
    config_json,
    join,
    layer_tar,
    member,
    read,
    sha256,
    to_json,
)
from tests.fixtures.damage import flipped

BASE, OWN, ARM = layer_tar("base"), layer_tar("own"), layer_tar("arm")
NAME = "skydrm/rms:8.1.0-42"
AMD64 = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64", "variant": "v8"}


def classic(*, compression: str = "none") -> OciLayout:
    """What Docker 25 writes from its classic store: both documents, no nested index."""
    layout = OciLayout()
    image = layout.image([BASE, OWN], compression=compression)
    layout.name(image, NAME)
    layout.name_docker(image, NAME)
    return layout


def multi_platform(*, with_arm: bool = True) -> OciLayout:
    """What Docker writes from the containerd store: an index with platforms and attestations."""
    layout = OciLayout()
    amd = layout.image([BASE, OWN], stated=AMD64)
    others = OciLayout() if not with_arm else layout
    arm = others.image([ARM], "linux/arm64/v8", stated=ARM64)
    layout.name(layout.nested(amd, arm, layout.attestation(amd)), NAME)
    layout.name_docker(amd, NAME)
    return layout


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_identity_does_not_depend_on_compression(compression):
    """Config digest and diff_ids are the same however the layers are stored."""
    data = join(classic(compression=compression).members())
    (image,) = read(data).images
    assert image.references == (NAME,)
    assert image.config_digest == sha256(config_json([BASE, OWN]))
    assert image.diff_ids == (sha256(BASE), sha256(OWN))
    for layer in image.layers:
        assert layer.compression == compression
        assert sha256(data[layer.offset :][: layer.size]) == layer.digest


@pytest.mark.parametrize("step", [1, 7, 511, 512, 513])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_chunk_size_does_not_matter(compression, step):
    """Also decompression gives the same whatever pieces the stream comes in."""
    data = join(classic(compression=compression).members())
    assert read(data, step=step) == read(data)


def test_platform_is_chosen_from_a_nested_index():
    """The configured platform wins; attestations are no platform."""
    data = join(multi_platform().members())
    assert read(data).images[0].diff_ids == (sha256(BASE), sha256(OWN))
    assert read(data).others == (sha256(config_json([ARM], "linux/arm64/v8")),)
    arm = read(data, "linux/arm64").images[0]
    assert (arm.diff_ids, arm.platform) == ((sha256(ARM),), "linux/arm64")


def test_platforms_whose_blobs_are_absent_may_be_listed():
    """A pulled image lists all platforms; the archive holds the one that was pulled."""
    data = join(multi_platform(with_arm=False).members())
    assert read(data).images[0].platform == "linux/amd64"
    assert read(data, None).images[0].platform == "linux/amd64"
    with pytest.raises(ConfigurationError, match="linux/arm64 is listed, but its content is missing"):
        read(data, "linux/arm64/v8")


def test_missing_platform_is_a_matter_of_configuration():
    """The error names the platforms that there are."""
    data = join(multi_platform().members())
    with pytest.raises(ConfigurationError, match="holds linux/amd64, linux/arm64"):
        read(data, "linux/s390x")
    with pytest.raises(ConfigurationError, match="for linux/amd64, linux/arm64"):
        read(data, None)


def test_layout_without_manifest_json_is_understood():
    """BuildKit and skopeo write the OCI layout alone, skopeo with another annotation."""
    layout = OciLayout()
    layout.name(layout.image([BASE]), "library/base:1")
    layout.name(layout.image([OWN]), "registry.example.com/own:1")
    layout.index.append(
        {**layout.image([ARM]), "annotations": {"org.opencontainers.image.ref.name": "skydrm/arm:1"}}
    )
    layout.index.append(
        {**layout.image([ARM, OWN]), "annotations": {"org.opencontainers.image.ref.name": "1"}}
    )
    references = [image.references for image in read(join(layout.members())).images]
    assert references == [("base:1",), ("registry.example.com/own:1",), ("skydrm/arm:1",), ()]


def test_index_and_manifest_must_name_the_same_config():
    """One reference, two configs: which one is loaded would depend on the Docker version."""
    layout = OciLayout()
    layout.name(layout.image([BASE]), NAME)
    layout.name_docker(layout.image([OWN]), NAME)
    with pytest.raises(IntegrityError, match=f"{NAME} has the config sha256:.* in manifest.json"):
        read(join(layout.members()))


@pytest.mark.parametrize("missing", ["manifest.json", "index.json"])
def test_index_and_manifest_must_name_the_same_images(missing):
    """An image that only one of the documents names is refused, by name."""
    layout = classic()
    other = layout.image([ARM])
    if missing == "manifest.json":
        layout.name(other, "skydrm/viewer:1")
    else:
        layout.name_docker(other, "skydrm/viewer:1")
    with pytest.raises(IntegrityError, match=f"names skydrm/viewer:1, but {missing} does not"):
        read(join(layout.members()))


@pytest.mark.parametrize("content", [b"null", b"[]", b""])
def test_empty_manifest_of_docker_25_is_refused(content):
    """Moby #47065 and #47210: nothing would be loaded."""
    members = classic().members()
    members["manifest.json"] = member("manifest.json", content)
    with pytest.raises(IntegrityError, match=r"manifest.json"):
        read(join(members))


def test_empty_index_is_refused():
    """A layout that lists nothing holds no images."""
    layout = OciLayout()
    layout.image([BASE])
    with pytest.raises(IntegrityError, match=r"index.json lists no images"):
        read(join(layout.members()))


def test_every_missing_blob_is_named():
    """Moby #49473: a shared blob can be missing; the error says which."""
    layout = classic()
    for digest in layout.blobs:
        members = layout.members()
        del members[blob_path(digest)]
        with pytest.raises(IntegrityError, match=digest.removeprefix("sha256:")) as caught:
            read(join(members))
        assert "not in the archive" in caught.value.message


def test_every_altered_blob_is_named():
    """A blob whose bytes do not match its name is refused, whatever it is."""
    layout = classic()
    for digest, data in layout.blobs.items():
        members = layout.members()
        members[blob_path(digest)] = member(blob_path(digest), flipped(data, -1))
        with pytest.raises(IntegrityError, match=f"{digest[7:]} do not match its name"):
            read(join(members))


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ([BASE], "lists 1 layers, but its config .* has 2 diff_ids"),
        ([BASE, OWN, ARM], "lists 3 layers, but its config .* has 2 diff_ids"),
        ([BASE, ARM], "layer 2 of .* is not in the config: expected sha256:.*, found sha256:"),
        ([OWN, BASE], "layer 1 of .* is not in the config"),
    ],
)
def test_layers_must_be_the_configs(stored, message):
    """Too few, too many, foreign or swapped layers are refused."""
    layout = OciLayout()
    document = {
        "schemaVersion": 2,
        "config": layout.put(config_json([BASE, OWN]), "application/vnd.oci.image.config.v1+json"),
        "layers": [layout.put(layer) for layer in stored],
    }
    layout.name(layout.put(to_json(document), MANIFEST_TYPE), NAME)
    with pytest.raises(IntegrityError, match=message):
        read(join(layout.members()))


def test_stated_platform_must_be_the_configs():
    """An index that calls an arm64 image amd64 is refused."""
    layout = OciLayout()
    layout.name(layout.image([BASE], "linux/arm64", stated=AMD64), NAME)
    with pytest.raises(IntegrityError, match=r"the index says linux/amd64, but .* says linux/arm64"):
        read(join(layout.members()))


def test_two_manifests_for_one_platform_are_refused():
    """The choice between them would be a guess."""
    layout = OciLayout()
    images = [layout.image([layer], stated=AMD64) for layer in (BASE, OWN)]
    layout.name(layout.nested(*images), NAME)
    with pytest.raises(IntegrityError, match="several manifests for linux/amd64"):
        read(join(layout.members()))


UNKNOWN = {"os": "unknown", "architecture": "unknown"}


def _image_of(layout: OciLayout, config_type: str = CONFIG_TYPE) -> dict[str, Any]:
    """Store an image whose config has the given type."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": layout.put(config_json([OWN]), config_type),
        "layers": [layout.put(OWN)],
    }
    return layout.put(to_json(document), MANIFEST_TYPE)


def test_a_name_for_what_runs_nowhere_is_refused():
    """Skopeo and containerd take it by its name, whatever platform the index states."""
    for first in (True, False):
        layout = OciLayout()
        layout.name(layout.image([BASE]), NAME)
        layout.name({**layout.image([OWN]), "platform": UNKNOWN}, NAME)
        if first:
            layout.index.reverse()
        with pytest.raises(IntegrityError, match=r"entry [12] of index.json is an image for no platform"):
            read(join(layout.members()))


def test_an_index_that_runs_nowhere_is_refused():
    """Docker would load it under its name."""
    layout = OciLayout()
    layout.name(layout.image([BASE]), NAME)
    layout.name(layout.nested({**layout.image([OWN]), "platform": UNKNOWN}), "skydrm/other:1")
    with pytest.raises(IntegrityError, match=r"entry 2 of index.json is an image for no platform"):
        read(join(layout.members()))


@pytest.mark.parametrize("options", [{}, {"platforms": ["linux/amd64"]}])
@pytest.mark.parametrize("wrong", [{}, [], 1, True])
def test_a_document_whose_media_type_is_no_text_is_refused(wrong: Any, options: dict[str, Any]):
    """Whatever it is instead, in a manifest and in an index."""
    for index in (True, False):
        layout = OciLayout()
        entry = layout.image([BASE], stated=AMD64)
        if index:
            entry = layout.nested(entry)
        document = json.loads(layout.blobs.pop(entry["digest"]))
        changed = layout.put(to_json({**document, "mediaType": wrong}), entry["mediaType"])
        layout.name(changed, NAME)
        with pytest.raises(IntegrityError, match=r"mediaType|says that it is"):
            read(join(layout.members()), **options)


@pytest.mark.parametrize("stated", [AMD64, None], ids=["platform", "no platform"])
def test_a_manifest_behind_another_media_type_is_refused(stated):
    """Skopeo goes by the platform, and finds out by itself what kind of document it is."""
    layout = OciLayout()
    evil, good = _image_of(layout), layout.image([BASE], stated=AMD64)
    hidden = {**evil, "mediaType": "application/x-other", **({"platform": stated} if stated else {})}
    layout.name(layout.nested(hidden, good, {**evil, "platform": UNKNOWN}), NAME)
    with pytest.raises(IntegrityError, match="of the type 'application/x-other', not an image"):
        read(join(layout.members()))


@pytest.mark.parametrize("stated", [AMD64, None], ids=["platform", "no platform"])
def test_a_manifest_whose_config_is_of_another_type_is_refused(stated):
    """Programs differ in whether they look at the type."""
    layout = OciLayout()
    evil, good = _image_of(layout, "application/x-config"), layout.image([BASE], stated=AMD64)
    layout.name(layout.nested({**evil, **({"platform": stated} if stated else {})}, good), NAME)
    with pytest.raises(IntegrityError, match="its config is 'application/x-config', not an image's"):
        read(join(layout.members()))


def test_document_that_is_both_index_and_image_is_refused():
    """CVE-2021-41190: two programs would see two different images."""
    layout = OciLayout()
    image = layout.image([BASE])
    document = json.loads(layout.blobs[image["digest"]]) | {"manifests": []}
    layout.name(layout.put(to_json(document), MANIFEST_TYPE), NAME)
    with pytest.raises(IntegrityError, match="'manifests', which belongs to another kind"):
        read(join(layout.members()))


def test_indexes_inside_one_another_are_bounded():
    """Depth is limited, so that a document cannot keep the reader busy."""
    layout = OciLayout()
    descriptor = layout.image([BASE], stated=AMD64)
    for _ in range(6):
        descriptor = layout.nested(descriptor)
    layout.name(descriptor, NAME)
    with pytest.raises(IntegrityError, match="too many nested indexes"):
        read(join(layout.members()))


def test_wrong_size_in_a_descriptor_is_refused():
    """A descriptor states digest and size; both must be right."""
    layout = OciLayout()
    image = layout.image([BASE])
    layout.name({**image, "size": image["size"] + 1}, NAME)
    with pytest.raises(IntegrityError, match=r"a size of \d+ bytes, found \d+"):
        read(join(layout.members()))


def test_unknown_layout_version_is_refused():
    """A later layout may mean something else by the same names."""
    members = classic().members()
    members["oci-layout"] = member("oci-layout", to_json({"imageLayoutVersion": "2.0.0"}))
    with pytest.raises(IntegrityError, match=r"'2.0.0', expected '1.0.0'"):
        read(join(members))
