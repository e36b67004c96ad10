"""What something waits for, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jenkins_release.cli.output import plain, styled

if TYPE_CHECKING:
    from jenkins_release.rules.release.waiting import Wait


def wait_json(wait: Wait | None) -> dict[str, Any]:
    """Return what is waited for, with the keys of the release board's document."""
    return {
        "waitsFor": wait.what if wait and wait.state != "done" else "",
        "who": wait.who if wait else "",
        "command": wait.command if wait else "",
        "reasons": list(wait.reasons) if wait else [],
    }


def wait_text(wait: Wait | None) -> str:
    """Return what is waited for, and for whom."""
    if wait is None or wait.state == "done":
        return "-"
    return styled(plain(wait.line), "bad" if wait.state == "problem" else "open")
