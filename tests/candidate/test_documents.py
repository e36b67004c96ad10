"""SBOM and VEX documents in a candidate: picked, validated, written, verified, required by the gate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jenkins_release.images import DockerEngine
from jenkins_release.sbom import MAX_DOCUMENT_BYTES
from tests.fixtures.command import Outcome, fails
from tests.fixtures.release import Product
from tests.fixtures.sbom import (
    OTHER,
    buildkit_spdx,
    buildkit_statement,
    openvex,
    syft_spdx,
    to_bytes,
    trivy_cyclonedx,
)

RMS, VIEWER = "skydrm/rms", "skydrm/viewer"


def configure(product: Product, name: str, **keys: list[str]) -> None:
    """Have ``release.toml`` name documents of an image."""
    lines = "".join(f"{key} = {json.dumps(patterns)}\n" for key, patterns in keys.items())
    product.edit(f'name = "{name}"\n', f'name = "{name}"\n{lines}')


def put(product: Product, **files: Any) -> Path:
    """Write documents into the build's output; in their names, ``__`` stands for a full stop."""
    folder = product.folder / "out"
    folder.mkdir(exist_ok=True)
    for name, value in files.items():
        data = value if isinstance(value, bytes) else to_bytes(value)
        (folder / f"{name.replace('__', '.')}.json").write_bytes(data)
    return folder


def export(product: Product, *words: str) -> Outcome:
    command = ("candidate", "export", "--version", "8.1.0", "--build", "42", "--from", str(product.folder))
    return product.run(*command, *words)


def nothing_is_left(product: Product) -> None:
    """No candidate, and no unfinished folder either."""
    for folder in product.share.glob("SkyDRM/*"):
        if folder.name != ".leases":
            assert [*folder.iterdir()] == []


@pytest.fixture
def described(product: Product, images_42: list[str]) -> Product:
    """A product of which both images have an SBOM, and one has VEX."""
    del images_42
    put(
        product,
        rms__spdx=syft_spdx(RMS),
        rms__vex=openvex(),
        viewer__cdx=trivy_cyclonedx(f"{VIEWER}:8.1.0-42"),
    )
    configure(product, "rms", sbom=["out/rms.spdx.json"], vex=["out/rms.vex.json"])
    configure(product, "viewer", sbom=["out/viewer.*.json"])
    return product


class TestExport:
    def test_documents_are_part_of_the_candidate(self, described: Product) -> None:
        """Their bytes as they are, with hash and size, and a record of what they are."""
        done = described.export()
        record = json.loads((described.candidate() / "candidate.json").read_bytes())
        paths = ["sbom/rms.spdx.json", "sbom/rms.openvex.json", "sbom/viewer.cdx.json"]
        assert [each["path"] for each in record["documents"]] == paths
        assert record["documents"][0] == {
            "path": "sbom/rms.spdx.json",
            "image": "rms",
            "kind": "sbom",
            "format": "spdx",
            "format_version": "2.3",
            "origin": "file",
            "names": "name",
            "packages": 3,
        }
        assert record["documents"][1]["statements"] == 2
        files = {file["path"]: file for file in record["files"]}
        for path, name in zip(paths, ("rms.spdx", "rms.vex", "viewer.cdx"), strict=True):
            data = (described.folder / "out" / f"{name}.json").read_bytes()
            assert (described.candidate() / path).read_bytes() == data
            expected = (len(data), hashlib.sha256(data).hexdigest())
            assert (files[path]["size"], files[path]["sha256"]) == expected
        sums = (described.candidate() / "SHA256SUMS").read_text()
        assert all(f"*{path}\n" in sums for path in paths)
        assert [each["packages"] for each in done["documents"]] == [3, None, 4]
        described.ok("candidate", "verify", "8.1.0/42")
        shown = described.run("candidate", "show", "8.1.0/42")
        assert "sbom/rms.spdx.json     rms     SPDX 2.3" in shown.out
        assert "names the image" in shown.out
        target = described.folder / "fetched"
        described.ok("candidate", "fetch", "8.1.0/42", str(target))
        assert (target / paths[0]).read_bytes() == (described.folder / "out" / "rms.spdx.json").read_bytes()

    def test_a_candidate_without_documents_does_not_mention_them(
        self, product: Product, images_42: list[str]
    ) -> None:
        """Its bytes are those of a program that knew none."""
        del images_42
        assert product.export()["documents"] == []
        assert b"documents" not in (product.candidate() / "candidate.json").read_bytes()

    def test_the_config_digest_proves_that_it_is_of_the_image(
        self, product: Product, engine: DockerEngine, images_42: list[str]
    ) -> None:
        """Trivy states it; whatever the image was called when it was scanned."""
        digest = engine.inspect(images_42[0]).config_digest
        put(product, rms=trivy_cyclonedx("scanned:now", image_id=digest))
        configure(product, "rms", sbom=["out/rms.json"])
        assert [each["names"] for each in product.export()["documents"]] == ["digest"]

    def test_an_attestation_of_buildkit(self, product: Product, images_42: list[str]) -> None:
        """What `docker buildx build --sbom=true` left in the build's output."""
        del images_42
        put(product, rms=buildkit_statement(buildkit_spdx(), name="bin/rms"))
        configure(product, "rms", sbom=["out/rms.json"])
        (found,) = product.export()["documents"]
        assert (found["origin"], found["names"], found["packages"]) == ("attestation", "nothing", 3)

    def test_several_documents_of_an_image(self, product: Product, images_42: list[str]) -> None:
        """The operating system by one scanner, the application by another: each gets its own name."""
        del images_42
        put(product, a=trivy_cyclonedx(), b=trivy_cyclonedx(packages=()), c=syft_spdx())
        vex = trivy_cyclonedx()
        vex["vulnerabilities"] = [{"id": "CVE-2026-1", "analysis": {"state": "resolved"}}]
        put(product, vex=vex)
        configure(product, "rms", sbom=["out/?.json"], vex=["out/vex.json"])
        assert [each["path"] for each in product.export()["documents"]] == [
            "sbom/rms.cdx.json",
            "sbom/rms.2.cdx.json",
            "sbom/rms.spdx.json",
            "sbom/rms.vex.cdx.json",
        ]

    def test_a_dry_run_names_them(self, described: Product) -> None:
        """They are validated, and nothing is written."""
        done = export(described, "--dry-run")
        assert done.status == 0, done.text
        assert "sbom/viewer.cdx.json" in done.out
        assert not (described.share / "SkyDRM").exists()

    def test_read_back(self, described: Product) -> None:
        """`export.read_back` reads documents back too."""
        described.environ["JENKINS_RELEASE_EXPORT_READ_BACK"] = "true"
        described.export()

    def test_a_document_that_was_altered_on_the_share(self, described: Product) -> None:
        """`candidate verify` names it."""
        described.export()
        altered = described.candidate() / "sbom" / "rms.spdx.json"
        altered.write_bytes(altered.read_bytes().replace(b"3.0.15", b"3.0.16"))
        fails(described.run("candidate", "verify", "8.1.0/42"), 4, "rms.spdx.json", "was altered")


class TestMistakes:
    def test_every_mistake_at_once(self, product: Product, images_42: list[str]) -> None:
        """Of all documents of all images, before anything is written."""
        del images_42
        wrong = trivy_cyclonedx(f"{VIEWER}:8.1.0-42")
        wrong["components"][0].pop("name")
        put(product, a=b"SPDXVersion: SPDX-2.3", b=syft_spdx(tag="8.1.0-41"), c=wrong, d=syft_spdx(RMS))
        put(product, e={"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"})
        configure(product, "rms", sbom=["out/[abe].json", "out/none-{build}.json"])
        configure(product, "viewer", sbom=["out/c.json", "out/d.json"], vex=["out/c.json"])
        done = export(product)
        fails(
            done,
            2,
            "a.json is not valid JSON",
            "b.json is not the SBOM of image rms: it is about the image skydrm/rms:8.1.0-41",
            "e.json: it is SPDX 3, which is not supported",
            "image rms: sbom = 'out/none-42.json' matches no file",
            "c.json: components[0]: 'name' is a required property",
            "d.json is not the SBOM of image viewer: it is about the image 'rms:8.1.0-42'",
            "see sbom and vex of [[images]]",
        )
        nothing_is_left(product)

    @pytest.mark.parametrize(
        ("written", "key", "message"),
        [
            (openvex, "sbom", "is not the SBOM of image rms: it has no list of packages"),
            (trivy_cyclonedx, "vex", "is not the VEX of image rms: it says of no vulnerability"),
            (
                lambda: trivy_cyclonedx(image_id=OTHER),
                "sbom",
                f"it is about the image {OTHER}, expected sha256:",
            ),
            (lambda: b" " * (MAX_DOCUMENT_BYTES + 1), "sbom", "SYFT_FILE_METADATA_SELECTION=none"),
            (lambda: b"\xef\xbb\xbf{}", "sbom", "is not valid JSON"),
        ],
    )
    def test_a_document_that_is_refused(
        self, product: Product, images_42: list[str], written: Callable[[], Any], key: str, message: str
    ) -> None:
        """The wrong kind, the wrong image, or far too large."""
        del images_42
        put(product, rms=written())
        configure(product, "rms", **{key: ["out/rms.json"]})
        fails(export(product), 2, message)
        nothing_is_left(product)

    def test_the_same_document_twice(self, product: Product, images_42: list[str]) -> None:
        """Under two names; one file that two patterns match counts once."""
        del images_42
        put(product, a=syft_spdx(), b=syft_spdx())
        configure(product, "rms", sbom=["out/a.json", "out/?.json"])
        done = export(product)
        fails(done, 2, "b.json is the same as ", "both of image rms")
        assert "a.json is the same" not in done.err

    def test_the_digest_of_another_image(
        self, product: Product, engine: DockerEngine, images_42: list[str]
    ) -> None:
        """The documents of two images were exchanged."""
        digest = engine.inspect(images_42[1]).config_digest
        put(product, rms=syft_spdx(digest=digest))
        configure(product, "rms", sbom=["out/rms.json"])
        fails(export(product), 2, f"{digest}, another image of the candidate")

    @pytest.mark.parametrize("pattern", ["/etc/*.json", "../x.json", "out/{nothing}.json", ""])
    def test_a_pattern_that_cannot_be(self, product: Product, pattern: str) -> None:
        """As for installers."""
        configure(product, "rms", sbom=[pattern])
        fails(export(product), 2, "images[0].sbom")


class TestGate:
    def test_an_image_without_an_sbom(self, described: Product) -> None:
        """The gate is shut until every image has one, whoever signed off."""
        described.edit('"out/viewer.*.json"', "")
        described.edit("[policy]\n", "[policy]\nsbom = true\n")
        described.export()
        described.sign_off()
        fails(described.run("promote", "run", "8.1.0/42"), 3, "the image viewer has no SBOM [sbom: ")

    def test_every_image_has_one(self, described: Product) -> None:
        """Then it opens as ever, and the images are promoted."""
        described.edit("[policy]\n", "[policy]\nsbom = true\n")
        described.export()
        described.sign_off()
        described.ok("promote", "run", "8.1.0/42")
