"""Attacks on how documents are read: what is proven here has to be what Docker and skopeo read."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tarfile

import pytest

from jenkins_release.base.errors import IntegrityError
from jenkins_release.images import DockerEngine
from jenkins_release.registry import EcrRegistry
from jenkins_release.sandbox.stack import Sandbox
from tests.fixtures.archives import END, config_json, docker_members, layer_tar, member, sha256, star, to_json
from tests.fixtures.ecr_push import Pusher
from tests.fixtures.registry_double import RegistryDouble
from tests.fixtures.release import Product
from tests.release.test_verify_release import Consumer, consumer, refused  # noqa: F401 - a fixture

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
EVIL_LAYER = layer_tar("evil")
EVIL_CONFIG = config_json([EVIL_LAYER])


def descriptor(data: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "size": len(data), "digest": sha256(data)}


def two_faced(genuine: bytes, config: bytes = EVIL_CONFIG, layer: bytes = EVIL_LAYER) -> bytes:
    """A manifest that names the genuine image in lower case and another one in upper case."""
    document = json.loads(genuine)
    document["Config"] = descriptor(config, document["config"]["mediaType"])
    document["Layers"] = [descriptor(layer, document["layers"][0]["mediaType"])]
    return to_json(document)


def test_a_manifest_with_two_faces_is_refused(consumer: Consumer, registry_double: RegistryDouble):  # noqa: F811
    """Attack F2: ``config`` is the validated image, ``Config`` is what Docker and skopeo take."""
    genuine = consumer.product.client().batch_get_image(
        repositoryName=f"{consumer.product.prefix}/rms",
        imageIds=[{"imageTag": "8.1.0"}],
        acceptedMediaTypes=[DOCKER_MANIFEST],
    )["images"][0]
    data = two_faced(genuine["imageManifest"].encode())
    registry_double.blob(EVIL_CONFIG)
    registry_double.put(data, genuine["imageManifestMediaType"], "8.1.0")
    name = f"{registry_double.host}/mirror/rms:8.1.0"
    read = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", "--config", "--raw", f"docker://{name}"],
        capture_output=True,
        check=True,
    )
    assert read.stdout == EVIL_CONFIG, "skopeo does not fall for it: the attack is none"
    refused(consumer.verify("--image", name), "'Config' instead of 'config'")


def test_a_manifest_with_two_faces_is_not_read_back_from_ecr(
    sandbox: Sandbox, registry: EcrRegistry, pusher: Pusher
):
    """Attack F2: a promotion reads back what it pushed through the same door."""
    registry.create_repository("skydrm/rms")
    pushed = pusher.image("skydrm/rms", "validated")
    other = pusher.blob("skydrm/rms", b"other")
    document = json.loads(pushed.manifest)
    data = to_json(document | {"Config": other, "Layers": [other]})
    assert pusher.manifest("skydrm/rms", "8.1.0", data, document["mediaType"]).status_code == 201
    with pytest.raises(IntegrityError, match="'Config' instead of 'config'"):
        registry.images("skydrm/rms", ["8.1.0"])


def test_an_archive_with_a_star_header_is_refused(consumer: Consumer, engine: DockerEngine):  # noqa: F811
    """Attack F3: a second ``manifest.json`` whose name is 131 bytes to Go and 155 bytes to POSIX."""
    genuine = consumer.archive.read_bytes()
    with tarfile.open(consumer.archive) as tar:
        last = max(tar.getmembers(), key=lambda found: found.offset)
    body = genuine[: last.offset_data + -(-last.size // 512) * 512]
    evil = docker_members({"skydrm/rms:8.1.0-42": [EVIL_LAYER]})
    hidden = star(member("manifest.json", evil.pop("manifest.json")[512:].rstrip(b"\0")))
    archive = consumer.folder / "star.tar"
    archive.write_bytes(body + b"".join(evil.values()) + hidden + END)
    with archive.open("rb") as file:
        engine.load(iter(lambda: file.read(1 << 20), b""))
    read = engine.config_digest("skydrm/rms:8.1.0-42")
    engine.load([genuine])
    assert read == sha256(EVIL_CONFIG), "docker load does not fall for it: the attack is none"
    refused(consumer.verify("--archive", str(archive)), "STAR")


def test_layers_that_are_not_the_configs_are_found_in_a_mirror(
    consumer: Consumer,  # noqa: F811
    registry_double: RegistryDouble,
):
    """The validated config beside other layers: Docker would refuse them, other programs run them."""
    record = json.loads((consumer.product.candidate() / "candidate.json").read_bytes())
    image = next(image for image in record["images"] if image["name"] == "rms")
    archive = consumer.archive.read_bytes()

    def cut(offset: int, size: int) -> bytes:
        return archive[offset : offset + size]

    config = cut(image["config_offset"], image["config_size"])
    stored = [cut(layer["offset"], layer["size"]) for layer in image["layers"]]
    plain_layers = [gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data for data in stored]
    layers = [gzip.compress(data, 1, mtime=0) for data in plain_layers]
    evil_layer, packed_twice = gzip.compress(EVIL_LAYER, mtime=0), gzip.compress(layers[0], mtime=0)
    for data in (config, *layers, evil_layer, packed_twice):
        registry_double.blob(data)

    def serve(tag: str, *stored: bytes, kind: str = DOCKER_LAYER) -> str:
        document = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": descriptor(config, DOCKER_CONFIG),
            "layers": [descriptor(layer, kind) for layer in stored],
        }
        registry_double.put(to_json(document), DOCKER_MANIFEST, tag)
        return f"{registry_double.host}/mirror/rms:{tag}"

    good = consumer.verify("--image", serve("good", *layers))
    assert good.status == 0, good.text
    evil = serve("evil", evil_layer, *layers[1:])
    refused(consumer.verify("--image", evil), "layer 1, sha256:", "is not in the config")
    twice = serve("twice", packed_twice, *layers[1:])
    refused(consumer.verify("--image", twice), "is not in the config")
    plain = serve("plain", *layers, kind="application/vnd.docker.image.rootfs.diff.tar")
    refused(consumer.verify("--image", plain), "is compressed with gzip, but its media type says none")
    registry_double.blobs[sha256(layers[0])] = layers[0][:-1] + b"x"
    refused(consumer.verify("--image", serve("broken", *layers)), "the registry sends sha256:")
    registry_double.blobs[sha256(layers[0])] = layers[0] + b"x"
    refused(consumer.verify("--image", serve("long", *layers)), "the registry sends more bytes")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b'"built_by":"', b'"built_by":"\\ud800', "surrogate"),
        (b'"built_by":"', b'"built_by":"\xff', "not UTF-8"),
        (b'"product":', b'"Product":"Other","product":', "'Product' and 'product' differ only in case"),
        (b'"images":', b'"note":' + b"[" * 200 + b"]" * 200 + b',"images":', "nested too deeply"),
    ],
)
def test_a_candidate_that_is_no_text_ends_with_status_4(validated: Product, old: bytes, new: bytes, why: str):
    """Attack F15: whatever command reads it says what is wrong; none ends with 70."""
    path = validated.candidate() / "candidate.json"
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    for words in (
        ("candidate", "verify", "8.1.0/42"),
        ("candidate", "show", "8.1.0/42"),
        ("promote", "plan", "8.1.0/42"),
        ("promote", "run", "8.1.0/42"),
        ("promote", "status", "8.1.0/42"),
        ("candidate", "load", "8.1.0/42"),
    ):
        done = validated.run(*words)
        assert done.status == 4, (words, done.text)
        assert why in done.err, (words, done.text)
    listed = validated.run("candidate", "list", "--json")
    assert listed.status == 0, listed.text
    assert why in listed.out


def test_text_beyond_ascii_fails_no_command(exported: Product):
    """A terminal that knows ASCII only, and an argument that is not UTF-8."""
    ascii_only = {**os.environ, **exported.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    program = [sys.executable, "-m", "jenkins_release", "candidate", "show", "8.1.0/42"]
    path = exported.candidate() / "candidate.json"
    path.write_bytes(path.read_bytes().replace(b'"built_by":"', '"built_by":"Zoë '.encode(), 1))
    done = subprocess.run(
        [*program, "--config", str(exported.config)], env=ascii_only, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "by Zoë ".encode() in done.stdout
    wrong = subprocess.run(
        [*program[:3], "candidate", "show", b"8.1.0/\xff"], env=ascii_only, capture_output=True, check=False
    )
    assert wrong.returncode == 2, wrong.stderr
    assert b"is not UTF-8" in wrong.stderr
