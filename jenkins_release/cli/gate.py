"""The gate's decision, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jenkins_release.cli.output import bullets, styled

if TYPE_CHECKING:
    from jenkins_release.rules.gate.decision import Decision


def gate_word(decision: Decision) -> str:
    """Return the decision in a word."""
    if decision.altered:
        return "altered"
    if not decision.allowed:
        return "shut"
    if not decision.complete:
        return "validated, approval is checked with the plan"
    return "open" if decision.scanned else "open, ECR's scans are checked after the push"


def gate_shown(decision: Decision, word: str) -> str:
    """Return a word about the decision in its colour."""
    if decision.altered or not decision.allowed:
        return styled(word, "bad")
    return styled(word, "good" if decision.complete else "open")


def recorded_text(file: str, *, found: bool) -> list[str]:
    """Return a line about a statement; none after a dry run.

    Args:
        file: File name of the attestation.
        found: Whether it already existed.
    """
    if not file:
        return []
    return [f"{file} already says it: nothing was signed" if found else f"added {file}"]


def gate_text(decision: Decision) -> str:
    """Return the decision with every reason, and what was overridden."""
    reasons = [*decision.altered, *decision.reasons]
    text = f"gate: {gate_shown(decision, gate_word(decision))}" + (f"\n{bullets(reasons)}" if reasons else "")
    text += "".join(f"\nnote: {note}" for note in decision.notes)
    return text + trust_text(decision) + overridden_text(decision)


def trust_text(decision: Decision) -> str:
    """Return a line about where policy and trusted keys come from."""
    return f"\ntrust: {decision.trust}" if decision.trust else ""


def overridden_text(decision: Decision) -> str:
    """Return what was overridden, so that it is not overlooked; empty if nothing was."""
    lines = [
        f"{waived.reason.condition}: {waived.reason.message} -- overridden by {waived.override.by}: "
        f"{waived.override.reason}"
        for waived in decision.waived
    ]
    return f"\n{styled('*** OVERRIDDEN ***', 'bad')}\n{bullets(lines)}" if lines else ""


def gate_json(decision: Decision) -> dict[str, Any]:
    """Return the decision for programs."""
    from jenkins_release.rules.gate.checklist import brief

    return {
        "open": decision.allowed,
        "trust": decision.trust,
        "approvalsChecked": decision.complete,
        "scansChecked": decision.scanned,
        "reasons": list(decision.reasons),
        "unmet": [
            {"condition": r.condition, "message": r.message, "hint": r.hint, "brief": brief(r)}
            for r in decision.unmet
        ],
        "altered": list(decision.altered),
        "notes": list(decision.notes),
        "overridden": [
            {
                "condition": w.reason.condition,
                "message": w.reason.message,
                "by": w.override.by,
                "reason": w.override.reason,
            }
            for w in decision.waived
        ],
        "verdicts": [
            {
                "tester": v.tester,
                "passed": v.passed,
                "key": v.key,
                "notary": v.notary,
                "file": v.file,
                "tested": v.tested,
            }
            for v in decision.verdicts
        ],
        "approvals": [
            {"approver": str(each.statement.extension.get("approver", "")), "file": each.file}
            for each in decision.approved
        ],
    }
