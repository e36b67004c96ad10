"""Signing keys: encrypted on disk, and every way in which one can be wrong."""

from __future__ import annotations

import resource
import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import SecretStr

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.keys import generate_key, load_public_key, load_signer

PASSPHRASE = SecretStr("correct horse")


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa-p256"])
def test_a_generated_key_signs_and_its_public_half_verifies(tmp_path, kind):
    """Private: encrypted, mode 0600. Public: beside it, the same key id."""
    path = tmp_path / "qa.pem"
    public = generate_key(path, kind, PASSPHRASE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"ENCRYPTED" in path.read_bytes()
    signer = load_signer(f"file2:{path}", PASSPHRASE)
    loaded = load_public_key(tmp_path / "qa.pem.pub")
    assert signer.public_key.keyid == loaded.keyid == public.keyid
    loaded.verify_signature(signer.sign(b"x"), b"x")


def test_a_key_is_never_overwritten(tmp_path):
    """The old pair stays; half a pair is not left behind."""
    path = tmp_path / "qa.pem"
    generate_key(path, "ed25519", PASSPHRASE)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="exists already"):
        generate_key(path, "ed25519", PASSPHRASE)
    assert path.read_bytes() == before
    other = tmp_path / "other.pem"
    (tmp_path / "other.pem.pub").write_text("x")
    with pytest.raises(ConfigurationError, match="exists already"):
        generate_key(other, "ed25519", PASSPHRASE)
    assert not other.exists()


def test_an_empty_passphrase_is_refused(tmp_path):
    """A private key is never written in the clear."""
    with pytest.raises(ConfigurationError, match="passphrase"):
        generate_key(tmp_path / "qa.pem", "ed25519", SecretStr(""))
    assert list(tmp_path.iterdir()) == []


def private_pem(key, encryption=None) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, encryption or serialization.NoEncryption())


def test_an_unencrypted_key_is_accepted_only_while_it_is_private(tmp_path):
    """A Jenkins secret file is 0600; a key that others can read is refused."""
    path = tmp_path / "plain.pem"
    path.write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())))
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="0644"):
        load_signer(f"file2:{path}", None)
    path.chmod(0o600)
    assert load_signer(f"file2:{path}", None)


def test_what_is_no_usable_key_is_named(tmp_path):
    """Missing, not PEM, wrong kind, wrong passphrase, wrong URI: the passphrase is never shown."""
    path = tmp_path / "key.pem"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_signer(f"file2:{path}", None)
    path.write_text("no key")
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        load_signer(f"file2:{path}", None)
    path.write_bytes(private_pem(rsa.generate_private_key(65537, 2048)))
    with pytest.raises(ConfigurationError, match="neither Ed25519 nor ECDSA P-256"):
        load_signer(f"file2:{path}", None)
    generate_key(tmp_path / "good.pem", "ed25519", PASSPHRASE)
    with pytest.raises(ConfigurationError, match="passphrase is wrong") as caught:
        load_signer(f"file2:{tmp_path / 'good.pem'}", SecretStr("hunter2"))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="no passphrase is set"):
        load_signer(f"file2:{tmp_path / 'good.pem'}", None)
    with pytest.raises(ConfigurationError, match="not supported"):
        load_signer("vault:qa", None)


def test_what_is_no_public_key_is_named(tmp_path):
    """A private key, a missing file, another curve."""
    generate_key(tmp_path / "qa.pem", "ed25519", PASSPHRASE)
    with pytest.raises(ConfigurationError, match="is not a public key"):
        load_public_key(tmp_path / "qa.pem")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_public_key(tmp_path / "none.pub")
    with pytest.raises(ConfigurationError, match="cannot be read: embedded null byte"):
        load_public_key(tmp_path / "a\0b.pub")
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    pem = other.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "p384.pub").write_bytes(pem)
    with pytest.raises(ConfigurationError, match="neither Ed25519 nor ECDSA P-256"):
        load_public_key(tmp_path / "p384.pub")


def test_the_public_half_of_a_kms_key_can_be_shown(monkeypatch, no_aws):
    """`keys show awskms:...` gives the PEM that the configuration needs."""
    import json

    from click.testing import CliRunner

    from jenkins_release.aws import kms
    from jenkins_release.cli.main import cli
    from jenkins_release.cli.runtime import Runtime
    from tests.base.test_kms import URI, Kms

    client = Kms()
    monkeypatch.setattr(kms, "aws_client", lambda *_, **__: client)
    done = CliRunner().invoke(
        cli, ["keys", "show", URI, "--region", "eu-central-1", "--json"], obj=Runtime({})
    )
    assert done.exit_code == 0, done.output
    shown = json.loads(done.output)
    assert shown["pem"].startswith("-----BEGIN PUBLIC KEY-----")
    assert shown["keyid"] == load_signer(URI, None, kms=client).public_key.keyid


def test_a_disk_that_is_full_leaves_no_half_of_a_key(tmp_path):
    """It would be in the way of the next run: a key is never overwritten."""
    path = tmp_path / "qa.pem"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(ConfigurationError, match=r"qa\.pem cannot be written"):
            generate_key(path, "ed25519", PASSPHRASE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
    generate_key(path, "ed25519", PASSPHRASE)
