"""What AWS refuses for the moment is repeated, in whatever form it says so; a web page is no answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from urllib3 import HTTPResponse

from jenkins_release.aws import aws_client, aws_errors, translate
from jenkins_release.aws.iam import IamAccount
from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.registry import EcrRegistry
from tests.registry.test_aws_errors import answered

LATER = [
    ("ClientException", "Too many concurrent attempts to create a new revision of the specified family."),
    ("ConflictException", "said"),
    ("TooManyRequests", "said"),
    ("TooManyUpdates", "said"),
    ("ThrottlingException", "Rate exceeded"),
    ("throttling", "said"),
    ("Throttling.User", "said"),
    ("KMS.ThrottlingException", "said"),
    ("RequestLimitExceeded", "said"),
    ("PriorRequestNotComplete", "said"),
    ("ServerException", "said"),
    ("InternalServerError", "said"),
    ("ServiceFailureException", "said"),
    ("ConcurrentModification", "said"),
    ("ConcurrentModificationException", "said"),
    ("EntityTemporarilyUnmodifiable", "said"),
    ("KeyUnavailableException", "said"),
    ("OperationAborted", "said"),
    ("InvalidParameterException", "Rate exceeded"),
    ("LimitExceededException", "Too many requests"),
    ("ValidationException", "Please reduce your request rate."),
]
NEVER = [
    ("ClientException", "Container.image should not be null or empty."),
    ("AccessDeniedException", "a policy that throttles denies it"),
    ("DeleteConflict", "said"),
    ("LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2"),
    ("LimitExceededException", "said"),
]


class Line:
    """Answers in place of AWS, each call with the next of some answers, and the last one from then on."""

    def __init__(self, client: Any, *answers: tuple[int, str, bytes]) -> None:
        self.calls = 0
        self._answers = answers
        client._endpoint.http_session.session.send = self.send

    def send(self, request: Any) -> AWSResponse:
        status, kind, body = self._answers[min(self.calls, len(self._answers) - 1)]
        self.calls += 1
        headers = {"Content-Type": kind}
        raw = HTTPResponse(BytesIO(body), headers, status, preload_content=False)
        return AWSResponse(request.url, status, headers, raw)


def told(code: str, message: str, status: int = 400) -> tuple[int, str, bytes]:
    """AWS's refusal as ECS writes it."""
    return status, "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message}).encode()


GOOD = (200, "application/x-amz-json-1.1", b'{"clusters": []}')


@pytest.fixture
def client(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Makes clients that never wait."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setattr("random.uniform", lambda low, _: low)
    return lambda service="ecs", **given: aws_client(service, "eu-central-1", **given)


@pytest.mark.parametrize(("code", "message"), LATER)
def test_later_is_never_a_mistake_of_the_configuration(code: str, message: str):
    """Whatever the code is called and in whatever case: retryable, and a remote service at the end."""
    found = translate(answered(code, message), "do it")
    assert isinstance(found, RemoteError)
    assert (found.retryable, found.hint) == (True, "AWS asks to try again later")


@pytest.mark.parametrize(("code", "message"), NEVER)
def test_other_refusals_are_not_repeated(code: str, message: str):
    """A quota, a denial and a mistake stay what they are."""
    assert not translate(answered(code, message), "do it").retryable


@pytest.mark.parametrize(("code", "message"), LATER)
def test_later_is_waited_for_within_the_call(client: Callable[..., Any], code: str, message: str):
    """Also where botocore's own lists do not have it."""
    ecs = client()
    line = Line(ecs, told(code, message), told(code, message), GOOD)
    assert ecs.describe_clusters()["clusters"] == []
    assert line.calls == 3


def test_a_call_that_is_made_once_is_made_once(client: Callable[..., Any]):
    """What each call makes anew is not repeated by the client."""
    ecs = client(attempts=1)
    line = Line(ecs, told(*LATER[0]))
    with pytest.raises(RemoteError), aws_errors("do it"):
        ecs.describe_clusters()
    assert line.calls == 1


def test_the_attempts_end(client: Callable[..., Any]):
    """With the error of a remote service: status 5."""
    ecs = client(attempts=4)
    line = Line(ecs, told(*LATER[0]))
    with pytest.raises(RemoteError, match="Too many concurrent attempts") as caught, aws_errors("do it"):
        ecs.describe_clusters()
    assert (line.calls, caught.value.retryable) == (4, True)


@pytest.mark.parametrize(
    "page", [b"<html>busy</html>", b"<!DOCTYPE html>\n<HTML><br>", b"upstream timed out"]
)
@pytest.mark.parametrize("service", ["ecs", "iam", "inspector2"])
def test_a_page_of_a_server_that_failed_is_waited_out(client: Callable[..., Any], service: str, page: bytes):
    """A load balancer in front of AWS speaks HTML, which botocore cannot always parse."""
    made = client(service, attempts=3)
    line = Line(made, (503, "text/html", page))
    calls = {"ecs": "describe_clusters", "iam": "list_users", "inspector2": "list_coverage"}
    with pytest.raises(RemoteError, match="503") as caught, aws_errors("do it"):
        getattr(made, calls[service])()
    assert caught.value.retryable
    assert line.calls == 3
    assert "busy" not in caught.value.message


@pytest.mark.parametrize(
    ("service", "status"), [("ecs", 200), ("ecs", 403), ("iam", 200), ("iam", 403), ("s3", 403)]
)
def test_a_page_of_a_proxy_is_no_answer(client: Callable[..., Any], service: str, status: int):
    """A sign-in page with status 200 read as an answer without any content."""
    made = client(service, attempts=1)
    Line(made, (status, "text/html", b"\n<!doctype HTML><html><body>Sign in<br></body></html>"))
    calls = {"ecs": "describe_clusters", "iam": "list_users", "s3": "list_buckets"}
    expected = f"the answer is not from AWS, with status {status}"
    with pytest.raises(RemoteError, match=expected) as caught, aws_errors("do it"):
        getattr(made, calls[service])()
    assert "proxy" in caught.value.hint


EMPTY = {
    "ecs list_tasks": {"cluster": "c"},
    "ecs describe_tasks": {"cluster": "c", "tasks": ["t"]},
    "ecs describe_services": {"cluster": "c", "services": ["s"]},
    "inspector2 list_coverage": {},
    "inspector2 list_findings": {},
    "ssm list_commands": {},
    "ssm list_command_invocations": {},
}


@pytest.mark.parametrize("call", EMPTY)
def test_an_answer_without_a_list_is_not_an_empty_list(client: Callable[..., Any], call: str):
    """A scan without findings, a stack without tasks: an empty answer would say it."""
    service, action = call.split()
    made = client(service, attempts=1)
    Line(made, (200, "application/json", b"{}"))
    with pytest.raises(RemoteError, match="the answer lacks"), aws_errors("do it"):
        getattr(made, action)(**EMPTY[call])


_DESCRIBED = {"repositoryName": "skydrm/router", "repositoryUri": "u", "repositoryArn": "a"}


@pytest.mark.parametrize("found", [[], [_DESCRIBED]])
def test_the_description_of_another_repository_is_none(client: Callable[..., Any], found: list[Any]):
    made = client("ecr", attempts=1)
    Line(made, (200, "application/json", json.dumps({"repositories": found}).encode()))
    with pytest.raises(RemoteError, match="the answer is not about it") as caught:
        EcrRegistry("eu-central-1", client=made).repository("skydrm/rms")
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"repositoryName": "skydrm/rms", "imageTagMutabilityExclusionFilters": [{}]},
            "the answer lacks repository.imageTagMutabilityExclusionFilters",
        ),
        ({}, "the answer is about another one"),
    ],
)
def test_the_answer_to_a_creation_is_looked_at(client: Callable[..., Any], changed: Any, said: str):
    made = client("ecr", attempts=1)
    answer = {"repository": {**_DESCRIBED, **changed}}
    Line(made, (200, "application/json", json.dumps(answer).encode()))
    with pytest.raises(RemoteError, match=said):
        EcrRegistry("eu-central-1", client=made).create_repository("skydrm/rms")


@pytest.mark.parametrize("call", ["list_objects_v2", "list_object_versions"])
def test_an_empty_document_is_not_an_empty_bucket(client: Callable[..., Any], call: str):
    """A portal without releases, a ledger without lines: S3 says in every list whether it is all."""
    made = client("s3", attempts=1)
    body = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></ListBucketResult>'
    Line(made, (200, "application/xml", body))
    with pytest.raises(RemoteError, match="the answer lacks"), aws_errors("do it"):
        getattr(made, call)(Bucket="skydrm")


XML = "text/xml"
POLICIES = (
    "<ListUserPoliciesResponse xmlns='https://iam.amazonaws.com/doc/2010-05-08/'><ListUserPoliciesResult>"
    "{}</ListUserPoliciesResult></ListUserPoliciesResponse>"
)
POLICY = (
    "<GetUserPolicyResponse xmlns='https://iam.amazonaws.com/doc/2010-05-08/'><GetUserPolicyResult>"
    "<UserName>u</UserName><PolicyName>{}</PolicyName><PolicyDocument>{{}}</PolicyDocument>"
    "</GetUserPolicyResult></GetUserPolicyResponse>"
)


def policies(*names: str, more: str) -> tuple[int, str, bytes]:
    """A page of the inline policies of a user."""
    members = "".join(f"<member>{name}</member>" for name in names)
    return 200, XML, POLICIES.format(f"<PolicyNames>{members}</PolicyNames>{more}").encode()


def test_all_pages_of_a_users_policies_are_read(client: Callable[..., Any]):
    """What gives a user rights may be on the second one."""
    made = client("iam", attempts=1)
    more = "<IsTruncated>true</IsTruncated><Marker>m</Marker>"
    last = "<IsTruncated>false</IsTruncated>"
    read = [(200, XML, POLICY.format(name).encode()) for name in "ab"]
    none = [
        (200, XML, f"<{name}Response><{name}Result>{inner}</{name}Result></{name}Response>".encode())
        for name, inner in (
            ("ListAttachedUserPolicies", "<AttachedPolicies/>"),
            ("ListGroupsForUser", "<Groups/>"),
            ("GetLoginProfile", ""),
        )
    ]
    line = Line(made, policies("a", more=more), policies("b", more=last), *read, *none)
    found = IamAccount("eu-central-1", "123456789012", client=made).attachments("u")
    assert list(found.inline) == ["a", "b"]
    assert line.calls == 7


@pytest.mark.parametrize(
    "answer",
    [
        (200, XML, POLICIES.format("<IsTruncated>false</IsTruncated>").encode()),
        policies("a", more="<IsTruncated>true</IsTruncated>"),
        policies("a", more="<IsTruncated>true</IsTruncated><Marker></Marker>"),
        (200, XML, policies("a", "b", more="")[2][:-80]),
    ],
    ids=["no list", "cut off", "cut off, empty marker", "half a document"],
)
def test_policies_of_a_user_that_are_not_all_there_are_an_error(
    client: Callable[..., Any], answer: tuple[int, str, bytes]
):
    """An audit must not say that a user has no more rights than it saw."""
    made = client("iam", attempts=1)
    Line(made, answer)
    with pytest.raises(RemoteError):
        IamAccount("eu-central-1", "123456789012", client=made).attachments("u")


@pytest.mark.parametrize(
    ("call", "root"),
    [
        ("list_objects_v2", "ListBucketResult"),
        ("list_object_versions", "ListVersionsResult"),
        ("list_multipart_uploads", "ListMultipartUploadsResult"),
    ],
)
def test_a_list_that_is_cut_off_says_where_it_goes_on(client: Callable[..., Any], call: str, root: str):
    """The library would take what came for all of it."""
    made = client("s3", attempts=1)
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    body = f'<{root} xmlns="{space}"><IsTruncated>true</IsTruncated></{root}>'.encode()
    Line(made, (200, "application/xml", body))
    with pytest.raises(RemoteError, match="cut off"), aws_errors("do it"):
        list(made.get_paginator(call).paginate(Bucket="skydrm"))


WRONG = {
    "PlatformUnknownException": "platform version",
    "ServiceNotActiveException": "saas.services",
    "ServiceNotFoundException": "saas.services",
    "NamespaceNotFoundException": "Service Connect",
    "UnsupportedFeatureException": "does not accept it",
}


@pytest.mark.parametrize(("code", "advice"), WRONG.items())
def test_an_update_that_ecs_never_takes_is_to_be_mended(client: Callable[..., Any], code: str, advice: str):
    """Status 2, and what to look at."""
    from jenkins_release.aws.ecs import Ecs

    ecs = client()
    Line(ecs, told(code, "said"))
    with pytest.raises(ConfigurationError, match=code) as caught:
        Ecs("eu-central-1", "c", client=ecs).deploy("rms", "arn")
    assert advice in caught.value.hint


def test_a_throttled_key_is_not_a_wrong_one(client: Callable[..., Any]):
    """KMS, SSM and ECR have lists of wrong requests of their own: throttling comes first."""
    from jenkins_release.aws.kms import KmsSigner
    from jenkins_release.aws.ssm import CommandOrder, Ssm
    from jenkins_release.registry.ecr_calls import EcrCalls

    slow = told("ValidationException", "Rate exceeded")
    order = CommandOrder("d", "1", {}, {}, "1", "0", 60, "c")
    kms, ssm, ecr = (client(service, attempts=1) for service in ("kms", "ssm", "ecr"))
    for made in (kms, ssm, ecr):
        Line(made, slow)
    for call in (
        lambda: KmsSigner("awskms:alias/x", client=kms),
        lambda: Ssm("eu-central-1", client=ssm).send(order),
        lambda: EcrCalls("eu-central-1", None, None, ecr).blob_mounting(),
    ):
        with pytest.raises(RemoteError) as caught:
            call()
        assert caught.value.retryable


def test_a_mistake_stays_one(client: Callable[..., Any]):
    """ECS tells a wrong definition under the same code."""
    from jenkins_release.aws.ecs import Ecs

    ecs = client()
    line = Line(ecs, told("ClientException", "Container.image should not be null or empty."))
    with pytest.raises(ConfigurationError):
        Ecs("eu-central-1", "c", client=ecs).register({"family": "f", "containerDefinitions": []})
    assert line.calls == 1
