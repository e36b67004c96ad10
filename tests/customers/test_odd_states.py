"""States that no happy path leaves: keys gone, undo out of turn, foreign rights, answers that were lost."""

from __future__ import annotations

import json

import pytest

from jenkins_release.aws import aws_client
from jenkins_release.base.errors import ConfigurationError, GateRefused
from jenkins_release.sandbox.ecr.state import REGION
from jenkins_release.steps.customers.audit import audit_customers
from jenkins_release.steps.customers.doctor import examine_customer
from jenkins_release.steps.customers.issue import issue_customer
from jenkins_release.steps.customers.revoke import RevokeRequest, revoke_customer
from jenkins_release.steps.customers.rotate import RotateRequest, rotate_customer
from tests.fixtures.customers import REPOSITORIES, CustomerLab

USER = "skydrm-acme"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def rotate(lab: CustomerLab, **given):
    return rotate_customer(RotateRequest("ACME", lab.handover(), **given), lab.services)


def revoke(lab: CustomerLab, **given):
    return revoke_customer(RevokeRequest("ACME", "contract ended", **given), lab.services)


def test_a_customer_whose_key_was_deleted_gets_a_new_one_by_a_rotation(lab: CustomerLab):
    """There is no old key to switch off: the second call ends it."""
    old = lab.issue()
    lab.iam.delete_access_key(UserName=USER, AccessKeyId=old.key_id)
    first = rotate(lab)
    assert (first.state, first.old) == ("handed over", "")
    last = rotate(lab)
    assert (last.state, last.old, last.next) == ("deleted", "", "")
    assert [key.key_id for key in last.keys] == [first.new]
    assert audit_customers(lab.services).findings == ()


def test_a_customer_who_has_no_access_may_be_mistyped(lab: CustomerLab):
    """Another one is named only if its name is like it."""
    lab.issue()
    for name, question in (("ACMEE", "did you mean 'ACME'? "), ("Initech", "")):
        with pytest.raises(ConfigurationError, match=f"{name} has no access") as error:
            rotate_customer(RotateRequest(name, lab.handover()), lab.services)
        assert error.value.hint.startswith(f"{question}'jenkins-release customer list'")


def test_an_undo_begins_and_ends_no_rotation(lab: CustomerLab):
    """Without a rotation, and with one whose old key is gone, there is nothing to switch on."""
    old = lab.issue()
    before = lab.state()
    with pytest.raises(ConfigurationError, match="no rotation to undo"):
        rotate(lab, undo=True)
    assert lab.state() == before
    rotate(lab)
    lab.iam.delete_access_key(UserName=USER, AccessKeyId=old.key_id)
    before = lab.state()
    with pytest.raises(ConfigurationError, match="no rotation to undo"):
        rotate(lab, undo=True)
    assert lab.state() == before


def test_an_old_key_that_was_switched_on_again_stays_on_for_another_grace_period(lab: CustomerLab):
    """A nightly job does not switch it off again the next night."""
    lab.issue()
    rotate(lab)
    lab.clock.pass_days(15)
    assert rotate(lab).state == "switched off"
    assert rotate(lab, undo=True).state == "switched on again"
    lab.clock.pass_days(1)
    assert rotate(lab).state == "waiting"
    lab.clock.pass_days(14)
    assert rotate(lab).state == "switched off"


def test_undoing_what_was_not_revoked_says_so(lab: CustomerLab):
    """Nothing was given back."""
    lab.issue()
    before = lab.state()
    assert revoke(lab, undo=True).state == "not revoked"
    assert lab.state() == before


def test_a_key_that_somebody_made_survives_a_revocation_that_died(lab: CustomerLab):
    """Only the key that the revocation made to try with is deleted: it says which ones were there before."""
    issued = lab.issue()
    foreign = lab.iam.create_access_key(UserName=USER)["AccessKey"]["AccessKeyId"]
    lab.iam.update_access_key(UserName=USER, AccessKeyId=foreign, Status="Inactive")
    lab.iam.tag_user(UserName=USER, Tags=[{"Key": "probe", "Value": f"{issued.key_id} {foreign}"}])
    report = revoke(lab)
    assert report.unproven
    listed = lab.iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]
    assert {each["AccessKeyId"] for each in listed} == {issued.key_id, foreign}


def test_the_expiry_is_renewed_by_issuing_again(lab: CustomerLab):
    """Only where it is asked for; the key stays."""
    first = lab.issue(expires_days=30)
    assert lab.issue().expires == first.expires
    lab.clock.pass_days(40)
    assert [each.check for each in audit_customers(lab.services).findings] == ["expired"]
    with pytest.raises(GateRefused, match=f"ended on {first.expires}"):
        rotate_customer(RotateRequest("ACME", lab.handover()), lab.services)
    again = lab.issue(expires_days=30)
    assert again.done == ("write the policy", "note the expiry")
    assert again.expires > first.expires
    assert again.key_id == ""
    assert lab.issue(expires_days=30).done == ()
    assert audit_customers(lab.services).findings == ()


def test_a_limit_to_networks_can_be_lifted(lab: CustomerLab):
    """By the word any, which stands alone."""
    lab.issue(networks=("203.0.113.0/24",))
    lifted = lab.issue(networks=("any",))
    assert lifted.done == ("write the policy", "note the networks")
    assert lifted.networks == ()
    assert lab.issue().done == ()
    assert "source-ips" not in lab.state()[USER]["tags"]


def test_the_report_of_an_existing_customer_names_the_ticket_that_holds(lab: CustomerLab):
    """A second ticket changes nothing, and whoever gave it is told."""
    lab.issue()
    again = lab.issue(ticket="DEVOPS-999")
    assert again.ticket == "DEVOPS-123"
    where = ("--file", str(lab.folder), "--recipient", str(lab.identity.to_public()))
    shown = lab.run("customer", "issue", "ACME", "--ticket", "DEVOPS-999", *where)
    assert "DEVOPS-123" in shown.out


def test_a_key_that_may_push_is_not_handed_over_and_does_not_stay(lab: CustomerLab):
    """A group or policy that somebody prepared gives it more than a pull: refused, and no key is left."""
    lab.issue()
    (key,) = lab.iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]
    lab.iam.put_user_policy(UserName=USER, PolicyName="more", PolicyDocument=json.dumps(EVERYTHING))
    lab.iam.create_policy(PolicyName="wide", PolicyDocument=json.dumps(EVERYTHING))
    arn = "arn:aws:iam::123456789012:policy/wide"
    lab.iam.put_user_permissions_boundary(UserName=USER, PermissionsBoundary=arn)
    with pytest.raises(GateRefused, match="may push"):
        rotate(lab)
    left = lab.iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]
    assert [each["AccessKeyId"] for each in left] == [key["AccessKeyId"]]
    assert len(lab.files()) == 1


def test_a_key_that_may_push_to_one_repository_only_is_found(lab: CustomerLab):
    """Each repository is tried, whichever comes first."""
    lab.issue()
    arn = "arn:aws:ecr:us-east-1:123456789012:repository/skydrm/viewer"
    push = {"Effect": "Allow", "Action": "ecr:InitiateLayerUpload", "Resource": arn}
    pull = {"Effect": "Allow", "Action": ["ecr:Get*", "ecr:Batch*"], "Resource": "*"}
    text = json.dumps({"Version": "2012-10-17", "Statement": [push, pull]})
    lab.iam.put_user_policy(UserName=USER, PolicyName="more", PolicyDocument=text)
    lab.iam.create_policy(PolicyName="wide", PolicyDocument=text)
    wide = "arn:aws:iam::123456789012:policy/wide"
    lab.iam.put_user_permissions_boundary(UserName=USER, PermissionsBoundary=wide)
    with pytest.raises(GateRefused, match="may push to skydrm/viewer"):
        rotate(lab)
    assert len(lab.files()) == 1


def test_a_repository_that_is_missing_proves_nothing(lab: CustomerLab):
    """ECR looks for it after it has looked at the rights: the key may push there once it exists."""
    lab.issue()
    lab.iam.put_user_policy(UserName=USER, PolicyName="more", PolicyDocument=json.dumps(EVERYTHING))
    lab.iam.create_policy(PolicyName="wide", PolicyDocument=json.dumps(EVERYTHING))
    arn = "arn:aws:iam::123456789012:policy/wide"
    lab.iam.put_user_permissions_boundary(UserName=USER, PermissionsBoundary=arn)
    admin = aws_client("ecr", REGION)
    for name in REPOSITORIES:
        admin.delete_repository(repositoryName=name, force=True)
    with pytest.raises(ConfigurationError, match="there is no repository skydrm/rms") as caught:
        rotate(lab)
    assert "promote a release first" in caught.value.hint
    assert len(lab.files()) == 1
    assert len(lab.iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]) == 1


def test_the_doctor_sees_a_deny_that_is_attached_and_a_boundary_that_is_gone(lab: CustomerLab):
    """Not only the policy that this program wrote decides."""
    lab.issue()
    deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "ecr:*", "Resource": "*"}]}
    arn = lab.iam.create_policy(PolicyName="freeze", PolicyDocument=json.dumps(deny))["Policy"]["Arn"]
    lab.iam.attach_user_policy(UserName=USER, PolicyArn=arn)
    bad = examine_customer("ACME", lab.services)
    (policy,) = [each for each in bad.checks if each.name == "policy"]
    assert not policy.good
    assert "explicit deny" in policy.said
    lab.iam.detach_user_policy(UserName=USER, PolicyArn=arn)
    assert examine_customer("ACME", lab.services).can_pull
    gone = "arn:aws:iam::123456789012:policy/gone"
    lab.iam.put_user_permissions_boundary(UserName=USER, PermissionsBoundary=gone)
    bad = examine_customer("ACME", lab.services)
    assert {each.name for each in bad.checks if not each.good} == {"policy", "boundary"}


def test_the_policy_leaves_room_for_the_deny(lab: CustomerLab):
    """All inline policies of a user share one quota: a revocation must not find it used up."""
    images = lab.services.configuration.images
    for count in range(1, 60):
        more = tuple(
            images[0].model_copy(
                update={"name": f"i{n}", "source": f"x{n}:{{version}}", "repository": f"skydrm/service-{n}"}
            )
            for n in range(count)
        )
        lab.services.configuration = lab.services.configuration.model_copy(update={"images": more})
        try:
            report = issue_customer(_dry(lab), lab.services)
        except ConfigurationError as error:
            assert "characters" in error.message
            break
        from jenkins_release.rules.customers.iam_policy import deny_policy

        both = [json.dumps(each, separators=(",", ":")) for each in (report.policy, deny_policy())]
        assert len("".join(both).replace(" ", "")) <= 2048
    else:
        pytest.fail("no product was too large")


def _dry(lab):
    from jenkins_release.steps.customers.issue import IssueRequest

    return IssueRequest("BIG", "DEVOPS-1", lab.handover(), dry_run=True)
