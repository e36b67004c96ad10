"""Archives that real daemons wrote: the same two images, saved by three of them.

``data/docker-26-containerd.tar.gz`` also holds images from an index with two platforms, one of
them with an attestation, one with a platform whose blobs are absent. They were made with the
layers and configs of ``tests/fixtures/archives.py`` and ``docker save``.
"""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError
from tests.fixtures.archives import config_json, layer_tar, read, sha256

DATA = Path(__file__).parent / "data"
DAEMONS = ["docker-20.10", "docker-26-classic", "docker-26-containerd"]
BASE, OWN, OTHER, ARM = (layer_tar(name) for name in ("base", "own", "other", "arm"))
EXPECTED = {"skydrm/rms:8.1.0-42": [BASE, OWN], "skydrm/viewer:8.1.0-42": [BASE, OTHER]}


def _archive(daemon: str) -> bytes:
    return gzip.decompress((DATA / f"{daemon}.tar.gz").read_bytes())


@pytest.mark.parametrize("daemon", DAEMONS)
def test_identity_is_the_same_from_every_daemon(daemon):
    """Three daemons, two layouts, two image stores: one config digest and one list of diff_ids."""
    found = {name: image for image in read(_archive(daemon)).images for name in image.references}
    for name, layers in EXPECTED.items():
        assert found[name].config_digest == sha256(config_json(layers))
        assert found[name].diff_ids == tuple(map(sha256, layers))
        assert found[name].platform == "linux/amd64"


@pytest.mark.parametrize("daemon", DAEMONS)
@pytest.mark.parametrize("step", [1, 513])
def test_chunk_size_does_not_matter(daemon, step):
    """Real archives read the same in any pieces."""
    data = _archive(daemon)
    assert read(data, step=step) == read(data)


def test_images_of_an_index_are_found_by_platform():
    """An image from a multi-platform index has the identity of its amd64 part."""
    data = _archive("docker-26-containerd")
    found = {name: image for image in read(data).images for name in image.references}
    assert found["skydrm/multi:1"].diff_ids == tuple(map(sha256, EXPECTED["skydrm/rms:8.1.0-42"]))
    assert found["skydrm/partial:1"].diff_ids == tuple(map(sha256, EXPECTED["skydrm/viewer:8.1.0-42"]))
    with pytest.raises(
        ConfigurationError, match=r"skydrm/rms:8\.1\.0-42 is not in the archive for linux/arm64"
    ):
        read(data, "linux/arm64")


@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
def test_archives_that_skopeo_writes_are_understood(transport, tmp_path):
    """Also its links for Docker before 1.10, to layers that manifest.json names elsewhere."""
    source, copy = tmp_path / "source.tar", tmp_path / "copy.tar"
    source.write_bytes(_archive("docker-20.10"))
    name = "skydrm/rms:8.1.0-42"
    command = ["skopeo", "--insecure-policy", "copy", "-q", f"docker-archive:{source}:{name}"]
    subprocess.run([*command, f"{transport}:{copy}:{name}"], check=True)
    (image,) = read(copy.read_bytes()).images
    assert image.references == (name,)
    assert image.diff_ids == tuple(map(sha256, EXPECTED[name]))
