"""Images of a real daemon that are not as usual: other names, no platform, a tag that moves meanwhile."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from jenkins_release.base.errors import IntegrityError
from jenkins_release.images import DockerEngine, LocalImage, docker_engine
from jenkins_release.images.gzip_archive import GzipArchive
from jenkins_release.records.candidate import ImageRecord
from jenkins_release.steps.candidate import export as export_step
from jenkins_release.steps.candidate.archive_writer import WrittenArchive
from tests.fixtures.archives import (
    STARTS,
    OciLayout,
    config_json,
    join,
    layer_beginning,
    layer_tar,
    member,
    read,
    sha256,
    to_json,
)
from tests.fixtures.command import fails
from tests.fixtures.release import BY_DAEMON, Product

LAYER = layer_tar("one")


def load(product: Product, *names: str, layer: bytes = LAYER, **config: Any) -> str:
    """Load an image of one layer under some names; returns its config digest."""
    stated = {**json.loads(config_json([layer])), **config}
    data = to_json({name: value for name, value in stated.items() if value is not None})
    entry = {"Config": f"{sha256(data)[7:]}.json", "RepoTags": list(names), "Layers": ["layer.tar"]}
    members = [member(entry["Config"], data), member("layer.tar", gzip.compress(layer))]
    archive = join([*members, member("manifest.json", to_json([entry]))])
    with DockerEngine(environ=product.environ) as engine:
        engine.load([archive])
    return sha256(data)


def sources(product: Product, *names: str) -> None:
    """Let the product have these images, and no others."""
    product.keep_images(0)
    for number, name in enumerate(names):
        repository = f"{product.prefix}/image{number}"
        product.append(
            f'\n[[images]]\nname = "image{number}"\nsource = "{name}"\nrepository = "{repository}"\n'
        )


@pytest.mark.parametrize(
    ("source", "short"),
    [
        ("docker.io/skydrm/one:{version}-{build}", "skydrm/one:8.1.0-42"),
        ("index.docker.io/skydrm/one:{version}-{build}", "skydrm/one:8.1.0-42"),
        ("docker.io/library/one:{version}-{build}", "one:8.1.0-42"),
        ("library/one:{version}-{build}", "one:8.1.0-42"),
        ("my__app/my--app:{version}-{build}", "my__app/my--app:8.1.0-42"),
        ("REGISTRY.example:5000/one:{version}-{build}", "REGISTRY.example:5000/one:8.1.0-42"),
    ],
)
def test_a_name_may_be_written_in_every_way_that_docker_takes(product: Product, source: str, short: str):
    """It is recorded in the short form, which archives have."""
    digest = load(product, short)
    sources(product, source)
    product.export()
    (image,) = json.loads((product.candidate() / "candidate.json").read_text())["images"]
    assert (image["reference"], image["config_digest"]) == (short, digest)


@pytest.mark.parametrize("source", [f"sha256:{'0' * 64}", f"{'0' * 64}:1", "skydrm/one", "Upper/one:1"])
def test_what_is_no_name_with_a_tag_is_a_mistake_of_the_configuration(product: Product, source: str):
    """An id loads an image without a name; nothing is asked of the daemon for it."""
    sources(product, source)
    done = product.run("candidate", "export", "--version", "8.1.0", "--build", "42")
    fails(done, 2, "is not repository:tag", "an id names no image in an archive")


def test_every_mistake_of_every_image_is_told_in_one_go(product: Product):
    """Without platform, for another one, not there, and with a name that is none: each by its name."""
    load(product, "skydrm/none:8.1.0-42", os=None, architecture=None)
    load(product, "skydrm/arm:8.1.0-42", architecture="arm64")
    names = ("none", "arm", "missing", "gone")
    sources(product, "Upper/one:1", *(f"skydrm/{name}:{{version}}-{{build}}" for name in names))
    done = product.run("candidate", "export", "--version", "8.1.0", "--build", "42")
    fails(
        done,
        2,
        "5 of 5 images cannot be exported",
        "'Upper/one:1' from the template 'Upper/one:1' is not repository:tag",
        "image skydrm/none:8.1.0-42 states no platform, export.platform requires linux/amd64",
        "image skydrm/arm:8.1.0-42 is for linux/arm64, export.platform requires linux/amd64",
        "has no image skydrm/missing:8.1.0-42",
        "has no image skydrm/gone:8.1.0-42",
        "write source as",
        "build images with 'docker build --platform linux/amd64'",
        "build or pull them on this machine first",
    )


@pytest.mark.parametrize("archives", ["single", "per-image"])
def test_images_without_an_operating_system_are_told_in_one_go(product: Product, archives: str):
    """A daemon says linux of them, and their configs nothing: only the archive tells."""
    names = [f"skydrm/{name}:8.1.0-42" for name in ("no-os", "empty-os")]
    for name, os in zip(names, (None, ""), strict=True):
        load(product, name, os=os)
    sources(product, *(name.replace("8.1.0-42", "{version}-{build}") for name in names))
    product.append(f'\n[export]\narchives = "{archives}"\n')
    done = product.run("candidate", "export", "--version", "8.1.0", "--build", "42")
    told = names if archives == "single" else names[:1]
    fails(done, 2, "hint: set os and architecture in the image's config", *told)
    assert "save the image for that platform" not in done.text
    assert not product.candidate().exists()


@pytest.mark.parametrize("way", [BY_DAEMON], indirect=True)
def test_a_mistake_in_the_daemons_address_is_told_once(product: Product):
    """Not for each image, and not as a missing image; before anything is asked, and nothing is cleaned up."""
    wrong = {"DOCKER_HOST": "fd://"}
    for words in (
        ("candidate", "export", "--version", "8.1.0", "--build", "42"),
        ("candidate", "load", "8.1.0/42"),
        ("promote", "run", "8.1.0/42"),
    ):
        done = product.run(*words, **wrong)
        fails(done, 2, "in DOCKER_HOST cannot be used", "hint: write unix:///var/run/docker.sock")
        assert done.text.count("fd://'") == 1, done.text
        if words[1] == "export":
            assert "skydrm/" not in done.text
            product.export()
            product.sign_off()


@pytest.mark.parametrize("layers", ["plain", "gzip"])
def test_a_first_file_whose_name_begins_as_zstd_data_does(product: Product, layers: str):
    """It was damaged zstd data. The candidate is verified, and loaded again; with gzip by every Docker."""
    layer = layer_beginning(STARTS["zstd"])
    digest = load(product, "skydrm/one:8.1.0-42", layer=layer)
    sources(product, "skydrm/one:{version}-{build}")
    product.environ["JENKINS_RELEASE_EXPORT_LAYERS"] = layers
    done = product.run("candidate", "export", "--version", "8.1.0", "--build", "42")
    assert done.status == 0, done.text
    warning = "layer 1 of skydrm/one:8.1.0-42 begins like zstd data"
    assert (warning in done.err) == (layers == "plain")
    (image,) = json.loads((product.candidate() / "candidate.json").read_text())["images"]
    assert image["config_digest"] == digest
    assert image["layers"][0]["diff_id"] == sha256(layer)
    assert image["layers"][0]["compression"] == {"plain": "none", "gzip": "gzip"}[layers]
    product.ok("candidate", "verify", "8.1.0/42")
    with DockerEngine(environ=product.environ) as engine:
        engine.untag("skydrm/one:8.1.0-42")
    product.ok("candidate", "load", "8.1.0/42")


@pytest.mark.parametrize("archives", ["single", "per-image"])
@pytest.mark.parametrize("store", ["classic", "unknown"])
def test_a_tag_that_moves_to_an_image_with_the_same_layers_is_noticed(
    product: Product, monkeypatch: pytest.MonkeyPatch, archives: str, store: str
):
    """Between the first look and the save another job builds: another config around the same layers."""
    if store == "unknown":
        monkeypatch.setattr(docker_engine, "_CLASSIC_DRIVERS", set())
    before = load(product, "skydrm/one:8.1.0-42")
    sources(product, "skydrm/one:{version}-{build}")
    product.append(f'\n[export]\narchives = "{archives}"\n')
    check = export_step._check_space

    def rebuild(*arguments: Any) -> None:
        check(*arguments)
        after = load(product, "skydrm/one:8.1.0-42", config={"Cmd": ["/bin/evil"]})
        assert after != before

    monkeypatch.setattr(export_step, "_check_space", rebuild)
    done = product.run("candidate", "export", "--version", "8.1.0", "--build", "42")
    fails(done, 4, "image skydrm/one:8.1.0-42 changed while it was exported", before)
    assert not product.candidate().exists()


def test_a_tag_that_moved_and_came_back_is_noticed_with_the_image_store_of_containerd():
    """Its id of an image is what index.json lists: an index, or the manifest of a platform."""
    layout = OciLayout()
    image = layout.image([LAYER], stated={"os": "linux", "architecture": "amd64"})
    top = layout.nested(image, layout.attestation(image))
    layout.name(top, "skydrm/one:1")
    index = read(join(layout.members()))
    packed = GzipArchive("linux/amd64")
    assert b"".join(packed.convert([join(layout.members())]))
    for written in (index, packed.index("", 0)):
        archive = WrittenArchive(written, False, {}, {}, 0)

        def record(image_id: str, archive: WrittenArchive = archive) -> ImageRecord:
            local = LocalImage("skydrm/one:1", "linux/amd64", 1, (sha256(LAYER),), image_id)
            return archive.record("one", local, "images/one.tar")

        config = index.images[0].config_digest
        for same in (top["digest"], image["digest"], config):
            assert record(same).config_digest == config
        other = sha256(b"another config around the same layers")
        with pytest.raises(IntegrityError, match=f"changed while .*: it was {other}, .* {top['digest']}"):
            record(other)
