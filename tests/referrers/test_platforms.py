"""An image for several platforms: the statements are about the index that customers pull."""

from __future__ import annotations

import json

import pytest

from jenkins_release.sandbox.sample_layout import PLATFORMS
from tests.fixtures.attached import PROVENANCE, SUMMARY, RegistryView, statement_of, verify_with_sigstore
from tests.fixtures.release import Product
from tests.promotion.test_platforms import build, held, image_of
from tests.referrers.test_attach import ATTACH

SPDX = "https://spdx.dev/Document"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def image_names() -> tuple[str, ...]:
    """The image that is built for several platforms."""
    return ("rms",)


@pytest.fixture
def released(product: Product) -> Product:
    """SkyDRM, whose only image is an index."""
    build(product)
    product.edit('name = "rms"\n', 'name = "rms"\narchive = "out/rms.tar"\n')
    product.append(f"\n[export]\nplatforms = {json.dumps(PLATFORMS)}\n")
    product.export()
    product.sign_off()
    product.ok("promote", "run", "8.1.0/42")
    return product


def test_statements_are_about_the_index(released: Product) -> None:
    """Its digest is the subject of the artifact and of the statement; a second run finds them.

    The SBOM of a platform, which BuildKit wrote, is about the manifest of that platform.
    """
    report = released.ok(*ATTACH)
    view = RegistryView(released)
    ((repository, digest),) = view.images()
    platforms = [each["manifest"]["digest"] for each in image_of(released)["platforms"]]
    assert [(each["digest"], each["predicateType"]) for each in report["statements"]] == [
        (digest, SUMMARY),
        (digest, PROVENANCE),
        *((platform, SPDX) for platform in platforms),
    ]
    for platform in platforms:
        bundle = view.bundles(repository, platform)[SPDX]
        done = verify_with_sigstore(bundle, view.key(), platform)
        assert done.returncode == 0, done.stderr
        assert statement_of(bundle)["predicate"]["name"] == "skydrm/rms"
    for entry in view.entries(repository, digest):
        subject = view.manifest(repository, entry["digest"])["subject"]
        assert (subject["mediaType"], subject["digest"]) == (OCI_INDEX, digest)
    bundles = view.bundles(repository, digest)
    assert set(bundles) == {SUMMARY, PROVENANCE}
    for bundle in bundles.values():
        assert [each["digest"]["sha256"] for each in statement_of(bundle)["subject"]] == [digest[7:]]
        done = verify_with_sigstore(bundle, view.key(), digest)
        assert done.returncode == 0, done.stderr
    assert released.ok(*ATTACH)["changed"] is False


def test_a_deletion_takes_them_along(released: Product) -> None:
    """With the index and what it lists."""
    released.ok(*ATTACH)
    withdraw = ("release", "withdraw", "8.1.0", "--reason", "x")
    assert released.ok(*withdraw)["statementsRemoved"] == 2
    released.ok(*withdraw, "--delete", "--confirm", "8.1.0/42")
    assert held(released) == {}
