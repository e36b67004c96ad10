"""A command that died and is run again: what it signed is found, and not signed a second time.

The share ends the command before each change in turn, as a kill would; then it is run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from jenkins_release.base.errors import ConfigurationError, GateRefused, IntegrityError, RemoteError
from jenkins_release.ledger import FolderLedger
from jenkins_release.records.attestation import REQUEST, TEST_RESULT, Place, read_envelope, sign_statement
from jenkins_release.records.registry_image import StoredImage
from jenkins_release.registry.protocol import Repository
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.export import ExportRequest, export_candidate
from jenkins_release.steps.end_of_life.retire import RetireRequest, retire_releases
from jenkins_release.steps.end_of_life.withdraw import WithdrawRequest, withdraw_release
from jenkins_release.steps.ledger.chains import adopt_candidate
from jenkins_release.steps.promotion.approve import (
    ApprovalRequest,
    OverrideRequest,
    approve_plan,
    override_gate,
)
from jenkins_release.steps.promotion.plan import plan_promotion, write_plan
from jenkins_release.steps.promotion.promote import PromoteRequest, promote
from jenkins_release.steps.promotion.request import PlanRequest, request_plan
from jenkins_release.steps.publication.publish import PublishRequest, publish_release
from jenkins_release.steps.qa.revoke import RevocationRequest, revoke_sign_off
from jenkins_release.steps.qa.sign_off import SignOffRequest, sign_off
from jenkins_release.steps.release.attestations import AttestationsRequest, write_attestations
from jenkins_release.steps.setup_zip.build import BundleRequest, build_bundle
from tests.fixtures.archives import docker_members, join, layer_tar
from tests.fixtures.memory import MemoryRegistry, MemoryShare
from tests.release.adversary import FOLDER, NAMES, REF, Scene, World


class Killed(BaseException):
    """The process ends here."""


_READS = ("list ", "stat ", "open ", "read ", "head ")


def killer(moment: int) -> Callable[[str], None]:
    """End the process before a certain call that changes something, from 1: each leaves another state."""
    calls = 0

    def before(call: str) -> None:
        nonlocal calls
        calls += not call.startswith(_READS)
        if calls == moment and not call.startswith(_READS):
            raise Killed

    return before


def said(world: World) -> list[str]:
    """The attestations of the candidate, in order, without their common end."""
    names = (
        path.rpartition("/")[2] for path in world.share.files if path.startswith(f"{FOLDER}/attestations/0")
    )
    return sorted(name.removesuffix(".dsse.json") for name in names)


@dataclass(frozen=True)
class Command:
    """A command that signs.

    Attributes:
        run: Runs it, and returns the file name of what it signed.
        before: Which attestations are there before.
        after: Which one it adds.
        promoted: Whether the candidate was promoted before.
        sealed: Which ones it adds behind that one.
    """

    run: Callable[[Scene, World], str]
    before: tuple[str, ...]
    after: str
    promoted: bool = False
    sealed: tuple[str, ...] = ()

    @property
    def expected(self) -> list[str]:
        """The attestations that are there afterwards."""
        return [*self.before, self.after, *self.sealed]


def with_policy(world: World, **values: object) -> None:
    """Change the policy."""
    trust = world.services.trust
    world.services.__dict__["trust"] = replace(trust, policy=trust.policy.model_copy(update=values))


def with_ledger(world: World, ledger: MemoryShare) -> None:
    """Give the world a ledger."""
    world.services.__dict__["ledger"] = FolderLedger(ledger)


def signs_off(
    scene: Scene, world: World, verdict: str = "pass", note: str = "", tester: str = "Quinn"
) -> str:
    results = scene.folder / "junit.xml" if verdict == "pass" else None
    request = SignOffRequest(REF, verdict, tester, results, digest=scene.digest, note=note)  # type: ignore[arg-type]
    return sign_off(request, world.services).file


def revokes(scene: Scene, world: World) -> str:
    del scene
    return revoke_sign_off(RevocationRequest(REF, "Quinn", "wrong build"), world.services).file


def approves(scene: Scene, world: World, approver: str = "Ada") -> str:
    plan = planned(scene, world)
    return approve_plan(ApprovalRequest(plan, approver, "it goes out"), world.services).file


def overrides(scene: Scene, world: World) -> str:
    plan = planned(scene, world)
    return override_gate(OverrideRequest(plan, ("soak",), "Casey", "customer is down"), world.services).file


def planned(scene: Scene, world: World) -> Path:
    """The plan, which was made once, before anything died."""
    plan = scene.folder / "second-run.json"
    if not plan.exists():
        write_plan(plan_promotion(REF, scene.world(world.share.files).services)[0], plan)
    return plan


def withdraws(scene: Scene, world: World) -> str:
    del scene
    return withdraw_release(WithdrawRequest("8.1.0", "bad"), world.services).attestation


def publishes(scene: Scene, world: World) -> str:
    del scene
    return publish_release(PublishRequest(REF), world.services).attestation


def summarizes(scene: Scene, world: World) -> str:
    write_attestations(AttestationsRequest("8.1.0", scene.folder / "bundle.jsonl"), world.services)
    return f"{said(world)[-1]}.dsse.json"


def builds(scene: Scene, world: World) -> str:
    return build_bundle(BundleRequest("8.1.0", scene.folder / "setup.zip"), world.services).attested


PROMOTED = ("0001-build", "0002-qa", "0003-approval", "0004-promotion")
COMMANDS = {
    "sign-off": Command(signs_off, ("0001-build",), "0002-qa"),
    "fail": Command(lambda scene, world: signs_off(scene, world, "fail"), ("0001-build",), "0002-qa"),
    "revoke": Command(revokes, ("0001-build", "0002-qa"), "0003-revocation"),
    "approve": Command(approves, ("0001-build", "0002-qa"), "0003-approval"),
    "override": Command(overrides, ("0001-build", "0002-qa"), "0003-override"),
    "publish": Command(publishes, ("0001-build", "0002-qa", "0003-approval"), "0004-publication"),
    "withdraw": Command(withdraws, PROMOTED, "0005-withdrawal", promoted=True),
    "attestations": Command(summarizes, PROMOTED, "0005-summary", promoted=True),
    "bundle": Command(builds, PROMOTED, "0005-setup", promoted=True, sealed=("0006-summary",)),
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A candidate that was approved, and the templates of its setup zip."""
    found = Scene(tmp_path_factory.mktemp("scene"), "registry", "gzip")
    services = "".join(f"  {name}:\n    image: {{{{image.{name}}}}}\n" for name in NAMES)
    (found.folder / "bundle").mkdir()
    (found.folder / "bundle" / "docker-compose.yml").write_text(f"services:\n{services}")
    (found.folder / "bundle" / "settings.txt").write_text("")
    return found


def begin(scene: Scene, command: Command, before: Callable[[str], None] = lambda _: None) -> World:
    """The world as the command finds it."""
    kept = {f"{FOLDER}/attestations/{name}.dsse.json" for name in command.before}
    files = {p: d for p, d in scene.files.items() if "/attestations/" not in p or p in kept}
    if not command.promoted:
        return scene.world(files, before)
    if "promoted" not in scene.__dict__:
        world = scene.world(files)
        promote(PromoteRequest(REF), world.services)
        scene.__dict__["promoted"] = world
    found: World = scene.__dict__["promoted"]
    return with_registry(scene.world(found.share.files, before), deepcopy(found.registry.content))


def with_registry(world: World, content: dict[str, Any]) -> World:
    """Give the world a registry of its own with this content."""
    world.registry.content = content
    return world


def survives(scene: Scene, command: Command, world: World) -> bool:
    """Run a command; whether it came to its end."""
    try:
        command.run(scene, world)
    except Killed:
        return False
    return True


def again(scene: Scene, world: World) -> World:
    """The same world, for another process."""
    found = scene.world(world.share.files)
    found.releases.files = world.releases.files
    found.registry = world.registry
    found.services.__dict__ |= dict.fromkeys(("registry", "blobs", "referrers"), world.registry)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_died_signs_once(scene: Scene, name: str):
    """Wherever it died, the second run ends with one statement, and names it; so does a third one."""
    command = COMMANDS[name]
    moment = 0
    while True:
        moment += 1
        world = begin(scene, command, killer(moment))
        alive = survives(scene, command, world)
        for _ in range(2):
            world = again(scene, world)
            assert command.run(scene, world) == f"{command.after}.dsse.json", moment
            assert said(world) == command.expected, moment
        if alive:
            break
    assert moment > 3


class KillableRegistry(MemoryRegistry):
    """A registry that may end the process before a tag is removed."""

    before: Callable[[str], None] = staticmethod(lambda _: None)

    def remove_tag(self, repository: str, tag: str) -> None:
        """Remove a tag."""
        self.before(f"remove {repository}:{tag}")
        super().remove_tag(repository, tag)


@pytest.fixture(scope="module")
def outside(scene: Scene) -> World:
    """8.1.0, 8.2.0 and 8.3.0 are released, of which two lines are supported."""
    world = begin(scene, COMMANDS["withdraw"])
    for version in ("8.2.0", "8.3.0"):
        ref = CandidateRef(version, "1")
        layers = {name: (layer_tar(version), layer_tar(f"{version} {name}")) for name in NAMES}
        images = {f"skydrm/{name}:{version}-1": layers[name] for name in NAMES}
        (scene.folder / version / "out").mkdir(parents=True)
        (scene.folder / version / "out" / f"setup-{version}.exe").write_text(version)
        world.services.engine.load([join(docker_members(images))])
        report = export_candidate(ExportRequest(version, "1", folder=scene.folder / version), world.services)
        verdict = SignOffRequest(ref, "pass", "Quinn", scene.folder / "junit.xml", digest=report.digest)
        sign_off(verdict, world.services)
        plan = scene.folder / f"{version}.json"
        write_plan(plan_promotion(ref, world.services)[0], plan)
        approve_plan(ApprovalRequest(plan, "Ada", "tested"), world.services)
        promote(PromoteRequest(ref), world.services)
    return world


class SilentShare(MemoryShare):
    """A share whose server is not there any more once a candidate has become visible, for one more call."""

    def rename(self, source: str, target: str) -> None:
        """Rename; the answer for a candidate is lost."""
        super().rename(source, target)
        if target == "SkyDRM/8.4.0/1":

            def fail(_: str) -> None:
                self.before = lambda _: None
                raise RemoteError("the connection was lost", retryable=True)

            self.before = fail
            raise RemoteError("the connection was lost", retryable=True)


def test_an_export_that_cannot_know_whether_its_candidate_is_visible(
    scene: Scene, caplog: pytest.LogCaptureFixture
):
    """The next attempt looks, and takes it for its own; it does not say that somebody else was first."""
    world = scene.world({})
    share = SilentShare("/share")
    world.services.__dict__["share"] = share
    (scene.folder / "8.4.0" / "out").mkdir(parents=True)
    (scene.folder / "8.4.0" / "out" / "setup-8.4.0.exe").write_text("8.4.0")
    images = {f"skydrm/{name}:8.4.0-1": (layer_tar(name),) for name in NAMES}
    world.services.engine.load([join(docker_members(images))])
    report = export_candidate(ExportRequest("8.4.0", "1", folder=scene.folder / "8.4.0"), world.services)
    assert f"sha256:{sha256(share.files['SkyDRM/8.4.0/1/candidate.json']).hexdigest()}" == report.digest
    assert "is already visible" in caplog.text
    with pytest.raises(ConfigurationError, match="already exists on the share"):
        export_candidate(ExportRequest("8.4.0", "1", folder=scene.folder / "8.4.0"), world.services)


class LostAnswer(MemoryShare):
    """A release area whose answer is lost when the release has become visible."""

    lost = 0

    def rename(self, source: str, target: str) -> None:
        """Rename; the answer is lost, and the share with it for one more call."""
        super().rename(source, target)
        if target == "SkyDRM/8.1.0" and not self.lost:
            self.lost += 1

            def fail(_: str) -> None:
                self.before = lambda _: None
                raise RemoteError("the connection was lost", retryable=True)

            self.before = fail
            raise RemoteError("the connection was lost", retryable=True)


def test_a_publication_that_cannot_know_whether_its_release_is_visible(
    scene: Scene, caplog: pytest.LogCaptureFixture
):
    """The next attempt looks, takes it for its own, and signs it."""
    world = begin(scene, COMMANDS["publish"])
    area = LostAnswer("/releases")
    world.services.__dict__["release_share"] = area
    assert publishes(scene, world) == "0004-publication.dsse.json"
    assert area.lost == 1
    assert "is already visible" in caplog.text


def test_a_key_that_is_revoked_during_the_copy_still_counts(scene: Scene):
    """Nothing is visible so far: the trusted keys are read again before it is."""
    world = begin(scene, COMMANDS["publish"])
    configuration = scene.configuration
    _ = world.services.trust

    def revoke_the_approver(_: str) -> None:
        keys = tuple(key for key in configuration.trusted_keys if "approval" not in key.roles)
        world.services.configuration = configuration.model_copy(update={"trusted_keys": keys})

    def copied(call: str) -> None:
        if call.startswith("create ") and ".incoming-" in call:
            revoke_the_approver(call)

    world.releases.before = copied
    with pytest.raises(GateRefused):
        publishes(scene, world)
    assert [path for path in world.releases.files if path.startswith("SkyDRM/8.1.0/")] == []


class LateRegistry(MemoryRegistry):
    """A registry that shows its tags as they were, for one look after all were set."""

    late = 0

    def images(self, repository: str, references: Sequence[str]) -> dict[str, StoredImage]:
        """Read images."""
        found = super().images(repository, references)
        tagged = all("8.1.0" in each.tags for each in self.content.values())
        if tagged and "8.1.0" in found and not self.late:
            self.late += 1
            del found["8.1.0"]
        return found


def test_a_promotion_waits_until_its_tags_show(scene: Scene):
    """ECR may show a tag some moments after it was set."""
    world = scene.world(scene.files)
    registry = LateRegistry()
    world.services.__dict__ |= dict.fromkeys(("registry", "blobs", "referrers"), registry)
    assert promote(PromoteRequest(REF), world.services).changed
    assert registry.late == 1


class Inverted(MemoryRegistry):
    """A registry whose repositories are mutable but for some tags."""

    def repository(self, name: str) -> Repository:
        """Describe a repository."""
        filters = ("8.1.0", "latest")
        return replace(super().repository(name), mutability="MUTABLE_WITH_EXCLUSION", exclusions=filters)


def test_a_moving_tag_that_a_filter_makes_immutable_is_an_obstacle(scene: Scene):
    """Nothing is pushed: to make it movable would turn all filters round."""
    world = scene.world({path.replace("/42/", "/43/"): data for path, data in scene.other.items()})
    promote(PromoteRequest(CandidateRef("8.1.0", "43")), world.services)
    registry = Inverted()
    registry.content = world.registry.content
    for repository in registry.content.values():
        repository.tags = {"latest": repository.tags["8.1.0"]}
    world = scene.world(scene.files)
    world.services.__dict__["registry"] = registry
    ecr = scene.configuration.ecr.model_copy(update={"moving_tags": ("latest",), "create_repositories": True})
    world.services.configuration = scene.configuration.model_copy(update={"ecr": ecr})
    plan = plan_promotion(REF, world.services)[0]
    assert len(plan.obstacles) == len(NAMES)
    assert (
        "the repository is MUTABLE_WITH_EXCLUSION, and a filter makes this tag immutable" in plan.obstacles[0]
    )


def test_a_retirement_that_died_signs_once(scene: Scene, outside: World):
    """Also if it died when half of the tags were gone; what is promoted again and retired is signed again."""
    moment, count = 0, len(NAMES)
    while True:
        moment += 1
        world = scene.world(outside.share.files)
        registry = KillableRegistry()
        registry.content = deepcopy(outside.registry.content)
        world.registry = registry
        world = again(scene, world)
        registry.before = world.share.before = killer(moment)
        try:
            retire_releases(RetireRequest(), world.services)
        except Killed:
            alive = False
        else:
            alive = True
        registry.before = world.share.before = lambda _: None
        for _ in range(2):
            world = again(scene, world)
            retire_releases(RetireRequest(), world.services)
            assert said(world)[-1] == "0005-retirement", moment
        assert [
            tags for repository in registry.content.values() for tags in [*repository.tags] if tags == "8.1.0"
        ] == []
        if alive:
            break
    assert moment > 2 * count
    promote(PromoteRequest(REF), world.services)
    report = retire_releases(RetireRequest(), again(scene, world).services)
    assert report.attestations == {REF: "0007-retirement.dsse.json"}


# --- what is new, or was taken back --------------------------------------------------------------


def test_another_verdict_is_signed(scene: Scene):
    """Other words, another verdict, and the first one again after another: each is a statement of its own."""
    world = begin(scene, COMMANDS["sign-off"])
    assert signs_off(scene, world) == "0002-qa.dsse.json"
    assert signs_off(scene, world, note="with the new driver") == "0003-qa.dsse.json"
    assert signs_off(scene, world) == "0004-qa.dsse.json"
    assert signs_off(scene, world, "fail") == "0005-qa.dsse.json"
    assert signs_off(scene, world, "fail") == "0005-qa.dsse.json"
    assert signs_off(scene, world) == "0006-qa.dsse.json"


def test_what_was_taken_back_is_signed_again(scene: Scene):
    """A verdict after a revocation, a revocation after a verdict, an approval after either."""
    world = begin(scene, COMMANDS["approve"])
    signs = [approves, approves, revokes, revokes, signs_off, signs_off, approves, approves]
    signs += [
        lambda *where: signs_off(*where, "fail"),
        revokes,
        lambda *where: signs_off(*where, "fail"),
        revokes,
    ]
    files = [sign(scene, world).removesuffix(".dsse.json") for sign in signs]
    assert files == [
        *("0003-approval", "0003-approval", "0004-revocation", "0004-revocation"),
        *("0005-qa", "0005-qa", "0006-approval", "0006-approval"),
        *("0007-qa", "0008-revocation", "0009-qa", "0010-revocation"),
    ]


def test_what_others_said_meanwhile_takes_nothing_back(scene: Scene):
    """Another tester's pass and another person's approval stand between the two runs."""
    world = begin(scene, COMMANDS["sign-off"])
    assert signs_off(scene, world) == "0002-qa.dsse.json"
    assert signs_off(scene, world, tester="Robin") == "0003-qa.dsse.json"
    assert signs_off(scene, world) == "0002-qa.dsse.json"
    assert approves(scene, world) == "0004-approval.dsse.json"
    assert approves(scene, world, approver="Bea") == "0005-approval.dsse.json"
    assert approves(scene, world) == "0004-approval.dsse.json"


def test_a_sign_off_that_is_too_old_is_signed_again(scene: Scene):
    """It does not count any more: the same words are a new statement."""
    world = begin(scene, COMMANDS["sign-off"])
    with_policy(world, sign_off_max_age_days=2)
    assert signs_off(scene, world) == "0002-qa.dsse.json"
    assert signs_off(scene, world) == "0002-qa.dsse.json"
    world.services.now = lambda: datetime.now(UTC) + timedelta(days=3)  # type: ignore[method-assign]
    assert signs_off(scene, world) == "0003-qa.dsse.json"


def test_only_what_counts_is_there_already(scene: Scene):
    """The same words by a key that is not trusted for it, or about another candidate, are nobody's."""
    for key, subject in (("promotion", scene.digest), ("qa", f"sha256:{'0' * 64}")):
        world = begin(scene, COMMANDS["sign-off"])
        signs_off(scene, world)
        path = f"{FOLDER}/attestations/0002-qa.dsse.json"
        _, genuine = read_envelope(world.share.files[path], path)
        before = {
            name: data for name, data in world.share.files.items() if name.endswith("0001-build.dsse.json")
        }
        own = dict(genuine.predicate["jenkinsRelease"])
        world.share.files[path] = sign_statement(
            TEST_RESULT,
            {name: value for name, value in genuine.predicate.items() if name != "jenkinsRelease"},
            {"candidate.json": subject.removeprefix("sha256:")},
            place=Place.after(before),
            signed_at=genuine.signed_at,
            signer=world.services.signer(key),
            extension={name: own[name] for name in own if name not in {"sequence", "previous", "signedAt"}},
        )
        if subject == scene.digest:
            assert signs_off(scene, world) == "0003-qa.dsse.json"
        else:
            with pytest.raises(IntegrityError, match=r"about another candidate\.json"):
                signs_off(scene, world)


def test_a_request_in_anothers_name_is_not_taken_for_ones_own(scene: Scene):
    """Whoever has another request key cannot keep a request from being signed."""
    world = begin(scene, COMMANDS["approve"])
    world.services.__dict__["trusted_keys"] = tuple(
        replace(key, roles=key.roles | {"request"}) for key in world.services.trusted_keys
    )
    plan = plan_promotion(REF, world.services)[0]
    before = {name: data for name, data in sorted(world.share.files.items()) if "/attestations/0" in name}
    forged = sign_statement(
        REQUEST,
        {"planDigest": plan.digest},
        {"candidate.json": scene.digest.removeprefix("sha256:")},
        place=Place.after(before),
        signed_at=world.services.now(),
        signer=world.services.signer("promotion"),
        extension={"candidate": str(REF), "requester": plan.requester},
    )
    world.share.files[f"{FOLDER}/attestations/0003-request.dsse.json"] = forged
    request = PlanRequest(REF, scene.configuration.signing.qa_key)
    assert request_plan(request, world.services).file == "0004-request.dsse.json"
    assert request_plan(request, world.services).file == "0004-request.dsse.json"


# --- the ledger, and clocks ----------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_so_it_is_with_a_ledger(scene: Scene, name: str):
    """Also where the command died after the statement was on the share, and before the ledger had it."""
    command = COMMANDS[name]
    moment = 0
    while True:
        moment += 1
        world, ledger = begin(scene, command), MemoryShare("/ledger")
        with_ledger(world, ledger)
        adopt_candidate(REF, world.services)
        ledger.before = killer(moment)
        alive = survives(scene, command, world)
        for _ in range(2):
            world = again(scene, world)
            ledger = MemoryShare("/ledger", ledger.files)
            with_ledger(world, ledger)
            assert command.run(scene, world) == f"{command.after}.dsse.json", moment
            assert said(world) == command.expected, moment
            assert len([path for path in ledger.files if path.endswith(".json")]) == len(said(world)) + 1, (
                moment
            )
        if alive:
            break


def test_a_clock_that_is_behind_spoils_nothing(scene: Scene):
    """What would make the chain look altered for good is not written."""
    world = begin(scene, COMMANDS["approve"])
    world.services.now = lambda: datetime.now(UTC) - timedelta(hours=1)  # type: ignore[method-assign]
    with pytest.raises(
        ConfigurationError, match=r"a clock runs backwards|before the candidate was exported"
    ) as caught:
        signs_off(scene, world)
    assert "clock" in caught.value.hint
    assert said(world) == ["0001-build", "0002-qa"]
