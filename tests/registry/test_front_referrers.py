"""Referrers in the ECR front: listed by both APIs, filtered, paged, refused, and gone after their subject."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from jenkins_release.aws import aws_client
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.manifests import remove_image
from jenkins_release.sandbox.ecr.state import ORPHANED_S, REGION, PolicyStatement, RepositoryState
from jenkins_release.sandbox.front.front import EcrFront
from tests.fixtures.ecr_push import OCI_INDEX, OCI_MANIFEST, Pushed, Pusher, digest_of

REPOSITORY = "skydrm/rms"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
EMPTY = "application/vnd.oci.empty.v1+json"


@pytest.fixture
def image(boto_ecr: Any, pusher: Pusher) -> Pushed:
    """An image in an immutable repository."""
    boto_ecr.create_repository(repositoryName=REPOSITORY, imageTagMutability="IMMUTABLE")
    return pusher.image(REPOSITORY, "one", "8.1.0")


def artifact(pusher: Pusher, image: Pushed, text: str, kind: str = BUNDLE, **more: Any) -> dict[str, Any]:
    """Return the manifest of an artifact that refers to an image, with its blobs uploaded."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": pusher.blob(REPOSITORY, b"{}", EMPTY),
        "layers": [pusher.blob(REPOSITORY, text.encode(), kind)],
        "subject": {"mediaType": OCI_MANIFEST, "digest": image.digest, "size": len(image.manifest)},
        **more,
    }


def put(pusher: Pusher, document: dict[str, Any]) -> tuple[str, Any]:
    """Push a manifest by its digest; returns the digest and the answer."""
    data = json.dumps(document).encode()
    return digest_of(data), pusher.manifest(REPOSITORY, digest_of(data), data, OCI_MANIFEST)


def listed(pusher: Pusher, subject: str, kind: str = "") -> tuple[list[dict[str, Any]], Any]:
    """Return the referrers of a subject, and the answer."""
    query = {"artifactType": kind} if kind else {}
    answer = pusher.call("GET", f"{REPOSITORY}/referrers/{subject}", params=query)
    assert answer.headers["Content-Type"] == OCI_INDEX
    return answer.json()["manifests"], answer


def test_a_referrer_is_listed_with_its_type_and_annotations(
    boto_ecr: Any, pusher: Pusher, image: Pushed
) -> None:
    """The push names the subject; both APIs list the descriptor; the bytes read back unchanged."""
    document = artifact(pusher, image, "a", annotations={"org.example": "yes"})
    digest, answer = put(pusher, document)
    assert (answer.status_code, answer.headers["OCI-Subject"]) == (201, image.digest)
    expected = {
        "mediaType": OCI_MANIFEST,
        "digest": digest,
        "size": len(json.dumps(document)),
        "artifactType": BUNDLE,
        "annotations": {"org.example": "yes"},
    }
    assert listed(pusher, image.digest)[0] == [expected]
    said = boto_ecr.list_image_referrers(repositoryName=REPOSITORY, subjectId={"imageDigest": image.digest})
    assert said["referrers"] == [{**expected, "artifactStatus": "ACTIVE"}]
    read = pusher.call("GET", f"{REPOSITORY}/manifests/{digest}", headers={"Accept": OCI_MANIFEST})
    assert read.json() == document
    detail = boto_ecr.describe_images(repositoryName=REPOSITORY, imageIds=[{"imageDigest": digest}])
    (shown,) = detail["imageDetails"]
    assert (shown["artifactMediaType"], shown["subjectManifestDigest"]) == (BUNDLE, image.digest)


def test_an_artifact_without_a_type_has_that_of_its_config(pusher: Pusher, image: Pushed) -> None:
    """As in the specification: 'Listing Referrers'."""
    document = artifact(pusher, image, "a")
    del document["artifactType"]
    put(pusher, document)
    assert [each["artifactType"] for each in listed(pusher, image.digest)[0]] == [EMPTY]


def test_referrers_of_nothing_are_an_empty_list(pusher: Pusher, image: Pushed) -> None:
    """Whether the subject exists or not; something that is no digest is refused."""
    absent = "sha256:" + "0" * 64
    assert listed(pusher, image.digest)[0] == listed(pusher, absent)[0] == []
    assert pusher.call("GET", f"{REPOSITORY}/referrers/8.1.0").json()["errors"][0]["code"] == "DIGEST_INVALID"


def test_referrers_are_filtered_by_type(pusher: Pusher, image: Pushed, boto_ecr: Any) -> None:
    """A filter that was applied is named in the answer; ECR's own API takes at most five types."""
    bundle, _ = put(pusher, artifact(pusher, image, "a"))
    other, _ = put(pusher, artifact(pusher, image, "b", "application/vnd.example"))
    found, answer = listed(pusher, image.digest, BUNDLE)
    assert [each["digest"] for each in found] == [bundle]
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    found, answer = listed(pusher, image.digest)
    assert {each["digest"] for each in found} == {bundle, other}
    assert "OCI-Filters-Applied" not in answer.headers
    asked = {"repositoryName": REPOSITORY, "subjectId": {"imageDigest": image.digest}}
    said = boto_ecr.list_image_referrers(**asked, filter={"artifactTypes": ["application/vnd.example"]})
    assert [each["digest"] for each in said["referrers"]] == [other]
    with pytest.raises(ClientError, match="less than or equal to 5"):
        boto_ecr.list_image_referrers(**asked, filter={"artifactTypes": ["a"] * 6})


def test_more_than_fifty_referrers_come_in_pages(pusher: Pusher, image: Pushed, boto_ecr: Any) -> None:
    """A link leads to the next page and keeps the filter; ECR's own API has a token."""
    document = artifact(pusher, image, "a")
    pushed = {put(pusher, {**document, "annotations": {"n": str(number)}})[0] for number in range(60)}
    first, answer = listed(pusher, image.digest, BUNDLE)
    target = answer.links["next"]["url"]
    assert (len(first), "artifactType=" in target) == (50, True)
    second = pusher.call("GET", f"{pusher.endpoint}{target}")
    assert "next" not in second.links
    assert {each["digest"] for each in [*first, *second.json()["manifests"]]} == pushed
    asked = {"repositoryName": REPOSITORY, "subjectId": {"imageDigest": image.digest}}
    page = boto_ecr.list_image_referrers(**asked)
    rest = boto_ecr.list_image_referrers(**asked, nextToken=page["nextToken"])
    assert (len(page["referrers"]), len(rest["referrers"]), "nextToken" in rest) == (50, 10, False)


def test_whoever_may_read_an_image_may_list_its_referrers(
    ecr: EcrFront, pusher: Pusher, image: Pushed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The permission is BatchGetImage, for ECR's API and for the registry."""
    put(pusher, artifact(pusher, image, "a"))
    for action, allowed in (("ecr:BatchGetImage", True), ("ecr:ListImageReferrers", False)):
        statements = [PolicyStatement(actions=[action, "ecr:GetAuthorizationToken"])]
        key, secret = ecr.state.add_user("reader", statements)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        api = aws_client("ecr", REGION, attempts=1)
        reader = Pusher(ecr.endpoint, ecr.state.issue_token(ecr.state.user_arn("reader"))[0])
        answer = reader.call("GET", f"{REPOSITORY}/referrers/{image.digest}")
        assert answer.status_code == (200 if allowed else 403)
        asked = {"repositoryName": REPOSITORY, "subjectId": {"imageDigest": image.digest}}
        if allowed:
            assert len(api.list_image_referrers(**asked)["referrers"]) == 1
        else:
            with pytest.raises(ClientError, match="AccessDenied"):
                api.list_image_referrers(**asked)


def test_accounts_and_registries_that_take_no_referrers(ecr: EcrFront, pusher: Pusher, image: Pushed) -> None:
    """Status 405 for a subject; or an old registry: no API, and no word about the subject."""
    ecr.faults.add(Fault(method="PUT", path="/manifests/", subject="refused"))
    digest, answer = put(pusher, artifact(pusher, image, "a"))
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (405, "UNSUPPORTED")
    assert pusher.call("GET", f"{REPOSITORY}/manifests/{digest}").status_code == 404
    ecr.faults.add(Fault(method="PUT", path="/manifests/", subject="ignored"))
    ecr.faults.add(Fault(path="/referrers/", status=404, code="NOT_FOUND"))
    _, answer = put(pusher, artifact(pusher, image, "b"))
    assert (answer.status_code, "OCI-Subject" in answer.headers) == (201, False)
    assert pusher.call("GET", f"{REPOSITORY}/referrers/{image.digest}").status_code == 404
    assert not ecr.faults.pending()


def test_a_fallback_index_lists_referrers_and_keeps_them(
    boto_ecr: Any, pusher: Pusher, image: Pushed
) -> None:
    """Its entries keep type and annotations; it must not list what is missing, nor lose what it lists."""
    digest, _ = put(pusher, artifact(pusher, image, "a"))
    (entry,) = listed(pusher, image.digest)[0]
    entry["annotations"] = {"org.example": "yes"}
    tag = image.digest.replace(":", "-")
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    missing = {**document, "manifests": [{**entry, "digest": "sha256:" + "0" * 64}]}
    refused = pusher.manifest(REPOSITORY, tag, missing, OCI_INDEX)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert pusher.manifest(REPOSITORY, tag, document, OCI_INDEX).status_code == 201
    read = pusher.call("GET", f"{REPOSITORY}/manifests/{tag}", headers={"Accept": OCI_INDEX})
    assert read.json() == document
    asked = {"repositoryName": REPOSITORY, "imageIds": [{"imageDigest": digest}]}
    (failure,) = boto_ecr.batch_delete_image(**asked)["failures"]
    assert failure["failureCode"] == "ImageReferencedByManifestList"
    boto_ecr.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": tag}])
    assert not boto_ecr.batch_delete_image(**asked)["failures"]
    assert listed(pusher, image.digest)[0] == []


def test_referrers_go_a_day_after_their_subject(front: Callable[..., EcrFront]) -> None:
    """Until then they are listed; if the subject comes back in time, they stay."""
    now = [1_000_000.0]
    ecr = front(clock=lambda: now[0], token_lifetime_s=1e9)
    pusher = Pusher(ecr.endpoint, ecr.state.issue_token(ecr.state.user_arn("release"))[0])
    with ecr.state.change() as document:
        made = RepositoryState(name=REPOSITORY, storage=f"orphans/{REPOSITORY}", created_at=now[0])
        document.repositories[REPOSITORY] = made
    image = pusher.image(REPOSITORY, "one", "8.1.0")
    digest, _ = put(pusher, artifact(pusher, image, "a"))

    def left() -> list[str]:
        return [each["digest"] for each in listed(pusher, image.digest)[0]]

    remove_image(ecr.state, REPOSITORY, None, image.digest)
    now[0] += ORPHANED_S - 1
    assert left() == [digest]
    assert pusher.manifest(REPOSITORY, "8.1.0", image.manifest, OCI_MANIFEST).status_code == 201
    now[0] += 1
    assert left() == [digest]
    remove_image(ecr.state, REPOSITORY, None, image.digest)
    now[0] += ORPHANED_S - 1
    assert left() == [digest]
    now[0] += 1
    assert left() == []
