"""The ECR front's JSON API answers as the ECR API reference says, errors included."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import ClientError

from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.ecr.access import authorize
from jenkins_release.sandbox.ecr.state import REGION, PolicyStatement
from jenkins_release.sandbox.front.front import EcrFront
from tests.fixtures.ecr import PULL_ONLY
from tests.fixtures.ecr_push import OCI_MANIFEST, Pusher, digest_of

REPOSITORY = "skydrm/rms"
ABSENT = "sha256:" + "0" * 64


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    """Return code and message of the error that a call must end with."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.fixture
def immutable(boto_ecr: Any) -> Any:
    """A client, with an immutable repository made."""
    boto_ecr.create_repository(repositoryName=REPOSITORY, imageTagMutability="IMMUTABLE")
    return boto_ecr


def put(client: Any, manifest: bytes, **arguments: Any) -> Any:
    """Call PutImage."""
    return client.put_image(
        repositoryName=REPOSITORY,
        imageManifest=manifest.decode(),
        imageManifestMediaType=OCI_MANIFEST,
        **arguments,
    )


def test_a_repository_is_created_once(immutable: Any) -> None:
    """The second time it already exists; a bad name is an invalid parameter."""
    create = immutable.create_repository
    code, message = refused(create, repositoryName=REPOSITORY)
    assert code == "RepositoryAlreadyExistsException"
    assert (
        message
        == f"The repository with name '{REPOSITORY}' already exists in the registry with id '123456789012'"
    )
    assert refused(create, repositoryName="Upper/Case")[0] == "InvalidParameterException"
    odd = {"repositoryName": "a/b", "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION"}
    assert refused(create, **odd)[0] == "InvalidParameterException"


def test_repositories_are_listed_in_pages(boto_ecr: Any) -> None:
    """NextToken leads through all of them, each once; a made-up one does not."""
    names = [f"skydrm/r{number:03}" for number in range(23)]
    for name in names:
        boto_ecr.create_repository(repositoryName=name)
    pages = boto_ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 10})
    found = [[each["repositoryName"] for each in page["repositories"]] for page in pages]
    assert [len(page) for page in found] == [10, 10, 3]
    assert [name for page in found for name in page] == names
    assert refused(boto_ecr.describe_repositories, nextToken="made-up")[0] == "InvalidParameterException"


def test_images_are_listed_in_pages_and_by_tag_status(immutable: Any, pusher: Pusher) -> None:
    """DescribeImages and ListImages page, and tell tagged from untagged images."""
    tagged = [pusher.image(REPOSITORY, f"{number}", f"t{number}") for number in range(5)]
    bare = pusher.image(REPOSITORY, "bare")
    pages = immutable.get_paginator("describe_images").paginate(
        repositoryName=REPOSITORY, PaginationConfig={"PageSize": 2}
    )
    details = [each for page in pages for each in page["imageDetails"]]
    assert {each["imageDigest"] for each in details} == {each.digest for each in [*tagged, bare]}
    assert len(details) == 6
    untagged = {"repositoryName": REPOSITORY, "filter": {"tagStatus": "UNTAGGED"}}
    found = immutable.describe_images(**untagged)["imageDetails"]
    assert [(each["imageDigest"], each["imageSizeInBytes"]) for each in found] == [(bare.digest, bare.size)]
    assert immutable.list_images(**untagged)["imageIds"] == [{"imageDigest": bare.digest}]
    listed = immutable.get_paginator("list_images").paginate(
        repositoryName=REPOSITORY, filter={"tagStatus": "TAGGED"}, PaginationConfig={"PageSize": 3}
    )
    ids = [each for page in listed for each in page["imageIds"]]
    assert sorted(each["imageTag"] for each in ids) == ["t0", "t1", "t2", "t3", "t4"]


def test_an_image_is_described_with_all_its_tags(immutable: Any, pusher: Pusher) -> None:
    """One image, several tags; a missing image is an error here."""
    pushed = pusher.image(REPOSITORY, "one", "a")
    put(immutable, pushed.manifest, imageTag="b")
    found = immutable.describe_images(repositoryName=REPOSITORY, imageIds=[{"imageTag": "b"}])
    detail = found["imageDetails"][0]
    assert detail["imageTags"] == ["a", "b"]
    assert detail["imageManifestMediaType"] == OCI_MANIFEST
    missing = refused(immutable.describe_images, repositoryName=REPOSITORY, imageIds=[{"imageTag": "c"}])
    assert missing[0] == "ImageNotFoundException"


def test_put_image_refuses_what_ecr_refuses(immutable: Any, pusher: Pusher) -> None:
    """Identical content, a taken tag, a wrong digest and missing layers each have their own error."""
    one, two = pusher.image(REPOSITORY, "one", "a"), pusher.image(REPOSITORY, "two")

    def code(manifest: bytes, **arguments: Any) -> str:
        return refused(lambda **_: put(immutable, manifest, **arguments))[0]

    assert code(one.manifest, imageTag="a") == "ImageAlreadyExistsException"
    assert code(one.manifest) == "ImageAlreadyExistsException"
    assert code(two.manifest, imageTag="a") == "ImageTagAlreadyExistsException"
    assert code(two.manifest, imageTag="b", imageDigest=ABSENT) == "ImageDigestDoesNotMatchException"
    lacking = two.manifest.replace(two.layers[0].encode(), ABSENT.encode())
    assert code(lacking, imageTag="b") == "LayersNotFoundException"
    assert code(b"{}", imageTag="b") == "InvalidParameterException"
    assert code(two.manifest, imageTag="-b") == "InvalidParameterException"


def test_a_mutable_tag_moves_and_leaves_its_image_untagged(boto_ecr: Any, pusher: Pusher) -> None:
    """Moving the last tag away does not delete an image; the same content again is refused all the same."""
    boto_ecr.create_repository(repositoryName=REPOSITORY)
    one, two = pusher.image(REPOSITORY, "one", "a"), pusher.image(REPOSITORY, "two", "a")
    got = boto_ecr.batch_get_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "a"}])
    assert got["images"][0]["imageId"] == {"imageTag": "a", "imageDigest": two.digest}
    found = boto_ecr.describe_images(repositoryName=REPOSITORY, imageIds=[{"imageDigest": one.digest}])
    assert "imageTags" not in found["imageDetails"][0]
    assert refused(lambda **_: put(boto_ecr, two.manifest, imageTag="a"))[0] == "ImageAlreadyExistsException"


def test_an_image_can_be_read_all_the_time_while_it_gets_tags(boto_ecr: Any, pusher: Pusher) -> None:
    """Another tag changes nothing for those who pull by the tags that are there."""
    boto_ecr.create_repository(repositoryName=REPOSITORY)
    one = pusher.image(REPOSITORY, "one", "a")

    def tag() -> None:
        for number in range(100):
            put(boto_ecr, one.manifest, imageTag=f"t{number}")

    with ThreadPoolExecutor(1) as pool:
        tagging = pool.submit(tag)
        while not tagging.done():
            answer = pusher.call("GET", f"{REPOSITORY}/manifests/a", headers={"Accept": OCI_MANIFEST})
            assert answer.status_code == 200, answer.text
        tagging.result()


def test_batch_get_image_says_why_an_image_is_not_there(immutable: Any, pusher: Pusher) -> None:
    """Failures have ECR's codes; a media type that the caller does not take is not handed out."""
    one = pusher.image(REPOSITORY, "one", "a")
    ids = [{"imageTag": "b"}, {"imageDigest": "sha256:x"}, {}, {"imageTag": "a", "imageDigest": ABSENT}]
    answer = immutable.batch_get_image(repositoryName=REPOSITORY, imageIds=ids)
    codes = [each["failureCode"] for each in answer["failures"]]
    assert codes == ["ImageNotFound", "InvalidImageDigest", "MissingDigestAndTag", "ImageNotFound"]
    other = ["application/vnd.docker.distribution.manifest.v2+json"]
    asked = {
        "repositoryName": REPOSITORY,
        "imageIds": [{"imageDigest": one.digest}],
        "acceptedMediaTypes": other,
    }
    assert immutable.batch_get_image(**asked)["images"] == []


def test_batch_calls_take_a_hundred_at_most(immutable: Any) -> None:
    """More is an invalid parameter, as in ECR."""
    ids = [{"imageTag": f"t{number}"} for number in range(101)]
    code, _ = refused(immutable.batch_get_image, repositoryName=REPOSITORY, imageIds=ids)
    assert code == "InvalidParameterException"


def test_deleting_by_tag_and_by_digest(immutable: Any, pusher: Pusher) -> None:
    """By tag only the tag goes, by digest the image with all its tags; what is missing is a failure."""
    one = pusher.image(REPOSITORY, "one", "a")
    put(immutable, one.manifest, imageTag="b")
    delete = immutable.batch_delete_image
    wrong = delete(repositoryName=REPOSITORY, imageIds=[{"imageTag": "zzz"}])
    assert wrong["failures"][0]["failureCode"] == "ImageNotFound"
    assert delete(repositoryName=REPOSITORY, imageIds=[{"imageTag": "a"}])["imageIds"] == [
        {"imageDigest": one.digest, "imageTag": "a"}
    ]
    put(immutable, one.manifest, imageTag="a")
    gone = delete(repositoryName=REPOSITORY, imageIds=[{"imageDigest": one.digest}])["imageIds"]
    assert [each["imageTag"] for each in gone] == ["a", "b"]
    assert immutable.list_images(repositoryName=REPOSITORY)["imageIds"] == []


def test_a_repository_with_images_is_deleted_only_by_force(immutable: Any, pusher: Pusher) -> None:
    """And one that is created again under the same name has nothing of the old one."""
    one = pusher.image(REPOSITORY, "one", "a")
    assert refused(immutable.delete_repository, repositoryName=REPOSITORY)[0] == "RepositoryNotEmptyException"
    immutable.delete_repository(repositoryName=REPOSITORY, force=True)
    gone = refused(immutable.list_images, repositoryName=REPOSITORY)
    assert gone[0] == "RepositoryNotFoundException"
    immutable.create_repository(repositoryName=REPOSITORY)
    layers = immutable.batch_check_layer_availability(
        repositoryName=REPOSITORY, layerDigests=list(one.layers)
    )
    assert layers["layers"][0]["layerAvailability"] == "UNAVAILABLE"


def test_a_layer_is_downloaded_by_its_url_without_credentials(
    immutable: Any, ecr: EcrFront, pusher: Pusher
) -> None:
    """GetDownloadUrlForLayer gives a signed URL; changed, it opens nothing."""
    layer = pusher.blob(REPOSITORY, b"a layer")["digest"]
    url = immutable.get_download_url_for_layer(repositoryName=REPOSITORY, layerDigest=layer)["downloadUrl"]
    assert requests.get(url, timeout=10).content == b"a layer"
    assert requests.get(url[:-1] + ("0" if url[-1] != "0" else "1"), timeout=10).status_code == 403
    assert requests.get(url.split("?")[0], timeout=10).status_code == 403
    missing = refused(immutable.get_download_url_for_layer, repositoryName=REPOSITORY, layerDigest=ABSENT)
    assert missing[0] == "LayersNotFoundException"


def test_an_unsigned_call_is_refused(ecr: EcrFront) -> None:
    """There is no way in without a signature."""
    headers = {"X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories"}
    for authorization in ({}, {"Authorization": "AWS4-HMAC-SHA256 nonsense"}):
        answer = requests.post(ecr.endpoint, headers=headers | authorization, data="{}", timeout=10)
        assert answer.status_code == 400
        assert answer.json()["__type"] in {
            "MissingAuthenticationTokenException",
            "IncompleteSignatureException",
        }


def test_a_changed_body_breaks_the_signature(boto_ecr: Any, ecr: EcrFront) -> None:
    """The signature covers the body: a call cannot be altered on its way."""

    def alter(request: Any, **_: Any) -> None:
        request.body = json.dumps({"repositoryNames": ["other"]})
        request.headers["Content-Length"] = str(len(request.body))

    boto_ecr.meta.events.register("before-send.ecr.DescribeRepositories", alter)
    assert (
        refused(boto_ecr.describe_repositories, repositoryNames=["skydrm/rms"])[0]
        == "InvalidSignatureException"
    )


def test_an_old_signature_is_refused(front: Callable[..., EcrFront]) -> None:
    """A call that was recorded cannot be repeated after a quarter of an hour."""
    late = front(clock=lambda: time.time() + 16 * 60)
    key, secret = late.state.admin_key()
    client = Session().client(
        "ecr",
        region_name=REGION,
        endpoint_url=late.endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )
    code, message = refused(client.describe_repositories)
    assert code == "InvalidSignatureException"
    assert "Signature expired" in message


def client_of(ecr: EcrFront, statements: list[PolicyStatement]) -> Any:
    """Return a client of a user who may do this."""
    key, secret = ecr.state.add_user("customer", statements)
    return Session().client("ecr", region_name=REGION, aws_access_key_id=key, aws_secret_access_key=secret)


def test_a_customer_may_pull_from_their_repositories_and_nothing_else(immutable: Any, ecr: EcrFront) -> None:
    """A refusal has AWS's text: who, what, on which resource."""
    immutable.create_repository(repositoryName="internal/tool")
    customer = client_of(ecr, PULL_ONLY)
    customer.get_authorization_token()
    customer.batch_get_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "a"}])
    arn = ecr.state.user_arn("customer")
    code, message = refused(customer.delete_repository, repositoryName=REPOSITORY)
    assert code == "AccessDeniedException"
    assert message.startswith(
        f"User: {arn} is not authorized to perform: ecr:DeleteRepository on resource: "
        f"arn:aws:ecr:us-east-1:123456789012:repository/{REPOSITORY}"
    )
    other = {"repositoryName": "internal/tool", "imageIds": [{"imageTag": "a"}]}
    assert refused(customer.batch_get_image, **other)[0] == "AccessDeniedException"


def test_an_explicit_deny_wins(ecr: EcrFront) -> None:
    """As in IAM, nothing allows what a statement denies."""
    ecr.state.add_user("revoked", [*PULL_ONLY, PolicyStatement(effect="Deny", actions=["*"])])
    with pytest.raises(ApiFault, match="with an explicit deny"):
        authorize(ecr.state, ecr.state.user_arn("revoked"), "ecr:GetAuthorizationToken")


def test_state_survives_a_restart_and_is_private(
    front: Callable[..., EcrFront], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A front on the same folder knows repositories, images and tokens; the file is for its owner only."""
    first = front(folder=tmp_path / "kept")
    for name, value in first.environment().items():
        monkeypatch.setenv(name, value)
    Session().client("ecr").create_repository(repositoryName=REPOSITORY)
    token, _ = first.state.issue_token(first.state.user_arn("release"))
    pushed = Pusher(first.endpoint, token).image(REPOSITORY, "one", "a")
    first.stop()
    second = front(folder=tmp_path / "kept")
    again = Pusher(second.endpoint, token).call("GET", f"{REPOSITORY}/manifests/a")
    assert digest_of(again.content) == pushed.digest
    assert stat.S_IMODE(second.state.file.stat().st_mode) == 0o600
    assert token not in second.state.file.read_text()


def test_unknown_actions_and_bad_arguments(ecr: EcrFront, boto_ecr: Any) -> None:
    """What the front does not know it says, and arguments are checked against the service's model."""
    assert refused(boto_ecr.describe_registry)[0] == "UnknownOperationException"
    unchecked = Session().client("ecr", config=Config(parameter_validation=False))
    assert refused(unchecked.batch_get_image, repositoryName=REPOSITORY)[0] == "InvalidParameterException"


def test_the_log_holds_no_credentials(boto_ecr: Any, ecr: EcrFront) -> None:
    """Requests are logged without their headers and bodies."""
    boto_ecr.get_authorization_token()
    _, secret = ecr.state.admin_key()
    shown = requests.get(f"{ecr.endpoint}/_sandbox/requests", timeout=10).text
    assert "GetAuthorizationToken" in shown
    assert "Credential=" not in shown
    assert secret not in f"{shown} {ecr.requests.all()!r} {ecr.state!r}"
