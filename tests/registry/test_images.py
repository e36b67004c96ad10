"""Reading images: by tag or digest, in batches, and never without checking the bytes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from jenkins_release.aws import aws_client
from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.oci.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    RawManifest,
    platform_digest,
    read_content,
    read_index,
    sha256_digest,
)
from jenkins_release.registry import EcrRegistry, RepositoryNotFound
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION
from jenkins_release.sandbox.front.front import EcrFront
from tests.fixtures.ecr_push import OCI_CONFIG, OCI_LAYER, Pusher

REPOSITORY = "skydrm/rms"
ABSENT = "sha256:" + "0" * 64
ATTESTATION = {"platform": {"os": "unknown", "architecture": "unknown"}}


@pytest.fixture(autouse=True)
def repository(registry: EcrRegistry) -> None:
    """The repository that the tests use."""
    registry.create_repository(REPOSITORY)


def test_an_image_is_read_by_tag_and_by_digest(registry: EcrRegistry, pusher: Pusher) -> None:
    """Both references give the same image, with everything that its manifest names."""
    pushed = pusher.image(REPOSITORY, "one", "8.1.0")
    found = registry.images(REPOSITORY, ["8.1.0", pushed.digest])
    assert set(found) == {"8.1.0", pushed.digest}
    image = found["8.1.0"]
    assert image == found[pushed.digest]
    assert (image.digest, image.manifest, image.media_type) == (pushed.digest, pushed.manifest, OCI_MANIFEST)
    assert (image.config_digest, image.layers) == (pushed.config_digest, pushed.layers)


def test_a_missing_image_is_left_out(registry: EcrRegistry, pusher: Pusher) -> None:
    """Neither an unknown tag nor an unknown digest is an error."""
    pusher.image(REPOSITORY, "one", "8.1.0")
    assert set(registry.images(REPOSITORY, ["8.1.0", "8.2.0", ABSENT])) == {"8.1.0"}


def test_nothing_is_asked_for_nothing(registry: EcrRegistry, ecr: EcrFront) -> None:
    """An empty list of references costs no call."""
    assert registry.images(REPOSITORY, []) == {}
    assert registry.missing_layers(REPOSITORY, []) == set()
    assert ecr.requests.labels() == ["CreateRepository"]


def test_more_than_a_hundred_references_go_in_several_calls(
    registry: EcrRegistry, ecr: EcrFront, pusher: Pusher
) -> None:
    """ECR takes a hundred identifiers at most; each is asked for once, in order."""
    pusher.image(REPOSITORY, "one", "t0")
    pusher.image(REPOSITORY, "two", "t204")
    tags = [f"t{number}" for number in range(205)]
    assert set(registry.images(REPOSITORY, tags + tags)) == {"t0", "t204"}
    assert ecr.requests.count("BatchGetImage") == 3


def test_no_repository_is_an_error_of_its_own(registry: EcrRegistry) -> None:
    """A missing repository is told from a missing image, and named."""
    for call in (registry.images, registry.missing_layers):
        with pytest.raises(RepositoryNotFound, match="no repository skydrm/none in account 123456789012"):
            call("skydrm/none", [ABSENT])
    with pytest.raises(RepositoryNotFound, match="skydrm/none"):
        registry.repository("skydrm/none")


def test_another_account_has_no_such_repository(ecr: EcrFront) -> None:
    """The configured account is asked, not the one that the credentials happen to belong to."""
    with pytest.raises(RepositoryNotFound, match="account 999988887777"):
        EcrRegistry(REGION, account="999988887777").repository(REPOSITORY)


@pytest.mark.parametrize("change", ["alter", "truncate"])
def test_changed_bytes_are_an_integrity_error_that_names_both_digests(
    registry: EcrRegistry, ecr: EcrFront, pusher: Pusher, change: Any
) -> None:
    """A manifest that does not have the digest ECR gave is never used."""
    pushed = pusher.image(REPOSITORY, "one", "8.1.0")
    fault = Fault(action="BatchGetImage", manifest=change)
    ecr.faults.add(fault)
    with pytest.raises(IntegrityError) as caught:
        registry.images(REPOSITORY, ["8.1.0"])
    assert pushed.digest in caught.value.message
    assert sha256_digest(fault.spoil(pushed.manifest)) in caught.value.message
    assert not caught.value.retryable


def answering(answer: dict[str, Any]) -> EcrRegistry:
    """Return a registry of which the next BatchGetImage is answered as the test says."""
    client = aws_client("ecr", REGION)
    stub = Stubber(client)
    asked = {"repositoryName": ANY, "imageIds": ANY, "acceptedMediaTypes": ANY, "registryId": ACCOUNT}
    stub.add_response("batch_get_image", answer, asked)
    stub.activate()
    return EcrRegistry(REGION, account=ACCOUNT, client=client)


def test_another_image_than_the_one_asked_for_is_an_integrity_error(ecr: EcrFront) -> None:
    """Asked by digest, a sound manifest with another digest is refused; the message names both."""
    other = b"{}"
    image = {"imageId": {"imageDigest": sha256_digest(other)}, "imageManifest": "{}"}
    with pytest.raises(IntegrityError) as caught:
        answering({"images": [image], "failures": []}).images(REPOSITORY, [ABSENT])
    assert ABSENT in caught.value.message
    assert sha256_digest(other) in caught.value.message


def test_an_answer_that_leaves_an_image_out_is_not_taken_for_a_missing_one(ecr: EcrFront) -> None:
    """Only ECR saying ImageNotFound makes an image missing."""
    with pytest.raises(RemoteError, match=r"leaves out 8\.1\.0") as caught:
        answering({"images": [], "failures": []}).images(REPOSITORY, ["8.1.0"])
    assert caught.value.retryable


def test_any_other_failure_of_one_image_is_an_error(ecr: EcrFront) -> None:
    """A failure such as KmsError is not taken for a missing image."""
    failure = {"imageId": {"imageTag": "8.1.0"}, "failureCode": "KmsError", "failureReason": "no key"}
    with pytest.raises(RemoteError, match="KmsError: no key"):
        answering({"images": [], "failures": [failure]}).images(REPOSITORY, ["8.1.0"])


def test_an_index_is_followed_to_its_only_platform(registry: EcrRegistry, pusher: Pusher) -> None:
    """The index is the image; config and layers come from the platform's manifest, attestations aside."""
    real, proof = pusher.image(REPOSITORY, "real"), pusher.image(REPOSITORY, "attestation")
    entries = [proof.descriptor("linux/amd64") | ATTESTATION, real.descriptor("linux/amd64")]
    digest = pusher.index(REPOSITORY, "8.1.0", entries)
    image = registry.images(REPOSITORY, ["8.1.0"])["8.1.0"]
    assert (image.digest, image.media_type) == (digest, OCI_INDEX)
    assert (image.config_digest, image.layers) == (real.config_digest, real.layers)


@pytest.mark.parametrize(
    ("platforms", "found"),
    [
        (["linux/amd64", "linux/arm64"], ("linux/amd64", "linux/arm64")),
        (["unknown/unknown"], ()),
    ],
)
def test_an_index_for_anything_else_is_no_image_of_that_platform(
    registry: EcrRegistry, pusher: Pusher, platforms: list[str], found: tuple[str, ...]
) -> None:
    """More than one real platform, the wrong one, or none: it has no config, and says what it lists."""
    images = [pusher.image(REPOSITORY, each) for each in platforms]
    entries = [image.descriptor(each) for image, each in zip(images, platforms, strict=True)]
    pusher.index(REPOSITORY, "8.1.0", entries)
    image = registry.images(REPOSITORY, ["8.1.0"])["8.1.0"]
    assert (image.content, image.config_digest, image.layers) == (None, None, ())
    assert image.platforms == found
    assert [each.digest for each in image.listed] == [each.digest for each in images]
    assert {*image.blobs} == {digest for each in images for digest in (each.config_digest, *each.layers)}


def test_a_changed_manifest_below_an_index_is_refused(
    registry: EcrRegistry, ecr: EcrFront, pusher: Pusher
) -> None:
    """The platform's manifest is checked like any other."""
    pusher.index(REPOSITORY, "8.1.0", [pusher.image(REPOSITORY, "real").descriptor("linux/amd64")])
    ecr.faults.add(Fault(action="BatchGetImage", skip=1, manifest="alter"))
    with pytest.raises(IntegrityError, match="the manifest has the digest"):
        registry.images(REPOSITORY, ["8.1.0"])


def test_missing_layers_are_those_that_the_repository_lacks(
    registry: EcrRegistry, ecr: EcrFront, pusher: Pusher
) -> None:
    """Layers of another repository do not count; more than a hundred go in several calls."""
    registry.create_repository("skydrm/other")
    here = pusher.blob(REPOSITORY, b"here")["digest"]
    elsewhere = pusher.blob("skydrm/other", b"elsewhere")["digest"]
    absent = [f"sha256:{number:064x}" for number in range(150)]
    asked = [*absent, here, elsewhere]
    assert registry.missing_layers(REPOSITORY, asked) == {*absent, elsewhere}
    assert ecr.requests.count("BatchCheckLayerAvailability") == 2


def test_a_digest_that_ecr_does_not_accept_is_an_error(registry: EcrRegistry) -> None:
    """A failure inside the answer is not taken for a missing layer."""
    with pytest.raises(RemoteError, match="InvalidLayerDigest"):
        registry.missing_layers(REPOSITORY, ["sha256:short"])


def raw(document: Any, media_type: str = OCI_MANIFEST) -> RawManifest:
    """Return a manifest as it would come from the registry."""
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return RawManifest(sha256_digest(data), media_type, data)


def descriptor(size: Any = 1, digest: Any = ABSENT, kind: Any = OCI_LAYER, **more: Any) -> dict[str, Any]:
    """Return a descriptor."""
    return {"mediaType": kind, "digest": digest, "size": size, **more}


SOUND = {
    "schemaVersion": 2,
    "mediaType": OCI_MANIFEST,
    "config": descriptor(kind=OCI_CONFIG),
    "layers": [descriptor(2)],
}
SOUND_INDEX = {
    "schemaVersion": 2,
    "mediaType": OCI_INDEX,
    "manifests": [
        descriptor(kind=OCI_MANIFEST, platform={"os": "linux", "architecture": "arm64", "variant": "v8"})
    ],
}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"not json", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"\xef\xbb\xbf" + json.dumps(SOUND).encode(), "not valid JSON"),
        (json.dumps(SOUND).encode() + b"{}", "not valid JSON"),
        (json.dumps(SOUND).encode().replace(b"{", b'{"a": "\xff",', 1), "not UTF-8"),
        (SOUND | {"a": "\ud800"}, "surrogate"),
        (SOUND | {"annotations": {"\udfff": "a"}}, "surrogate"),
        (b"[]", "not a JSON object"),
        (SOUND | {"schemaVersion": 1}, "schemaVersion 2"),
        (json.dumps(SOUND).encode()[:-1] + b', "config": {}}', "'config' occurs twice"),
        (SOUND | {"schemaVersion": 2.0}, "'schemaVersion' of the document is 2.0, expected a whole number"),
        (SOUND | {"schemaVersion": "2"}, "schemaVersion 2"),
        (SOUND | {"manifests": []}, "'manifests', which belongs to another kind"),
        (SOUND | {"fsLayers": []}, "'fsLayers', which belongs to another kind"),
        (SOUND | {"mediaType": DOCKER_MANIFEST}, "it says"),
        (SOUND | {"layers": None}, "no 'layers', expected a list"),
        (SOUND | {"layers": {}}, "expected a list"),
        (SOUND | {"layers": [descriptor(-1)]}, "a size of -1"),
        (SOUND | {"layers": [descriptor(True)]}, "expected a whole number"),
        (SOUND | {"layers": [descriptor("2")]}, "expected a whole number"),
        (SOUND | {"layers": [descriptor(2.0)]}, "expected a whole number"),
        (json.dumps(SOUND).encode().replace(b'"size": 2', b'"size": 2e0'), "expected a whole number"),
        (SOUND | {"layers": [descriptor(2**63)]}, "expected a whole number"),
        (SOUND | {"layers": [descriptor(kind="application/octet-stream")]}, "one of its layers is"),
        (SOUND | {"layers": [descriptor(urls=["https://example.com/"])]}, "'urls'"),
        (SOUND | {"layers": [descriptor(data="eA==")]}, "'data'"),
        (SOUND | {"config": descriptor(digest="sha256:ABC", kind=OCI_CONFIG)}, "not a sha256 digest"),
        (SOUND | {"config": descriptor(digest=ABSENT.upper(), kind=OCI_CONFIG)}, "not a sha256 digest"),
        (SOUND | {"config": descriptor(kind="application/json")}, "its config is"),
        (SOUND | {"config": None}, "no 'config'"),
        (SOUND | {"subject": descriptor()}, "it is not an image"),
        (SOUND | {"artifactType": "application/example"}, "it is not an image"),
        (SOUND | {"Config": descriptor()}, "'Config' instead of 'config'"),
        (SOUND | {"layer\u017f": []}, "instead of 'layers'"),
        (SOUND | {"Manifests": []}, "'Manifests' instead of 'manifests'"),
        (SOUND | {"layers": [descriptor() | {"Digest": ABSENT}]}, "'Digest' instead of 'digest'"),
        (SOUND | {"layers": [descriptor() | {"\u017fize": 3}]}, "instead of 'size'"),
        (SOUND | {"annotations": {"a": 1}}, "expected a string"),
    ],
)
def test_a_malformed_manifest_is_an_integrity_error(document: Any, why: str) -> None:
    """Nothing is read from a manifest that two readers could understand differently."""
    with pytest.raises(IntegrityError, match=why):
        read_content(raw(document), "skydrm/rms 8.1.0")


@pytest.mark.parametrize("compression", ["", "+gzip", "+zstd"])
def test_a_layer_of_oci_in_a_manifest_of_docker_is_refused(compression: str) -> None:
    """Docker pulls it; skopeo and Podman do not."""
    document = SOUND | {
        "mediaType": DOCKER_MANIFEST,
        "layers": [descriptor(kind=f"application/vnd.oci.image.layer.v1.tar{compression}")],
    }
    with pytest.raises(IntegrityError, match="one of its layers is"):
        read_content(raw(document, DOCKER_MANIFEST), "skydrm/rms 8.1.0")


@pytest.mark.parametrize("said", [{}, {"mediaType": None}, {"mediaType": ""}])
def test_a_media_type_may_be_missing_in_ocis_formats(said: dict[str, Any]) -> None:
    """The registry says it; Docker's own formats are not taken by registries without it."""
    sound = {name: value for name, value in SOUND.items() if name != "mediaType"} | said
    assert read_content(raw(sound), "x") == read_content(raw(SOUND), "x")
    index = {name: value for name, value in SOUND_INDEX.items() if name != "mediaType"} | said
    assert platform_digest(raw(index, OCI_INDEX), "linux/arm64", "x") == (ABSENT, 1)
    for document, kind in ((sound, DOCKER_MANIFEST), (index, DOCKER_LIST)):
        read = read_content if kind == DOCKER_MANIFEST else read_index
        with pytest.raises(IntegrityError, match=f"has no 'mediaType', as .* sent as '{re.escape(kind)}'"):
            read(raw(document, kind), "skydrm/rms 8.1.0")


def test_an_unknown_media_type_is_refused() -> None:
    """Something that is not an image is not read as one."""
    with pytest.raises(IntegrityError, match="not that of an image manifest"):
        read_content(raw(SOUND, "application/vnd.example"), "skydrm/rms 8.1.0")


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (SOUND_INDEX | {"layers": []}, "'layers', which belongs to another kind"),
        ({"schemaVersion": 2}, "no 'manifests'"),
        (SOUND_INDEX | {"manifests": [descriptor()]}, "it lists .* for an unstated platform"),
        (SOUND_INDEX | {"manifests": [descriptor(kind=OCI_MANIFEST)]}, "an unstated platform"),
        (SOUND_INDEX | {"manifests": ["x"]}, "expected an object"),
        (SOUND_INDEX | {"Manifests": []}, "'Manifests' instead of 'manifests'"),
    ],
)
def test_a_malformed_index_is_an_integrity_error(document: Any, why: str) -> None:
    """An index has to say which platform each manifest is for."""
    with pytest.raises(IntegrityError, match=why):
        platform_digest(raw(document, OCI_INDEX), "linux/amd64", "skydrm/rms 8.1.0")


@pytest.mark.parametrize(
    ("found", "wanted", "matches"),
    [
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64/v8", "linux/arm64/v8", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm64/v8", "linux/arm64/v7", False),
        ("linux/arm/v7", "linux/arm", True),
        ("linux/arm/v6", "linux/arm", False),
        ("linux/arm/v6", "linux/arm/v6", True),
        ("linux/amd64/v3", "linux/amd64", False),
        ("linux/amd64/v3", "linux/amd64/v3", True),
        ("linux/amd64/windows", "linux/amd64", False),
        ("LINUX/amd64", "linux/amd64", False),
    ],
)
def test_only_the_usual_variant_may_be_left_out(found: str, wanted: str, matches: bool) -> None:
    """Docker and skopeo do not pull another one, nor one that is spelled in another way."""
    parts = dict(zip(("os", "architecture", "variant"), found.split("/"), strict=False))
    document = SOUND_INDEX | {"manifests": [descriptor(kind=OCI_MANIFEST, platform=parts)]}
    if matches:
        assert platform_digest(raw(document, OCI_INDEX), wanted, "x") == (ABSENT, 1)
    else:
        with pytest.raises(IntegrityError, match=f"holds {found}, expected"):
            platform_digest(raw(document, OCI_INDEX), wanted, "x")


def test_an_index_whose_manifest_has_another_size_is_refused(registry: EcrRegistry, pusher: Pusher) -> None:
    """What an index says of its manifest has to be true in every respect."""
    entry = pusher.image(REPOSITORY, "real").descriptor("linux/amd64")
    pusher.index(REPOSITORY, "8.1.0", [entry | {"size": entry["size"] + 1}])
    with pytest.raises(IntegrityError, match="which ECR does not hold"):
        registry.images(REPOSITORY, ["8.1.0"])
