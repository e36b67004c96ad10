"""Records of earlier refreshes that are lost: nobody can tell what ran, so nothing is changed unasked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from jenkins_release.records.attestation import read_envelope
from tests.fixtures.command import fails
from tests.fixtures.ledger import folder_ledger, with_ledger
from tests.fixtures.saas import SaasStack

NEWEST = "8.1.2/60"


def _records(stack: SaasStack) -> list[Path]:
    return sorted(stack.chain(NEWEST).glob("*-refresh.*"))


def garbled(stack: SaasStack) -> None:
    """The newest record cannot be read."""
    file = _records(stack)[-1]
    file.write_bytes(file.read_bytes()[:-20])


def first_of_two_gone(stack: SaasStack) -> None:
    """A record is removed from the middle of the chain."""
    _records(stack)[0].unlink()


def candidate_broken(stack: SaasStack) -> None:
    """The candidate in whose chain the newest records are cannot be read."""
    (stack.chain(NEWEST).parent / "candidate.json").write_text("{")


def newest_gone(stack: SaasStack) -> None:
    """The newest two are removed: what is left is a complete chain, and only a ledger tells."""
    for file in _records(stack):
        file.unlink()


def candidate_gone(stack: SaasStack) -> None:
    """The whole candidate is removed."""
    shutil.rmtree(stack.chain(NEWEST).parent)


@pytest.fixture
def three(stack: SaasStack, request: pytest.FixtureRequest) -> SaasStack:
    """8.1.0, 8.1.1 and 8.1.2 ran one after the other, with a ledger or without."""

    def make(made: SaasStack) -> None:
        if request.param == "ledger":
            with_ledger(made, folder_ledger(made.folder / "ledger"))
        made.release(NEWEST)
        for release in ("8.1.0/42", "8.1.1/50", NEWEST):
            if request.param == "ledger":
                made.ok("ledger", "adopt", release)
            made.refresh(release)

    return stack.begin(f"three, {request.param}", make)


@pytest.mark.parametrize(
    ("three", "damage"),
    [
        *(("no ledger", damage) for damage in (garbled, first_of_two_gone, candidate_broken)),
        *(("ledger", damage) for damage in (garbled, first_of_two_gone, newest_gone, candidate_gone)),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
    indirect=["three"],
)
def test_nothing_is_refreshed_until_somebody_says_why(
    three: SaasStack, damage: Callable[[SaasStack], None]
) -> None:
    """Refused, dry run too; the reason is signed, and from then on the records count as accepted."""
    damage(three)
    before = three.running(), sorted(three.share.rglob("*.json"))
    for more in ((), ("--dry-run",)):
        done = three.run("saas", "refresh", "8.1.1", *more)
        fails(done, 4, "records of earlier refreshes of rehearsal are lost", NEWEST, "--accept-lost REASON")
    fails(three.run("saas", "rollback"), 4, NEWEST, "--accept-lost REASON")
    fails(three.run("saas", "refresh", "8.1.1", "--accept-lost", " "), 2, "the accept-lost is empty")
    assert (three.running(), sorted(three.share.rglob("*.json"))) == before
    done = three.run("saas", "refresh", "8.1.1", "--accept-lost", "the disk broke, SKY-12")
    assert done.status == 0, done.text
    assert three.running() == three.pinned("8.1.1/50")
    for record in three.records("8.1.1/50")[-2:]:
        assert record.accepted_because == "the disk broke, SKY-12"
        assert any(line.startswith(NEWEST) for line in record.accepted_lost)
    told = three.run("release", "history", "8.1.1").out
    assert "the disk broke, SKY-12" in told
    assert three.run("saas", "refresh", "8.1.0").status == 0
    assert three.records("8.1.0/42")[-1].accepted_lost == ()
    done = three.run("saas", "rollback")
    assert done.status == 0, done.text
    assert three.running() == three.pinned("8.1.1/50")


@pytest.mark.parametrize("three", ["ledger"], indirect=True)
def test_what_is_lost_later_is_not_accepted(three: SaasStack) -> None:
    """A reason is for the records that were lost then."""
    newest_gone(three)
    assert three.run("saas", "refresh", "8.1.1", "--accept-lost", "the disk broke").status == 0
    for _ in range(2):
        max(three.chain("8.1.1/50").iterdir()).unlink()
    fails(three.run("saas", "refresh", "8.1.0"), 4, "are lost", "8.1.1/50")


@pytest.mark.parametrize("three", ["no ledger"], indirect=True)
def test_other_candidates_stop_nothing(three: SaasStack) -> None:
    """One that was never on the stack may be as broken as it likes; a reason without need is not recorded."""
    three.export("8.1.3/70")
    (three.chain("8.1.3/70").parent / "candidate.json").write_text("{")
    assert three.run("saas", "refresh", "8.1.1", "--accept-lost", "nothing is").status == 0
    file = max(three.chain("8.1.1/50").iterdir())
    assert "acceptedLost" not in read_envelope(file.read_bytes(), file.name)[1].predicate
