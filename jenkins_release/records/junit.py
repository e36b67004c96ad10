"""What JUnit reports say about each test: the evidence behind a verdict.

The format has no standard. Jenkins' ``junit`` step fails a test for a ``failure`` or ``error`` in it, and a
suite for its own ``error``. Here, a test counts as passed only if Jenkins would say so and nothing else in
the report contradicts it: its own ``status`` and ``result``, unknown elements, and the numbers in the
headers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from hashlib import sha256
from typing import Any, Literal
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException, ElementTree

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError

MAX_REPORT_BYTES = 64 * 1024 * 1024
_MAX_NAMES = 2000
_MAX_DEPTH = 100
"""Maximum nesting of elements; test tools write fewer than ten levels."""
_HINT = "give the JUnit XML that the test run wrote"
_ROOTS = ("testsuites", "testsuite", "testrun")
_Outcome = Literal["passed", "failed", "skipped"]

_FAILING = frozenset({"failure", "error", "rerunFailure", "rerunError"})
_SKIPPING = frozenset({"skipped", "ignored", "disabled"})
# A flaky test passed in the end: surefire, Gradle and Jenkins count it as passed.
_HARMLESS = frozenset(
    {"system-out", "system-err", "properties", "property", "output", "attachments"}
    | {"flakyFailure", "flakyError"}
)
_RAN = frozenset(
    {"", "run", "passed", "pass", "success", "successful", "succeeded", "ok"} | {"completed", "complete"}
)
_DID_NOT_RUN = frozenset(
    {"notrun", "not run", "notexecuted", "not executed", "skipped", "skip", "disabled", "ignored"}
    | {"pending", "todo", "suppressed", "inactive"}
)


@dataclass(frozen=True)
class TestResults:
    """What JUnit reports say.

    Attributes:
        reports: Name and SHA-256 (in hex) of each report.
        passed: Names of passed tests.
        failed: Names of tests that failed, ended with an error, or did not clearly pass.
        skipped: Names of tests that did not run.
        suites: Names of the test suites in which at least one test ran.
        unclear: Test name to why it counts as failed without a ``failure`` or ``error``.
        contradictions: Where the headers of the reports contradict their tests.
    """

    __test__ = False  # keeps pytest from collecting it by its name

    reports: tuple[tuple[str, str], ...]
    passed: tuple[str, ...]
    failed: tuple[str, ...]
    skipped: tuple[str, ...]
    suites: tuple[str, ...]
    unclear: Mapping[str, str] = field(default_factory=dict)
    contradictions: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return the counts in a line."""
        return f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"

    def predicate(self) -> dict[str, Any]:
        """Return the names as in test-result v0.1; those that passed only if they are few."""
        names: dict[str, Any] = {
            "configuration": [{"name": name, "digest": {"sha256": digest}} for name, digest in self.reports],
            "failedTests": list(self.failed[:_MAX_NAMES]),
        }
        if len(self.passed) <= _MAX_NAMES:
            names["passedTests"] = list(self.passed)
        return names

    def counts(self) -> dict[str, Any]:
        """Return counts and suites, for which test-result v0.1 has no field."""
        return {
            "passed": len(self.passed),
            "failed": len(self.failed),
            "skipped": len(self.skipped),
            "suites": list(self.suites[:_MAX_NAMES]),
        }

    def failures(self) -> list[str]:
        """Return the failed tests, each with the reason if the report has no plain failure."""
        return [f"{name}: {self.unclear[name]}" if name in self.unclear else name for name in self.failed]


def together(results: Sequence[TestResults]) -> TestResults:
    """Return the results of several reports as one."""
    return TestResults(
        tuple(report for each in results for report in each.reports),
        tuple(name for each in results for name in each.passed),
        tuple(name for each in results for name in each.failed),
        tuple(name for each in results for name in each.skipped),
        tuple(dict.fromkeys(name for each in results for name in each.suites)),
        {name: why for each in results for name, why in each.unclear.items()},
        tuple(reason for each in results for reason in each.contradictions),
    )


def read_junit(data: bytes, name: str) -> TestResults:
    """Read a JUnit report: ``testsuites``, ``testsuite`` or Eclipse's ``testrun`` at the top.

    Args:
        data: The report's bytes.
        name: Its file name.

    Raises:
        ConfigurationError: Not a JUnit report, or no test in it ran.
    """
    if len(data) > MAX_REPORT_BYTES:
        raise ConfigurationError(
            f"{name} has more than {MAX_REPORT_BYTES} bytes, which is too large", hint=_HINT
        )
    try:
        root = ElementTree.fromstring(data)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise ConfigurationError(f"{name} is not a JUnit report: {error}", hint=_HINT) from error
    if _is_deep(root):
        raise ConfigurationError(
            f"{name} is not a JUnit report: it is nested more than {_MAX_DEPTH} deep", hint=_HINT
        )
    if _kind(root) not in _ROOTS:
        raise ConfigurationError(f"{name} is not a JUnit report: its root is <{_kind(root)}>", hint=_HINT)
    top = _Suite(root)
    outcomes: dict[_Outcome, list[str]] = {"passed": [], "failed": [], "skipped": []}
    unclear = {}
    for test in top.tests():
        outcomes[test.outcome].append(test.name)
        if test.why:
            unclear[test.name] = test.why
    passed, failed, skipped = (tuple(outcomes[each]) for each in ("passed", "failed", "skipped"))
    if not passed and not failed:
        raise ConfigurationError(
            f"{name} contains no test that ran", hint="a verdict needs results: " + _HINT
        )
    suites = tuple(dict.fromkeys(suite.name for suite in top.walk() if suite.listed and suite.ran))
    contradictions = tuple(f"{name}: {reason}" for suite in top.walk() for reason in suite.contradictions())
    digest = sha256(data).hexdigest()
    return TestResults(((name, digest),), passed, failed, skipped, suites, unclear, contradictions)


@dataclass(frozen=True)
class _Test:
    name: str
    outcome: _Outcome
    why: str = ""
    failures: int = 0
    listed: bool = True


class _Suite:
    """A suite with the tests and suites in it."""

    def __init__(self, element: Element) -> None:
        self.name = element.get("name", "")
        self.listed = _kind(element) == "testsuite"
        self._element = element
        self._inner = [_Suite(child) for child in _children(element, "testsuite")]
        # A class that could not be loaded has an error but no test; Jenkins calls it <init>.
        broken = sum(_kind(child) in _FAILING for child in element)
        loaded = _Test(".".join(filter(None, (self.name, "<init>"))), "failed", "", broken, listed=False)
        self._own = [
            *([loaded] if broken else []),
            *(_test(child) for child in _children(element, "testcase")),
        ]

    def walk(self) -> Iterator[_Suite]:
        """Return this suite and all suites in it."""
        yield self
        for suite in self._inner:
            yield from suite.walk()

    def tests(self) -> Iterator[_Test]:
        """Return all tests, including those of nested suites."""
        yield from self._own
        for suite in self._inner:
            yield from suite.tests()

    @property
    def ran(self) -> bool:
        """Whether at least one test ran."""
        return any(test.outcome != "skipped" for test in self.tests())

    def contradictions(self) -> Iterator[str]:
        """Return how the header contradicts the tests.

        Some tools count only what is directly in a suite, others also what is in nested suites. Some leave
        out tests that did not run, or count a test with two results once.
        """
        where = f"suite {self.name}" if self.name else f"<{_kind(self._element)}>"
        numbers = {}
        for name in ("tests", "failures", "errors", "skipped", "disabled"):
            text = self._element.get(name, "").strip()
            if text.isascii() and text.isdecimal() and len(text) < 10:
                numbers[name] = int(text)
            elif text:
                yield f"{where} has {name}={text!r}, expected a number"
        own, every = self._own, list(self.tests())
        if "tests" in numbers and not self._counts_assertions:
            possible = {count for tests in (own, every) for count in _counts(tests)}
            if numbers["tests"] not in possible:
                yield f"{where} counts {_number(numbers['tests'], 'test')}, and holds {len(every)}"
        failures = numbers.get("failures", 0) + numbers.get("errors", 0)
        failed = sum(test.failures for test in every)
        if failures > failed:
            yield f"{where} counts {_number(failures, 'failure')} and errors, and holds {failed}"
        # CTest counts a disabled test under both names.
        skipped = max(numbers.get("skipped", 0), numbers.get("disabled", 0))
        found = sum(test.outcome == "skipped" for test in every)
        if skipped > found:
            yield f"{where} counts {_number(skipped, 'test')} that did not run, and holds {found}"

    @property
    def _counts_assertions(self) -> bool:
        # Catch2 does; only the host name that it makes up identifies it.
        return self._element.get("hostname") == "tbd"


def _counts(tests: list[_Test]) -> Iterator[int]:
    told = [test for test in tests if test.listed]
    for counted in (told, [test for test in told if test.outcome != "skipped"]):
        yield len(counted)
        yield len({test.name for test in counted})


def _test(case: Element) -> _Test:
    name = ".".join(filter(None, (case.get("classname"), case.get("name")))) or "(unnamed)"
    kinds = [_kind(child) for child in case]
    failures = sum(kind in _FAILING for kind in kinds)
    if "failure" in kinds or "error" in kinds:
        return _Test(name, "failed", failures=failures)
    if failures:
        return _Test(name, "failed", "it was run again, and nothing says that it passed", failures)
    for attribute in ("status", "result"):
        said = case.get(attribute, "").strip()
        if said.lower() in _DID_NOT_RUN:
            return _Test(name, "skipped")
        if said.lower() not in _RAN:
            return _Test(name, "failed", f"its {attribute} is {said!r}")
    if any(kind in _SKIPPING for kind in kinds):
        return _Test(name, "skipped")
    if strange := [kind for kind in kinds if kind not in _HARMLESS]:
        return _Test(name, "failed", f"it has the element <{strange[0]}>, whose meaning is unknown")
    return _Test(name, "passed")


def _is_deep(root: Element) -> bool:
    level = [root]
    for _ in range(_MAX_DEPTH):
        level = [child for element in level for child in element]
        if not level:
            return False
    return True


def _kind(element: Element) -> str:
    """Return the name of an element without its namespace, which Jenkins ignores too."""
    return str(element.tag).rpartition("}")[2]


def _children(element: Element, kind: str) -> list[Element]:
    return [child for child in element if _kind(child) == kind]


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
