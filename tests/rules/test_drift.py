"""Drift: every way in which the world can have moved since a plan was approved."""

from __future__ import annotations

import pytest

from jenkins_release.records.plan import Plan, PlannedImage, TagNow
from jenkins_release.rules.gate.drift import drift
from tests.fixtures.gate import digest, plan, planned

RELEASE, MOVING = planned().tags
OTHER = {"digest": digest("7"), "config_digest": digest("8")}


def image(**more) -> Plan:
    return plan(images=(planned(**more),))


MOVED = {
    "product": (plan(product="Other"), "product: SkyDRM when it was approved, Other now"),
    "version": (plan(version="8.1.1"), "version: 8.1.0 when it was approved, 8.1.1 now"),
    "build": (plan(build="43"), "build: 42 when it was approved, 43 now"),
    "candidate": (plan(candidate=digest("9")), "candidate: sha256:"),
    "policy": (plan(policy=digest("9")), "policy: sha256:"),
    "registry": (plan(registry="2.dkr.ecr"), "registry: 1.dkr.ecr"),
    "another image": (
        plan(images=(planned(), planned(name="viewer"))),
        "image viewer: not in the approved plan",
    ),
    "an image less": (plan(images=()), "image rms: no longer in the candidate"),
    "content": (image(config_digest=digest("9")), "image rms: config_digest was sha256:ccc"),
    "repository": (image(repository="other/rms"), "image rms: repository was skydrm/rms, is other/rms"),
    "candidate tag": (image(candidate_tag="x"), "image rms: candidate_tag was candidate-8.1.0-42-x, is x"),
    "repository gone": (
        image(repository_exists=False),
        "image rms: the repository skydrm/rms is gone",
    ),
    "another tag": (
        image(tags=(RELEASE, MOVING, TagNow(tag="latest", moving=True))),
        "image rms: the tags were 8.1.0, 8.1, are 8.1.0, 8.1, latest",
    ),
    "a tag less": (image(tags=(RELEASE,)), "image rms: the tags were 8.1.0, 8.1, are 8.1.0"),
    "a tag that moves now": (
        image(tags=(RELEASE.model_copy(update={"moving": True}), MOVING)),
        "image rms: the tags were",
    ),
    "a release tag that was taken": (
        image(
            tags=(TagNow(tag="8.1.0", moving=False, digest=digest("7"), config_digest=digest("8")), MOVING)
        ),
        f"image rms: the tag 8.1.0 named nothing, names {digest('7')} now",
    ),
    "a moving tag that moved": (
        image(tags=(RELEASE, MOVING.model_copy(update=OTHER))),
        f"image rms: the tag 8.1 named {digest('1')}, names {digest('7')} now",
    ),
    "a moving tag that is gone": (
        image(tags=(RELEASE, TagNow(tag="8.1", moving=True))),
        f"image rms: the tag 8.1 named {digest('1')}, names nothing now",
    ),
}


@pytest.mark.parametrize(("now", "told"), MOVED.values(), ids=MOVED.keys())
def test_what_moved_is_told(now, told):
    """One sentence each, with before and after."""
    (line,) = drift(plan(), now)
    assert line.startswith(told)


def test_everything_that_moved_is_told_at_once():
    """Sorted, so that two runs say the same."""
    now = plan(build="43", policy=digest("9"), images=(planned(repository="other/rms"),))
    told = drift(plan(), now)
    assert len(told) == 3
    assert told == sorted(told)


def test_nothing_moved():
    """The same plan, and one that another person asked for: who runs it is compared apart."""
    assert drift(plan(), plan()) == []
    assert drift(plan(), plan(requester="Somebody")) == []


def done(tag: TagNow) -> TagNow:
    """The tag as the plan's own promotion leaves it."""
    return tag.model_copy(update={"digest": digest("5"), "config_digest": digest("c")})


PROGRESS = {
    "pushed": {"state": "pushed", "digest": digest("5"), "candidate_tag_set": True, "push_bytes": 0},
    "release tag set": {"state": "pushed", "digest": digest("5"), "tags": (done(RELEASE), MOVING)},
    "released": {"state": "released", "digest": digest("5"), "tags": (done(RELEASE), done(MOVING))},
}


@pytest.mark.parametrize("more", PROGRESS.values(), ids=PROGRESS.keys())
def test_progress_of_the_same_plan_is_no_drift(more):
    """A promotion that died is finished with the approval that it has."""
    assert drift(plan(), image(**more)) == []


def test_a_repository_that_the_promotion_created_is_no_drift():
    """It did not exist when the plan was approved."""
    assert drift(image(repository_exists=False), plan()) == []


def test_progress_undone_is_drift():
    """A plan that was approved when a tag stood is not one without it."""
    approved = image(state="released", tags=(done(RELEASE), MOVING))
    (line,) = drift(approved, plan())
    assert f"the tag 8.1.0 named {digest('5')}, names nothing now" in line


def test_every_field_of_a_plan_is_either_compared_or_known_not_to_matter():
    """Whoever adds a field to the plan has to decide."""
    compared = {"product", "version", "build", "candidate", "policy", "registry", "images"}
    compared |= {"installers", "release_area"}
    told_otherwise = {"schema_name", "requester", "occupied", "obstacles"}
    assert set(Plan.model_fields) == compared | told_otherwise
    of_image = {
        "name",
        "config_digest",
        "index_digest",
        "repository",
        "repository_exists",
        "candidate_tag",
        "tags",
    }
    progress = {"state", "digest", "candidate_tag_set", "push_bytes", "push_exact"}
    assert set(PlannedImage.model_fields) == of_image | progress
    assert set(TagNow.model_fields) == {"tag", "moving", "digest", "config_digest"}
