"""The gate: a pure function from bytes to a decision with every reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner

from jenkins_release.records.attestation import (
    PROVENANCE,
    REVOCATION,
    TEST_RESULT,
    TrustedKey,
    sign_statement,
)
from jenkins_release.records.candidate import manifest_digest
from jenkins_release.rules.gate import CLOCK_SKEW, Policy, decide

NOW = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
CANDIDATE = b'{"schema":"jenkins-release/candidate/v1"}\n'
QA = CryptoSigner.generate_ed25519()
SECOND_QA = CryptoSigner.generate_ecdsa()
BUILD = CryptoSigner.generate_ed25519()
STRANGER = CryptoSigner.generate_ed25519()


def trusted(
    name: str = "qa-key",
    signer: CryptoSigner = QA,
    role: str = "qa",
    *,
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
) -> TrustedKey:
    return TrustedKey(name, frozenset({role}), signer.public_key, valid_from, valid_until)


TRUSTED = (trusted(), trusted("second", SECOND_QA), trusted("build", BUILD, "build"))


def verdict(
    result: str = "PASSED",
    *,
    sequence: int = 1,
    tester: str = "Quinn",
    signer: CryptoSigner = QA,
    about: bytes = CANDIDATE,
    when: datetime = NOW - timedelta(hours=1),
    kind: str = TEST_RESULT,
    extension: Mapping[str, Any] | None = None,
) -> bytes:
    return sign_statement(
        kind,
        {"result": result, "configuration": []},
        {"candidate.json": manifest_digest(about).removeprefix("sha256:")},
        sequence=sequence,
        signed_at=when,
        signer=signer,
        extension={"tester": tester, **(extension or {})},
    )


def gate(
    *envelopes: bytes, keys: tuple[TrustedKey, ...] = TRUSTED, policy: Policy | None = None, **named: Any
):
    files = {f"{place:04d}-x.dsse.json": data for place, data in enumerate(envelopes, 1)}
    return decide(CANDIDATE, files, trusted=keys, policy=policy or Policy(), now=named.get("now", NOW))


def test_no_attestation_shuts_the_gate():
    """Without a sign-off the one reason says what is missing."""
    decision = gate()
    assert not decision.allowed
    assert decision.reasons == ("1 passing QA sign-off by trusted keys required for this candidate, found 0",)


def test_a_trusted_pass_opens_the_gate():
    """A pass by a trusted QA key for exactly these bytes is enough by default."""
    decision = gate(verdict())
    assert decision.allowed
    assert [(v.tester, v.passed, v.key) for v in decision.verdicts] == [("Quinn", True, "qa-key")]


def test_a_fail_shuts_the_gate_even_beside_enough_passes():
    """Somebody's fail counts until that person passes it."""
    decision = gate(verdict(), verdict("FAILED", tester="Robin", sequence=2, signer=SECOND_QA))
    assert not decision.allowed
    assert "Robin's verdict of 2026-11-20 17:00 UTC is fail" in decision.reasons


def test_a_later_pass_of_the_same_tester_replaces_the_fail():
    """The latest verdict of each tester counts."""
    assert gate(verdict("FAILED"), verdict(sequence=2)).allowed
    assert not gate(verdict(), verdict("FAILED", sequence=2)).allowed


def test_order_comes_from_the_signed_numbers_not_from_clocks():
    """A fail with an earlier time stamp but a later number still counts."""
    early = NOW - timedelta(days=2)
    assert not gate(verdict(), verdict("FAILED", sequence=2, when=early)).allowed


def test_a_revocation_voids_every_sign_off_before_it():
    """The reason names who revoked and why; a new pass opens the gate again."""
    revoked = verdict(kind=REVOCATION, sequence=2, extension={"reason": "wrong build tested"})
    decision = gate(verdict(), revoked)
    assert not decision.allowed
    assert "Quinn revoked the sign-offs before it: wrong build tested" in decision.reasons[0]
    assert gate(verdict(), revoked, verdict(sequence=3)).allowed


def test_a_pass_by_an_unknown_key_does_not_count_and_is_named():
    """The reason says which file was not counted, and the key id."""
    decision = gate(verdict(signer=STRANGER))
    assert not decision.allowed
    assert any("unknown key" in reason and "0001-x" in reason for reason in decision.reasons)


@pytest.mark.parametrize("kind", [TEST_RESULT, REVOCATION])
def test_a_fail_or_revocation_by_an_unknown_key_keeps_the_gate_shut(kind):
    """What speaks against a release is not ignored because its key is unknown."""
    decision = gate(verdict(), verdict("FAILED", kind=kind, sequence=2, signer=STRANGER))
    assert not decision.allowed


def test_the_number_of_sign_offs_counts_testers_not_attestations():
    """One tester signing twice is one sign-off; upper and lower case are one name."""
    two = Policy(sign_offs=2)
    assert not gate(verdict(), verdict(sequence=2, tester="QUINN"), policy=two).allowed
    assert gate(verdict(), verdict(sequence=2, tester="Robin", signer=SECOND_QA), policy=two).allowed


def test_one_key_cannot_sign_as_two_testers():
    """A sign-off is a person with a key: the same key under two names is one sign-off."""
    assert not gate(verdict(), verdict(sequence=2, tester="Robin"), policy=Policy(sign_offs=2)).allowed


def test_a_key_of_another_role_does_not_count():
    """A build key cannot sign off."""
    decision = gate(verdict(signer=BUILD))
    assert not decision.allowed
    assert any("needs a key with the role 'qa'" in reason for reason in decision.reasons)


@pytest.mark.parametrize(
    "bounds", [{"valid_from": NOW}, {"valid_until": NOW - timedelta(hours=1)}], ids=["not yet", "no longer"]
)
def test_a_key_outside_its_validity_does_not_count(bounds):
    """Validity is asked for the moment of signing."""
    decision = gate(verdict(), keys=(trusted(**bounds),))
    assert not decision.allowed
    assert any("outside the validity" in reason for reason in decision.reasons)


def test_a_signature_from_the_future_does_not_count():
    """A clock may run ahead by ten minutes, not by more."""
    assert gate(verdict(when=NOW + CLOCK_SKEW)).allowed
    assert not gate(verdict(when=NOW + CLOCK_SKEW + timedelta(seconds=1))).allowed


def test_a_sign_off_of_another_candidate_is_an_alteration():
    """A replayed attestation does not count, and is told apart from a missing one."""
    decision = gate(verdict(about=b"{}"))
    assert not decision.allowed
    assert decision.altered


def test_one_number_twice_is_an_alteration():
    """Copied attestations show."""
    decision = gate(verdict(), verdict())
    assert not decision.allowed
    assert "more than once" in decision.altered[0]


def test_all_reasons_are_given_at_once():
    """A person mends everything in one go."""
    decision = gate(
        verdict("FAILED"), verdict(sequence=2, signer=STRANGER), policy=Policy(2, build_attestation=True)
    )
    assert len(decision.reasons) == 4


def test_a_build_attestation_is_asked_for_where_build_keys_are_trusted():
    """Provenance by the build key is one of the conditions then."""
    policy = Policy(build_attestation=True)
    assert not gate(verdict(), policy=policy).allowed
    assert gate(verdict(sequence=2), verdict(kind=PROVENANCE, signer=BUILD), policy=policy).allowed


def test_the_order_of_the_files_does_not_matter():
    """The same attestations under any names give the same decision."""
    envelopes = [verdict(), verdict("FAILED", sequence=2), verdict(sequence=3)]
    assert {gate(*order).allowed for order in permutations(envelopes)} == {True}


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_one_changed_byte_never_opens_the_gate(data):
    """Whatever byte of a failing sign-off changes, the gate stays shut and nothing is raised."""
    good = verdict("FAILED")
    place = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[place] ^= data.draw(st.integers(1, 255))
    assert not gate(bytes(bad)).allowed


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_one_changed_byte_of_a_pass_is_noticed_or_meaningless(data):
    """A changed pass is counted only where the change leaves signature and statement as they were."""
    good = verdict()
    place = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[place] ^= data.draw(st.integers(1, 255))
    if gate(bytes(bad)).allowed:
        assert json.loads(bytes(bad))["payload"] == json.loads(good)["payload"]


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_garbage_shuts_the_gate_and_raises_nothing(garbage):
    """Any bytes in the folder end in a decision."""
    decision = gate(verdict(), garbage)
    assert not decision.allowed
    assert decision.altered
