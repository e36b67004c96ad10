"""The gate's decision, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jenkins_release.cli.output import bullets

if TYPE_CHECKING:
    from jenkins_release.rules.gate.decision import Decision


def gate_word(decision: Decision) -> str:
    """Return the decision in a word."""
    if decision.altered:
        return "altered"
    if not decision.allowed:
        return "shut"
    if not decision.complete:
        return "validated, approval is looked at with the plan"
    return "open" if decision.scanned else "open, ECR's scans are looked at after the push"


def recorded_text(file: str, *, found: bool) -> list[str]:
    """Return what became of a statement, on a line; none after a dry run.

    Args:
        file: File name of the attestation.
        found: Whether it was there already.
    """
    if not file:
        return []
    return [f"{file} says it already: nothing was signed" if found else f"added {file}"]


def gate_text(decision: Decision) -> str:
    """Return the decision with every reason, and what was overridden."""
    reasons = [*decision.altered, *decision.reasons]
    text = f"gate: {gate_word(decision)}" + (f"\n{bullets(reasons)}" if reasons else "")
    text += "".join(f"\nnote: {note}" for note in decision.notes)
    return text + trust_text(decision) + overridden_text(decision)


def trust_text(decision: Decision) -> str:
    """Return where policy and trusted keys come from, on a line of its own."""
    return f"\ntrust: {decision.trust}" if decision.trust else ""


def overridden_text(decision: Decision) -> str:
    """Return what an override let pass, so that nobody overlooks it; empty if there is nothing."""
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
        "trust": decision.trust,
        "approvalsChecked": decision.complete,
        "scansChecked": decision.scanned,
        "reasons": list(decision.reasons),
        "unmet": [{"condition": r.condition, "message": r.message, "hint": r.hint} for r in decision.unmet],
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
    }
