"""What a withdrawal asks before it changes anything: every candidate and every repository once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from jenkins_release import (
    CandidateRef,
    ExportRequest,
    PromoteRequest,
    SignOffRequest,
    WithdrawRequest,
    export_candidate,
    promote,
    sign_off,
    withdraw_release,
)
from jenkins_release.records.registry_image import StoredImage
from tests.fixtures.archives import docker_members, join, layer_tar
from tests.fixtures.memory import MemoryRegistry
from tests.release.adversary import NAMES, Scene, World

MOVING = ("{major}.{minor}", "latest")


class CountedRegistry(MemoryRegistry):
    """A registry that counts what it is asked; its moving tags can be moved."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def tags(self, repository: str) -> list[str]:
        """List the tags."""
        self.asked.append(f"tags {repository}")
        return super().tags(repository)

    def images(self, repository: str, references: Sequence[str]) -> dict[str, StoredImage]:
        """Read images."""
        self.asked += [f"read {repository}:{reference}" for reference in references]
        return super().images(repository, references)

    def _tag(self, repository: str, tag: str, digest: str) -> None:
        if tag in {"latest", "8.1"}:
            self.content[repository].tags.pop(tag, None)
        super()._tag(repository, tag, digest)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> World:
    """8.1.1 and 8.1.2 are released, the second with both moving tags."""
    scene = Scene(tmp_path_factory.mktemp("scene"), "registry", "gzip")
    world = scene.world({})
    services, registry = world.services, CountedRegistry()
    configuration = services.configuration
    ecr = configuration.ecr.model_copy(update={"moving_tags": MOVING})
    policy = configuration.policy.model_copy(update={"approvals": 0})
    services.configuration = configuration.model_copy(update={"ecr": ecr, "policy": policy})
    world.registry = registry
    services.__dict__ |= dict.fromkeys(("registry", "blobs", "referrers"), registry)
    for version in ("8.1.1", "8.1.2"):
        ref = CandidateRef(version, "1")
        folder = scene.folder / version
        (folder / "out").mkdir(parents=True)
        (folder / "out" / f"setup-{version}.exe").write_text(version)
        images = {f"skydrm/{name}:{version}-1": (layer_tar(f"{version} {name}"),) for name in NAMES}
        services.engine.load([join(docker_members(images))])
        digest = export_candidate(ExportRequest(version, "1", folder=folder), services).digest
        sign_off(SignOffRequest(ref, "pass", "Quinn", scene.folder / "junit.xml", digest=digest), services)
        promote(PromoteRequest(ref), services)
    return world


@pytest.fixture
def asked(released: World) -> Iterator[list[str]]:
    """What share and registry are asked, from now on."""
    calls: list[str] = []
    released.share.before = calls.append
    released.registry.asked = calls  # type: ignore[attr-defined]
    yield calls
    released.share.before = lambda _: None


@pytest.mark.parametrize("build", ["", "1"])
def test_a_withdrawal_asks_for_everything_once(released: World, asked: list[str], build: str):
    """However many moving tags return to the release before: nothing is read, and no tag listed, twice."""
    request = WithdrawRequest("8.1.2", "loses documents", build=build, dry_run=True)
    report = withdraw_release(request, released.services)
    assert {tag: str(ref) for tag, ref in report.returns.items()} == {"8.1": "8.1.1/1", "latest": "8.1.1/1"}
    twice = {call for call, count in Counter(asked).items() if count > 1}
    assert twice == set()
