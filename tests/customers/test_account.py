"""An AWS account of a customer's own: let in by the repositories, without a key."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.stub import Stubber

from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.registry.policies import RepositoryPolicies
from jenkins_release.rules.customers.accounts import own_statements, shared_accounts, sid_of
from jenkins_release.rules.customers.iam_policy import repository_statement
from jenkins_release.rules.customers.users import customer_named
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import PolicyStatement
from tests.faults.http_proxy import Exchange, HttpProxy, Order
from tests.fixtures.customers import CustomerLab

WORDS = ("customer", "issue", "ACME", "--ticket", "DEVOPS-1", "--kind", "aws-account", "--account-id")


def test_an_account_that_is_let_in_pulls_the_product_and_nothing_else(lab: CustomerLab):
    """Before and after, by real pulls; statements of others stay, and a second run changes nothing."""
    from jenkins_release.aws import aws_client

    state = lab.front.state
    arn = "arn:aws:iam::210987654321:role/deploy"
    state.add_user(arn, [PolicyStatement(actions=["ecr:*"])])
    token, _ = state.issue_token(arn)
    assert lab.pull(token) == 403
    client = aws_client("ecr", "us-east-1")
    other = {"Sid": "other", "Effect": "Allow", "Principal": {"AWS": "x"}, "Action": ["ecr:ListImages"]}
    policy = {"Version": "2012-10-17", "Statement": [other]}
    client.set_repository_policy(repositoryName="skydrm/rms", policyText=json.dumps(policy))
    shown = lab.run(*WORDS, "210987654321", "--dry-run", "--json")
    assert (shown.status, shown.json["changed"]) == (0, ["skydrm/rms", "skydrm/viewer"]), shown.text
    assert lab.pull(token) == 403
    assert lab.run(*WORDS, "210987654321").status == 0
    assert [lab.pull(token, name) for name in ("skydrm/rms", "skydrm/viewer", "other/secret")] == [
        200,
        200,
        403,
    ]
    left = json.loads(client.get_repository_policy(repositoryName="skydrm/rms")["policyText"])
    assert other in left["Statement"]
    assert "nothing to do" in lab.run(*WORDS, "210987654321").out
    assert lab.state() == {}
    assert lab.run(*WORDS, "999999999999").status == 2
    assert lab.run(*WORDS, "123456789012").status == 2
    assert lab.run(*WORDS, "210987654321", "--terminal").status == 2


def test_two_accounts_in_a_row_are_both_let_in(lab: CustomerLab):
    """A policy is written as a whole: one that was read as it was before would take the first one away."""
    late = Fault(action="GetRepositoryPolicy", repository="skydrm/rms", after="SetRepositoryPolicy", stale=2)
    lab.front.faults.add(late.model_copy(update={"count": 2}))
    assert lab.run(*WORDS, "210987654321").status == 0
    other = [word if word != "ACME" else "Globex" for word in WORDS]
    assert lab.run(*other, "310987654321").status == 0
    listed = lab.run("customer", "list", "--json").json["accounts"]
    assert sorted((each["customer"], *each["repositories"]) for each in listed) == [
        ("acme", "skydrm/rms", "skydrm/viewer"),
        ("globex", "skydrm/rms", "skydrm/viewer"),
    ]
    assert lab.front.faults.pending() == []


def test_an_account_that_does_not_exist_is_a_mistake_of_the_request(lab: CustomerLab):
    """Status 2, and what to look at."""
    refusal = "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Principal not found'"
    fault = Fault(action="SetRepositoryPolicy", status=400, code="InvalidParameterException", message=refusal)
    lab.front.faults.add(fault)
    done = lab.run(*WORDS, "210987654321")
    assert done.status == 2
    assert "Principal not found" in done.err
    assert "an account, user or role that the policy names does not exist" in done.err


@pytest.mark.parametrize("account", ["", "12345", "12345678901a", "*", "\uff11" * 12])
def test_another_account_has_to_be_one(account: str):
    """A wildcard would let the whole world pull."""
    with pytest.raises(ConfigurationError):
        repository_statement("skydrmacme", account)


def test_an_account_is_listed_and_taken_away_again(lab: CustomerLab):
    """With the ticket of the first issue; the statements of others stay, and a pull is refused."""
    from jenkins_release.aws import aws_client

    state = lab.front.state
    arn = "arn:aws:iam::210987654321:role/deploy"
    state.add_user(arn, [PolicyStatement(actions=["ecr:*"])])
    token, _ = state.issue_token(arn)
    client = aws_client("ecr", "us-east-1")
    other = {"Sid": "other", "Effect": "Allow", "Principal": {"AWS": "x"}, "Action": ["ecr:ListImages"]}
    policy = {"Version": "2012-10-17", "Statement": [other]}
    client.set_repository_policy(repositoryName="skydrm/rms", policyText=json.dumps(policy))
    assert lab.run(*WORDS, "210987654321").status == 0
    again = [word if word != "DEVOPS-1" else "DEVOPS-2" for word in WORDS]
    assert "nothing to do" in lab.run(*again, "210987654321").out
    (listed,) = lab.run("customer", "list", "--json").json["accounts"]
    assert listed == {
        "customer": "acme",
        "account": "210987654321",
        "ticket": "DEVOPS1",
        "repositories": ["skydrm/rms", "skydrm/viewer"],
    }
    assert "210987654321" in lab.run("customer", "list").out
    assert lab.pull(token) == 200
    words = ("customer", "revoke", "ACME", "--kind", "aws-account")
    assert lab.run(*words, "--dry-run").status == 0
    assert lab.pull(token) == 200
    done = lab.run(*words, "--json")
    assert (done.status, done.json["changed"]) == (0, ["skydrm/rms", "skydrm/viewer"]), done.text
    assert lab.pull(token) == 403
    left = json.loads(client.get_repository_policy(repositoryName="skydrm/rms")["policyText"])
    assert left["Statement"] == [other]
    with pytest.raises(client.exceptions.RepositoryPolicyNotFoundException):
        client.get_repository_policy(repositoryName="skydrm/viewer")
    assert lab.run(*words).status == 2
    assert lab.run(*words, "--undo").status == 2
    assert lab.run("customer", "list", "--json").json["accounts"] == []


def test_customers_whose_names_look_alike_are_kept_apart():
    """A statement's name takes letters and digits only: a hash tells them apart."""
    one, other = (customer_named(name, "SkyDRM") for name in ("acme-x", "acmex"))
    policy = {"Statement": [repository_statement(sid_of(one, "DEVOPS-1"), "210987654321")]}
    assert len(own_statements(one, policy)) == 1
    assert own_statements(other, policy) == []
    assert shared_accounts("SkyDRM", [("skydrm/rms", policy)])[0].customer == "acmex"
    assert shared_accounts("Other", [("skydrm/rms", policy)]) == []


def test_a_revocation_gives_no_other_customer_the_access_back(lab: CustomerLab, monkeypatch):
    """A policy is written as a whole: what was taken away since it was first read stays away."""
    from jenkins_release.aws import aws_client
    from jenkins_release.steps.customers.account import AccountRequest, issue_account, revoke_account

    client = aws_client("ecr", "us-east-1")
    for name, account in (("ACME", "210987654321"), ("Globex", "310987654321")):
        issue_account(AccountRequest(name, "DEVOPS-1", account), lab.services)
    proxy = HttpProxy(urlsplit(lab.front.endpoint).port or 0)
    for name, value in lab.front.environment().items():
        monkeypatch.setenv(name, value.replace(lab.front.endpoint, f"http://127.0.0.1:{proxy.port}"))

    def take_globex_away(exchange: Exchange) -> None:
        policy = json.loads(client.get_repository_policy(repositoryName="skydrm/viewer")["policyText"])
        policy["Statement"] = [each for each in policy["Statement"] if "globex" not in each["Sid"]]
        client.set_repository_policy(repositoryName="skydrm/viewer", policyText=json.dumps(policy))
        exchange.send(exchange.forward())

    proxy.suffer(Order("SetRepositoryPolicy", take_globex_away, times=1))
    revoke_account("ACME", lab.services)
    proxy.close()
    assert "SetRepositoryPolicy" in proxy.seen
    with pytest.raises(client.exceptions.RepositoryPolicyNotFoundException):
        client.get_repository_policy(repositoryName="skydrm/viewer")
    left = json.loads(client.get_repository_policy(repositoryName="skydrm/rms")["policyText"])
    assert ["globex" in each["Sid"] for each in left["Statement"]] == [True]


@pytest.mark.parametrize("text", ["<html>busy</html>", "[" * 100_000, '{"Statement": ["x"]}'])
def test_a_policy_that_cannot_be_read_is_a_remote_error(no_aws: None, monkeypatch, text: str):
    """Something between here and AWS answers in its place."""
    client = boto3.client("ecr", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
    stub = Stubber(client)
    stub.add_response("get_repository_policy", {"policyText": text})
    stub.activate()
    with pytest.raises(RemoteError, match=r"the policy of|a policy of"):
        RepositoryPolicies("eu-central-1", "123456789012", client=client).read("skydrm/rms")
