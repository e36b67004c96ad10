"""The policy: who may approve, and a digest that every loosening changes."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta

import pytest

from jenkins_release.rules.gate.policy import Freeze, Policy, policy_digest
from tests.fixtures.gate import APPROVER, APPROVER2, KEYS, NOW, replaced, trusted

POLICY = Policy(
    approvals=1, approvers=("group:managers", "Alex"), groups={"managers": ("Morgan", "Ren\u00e9")}
)


@pytest.mark.parametrize("name", ["Alex", "ALEX", "morgan", "Rene\u0301", "\uff2dorgan", "Mor\u200bgan"])
def test_approvers_are_people_and_members_of_groups(name):
    """Case and Unicode form do not matter."""
    assert POLICY.may_approve(name)


@pytest.mark.parametrize("name", ["Riley", "managers", "group:managers", "", "\u200b", "Rene"])
def test_nobody_else_may_approve(name):
    """A group's own name is nobody's."""
    assert not POLICY.may_approve(name)


def test_without_approvers_anybody_with_an_approval_key_may_approve():
    """The keys decide then."""
    assert Policy().may_approve("Anybody")


def test_an_unknown_group_lets_nobody_in():
    """Fails closed."""
    assert not Policy(approvers=("group:gone",)).may_approve("Morgan")


CHANGED = {
    "sign_offs": 2,
    "sign_off_keys": ("quinn",),
    "sign_off_max_age_days": 3,
    "soak_hours": 1.5,
    "required_suites": ("smoke",),
    "build_attestation": True,
    "approvals": 2,
    "approvers": ("Alex",),
    "groups": {"managers": ("Morgan",)},
    "separate": ("requester",),
    "allow_downgrade": True,
    "freezes": (Freeze(NOW, NOW + timedelta(days=1), "holidays"),),
    "scan": ("CRITICAL",),
    "sbom": True,
    "people": {"Alex Baker": ("alex",)},
    "machines": ("jenkins",),
    "accept_notary": ("qa",),
    "tested": True,
}


def test_every_field_of_the_policy_is_in_its_digest():
    """A policy that was loosened is not the one that was approved; nothing is forgotten here either."""
    assert set(CHANGED) == {field.name for field in fields(Policy)}
    digests = {policy_digest(replace(Policy(), **{name: value}), KEYS) for name, value in CHANGED.items()}
    assert len(digests | {policy_digest(Policy(), KEYS)}) == len(CHANGED) + 1


@pytest.mark.parametrize(
    "more",
    [
        {"revoked": True},
        {"valid_from": NOW},
        {"valid_until": NOW},
        {"roles": frozenset({"approval", "qa"})},
        {"name": "alexa"},
        {"key": APPROVER2.public_key},
        {"owner": "Alex Baker"},
        {"notary": True},
    ],
    ids=lambda more: next(iter(more)),
)
def test_every_property_of_the_keys_is_in_the_digest(more):
    """Whom the gate believes is part of what was approved."""
    assert policy_digest(Policy(), replaced("alex", **more)) != policy_digest(Policy(), KEYS)


def test_a_key_that_is_added_or_gone_changes_the_digest():
    """Their order does not."""
    assert policy_digest(Policy(), (*KEYS, trusted("new", APPROVER, "approval"))) != policy_digest(
        Policy(), KEYS
    )
    assert policy_digest(Policy(), KEYS[1:]) != policy_digest(Policy(), KEYS)
    assert policy_digest(Policy(), KEYS[::-1]) == policy_digest(Policy(), KEYS)
