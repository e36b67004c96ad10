"""A chain on the share compared to what the ledger recorded of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from jenkins_release.ledger import Line
from jenkins_release.records.candidate import manifest_digest
from jenkins_release.rules.gate.chain import Chain as Attested
from jenkins_release.rules.gate.ledger import NO_LEDGER, Standing, compare, entries_of
from tests.fixtures.gate import CANDIDATE, Chain, candidate

PLACE = ("SkyDRM", "8.1.0", "42")
DIGEST = manifest_digest(CANDIDATE)
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FILES = Chain().build().verdict().verdict("FAILED").files
NAMES = [*FILES]


def lines(files: dict[str, bytes] = FILES, about: bytes = CANDIDATE, *, adopted: bool = False) -> list[Line]:
    """What a ledger has of a chain."""
    entries = entries_of(PLACE, Attested.of(about, files), adopted=adopted)
    return [Line(entry.path, entry.to_bytes(), NOON) for entry in entries]


def found(files: dict[str, bytes] = FILES, recorded: list[Line] | None = None) -> Standing:
    return compare(PLACE, Attested.of(CANDIDATE, files), lines() if recorded is None else recorded, "L")


def test_a_chain_that_is_recorded_agrees():
    """Every file has its time of arrival."""
    standing = found()
    assert (standing.altered, standing.behind, standing.missing, standing.unknown) == ((), (), False, "")
    assert [each.entry.number for each in standing.entries] == [0, 1, 2, 3]
    assert standing.arrivals is not None
    assert {name: arrival.at for name, arrival in standing.arrivals.items()} == dict.fromkeys(NAMES, NOON)
    assert not any(arrival.adopted for arrival in standing.arrivals.values())
    adopted = found(recorded=lines(adopted=True))
    assert adopted.arrivals is not None
    assert all(arrival.adopted for arrival in adopted.arrivals.values())


def test_without_a_ledger_nothing_is_compared():
    """None is not an empty ledger."""
    assert compare(PLACE, Attested.of(CANDIDATE, FILES), None) is NO_LEDGER
    assert NO_LEDGER.arrivals is None
    assert found(recorded=[]).missing


def test_a_line_that_was_emptied_is_no_line_that_was_never_there():
    """Whoever could empty it took the last attestation away from the share."""
    files = {name: FILES[name] for name in NAMES[:-1]}
    recorded = lines()
    recorded[-1] = replace(recorded[-1], data=b"")
    (line,) = found(files, recorded).altered
    assert recorded[-1].path in line and "is not valid JSON" in line


@pytest.mark.parametrize("gone", NAMES)
def test_an_attestation_that_the_share_lacks_shows(gone: str):
    """Whichever it is, with its number, kind, digest and time."""
    files = {name: data for name, data in FILES.items() if name != gone}
    (line,) = found(files).altered
    number = NAMES.index(gone) + 1
    entry = found().entries[number].entry
    assert f"the share lacks the attestation {number:04d} that the ledger L has: {entry.kind}" in line
    assert entry.sha256 in line
    assert "2026-11-20 12:00:00 UTC" in line


def test_an_attestation_in_the_place_of_another_names_both():
    """Expected and found."""
    other = Chain().build().verdict().verdict("PASSED").files
    (line,) = found(other).altered
    assert line.startswith(f"{NAMES[2]} is not the attestation that the ledger L has under the number 3")
    assert found(other).behind == (NAMES[2],)


def test_a_chain_that_goes_on_behind_the_ledger_is_no_alteration():
    """Its writer may be at work, or have died."""
    standing = found(recorded=lines()[:-1])
    assert (standing.altered, standing.behind) == ((), (NAMES[2],))


def test_a_candidate_without_its_own_entry_is_unknown():
    """Also when attestations of it are there: an adoption that died, which goes on with the next one."""
    standing = found(recorded=lines()[1:])
    assert standing.missing
    assert standing.altered == (standing.unknown,)
    assert "'jenkins-release ledger adopt' enters" in standing.unknown


def test_another_candidate_json_of_the_build_is_named():
    """Somebody put another candidate in its place: that is none to adopt."""
    other = candidate(built_by="Mallory")
    standing = found(recorded=lines(about=other))
    (line,) = standing.altered
    assert f"it has one of another candidate.json: {manifest_digest(other)}" in line
    assert standing.unknown == ""


def test_entries_of_an_export_that_died_are_in_nobodys_way():
    """Of another digest, beside those of the candidate."""
    other = candidate(built_by="Blake again")
    assert found(recorded=[*lines(about=other), *lines()]).altered == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda line: replace(line, problem="it was deleted"), "the ledger was altered: it was deleted"),
        (lambda line: replace(line, data=b"{}"), "expected a record of schema"),
        (lambda line: replace(line, data=b"\xff"), "is not valid JSON"),
        (lambda line: replace(line, path=line.path.replace("0002", "0007")), "it was copied or renamed"),
        (lambda line: replace(line, data=line.data.replace(b'"8.1.0"', b'"8.1.1"')), "copied or renamed"),
    ],
    ids=["versions", "another record", "no JSON", "copied", "another version"],
)
def test_what_is_wrong_with_a_line_shows(change, told):
    """Fail closed: it is an alteration, and its attestation is not recorded."""
    recorded = lines()
    recorded[2] = change(recorded[2])
    assert any(told in line for line in found(recorded=recorded).altered)


def test_a_line_that_was_deleted_and_has_no_version_left_still_shows():
    """A marker alone."""
    recorded = lines()
    recorded[3] = Line(recorded[3].path, b"", NOON, "it was deleted")
    standing = found(recorded=recorded)
    assert standing.altered == ("the ledger was altered: it was deleted",)
    assert standing.behind == (NAMES[2],)
