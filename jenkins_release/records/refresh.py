"""What the refresh attestations say: what should run on the SaaS stack, and the outcome.

Every run leaves two statements in the chain of its candidate: one before the first change, with the state to
return to, and one with the outcome. The statements about one stack form a separate chain over all candidates:
numbered, each with the digest of the one before.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jenkins_release.records.base import Moment, Part
from jenkins_release.records.candidate import Digest
from jenkins_release.records.release import Name, Predicate

Strategy = Literal["ecs", "ssm"]
Action = Literal["refresh", "rollback"]
Outcome = Literal["started", "done", "returned", "failed"]
"""``returned``: it failed, and the earlier state runs again. ``failed``: it failed and did not return."""


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
        release: ``version/build``; empty if it is not a release, or unknown.
        parts: Every service, or every instance that was reached.
    """

    release: str = ""
    parts: tuple[RunningPart, ...] = ()

    @property
    def shown(self) -> str:
        """The state in words."""
        return self.release or "what ran before, which is not a release"

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
        healthy: Whether there were enough good answers in a row.
        answers: Number of answers.
        good: Good answers among them.
        needed: Good answers in a row that were required.
        problem: What was wrong with the last bad answer; empty if all were good.
    """

    url: str
    healthy: bool
    answers: int
    good: int
    needed: int
    problem: str = ""


class InstanceResult(Part):
    """How Run Command ended on an instance; its output may hold anything, so it is not recorded."""

    instance: Name
    status: str


class RefreshRecord(Predicate):
    """The predicate of a refresh.

    Attributes:
        stack: Name of the stack.
        strategy: How it is refreshed.
        action: Whether it went to a release, or back from one.
        outcome: The outcome.
        number: Place among the statements about this stack, from 1.
        previous: SHA-256 in hex of the statement before it about this stack; empty for the first.
        release: ``version/build`` that should run; of a rollback, the one that it leaves.
        before: The last good state.
        after: What should run.
        health: What the health checks found.
        instances: How Run Command ended, instance by instance.
        problem: Why it failed; empty if it did not.
        started_on: When the run started.
        accepted_lost: Lost earlier records that were accepted when the run began.
        accepted_because: Why they were accepted; empty without any.
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
    started_on: Moment = Field(alias="startedOn")
    accepted_lost: tuple[str, ...] = Field(default=(), alias="acceptedLost")
    accepted_because: str = Field(default="", alias="acceptedBecause")

    @property
    def settled(self) -> bool:
        """Whether the stack was left in a known state."""
        return self.outcome in {"done", "returned"}

    @property
    def state(self) -> StackState:
        """The state that the stack was left in; after an unsettled run, the state to bring it to."""
        if self.action == "rollback" or self.outcome == "done":
            return self.after
        return self.before
