"""The gate as a whole: a pure function from bytes to a decision, and what can never open it."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, lru_cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.records.attestation import KINDS, TEST_RESULT, Place, TrustedKey
from jenkins_release.records.candidate import manifest_digest
from jenkins_release.records.plan import Plan
from jenkins_release.records.scan import Scan
from jenkins_release.rules.gate.chain import Chain as Attested
from jenkins_release.rules.gate.chain import Document
from jenkins_release.rules.gate.conditions import Facts
from jenkins_release.rules.gate.decision import OVERRIDABLE, Decision, decide
from jenkins_release.rules.gate.policy import Freeze, Policy
from tests.fixtures.damage import flipped
from tests.fixtures.gate import (
    BUILD,
    CANDIDATE,
    EXPORTED,
    HOUR_AGO,
    KEYS,
    NOW,
    PROMOTER,
    QA,
    QA2,
    QA3,
    STRANGER,
    Chain,
    candidate,
    conditions,
    named,
    plan,
    planned,
)

CONDITIONS = sorted(OVERRIDABLE)
EXAMPLES = int(os.environ.get("FUZZ_CASES", "500")) // 5
"""Of each property; ``make fuzz`` tries more."""
EVERYTHING = settings(max_examples=EXAMPLES)


@dataclass(frozen=True)
class World:
    """Everything that the gate looks at."""

    files: dict[str, bytes]
    policy: Policy
    facts: Facts
    plan: Plan
    about: bytes = CANDIDATE
    keys: tuple[TrustedKey, ...] = KEYS

    def ask(self) -> Decision:
        return decide(
            Attested(self.about, tuple(map(_document, self.files, self.files.values()))),
            trusted=self.keys,
            policy=self.policy,
            facts=self.facts,
            plan=self.plan,
        )


_document = lru_cache(2000)(Document)
"""What stays as it is between two worlds is read and verified once, as when a candidate is opened again."""


def world(broken: Iterable[str] = (), *, late: bool = False) -> World:
    """See :func:`_world`; made once."""
    return _world(frozenset(broken), late)


@cache
def _world(broken: frozenset[str], late: bool) -> World:
    """A release that meets every condition, but for those that are named.

    Args:
        broken: Conditions to break.
        late: Whether what speaks against the release comes after the approval.
    """
    policy = Policy(
        sign_offs=2,
        sign_off_max_age_days=2,
        tested=True,
        soak_hours=100 if "soak" in broken else 24,
        required_suites=("smoke", "security"),
        build_attestation=True,
        approvals=1,
        approvers=("Alex", "Riley"),
        freezes=(Freeze(NOW, NOW + timedelta(days=1), "year end"),) if "freeze" in broken else (),
        scan=("CRITICAL",),
        sbom="sbom" in broken,
    )
    made = plan(policy)
    chain = Chain()
    if "build" not in broken:
        chain.build()
    suites = ["smoke"] if "suites" in broken else ["smoke", "security"]
    bound = {"tested": {"by": "receipt", "digest": manifest_digest(CANDIDATE)}}
    when = EXPORTED if "age" in broken else HOUR_AGO
    chain.verdict(suites=suites, when=when, **({} if "tested" in broken else bound))
    if "sign-offs" not in broken:
        chain.verdict(tester="Robin", signer=QA2, suites=suites, **bound)
    if not late:
        _speak_against(chain, broken)
    if "separation" in broken:
        chain.approve(made, "Riley")
    elif "approvals" not in broken:
        chain.approve(made)
    if late:
        _speak_against(chain, broken)
    older, newer = ReleaseVersion.parse("8.1.0-rc1"), ReleaseVersion.parse("8.1.5")
    facts = Facts(
        NOW,
        released=(newer,) if "downgrade" in broken else (older,),
        scans={"rms": Scan("COMPLETE", {"CRITICAL": 1 if "scan" in broken else 0}, counted=True)},
    )
    return World(chain.files, policy, facts, made)


def _speak_against(chain: Chain, broken: frozenset[str]) -> None:
    if "fail" in broken:
        chain.verdict("FAILED", tester="Tess", signer=QA3)
    if "withdrawn" in broken:
        chain.promoted().withdraw()
    if "unknown-key" in broken:
        chain.revoke(STRANGER, "Mallory")


def expected(broken: Iterable[str]) -> set[str]:
    """The conditions that the gate has to name; without a separate approver the approval is missing too."""
    return {*broken} | ({"approvals"} if "separation" in broken else set())


BROKEN = st.sets(st.sampled_from(CONDITIONS), min_size=1)
ANY_PLACE = st.booleans()


def test_a_release_that_meets_everything_goes_out():
    """The start of all of the following: every condition is asked for, and met."""
    decision = world().ask()
    assert decision.allowed
    assert (decision.unmet, decision.altered, decision.ignored, decision.waived) == ((), (), (), ())
    assert decision.complete
    assert decision.scanned
    assert decision.reasons == ()


@pytest.mark.parametrize("name", CONDITIONS)
def test_no_single_missing_condition_lets_a_candidate_through(name):
    """Each of them alone; the reason has its name, what is not met, and what to do."""
    decision = world([name]).ask()
    assert not decision.allowed
    assert {*conditions(decision)} == expected([name])
    for reason in decision.unmet:
        assert reason.message
        assert reason.hint
        assert f"[{reason.condition}: {reason.hint}]" in str(reason)


@given(BROKEN)
@EVERYTHING
def test_all_unmet_conditions_are_told_at_once(broken):
    """Any of them together: exactly those, none hides another."""
    decision = world(broken).ask()
    assert not decision.allowed
    assert {*conditions(decision)} == expected(broken)
    assert decision.altered == ()
    assert len(decision.reasons) >= len(decision.unmet) >= len(broken)


@given(BROKEN, BROKEN, ANY_PLACE)
@EVERYTHING
def test_an_override_waives_what_it_names_and_nothing_else(broken, named_ones, late):
    """The rest keeps the gate shut, and everything waived stays visible."""
    before = world(broken, late=late)
    unmet = {*conditions(before.ask())}
    chain = Chain()
    chain.files.update(before.files)
    chain.override(before.plan, *named_ones)
    decision = replace(before, files=chain.files).ask()
    assert {*conditions(decision)} == unmet - named_ones
    assert {each.reason.condition for each in decision.waived} == unmet & named_ones
    assert decision.allowed is (unmet <= named_ones)


@given(BROKEN | st.just(set()), ANY_PLACE, st.data())
@EVERYTHING
def test_names_and_order_of_the_files_do_not_matter(broken, late, data):
    """The same attestations under other names, read in another order, give the same decision."""
    before = world(broken, late=late)
    names = data.draw(
        st.lists(
            st.text("abcdefgh0123", min_size=1),
            min_size=len(before.files),
            max_size=len(before.files),
            unique=True,
        )
    )
    pairs = data.draw(st.permutations([*zip(names, before.files.values(), strict=True)]))
    decision, same = replace(before, files=dict(pairs)).ask(), before.ask()
    assert decision.allowed is same.allowed
    assert decision.altered == same.altered == ()
    assert conditions(decision) == conditions(same)
    assert [v.tester for v in decision.verdicts] == [v.tester for v in same.verdicts]


# --- what an attacker may add ---------------------------------------------------------------------

OTHER = candidate(product="Other")
FOR_IT = {
    "result": "PASSED",
    "conditions": CONDITIONS,
    "tests": {"suites": ["smoke", "security"]},
}


def said(before: World) -> dict[str, object]:
    """A predicate that would help wherever it counted."""
    return FOR_IT | named(before.plan)


WAYS = ("stranger", "wrong role", "replayed", "forged", "duplicated", "future", "expired")


@st.composite
def additions(draw: st.DrawFn, before: World) -> dict[str, bytes]:
    """Attestations that must not count in favour, with any number and in any place."""
    chain = Chain()
    chain.files.update(before.files)
    for number in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(sorted(KINDS)))
        way = draw(
            st.sampled_from(
                ["stranger", "wrong role", "replayed", "forged", "duplicated", "future", "expired"]
            )
        )
        who = draw(st.sampled_from(["Alex", "Quinn", "Robin", "Tess", "Mallory"]))
        place = draw(
            st.one_of(
                st.none(),
                st.builds(Place, st.integers(-1, 12), st.sampled_from(["", "f" * 64])),
            )
        )
        more = {"tester": who, "approver": who, "by": who, "reason": "trust me", "tests": FOR_IT["tests"]}
        name = draw(st.sampled_from(["0000", "9999", "a", "0001-y"])) + str(number)
        signer, when, about = STRANGER, NOW - timedelta(hours=1), None
        if way == "wrong role":
            signer = BUILD if kind != "https://slsa.dev/provenance/v1" else QA
        elif way == "replayed":
            signer, about = draw(st.sampled_from([BUILD, QA, QA2, QA3, PROMOTER])), OTHER
        elif way == "future":
            signer, when = QA, NOW + timedelta(days=1)
        elif way == "expired":
            signer, when = QA, EXPORTED - timedelta(days=30)
        elif way == "duplicated" and before.files:
            chain.files[name] = draw(st.sampled_from(sorted(before.files.values())))
            continue
        chain.add(kind, signer, said(before), place=place, when=when, about=about, name=name, **more)
        if way == "forged":
            document = json.loads(chain.files[name])
            document["signatures"][0]["keyid"] = draw(st.sampled_from(KEYS)).key.keyid
            chain.files[name] = json.dumps(document).encode()
    return chain.files


@given(BROKEN, ANY_PLACE, st.data())
@EVERYTHING
def test_what_nobody_entitled_signed_for_it_never_opens_the_gate(broken, late, data):
    """Untrusted, forged, replayed, duplicated, expired, post-dated, of the wrong role: any number of them."""
    before = world(broken, late=late)
    after = replace(before, files=data.draw(additions(before))).ask()
    assert not after.allowed
    assert {*conditions(before.ask())} <= {*conditions(after)} or after.altered
    assert after.waived == ()


@given(BROKEN, ANY_PLACE, st.sampled_from(["remove", "revoke", "expire", "role", "not yet"]), st.data())
@EVERYTHING
def test_trusting_a_key_less_never_opens_the_gate(broken, late, way, data):
    """Whatever key of whichever statement it is: also that of a fail, a revocation or a withdrawal."""
    before = world(broken, late=late)
    place = data.draw(st.integers(0, len(KEYS) - 1))
    key = KEYS[place]
    less = {
        "remove": [],
        "revoke": [replace(key, revoked=True)],
        "expire": [replace(key, valid_until=EXPORTED)],
        "not yet": [replace(key, valid_from=NOW)],
        "role": [replace(key, roles=frozenset({"nothing"}))],
    }[way]
    keys = (*KEYS[:place], *less, *KEYS[place + 1 :])
    assert not replace(before, keys=keys).ask().allowed


@given(BROKEN | st.just(set()), ANY_PLACE, st.data())
@EVERYTHING
def test_a_removed_attestation_closes_the_gate(broken, late, data):
    """Any but the last one: the chain names the gap."""
    before = world(broken, late=late)
    names = list(before.files)
    assume(len(names) > 1)
    gone = data.draw(st.sampled_from(names[:-1]))
    decision = replace(before, files={n: d for n, d in before.files.items() if n != gone}).ask()
    assert not decision.allowed
    assert any("was removed" in line for line in decision.altered)


def _change(data: bytearray, draw: st.DataObject) -> None:
    """Change one byte."""
    data[draw.draw(st.integers(0, 1_000_000)) % len(data)] ^= draw.draw(st.integers(1, 255))


# --- what an attacker may change ------------------------------------------------------------------


@given(BROKEN, ANY_PLACE, st.data())
@settings(max_examples=2 * EXAMPLES)
def test_one_changed_byte_anywhere_never_opens_a_closed_gate(broken, late, data):
    """In any attestation or in candidate.json; and nothing is raised."""
    before = world(broken, late=late)
    name = data.draw(st.sampled_from([*before.files, "candidate.json"]))
    good = before.about if name == "candidate.json" else before.files[name]
    bad = bytearray(good)
    _change(bad, data)
    if name == "candidate.json":
        after = replace(before, about=bytes(bad))
    else:
        after = replace(before, files=before.files | {name: bytes(bad)})
    assert not after.ask().allowed


@pytest.mark.parametrize(("name", "first"), [("fail", 0), ("withdrawn", 1), ("unknown-key", 2)])
def test_no_byte_of_the_last_objection_can_be_changed_away(name, first):
    """The last attestation has no successor that would show the change: every third byte, or all."""
    before = world([name], late=True)
    last = list(before.files)[-1]
    good = before.files[last]
    places = range(len(good)) if EXAMPLES > 100 else range(first, len(good), 3)
    for place in places:
        bad = flipped(good, place)
        assert not replace(before, files=before.files | {last: bad}).ask().allowed, place


@given(st.data())
@EVERYTHING
def test_one_changed_byte_of_an_open_gate_is_noticed_or_meaningless(data):
    """It stays open only where statement and signatures are what they were."""
    before = world()
    name = data.draw(st.sampled_from(sorted(before.files)))
    good = before.files[name]
    bad = bytearray(good)
    _change(bad, data)
    if replace(before, files=before.files | {name: bytes(bad)}).ask().allowed:
        assert name == max(before.files)
        assert base64.b64decode(json.loads(bytes(bad))["payload"]) == base64.b64decode(
            json.loads(good)["payload"]
        )


@given(st.data())
@EVERYTHING
def test_a_truncated_attestation_shuts_the_gate(data):
    """Wherever it ends."""
    before = world()
    name = data.draw(st.sampled_from(sorted(before.files)))
    good = before.files[name]
    cut = good[: data.draw(st.integers(0, 1_000_000)) % (len(good) - 1)]
    decision = replace(before, files=before.files | {name: cut}).ask()
    assert not decision.allowed
    assert any(name in line for line in decision.altered)


@given(st.binary(max_size=300), st.text(min_size=1))
@EVERYTHING
def test_garbage_shuts_the_gate_and_raises_nothing(garbage, name):
    """Any bytes in the folder, and any bytes as candidate.json, end in a decision."""
    before = world()
    decision = replace(before, files=before.files | {f"9{name}": garbage}).ask()
    assert not decision.allowed
    assert decision.altered
    decision = replace(before, about=garbage).ask()
    assert not decision.allowed
    assert decision.altered


@pytest.mark.parametrize(
    "about",
    [
        CANDIDATE.replace(b'"8.1.0"', b'"eight"'),
        CANDIDATE.replace(b"2026-11-17T18:00:00Z", b"2026-11-17T18:00:00"),
        CANDIDATE.replace(b"2026-11-17T18:00:00Z", b"9999-12-31T23:59:59Z"),
        CANDIDATE.replace(b"2026-11-17T18:00:00Z", b"0001-01-01T00:00:00Z"),
        CANDIDATE.replace(b"candidate/v1", b"candidate/v2"),
    ],
)
def test_a_candidate_that_cannot_be_judged_is_altered(about):
    """Its attestations are about other bytes, and nothing is raised."""
    assert about != CANDIDATE
    decision = replace(world(), about=about).ask()
    assert not decision.allowed
    assert decision.altered


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    )
)
@settings(max_examples=60)
def test_whatever_a_trusted_key_signs_ends_in_a_decision(value):
    """A statement of any shape, correctly signed, for every field that the conditions read."""
    before = world()
    for kind, signer in ((TEST_RESULT, QA), *((kind, PROMOTER) for kind in KINDS)):
        chain = Chain()
        chain.files.update(before.files)
        keys = tuple(replace(key, roles=frozenset({*KINDS.values(), "qa"})) for key in KEYS)
        predicate = dict.fromkeys(("result", "conditions", "plan", "planDigest"), value)
        own = dict.fromkeys(("tester", "approver", "by", "reason", "tests", "withdrawnBy"), value)
        chain.add(kind, signer, predicate, **own)
        decision = replace(before, files=chain.files, keys=keys).ask()
        assert decision.altered == ()


def test_the_gate_asks_for_the_plan_as_it_is_now():
    """The same approval, and ECR moved on: nothing but the plan decides."""
    before = world()
    moved = before.plan.model_copy(update={"images": (planned(repository="other/rms"),)})
    assert conditions(replace(before, plan=moved).ask()) == ["approvals"]
