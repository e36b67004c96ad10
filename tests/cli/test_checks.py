"""The gate's conditions as a JUnit report: what failed, what was overridden, what nobody looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from defusedxml import ElementTree

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.cli.checks import AWAITED, write_checks
from jenkins_release.records.junit import read_junit
from jenkins_release.rules.gate.approvals import Override
from jenkins_release.rules.gate.conditions import Reason
from jenkins_release.rules.gate.decision import OVERRIDABLE, Decision, Waived

SIGN_OFF = Reason("sign-offs", "1 passing sign-off required, found 0", "qa sign-off records one")
SOAK = Reason("soak", "too young", "wait")


def report(decision: Decision, tmp_path: Path) -> dict[str, ElementTree.Element]:
    """Write the report, and return its cases by name."""
    write_checks(decision, tmp_path / "checks.xml")
    root = ElementTree.fromstring((tmp_path / "checks.xml").read_bytes())
    assert int(root.get("tests")) == len(root)
    return {case.get("name"): case for case in root}


def test_every_condition_is_a_case(tmp_path: Path):
    """An open gate has no failure."""
    cases = report(Decision((), (), ()), tmp_path)
    assert set(cases) == OVERRIDABLE | {"nothing-altered"}
    assert all(len(case) == 0 for case in cases.values())


def test_what_is_not_met_failed_and_says_what_to_do(tmp_path: Path):
    """Jenkins counts it, and shows the reason."""
    cases = report(Decision((SIGN_OFF, SIGN_OFF), ("0002 was altered",), ()), tmp_path)
    assert cases["sign-offs"].find("failure").text == f"{SIGN_OFF}\n{SIGN_OFF}"
    assert cases["nothing-altered"].find("failure").get("message") == "0002 was altered"
    found = read_junit((tmp_path / "checks.xml").read_bytes(), "checks.xml")
    assert found.failed == ("gate.nothing-altered", "gate.sign-offs")


def test_what_was_not_looked_at_is_skipped(tmp_path: Path):
    """It neither failed nor passed."""
    cases = report(Decision((), (), (), complete=False, scanned=False), tmp_path)
    skipped = {name for name, case in cases.items() if case.find("skipped") is not None}
    assert skipped == {"approvals", "separation", "scan"}


def test_what_an_approval_settles_is_no_failure_of_a_plan(tmp_path: Path):
    """Its time has not come; everything else that is not met fails as ever."""
    approval = Reason("approvals", "1 approval of this plan required, found 0", "approve it")
    write_checks(Decision((SOAK, approval), (), ()), tmp_path / "checks.xml", awaited=AWAITED)
    cases = {
        case.get("name"): case for case in ElementTree.fromstring((tmp_path / "checks.xml").read_bytes())
    }
    assert cases["approvals"].find("skipped").get("message") == f"not yet: {approval}"
    assert cases["soak"].find("failure") is not None


def test_what_nothing_hangs_on_any_more_is_skipped(tmp_path: Path):
    """A promotion of long ago stays green in Jenkins, with what is not met now; an alteration does not."""
    write_checks(Decision((SOAK,), ("0002 was altered",), ()), tmp_path / "checks.xml", "nothing to do")
    cases = {
        case.get("name"): case for case in ElementTree.fromstring((tmp_path / "checks.xml").read_bytes())
    }
    assert cases["soak"].find("failure") is None
    assert cases["soak"].find("skipped").get("message") == f"nothing to do: {SOAK}"
    assert cases["nothing-altered"].find("failure") is not None


def test_an_override_is_seen(tmp_path: Path):
    """It passes, and says by whom and why; no line of its own is drawn into the page."""
    override = Override(("soak",), "Olga", "fire\nin the house", "0004-override.dsse.json")
    cases = report(Decision((), (), (), waived=(Waived(SOAK, override),)), tmp_path)
    assert cases["soak"].find("failure") is None
    assert cases["soak"].findtext("system-out") == "OVERRIDDEN by Olga: fire\\nin the house (too young)"


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path):
    """With its name."""
    with pytest.raises(ConfigurationError, match=r"the report of checks .*nowhere.* cannot be written"):
        write_checks(Decision((), (), ()), tmp_path / "nowhere" / "checks.xml")
