"""How a tester knew which candidate was tested, according to the verdict."""

from __future__ import annotations

from typing import Any, Literal

from jenkins_release.base.text import plain
from jenkins_release.records.attestation import Statement

Binding = Literal["receipt", "digest", "unknown"]
UNKNOWN = "unknown what was tested"
_MANIFEST = "candidate.json"


def binding(said: Statement) -> Binding:
    """Return how a verdict is bound to the candidate that it is about.

    ``receipt``: by what the tester had loaded; ``digest``: the tester named the candidate's digest.
    ``unknown`` is everything else, including a verdict about one candidate whose tester tested another.
    """
    claim = said.extension.get("tested")
    if not isinstance(claim, dict) or claim.get("digest") != f"sha256:{said.subjects.get(_MANIFEST)}":
        return "unknown"
    by = claim.get("by")
    return "receipt" if by == "receipt" else "digest" if by == "digest" else "unknown"


def tested_text(said: Statement) -> str:
    """Say in words how a verdict is bound; its content is not trusted."""
    found = said.extension.get("tested")
    claim: dict[str, Any] = found if isinstance(found, dict) else {}
    match binding(said):
        case "receipt":
            host, moment = plain(claim.get("host", "?")), plain(claim.get("loadedAt", "?"))
            return f"tested as loaded on {host} at {moment}"
        case "digest":
            return "tested by the digest that the tester gave"
    if claim.get("digest"):
        return f"{UNKNOWN}: {plain(claim['digest'])}, which is not this candidate"
    return f"{UNKNOWN}: {plain(claim['reason'])}" if claim.get("reason") else UNKNOWN
