"""The JSON API of the ECR front: protocol, checks for all actions, and the actions on repositories.

Requests are checked against botocore's own model of the service; errors have the codes of the ECR API
reference. The actions on images are in :mod:`jenkins_release.sandbox.ecr.images`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from botocore.validate import ParamValidator

from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import EcrState, RepositoryState
from jenkins_release.sandbox.ecr.store import RegistryStore
from jenkins_release.sandbox.service_model import service_model

TARGET = "AmazonEC2ContainerRegistry_V20150921."
"""Prefix of the action in the ``X-Amz-Target`` header."""
CONTENT_TYPE = "application/x-amz-json-1.1"
"""Media type of the API's requests and answers."""
LIST_LIMIT = 100
"""Default number of items in one answer."""

_NAME = re.compile(r"(?=.{2,256}$)[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_ARN_NAME = re.compile(r"arn:aws:ecr:[\w-]+:\d{12}:repository/(.+)")
T = TypeVar("T")


@dataclass
class ApiCall:
    """One call of an action.

    Attributes:
        state: The front's state.
        store: The registry behind the front.
        host: Host and port of the front.
        arn: The principal.
        parameters: The action's arguments.
        fault: The fault for this call.
        blob_mounting: Whether the account opted in to blob mounting.
    """

    state: EcrState
    store: RegistryStore
    host: str
    arn: str
    parameters: dict[str, Any]
    fault: Fault
    blob_mounting: bool = False

    def repository(self) -> RepositoryState:
        """Return the call's repository."""
        return self.state.repository(self.parameters["repositoryName"])

    def page(self, items: Sequence[T], limit: int = LIST_LIMIT) -> tuple[Sequence[T], dict[str, str]]:
        """Return the requested page of ``items``, of ``limit`` by default; ``nextToken`` if more follow."""
        start, size = 0, self.parameters.get("maxResults", limit)
        if token := self.parameters.get("nextToken"):
            try:
                start = int(base64.b64decode(token, validate=True))
            except (binascii.Error, ValueError):
                raise invalid("the nextToken is not valid") from None
        end = start + size
        more = {"nextToken": base64.b64encode(str(end).encode()).decode()} if end < len(items) else {}
        return items[start:end], more


Action = Callable[[ApiCall], dict[str, Any]]


def parse(action: str, body: bytes) -> dict[str, Any]:
    """Return the arguments of an action, checked against botocore's model of ECR.

    Raises:
        ApiFault: UnknownOperationException, SerializationException, InvalidParameterException.
    """
    if action not in service_model("ecr").operation_names:
        raise ApiFault("UnknownOperationException", "")
    try:
        parameters = json.loads(body or b"{}")
    except ValueError:
        raise ApiFault("SerializationException", "the body is not JSON") from None
    shape = service_model("ecr").operation_model(action).input_shape
    report = ParamValidator().validate(parameters, shape)
    if report.has_errors():
        raise invalid(report.generate_report())
    for name, value in parameters.items():
        longest = shape.members[name].metadata.get("max") if name in shape.members else None
        if isinstance(value, list) and longest is not None and len(value) > longest:
            raise invalid(f"Member must have length less than or equal to {longest}: {name}")
    name = parameters.get("repositoryName")
    if name is not None and not _NAME.fullmatch(name):
        raise invalid(f"'{name}' at 'repositoryName' does not satisfy the pattern of a repository name")
    return dict(parameters)


def invalid(why: str) -> ApiFault:
    """Return InvalidParameterException."""
    return ApiFault("InvalidParameterException", f"Invalid parameter: {why}")


def check_registry(call: ApiCall) -> None:
    """Refuse a ``registryId`` of another account, like ECR if no policy shares a repository."""
    registry = call.parameters.get("registryId", call.state.account)
    if registry != call.state.account:
        name = call.parameters.get("repositoryName") or ", ".join(call.parameters.get("repositoryNames", []))
        raise ApiFault(
            "RepositoryNotFoundException",
            f"The repository with name '{name}' does not exist in the registry with id '{registry}'",
        )


def repository_of(action: str, parameters: Mapping[str, Any]) -> str | None:
    """Return the repository whose ARN a policy must name; None for actions on the whole registry."""
    if action == "ListTagsForResource":
        found = _ARN_NAME.fullmatch(parameters.get("resourceArn", ""))
        return found[1] if found else None
    names = parameters.get("repositoryNames") or [parameters.get("repositoryName")]
    return names[0] if len(names) == 1 else None


def _get_authorization_token(call: ApiCall) -> dict[str, Any]:
    token, expires = call.state.issue_token(call.arn)
    encoded = base64.b64encode(f"AWS:{token}".encode()).decode()
    data = {"authorizationToken": encoded, "expiresAt": expires, "proxyEndpoint": f"http://{call.host}"}
    return {"authorizationData": [data]}


def _get_account_setting(call: ApiCall) -> dict[str, Any]:
    name = call.parameters["name"]
    if name != "BLOB_MOUNTING":
        raise ApiFault("ValidationException", f"the sandbox does not know the account setting {name}")
    return {"name": name, "value": "ENABLED" if call.blob_mounting else "DISABLED"}


def _create_repository(call: ApiCall) -> dict[str, Any]:
    given, name = call.parameters, call.parameters["repositoryName"]
    filters = [each["filter"] for each in given.get("imageTagMutabilityExclusionFilters", [])]
    mutability = given.get("imageTagMutability", "MUTABLE")
    _check_filters(mutability, filters)
    with call.state.change() as document:
        if name in document.repositories:
            raise ApiFault(
                "RepositoryAlreadyExistsException",
                f"The repository with name '{name}' already exists in the registry with id "
                f"'{call.state.account}'",
            )
        created = document.repositories[name] = RepositoryState(
            name=name,
            # A repository that is created again must not find the layers of the deleted one.
            storage=f"r{secrets.token_hex(6)}/{name}",
            created_at=call.state.clock(),
            mutability=mutability,
            exclusions=filters,
            scan_on_push=given.get("imageScanningConfiguration", {}).get("scanOnPush", False),
            encryption=given.get("encryptionConfiguration", {"encryptionType": "AES256"}),
            resource_tags={tag["Key"]: tag.get("Value", "") for tag in given.get("tags", [])},
        )
    return {"repository": _described(call, created)}


def _describe_repositories(call: ApiCall) -> dict[str, Any]:
    names = call.parameters.get("repositoryNames")
    with call.state.read() as document:
        everything = [document.repositories[name] for name in sorted(document.repositories)]
    if names:
        if "maxResults" in call.parameters or "nextToken" in call.parameters:
            raise invalid("maxResults and nextToken do not go with repositoryNames")
        return {"repositories": [_described(call, call.state.repository(name)) for name in names]}
    chosen, more = call.page(everything)
    return {"repositories": [_described(call, each) for each in chosen], **more}


def _delete_repository(call: ApiCall) -> dict[str, Any]:
    with call.state.change() as document:
        repository = call.repository()
        if repository.images and not call.parameters.get("force"):
            raise ApiFault(
                "RepositoryNotEmptyException",
                f"The repository with name '{repository.name}' in registry with id '{call.state.account}' "
                "cannot be deleted because it still contains images",
            )
        del document.repositories[repository.name]
    return {"repository": _described(call, repository)}


def _put_image_tag_mutability(call: ApiCall) -> dict[str, Any]:
    filters = [each["filter"] for each in call.parameters.get("imageTagMutabilityExclusionFilters", [])]
    mutability = call.parameters["imageTagMutability"]
    _check_filters(mutability, filters)
    with call.state.change():
        repository = call.repository()
        repository.mutability, repository.exclusions = mutability, filters
    described = _described(call, repository)
    wanted = ("registryId", "repositoryName", "imageTagMutability", "imageTagMutabilityExclusionFilters")
    return {name: described[name] for name in wanted if name in described}


def _list_tags_for_resource(call: ApiCall) -> dict[str, Any]:
    found = _ARN_NAME.fullmatch(call.parameters["resourceArn"])
    if found is None:
        raise invalid("the resourceArn is not the ARN of a repository")
    tags = call.state.repository(found[1]).resource_tags
    return {"tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def _get_repository_policy(call: ApiCall) -> dict[str, Any]:
    repository = call.repository()
    if not repository.policy:
        raise ApiFault(
            "RepositoryPolicyNotFoundException",
            f"Repository policy does not exist for the repository with name '{repository.name}'",
        )
    return {"repositoryName": repository.name, "policyText": repository.policy}


def _set_repository_policy(call: ApiCall) -> dict[str, Any]:
    text = call.parameters["policyText"]
    if not json.loads(text).get("Statement"):
        raise invalid("Invalid parameter at 'PolicyText': 'Invalid repository policy provided'")
    with call.state.change():
        call.repository().policy = text
    return _get_repository_policy(call)


def _delete_repository_policy(call: ApiCall) -> dict[str, Any]:
    answer = _get_repository_policy(call)
    with call.state.change():
        call.repository().policy = ""
    return answer


def _check_filters(mutability: str, filters: Sequence[str]) -> None:
    if mutability.endswith("_WITH_EXCLUSION") != bool(filters):
        raise invalid(f"imageTagMutability {mutability} does not go with {len(filters)} exclusion filters")


def _described(call: ApiCall, repository: RepositoryState) -> dict[str, Any]:
    described: dict[str, Any] = {
        "repositoryArn": call.state.repository_arn(repository.name),
        "registryId": call.state.account,
        "repositoryName": repository.name,
        "repositoryUri": f"{call.host}/{repository.name}",
        "createdAt": repository.created_at,
        "imageTagMutability": repository.mutability,
        "imageScanningConfiguration": {"scanOnPush": repository.scan_on_push},
        "encryptionConfiguration": repository.encryption,
    }
    if repository.exclusions:
        described["imageTagMutabilityExclusionFilters"] = [
            {"filterType": "WILDCARD", "filter": pattern} for pattern in repository.exclusions
        ]
    return described


REPOSITORY_ACTIONS: dict[str, Action] = {
    "GetAuthorizationToken": _get_authorization_token,
    "GetAccountSetting": _get_account_setting,
    "CreateRepository": _create_repository,
    "DescribeRepositories": _describe_repositories,
    "DeleteRepository": _delete_repository,
    "GetRepositoryPolicy": _get_repository_policy,
    "SetRepositoryPolicy": _set_repository_policy,
    "DeleteRepositoryPolicy": _delete_repository_policy,
    "PutImageTagMutability": _put_image_tag_mutability,
    "ListTagsForResource": _list_tags_for_resource,
}
"""The actions on the registry and its repositories."""
