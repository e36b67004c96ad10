"""Layers of a registry that someone else pushed: proven by their bytes."""

from __future__ import annotations

import gzip

import pytest

from jenkins_release.base.errors import IntegrityError
from jenkins_release.images.layer_proof import prove_layers
from jenkins_release.oci.manifests import Content, Descriptor
from tests.fixtures.archives import STARTS, config_json, layer_beginning, sha256


def prove(stored: bytes, layer: bytes, compression: str) -> tuple[str, ...]:
    """Prove a manifest of one layer."""
    blobs = {sha256(data): data for data in (stored, config_json([layer]))}
    config, layers = (
        Descriptor(sha256(config_json([layer])), len(config_json([layer]))),
        Descriptor(sha256(stored), len(stored), compression),
    )
    return prove_layers(Content(config, (layers,)), lambda blob: [blobs[blob.digest]], "the image").diff_ids


@pytest.mark.parametrize("start", STARTS)
def test_a_plain_layer_whose_first_file_begins_as_compressed_data_does(start: str):
    """Docker before 23 takes one that looks like zstd, the classic image store none that looks otherwise."""
    layer = layer_beginning(STARTS[start])
    assert prove(gzip.compress(layer), layer, "gzip") == (sha256(layer),)
    if "zstd" in start:
        assert prove(layer, layer, "none") == (sha256(layer),)
        with pytest.raises(IntegrityError, match="is compressed with none, but its media type says zstd"):
            prove(layer, layer, "zstd")
    else:
        with pytest.raises(IntegrityError, match="not compressed, but the name of its first file"):
            prove(layer, layer, "none")
