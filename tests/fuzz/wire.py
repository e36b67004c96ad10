"""The clients under test, and the answers that their servers give to them.

Those of Jenkins were recorded from a controller; those of the registry are docker-registry's; those of AWS
are the examples of its API references.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from pydantic import SecretStr

from jenkins_release.aws import aws_client
from jenkins_release.aws.ecs import Ecs
from jenkins_release.aws.iam import IamAccount
from jenkins_release.aws.s3 import Bucket
from jenkins_release.aws.ssm import Ssm
from jenkins_release.base.errors import RemoteError
from jenkins_release.base.waits import Limits
from jenkins_release.jenkins import Controller
from jenkins_release.ledger import S3Ledger
from jenkins_release.oci.manifests import OCI_MANIFEST
from jenkins_release.registry import EcrRegistry
from jenkins_release.registry.distribution import DistributionRegistry
from jenkins_release.registry.protocol import BlobPart, RegistryLogin
from jenkins_release.registry.transport import Transport
from jenkins_release.registry.uploads import RegistryUploads
from tests.fixtures.raw_server import Request
from tests.fuzz.mutations import Said, document

COMMAND = "11111111-2222-3333-4444-555555555555"
REGION, ACCOUNT, NAME = "eu-central-1", "123456789012", "skydrm/rms"
LIMITS = Limits(0.5)
LAYER = b"a layer"
CONFIG = json.dumps(
    {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "1" * 64]}}
).encode()


def digest(data: bytes) -> str:
    """Return the digest of some bytes."""
    return f"sha256:{sha256(data).hexdigest()}"


MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest(CONFIG),
            "size": len(CONFIG),
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": digest(LAYER),
                "size": len(LAYER),
            }
        ],
    }
).encode()
Calls = Mapping[str, Callable[[], Any]]


def registry_answer(request: Request) -> Said:
    """Answer as docker-registry does."""
    method, target = request.method, request.target
    place = f"/v2/{NAME}/blobs/uploads/1?_state=x"
    if method == "POST":
        return Said("202 Accepted", [("Location", place), ("Range", "0-0"), ("Docker-Upload-UUID", "1")])
    if method == "PATCH":
        return Said("202 Accepted", [("Location", place), ("Range", f"0-{len(LAYER) - 1}")])
    if method == "PUT":
        name = digest(MANIFEST) if "/manifests/" in target else digest(LAYER)
        return Said("201 Created", [("Location", target), ("Docker-Content-Digest", name)])
    if method == "DELETE":
        return Said("204 No Content")
    body = MANIFEST if "/manifests/" in target else CONFIG if digest(CONFIG) in target else LAYER
    kind = OCI_MANIFEST if "/manifests/" in target else "application/octet-stream"
    if target == "/v2/":
        body, kind = b"{}", "application/json"
    return Said(headers=[("Content-Type", kind), ("Docker-Content-Digest", digest(body))], body=body)


def registry_calls(url: str) -> Calls:
    """What is asked of a registry."""
    host = url.removeprefix("http://")
    blobs = RegistryUploads(Transport(lambda: RegistryLogin(host, "AWS", "x"), limits=LIMITS))
    reads = DistributionRegistry(host, limits=LIMITS)

    def send() -> None:
        with blobs.upload(NAME) as upload:
            upload.send(BlobPart([LAYER]))
            upload.finish(digest(LAYER))

    def stream() -> None:
        with blobs.upload(NAME) as upload:
            upload.stream([LAYER[:1], LAYER[1:]], len(LAYER))
            upload.finish(digest(LAYER))

    return {
        "holds": lambda: blobs.holds(NAME, digest(LAYER), len(LAYER)),
        "mount": lambda: blobs.mount(NAME, digest(LAYER), "skydrm/other"),
        "send": send,
        "stream": stream,
        "put": lambda: blobs.put_manifest(NAME, "8.1.0", OCI_MANIFEST, MANIFEST),
        "read": lambda: list(blobs.read(NAME, digest(LAYER))),
        "manifest": lambda: reads.manifest(NAME, "8.1.0"),
        "content": lambda: reads.content(NAME, reads.manifest(NAME, "8.1.0"), "linux/amd64"),
        "blob": lambda: list(reads.blob(NAME, digest(LAYER))),
    }


_REPOSITORY = {
    "repositoryArn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{NAME}",
    "registryId": ACCOUNT,
    "repositoryName": NAME,
    "repositoryUri": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{NAME}",
    "createdAt": 1563224868.0,
    "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
    "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "latest"}],
    "imageScanningConfiguration": {"scanOnPush": False},
}
_IMAGE = {
    "registryId": ACCOUNT,
    "repositoryName": NAME,
    "imageId": {"imageDigest": digest(MANIFEST), "imageTag": "8.1.0"},
    "imageManifest": MANIFEST.decode(),
    "imageManifestMediaType": OCI_MANIFEST,
}
_TASK = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/rms:7"
_SERVICE = {
    "serviceName": "rms",
    "status": "ACTIVE",
    "desiredCount": 1,
    "deployments": [
        {"id": "ecs-svc/1", "status": "PRIMARY", "taskDefinition": _TASK, "rolloutState": "COMPLETED"}
    ],
    "events": [{"id": "e1", "createdAt": 1563224868.0, "message": "has reached a steady state"}],
}
_COMMAND = {
    "CommandId": COMMAND,
    "DocumentName": "d",
    "Status": "Success",
    "StatusDetails": "Success",
    "Comment": "c",
    "TargetCount": 1,
    "Targets": [{"Key": "tag:stack", "Values": ["saas"]}],
    "RequestedDateTime": 1563224868.0,
}
_JSON: dict[str, Any] = {
    "GetAuthorizationToken": lambda _: {
        "authorizationData": [
            {
                "authorizationToken": "QVdTOng=",
                "expiresAt": (datetime.now(UTC) + timedelta(hours=12)).timestamp(),
                "proxyEndpoint": f"https://{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com",
            }
        ]
    },
    "DescribeRepositories": {"repositories": [_REPOSITORY]},
    "CreateRepository": {"repository": _REPOSITORY},
    "BatchGetImage": lambda asked: (
        {"images": [_IMAGE], "failures": []}
        if asked["imageIds"] == [{"imageTag": "8.1.0"}]
        else {
            "images": [],
            "failures": [{"imageId": each, "failureCode": "ImageNotFound"} for each in asked["imageIds"]],
        }
    ),
    "BatchCheckLayerAvailability": {
        "layers": [{"layerDigest": digest(LAYER), "layerAvailability": "AVAILABLE", "layerSize": 7}],
        "failures": [],
    },
    "GetAccountSetting": {"name": "BLOB_MOUNTING", "value": "ENABLED"},
    "ListImages": {"imageIds": [{"imageDigest": digest(MANIFEST), "imageTag": "8.1.0"}]},
    "DescribeImages": {
        "imageDetails": [
            {
                "imageDigest": digest(MANIFEST),
                "imageTags": ["8.1.0"],
                "imageManifestMediaType": OCI_MANIFEST,
                "lastRecordedPullTime": 1563224868.0,
            }
        ]
    },
    "DescribeImageScanFindings": {
        "imageScanStatus": {"status": "COMPLETE"},
        "imageScanFindings": {"findingSeverityCounts": {"HIGH": 1}, "findings": [{"severity": "HIGH"}]},
    },
    "PutImage": {"image": _IMAGE},
    "BatchDeleteImage": {"imageIds": [{"imageTag": "8.1.0"}], "failures": []},
    "PutImageTagMutability": {"repositoryName": NAME, "imageTagMutability": "MUTABLE"},
    "DescribeServices": {"services": [_SERVICE], "failures": []},
    "UpdateService": {"service": _SERVICE},
    "DescribeTaskDefinition": {
        "taskDefinition": {
            "taskDefinitionArn": _TASK,
            "family": "rms",
            "status": "ACTIVE",
            "containerDefinitions": [{"name": "rms", "image": f"{NAME}:8.1.0"}],
        },
        "tags": [{"key": "product", "value": "SkyDRM"}],
    },
    "RegisterTaskDefinition": {"taskDefinition": {"taskDefinitionArn": _TASK}},
    "ListTasks": {"taskArns": ["arn:1"]},
    "DescribeTasks": {
        "tasks": [
            {
                "taskDefinitionArn": _TASK,
                "lastStatus": "RUNNING",
                "stoppedReason": "x",
                "containers": [
                    {"name": "rms", "image": NAME, "imageDigest": digest(MANIFEST), "reason": "r"}
                ],
            }
        ]
    },
    "ListCommands": {"Commands": [_COMMAND]},
    "ListCommandInvocations": {
        "CommandInvocations": [
            {
                "InstanceId": "i-0123456789abcdef0",
                "Status": "Failed",
                "StatusDetails": "Failed",
                "CommandPlugins": [{"Name": "p", "Status": "Failed", "Output": "o"}],
            }
        ]
    },
    "GetCommandInvocation": {"StandardOutputContent": "o", "StandardErrorContent": "e"},
    "CancelCommand": {},
}
_USER = f"<UserName>acme</UserName><Arn>arn:aws:iam::{ACCOUNT}:user/acme</Arn><Path>/</Path>"
_XML = {
    "GetUser": f"<User>{_USER}<UserId>U</UserId><CreateDate>2019-07-15T21:07:48Z</CreateDate></User>",
    "ListUsers": f"<Users><member>{_USER}</member></Users><IsTruncated>false</IsTruncated>",
    "ListUserTags": "<Tags><member><Key>a</Key><Value>b</Value></member></Tags>",
    "ListAccessKeys": "<AccessKeyMetadata><member><AccessKeyId>AKIAIOSFODNN7EXAMPLE</AccessKeyId>"
    "<Status>Active</Status><CreateDate>2019-07-15T21:07:48Z</CreateDate></member></AccessKeyMetadata>",
    "GetAccessKeyLastUsed": "<AccessKeyLastUsed><LastUsedDate>2019-07-15T21:07:48Z</LastUsedDate>"
    "</AccessKeyLastUsed>",
    "CreateAccessKey": "<AccessKey><UserName>acme</UserName><AccessKeyId>AKIAIOSFODNN7EXAMPLE</AccessKeyId>"
    "<Status>Active</Status><SecretAccessKey>s</SecretAccessKey></AccessKey>",
    "GetAccountSummary": "<SummaryMap><entry><key>Users</key><value>1</value></entry></SummaryMap>",
    "ListUserPolicies": "<PolicyNames><member>p</member></PolicyNames>",
    "GetUserPolicy": "<PolicyName>p</PolicyName><PolicyDocument>%7B%7D</PolicyDocument>",
    "ListAttachedUserPolicies": "<AttachedPolicies><member><PolicyArn>a</PolicyArn></member>"
    "</AttachedPolicies>",
    "ListGroupsForUser": "<Groups><member><GroupName>g</GroupName></member></Groups>",
    "GetLoginProfile": "<LoginProfile><UserName>acme</UserName></LoginProfile>",
}


def aws_answer(request: Request) -> Said:
    """Answer as ECR, ECS, SSM and IAM do."""
    for line in request.head.split("\r\n"):
        if line.lower().startswith("x-amz-target:"):
            content = _JSON[line.rpartition(".")[2].strip()]
            return document(content(json.loads(request.body)) if callable(content) else content)
    action = parse_qs(request.body.decode()).get("Action", [""])[0]
    if action not in _XML:
        return Said("400 Bad Request")
    inner = f"<{action}Result>{_XML[action]}</{action}Result>"
    text = f'<{action}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/">{inner}</{action}Response>'
    return Said(headers=[("Content-Type", "text/xml")], body=text.encode())


def aws_calls() -> Calls:
    """What is asked of them."""

    def client(service: str) -> Any:
        return aws_client(service, REGION, attempts=2, limits=LIMITS)

    ecr_client = client("ecr")
    ecr = EcrRegistry(REGION, client=ecr_client)
    ecs, ssm = Ecs(REGION, "c", client=client("ecs")), Ssm(REGION, client=client("ssm"))
    iam = IamAccount(REGION, ACCOUNT, client=client("iam"))
    return {
        "login": ecr.login,
        "repository": lambda: ecr.repository(NAME),
        "repositories": lambda: ecr.repositories([NAME]),
        "create": lambda: ecr.create_repository(NAME),
        "images": lambda: ecr.images(NAME, ["8.1.0"]),
        "layers": lambda: ecr.missing_layers(NAME, [digest(LAYER)]),
        # A registry that knows the answer does not ask again.
        "mounts": lambda: EcrRegistry(REGION, client=ecr_client).mounts_blobs(),
        "tags": lambda: ecr.tags(NAME),
        "scan": lambda: ecr.scan(NAME, digest(MANIFEST)),
        "inventory": lambda: ecr.inventory(NAME),
        "set tag": lambda: ecr.set_tag(ecr.images(NAME, ["8.1.0"])["8.1.0"], "8.1"),
        "remove tag": lambda: ecr.remove_tag(NAME, "8.1.0"),
        "moving": lambda: ecr.allow_moving(ecr.repository(NAME), "latest"),
        "services": lambda: ecs.services(["rms"]),
        "definition": lambda: ecs.task_definition("rms"),
        "register": lambda: ecs.register({"family": "rms", "containerDefinitions": []}),
        "deploy": lambda: ecs.deploy("rms", _TASK),
        "tasks": lambda: ecs.tasks("rms"),
        "stopped": lambda: ecs.stopped("rms"),
        "command": lambda: ssm.command(COMMAND),
        "invocations": lambda: ssm.invocations(COMMAND),
        "output": lambda: ssm.output(COMMAND, "i-0123456789abcdef0"),
        "unfinished": lambda: ssm.unfinished("d"),
        "sent": lambda: ssm.sent("d", "c", datetime.now(UTC)),
        "cancel": lambda: ssm.cancel(COMMAND),
        "quotas": iam.quotas,
        "users": lambda: iam.users("/"),
        "attachments": lambda: iam.attachments("acme"),
        "keys": lambda: iam.used_keys("acme"),
        "create key": lambda: iam.create_key("acme"),
    }


_DATE = "Fri, 31 Dec 1999 23:59:59 GMT"
_S3 = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_MADE = "2019-07-15T21:07:48.000Z"
_VERSIONS = (
    f"<ListVersionsResult {_S3}><IsTruncated>false</IsTruncated><Version><Key>ledger/a.json</Key>"
    f"<VersionId>v1</VersionId><IsLatest>true</IsLatest><LastModified>{_MADE}</LastModified>"
    '<ETag>"e"</ETag><Size>3</Size></Version><CommonPrefixes><Prefix>ledger/x/</Prefix></CommonPrefixes>'
    "</ListVersionsResult>"
)
_LISTED = (
    f"<ListBucketResult {_S3}><IsTruncated>false</IsTruncated><Contents><Key>a</Key>"
    f"<LastModified>{_MADE}</LastModified><Size>3</Size></Contents></ListBucketResult>"
)
_UPLOADS = (
    f"<ListMultipartUploadsResult {_S3}><IsTruncated>false</IsTruncated><Upload><Key>k</Key>"
    f"<UploadId>u</UploadId><Initiated>{_MADE}</Initiated></Upload></ListMultipartUploadsResult>"
)
_PARTS = (
    f"<ListPartsResult {_S3}><IsTruncated>false</IsTruncated><Part><PartNumber>1</PartNumber>"
    '<ETag>"e"</ETag><Size>3</Size></Part></ListPartsResult>'
)


def s3_answer(request: Request) -> Said:
    """Answer as Amazon S3 does."""
    method, target = request.method, request.target
    query = target.partition("?")[2]
    common = [("x-amz-bucket-region", REGION), ("Server", "AmazonS3"), ("ETag", '"e"')]
    if method == "HEAD":
        return Said(headers=[*common, ("Last-Modified", _DATE)])
    xml = ""
    if method == "GET":
        for name, text in (
            ("versions", _VERSIONS),
            ("list-type", _LISTED),
            ("uploads", _UPLOADS),
            ("uploadId", _PARTS),
        ):
            xml = xml or (text if name in query else "")
        if not xml:
            return Said(headers=[*common, ("Last-Modified", _DATE)], body=b"{}\n")
    elif method == "POST":
        done = f'<CompleteMultipartUploadResult {_S3}><ETag>"e"</ETag></CompleteMultipartUploadResult>'
        begun = f"<InitiateMultipartUploadResult {_S3}><UploadId>u</UploadId></InitiateMultipartUploadResult>"
        xml = begun if query.startswith("uploads") else done
    return Said(headers=[*common, ("Content-Type", "application/xml")], body=xml.encode())


def s3_calls() -> Calls:
    """What ledger, portal and trust document ask of S3."""
    bucket = Bucket("b", REGION, section="portal", missing=RemoteError, limits=LIMITS)
    ledger = S3Ledger("b", REGION, prefix="ledger", limits=LIMITS)
    call = bucket.call

    def afresh() -> Any:
        bucket.__dict__.pop("client", None)
        return bucket.client

    return {
        "bucket": afresh,
        "add": lambda: ledger.add("a.json", b"{}\n"),
        "lines": lambda: ledger.read(""),
        "folders": lambda: ledger.folders("x"),
        "get": lambda: call("get_object", "read it", Key="k")["Body"].read(),
        "head": lambda: call("head_object", "look at it", Key="k", ChecksumMode="ENABLED"),
        "put": lambda: bucket.put_once("write it", "k", b"{}"),
        "list": lambda: bucket.pages("list_objects_v2", "list it", Prefix="x"),
        "uploads": lambda: bucket.pages("list_multipart_uploads", "list them", Prefix="x"),
        "parts": lambda: bucket.pages("list_parts", "list them", Key="k", UploadId="u"),
        "begin": lambda: call("create_multipart_upload", "begin it", Key="k"),
        "part": lambda: call(
            "upload_part", "send it", Key="k", UploadId="u", PartNumber=1, Body=bytearray(b"x" * 1000)
        ),
        "complete": lambda: call(
            "complete_multipart_upload",
            "complete it",
            Key="k",
            UploadId="u",
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "e"}]},
            IfNoneMatch="*",
        ),
        "remove": lambda: call("delete_object", "remove it", Key="k"),
    }


def _recorded() -> dict[tuple[str, str], Said]:
    found: dict[tuple[str, str], Said] = {}
    file = Path(__file__).parents[1] / "data" / "jenkins" / "exchanges.jsonl"
    for line in file.read_text().splitlines():
        told = json.loads(line)
        content = told["answer"]
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        said = Said(f"{told['status']} x", list(told["headers"].items()), body)
        found[told["method"], told["url"].partition("?")[0]] = said
    return found


_RECORDED = _recorded()


def jenkins_answer(request: Request) -> Said:
    """Answer as a controller did."""
    method, target = request.method, request.target
    path, _, query = target.partition("?")
    if "crumbIssuer" in path:
        return Said("404 Not Found")
    if path.endswith("/progressiveText"):
        return Said(headers=[("X-Text-Size", "9"), ("X-More-Data", "true")], body=b"Started\n\x1b[0m")
    if path == "/queue/api/json":
        item = json.loads(_RECORDED["GET", "/queue/item/14/api/json"].body)
        return document({"items": [item]})
    if "builds[" in query:
        return document({"builds": [json.loads(_RECORDED["GET", "/job/decl/1/api/json"].body)]})
    if "jobs[" in query:
        return document({"jobs": [{"_class": "x", "name": "decl", "description": None}]})
    if path.endswith("/1/wfapi/pendingInputActions"):
        return document([{"id": "Ok", "proceedText": "Proceed", "message": "go on?", "inputs": []}])
    if path.endswith("/2/wfapi/pendingInputActions"):
        return Said("404 Not Found")
    if path.endswith("/stages/allSteps"):
        question = {"message": "go on?", "cancel": "Abort", "id": "Ok", "ok": "Proceed", "parameters": False}
        steps = [{"id": "3", "state": "success"}, {"id": "4", "state": "paused", "inputStep": question}]
        return document({"status": "ok", "data": {"steps": steps, "runIsComplete": False}})
    return _RECORDED.get((method, path), Said())


def jenkins_calls(url: str) -> Calls:
    """What is asked of a controller."""
    jenkins = Controller(url, "bob", SecretStr("t"), timeout_s=LIMITS.answer_s)
    return {
        "user": jenkins.user,
        "job": lambda: jenkins.job("decl"),
        "trigger": lambda: jenkins.trigger("decl", {"VERSION": "9"}),
        "queued": lambda: jenkins.queued("decl"),
        "item": lambda: jenkins.queue_item(14),
        "builds": lambda: jenkins.builds("decl"),
        "build": lambda: jenkins.build("decl", 1),
        "inputs": lambda: jenkins.pending_inputs("decl", 1),
        "inputs of Graph View": lambda: jenkins.pending_inputs("decl", 2),
        "proceed": lambda: jenkins.proceed("decl", 1, "Promote"),
        "console": lambda: jenkins.console("decl", 1, 0),
        "config": lambda: jenkins.config("inline-params"),
        "inside": lambda: jenkins.inside("decl"),
        "create": lambda: jenkins.create("plain", "<x/>"),
        "update": lambda: jenkins.update("inline-params", "<x/>"),
    }
