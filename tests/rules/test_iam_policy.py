"""The policy proof: whatever is not a pull from the product's repositories is denied."""

from __future__ import annotations

import json
from datetime import date, datetime

import pytest
from botocore.loaders import Loader
from hypothesis import assume, given
from hypothesis import strategies as st

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.rules.customers.iam_evaluate import IamCall, evaluate, matches
from jenkins_release.rules.customers.iam_policy import (
    PULL_ACTIONS,
    TOKEN_ACTION,
    PullScope,
    boundary_policy,
    deny_policy,
    pull_policy,
    same_policy,
)

ACCOUNT, REGION = "123456789012", "eu-central-1"
SCOPE = PullScope(REGION, ACCOUNT, ("skydrm/rms", "skydrm/viewer"))
POLICY, BOUNDARY = pull_policy(SCOPE), boundary_policy(SCOPE)
ARN = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/"
EVERYTHING = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
ECR_ACTIONS = sorted(f"ecr:{name}" for name in Loader().load_service_model("ecr", "service-2")["operations"])
"""Every action of ECR that botocore knows."""

names = st.from_regex(r"[a-z0-9]{1,8}([._/-][a-z0-9]{1,8}){0,3}", fullmatch=True)
actions = st.one_of(
    st.sampled_from(ECR_ACTIONS),
    st.sampled_from(["iam:CreateUser", "s3:GetObject", "sts:AssumeRole", "ecr-public:GetAuthorizationToken"]),
    st.builds("{}:{}".format, st.sampled_from(["ecr", "iam", "kms", "s3"]), st.text(min_size=1, max_size=20)),
)
resources = st.one_of(
    st.sampled_from(["*", "arn:aws:s3:::bucket/key", *SCOPE.resources]),
    st.builds(lambda name: ARN + name, names),
    st.builds(lambda tail: SCOPE.resources[0] + tail, st.text(max_size=5)),
    st.builds(
        "arn:aws:ecr:{}:{}:repository/skydrm/rms".format,
        st.sampled_from([REGION, "us-east-1", ""]),
        st.sampled_from([ACCOUNT, "999999999999"]),
    ),
    st.text(max_size=30),
)


def is_pull(action: str, resource: str) -> bool:
    """What customers may do, said without a policy."""
    if action.lower() == TOKEN_ACTION.lower():
        return True
    return action.lower() in {each.lower() for each in PULL_ACTIONS} and resource in SCOPE.resources


@given(actions, resources)
def test_the_policy_allows_a_pull_and_denies_everything_else(action: str, resource: str):
    """For every action and resource, with the boundary and without."""
    call = IamCall(action, resource)
    expected = "allow" if is_pull(action, resource) else "implicit deny"
    assert evaluate([POLICY], call, BOUNDARY) == expected
    assert evaluate([POLICY], call) == expected


@given(actions, resources)
def test_the_boundary_holds_whatever_is_attached_later(action: str, resource: str):
    """Even an administrator's policy on the user opens nothing more."""
    answer = evaluate([POLICY, EVERYTHING], IamCall(action, resource), BOUNDARY)
    assert answer == ("allow" if is_pull(action, resource) else "implicit deny")


@given(actions, resources)
def test_a_revoked_customer_may_do_nothing_whatever_else_allows_it(action: str, resource: str):
    """The explicit deny wins."""
    assert evaluate([EVERYTHING, POLICY, deny_policy()], IamCall(action, resource)) == "explicit deny"


@pytest.mark.parametrize("action", ECR_ACTIONS)
def test_every_action_of_ecr_is_decided(action: str):
    """None of those that botocore knows slips through, on our repositories and on all."""
    for resource in ("*", *SCOPE.resources, ARN + "other", ARN + "skydrm/rms-internal", ARN + "skydrm/*"):
        expected = "allow" if is_pull(action, resource) else "implicit deny"
        assert evaluate([POLICY], IamCall(action, resource), BOUNDARY) == expected


@given(st.lists(names, min_size=1, max_size=6), names)
def test_a_repository_that_is_not_the_products_is_never_opened(own: list[str], other: str):
    """For every product; names that begin alike do not matter."""
    assume(other not in own and all(len(name) >= 2 for name in own))
    scope = PullScope(REGION, ACCOUNT, tuple(own))
    assert not any("*" in arn or "?" in arn for arn in scope.resources)
    for action in PULL_ACTIONS:
        assert evaluate([pull_policy(scope)], IamCall(action, ARN + other)) == "implicit deny"
        assert evaluate([pull_policy(scope)], IamCall(action, ARN + own[0])) == "allow"


@given(st.ip_addresses(v=4))
def test_an_address_outside_the_networks_is_denied(address):
    """Token and pull alike; a request without an address is denied too."""
    policy = pull_policy(SCOPE, ("203.0.113.0/24",))
    inside = str(address).startswith("203.0.113.")
    for action, resource in ((TOKEN_ACTION, "*"), (PULL_ACTIONS[0], SCOPE.resources[0])):
        found = evaluate([policy], IamCall(action, resource, {"aws:SourceIp": str(address)}))
        assert found == ("allow" if inside else "implicit deny")
        assert evaluate([policy], IamCall(action, resource)) == "implicit deny"


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)))
def test_a_call_after_the_last_day_is_denied(moment):
    """Through the whole last day, in UTC; without a time the call is denied too."""
    policy = pull_policy(SCOPE, expires=date(2027, 6, 30))
    inside = moment < datetime(2027, 7, 1)
    context = {"aws:CurrentTime": f"{moment.isoformat()}Z"}
    for action, resource in ((TOKEN_ACTION, "*"), (PULL_ACTIONS[0], SCOPE.resources[0])):
        found = evaluate([policy], IamCall(action, resource, context), BOUNDARY)
        assert found == ("allow" if inside else "implicit deny")
        assert evaluate([policy], IamCall(action, resource), BOUNDARY) == "implicit deny"


def test_an_access_until_the_last_day_there_is():
    """The tag may say 9999-12-31: there is no day after it."""
    policy = pull_policy(SCOPE, expires=date.max)
    context = {"aws:CurrentTime": "2027-06-30T10:00:00Z"}
    assert evaluate([policy], IamCall(TOKEN_ACTION, "*", context), BOUNDARY) == "allow"


def test_a_date_that_cannot_be_read_allows_nothing():
    """Neither in the policy nor in the call."""
    policy = pull_policy(SCOPE, expires=date(2027, 6, 30))
    for text in ("soon", "", "2027-06-30T25:00:00Z", "2027-06-30T10:00:00"):
        assert evaluate([policy], IamCall(TOKEN_ACTION, "*", {"aws:CurrentTime": text})) == "implicit deny"
    for statement in policy["Statement"]:
        statement["Condition"]["DateLessThan"]["aws:CurrentTime"] = "soon"
    call = IamCall(TOKEN_ACTION, "*", {"aws:CurrentTime": "2027-06-30T10:00:00Z"})
    assert evaluate([policy], call) == "implicit deny"


@given(st.lists(names, min_size=1, max_size=5, unique=True), st.randoms())
def test_equal_products_make_equal_policies(own: list[str], random):
    """In whatever order the repositories are configured: no drift without a change."""
    assume(all(len(name) >= 2 for name in own))
    mixed = list(own)
    random.shuffle(mixed)
    one, other = (json.dumps(pull_policy(PullScope(REGION, ACCOUNT, tuple(each)))) for each in (own, mixed))
    assert one == other


@pytest.mark.parametrize("name", ["*", "skydrm/*", "skydrm/?ms", "", "SkyDRM/rms", "a" * 257])
def test_a_repository_with_a_wildcard_never_stands_in_a_policy(name: str):
    """It would open more than one."""
    with pytest.raises(ConfigurationError):
        PullScope(REGION, ACCOUNT, ("skydrm/rms", name))


@given(st.text(alphabet="ab*?[]", max_size=6), st.text(alphabet="ab[]", max_size=6))
def test_only_star_and_question_mark_are_wildcards(pattern: str, text: str):
    """Compared with the definition, letter by letter; brackets are letters."""

    def covers(pattern: str, text: str) -> bool:
        if not pattern:
            return not text
        if pattern[0] == "*":
            return any(covers(pattern[1:], text[n:]) for n in range(len(text) + 1))
        return bool(text) and pattern[0] in {"?", text[0]} and covers(pattern[1:], text[1:])

    assert matches(pattern, text) == covers(pattern, text)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}, "allow"),
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}, "allow"),
        ({"Effect": "Allow", "NotAction": "ecr:*", "Resource": "*"}, "implicit deny"),
        ({"Effect": "Allow", "Action": "ecr:*", "NotResource": ARN + "*"}, "implicit deny"),
        (
            {"Effect": "Allow", "Action": "ecr:*", "Resource": "*", "Condition": {"Odd": {"a": "b"}}},
            "implicit deny",
        ),
        (
            {"Effect": "Deny", "Action": "ecr:*", "Resource": "*", "Condition": {"Odd": {"a": "b"}}},
            "explicit deny",
        ),
        ({"Effect": "Allow", "Resource": "*"}, "implicit deny"),
        ({"Effect": "Allow", "Action": "ecr:*", "Resource": "${aws:PrincipalTag/r}"}, "implicit deny"),
        ({"Effect": "Allow", "Action": "ecr:*", "NotResource": "${aws:PrincipalTag/r}"}, "implicit deny"),
        ({"Effect": "Deny", "Action": "ecr:*", "Resource": ARN + "${aws:username}"}, "explicit deny"),
        ({"Effect": "Deny", "Action": "ecr:*", "NotResource": ARN + "${aws:username}"}, "explicit deny"),
        ({"Effect": "Allow", "Action": "ecr:putimage", "Resource": "*"}, "allow"),
    ],
)
def test_the_evaluator_follows_the_policy_language(statement, expected):
    """IAM user guide, "Policy evaluation logic"; what is unknown never helps the caller."""
    assert evaluate([{"Statement": [statement]}], IamCall("ecr:PutImage", ARN + "x")) == expected


def test_documents_are_compared_by_what_they_say():
    """IAM may return a single value for a list, and lists in another order."""
    turned = json.loads(json.dumps(POLICY))
    turned["Statement"].reverse()
    turned["Statement"][0]["Action"].reverse()
    turned["Statement"][1]["Action"] = [TOKEN_ACTION]
    assert same_policy(POLICY, turned)
    turned["Statement"][0]["Resource"].append("*")
    assert not same_policy(POLICY, turned)
