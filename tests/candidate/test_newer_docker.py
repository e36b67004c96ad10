"""A newer Docker than Debian 12's, with each of its image stores: what agents and QA's machines have."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.dockerd import DockerDaemon
from jenkins_release.sandbox.sample_images import build_images
from jenkins_release.sandbox.sample_layout import PLATFORMS, write_layout
from jenkins_release.steps.candidate import export_source
from tests.candidate.test_load_by_pull import names
from tests.candidate.test_serve import serving
from tests.fixtures.damage import flip
from tests.fixtures.docker import newer_daemon
from tests.fixtures.release import BOTH_ENGINES, LAYERS, SERVICES, Product

BASE, OWN = 2 << 20, 1 << 20
CONTAINERD = pytest.mark.parametrize("newer", ["containerd"], indirect=True)
"""Run a test with containerd's store only."""


class Stores:
    """The daemons, each started when the first test wants it."""

    def __init__(self, request: pytest.FixtureRequest, stack: ExitStack) -> None:
        self._request = request
        self._stack = stack
        self._engines: dict[str, DockerEngine] = {}

    def engine(self, store: str) -> DockerEngine:
        """Return an engine on the daemon with a store."""
        if store not in self._engines:
            self._engines[store] = self._stack.enter_context(DockerEngine(self._daemon(store).base_url))
        return self._engines[store]

    def _daemon(self, store: str) -> DockerDaemon:
        if store == "containerd":
            found: DockerDaemon = self._request.getfixturevalue("containerd_daemon")
            return found
        folder = self._request.getfixturevalue("tmp_path_factory").mktemp("newer")
        return self._stack.enter_context(newer_daemon(folder, containerd_store=False))


@pytest.fixture(scope="module")
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    with ExitStack() as stack:
        yield Stores(request, stack)


@pytest.fixture
def newer(request: pytest.FixtureRequest, stores: Stores, product: Product) -> Iterator[DockerEngine]:
    """An engine on the daemon, which the product uses. It has build 61, and nothing else."""
    engine = stores.engine(request.param)
    product.environ["DOCKER_HOST"] = engine.url
    build_images(engine, "8.1.0", "61", names=SERVICES, base_size=BASE, own_size=OWN)
    yield engine
    for name in names(engine):
        engine.untag(name)


def untag(engine: DockerEngine, build: str) -> None:
    for name in SERVICES:
        engine.untag(f"skydrm/{name}:8.1.0-{build}")


def tags(engine: DockerEngine) -> set[str]:
    return {name for name in names(engine) if "@" not in name}


def docker(engine: DockerEngine, *words: str) -> str:
    command = ["docker", "-H", engine.url, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("newer", "layers"),
    [("containerd", "gzip"), ("containerd", "plain"), ("classic", "plain")],
    indirect=["newer"],
)
def test_save_and_load(product: Product, newer: DockerEngine, layers: str):
    """Both ways of loading give what was saved."""
    product.environ |= {LAYERS: layers, "JENKINS_RELEASE_EXPORT_SOURCE": "save"}
    exported = product.export("61")
    product.ok("candidate", "verify", "8.1.0/61")
    before = tags(newer)
    for way in ("pull", "load"):
        untag(newer, "61")
        product.environ["JENKINS_RELEASE_LOAD_SOURCE"] = way
        loaded = product.ok("candidate", "load", "8.1.0/61")
        assert [each["configDigest"] for each in loaded["images"]] == [
            each["configDigest"] for each in exported["images"]
        ]
        assert tags(newer) == before
        reference = exported["images"][0]["reference"]
        assert docker(newer, "run", "--rm", "--network", "none", reference) == "SkyDRM rms 8.1.0\n"
    assert newer.info().store in product.run("doctor").out


@CONTAINERD
def test_an_image_that_the_daemon_would_pull_in_part_is_loaded(product: Product, newer: DockerEngine):
    """It has the base in another compression, and does not fetch ours (moby #49784)."""
    product.export("61")
    build_images(newer, "8.1.0", "62", names=SERVICES, base_size=BASE, own_size=OWN)
    before = tags(newer)
    untag(newer, "61")
    refused = product.run("candidate", "load", "8.1.0/61", JENKINS_RELEASE_LOAD_SOURCE="pull")
    assert refused.status == 5
    assert "the image would be incomplete (moby #49784)" in refused.err
    assert tags(newer) < before
    product.ok("candidate", "load", "8.1.0/61")
    assert tags(newer) == before


def without_places(record: dict[str, Any]) -> dict[str, Any]:
    """A candidate.json without the time, and the order in the archive, which is the daemon's in a save."""

    def clean(found: Any) -> Any:
        if isinstance(found, list):
            return [clean(each) for each in found]
        if isinstance(found, dict):
            places = ("offset", "config_offset", "exported_at", "files")
            return {key: clean(value) for key, value in found.items() if key not in places}
        return found

    cleaned: dict[str, Any] = clean(record)
    return cleaned


def record(product: Product, build: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((product.candidate(f"8.1.0/{build}") / "candidate.json").read_text())
    return found


def archive_of(product: Product, build: str) -> Path:
    (found,) = (product.candidate(f"8.1.0/{build}") / "images").iterdir()
    return found


def same_by_push(product: Product, build: str, *, at_least: int) -> None:
    """Check that a push makes the candidate that a save makes, from at least so many bytes on the share."""
    found = []
    for way in ("push", "save"):
        product.environ["JENKINS_RELEASE_EXPORT_SOURCE"] = way
        done = product.export(build)
        assert done["source"] == way
        assert done["reusedBytes"] > at_least
        product.ok("candidate", "verify", f"8.1.0/{build}")
        found.append(without_places(record(product, build)))
        if way == "push":
            product.candidate(f"8.1.0/{build}").rename(product.share / "pushed")
    assert found[0] == found[1]
    shutil.rmtree(product.candidate(f"8.1.0/{build}"))
    (product.share / "pushed").rename(product.candidate(f"8.1.0/{build}"))


@pytest.mark.parametrize(
    ("newer", "form"),
    [("containerd", "gzip"), ("containerd", "plain"), ("classic", "plain")],
    indirect=["newer"],
)
def test_the_candidate_of_a_push_is_the_one_of_a_save(product: Product, newer: DockerEngine, form: str):
    """Whether the daemon keeps its layers plain, as docker load gave them, or compressed."""
    product.export("61")
    if form == "gzip":
        product.environ["JENKINS_RELEASE_LOAD_SOURCE"] = "load"
        untag(newer, "61")
        product.ok("candidate", "load", "8.1.0/61")
        for name in SERVICES:
            newer.tag(f"skydrm/{name}:8.1.0-61", f"skydrm/{name}:8.1.0-62")
    else:
        build_images(newer, "8.1.0", "62", names=SERVICES, base_size=BASE, own_size=OWN)
    before = tags(newer)
    same_by_push(product, "62", at_least=BASE)
    assert tags(newer) == before
    untag(newer, "62")
    archive = archive_of(product, "62")
    assert "Loaded image: skydrm/rms:8.1.0-62" in docker(newer, "load", "-i", str(archive))


@BOTH_ENGINES
@CONTAINERD
def test_promotion(product: Product, newer: DockerEngine):
    product.export("61")
    product.sign_off("8.1.0/61")
    product.ok("promote", "run", "8.1.0/61")


@CONTAINERD
def test_serve(product: Product, newer: DockerEngine):
    product.export("61")
    untag(newer, "61")
    with serving(product, ident="8.1.0/61") as served:
        for image in served["images"]:
            assert image["digest"] in docker(newer, "pull", image["reference"])


@CONTAINERD
def test_platforms(product: Product, newer: DockerEngine, tmp_path: Path):
    """The index is carried as the daemon has it; QA loads the platform of its machine."""
    archive = tmp_path / "built.tar"
    write_layout(archive, "rms", "8.1.0", "63", base_size=BASE, own_size=OWN)
    newer.load([archive.read_bytes()])
    product.keep_images(1)
    product.append(f"\n[export]\nplatforms = {json.dumps(PLATFORMS)}\n")
    product.environ["JENKINS_RELEASE_EXPORT_SOURCE"] = "push"
    done = product.export("63")
    assert done["source"] == "push"
    (image,) = done["images"]
    assert newer.inspect(image["reference"]).image_id == image["indexDigest"]
    product.ok("candidate", "verify", "8.1.0/63")
    untag(newer, "61")
    for way in ("pull", "load"):
        newer.untag(image["reference"])
        product.environ["JENKINS_RELEASE_LOAD_SOURCE"] = way
        product.ok("candidate", "load", "8.1.0/63")
        assert (
            docker(newer, "run", "--rm", "--network", "none", image["reference"])
            == "SkyDRM rms-amd64 8.1.0\n"
        )
    product.sign_off("8.1.0/63")
    product.ok("promote", "run", "8.1.0/63")


@CONTAINERD
def test_one_platform_of_an_index(product: Product, newer: DockerEngine, tmp_path: Path):
    """As BuildKit makes it by default, with attestations: a candidate for one platform has only its image."""
    product.keep_images(1)
    for build in ("63", "64"):
        built = tmp_path / f"{build}.tar"
        write_layout(built, "rms", "8.1.0", build, base_size=BASE, own_size=OWN)
        newer.load([built.read_bytes()])
    product.export("63")
    same_by_push(product, "64", at_least=BASE)


@CONTAINERD
def test_an_image_that_the_daemon_has_in_part(product: Product, newer: DockerEngine):
    """It runs, but cannot be saved. The share has what is missing (moby #49784)."""
    product.keep_images(1)
    product.export("61")
    build_images(newer, "8.1.0", "62", names=SERVICES, base_size=BASE, own_size=OWN)
    untag(newer, "61")
    with serving(product, ident="8.1.0/61") as served:
        pulled = served["images"][0]["reference"]
        docker(newer, "pull", pulled)
        newer.tag(pulled, "skydrm/rms:8.1.0-65")
        newer.untag(pulled)
    words = ("candidate", "export", "--version", "8.1.0", "--build", "65")
    saved = product.run(*words, JENKINS_RELEASE_EXPORT_SOURCE="save")
    assert saved.status in {2, 4}
    assert "moby #49784" in saved.err
    # Docker 28 does not even know the platform.
    if newer.inspect("skydrm/rms:8.1.0-65").platform:
        product.environ["JENKINS_RELEASE_EXPORT_SOURCE"] = "push"
        product.export("65")
        product.ok("candidate", "verify", "8.1.0/65")


@CONTAINERD
def test_auto(product: Product, newer: DockerEngine, monkeypatch: pytest.MonkeyPatch):
    """The daemon needs no warming: what counts is what the share has."""
    monkeypatch.setattr(export_source, "_WORTH_S", 0.01)
    assert product.ok("candidate", "warm", "--version", "8.1.0", "--build", "61")["layers"] == 0
    first = product.export("61")
    assert (first["source"], first["why"]) == ("save", "the share has 0 of 3 layers, 0.0 MB")
    build_images(newer, "8.1.0", "62", names=SERVICES, base_size=BASE, own_size=OWN)
    second = product.export("62")
    assert (second["source"], second["why"]) == ("push", "the share has 1 of 3 layers, 3.2 MB")


@CONTAINERD
def test_a_layer_on_the_share_that_is_damaged(product: Product, newer: DockerEngine):
    """It is named, and sent after all."""
    product.export("61")
    layer = max(record(product, "61")["images"][0]["layers"], key=lambda layer: int(layer["size"]))
    flip(archive_of(product, "61"), layer["offset"] + layer["size"] // 2)
    build_images(newer, "8.1.0", "62", names=SERVICES, base_size=BASE, own_size=OWN)
    product.environ["JENKINS_RELEASE_EXPORT_SOURCE"] = "push"
    done = product.run("candidate", "export", "--version", "8.1.0", "--build", "62")
    assert done.status == 0
    assert "check 8.1.0/61 with 'candidate verify'" in done.err
    product.ok("candidate", "verify", "8.1.0/62")


@CONTAINERD
def test_a_layer_that_is_recorded_as_another_one(product: Product, newer: DockerEngine):
    """Whoever can write to the share may say so; what the daemon pushes decides."""
    product.export("61")
    layer = max(record(product, "61")["images"][0]["layers"], key=lambda layer: int(layer["size"]))
    untag(newer, "61")
    newer.load([archive_of(product, "61").read_bytes()])
    for name in SERVICES:
        newer.tag(f"skydrm/{name}:8.1.0-61", f"skydrm/{name}:8.1.0-62")
    manifest = product.candidate("8.1.0/61") / "candidate.json"
    manifest.chmod(0o644)
    manifest.write_text(manifest.read_text().replace(layer["diff_id"], f"sha256:{'1' * 64}"))
    product.environ["JENKINS_RELEASE_EXPORT_SOURCE"] = "push"
    done = product.run("candidate", "export", "--version", "8.1.0", "--build", "62")
    assert done.status == 0
    assert f"8.1.0/61 records {layer['digest']} as another layer" in done.err
    product.ok("candidate", "verify", "8.1.0/62")
    assert layer["diff_id"] in {each["diff_id"] for each in record(product, "62")["images"][0]["layers"]}


@CONTAINERD
def test_a_push_for_several_platforms(product: Product, newer: DockerEngine, tmp_path: Path):
    """The index and what BuildKit attests are those of a save, byte for byte."""
    product.keep_images(1)
    product.append(f"\n[export]\nplatforms = {json.dumps(PLATFORMS)}\n")
    for build in ("63", "64"):
        built = tmp_path / f"{build}.tar"
        write_layout(built, "rms", "8.1.0", build, base_size=BASE, own_size=OWN)
        newer.load([built.read_bytes()])
    product.export("63")
    same_by_push(product, "64", at_least=BASE)
    archive = archive_of(product, "64")
    newer.untag("skydrm/rms:8.1.0-64")
    assert "Loaded image: skydrm/rms:8.1.0-64" in docker(newer, "load", "-i", str(archive))
    assert (
        newer.inspect("skydrm/rms:8.1.0-64").image_id == record(product, "64")["images"][0]["index"]["digest"]
    )
