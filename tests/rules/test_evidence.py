"""Evidence: what counts, what does not, and every way in which a chain can have been altered."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from securesystemslib.signer import CryptoSigner, SSlibKey

from jenkins_release.records.attestation import (
    APPROVAL,
    MAX_ENVELOPE_BYTES,
    OVERRIDE,
    PROMOTION,
    PROVENANCE,
    REVOCATION,
    TEST_RESULT,
    WITHDRAWAL,
    Place,
)
from jenkins_release.rules.gate.chain import Arrival
from jenkins_release.rules.gate.chain import Chain as Attested
from jenkins_release.rules.gate.evidence import CLOCK_SKEW, Evidence, collect
from tests.fixtures.gate import (
    APPROVER,
    BUILD,
    CANDIDATE,
    EXPORTED,
    HOUR_AGO,
    KEYS,
    NIST,
    NOW,
    PROMOTER,
    QA,
    QA2,
    STRANGER,
    Chain,
    candidate,
    replaced,
    trusted,
)


def sorted_out(chain: Chain | dict[str, bytes], keys=KEYS, now=NOW) -> Evidence:
    return collect(Attested.of(CANDIDATE, chain.files if isinstance(chain, Chain) else chain), keys, now)


def four() -> Chain:
    """A chain of four."""
    return Chain().build().verdict().verdict(tester="Robin", signer=QA2).verdict("FAILED")


def test_a_whole_chain_counts_in_its_order():
    """Nothing is altered, nothing ignored."""
    found = sorted_out(four())
    assert [item.statement.sequence for item in found.counted] == [1, 2, 3, 4]
    assert [item.key.name for item in found.counted] == ["build", "quinn", "robin", "quinn"]
    assert (found.altered, found.ignored, found.objections) == ((), (), ())


def test_file_names_have_no_say():
    """The order comes from the signed numbers."""
    names = ["z", "a", "m", "b"]
    renamed = dict(zip(names, four().files.values(), strict=True))
    assert sorted_out(renamed).altered == ()
    assert [item.file for item in sorted_out(renamed).counted] == names


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ([0], "the attestation 0001 between the beginning and 0002-x"),
        ([1], "the attestation 0002 between 0001-x"),
        ([0, 1], "the attestation 0001 to 0002 between the beginning and 0003-x"),
        ([1, 2], "the attestation 0002 to 0003 between 0001-x"),
    ],
)
def test_a_removed_attestation_shows_where_it_was(gone, told):
    """The first, one in the middle, several."""
    files = {name: data for place, (name, data) in enumerate(four().files.items()) if place not in gone}
    (altered,) = sorted_out(files).altered
    assert altered.startswith(told)
    assert altered.endswith("was removed")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_replaced_attestation_shows(place):
    """Another one of the same number, signed by a trusted key, does not fit its successor."""
    files = four().files
    name = list(files)[place]
    before = dict(list(files.items())[:place])
    other = Chain().add(TEST_RESULT, QA, {"result": "PASSED"}, place=Place.after(before))
    files[name] = next(iter(other.files.values()))
    (altered,) = sorted_out(files).altered
    assert f"{list(files)[place + 1]} does not follow {name}: one of the two was replaced" == altered


def test_reordered_attestations_show():
    """Two that name each other's predecessor are not in an order that ever was."""
    chain = Chain().build()
    first, second = Place.after(chain.files), Place(3, "f" * 64)
    chain.verdict(place=second).verdict("FAILED", place=first)
    (altered,) = sorted_out(chain).altered
    assert "does not follow" in altered


def test_a_copy_shows():
    """The same number twice, whatever the file is called."""
    files = four().files
    files["0005-x.dsse.json"] = files["0002-x.dsse.json"]
    (altered,) = sorted_out(files).altered
    assert altered == "0005-x.dsse.json has the number 2, which is taken: it was copied"


@pytest.mark.parametrize("number", [0, -1, 10**30])
def test_an_impossible_number_shows(number):
    """Numbers are from 1, without a gap."""
    chain = Chain().build().verdict(place=Place(number, ""))
    assert sorted_out(chain).altered


def test_what_is_about_another_candidate_or_product_is_an_alteration():
    """A replayed attestation does not count, though its signature is right."""
    for other in (candidate(build="43"), candidate(product="Other"), b"{}"):
        found = sorted_out(Chain().build().verdict(about=other))
        assert [item.statement.kind for item in found.counted] == ["build"]
        assert "about another candidate.json" in found.altered[0]


def test_a_forged_signature_is_an_alteration():
    """A trusted key's id on a statement that it did not sign."""
    files = Chain().verdict(signer=STRANGER).files
    document = json.loads(files["0001-x.dsse.json"])
    document["signatures"][0]["keyid"] = QA.public_key.keyid
    found = sorted_out({"x": json.dumps(document).encode()})
    assert found.counted == ()
    assert found.altered == ("x: the signature of key 'quinn' does not match the statement",)


def test_a_key_of_another_kind_under_a_trusted_id_proves_nothing():
    """RSA is not accepted, and the name of an Ed25519 key on its signature is an alteration."""
    rsa_key = CryptoSigner(rsa.generate_private_key(65537, 2048))
    found = sorted_out(Chain().verdict(signer=rsa_key))
    assert found.counted == ()
    assert "signed by an unknown key" in found.ignored[0]
    forged = SSlibKey(QA.public_key.keyid, "rsa", "rsassa-pss-sha256", rsa_key.public_key.keyval)
    found = sorted_out(Chain().verdict(signer=CryptoSigner(rsa_key._private_key, forged)))
    assert found.counted == ()
    assert found.altered


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (KEYS[2:], "is signed by an unknown key ("),
        (replaced("quinn", revoked=True), "is signed by the key 'quinn', which is revoked"),
        (replaced("quinn", roles=frozenset({"build"})), "needs a key with the role 'qa'; 'quinn' has build"),
        (replaced("quinn", valid_from=NOW), "outside the validity of 'quinn'"),
        (replaced("quinn", valid_until=HOUR_AGO), "outside the validity of 'quinn'"),
    ],
    ids=["unknown", "revoked", "wrong role", "not yet", "no longer"],
)
def test_what_a_key_may_not_say_does_not_count(keys, told):
    """A pass is ignored with its reason; the file is named."""
    found = sorted_out(Chain().verdict(), keys)
    assert found.counted == ()
    assert found.altered == ()
    assert told in found.ignored[0]
    assert found.ignored[0].startswith("0001-x.dsse.json (qa)")


def test_an_old_key_counts_for_its_time_after_a_rotation():
    """What it signed before `valid_until` stays good; from then on only the new key's word counts."""
    change = NOW - timedelta(minutes=90)
    keys = (
        *replaced("quinn", valid_until=change)[:2],
        trusted("quinn-2027", QA2, "qa", valid_from=change),
    )
    chain = Chain().verdict(when=change - timedelta(minutes=1)).verdict(signer=QA2, when=change)
    assert [item.key.name for item in sorted_out(chain, keys).counted] == ["quinn", "quinn-2027"]
    late = Chain().verdict(when=change).verdict(signer=QA2, when=change - timedelta(seconds=1))
    assert sorted_out(late, keys).counted == ()
    assert len(sorted_out(late, keys).ignored) == 2


def test_a_revoked_key_says_nothing_any_more():
    """Nor does what it signed while it was good."""
    chain = Chain().verdict(when=EXPORTED)
    assert sorted_out(chain).counted
    assert not sorted_out(chain, replaced("quinn", revoked=True, valid_until=NOW)).counted


def test_a_key_that_is_trusted_under_two_names_is_one_key():
    """Both statements are by the first name, and a revocation of either holds."""
    twice = (trusted("one", QA, "qa"), trusted("two", QA, "qa"))
    chain = Chain().verdict().verdict(tester="Robin")
    assert {item.key.name for item in sorted_out(chain, twice).counted} == {"one"}
    revoked = (trusted("one", QA, "qa"), trusted("two", QA, "qa", revoked=True))
    assert sorted_out(chain, revoked).counted == ()


@pytest.mark.parametrize("kind", [TEST_RESULT, REVOCATION, WITHDRAWAL])
@pytest.mark.parametrize(
    ("signer", "keys"),
    [(STRANGER, KEYS), (BUILD, KEYS), (QA, replaced("quinn", revoked=True))],
    ids=["unknown", "wrong role", "revoked"],
)
def test_what_speaks_against_a_release_is_never_ignored(kind, signer, keys):
    """A fail, a revocation and a withdrawal are objections whoever signed them."""
    found = sorted_out(Chain().add(kind, signer, {"result": "FAILED"}), keys)
    assert found.counted == ()
    assert found.ignored == ()
    assert len(found.objections) == 1


@pytest.mark.parametrize("kind", [PROVENANCE, APPROVAL, OVERRIDE, PROMOTION])
def test_what_speaks_for_a_release_is_ignored_without_a_trusted_key(kind):
    """It neither helps nor harms."""
    found = sorted_out(Chain().add(kind, STRANGER))
    assert (found.counted, found.objections, found.altered) == ((), (), ())
    assert len(found.ignored) == 1


def test_a_type_that_is_not_ours_does_not_count():
    """Whichever key signed it."""
    found = sorted_out(Chain().add("https://example.com/other/v1", QA))
    assert "is of the unknown type 'https://example.com/other/v1'" in found.ignored[0]


def test_a_type_that_is_not_ours_by_nobody_we_know_is_an_objection():
    """It may have been a revocation before somebody changed a letter."""
    found = sorted_out(Chain().add("https://example.com/other/v1", STRANGER))
    assert found.ignored == ()
    assert len(found.objections) == 1


@pytest.mark.parametrize("signer", [QA, NIST], ids=["Ed25519", "ECDSA P-256"])
def test_both_kinds_of_keys_count(signer):
    """As `keys generate` makes them."""
    assert sorted_out(Chain().verdict(signer=signer), (trusted("quinn", signer, "qa"),)).counted


# --- clocks ---------------------------------------------------------------------------------------


def test_a_clock_may_run_ahead_by_ten_minutes_and_not_more():
    """What is signed later than now does not count."""
    assert sorted_out(Chain().verdict(when=NOW + CLOCK_SKEW)).counted
    found = sorted_out(Chain().verdict(when=NOW + CLOCK_SKEW + timedelta(seconds=1)))
    assert found.counted == ()
    assert "signed in the future (2026-11-20 18:10 UTC): check the clocks" in found.ignored[0]


def test_a_clock_that_runs_backwards_shows():
    """A statement from before its predecessor, by more than the skew."""
    chain = Chain().build().verdict(when=HOUR_AGO)
    assert sorted_out(chain.verdict(when=HOUR_AGO - CLOCK_SKEW)).altered == ()
    (altered,) = sorted_out(chain.verdict(when=HOUR_AGO - CLOCK_SKEW - timedelta(seconds=1))).altered
    assert "before 0003-x.dsse.json: a clock runs backwards" in altered


def test_a_signature_from_before_the_export_does_not_count():
    """An expired key cannot be used today for a date in its time."""
    keys = replaced("quinn", valid_until=EXPORTED - timedelta(days=30))
    found = sorted_out(Chain().verdict(when=EXPORTED - timedelta(days=31)), keys)
    assert found.counted == ()
    assert "before the candidate was exported" in found.ignored[0]
    assert sorted_out(Chain().verdict(when=EXPORTED - CLOCK_SKEW)).counted


@pytest.mark.parametrize("year", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC)])
def test_the_ends_of_time_break_nothing(year):
    """A stranger's clock is no way to stop the program."""
    for chain in (
        Chain().add(PROVENANCE, STRANGER, when=year).build(),
        Chain().build().add(PROVENANCE, STRANGER, when=year),
    ):
        found = sorted_out(chain)
        assert len(found.ignored) == 1


def test_times_are_compared_and_shown_in_utc():
    """Wherever they were signed."""
    from datetime import timezone

    east = timezone(timedelta(hours=14))
    chain = Chain().build().verdict(when=HOUR_AGO.astimezone(east))
    found = sorted_out(chain)
    assert found.counted[1].statement.signed_at == HOUR_AGO
    assert found.counted[1].statement.signed_at.tzinfo is UTC


# --- what is no attestation -----------------------------------------------------------------------


def rewritten(**changes) -> bytes:
    """Signed by nobody we know, so that it is the form that is looked at and not the signature."""
    document = json.loads(Chain().verdict(signer=STRANGER).files["0001-x.dsse.json"])
    return json.dumps(document | changes).encode()


def payload(**changes) -> str:
    statement = json.loads(base64.b64decode(json.loads(rewritten())["payload"]))
    return base64.b64encode(json.dumps(statement | changes).encode()).decode()


def own(**changes) -> bytes:
    statement = json.loads(base64.b64decode(json.loads(rewritten())["payload"]))
    statement["predicate"]["jenkinsRelease"] |= changes
    return rewritten(payload=base64.b64encode(json.dumps(statement).encode()).decode())


NESTED = b'{"payload":"","x":' + b'{"x":' * 900 + b"1" + b"}" * 901


@pytest.mark.parametrize(
    "data",
    {
        "empty": b"",
        "no JSON": b"\xff\xfe",
        "truncated": rewritten()[:-30],
        "truncated payload": rewritten(payload=json.loads(rewritten())["payload"][:-8]),
        "unsigned": rewritten(signatures=[]),
        "key id of another type": rewritten(signatures=[{"keyid": 7, "sig": "AAAA"}]),
        "key id that is no text": rewritten(signatures=[{"keyid": "\ud800", "sig": "AAAA"}]),
        "oversized": b" " * MAX_ENVELOPE_BYTES + b"{}",
        "of another payload type": rewritten(payloadType="text/plain"),
        "of another statement type": rewritten(payload=payload(_type="x")),
        "nested beyond reason": NESTED,
        "time without a zone": own(signedAt="2026-11-20T17:00:00"),
        "time that is none": own(signedAt=7),
        "time that UTC cannot hold": own(signedAt="0001-01-01T00:00:00+10:00"),
        "number that is none": own(sequence="1"),
        "number that is a bool": own(sequence=True),
        "no predecessor": own(previous=None),
        "text that is no Unicode": own(tester="\ud800"),
        "a type that writes to the terminal": rewritten(payload=payload(predicateType="\x1b[2J")),
    }.items(),
    ids=lambda item: item[0],
)
def test_what_is_no_attestation_is_an_alteration(data):
    """It closes the gate by its file name, and raises nothing."""
    found = sorted_out({"0001-x.dsse.json": data[1]})
    assert found.counted == ()
    assert "0001-x.dsse.json" in found.altered[0]


def test_latest_and_of_select_by_type():
    """What the conditions ask the evidence."""
    found = sorted_out(Chain().build().verdict().add(APPROVAL, APPROVER).verdict())
    assert found.latest(TEST_RESULT) == 4
    assert found.latest(WITHDRAWAL) == 0
    assert [item.statement.sequence for item in found.of(TEST_RESULT, APPROVAL)] == [2, 3, 4]


# --- keys that have ended, and their holders ------------------------------------------------------

ENDED = NOW - timedelta(days=30)
"""When Quinn left: the key `quinn` was valid until then."""
FORMER = replaced("quinn", valid_until=ENDED)
BACKDATED = candidate(exported_at=ENDED - timedelta(days=2))
"""A candidate of today, with an `exported_at` that whoever put it on the share chose."""
IN_TIME = ENDED - timedelta(days=1)


def judged(chain: Chain, keys=FORMER, arrivals=None) -> Evidence:
    return collect(Attested.of(BACKDATED, chain.files, arrivals), keys, NOW)


def arrived(*moments: datetime, adopted: bool = False) -> dict[str, Arrival]:
    """The times at which the ledger took the attestations of a chain, in its order."""
    return {
        f"{number:04d}-x.dsse.json": Arrival(moment, adopted)
        for number, moment in enumerate(moments, start=1)
    }


def test_a_former_tester_cannot_sign_a_new_candidate_with_an_old_date():
    """The date of the export and the date of the signature were both written today, with the old key."""
    found = judged(Chain(BACKDATED).verdict(when=IN_TIME))
    assert found.counted == ()
    assert (
        "by the key 'quinn', which ended at 2026-10-21 18:00 UTC, and nothing shows that it was signed"
        in (found.ignored[0])
    )


def test_a_later_statement_by_a_valid_key_of_that_time_confirms_an_old_one():
    """It names the digest of what it follows: that was there before the key ended."""
    chain = Chain(BACKDATED).verdict(when=IN_TIME).add(APPROVAL, APPROVER, when=IN_TIME)
    assert [item.key.name for item in judged(chain).counted] == ["quinn", "alex"]


@pytest.mark.parametrize(
    ("signer", "when", "keys"),
    [
        (APPROVER, HOUR_AGO, FORMER),
        (QA, IN_TIME, FORMER),
        (STRANGER, IN_TIME, FORMER),
        (QA2, IN_TIME, FORMER),
        (APPROVER, IN_TIME, tuple(replace(k, revoked=True) if k.name == "alex" else k for k in FORMER)),
        (APPROVER, IN_TIME, tuple(replace(k, valid_until=ENDED) if k.name == "alex" else k for k in FORMER)),
    ],
    ids=["too late", "the same key", "unknown", "wrong role", "revoked", "ended too"],
)
def test_what_confirms_nothing(signer, when, keys):
    """An approval of today says nothing about last month; neither do the holders of other old keys."""
    chain = Chain(BACKDATED).verdict(when=IN_TIME).add(APPROVAL, signer, when=when)
    assert "quinn" not in {item.key.name for item in judged(chain, keys).counted}


def test_a_chain_of_keys_that_ended_is_confirmed_by_its_end():
    """Each by the one after it, and the last by a key that is valid now."""
    keys = tuple(replace(key, valid_until=ENDED) if key.name == "build" else key for key in FORMER)
    chain = Chain(BACKDATED).build(when=IN_TIME).verdict(when=IN_TIME)
    assert judged(chain, keys).counted == ()
    assert len(judged(chain.add(APPROVAL, APPROVER, when=IN_TIME), keys).counted) == 3


def test_a_key_that_begins_later_needs_the_same():
    """Within the skew of the clocks a statement may be dated into the time of a key that is not valid yet."""
    soon = NOW + timedelta(minutes=5)
    keys = replaced("quinn", valid_from=soon)
    found = collect(Attested.of(CANDIDATE, Chain().verdict(when=soon).files), keys, NOW)
    assert "by the key 'quinn', which begins at 2026-11-20 18:05 UTC" in found.ignored[0]
    assert collect(Attested.of(CANDIDATE, Chain().verdict(when=soon).files), keys, soon).counted


@pytest.mark.parametrize(("result", "count"), [("FAILED", 1), ("PASSED", 0)])
def test_a_fail_counts_also_when_nothing_confirms_it(result, count):
    """What speaks against a release needs no proof of its time."""
    assert len(judged(Chain(BACKDATED).verdict(result, when=IN_TIME)).counted) == count


def test_a_revocation_that_nothing_confirms_is_an_objection():
    """It takes back fails too: so it does not count, and is not ignored."""
    found = judged(Chain(BACKDATED).add(REVOCATION, QA, when=IN_TIME))
    assert (found.counted, len(found.objections)) == ((), 1)


# --- with a ledger --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late", "counts"),
    [(timedelta(0), True), (CLOCK_SKEW - timedelta(seconds=1), True), (CLOCK_SKEW, False)],
)
def test_the_time_of_arrival_decides_about_a_key_that_ended(late, counts):
    """Within the validity of the key, and the skew of the clocks."""
    chain = Chain(BACKDATED).verdict(when=IN_TIME)
    found = judged(chain, arrivals=arrived(ENDED + late))
    assert bool(found.counted) is counts
    if not counts:
        assert (
            "arrived in the ledger at 2026-10-21 18:10 UTC, outside the validity of 'quinn'"
            in (found.ignored[0])
        )


def test_a_confirmation_does_not_outweigh_the_time_of_arrival():
    """Whoever signed later, the ledger's clock is nobody's to set."""
    chain = Chain(BACKDATED).verdict(when=IN_TIME).add(APPROVAL, APPROVER, when=IN_TIME)
    found = judged(chain, arrivals=arrived(HOUR_AGO, HOUR_AGO))
    assert [item.key.name for item in found.counted] == ["alex"]


def test_what_was_adopted_is_held_to_its_confirmation():
    """A chain from before the ledger arrived long after it was signed."""
    chain = Chain(BACKDATED).verdict(when=IN_TIME)
    assert judged(chain, arrivals=arrived(HOUR_AGO, adopted=True)).counted == ()
    chain.add(APPROVAL, APPROVER, when=IN_TIME)
    assert len(judged(chain, arrivals=arrived(HOUR_AGO, HOUR_AGO, adopted=True)).counted) == 2


def test_what_is_not_in_the_ledger_does_not_count_for_a_release():
    """A pass and an approval count only once they are there; a fail and a withdrawal count at once."""
    chain = Chain().verdict().add(APPROVAL, APPROVER).verdict("FAILED").add(WITHDRAWAL, PROMOTER)
    found = collect(Attested.of(CANDIDATE, chain.files, {}), KEYS, NOW)
    assert [item.statement.kind for item in found.counted] == ["qa", "withdrawal"]
    assert [line.partition(" ")[0] for line in found.ignored] == ["0001-x.dsse.json", "0002-x.dsse.json"]
    assert all("is not in the ledger" in line for line in found.ignored)


def test_an_early_arrival_is_outside_the_validity_too():
    """`valid_from` holds for the time of arrival as well."""
    keys = replaced("quinn", valid_from=HOUR_AGO)
    chain = Chain().verdict(when=HOUR_AGO)
    early = {"0001-x.dsse.json": Arrival(HOUR_AGO - CLOCK_SKEW - timedelta(seconds=1))}
    assert collect(Attested.of(CANDIDATE, chain.files, early), keys, NOW).counted == ()
    in_time = {"0001-x.dsse.json": Arrival(HOUR_AGO)}
    assert len(collect(Attested.of(CANDIDATE, chain.files, in_time), keys, NOW).counted) == 1
