"""The trust document and its versions: what is believed from a pin on, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from jenkins_release.base.errors import ConfigurationError, GateRefused, IntegrityError
from jenkins_release.base.public_keys import public_pem
from jenkins_release.config import Configuration
from jenkins_release.config.model import PolicySection, TrustedKeySection
from jenkins_release.records.trust import (
    TrustDocument,
    TrustVersion,
    draft_version,
    named_key,
    with_signature,
)
from jenkins_release.rules.gate.trust import Pin, allowed, differences, in_force, misfits, walk

NOW = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
ALICE, BOB, CAROL, DAVE = (CryptoSigner.generate_ed25519() for _ in range(4))
NIST = CryptoSigner.generate_ecdsa()
QA = TrustedKeySection(name="quinn", roles=("qa",), public_key=public_pem(ALICE.public_key).decode().strip())


def named(*signers: CryptoSigner) -> list[Any]:
    names = {id(ALICE): "alice", id(BOB): "bob", id(CAROL): "carol", id(DAVE): "dave", id(NIST): "nist"}
    return [named_key(signer.public_key, names[id(signer)]) for signer in signers]


def document(approvals: int = 1, **more: Any) -> TrustDocument:
    values = {
        "product": "SkyDRM",
        "made_at": NOW,
        "policy": PolicySection(approvals=approvals, soak_hours=0.5),
        "trusted_keys": (QA,),
    }
    return TrustDocument(**(values | more))


def draft(
    previous: TrustVersion | None = None,
    keys: tuple[CryptoSigner, ...] = (ALICE, BOB, CAROL),
    threshold: int = 2,
    expires: datetime = NOW + timedelta(days=365),
    **more: Any,
) -> TrustVersion:
    return draft_version(document(**more), named(*keys), threshold, expires, previous, "draft.json")


def signed(version: TrustVersion, *signers: CryptoSigner) -> bytes:
    for signer in signers:
        version = with_signature(version, signer)
    return version.to_bytes()


def read(data: bytes) -> TrustVersion:
    return TrustVersion.read(data, "x")


FIRST = signed(draft(), ALICE, BOB)
PIN = Pin(read(FIRST).digest, 1)
SECOND = signed(draft(read(FIRST), approvals=2), ALICE, CAROL)
THIRD = signed(draft(read(SECOND), keys=(BOB, CAROL, DAVE)), ALICE, BOB, DAVE)
ALL = {1: FIRST, 2: SECOND, 3: THIRD}


def test_from_a_pinned_version_the_chain_is_followed_to_the_newest():
    """Each version signed by the threshold of the one before and by its own; a rotated key included."""
    assert [version.number for version in walk([PIN], ALL, "here")] == [1, 2, 3]
    late = Pin(read(SECOND).digest, 2)
    assert [version.number for version in walk([late], ALL, "here")] == [2, 3]
    assert walk([PIN], ALL, "here")[-1].document.policy.soak_hours == 0.5


def test_of_several_pins_the_one_that_fits_counts():
    """One machine serves several products; of two that fit the later one is the floor."""
    other = Pin(f"sha256:{'0' * 64}", 1)
    assert walk([other, PIN], ALL, "here")[0].number == 1
    assert walk([PIN, Pin(read(THIRD).digest, 3)], ALL, "here")[0].number == 3


@pytest.mark.parametrize(
    ("versions", "pin", "error", "message"),
    [
        ({}, PIN, GateRefused, "a root is pinned|there is no trust document in here"),
        (
            {1: FIRST},
            Pin(read(SECOND).digest, 2),
            GateRefused,
            "version 1, but the pin requires version 2 or",
        ),
        (
            {1: FIRST},
            Pin(f"sha256:{'0' * 64}", 1),
            IntegrityError,
            "is not the pinned one: expected sha256:000",
        ),
        ({1: FIRST, 3: THIRD}, PIN, IntegrityError, "version 2 of the trust document is missing in here"),
        ({2: SECOND, 3: THIRD}, PIN, IntegrityError, "version 1 of the trust document is missing in here"),
        ({1: FIRST, 2: THIRD}, PIN, IntegrityError, "2.root.json in here is version 3"),
        (
            {1: FIRST, 2: b"{}"},
            PIN,
            IntegrityError,
            "2.root.json in here is not a version of a trust document",
        ),
    ],
)
def test_missing_rolled_back_exchanged_and_torn_documents_are_told_apart(versions, pin, error, message):
    """Each with a message of its own."""
    with pytest.raises(error, match=message):
        walk([pin], versions, "here")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (lambda: signed(draft(read(FIRST)), ALICE), r"1 of the 2 signatures by root keys of version 1 \(bob"),
        (lambda: signed(draft(read(FIRST)), DAVE), "0 of the 2 signatures by root keys of version 1"),
        (
            lambda: signed(draft(read(FIRST), keys=(DAVE, NIST)), DAVE, NIST),
            r"0 of the 2 signatures by root keys of version 1 \(alice, bob, carol not signed",
        ),
        (
            lambda: signed(draft(read(FIRST), keys=(DAVE, NIST)), ALICE, BOB),
            r"0 of the 2 signatures by root keys of version 2 \(dave, nist not signed",
        ),
        (lambda: signed(draft(read(FIRST), product="Other"), ALICE, BOB), "about the product Other"),
    ],
)
def test_the_next_version_needs_the_old_and_the_new_threshold(second: Callable[[], bytes], message: str):
    """TUF's rule; who is missing is named."""
    with pytest.raises(IntegrityError, match=message):
        walk([PIN], {1: FIRST, 2: second()}, "here")


def test_a_pinned_version_that_its_own_keys_did_not_sign_is_refused():
    """The digest covers what is signed, not the signatures."""
    with pytest.raises(IntegrityError, match="is not signed by 2 of its root keys"):
        walk([PIN], {1: signed(draft(), ALICE)}, "here")


def test_the_digest_is_the_same_with_more_signatures():
    """A third holder may sign as well, and the pin still fits."""
    more = signed(draft(), ALICE, BOB, CAROL)
    assert read(more).digest == PIN.digest
    assert walk([PIN], {1: more}, "here")[0].number == 1


def changed(data: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    value = json.loads(data)
    change(value)
    return json.dumps(value).encode()


def _twice(value: dict[str, Any]) -> None:
    """Name the key of alice a second time, under another key id, with her signature under both."""
    root = value["signed"]
    keyid = root["roles"]["root"]["keyids"][0]
    root["keys"]["f" * 64] = root["keys"][keyid]
    root["roles"]["root"]["keyids"] = [keyid, "f" * 64]
    signature = next(each for each in value["signatures"] if each["keyid"] == keyid)
    value["signatures"] = [signature, {**signature, "keyid": "f" * 64}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_twice, "has another key id than its public key"),
        (lambda v: v["signed"]["roles"]["root"].update(threshold=4), "cannot meet a threshold of 4"),
        (lambda v: v["signed"]["roles"]["root"].update(threshold=0), "threshold should be at least 1"),
        (lambda v: v["signed"].update(_type="targets"), "is not a version of a trust document"),
        (lambda v: v["signed"].update({"jenkins-release": {}}), "contains no jenkins-release document"),
        (lambda v: v["signed"].update({"jenkins-release": "{}"}), "expected a record of schema"),
        (lambda v: v["signed"].pop("expires"), "is not a version of a trust document"),
        (lambda v: v["signed"].update(version=0), "version must be > 0"),
        (lambda v: v["signed"].update(extra=0.5), "is not a version of a trust document"),
        (lambda v: v.pop("signatures"), "is not a version of a trust document"),
        (lambda v: v["signatures"].append(v["signatures"][0]), "Multiple signatures"),
        (
            lambda v: next(iter(v["signed"]["keys"].values())).update(keytype="rsa"),
            "is not a version of a trust",
        ),
    ],
)
def test_what_is_no_version_is_refused(change, message: str):
    """With what is wrong: thresholds that one key could meet twice above all."""
    with pytest.raises(IntegrityError, match=message):
        read(changed(FIRST, change))


def test_duplicate_keys_and_other_bytes_are_refused():
    """As in every record that somebody else may have written."""
    for data in (b"", b"[]", b"null", b"\xff", FIRST.replace(b'{"signatures"', b'{"signed":{},"signatures"')):
        with pytest.raises(IntegrityError):
            read(data)


def test_an_unknown_key_of_the_policy_is_refused():
    """What a newer release asks for must not be overlooked by an older one."""
    text = document().to_bytes().decode().replace('"approvals":1', '"approvals":1,"moon_phase":"full"')
    with pytest.raises(IntegrityError, match="moon_phase"):
        read(changed(FIRST, lambda v: v["signed"].update({"jenkins-release": text})))


@pytest.mark.parametrize("other", ["keys/qa.pub", "/etc/hostname", "\\u0000"])
def test_a_document_that_names_a_file_for_a_key_is_refused(other: str):
    """The file would be one of the workspace, or of the customer's machine."""
    text = json.dumps(json.loads(document().to_bytes()))
    pem = json.dumps(QA.public_key)
    assert pem in text
    data = changed(FIRST, lambda v: v["signed"].update({"jenkins-release": text.replace(pem, f'"{other}"')}))
    with pytest.raises(IntegrityError, match="public key of 'quinn' is not a public key in PEM"):
        read(data)


def test_every_changed_byte_of_what_is_signed_breaks_the_chain():
    """A policy, a key or a date that was altered is not believed."""
    for old, new in (
        (b'approvals\\":2', b'approvals\\":0'),
        (b"2027-11-20", b"2028-11-20"),
        (b"quinn", b"quenn"),
    ):
        assert old in SECOND
        with pytest.raises(IntegrityError, match="is not signed as required"):
            walk([PIN], {1: FIRST, 2: SECOND.replace(old, new)}, "here")


def test_an_expired_newest_version_is_not_in_force_and_an_older_one_may_be_expired():
    """As in TUF: expiry is looked at for the last version only."""
    old = signed(draft(expires=NOW - timedelta(days=1)), ALICE, BOB)
    pin = Pin(read(old).digest, 1)
    versions = walk([pin], {1: old}, "here")
    with pytest.raises(GateRefused, match="version 1 of the trust document expired at 2026-11-19 18:00 UTC"):
        in_force(versions, NOW)
    new = signed(draft(read(old)), ALICE, BOB)
    assert in_force(walk([pin], {1: old, 2: new}, "here"), NOW).number == 2


def test_a_draft_with_a_threshold_that_cannot_be_met_is_refused():
    """Nobody could sign the version after it."""
    for threshold in (0, 4):
        with pytest.raises(ConfigurationError, match="cannot be met by 3 root keys"):
            draft(threshold=threshold)
    with pytest.raises(ConfigurationError, match="given twice"):
        draft(keys=(ALICE, ALICE))


def test_ecdsa_root_keys_work_too():
    """Where policy asks for NIST curves, and for keys in AWS KMS."""
    first = signed(draft(keys=(NIST, ALICE)), NIST, ALICE)
    assert walk([Pin(read(first).digest, 1)], {1: first}, "here")[0].threshold == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:1",
        f"sha256:{'0' * 64}",
        f"sha256:{'0' * 64}:0",
        f"sha256:{'G' * 64}:1",
        f"sha256:{'0' * 64}:1\n",
        f" sha256:{'0' * 64}:1",
    ],
)
def test_what_is_no_pin_is_refused(text: str):
    """With what it should be."""
    with pytest.raises(ConfigurationError, match="expected sha256:DIGEST:VERSION"):
        Pin.parse(text, "the pin")
    assert Pin.parse(str(PIN), "the pin") == PIN


def configuration(**more: Any) -> Configuration:
    values: dict[str, Any] = {
        "product": {"name": "SkyDRM"},
        "share": {"release_candidate": "/share"},
        "images": [{"name": "rms", "source": "x:{version}", "repository": "skydrm/rms"}],
        "ecr": {"region": "eu-central-1", "account": "123456789012"},
    }
    return Configuration.model_validate(values | more)


def test_release_toml_is_held_to_what_the_document_fixes():
    """Every key that is against it, at once; nothing where it fits."""
    fixed = {"ecr.account": "123456789012", "ecr.tags": ["{version}"], "no.such": 1}
    version = draft(fixed=fixed, repositories=("skydrm/",))
    assert misfits(version, configuration()) == ["no.such is None, but the trust document requires 1"]
    bad = configuration(
        product={"name": "Other"},
        images=[{"name": "rms", "source": "x:{version}", "repository": "evil/rms"}],
        ecr={"region": "eu-central-1", "account": "999999999999", "tags": ["x-{version}"]},
    )
    assert misfits(version, bad) == [
        "product.name is 'Other', the trust document is that of 'SkyDRM'",
        "ecr.account is '999999999999', but the trust document requires '123456789012'",
        "ecr.tags is ['x-{version}'], but the trust document requires ['{version}']",
        "no.such is None, but the trust document requires 1",
        "images 'rms': the repository evil/rms is not one of skydrm/, which the trust document allows",
    ]


def test_a_prefix_of_repositories_ends_with_a_slash():
    """`skydrm` is one repository, `skydrm/` all below it."""
    assert allowed("skydrm/rms", ("skydrm/",))
    assert not allowed("skydrm-evil/rms", ("skydrm/",))
    assert not allowed("skydrm/rms", ("skydrm",))
    assert allowed("anything", ())


def test_what_a_version_changes_is_told_line_by_line():
    """For those who sign it."""
    assert differences(read(FIRST), read(SECOND)) == ["policy.approvals: 1 -> 2"]
    lines = differences(read(SECOND), read(THIRD))
    assert "policy.approvals: 2 -> 1" in lines
    assert any(line.startswith("root key alice (") and line.endswith("): removed") for line in lines)
    assert any(line.startswith("root key dave (") and line.endswith("): added") for line in lines)
    revoked = draft(read(FIRST), trusted_keys=(QA.model_copy(update={"revoked": True}),))
    assert differences(read(FIRST), revoked) == ["trusted key quinn: revoked: False -> True"]


def test_an_exchanged_key_is_told_by_its_whole_key_id():
    """Of a trusted key that has the old name and another key, and of one that is new."""
    pem = public_pem(DAVE.public_key).decode().strip()
    exchanged = draft(read(FIRST), trusted_keys=(QA.model_copy(update={"public_key": pem}),))
    old, new = ALICE.public_key.keyid, DAVE.public_key.keyid
    assert differences(read(FIRST), exchanged) == [f"trusted key quinn: key id: {old!r} -> {new!r}"]
    section = TrustedKeySection(
        name="alex", roles=("approval", "request"), public_key=pem, owner="Alex Baker", valid_until=NOW
    )
    policy = PolicySection(soak_hours=0.5, people={"Alex Baker": ["alex"], "Quinn": ["quinn"]})
    quinn = QA.model_copy(update={"owner": "Quinn"})
    lines = differences(read(FIRST), draft(read(FIRST), policy=policy, trusted_keys=(quinn, section)))
    told = f"added, approval, request, of Alex Baker, until 2026-11-20, key id {new}"
    assert f"trusted key alex: {told}" in lines
    assert "trusted key quinn: owner: '' -> 'Quinn'" in lines
