"""Whatever we accept, Docker and skopeo accept and read the same. They may accept more.

``make fuzz`` runs many more cases: ``FUZZ_CASES`` of each kind, from the number ``FUZZ_SEED``.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from jenkins_release.base.errors import ReleaseError
from jenkins_release.base.waits import Limits
from jenkins_release.images import ArchiveIndex
from jenkins_release.images.layer_proof import prove_layers
from jenkins_release.oci.manifests import Content
from jenkins_release.registry.distribution import DistributionRegistry
from jenkins_release.sandbox.dockerd import DockerDaemon
from tests.fixtures.archives import read
from tests.fixtures.registry_double import RegistryDouble
from tests.fuzz import archives, layouts, manifests
from tests.fuzz.readers import Docker, Reading, Skopeo

CASES = int(os.environ.get("FUZZ_CASES", "40"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
REGRESSIONS: tuple[int, ...] = (1054, 2394, 2512, 2713, 2868, 3053, 3690)
"""Numbers of archives that were read differently once, or that this comparison took for that."""
MANIFEST_REGRESSIONS: tuple[int, ...] = (1965, 3815)
"""The same of manifests."""


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """A daemon that holds nothing."""
    # In memory: thousands of images come and go, and Docker flushes each to the disk.
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else tmp_path_factory.getbasetemp()
    with tempfile.TemporaryDirectory(dir=place) as folder:
        daemon = DockerDaemon(Path(folder))
        daemon.start(tied=True)
        yield Docker(daemon.base_url)
        daemon.stop()
        daemon.remove_data()


def ours(data: bytes) -> Reading | str:
    """Read an archive with our own reader; returns why it was refused, or what was read."""
    try:
        index: ArchiveIndex = read(data, step=4096)
    except ReleaseError as error:
        return error.message
    return Reading(
        {image.config_digest: image.diff_ids for image in index.images},
        {name: image.config_digest for image in index.images for name in image.references},
    )


class Tally:
    """Counts what became of the cases, and tells it now and then, which ``make fuzz`` shows."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._begun = time.monotonic()

    def add(self, outcome: str, *found: object) -> None:
        """Count a case; with what was found if it was read differently."""
        self.counts[outcome] += 1
        if found:
            self.wrong.append(f"{self.what}: {found}")
            print(f"\n{self.wrong[-1]}", flush=True)  # noqa: T201
        if self.counts.total() % 500 == 0:
            self.tell()

    def tell(self) -> None:
        """Print the counts."""
        told = ", ".join(f"{name}: {self.counts[name]}" for name in sorted(self.counts))
        took = time.monotonic() - self._begun
        print(f"\n{self.what}: {self.counts.total()} cases in {took:.0f} s; {told}", flush=True)  # noqa: T201

    def check(self) -> None:
        """Check that nothing was read differently, and that enough was accepted to prove something."""
        self.tell()
        assert not self.wrong, "\n".join(self.wrong[:20])
        assert self.counts["accepted by both"] > CASES // 20


@pytest.mark.timeout(0)
def test_archives_are_read_as_docker_and_skopeo_read_them(docker: Docker, tmp_path: Path):
    """Config digests, layers and names, from the same bytes."""
    tally, skopeo = Tally("archives"), Skopeo(tmp_path)
    for number in [*REGRESSIONS, *range(SEED, SEED + CASES)]:
        case = archives.make(number)
        mine = ours(case.data)
        names = list(archives.NAMES[:1]) if isinstance(mine, str) else sorted(mine.names)
        theirs: list[Reading | str] = []
        if case.docker:
            if not case.zstd or case.named_zstd:
                theirs.append(docker.load(case.data))
            # skopeo decompresses what only begins as zstd data does, and refuses it.
            asked = not (case.linked or case.dotted or case.named_zstd)
            if not isinstance(mine, str) and asked:
                theirs.append(skopeo.archive(case.data, names, "docker-archive"))
        else:
            theirs = [skopeo.archive(case.data, names, "oci-archive")]
        taken = all(not isinstance(reading, str) for reading in theirs)
        if not theirs:
            tally.add(
                "zstd, not compared: refused" if isinstance(mine, str) else "zstd, not compared: accepted"
            )
        elif isinstance(mine, str):
            tally.add("refused by us only" if taken else "refused by both")
        elif all(same(mine, reading) for reading in theirs):
            tally.add("accepted by both")
        else:
            tally.add("DISAGREED", number, case.label, mine, theirs)
    tally.check()


@pytest.mark.timeout(0)
def test_manifests_are_read_as_docker_and_skopeo_read_them(
    docker: Docker, registry_double: RegistryDouble, tmp_path: Path
):
    """The blobs that are asked for are those that we read from the manifest."""
    tally, skopeo = Tally("manifests"), Skopeo(tmp_path)
    manifests.serve(registry_double)
    registry = DistributionRegistry(registry_double.host, limits=Limits(10.0))
    for number in [*MANIFEST_REGRESSIONS, *range(SEED, SEED + CASES)]:
        case = manifests.make(number, registry_double)
        name = f"{registry_double.host}/fuzz/image:{number}"
        mine = content(registry, number)
        registry_double.seen.clear()
        theirs = skopeo.manifest(name)
        asked = {path.rpartition("/")[2] for path in registry_double.seen if "/blobs/" in path}
        if isinstance(mine, str):
            tally.add("refused by both" if theirs else "refused by us only")
            continue
        same = not theirs and asked == {mine.config_digest, *mine.layers}
        pulled = "not asked: zstd" if case.zstd else docker.pull(name)
        drawn = case.zstd or (not isinstance(pulled, str) and set(pulled.images) == {mine.config_digest})
        if same and drawn:
            tally.add("accepted by both")
        else:
            tally.add("DISAGREED", manifests.shown(case), mine, theirs, asked, pulled)
    registry.close()
    tally.check()


@pytest.mark.timeout(0)
def test_images_for_several_platforms_are_read_as_skopeo_copies_them(tmp_path: Path):
    """The same index, and nothing less or more below it."""
    tally, skopeo = Tally("layouts"), Skopeo(tmp_path)
    for number in range(SEED, SEED + CASES):
        data, label = layouts.make(number)
        mine, theirs = everything(data), skopeo.everything(data)
        if isinstance(mine, str):
            tally.add("refused by both" if isinstance(theirs, str) else "refused by us only")
        elif mine == theirs:
            tally.add("accepted by both")
        else:
            tally.add("DISAGREED", number, label, mine, theirs)
    tally.check()


def everything(data: bytes) -> frozenset[str] | str:
    """Read a layout to be carried as it is; returns why it was refused, or the digests of what is carried."""
    try:
        index = read(data, step=4096, platforms=layouts.PLATFORMS)
    except ReleaseError as error:
        return error.message
    found = set()
    for image in (*index.images, *(part for each in index.indexes for part in each.images)):
        found |= {image.config_digest, *(layer.digest for layer in image.layers)}
        found |= {image.manifest.digest} if image.manifest is not None else set()
    for each in index.indexes:
        found.add(each.index.digest)
        for attestation in each.attestations:
            found |= {attestation.manifest.digest, *(blob.digest for blob in attestation.blobs)}
    return frozenset(found)


def same(mine: Reading, reading: Reading | str) -> bool:
    """Whether a program read what we did; skopeo is asked for named images only."""
    return (
        not isinstance(reading, str)
        and reading.names == mine.names
        and (
            reading.images == mine.images if reading.whole else reading.images.items() <= mine.images.items()
        )
    )


def content(registry: DistributionRegistry, number: int) -> Content | str:
    """Read a manifest with our own reader; returns why it was refused, or what was read and proven."""
    try:
        raw = registry.manifest("fuzz/image", str(number))
        found = registry.content("fuzz/image", raw, "linux/amd64")
        prove_layers(found, lambda blob: registry.blob("fuzz/image", blob.digest), "the image")
        return found
    except ReleaseError as error:
        return error.message
