"""SBOMs that BuildKit attached to an image for several platforms: taken from the archive of the build."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from jenkins_release.sandbox import sample_layout
from jenkins_release.sandbox.sample_layout import PLATFORMS, write_layout
from jenkins_release.sbom import read_document
from tests.fixtures.command import fails
from tests.fixtures.release import Product
from tests.fixtures.sbom import OTHER, syft_spdx, to_bytes, trivy_cyclonedx

EXPORT = ("candidate", "export", "--version", "8.1.0", "--build", "42", "--from")
PATHS = ["sbom/rms.linux-amd64.spdx.json", "sbom/rms.linux-arm64.spdx.json"]


@pytest.fixture
def image_names() -> tuple[str, ...]:
    """The image that is built for several platforms."""
    return ("rms",)


def build(product: Product, number: str = "42", **options: Any) -> Path:
    """Let the build write the image's archive."""
    file = product.folder / "out" / "rms.tar"
    file.parent.mkdir(exist_ok=True)
    write_layout(file, "rms", "8.1.0", number, **options)
    return file


@pytest.fixture
def built(product: Product) -> Product:
    """SkyDRM, whose image the build wrote to an OCI layout; the gate asks for SBOMs."""
    build(product)
    product.edit('name = "rms"\n', 'name = "rms"\narchive = "out/rms.tar"\n')
    product.edit("[policy]\n", "[policy]\nsbom = true\n")
    product.append(f"\n[export]\nplatforms = {json.dumps(PLATFORMS)}\n")
    return product


def refused(product: Product) -> str:
    product.sign_off()
    return fails(product.run("promote", "run", "8.1.0/42"), 3, "[sbom: ")


def test_the_sbom_of_each_platform_is_part_of_the_candidate(built: Product) -> None:
    """As BuildKit wrote it, under the name of its platform; nothing had to be configured."""
    built.export()
    record = json.loads((built.candidate() / "candidate.json").read_bytes())
    assert [each["path"] for each in record["documents"]] == PATHS
    assert [each["platform"] for each in record["documents"]] == [*PLATFORMS]
    assert {(each["origin"], each["names"], each["packages"]) for each in record["documents"]} == {
        ("attestation", "digest", 2)
    }
    (image,) = record["images"]
    for path, platform in zip(PATHS, image["platforms"], strict=True):
        found = read_document((built.candidate() / path).read_bytes(), path)
        assert found.subject.digests == (platform["manifest"]["digest"],)
    built.ok("candidate", "verify", "8.1.0/42")
    shown = built.run("candidate", "show", "8.1.0/42").out
    assert "rms for linux/arm64" in shown
    built.sign_off()
    built.ok("promote", "run", "8.1.0/42")
    attached = built.ok("release", "attach", "8.1.0")["statements"]
    assert [each["digest"] for each in attached if "spdx" in each["predicateType"]] == [
        platform["manifest"]["digest"] for platform in image["platforms"]
    ]


def test_read_back(built: Product) -> None:
    """`export.read_back` reads them back too."""
    built.environ["JENKINS_RELEASE_EXPORT_READ_BACK"] = "true"
    built.export()


def test_an_image_without_attestations_shuts_the_gate(built: Product) -> None:
    """It has no SBOM, and nobody named a file."""
    build(built, attested=False)
    assert built.export()["documents"] == []
    assert "the image rms has no SBOM [" in refused(built)


@pytest.mark.parametrize("sbom", [{"spdxVersion": "SPDX-2.3"}, {"spdxVersion": "SPDX-3.0"}, {}])
def test_an_sbom_that_is_not_valid_is_left_out(
    built: Product, monkeypatch: pytest.MonkeyPatch, sbom: dict[str, Any]
) -> None:
    """A warning says why, and the gate misses it: nobody asked for it, so the export goes on."""
    monkeypatch.setattr(sample_layout, "_sbom", lambda *_: sbom)
    build(built)
    done = built.run(*EXPORT, str(built.folder))
    assert done.status == 0, done.text
    assert done.err.count("left out: ") == 2
    assert "of image rms is not valid" in done.err
    assert "the image rms has no SBOM [" in refused(built)


def test_an_sbom_of_one_platform_only(built: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate names the platform that lacks one."""
    good, made = sample_layout._sbom, []

    def one(*words: Any) -> dict[str, Any]:
        made.append(words)
        return good(*words) if len(made) == 1 else {}

    monkeypatch.setattr(sample_layout, "_sbom", one)
    build(built)
    built.export()
    assert "the image rms has no SBOM for linux/arm64 [" in refused(built)


def test_platforms_are_compared_one_by_one(built: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own SBOM."""
    built.export()
    good = sample_layout._sbom

    def newer(name: str, version: str) -> dict[str, Any]:
        return json.loads(json.dumps(good(name, version)).replace("1.35.0", "1.36.1"))

    monkeypatch.setattr(sample_layout, "_sbom", newer)
    build(built, number="43")
    built.export("43")
    found = built.ok("release", "compare", "8.1.0/42", "8.1.0/43")["images"]
    assert [each["name"] for each in found] == [f"rms for {platform}" for platform in PLATFORMS]
    for image in found:
        (change,) = image["packages"]["changed"]
        assert (change["name"], change["old"], change["new"]) == ("busybox", ["1.35.0"], ["1.36.1"])
        assert image["layers"]["shared"] == 1


def test_a_file_that_names_one_platform(built: Product) -> None:
    """By its manifest, which is known once the archive was read; the rest still needs an SBOM."""
    file = build(built, attested=False)
    index = json.loads(_member(file, "index.json"))["manifests"][0]["digest"]
    first = json.loads(_member(file, f"blobs/sha256/{index[7:]}"))["manifests"][0]["digest"]
    (built.folder / "rms.json").write_bytes(to_bytes(syft_spdx("anything", digest=first)))
    built.edit('name = "rms"\n', 'name = "rms"\nsbom = ["rms.json"]\n')
    done = built.run(*EXPORT, str(built.folder))
    fails(done, 2, "it is about the image 'anything:8.1.0-42', expected 'skydrm/rms:8.1.0-42'")
    (built.folder / "rms.json").write_bytes(to_bytes(syft_spdx(digest=first)))
    (found,) = built.export()["documents"]
    assert (found["names"], found["platform"]) == ("digest", "linux/amd64")
    assert "the image rms has no SBOM for linux/arm64 [" in refused(built)


def test_a_file_of_another_image_is_found_once_the_archive_was_read(built: Product) -> None:
    """Nothing tells the config digest before; no candidate becomes visible."""
    (built.folder / "rms.json").write_bytes(to_bytes(trivy_cyclonedx(image_id=OTHER)))
    built.edit('name = "rms"\n', 'name = "rms"\nsbom = ["rms.json"]\n')
    fails(built.run(*EXPORT, str(built.folder)), 2, f"it is about the image {OTHER}, expected sha256:")
    assert not built.candidate().exists()


def _member(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as tar:
        found = tar.extractfile(name)
        assert found is not None
        return found.read()
