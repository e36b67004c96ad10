"""Refreshing a stack of ECS services to a released version."""

from __future__ import annotations

import json
import os
from hashlib import sha256

import pytest
from securesystemslib.signer import CryptoSigner

from jenkins_release.aws import aws_client
from jenkins_release.base.errors import ConfigurationError, GateRefused, IntegrityError
from jenkins_release.records.attestation import WITHDRAWAL, Place, sign_statement
from jenkins_release.sandbox.ecr.state import REGION
from jenkins_release.sandbox.saas import CLUSTER
from tests.fixtures.saas import NAMES, SaasStack


def test_a_released_version_runs_by_digest(stack: SaasStack):
    """Each service runs a new revision, pinned to what was promoted; the command tells and records it."""
    done = stack.run("saas", "refresh", "8.1.0")
    assert done.status == 0, done.text
    assert stack.running() == stack.pinned("8.1.0/42")
    first, *rest = done.out.splitlines()
    assert first == "refreshed rehearsal to 8.1.0/42, from what ran before, which is not a release"
    assert rest[-1] == "recorded in 0004-refresh.dsse.json"
    for told in ("rms: registered arn:", "has reached a steady state.", "3 good answers in a row"):
        assert told in done.err + done.out
    assert "(service rms) has started 2 tasks" in done.err
    assert stack.outcomes("8.1.0/42") == [("refresh", "started"), ("refresh", "done")]


def test_only_the_images_of_the_release_change_in_a_definition(stack: SaasStack):
    """Sidecars, environment, roles, sizes and tags of the current revision are taken over."""
    before = {name: stack.definition(name) for name in NAMES}
    stack.refresh("8.1.0")
    for name in NAMES:
        after = stack.definition(name)
        assert after["revision"] == before[name]["revision"] + 1
        changed = {key for key in after if after[key] != before[name].get(key)}
        assert changed == {"taskDefinitionArn", "revision", "registeredAt", "containerDefinitions"}
        own, sidecar = after["containerDefinitions"]
        assert own == {
            **before[name]["containerDefinitions"][0],
            "image": stack.pinned("8.1.0/42")[name],
        }
        assert sidecar == before[name]["containerDefinitions"][1]


def test_the_record_has_every_fact(stack: SaasStack):
    """Before and after by definition and digest, health, who, when and in which build; signed."""
    stack.refresh("8.1.0")
    report = stack.refresh("8.1.1/50")
    started, done = stack.records("8.1.1/50")
    assert (started.number, done.number) == (3, 4)
    assert done.before.release == "8.1.0/42"
    assert done.after.release == "8.1.1/50"
    assert done.before == report.before == stack.records("8.1.0/42")[-1].after
    assert {part.name: part.images for part in done.after.parts} == {
        name: {name: stack.digest(name, "8.1.1/50")} for name in NAMES
    }
    assert [(check.healthy, check.good) for check in done.health] == [(True, 3), (True, 3)]
    said = json.loads(stack.run("release", "history", "8.1.1", "--json").out)
    event = said["candidates"][0]["events"][-1]
    assert (event["kind"], event["counts"], event["key"]) == ("refresh", True, "promotion")
    assert event["facts"]["refreshedBy"] == "dana"
    assert event["facts"]["buildUrl"] == "https://j/7/"
    assert event["facts"]["finishedOn"] >= event["facts"]["startedOn"][:19]


def test_the_history_tells_it_in_words(stack: SaasStack):
    """One line for what happened, then what runs and how healthy it is."""
    stack.refresh("8.1.0")
    text = stack.run("release", "history", "8.1.0").out
    assert "dana begins to refresh rehearsal to 8.1.0/42 [0003-refresh.dsse.json, key promotion]" in text
    assert "dana REFRESHED rehearsal to 8.1.0/42 [0004-refresh.dsse.json, key promotion]" in text
    assert f"{stack.url()} healthy, 3 of 3 answers good" in text
    assert stack.digest("viewer", "8.1.0/42") in text.split("REFRESHED")[1]


def test_what_runs_already_is_left_alone_after_a_health_check(stack: SaasStack):
    """Nothing is registered, updated or recorded a second time; exit 0."""
    stack.ok("saas", "refresh", "8.1.0")
    stack.front.requests.clear()
    again = stack.ok("saas", "refresh", "8.1.0/42")
    assert (again["changed"], again["attestation"]) == (False, "")
    assert [check["healthy"] for check in again["health"]] == [True, True]
    assert stack.calls() == []
    assert len(stack.records("8.1.0/42")) == 2


def test_what_runs_already_but_is_not_healthy_is_told(stack: SaasStack):
    """Nothing was changed, so nothing is taken back: exit 5."""
    stack.refresh("8.1.0")
    stack.edit("deadline_s = 60", "deadline_s = 1")
    stack.misbehave("sick", "8.1.0/42")
    done = stack.run("saas", "refresh", "8.1.0")
    assert done.status == 5
    assert "the stack is not healthy, it runs the release already, and nothing was changed" in done.err
    assert stack.running() == stack.pinned("8.1.0/42")


def test_a_dry_run_changes_nothing(stack: SaasStack):
    """It tells the definitions that would be registered; no lease, no revision, no record."""
    before, definitions = stack.running(), len(stack.front.ecs.definitions)
    told = stack.ok("saas", "refresh", "8.1.0", "--dry-run")
    assert (told["changed"], told["dryRun"]) == (True, True)
    assert [part["definition"] for part in told["after"]["parts"]] == [
        "a new revision of skydrm-rms",
        "a new revision of skydrm-viewer",
    ]
    stack.edit("promotion_key", "# promotion_key")  # it signs nothing
    assert stack.run("saas", "refresh", "8.1.0", "--dry-run").out.startswith("would refresh rehearsal to")
    assert (stack.running(), len(stack.front.ecs.definitions)) == (before, definitions)
    assert stack.records("8.1.0/42") == []
    assert not (stack.share / "SkyDRM" / ".leases").exists()


def test_the_services_follow_one_after_the_other(stack: SaasStack):
    """The second one is not touched before the first is steady."""
    stack.refresh("8.1.0")
    lines = stack.heard.lines
    steady = lines.index("rms: (service rms) has reached a steady state.")
    assert steady < next(i for i, line in enumerate(lines) if line.startswith("viewer: updated to"))


def test_images_that_are_the_same_in_two_releases_are_told_apart_by_the_record(stack: SaasStack):
    """A release that changes no image is recorded, and the status names it."""
    same = {name: stack.digest(name, "8.1.0/42") for name in NAMES}
    stack.release("8.1.2/60", images=same)
    stack.edit('version_field = "build.version"', 'contains = "version"')
    stack.refresh("8.1.0")
    report = stack.refresh("8.1.2")
    assert (report.changed, report.attestation) == (False, "0004-refresh.dsse.json")
    assert stack.ok("saas", "status")["verdict"] == "8.1.2/60"


@pytest.mark.parametrize(
    ("wanted", "kind", "words"),
    [
        ("8.2.0", ConfigurationError, "there is no candidate of SkyDRM 8.2.0"),
        ("8.1.0/43", ConfigurationError, "there is no candidate 8.1.0/43"),
        ("9.0.0", GateRefused, "9.0.0 was not promoted: only a released version may run"),
        ("9.0.0/70", GateRefused, "9.0.0/70 was not promoted: only a released version may run"),
        ("8.1.1", GateRefused, "8.1.1/50 was withdrawn by dana: breaks logins"),
        ("../8.1.0", ConfigurationError, "version '..'"),
    ],
)
def test_only_a_released_version_in_force_is_taken(stack: SaasStack, wanted, kind, words):
    """A candidate that was not promoted, or was withdrawn, never reaches AWS."""
    stack.export("9.0.0/70")
    stack.withdraw("8.1.1/50")
    stack.front.requests.clear()
    with pytest.raises(kind, match=words):
        stack.refresh(wanted)
    assert stack.front.requests.labels() == []


def test_of_several_released_builds_one_has_to_be_named(stack: SaasStack):
    """The tool does not guess."""
    stack.release("8.1.0/43")
    with pytest.raises(ConfigurationError, match=r"several builds of 8\.1\.0 are released: 42, 43"):
        stack.refresh("8.1.0")
    stack.refresh("8.1.0/43")
    assert stack.running() == stack.pinned("8.1.0/43")


def test_an_altered_candidate_is_refused(stack: SaasStack):
    """What was promoted can be proven no more: exit 4."""
    path = stack.share / "SkyDRM" / "8.1.0/42" / "candidate.json"
    path.write_bytes(path.read_bytes().replace(b'"abc"', b'"abd"'))
    stack.front.requests.clear()
    with pytest.raises(IntegrityError, match=r"candidate 8\.1\.0/42 was altered"):
        stack.refresh("8.1.0")
    assert stack.calls() == []


def test_an_untrusted_withdrawal_is_not_ignored(stack: SaasStack):
    """Whoever signed it: something speaks against the release."""
    folder = stack.chain("8.1.0/42")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    about = sha256((folder.parent / "candidate.json").read_bytes()).hexdigest()
    data = sign_statement(
        WITHDRAWAL,
        {},
        {"candidate.json": about},
        place=Place.after(files),
        signed_at=stack.clock.now(),
        signer=CryptoSigner.generate_ed25519(),
    )
    (folder / "0003-withdrawal.dsse.json").write_bytes(data)
    with pytest.raises(GateRefused, match=r"something speaks against 8\.1\.0/42"):
        stack.refresh("8.1.0")


def test_without_a_stack_the_command_says_so(bare_stack: SaasStack):
    """Exit 2, and what to set."""
    bare_stack.write("")
    bare_stack.release("8.1.0/42")
    for words in (["refresh", "8.1.0"], ["rollback"], ["status"]):
        done = bare_stack.run("saas", *words)
        assert done.status == 2
        assert "no SaaS stack is configured" in done.err


def test_no_secret_shows_in_records_output_or_log(stack: SaasStack):
    """Neither the AWS key nor the signing key leaves the environment."""
    done = stack.run("saas", "refresh", "8.1.0", "-v", "--json")
    secrets = [os.environ["AWS_SECRET_ACCESS_KEY"], stack.key.read_text().splitlines()[1]]
    written = [path.read_text() for path in stack.share.rglob("*") if path.is_file()]
    for secret in secrets:
        assert not [text for text in (done.out, done.err, *written) if secret in text]


def test_a_service_with_an_environment_variable_secret_keeps_it_out_of_the_record(stack: SaasStack):
    """A record names definitions and digests, never what else stands in a definition."""
    ecs = aws_client("ecs", REGION)
    settings = {name: stack.definition()[name] for name in ("family", "networkMode", "cpu", "memory")}
    containers = [{"name": "rms", "image": "old", "environment": [{"name": "DB", "value": "hunter2-in-ecs"}]}]
    made = ecs.register_task_definition(**settings, containerDefinitions=containers)
    ecs.update_service(
        cluster=CLUSTER, service="rms", taskDefinition=made["taskDefinition"]["taskDefinitionArn"]
    )
    stack.settle()
    done = stack.run("saas", "refresh", "8.1.0", "-v")
    assert done.status == 0, done.text
    assert stack.definition()["containerDefinitions"][0]["environment"][0]["value"] == "hunter2-in-ecs"
    written = [path.read_text() for path in stack.share.rglob("*") if path.is_file()]
    assert not [text for text in (done.text, *written) if "hunter2" in text]
