"""What the doctor says about keys: whether this machine can sign, and whether the gate will believe it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from jenkins_release.keys import generate_key
from tests.doctor.machine import Desk, told
from tests.fixtures.configuration import trusted_key

PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def machine(tmp_path: Path) -> Desk:
    """A tester's machine with a key, and one trusted key for each of two roles."""
    (tmp_path / "share").mkdir()
    for role in ("qa", "promotion"):
        generate_key(tmp_path / f"{role}.pem", "ed25519", SecretStr(PASSPHRASE))
    desk = Desk(tmp_path, {"JENKINS_RELEASE_KEY_PASSPHRASE": PASSPHRASE})
    desk.of(
        tmp_path / "share",
        '[signing]\nqa_key = "file2:qa.pem"\npromotion_key = "file2:promotion.pem"\n',
        trusted_key("qa", "qa.pem.pub"),
        trusted_key("promotion", "promotion.pem.pub"),
    )
    return desk


def test_a_key_that_the_gate_believes(machine: Desk):
    """It was opened, and compared with the trusted ones."""
    found = told(machine, "--for", "qa")
    found.ended("keys: trusted", "ok", "2 keys in release.toml, for promotion, qa")
    found.ended("key: qa", "ok", "is the trusted key 'qa'")
    assert "key: promotion" not in str(found.result)


def test_a_key_without_the_role(machine: Desk):
    """The gate would not count what it signs."""
    machine.edit('promotion_key = "file2:promotion.pem"', 'promotion_key = "file2:qa.pem"')
    found = told(machine, "--for", "publish")
    assert found.status == 2
    found.ended("key: promotion", "fail", "not trusted for the role 'promotion'", "[[trusted_keys]]")


def test_no_key(machine: Desk):
    """Without a key QA cannot sign; the first machine of a trial may leave it to another one."""
    machine.edit('qa_key = "file2:qa.pem"\n', "")
    told(machine, "--for", "qa").ended("key: qa", "fail", "no qa key to sign with", "signing.qa_key")


@pytest.mark.usefixtures("no_aws")
def test_a_key_on_another_machine(machine: Desk):
    """Each key is where its role works: a warning on a machine that is everything, a failure on its own."""
    (machine.folder / "qa.pem").unlink()
    told(machine, "--for", "qa").ended("key: qa", "fail", "cannot be read")
    found = told(machine)
    found.ended("key: qa", "warning", "is not on this machine", "doctor --for qa")
    found.ended("key: promotion", "ok")
    found.ended("key: override", "skipped", "not configured: signing.override_key")


def test_a_wrong_passphrase_and_none(machine: Desk):
    """The passphrase itself is not shown."""
    found = told(machine, "--for", "qa", JENKINS_RELEASE_KEY_PASSPHRASE="another passphrase")
    found.ended("key: qa", "fail", "the passphrase is wrong")
    assert "another passphrase" not in str(found.result)
    del machine.more["JENKINS_RELEASE_KEY_PASSPHRASE"]
    told(machine, "--for", "qa").ended("key: qa", "fail", "no passphrase is set")


def test_a_key_that_others_can_read(machine: Desk):
    """One that is not encrypted has to be private."""
    from cryptography.hazmat.primitives import serialization

    pem = (machine.folder / "qa.pem").read_bytes()
    key = serialization.load_pem_private_key(pem, PASSPHRASE.encode())
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (machine.folder / "qa.pem").write_bytes(key.private_bytes(*plain))
    (machine.folder / "qa.pem").chmod(0o644)
    told(machine, "--for", "qa").ended("key: qa", "fail", "neither encrypted nor private", "chmod 600")


def test_trusted_keys_that_do_not_open_the_gate(machine: Desk):
    """A public key that is missing, and roles that nobody has."""
    (machine.folder / "qa.pem.pub").unlink()
    found = told(machine, "--for", "qa")
    found.ended("keys: trusted", "fail", "qa.pem.pub")
    found.ended("key: qa", "skipped", "not checked: needs keys: trusted")
    text = machine.config.read_text()
    machine.config.write_text(text[: text.index("\n[[trusted_keys]]")])
    told(machine, "--for", "qa").ended("keys: trusted", "fail", "for no role", "docs/gate.md")


def test_a_key_that_ends_soon(machine: Desk):
    """In time to replace it."""
    soon = (datetime.now(UTC) + timedelta(days=9)).isoformat()
    machine.edit('public_key = "qa.pem.pub"\n', f'public_key = "qa.pem.pub"\nvalid_until = {soon}\n')
    found = told(machine, "--for", "qa")
    found.ended("keys: trusted", "warning", "ending soon: qa until", "replace them")
    found.ended("key: qa", "ok")
