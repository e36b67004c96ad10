"""Rotation, revocation, the list, the audit and the doctor, with real pulls."""

from __future__ import annotations

import json
import time

import pytest

from jenkins_release.base.errors import ConfigurationError, GateRefused, RemoteError
from jenkins_release.steps.customers.audit import audit_customers, list_customers
from jenkins_release.steps.customers.doctor import examine_customer
from jenkins_release.steps.customers.revoke import RevokeRequest, revoke_customer
from jenkins_release.steps.customers.rotate import RotateRequest, rotate_customer
from tests.fixtures.customers import CustomerLab

USER = "skydrm-acme"
EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


def rotate(lab: CustomerLab, **given):
    return rotate_customer(RotateRequest("ACME", lab.handover(), **given), lab.services)


def revoke(lab: CustomerLab, **given):
    return revoke_customer(
        RevokeRequest("ACME", given.pop("reason", "contract ended"), **given), lab.services
    )


def keys(lab: CustomerLab) -> dict[str, str]:
    listed = lab.iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]
    return {each["AccessKeyId"]: each["Status"] for each in listed}


def use(lab: CustomerLab, place: str) -> str:
    return lab.login(lab.opened(place))


def test_a_rotation_goes_one_state_at_a_time_and_the_customer_always_has_a_key(lab: CustomerLab):
    """New key handed over, both work; after its use the old one is switched off; then deleted."""
    old = lab.issue()
    first = rotate(lab)
    assert (first.state, first.old) == ("handed over", old.key_id)
    assert keys(lab) == {old.key_id: "Active", first.new: "Active"}
    assert lab.pull(use(lab, old.place)) == lab.pull(use(lab, lab.handover().place(USER, first.new))) == 200
    tags = {each["Key"]: each["Value"] for each in lab.iam.list_user_tags(UserName=USER)["Tags"]}
    assert tags["delivered-keys"].split() == [old.key_id, first.new]
    lab.clock.pass_days(15)
    second = rotate(lab)
    assert (second.state, keys(lab)[old.key_id]) == ("switched off", "Inactive")
    third = rotate(lab)
    assert (third.state, third.next) == ("deleted", "")
    assert keys(lab) == {first.new: "Active"}
    assert lab.pull(use(lab, first.place)) == 200
    assert audit_customers(lab.services).findings == ()


def test_a_rotation_waits_until_the_new_key_is_used(lab: CustomerLab):
    """Neither use nor the end of the grace period: nothing is changed; undo switches back on."""
    old = lab.issue()
    first = rotate(lab)
    assert rotate(lab).state == "waiting"
    assert keys(lab) == {old.key_id: "Active", first.new: "Active"}
    lab.clock.pass_days(15)
    assert rotate(lab).state == "switched off"
    assert rotate(lab, undo=True).state == "switched on again"
    assert keys(lab) == {old.key_id: "Active", first.new: "Active"}


def test_the_old_key_is_switched_off_when_the_customer_uses_the_new_one(lab_factory):
    """Before the grace period is over; that the key was tried at its creation does not count."""
    ahead = [0.0]
    lab = lab_factory(clock=lambda: time.time() + ahead[0])
    old = lab.issue()
    first = rotate(lab)
    assert rotate(lab).state == "waiting"
    ahead[0] = 12 * 60.0
    use(lab, first.place)
    assert rotate(lab).state == "switched off"
    assert keys(lab)[old.key_id] == "Inactive"


def test_two_keys_that_no_rotation_made_stop_it(lab: CustomerLab):
    """Nobody but a person can say which one the customer uses."""
    old = lab.issue()
    foreign = lab.iam.create_access_key(UserName=USER)["AccessKey"]["AccessKeyId"]
    before = lab.state()
    with pytest.raises(ConfigurationError, match="two access keys that no rotation created"):
        rotate(lab)
    assert lab.state() == before
    assert keys(lab) == {old.key_id: "Active", foreign: "Active"}


def test_a_revoked_customer_pulls_no_more_with_key_or_token(lab: CustomerLab):
    """The proof is made with a key of the user; a token from before is refused too."""
    issued = lab.issue()
    token = use(lab, issued.place)
    assert lab.pull(token) == 200
    report = revoke(lab)
    assert report.unproven == ""
    assert [line.rpartition(": ")[2].split(" (")[0] for line in report.proof] == ["denied"] * 3
    assert lab.pull(token) == 403
    with pytest.raises(Exception, match="UnrecognizedClientException"):
        use(lab, issued.place)
    assert keys(lab) == {issued.key_id: "Inactive"}
    with pytest.raises(GateRefused, match="was revoked"):
        lab.issue()
    with pytest.raises(GateRefused, match="no key is rotated"):
        rotate(lab)


def test_the_customers_own_key_is_tried_where_it_is_at_hand(lab: CustomerLab):
    """From the environment, never from an argument."""
    opened = lab.opened(lab.issue().place)
    lab.services.environ = {
        "JENKINS_RELEASE_CUSTOMER_KEY_ID": opened["accessKeyId"],
        "JENKINS_RELEASE_CUSTOMER_KEY_SECRET": opened["secretAccessKey"],
    }
    report = revoke(lab)
    assert report.proof[0].startswith(f"docker login with the key {opened['accessKeyId']}: unknown key")
    pulls = [line for line in report.proof if "with a token from before" in line]
    assert pulls == [
        f"pull of {name}:8.1.0 with a token from before: denied (GET /v2/{name}/manifests/8.1.0)"
        for name in ("skydrm/rms", "skydrm/viewer")
    ]
    assert len(report.proof) == 8


def test_a_revocation_after_a_rotation_is_proven_and_can_be_undone(lab: CustomerLab):
    """IAM has room for two keys: the old one, which is off, is deleted; the new one comes back."""
    old = lab.issue()
    first = rotate(lab)
    lab.clock.pass_days(15)
    assert rotate(lab).state == "switched off"
    report = revoke(lab)
    assert (report.unproven, keys(lab)) == ("", {first.new: "Inactive"})
    assert f"delete the old key {old.key_id} of the rotation, which is off" in report.done
    assert len(report.proof) == 3
    assert revoke(lab, undo=True).state == "restored"
    assert keys(lab) == {first.new: "Active"}
    assert audit_customers(lab.services).findings == ()


def test_what_a_dry_run_says_is_what_is_done(lab: CustomerLab):
    """Of every state of a rotation and a revocation; and it changes nothing."""

    def both(do, **given):
        before = lab.state()
        told = do(lab, dry_run=True, **given).done
        assert lab.state() == before
        assert do(lab, **given).done == told
        return told

    old = lab.issue()
    assert both(rotate) == ("create a second access key and hand it over",)
    assert both(rotate) == ()
    lab.clock.pass_days(15)
    assert both(rotate) == (f"switch off the old key {old.key_id}",)
    assert both(rotate, undo=True) == (f"switch on the old key {old.key_id} again",)
    lab.clock.pass_days(15)
    both(rotate)
    assert both(rotate) == (f"delete the old key {old.key_id}",)
    (key,) = keys(lab)
    revoked = ("deny everything", f"switch off the key {key}", "see a key refused that is made for it")
    assert both(revoke) == revoked
    assert both(revoke, undo=True) == (f"switch on the key {key}", "take the denial away")
    assert both(revoke, undo=True) == ()
    revoke(lab)
    lab.clock.pass_days(31)
    assert both(revoke, delete=True) == (f"delete the key {key}", f"delete the user {USER}")


def test_a_dry_run_needs_a_place_for_the_key_too(lab: CustomerLab):
    """Or somebody lets happen what cannot be done."""
    words = ("customer", "issue", "ACME", "--ticket", "DEVOPS-7", "--dry-run")
    done = lab.run(*words)
    assert (done.status, "there is no place to hand over the new key of ACME" in done.err) == (2, True)
    lab.issue()
    assert lab.run(*words).status == 0  # no key is made
    assert lab.run("customer", "rotate", "ACME", "--dry-run").status == 2


def test_a_deny_that_is_not_in_force_is_no_revocation(lab: CustomerLab):
    """Where the pull still works the command fails: it does not believe its own change."""
    lab.issue()
    lab.front.state.add_user(f"arn:aws:iam::123456789012:user/skydrm/customers/{USER}", _all())
    with pytest.raises(RemoteError, match="expected the request to be denied"):
        revoke(lab)
    assert len(keys(lab)) == 1


def _all():
    from jenkins_release.sandbox.ecr.state import PolicyStatement

    return [PolicyStatement(actions=["*"])]


def test_a_revocation_can_be_undone_until_it_is_deleted(lab: CustomerLab):
    """The same key works again; after the grace period everything is gone."""
    issued = lab.issue()
    before = lab.state()
    revoke(lab)
    assert revoke(lab, undo=True).state == "restored"
    assert lab.state() == before
    assert lab.pull(use(lab, issued.place)) == 200
    revoke(lab)
    with pytest.raises(GateRefused, match="may be deleted from"):
        revoke(lab, delete=True)
    lab.iam.create_login_profile(UserName=USER, Password="Some-Pass-1234")
    lab.clock.pass_days(31)
    assert revoke(lab, delete=True).state == "deleted"
    assert lab.state() == {}


def test_the_audit_finds_everything_on_a_drifted_account(lab: CustomerLab):
    """Exit status 3, one finding for each change, and JSON for a nightly job."""
    lab.issue()
    clean = lab.run("customer", "audit", "--json")
    assert (clean.status, clean.json) == (0, {"users": 1, "findings": []})
    iam, everything = lab.iam, json.dumps(EVERYTHING)
    iam.put_user_policy(UserName=USER, PolicyName="pull", PolicyDocument=everything)
    iam.put_user_policy(UserName=USER, PolicyName="more", PolicyDocument=everything)
    iam.create_login_profile(UserName=USER, Password="Some-Pass-1234")
    iam.create_group(GroupName="admins")
    iam.add_user_to_group(GroupName="admins", UserName=USER)
    arn = iam.create_policy(PolicyName="wide", PolicyDocument=everything)["Policy"]["Arn"]
    iam.attach_user_policy(UserName=USER, PolicyArn=arn)
    iam.put_user_permissions_boundary(UserName=USER, PermissionsBoundary=arn)
    iam.create_access_key(UserName=USER)
    iam.create_user(UserName="mallory", Path="/skydrm/customers/")
    lab.clock.pass_days(400)
    found = audit_customers(lab.services).findings
    checks = sorted(each.check for each in found)
    assert checks == sorted(
        [
            "policy-drift",
            "boundary-of-user",
            "console",
            "extra-policy",
            "extra-policy",
            "group",
            "unknown-key",
        ]
        + ["key-age"] * 2
        + ["key-unused"] * 2
        + ["expired", "unknown-user"]
    )
    done = lab.run("customer", "audit", "--json")
    assert done.status == 3
    assert {"user": "mallory", "check": "unknown-user"}.items() <= done.json["findings"][0].items()
    assert "mallory" in lab.run("customer", "audit").out


def test_the_list_shows_who_has_access(lab: CustomerLab):
    """State, keys, age and last use."""
    issued = lab.issue()
    lab.login(lab.opened(issued.place))
    lab.clock.pass_days(3)
    listed = list_customers(lab.services)
    (found,) = listed.users
    assert (found.customer, found.state, found.age_days) == ("ACME", "issued", 3)
    assert found.keys[0].last_used is not None
    assert (found.supported, listed.lines) == (True, ("8.1",))
    shown = lab.run("customer", "list")
    assert shown.status == 0, shown.text
    assert issued.key_id in shown.out
    assert "supported lines: 8.1" in shown.out
    lab.clock.pass_days(400)
    assert not list_customers(lab.services).users[0].supported
    lab.clock.pass_days(-400)
    revoke(lab)
    assert not list_customers(lab.services).users[0].supported


def test_the_doctor_says_why_a_customer_cannot_pull(lab: CustomerLab):
    """With the vendor's rights, and with nothing but the customer's key."""
    issued = lab.issue()
    assert examine_customer("ACME", lab.services).can_pull
    opened = lab.opened(issued.place)
    own = {
        "JENKINS_RELEASE_CUSTOMER_KEY_ID": opened["accessKeyId"],
        "JENKINS_RELEASE_CUSTOMER_KEY_SECRET": opened["secretAccessKey"],
    }
    good = lab.run("customer", "doctor", "ACME", "--json", **own)
    assert (good.status, good.json["canPull"]) == (0, True), good.text
    revoke(lab)
    report = examine_customer("ACME", lab.services)
    assert {each.name for each in report.checks if not each.good} == {"not revoked", "key", "policy"}
    bad = lab.run("customer", "doctor", "ACME", **own)
    assert bad.status == 3
    assert "inactive, deleted or mistyped" in bad.out
    assert opened["secretAccessKey"] not in bad.text


def test_the_commands_run_from_issue_to_deletion(lab: CustomerLab):
    """What a person types, with JSON that a program reads."""
    where = ("--file", str(lab.folder), "--recipient", str(lab.identity.to_public()))
    assert lab.run("customer", "issue", "ACME", "--ticket", "DEVOPS-7", *where).status == 0
    rotated = lab.run("customer", "rotate", "ACME", *where)
    assert rotated.status == 0, rotated.text
    assert "ACME: handed over" in rotated.out
    assert "next: the customer takes the new key into use" in rotated.out
    would = lab.run("customer", "revoke", "ACME", "--reason", "contract ended", "--dry-run")
    assert (would.status, "this cannot be proven: the user has two keys" in would.out) == (0, True)
    unproven = lab.run("customer", "revoke", "ACME", "--reason", "contract ended", "--json")
    assert unproven.status == 5, unproven.text
    assert "two keys" in json.loads(unproven.out)["unproven"]
    assert lab.run("customer", "revoke", "ACME").status == 2
    assert lab.run("customer", "revoke", "NOBODY", "--reason", "x").status == 2
    assert lab.run("customer", "revoke", "ACME", "--undo").status == 0
