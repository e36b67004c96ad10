"""Promotion without a Docker daemon: what is read, what is sent, and what customers get."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jenkins_release.images import DockerEngine
from jenkins_release.oci.manifests import sha256_digest
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.front.server import EcrServer
from jenkins_release.sandbox.sample_images import build_images
from jenkins_release.steps.promotion import blob_source
from tests.fixtures.damage import flip
from tests.fixtures.release import SERVICES, WITHOUT_DAEMON, Product, another_registry

GZIP = pytest.mark.parametrize("way", ["registry, gzip"], indirect=True)
PLAIN = pytest.mark.parametrize("way", ["registry, plain"], indirect=True)
BASE, OWN = 12 << 20, 6 << 20


@pytest.fixture
def daemonless(validated: Product) -> Product:
    """A candidate of the demo images, signed off; no Docker daemon can be reached from here on."""
    validated.environ["DOCKER_HOST"] = f"unix://{validated.folder}/no.sock"
    validated.sandbox.ecr.forget_requests()
    return validated


def record(product: Product, ident: str = "8.1.0/42") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((product.candidate(ident) / "candidate.json").read_text())
    return found


def uploaded(product: Product) -> int:
    """Bytes of blobs that the product's repositories took."""
    return sum(
        request.received
        for request in product.sandbox.ecr.requests()
        if request.method == "PATCH" and request.repository.startswith(product.prefix)
    )


def manifests(product: Product, tag: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return image name to digest and manifest in the registry."""
    found = {}
    for name in SERVICES:
        answer = product.client().batch_get_image(
            repositoryName=f"{product.prefix}/{name}", imageIds=[{"imageTag": tag}]
        )
        (image,) = answer["images"]
        found[name] = (image["imageId"]["imageDigest"], json.loads(image["imageManifest"]))
    return found


@WITHOUT_DAEMON
def test_no_daemon_is_needed_and_the_config_digests_are_those_of_qa(daemonless: Product):
    """Customers get the images that were validated, whatever brought them there."""
    daemonless.ok("promote", "run", "8.1.0/42")
    images = {image["name"]: image for image in record(daemonless)["images"]}
    for name, (_, manifest) in manifests(daemonless, "8.1.0").items():
        assert manifest["config"]["digest"] == images[name]["config_digest"]
        assert len(manifest["layers"]) == len(images[name]["layers"])


@GZIP
def test_the_registry_ends_with_the_manifest_that_was_fixed_at_the_export(daemonless: Product):
    """QA signs the very digest that customers pull."""
    fixed = {image["name"]: image["manifest"] for image in record(daemonless)["images"]}
    daemonless.ok("promote", "run", "8.1.0/42")
    for name, (digest, _) in manifests(daemonless, "8.1.0").items():
        assert digest == fixed[name]["digest"] == sha256_digest(fixed[name]["data"].encode())


@WITHOUT_DAEMON
def test_what_was_released_can_be_pulled_and_run(daemonless: Product, engine: DockerEngine):
    """A daemon accepts every layer, and finds the config digest."""
    daemonless.ok("promote", "run", "8.1.0/42")
    login = _login(daemonless)
    for image in record(daemonless)["images"]:
        target = f"{daemonless.sandbox.ecr.host}/{daemonless.prefix}/{image['name']}"
        client = engine._client(streaming=True)
        told = [*client.pull(target, "8.1.0", auth_config=login, stream=True, decode=True)]
        assert not [line for line in told if "error" in line]
        assert engine.config_digest(f"{target}:8.1.0") == image["config_digest"]
        engine.untag(f"{target}:8.1.0")


def _login(product: Product) -> dict[str, str]:
    import base64

    data = product.client().get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    return {"username": user, "password": password}


@GZIP
def test_a_patch_sends_only_what_is_new_and_the_plan_says_how_much(product: Product, engine: DockerEngine):
    """The shared base is there from the release before; the forecast is what is sent, to the byte."""
    for build in ("1", "2"):
        # The base layer is the same in both builds, each image's own layer is not.
        build_images(
            engine, "8.1.0" if build == "1" else "8.1.1", build, names=SERVICES, base_size=BASE, own_size=OWN
        )
    product.ok("candidate", "export", "--version", "8.1.0", "--build", "1")
    product.sign_off("8.1.0/1")
    first = product.ok("promote", "plan", "8.1.0/1")["images"]
    product.sandbox.ecr.forget_requests()
    product.ok("promote", "run", "8.1.0/1")
    assert all(image["push_exact"] for image in first)
    assert uploaded(product) == sum(image["push_bytes"] for image in first)
    assert uploaded(product) > len(SERVICES) * BASE

    product.ok("candidate", "export", "--version", "8.1.1", "--build", "2")
    product.sign_off("8.1.1/2")
    second = product.ok("promote", "plan", "8.1.1/2")["images"]
    product.sandbox.ecr.forget_requests()
    product.ok("promote", "run", "8.1.1/2")
    assert uploaded(product) == sum(image["push_bytes"] for image in second)
    own = len(SERVICES) * OWN
    assert own < uploaded(product) < own + BASE / 2


@GZIP
def test_nothing_is_read_from_the_archive_when_the_registry_has_every_layer(daemonless: Product, monkeypatch):
    """A second build of the same images is released by its manifests daemonless."""
    daemonless.ok("promote", "run", "8.1.0/42")
    daemonless.edit("[ecr]\n", '[ecr]\ntags = ["{version}-{build}"]\n')
    monkeypatch.setattr(blob_source.BlobSource, "pieces", _never)
    daemonless.sandbox.ecr.forget_requests()
    daemonless.ok("promote", "run", "8.1.0/42")
    assert uploaded(daemonless) == 0


def _never(self: object) -> Iterator[bytes]:
    raise AssertionError("a layer was read")


@WITHOUT_DAEMON
@pytest.mark.parametrize("where", ["layer", "config"])
def test_altered_bytes_never_reach_a_manifest(daemonless: Product, where: str):
    """The blob is not finished, no manifest is pushed, and the archive is named."""
    image = record(daemonless)["images"][0]
    tar = daemonless.candidate() / image["archive"]
    place = image["layers"][0]["offset"] + 5000 if where == "layer" else image["config_offset"] + 20
    flip(tar, place)
    done = daemonless.run("promote", "run", "8.1.0/42")
    assert done.status == 4, done.text
    assert "skydrm-8.1.0-42.tar" in done.err
    assert "do not use this candidate" in done.text
    assert not [r for r in daemonless.sandbox.ecr.requests() if r.method == "PUT" and "/manifests/" in r.path]
    spoiled = image["layers"][0] if where == "layer" else {"digest": image["config_digest"]}
    for request in daemonless.sandbox.ecr.requests():
        if request.method == "PUT":
            assert request.query["digest"] != spoiled["digest"]
    flip(tar, place)
    daemonless.ok("promote", "run", "8.1.0/42")


@PLAIN
@pytest.mark.parametrize("same", [True, False], ids=["same compressor", "another compressor"])
def test_a_recorded_compressed_digest_proves_a_plain_layer(product: Product, monkeypatch, same: bool):
    """Where this machine makes other bytes of a layer, its plain bytes are hashed and decide."""
    product.environ["JENKINS_RELEASE_EXPORT_GZIP_DIGESTS"] = "true"
    product.export()
    product.sign_off()
    if not same:
        monkeypatch.setattr("jenkins_release.images.gzip_blocks.LEVEL", 2)
    again = []
    prove = blob_source.BlobSource._prove_again
    monkeypatch.setattr(blob_source.BlobSource, "_prove_again", lambda self: again.append(1) or prove(self))
    product.ok("promote", "run", "8.1.0/42")
    recorded = {layer["gzip"]["digest"] for image in record(product)["images"] for layer in image["layers"]}
    released = {
        layer["digest"] for _, found in manifests(product, "8.1.0").values() for layer in found["layers"]
    }
    assert (released == recorded) is same
    assert bool(again) is not same


@pytest.fixture
def lending(tmp_path: Path, product: Product, monkeypatch: pytest.MonkeyPatch) -> Iterator[EcrServer]:
    """An ECR whose account opted in to blob mounting, in place of the sandbox's own."""
    with another_registry(tmp_path, monkeypatch, blob_mounting=True) as front:
        product.environ |= front.environment()
        yield front


@GZIP
def test_a_shared_layer_is_sent_once_where_the_registry_mounts(
    product: Product, lending: EcrServer, engine: DockerEngine
):
    """The plan counts it once too."""
    build_images(engine, "8.1.0", "7", names=SERVICES, base_size=BASE, own_size=1 << 16)
    product.ok("candidate", "export", "--version", "8.1.0", "--build", "7")
    product.sign_off("8.1.0/7")
    planned = product.ok("promote", "plan", "8.1.0/7")["images"]
    product.ok("promote", "run", "8.1.0/7")
    sent = sum(r.received for r in lending.requests() if r.method == "PATCH")
    assert sent == sum(image["push_bytes"] for image in planned)
    assert BASE < sent < 2 * BASE
    mounts = [r for r in lending.requests() if "mount" in r.query]
    assert {r.status for r in mounts} == {201}
    assert len(mounts) == len(SERVICES) - 1


@GZIP
def test_a_mount_whose_answer_was_lost_is_looked_up(
    product: Product, lending: EcrServer, engine: DockerEngine
):
    """The registry is asked whether it holds the layer: nothing is mounted or sent again."""
    build_images(engine, "8.1.0", "7", names=SERVICES, base_size=BASE, own_size=1 << 16)
    product.environ["JENKINS_RELEASE_PROMOTE_WORKERS"] = "1"
    product.ok("candidate", "export", "--version", "8.1.0", "--build", "7")
    product.sign_off("8.1.0/7")
    # The shared layer is the largest and so the first: what follows it are its mounts.
    fault = Fault(
        method="POST", path="/blobs/uploads/", after="PUT .*/blobs/uploads/.*", reset_response_after=0
    )
    lending.order(fault)
    product.ok("promote", "run", "8.1.0/7")
    assert lending.pending_faults() == []
    mounts = [r.repository for r in lending.requests() if "mount" in r.query]
    assert len(mounts) == len(set(mounts)) == len(SERVICES) - 1
    asked = [r for r in lending.requests() if r.method == "HEAD" and "/blobs/" in r.path]
    assert [r.repository for r in asked] == mounts[:1]
