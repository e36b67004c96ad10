"""JUnit reports: the evidence behind a verdict."""

from __future__ import annotations

import pytest

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.records.junit import TestResults, read_junit, together

REPORT = b"""<testsuites><testsuite name="smoke">
  <testcase classname="a" name="one"/>
  <testcase classname="a" name="two"><failure message="no"/></testcase>
  <testcase classname="a" name="three"><error/></testcase>
  <testcase name="four"><skipped/></testcase>
  <testsuite name="inner"><testcase classname="b" name="five"/></testsuite>
</testsuite></testsuites>"""


def test_tests_are_counted_by_outcome():
    """Failures and errors are failed; nested suites count."""
    results = read_junit(REPORT, "junit.xml")
    assert results.passed == ("a.one", "b.five")
    assert results.failed == ("a.two", "a.three")
    assert results.skipped == ("four",)
    assert results.suites == ("smoke", "inner")
    assert results.summary() == "2 passed, 2 failed, 1 skipped"


def test_a_suite_of_which_nothing_ran_is_no_suite_of_the_results():
    """A required suite cannot be met with an empty or skipped one; nested tests count for both."""
    report = b"""<testsuites><testsuite name="empty"/>
      <testsuite name="skipped"><testcase name="a"><skipped/></testcase></testsuite>
      <testsuite name="failed"><testcase name="b"><failure/></testcase></testsuite>
      <testsuite name="outer"><testsuite name="inner"><testcase name="c"/></testsuite></testsuite>
    </testsuites>"""
    assert read_junit(report, "junit.xml").suites == ("failed", "outer", "inner")


BOMB = b"""<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>
<testsuite><testcase name="&b;"/></testsuite>"""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"<html/>",
        b"<testsuite/>",
        b"<testsuite><testcase><skipped/></testcase></testsuite>",
        BOMB,
    ],
)
def test_what_proves_nothing_is_refused(data):
    """No report, no test that ran, or an entity bomb: the message names the file."""
    with pytest.raises(ConfigurationError, match=r"junit\.xml"):
        read_junit(data, "junit.xml")


@pytest.mark.parametrize("element", [b"testsuite", b"system-out"])
def test_a_report_without_a_bottom_is_refused(element: bytes):
    """Whoever makes the report chooses how deep it is."""
    inside = b"<%b>" % element * 3000 + b"</%b>" % element * 3000
    data = b"<testsuite><testcase name='a'/>" + inside + b"</testsuite>"
    with pytest.raises(ConfigurationError, match="nested more than 100 deep"):
        read_junit(data, "junit.xml")


PASSED = '<testcase classname="Login" name="works"/>'


def results(suite: str) -> TestResults:
    return read_junit(f"<testsuites>{suite}</testsuites>".encode(), "junit.xml")


def one(test: str) -> TestResults:
    """Read a report of one test beside one that passed."""
    return results(f'<testsuite name="s">{PASSED}{test}</testsuite>')


class TestPassed:
    """A test passes only where nothing speaks against it."""

    @pytest.mark.parametrize("status", ["run", "passed", "Success", "ok", "completed", ""])
    def test_a_status_that_says_so(self, status: str) -> None:
        """GoogleTest, CTest and others write it beside, or in place of, the elements."""
        assert one(f'<testcase name="t" status="{status}"/>').failed == ()
        assert one(f'<testcase name="t" status="run" result="{status}"/>').passed == ("Login.works", "t")

    @pytest.mark.parametrize("attribute", ["status", "result"])
    @pytest.mark.parametrize("said", ["failed", "error", "aborted", "timeout", "whatever"])
    def test_a_status_that_says_something_else(self, attribute: str, said: str) -> None:
        """No element needs to be in it; what is not known to be good is not good."""
        found = one(f'<testcase classname="Rights" name="deny" {attribute}="{said}"/>')
        assert found.failed == ("Rights.deny",)
        assert found.failures() == [f"Rights.deny: its {attribute} is {said!r}"]

    @pytest.mark.parametrize("said", ["notrun", "disabled", "SKIPPED", "suppressed", "ignored", "pending"])
    def test_what_did_not_run_is_not_a_pass(self, said: str) -> None:
        """GoogleTest has no element for disabled tests."""
        assert one(f'<testcase name="t" status="{said}"/>').skipped == ("t",)
        assert one(f'<testcase name="t" status="run" result="{said}"/>').skipped == ("t",)

    @pytest.mark.parametrize("element", ["rerunFailure", "rerunError"])
    def test_a_test_that_was_run_again_without_a_pass(self, element: str) -> None:
        """Surefire writes one for each attempt after the first."""
        found = one(f'<testcase name="t"><{element} message="x"/></testcase>')
        assert found.failures() == ["t: it was run again, and nothing says that it passed"]

    @pytest.mark.parametrize("element", ["flakyFailure", "flakyError", "system-out", "properties"])
    def test_a_test_that_passed_in_the_end(self, element: str) -> None:
        """Flaky tests pass for surefire and Jenkins too."""
        assert one(f"<testcase name='t'><{element}>x</{element}></testcase>").failed == ()

    def test_an_element_that_nobody_knows(self) -> None:
        """It could say that the test failed."""
        found = one("<testcase name='t'><warning/></testcase>")
        assert found.failed == ("t",)
        assert "<warning>" in found.failures()[0]

    def test_a_failure_counts_beside_a_skip(self) -> None:
        """Jenkins calls such a test skipped; it ran, and failed."""
        assert one("<testcase name='t'><skipped/><failure/></testcase>").failed == ("t",)


class TestSuites:
    @pytest.mark.parametrize("element", ["error", "failure"])
    def test_a_suite_that_could_not_be_loaded(self, element: str) -> None:
        """It holds no test, and an error of its own. Jenkins fails the build for an error."""
        broken = f'<testsuite name="rights" tests="0" errors="1"><{element} message="no class"/></testsuite>'
        found = results(f'<testsuite name="login" tests="1">{PASSED}</testsuite>{broken}')
        assert (found.passed, found.failed) == (("Login.works",), ("rights.<init>",))
        assert found.contradictions == ()

    def test_a_suite_of_disabled_tests_is_no_suite_of_the_results(self) -> None:
        """A required suite is not met by it."""
        disabled = (
            '<testsuite name="Rights" tests="1" disabled="1"><testcase name="D" status="notrun"/></testsuite>'
        )
        found = results(f'<testsuite name="Login">{PASSED}</testsuite>{disabled}')
        assert found.suites == ("Login",)

    def test_names_in_a_namespace(self) -> None:
        """Jenkins looks at the names without it."""
        data = f'<testsuites xmlns="urn:junit"><testsuite name="s">{PASSED}</testsuite></testsuites>'
        assert read_junit(data.encode(), "junit.xml").passed == ("Login.works",)


class TestContradictions:
    @pytest.mark.parametrize(
        ("suite", "told"),
        [
            ('<testsuite name="s" tests="3">P</testsuite>', "suite s counts 3 tests, and holds 1"),
            (
                '<testsuite name="s" errors="1">P</testsuite>',
                "suite s counts 1 failure and errors, and holds 0",
            ),
            ('<testsuite name="s" failures="1" errors="1">P</testsuite>', "counts 2 failures and errors"),
            ('<testsuite name="s" skipped="2">P</testsuite>', "counts 2 tests that did not run, and holds 0"),
            ('<testsuite name="s" disabled="1">P</testsuite>', "counts 1 test that did not run, and holds 0"),
            ('<testsuite name="s" tests="-1">P</testsuite>', "suite s has tests='-1', expected a number"),
            (
                '<testsuite name="a">P</testsuite><testsuite name="s" tests="0" errors="1"/>',
                "suite s counts 1 ",
            ),
        ],
    )
    def test_headers_that_say_more_than_the_tests(self, suite: str, told: str) -> None:
        """A run that was cut off, or a suite that did not compile."""
        (reason,) = results(suite.replace("P", PASSED)).contradictions
        assert told in reason
        assert reason.startswith("junit.xml: ")

    def test_the_header_of_all(self) -> None:
        """Jest counts a file that did not compile at the top and in the suite."""
        data = b"""<testsuites name="jest tests" tests="2" failures="0" errors="1">
          <testsuite name="login" tests="1" errors="0"><testcase name="a"/></testsuite>
          <testsuite name="rights.test.js" tests="0" errors="1"/></testsuites>"""
        assert len(read_junit(data, "junit.xml").contradictions) == 3

    @pytest.mark.parametrize(
        "suite",
        [
            # pytest: a test that fails, and whose clean-up fails too
            '<testsuite tests="1" failures="1" errors="1"><testcase name="t"><failure/></testcase>'
            '<testcase name="t"><error/></testcase></testsuite>',
            # CTest counts a disabled test under two names
            '<testsuite tests="1" disabled="1" skipped="1">D</testsuite>',
            # without those that did not run
            '<testsuite tests="1" skipped="1">PD</testsuite>',
            # with those of the suites in it
            '<testsuite tests="2">P<testsuite tests="1">P</testsuite></testsuite>',
            '<testsuite tests="1">P<testsuite tests="1">P</testsuite></testsuite>',
            # GoogleTest: several failures in one test
            '<testsuite failures="1"><testcase name="t"><failure/><failure/></testcase></testsuite>',
            # Catch2 counts assertions
            '<testsuite tests="7" hostname="tbd">P</testsuite>',
            '<testsuite tests="">P</testsuite>',
        ],
    )
    def test_habits_of_tools(self, suite: str) -> None:
        """Each of them counts in its own way."""
        skipped = "<testcase name='d' status='disabled'><skipped/></testcase>"
        found = results(suite.replace("P", PASSED).replace("D", skipped) + f"<testsuite>{PASSED}</testsuite>")
        assert found.contradictions == ()


def test_several_reports_are_one():
    """Each with its name and SHA-256; a suite of the same name counts once."""
    first, second = (read_junit(REPORT + b" " * spaces, f"{spaces}.xml") for spaces in (0, 1))
    both = together([first, second])
    assert [name for name, _ in both.reports] == ["0.xml", "1.xml"]
    assert len({digest for _, digest in both.reports}) == 2
    assert both.summary() == "4 passed, 4 failed, 2 skipped"
    assert both.suites == ("smoke", "inner")
    assert len(both.predicate()["configuration"]) == 2
