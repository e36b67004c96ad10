"""The tables of conditions, roles and attestations on the pages are those of the program."""

from __future__ import annotations

import re
from typing import get_args

from jenkins_release.config.model import PolicySection, Role
from jenkins_release.records.attestation import KINDS, ROLES
from jenkins_release.rules.gate.decision import OVERRIDABLE
from tests.docs.pages import ROOT, read, table

GATE = ROOT / "docs" / "gate.md"
LAYOUT = ROOT / "docs" / "share-layout.md"


def test_every_condition_is_on_the_page_and_no_other():
    """Their names are what an override names and what the brackets of a refusal show."""
    assert {cells[0].strip("`") for cells in table(GATE, "condition", "policy", "refusal")} == OVERRIDABLE


def test_every_key_of_the_policy_belongs_to_a_condition():
    """A key that no condition of the table names would be one that nobody understands."""
    rows = table(GATE, "condition", "policy", "refusal")
    named = {name for cells in rows for name in re.findall(r"`(\w+)`", cells[1])}
    assert named - {"build"} == set(PolicySection.model_fields)


def test_the_roles_of_keys_are_on_the_page():
    """Those that `release.toml` knows, in its order."""
    rows = table(GATE, "role", "signs", "who holds it")
    assert [cells[0].strip("`") for cells in rows] == list(get_args(Role))


def test_every_kind_of_attestation_is_described_with_its_type_and_role():
    """docs/share-layout.md lists what may stand in the folder."""
    rows = {
        cells[0].strip("`"): cells for cells in table(LAYOUT, "kind", "predicate type", "role of the key")
    }
    said = {cells[1].strip("`"): (kind, cells[2].strip("`")) for kind, cells in rows.items()}
    assert said == {uri: (kind, ROLES[uri]) for uri, kind in KINDS.items()}


def test_the_one_approval_of_a_first_release_is_the_default():
    """The rehearsal depends on it."""
    assert PolicySection().approvals == 1
    assert "have it approved" in read(ROOT / "docs" / "first-use.md")
