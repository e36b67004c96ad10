"""Whatever changes on the share between two calls, and back: customers see what was approved, or nothing.

``make adversary`` plays every pair of boundaries; here one of several, and each attack at least once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.records.attestation import PUBLICATION
from jenkins_release.steps.overview.listing import list_releases
from tests.release.adversary import (
    AREA,
    FOLDER,
    ON_THE_SHARE,
    RELEASED,
    STAGED,
    STEPS,
    WAYS,
    Scene,
    Stage,
    run_publish,
    signed,
    touches,
)

PLAYS = 4
"""About so many plays of each attack."""
WITH_DOCKER = ("promote run", "candidate load", "release withdraw", "saas refresh")
"""Steps that Docker, or what it pushed, has a part in."""
UNSEEN = ("forge_the_journal", "swap_the_files", "swap_the_staged_installers", "swap_the_staged_record")
"""Attacks on what not every step reads."""


@pytest.fixture(scope="module", params=WAYS[1:], ids=", ".join)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """An approved candidate and an evil one, for each way into the registry."""
    return Scene(tmp_path_factory.mktemp("scene"), *request.param)


@pytest.fixture(scope="module")
def stages(scene: Scene) -> dict[str, Stage]:
    """Every step, played once without an adversary."""
    return {name: Stage(scene, step) for name, step in STEPS.items()}


@pytest.mark.parametrize(
    "step", [name for name, step in STEPS.items() if step.attacks is ON_THE_SHARE and ", " not in name]
)
def test_another_candidate_json_gets_nothing_out_whenever_it_stands_there(
    stages: dict[str, Stage], step: str
):
    """Every pair of boundaries, for the attack that once put another image under a release tag."""
    counts = stages[step].each_difference("swap_the_manifest")
    assert counts.violations == []
    assert counts.runs > 5


def samples(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield step and attack; of a refresh with a fault, every third attack."""
    for name in names:
        some = 3 if ", " in name and name.startswith("saas") else 1
        yield from ((name, attack) for attack in [*STEPS[name].attacks][::some])


@pytest.mark.parametrize("scene", WAYS[1:2], ids=", ".join, indirect=True)
@pytest.mark.parametrize(("step", "attack"), [*samples(STEPS)])
def test_what_becomes_visible_is_what_was_approved_or_the_step_refuses(
    stages: dict[str, Stage], step: str, attack: str
):
    """Release tags, release area and statements: of the honest candidate, all or none."""
    counts = stages[step].each_difference(attack, most=PLAYS)
    assert counts.violations == []
    assert counts.runs or attack in UNSEEN


@pytest.mark.parametrize("scene", WAYS[2:], ids=", ".join, indirect=True)
@pytest.mark.parametrize(("step", "attack"), [*samples(WITH_DOCKER)])
def test_so_it_is_where_docker_pushes(stages: dict[str, Stage], step: str, attack: str):
    """Docker compresses the layers in its own way; what it pushed is read back."""
    counts = stages[step].each_difference(attack, most=PLAYS)
    assert counts.violations == []
    assert counts.runs or attack in UNSEEN


def test_boundaries_that_are_left_out_make_no_difference(stages: dict[str, Stage]):
    """Between two calls that see nothing of the change it ends as it does right before the second."""
    stage = stages["promote run"]
    changed = {f"{FOLDER}/candidate.json"}
    seen = [number for number, call in enumerate(stage.calls, start=1) if touches(call, changed)]
    before, after = seen[3], seen[4]
    assert after - before > 3
    ends = {stage.outcome("swap_the_manifest", first, seen[5]) for first in range(before + 1, after + 1)}
    assert len(ends) == 1


def test_what_cannot_be_taken_out_of_sight_is_named(scene: Scene):
    """The message says what is there, that it is not signed, and what to do."""
    place = RELEASED.removeprefix(AREA)

    def before(call: str) -> None:
        if call == f"rename {RELEASED}"[:-1]:
            raise RemoteError("access denied")
        if call.startswith(f"rename {STAGED}"):
            files = world.releases.files
            files.update({path: data[::-1] for path, data in files.items() if "/installers/" in path})

    world = scene.world(scene.files, before)
    with pytest.raises(IntegrityError, match="while it was published, and is still there") as e:
        run_publish(scene, world)
    assert "access denied" in e.value.reasons[-1]
    assert "not in force" in e.value.hint
    assert [path for path in world.releases.files if path.startswith(place)]
    assert [*signed(world, PUBLICATION)] == []
    (listed,) = list_releases(world.services)
    assert listed.problem


@pytest.mark.parametrize("tag", ["8.1.0", "candidate"])
def test_what_another_one_pushes_at_any_moment_is_never_promoted(stages: dict[str, Stage], tag: str):
    """The right config around other layers, under the release tag or the temporary one."""
    stage = stages["promote run"]
    if tag == "candidate":
        tag = f"candidate-8.1.0-42-{stage.scene.digest[7:19]}"
    ends = [stage.push(tag, first) for first in range(1, len(stage.calls) + 1)]
    assert [end for end in ends if end[1]] == []
    assert len({end for end, _ in ends}) > 1
