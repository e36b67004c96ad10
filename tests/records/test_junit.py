"""JUnit reports: the evidence behind a verdict."""

from __future__ import annotations

import pytest

from jenkins_release.errors import ConfigurationError
from jenkins_release.records.junit import read_junit

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
