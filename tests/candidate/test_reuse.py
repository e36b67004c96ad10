"""An export re-uses what the share has: the server copies it, the result is the same to the byte."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.sample_images import build_images
from tests.fixtures.archives import docker_members, join, layer_tar
from tests.fixtures.damage import flip
from tests.fixtures.release import SERVICES, WITHOUT_DAEMON, Product, Shelf
from tests.fixtures.share import Tap

GZIP = pytest.mark.parametrize("way", ["registry, gzip"], indirect=True)
PLAIN = pytest.mark.parametrize("way", ["registry, plain"], indirect=True)
BASE, OWN = 8 << 20, 1 << 20
MESSAGES = 1 << 20
"""What requests, manifests and attestations may add to the bytes on the wire."""


@pytest.fixture(scope="module")
def builds(engine: DockerEngine) -> None:
    """Builds 1 and 2 on one base; each image's own layer is new in each."""
    for build in ("1", "2"):
        build_images(engine, "8.1.0", build, names=SERVICES, base_size=BASE, own_size=OWN)


@pytest.fixture
def first(product: Product, builds: None, shelf: Shelf) -> Product:
    """A product of which build 1 is on the share."""
    shelf.on_share("build 1", product, lambda fresh: export(fresh, "1"))
    return product


def export(product: Product, build: str) -> Any:
    """Export, and check the whole candidate as QA would."""
    done = product.ok("candidate", "export", "--version", "8.1.0", "--build", build)
    product.ok("candidate", "verify", f"8.1.0/{build}")
    return done


def record(product: Product, build: str) -> Any:
    return json.loads((product.candidate(f"8.1.0/{build}") / "candidate.json").read_text())


def archive(product: Product, build: str) -> Path:
    return product.candidate(f"8.1.0/{build}") / f"images/skydrm-8.1.0-{build}.tar"


@WITHOUT_DAEMON
def test_only_new_layers_cross_the_wire(product: Product, builds: None, make_tap: Callable[[int], Tap]):
    """The base is on the share since the build before."""
    first = export(product, "1")
    assert first["reusedBytes"] == 0
    tap = make_tap(product.sandbox.samba.port)
    product.edit(f":{product.sandbox.samba.port}/", f":{tap.port}/")
    done = product.ok("candidate", "export", "--version", "8.1.0", "--build", "2")
    assert BASE < done["reusedBytes"] < done["bytes"] - len(SERVICES) * OWN
    assert len(tap.sent) < len(SERVICES) * OWN + MESSAGES
    assert len(tap.received) < MESSAGES
    product.ok("candidate", "verify", "8.1.0/2")


@GZIP
def test_customers_pull_the_same_manifests_as_without(product: Product, builds: None):
    """Whether a layer was sent or copied is nowhere to be seen; the daemon orders its images as it likes."""
    export(product, "1")
    export(product, "2")
    copied = record(product, "2")
    product.candidate("8.1.0/2").rename(product.share / "aside")
    product.environ["JENKINS_RELEASE_EXPORT_REUSE"] = "false"
    assert export(product, "2")["reusedBytes"] == 0
    sent = record(product, "2")
    assert [image["manifest"] for image in sent["images"]] == [
        image["manifest"] for image in copied["images"]
    ]
    assert sent["files"][0]["size"] == copied["files"][0]["size"]


@WITHOUT_DAEMON
def test_what_was_re_used_is_promoted(first: Product):
    """The promotion reads copied layers like any others."""
    export(first, "2")
    first.sign_off("8.1.0/2")
    first.ok("promote", "run", "8.1.0/2")


def test_the_summary_tells_of_it(first: Product):
    """One line says how much was copied."""
    done = first.run("candidate", "export", "--version", "8.1.0", "--build", "2")
    assert re.search(r"MB/s, \d+\.\d MB of it copied on the share$", done.out, re.MULTILINE)


@WITHOUT_DAEMON
def test_archives_per_image_share_their_base(product: Product, builds: None):
    """The second archive of a candidate re-uses layers of the first."""
    product.environ["JENKINS_RELEASE_EXPORT_ARCHIVES"] = "per-image"
    assert export(product, "1")["reusedBytes"] > (len(SERVICES) - 1) * BASE


@pytest.fixture
def twins(engine: DockerEngine) -> None:
    """Build 4 keeps a layer of build 3, and has new ones of the same size with the same beginning."""
    start = "x" * (128 << 10)
    for build, contents in (("3", "ab"), ("4", "ea")):
        images = {
            f"skydrm/{name}:8.1.0-{build}": [layer_tar(start, content * (1 << 21))]
            for name, content in zip(SERVICES, contents, strict=True)
        }
        engine.load([join(docker_members(images))])


@PLAIN
def test_a_wrong_guess_costs_time_only(product: Product, twins: None):
    """Same size, same beginning, another layer: it is noticed and everything is written again."""
    export(product, "3")
    done = product.run("candidate", "export", "--version", "8.1.0", "--build", "4")
    assert done.status == 0
    assert "is written again: another layer has the same size and beginning" in done.err
    product.ok("candidate", "verify", "8.1.0/4")


def _damage(product: Product, build: str) -> None:
    """Flip a byte in the middle of the shared layer."""
    layer = max(record(product, build)["images"][0]["layers"], key=lambda each: each["size"])
    flip(archive(product, build), layer["offset"] + layer["size"] // 2)


@WITHOUT_DAEMON
def test_a_damaged_layer_never_passes_a_check(first: Product):
    """What is recorded is what the daemon sent: a copy of other bytes is refused as altered."""
    _damage(first, "1")
    first.ok("candidate", "export", "--version", "8.1.0", "--build", "2")
    done = first.run("candidate", "verify", "8.1.0/2")
    assert done.status == 4
    assert "skydrm-8.1.0-2.tar" in done.err


@WITHOUT_DAEMON
def test_reading_back_finds_a_damaged_layer_and_sends_it(first: Product):
    """The candidate that the damage comes from is named, and the new one is whole."""
    first.environ["JENKINS_RELEASE_EXPORT_READ_BACK"] = "true"
    _damage(first, "1")
    done = first.run("candidate", "export", "--version", "8.1.0", "--build", "2")
    assert done.status == 0, done.text
    assert "SkyDRM/8.1.0/1/images/skydrm-8.1.0-1.tar is damaged" in done.err
    assert "check 8.1.0/1 with 'candidate verify'" in done.err
    first.ok("candidate", "verify", "8.1.0/2")


@WITHOUT_DAEMON
@pytest.mark.parametrize("what", ["removed", "shortened", "not JSON"])
def test_an_earlier_candidate_that_is_not_whole_is_no_matter(first: Product, what: str):
    """Its layers are sent instead."""
    path = archive(first, "1")
    path.chmod(0o644)
    if what == "removed":
        path.unlink()
    elif what == "shortened":
        os.truncate(path, 100_000)
    else:
        (first.candidate("8.1.0/1") / "candidate.json").chmod(0o644)
        (first.candidate("8.1.0/1") / "candidate.json").write_text("{")
    done = first.run("candidate", "export", "--version", "8.1.0", "--build", "2")
    assert done.status == 0, done.text
    assert ("layers of 8.1.0/1 are not re-used" in done.err) is (what != "not JSON")
    first.ok("candidate", "verify", "8.1.0/2")
