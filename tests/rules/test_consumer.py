"""The gate of those who receive a release: bundle and trusted keys in, every reason out."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jenkins_release.base.errors import IntegrityError
from jenkins_release.records.attestation import (
    MAX_ENVELOPE_BYTES,
    REVOCATION,
    TrustedKey,
)
from jenkins_release.records.bundle import MAX_BUNDLE_BYTES, read_bundle, write_bundle
from jenkins_release.rules.release.consumer import judge
from jenkins_release.rules.release.matching import match_file, match_local, match_stored
from tests.fixtures.story import (
    CONFIGS,
    MANIFESTS,
    NOW,
    REGISTRY,
    SIGNERS,
    TRUSTED,
    Story,
    candidate,
    good,
)


def reasons(data: bytes | Story, trusted=TRUSTED, now: datetime = NOW) -> tuple[str, ...]:
    data = data.bundle() if isinstance(data, Story) else data
    return judge(read_bundle(data, "x.jsonl"), trusted, now)[1]


GOOD_STORY = good()
GOOD = GOOD_STORY.bundle()


def test_a_validated_and_promoted_release_is_proven():
    """Nothing stands against it, and who said what is known."""
    release, found = judge(read_bundle(good().bundle(), "x"), TRUSTED, NOW)
    assert found == ()
    assert release is not None and release.promoted is not None and release.attested is not None
    assert [verdict.tester for verdict in release.passes] == ["Quinn"]
    assert [image.name for image in release.promoted.images] == ["rms", "viewer"]


def test_the_bundle_is_the_same_for_the_same_inputs_and_keeps_every_byte():
    """Its lines are the files on the share; the first one is candidate.json."""
    story = good()
    assert story.bundle() == story.bundle()
    first, *lines = story.bundle().splitlines(keepends=True)
    assert base64.b64decode(json.loads(first)["candidate"]) == story.manifest
    assert lines == list(story.envelopes.values())
    assert read_bundle(story.bundle(), "x").candidate == story.manifest


def test_an_envelope_that_is_not_one_line_cannot_be_bundled():
    """Its digest would be another one afterwards."""
    pretty = json.dumps(json.loads(good().envelopes["0001"]), indent=1).encode() + b"\n"
    with pytest.raises(IntegrityError, match="0001 is not one line"):
        write_bundle(candidate(), [pretty])


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        (Story().built().promoted().summary(), "1 passing QA sign-off by trusted keys required"),
        (Story().built().tested(role="stranger").promoted().summary(), "found 0"),
        (Story().built().tested("FAILED").promoted().summary(), "Quinn's verdict of 2026-11-20 13:02"),
        (Story().tested().promoted().tested("FAILED", tester="Ray").summary(), "Ray's verdict"),
        (
            Story()
            .tested()
            .promoted()
            .sign(REVOCATION, {}, "qa", {"tester": "Q", "reason": "why"})
            .summary(),
            "Q revoked the sign-offs before it: why",
        ),
        (Story().tested().promoted().withdrawn().summary(), "Robin withdrew this release: it deletes files"),
        (Story().tested().promoted().withdrawn().summary(passed=False), "says FAILED"),
        (Story().tested().promoted().withdrawn("stranger").summary(), "(withdrawal) is signed by an unknown"),
        (Story().tested().promoted(), "no verification summary"),
        (Story().tested().promoted().summary(role="qa"), "needs a key with the role 'promotion'"),
        (Story().tested().promoted().summary(role="stranger"), "no verification summary"),
        (Story().tested().promoted().summary().tested(), "no verification summary"),
        (Story().tested().promoted(policy=7), "names no policy"),
        (Story().tested().promoted(policy="loose"), "names no policy"),
        (Story().tested().promoted(images=[]).summary(), "names other images than candidate.json"),
        (Story().tested().promoted(registry="evil.example").summary(), "subjects are not the images"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_validated_promoted_and_in_force_is_refused(story: Story, expected: str):
    """Each with its own reason."""
    assert any(expected in reason for reason in reasons(story)), reasons(story)


def test_a_promotion_by_another_key_is_none():
    """Neither a stranger's nor a tester's."""
    for role in ("stranger", "qa"):
        story = Story().tested().promoted(role)
        assert "no promotion by a trusted promotion key" in reasons(story)


def test_a_release_that_was_promoted_again_after_a_withdrawal_is_proven():
    """The older summary and the withdrawal are inputs of the new one."""
    story = Story().tested().promoted().summary().withdrawn().promoted().summary()
    assert reasons(story) == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda p: p["inputAttestations"].pop(0), "inputAttestations is not"),
        (lambda p: p["inputAttestations"].reverse(), "inputAttestations is not"),
        (lambda p: p["policy"].update(digest={"sha256": "0" * 64}), "policy is not"),
        (lambda p: p.update(resourceUri="pkg:generic/Other@8.1.0?build=42"), "resourceUri is not"),
        (lambda p: p["verifier"].update(id="https://example.com"), "verifier is not"),
        (lambda p: p.update(timeVerified="2026-11-19T00:00:00Z"), "timeVerified is not"),
        (lambda p: p.update(timeVerified="2026-11-20T13:04:00"), "timeVerified is not"),
        (lambda p: p.update(timeVerified=7), "timeVerified is not"),
        (lambda p: p.update(verifiedLevels=["SLSA_BUILD_LEVEL_3"]), "claims the levels"),
        (lambda p: p.update(verifiedLevels=["FAILED"]), "claims the levels"),
        (lambda p: p.update(verifiedLevels=[]), "claims the levels"),
        (lambda p: p.update(verifiedLevels="SLSA_BUILD_LEVEL_1"), "claims the levels"),
        (lambda p: p.pop("verificationResult"), "says None"),
    ],
)
def test_a_summary_that_does_not_fit_is_refused(change, expected: str):
    """Every field is compared with what the bundle itself says."""
    found = reasons(Story().built().tested().promoted().summary(change=change))
    assert any(expected in reason for reason in found), found


def test_a_summary_about_other_images_is_refused():
    """Its subjects are the promotion's manifests and configs."""
    found = reasons(Story().tested().promoted().summary(subjects={"x": "0" * 64}))
    assert "the verification summary is about other images than the promotion" in found


def test_without_provenance_no_level_is_claimed():
    """SLSA_BUILD_LEVEL_1 needs a build attestation."""
    claim = {"verifiedLevels": ["SLSA_BUILD_LEVEL_1"]}
    assert any(
        "claims" in r for r in reasons(Story().tested().promoted().summary(change=lambda p: p.update(claim)))
    )
    assert reasons(Story().tested().promoted().summary()) == ()


def test_who_does_not_trust_the_build_key_still_verifies():
    """The promotion key's word is enough; the build attestation is listed as not counted."""
    release, found = judge(read_bundle(good().bundle(), "x"), TRUSTED[1:], NOW)
    assert found == ()
    assert release is not None and release.attested is None
    assert release.evidence.ignored


def test_every_removed_line_shows():
    """Whatever line is left out, the rest is refused."""
    first, *lines = good().bundle().splitlines(keepends=True)
    for place in range(len(lines)):
        assert reasons(first + b"".join(lines[:place] + lines[place + 1 :])), place


@settings(max_examples=200)
@given(st.data())
def test_no_change_of_a_byte_goes_unnoticed(data: st.DataObject):
    """A bundle is refused with any byte changed, unless its statements and signatures are the same."""
    place = data.draw(st.integers(0, len(GOOD) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != GOOD[place]))
    changed = GOOD[:place] + bytes([byte]) + GOOD[place + 1 :]
    try:
        bundle = read_bundle(changed, "x")
    except IntegrityError:
        return
    if judge(bundle, TRUSTED, NOW)[1]:
        return
    # The last envelope is nobody's predecessor: another spelling of the same signature may pass.
    summary = list(bundle.attestations.values())[-1]
    assert bundle.candidate == candidate()
    assert list(bundle.attestations.values())[:-1] == list(GOOD_STORY.envelopes.values())[:-1]
    assert json.loads(summary)["payload"] == json.loads(list(GOOD_STORY.envelopes.values())[-1])["payload"]


def test_every_truncation_is_refused():
    """At every hundredth byte and at every end of a line."""
    with pytest.raises(IntegrityError, match="truncated"):
        read_bundle(GOOD[:-1], "x")
    ends = {place for place in range(len(GOOD)) if GOOD[place - 1 : place] == b"\n"}
    for place in sorted(ends | set(range(0, len(GOOD), 100))):
        try:
            bundle = read_bundle(GOOD[:place], "x")
        except IntegrityError:
            continue
        assert judge(bundle, TRUSTED, NOW)[1], place


def test_lines_of_another_candidate_are_refused():
    """A sign-off of build 41 proves nothing for build 42, and the other way round."""
    other = Story(candidate("41")).built().tested().promoted().summary()
    mixed = write_bundle(candidate(), list(other.envelopes.values()))
    assert any("is about another candidate.json" in reason for reason in reasons(mixed))


def test_duplicate_keys_and_other_json_are_refused():
    """In the first line and in every other one."""
    first, *rest = GOOD.splitlines(keepends=True)
    twice = first.replace(b'{"candidate"', b'{"candidate":"","candidate"')
    with pytest.raises(IntegrityError, match="occurs twice"):
        read_bundle(twice + b"".join(rest), "x")
    doubled = rest[0].replace(b'{"payload"', b'{"payload":"","payload"')
    assert any("occurs twice" in r for r in reasons(first + doubled + b"".join(rest[1:])))
    assert any("line 6" in r for r in reasons(GOOD + b"[]\n"))
    assert any("line 6" in r for r in reasons(GOOD + b"\n"))


@pytest.mark.parametrize(
    "head",
    [
        b"[]\n",
        b"{}\n",
        b'{"schema":"jenkins-release/bundle/v2","candidate":""}\n',
        b'{"schema":"jenkins-release/bundle/v1"}\n',
        b'{"schema":"jenkins-release/bundle/v1","candidate":7}\n',
        b'{"schema":"jenkins-release/bundle/v1","candidate":"%%%"}\n',
        b"\xff\n",
        b"\n",
        b"",
    ],
)
def test_what_is_no_bundle_is_refused(head: bytes):
    """With an error that names the file."""
    with pytest.raises(IntegrityError, match=r"x\.jsonl"):
        read_bundle(head, "x.jsonl")


def test_a_candidate_that_cannot_be_read_is_a_reason():
    """The rest is not looked at."""
    release, found = judge(read_bundle(write_bundle(b"{}", []), "x"), TRUSTED, NOW)
    assert release is None
    assert "candidate.json" in found[0]


def test_oversized_input_is_refused_before_it_is_parsed():
    """A large file, too many lines, a large line."""
    with pytest.raises(IntegrityError, match="more than"):
        read_bundle(b"x" * (MAX_BUNDLE_BYTES + 1), "x")
    with pytest.raises(IntegrityError, match="more than 1000 lines"):
        read_bundle(GOOD + b"{}\n" * 1000, "x")
    assert any(
        "bytes, expected at most" in r for r in reasons(GOOD + b"x" * (MAX_ENVELOPE_BYTES + 1) + b"\n")
    )


def test_revoked_and_expired_keys_do_not_count():
    """The keys that the consumer trusts decide, whatever the bundle says."""
    qa = SIGNERS["qa"].public_key
    revoked = TrustedKey("qa", frozenset({"qa"}), qa, revoked=True)
    late = TrustedKey("qa", frozenset({"qa"}), qa, valid_from=NOW)
    for key in (revoked, late):
        found = reasons(GOOD, (TRUSTED[0], key, TRUSTED[2]))
        assert any("found 0" in reason for reason in found)
        assert any("not counted" in reason for reason in found)


def released():
    release, found = judge(read_bundle(GOOD, "x"), TRUSTED, NOW)
    assert release is not None and not found
    return release


def test_in_the_promoted_repository_only_the_promoted_manifest_matches():
    """The right config behind another manifest is not what was promoted there."""
    here = (REGISTRY, "skydrm/rms")
    right = match_stored(released(), "n", here, MANIFESTS["rms"], CONFIGS["rms"], 1)
    assert (right.parts, right.problems) == (("rms",), ())
    assert match_stored(released(), "n", here, MANIFESTS["viewer"], CONFIGS["viewer"], 1).problems
    assert match_stored(released(), "n", here, f"sha256:{'0' * 64}", CONFIGS["rms"], 1).problems


def test_in_a_mirror_the_config_is_the_identity():
    """With the right number of layers."""
    mirror = ("mirror.example", "any/name")
    other = f"sha256:{'0' * 64}"
    assert match_stored(released(), "n", mirror, other, CONFIGS["viewer"], 1).parts == ("viewer",)
    assert match_stored(released(), "n", mirror, other, CONFIGS["viewer"], 2).problems
    assert match_stored(released(), "n", mirror, other, other, 1).problems


def test_local_images_and_files_match_by_digest_alone():
    """A right name with other content is named with both digests."""
    assert match_local(released(), "x", CONFIGS["rms"], [f"sha256:{'d' * 64}"]).parts == ("rms",)
    assert match_local(released(), "x", CONFIGS["rms"], []).problems
    assert match_file(released(), "renamed.tar", 4096, "c" * 64).parts == ("images/skydrm.tar",)
    wrong = match_file(released(), "some/skydrm.tar", 4096, "0" * 64).problems
    assert "c" * 64 in wrong[0] and "0" * 64 in wrong[0]
    assert "is not a file of SkyDRM 8.1.0/42" in match_file(released(), "x", 1, "0" * 64).problems[0]
    own = match_file(released(), "candidate.json", 1, sha256(candidate()).hexdigest())
    assert own.parts == ("candidate.json",)
