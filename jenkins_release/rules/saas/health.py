"""Whether a stack is healthy: what a good answer is, and how many in a row are enough."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jenkins_release.base.tags import fill
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.config.saas import HealthSection
from jenkins_release.records.health_answer import HealthAnswer
from jenkins_release.records.refresh import HealthResult

_SHOWN = 120


def expected_version(check: HealthSection, release: str) -> str | None:
    """Return the version that a check must find.

    Args:
        check: The check.
        release: ``version/build`` that should run; empty if what runs is not a release.

    Returns:
        The version; None if none is required or it is unknown.
    """
    if not check.version_field or not release:
        return None
    version, _, build = release.partition("/")
    return fill(check.version, ReleaseVersion.parse(version), build)


def fault(check: HealthSection, answer: HealthAnswer, expected: str | None) -> str:
    """Say what is wrong with an answer; empty if it is good."""
    if answer.problem:
        return answer.problem
    if answer.status != check.status:
        return f"status {answer.status}, expected {check.status}"
    text = answer.body.decode("utf-8", "replace")
    if check.contains and check.contains not in text:
        return f"the body does not contain {check.contains!r}"
    if check.matches and not re.search(check.matches, text):
        return f"the body does not match {check.matches!r}"
    if expected is None:
        return ""
    try:
        found = _field(json.loads(text), check.version_field)
    except (ValueError, RecursionError):
        return "the body is not JSON"
    except LookupError:
        return f"the body has no field {check.version_field!r}"
    return "" if found == expected else f"{check.version_field} is {found[:_SHOWN]!r}, expected {expected!r}"


def _field(document: Any, path: str) -> str:
    for name in path.split("."):
        if not isinstance(document, Mapping) or name not in document:
            raise LookupError(name)
        document = document[name]
    return document if isinstance(document, str) else json.dumps(document)


@dataclass
class Streak:
    """Good answers in a row.

    Attributes:
        url: The URL.
        needed: Good answers in a row that are enough.
        answers: Answers so far.
        good: Good ones among them.
        row: Good ones since the last bad one.
        longest: The most good answers in a row.
        problem: What was wrong with the last bad one.
    """

    url: str
    needed: int
    answers: int = field(default=0, init=False)
    good: int = field(default=0, init=False)
    row: int = field(default=0, init=False)
    longest: int = field(default=0, init=False)
    problem: str = field(default="", init=False)

    def count(self, problem: str) -> None:
        """Count an answer; ``problem`` is empty for a good one."""
        self.answers += 1
        if problem:
            self.row, self.problem = 0, problem
            return
        self.good += 1
        self.row += 1
        self.longest = max(self.longest, self.row)

    @property
    def enough(self) -> bool:
        """Whether there were enough in a row."""
        return self.row >= self.needed

    @property
    def told(self) -> str:
        """The state in words. Answers that come and go are reported: it flaps."""
        if self.enough:
            return f"healthy, {self.row} good answers in a row"
        if not self.answers:
            return "was not asked in time"
        if not self.good:
            return f"not one good answer of {self.answers}; the last: {self.problem}"
        if not self.problem:
            return f"only {self.good} good answers in time, {self.needed} in a row are needed"
        return (
            f"it flaps: {self.good} of {self.answers} answers were good, never {self.needed} in a row "
            f"(at most {self.longest}); the last bad one: {self.problem}"
        )

    def result(self) -> HealthResult:
        """Return the record."""
        return HealthResult(
            url=self.url,
            healthy=self.enough,
            answers=self.answers,
            good=self.good,
            needed=self.needed,
            problem=self.problem,
        )
