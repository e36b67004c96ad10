"""The text of Jenkins' question: as long as a person reads, and as an environment takes."""

from __future__ import annotations

from jenkins_release.cli.plan import question
from jenkins_release.rules.gate.conditions import Verdict
from jenkins_release.rules.release.verdicts import ToldVerdict
from tests.fixtures.gate import NOW, plan


def test_any_number_of_verdicts_of_any_length_fits_a_variable():
    """Jenkins passes the question to every program of the build; Linux takes 128 KiB for one variable."""
    verdict = Verdict("T" * 5000, True, "qa", "k", 1, NOW, "0001-qa.dsse.json")
    told = ToldVerdict(verdict, "1 passed, 0 failed, 0 skipped", "", "", "a" * 50_000)
    text = question(plan(), [told] * 300)
    assert len(text.encode()) < 100_000
    assert "QA: 280 more verdicts, see the plan." in text.splitlines()
    assert text.splitlines()[-1] == f"Plan {plan().digest}."
