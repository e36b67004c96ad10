"""Repositories and tags: set once, to exactly one image, and safe to repeat."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from botocore.stub import Stubber

from jenkins_release.aws import aws_client
from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.registry import (
    EcrRegistry,
    RepositoryNotFound,
    RepositorySettings,
    StoredImage,
    TagConflict,
)
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION
from jenkins_release.sandbox.front.front import EcrFront
from tests.fixtures.ecr_push import Pusher

REPOSITORY = "skydrm/rms"


@pytest.fixture
def one(registry: EcrRegistry, pusher: Pusher) -> StoredImage:
    """An image without a tag."""
    registry.create_repository(REPOSITORY)
    pushed = pusher.image(REPOSITORY, "one")
    return registry.images(REPOSITORY, [pushed.digest])[pushed.digest]


@pytest.fixture
def two(one: StoredImage, registry: EcrRegistry, pusher: Pusher) -> StoredImage:
    """Another image without a tag."""
    pushed = pusher.image(REPOSITORY, "two")
    return registry.images(REPOSITORY, [pushed.digest])[pushed.digest]


def digest_of(registry: EcrRegistry, tag: str) -> str:
    """Return the digest that a tag names."""
    return registry.images(REPOSITORY, [tag])[tag].digest


def test_a_repository_is_created_as_configured(ecr: EcrFront, boto_ecr: Any) -> None:
    """Mutability, exclusions, scanning, encryption and tags are those of the settings."""
    settings = RepositorySettings(exclusions=("latest*",), kms_key="alias/release", tags={"team": "skydrm"})
    registry = EcrRegistry(REGION, account=ACCOUNT, create=settings)
    created = registry.create_repository(REPOSITORY)
    assert created == registry.repository(REPOSITORY)
    assert created.uri == f"{ecr.host}/{REPOSITORY}"
    assert created.mutability == "IMMUTABLE_WITH_EXCLUSION"
    assert created.is_immutable("8.1.0")
    assert not created.is_immutable("latest-8")
    described = boto_ecr.describe_repositories()["repositories"][0]
    assert described["imageScanningConfiguration"] == {"scanOnPush": True}
    assert described["encryptionConfiguration"] == {"encryptionType": "KMS", "kmsKey": "alias/release"}
    tags = boto_ecr.list_tags_for_resource(resourceArn=described["repositoryArn"])["tags"]
    assert tags == [{"Key": "team", "Value": "skydrm"}]


def test_an_existing_repository_is_returned_as_it_is(ecr: EcrFront) -> None:
    """Creating it again changes nothing about it."""
    EcrRegistry(REGION, create=RepositorySettings(immutable=False)).create_repository(REPOSITORY)
    assert EcrRegistry(REGION).create_repository(REPOSITORY).mutability == "MUTABLE"


def test_settings_that_ecr_cannot_take_are_refused_at_once() -> None:
    """Too many exclusions, or a key without KMS, is found before any call."""
    with pytest.raises(ConfigurationError, match="at most 5"):
        RepositorySettings(exclusions=("a", "b", "c", "d", "e", "f"))
    with pytest.raises(ConfigurationError, match="AES256"):
        RepositorySettings(encryption="AES256", kms_key="alias/release")


def test_a_tag_names_exactly_the_image(registry: EcrRegistry, one: StoredImage) -> None:
    """After setting it the tag reads back as the same bytes."""
    registry.set_tag(one, "8.1.0")
    assert registry.images(REPOSITORY, ["8.1.0"])["8.1.0"] == one


def test_setting_a_tag_again_is_done_without_asking(
    registry: EcrRegistry, ecr: EcrFront, one: StoredImage
) -> None:
    """ECR refuses even identical content: the tag is looked at first, and left alone."""
    registry.set_tag(one, "8.1.0")
    registry.set_tag(one, "8.1.0")
    assert ecr.requests.count("PutImage") == 1


def test_an_immutable_tag_is_a_conflict_that_names_both_digests(
    registry: EcrRegistry, one: StoredImage, two: StoredImage
) -> None:
    """A published tag is never moved, and the message says from what to what it would have been."""
    registry.set_tag(one, "8.1.0")
    with pytest.raises(TagConflict) as caught:
        registry.set_tag(two, "8.1.0")
    assert one.digest in caught.value.message
    assert two.digest in caught.value.message
    assert not caught.value.retryable
    assert digest_of(registry, "8.1.0") == one.digest


def test_an_excluded_tag_moves(
    ecr: EcrFront, registry: EcrRegistry, one: StoredImage, two: StoredImage, boto_ecr: Any
) -> None:
    """Where the repository lets a tag move, it moves, and the image it left stays."""
    boto_ecr.put_image_tag_mutability(
        repositoryName=REPOSITORY,
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "latest*"}],
    )
    registry.set_tag(one, "latest")
    registry.set_tag(two, "latest")
    assert digest_of(registry, "latest") == two.digest
    assert one.digest in registry.images(REPOSITORY, [one.digest])


class Racer:
    """Sets a tag between our look at it and our PutImage, once."""

    def __init__(self, image: StoredImage) -> None:
        self._image = image
        self._other = EcrRegistry(REGION)
        self.ran = False

    def __call__(self, **_: Any) -> None:
        if not self.ran:
            self.ran = True
            self._other.set_tag(self._image, "8.1.0")


def test_someone_else_setting_the_same_tag_meanwhile_is_fine(ecr: EcrFront, one: StoredImage) -> None:
    """Two jobs that set the same tag to the same image both succeed."""
    client, racer = aws_client("ecr", REGION), Racer(one)
    client.meta.events.register("before-call.ecr.PutImage", racer)
    EcrRegistry(REGION, client=client).set_tag(one, "8.1.0")
    assert racer.ran
    assert ecr.requests.count("PutImage") == 2


def test_someone_else_taking_the_tag_meanwhile_is_a_conflict(
    ecr: EcrFront, one: StoredImage, two: StoredImage
) -> None:
    """ECR decides the race: the loser learns who has the tag."""
    client = aws_client("ecr", REGION)
    client.meta.events.register("before-call.ecr.PutImage", Racer(two))
    with pytest.raises(TagConflict, match=two.digest):
        EcrRegistry(REGION, client=client).set_tag(one, "8.1.0")


def test_a_lost_answer_does_not_fail_the_tag(registry: EcrRegistry, ecr: EcrFront, one: StoredImage) -> None:
    """The connection breaks after ECR set the tag: the repeated call finds it set, and that is success."""
    ecr.faults.add(Fault(action="PutImage", reset_response_after=0))
    registry.set_tag(one, "8.1.0")
    assert ecr.requests.count("PutImage") == 2
    assert digest_of(registry, "8.1.0") == one.digest


def test_an_image_of_which_ecr_lacks_layers_cannot_be_tagged(registry: EcrRegistry, one: StoredImage) -> None:
    """The error names the layers that have to be pushed first."""
    registry.create_repository("skydrm/other")
    with pytest.raises(RemoteError, match="LayersNotFoundException") as caught:
        registry.set_tag(dataclasses.replace(one, repository="skydrm/other"), "8.1.0")
    assert one.layers[0] in caught.value.message
    assert not caught.value.retryable


def test_changed_bytes_are_never_put(registry: EcrRegistry, ecr: EcrFront, one: StoredImage) -> None:
    """An image whose bytes lost their digest is refused before ECR is asked."""
    ecr.requests.clear()
    with pytest.raises(IntegrityError, match=one.digest):
        registry.set_tag(dataclasses.replace(one, manifest=one.manifest + b" "), "8.1.0")
    assert ecr.requests.labels() == []


def test_a_digest_that_ecr_disputes_is_an_integrity_error(
    single_try: EcrRegistry, ecr: EcrFront, one: StoredImage
) -> None:
    """ImageDigestDoesNotMatchException means the manifest changed on the way."""
    ecr.faults.add(Fault(action="PutImage", status=400, code="ImageDigestDoesNotMatchException"))
    with pytest.raises(IntegrityError, match="a digest of the manifest that differs"):
        single_try.set_tag(one, "8.1.0")


def test_a_tag_cannot_be_set_where_there_is_no_repository(registry: EcrRegistry, one: StoredImage) -> None:
    """A missing repository is an error of its own."""
    with pytest.raises(RepositoryNotFound):
        registry.set_tag(dataclasses.replace(one, repository="skydrm/none"), "8.1.0")


def test_removing_a_tag_leaves_the_others(registry: EcrRegistry, one: StoredImage) -> None:
    """Only the one tag goes; one that is not there is fine."""
    registry.set_tag(one, "8.1.0")
    registry.set_tag(one, "8.1.0-rc")
    registry.remove_tag(REPOSITORY, "8.1.0-rc")
    registry.remove_tag(REPOSITORY, "8.1.0-rc")
    assert set(registry.images(REPOSITORY, ["8.1.0", "8.1.0-rc"])) == {"8.1.0"}


def test_removing_the_last_tag_deletes_the_image(registry: EcrRegistry, one: StoredImage) -> None:
    """This is what ECR does, and what the docstring warns of."""
    registry.set_tag(one, "8.1.0")
    registry.remove_tag(REPOSITORY, "8.1.0")
    assert registry.images(REPOSITORY, [one.digest]) == {}


def test_an_image_that_an_index_lists_is_not_deleted(
    registry: EcrRegistry, pusher: Pusher, one: StoredImage
) -> None:
    """ECR's refusal inside the answer is an error, not a success."""
    registry.set_tag(one, "amd64")
    entry = {"digest": one.digest, "size": len(one.manifest), "mediaType": one.media_type}
    platform = {"platform": {"os": "linux", "architecture": "amd64"}}
    pusher.index(REPOSITORY, "8.1.0", [entry | platform])
    with pytest.raises(RemoteError, match="ImageReferencedByManifestList"):
        registry.remove_tag(REPOSITORY, "amd64")


def test_a_tag_cannot_be_removed_where_there_is_no_repository(registry: EcrRegistry) -> None:
    """A missing repository is not a missing tag."""
    with pytest.raises(RepositoryNotFound):
        registry.remove_tag("skydrm/none", "8.1.0")


@pytest.fixture
def answering(ecr: EcrFront) -> Callable[..., EcrRegistry]:
    """A registry that finds no tag, and of which the test makes up the answer to PutImage."""

    def build(**put: Any) -> EcrRegistry:
        client = aws_client("ecr", REGION)
        stub = Stubber(client)
        missing = {"imageId": {"imageTag": "8.1.0"}, "failureCode": "ImageNotFound"}
        stub.add_response("batch_get_image", {"images": [], "failures": [missing]})
        if "code" in put:
            stub.add_client_error("put_image", put["code"], "said")
            stub.add_response("batch_get_image", {"images": [], "failures": [missing]})
        else:
            stub.add_response("put_image", {"image": {"imageId": put}})
        stub.activate()
        return EcrRegistry(REGION, client=client)

    return build


def test_an_answer_with_another_digest_is_an_integrity_error(
    answering: Callable[..., EcrRegistry], one: StoredImage, two: StoredImage
) -> None:
    """What ECR says it stored has to be what was sent."""
    with pytest.raises(IntegrityError, match=two.digest):
        answering(imageDigest=two.digest).set_tag(one, "8.1.0")


def test_already_existing_is_not_believed_without_looking(
    answering: Callable[..., EcrRegistry], one: StoredImage
) -> None:
    """ImageAlreadyExistsException counts as success only when the tag then names the image."""
    with pytest.raises(RemoteError, match="ImageAlreadyExistsException"):
        answering(code="ImageAlreadyExistsException").set_tag(one, "8.1.0")


class TestLate:
    """Answers of ECR from before the last change: nothing is concluded from them, the call is repeated."""

    def test_a_repository_that_was_just_created(self, registry: EcrRegistry, ecr: EcrFront) -> None:
        """The answer to an attempt was lost, and it does not show yet."""
        registry.create_repository(REPOSITORY)
        ecr.faults.add(Fault(action="DescribeRepositories", stale=1))
        with pytest.raises(RepositoryNotFound) as caught:
            registry.create_repository(REPOSITORY)
        assert caught.value.retryable
        assert registry.create_repository(REPOSITORY).name == REPOSITORY

    @pytest.mark.parametrize("code", ["ImageAlreadyExistsException", "ImageTagAlreadyExistsException"])
    def test_a_tag_that_was_just_set(
        self, registry: EcrRegistry, ecr: EcrFront, one: StoredImage, code: str
    ) -> None:
        """ECR refuses to set it again, and does not show it yet: it may name the image or another one."""
        registry.set_tag(one, "8.1.0")
        ecr.faults.add(Fault(action="BatchGetImage", stale=1, count=2))
        ecr.faults.add(Fault(action="PutImage", status=400, code=code))
        with pytest.raises(RemoteError, match=r"8\.1\.0.*does not show") as caught:
            registry.set_tag(one, "8.1.0")
        assert caught.value.retryable
        registry.set_tag(one, "8.1.0")

    def test_a_tag_that_may_be_moved_since_a_moment(
        self, registry: EcrRegistry, ecr: EcrFront, one: StoredImage, two: StoredImage
    ) -> None:
        """The settings say so, and the refusal does not know it yet. One that may not be moved is final."""
        registry.set_tag(one, "latest")
        taken = Fault(action="PutImage", status=400, code="ImageTagAlreadyExistsException")
        ecr.faults.add(taken)
        with pytest.raises(TagConflict) as caught:
            registry.set_tag(two, "latest")
        assert not caught.value.retryable
        registry.allow_moving(registry.repository(REPOSITORY), "latest")
        ecr.faults.add(taken)
        with pytest.raises(TagConflict) as caught:
            registry.set_tag(two, "latest")
        assert caught.value.retryable
        registry.set_tag(two, "latest")
        assert digest_of(registry, "latest") == two.digest

    def test_a_setting_that_was_just_changed(self, registry: EcrRegistry, ecr: EcrFront) -> None:
        """What was written is read back until it shows."""
        repository = registry.create_repository(REPOSITORY)
        ecr.faults.add(Fault(action="DescribeRepositories", stale=1, after="PutImageTagMutability"))
        with pytest.raises(RemoteError, match="latest") as caught:
            registry.allow_moving(repository, "latest")
        assert caught.value.retryable
        assert not registry.allow_moving(repository, "latest").is_immutable("latest")

    def test_an_image_that_was_just_pushed_has_no_scan_yet(
        self, registry: EcrRegistry, ecr: EcrFront, one: StoredImage
    ) -> None:
        """The scans may know it later than the registry does."""
        ecr.faults.add(Fault(action="DescribeImageScanFindings", stale=1))
        with pytest.raises(RemoteError, match="ImageNotFoundException") as caught:
            registry.scan(REPOSITORY, one.digest)
        assert caught.value.retryable
        assert registry.scan(REPOSITORY, one.digest).status == "COMPLETE"

    def test_an_index_that_shows_before_its_image(
        self, registry: EcrRegistry, ecr: EcrFront, pusher: Pusher
    ) -> None:
        """Both were just pushed."""
        registry.create_repository(REPOSITORY)
        image = pusher.image(REPOSITORY, "one")
        pusher.index(REPOSITORY, "8.1.0", [image.descriptor("linux/amd64")])
        ecr.faults.add(Fault(action="BatchGetImage", stale=2, skip=1))
        with pytest.raises(IntegrityError, match="does not hold") as caught:
            registry.images(REPOSITORY, ["8.1.0"])
        assert caught.value.retryable
        assert registry.images(REPOSITORY, ["8.1.0"])["8.1.0"].config_digest == image.config_digest


def test_a_repository_whose_filters_are_its_immutable_tags_is_left_alone(
    registry: EcrRegistry, boto_ecr: Any
) -> None:
    """They would become the tags that move, the release tags with them."""
    filters = [{"filterType": "WILDCARD", "filter": each} for each in ("8.*", "latest")]
    boto_ecr.create_repository(
        repositoryName=REPOSITORY,
        imageTagMutability="MUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=filters,
    )
    repository = registry.repository(REPOSITORY)
    with pytest.raises(ConfigurationError, match=r"latest of skydrm/rms cannot be moved.*8\.\*, latest"):
        registry.allow_moving(repository, "latest")
    assert registry.repository(REPOSITORY) == repository
    assert registry.allow_moving(repository, "edge") == repository
