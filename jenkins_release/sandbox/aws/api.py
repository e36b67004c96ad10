"""AWS services besides ECR that the front serves: JSON, checked against botocore's models.

Requests are checked as in AWS, and so are responses: a response that AWS could not have given is a bug in the
sandbox, and is reported as one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from botocore.validate import ParamValidator

from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.service_model import service_model

Answer = dict[str, Any]
Action = Callable[[Mapping[str, Any]], Answer]
Resources = Callable[[str, Mapping[str, Any]], Sequence[str]]


class JsonApi:
    """One service.

    Args:
        service: boto3's name of it, such as ``ecs``; also used in policies and signatures.
        actions: The supported actions.
        resources: Returns the ARNs that a policy must allow for an action with its arguments.
        invalid: Error code for arguments that do not match the model.
    """

    def __init__(
        self, service: str, actions: Mapping[str, Action], resources: Resources, *, invalid: str
    ) -> None:
        self.service = service
        self._actions = actions
        self._resources = resources
        self._invalid = invalid

    # JSON 1.1 names the action in a header, REST by its path.
    @cached_property
    def _target(self) -> str:
        return f"{service_model(self.service).metadata.get('targetPrefix', '')}."

    @cached_property
    def _paths(self) -> dict[str, str]:
        operations = (service_model(self.service).operation_model(action) for action in self._actions)
        return {operation.http["requestUri"]: operation.name for operation in operations}

    def action(self, target: str, path: str) -> str:
        """Return the action of a request, empty if it is for another service.

        Args:
            target: The header ``X-Amz-Target``, used by JSON 1.1.
            path: The path, used by REST.
        """
        if target:
            return target.removeprefix(self._target) if target.startswith(self._target) else ""
        return self._paths.get(path, "") if path != "/" else ""

    def parse(self, action: str, body: bytes) -> dict[str, Any]:
        """Return the arguments of an action.

        Raises:
            ApiFault: UnknownOperationException, SerializationException, or an error for invalid arguments.
        """
        if action not in self._actions:
            raise ApiFault("UnknownOperationException", f"the sandbox does not know {self.service}:{action}")
        try:
            arguments = json.loads(body or b"{}")
        except ValueError:
            raise ApiFault("SerializationException", "the body is not JSON") from None
        shape = service_model(self.service).operation_model(action).input_shape
        report = ParamValidator().validate(arguments, shape)
        if report.has_errors():
            raise ApiFault(self._invalid, report.generate_report())
        return dict(arguments)

    def resources(self, action: str, arguments: Mapping[str, Any]) -> Sequence[str]:
        """Return the ARNs for which the caller needs rights."""
        return self._resources(action, arguments)

    def answer(self, action: str, arguments: Mapping[str, Any]) -> Answer:
        """Run an action.

        Raises:
            ApiFault: AWS's error; or InternalFailure if the sandbox made a response that AWS cannot give.
        """
        answer = self._actions[action](arguments)
        shape = service_model(self.service).operation_model(action).output_shape
        if shape is not None:
            report = ParamValidator().validate(answer, shape)
            unknown = set(answer) - set(shape.members)
            if report.has_errors() or unknown:
                why = f"{report.generate_report()} {sorted(unknown)}"
                raise ApiFault("InternalFailure", f"the sandbox's answer is wrong: {why}", 500)
        return answer
