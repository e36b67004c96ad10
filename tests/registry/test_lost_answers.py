"""ECR did it, and its answer was lost: the repeated call finds it done, and that is success."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from jenkins_release.base.errors import RemoteError
from jenkins_release.registry import EcrRegistry
from jenkins_release.registry.policies import RepositoryPolicies
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION
from jenkins_release.sandbox.front.front import EcrFront
from tests.fixtures.ecr_push import Pusher

NAME = "skydrm/rms"
STATEMENT = {"Sid": "x", "Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}


@dataclass
class Place:
    """A repository with an image, and the clients of it."""

    registry: EcrRegistry
    policies: RepositoryPolicies
    digest: str

    def tags(self) -> list[str]:
        return self.registry.tags(NAME)

    def statements(self) -> list[Any]:
        found: list[Any] = self.policies.read(NAME)["Statement"]
        return found


@pytest.fixture
def place(registry: EcrRegistry, pusher: Pusher) -> Place:
    """Two tags on one image, and one on another."""
    registry.create_repository(NAME)
    digest = pusher.image(NAME, "one", "8.1.0").digest
    registry.set_tag(registry.images(NAME, [digest])[digest], "latest-8")
    pusher.image(NAME, "two", "8.2.0")
    return Place(registry, RepositoryPolicies(REGION, ACCOUNT), digest)


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def retag(place: Place) -> None:
    place.registry.set_tag(place.registry.images(NAME, [place.digest])[place.digest], "8.1.1")


@dataclass(frozen=True)
class Change:
    """A call, and whether it was done."""

    act: Callable[[Place], object]
    done: Callable[[Place], bool]
    before: Callable[[Place], object] = lambda _: None


CHANGES = {
    "CreateRepository": Change(
        lambda place: place.registry.create_repository("skydrm/viewer"),
        lambda place: place.registry.repository("skydrm/viewer").mutability == "IMMUTABLE",
    ),
    "PutImage": Change(retag, lambda place: place.tags() == ["8.1.0", "8.1.1", "8.2.0", "latest-8"]),
    "BatchDeleteImage": Change(
        lambda place: place.registry.remove_tag(NAME, "8.1.0"),
        lambda place: place.tags() == ["8.2.0", "latest-8"],
    ),
    "BatchDeleteImage, the last tag": Change(
        lambda place: place.registry.remove_tag(NAME, "8.2.0"),
        lambda place: [image.digest for image in place.registry.inventory(NAME)] == [place.digest],
    ),
    "BatchDeleteImage, the image": Change(
        lambda place: place.registry.remove_image(NAME, place.digest),
        lambda place: place.tags() == ["8.2.0"],
    ),
    "PutImageTagMutability": Change(
        lambda place: place.registry.allow_moving(place.registry.repository(NAME), "8.1.0"),
        lambda place: not place.registry.repository(NAME).is_immutable("8.1.0"),
    ),
    "SetRepositoryPolicy": Change(
        lambda place: place.policies.write(NAME, policy(STATEMENT)),
        lambda place: len(place.statements()) == 1,
    ),
    "DeleteRepositoryPolicy": Change(
        lambda place: place.policies.write(NAME, policy()),
        lambda place: place.statements() == [],
        before=lambda place: place.policies.write(NAME, policy(STATEMENT)),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_whose_answer_was_lost_is_done(place: Place, ecr: EcrFront, change: str):
    """Once, and by the call itself: nobody is told to run anything again."""
    action = change.partition(",")[0]
    CHANGES[change].before(place)
    ecr.requests.clear()
    ecr.faults.add(Fault(action=action, reset_response_after=0))
    CHANGES[change].act(place)
    assert ecr.faults.pending() == []
    assert ecr.requests.count(action) == 2
    assert CHANGES[change].done(place)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_without_any_answer_may_be_tried_again(place: Place, ecr: EcrFront, change: str):
    """Every answer is lost: it is a broken connection, and the next attempt of the caller finds it done."""
    action = change.partition(",")[0]
    CHANGES[change].before(place)
    lost = Fault(action=action, reset_response_after=0, count=None)
    ecr.faults.add(lost)
    with pytest.raises(RemoteError) as caught:
        CHANGES[change].act(place)
    assert caught.value.retryable
    ecr.faults.clear()
    CHANGES[change].act(place)
    assert CHANGES[change].done(place)
