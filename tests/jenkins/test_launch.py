"""``promote launch``: start the promote job, follow it, answer it; whatever happens on the way."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from dataclasses import replace

import pytest

from jenkins_release.base import signals
from jenkins_release.base.errors import ConfigurationError, GateRefused, RemoteError
from jenkins_release.jenkins.model import Build, PendingInput, QueueItem
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.watcher import Watcher
from jenkins_release.steps.jenkins.launch import LaunchReport, LaunchRequest, launch
from tests.fixtures.jenkins import JOB, LAUNCH, SCRIPT, Desk
from tests.fixtures.jenkins_double.state import Person
from tests.fixtures.process import says, signalled, started
from tests.fixtures.raw_server import RawServer, drip

REF = CandidateRef("8.1.0", "42")


class Diary(Watcher):
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.events: list[str] = []

    def queued(self, item: QueueItem) -> None:
        why = re.sub(r"\d+(\.\d+)?", "N", item.why)
        self.events.append(f"queued: {why}")

    def started(self, build: Build) -> None:
        self.events.append(f"started #{build.number}")

    def line(self, text: str) -> None:
        self.lines.append(text)

    def waiting(self, build: Build, question: PendingInput, whom: str) -> None:
        self.events.append(f"waits: {question.message} {whom}")

    def answered(self, build: Build, question: PendingInput, by: str) -> None:
        self.events.append(f"answered by {by}")


def answering(desk: Desk, name: str = "alice", verb: str = "proceed"):
    """Return a sleep that answers, as somebody does in a browser, after a build was seen to wait."""
    seen: set[int] = set()

    def sleep(_: float) -> None:
        for build in list(desk.double.controller.items[JOB].builds.values()):
            if build.waits is None:
                continue
            if build.number not in seen:
                seen.add(build.number)
            elif verb == "proceed":
                build.proceed(name)
            else:
                build.abort(name, rejected=True)

    return sleep


def answer_now(desk: Desk, name: str = "alice") -> None:
    for build in desk.double.controller.items[JOB].builds.values():
        if build.waits is not None:
            build.proceed(name)


def go(desk: Desk, sleep=None, **request) -> tuple[LaunchReport, Diary]:
    diary = Diary()
    services = desk.services(sleep or answering(desk))
    return launch(LaunchRequest(REF, "customers wait", **request), services, diary), diary


def replace_script(desk: Desk, script: str) -> None:
    block = SCRIPT.partition("stages {")[0]
    desk.double.controller.repository["jobs/promote.Jenkinsfile"] = block + script


def test_a_launch_is_followed_from_the_queue_to_the_result(desk: Desk):
    """Queue, build, console, approval, end: each is told, in this order, once."""
    report, diary = go(desk)
    assert report.failure is None
    assert report.run.build is not None
    assert (report.run.state, report.run.build.result) == ("finished", "SUCCESS")
    assert diary.events == [
        "queued: In the quiet period. Expires in N sec",
        "queued: Finished waiting",
        "started #1",
        "waits: Promote 8.1.0/42? alice, avery, dana",
    ]
    assert diary.lines == desk.double.controller.items[JOB].builds[1].text().splitlines()
    assert "planning 8.1.0/42" in diary.lines


def test_a_long_quiet_period_is_told_once(desk: Desk):
    """The next look finds the same reason, with fewer seconds left."""
    desk.double.controller.quiet = 4
    _, diary = go(desk)
    assert [event for event in diary.events if event.startswith("queued")] == [
        "queued: In the quiet period. Expires in N sec",
        "queued: Finished waiting",
    ]


def test_the_parameters_travel_in_the_body_and_say_what_was_asked_for(desk: Desk):
    """Nothing stands in the URL, which proxies write down."""
    report, _ = go(desk, request_id="req-1", plan_only=True)
    (post,) = desk.double.posts("buildWithParameters")
    assert post.query == ""
    assert report.run.build is not None
    assert dict(report.run.build.parameters) == {
        "PRODUCT": "SkyDRM",
        "VERSION": "8.1.0",
        "BUILD": "42",
        "REASON": "customers wait",
        "TICKET": "",
        "DRY_RUN": "true",
        "REQUEST_ID": "req-1",
    }


def test_the_command_shows_the_console_on_stderr_and_the_result_on_stdout(desk: Desk):
    """One JSON document; no token anywhere, no console note, no control character."""
    replace_script(desk, r"""stages { echo "a\tb"; echo "planning" } }""")
    done = desk.run(*LAUNCH, "--json", "-v")
    assert done.status == 0, done.text
    assert done.json["result"] == "SUCCESS"
    assert done.json["build"] == 1
    assert done.json["startedBy"] == ["bob"]
    assert "  [Pipeline] echo\n  a       b\n" in done.err
    assert "  planning\n" in done.err
    assert "\x1b" not in done.text
    assert desk.person.token not in done.text


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("<name>REASON</name>", "<name>WHY</name>", "REASON is not a parameter of the job"),
        ("<name>REQUEST_ID</name>", "<name>ID</name>", "REQUEST_ID is not a parameter of the job"),
        (
            "<hudson.model.StringParameterDefinition>\n          <name>VERSION</name>",
            "<hudson.model.PasswordParameterDefinition>\n          <name>VERSION</name>",
            "VERSION is a password",
        ),
    ],
)
def test_parameters_are_checked_against_the_job_before_it_is_started(desk: Desk, old, new, reason):
    """Jenkins would drop what the job does not declare, without a word."""
    item = desk.double.controller.items[JOB]
    item.config = item.config.replace(old, new)
    if "Password" in new:
        head, _, rest = item.config.partition("PasswordParameterDefinition>")
        rest = rest.replace("</hudson.model.String", "</hudson.model.Password", 1)
        item.config = f"{head}PasswordParameterDefinition>{rest}"
    with pytest.raises(ConfigurationError) as caught:
        go(desk)
    assert any(reason in each for each in caught.value.reasons)
    assert desk.double.posts() == []


def test_every_parameter_that_does_not_fit_is_named_at_once(desk: Desk):
    """A choice, a boolean, an unknown name, a line break."""
    item = desk.double.controller.items[JOB]
    more = (
        "<hudson.model.ChoiceParameterDefinition><name>CHANNEL</name><choices><string>stable</string>"
        "<string>beta</string></choices></hudson.model.ChoiceParameterDefinition>"
        "<hudson.model.BooleanParameterDefinition><name>FORCE</name><defaultValue>false</defaultValue>"
        "</hudson.model.BooleanParameterDefinition>"
    )
    item.config = item.config.replace("</parameterDefinitions>", f"{more}</parameterDefinitions>")
    words = ["--param", "CHANNEL=alpha", "--param", "FORCE=maybe", "--param", "CHANEL=red"]
    done = desk.run(*LAUNCH[:-1], "two\nlines", *words, "--json")
    assert done.status == 2
    reasons = "\n".join(done.json["error"]["reasons"])
    for part in (
        "CHANNEL is one of stable, beta, not 'alpha'",
        "FORCE is true or false, not 'maybe'",
        "CHANEL is not a parameter of the job; Jenkins would silently drop it; did you mean 'CHANNEL'",
        "REASON must be one line",
    ):
        assert part in reasons
    assert desk.double.posts() == []


def test_a_job_without_parameters_is_told_from_one_that_lacks_some(desk: Desk):
    """Jenkins would answer 400; the cure is another one."""
    item = desk.double.controller.items[JOB]
    item.config = re.sub(
        r"(?s)<hudson.model.ParametersDefinitionProperty>.*</hudson.model.ParametersDefinitionProperty>",
        "",
        item.config,
    )
    done = desk.run(*LAUNCH)
    assert done.status == 2
    assert "the job SkyDRM/release/promote has no parameters" in done.err
    assert "jobs apply" in done.err


def test_a_dry_run_starts_nothing(desk: Desk):
    """It checks job and parameters."""
    done = desk.run(*LAUNCH, "--dry-run", "--json")
    assert done.status == 0, done.text
    assert done.json["dryRun"]
    assert desk.double.posts() == []


def test_a_disabled_job_is_not_started(desk: Desk):
    """And the message says why."""
    item = desk.double.controller.items[JOB]
    item.config = item.config.replace("<disabled>false", "<disabled>true")
    done = desk.run(*LAUNCH)
    assert done.status == 2
    assert "the job SkyDRM/release/promote is disabled" in done.err


def test_launching_again_with_the_same_id_follows_what_was_started(desk: Desk):
    """In the queue, while it runs, and after its end: one build in all."""
    desk.ok(*LAUNCH, "--request-id", "req-7", "--detach")
    again, _ = go(desk, request_id="req-7")
    assert again.attached
    ended = desk.ok(*LAUNCH, "--request-id", "req-7")
    assert ended["attached"]
    assert ended["result"] == "SUCCESS"
    assert len(desk.double.posts("buildWithParameters")) == 1
    assert list(desk.double.controller.items[JOB].builds) == [1]


def test_a_request_id_of_another_candidate_is_refused(desk: Desk):
    """It would follow a build that does something else."""
    desk.ok(*LAUNCH, "--request-id", "req-7", "--detach")
    done = desk.run(
        "promote",
        "launch",
        *["--version", "8.1.1", "--build", "43", "--reason", "x", "--request-id", "req-7"],
    )
    assert done.status == 2
    assert "the request id req-7 was used for something else: VERSION was '8.1.0', now '8.1.1'" in done.err


@pytest.mark.parametrize("kind", ["lost", "drop", "restarting"])
def test_a_start_whose_answer_is_lost_is_not_repeated(desk: Desk, kind: str):
    """It looks for the request id before it tries again, where no quiet period merges the two."""
    desk.double.controller.quiet = 0
    desk.double.fail(kind, "POST /job/SkyDRM/job/release/job/promote/buildWithParameters")
    report, _ = go(desk)
    assert report.failure is None
    assert len(desk.double.controller.queue) == 1
    assert list(desk.double.controller.items[JOB].builds) == [1]


def test_a_duplicate_in_the_quiet_period_is_the_same_queue_item(desk: Desk):
    """Jenkins answers 303 and names the item that waits already."""
    services = desk.services()
    values = {"VERSION": "1", "BUILD": "2", "REASON": "r", "DRY_RUN": "false", "REQUEST_ID": "x"}
    first = services.jenkins.trigger(JOB, values)
    assert services.jenkins.trigger(JOB, values) == first
    assert services.jenkins.trigger(JOB, values | {"REQUEST_ID": "y"}) != first


def test_an_item_that_is_cancelled_in_the_queue_ends_following(desk: Desk):
    """With status 5, and words for it."""
    desk.double.controller.stalled = True

    def sleep(_: float) -> None:
        for item in desk.double.controller.queue.values():
            item.cancelled = True

    report, _ = go(desk, sleep)
    assert report.run.state == "cancelled"
    assert isinstance(report.failure, RemoteError)
    assert "was cancelled in the queue" in report.failure.message


def test_it_waits_behind_a_running_build_and_says_so(desk: Desk):
    """A job without concurrent builds."""
    item = desk.double.controller.items[JOB]
    one = "<org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty/>"
    item.config = item.config.replace("<properties>", f"<properties>{one}", 1)
    desk.ok(*LAUNCH, "--detach")
    desk.double.controller.queue[1].quiet = 0
    desk.services().jenkins.queue_item(1)
    assert 1 in item.builds
    calls = []
    answer = answering(desk)

    def sleep(_: float) -> None:
        calls.append(1)
        if len(calls) > 4:
            item.builds[1].settle()
            answer(0)

    report, diary = go(desk, sleep)
    assert report.failure is None
    assert diary.events.count("queued: Build #N is already in progress (ETA: N sec)") == 1


def test_a_queue_item_that_jenkins_forgot_is_found_by_its_request_id(desk: Desk):
    """Some five minutes after a build began, and after a crash of the controller."""
    desk.double.controller.stalled = True
    answer = answering(desk)

    def sleep(_: float) -> None:
        controller = desk.double.controller
        (item,) = controller.queue.values()
        if not item.forgotten:
            controller.stalled = False
            for _ in range(3):
                controller.look(item)
            item.forgotten = True
        answer(0)

    report, diary = go(desk, sleep)
    assert report.failure is None
    assert "started #1" in diary.events


def test_a_queue_item_that_is_gone_without_a_build_is_an_error(desk: Desk):
    """It says how to start again without starting twice."""
    desk.double.controller.stalled = True

    def sleep(_: float) -> None:
        desk.double.controller.queue[1].cancelled = True
        desk.double.controller.queue[1].forgotten = True

    with pytest.raises(RemoteError, match="the queue item 1 is gone") as caught:
        go(desk, sleep, request_id="req-1")
    assert "--request-id req-1" in caught.value.hint


def test_a_build_that_is_deleted_while_it_is_followed_is_an_error(desk: Desk):
    """And not a wait without an end."""

    def sleep(_: float) -> None:
        desk.double.controller.items[JOB].builds.clear()

    with pytest.raises(RemoteError, match="promote #1 was deleted while it was followed"):
        go(desk, sleep)


@pytest.mark.parametrize("kind", ["drop", "restarting", "truncate"])
@pytest.mark.parametrize(
    "match", ["queue/item", "promote/1/api", "progressiveText", "pendingInput", "me/api"]
)
def test_following_survives_a_lost_connection_at_any_place(desk: Desk, kind: str, match: str):
    """No line of the console is lost or shown twice."""
    desk.double.fail(kind, match, times=3)
    report, diary = go(desk)
    assert report.failure is None
    assert diary.lines == desk.double.controller.items[JOB].builds[1].text().splitlines()


def test_following_survives_a_restart_of_the_controller_that_waits_for_an_answer(desk: Desk):
    """Connections are refused, then its page is shown, then the question is still there."""
    seen = []
    answer = answering(desk)

    def sleep(seconds: float) -> None:
        build = desk.double.controller.items[JOB].builds.get(1)
        if build is None or build.waits is None:
            return
        seen.append(seconds)
        if len(seen) == 1:
            desk.double.down()
        elif len(seen) == 4:
            desk.double.up()
            desk.double.restart(requests=3)
        elif len(seen) > 9:
            answer(0)

    report, diary = go(desk, sleep)
    assert report.failure is None
    assert [event for event in diary.events if event.startswith("waits")] == [
        "waits: Promote 8.1.0/42? alice, avery, dana"
    ]
    assert "Resuming build at Sun Nov 22 22:02:29 UTC 2026 after Jenkins restart" in diary.lines


def test_a_password_works_with_crumbs_also_after_a_restart_that_ends_its_session(desk: Desk):
    """Without the fresh crumb the answer would be 403."""
    alice = desk.double.controller.people["alice"]
    desk.ok(*LAUNCH, "--request-id", "req-1", "--detach")
    services = desk.of("alice").services(JENKINS_RELEASE_JENKINS_TOKEN=alice.password)
    values = {"VERSION": "8.0.9"}
    services.jenkins.trigger(JOB, values)
    desk.double.restart(requests=1)
    report = launch(LaunchRequest(REF, "customers wait", request_id="req-1", approve=True), services, Diary())
    assert report.failure is None
    assert report.run.approved_by == "alice"
    assert all(post.crumb for post in desk.double.posts("proceedEmpty"))


def test_an_outage_that_lasts_too_long_ends_with_status_5(desk: Desk):
    """jenkins.outage_s bounds it."""
    desk.double.fail("restarting", "queue/item", times=10_000)
    done = desk.run(*LAUNCH, JENKINS_RELEASE_JENKINS_OUTAGE_S="0.3")
    assert done.status == 5
    assert "is not available (503)" in done.err


def test_an_entitled_user_answers_with_approve(desk: Desk):
    """Alice picks up what bob launched."""
    desk.ok(*LAUNCH, "--request-id", "req-1", "--detach")
    done = desk.of("alice").run(*LAUNCH, "--request-id", "req-1", "--approve", "--json")
    assert done.status == 0, done.text
    assert done.json["approvedBy"] == "alice"
    assert "alice approved: Promote 8.1.0/42?" in done.err
    assert desk.double.controller.items[JOB].builds[1].approvers == ["alice"]


@pytest.mark.parametrize("name", ["mallory", "admin"])
def test_somebody_whom_the_policy_does_not_name_cannot_approve(desk: Desk, name: str):
    """Also not an administrator, whose answer Jenkins would take."""
    desk.ok(*LAUNCH, "--request-id", "req-1", "--detach")
    done = desk.of(name).run(*LAUNCH, "--request-id", "req-1", "--approve")
    assert done.status == 3
    assert f"{name} is not among policy.approvers" in done.err
    assert desk.double.posts("input") == []


def test_who_launches_cannot_approve_and_is_told_before_anything_starts(desk: Desk):
    """The gate would not count it, although Jenkins would take it."""
    done = desk.of("alice").run(*LAUNCH, "--approve")
    assert done.status == 3
    assert "alice cannot launch and approve: alice started the build" in done.err
    assert desk.double.posts() == []
    desk.of("alice").ok(*LAUNCH, "--request-id", "req-1", "--detach")
    done = desk.of("alice").run(*LAUNCH, "--request-id", "req-1", "--approve")
    assert done.status == 3
    assert "the approver must be someone else" in done.err


def test_whom_jenkins_does_not_take_an_answer_from_is_told_from_whom_it_does(desk: Desk):
    """Dana is in the policy, and not in the job's submitter."""
    desk.double.controller.add(Person("dana"))
    desk.ok(*LAUNCH, "--request-id", "req-1", "--detach")
    done = desk.of("dana").run(*LAUNCH, "--request-id", "req-1", "--approve")
    assert done.status == 3
    assert "You need to be release-managers to submit this." in done.err


ANSWER = "POST /job/SkyDRM/job/release/job/promote/1/input"


def approving(desk: Desk, sleep=lambda _: None) -> tuple[str, list[str]]:
    """Approve as Alice what bob launched; return in whose name it was answered, and what was told."""
    desk.ok(*LAUNCH, "--request-id", "req-1", "--detach")
    diary = Diary()
    request = LaunchRequest(REF, "customers wait", request_id="req-1", approve=True)
    report = launch(request, desk.of("alice").services(sleep), diary)
    assert report.failure is None
    return report.run.approved_by, [event for event in diary.events if event.startswith("answered")]


@pytest.mark.parametrize("plugins", ["graph-view", "stage-view", "graph-view stage-view"])
def test_an_approval_needs_one_of_the_plugins_that_tell_what_builds_wait_for(desk: Desk, plugins: str):
    """New controllers have Pipeline Graph View, others Pipeline: Stage View; the answer needs neither."""
    desk.double.controller.plugins = set(plugins.split())
    assert approving(desk) == ("alice", ["answered by alice"])
    assert desk.double.controller.items[JOB].builds[1].approvers == ["alice"]


def test_only_the_plugin_that_answers_is_asked_again(desk: Desk):
    """Following asks every few seconds, for days."""
    desk.double.controller.plugins = {"graph-view"}
    report, diary = go(desk)
    assert report.failure is None
    assert len([event for event in diary.events if event.startswith("waits: Promote 8.1.0/42?")]) == 1
    asked = [request.path.rpartition("/1/")[2] for request in desk.double.requests]
    assert asked.count("wfapi/pendingInputActions") == 1
    assert asked.count("stages/allSteps") > 2


def test_a_plugin_that_is_removed_while_a_build_is_followed_is_replaced_by_the_other(desk: Desk):
    """Controllers are updated while builds wait."""
    desk.double.controller.plugins = {"graph-view"}

    def sleep(_: float) -> None:
        desk.double.controller.plugins = {"stage-view"}

    assert approving(desk, sleep) == ("alice", ["answered by alice"])


@pytest.mark.parametrize("ident", [None, "", " ", "null"])
def test_a_user_without_a_name_approves_nothing(desk: Desk, ident: str | None):
    """Jenkins' null is not someone else than the requester, even if the policy names no approvers."""
    desk.edit('approvers = ["group:release-managers", "dana"]', "")
    desk.ok(*LAUNCH, "--request-id", "req-1", "--detach")
    alice = desk.double.controller.people["alice"]
    nobody = replace(alice, ident=ident)
    desk.double.controller.people["alice"] = nobody
    done = desk.of("alice").run(*LAUNCH, "--request-id", "req-1", "--approve")
    assert done.status in {3, 5}, done.err
    assert desk.double.posts("input") == []


@pytest.mark.parametrize("kind", ["lost", "drop"])
def test_an_approval_whose_answer_is_lost_is_still_ours(desk: Desk, kind: str):
    """Jenkins has taken it, or not: the build is asked who approved it before the answer is given again."""
    desk.double.fail(kind, ANSWER)
    assert approving(desk) == ("alice", ["answered by alice"])
    assert desk.double.controller.items[JOB].builds[1].approvers == ["alice"]
    assert len(desk.double.posts("proceedEmpty")) == (2 if kind == "drop" else 1)


def test_an_approval_that_is_given_again_answers_no_other_question(desk: Desk):
    """A script may ask again under the same id."""
    question = "input(id: 'Approve', submitter: 'release-managers', message: 'Sure?')"
    replace_script(desk, f"stages {{ {question}; {question} }} }}")
    desk.double.fail("lost", ANSWER)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        for build in desk.double.controller.items[JOB].builds.values():
            if build.approvers:
                waits.append(seconds)
                build.advance()
            if build.waits is not None and len(waits) > 3:
                build.proceed("dana")

    assert approving(desk, sleep) == ("alice", ["answered by alice"])
    assert desk.double.controller.items[JOB].builds[1].approvers == ["alice", "dana"]


@pytest.mark.parametrize("fault", ["", "drop"])
def test_an_answer_that_somebody_else_gave_first_is_no_error(desk: Desk, fault: str):
    """Jenkins answers 404 then; following goes on, and the answer is not called ours."""
    if fault:
        desk.double.fail(fault, ANSWER)
    desk.double.before = lambda request: answer_now(desk, "dana") if "proceedEmpty" in request.path else None
    assert approving(desk) == ("", [])
    assert desk.double.controller.items[JOB].builds[1].approvers == ["dana"]


def test_without_the_plugin_that_tells_what_builds_wait_for_it_follows_and_warns(desk: Desk, caplog):
    """The question is not shown; whoever knows of it answers in Jenkins."""
    desk.double.controller.plugins = set()
    report, diary = go(desk)
    assert report.failure is None
    assert not [event for event in diary.events if event.startswith("waits")]
    assert caplog.text.count("the plugins Pipeline Graph View and Pipeline: Stage View are missing") == 1


def test_without_that_plugin_approve_says_that_it_cannot(desk: Desk):
    """Instead of waiting for ever."""
    desk.ok(*LAUNCH, "--request-id", "req-1", "--detach")
    desk.double.controller.plugins = set()
    done = desk.of("alice").run(*LAUNCH, "--request-id", "req-1", "--approve")
    assert done.status == 5
    assert "cannot be approved from here" in done.err


@pytest.mark.parametrize(("plugin", "said"), [("stage-view", "WHY"), ("graph-view", "values")])
def test_a_question_that_wants_values_is_left_to_a_person(desk: Desk, plugin: str, said: str):
    """Nothing is made up: a value that is left out would arrive as null. Graph View does not name them."""
    desk.double.controller.plugins = {plugin}
    asks = "input(id: 'Approve', message: 'Why?', parameters { string(name: 'WHY', defaultValue: '') })"
    replace_script(desk, f"stages {{ {asks} }} }}")
    desk.ok(*LAUNCH, "--request-id", "req-1", "--detach")
    done = desk.of("alice").run(*LAUNCH, "--request-id", "req-1", "--approve")
    assert done.status == 5
    assert f"asks for {said} with the answer" in done.err
    assert desk.double.posts("input") == []


def test_a_rejected_approval_is_a_refusal(desk: Desk):
    """Status 3, and who rejected it."""
    report, _ = go(desk, answering(desk, "avery", "abort"))
    assert isinstance(report.failure, GateRefused)
    assert "ended with ABORTED: Avery of SkyDRM rejected it" in report.failure.message


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("refused: candidate 8.1.0/42 may not be promoted\\n  - no sign-off\\n  - frozen", 3),
        ("integrity: bytes differ", 4),
        ("lease: somebody else works on it", 6),
        ("configuration: no key", 2),
        ("something else broke", 5),
    ],
)
def test_a_build_that_fails_ends_with_the_category_of_its_failure(desk: Desk, text: str, status: int):
    """The steps of the library say it in the console; anything else is a remote failure."""
    replace_script(desk, f"stages {{ error '{text}' }} }}")
    done = desk.run(*LAUNCH, "--json")
    assert done.status == status, done.text
    assert done.json["result"] == "FAILURE"
    assert "SkyDRM/release/promote #1 ended with FAILURE" in done.json["error"]["message"]
    if status == 3:
        assert done.json["error"]["reasons"] == ["no sign-off", "frozen"]
        # What stands last on the screen is what people read.
        assert "\n  - no sign-off\n  - frozen\nhint: " in done.err.partition("\nerror: ")[2]


def test_a_failure_is_read_behind_the_time_of_its_line(desk: Desk):
    """The plugin Timestamper can be on for all builds of the controller."""
    stamped = "[2026-12-01T02:10:09.123Z] ERROR: refused: 8.1.0/42 is withdrawn"
    replace_script(desk, f"stages {{ echo '{stamped}'\nerror 'see above' }} }}")
    done = desk.run(*LAUNCH, "--json")
    assert done.status == 3, done.text
    assert "8.1.0/42 is withdrawn" in done.json["error"]["message"]
    assert stamped in done.err


def test_following_ends_when_the_time_is_up_and_the_build_goes_on(desk: Desk):
    """With the command that picks it up again, and that command works."""
    done = desk.run(*LAUNCH, "--request-id", "req-1", "--timeout", "0.5")
    assert done.status == 5
    assert "has not ended in time, but goes on" in done.err
    (line,) = re.findall(r"jenkins-release (promote status .*)", done.err)
    assert not desk.double.controller.items[JOB].builds[1].result
    threading.Timer(0.3, answer_now, [desk]).start()
    again = desk.run(*line.split(), "--json")
    assert again.status == 0, again.text
    assert again.json["result"] == "SUCCESS"


def test_detached_it_is_picked_up_by_candidate_or_request(desk: Desk):
    """Queued, then waiting with whom it waits for, then finished."""
    started = desk.ok(*LAUNCH, "--detach")
    assert started["state"] == "queued"
    assert desk.ok("promote", "status", "8.1.0/42", "--job")["state"] == "queued"
    desk.double.controller.queue[1].quiet = 0
    desk.services().jenkins.queue_item(1)
    desk.double.controller.items[JOB].builds[1].settle()
    waits = desk.ok("promote", "status", "8.1.0/42", "--job", "--request-id", started["requestId"])
    assert waits["state"] == "running"
    assert waits["waitsFor"] == [{"id": "Approve", "message": "Promote 8.1.0/42?"}]
    assert waits["approvers"] == "alice, avery, dana"
    text = desk.run("promote", "status", "8.1.0/42", "--job").out
    assert "waits for approval: Promote 8.1.0/42?; can be approved by: alice, avery, dana" in text
    done = desk.run("promote", "status", "8.1.0/43", "--job")
    assert done.status == 2
    assert "was not started for 8.1.0/43" in done.err


def test_a_console_is_shown_from_an_offset(desk: Desk):
    """What was seen before is not shown again."""
    _, first = go(desk, request_id="req-1")
    end = desk.ok(*LAUNCH, "--request-id", "req-1")["consoleEnd"]
    rest = desk.run(*LAUNCH, "--request-id", "req-1", "--console-from", str(end - 18))
    assert first.lines[-1] == "Finished: SUCCESS"
    assert [line for line in rest.err.splitlines() if line.startswith("  ")] == ["  Finished: SUCCESS"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str)
def test_an_interrupt_stops_following_and_not_the_build(
    desk: Desk, number: signal.Signals, status: int, warm_python: str
):
    """Its status, and the command that picks it up."""
    result = desk.folder / "r.json"
    words = [*LAUNCH, "--request-id", "req-1", "--json", "--result", str(result)]
    process = started([warm_python, "-m", "jenkins_release", *words], {**os.environ, **desk.environ})

    def ready() -> bool:
        assert process.stderr is not None
        return any("waits for approval" in line for line in process.stderr)

    ended = signalled(process, number, ready)
    assert ended.status == status
    assert "stopped following; SkyDRM/release/promote #1 goes on in Jenkins" in ended.err
    assert "promote status 8.1.0/42 --job --follow --request-id req-1" in ended.err
    assert json.loads(ended.out) == json.loads(result.read_text())
    error = json.loads(ended.out)["error"]
    assert (error["category"], error["message"]) == ("interrupted", ended.err.splitlines()[-1])
    build = desk.double.controller.items[JOB].builds[1]
    assert build.building
    assert desk.double.posts("stop") == []


def test_the_result_file_is_written_also_when_the_build_fails(desk: Desk):
    """With the build and the error."""
    replace_script(desk, "stages { error 'refused: no' } }")
    desk.run(*LAUNCH, "--result", str(desk.folder / "r.json"))
    document = json.loads((desk.folder / "r.json").read_text())
    assert document["build"] == 1
    assert document["error"]["category"] == "refused"


def test_what_is_missing_to_ask_jenkins_is_named(desk: Desk):
    """URL, user, token: before any request."""
    for name, said in (
        ("JENKINS_RELEASE_JENKINS_URL", "no Jenkins controller is named"),
        ("JENKINS_RELEASE_JENKINS_TOKEN", "JENKINS_RELEASE_JENKINS_TOKEN is not set"),
    ):
        done = desk.run(*LAUNCH, **{name: ""})
        assert done.status == 2
        assert said in done.err
    assert desk.double.requests == []


def test_a_login_in_a_url_is_refused_and_not_shown(desk: Desk):
    """In the file, an option, a variable: it would stand in messages and logs."""
    url = "https://bob:s3cret@ci.example/"
    desk.edit("https://git.nextlabs.com/", "https://git:s3cret@git.nextlabs.com/")
    done = desk.run(*LAUNCH, "--jenkins-url", url)
    assert done.status == 2
    assert "jenkins.git_url: contains a password" in done.err
    assert "jenkins.url: contains a login" in done.err
    assert "s3cret" not in done.text
    desk.edit("https://git:s3cret@git.nextlabs.com/", "https://git.nextlabs.com/")
    done = desk.run(*LAUNCH, JENKINS_RELEASE_JENKINS_URL="", JENKINS_URL=url)
    assert done.status == 2
    assert "JENKINS_URL contains a login" in done.err
    assert "s3cret" not in done.text


def test_options_of_following_need_the_job(desk: Desk):
    """`promote status` without --job asks registry and share."""
    assert desk.run("promote", "status", "8.1.0/42", "--follow").status == 2


def test_the_url_of_the_build_that_runs_it_is_the_default(desk: Desk):
    """Jenkins sets JENKINS_URL in its builds."""
    services = desk.services(JENKINS_RELEASE_JENKINS_URL="", JENKINS_URL="https://ci.example/")
    assert isinstance(services, Services)
    assert services.jenkins_url == "https://ci.example/"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str)
def test_an_interrupt_while_jenkins_does_not_answer(
    desk: Desk, number: signal.Signals, status: int, warm_python: str
):
    """Nobody knows then whether it was started, and the last line says so."""
    with RawServer(lambda _: drip(b"HTTP/1.1 200 OK\r\nX: ")) as server:
        command = [warm_python, "-m", "jenkins_release", *LAUNCH]
        environ = {**os.environ, **desk.environ, "JENKINS_RELEASE_JENKINS_URL": server.url}
        ended = signalled(started(command, environ), number, server.asked.is_set, settle_s=0.5)
    assert ended.status == status, ended.err
    assert "it is unknown whether Jenkins had already started the build" in ended.err.splitlines()[-1]
    assert ended.took_s < 5.0


def test_who_is_forced_to_end_leaves_the_result_too(desk: Desk, warm_python: str):
    """Clean-up hangs while the build is followed, and Ctrl-C is pressed again."""
    result = desk.folder / "r.json"
    code = f"""
import sys, time
from jenkins_release.base import signals
from jenkins_release.cli import entry
from jenkins_release.cli.launch import ConsoleWatcher
started = ConsoleWatcher.started
def stuck(self, build):
    try:
        started(self, build)
        time.sleep(60)
    finally:
        print("cleaning", flush=True)
        time.sleep(60)
ConsoleWatcher.started = stuck
signals.END_S = 60.0
signals.interrupt_commands()
sys.exit(entry.main({[*LAUNCH, "--request-id", "req-1", "--result", str(result)]!r}))
"""
    process = started([warm_python, "-c", code], {**os.environ, **desk.environ})

    def ready() -> bool:
        assert process.stderr is not None
        assert any("#1: " in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        return says(process, "cleaning")

    ended = signalled(process, signal.SIGINT, ready, within_s=30.0)
    assert ended.status == 130
    assert json.loads(result.read_text())["error"]["message"] == ended.err.splitlines()[-1]


def test_what_comes_after_following_has_its_own_last_words(desk: Desk):
    """A notification that hangs is no build that goes on in Jenkins."""
    before = list(signals._last_words)
    desk.run(*LAUNCH, "--dry-run")
    (words,) = signals._last_words
    assert "_interruptible" not in words.__qualname__
    signals._last_words[:] = before
