"""Checks of a doctor: one after the other, each with a deadline, and none that needs a failed one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import Category, ReleaseError
from jenkins_release.base.waits import Stopped, ThreadGroup, stopping


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What was looked at.
        status: How it is.
        said: What was found, or why it was not looked at.
        hint: What to do, unless it is right.
        needs: The failed check because of which this one was not made; empty for any other reason.
        category: The kind of failure; None unless it failed.
    """

    name: str
    status: Status
    said: str
    hint: str = ""
    needs: str = ""
    category: Category | None = None

    @property
    def good(self) -> bool:
        """Whether it did not fail."""
        return self.status is not Status.FAIL


@dataclass(frozen=True)
class Found:
    """What a check found.

    Attributes:
        said: What was found.
        hint: What to do about it: this makes it a warning.
    """

    said: str
    hint: str = ""


def judged(name: str, good: bool, said: str, hint: str) -> Check:
    """Return a check that is right, or a refusal with what to do."""
    if good:
        return Check(name, Status.OK, said)
    return Check(name, Status.FAIL, said, hint, category=Category.REFUSED)


def failed(name: str, error: ReleaseError) -> Check:
    """Return the check that an error ended, with all its reasons."""
    said = "; ".join([error.message, *error.reasons])
    return Check(name, Status.FAIL, said, error.hint, category=error.category)


class Examination:
    """Makes checks, and keeps what they found.

    Args:
        limit_s: Longest time of a check, in seconds.

    Attributes:
        checks: All checks so far, in order.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.checks: list[Check] = []

    def check(self, name: str, look: Callable[[], Found], *needs: str) -> bool:
        """Make a check, unless one that it needs failed or was not made.

        Args:
            name: What is looked at.
            look: Looks. Its :class:`ReleaseError` is a failure.
            *needs: Names of earlier checks; an unknown name is not waited for.

        Returns:
            Whether it was made and did not fail.

        Raises:
            Stopped: The process was asked to stop.
        """
        made = self._missing(name, needs) or self._looked(name, look)
        self.checks.append(made)
        return made.status in {Status.OK, Status.WARNING}

    def skip(self, name: str, why: str) -> None:
        """Note that something is not looked at, such as what is not configured."""
        self.checks.append(Check(name, Status.SKIPPED, why))

    def fail(self, name: str, error: ReleaseError) -> None:
        """Note a failure that is known already."""
        self.checks.append(failed(name, error))

    def named(self, name: str) -> Check | None:
        """Return an earlier check."""
        return next((each for each in self.checks if each.name == name), None)

    def _missing(self, name: str, needs: Sequence[str]) -> Check | None:
        for each in needs:
            before = self.named(each)
            if before is not None and before.status in {Status.FAIL, Status.SKIPPED}:
                first = before.needs or before.name
                return Check(name, Status.SKIPPED, f"not checked: needs {first}", needs=first)
        return None

    def _looked(self, name: str, look: Callable[[], Found]) -> Check:
        group = ThreadGroup()
        group.end(self.limit_s)
        try:
            found = group.run(look)
        except Stopped:
            if stopping():
                raise
            return Check(
                name,
                Status.FAIL,
                f"no result within {self.limit_s:g} s",
                "look at the network on the way there: a firewall may swallow the packets",
                category=Category.REMOTE,
            )
        except ReleaseError as error:
            return failed(name, error)
        return Check(name, Status.WARNING if found.hint else Status.OK, found.said, found.hint)


def shown_by(check: Check, redact: Callable[[str], str]) -> Check:
    """Return a check whose texts went through ``redact``."""
    return replace(check, said=redact(check.said), hint=redact(check.hint))
