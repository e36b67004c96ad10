"""What Jenkins has: jobs, parameters, queue items, builds, questions, consoles, folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from jenkins_release.base.dataclass import dataclass

ParameterKind = Literal["string", "text", "boolean", "choice", "password", "other"]
Result = Literal["SUCCESS", "UNSTABLE", "FAILURE", "NOT_BUILT", "ABORTED"]


@dataclass(frozen=True)
class Parameter:
    """The definition of one parameter of a job.

    Attributes:
        name: Its name, and that of the build's variable.
        kind: Its type; ``other`` for types from plugins.
        default: Its default as text; None if it has none.
        choices: The values of a ``choice``.
        description: What the form says about it.
    """

    name: str
    kind: ParameterKind = "string"
    default: str | None = ""
    choices: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True)
class JobInfo:
    """A job, as described by the API.

    Attributes:
        path: Full name: the folders and the job, with ``/`` between them.
        url: Its page.
        buildable: Whether it can be started, because it is not disabled.
        parameters: Its parameters, or None if none are defined.
    """

    path: str
    url: str
    buildable: bool
    parameters: tuple[Parameter, ...] | None


@dataclass(frozen=True)
class FolderEntry:
    """An item of a folder, as the API lists it for the token's user.

    Attributes:
        path: Full name.
        is_folder: Whether it is a plain folder; a multibranch project is not.
        description: Its description.
    """

    path: str
    is_folder: bool
    description: str


@dataclass(frozen=True)
class QueueItem:
    """A started job that is or was in the queue.

    Attributes:
        number: Id of the queue item.
        job: Full name of the job, from its URL.
        why: What it is waiting for, in Jenkins' words; empty once it left the queue.
        cancelled: Whether it was cancelled in the queue.
        build: Number of the build that it became, or None.
        parameters: Name to value, as Jenkins recorded them.
    """

    number: int
    job: str = ""
    why: str = ""
    cancelled: bool = False
    build: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Build:
    """A build.

    Attributes:
        number: Its number.
        url: Its page.
        building: Whether it is still running, or waiting.
        result: How it ended, or None.
        queue_item: Id of its queue item.
        parameters: Name to value, as Jenkins recorded them.
        started_by: User ids of those who started it; several if triggers were merged in the queue.
        approved_by: User ids of those who approved its questions, one for each answer.
    """

    number: int
    url: str
    building: bool
    result: Result | None = None
    queue_item: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    started_by: tuple[str, ...] = ()
    approved_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class PendingInput:
    """A question that a build is waiting for. Jenkins does not say here who may answer it.

    Attributes:
        ident: Id of the ``input`` step.
        message: The question.
        asks_for: Names of values that the answer must have; ``values`` alone if Jenkins does not name them.
    """

    ident: str
    message: str
    asks_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConsolePart:
    """A piece of a console log.

    Attributes:
        data: Bytes of the log, including console notes; may end inside a line or a character.
        end: Offset in bytes to continue from.
        more: Whether there is or will be more.
    """

    data: bytes
    end: int
    more: bool
