"""The parts of AWS Systems Manager Run Command that a refresh needs.

Sources: AWS Systems Manager API reference, and the page "Understanding command
statuses" in its user guide.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Protocol

from jenkins_release.aws.errors import aws_errors, error_code, translate
from jenkins_release.aws.session import aws_client
from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.base.waits import Limits

_log = logging.getLogger(__name__)
FINAL = frozenset({"Success", "Failed", "Cancelled", "TimedOut"})
"""Final states of a command and of an invocation."""
_NOT_YET = frozenset({"InvalidCommandId", "InvocationDoesNotExist"})
"""Error codes for a command that SSM does not know yet."""
_KEPT = {"StandardOutput": 24_000, "StandardError": 8_000}
"""Stream to the number of characters that GetCommandInvocation returns."""
_LATER = "it takes SSM a moment to know a new command, and how it ended"
_WRONG = frozenset(
    {
        "InvalidDocument",
        "InvalidDocumentVersion",
        "InvalidParameters",
        "InvalidTarget",
        "InvalidInstanceId",
        "InvalidNotificationConfig",
        "InvalidOutputFolder",
        "InvalidRole",
        "MaxDocumentSizeExceeded",
        "UnsupportedPlatformType",
        "ValidationException",
    }
)


@dataclass(frozen=True)
class CommandOrder:
    """A command to send.

    Attributes:
        document: Name or ARN of the document.
        version: Its version.
        targets: Tag to values, one of which an instance must have.
        parameters: The document's parameters.
        max_concurrency: Instances at a time: a number or a percentage.
        max_errors: Errors after which no more instances begin: a number or a percentage.
        delivery_s: Seconds that an instance may take to pick it up.
        comment: Identifies the command; at most 100 characters.
    """

    document: str
    version: str
    targets: Mapping[str, Sequence[str]]
    parameters: Mapping[str, Sequence[str]]
    max_concurrency: str
    max_errors: str
    delivery_s: int
    comment: str


@dataclass(frozen=True)
class SentCommand:
    """A command that was sent.

    Attributes:
        ident: Its id.
        document: Its document.
        status: ``Pending``, ``InProgress``, ``Cancelling``, or one of :data:`FINAL`.
        detail: The detailed state, such as ``NoInstancesInTag`` or ``Incomplete``.
        comment: Its comment.
        tags: Targets: tag to values.
        instances: Target instances, as far as they are known.
    """

    ident: str
    document: str
    status: str
    detail: str
    comment: str
    tags: Mapping[str, frozenset[str]]
    instances: int

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.status in FINAL


@dataclass(frozen=True)
class Invocation:
    """A command on one instance.

    Attributes:
        instance: Id of the instance.
        status: ``Pending``, ``InProgress``, ``Delayed``, ``Cancelling``, or one of :data:`FINAL`.
        detail: The detailed state, such as ``DeliveryTimedOut`` or ``Terminated``.
    """

    instance: str
    status: str
    detail: str


class RunCommand(Protocol):
    """Run Command; errors are :class:`jenkins_release.base.errors.ReleaseError`."""

    def send(self, order: CommandOrder) -> str:
        """Send a command and return its id."""
        ...

    def command(self, ident: str) -> SentCommand | None:
        """Return a command, None if it is not visible yet."""
        ...

    def invocations(self, ident: str) -> list[Invocation]:
        """Return its state on each instance reached so far."""
        ...

    def output(self, ident: str, instance: str) -> str:
        """Return the output of the unsuccessful steps on an instance, with their errors last.

        For each step, SSM keeps the first 24,000 characters of output and the first 8,000 of errors (SSM API
        reference, GetCommandInvocation).
        """
        ...

    def unfinished(self, document: str) -> list[SentCommand]:
        """Return a document's commands that have not ended."""
        ...

    def sent(self, document: str, comment: str, since: datetime) -> list[SentCommand]:
        """Return a document's commands with a comment that were sent since a moment, newest first."""
        ...

    def cancel(self, ident: str) -> None:
        """Ask to end a command; what already runs on an instance may continue."""
        ...


class Ssm:
    """Systems Manager.

    Args:
        region: AWS region.
        client: A boto3 ``ssm`` client instead of one from boto3's credential chain.
        limits: How long a call may take.
    """

    def __init__(self, region: str, *, client: Any = None, limits: Limits | None = None) -> None:
        self._region = region
        self._given = client
        self._limits = limits
        self._client = client or aws_client("ssm", region, limits=limits)

    @cached_property
    def _sender(self) -> Any:
        # SendCommand has no token to make a repeated call harmless: before the next attempt, check whether
        # one without an answer arrived.
        return self._given or aws_client("ssm", self._region, attempts=1, limits=self._limits)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._client.close()
        if "_sender" in self.__dict__:
            self._sender.close()

    def send(self, order: CommandOrder) -> str:
        """Send a command."""
        from botocore.exceptions import BotoCoreError, ClientError

        what = f"send the command {order.document}"
        try:
            answer = self._sender.send_command(
                DocumentName=order.document,
                DocumentVersion=order.version,
                Targets=[
                    {"Key": f"tag:{tag}", "Values": list(values)} for tag, values in order.targets.items()
                ],
                Parameters={name: list(values) for name, values in order.parameters.items()},
                MaxConcurrency=order.max_concurrency,
                MaxErrors=order.max_errors,
                TimeoutSeconds=order.delivery_s,
                Comment=order.comment,
            )
        except (BotoCoreError, ClientError) as error:
            found = translate(error, what)
            if error_code(error) in _WRONG and not found.retryable:
                hint = "check saas.ssm: document, document_version, parameters and targets"
                raise ConfigurationError(found.message, hint=hint) from error
            raise found from error
        return str(answer["Command"]["CommandId"])

    def command(self, ident: str) -> SentCommand | None:
        """Read a command."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.list_commands(CommandId=ident)
        except (BotoCoreError, ClientError) as error:
            if error_code(error) in _NOT_YET:
                return None
            raise translate(error, f"read the command {ident}") from error
        found = answer.get("Commands", [])
        return _command(found[0]) if found else None

    def invocations(self, ident: str) -> list[Invocation]:
        """Read the invocations."""
        from botocore.exceptions import BotoCoreError, ClientError

        found = []
        try:
            pages = self._client.get_paginator("list_command_invocations").paginate(CommandId=ident)
            for page in pages:
                for each in page.get("CommandInvocations", []):
                    detail = each.get("StatusDetails", "")
                    found.append(Invocation(each["InstanceId"], each["Status"], detail))
        except (BotoCoreError, ClientError) as error:
            if error_code(error) in _NOT_YET:
                return []
            raise translate(error, f"read the invocations of the command {ident}") from error
        return sorted(found, key=lambda each: each.instance)

    def output(self, ident: str, instance: str) -> str:
        """Read the output of every step that did not succeed."""
        what = f"read the output of the command {ident} on {instance}"
        with aws_errors(what):
            answer = self._client.list_command_invocations(CommandId=ident, InstanceId=instance, Details=True)
        found = answer.get("CommandInvocations", [])
        if not found or found[0]["Status"] not in FINAL:
            raise RemoteError(f"cannot {what}: SSM does not show yet that it ended there", retryable=True)
        steps = found[0].get("CommandPlugins", [])
        bad = [step for step in steps if step.get("Status") != "Success"] or steps
        texts = [self._written(ident, instance, step, what) for step in bad]
        if len(steps) > 1:
            texts = [f"{step['Name']}: {text}" for step, text in zip(bad, texts, strict=True)]
        return "\n".join(texts).strip()

    def _written(self, ident: str, instance: str, step: Mapping[str, Any], what: str) -> str:
        """Read both streams of a step separately; if that is refused, return what the list has of them."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.get_command_invocation(
                CommandId=ident, InstanceId=instance, PluginName=step["Name"]
            )
        except (BotoCoreError, ClientError) as error:
            found = translate(error, what)
            if error_code(error) in _NOT_YET or found.retryable:
                raise RemoteError(found.message, hint=_LATER, retryable=True) from error
            _log.info("%s: showing what SSM lists", found.message)
            return str(step.get("Output", ""))
        output, errors = (_stream(answer, name) for name in ("StandardOutput", "StandardError"))
        return "\n".join(filter(None, [output, errors and f"errors: {errors}"]))

    def unfinished(self, document: str) -> list[SentCommand]:
        """List the commands in progress."""
        found = []
        for status in ("Pending", "InProgress", "Cancelling"):
            found += self._list(document, {"key": "Status", "value": status})
        return [each for each in found if not each.ended]

    def sent(self, document: str, comment: str, since: datetime) -> list[SentCommand]:
        """List the commands with a comment; ListCommands returns the newest first."""
        after = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        found = self._list(document, {"key": "InvokedAfter", "value": after})
        return [each for each in found if each.comment == comment]

    def _list(self, document: str, narrowed: Mapping[str, str]) -> list[SentCommand]:
        found = []
        with aws_errors(f"list the commands of {document}"):
            pages = self._client.get_paginator("list_commands").paginate(
                Filters=[{"key": "DocumentName", "value": document}, narrowed]
            )
            for page in pages:
                found += [_command(each) for each in page.get("Commands", [])]
        return [each for each in found if each.document == document]

    def cancel(self, ident: str) -> None:
        """Cancel a command."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.cancel_command(CommandId=ident)
        except (BotoCoreError, ClientError) as error:
            found = translate(error, f"cancel the command {ident}")
            if error_code(error) in _NOT_YET:
                raise RemoteError(found.message, hint=_LATER, retryable=True) from error
            raise found from error


def _stream(answer: Mapping[str, Any], name: str) -> str:
    """Return a step's output in a stream, and say where SSM has cut it off."""
    text = str(answer.get(f"{name}Content", ""))
    if len(text) < _KEPT[name]:
        return text.strip()
    place = answer.get(f"{name}Url")
    return f"{text.strip()} [SSM keeps the first {_KEPT[name]} characters{f': see {place}' if place else ''}]"


def _command(said: Mapping[str, Any]) -> SentCommand:
    tags = {
        each["Key"].removeprefix("tag:"): frozenset(each.get("Values", []))
        for each in said.get("Targets", [])
        if each.get("Key", "").startswith("tag:")
    }
    return SentCommand(
        ident=said["CommandId"],
        document=said.get("DocumentName", ""),
        status=said.get("Status", ""),
        detail=said.get("StatusDetails", ""),
        comment=said.get("Comment", ""),
        tags=tags,
        instances=said.get("TargetCount", 0),
    )
