"""Whether a document is about an image, as far as it says so."""

from __future__ import annotations

from typing import Any

import pytest

from jenkins_release.sbom import contradiction, read_document
from tests.fixtures.sbom import (
    MANIFEST,
    OTHER,
    buildkit_spdx,
    buildkit_statement,
    openvex,
    syft_spdx,
    to_bytes,
    trivy_cyclonedx,
)

CONFIG = "sha256:" + "11" * 32


def compare(document: Any, config: str = CONFIG, others: tuple[str, ...] = ()) -> tuple[str, str]:
    subject = read_document(to_bytes(document), "rms.json").subject
    return contradiction(
        subject,
        reference="skydrm/rms:8.1.0-42",
        repository="customers/rms",
        config_digests=[config] if config else [],
        others=others,
    )


@pytest.mark.parametrize(
    ("document", "by"),
    [
        (syft_spdx(), "name"),
        (syft_spdx("docker.io/skydrm/rms"), "name"),
        (syft_spdx("rms"), "name"),
        (syft_spdx("registry.example:5000/customers/rms"), "name"),
        (trivy_cyclonedx(), "name"),
        (trivy_cyclonedx("docker.io/skydrm/rms:8.1.0-42"), "name"),
        (trivy_cyclonedx("skydrm/rms"), "name"),
        (trivy_cyclonedx(image_id=CONFIG), "digest"),
        (trivy_cyclonedx("anything:else", image_id=CONFIG), "digest"),
        (trivy_cyclonedx(CONFIG), "digest"),
        (trivy_cyclonedx("/var/lib/jenkins/out/rms.tar"), "nothing"),
        (trivy_cyclonedx("rms-8.1.0.tar"), "nothing"),
        (syft_spdx(digest=CONFIG), "digest"),
        (buildkit_spdx(), "nothing"),
        (buildkit_statement(buildkit_spdx()), "name"),
        (openvex(), "name"),
        (openvex("pkg:deb/debian/openssl"), "nothing"),
    ],
)
def test_a_document_of_the_image(document: Any, by: str) -> None:
    """By its config digest or its name; a scan of an archive or a folder says nothing about the image."""
    assert compare(document) == (by, "")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (trivy_cyclonedx(image_id=OTHER), f"about the image {OTHER}, expected {CONFIG}"),
        (trivy_cyclonedx(OTHER), f"about the image {OTHER}, expected {CONFIG}"),
        (syft_spdx("skydrm/viewer"), "'viewer:8.1.0-42', expected 'skydrm/rms:8.1.0-42'"),
        (syft_spdx(tag="8.1.0-41"), "skydrm/rms:8.1.0-41, expected 'skydrm/rms:8.1.0-42'"),
        (trivy_cyclonedx("skydrm/rms:latest"), "skydrm/rms:latest, expected"),
        (trivy_cyclonedx("other/rms:8.1.0-42"), "'other/rms:8.1.0-42', expected"),
        (trivy_cyclonedx("skydrm/xrms:8.1.0-42"), "'skydrm/xrms:8.1.0-42', expected"),
        (openvex("pkg:oci/viewer"), "'viewer', expected"),
    ],
)
def test_a_document_of_another_image(document: Any, message: str) -> None:
    """The file of another image, or of an earlier build, which lay in the workspace."""
    assert message in compare(document)[1]


def test_the_manifest_that_a_scanner_computed_says_nothing() -> None:
    """Syft gives the digest of a manifest that no registry has; only the name can be compared."""
    assert compare(syft_spdx(digest=MANIFEST)) == ("name", "")


def test_the_digest_of_another_image_of_the_candidate() -> None:
    """Whatever it is called."""
    found = compare(syft_spdx(digest=OTHER), others=(OTHER,))
    assert found == ("nothing", f"it is about {OTHER}, another image of the candidate")


def test_a_manifest_that_is_known() -> None:
    """An archive of the build has one, and scanners give its digest."""
    subject = read_document(to_bytes(syft_spdx("scanned", digest=OTHER)), "rms.json").subject
    found = contradiction(
        subject,
        reference="skydrm/rms:8.1.0-42",
        repository="customers/rms",
        config_digests=[CONFIG],
        manifests=[OTHER],
    )
    assert found == ("digest", "")


def test_an_unknown_config_digest() -> None:
    """The containerd image store does not tell it: the name decides."""
    assert compare(trivy_cyclonedx(image_id=OTHER), config="") == ("name", "")
