"""The JSON documents of Jenkins' remote API, read into our own types.

The forms are those of Jenkins 2.541 with Pipeline. A missing field raises ValueError, which is translated
later; fields that plugins add are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args
from urllib.parse import unquote, urlsplit

from jenkins_release.jenkins.job_xml import FOLDER
from jenkins_release.jenkins.model import (
    Build,
    FolderEntry,
    JobInfo,
    Parameter,
    ParameterKind,
    PendingInput,
    QueueItem,
    Result,
)

_APPROVAL = ".ApproverAction"
"""Class of the action that the ``input`` step leaves in a build for each answer (Pipeline: Input Step)."""
_KINDS: dict[str, ParameterKind] = {
    "StringParameterDefinition": "string",
    "TextParameterDefinition": "text",
    "BooleanParameterDefinition": "boolean",
    "ChoiceParameterDefinition": "choice",
    "PasswordParameterDefinition": "password",
}


def user_of(answer: Any) -> str:
    """Read ``me/api/json``. An empty or missing id is no user: nothing may be done in its name."""
    ident = _mapping(answer)["id"]
    if not isinstance(ident, str) or not ident.strip():
        raise ValueError(f"the user has the id {ident!r}")
    return ident


def job_of(path: str, answer: Any) -> JobInfo:
    """Read ``job/<name>/api/json``."""
    document = _mapping(answer)
    if "buildable" not in document:
        raise ValueError(f"{path} is not a job: {document.get('_class')}")
    parameters: tuple[Parameter, ...] | None = None
    for found in document.get("property") or ():
        if "parameterDefinitions" in found:
            parameters = tuple(_parameter(each) for each in found["parameterDefinitions"])
    return JobInfo(path, str(document.get("url", "")), document["buildable"] is True, parameters)


def entries_of(path: str, answer: Any) -> list[FolderEntry]:
    """Read the ``jobs`` of ``job/<folder>/api/json``."""
    return [
        FolderEntry(
            f"{path}/{each['name']}", each.get("_class") == FOLDER, str(each.get("description") or "")
        )
        for each in _mapping(answer).get("jobs") or ()
    ]


def queue_item_of(answer: Any) -> QueueItem:
    """Read ``queue/item/<id>/api/json``, or one item of ``queue/api/json``."""
    document = _mapping(answer)
    executable = document.get("executable") or {}
    return QueueItem(
        number=int(document["id"]),
        job=job_path_of(str((document.get("task") or {}).get("url", ""))),
        why=str(document.get("why") or ""),
        cancelled=document.get("cancelled") is True,
        build=int(executable["number"]) if "number" in executable else None,
        parameters=_values(document),
    )


def build_of(answer: Any) -> Build:
    """Read ``job/<name>/<number>/api/json``."""
    document = _mapping(answer)
    result = document.get("result")
    causes = [cause for action in _actions(document) for cause in action.get("causes") or ()]
    users = [str(cause["userId"]) for cause in causes if cause.get("userId")]
    approvals = [each for each in _actions(document) if str(each.get("_class", "")).endswith(_APPROVAL)]
    return Build(
        number=int(document["number"]),
        url=str(document.get("url", "")),
        # Between its last step and its end, a build has a result but is still building.
        building=document.get("building") is True,
        result=result if result in get_args(Result) else None,
        queue_item=int(document["queueId"]) if document.get("queueId") is not None else None,
        parameters=_values(document),
        started_by=tuple(dict.fromkeys(users)),
        approved_by=tuple(str(each["userId"]) for each in approvals if each.get("userId")),
    )


def inputs_of_stage_view(answer: Any) -> tuple[PendingInput, ...]:
    """Read ``wfapi/pendingInputActions`` of the plugin *Pipeline: REST API*, a part of *Stage View*."""
    return tuple(
        _input(each, tuple(str(value.get("name", "")) for value in each.get("inputs") or ()))
        for each in map(_mapping, answer)
    )


def inputs_of_graph_view(answer: Any) -> tuple[PendingInput, ...]:
    """Read ``stages/allSteps`` of *Pipeline Graph View*: all steps of a build, with questions in some.

    The question of a step stays after its answer; then the step is no longer ``paused``.
    """
    steps = _mapping(_mapping(answer)["data"])["steps"]
    return tuple(
        _input(question, ("values",) if question.get("parameters") else ())
        for step in map(_mapping, steps)
        if step["state"] == "paused" and (question := step.get("inputStep"))
    )


def _input(answer: Any, asks_for: tuple[str, ...]) -> PendingInput:
    document = _mapping(answer)
    return PendingInput(str(document["id"]), str(document.get("message") or ""), asks_for)


def job_path_of(url: str) -> str:
    """Return the full name of a job from its URL, whatever precedes the first ``/job/``."""
    names = urlsplit(url).path.split("/job/")[1:]
    return "/".join(unquote(name).strip("/") for name in names)


def _parameter(answer: Any) -> Parameter:
    document = _mapping(answer)
    default = (document.get("defaultParameterValue") or {}).get("value")
    return Parameter(
        name=str(document["name"]),
        kind=_KINDS.get(str(document.get("type")), "other"),
        default=None if default is None else text_of(default),
        choices=tuple(str(choice) for choice in document.get("choices") or ()),
        description=str(document.get("description") or ""),
    )


def text_of(value: object) -> str:
    """Return a parameter's value as it is sent: booleans in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _values(document: Mapping[str, Any]) -> dict[str, str]:
    # A password has a name and no value.
    return {
        str(each["name"]): text_of(each["value"])
        for action in _actions(document)
        for each in action.get("parameters") or ()
        if "name" in each and each.get("value") is not None
    }


def _actions(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for action in document.get("actions") or ():
        if isinstance(action, Mapping):
            yield action


def _mapping(answer: Any) -> Mapping[str, Any]:
    if not isinstance(answer, Mapping):
        raise ValueError(f"expected a document, found {type(answer).__name__}")
    return answer
