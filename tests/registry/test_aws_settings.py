"""Mistakes in AWS's own settings: status 2 with what to do, also when keys are fetched anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jenkins_release.aws import aws_client
from jenkins_release.aws.errors import aws_errors
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.registry import EcrRegistry

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "x" * 40}
ROLE = "role_arn = arn:aws:iam::123456789012:role/x\n"
SSO = "sso_start_url = https://x.awsapps.com/start\nsso_region = eu-central-1\n"
CASES = {
    "program-missing": ("credential_process = /nowhere/x\n", {}, "FileNotFoundError", "credential_process"),
    "program-prints-text": ("credential_process = /bin/echo sesame\n", {}, "JSONDecodeError", "JSON"),
    "program-prints-too-little": (
        "credential_process = /bin/echo {}\n",
        {},
        "cannot get the AWS credentials",
        "a role",
    ),
    "program-fails": (
        "credential_process = /bin/false\n",
        {},
        "cannot get the AWS credentials",
        "a role of the agent",
    ),
    "token-file-missing": (
        "",
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere", "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/x"},
        "FileNotFoundError",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ),
    "sso-expired": (
        f"{SSO}sso_account_id = 123456789012\nsso_role_name = r\n",
        {},
        "the sign-in of the AWS profile has expired",
        "aws sso login",
    ),
    "roles-in-a-circle": (
        f"{ROLE}source_profile = other\n[profile other]\n{ROLE}source_profile = default\n",
        {},
        "loop",
        "fix the shared AWS configuration",
    ),
    "container-elsewhere": (
        "",
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://evil.example/x"},
        "cannot get the AWS credentials",
        "a role of the agent",
    ),
    "no-number": ("", {**KEYS, "AWS_METADATA_SERVICE_TIMEOUT": "soon"}, "an AWS setting", "invalid number"),
    "endpoint-without-scheme": (
        "",
        {**KEYS, "AWS_ENDPOINT_URL_ECR": "127.0.0.1:1"},
        "is not a usable URL",
        "AWS_ENDPOINT",
    ),
    "endpoint-in-quotes": (
        "",
        {**KEYS, "AWS_ENDPOINT_URL": '"http://127.0.0.1:1"'},
        "is not a usable URL",
        "AWS_ENDPOINT",
    ),
    "endpoint-of-the-profile": (
        "endpoint_url = localhost\n",
        KEYS,
        "is not a usable URL",
        "endpoint_url of the AWS profile",
    ),
    "proxy": (
        "",
        {**KEYS, "HTTPS_PROXY": "not a url"},
        "the proxy address is not a valid URL",
        "HTTPS_PROXY",
    ),
    "file-broken": ("[", KEYS, "Unable to parse config file", "fix the shared AWS configuration"),
}


@pytest.mark.parametrize(("config", "environ", "told", "hint"), CASES.values(), ids=CASES)
def test_a_mistake_is_told_with_what_to_do(
    no_aws: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    config: str,
    environ: dict[str, str],
    told: str,
    hint: str,
):
    """And what a program printed is not repeated."""
    (tmp_path / "aws-config").write_text(f"[default]\n{config}")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as raised:
        EcrRegistry("eu-central-1").login()
    assert told in raised.value.message
    assert hint in raised.value.hint
    assert "sesame" not in f"{raised.value.message} {raised.value.hint}"


def test_keys_that_cannot_be_fetched_anew_are_told_too(
    no_aws: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """The program works once; an hour later it is gone."""
    program = tmp_path / "program"
    program.write_text(
        '#!/bin/sh\necho \'{"Version": 1, "AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": "x", '
        '"SessionToken": "t", "Expiration": "2020-01-01T00:00:00Z"}\'\n'
    )
    program.chmod(0o755)
    (tmp_path / "aws-config").write_text(f"[default]\ncredential_process = {program}\n")
    client = aws_client("sts", "eu-central-1", attempts=1)
    program.unlink()
    with pytest.raises(ConfigurationError, match="cannot get the AWS credentials"), aws_errors("ask"):
        client.get_caller_identity()


def test_a_prompt_for_an_mfa_code_without_a_terminal(tmp_path: Path):
    """A job has none: it ends, and does not wait."""
    (tmp_path / "config").write_text(
        f"[default]\n{ROLE}mfa_serial = arn:aws:iam::123456789012:mfa/x\nsource_profile = keys\n"
    )
    (tmp_path / "credentials").write_text("[keys]\naws_access_key_id = AKIA\naws_secret_access_key = y\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS")}
    environ |= {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    code = "from jenkins_release.registry import EcrRegistry; EcrRegistry('eu-central-1').login()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "ConfigurationError: cannot get a token" in done.stderr
    assert "EOFError" in done.stderr
