"""SBOM and VEX documents in the release area and at the portal, and verified without the share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fixtures.command import fails
from tests.fixtures.release import Product
from tests.fixtures.sbom import openvex, syft_spdx, to_bytes

MSI, SBOM, VEX = "SkyDRM-8.1.0.msi", "sbom/rms.spdx.json", "sbom/rms.openvex.json"


@pytest.fixture
def shipped(product: Product, images_42: list[str]) -> Product:
    """A product with images and an installer, whose image rms is described, and which QA has passed."""
    del images_42
    product.installers(MSI)
    (product.folder / "rms.spdx.json").write_bytes(to_bytes(syft_spdx()))
    (product.folder / "rms.vex.json").write_bytes(to_bytes(openvex()))
    product.edit('name = "rms"\n', 'name = "rms"\nsbom = ["rms.spdx.json"]\nvex = ["rms.vex.json"]\n')
    product.export()
    product.sign_off()
    return product


def folder(product: Product) -> Path:
    return product.releases / "SkyDRM" / "8.1.0"


def test_documents_go_to_customers_with_the_installers(shipped: Product, tmp_path: Path) -> None:
    """Release area, portal and its page: the bytes that QA signed."""
    done = shipped.ok("release", "publish", "8.1.0/42")
    assert [(file["path"], file["kind"]) for file in done["files"]] == [
        (f"installers/{MSI}", "installer"),
        (VEX, "vex"),
        (SBOM, "sbom"),
    ]
    assert (folder(shipped) / SBOM).read_bytes() == to_bytes(syft_spdx())
    www = tmp_path / "www"
    www.mkdir()
    shipped.append(f"\n[portal]\nkind = 'share'\naccess = 'public'\nlocation = '{www}'\n")
    shipped.ok("release", "portal", "8.1.0")
    assert (www / "SkyDRM" / "8.1.0" / SBOM).read_bytes() == to_bytes(syft_spdx())
    page = (www / "SkyDRM" / "index.html").read_text()
    assert f'href="./8.1.0/{SBOM}"' in page
    assert "software bill of materials (SBOM)" in page
    assert "vulnerability statements (VEX)" in page


def test_a_customer_proves_a_document(shipped: Product, tmp_path: Path) -> None:
    """`verify --files` knows it by its bytes, and refuses another one of its name."""
    shipped.ok("promote", "run", "8.1.0/42")
    shipped.ok("release", "publish", "8.1.0/42")
    bundle, file = tmp_path / "8.1.0.jsonl", tmp_path / "rms.spdx.json"
    shipped.ok("release", "attestations", "8.1.0", "--out", str(bundle))
    file.write_bytes((folder(shipped) / SBOM).read_bytes())
    words = ("verify", "--bundle", str(bundle), "--trusted-keys", str(shipped.folder / "keys"), "--files")
    done = shipped.run(*words, str(file))
    assert done.status == 0, done.text
    assert SBOM in done.out
    file.write_bytes(to_bytes(syft_spdx(tag="8.1.0-43")))
    fails(shipped.run(*words, str(file)), 4, f"({SBOM}), found")


def test_a_document_that_was_altered_in_the_release_area(shipped: Product) -> None:
    """It is found before it reaches the portal."""
    shipped.ok("release", "publish", "8.1.0/42")
    altered = folder(shipped) / SBOM
    altered.chmod(0o644)
    altered.write_bytes(altered.read_bytes().replace(b"3.0.15", b"3.0.16"))
    fails(shipped.run("release", "publish", "8.1.0/42"), 4, "rms.spdx.json", "was altered")


def test_another_document_than_the_candidate_s(shipped: Product) -> None:
    """A release.json with other bytes for it is not the candidate's, whoever wrote it."""
    shipped.ok("release", "publish", "8.1.0/42")
    record = folder(shipped) / "release.json"
    record.chmod(0o644)
    document = json.loads(record.read_bytes())
    next(file for file in document["files"] if file["path"] == SBOM)["sha256"] = "0" * 64
    record.write_text(json.dumps(document))
    fails(shipped.run("release", "publish", "8.1.0/42"), 4, "with other content")


def test_documents_alone_are_no_release(shipped: Product) -> None:
    """There is nothing that a customer could install."""
    shipped.edit("[[installers]]\nfiles = 'out/*'\n", "")
    (shipped.folder / "rms.spdx.json").write_bytes(to_bytes(syft_spdx(tag="8.1.0-43")))
    shipped.export("43")
    fails(shipped.run("release", "publish", "8.1.0/43"), 2, "there is nothing to publish")
