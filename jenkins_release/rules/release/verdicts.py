"""What QA says about a candidate, as people want to read it: who, when, and with which results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.moments import minute
from jenkins_release.base.text import plain
from jenkins_release.rules.gate.binding import tested_text
from jenkins_release.rules.gate.conditions import Verdict
from jenkins_release.rules.gate.decision import Decision
from jenkins_release.rules.gate.evidence import Evidence


@dataclass(frozen=True)
class ToldVerdict:
    """A tester's latest verdict, with what its attestation says of the tests.

    Attributes:
        verdict: The verdict.
        tests: How many passed, failed and were skipped; empty if nothing is recorded.
        tested: How it is known what was tested.
        note: The tester's remark; empty for none.
        accepted: Why it passes although tests failed; empty for none.
    """

    verdict: Verdict
    tests: str
    tested: str
    note: str
    accepted: str

    @property
    def line(self) -> str:
        """All that matters in a line."""
        word = "pass" if self.verdict.passed else "FAIL"
        accepted = f"; failures accepted: {self.accepted}" if self.accepted else ""
        tests = self.tests or "no results recorded"
        return f"{word} by {plain(self.verdict.tester)}, {minute(self.verdict.signed_at)}: {tests}{accepted}"


def told_verdicts(evidence: Evidence, decision: Decision) -> tuple[ToldVerdict, ...]:
    """Return the latest verdict of each tester.

    Args:
        evidence: The attestations.
        decision: What the gate found in them.
    """
    said = {item.file: item.statement for item in evidence.counted}
    return tuple(
        ToldVerdict(
            verdict,
            _tests(said[verdict.file].extension.get("tests")),
            tested_text(said[verdict.file]),
            _text(said[verdict.file].extension, "note"),
            _text(said[verdict.file].extension, "acceptedFailures"),
        )
        for verdict in decision.verdicts
    )


def _tests(counts: Any) -> str:
    if not isinstance(counts, Mapping):
        return ""
    numbers = ((counts.get(name), name) for name in ("passed", "failed", "skipped"))
    return ", ".join(f"{number if type(number) is int else '?'} {name}" for number, name in numbers)


def _text(extension: Mapping[str, Any], name: str) -> str:
    found = extension.get(name)
    return plain(found) if isinstance(found, str) else ""
