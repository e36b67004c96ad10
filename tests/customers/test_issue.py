"""Issuing access: what a customer gets, what is refused, and that nothing is made twice."""

from __future__ import annotations

import errno
import io
import json
import os
import pty
import stat
import sys
import time
from datetime import date, timedelta

import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr

from jenkins_release.aws.iam import Credentials
from jenkins_release.base.errors import ConfigurationError, GateRefused, RemoteError
from jenkins_release.cli.handover import TerminalHandOver
from jenkins_release.rules.customers.iam_policy import MAX_INLINE, PullScope, policy_text, pull_policy
from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION
from jenkins_release.steps.customers.audit import audit_customers
from jenkins_release.steps.customers.handover import FileHandOver, HandedKey, SecretHandOver
from jenkins_release.steps.customers.issue import IssueRequest, issue_customer
from tests.fixtures.customers import CustomerLab


def test_an_issued_key_pulls_the_product_and_nothing_else(lab: CustomerLab):
    """A real pull works; another repository, a push and every other call are refused."""
    report = lab.issue()
    key = lab.opened(report.place)
    assert key["accessKeyId"] == report.key_id
    assert key["registry"] == lab.front.host
    token = lab.login(key)
    assert [lab.pull(token, name) for name in ("skydrm/rms", "skydrm/viewer")] == [200, 200]
    assert lab.pull(token, "other/secret") == 403
    from tests.fixtures.ecr_push import Pusher

    pushed = Pusher(lab.front.endpoint, token).call("POST", "skydrm/rms/blobs/uploads/")
    assert (pushed.status_code, pushed.json()["errors"][0]["code"]) == (403, "DENIED")


def test_the_access_ends_with_its_last_day(lab: CustomerLab):
    """The policy says until when: after it a token from before is refused, and so is a new one."""
    report = lab.issue(expires_days=30)
    key = lab.opened(report.place)
    token = lab.login(key)
    assert lab.pull(token) == 200
    policy = lab.iam.get_user_policy(UserName="skydrm-acme", PolicyName="pull")["PolicyDocument"]
    after = (date.fromisoformat(report.expires) + timedelta(days=1)).isoformat()
    assert {each["Condition"]["DateLessThan"]["aws:CurrentTime"] for each in policy["Statement"]} == {
        f"{after}T00:00:00Z"
    }
    lab.clock.pass_days(-60)
    ended = lab.issue(expires_days=30)
    assert ended.expires < report.expires
    assert lab.pull(token) == 403
    with pytest.raises(ClientError, match="AccessDenied"):
        lab.login(key)


def test_an_access_from_before_the_end_was_enforced_gets_its_date(lab: CustomerLab):
    """A second issue brings the policy in line; the day on record stays."""
    report = lab.issue()
    old = json.dumps(pull_policy(PullScope(REGION, ACCOUNT, ("skydrm/rms", "skydrm/viewer"))))
    lab.iam.put_user_policy(UserName="skydrm-acme", PolicyName="pull", PolicyDocument=old)
    assert [each.check for each in audit_customers(lab.services).findings] == ["policy-drift"]
    again = lab.issue()
    assert (again.done, again.expires) == (("write the policy",), report.expires)
    assert audit_customers(lab.services).findings == ()


def test_the_user_stands_under_the_path_with_tags_boundary_and_no_console(lab: CustomerLab):
    """Everything that a later command needs stands in the tags; nothing secret does."""
    report = lab.issue()
    user = lab.iam.get_user(UserName="skydrm-acme")["User"]
    assert user["Path"] == "/skydrm/customers/"
    boundary = user["PermissionsBoundary"]["PermissionsBoundaryArn"]
    assert boundary == f"arn:aws:iam::{ACCOUNT}:policy/skydrm/customers/skydrm-customer-boundary"
    tags = {each["Key"]: each["Value"] for each in lab.iam.list_user_tags(UserName="skydrm-acme")["Tags"]}
    assert tags["customer"] == "ACME"
    assert tags["ticket"] == "DEVOPS-123"
    assert tags["issued-by"] == "dora"
    assert tags["expires"] == report.expires
    assert tags["delivered-keys"] == report.key_id
    with pytest.raises(lab.iam.exceptions.NoSuchEntityException):
        lab.iam.get_login_profile(UserName="skydrm-acme")


def test_a_second_issue_says_what_exists_and_changes_nothing(lab: CustomerLab):
    """No second key, no second file, and the first ticket stays."""
    first = lab.issue()
    before = lab.state()
    again = lab.issue(ticket="DEVOPS-999")
    assert (again.done, again.key_id) == ((), "")
    assert [key.key_id for key in again.keys] == [first.key_id]
    assert lab.state() == before
    assert len(lab.files()) == 1


def test_a_dry_run_says_everything_and_changes_nothing(lab: CustomerLab):
    """The policy is shown, IAM stays empty."""
    report = lab.issue(dry_run=True)
    assert report.done == (
        "create the boundary skydrm-customer-boundary",
        "create the user /skydrm/customers/skydrm-acme",
        "write the policy",
        "create an access key and hand it over",
    )
    assert lab.state() == {}
    assert lab.iam.list_policies(Scope="Local")["Policies"] == []
    assert lab.files() == []


def test_a_new_repository_reaches_existing_customers_by_issuing_again(lab: CustomerLab):
    """Policy and boundary follow the product; the key stays."""
    lab.issue()
    images = lab.services.configuration.images
    more = images[0].model_copy(
        update={"name": "router", "source": "x:{version}", "repository": "skydrm/router"}
    )
    lab.services.configuration = lab.services.configuration.model_copy(update={"images": (*images, more)})
    again = lab.issue()
    assert again.done == ("replace the boundary skydrm-customer-boundary", "write the policy")
    assert again.key_id == ""
    assert lab.issue().done == ()


def test_wrong_input_is_refused_before_any_call_of_aws(lab: CustomerLab):
    """Names, tickets and networks; tests/rules has them one by one."""
    for given in ({"name": "../etc"}, {"ticket": ""}, {"networks": ("0.0.0.0/0",)}):
        with pytest.raises(ConfigurationError):
            lab.issue(**given)
    assert lab.state() == {}


def test_the_same_customer_in_other_case_is_the_same_user(lab: CustomerLab):
    """IAM does not tell case apart: a second spelling is refused, not a second user."""
    lab.issue("ACME")
    with pytest.raises(ConfigurationError, match="exists as 'ACME'"):
        lab.issue("Acme")
    assert list(lab.state()) == ["skydrm-acme"]


def test_a_user_of_somebody_else_under_the_name_is_left_alone(lab: CustomerLab):
    """It has no tags of ours."""
    lab.iam.create_user(UserName="skydrm-acme", Path="/skydrm/customers/")
    before = lab.state()
    with pytest.raises(ConfigurationError, match="not a customer of SkyDRM"):
        lab.issue()
    assert lab.state() == before


def test_console_access_is_refused(lab: CustomerLab):
    """A login profile that somebody made shows at the next issue."""
    lab.issue()
    lab.iam.create_login_profile(UserName="skydrm-acme", Password="Some-Pass-1234")
    with pytest.raises(GateRefused, match="login profile"):
        lab.issue()


def test_a_reached_quota_is_reported_before_anything_is_made(lab: CustomerLab):
    """The account summary is read first."""
    summary = lab.iam.get_account_summary()["SummaryMap"]
    quota = summary["UsersQuota"]

    class Full:
        def __init__(self, inner):
            self._inner = inner

        def __getattr__(self, name):
            return getattr(self._inner, name)

        def get_account_summary(self):
            return {"SummaryMap": {**summary, "Users": quota}}

    lab.services.iam._client = Full(lab.iam)
    with pytest.raises(ConfigurationError, match="quota") as refusal:
        lab.issue()
    assert refusal.value.reasons == (f"Users: {quota} of {quota} are used",)
    assert lab.state() == {}
    assert lab.iam.list_policies(Scope="Local")["Policies"] == []


def test_two_unknown_keys_are_not_touched(lab: CustomerLab):
    """An issue that died left at most one: two are somebody else's business."""
    lab.issue()
    lab.iam.tag_user(
        UserName="skydrm-acme",
        Tags=[{"Key": "state", "Value": "issuing"}, {"Key": "delivered-keys", "Value": ""}],
    )
    lab.iam.create_access_key(UserName="skydrm-acme")
    with pytest.raises(ConfigurationError, match="two access keys"):
        lab.issue()
    assert len(lab.iam.list_access_keys(UserName="skydrm-acme")["AccessKeyMetadata"]) == 2


def test_a_key_that_is_refused_for_the_first_seconds_is_waited_for(lab_factory):
    """IAM is eventually consistent: the key is handed over when it works."""
    lab = lab_factory(key_delay_s=0.6)
    section = lab.services.configuration.retry.model_copy(
        update={"attempts": 20, "first_wait_s": 0.1, "max_wait_s": 0.2}
    )
    lab.services.configuration = lab.services.configuration.model_copy(update={"retry": section})
    lab.services.sleep = time.sleep
    report = lab.issue()
    assert lab.pull(lab.login(lab.opened(report.place))) == 200


def test_a_key_that_never_works_is_not_handed_over_and_is_replaced_by_the_next_run(lab_factory):
    """No orphan is left after the run that succeeds."""
    lab = lab_factory(key_delay_s=3600)
    with pytest.raises(RemoteError, match="is refused ecr:GetAuthorizationToken"):
        lab.issue()
    assert lab.files() == []
    lab.front.state.iam._key_delay_s = 0.0
    report = lab.issue()
    assert [key.key_id for key in report.keys] == [report.key_id]
    assert lab.state()["skydrm-acme"]["delivered"]


def test_requests_from_elsewhere_are_refused_where_networks_are_given(lab: CustomerLab):
    """The condition stands in both statements; an address outside gets neither token nor image."""
    report = lab.issue(networks=("127.0.0.0/8",))
    key = lab.opened(report.place)
    assert lab.pull(lab.login(key)) == 200
    assert lab.issue(networks=("203.0.113.0/24",)).done == ("write the policy", "note the networks")
    with pytest.raises(Exception, match="AccessDenied"):
        lab.login(key)
    assert lab.issue().networks == ("203.0.113.0/24",)


def test_the_file_is_private_and_holds_no_readable_secret(lab: CustomerLab):
    """Mode 0600, age armor, opened by the customer's key only."""
    report = lab.issue()
    (file,) = lab.files()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert text.startswith("-----BEGIN AGE ENCRYPTED FILE-----")
    assert report.key_id not in text
    assert lab.opened(file)["secretAccessKey"] not in text
    assert lab.opened(file)["secretAccessKey"] not in repr(report)


def test_the_folder_of_the_file_is_made_and_no_link_in_it_is_followed(lab: CustomerLab, tmp_path):
    """Readable by its owner only; what somebody put in the file's place is not written to."""
    folder, victim = tmp_path / "new", tmp_path / "victim"
    handover = FileHandOver(folder, recipients=[str(lab.identity.to_public())])
    assert not folder.exists()
    credentials = Credentials("AKIAEXAMPLE000000000", SecretStr("s3cr3t"))
    key = HandedKey("ACME", "skydrm-acme", "SkyDRM", REGION, lab.front.host, credentials)
    handover.give(key)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    victim.write_text("untouched")
    target = handover.path("skydrm-acme", credentials.key_id)
    target.with_name(f".{target.name}.part").symlink_to(victim)
    handover.give(key)
    assert victim.read_text() == "untouched"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == [target.name]


class FullDisk(io.StringIO):
    """A stream whose bytes have no room."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_key_that_stdout_does_not_take_is_not_handed_over(monkeypatch: pytest.MonkeyPatch):
    """Nobody has seen its secret, so the command fails, and says which key it is."""
    credentials = Credentials("AKIAEXAMPLE000000000", SecretStr("s3cr3t"))
    key = HandedKey("ACME", "skydrm-acme", "SkyDRM", REGION, "host", credentials)
    monkeypatch.setattr(sys, "stdout", FullDisk())
    with pytest.raises(ConfigurationError, match="AKIAEXAMPLE000000000 cannot be shown: stdout") as caught:
        TerminalHandOver({}, force=True).give(key)
    assert "s3cr3t" not in str(caught.value)


def test_a_passphrase_opens_the_file_too(lab: CustomerLab):
    """For customers without a key of their own."""
    import pyrage

    handover = FileHandOver(lab.folder, passphrase=SecretStr("correct horse battery"))
    report = issue_customer(IssueRequest("ACME", "DEVOPS-1", handover), lab.services)
    (file,) = lab.files()
    opened = json.loads(pyrage.passphrase.decrypt(file.read_bytes(), "correct horse battery"))
    assert opened["accessKeyId"] == report.key_id


def test_a_hand_over_without_or_with_weak_encryption_is_refused(lab: CustomerLab):
    """Before a key is made."""
    for given in (
        {},
        {"passphrase": SecretStr("short")},
        {"recipients": ["age1nonsense"]},
        {"recipients": ["age1x"], "passphrase": SecretStr("x" * 20)},
    ):
        with pytest.raises(ConfigurationError):
            FileHandOver(lab.folder, **given)
    with pytest.raises(ConfigurationError, match="not a writable folder"):
        FileHandOver(lab.folder / "missing" / "too", passphrase=SecretStr("x" * 20))


def test_secrets_manager_holds_the_key(lab: CustomerLab):
    """One version for one key; writing it again is done already."""
    from jenkins_release.aws import aws_client

    handover = SecretHandOver(lab.services.secret_store, "skydrm/customers/acme")
    report = issue_customer(IssueRequest("ACME", "DEVOPS-1", handover), lab.services)
    found = aws_client("secretsmanager", REGION).get_secret_value(SecretId="skydrm/customers/acme")
    assert json.loads(found["SecretString"])["accessKeyId"] == report.key_id
    assert handover.holds("skydrm-acme", report.key_id)
    assert not handover.holds("skydrm-acme", "AKIAOTHER")


def test_a_pipe_or_a_build_sees_no_secret(lab: CustomerLab):
    """Unless it is forced."""
    words = ("customer", "issue", "ACME", "--ticket", "DEVOPS-1", "--terminal")
    refused = lab.run(*words)
    assert (refused.status, lab.state()) == (2, {})
    assert "not shown in a pipe" in refused.err
    mixed = lab.run(*words[:-1], "--force-terminal", "--json")
    assert (mixed.status, lab.state()) == (2, {})
    forced = lab.run(*words[:-1], "--force-terminal")
    assert forced.status == 0, forced.text
    assert "AWS_SECRET_ACCESS_KEY=" in forced.out


def test_a_terminal_in_a_build_sees_no_secret(monkeypatch: pytest.MonkeyPatch):
    """A build's log is kept, whatever it looks like."""
    main_end, other = pty.openpty()
    with os.fdopen(other, "w") as terminal, os.fdopen(main_end):
        monkeypatch.setattr("sys.stdout", terminal)
        TerminalHandOver({}, force=False)
        with pytest.raises(ConfigurationError, match="in a build"):
            TerminalHandOver({"JENKINS_URL": "https://jenkins"}, force=False)


def test_the_command_line_never_shows_the_secret(lab: CustomerLab):
    """Neither as text nor as JSON nor in the log."""
    recipient = str(lab.identity.to_public())
    words = ("customer", "issue", "ACME", "--ticket", "DEVOPS-1", "--file", str(lab.folder), "-v")
    done = lab.run(*words, "--recipient", recipient, "--json")
    assert done.status == 0, done.text
    secret = lab.opened(done.json["place"])["secretAccessKey"]
    assert secret not in done.text
    again = lab.run(*words, "--recipient", recipient)
    assert "nothing to do" in again.out
    assert secret not in again.text


def test_a_policy_that_iam_would_not_take_is_noticed_before():
    """With many repositories the inline policy is too long."""
    scope = PullScope(REGION, ACCOUNT, tuple(f"skydrm/service-{n}" for n in range(40)))
    with pytest.raises(ConfigurationError, match="2048"):
        policy_text(pull_policy(scope), MAX_INLINE)
