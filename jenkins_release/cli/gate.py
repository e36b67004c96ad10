"""The gate's decision, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jenkins_release.cli.output import bullets

if TYPE_CHECKING:
    from jenkins_release.rules.gate import Decision


def gate_word(decision: Decision) -> str:
    """Return the decision in a word."""
    if decision.altered:
        return "altered"
    if not decision.allowed:
        return "shut"
    if not decision.complete:
        return "validated, approval is looked at with the plan"
    return "open" if decision.scanned else "open, ECR's scans are looked at after the push"


def gate_text(decision: Decision) -> str:
    """Return the decision with every reason, and what was overridden."""
    reasons = [*decision.altered, *decision.reasons]
    text = f"gate: {gate_word(decision)}" + (f"\n{bullets(reasons)}" if reasons else "")
    return text + overridden_text(decision)


def overridden_text(decision: Decision) -> str:
    """Return what an override let pass, so that nobody overlooks it; empty where there is nothing."""
    lines = [
        f"{waived.reason.condition}: {waived.reason.message} -- overridden by {waived.override.by}: "
        f"{waived.override.reason}"
        for waived in decision.waived
    ]
    return f"\n*** OVERRIDDEN ***\n{bullets(lines)}" if lines else ""


def gate_json(decision: Decision) -> dict[str, Any]:
    """Return the decision for programs."""
    return {
        "open": decision.allowed,
        "approvalsChecked": decision.complete,
        "scansChecked": decision.scanned,
        "reasons": list(decision.reasons),
        "unmet": [{"condition": r.condition, "message": r.message, "hint": r.hint} for r in decision.unmet],
        "altered": list(decision.altered),
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
            {"tester": v.tester, "passed": v.passed, "key": v.key, "file": v.file} for v in decision.verdicts
        ],
    }
