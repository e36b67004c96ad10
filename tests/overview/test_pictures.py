"""The pictures of the docs: a Friday afternoon of SkyDRM, on the board and on the page of a plan.

``docs/pictures`` has copies of what this test writes to ``build/screenshots``; they are taken again by hand.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.sample_images import build_images
from tests.fixtures.approval import Release
from tests.fixtures.browser import SCREENSHOTS
from tests.fixtures.release import SERVICES, Product
from tests.fixtures.sbom import syft_spdx, to_bytes

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
NEXT = "8.1.1/50"
WIDTH, HEIGHT = 1280, 860
OLD = ("pkg:deb/debian/libssl3@3.0.15-1", "pkg:npm/ms@2.0.0")
NEW = ("pkg:deb/debian/libssl3@3.0.16-1", "pkg:npm/ms@2.0.0", "pkg:npm/undici@7.3.0")


def export(product: Product, version: str, build: str, packages: tuple[str, ...] = ()) -> str:
    """Export a candidate with an installer. Returns its name."""
    out = product.folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    (out / f"SkyDRM-{version}-{build}.msi").write_bytes(build.encode() * 200_000)
    (product.folder / "rms.json").write_bytes(
        to_bytes(syft_spdx(tag=f"{version}-{build}", packages=packages))
    )
    words = ("candidate", "export", "--version", version, "--build", build, "--revision", "7d41f0e")
    product.ok(*words, "--from", str(product.folder))
    return f"{version}/{build}"


def picture(chromium: Any, page: Path, name: str) -> None:
    """Take a picture of the upper part of a page, as in a window."""
    context = chromium.new_context(viewport={"width": WIDTH, "height": HEIGHT})
    try:
        tab = context.new_page()
        tab.goto(page.as_uri())
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        tab.screenshot(path=str(SCREENSHOTS / f"{name}.png"))
    finally:
        context.close()
    assert (PICTURES / f"{name}.png").read_bytes().startswith(b"\x89PNG"), f"copy it to {PICTURES}"


def test_the_board_and_the_plan(tested: Release, engine: DockerEngine, chromium: Any) -> None:
    """8.1.0 is released, 8.1.1 waits for approval, its first build failed, 8.2.0-rc1 waits for QA."""
    product = tested.product
    product.edit('name = "rms"\n', 'name = "rms"\nsbom = ["rms.json"]\n')
    product.append("\n[[installers]]\nfiles = 'out/*'\n")
    for version, build in (("8.0.4", "7"), ("8.1.1", "49"), ("8.1.1", "50"), ("8.2.0-rc1", "60")):
        build_images(engine, version, build, names=SERVICES)
    for version, build in (("8.0.4", "7"), ("8.1.0", "43")):
        ident = export(product, version, build, OLD)
        product.sign_off(ident)
        plan = product.folder / "plan.json"
        product.environ["BUILD_USER_ID"] = "Riley"
        product.ok("promote", "plan", ident, "--out", str(plan))
        product.ok("promote", "approve", str(plan), "--approver", "Alex Baker", "--reason", "it goes out")
        product.ok("promote", "run", ident)
        product.ok("release", "publish", ident)
        product.environ["BUILD_USER_ID"] = "Blake"
    shutil.rmtree(product.candidate())
    product.sign_off(export(product, "8.1.1", "49", NEW), "fail")
    product.sign_off(export(product, "8.1.1", "50", NEW))
    export(product, "8.2.0-rc1", "60", NEW)
    product.environ["BUILD_USER_ID"] = "Riley"
    page = product.folder / "plan.html"
    product.ok("promote", "plan", NEXT, "--page", str(page))
    picture(chromium, page, "plan")
    product.ok("release", "board", "--out", str(product.folder / "board"))
    picture(chromium, product.folder / "board" / "index.html", "board")
    shown = (product.folder / "board" / "index.html").read_text()
    assert [part in shown for part in ("8.1.1", "8.2.0-rc1", "8.1.0", "8.0.4")] == [True] * 4
