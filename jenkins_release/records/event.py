"""What happened to a release, for notifications. It proves nothing: attestations do."""

from __future__ import annotations

from typing import ClassVar, Literal

from jenkins_release.config.notify import EventKind
from jenkins_release.records.base import Moment, Part, Record


class EventFact(Part):
    """A fact about the event.

    Attributes:
        name: Its name, in a word or two.
        value: The fact, in one line.
    """

    name: str
    value: str


class EventFailure(Part):
    """Why a step failed.

    Attributes:
        step: Group and verb of the command, such as ``promote run``.
        category: ``configuration``, ``refused``, ``integrity``, ``remote``, ``lease`` or ``bug``.
        message: What went wrong, in one line.
        hint: What to do about it; may be empty.
        reasons: All reasons, if there are several.
    """

    step: str
    category: str
    message: str
    hint: str = ""
    reasons: tuple[str, ...] = ()


class ReleaseEvent(Record):
    """Something that happened to a release; what a webhook with the template ``json`` receives.

    Attributes:
        id: Unique; the same in every notification about this event.
        event: What happened.
        title: The event in one line.
        product: Product name.
        version: Version.
        build: Build; empty if the event is about no single one.
        at: When, UTC.
        by: Who did it.
        build_url: URL of the Jenkins build that it happened in; empty outside Jenkins.
        location: Where to look: a folder of the share, a registry, a release area; may be empty.
        verdict: QA's, with the event ``signed-off``.
        facts: Details, in reading order.
        next_step: What comes next, and who does it; may be empty.
        command: The command for that; may be empty.
        failure: Why a step failed, with the event ``failed``.
        test: Whether it is a test event of ``notify test``.
    """

    SCHEMA: ClassVar[str] = "jenkins-release/event/v1"

    id: str
    event: EventKind
    title: str
    product: str
    version: str
    build: str = ""
    at: Moment
    by: str
    build_url: str = ""
    location: str = ""
    verdict: Literal["pass", "fail", ""] = ""
    facts: tuple[EventFact, ...] = ()
    next_step: str = ""
    command: str = ""
    failure: EventFailure | None = None
    test: bool = False

    @property
    def subject(self) -> str:
        """What it is about, such as ``SkyDRM 8.1.0/42``."""
        return subject(self.product, self.version, self.build)


def subject(product: str, version: str, build: str) -> str:
    """Return product, version and build as people name them, as far as they are known."""
    candidate = f"{version}/{build}" if build else version
    return f"{product} {candidate}".strip()
