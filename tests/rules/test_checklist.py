"""What is not met in a few words, for the name of a build."""

from __future__ import annotations

import pytest

from jenkins_release.rules.gate.checklist import brief
from jenkins_release.rules.gate.conditions import Reason
from jenkins_release.rules.gate.decision import OVERRIDABLE
from jenkins_release.rules.gate.policy import Policy
from tests.fixtures.gate import Chain, gate, plan


@pytest.mark.parametrize("condition", sorted(OVERRIDABLE))
def test_every_condition_has_a_few_words(condition: str):
    """A new one cannot be forgotten."""
    assert 0 < len(brief(Reason(condition, "", ""))) <= 40


def test_what_is_missing_is_counted():
    """Sign-offs and approvals: as many as the policy asks for and nobody gave."""
    policy = Policy(sign_offs=2, approvals=1, build_attestation=False)
    told = [brief(reason) for reason in gate(Chain(), policy, plan=plan(policy)).unmet]
    assert told == ["2 QA sign-offs missing", "1 approval missing"]
