"""What a bundle proves under a trust document: the promotion key alone is not believed (attack F7)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from jenkins_release.records.attestation import APPROVAL, OVERRIDE, PUBLICATION, TrustedKey
from jenkins_release.records.bundle import read_bundle, write_bundle
from jenkins_release.records.candidate import Candidate, manifest_digest
from jenkins_release.records.plan import Plan, PlannedImage, TagNow
from jenkins_release.rules.gate.authority import Authority
from jenkins_release.rules.gate.policy import Policy, policy_digest
from jenkins_release.rules.release.consumer import Judgement, judge, judge_under
from tests.fixtures.story import CONFIGS, MANIFESTS, NOW, REGISTRY, SIGNERS, Story, candidate, trusted_keys

WITH_APPROVAL = {
    **SIGNERS,
    "approval": CryptoSigner.generate_ed25519(),
    "override": CryptoSigner.generate_ed25519(),
}
KEYS = trusted_keys(WITH_APPROVAL)
DIGEST, OTHER = f"sha256:{'7' * 64}", f"sha256:{'0' * 64}"


def authority(
    policy: Policy | None = None, number: int = 1, digest: str = DIGEST, keys: tuple[TrustedKey, ...] = KEYS
) -> Authority:
    policy = policy or Policy(approvals=1)
    expires = NOW + timedelta(days=9)
    return Authority(number, digest, policy, policy_digest(policy, keys), keys, expires, "SkyDRM")


OFFICIAL = authority()
LACKING = "1 approval of this plan required, found 0"


def plan(policy: str = OFFICIAL.policy_digest, **more: Any) -> Plan:
    images = tuple(
        PlannedImage(
            name=name,
            config_digest=CONFIGS[name],
            repository=f"skydrm/{name}",
            repository_exists=False,
            candidate_tag="candidate-8.1.0-42-x",
            state="absent",
            tags=(TagNow(tag="8.1.0", moving=False),),
            push_bytes=1,
        )
        for name in CONFIGS
    )
    values: dict[str, Any] = {
        "product": "SkyDRM",
        "version": "8.1.0",
        "build": "42",
        "candidate": manifest_digest(candidate()),
        "policy": policy,
        "requester": "Robin",
        "registry": REGISTRY,
        "images": images,
    }
    return Plan(**(values | more))


def _named(about: Plan) -> dict[str, Any]:
    shown = about.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"plan": shown, "planDigest": about.digest}


class Told(Story):
    """A release with approvals, under a trust document."""

    def __init__(self) -> None:
        super().__init__(signers=WITH_APPROVAL)
        self.given: list[dict[str, Any]] = []

    def approved(self, about: Plan | None = None, by: str = "Alex", role: str = "approval") -> Told:
        about = about or plan()
        said = {
            "plan": about.model_dump(mode="json", by_alias=True, exclude_none=True),
            "planDigest": about.digest,
        }
        self.sign(APPROVAL, said, role, {"approver": by, "reason": "goes out"})
        named = {"sequence": len(self.envelopes), "approver": by, "planDigest": about.digest}
        self.given.append(named)
        return self

    def overridden(self, *conditions: str) -> Told:
        about = plan()
        said = {
            "plan": about.model_dump(mode="json", by_alias=True, exclude_none=True),
            "planDigest": about.digest,
        }
        self.sign(
            OVERRIDE, said | {"conditions": [*conditions]}, "override", {"by": "Dana", "reason": "fire"}
        )
        return self

    def out(self, trust: Mapping[str, Any] | None = None, **changes: Any) -> Told:
        """Promoted and summarized."""
        claim = {"version": 1, "digest": DIGEST} if trust is None else dict(trust)
        values = {"policy": OFFICIAL.policy_digest, "approvals": self.given} | changes
        self.promoted(**(values | ({"trust": claim} if claim else {})))
        self.summary()
        return self


def passed() -> Told:
    told = Told()
    told.built().tested()
    return told


def judged(story: Story, *authorities: Authority) -> Judgement:
    return judge_under(read_bundle(story.bundle(), "x"), authorities or (OFFICIAL,), NOW)


def test_a_release_that_the_policy_allows_is_proven():
    """Sign-off, approval of exactly this plan, promotion under the version that was in force."""
    found = judged(passed().approved().out())
    assert (found.problems, found.refused) == ((), ())
    assert found.authority is OFFICIAL
    assert found.unchecked == ("whether a newer version was released before: only the registry knows them",)


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        (
            lambda: passed().out(trust={}, policy=OTHER),
            "the promotion names no trust document: its policy came from",
        ),
        (lambda: passed().out(trust={}), "1 approval of this plan required, found 0"),
        (lambda: passed().out(), "1 approval of this plan required, found 0"),
        (
            lambda: passed().approved().out(policy=OTHER),
            "was made under the policy sha256:000",
        ),
        (
            lambda: passed().approved().out(trust={"version": 2, "digest": DIGEST}),
            "names version 2 of a",
        ),
        (lambda: passed().approved().out(trust={"version": 1, "digest": "x"}), "none of the versions 1 to 1"),
        (lambda: passed().approved().out(trust={"version": "1"}), "names version '1' of a trust document"),
        (lambda: passed().approved(by="Robin").out(), "the approver is the requester too"),
        (lambda: passed().approved(by="Quinn").out(), "the approver is the tester too"),
        (lambda: passed().approved(by="jenkins").out(), "the approver is the builder too"),
        (lambda: passed().approved(role="promotion").out(), "required, found 0"),
        (lambda: passed().approved(role="stranger").out(), "required, found 0"),
        (lambda: passed().approved(plan(version="8.2.0")).out(), "for a plan that has moved: version: 8.2.0"),
        (lambda: passed().approved(plan(registry="evil.example")).out(), "has moved: registry: evil.example"),
        (lambda: passed().approved(plan(policy=OTHER)).out(), "has moved: policy: sha256:000"),
        (lambda: passed().approved(plan(images=())).out(), "image rms: not in the approved plan"),
        (lambda: _approved_afterwards(), "required, found 0"),
    ],
)
def test_what_the_policy_does_not_allow_is_refused(story, expected: str):
    """A promotion key that signs it all the same does not help."""
    found = judged(story())
    assert any(expected in line for line in found.refused), (found.refused, found.problems)


def test_a_promotion_from_before_the_trust_root_counts_under_its_very_policy():
    """It names no version: that with the same policy and keys decides, and asks for the same evidence."""
    weak = authority(Policy(approvals=0), 2, f"sha256:{'8' * 64}")
    assert judged(passed().approved().out(trust={}), OFFICIAL, weak).refused == ()
    assert judged(passed().out(trust={}), OFFICIAL, weak).refused != ()


@pytest.mark.parametrize("approved", [True, False])
def test_files_may_be_published_before_the_images_are_promoted(approved: bool):
    """The plan that was approved names both; a publication is held against it without them."""
    area = "/releases/SkyDRM/8.1.0"
    told = passed()
    told = told.approved(plan(release_area=area)) if approved else told
    claim = {"version": 1, "digest": DIGEST}
    said = {"location": area, "release": OTHER, "files": [], "policy": OFFICIAL.policy_digest, "trust": claim}
    told.sign(PUBLICATION, said, "promotion", {"publishedBy": "Riley"})
    refused = judged(told).refused
    assert refused == (() if approved else (f"version 1 of the trust document: {LACKING}",))


def _approved_afterwards() -> Told:
    told = passed()
    told.promoted(policy=OFFICIAL.policy_digest, trust={"version": 1, "digest": DIGEST})
    told.approved().summary()
    return told


def test_images_under_other_tags_or_repositories_than_approved_are_refused():
    """What the promotion names is held against the approved plan."""
    images = [
        {
            "name": n,
            "repository": f"skydrm/{n}",
            "configDigest": CONFIGS[n],
            "digest": MANIFESTS[n],
            "tags": ["8.0.0"],
        }
        for n in CONFIGS
    ]
    found = judged(passed().approved().out(images=images))
    assert any("the tags were 8.1.0, are 8.0.0" in line for line in found.refused), found


def test_a_policy_of_an_older_version_counts_only_while_the_pin_leads_to_it():
    """What is named has to be among the versions from the pin on."""
    weak = authority(Policy(approvals=0), 1)
    strict = authority(Policy(approvals=1), 2, f"sha256:{'8' * 64}")
    told = passed().out(policy=weak.policy_digest)
    assert judged(told, weak, strict).refused == ()
    assert any("names version 1" in line for line in judged(told, strict).refused)


def test_a_key_that_is_revoked_no_longer_counts():
    """Not the tester's, and not the approver's, whatever was in force then."""
    for role in ("qa", "approval"):
        keys = tuple(TrustedKey(key.name, key.roles, key.key, revoked=key.name == role) for key in KEYS)
        now = replace(OFFICIAL, trusted=keys)
        found = judged(passed().approved().out(), now)
        assert any("found 0" in line for line in (*found.refused, *found.problems)), (role, found)


def test_a_promotion_after_the_expiry_of_its_version_is_refused():
    """And an expired newest version is told, not refused: a release stays what it was."""
    old = replace(OFFICIAL, expires=NOW - timedelta(hours=9))
    assert any("had expired" in line for line in judged(passed().approved().out(), old).refused)
    since = replace(OFFICIAL, expires=NOW)
    found = judged(passed().approved().out(), since)
    assert found.refused == ()
    assert any("version 1 expired at" in line for line in found.unchecked)


def test_an_override_waives_what_it_names_and_shows():
    """As at the gate; a pass of QA is asked for all the same."""
    assert judged(passed().overridden("approvals").out()).refused == ()
    assert judged(passed().overridden("freeze").out()).refused != ()
    untested = Told()
    untested.built()
    assert judged(untested.overridden("approvals", "sign-offs").out()).problems != ()


def test_the_whole_policy_is_asked_and_not_only_approvals():
    """Suites, soak time and the number of testers, at the time of the promotion."""
    strict = authority(Policy(sign_offs=2, required_suites=("smoke",), soak_hours=99))
    told = passed().out(policy=strict.policy_digest)
    lines = " ".join(judged(told, strict).refused)
    assert "2 passing QA sign-offs" in lines
    assert "no passing sign-off covers the test suite 'smoke'" in lines
    assert "has to rest for 99 hours" in lines


def _told_of(**changes: Any) -> Told:
    told = Told()
    told.manifest = Candidate.model_validate(json.loads(candidate()) | changes).to_bytes()
    told.built().tested()
    return told


@pytest.mark.parametrize("version", ["latest", "8"])
def test_a_candidate_that_the_gate_cannot_judge_is_refused(version: str):
    """The gate stops at a version that is none, before it looks for approvals."""
    found = judged(_told_of(version=version).out())
    assert any("is not two to four numbers" in reason for reason in found.refused), found


def test_a_release_of_another_product_is_not_that_trust_documents():
    """Products with the same people and keys may ask for different approvals."""
    lax = authority(Policy(approvals=0))
    found = judged(_told_of(product="Other").out(policy=lax.policy_digest), lax)
    assert found.refused == ("the bundle is of Other, version 1 of the trust document is that of SkyDRM",)
    assert judged(_told_of().out(policy=lax.policy_digest), lax).refused == ()


def test_a_candidate_that_cannot_be_read_is_a_problem():
    """As without a trust root."""
    found = judge_under(read_bundle(write_bundle(b"{}", []), "x"), (OFFICIAL,), NOW)
    assert found.release is None
    assert found.problems


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        (lambda: passed().approved(role="stranger").out(), "by Alex is none by a trusted approval key"),
        (lambda: passed().approved(role="promotion").out(), "by Alex is none by a trusted approval key"),
        (
            lambda: passed().approved(plan(registry="evil.example")).out(),
            "is for another plan: registry",
        ),
        (lambda: _named_otherwise(approver="Mallory"), "by Mallory is by Alex"),
        (
            lambda: _named_otherwise(planDigest=OTHER),
            "is of another plan than the one that is named",
        ),
        (
            lambda: _named_otherwise(sequence=99),
            "the approval 0099 by Alex is none by a trusted",
        ),
    ],
)
def test_without_a_trust_root_the_approvals_that_are_named_have_to_be_there(story, expected: str):
    """Keys alone: what the promotion claims of its approvals is checked, not believed."""
    reasons = judge(read_bundle(story().bundle(), "x"), KEYS, NOW)[1]
    assert any(expected in line for line in reasons), reasons


def _named_otherwise(**changes: Any) -> Told:
    told = passed().approved()
    told.given[0] |= changes
    return told.out()


def test_a_promotion_under_something_that_is_no_policy_is_refused():
    """The plan that was approved is compared with the one under which it was promoted."""
    story = passed().approved()
    story.promoted(policy="..", approvals=story.given)
    release, found = judge(read_bundle(story.bundle(), "x"), KEYS, NOW)
    assert release is not None and "names no policy" in " ".join(found)
    assert "names no policy" in " ".join(judged(story).problems)


def test_with_keys_alone_a_release_with_its_approvals_is_proven():
    """Nothing is wrong with it."""
    assert judge(read_bundle(passed().approved().out().bundle(), "x"), KEYS, NOW)[1] == ()


def test_the_documents_travel_in_the_bundle():
    """Readers of before find what they look for."""
    story = passed().out()
    data = write_bundle(story.manifest, list(story.envelopes.values()), [b"one", b"two"])
    assert read_bundle(data, "x").trust == (b"one", b"two")
    assert read_bundle(data, "x").candidate == story.manifest
    assert read_bundle(story.bundle(), "x").trust == ()
