"""Refreshing a stack of instances with Run Command."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jenkins_release.aws import aws_client
from jenkins_release.aws.ssm import CommandOrder, Ssm
from jenkins_release.base.errors import ConfigurationError, GateRefused, IntegrityError, RemoteError
from jenkins_release.sandbox.aws.moto_server import MotoServer
from jenkins_release.sandbox.aws.ssm_api import LOOKS, CommandState, Instance, SsmState
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import REGION, PolicyStatement
from tests.fixtures.process import Ended, signalled, started
from tests.fixtures.saas import SaasStack

THIRD = "i-00000000000000003"


def commands(stack: SaasStack) -> list[str]:
    """The comments of all commands that were sent."""
    return [command.given["Comment"] for command in stack.front.ssm.commands.values()]


def installed(stack: SaasStack) -> set[str]:
    """What the instances were told to install last, with success."""
    return {stack.front.ssm.installed(instance) for instance in stack.front.ssm.instances}


def told(version: str, build: str) -> set[str]:
    """What :func:`installed` is after a refresh."""
    return {str({"commands": [f"install-skydrm {version} {build}"]})}


def spoil(stack: SaasStack, ends: str, instance: str = THIRD, **more: str) -> None:
    """Let commands end badly on an instance."""
    current = stack.front.ssm.instances[instance]
    stack.front.ssm.instances[instance] = current.model_copy(update={"ends": ends, **more})


@pytest.fixture
def refreshed(ssm_stack: SaasStack) -> SaasStack:
    """A stack whose instances have 8.1.0/42."""
    return ssm_stack.begin("refreshed instances", lambda made: made.refresh("8.1.0"))


def test_a_published_version_is_installed_on_every_instance(ssm_stack: SaasStack):
    """Document, tags and parameters from the configuration; one instance at a time; told and recorded."""
    done = ssm_stack.run("saas", "refresh", "8.1.0")
    assert done.status == 0, done.text
    assert installed(ssm_stack) == told("8.1.0", "42")
    (command,) = ssm_stack.front.ssm.commands.values()
    assert command.given["Targets"] == [{"Key": "tag:Stack", "Values": ["skydrm"]}]
    assert (command.given["MaxConcurrency"], command.given["MaxErrors"]) == ("1", "0")
    assert f"{THIRD}: InProgress" in done.err
    assert f"{THIRD}: Success" in done.out
    started, record = ssm_stack.records("8.1.0/42")
    assert (started.outcome, record.outcome) == ("started", "done")
    assert {each.status for each in record.instances} == {"Success"}
    assert len(record.instances) == 3
    assert "REFRESHED rehearsal to 8.1.0/42" in ssm_stack.run("release", "history", "8.1.0").out


def test_an_installer_that_was_swapped_is_not_installed(ssm_stack: SaasStack):
    """The instances fetch from the release area: it is read before the command is sent, byte for byte."""
    installer = ssm_stack.released("8.1.0") / "installers" / "a.msi"
    installer.write_bytes(installer.read_bytes()[::-1])
    with pytest.raises(IntegrityError, match=r"the published release 8\.1\.0 was altered: .*a\.msi"):
        ssm_stack.refresh("8.1.0")
    assert commands(ssm_stack) == []
    assert ssm_stack.outcomes("8.1.0/42") == [("refresh", "started"), ("refresh", "returned")]


def test_a_rollback_to_what_was_swapped_is_refused(refreshed: SaasStack):
    """What was installed once may be another file by now."""
    refreshed.refresh("8.1.1")
    installer = refreshed.released("8.1.0") / "installers" / "a.msi"
    installer.write_bytes(installer.read_bytes()[::-1])
    before = commands(refreshed)
    with pytest.raises(IntegrityError, match=r"the published release 8\.1\.0 was altered"):
        refreshed.rollback()
    assert commands(refreshed) == before


def test_the_status_is_what_was_recorded(refreshed: SaasStack):
    """Instance by instance."""
    status = refreshed.ok("saas", "status")
    assert status["verdict"] == "8.1.0/42"
    assert {part["name"]: part["verdict"] for part in status["parts"]} == dict.fromkeys(
        refreshed.front.ssm.instances, "8.1.0/42"
    )
    assert "8.1.0/42" in refreshed.run("saas", "status").out


def test_the_same_version_again_is_nothing_to_do(refreshed: SaasStack):
    """No command is sent."""
    assert refreshed.refresh("8.1.0").changed is False
    assert len(commands(refreshed)) == 1


def test_a_dry_run_sends_nothing(ssm_stack: SaasStack):
    """It checks release and configuration."""
    assert ssm_stack.ok("saas", "refresh", "8.1.0", "--dry-run")["changed"] is True
    assert commands(ssm_stack) == []


@pytest.mark.parametrize(("ends", "detail"), [("Failed", "Failed"), ("TimedOut", "ExecutionTimedOut")])
def test_a_partial_failure_returns_every_instance(refreshed: SaasStack, ends, detail):
    """The output of the bad instance is shown, not recorded; the others get the version before again."""
    spoil(refreshed, ends, fails_on="8.1.1", output="msiexec: error 1603")
    with pytest.raises(RemoteError) as caught:
        refreshed.refresh("8.1.1")
    assert "failed, the stack was returned to 8.1.0/42: the command" in caught.value.message
    assert "1 of 3 instances did not succeed" in caught.value.message
    assert f"{THIRD}: {detail}: msiexec: error 1603" in caught.value.reasons
    assert installed(refreshed) == told("8.1.0", "42")
    assert refreshed.outcomes("8.1.1/50")[-1] == ("refresh", "returned")
    record = refreshed.records("8.1.1/50")[-1]
    assert {each.instance: each.status for each in record.instances}[THIRD] == detail
    assert "msiexec" not in str(record)
    assert refreshed.ok("saas", "status")["verdict"] == "8.1.0/42"


def test_too_many_errors_end_the_batches(refreshed: SaasStack):
    """Instances whose turn has not come are left alone."""
    spoil(refreshed, "Failed", "i-00000000000000001", fails_on="8.1.1")
    with pytest.raises(RemoteError, match="3 of 3 instances did not succeed"):
        refreshed.refresh("8.1.1")
    statuses = {each.instance: each.status for each in refreshed.records("8.1.1/50")[-1].instances}
    assert statuses[THIRD] == "Terminated"


def test_errors_that_are_allowed_do_not_make_a_success(refreshed: SaasStack):
    """max_errors decides how far the command goes, not whether the stack is refreshed."""
    refreshed.edit('max_errors = "0"', 'max_errors = "50%"')
    spoil(refreshed, "Failed", "i-00000000000000001", fails_on="8.1.1")
    with pytest.raises(RemoteError, match="ended with Incomplete: 1 of 3 instances"):
        refreshed.refresh("8.1.1")
    assert installed(refreshed) == told("8.1.0", "42")


def test_an_output_is_cut_and_made_harmless(refreshed: SaasStack):
    """The last 2,000 characters, without control characters on the terminal."""
    spoil(refreshed, "Failed", fails_on="8.1.1", output="x" * 2200 + "\x1b[2Jend")
    done = refreshed.run("saas", "refresh", "8.1.1")
    assert done.status == 5
    line = next(line for line in done.err.splitlines() if "...xxx" in line)
    assert len(line) < 2200
    assert "\x1b" not in done.err


def test_the_error_behind_a_long_output_is_shown(refreshed: SaasStack):
    """SSM lists 2,500 characters of both streams: the error is read apart, and its end is what counts."""
    log = "".join(f"unpacked file {number}\n" for number in range(900))
    errors = "".join(f"warning {number}\n" for number in range(100)) + "msiexec: error 1603"
    spoil(refreshed, "Failed", fails_on="8.1.1", output=log, errors=errors)
    with pytest.raises(RemoteError) as caught:
        refreshed.refresh("8.1.1")
    (reason,) = [each for each in caught.value.reasons if each.startswith(THIRD)]
    assert reason.endswith("msiexec: error 1603")
    assert reason.startswith(f"{THIRD}: Failed: ...")
    assert "unpacked file 899\n" in reason
    assert len(reason) < 2100


def test_errors_that_ssm_cut_are_told_as_cut(refreshed: SaasStack):
    """SSM keeps the first 8,000 characters: their end is not the end."""
    spoil(refreshed, "Failed", fails_on="8.1.1", output="", errors="x" * 9000)
    with pytest.raises(RemoteError) as caught:
        refreshed.refresh("8.1.1")
    assert any(each.endswith("xxx [SSM keeps the first 8000 characters]") for each in caught.value.reasons), (
        caught.value.reasons
    )


def test_of_several_steps_the_one_that_failed_is_shown(refreshed: SaasStack):
    """GetCommandInvocation wants its name."""
    refreshed.front.ssm.documents["AWS-RunShellScript"] = ("fetchRelease", "installRelease")
    spoil(refreshed, "Failed", fails_on="8.1.1", output="as usual", errors="disk full")
    with pytest.raises(RemoteError) as caught:
        refreshed.refresh("8.1.1")
    assert f"{THIRD}: Failed: installRelease: as usual\nerrors: disk full" in caught.value.reasons


def test_without_the_right_to_read_the_streams_the_list_is_shown(refreshed: SaasStack, monkeypatch):
    """An older policy does not have ssm:GetCommandInvocation: what the list has is better than nothing."""
    deny = PolicyStatement(effect="Deny", actions=["ssm:GetCommandInvocation"], resources=["*"])
    allow = PolicyStatement(actions=["ssm:*"], resources=["*"])
    key, value = refreshed.front.state.add_user("refresher", [allow, deny])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", value)
    spoil(refreshed, "Failed", fails_on="8.1.1", output="msiexec: error 1603")
    with pytest.raises(RemoteError) as caught:
        refreshed.refresh("8.1.1")
    assert f"{THIRD}: Failed: msiexec: error 1603" in caught.value.reasons


@pytest.mark.parametrize("looks", [1, 3])
def test_looks_that_are_late_conclude_nothing(refreshed: SaasStack, looks: int):
    """A command that nobody sees yet is sent once; one that ended is known on every instance."""
    refreshed.front.ssm.stale = dict.fromkeys(LOOKS, looks)
    refreshed.refresh("8.1.1")
    assert installed(refreshed) == told("8.1.1", "50")
    record = refreshed.records("8.1.1/50")[-1]
    assert {each.instance: each.status for each in record.instances} == dict.fromkeys(
        refreshed.front.ssm.instances, "Success"
    )


def test_a_failure_that_is_seen_late_is_told_with_its_output(refreshed: SaasStack):
    """Right after the end the invocation does not exist yet."""
    refreshed.front.ssm.stale = dict.fromkeys(LOOKS, 2)
    spoil(refreshed, "Failed", fails_on="8.1.1", errors="msiexec: error 1603", output="")
    with pytest.raises(RemoteError, match="1 of 3 instances did not succeed") as caught:
        refreshed.refresh("8.1.1")
    assert f"{THIRD}: Failed: errors: msiexec: error 1603" in caught.value.reasons
    assert installed(refreshed) == told("8.1.0", "42")


def test_a_lost_answer_and_a_late_list_send_no_second_command(refreshed: SaasStack):
    """SendCommand arrived; the first looks for it find nothing."""
    refreshed.front.ssm.stale = dict.fromkeys(LOOKS, 3)
    refreshed.front.faults.add(Fault(action="ssm:SendCommand", reset_response_after=0))
    refreshed.refresh("8.1.1")
    assert len(commands(refreshed)) == 2
    assert "was sent already: it is followed" in refreshed.heard.text


def test_an_end_that_is_never_told_is_no_failure_of_an_instance(refreshed: SaasStack):
    """SSM calls the command a success, and an instance unfinished: nobody knows, and that is said."""
    refreshed.edit("poll_s = 0.02", "poll_s = 5.0")
    refreshed.front.ssm.stale["end"] = 1000
    with pytest.raises(RemoteError, match=r"ended with Success, and SSM .* 2 of 3 instances that it ended"):
        refreshed.refresh("8.1.1")
    assert refreshed.outcomes("8.1.1/50")[-1] == ("refresh", "failed")


def test_instances_that_are_never_told_were_not_left_alone(refreshed: SaasStack):
    """An empty list beside a command that went to three instances is no proof that nothing was changed."""
    refreshed.edit("poll_s = 0.02", "poll_s = 5.0")
    refreshed.front.ssm.stale["invocations"] = 1000
    with pytest.raises(RemoteError, match=r"SSM .* 0 of 3 instances that it ended") as caught:
        refreshed.refresh("8.1.1")
    assert "nothing was changed" not in caught.value.message


def test_a_cancellation_that_comes_too_early_is_repeated(refreshed: SaasStack):
    """SSM does not know the new command yet; nobody would look after it."""
    refreshed.front.ssm.stale = dict.fromkeys(LOOKS, 2)
    ssm = Ssm(REGION)
    order = CommandOrder(
        "AWS-RunShellScript", "$DEFAULT", {"Stack": ["skydrm"]}, {"commands": ["x"]}, "1", "0", 60, "c"
    )
    ident = ssm.send(order)
    for _ in range(2):
        with pytest.raises(RemoteError) as caught:
            ssm.cancel(ident)
        assert caught.value.retryable
    # So is one whose answer was lost.
    refreshed.front.faults.add(Fault(action="ssm:CancelCommand", reset_response_after=0))
    ssm.cancel(ident)
    assert refreshed.front.faults.pending() == []
    assert refreshed.front.ssm.commands[ident].cancelled


def test_an_instance_that_hangs_is_given_up_by_our_own_clock(refreshed: SaasStack):
    """The command is cancelled; the way back goes to all instances."""
    refreshed.edit("poll_s = 0.02", "poll_s = 1.0")
    spoil(refreshed, "hang", fails_on="8.1.1")
    with pytest.raises(RemoteError, match=r"was returned to 8\.1\.0/42: the command .* ended with Cancelled"):
        refreshed.refresh("8.1.1")
    assert refreshed.front.requests.count("ssm:CancelCommand") == 1
    assert "has not ended after 60 s: it is cancelled" in refreshed.heard.text
    assert installed(refreshed) == told("8.1.0", "42")


def test_an_unhealthy_stack_is_returned(refreshed: SaasStack):
    """Health decides after the last instance."""
    refreshed.misbehave("sick")
    with pytest.raises(RemoteError, match=r"could not be returned to 8\.1\.0/42: the stack is not healthy"):
        refreshed.refresh("8.1.1")
    assert installed(refreshed) == told("8.1.0", "42")


def test_the_first_refresh_has_no_state_to_return_to(ssm_stack: SaasStack):
    """Nobody knows which version the instances had: it is told, and recorded as a failure."""
    spoil(ssm_stack, "Failed")
    with pytest.raises(RemoteError, match="failed, no state is recorded to return to"):
        ssm_stack.refresh("8.1.0")
    assert ssm_stack.outcomes("8.1.0/42")[-1] == ("refresh", "failed")
    assert {part["verdict"] for part in ssm_stack.ok("saas", "status")["parts"]} == {"unknown"}
    with pytest.raises(ConfigurationError, match="no state of rehearsal is recorded"):
        ssm_stack.rollback()


def test_tags_that_no_instance_has_are_told(ssm_stack: SaasStack):
    """Nothing was changed."""
    ssm_stack.edit('["skydrm"]', '["skydrn"]')
    with pytest.raises(RemoteError, match=r"nothing was changed: .* reached no instance: NoInstancesInTag"):
        ssm_stack.refresh("8.1.0")
    assert ssm_stack.outcomes("8.1.0/42")[-1] == ("refresh", "returned")


def test_a_document_that_does_not_exist_is_a_mistake_of_the_configuration(ssm_stack: SaasStack):
    """Status 2: SSM's words, and which keys to check. Nothing was changed, and that is recorded."""
    ssm_stack.edit("AWS-RunShellScript", "install-skydrm")
    done = ssm_stack.run("saas", "refresh", "8.1.0")
    assert done.status == 2
    assert (
        "nothing was changed: cannot send the command install-skydrm: AWS answered InvalidDocument"
        in done.err
    )
    assert "check saas.ssm: document, document_version" in done.err
    assert ssm_stack.outcomes("8.1.0/42")[-1] == ("refresh", "returned")


def test_a_command_that_is_throttled_is_no_mistake(ssm_stack: SaasStack):
    """Under whatever code it is told; the next attempt sends it."""
    slow = Fault(action="ssm:SendCommand", status=400, code="ValidationException", message="Rate exceeded")
    ssm_stack.front.faults.add(slow)
    ssm_stack.refresh("8.1.0")
    assert installed(ssm_stack) == told("8.1.0", "42")


def test_a_rollback_installs_the_version_before(refreshed: SaasStack):
    """Recorded with the release that is left."""
    refreshed.refresh("8.1.1")
    assert refreshed.rollback().after.release == "8.1.0/42"
    assert installed(refreshed) == told("8.1.0", "42")
    assert refreshed.outcomes("8.1.1/50")[-1] == ("rollback", "done")
    assert refreshed.rollback().changed is False


def test_a_rollback_to_a_withdrawn_version_is_refused(refreshed: SaasStack):
    """Although it was only published, and never promoted."""
    refreshed.refresh("8.1.1")
    refreshed.withdraw("8.1.0/42")
    with pytest.raises(GateRefused, match=r"8\.1\.0/42, which ran before, was withdrawn"):
        refreshed.rollback()
    assert installed(refreshed) == told("8.1.1", "50")


def test_a_command_of_somebody_else_is_waited_out(ssm_stack: SaasStack):
    """Exit 6 while it runs on the same instances; one for other instances is no matter."""
    ssm_stack.front.ssm.pace = "hand"
    ssm = aws_client("ssm", REGION)
    for value in ("other", "skydrm"):
        ssm.send_command(DocumentName="AWS-RunShellScript", Targets=[{"Key": "tag:Stack", "Values": [value]}])
    done = ssm_stack.run("saas", "refresh", "8.1.0")
    assert done.status == 6
    assert "of somebody else is running on these instances" in done.err
    assert ssm_stack.records("8.1.0/42") == []
    for _ in range(8):
        ssm_stack.front.ssm.step()
    ssm_stack.front.ssm.pace = "look"
    assert ssm_stack.run("saas", "refresh", "8.1.0").status == 0


def test_an_answer_that_was_lost_sends_no_second_command(ssm_stack: SaasStack):
    """SendCommand arrived, its answer did not: the command is found by its comment."""
    ssm_stack.front.faults.add(Fault(action="ssm:SendCommand", reset_response_after=0))
    ssm_stack.refresh("8.1.0")
    assert len(commands(ssm_stack)) == 1
    assert "was sent already: it is followed" in ssm_stack.heard.text


@pytest.mark.parametrize(
    ("wanted", "kind", "words"),
    [
        ("8.2.0", GateRefused, "8.2.0 was not published"),
        ("8.1.0/43", GateRefused, "8.1.0/43 was not published: the release 8.1.0 is build 42"),
    ],
)
def test_only_a_published_version_is_installed(ssm_stack: SaasStack, wanted, kind, words):
    """What was only promoted is no release of installers."""
    with pytest.raises(kind, match=words):
        ssm_stack.refresh(wanted)


def test_a_withdrawn_version_is_refused(ssm_stack: SaasStack):
    """Exit 3."""
    ssm_stack.withdraw("8.1.0/42")
    with pytest.raises(GateRefused, match=r"8\.1\.0/42 was withdrawn by dana: breaks logins"):
        ssm_stack.refresh("8.1.0")


def test_a_release_json_that_was_altered_is_refused(ssm_stack: SaasStack):
    """The signed publication names its digest: exit 4."""
    path = ssm_stack.folder / "releases" / "SkyDRM" / "8.1.0" / "release.json"
    path.write_bytes(path.read_bytes().replace(b"a.msi", b"b.msi"))
    with pytest.raises(IntegrityError, match="no publication attestation names it"):
        ssm_stack.refresh("8.1.0")


def environment(stack: SaasStack) -> dict[str, str]:
    """The environment of a process of its own."""
    aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return {**aws, **stack.environ, "PATH": os.environ["PATH"]}


def ended_by(python: str, stack: SaasStack, number: signal.Signals) -> Ended:
    """Begin a refresh in a process of its own, and send a signal once its command is sent."""
    command = [python, "-m", "jenkins_release", "saas", "refresh", "8.1.0"]
    return signalled(started(command, environment(stack)), number, lambda: stack.front.ssm.commands)


def test_an_abort_cancels_the_command(ssm_stack: SaasStack, warm_python: str):
    """SIGTERM, as Jenkins sends it: nobody would look after the command any more. The next run sends anew."""
    ssm_stack.front.ssm.pace = "hand"
    ended = ended_by(warm_python, ssm_stack, signal.SIGTERM)
    assert ended.status == 143, ended.err
    assert ssm_stack.front.requests.count("ssm:CancelCommand") == 1
    ssm_stack.front.ssm.step()
    ssm_stack.front.ssm.pace = "look"
    ssm_stack.refresh("8.1.0")
    assert installed(ssm_stack) == told("8.1.0", "42")
    assert ssm_stack.outcomes("8.1.0/42") == [("refresh", "started"), ("refresh", "done")]


def test_an_abort_before_the_answer_cancels_the_command_too(
    ssm_stack: SaasStack, monkeypatch: pytest.MonkeyPatch, warm_python: str
):
    """SSM has the command, and the process does not know its id yet: it is found and cancelled."""
    ssm_stack.front.ssm.pace = "hand"
    send, answered = SsmState.send, threading.Event()

    def slow(state: SsmState, given: Mapping[str, Any]) -> CommandState:
        made = send(state, given)
        answered.wait(30)
        return made

    monkeypatch.setattr(SsmState, "send", slow)
    ended = ended_by(warm_python, ssm_stack, signal.SIGTERM)
    answered.set()
    assert ended.status == 143, ended.err
    assert ssm_stack.front.requests.count("ssm:CancelCommand") == 1


def test_a_killed_refresh_is_gone_on_with(ssm_stack: SaasStack, warm_python: str):
    """SIGKILL: the lease is free, the command that it sent is found and followed, not sent again."""
    ssm_stack.front.ssm.pace = "hand"
    assert ended_by(warm_python, ssm_stack, signal.SIGKILL).status == -signal.SIGKILL
    ssm_stack.front.ssm.pace = "look"
    ssm_stack.refresh("8.1.0")
    assert len(commands(ssm_stack)) == 1
    assert "was sent already: it is followed" in ssm_stack.heard.text
    assert ssm_stack.outcomes("8.1.0/42") == [("refresh", "started"), ("refresh", "done")]


@pytest.fixture(params=["sandbox", "moto"])
def ssm(request: pytest.FixtureRequest, bare_stack: SaasStack, monkeypatch: pytest.MonkeyPatch) -> Ssm:
    """The client under test, in front of the sandbox and of moto."""
    if request.param == "moto":
        server: MotoServer = request.getfixturevalue("moto_server")
        monkeypatch.delenv("AWS_ENDPOINT_URL_SSM")
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    else:
        for number in (1, 2):
            ident = f"i-000000000000000{number:02d}"
            bare_stack.front.ssm.instances[ident] = Instance(ident=ident, tags={"Stack": "skydrm"})
    return Ssm(REGION)


def test_a_command_is_sent_followed_and_found(ssm: Ssm, request: pytest.FixtureRequest):
    """What the client reads is what AWS's model of the service says, whoever answers."""
    order = CommandOrder(
        "AWS-RunShellScript",
        "$DEFAULT",
        {"Stack": ["skydrm"]},
        {"commands": ["install"]},
        "1",
        "0",
        60,
        f"contract {time.monotonic()}",
    )
    ident = ssm.send(order)
    for _ in range(10):
        command = ssm.command(ident)
        assert command is not None
        if command.ended:
            break
    assert (command.ident, command.status, command.comment) == (ident, "Success", order.comment)
    assert command.tags == {"Stack": frozenset({"skydrm"})}
    since = datetime.now(UTC) - timedelta(minutes=5)
    assert [each.ident for each in ssm.sent(order.document, order.comment, since)] == [ident]
    assert ssm.unfinished(order.document) == []
    assert ssm.command("11111111-1111-4111-8111-111111111111") is None
    if request.node.callspec.params["ssm"] == "sandbox":  # moto does not list invocations
        reached = ssm.invocations(ident)
        assert [(each.instance, each.status) for each in reached] == [
            ("i-00000000000000001", "Success"),
            ("i-00000000000000002", "Success"),
        ]
        assert ssm.output(ident, reached[0].instance) == "installed"
