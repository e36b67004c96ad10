"""Every step tells what it did, after the fact; nothing that goes wrong there fails it."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jenkins_release import RevocationRequest, Services, revoke_sign_off
from jenkins_release.config.notify import NotifySection
from jenkins_release.notify import Notifier
from jenkins_release.share.candidates import CandidateRef
from tests.fixtures.approval import REF, Release, by_blake
from tests.fixtures.listener import talking
from tests.fixtures.notify import (
    HOOK_PATH,
    SMTP_LOGIN,
    Answer,
    Authority,
    Hook,
    Mailbox,
    closed_port,
    hook_section,
    hook_server,
    mail_section,
    mail_server,
)
from tests.fixtures.release import Product, validate

BUILD_URL = "https://jenkins.nextlabs.example/job/skydrm/42/"


@pytest.fixture
def told(product: Product, hook: Hook) -> Hook:
    """The product's notifications as JSON documents."""
    product.append(hook_section())
    product.environ["JENKINS_RELEASE_WEBHOOK_URL"] = hook.url
    return hook


def last(hook: Hook, kind: str) -> Any:
    """The one event that was told since the last look; it has to be of a kind."""
    (found,) = hook.documents
    hook.requests.clear()
    assert found["event"] == kind
    return found


def facts(event: Any) -> dict[str, str]:
    """The facts of an event by their names."""
    return {fact["name"]: fact["value"] for fact in event["facts"]}


def revoke(product: Product, *more: str) -> Any:
    return product.run("qa", "revoke", REF, "--tester", "Quinn", "--reason", "a leak", "--json", *more)


def test_a_whole_release_is_told_event_by_event(told: Hook, product: Product, tmp_path: Path):
    """Candidate, verdict, waiting, promoted, withdrawn, revoked: each once, with what comes next."""
    by_blake(product)
    validate(product)
    tested = Release(product, tmp_path / "plan.json")
    candidate, verdict = told.documents
    told.requests.clear()
    folder = candidate["location"]
    assert candidate["title"] == "SkyDRM 8.1.0/42 is ready to be tested"
    assert (candidate["event"], candidate["by"], candidate["version"]) == ("candidate", "Blake", "8.1.0")
    assert folder.endswith(r"\SkyDRM\8.1.0\42")
    assert candidate["command"].startswith("jenkins-release qa sign-off 8.1.0/42 --verdict pass")
    assert facts(candidate)["candidate.json"].startswith("sha256:")

    assert verdict["title"] == "SkyDRM 8.1.0/42: QA says pass"
    assert (verdict["verdict"], verdict["by"], verdict["location"]) == ("pass", "Quinn", folder)
    assert {"name": "tests", "value": "2 passed, 0 failed, 0 skipped"} in verdict["facts"]
    assert verdict["command"] == "jenkins-release promote plan 8.1.0/42 --out plan.json"

    tested.policy(
        "approvals = 1", 'approvers = ["group:managers", "Quinn"]', 'groups = { managers = ["Alex Baker"] }'
    )
    tested.ok("promote", "plan", REF)
    assert told.requests == [], "a plan that nobody writes down waits for nobody"
    plan = tested.planned()
    waiting = last(told, "waiting")
    assert facts(waiting)["plan"] == plan["planDigest"]
    assert facts(waiting)["who may approve"] == (
        "Alex Baker; never who asked for it (riley), who built it, who tested it"
    )
    assert waiting["command"].startswith("jenkins-release promote approve plan.json")

    assert tested.approve().status == 0
    assert told.requests == []
    tested.ok("promote", "plan", REF, "--out", str(tested.plan))
    assert told.requests == [], "an approved plan waits for nobody"

    done = tested.promote()
    promoted = last(told, "promoted")
    assert promoted["location"] == product.sandbox.ecr.host
    assert facts(promoted)[f"{product.prefix}/rms"].startswith("8.1.0: ")
    assert done.json["notified"] == [
        {"notifier": "channel", "event": "promoted", "delivered": True, "problem": "", "hint": ""}
    ]
    again = tested.promote()
    assert again.json["changed"] is False
    assert "notified" not in again.json
    assert told.requests == [], "nothing happened"

    words = ("release", "withdraw", "8.1.0", "--reason", "it leaks")
    tested.ok(*words, "--dry-run")
    assert told.requests == []
    tested.ok(*words)
    withdrawn = last(told, "withdrawn")
    assert {"name": "reason", "value": "it leaks"} in withdrawn["facts"]
    tested.ok(*words)
    assert told.requests == [], "it was withdrawn before"

    assert revoke(product).status == 0
    assert {"name": "reason", "value": "a leak"} in last(told, "revoked")["facts"]


def test_a_publication_is_told_once(told: Hook, product: Product):
    """Installers with their hashes; publishing them again tells nothing."""
    product.installers("SkyDRM-8.1.0.msi", images=False)
    product.export()
    assert {"name": "installer", "value": "SkyDRM-8.1.0.msi"} in last(told, "candidate")["facts"]
    product.sign_off()
    told.requests.clear()
    product.ok("release", "publish", REF, "--dry-run")
    assert told.requests == []
    product.ok("release", "publish", REF)
    published = last(told, "published")
    assert published["title"] == "SkyDRM 8.1.0/42 is published"
    assert published["location"].endswith(r"\SkyDRM\8.1.0")
    assert facts(published)["installer"].startswith("installers/SkyDRM-8.1.0.msi, 300016 bytes, SHA-256 ")
    product.ok("release", "publish", REF)
    assert told.requests == []


def test_installers_wait_for_approval_too(told: Hook, product: Product):
    """There is no image to promote; the plan is approved all the same."""
    product.installers("SkyDRM-8.1.0.msi", images=False)
    product.edit("approvals = 0", "approvals = 1")
    product.export()
    product.sign_off()
    told.requests.clear()
    product.ok("promote", "plan", REF, "--out", str(product.folder / "plan.json"))
    waiting = last(told, "waiting")
    assert facts(waiting)["installers"] == "1"
    assert waiting["location"].endswith(r"\SkyDRM\8.1.0")


def test_a_failed_verdict_asks_for_nothing_to_be_promoted(told: Hook, exported: Product):
    """The message says fail, and has no command."""
    exported.sign_off(verdict="fail")
    verdict = last(told, "signed-off")
    assert verdict["title"] == "SkyDRM 8.1.0/42: QA says fail"
    assert (verdict["verdict"], verdict["command"]) == ("fail", "")
    exported.sign_off(verdict="fail")
    assert told.documents == [], "a second run found it, and signed nothing"


def test_an_override_stands_out_in_the_message(told: Hook, tested: Release):
    """As wherever the release is shown."""
    tested.planned()
    assert tested.override("approvals").status == 0
    told.requests.clear()
    assert tested.promote().status == 0
    first, *_ = last(told, "promoted")["facts"]
    assert first["name"] == "OVERRIDDEN"
    assert "by Casey: customer is down" in first["value"]


def test_dry_runs_tell_nobody(told: Hook, product: Product):
    """Of every command, and also when they fail."""
    product.environ["BUILD_URL"] = BUILD_URL
    sign = (
        "qa",
        "sign-off",
        REF,
        "--verdict",
        "pass",
        "--tester",
        "Q",
        "--results",
        str(product.folder / "junit.xml"),
    )
    product.ok("candidate", "export", "--version", "8.1.0", "--build", "42", "--dry-run")
    assert product.run(*sign, "--dry-run").status == 2
    product.export()
    told.requests.clear()
    product.ok(*sign, "--digest", product.digest(), "--dry-run")
    assert revoke(product, "--dry-run").status == 0
    assert product.run("promote", "run", REF, "--dry-run").status == 3
    assert product.run("release", "withdraw", "8.1.0", "--reason", "x", "--dry-run").status == 2
    assert told.requests == []


def test_a_failed_step_is_told_with_its_reasons_in_a_jenkins_build(told: Hook, exported: Product):
    """What, why, what to do, and where to look; the command ends as it would have."""
    exported.environ["BUILD_URL"] = BUILD_URL
    refused = exported.run("promote", "run", REF, "--json")
    assert refused.status == 3
    failure = last(told, "failed")
    assert failure["title"] == "SkyDRM 8.1.0/42: promote run failed"
    assert failure["failure"]["category"] == "refused"
    assert failure["failure"]["reasons"] == refused.json["error"]["reasons"]
    assert failure["build_url"] == BUILD_URL
    assert refused.json["notified"][0]["delivered"] is True

    assert exported.run("candidate", "export", "--version", "8.1.0", "--build", "42").status == 2
    assert last(told, "failed")["title"] == "SkyDRM 8.1.0/42: candidate export failed"
    approve = ("--approver", "A", "--reason", "r")
    assert exported.run("promote", "approve", "none.json", *approve).status == 2
    assert last(told, "failed")["title"] == "SkyDRM: promote approve failed"
    assert exported.run("release", "attestations", "8.1.0", "--out", "x.jsonl").status == 2
    assert last(told, "failed")["title"] == "SkyDRM 8.1.0: release attestations failed"
    assert exported.run("candidate", "show", "8.1.0/7").status == 2
    assert exported.run("promote", "plan", "8.1.0/7").status == 2
    assert told.requests == [], "neither was to change anything"


def test_on_a_terminal_only_what_others_must_know_is_told(told: Hook, exported: Product):
    """A shut gate answers the person who asked; bytes that were altered concern everybody."""
    assert exported.run("promote", "run", REF).status == 3
    assert exported.run("release", "withdraw", "8.1.0", "--reason", "x").status == 2
    assert told.requests == []
    with next(exported.candidate().glob("images/*.tar")).open("ab") as archive:
        archive.write(b"more")
    assert exported.run("qa", "sign-off", REF, "--verdict", "fail", "--tester", "Q").status == 4
    assert last(told, "failed")["failure"]["category"] == "integrity"


def test_events_are_chosen_and_mail_and_channel_are_told_at_once(
    product: Product, hook: Hook, mailbox: Mailbox
):
    """Mail and channel, each in its form; the text of the command names who was told."""
    product.append(mail_section(mailbox.port, "qa-mail", 'events = ["candidate"]'))
    product.append(hook_section("channel", "slack"))
    product.append(hook_section("teams", "teams", 'events = ["promoted"]', 'url_variable = "TEAMS"'))
    product.environ |= {"JENKINS_RELEASE_WEBHOOK_URL": hook.url, "BUILD_URL": BUILD_URL}
    done = product.run("candidate", "export", "--version", "8.1.0", "--build", "42")
    assert done.status == 0, done.text
    assert done.out.splitlines()[-1] == "notified qa-mail, channel"
    ((mail, recipients),) = mailbox.mails
    assert mail["Subject"] == "SkyDRM 8.1.0/42 is ready to be tested"
    assert recipients == ["qa@nextlabs.example", "lead@nextlabs.example"]
    for body in (mail.get_body(("plain",)), mail.get_body(("html",))):
        assert "jenkins-release qa sign-off 8.1.0/42" in body.get_content()
        assert BUILD_URL in body.get_content()
    (message,) = hook.documents
    assert message["blocks"][0]["text"]["text"] == mail["Subject"]
    product.sign_off()
    assert len(mailbox.mails) == 1
    assert len(hook.requests) == 2


def test_a_notifier_that_fails_does_not_fail_the_step(product: Product, hook: Hook):
    """Status 0, one warning line for each, and the result says who was told and who was not."""
    gone = mail_section(closed_port(), "gone")
    product.append(gone + hook_section("channel") + hook_section("unset", "json", 'url_variable = "UNSET"'))
    product.append(hook_section("broken", "json", 'template_file = "none.json"'))
    product.append(hook_section("wide", "json", 'template_file = "wide.json"'))
    (product.folder / "wide.json").write_text("{}", encoding="utf-16")
    product.environ["JENKINS_RELEASE_WEBHOOK_URL"] = hook.url
    hook.answers = [Answer(404, body="no_service")]
    done = product.run("candidate", "export", "--version", "8.1.0", "--build", "42", "--json")
    assert done.status == 0, done.text
    found = {each["notifier"]: each for each in done.json["notified"]}
    assert {name: each["delivered"] for name, each in found.items()} == dict.fromkeys(
        ("gone", "channel", "unset", "broken", "wide"), False
    )
    assert "cannot be reached" in found["gone"]["problem"]
    assert found["channel"]["problem"].endswith("404: no_service")
    assert "UNSET is not set" in found["unset"]["problem"]
    assert "none.json, which cannot be read: No such file" in found["broken"]["problem"]
    assert "wide.json, which cannot be read: it is UTF-16" in found["wide"]["problem"]
    for name in found:
        warnings = [line for line in done.err.splitlines() if f"the notifier {name} failed: " in line]
        assert len(warnings) == 1, done.err


def test_a_busy_webhook_is_asked_again_in_a_moment(told: Hook, product: Product):
    """429 with a short Retry-After; one that is longer than timeout_s is a failure at once."""
    told.answers = [Answer(429, {"Retry-After": "0"}), Answer(503)]
    product.export()
    assert [each["event"] for each in told.documents] == ["candidate"] * 3
    assert len({each["id"] for each in told.documents}) == 1
    told.requests.clear()
    told.answers = [Answer(429, {"Retry-After": "3600"})]
    begin = time.monotonic()
    assert product.sign_off()["notified"][0]["problem"].endswith("is not available: 429: ok")
    assert time.monotonic() - begin < 10
    assert len(told.requests) == 1


def test_all_notifiers_together_take_no_longer_than_the_slowest_may(product: Product, mailbox: Mailbox):
    """A web server and a mail server that never answer: after timeout_s the step goes on."""
    silence = threading.Event()
    product.export()
    with hook_server() as hook, talking(lambda _: silence.wait(20)) as port:
        hook.answers = [Answer(delay=silence)] * 2
        for number in range(2):
            product.append(hook_section(f"slow {number}", "json", "timeout_s = 1"))
        product.append(mail_section(port, "silent", "timeout_s = 1.5"))
        product.append(mail_section(mailbox.port, "quick"))
        product.environ["JENKINS_RELEASE_WEBHOOK_URL"] = hook.url
        services = Services(**services_of(product))
        begin = time.monotonic()
        revoke_sign_off(RevocationRequest(CandidateRef.parse(REF), "Quinn", "slow"), services)
        took = time.monotonic() - begin
        silence.set()
    assert took < 4.5
    assert {each.notifier: each.delivered for each in services.notified} == {
        "slow 0": False,
        "slow 1": False,
        "silent": False,
        "quick": True,
    }
    assert len(mailbox.mails) == 1


def services_of(product: Product) -> dict[str, Any]:
    from jenkins_release import load_configuration

    environ = product.environ
    return {"configuration": load_configuration(product.config, environ=environ), "environ": environ}


def test_an_interrupt_while_people_are_told_ends_the_command(told: Hook, product: Product):
    """Ctrl-C is never swallowed; what the step did stays done."""
    silence = threading.Event()
    told.answers = [Answer(call=lambda: os.kill(os.getpid(), signal.SIGINT), delay=silence)]
    done = product.run("candidate", "export", "--version", "8.1.0", "--build", "42")
    silence.set()
    assert done.status == 130
    assert product.candidate().exists()


class Broken(Services):
    """Services whose notifiers have a defect."""

    def notifier(self, section: NotifySection) -> Notifier:
        raise ValueError(f"hunter2 {section}")


def test_a_defect_in_a_notifier_is_logged_and_fails_nothing(
    told: Hook, exported: Product, caplog, monkeypatch
):
    """At the level ERROR, with the place, and without the text of the error: a secret may stand in it."""
    # The command line may have sent the log to stderr before, and may not.
    log = logging.getLogger("jenkins_release")
    monkeypatch.setattr(log, "handlers", [caplog.handler])
    monkeypatch.setattr(log, "propagate", False)
    services = Broken(**services_of(exported))
    report = revoke_sign_off(RevocationRequest(CandidateRef.parse(REF), "Quinn", "a leak"), services)
    assert (exported.candidate() / "attestations" / report.file).exists()
    (delivery,) = services.notified
    assert delivery.problem.startswith("unexpected ValueError at test_notifications.py:")
    broke = [r for r in caplog.records if "the notifier channel broke" in r.getMessage()]
    assert [record.levelname for record in broke] == ["ERROR"]
    assert "hunter2" not in caplog.text + str(delivery)


@pytest.fixture
def secretive(product: Product, authority: Authority, hook: Hook) -> Iterator[tuple[Product, Mailbox]]:
    """A mail server with STARTTLS and a login, and a webhook; both secrets in the environment."""
    with mail_server("starttls", authority.server, login=True) as mailbox:
        tls = f'tls = "starttls"\nca_file = "{authority.file}"'
        product.append(
            mail_section(mailbox.port).replace('tls = "none"', tls) + hook_section("channel", "teams")
        )
        product.environ |= {**SMTP_LOGIN, "JENKINS_RELEASE_WEBHOOK_URL": hook.url, "BUILD_URL": BUILD_URL}
        yield product, mailbox


def test_no_secret_is_told_logged_or_returned(secretive: tuple[Product, Mailbox], hook: Hook):
    """Not even where somebody wrote it into a reason, nor by --verbose; the servers repeat it on purpose."""
    product, mailbox = secretive
    password, url = SMTP_LOGIN["JENKINS_RELEASE_SMTP_PASSWORD"], hook.url
    secrets = [password, url, HOOK_PATH, product.environ["JENKINS_RELEASE_SMB_PASSWORD"]]
    product.export()
    hook.answers = [Answer(400, body=f"{HOOK_PATH} {url}")]
    words = ("qa", "revoke", REF, "--tester", "Q", "--json", "--verbose", "--reason")
    wrong = {"JENKINS_RELEASE_SMTP_PASSWORD": password + "x", "JENKINS_RELEASE_WEBHOOK_URL": f"ftp{url}"}
    shown = [
        product.run(*words, " and ".join(secrets)),
        product.run(*words, "a leak", **wrong),
    ]
    assert len(mailbox.mails) == 2
    parts = [part for mail, _ in mailbox.mails for part in mail.iter_parts()]
    carried = [part.get_content() for part in parts]
    carried += [body.decode() for _, body in hook.requests]
    notified = [done.json["notified"] for done in shown]
    assert [[each["delivered"] for each in found] for found in notified] == [[True, False], [False, False]]
    for secret in secrets:
        for text in [*carried, *(done.err for done in shown), json.dumps(notified)]:
            assert secret not in text
    assert "[redacted]" in "".join(carried)


def test_notify_test_says_who_can_be_told(secretive: tuple[Product, Mailbox], hook: Hook):
    """A message that says it is a test, to each notifier, whatever events it takes otherwise."""
    product, mailbox = secretive
    done = product.run("notify", "test", "--event", "promoted")
    assert done.status == 0, done.text
    assert [line.split()[::2] for line in done.out.splitlines()[1:]] == [
        ["qa-mail", "delivered"],
        ["channel", "delivered"],
    ]
    assert mailbox.mails[0][0]["Subject"].startswith("[Test] SkyDRM 8.1.0/42 is promoted")
    hook.answers = [Answer(404, body="no_service")]
    failed = product.run("notify", "test", "--event", "failed", "--only", "channel", "--json")
    assert failed.status == 5
    assert failed.json["deliveries"][0]["delivered"] is False
    assert failed.json["error"]["reasons"][0].startswith("channel: the webhook at 127.0.0.1")
    assert len(mailbox.mails) == 1


def test_notify_test_shows_the_messages_without_sending_them(product: Product):
    """With --dry-run: no server, no secret is needed."""
    product.append(mail_section(1) + hook_section("channel", "slack"))
    done = product.run("notify", "test", "--dry-run")
    assert done.status == 0, done.text
    assert "== qa-mail\nSubject: [Test] SkyDRM 8.1.0/42 is ready to be tested\n" in done.out
    assert '"type": "header"' in done.out.partition("== channel\n")[2]
    assert set(product.ok("notify", "test", "--dry-run")["messages"]) == {"qa-mail", "channel"}


def test_notify_test_without_notifiers_is_a_mistake(product: Product):
    """And so is a notifier that there is not."""
    assert "no notifier is configured" in product.run("notify", "test").err
    product.append(hook_section())
    unknown = product.run("notify", "test", "--only", "chanel")
    assert (unknown.status, "there is no notifier 'chanel'" in unknown.err) == (2, True)
    assert "hint: did you mean 'channel'? release.toml has channel" in unknown.err


def test_a_delivery_is_a_frozen_report(told: Hook, exported: Product):
    """What the Python API gives to pipeline steps."""
    services = Services(**services_of(exported))
    revoke_sign_off(RevocationRequest(CandidateRef.parse(REF), "Quinn", "a leak"), services)
    (delivery,) = services.notified
    assert (delivery.notifier, delivery.event, delivery.delivered) == ("channel", "revoked", True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        delivery.delivered = False  # type: ignore[misc]
