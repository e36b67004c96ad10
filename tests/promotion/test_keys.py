"""Keys end to end: both kinds, rotation, revocation, and keys that the configuration cannot trust."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.fixtures.approval import REF, Release
from tests.fixtures.configuration import trusted_key
from tests.promotion.test_approval import BEFORE


def entry(release: Release, name: str, more: str) -> None:
    """Add lines to a key's entry in the configuration."""
    release.product.edit(f'public_key = "keys/{name}.pem.pub"', f'public_key = "keys/{name}.pem.pub"\n{more}')


def moment(**ahead: float) -> str:
    """A TOML date and time from now."""
    return f"{datetime.now(UTC) + timedelta(**ahead):%Y-%m-%dT%H:%M:%S.%fZ}"


def passed(release: Release, *more: str) -> None:
    """Sign off once more."""
    results = str(release.product.folder / "junit.xml")
    words = ("qa", "sign-off", REF, "--verdict", "pass", "--tester", "Quinn", "--results", results)
    done = release.run(*words, "--digest", release.product.digest(), *more)
    assert done.status == 0, done.text


@pytest.fixture
def unapproved(tested: Release) -> Release:
    """No approval is asked for."""
    tested.policy("approvals = 0")
    return tested


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa-p256"])
def test_a_generated_key_of_either_kind_approves(tested: Release, kind):
    """From `keys generate` to the open gate."""
    path = tested.product.folder / "keys" / "alex.pem"
    made = tested.ok("keys", "generate", str(path), "--type", kind)
    assert tested.ok("keys", "show", f"{path}.pub")["keyid"] == made["keyid"]
    tested.product.append(trusted_key("Alex", "keys/alex.pem.pub", "approval"))
    tested.approved("--key", f"file2:{path}")
    assert tested.promote("--dry-run").status == 0


def test_a_rotated_keys_signatures_stay_good_for_their_time(unapproved: Release):
    """The old key ends now, and signs no more: what it signed counts once a valid key signs behind it."""
    entry(unapproved, "qa", f"valid_until = {moment()}")
    second = unapproved.new_key("qa-2027", '"qa"', more=f"valid_from = {moment()}")
    reasons = unapproved.refused("sign-offs")
    assert any("nothing shows that it was signed while the key was valid" in reason for reason in reasons)
    old = f"file2:{unapproved.product.folder / 'keys' / 'qa.pem'}"
    words = ("qa", "sign-off", REF, "--verdict", "fail", "--tester", "Quinn", "--key")
    done = unapproved.run(*words, old)
    assert done.status == 2
    assert "is not trusted for the role 'qa'" in done.text
    assert unapproved.run(*words[:3], "--verdict", "fail", *words[5:], second).status == 0
    assert "Quinn's verdict of" in unapproved.refused("fail")[0]
    passed(unapproved, "--key", second)
    assert unapproved.promote("--dry-run").status == 0


def test_a_key_that_ended_before_it_signed_counts_for_nothing(unapproved: Release):
    """The time of the signature is what matters, to the second."""
    entry(unapproved, "qa", f"valid_until = {moment(days=-1)}")
    assert any("outside the validity of 'qa'" in reason for reason in unapproved.refused("sign-offs"))


def test_a_revoked_keys_signatures_count_no_more(unapproved: Release):
    """Nor does it sign; another key's sign-off opens the gate again."""
    entry(unapproved, "qa", "revoked = true")
    reasons = unapproved.refused("sign-offs")
    assert any("is signed by the key 'qa', which is revoked" in reason for reason in reasons)
    assert unapproved.run("qa", "revoke", REF, "--tester", "Quinn", "--reason", "x").status == 2
    assert unapproved.attestations() == BEFORE
    second = unapproved.new_key("qa-new", '"qa"')
    passed(unapproved, "--key", second)
    assert unapproved.promote("--dry-run").status == 0


def test_a_revoked_approval_key_takes_its_approvals_along(tested: Release):
    """The policy moved, and the plan's approval is nobody's."""
    tested.approved()
    entry(tested, "approval", "revoked = true")
    reasons = tested.refused("approvals")
    assert any("is signed by the key 'approval', which is revoked" in reason for reason in reasons)


def test_one_key_under_two_names_is_refused(tested: Release):
    """It would be two people to whoever reads the list."""
    for name in ("Quinn", "Robin"):
        tested.product.append(trusted_key(name, "keys/qa.pem.pub", "qa"))
    done = tested.promote()
    assert done.status == 2
    assert done.json["error"]["reasons"] == [
        "trusted_keys 'Quinn': is the same public key as 'qa'",
        "trusted_keys 'Robin': is the same public key as 'qa'",
    ]
    assert "one entry for each public key" in done.json["error"]["hint"]


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())],
    ids=["RSA", "P-384"],
)
def test_a_trusted_key_of_another_kind_is_refused(tested: Release, key):
    """Named with its entry, before anything is looked at."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    (tested.product.folder / "keys" / "qa.pem.pub").write_bytes(pem)
    done = tested.promote()
    assert done.status == 2
    (reason,) = done.json["error"]["reasons"]
    assert reason.startswith("trusted_keys 'qa': ")
    assert "is neither Ed25519 nor ECDSA P-256" in reason


def test_a_key_in_kms_that_nobody_reaches_is_a_clear_error(tested: Release, monkeypatch, no_aws):
    """The URI is named, and no credentials are guessed."""
    done = tested.run("qa", "revoke", REF, "--tester", "Quinn", "--reason", "x", "--key", "awskms:alias/qa")
    assert done.status in {2, 5}
    assert "cannot read the public key of awskms:alias/qa" in done.text
    assert tested.attestations() == BEFORE
