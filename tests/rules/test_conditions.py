"""The single conditions of the gate: name, message and hint of each, and where its bound lies."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.records.candidate import Candidate, DocumentRecord, FileRecord, manifest_digest
from jenkins_release.records.scan import Scan
from jenkins_release.rules.gate.chain import Chain as Attested
from jenkins_release.rules.gate.conditions import Reason, verdicts
from jenkins_release.rules.gate.evidence import collect
from jenkins_release.rules.gate.policy import Freeze, Policy
from tests.fixtures.gate import (
    CANDIDATE,
    EXPORTED,
    HOUR_AGO,
    KEYS,
    NOW,
    QA,
    QA2,
    QA3,
    STRANGER,
    Chain,
    candidate,
    conditions,
    gate,
    trusted,
)


def only(decision) -> Reason:
    """The one unmet condition."""
    (reason,) = decision.unmet
    assert not decision.allowed
    assert decision.altered == ()
    return reason


# --- sign-offs ------------------------------------------------------------------------------------


def test_a_candidate_without_a_sign_off():
    """The reason says how many are required and found, and how to give one."""
    reason = only(gate(Chain()))
    assert reason.condition == "sign-offs"
    assert reason.message == "1 passing QA sign-off by trusted keys required for this candidate, found 0"
    assert reason.hint == "'jenkins-release qa sign-off' records a verdict"
    assert str(reason) == f"{reason.message} [sign-offs: {reason.hint}]"


def test_a_pass_is_enough_by_default():
    """By a trusted QA key, for exactly these bytes."""
    decision = gate(Chain().verdict())
    assert decision.allowed
    assert decision.reasons == ()
    (verdict,) = decision.verdicts
    assert (verdict.tester, verdict.passed, verdict.key, verdict.keyid, verdict.suites) == (
        "Quinn",
        True,
        "quinn",
        QA.public_key.keyid,
        ("smoke",),
    )


def test_a_fail_counts_until_the_same_tester_passes_it():
    """It needs no majority; and only the same key in the same hand mends it."""
    fail = Chain().verdict().verdict("FAILED", tester="Robin", signer=QA2)
    reason = only(gate(fail))
    assert reason.condition == "fail"
    assert reason.message == "Robin's verdict of 2026-11-20 17:00 UTC is fail"
    assert "'qa revoke'" in reason.hint
    assert conditions(gate(fail.verdict(tester="Sam", signer=QA3))) == ["fail"]
    assert conditions(gate(fail.verdict(tester="Robin", signer=QA3))) == ["fail"]
    assert conditions(gate(fail.verdict(tester="Sam", signer=QA2))) == ["fail"]
    assert gate(fail.verdict(tester="ROBIN", signer=QA2)).allowed


@pytest.mark.parametrize("result", ["FAILED", "WARNED", "passed", "", None, True, ["PASSED"]])
def test_what_is_not_a_pass_is_a_fail(result):
    """Only the word of the test-result predicate is a pass."""
    assert "fail" in conditions(gate(Chain().verdict(result)))


def test_sign_offs_are_people_with_a_key_each():
    """Neither one key under two names nor one name with two keys is two people."""
    two = Policy(sign_offs=2)
    assert gate(Chain().verdict().verdict(tester="Robin", signer=QA2), two).allowed
    for second in ({"tester": "Robin"}, {"tester": "QUINN", "signer": QA2}, {}):
        reason = only(gate(Chain().verdict().verdict(**second), two))
        assert reason.message == "2 passing QA sign-offs by trusted keys required for this candidate, found 1"


def test_three_sign_offs_are_three_pairs():
    """Two keys in one hand and one key under two names are two people, not three."""
    chain = Chain().verdict().verdict(signer=QA2).verdict(tester="Robin", signer=QA3)
    chain.verdict(tester="Sam", signer=QA3)
    assert "found 2" in only(gate(chain, Policy(sign_offs=3))).message
    assert gate(chain, Policy(sign_offs=2)).allowed


def test_a_key_that_is_trusted_twice_is_not_two_people():
    """Whatever the two entries are called."""
    keys = (trusted("one", QA, "qa"), trusted("two", QA, "qa"))
    chain = Chain().verdict().verdict(tester="Robin")
    assert "found 1" in only(gate(chain, Policy(sign_offs=2), keys=keys)).message


def test_only_named_keys_may_sign_off():
    """Others are listed among the verdicts, and do not count."""
    policy = Policy(sign_off_keys=("robin",))
    reason = only(gate(Chain().verdict(), policy))
    assert "1 passing QA sign-off by robin required" in reason.message
    assert gate(Chain().verdict().verdict(tester="Robin", signer=QA2), policy).allowed


def test_a_revocation_takes_every_sign_off_before_it_back():
    """The reason names who and why; a pass after it opens the gate again."""
    chain = Chain().verdict().verdict("FAILED", tester="Robin", signer=QA2).revoke(QA3, "Sam")
    reason = only(gate(chain))
    assert reason.condition == "sign-offs"
    assert "found 0; Sam revoked the sign-offs before it: wrong build tested" in reason.message
    assert gate(chain.verdict()).allowed


def test_a_sign_off_grows_old():
    """A second too old is too old; the reason names whose."""
    policy = Policy(sign_off_max_age_days=2)
    border = NOW - timedelta(days=2)
    assert gate(Chain().verdict(when=border), policy).allowed
    old = Chain().verdict(when=border - timedelta(seconds=1))
    reason = only(gate(old, policy))
    assert reason.condition == "age"
    assert reason.message == "Quinn's sign-off of 2026-11-18 17:59 UTC is older than 2 days"
    assert reason.hint == "test again and sign off again"


def bound(by: str = "receipt", digest: str = "") -> dict[str, str]:
    """What a sign-off says was tested."""
    return {"by": by, "digest": digest or manifest_digest(CANDIDATE)}


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ({"tested": bound("receipt")}, True),
        ({"tested": bound("digest")}, True),
        ({"tested": bound("unknown")}, False),
        ({"tested": bound("guess")}, False),
        ({"tested": bound(digest=f"sha256:{'0' * 64}")}, False),
        ({"tested": {"by": "receipt"}}, False),
        ({"tested": "receipt"}, False),
        ({}, False),
    ],
)
def test_a_pass_counts_only_for_what_was_tested(said, counts):
    """By receipt or digest, and of exactly this candidate, if the policy asks for it."""
    chain = Chain().verdict(**said)
    assert gate(chain).allowed
    assert gate(chain).verdicts[0].tested == (said["tested"]["by"] if counts else "unknown")
    decision = gate(chain, Policy(tested=True))
    assert decision.allowed == counts
    if not counts:
        assert only(decision).condition == "tested"
        assert only(decision).message.startswith("Quinn's sign-off of 2026-")
        assert only(decision).message.endswith(" UTC: unknown what was tested")


def test_one_sign_off_has_to_be_bound_and_young(keys=KEYS):
    """Of two, one too old and one of which nobody knows what was tested, neither is enough."""
    policy = Policy(sign_off_max_age_days=2, tested=True)
    old = {"when": NOW - timedelta(days=3), "tested": bound()}
    chain = Chain().verdict(**old).verdict(tester="Robin", signer=QA2, when=HOUR_AGO)
    assert conditions(gate(chain, policy)) == ["age", "tested"]
    chain.verdict(tester="Sam", signer=QA3, when=HOUR_AGO, tested=bound())
    assert gate(chain, policy).allowed


def test_an_old_sign_off_that_is_not_needed_does_no_harm():
    """Enough fresh ones, which cover what is required, are enough."""
    policy = Policy(sign_off_max_age_days=2, required_suites=("smoke", "security"))
    chain = Chain().verdict(when=EXPORTED, suites=["security"])
    chain.verdict(tester="Robin", signer=QA2, suites=["smoke"])
    assert conditions(gate(chain, policy)) == ["age"]
    assert gate(chain.verdict(tester="Sam", signer=QA3, suites=["security"]), policy).allowed


def test_required_suites_have_to_be_covered_between_the_passes():
    """By fresh passes that count; each missing suite has its own reason."""
    policy = Policy(required_suites=("smoke", "upgrade", "security"))
    chain = Chain().verdict(suites=["smoke"])
    missing = [reason.message for reason in gate(chain, policy).unmet]
    assert missing == [
        f"no passing sign-off covers the test suite {suite!r}" for suite in ("upgrade", "security")
    ]
    chain.verdict(tester="Robin", signer=QA2, suites=["upgrade", "security"])
    assert gate(chain, policy).allowed
    chain.verdict("FAILED", tester="Robin", signer=QA2, suites=["upgrade", "security"])
    assert conditions(gate(chain, policy)) == ["fail", "suites"]
    assert gate(Chain().verdict(suites=["Smoke"]), Policy(required_suites=("smoke",))).unmet


@pytest.mark.parametrize(
    "tests", [None, 7, [], {"suites": None}, {"suites": "smoke"}, {"suites": [["smoke"]]}]
)
def test_results_of_another_shape_cover_nothing(tests):
    """They are signed, and may be wrong all the same."""
    from jenkins_release.records.attestation import TEST_RESULT

    chain = Chain().add(TEST_RESULT, QA, {"result": "PASSED"}, tester="Quinn", tests=tests)
    assert conditions(gate(chain, Policy(required_suites=("smoke",)))) == ["suites"]


def test_a_verdict_without_a_tester_is_its_keys():
    """The key's holder."""
    chain = Chain().verdict(tester="")
    (verdict,) = verdicts(collect(Attested.of(CANDIDATE, chain.files), KEYS, NOW))
    assert verdict.tester == "quinn"


# --- build, time, order ---------------------------------------------------------------------------


def test_a_build_has_to_be_attested():
    """By a key with the role."""
    policy = Policy(build_attestation=True)
    reason = only(gate(Chain().verdict(), policy))
    assert (reason.condition, reason.hint) == ("build", "export with a build key: signing.build_key")
    assert gate(Chain().build().verdict(), policy).allowed
    assert conditions(gate(Chain().build(QA).verdict(), policy)) == ["build"]
    assert conditions(gate(Chain().build(STRANGER).verdict(), policy)) == ["build"]


def test_a_candidate_has_to_rest():
    """Until the last second."""
    policy = Policy(soak_hours=72)
    assert gate(Chain().verdict(), policy, now=NOW).allowed
    reason = only(gate(Chain().verdict(), policy, now=NOW - timedelta(minutes=30)))
    assert reason.condition == "soak"
    assert reason.message == "exported at 2026-11-17 18:00 UTC, has to rest for 72 hours"
    assert reason.hint == "wait another 0.5 hours"


def test_an_export_in_the_future_has_not_rested():
    """A clock that ran ahead does not shorten the time."""
    late = candidate(exported_at=NOW + timedelta(hours=5))
    decision = gate(Chain(late).verdict(when=NOW + timedelta(minutes=5)), Policy(soak_hours=1))
    assert "wait another 6.0 hours" in next(r for r in decision.unmet if r.condition == "soak").hint


def test_nothing_goes_out_in_a_freeze():
    """From its first moment to the one before its end; every freeze has its reason."""
    frozen = Freeze(NOW, NOW + timedelta(days=10), "year end")
    policy = Policy(freezes=(frozen, Freeze(NOW, NOW + timedelta(hours=1), "audit")))
    chain = Chain().verdict()
    assert [r.message for r in gate(chain, policy).unmet] == [
        "releases are frozen from 2026-11-20 18:00 to 2026-11-30 18:00 UTC: year end",
        "releases are frozen from 2026-11-20 18:00 to 2026-11-20 19:00 UTC: audit",
    ]
    assert conditions(gate(chain, policy, now=NOW + timedelta(days=10) - timedelta(seconds=1))) == ["freeze"]
    for free in (NOW - timedelta(seconds=1), NOW + timedelta(days=10)):
        assert gate(chain, policy, now=free).allowed


def test_a_freeze_of_another_zone_is_told_in_utc():
    """A team in Kathmandu writes +05:45."""
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    start = datetime(2026, 11, 20, 23, 0, tzinfo=kathmandu)
    reason = only(
        gate(Chain().verdict(), Policy(freezes=(Freeze(start, start + timedelta(days=1), "audit"),)))
    )
    assert reason.message == "releases are frozen from 2026-11-20 17:15 to 2026-11-21 17:15 UTC: audit"


@pytest.mark.parametrize(
    ("released", "allowed"),
    [
        ((), True),
        (("8.0.9", "8.0.9-hotfix1", "8.2.0", "9.0.0"), True),
        (("8.1.0",), True),
        (("8.1.0-rc2",), True),
        (("8.1.0-hotfix1",), False),
        (("8.0.0", "8.1.1"), False),
    ],
)
def test_a_version_is_not_older_than_what_is_released_in_its_line(released, allowed):
    """Another line does not matter, the same version does not either."""
    versions = tuple(ReleaseVersion.parse(text) for text in released)
    decision = gate(Chain().verdict(), released=versions)
    assert decision.allowed is allowed
    assert gate(Chain().verdict(), Policy(allow_downgrade=True), released=versions).allowed
    if not allowed:
        reason = only(decision)
        assert reason.condition == "downgrade"
        assert f"version 8.1.0 is older than {released[-1]}" in reason.message


# --- scans ----------------------------------------------------------------------------------------

CRITICAL = Policy(scan=("CRITICAL", "HIGH"))


@pytest.mark.parametrize(
    ("scans", "told"),
    [
        ({}, "ECR has no completed scan of the image rms (status: none)"),
        (
            {"viewer": Scan("COMPLETE", counted=True)},
            "ECR has no completed scan of the image rms (status: none)",
        ),
        ({"rms": Scan("PENDING")}, "ECR has no completed scan of the image rms (status: PENDING)"),
        (
            {"rms": Scan("ACTIVE")},
            "ECR has no completed scan of the image rms (status: ACTIVE, nothing is counted)",
        ),
        (
            {"rms": Scan("COMPLETE")},
            "ECR has no completed scan of the image rms (status: COMPLETE, nothing is counted)",
        ),
        ({"rms": Scan("ACTIVE", {"CRITICAL": 1})}, "ECR's scan of the image rms found 1 critical"),
        ({"rms": Scan("FAILED", {})}, "ECR has no completed scan of the image rms (status: FAILED)"),
        (
            {"rms": Scan("COMPLETE", {"CRITICAL": 1}, counted=True)},
            "ECR's scan of the image rms found 1 critical",
        ),
        (
            {"rms": Scan("ACTIVE", {"LOW": 9, "HIGH": 2, "CRITICAL": 1}, counted=True)},
            "ECR's scan of the image rms found 1 critical, 2 high",
        ),
    ],
)
def test_a_finding_or_a_missing_scan_shuts_the_gate(scans, told):
    """A missing scan is not clean, nor is one that failed or still runs."""
    reason = only(gate(Chain().verdict(), CRITICAL, scans=scans))
    assert (reason.condition, reason.message) == ("scan", told)


@pytest.mark.parametrize(
    "scan",
    [
        Scan("COMPLETE", counted=True),
        Scan("ACTIVE", {"MEDIUM": 4}, counted=True),
        Scan("COMPLETE", {"CRITICAL": 0}, counted=True),
    ],
)
def test_a_clean_scan_opens_the_gate(scan):
    """Severities that the policy does not name do not count."""
    decision = gate(Chain().verdict(), CRITICAL, scans={"rms": scan})
    assert decision.allowed
    assert decision.scanned


def test_scans_that_nobody_looked_at_yet_are_told_apart():
    """Before the push there is nothing to scan: the decision says that it is not the last word."""
    assert gate(Chain().verdict(), CRITICAL).scanned is False
    assert gate(Chain().verdict()).scanned is True
    assert gate(Chain().verdict(), scans={"rms": Scan("FAILED")}).allowed


# --- SBOMs ----------------------------------------------------------------------------------------


def document(kind: str, image: str = "rms") -> DocumentRecord:
    """An SBOM or VEX document of an image."""
    path = f"sbom/{image}.{kind}.json"
    values = {"format": "spdx", "format_version": "2.3", "origin": "file", "names": "nothing"}
    return DocumentRecord(path=path, image=image, kind=kind, **values)


def with_documents(*documents: DocumentRecord) -> bytes:
    """A candidate with documents."""
    own = Candidate.from_bytes(CANDIDATE, "candidate.json")
    files = [FileRecord(path=each.path, size=1, sha256="f" * 64) for each in documents]
    return candidate(documents=documents, files=(*own.files, *files))


def test_an_image_without_an_sbom_shuts_the_gate_if_the_policy_asks_for_one():
    """A VEX document alone says nothing about packages."""
    for about in (CANDIDATE, with_documents(document("vex"))):
        chain = Chain(about).verdict()
        assert gate(chain).allowed
        reason = only(gate(chain, Policy(sbom=True)))
        assert (reason.condition, reason.message) == ("sbom", "the image rms has no SBOM")


def test_an_sbom_of_each_image_opens_the_gate():
    """Its validity is the export's word, which the candidate's digest covers."""
    assert gate(Chain(with_documents(document("sbom"))).verdict(), Policy(sbom=True)).allowed


# --- withdrawn, unknown keys ----------------------------------------------------------------------


def test_a_withdrawn_release_stays_withdrawn_until_it_is_promoted_again():
    """The reason names who and why."""
    chain = Chain().verdict().promoted()
    assert gate(chain).allowed
    reason = only(gate(chain.withdraw()))
    assert reason.condition == "withdrawn"
    assert reason.message == "Dana withdrew this release: breaks logins"
    assert reason.hint == "release a new build, or override with a reason"
    assert conditions(gate(chain.verdict())) == ["withdrawn"]
    assert gate(chain.promoted()).allowed


def test_an_objection_by_an_unknown_key_shuts_the_gate():
    """What speaks against the release is not ignored for its key."""
    for chain in (
        Chain().verdict().verdict("FAILED", signer=STRANGER),
        Chain().verdict().revoke(STRANGER),
        Chain().verdict().promoted().withdraw(STRANGER),
    ):
        reason = only(gate(chain))
        assert reason.condition == "unknown-key"
        assert "is signed by an unknown key (" in reason.message
        assert "trusted key" in reason.hint


def test_what_was_not_counted_is_told_beside_the_reasons():
    """A pass by an unknown key helps nobody, and nobody has to guess why."""
    decision = gate(Chain().verdict(signer=STRANGER))
    assert conditions(decision) == ["sign-offs"]
    assert decision.reasons[-1].startswith("not counted: 0001-x.dsse.json (qa) is signed by an unknown key")


def test_a_sign_off_from_before_the_export_is_none():
    """Whatever the key was then."""
    decision = gate(Chain().verdict(when=EXPORTED - timedelta(days=1)))
    assert conditions(decision) == ["sign-offs"]
    assert "before the candidate was exported" in decision.reasons[-1]
    assert gate(Chain().verdict(when=HOUR_AGO)).allowed
