"""The gate's conditions as a JUnit report, for Jenkins to show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from jenkins_release.cli.output import plain

if TYPE_CHECKING:
    from jenkins_release.rules.gate.decision import Decision


AWAITED = frozenset({"approvals", "separation"})
"""What the answer to a plan settles."""


def write_checks(
    decision: Decision, path: Path, settled: str = "", awaited: frozenset[str] = frozenset()
) -> None:
    """Write a test case for each condition of the gate.

    An unmet condition is a failure with all its reasons; an overridden one is a success whose output says by
    whom and why. Conditions that were not checked are skipped, and so are unmet ones that no longer matter.

    Args:
        decision: The gate's decision.
        path: The file.
        settled: Why the conditions no longer matter; empty if the gate decided something. Alterations are
            failures in any case.
        awaited: Conditions that are skipped while they are not met: their time has not come.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    from jenkins_release.rules.gate.checklist import ALTERED, unseen
    from jenkins_release.rules.gate.decision import OVERRIDABLE
    from jenkins_release.steps.context.local_files import write_file

    suite = ElementTree.Element("testsuite", name="jenkins-release gate")
    failures = skipped = 0
    for name in (ALTERED, *sorted(OVERRIDABLE)):
        case = ElementTree.SubElement(suite, "testcase", classname="gate", name=name)
        if name == ALTERED:
            reasons = [plain(line) for line in decision.altered]
        else:
            reasons = [plain(str(reason)) for reason in decision.unmet if reason.condition == name]
        if reasons and settled and name != ALTERED:
            ElementTree.SubElement(case, "skipped", message=f"{settled}: {reasons[0]}")
            skipped += 1
        elif reasons and name in awaited:
            ElementTree.SubElement(case, "skipped", message=f"not yet: {reasons[0]}")
            skipped += 1
        elif reasons:
            failure = ElementTree.SubElement(case, "failure", message=reasons[0])
            failure.text = "\n".join(reasons)
            failures += 1
        elif name in unseen(decision):
            ElementTree.SubElement(case, "skipped", message="not checked yet")
            skipped += 1
        waived = [w for w in decision.waived if w.reason.condition == name]
        if waived:
            lines = [
                f"OVERRIDDEN by {w.override.by}: {w.override.reason} ({w.reason.message})" for w in waived
            ]
            ElementTree.SubElement(case, "system-out").text = "\n".join(plain(line) for line in lines)
    counts: dict[str, Any] = {"tests": len(suite), "failures": failures, "skipped": skipped}
    for key, value in counts.items():
        suite.set(key, str(value))
    ElementTree.indent(suite)
    data = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True) + b"\n"
    write_file(path, data, "the report of checks")
