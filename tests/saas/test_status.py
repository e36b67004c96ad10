"""What runs on the stack, by digest, against what was released."""

from __future__ import annotations

import pytest

from jenkins_release.sandbox.saas import CLUSTER
from tests.fixtures.saas import NAMES, SaasStack
from tests.saas.test_failures import foreign


def test_a_refreshed_stack_is_named_by_its_release(stack: SaasStack):
    """Service by service, with the digests that the tasks pulled and their number."""
    stack.refresh("8.1.0")
    status = stack.ok("saas", "status")
    assert (status["stack"], status["strategy"], status["verdict"]) == ("rehearsal", "ecs", "8.1.0/42")
    for part in status["parts"]:
        name = part["name"]
        assert part["verdict"] == "8.1.0/42"
        assert part["definition"] == stack.arn(name)
        assert part["containers"] == [
            {"container": name, "image": name, "digests": {stack.digest(name, "8.1.0/42"): 2}}
        ]
    assert status["last"]["outcome"] == "done"
    assert status["recorded"]["release"] == "8.1.0/42"
    text = stack.run("saas", "status").out
    assert text.startswith("rehearsal: 8.1.0/42\npart    release   container  tasks  manifest digest\n")
    assert "last: refresh done, 8.1.0/42 by dana at" in text


def test_a_stack_before_its_first_refresh_is_no_release(stack: SaasStack):
    """Nothing is recorded, and nobody promoted what runs."""
    status = stack.ok("saas", "status")
    assert (status["verdict"], status["last"]) == ("not a release", None)
    assert "no refresh is recorded" in stack.run("saas", "status").out


def test_what_somebody_deployed_by_hand_shows(stack: SaasStack):
    """The record says 8.1.0/42; what runs says otherwise."""
    stack.refresh("8.1.0")
    foreign(stack)
    stack.settle()
    status = stack.ok("saas", "status")
    assert status["verdict"] == "not a release"
    assert {part["name"]: part["verdict"] for part in status["parts"]} == {
        "rms": "not a release",
        "viewer": "8.1.0/42",
    }
    assert status["recorded"]["release"] == "8.1.0/42"


def test_a_stack_on_its_way_is_mixed(stack: SaasStack):
    """Old and new tasks of one service, and services of two releases."""
    stack.refresh("8.1.0")
    stack.refresh("8.1.1")
    ecs = stack.front.ecs
    old = next(arn for arn in ecs.definitions if arn.endswith("skydrm-rms:2"))
    ecs.deploy(ecs.services[CLUSTER, "rms"], old)
    ecs.step()
    ecs.step()
    ecs.pace = "hand"
    parts = {part["name"]: part for part in stack.ok("saas", "status")["parts"]}
    assert parts["rms"]["verdict"] == "mixed"
    assert "2 old ones are left" in parts["rms"]["rollout"]
    assert len(parts["rms"]["containers"][0]["digests"]) == 2
    stack.settle()
    status = stack.ok("saas", "status")
    assert {part["name"]: part["verdict"] for part in status["parts"]} == {
        "rms": "8.1.0/42",
        "viewer": "8.1.1/50",
    }
    assert status["verdict"] == "mixed"


def test_a_withdrawn_release_that_still_runs_is_marked(stack: SaasStack):
    """Whoever looks at the stack sees that it has to go."""
    stack.refresh("8.1.0")
    stack.withdraw("8.1.0/42")
    assert stack.ok("saas", "status")["verdict"] == "8.1.0/42 (withdrawn)"


def test_a_service_without_tasks_runs_nothing(stack: SaasStack):
    """It does not hide what the others run."""
    stack.refresh("8.1.0")
    service = stack.front.ecs.services[CLUSTER, "viewer"]
    service.tasks.clear()
    service.desired = 0
    status = stack.ok("saas", "status")
    assert {part["name"]: part["verdict"] for part in status["parts"]}["viewer"] == "nothing runs"
    assert status["verdict"] == "8.1.0/42"


def test_many_services_and_tasks_are_read_page_by_page(stack: SaasStack):
    """DescribeServices takes ten, DescribeTasks a hundred at a time."""
    from jenkins_release.aws import aws_client
    from jenkins_release.aws.ecs import Ecs
    from jenkins_release.sandbox.ecr.state import REGION
    from jenkins_release.sandbox.saas import create_services

    names = [f"service{number}" for number in range(23)]
    create_services(aws_client("ecs", REGION), names[:22], desired=1)
    create_services(aws_client("ecs", REGION), names[22:], desired=130)
    stack.settle()
    cluster = Ecs(REGION, CLUSTER)
    assert set(cluster.services([*names, *NAMES])) == {*names, *NAMES}
    assert len(cluster.tasks(names[-1])) == 130


def test_a_candidate_that_cannot_be_read_is_told(stack: SaasStack):
    """The others are judged all the same."""
    stack.refresh("8.1.0")
    (stack.share / "SkyDRM" / "8.1.1/50" / "candidate.json").write_text("{")
    status = stack.ok("saas", "status")
    assert status["verdict"] == "8.1.0/42"
    assert any(note.startswith("8.1.1/50 cannot be read:") for note in status["notes"])


def test_a_gap_in_the_records_of_the_stack_is_told(stack: SaasStack):
    """The records of the middle refresh are gone with their candidate."""
    import shutil

    for release in ("8.1.0", "8.1.1", "8.1.0"):
        stack.refresh(release)
    shutil.rmtree(stack.share / "SkyDRM" / "8.1.1")
    (note,) = stack.ok("saas", "status")["notes"]
    assert note.startswith("records are missing between 8.1.0/42/attestations/0004-refresh.dsse.json and")


@pytest.mark.parametrize("words", [["saas", "status"], ["saas", "refresh", "8.1.0"]])
def test_a_share_that_is_not_there_is_told(stack: SaasStack, words):
    """Exit 5 or 2, and no call to AWS."""
    stack.share.rename(stack.share.with_name("gone"))
    stack.front.requests.clear()
    assert stack.run(*words).status in {2, 5}
    assert stack.front.requests.labels() == []
