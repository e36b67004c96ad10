"""Checks AWS's answers before use: complete, with the types of the API reference, and not a web page.

botocore accepts anything: a field of another type or a missing one, or a web page as an answer without
content. Each of these would fail only where the field is used, far from its cause.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jenkins_release.base.environment import is_text
from jenkins_release.base.errors import RemoteError

ODD = "something between here and AWS changes its answers"
"""What to say of an answer that AWS does not give."""
_PAGE = re.compile(rb"\s*(?:<!doctype\s+html|<html|<head|<body)", re.IGNORECASE)
_BEGINS = {"json": b"{", "rest-json": b"{", "query": b"<"}
"""Protocol to the beginning of its answers."""
_SLOW = {"query": b"<ErrorResponse><Error><Code>TooManyRequests</Code></Error></ErrorResponse>"}
"""Protocol to a throttling error without a text; in other protocols it has no body."""
_SUMS = frozenset(f"x-amz-checksum-{name}" for name in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256"))
"""The other headers of that prefix name an algorithm or a type (Amazon S3 API, CreateMultipartUpload)."""
_YEARS = range(1970, 9000)
_LONGEST_INTEGER = 2**63
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "ecr.BatchGetImage": ("images[].imageId", "images[].imageManifest"),
    "ecr.BatchCheckLayerAvailability": ("layers[].layerDigest",),
    "ecr.CreateRepository": (
        "repository.repositoryName",
        "repository.repositoryUri",
        "repository.imageTagMutabilityExclusionFilters?[].filter",
    ),
    "ecr.DescribeImages": ("imageDetails[].imageDigest",),
    "ecr.DescribeRepositories": (
        "repositories[].repositoryName",
        "repositories[].repositoryUri",
        "repositories[].repositoryArn",
        "repositories[].imageTagMutabilityExclusionFilters?[].filter",
    ),
    "ecr.GetAuthorizationToken": ("authorizationData[].authorizationToken",),
    "ecr.GetRepositoryPolicy": ("policyText",),
    "ecr.ListImages": ("imageIds[]",),
    "ecr.PutImage": ("image.imageId",),
    "ecs.DescribeServices": (
        "services[].serviceName",
        "services[].deployments?[].id",
        "services[].deployments?[].status",
        "services[].deployments?[].taskDefinition",
        "services[].events?[].id",
        "services[].events?[].createdAt",
        "services[].events?[].message",
    ),
    "ecs.DescribeTaskDefinition": (
        "taskDefinition.taskDefinitionArn",
        "taskDefinition.family",
        "taskDefinition.containerDefinitions[].name",
        "tags?[].key",
    ),
    "ecs.DescribeTasks": ("tasks[].taskDefinitionArn", "tasks[].containers?[].name"),
    "ecs.ListTasks": ("taskArns[]",),
    "ecs.RegisterTaskDefinition": ("taskDefinition.taskDefinitionArn",),
    "ecs.UpdateService": (
        "service.serviceName",
        "service.deployments?[].id",
        "service.deployments?[].status",
        "service.deployments?[].taskDefinition",
        "service.events?[].id",
        "service.events?[].createdAt",
        "service.events?[].message",
    ),
    "iam.CreateAccessKey": ("AccessKey.AccessKeyId", "AccessKey.SecretAccessKey"),
    "iam.GetAccountSummary": ("SummaryMap",),
    "iam.GetPolicy": ("Policy.DefaultVersionId",),
    "iam.GetPolicyVersion": ("PolicyVersion.Document",),
    "iam.GetUser": ("User.UserName", "User.Arn", "User.Path", "User.CreateDate"),
    "iam.GetUserPolicy": ("PolicyDocument",),
    "iam.ListAccessKeys": (
        "AccessKeyMetadata[].AccessKeyId",
        "AccessKeyMetadata[].Status",
        "AccessKeyMetadata[].CreateDate",
    ),
    "iam.ListAttachedUserPolicies": ("AttachedPolicies[].PolicyArn",),
    "iam.ListGroupsForUser": ("Groups[].GroupName",),
    "iam.ListPolicyVersions": (
        "Versions[].VersionId",
        "Versions[].IsDefaultVersion",
        "Versions[].CreateDate",
    ),
    "iam.ListUserPolicies": ("PolicyNames[]",),
    "iam.ListUserTags": ("Tags[].Key", "Tags[].Value"),
    "iam.ListUsers": ("Users[].UserName",),
    "inspector2.ListCoverage": ("coveredResources[]",),
    "inspector2.ListFindings": ("findings[]",),
    "s3.CompleteMultipartUpload": ("ETag",),
    "s3.CreateMultipartUpload": ("UploadId",),
    "s3.GetObject": ("ContentLength", "ETag", "LastModified"),
    "s3.HeadObject": ("ContentLength", "ETag"),
    "s3.ListMultipartUploads": ("Uploads?[].Key", "Uploads?[].UploadId", "Uploads?[].Initiated"),
    "s3.ListObjectVersions": (
        "IsTruncated",
        "Versions?[].Key",
        "Versions?[].VersionId",
        "Versions?[].LastModified",
        "DeleteMarkers?[].Key",
        "DeleteMarkers?[].LastModified",
        "CommonPrefixes?[].Prefix",
    ),
    "s3.ListObjectsV2": ("IsTruncated", "Contents?[].Key", "Contents?[].Size"),
    "s3.ListParts": ("Parts?[].PartNumber", "Parts?[].ETag", "Parts?[].Size"),
    "s3.PutObject": ("ETag",),
    "s3.UploadPart": ("ETag",),
    "secretsmanager.DescribeSecret": ("Tags?[].Key", "Tags?[].Value"),
    "ssm.ListCommandInvocations": (
        "CommandInvocations[].InstanceId",
        "CommandInvocations[].Status",
        "CommandInvocations[].CommandPlugins?[].Name",
    ),
    "ssm.ListCommands": ("Commands[].CommandId", "Commands[].Targets?[].Key"),
    "ssm.SendCommand": ("Command.CommandId",),
}
"""Operation to the parts of its answer that the code needs: ``[]`` for each list entry, ``?`` if optional."""


class BadAnswer(Exception):
    """An answer that cannot be from AWS."""


def check_answer(status: int, headers: Mapping[str, str], body: bytes, operation: Any) -> bytes:
    """Check an answer and return its body, or an empty one if only the status is useful.

    Args:
        status: HTTP status.
        headers: Headers.
        body: The complete body; empty for a stream.
        operation: botocore's model of the operation.

    Raises:
        BadAnswer: The answer cannot be from AWS.
    """
    try:
        _check(status, headers, body, operation)
    except BadAnswer:
        # Proxies and load balancers send their own text with a 502: then the status is the answer.
        if status >= 500:
            return b""
        if status == 429:
            return _SLOW.get(operation.service_model.resolved_protocol, b"")
        raise
    return body


def next_page(token: str | None, before: str | None, operation: str) -> str | None:
    """Return the token of the next page; None if there is none.

    Args:
        token: The token in the answer.
        before: The token with which the page was requested.
        operation: The called operation, for the message.

    Raises:
        RemoteError: The server repeats the same page endlessly.
    """
    if token and token == before:
        raise RemoteError(
            f"AWS answers {operation} with the same page repeatedly",
            hint=ODD,
            retryable=True,
        )
    return token or None


def _check(status: int, headers: Mapping[str, str], body: bytes, operation: Any) -> None:
    from botocore.parsers import create_parser

    service = operation.service_model
    if body.strip():
        begins = _BEGINS.get(service.resolved_protocol, b"")
        if _PAGE.match(body) or not body.lstrip().startswith(begins):
            raise BadAnswer(f"the answer is not from AWS, with status {status}")
    given = {"status_code": status, "headers": headers, "body": body, "context": {}}
    parser = create_parser(service.resolved_protocol)
    try:
        parsed = parser.parse(given, operation.output_shape)
        if status >= 300:
            _check_error(parsed, given, operation, parser)
            return
    except BadAnswer:
        raise
    except Exception as error:  # the parser assumes that every answer is from AWS
        raise BadAnswer(f"the answer cannot be read: {type(error).__name__}, with status {status}") from error
    _check_sums(headers)
    if operation.output_shape is not None:
        _check_shape(parsed, operation.output_shape, "")
    if _is_s3_error(service.service_name, body):
        return  # botocore turns it into a 500
    for path in _NEEDED.get(f"{service.service_name}.{operation.name}", ()):
        _check_there(parsed, path.split("."), path)
    _check_leads_on(parsed)


def _check_leads_on(parsed: Mapping[str, Any]) -> None:
    """Check that a list which is cut off says where it goes on: botocore would take it for all of it."""
    names = [name for name in parsed if name == "Marker" or name.startswith("Next")]
    if parsed.get("IsTruncated") and not any(parsed[name] for name in names):
        raise BadAnswer("the answer is cut off and does not say where it goes on")


def _check_error(parsed: Any, given: Mapping[str, Any], operation: Any, parser: Any) -> None:
    error = parsed.get("Error", {})
    for name in ("Code", "Message"):
        value = error.get(name, "")
        if not isinstance(value, str | int) or not is_text(str(value)):
            raise BadAnswer(f"the error's {name} is not text, with status {given['status_code']}")
    shape = operation.service_model.shape_for_error_code(str(error.get("Code", "")))
    if shape is not None:
        _check_shape(parser.parse(given, shape), shape, "")


def _check_sums(headers: Mapping[str, str]) -> None:
    """Check that S3's checksums are base64: botocore decodes them without a check."""
    for name, value in headers.items():
        if name.lower() not in _SUMS:
            continue
        try:
            base64.b64decode(value.partition("-")[0], validate=True)
        except ValueError as error:
            raise BadAnswer("the checksum in the answer is not valid base64") from error


def _is_s3_error(service: str, body: bytes) -> bool:
    return service == "s3" and b"<Error" in body[:300]


def _check_shape(value: Any, shape: Any, where: str) -> None:
    kind = shape.type_name
    if kind == "structure":
        if getattr(shape, "is_document_type", False) or getattr(shape, "is_eventstream", False):
            return
        if not isinstance(value, dict):
            raise _wrong(where, kind)
        for name, inner in shape.members.items():
            if name in value:
                _check_shape(value[name], inner, f"{where}.{name}" if where else name)
    elif kind == "list":
        if not isinstance(value, list):
            raise _wrong(where, kind)
        for each in value:
            _check_shape(each, shape.member, f"{where}[]")
    elif kind == "map":
        if not isinstance(value, dict):
            raise _wrong(where, kind)
        for key, each in value.items():
            _check_shape(key, shape.key, f"{where} keys")
            _check_shape(each, shape.value, f"{where}.*")
    elif not _is_scalar(value, shape):
        raise _wrong(where, kind)


def _is_scalar(value: Any, shape: Any) -> bool:
    kind = shape.type_name
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in {"integer", "long"}:
        return type(value) is int and -_LONGEST_INTEGER <= value < _LONGEST_INTEGER
    if kind in {"float", "double"}:
        return type(value) in {int, float} and math.isfinite(value)
    if kind == "timestamp":
        return isinstance(value, datetime) and value.tzinfo is not None and value.year in _YEARS
    if kind == "blob":
        return isinstance(value, bytes) or "streaming" in shape.serialization
    if "jsonvalue" in shape.serialization:
        return True
    return isinstance(value, str) and is_text(value)


def _check_there(value: Any, path: list[str], whole: str) -> None:
    for step in path:
        name, each, _ = step.partition("[]")
        optional = name.endswith("?")
        name = name.removesuffix("?")
        if not isinstance(value, dict) or name not in value:
            if optional:
                return
            raise BadAnswer(f"the answer lacks {whole}")
        value = value[name]
        if each:
            rest = path[path.index(step) + 1 :]
            for item in value:
                _check_there(item, rest, whole)
            return


def _wrong(where: str, kind: str) -> BadAnswer:
    return BadAnswer(f"the answer's {where or 'body'} is not a {kind}")
