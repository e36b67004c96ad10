"""Promotion under conditions that are not the best: moving tags, faults, two at once, resumption."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.sample_images import build_images
from tests.fixtures.release import BOTH_ENGINES, BY_DAEMON, DEFAULT_WAY, SERVICES, Product


def release(product: Product, engine: DockerEngine, version: str, build: str) -> None:
    for reference in build_images(engine, version, build, names=SERVICES):
        assert engine.inspect(reference)
    product.ok("candidate", "export", "--version", version, "--build", build)
    product.sign_off(f"{version}/{build}")
    product.ok("promote", "run", f"{version}/{build}")


def test_moving_tags_move_and_release_tags_stay(product: Product, engine: DockerEngine):
    """`{major}.{minor}` follows the newest release in repositories whose release tags are immutable."""
    product.edit(
        "create_repositories = true",
        'create_repositories = true\nmoving_tags = ["{major}.{minor}", "latest"]',
    )
    for version, build in (("8.1.1", "1"), ("8.1.2", "2"), ("8.2.0", "3"), ("8.2.1", "4")):
        release(product, engine, version, build)
    for tags in product.tags().values():
        assert set(tags) == {"8.1.1", "8.1.2", "8.2.0", "8.2.1", "8.1", "8.2", "latest"}
        assert tags["8.1"] == tags["8.1.2"] != tags["8.1.1"]
        assert tags["8.2"] == tags["8.2.1"] == tags["latest"] != tags["8.2.0"]
    repository = product.client().describe_repositories(repositoryNames=[f"{product.prefix}/rms"])[
        "repositories"
    ][0]
    assert repository["imageTagMutability"] == "IMMUTABLE_WITH_EXCLUSION"
    filters = {each["filter"] for each in repository["imageTagMutabilityExclusionFilters"]}
    assert filters == {"latest", "8.1", "8.2"}


def test_repositories_are_created_as_configured(promoted: Product):
    """Immutable tags, scan on push, resource tags."""
    client = promoted.client()
    for name in SERVICES:
        found = client.describe_repositories(repositoryNames=[f"{promoted.prefix}/{name}"])["repositories"][0]
        assert found["imageTagMutability"] == "IMMUTABLE"
        assert found["imageScanningConfiguration"] == {"scanOnPush": True}
        assert found["encryptionConfiguration"]["encryptionType"] == "AES256"
        tags = client.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"]
        assert tags == [{"Key": "product", "Value": "SkyDRM"}]


API = {
    "the API is throttled": Fault(action="*", status=400, code="ThrottlingException", count=3),
    "the API answers 500": Fault(action="BatchGetImage", status=500, count=2),
    "the answer to PutImage is lost": Fault(action="PutImage", reset_response_after=0),
}
"""Faults where there is no engine."""
REGISTRY = {
    "a layer upload breaks off": Fault(method="PATCH", path="/blobs/uploads/", reset_request_after=100_000),
    "the registry answers 503": Fault(method="PUT", path="/manifests/", status=503, count=1),
    "the answer to a manifest is lost": Fault(method="PUT", path="/manifests/", reset_response_after=0),
    "all tokens expire during a push": Fault(
        method="PATCH", path="/blobs/uploads/", expire_tokens=True, skip=2
    ),
}
SURVIVED = [
    *(pytest.param(DEFAULT_WAY, fault, id=name) for name, fault in API.items()),
    *(
        pytest.param(way, fault, id=f"{name}, {way}")
        for name, fault in REGISTRY.items()
        for way in (DEFAULT_WAY, BY_DAEMON)
    ),
]


@pytest.mark.parametrize(("way", "fault"), SURVIVED, indirect=["way"])
def test_a_passing_fault_is_survived_in_one_run(validated: Product, fault: Fault):
    """Each fault happens, and the promotion ends as if it had not."""
    validated.sandbox.ecr.order(fault)
    done = validated.run("promote", "run", "8.1.0/42", "--json")
    assert done.status == 0, done.text
    assert validated.sandbox.ecr.pending_faults() == []
    tags = validated.tags()
    assert {name: list(found) for name, found in tags.items()} == {
        f"{validated.prefix}/{name}": ["8.1.0"] for name in SERVICES
    }
    assert validated.ok("promote", "status", "8.1.0/42")["state"] == "recorded"


@BOTH_ENGINES
def test_late_answers_of_ecr_are_survived_and_nothing_is_pushed_twice(validated: Product):
    """A repository that was just made, an image and layers that just came: some answers are from before."""
    ecr, pushed = validated.sandbox.ecr, "PUT /v2/.*/manifests/.*"
    ecr.forget_requests()
    ecr.order(Fault(method="POST", path="/blobs/uploads/", status=404, code="NAME_UNKNOWN"))
    ecr.order(Fault(action="BatchGetImage", after=pushed, stale=1))
    ecr.order(Fault(action="BatchCheckLayerAvailability", after=pushed, stale=1))
    done = validated.run("promote", "run", "8.1.0/42", "--json")
    assert done.status == 0, done.text
    assert ecr.pending_faults() == []
    labels = [request.label for request in ecr.requests()]
    assert len([label for label in labels if re.fullmatch(pushed, label)]) == len(SERVICES)
    assert {tag for tags in validated.tags().values() for tag in tags} == {"8.1.0"}


@BOTH_ENGINES
def test_a_lasting_fault_leaves_no_release_tag_and_the_next_run_finishes(validated: Product):
    """All or nothing: one image cannot be pushed, so no version tag is set anywhere."""
    path = f"/v2/{validated.prefix}/viewer/manifests/"
    validated.sandbox.ecr.order(Fault(method="PUT", path=path, status=500, count=None))
    done = validated.run("promote", "run", "8.1.0/42")
    assert done.status == 5, done.text
    assert "viewer" in done.err
    for tags in validated.tags().values():
        assert not [tag for tag in tags if not tag.startswith("candidate-")]
    assert validated.ok("promote", "status", "8.1.0/42")["state"] == "pushing"
    validated.sandbox.ecr.cancel_faults()
    again = validated.ok("promote", "run", "8.1.0/42")
    assert {image["name"]: image["pushed"] for image in again["images"]} == {
        name: name == "viewer" for name in SERVICES
    }


def test_a_run_that_dies_between_tags_and_record_is_finished_by_the_next(validated: Product):
    """The tags are there, the attestation is not: only that is added."""
    validated.ok("promote", "run", "8.1.0/42")
    (validated.candidate() / "attestations" / "0003-promotion.dsse.json").unlink()
    assert validated.ok("promote", "status", "8.1.0/42")["state"] == "released"
    again = validated.ok("promote", "run", "8.1.0/42")
    assert again["changed"] is True
    assert not any(image["pushed"] for image in again["images"])
    assert validated.ok("promote", "status", "8.1.0/42")["state"] == "recorded"


def test_an_altered_manifest_from_the_registry_is_never_tagged(validated: Product):
    """ECR's answer is hashed: a manifest that was changed on the way stops everything."""
    validated.sandbox.ecr.order(Fault(action="BatchGetImage", manifest="alter", count=None))
    done = validated.run("promote", "run", "8.1.0/42")
    assert done.status == 4, done.text
    validated.sandbox.ecr.cancel_faults()
    for tags in validated.tags().values():
        assert not [tag for tag in tags if not tag.startswith("candidate-")]


def test_a_revocation_shuts_the_gate_again(validated: Product):
    """A sign-off that was taken back is none, and the reason is shown."""
    validated.ok("qa", "revoke", "8.1.0/42", "--tester", "Quinn", "--reason", "wrong database used")
    done = validated.run("promote", "run", "8.1.0/42", "--json")
    assert done.status == 3
    assert any("wrong database used" in reason for reason in done.json["error"]["reasons"])
    assert validated.tags() == {}


def test_a_later_fail_shuts_the_gate_again(validated: Product):
    """The latest verdict counts."""
    validated.sign_off(verdict="fail")
    assert validated.run("promote", "run", "8.1.0/42").status == 3
    validated.sign_off()
    validated.ok("promote", "run", "8.1.0/42")


def test_a_verdict_by_a_key_that_promotion_does_not_know_keeps_the_gate_shut(validated: Product):
    """QA's configuration may trust a key that the release's does not."""
    text = validated.config.read_text()
    stranger = text.index('[[trusted_keys]]\nname = "qa"')
    end = text.index("[[trusted_keys]]", stranger + 1)
    validated.config.write_text(text[:stranger] + text[end:])
    done = validated.run("promote", "run", "8.1.0/42", "--json")
    assert done.status == 3
    assert any("unknown key" in reason for reason in done.json["error"]["reasons"])


def test_a_second_promotion_at_the_same_time_is_told_who_is_at_work(validated: Product):
    """Exit status 6 with user, host and process of the first; afterwards the way is free."""
    validated.sandbox.ecr.order(Fault(action="CreateRepository", latency_s=4.0, count=1))
    command = [sys.executable, "-m", "jenkins_release", "promote", "run", "8.1.0/42", "--json"]
    environ = validated.environ | {"BUILD_USER_ID": "first-user"}
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as first:
        while not waiting_in(validated, "CreateRepository"):
            assert first.poll() is None, first.communicate()
        second = validated.run("promote", "run", "8.1.0/42", "--json")
        assert second.status == 6, second.text
        assert "first-user@" in second.json["error"]["message"]
        assert f"pid {first.pid}" in second.json["error"]["message"]
        out, err = first.communicate(timeout=120)
        assert first.returncode == 0, out + err
    assert validated.ok("promote", "run", "8.1.0/42")["changed"] is False


def test_a_dead_holder_does_not_keep_the_lease(validated: Product, warm_python: str):
    """Kill -9 of a promotion frees the candidate at once, and the next run finishes the work."""
    validated.sandbox.ecr.order(Fault(action="CreateRepository", latency_s=30.0, count=1))
    command = [warm_python, "-m", "jenkins_release", "promote", "run", "8.1.0/42"]
    with subprocess.Popen(command, env=validated.environ, stderr=subprocess.PIPE) as first:
        while not waiting_in(validated, "CreateRepository"):
            assert first.poll() is None, first.communicate()
        first.kill()
        first.communicate()
    validated.ok("promote", "run", "8.1.0/42")


def waiting_in(product: Product, action: str) -> bool:
    """Whether a request of the product has arrived at the registry's API."""
    return any(
        record.action == action and record.repository.startswith(f"{product.prefix}/")
        for record in product.sandbox.ecr.requests()
    )
