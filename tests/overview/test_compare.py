"""Comparing two versions or candidates: as text, as JSON, and as a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jenkins_release import CandidateRef, CompareReport, CompareRequest, Services, compare_releases
from jenkins_release.config import load_configuration
from jenkins_release.images import DockerEngine
from tests.fixtures.browser import FORBIDDEN, jenkins_serves, looked_at
from tests.fixtures.command import fails
from tests.fixtures.release import Product
from tests.fixtures.sbom import openvex, syft_spdx, to_bytes, trivy_cyclonedx
from tests.release.boundaries import contents

OLD = ("pkg:deb/debian/libssl3@3.0.15-1?distro=debian-12", "pkg:npm/ms@2.0.0", "pkg:npm/gone@1")
NEW = ("pkg:deb/debian/libssl3@3.0.16-1?distro=debian-12.8", "pkg:npm/ms@2.0.0", "pkg:npm/%3Cnew%3E@1")
MSI = "SkyDRM-8.1.0-{}.msi"


@pytest.fixture
def compared(product: Product, images_42: list[str], engine: DockerEngine) -> Product:
    """Candidates 8.1.0/42 and 43, whose image rms is described; QA passed 42."""
    del images_42, engine
    out = product.installers(MSI.format(42))
    product.edit('name = "rms"\n', 'name = "rms"\nsbom = ["rms.json"]\nvex = ["vex.json"]\n')
    for build, packages, status in (("42", OLD, "fixed"), ("43", NEW, "under_investigation")):
        (product.folder / "rms.json").write_bytes(
            to_bytes(syft_spdx(tag=f"8.1.0-{build}", packages=packages))
        )
        vex = openvex()
        vex["statements"][1]["status"] = status
        (product.folder / "vex.json").write_bytes(to_bytes(vex))
        for old in out.glob("*"):
            old.unlink()
        (out / MSI.format(build)).write_bytes(build.encode() * 1000 * int(build))
        product.export(build)
    product.sign_off()
    return product


def compare(product: Product, *words: str) -> Any:
    return product.ok("release", "compare", *(words or ("8.1.0/42", "8.1.0/43")))


class TestResult:
    def test_what_differs_between_two_candidates(self, compared: Product) -> None:
        """Packages by image; what has no SBOM is unknown, never empty."""
        found = compare(compared)
        rms, viewer = found["images"]
        assert (rms["name"], rms["state"], rms["packagesUnknown"]) == ("rms", "changed", "")
        packages = rms["packages"]
        assert [each["name"] for each in packages["added"]] == ["<new>"]
        assert [each["name"] for each in packages["removed"]] == ["gone"]
        assert packages["changed"] == [
            {
                "name": "debian/libssl3",
                "ecosystem": "deb",
                "key": "pkg:deb/debian/libssl3",
                "old": ["3.0.15-1"],
                "new": ["3.0.16-1"],
            }
        ]
        assert packages["unchanged"] == 1
        expected = {
            "what": "CVE-2026-2222",
            "change": "changed",
            "old": "fixed",
            "new": "under_investigation",
        }
        assert rms["vex"] == [expected]
        assert viewer["packages"] is None
        assert viewer["packagesUnknown"] == "no SBOM in 8.1.0/42 and 8.1.0/43: packages unknown"
        for image in (rms, viewer):
            layers = image["layers"]
            assert layers["shared"] + layers["added"] >= 2
            assert layers["added"] >= 1
        (installer,) = found["installers"]
        assert installer["state"] == "changed"
        assert [installer[side]["name"] for side in ("old", "new")] == [MSI.format(42), MSI.format(43)]

    def test_text(self, compared: Product) -> None:
        """A summary, then each image."""
        done = compared.run("release", "compare", "8.1.0/42", "8.1.0/43")
        assert done.status == 0, done.text
        for line in (
            "SkyDRM: from 8.1.0/42 to 8.1.0/43",
            "    debian/libssl3 (deb) 3.0.15-1 -> 3.0.16-1",
            "    gone (npm) 1",
            "no SBOM in 8.1.0/42 and 8.1.0/43: packages unknown",
            "    CVE-2026-2222: fixed -> under_investigation",
            "  1 package unchanged",
        ):
            assert line in done.out.splitlines(), done.out
        assert [line.split()[:5] for line in done.out.splitlines() if line.startswith("viewer")] == [
            ["viewer", "changed", "?", "?", "?"]
        ]

    def test_the_other_way_round(self, compared: Product) -> None:
        """What was added was removed."""
        packages = compare(compared, "8.1.0/43", "8.1.0/42")["images"][0]["packages"]
        assert [each["name"] for each in packages["added"]] == ["gone"]

    @pytest.mark.parametrize("release", [("promote", "run"), ("release", "publish")], ids=" ".join)
    def test_a_version_is_its_released_build_or_the_newest(
        self, compared: Product, release: tuple[str, ...]
    ) -> None:
        """And it is said which one was taken."""
        newest = compare(compared, "8.1.0/42", "8.1.0")
        assert newest["notes"] == ["8.1.0: 8.1.0/43 is compared, the newest build, as none is released"]
        compared.ok(*release, "8.1.0/42")
        found = compare(compared, "8.1.0", "8.1.0/43")
        assert found["old"]["candidate"] == "8.1.0/42"
        assert (found["old"]["released"], found["new"]["released"]) == (True, False)
        assert found["notes"] == ["8.1.0: 8.1.0/42 is compared, the released build"]

    def test_the_same_image(self, compared: Product, engine: DockerEngine) -> None:
        """However it was scanned, its packages are the same."""
        (compared.folder / "rms.json").write_bytes(to_bytes(trivy_cyclonedx("skydrm/rms:8.1.0-44")))
        for name in compared.names:
            engine.tag(f"skydrm/{name}:8.1.0-43", f"skydrm/{name}:8.1.0-44")
        try:
            compared.export("44")
        finally:
            for name in compared.names:
                engine.untag(f"skydrm/{name}:8.1.0-44")
        images = compare(compared, "8.1.0/43", "8.1.0/44")["images"]
        assert [(each["state"], each["packagesUnknown"]) for each in images] == [("same", "")] * 2
        noted = compare(compared, "8.1.0/42", "8.1.0/44")["images"][0]
        assert "a scanner may name the same package differently" in noted["notes"][0]

    def test_an_image_that_is_new(self, compared: Product) -> None:
        """It has nothing to be compared with."""
        text = compared.config.read_text()
        head, _, rest = text.partition('[[images]]\nname = "viewer"')
        compared.config.write_text(head + rest.partition("\n\n")[2])
        (compared.folder / "rms.json").write_bytes(to_bytes(syft_spdx(tag="8.1.0-43")))
        compared.share.joinpath("SkyDRM/8.1.0/43").rename(compared.folder / "aside")
        compared.export("43")
        images = compare(compared)["images"]
        assert [(each["name"], each["state"]) for each in images] == [
            ("rms", "changed"),
            ("viewer", "removed"),
        ]

    def test_python(self, compared: Product) -> None:
        """The verb of the package returns the same."""
        configuration = load_configuration(compared.config, environ=compared.environ)
        with Services(configuration, environ=compared.environ) as services:
            report = compare_releases(CompareRequest("8.1.0/42", "8.1.0/43"), services)
        assert isinstance(report, CompareReport)
        assert report.new.ref == CandidateRef("8.1.0", "43")


class TestMistakes:
    @pytest.mark.parametrize(
        ("words", "status", "message"),
        [
            (("8.1.0/42", "8.2.0"), 2, "there is no candidate of SkyDRM 8.2.0"),
            (("8.1.0/42", "8.1.0/99"), 2, "8.1.0/99"),
            (("../8.1.0", "8.1.0/43"), 2, ".."),
            (("8.1.0/42", "8.1.0/42"), 2, "are the same candidate"),
            (("8.1.0/42", "8.1.0/43", "--page", "/nowhere/x.html"), 2, "cannot be written"),
            (("8.1.0/42", "8.1.0/43", "--page", "x.css"), 2, "would overwrite its style sheet"),
        ],
    )
    def test_what_cannot_be_compared(
        self, compared: Product, words: tuple[str, ...], status: int, message: str
    ) -> None:
        """One clear error."""
        fails(compared.run("release", "compare", *words), status, message)

    @pytest.mark.parametrize("name", ["sbom/rms.spdx.json", "candidate.json"])
    def test_a_file_that_was_altered(self, compared: Product, name: str) -> None:
        """Nothing is shown that QA did not sign."""
        file = compared.candidate() / name
        file.write_bytes(
            file.read_bytes().replace(b"libssl3", b"libssl4").replace(b'"build_url":""', b'"build_url":"x"')
        )
        done = compared.run("release", "compare", "8.1.0/42", "8.1.0/43")
        assert done.status == 4, done.text
        assert "libssl4" not in done.text

    def test_a_config_that_was_altered(self, compared: Product) -> None:
        """Settings come from the archive, and are proven."""
        record = json.loads((compared.candidate() / "candidate.json").read_bytes())["images"][0]
        archive = compared.candidate() / record["archive"]
        with archive.open("r+b") as file:
            file.seek(record["config_offset"] + 1)
            file.write(b" ")
        fails(
            compared.run("release", "compare", "8.1.0/42", "8.1.0/43"),
            4,
            "the config of image rms",
            "expected",
        )

    def test_nothing_outside_changes(self, compared: Product) -> None:
        """It only reads."""
        before = contents(compared.share)
        compare(compared)
        assert contents(compared.share) == before


class TestPage:
    @pytest.fixture
    def page(self, compared: Product) -> Path:
        file = compared.folder / "pages" / "compare.html"
        file.parent.mkdir()
        done = compared.run("release", "compare", "8.1.0/42", "8.1.0/43", "--page", str(file))
        assert done.status == 0, done.text
        assert f"wrote {file} and compare.css" in done.out
        return file

    def test_it_works_in_jenkins_and_from_a_disk(self, page: Path, chromium: Any) -> None:
        """With Jenkins' own policy and as a file: styled, without a complaint of the browser."""
        with (
            jenkins_serves(page.parent) as url,
            looked_at(chromium, f"{url}/compare.html", "compare-jenkins") as tab,
        ):
            text = tab.locator("body").inner_text()
        with looked_at(chromium, page.as_uri(), "compare-phone", "phone") as tab:
            assert tab.locator("main").inner_text().startswith("Images")
        for part in (
            "what changed from 8.1.0/42 to 8.1.0/43",
            "debian/libssl3",
            "<new>",
            "no SBOM in 8.1.0/42 and 8.1.0/43: packages unknown",
            "under_investigation",
            MSI.format(43),
        ):
            assert part in text

    def test_there_is_nothing_that_the_policy_forbids(self, page: Path) -> None:
        """No script, no inline style, no embedded data, and nothing from elsewhere."""
        html = page.read_text()
        for forbidden in (*FORBIDDEN, "http:", "https:"):
            assert forbidden not in html
        assert html.count('href="./compare.css"') == 1
        assert "&lt;new&gt;" in html
