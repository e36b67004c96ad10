"""What the refresh attestations say: what was to run on the SaaS stack, and what came of it.

Every run leaves two statements in the chain of the candidate that it is about: one before the first
change, with the state to return to, and one with the outcome. The statements about one stack form a
chain of their own over all candidates: numbered, each with the digest of the one before.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from jenkins_release.records.base import Part
from jenkins_release.records.candidate import Digest
from jenkins_release.records.release import Name, Predicate

Strategy = Literal["ecs", "ssm"]
Action = Literal["refresh", "rollback"]
Outcome = Literal["started", "done", "returned", "failed"]
"""``returned``: it failed, and the state from before runs again. ``failed``: it does not."""


class RunningPart(Part):
    """A part of the stack: an ECS service, or an instance that Run Command reached.

    Attributes:
        name: Name of the service, or id of the instance.
        definition: ARN of the task definition; empty for an instance.
        images: Container to manifest digest, for the containers that the configuration names and
            whose image is pinned by digest.
    """

    name: Name
    definition: str = ""
    images: dict[str, Digest] = Field(default_factory=dict)


class StackState(Part):
    """What runs on a stack.

    Attributes:
        release: ``version/build`` that it is; empty if it is no release, or nobody knows.
        parts: Every service, or every instance that was reached.
    """

    release: str = ""
    parts: tuple[RunningPart, ...] = ()

    @property
    def shown(self) -> str:
        """The state in words."""
        return self.release or "what ran before, which is no release"

    @property
    def definitions(self) -> dict[str, str]:
        """Service to ARN of its task definition."""
        return {part.name: part.definition for part in self.parts if part.definition}

    @property
    def known(self) -> bool:
        """Whether there is something to return to."""
        return bool(self.release or self.definitions)


class HealthResult(Part):
    """What a health check found.

    Attributes:
        url: What was asked.
        healthy: Whether enough good answers came in a row.
        answers: Answers in all.
        good: Good answers among them.
        needed: Good answers in a row that were needed.
        problem: What was wrong with the last bad answer; empty if all were good.
    """

    url: str
    healthy: bool
    answers: int
    good: int
    needed: int
    problem: str = ""


class InstanceResult(Part):
    """How Run Command ended on an instance; its output is not recorded, which may hold anything."""

    instance: Name
    status: str


class RefreshRecord(Predicate):
    """The predicate of a refresh.

    Attributes:
        stack: Name of the stack.
        strategy: How it is refreshed.
        action: Whether it went to a release, or back from one.
        outcome: What came of it.
        number: Place among the statements about this stack, from 1.
        previous: SHA-256 in hex of the statement before it about this stack; empty for the first.
        release: ``version/build`` that was to run; of a rollback, the one that it leaves.
        before: The last good state.
        after: What was to run.
        health: What the health checks found.
        instances: How Run Command ended, instance by instance.
        problem: Why it did not work; empty if it did.
        started_on: When the run started.
        accepted_lost: Earlier records that were lost when the run began, and not to stop it any more.
        accepted_because: Why; empty without any.
    """

    stack: Name
    strategy: Strategy
    action: Action
    outcome: Outcome
    number: Annotated[int, Field(ge=1)]
    previous: str = ""
    release: Name
    before: StackState
    after: StackState
    health: tuple[HealthResult, ...] = ()
    instances: tuple[InstanceResult, ...] = ()
    problem: str = ""
    started_on: AwareDatetime = Field(alias="startedOn")
    accepted_lost: tuple[str, ...] = Field(default=(), alias="acceptedLost")
    accepted_because: str = Field(default="", alias="acceptedBecause")

    @property
    def settled(self) -> bool:
        """Whether the stack was left in a state that is known."""
        return self.outcome in {"done", "returned"}

    @property
    def state(self) -> StackState:
        """The state that the stack was left in, or, of an unsettled run, should be brought to."""
        if self.action == "rollback" or self.outcome == "done":
            return self.after
        return self.before
