"""What can go wrong while a stack is refreshed: a clear error each, back where possible, nothing lost."""

from __future__ import annotations

import pytest

from jenkins_release.aws import aws_client
from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.sandbox.aws.ecs_state import Misbehaviour
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import REGION, PolicyStatement
from jenkins_release.sandbox.saas import CLUSTER
from jenkins_release.share.folder.share import DirectoryShare
from tests.fixtures.saas import SaasStack


@pytest.fixture
def refreshed(stack: SaasStack) -> SaasStack:
    """A stack that runs 8.1.0/42."""
    return stack.begin("refreshed", lambda made: made.refresh("8.1.0"))


def service(stack: SaasStack, name: str = "rms"):
    return stack.front.ecs.services[CLUSTER, name]


def returned(stack: SaasStack, release: str = "8.1.1/50", words: str = "") -> None:
    """The stack runs 8.1.0/42 again, and the failure is on record."""
    stack.settle()
    assert stack.running() == stack.pinned("8.1.0/42")
    assert all(each.steady for each in stack.front.ecs.services.values())
    assert stack.outcomes(release)[-1] == ("refresh", "returned")
    assert words in stack.records(release)[-1].problem
    assert stack.ok("saas", "status")["verdict"] == "8.1.0/42"


@pytest.mark.parametrize("looks", [1, 4])
def test_an_answer_from_before_the_update_is_no_failure(refreshed: SaasStack, looks: int):
    """ECS is eventually consistent: it looks as if it had gone back, on the way there and on the way back."""
    refreshed.front.ecs.stale_looks = looks
    refreshed.refresh("8.1.1")
    refreshed.settle()
    assert refreshed.running() == refreshed.pinned("8.1.1/50")
    assert refreshed.outcomes("8.1.1/50")[-1] == ("refresh", "done")
    refreshed.ok("saas", "rollback")
    refreshed.settle()
    assert refreshed.running() == refreshed.pinned("8.1.0/42")


def test_an_answer_from_before_the_update_is_none_on_the_way_back_either(refreshed: SaasStack):
    """The release fails, the return does not."""
    refreshed.front.ecs.stale_looks = 2
    refreshed.misbehave("pull", "8.1.1/50")
    with pytest.raises(RemoteError, match=r"the stack was returned to 8\.1\.0/42"):
        refreshed.refresh("8.1.1")
    refreshed.front.ecs.stale_looks = 0
    returned(refreshed)


@pytest.mark.parametrize("rollback", [False, True], ids=["circuit breaker", "circuit breaker with rollback"])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [("pull", "CannotPullContainerError"), ("crash", "Essential container in task exited")],
)
def test_a_deployment_that_ecs_gives_up_is_taken_back(refreshed: SaasStack, kind, reason, rollback):
    """The circuit breaker's state is honoured, its own return recognised; the tasks' reasons are told."""
    for name in ("rms", "viewer"):
        service(refreshed, name).rollback = rollback
    refreshed.misbehave(kind, "8.1.1/50")
    with pytest.raises(RemoteError) as caught:
        refreshed.refresh("8.1.1")
    assert caught.value.message.startswith(
        "the refresh of rehearsal failed, the stack was returned to 8.1.0/42: the service rms did not come to"
    )
    assert "tasks failed to start" in caught.value.message
    assert ("ECS gave it up and returned to" in caught.value.message) is rollback
    assert any(reason in each for each in caught.value.reasons)
    assert "8.1.1" not in service(refreshed, "viewer").deployments[0].definition
    returned(refreshed, words="ECS gave it up")


def test_the_second_service_takes_the_first_one_back_with_it(refreshed: SaasStack):
    """What was deployed before the failure returns too."""
    refreshed.misbehave("pull", "8.1.1/50", service="viewer")
    with pytest.raises(RemoteError, match="the service viewer did not come to"):
        refreshed.refresh("8.1.1")
    assert "rms: updated to" in refreshed.heard.text
    returned(refreshed)


def test_a_deployment_that_never_stabilises_ends_by_our_own_clock(refreshed: SaasStack):
    """Without a circuit breaker ECS would try for ever."""
    for each in refreshed.front.ecs.services.values():
        each.breaker = False
    refreshed.edit("poll_s = 0.02", "poll_s = 1.0")
    refreshed.misbehave("hang", "8.1.1/50")
    refreshed.clock.slept = 0.0
    with pytest.raises(RemoteError, match="it was not steady after 60 s: 0 of 2 tasks run"):
        refreshed.refresh("8.1.1")
    assert 60 <= refreshed.clock.slept < 70
    returned(refreshed, words="not steady after 60 s")


def test_tasks_that_run_another_image_are_an_integrity_error(refreshed: SaasStack):
    """Exit 4: what the agents pulled is compared with what was promoted."""
    refreshed.misbehave("wrong", "8.1.1/50")
    with pytest.raises(IntegrityError, match=f"the container rms of rms runs sha256:{'0' * 64}, expected"):
        refreshed.refresh("8.1.1")
    returned(refreshed)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("sick", "not one good answer of 61; the last: status 500, expected 200"),
        ("flap", "it flaps: 30 of 61 answers were good, never 3 in a row (at most 1)"),
    ],
)
def test_a_stack_that_is_not_healthy_is_taken_back(refreshed: SaasStack, kind, words):
    """Single good answers do not count: several in a row are needed."""
    refreshed.edit("interval_s = 0.02", "interval_s = 1.0")
    refreshed.misbehave(kind, "8.1.1/50")
    with pytest.raises(RemoteError) as caught:
        refreshed.refresh("8.1.1")
    assert any(words in reason for reason in caught.value.reasons), caught.value.reasons
    returned(refreshed, words="not healthy")
    (bad, good) = refreshed.records("8.1.1/50")[-1].health
    assert (bad.healthy, good.healthy) == (False, True)


def test_a_wrong_version_is_not_healthy(refreshed: SaasStack):
    """The version endpoint has to name what was refreshed."""
    refreshed.edit("interval_s = 0.02", "interval_s = 20.0")
    version = 'version_field = "build.version"'
    refreshed.edit(version, f'{version}\nversion = "v{{version}}"')
    with pytest.raises(RemoteError, match=r"build\.version is '8\.1\.1', expected 'v8\.1\.1'"):
        refreshed.refresh("8.1.1")
    # The way back is not healthy either under this configuration, and that is told too.
    assert refreshed.outcomes("8.1.1/50")[-1] == ("refresh", "failed")
    assert refreshed.running() == refreshed.pinned("8.1.0/42")


def test_a_return_that_fails_is_told_and_can_be_finished(refreshed: SaasStack):
    """The record says that nobody knows what runs; a rollback returns to the last good state."""
    refreshed.edit("poll_s = 0.02", "poll_s = 5.0")
    refreshed.misbehave("pull", "8.1.1/50")
    refreshed.misbehave("hang", "8.1.0/42")
    with pytest.raises(RemoteError, match=r"failed, and it could not be returned to 8\.1\.0/42"):
        refreshed.refresh("8.1.1")
    assert refreshed.outcomes("8.1.1/50")[-1] == ("refresh", "failed")
    refreshed.front.ecs.misbehaviours.clear()
    refreshed.rollback()
    assert refreshed.running() == refreshed.pinned("8.1.0/42")
    assert refreshed.outcomes("8.1.1/50")[-1] == ("rollback", "done")


def test_the_command_shows_a_failed_refresh(refreshed: SaasStack):
    """Exit 5; message, reasons and hint on stderr, the same as JSON for a Jenkins step."""
    refreshed.misbehave("pull", "8.1.1/50")
    done = refreshed.run("saas", "refresh", "8.1.1", "--json")
    assert done.status == 5
    error = done.json["error"]
    assert error["category"] == "remote"
    assert "recorded in 0004-refresh.dsse.json; mend the cause, then refresh again" in error["hint"]
    assert any("CannotPullContainerError" in reason for reason in error["reasons"])
    assert "rms: (service rms) (deployment" in done.err
    history = refreshed.run("release", "history", "8.1.1").out
    assert "refresh of rehearsal to 8.1.1/50 FAILED, it runs 8.1.0/42 again" in history
    assert "problem: the service rms did not come to" in history


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "rms"\ncontainers', 'name = "gone"\ncontainers', "there is no service gone"),
        ('cluster = "skydrm"', 'cluster = "nowhere"', "there is no cluster nowhere in us-east-1"),
        ("{ rms = ", "{ web = ", "has no container web: it has rms, log-router"),
    ],
)
def test_a_stack_that_is_not_there_is_a_mistake_of_the_configuration(stack: SaasStack, old, new, words):
    """Exit 2, before anything is recorded or registered."""
    stack.edit(old, new)
    with pytest.raises(ConfigurationError, match=words):
        stack.refresh("8.1.0")
    assert stack.calls() == [] or stack.front.requests.count("ecs:UpdateService") == 0
    assert stack.records("8.1.0/42") == []


def test_a_service_that_code_deploy_deploys_is_refused(stack: SaasStack):
    """ECS would refuse the update; it is told before anything else."""
    service(stack).controller = "CODE_DEPLOY"
    with pytest.raises(ConfigurationError, match="rms is deployed by CODE_DEPLOY, expected rolling updates"):
        stack.refresh("8.1.0")


@pytest.mark.parametrize("strategy", ["BLUE_GREEN", "LINEAR", "CANARY"])
def test_a_service_that_ecs_deploys_in_another_way_is_refused(stack: SaasStack, strategy: str):
    """The strategy of its own: traffic is shifted, and both run, when a rolling update would be over."""
    service(stack).strategy = strategy
    told = f"rms is deployed by the strategy {strategy}, expected ROLLING"
    with pytest.raises(ConfigurationError, match=told) as caught:
        stack.refresh("8.1.0")
    assert "deployment controller ECS, strategy ROLLING" in caught.value.hint
    assert stack.outcomes("8.1.0/42") == []


def test_a_service_that_is_switched_to_another_strategy_meanwhile_is_left_alone(refreshed: SaasStack):
    """Each service is looked at again before its update."""
    refreshed.clock.while_asleep = [lambda: setattr(service(refreshed, "viewer"), "strategy", "BLUE_GREEN")]
    told = "viewer is deployed by the strategy BLUE_GREEN, expected ROLLING"
    with pytest.raises(ConfigurationError, match=rf"was returned to 8\.1\.0/42: {told}"):
        refreshed.refresh("8.1.1")
    assert "8.1.1" not in refreshed.running()["viewer"]
    assert refreshed.running()["viewer"] == refreshed.pinned("8.1.0/42")["viewer"]


@pytest.mark.parametrize("controller", ["CODE_DEPLOY", "EXTERNAL"])
def test_every_command_refuses_a_controller_that_is_not_ecs(refreshed: SaasStack, controller: str):
    """Status 2, before anything is registered or updated."""
    refreshed.refresh("8.1.1")
    service(refreshed).controller = controller
    refreshed.front.requests.clear()
    for words in (["refresh", "8.1.0"], ["refresh", "8.1.0", "--dry-run"], ["rollback"], ["status"]):
        done = refreshed.run("saas", *words)
        assert done.status == 2, words
        assert f"rms is deployed by {controller}, expected rolling updates by ECS" in done.err
        assert "or leave it out of saas.services" in done.err
    assert refreshed.calls() == []


NEWER = {
    "runtimeGuard": ({"mode": "strict"}, "runtimeGuard"),
    "runtimeSwitch": (False, "runtimeSwitch"),
    "container.cpuGuard": ("on", "containerDefinitions[rms].cpuGuard"),
}


@pytest.mark.parametrize(("field", "value", "name"), [(k, v, n) for k, (v, n) in NEWER.items()], ids=NEWER)
def test_what_this_boto3_does_not_know_is_not_lost(
    refreshed: SaasStack, field: str, value: object, name: str
):
    """A new revision would be without it: refused by its name before anything is done; a return goes."""
    refreshed.refresh("8.1.1")
    refreshed.front.ecs.newer[field] = value
    refreshed.release("8.1.2/60")
    refreshed.front.requests.clear()
    with pytest.raises(ConfigurationError) as caught:
        refreshed.refresh("8.1.2")
    assert f"has {name}, which boto3" in caught.value.message
    assert any(f"{refreshed.arn('viewer')} has" in reason for reason in caught.value.reasons)
    assert "update boto3" in caught.value.hint
    assert refreshed.calls() == []
    assert refreshed.run("saas", "refresh", "8.1.2", "--dry-run").status == 2
    assert refreshed.rollback().changed


def test_what_is_empty_or_only_told_is_not_in_the_way(refreshed: SaasStack):
    """ECS lists fields that nobody set; what it adds itself cannot be registered and need not be."""
    refreshed.front.ecs.newer |= {"futureList": [], "container.futureField": None, "deleteRequestedAt": 1.0}
    refreshed.refresh("8.1.1")
    assert refreshed.outcomes("8.1.1/50")[-1] == ("refresh", "done")


def test_a_revision_that_ecs_does_not_find_yet_is_asked_for_again(refreshed: SaasStack):
    """UpdateService right after RegisterTaskDefinition."""
    refreshed.front.ecs.late_updates = 2
    refreshed.refresh("8.1.1")
    assert refreshed.running() == refreshed.pinned("8.1.1/50")


def test_a_service_that_is_to_run_no_task_is_told(stack: SaasStack):
    """It counts as refreshed, and nothing of the release was tried there."""
    # Without a health check of its own: that would fail.
    head, _, last = stack.config.read_text().rpartition("[[saas.health]]")
    assert "viewer" in last
    stack.config.write_text(head)
    service(stack, "viewer").desired = 0
    stack.settle()
    for words in (["--dry-run"], [], []):  # what would be done, what is done, nothing to do
        done = stack.run("saas", "refresh", "8.1.0", *words)
        assert done.status == 0, done.text
        assert "viewer is to run no task: nothing is tried there" in done.err, words
        assert "rms is to run no task" not in done.err


def test_a_release_without_the_image_is_refused(stack: SaasStack):
    """The promotion has to have every image that the services run."""
    stack.release("8.3.0/70", names=["rms"])
    with pytest.raises(ConfigurationError, match=r"8\.3\.0/70 has no image viewer"):
        stack.refresh("8.3.0")
    assert stack.front.requests.count("ecs:UpdateService") == 0


def test_a_definition_that_is_too_large_is_told(stack: SaasStack):
    """ECS's own limit; nothing runs differently."""
    before = stack.running()
    stack.definition()["containerDefinitions"][0]["environment"] = [{"name": "X", "value": "x" * 70_000}]
    with pytest.raises(ConfigurationError, match="Max allowed length is '65536' bytes"):
        stack.refresh("8.1.0")
    assert (stack.running(), stack.records("8.1.0/42")) == (before, [])


@pytest.mark.parametrize(
    "action", ["ecs:DescribeServices", "ecs:UpdateService", "ecs:RegisterTaskDefinition"]
)
def test_throttling_passes(stack: SaasStack, action):
    """Botocore waits and tries again."""
    fault = Fault(action=action, status=400, code="ThrottlingException", message="Rate exceeded", count=2)
    stack.front.faults.add(fault)
    stack.refresh("8.1.0")
    assert stack.front.faults.pending() == []


@pytest.mark.parametrize("action", ["ecs:RegisterTaskDefinition", "ecs:UpdateService"])
def test_too_many_at_once_is_no_mistake_of_the_configuration(stack: SaasStack, action: str):
    """ECS tells it under the code of a wrong request."""
    words = "Too many concurrent attempts to create a new revision of the specified family."
    stack.front.faults.add(Fault(action=action, status=400, code="ClientException", message=words, count=2))
    stack.refresh("8.1.0")
    assert stack.front.faults.pending() == []


def test_what_ecs_does_not_take_is_a_mistake_of_the_configuration(stack: SaasStack):
    """Status 2, and what to look at; nothing runs differently, and that is recorded."""
    before = stack.running()
    fault = Fault(action="ecs:UpdateService", status=400, code="PlatformUnknownException", message="said")
    stack.front.faults.add(fault)
    with pytest.raises(
        ConfigurationError, match="nothing was changed: cannot update the service rms"
    ) as caught:
        stack.refresh("8.1.0")
    assert "platform version" in caught.value.hint
    assert stack.running() == before
    assert stack.outcomes("8.1.0/42") == [("refresh", "started"), ("refresh", "returned")]


def test_a_look_that_fails_is_no_failure_of_the_deployment(stack: SaasStack):
    """An outage on the way to AWS says nothing about the stack: it is looked at again until time is up."""
    stack.clock.while_asleep = [
        lambda: stack.front.faults.add(
            Fault(action="ecs:DescribeServices", status=503, code="ServiceUnavailable", count=5)
        )
    ]
    stack.refresh("8.1.0")
    assert "not to be seen at the moment: cannot describe the services rms" in stack.heard.text
    assert stack.outcomes("8.1.0/42")[-1] == ("refresh", "done")


def limited(stack: SaasStack, monkeypatch: pytest.MonkeyPatch, *denied: str) -> None:
    """Let the refresh run as a user that may not do some things."""
    allowed = PolicyStatement(actions=["ecs:*"], resources=["*"])
    statements = [allowed, PolicyStatement(effect="Deny", actions=list(denied), resources=["*"])]
    key, secret = stack.front.state.add_user("refresher", statements)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)


@pytest.mark.parametrize(
    "action", ["ecs:DescribeServices", "ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition"]
)
def test_credentials_without_rights_are_told_before_anything_changes(stack: SaasStack, monkeypatch, action):
    """The message names the user and the action; nothing is recorded."""
    before = stack.running()
    limited(stack, monkeypatch, action)
    with pytest.raises(RemoteError) as caught:
        stack.refresh("8.1.0")
    assert f"is not authorized to perform: {action}" in caught.value.message
    assert f"user/refresher must allow {action}" in caught.value.hint
    assert (stack.running(), stack.records("8.1.0/42")) == (before, [])


def test_credentials_that_may_not_update_leave_all_as_it_was(stack: SaasStack, monkeypatch):
    """The record says that nothing was changed."""
    before = stack.running()
    limited(stack, monkeypatch, "ecs:UpdateService")
    with pytest.raises(RemoteError, match=r"failed, nothing was changed: .*perform: ecs:UpdateService"):
        stack.refresh("8.1.0")
    assert stack.running() == before
    assert stack.outcomes("8.1.0/42") == [("refresh", "started"), ("refresh", "returned")]


def test_credentials_that_may_not_list_tasks_are_told_and_the_stack_returns(
    refreshed: SaasStack, monkeypatch
):
    """Without the right to list tasks the way back is not proven either, and that is told."""
    limited(refreshed, monkeypatch, "ecs:ListTasks")
    with pytest.raises(RemoteError, match="perform: ecs:ListTasks"):
        refreshed.refresh("8.1.1")
    assert refreshed.running() == refreshed.pinned("8.1.0/42")
    assert refreshed.outcomes("8.1.1/50")[-1] == ("refresh", "failed")


def test_a_second_refresh_is_refused_while_one_runs(stack: SaasStack):
    """Exit 6; the message names who refreshes."""
    share = DirectoryShare(stack.share)
    share.make_folder("SkyDRM/.leases")
    with share.lease("SkyDRM/.leases/saas-rehearsal.refresh", "erin@ci7 pid 4711"):
        for words in (["refresh", "8.1.0"], ["rollback"]):
            done = stack.run("saas", *words)
            assert done.status == 6
            assert "erin@ci7 pid 4711" in done.err
    assert stack.run("saas", "refresh", "8.1.0").status == 0


def foreign(stack: SaasStack) -> str:
    """Somebody else deploys by hand."""
    ecs = aws_client("ecs", REGION)
    made = ecs.register_task_definition(
        family="by-hand", containerDefinitions=[{"name": "rms", "image": "hotfix"}]
    )
    arn = made["taskDefinition"]["taskDefinitionArn"]
    ecs.update_service(cluster=CLUSTER, service="rms", taskDefinition=arn)
    return str(arn)


def test_a_deployment_that_is_not_ours_is_waited_out(stack: SaasStack):
    """Exit 6, nothing is recorded; when it has ended, the refresh goes."""
    foreign(stack)
    stack.front.ecs.pace = "hand"
    for words in (["refresh", "8.1.0"], ["refresh", "8.1.0", "--dry-run"]):
        done = stack.run("saas", *words)
        assert done.status == 6
        assert "the service rms is being deployed by someone else" in done.err
    assert stack.records("8.1.0/42") == []
    stack.settle()
    stack.front.ecs.pace = "look"
    assert stack.run("saas", "refresh", "8.1.0").status == 0
    assert stack.running() == stack.pinned("8.1.0/42")


def test_somebody_else_who_deploys_meanwhile_is_not_overruled(refreshed: SaasStack):
    """What they deployed stays; it is told and recorded."""
    hand: list[str] = []
    refreshed.clock.while_asleep = [lambda: hand.append(foreign(refreshed))]
    with pytest.raises(
        RemoteError, match=r"it is left as it is, somebody else changed it: .* someone else has deployed"
    ):
        refreshed.refresh("8.1.1")
    assert refreshed.arn("rms") == hand[0]
    assert refreshed.outcomes("8.1.1/50")[-1] == ("refresh", "failed")


def test_a_definition_to_return_to_that_was_deregistered_is_told(refreshed: SaasStack):
    """The failure names it; the record does not claim a return."""
    refreshed.front.ecs.definitions[refreshed.arn()]["status"] = "INACTIVE"
    refreshed.misbehave("pull", "8.1.1/50")
    with pytest.raises(RemoteError, match=r"could not be returned to 8\.1\.0/42: .*was deregistered"):
        refreshed.refresh("8.1.1")
    assert refreshed.outcomes("8.1.1/50")[-1] == ("refresh", "failed")


def test_a_service_that_is_deleted_meanwhile_is_told(refreshed: SaasStack):
    """It cannot be returned."""
    refreshed.clock.while_asleep = [lambda: refreshed.front.ecs.services.pop((CLUSTER, "rms")) and None]
    with pytest.raises(RemoteError, match="the service rms was deleted meanwhile"):
        refreshed.refresh("8.1.1")
    assert refreshed.outcomes("8.1.1/50")[-1] == ("refresh", "failed")


def test_a_deployment_that_ecs_gave_up_before_is_no_good_state(refreshed: SaasStack):
    """Somebody's failed deployment holds nobody up, and what really ran is returned to."""
    before = refreshed.arn()
    service(refreshed).rollback = False
    refreshed.front.ecs.misbehaviours.append(Misbehaviour(kind="pull", image="hotfix"))
    foreign(refreshed)
    refreshed.settle()
    assert service(refreshed).deployments[0].rollout == "FAILED"
    refreshed.misbehave("pull", "8.1.1/50", service="viewer")
    with pytest.raises(RemoteError, match=r"was returned to 8\.1\.0/42"):
        refreshed.refresh("8.1.1")
    assert refreshed.arn() == before
    returned(refreshed)


def test_a_lease_that_is_lost_ends_the_changes(stack: SaasStack, monkeypatch):
    """Somebody else may be at work by then: nothing more is deployed, there or back."""
    before = stack.running()
    path = stack.share / "SkyDRM" / ".leases" / "saas-rehearsal.refresh"
    stack.clock.while_asleep = [path.unlink]
    with pytest.raises(RemoteError, match="was lost"):
        stack.refresh("8.1.0")
    assert stack.running() == {"rms": stack.pinned("8.1.0/42")["rms"], "viewer": before["viewer"]}


def test_a_lost_answer_to_a_registration_leaves_one_revision(refreshed: SaasStack):
    """It was registered: the newest revision is looked at before it is registered once more."""
    before = len(refreshed.front.ecs.definitions)
    services = len(refreshed.front.ecs.services)
    refreshed.front.faults.add(Fault(action="ecs:RegisterTaskDefinition", reset_response_after=0))
    refreshed.refresh("8.1.1")
    refreshed.settle()
    assert refreshed.running() == refreshed.pinned("8.1.1/50")
    assert len(refreshed.front.ecs.definitions) == before + services


@pytest.mark.parametrize("forced", [False, True])
def test_a_lost_answer_to_an_update_begins_one_deployment(refreshed: SaasStack, forced: bool):
    """Also if ECS had given the deployment of this definition up, and another one is asked for."""
    found = service(refreshed)
    release = "8.1.1"
    if forced:
        release = "8.1.0"
        found.deployments[0].rollout = "FAILED"
    counted: list[str] = []
    deploy = refreshed.front.ecs.deploy
    refreshed.front.ecs.deploy = lambda one, arn: (counted.append(one.name), deploy(one, arn))[1]
    refreshed.front.faults.add(Fault(action="ecs:UpdateService", reset_response_after=0))
    refreshed.refresh(release)
    refreshed.settle()
    assert counted.count("rms") == 1
    assert service(refreshed).deployments[0].rollout == "COMPLETED"
