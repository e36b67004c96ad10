"""What a plan costs: calls to ECR, whatever the number of images, and none of them twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from pydantic import SecretStr

from benchmarks.scenes import write_candidates
from jenkins_release import CandidateRef, Services, load_configuration, plan_promotion
from jenkins_release.sandbox.front.front import EcrFront
from jenkins_release.sandbox.product import write_product
from tests.fixtures.ecr_push import Pusher

NAMES = [f"service-{number:02d}" for number in range(40)]
REF = CandidateRef("9.0.1", "1")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product of forty images, and one candidate of it."""
    folder, passphrase = tmp_path_factory.mktemp("forty"), SecretStr("a passphrase")
    share = folder / "share"
    config = write_product(folder, str(share), passphrase, names=NAMES)
    write_candidates(share, folder / "keys", passphrase, versions=1, builds=1, images=NAMES)
    return config


@pytest.fixture
def services(config: Path, ecr: EcrFront) -> Services:
    """The product, with a registry of the test's own."""
    return Services(load_configuration(config, environ={}), environ={"BUILD_USER_ID": "rita"})


def test_forty_repositories_are_described_in_one_call_and_asked_three_times_each(
    services: Services, ecr: EcrFront, boto_ecr, pusher: Pusher
):
    """One token, one description of all, and for each the tags, the images and the layers, once."""
    for name in NAMES:
        boto_ecr.create_repository(repositoryName=f"skydrm/{name}")
    pushed = pusher.image(f"skydrm/{NAMES[7]}", "seven", tag="8.0.0")
    ecr.requests.clear()
    plan, _ = plan_promotion(REF, services)
    assert [image.repository_exists for image in plan.images] == [True] * 40
    assert [image.name for image in plan.images] == NAMES
    assert Counter(ecr.requests.labels()) == {
        "GetAuthorizationToken": 1,
        "DescribeRepositories": 1,
        "ListImages": 40,
        "BatchGetImage": 40,
        # What is missing, and whether the repositories lend each other.
        "BatchCheckLayerAvailability": 40,
        "GetAccountSetting": 1,
    }
    assert pushed.digest not in {image.digest for image in plan.images}


def test_missing_repositories_are_found_although_ecr_names_only_one(
    services: Services, ecr: EcrFront, boto_ecr
):
    """Those that are there are asked, the others are to be created."""
    for name in NAMES[::2]:
        boto_ecr.create_repository(repositoryName=f"skydrm/{name}")
    ecr.requests.clear()
    plan, _ = plan_promotion(REF, services)
    assert [image.repository_exists for image in plan.images] == [True, False] * 20
    assert ecr.requests.count("DescribeRepositories") == 41
    assert ecr.requests.count("ListImages") == ecr.requests.count("BatchGetImage") == 20
