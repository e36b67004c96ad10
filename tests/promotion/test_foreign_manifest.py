"""Who may push to the registry, and has no key, gets no other layers under a release tag."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from jenkins_release.config import load_configuration
from jenkins_release.oci.manifests import Descriptor, build_manifest, sha256_digest
from jenkins_release.registry.protocol import BlobPart
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.opened import open_candidate
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.promotion.plan import candidate_tag
from tests.fixtures.archives import layer_tar
from tests.fixtures.command import fails
from tests.fixtures.release import WITHOUT_DAEMON, Product

REF = "8.1.0/42"


@pytest.fixture
def approved(validated: Product, tmp_path: Path) -> Product:
    """A product of which 8.1.0/42 is approved."""
    validated.edit("approvals = 0", "approvals = 1")
    validated.approve(tmp_path / "plan.json")
    return validated


def push_other_layers(product: Product, release: bool, *, packed: bool = False) -> str:
    """Push an image with the right config around other layers, and return its digest.

    Args:
        product: Whose.
        release: Under the release tag, or else under the candidate's temporary one.
        packed: Around the right layers instead, compressed in another way.
    """
    return push_first_image(product, REF, "8.1.0" if release else "", packed=packed)


def push_first_image(product: Product, ref: str, reference: str, *, packed: bool) -> str:
    """Push an image with the config of a candidate's first one, and return its digest.

    Args:
        product: Whose.
        ref: The candidate.
        reference: Under which tag; the candidate's temporary one if empty; ``@`` for none.
        packed: Around the right layers, compressed in another way; else around others.
    """
    configuration = load_configuration(product.config, environ=product.environ)
    with Services(configuration, environ=product.environ) as services:
        opened = open_candidate(CandidateRef.parse(ref), services)
        image = opened.record.images[0]
        name = f"{product.prefix}/{image.name}"
        services.registry.create_repository(name)
        archive = (product.candidate(ref) / image.archive).read_bytes()
        config = archive[image.config_offset : image.config_offset + image.config_size]
        layers = [gzip.compress(layer_tar(f"evil {number}")) for number in range(len(image.layers))]
        if packed:
            stored = [archive[layer.offset : layer.offset + layer.size] for layer in image.layers]
            plain = [gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data for data in stored]
            layers = [gzip.compress(data, 3) for data in plain]
        for data in (config, *layers):
            with services.blobs.upload(name) as upload:
                upload.send(BlobPart([data]))
                upload.finish(sha256_digest(data))
        described = [Descriptor(sha256_digest(data), len(data)) for data in layers]
        made = build_manifest(Descriptor(sha256_digest(config), len(config)), described)
        place = made.digest if reference == "@" else reference or candidate_tag(opened)
        return services.blobs.put_manifest(name, place, made.media_type, made.data)


@WITHOUT_DAEMON
@pytest.mark.parametrize("release", [True, False], ids=["release tag", "temporary tag"])
def test_the_right_config_around_other_layers_is_not_promoted(
    approved: Product, way: dict[str, str], release: bool
):
    """Between approval and promotion: refused, under the release tag and under the temporary one."""
    evil = push_other_layers(approved, release)
    done = approved.run("promote", "run", REF)
    fixed = way["JENKINS_RELEASE_EXPORT_LAYERS"] == "gzip"
    told = "other layers" if not fixed else "other content" if release else "names another image"
    fails(done, 4, told, evil)
    others = [tags for name, tags in approved.tags().items() if not name.endswith("/rms")]
    assert not any("8.1.0" in tags for tags in others)
    assert not list((approved.candidate(REF) / "attestations").glob("*-promotion*"))


@WITHOUT_DAEMON
def test_the_right_layers_in_another_manifest_are_proven_by_their_content(
    approved: Product, way: dict[str, str]
):
    """Where QA signed no manifest, the layers decide; where it did, only exactly that one is released."""
    other = push_other_layers(approved, release=True, packed=True)
    done = approved.run("promote", "run", REF)
    if way["JENKINS_RELEASE_EXPORT_LAYERS"] == "gzip":
        fails(done, 4, "a release tag is taken by other content", other)
        return
    assert done.status == 0, done.text
    assert approved.tags()[f"{approved.prefix}/rms"] == {"8.1.0": other}


@pytest.mark.parametrize("way", ["registry, gzip"], indirect=True)
def test_a_fixed_manifest_is_released_with_the_docker_engine_too(approved: Product):
    """Docker would compress the layers again: such a candidate goes to the registry without it."""
    approved.environ["JENKINS_RELEASE_PROMOTE_ENGINE"] = "docker"
    approved.ok("promote", "run", REF)
    configuration = load_configuration(approved.config, environ=approved.environ)
    with Services(configuration, environ=approved.environ) as services:
        record = open_candidate(CandidateRef.parse(REF), services).record
    for image in record.images:
        assert image.manifest is not None
        assert approved.tags()[f"{approved.prefix}/{image.name}"] == {"8.1.0": image.manifest.digest}
