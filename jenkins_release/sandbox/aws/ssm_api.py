"""The sandbox's Run Command: commands run on instances in batches, and may fail on some of them.

A step moves the instances of a batch from ``Pending`` through ``InProgress`` to their end; the next batch
begins when an instance has ended, unless there were more errors than allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.aws.api import Answer, JsonApi
from jenkins_release.sandbox.aws.ecs_state import Paced
from jenkins_release.sandbox.ecr.state import EcrState

_ENDED = frozenset({"Success", "Failed", "TimedOut", "Cancelled"})
LOOKS = ("list", "command", "invocations", "end", "output", "cancel")
"""Looks at a command: in the list of a document, by its id, at its instances, at how the last of them ended,
at what an instance wrote, and the one that a cancellation begins with."""
_MAX_COMMENT = 100
_MAX_LISTED, _MAX_OUT, _MAX_ERR = 2500, 24_000, 8000
"""Characters of an output that ListCommandInvocations has, and GetCommandInvocation of either stream."""


class Instance(BaseModel):
    """A managed instance.

    Attributes:
        ident: Its id.
        tags: Its tags.
        ends: How a command ends on it: ``Success``, ``Failed``, ``TimedOut``, or ``hang`` for never.
        fails_on: Only a command with a parameter that contains this text ends like that; any if empty.
        output: Its output.
        errors: The error output of its last step.
    """

    model_config = ConfigDict(extra="forbid")

    ident: str
    tags: dict[str, str]
    ends: Literal["Success", "Failed", "TimedOut", "hang"] = "Success"
    fails_on: str = ""
    output: str = "installed"
    errors: str = ""


@dataclass
class InvocationState:
    """A command on an instance."""

    instance: Instance
    status: str = "Pending"
    detail: str = "Pending"


@dataclass
class CommandState:
    """A command."""

    ident: str
    given: Mapping[str, Any]
    at: float
    invocations: list[InvocationState] = field(default_factory=list)
    cancelled: bool = False
    stale: dict[str, int] = field(default_factory=dict)

    def is_stale(self, look: str, looks: int) -> bool:
        """Whether a look does not see the change yet, like the first looks of its kind."""
        seen = self.stale[look] = self.stale.get(look, 0) + 1
        return seen <= looks


class SsmState(Paced):
    """Instances and commands; safe to share between threads.

    Args:
        ecr: Region and account.
        pacing: See :class:`jenkins_release.sandbox.aws.ecs_state.Paced`.

    Attributes:
        documents: Document to the names of its steps.
        stale: Kind of look, from :data:`LOOKS`, to how many of them do not see a change yet: SSM is
            eventually consistent.
    """

    def __init__(self, ecr: EcrState, **pacing: Any) -> None:
        super().__init__(**pacing)
        self.ecr = ecr
        self.documents: dict[str, tuple[str, ...]] = {"AWS-RunShellScript": ("aws:runShellScript",)}
        self.stale: dict[str, int] = {}
        self.instances: dict[str, Instance] = {}
        self.commands: dict[str, CommandState] = {}

    def step(self) -> None:
        """Let every command take a step."""
        with self.lock:
            for command in self.commands.values():
                _step(command)

    def send(self, given: Mapping[str, Any]) -> CommandState:
        """Begin a command on the instances that it targets."""
        with self.lock:
            wanted = {each["Key"].removeprefix("tag:"): each["Values"] for each in given.get("Targets", [])}
            found = [
                each
                for each in self.instances.values()
                if all(each.tags.get(tag) in values for tag, values in wanted.items())
            ]
            ident = f"00000000-0000-4000-8000-{len(self.commands) + 1:012x}"
            command = CommandState(ident, given, self.clock(), [InvocationState(each) for each in found])
            self.commands[ident] = command
            return command

    def installed(self, instance: str) -> str:
        """Return the parameters of the last successful command on an instance, as one text."""
        with self.lock:
            for command in reversed(self.commands.values()):
                for each in command.invocations:
                    if each.instance.ident == instance and each.status == "Success":
                        return str(command.given.get("Parameters", {}))
        return ""


def _amount(text: str, whole: int) -> int:
    return max(1, whole * int(text[:-1]) // 100) if text.endswith("%") else int(text)


def _step(command: CommandState) -> None:
    everyone = command.invocations
    for each in everyone:
        hit = each.instance.fails_on in str(command.given.get("Parameters", {}))
        ends = each.instance.ends if hit else "Success"
        if each.status == "InProgress" and ends != "hang":
            each.status, each.detail = ends, "ExecutionTimedOut" if ends == "TimedOut" else ends
    errors = sum(each.status in {"Failed", "TimedOut"} for each in everyone)
    text = command.given.get("MaxErrors", "0")
    allowed = int(text) if not text.endswith("%") else len(everyone) * int(text[:-1]) // 100
    if command.cancelled or errors > allowed:
        for each in everyone:
            if each.status == "Pending":
                each.status, each.detail = "Cancelled", "Cancelled" if command.cancelled else "Terminated"
        if command.cancelled:
            for each in everyone:
                if each.status == "InProgress":
                    each.status = each.detail = "Cancelled"
        return
    room = _amount(command.given.get("MaxConcurrency", "50"), len(everyone))
    room -= sum(each.status == "InProgress" for each in everyone)
    for each in everyone:
        if each.status == "Pending" and room > 0:
            each.status = each.detail = "InProgress"
            room -= 1


class SsmApi(JsonApi):
    """Run Command.

    Args:
        state: Its state.
    """

    def __init__(self, state: SsmState) -> None:
        self._state = state
        actions = {
            "SendCommand": self._send,
            "ListCommands": self._list,
            "ListCommandInvocations": self._list_invocations,
            "GetCommandInvocation": self._get_invocation,
            "CancelCommand": self._cancel,
        }
        super().__init__("ssm", actions, self._arns, invalid="ValidationException")

    def _arns(self, action: str, given: Mapping[str, Any]) -> list[str]:
        if action != "SendCommand":
            return ["*"]
        own = f"{self._state.ecr.region}:{self._state.ecr.account}"
        document = given["DocumentName"]
        account = "" if document.startswith("AWS-") else self._state.ecr.account
        return [
            f"arn:aws:ssm:{self._state.ecr.region}:{account}:document/{document}",
            *(f"arn:aws:ec2:{own}:instance/{ident}" for ident in self._state.instances),
        ]

    def _send(self, given: Mapping[str, Any]) -> Answer:
        if given["DocumentName"] not in self._state.documents:
            raise ApiFault("InvalidDocument", f"Document with name {given['DocumentName']} does not exist.")
        if len(given.get("Comment", "")) > _MAX_COMMENT:
            raise ApiFault(
                "ValidationException", "Member must have length less than or equal to 100: comment"
            )
        return {"Command": self._command(self._state.send(given))}

    def _list(self, given: Mapping[str, Any]) -> Answer:
        if "CommandId" in given:
            self._state.looked()
        wanted = {each["key"]: each["value"] for each in given.get("Filters", [])}
        look = "list" if wanted else "command"
        with self._state.lock:
            known = [each for each in reversed(self._state.commands.values()) if not self._stale(each, look)]
            shown = [self._command(each) for each in known]
        if ident := given.get("CommandId"):
            shown = [each for each in shown if each["CommandId"] == ident]
        if "DocumentName" in wanted:
            shown = [each for each in shown if each["DocumentName"] == wanted["DocumentName"]]
        if "Status" in wanted:
            shown = [each for each in shown if each["Status"] == wanted["Status"]]
        return {"Commands": shown}

    def _list_invocations(self, given: Mapping[str, Any]) -> Answer:
        with self._state.lock:
            command = self._found(given["CommandId"])
            if self._stale(command, "invocations"):
                return {"CommandInvocations": []}
            reached = command.invocations
            if reached and all(each.status in _ENDED for each in reached) and self._stale(command, "end"):
                reached = [*reached[:-1], replace(reached[-1], status="InProgress", detail="InProgress")]
            return {
                "CommandInvocations": [
                    self._invocation(command, each, details=given.get("Details", False))
                    for each in reached
                    if given.get("InstanceId") in {None, each.instance.ident}
                ]
            }

    def _get_invocation(self, given: Mapping[str, Any]) -> Answer:
        with self._state.lock:
            command = self._found(given["CommandId"])
            found = [each for each in command.invocations if each.instance.ident == given["InstanceId"]]
            if not found or self._stale(command, f"output {given['InstanceId']}"):
                raise ApiFault("InvocationDoesNotExist", "")
            steps = self._state.documents[command.given["DocumentName"]]
            name = given.get("PluginName", steps[0] if len(steps) == 1 else "")
            if name not in steps:
                raise ApiFault("InvalidPluginName", "")
            ended, instance = found[0].status in _ENDED, found[0].instance
            failed = name == steps[-1] and found[0].status != "Success"
            return {
                "CommandId": command.ident,
                "InstanceId": instance.ident,
                "PluginName": name,
                "DocumentName": command.given["DocumentName"],
                "Status": found[0].status if name == steps[-1] else "Success",
                "StatusDetails": found[0].detail if name == steps[-1] else "Success",
                "ResponseCode": (1 if failed else 0) if ended else -1,
                "StandardOutputContent": instance.output[:_MAX_OUT] if ended else "",
                "StandardErrorContent": instance.errors[:_MAX_ERR] if ended and name == steps[-1] else "",
            }

    def _stale(self, command: CommandState, look: str) -> bool:
        return command.is_stale(look, self._state.stale.get(look.partition(" ")[0], 0))

    def _cancel(self, given: Mapping[str, Any]) -> Answer:
        with self._state.lock:
            command = self._found(given["CommandId"])
            if self._stale(command, "cancel"):
                raise ApiFault("InvalidCommandId", "")
            command.cancelled = True
        return {}

    def _found(self, ident: str) -> CommandState:
        if ident not in self._state.commands:
            raise ApiFault("InvalidCommandId", "")
        return self._state.commands[ident]

    def _command(self, command: CommandState) -> Answer:
        given, states = command.given, [each.status for each in command.invocations]
        status, detail = _whole(command, states)
        return {
            "CommandId": command.ident,
            "DocumentName": given["DocumentName"],
            "Comment": given.get("Comment", ""),
            "Parameters": given.get("Parameters", {}),
            "Targets": given.get("Targets", []),
            "RequestedDateTime": command.at,
            "Status": status,
            "StatusDetails": detail,
            "TargetCount": len(states),
            "CompletedCount": sum(each in _ENDED for each in states),
            "ErrorCount": sum(each in {"Failed", "TimedOut"} for each in states),
        }

    def _invocation(self, command: CommandState, each: InvocationState, *, details: bool) -> Answer:
        shown: Answer = {
            "CommandId": command.ident,
            "InstanceId": each.instance.ident,
            "DocumentName": command.given["DocumentName"],
            "Status": each.status,
            "StatusDetails": each.detail,
            "CommandPlugins": [],
        }
        if details and each.status in _ENDED:
            steps, written = self._state.documents[command.given["DocumentName"]], each.instance
            shown["CommandPlugins"] = [
                {
                    "Name": name,
                    "Status": each.status if name == steps[-1] else "Success",
                    "ResponseCode": 1 if name == steps[-1] and each.status != "Success" else 0,
                    "Output": _listed(written.output, written.errors if name == steps[-1] else ""),
                }
                for name in steps
            ]
        return shown


def _listed(output: str, errors: str) -> str:
    whole = f"{output}\n----------ERROR-------\n{errors}" if errors else output
    return whole if len(whole) <= _MAX_LISTED else f"{whole[: _MAX_LISTED - 24]}\n---Output truncated---"


def _whole(command: CommandState, states: list[str]) -> tuple[str, str]:
    """Return status and detail of a command (user guide, "Understanding command statuses")."""
    if not states:
        return "Failed", "NoInstancesInTag"
    if not all(each in _ENDED for each in states):
        if command.cancelled:
            return "Cancelling", "Cancelling"
        return ("Pending", "Pending") if set(states) == {"Pending"} else ("InProgress", "InProgress")
    if command.cancelled and "Cancelled" in states:
        return "Cancelled", "Cancelled"
    if set(states) == {"Success"}:
        return "Success", "Success"
    if any(each.detail == "Terminated" for each in command.invocations):
        return "Failed", "RateExceeded"
    return "Failed", "Incomplete" if "Success" in states else "Failed"
