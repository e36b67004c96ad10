"""How often a command looks at a candidate, and that each look is compared with the one before."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest
from securesystemslib.dsse import Envelope

from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.records.attestation import PORTAL
from jenkins_release.steps.candidate.attest import Claim, attest
from jenkins_release.steps.candidate.listing import show_candidate
from jenkins_release.steps.candidate.opened import open_candidate
from jenkins_release.steps.end_of_life.deletion import DeletionRequest, delete_images
from jenkins_release.steps.end_of_life.withdraw import WithdrawRequest, withdraw_release
from jenkins_release.steps.portal.removal import PortalRemovalRequest, remove_from_portal
from jenkins_release.steps.portal.upload import PortalRequest, upload_release
from jenkins_release.steps.promotion.plan import plan_promotion
from jenkins_release.steps.promotion.promote import PromoteRequest, promote
from jenkins_release.steps.publication.publish import PublishRequest, publish_release
from jenkins_release.steps.qa.sign_off import SignOffRequest, sign_off
from jenkins_release.steps.saas.refresh import RefreshRequest, refresh_stack
from jenkins_release.steps.saas.rollback import RollbackRequest, rollback_stack
from tests.fixtures.command import fails
from tests.fixtures.portal import Shop
from tests.release.adversary import AREA, FOLDER, REF, Scene, World, attestations
from tests.release.boundaries import Moment, watched_services

_OPENED = re.compile(rf"(?:open|head) {FOLDER}/(candidate\.json|attestations/\d.*)")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A candidate that was approved."""
    return Scene(tmp_path_factory.mktemp("scene"), "registry", "gzip")


def signs_off(scene: Scene, world: World) -> object:
    """Sign another pass."""
    results = scene.folder / "junit.xml"
    request = SignOffRequest(REF, "pass", "Quinn", results, digest=scene.digest, note="once more")
    return sign_off(request, world.services)


@pytest.mark.parametrize(
    ("run", "looks", "signatures"),
    [
        (lambda _, world: plan_promotion(REF, world.services), 1, 3),
        (lambda _, world: show_candidate(REF, world.services), 1, 3),
        # Opened, under the lease, after the push; and under the lease of those who append.
        (lambda _, world: promote(PromoteRequest(REF), world.services), 4, 4),
        # Opened, under the lease, after the copy; and under the lease of those who append.
        (lambda _, world: publish_release(PublishRequest(REF), world.services), 4, 4),
        (signs_off, 2, 4),
    ],
    ids=["promote plan", "candidate show", "promote run", "release publish", "qa sign-off"],
)
def test_each_look_reads_everything_once_and_each_signature_is_verified_once(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[Scene, World], object],
    looks: int,
    signatures: int,
):
    """What is read again is compared; what is the same was verified already."""
    opened: Counter[str] = Counter()
    verified: list[Envelope] = []

    def before(call: str) -> None:
        found = _OPENED.match(call)
        if found:
            opened[found[1]] += 1

    verify = Envelope.verify

    def counted(envelope: Envelope, *arguments: object) -> object:
        verified.append(envelope)
        return verify(envelope, *arguments)

    monkeypatch.setattr(Envelope, "verify", counted)
    run(scene, scene.world(scene.files, before))
    known = ["candidate.json", *(path.removeprefix(f"{FOLDER}/") for path in attestations(scene.files))]
    assert opened == dict.fromkeys(known, looks)
    assert len(verified) == signatures


def promotes(world: World) -> object:
    """Promote the candidate."""
    return promote(PromoteRequest(REF), world.services)


def publishes(world: World) -> object:
    """Publish its installers."""
    return publish_release(PublishRequest(REF), world.services)


def uploads(world: World) -> object:
    """Upload the release to the portal."""
    return upload_release(PortalRequest(REF.version), world.services)


def removes(world: World) -> object:
    """Remove the release from the portal."""
    return remove_from_portal(PortalRemovalRequest(REF.version, force="a customer's wish"), world.services)


def withdraws(world: World) -> object:
    """Withdraw the release."""
    return withdraw_release(WithdrawRequest(REF.version, "loses documents"), world.services)


def deletes(world: World) -> object:
    """Delete the images of the withdrawn release."""
    request = DeletionRequest(REF.version, "loses documents", confirm=str(REF))
    return delete_images(request, world.services)


def refreshes(world: World) -> object:
    """Bring the release onto the SaaS stack."""
    return refresh_stack(RefreshRequest(REF.version), world.services)


@pytest.mark.parametrize(
    ("begin", "run", "looks", "records"),
    [
        # Opened, under the lease; and under the lease of those who append.
        ([promotes], withdraws, 3, 0),
        # The same, and what the stack runs before the lease and under it.
        ([promotes, withdraws], deletes, 5, 0),
        # Opened, under the lease, the stack's history, and both statements.
        ([promotes], refreshes, 5, 0),
        # Opened, after the upload, for the page; and under the lease of those who append.
        ([promotes, publishes], uploads, 4, 2),
        # Nothing is left to be signed.
        ([promotes, publishes, uploads], uploads, 3, 2),
        ([promotes, publishes, uploads], removes, 2, 1),
    ],
    ids=["withdraw", "withdraw --delete", "saas refresh", "portal", "portal again", "portal --remove"],
)
def test_a_command_about_a_release_reads_everything_once_a_look(
    scene: Scene,
    begin: list[Callable[[World], object]],
    run: Callable[[World], object],
    looks: int,
    records: int,
):
    """``candidate.json``, what was signed of it, and ``release.json``."""
    world = scene.world(scene.files)
    for each in begin:
        each(world)
    known = ["candidate.json", *(path.removeprefix(f"{FOLDER}/") for path in attestations(world.share.files))]
    opened: Counter[str] = Counter()

    def before(call: str) -> None:
        found = _OPENED.match(call)
        if found and found[1] in known:
            opened[found[1]] += 1

    def before_in_the_area(call: str) -> None:
        opened["release.json"] += call == "open SkyDRM/8.1.0/release.json"

    world.share.before, world.releases.before = before, before_in_the_area
    run(world)
    assert opened == Counter(dict.fromkeys(known, looks)) + Counter({"release.json": records})


def one_more(scene: Scene) -> tuple[str, bytes]:
    """Return path and bytes of a genuine attestation behind the approval that means nothing to the gate."""
    world = scene.world(scene.files)
    services = world.services
    claim = Claim(PORTAL, {"action": "upload"}, {}, {}, by="uploadedBy")
    attest(open_candidate(REF, services), claim, services.signer("promotion"), services)
    (path,) = {*attestations(world.share.files)} - {*scene.files}
    return path, world.share.files[path]


def test_what_a_publication_saw_after_the_copy_is_there_when_it_is_signed(scene: Scene):
    """The decision rests on the last look: the next one is compared with that."""
    path, data = one_more(scene)

    def before(call: str) -> None:
        if call.startswith(f"create {AREA}") and "/installers/" in call:
            world.share.files[path] = data
        elif call.startswith(f"create {AREA}") and call.endswith("/release.json"):
            del world.share.files[path]

    world = scene.world(scene.files, before)
    with pytest.raises(IntegrityError, match=r"changed while it was in use: .*0004-portal.* it was removed"):
        publish_release(PublishRequest(REF), world.services)
    assert attestations(world.share.files) == attestations(scene.files)


def test_what_an_attempt_to_sign_saw_is_there_in_the_next_attempt(scene: Scene):
    """The share fails between the two: whoever may have removed something did it then."""
    path, data = one_more(scene)
    failed = False

    def before(call: str) -> None:
        nonlocal failed
        if call.startswith("lease ") and not failed:
            world.share.files[path] = data
        elif call.startswith(f"create {FOLDER}/attestations/") and not failed:
            failed = True
            del world.share.files[path]
            raise RemoteError("the share is busy", retryable=True)

    world = scene.world(scene.files, before)
    with pytest.raises(IntegrityError, match=r"changed while it was in use: .*0004-portal.* it was removed"):
        signs_off(scene, world)
    assert failed
    assert attestations(world.share.files) == attestations(scene.files)


def test_what_a_plan_rests_on_is_there_when_the_plan_is_shown(shop: Shop):
    """``promote plan`` looks at the candidate again, for what is done already, and compares."""
    shop.publish()
    attestation = shop.folder / "candidates" / FOLDER / "attestations" / "0003-publication.dsse.json"
    known = len([*attestation.parent.iterdir()])
    moment = Moment("share.read piece", 1 + known, attestation.unlink)
    with watched_services(moment):
        done = shop.run("promote", "plan", str(REF))
    assert moment.came
    fails(done, 4, "changed while it was in use", "0003-publication", "it was removed")


def test_what_a_rollback_undoes_is_there_when_it_is_recorded(scene: Scene):
    """The statements about the stack are read first, then the candidate that the last one is about."""
    world = scene.world(scene.files)
    promote(PromoteRequest(REF), world.services)
    refresh_stack(RefreshRequest(str(REF)), world.services)
    last = attestations(world.share.files)[-1]
    looks = 0

    def before(call: str) -> None:
        nonlocal looks
        found = _OPENED.match(call)
        looks += found is not None and found[1] == "candidate.json"
        if looks == 2:
            world.share.files.pop(last, None)

    world.share.before = before
    with pytest.raises(IntegrityError, match=r"changed while it was in use: .*-refresh.* it was removed"):
        rollback_stack(RollbackRequest(), world.services)
    assert attestations(world.share.files)[-1] < last


def test_what_a_refresh_rests_on_is_in_the_history_of_the_stack(scene: Scene):
    """Nobody hides the last statement while the history is read, and shows it when the next is signed."""
    world = scene.world(scene.files)
    promotes(world)
    refreshes(world)
    world.cluster.current = dict(world.cluster.first)
    last = attestations(world.share.files)[-1]
    hidden = world.share.files[last]
    looks = 0

    def before(call: str) -> None:
        nonlocal looks
        found = _OPENED.match(call)
        looks += found is not None and found[1] == "candidate.json"
        if looks == 2 and call == "list SkyDRM":
            world.share.files.pop(last, None)
        elif call.startswith("lease "):
            world.share.files[last] = hidden

    world.share.before = before
    with pytest.raises(IntegrityError, match=r"changed while it was in use: .*-refresh.* it was removed"):
        refreshes(world)
    assert looks == 3
