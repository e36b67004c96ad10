"""Counting the tests in a JUnit report: the evidence behind a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException, ElementTree

from jenkins_release.errors import ConfigurationError

MAX_REPORT_BYTES = 64 * 1024 * 1024
_MAX_NAMES = 2000


@dataclass(frozen=True)
class TestResults:
    """What a JUnit report says.

    Attributes:
        name: File name of the report.
        sha256: SHA-256 of its bytes, in hex.
        passed: Names of passed tests.
        failed: Names of failed tests and of those that ended with an error.
        skipped: Names of skipped tests.
        suites: Names of the test suites of which at least one test ran.
    """

    __test__ = False  # the name begins with Test; pytest shall not collect it

    name: str
    sha256: str
    passed: tuple[str, ...]
    failed: tuple[str, ...]
    skipped: tuple[str, ...]
    suites: tuple[str, ...]

    def summary(self) -> str:
        """Return the counts in a line."""
        return f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"

    def predicate(self) -> dict[str, Any]:
        """Return the names as test-result v0.1 has them; passed ones only while they are few."""
        names: dict[str, Any] = {"failedTests": list(self.failed[:_MAX_NAMES])}
        if len(self.passed) <= _MAX_NAMES:
            names["passedTests"] = list(self.passed)
        return names

    def counts(self) -> dict[str, Any]:
        """Return counts and suites, which test-result v0.1 has no field for."""
        return {
            "passed": len(self.passed),
            "failed": len(self.failed),
            "skipped": len(self.skipped),
            "suites": list(self.suites[:_MAX_NAMES]),
        }


def read_junit(data: bytes, name: str) -> TestResults:
    """Read a JUnit report as Jenkins's ``junit`` step does: ``testsuites`` or ``testsuite`` at the top.

    Args:
        data: The report's bytes.
        name: Its file name.

    Raises:
        ConfigurationError: Not a JUnit report, or one without a single test.
    """
    hint = "give the JUnit XML that the test run wrote"
    if len(data) > MAX_REPORT_BYTES:
        raise ConfigurationError(
            f"{name} has {len(data)} bytes, at most {MAX_REPORT_BYTES} are read", hint=hint
        )
    try:
        root = ElementTree.fromstring(data)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise ConfigurationError(f"{name} is not a JUnit report: {error}", hint=hint) from error
    if root.tag not in {"testsuites", "testsuite"}:
        raise ConfigurationError(f"{name} is not a JUnit report: its root is <{root.tag}>", hint=hint)
    passed: list[str] = []
    failed: list[str] = []
    skipped: list[str] = []
    for case in root.iter("testcase"):
        full = ".".join(part for part in (case.get("classname"), case.get("name")) if part) or "(unnamed)"
        target = failed if _failed(case) else skipped if _skipped(case) else passed
        target.append(full)
    if not passed and not failed:
        raise ConfigurationError(f"{name} holds no test that ran", hint="a verdict needs results: " + hint)
    ran = (suite for suite in root.iter("testsuite") if not all(map(_skipped, suite.iter("testcase"))))
    suites = tuple(dict.fromkeys(suite.get("name", "") for suite in ran))
    return TestResults(name, sha256(data).hexdigest(), tuple(passed), tuple(failed), tuple(skipped), suites)


def _failed(case: Element) -> bool:
    return any(child.tag in {"failure", "error"} for child in case)


def _skipped(case: Element) -> bool:
    return not _failed(case) and any(child.tag == "skipped" for child in case)
