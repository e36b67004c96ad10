"""Secrets never appear in a log, an exception, a record, an argument, or on disk in the clear."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.product import ROLES
from tests.fixtures.release import BOTH_ENGINES, Product

PASSWORDS = ("JENKINS_RELEASE_SMB_PASSWORD", "JENKINS_RELEASE_KEY_PASSPHRASE", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def tokens(monkeypatch) -> list[str]:
    """Every ECR token that is minted during the test."""
    from jenkins_release.registry import EcrRegistry

    minted: list[str] = []
    login = EcrRegistry.login

    def spy(self: EcrRegistry):
        found = login(self)
        minted.append(found.password)
        return found

    monkeypatch.setattr(EcrRegistry, "login", spy)
    return minted


@BOTH_ENGINES
def test_a_whole_release_with_faults_shows_no_secret(product: Product, tokens: list[str], caplog):
    """Output at the most verbose level, debug logs of every library, and every file that was written."""
    logging.getLogger().setLevel(logging.DEBUG)
    shown = []
    with caplog.at_level(logging.DEBUG):
        product.export()
        product.sign_off()
        product.sandbox.ecr.order(Fault(action="BatchGetImage", status=500, count=2))
        product.sandbox.ecr.order(Fault(method="PUT", path="/manifests/", status=503, count=1))
        for words in (
            ("candidate", "show", "8.1.0/42"),
            ("promote", "run", "8.1.0/42"),
            ("promote", "status", "8.1.0/42"),
        ):
            done = product.run(*words, "--verbose")
            assert done.status == 0, done.text
            shown.append(done.text)
        bad = {"JENKINS_RELEASE_SMB_PASSWORD": "hunter2-smb", "JENKINS_RELEASE_KEY_PASSPHRASE": "hunter2-key"}
        for name, value in bad.items():
            shown.append(
                product.run(
                    "candidate",
                    "export",
                    "--version",
                    "8.1.1",
                    "--build",
                    "42",
                    "--verbose",
                    environ={name: value},
                ).text
            )
            shown.append(
                product.run(
                    "qa",
                    "revoke",
                    "8.1.0/42",
                    "--tester",
                    "Q",
                    "--reason",
                    "x",
                    "--verbose",
                    environ={name: value},
                ).text
            )
    shown.append(caplog.text)
    assert tokens, "no token was minted: the test proves nothing"
    secrets = [product.environ[name] for name in PASSWORDS] + tokens + list(bad.values())
    written = [
        path for folder in (product.folder, product.share) for path in folder.rglob("*") if path.is_file()
    ]
    assert len(written) > 6
    for secret in secrets:
        for text in shown:
            assert secret not in text
        for path in written:
            assert secret.encode() not in path.read_bytes(), path


def test_no_secret_stands_in_the_arguments_or_repr_of_the_services(product: Product):
    """What a traceback or a debugger would show of our own objects."""
    from jenkins_release import Services, load_configuration

    services = Services(load_configuration(product.config, environ=product.environ), environ=product.environ)
    login = services.registry.login()
    shown = (
        repr(services)
        + repr(login)
        + repr(services.share)
        + repr(services.registry)
        + repr(services.blobs)
        + repr(vars(login).keys())
    )
    for name in PASSWORDS:
        assert product.environ[name] not in shown
    assert login.password not in shown


def test_private_keys_are_encrypted_on_disk(product: Product):
    """The sandbox's keys too."""
    keys = [path for path in Path(product.folder / "keys").iterdir() if path.suffix == ".pem"]
    assert len(keys) == len(ROLES)
    for path in keys:
        assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()
