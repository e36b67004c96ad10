"""What Jenkins has: jobs, parameters, queue items, builds, questions, consoles, folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ParameterKind = Literal["string", "text", "boolean", "choice", "password", "other"]
Result = Literal["SUCCESS", "UNSTABLE", "FAILURE", "NOT_BUILT", "ABORTED"]


@dataclass(frozen=True)
class Parameter:
    """The definition of one parameter of a job.

    Attributes:
        name: Its name, also of the variable that the build sees.
        kind: What values it takes; ``other`` for kinds of plugins.
        default: Its default as text; None if it has none.
        choices: The values to choose from, of a ``choice``.
        description: What the form says about it.
    """

    name: str
    kind: ParameterKind = "string"
    default: str | None = ""
    choices: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True)
class JobInfo:
    """A job as the API describes it.

    Attributes:
        path: Full name: the folders and the job, with ``/`` between them.
        url: Its page.
        buildable: Whether it can be started: it is not disabled.
        parameters: Its parameters, or None if it has none defined.
    """

    path: str
    url: str
    buildable: bool
    parameters: tuple[Parameter, ...] | None


@dataclass(frozen=True)
class FolderEntry:
    """What a folder holds, as the API lists it for the token's user.

    Attributes:
        path: Full name.
        is_folder: Whether it is a plain folder; a multibranch project is none.
        description: Its description.
    """

    path: str
    is_folder: bool
    description: str


@dataclass(frozen=True)
class QueueItem:
    """A started job that waits, or waited, for its turn.

    Attributes:
        number: Id of the queue item.
        job: Full name of the job, as far as its URL tells.
        why: What it waits for, in Jenkins' words; empty when it left the queue.
        cancelled: Whether somebody took it out of the queue.
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
        queue_item: Id of the queue item that it was.
        parameters: Name to value, as Jenkins recorded them.
        started_by: User ids of who started it; several where triggers were merged in the queue.
        approved_by: User ids of who answered its questions with yes, one for each answer.
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
    """A question that a build waits with. Jenkins does not tell here who may answer it.

    Attributes:
        ident: Id of the ``input`` step.
        message: The question.
        asks_for: Names of values that have to be given with the answer.
    """

    ident: str
    message: str
    asks_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConsolePart:
    """A piece of a console log.

    Attributes:
        data: Bytes of the log, console notes included; may end within a line or a character.
        end: Offset in bytes to go on from.
        more: Whether there is, or will be, more.
    """

    data: bytes
    end: int
    more: bool
