"""The history of a SaaS stack, collected from the attestations of all candidates.

Order is decided by the signed numbers and digests, never by clocks. As with a candidate's own chain,
a record that was removed from the very end leaves no trace.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import datetime

from jenkins_release.base.dataclass import dataclass
from jenkins_release.records.refresh import RefreshRecord, StackState


@dataclass(frozen=True)
class StackEntry:
    """A statement about the stack.

    Attributes:
        candidate: ``version/build`` of the candidate in whose chain it is.
        file: File name of the attestation.
        sha256: SHA-256 in hex of the attestation.
        by: Who refreshed.
        when: When it was signed.
        record: What it says.
    """

    candidate: str
    file: str
    sha256: str
    by: str
    when: datetime
    record: RefreshRecord

    @property
    def name(self) -> str:
        """Where it is."""
        return f"{self.candidate}/attestations/{self.file}"


@dataclass(frozen=True)
class StackHistory:
    """All statements about one stack.

    Attributes:
        entries: In order.
        notes: What is missing between them, or does not match.
    """

    entries: tuple[StackEntry, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def last(self) -> StackEntry | None:
        """The last statement."""
        return self.entries[-1] if self.entries else None

    @property
    def unsettled(self) -> StackEntry | None:
        """The last statement, if it leaves open what runs because its run died or failed."""
        last = self.last
        return last if last is not None and not last.record.settled else None

    @property
    def state(self) -> StackState:
        """The state that the stack was left in, or should be returned to; empty if unknown."""
        return self.last.record.state if self.last else StackState()

    def good_state(self, observed: StackState) -> StackState:
        """Return the state to return to if the next refresh fails.

        It is what runs now. Only after a run that died or failed, it is the state from before that run,
        unless something runs that is neither that run's nor in the state before.

        Args:
            observed: What runs now; without parts if the stack itself cannot tell.
        """
        open_end = self.unsettled
        if not observed.parts:
            return self.state
        if open_end is None:
            return observed
        known = (open_end.record.before.definitions, open_end.record.after.definitions)
        for part in observed.parts:
            if part.definition not in {definitions.get(part.name) for definitions in known}:
                return observed
        return open_end.record.state

    @property
    def undone(self) -> StackState:
        """The state that a rollback returns to.

        It is the state before the last refresh. After a rollback, or a refresh that was returned, it is the
        state that this led to, so a second rollback changes nothing.
        """
        if self.last is None:
            return StackState()
        said = self.last.record
        return said.after if said.action == "rollback" else said.before

    def follows(self) -> tuple[int, str]:
        """Return the number for the next statement, and the digest of the one before it."""
        return (self.last.record.number + 1, self.last.sha256) if self.last else (1, "")

    def resumes(self, action: str, release: str, before: StackState, after: StackState) -> StackEntry | None:
        """Return the statement of a run that died, if it was about to do exactly this."""
        last = self.unsettled
        if last is None or last.record.outcome != "started":
            return None
        said = last.record
        same = (said.action, said.release, said.before, said.after) == (action, release, before, after)
        return last if same else None


def stack_history(stack: str, found: Iterable[StackEntry]) -> StackHistory:
    """Put the statements about a stack in order.

    Args:
        stack: Its name.
        found: Statements with signatures that count, of any stack and in any order.
    """
    entries = sorted(
        (each for each in found if each.record.stack == stack),
        key=lambda each: (each.record.number, each.when, each.name),
    )
    notes = []
    for earlier, later in itertools.pairwise(entries):
        if later.record.number == earlier.record.number:
            notes.append(f"{earlier.name} and {later.name} have the same number {later.record.number}")
        elif later.record.number > earlier.record.number + 1:
            notes.append(f"records are missing between {earlier.name} and {later.name}")
        elif later.record.previous != earlier.sha256:
            notes.append(f"{later.name} does not follow {earlier.name}: one of the two was replaced")
    if entries and entries[0].record.number > 1:
        notes.append(f"records are missing before {entries[0].name}: a candidate was removed, or altered")
    return StackHistory(tuple(entries), tuple(notes))
