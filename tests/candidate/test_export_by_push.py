"""Export by push: the daemon pushes to loopback only what the share lacks; the candidate is the same."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.dockerd import DockerDaemon
from jenkins_release.sandbox.sample_images import build_images
from jenkins_release.steps.candidate import export_source
from tests.candidate.test_load_by_pull import names
from tests.fixtures.damage import flip
from tests.fixtures.release import SERVICES, Product
from tests.fixtures.share import Tap

BASE, OWN = 8 << 20, 1 << 20
MESSAGES = 1 << 20
"""What requests, records and small layers may add to the bytes on the wire."""
EXPORT = ("candidate", "export", "--version", "8.1.0", "--build")


@pytest.fixture(scope="module")
def builds(engine: DockerEngine) -> None:
    """Builds 51 and 52 on one base; each image's own layer is new in each. The daemon knows all digests."""
    for build in ("51", "52"):
        build_images(engine, "8.1.0", build, names=SERVICES, base_size=BASE, own_size=OWN)


@pytest.fixture
def first(product: Product, builds: None) -> Product:
    """A product of which build 51 is on the share, pushed."""
    product.environ["JENKINS_RELEASE_EXPORT_SOURCE"] = "push"
    export(product, "51")
    return product


def export(product: Product, build: str) -> Any:
    """Export, and check the whole candidate as QA would."""
    done = product.ok(*EXPORT, build)
    product.ok("candidate", "verify", f"8.1.0/{build}")
    return done


def record(product: Product, build: str) -> Any:
    return json.loads((product.candidate(f"8.1.0/{build}") / "candidate.json").read_text())


def archive(product: Product, build: str) -> Path:
    return product.candidate(f"8.1.0/{build}") / f"images/skydrm-8.1.0-{build}.tar"


def base_layer(product: Product, build: str) -> Any:
    """The largest layer of a candidate."""
    return max(record(product, build)["images"][0]["layers"], key=lambda layer: layer["size"])


def test_the_candidate_is_the_one_that_a_save_makes(first: Product, engine: DockerEngine):
    """In everything but the time and the order of the layers, which is the daemon's when it saves."""
    before = names(engine)
    done = export(first, "52")
    assert done["source"] == "push"
    assert BASE // 2 < done["reusedBytes"] < done["bytes"] - len(SERVICES) * OWN // 2
    assert names(engine) == before
    pushed = record(first, "52")
    first.candidate("8.1.0/52").rename(first.share / "aside")
    first.environ["JENKINS_RELEASE_EXPORT_SOURCE"] = "save"
    assert export(first, "52")["source"] == "save"
    saved = record(first, "52")
    for each in (pushed, saved):
        each["files"][0].pop("sha256")
        each.pop("exported_at")
        for image in each["images"]:
            image.pop("config_offset")
            for layer in image["layers"]:
                layer.pop("offset")
    assert pushed == saved


def test_docker_loads_it_and_it_is_promoted(first: Product, engine: DockerEngine):
    export(first, "52")
    digests = {each["reference"]: each["config_digest"] for each in record(first, "52")["images"]}
    command = ["docker", "-H", first.environ["DOCKER_HOST"], "load", "-i", str(archive(first, "52"))]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert all(reference in loaded for reference in digests)
    assert {each: engine.config_digest(each) for each in digests} == digests
    first.sign_off("8.1.0/52")
    first.ok("promote", "run", "8.1.0/52")


def test_only_new_layers_are_sent(first: Product, make_tap: Callable[[int], Tap]):
    tap = make_tap(first.sandbox.samba.port)
    first.edit(f":{first.sandbox.samba.port}/", f":{tap.port}/")
    first.ok(*EXPORT, "52")
    assert len(tap.sent) < len(SERVICES) * OWN + MESSAGES


def test_archives_per_image(first: Product):
    """The second one takes the base from the first, which is not visible yet."""
    first.environ["JENKINS_RELEASE_EXPORT_ARCHIVES"] = "per-image"
    assert export(first, "52")["reusedBytes"] > (len(SERVICES) - 1) * BASE // 2


def test_a_damaged_layer_is_found_and_sent_again(first: Product):
    """It is named, and the candidate is whole."""
    layer = base_layer(first, "51")
    flip(archive(first, "51"), layer["offset"] + layer["size"] // 2)
    done = first.run(*EXPORT, "52", "--json")
    assert done.status == 0, done.text
    assert "8.1.0/51" in done.err
    assert "check 8.1.0/51 with 'candidate verify'" in done.err
    first.ok("candidate", "verify", "8.1.0/52")


def _gzip_of_size(size: int) -> bytes:
    """A gzip member without content: its comment fills the rest (RFC 1952)."""
    comment = b"x" * (size - 21) + b"\0"
    return b"\x1f\x8b\x08\x10" + bytes(6) + comment + b"\x03\x00" + bytes(8)


def test_a_layer_that_is_recorded_wrongly_is_never_exported(first: Product):
    """Somebody with the share put other content there, and made candidate.json fit it."""
    layer = base_layer(first, "51")
    size = layer["size"]
    # Valid gzip of another content, as long as the genuine layer.
    other = bytearray()
    while len(other) < size - 64:
        other += gzip.compress(os.urandom(min(1 << 16, (size - len(other)) // 2)), 0, mtime=0)
    other += _gzip_of_size(size - len(other))
    forged = bytes(other)
    assert len(forged) == size
    gzip.decompress(forged)
    path = archive(first, "51")
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[layer["offset"] : layer["offset"] + size] = forged
    path.write_bytes(data)
    digest = f"sha256:{hashlib.sha256(forged).hexdigest()}"
    manifest = first.candidate("8.1.0/51") / "candidate.json"
    manifest.chmod(0o644)
    text = manifest.read_text()
    for image in json.loads(text)["images"]:
        old = image["manifest"]["data"]
        new = old.replace(layer["digest"], digest)
        text = text.replace(json.dumps(old), json.dumps(new))
        new_digest = f"sha256:{hashlib.sha256(new.encode()).hexdigest()}"
        text = text.replace(image["manifest"]["digest"], new_digest)
    manifest.write_text(text.replace(layer["digest"], digest))
    done = first.run(*EXPORT, "52", "--json")
    assert done.status == 0, done.text
    assert "check 8.1.0/51 with 'candidate verify'" in done.err
    first.ok("candidate", "verify", "8.1.0/52")
    assert digest not in json.dumps(record(first, "52"))


def test_a_layer_that_the_share_lost_meanwhile_is_sent(first: Product):
    archive(first, "51").unlink()
    done = first.run(*EXPORT, "52", "--json")
    assert done.status == 0, done.text
    first.ok("candidate", "verify", "8.1.0/52")


class TestAuto:
    """By what the daemon and the share know."""

    @pytest.fixture(autouse=True)
    def worth_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(export_source, "_WORTH_S", 0.0)

    def test_the_first_export_saves_and_the_next_one_pushes(self, product: Product, builds: None):
        """The daemon knows all layers here; the summary says why."""
        product.ok("candidate", "warm", "--version", "8.1.0", "--build", "51")
        done = product.ok(*EXPORT, "51")
        assert (done["source"], done["why"].partition(",")[0]) == ("save", "3 of 3 layers are new")
        told = product.run(*EXPORT, "52")
        assert told.status == 0
        assert "images by docker push: 2 of 3 layers are new, 2.1 MB of" in told.out
        product.ok("candidate", "verify", "8.1.0/52")

    def test_a_daemon_that_does_not_know_its_layers_saves_them(self, product: Product, engine: DockerEngine):
        """It would compress the whole base; that shows with the first layer that it sends in vain."""
        for build in ("53", "54"):
            build_images(engine, "8.1.0", build, names=SERVICES, base_size=2 * BASE, own_size=OWN)
        export(product, "53")
        done = export(product, "54")
        assert done["source"] == "save"
        assert done["why"].startswith("the daemon has never pushed or pulled some of the layers")
        product.candidate("8.1.0/54").rename(product.share / "aside")
        product.ok("candidate", "warm", "--version", "8.1.0", "--build", "54")
        assert export(product, "54")["source"] == "push"

    @pytest.mark.root
    def test_a_daemon_that_cannot_reach_this_machine_saves(
        self, product: Product, tmp_path_factory: pytest.TempPathFactory
    ):
        """Its 127.0.0.1 is another one, as Docker Desktop's and rootless Docker's."""
        daemon = DockerDaemon(tmp_path_factory.mktemp("apart"), own_network=True)
        daemon.start(tied=True)
        try:
            with closing(DockerEngine(daemon.base_url)) as apart:
                for build in ("51", "52"):
                    build_images(apart, "8.1.0", build, names=SERVICES, base_size=BASE, own_size=OWN)
            product.environ["DOCKER_HOST"] = daemon.base_url
            export(product, "51")
            done = export(product, "52")
            assert done["source"] == "save"
            assert "connection refused" in done["why"]
            product.candidate("8.1.0/52").rename(product.share / "aside")
            refused = product.run(*EXPORT, "52", JENKINS_RELEASE_EXPORT_SOURCE="push")
            assert refused.status == 5
            assert "connection refused" in refused.err
        finally:
            daemon.stop()
            daemon.remove_data()

    @pytest.mark.root
    def test_a_proxy_of_the_daemon_is_not_asked_for_loopback(
        self,
        product: Product,
        tmp_path_factory: pytest.TempPathFactory,
        monkeypatch: pytest.MonkeyPatch,
    ):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9/")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        daemon = DockerDaemon(tmp_path_factory.mktemp("proxied"))
        daemon.start(tied=True)
        try:
            with closing(DockerEngine(daemon.base_url)) as engine:
                build_images(engine, "8.1.0", "51", names=SERVICES, base_size=BASE, own_size=OWN)
            product.environ["DOCKER_HOST"] = daemon.base_url
            product.environ["JENKINS_RELEASE_EXPORT_SOURCE"] = "push"
            assert export(product, "51")["source"] == "push"
            product.environ["JENKINS_RELEASE_LOAD_SOURCE"] = "pull"
            product.ok("candidate", "load", "8.1.0/51")
        finally:
            daemon.stop()
            daemon.remove_data()


def test_a_push_that_is_impossible_is_an_error(product: Product, builds: None):
    product.environ["JENKINS_RELEASE_EXPORT_LAYERS"] = "plain"
    product.environ["JENKINS_RELEASE_EXPORT_SOURCE"] = "push"
    done = product.run(*EXPORT, "52")
    assert done.status == 2
    assert (
        "export.source is push, but export.layers is plain, which keeps the archive of docker save"
        in done.err
    )


def test_two_exports_at_once(first: Product, builds: None):
    """Each has a registry and a login of its own."""
    first.environ["JENKINS_RELEASE_EXPORT_REUSE"] = "false"
    shutil.rmtree(first.candidate("8.1.0/51"))
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "jenkins_release", *EXPORT, build],
            env=first.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for build in ("51", "52")
    ]
    for each in running:
        out, _ = each.communicate(timeout=120)
        assert each.returncode == 0, out
    for build in ("51", "52"):
        first.ok("candidate", "verify", f"8.1.0/{build}")


def test_warm_lets_the_daemon_compress_each_layer_once(product: Product, engine: DockerEngine):
    before = names(engine)
    references = build_images(engine, "8.1.0", "55", names=SERVICES, base_size=3 * OWN, own_size=OWN)
    words = ("candidate", "warm", "--version", "8.1.0", "--build", "55")
    done = product.ok(*words)
    assert list(done) == ["images", "layers", "bytes", "seconds", "complete"]
    assert (done["layers"], done["images"], done["complete"]) == (3, list(references), True)
    assert product.ok(*words)["layers"] == 0
    assert names(engine) - before == set(references)


def test_warm_ends_when_the_time_is_over(product: Product, engine: DockerEngine):
    build_images(engine, "8.1.0", "56", names=SERVICES, base_size=BASE, own_size=OWN)
    done = product.run("candidate", "warm", "--version", "8.1.0", "--build", "56", "--for", "0.000001")
    assert done.status == 0
    assert "the rest comes with the next run" in done.out
