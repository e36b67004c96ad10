"""No login and no token of a URL is printed, logged or returned; result files are private."""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path

import pytest

from jenkins_release import Services, load_configuration
from jenkins_release.aws.session import aws_client
from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError, without_secrets
from jenkins_release.cli.entry import main
from jenkins_release.cli.runtime import Runtime, configure_logging
from jenkins_release.config.redaction import Redaction
from tests.fixtures.configuration import release_toml

SECRET = "hunter2-hunter2"


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment with an empty share, and AWS credentials that lead nowhere."""
    (tmp_path / "share").mkdir()
    config = tmp_path / "release.toml"
    config.write_text(release_toml(tmp_path / "share"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x" * 20)
    return {"JENKINS_RELEASE_CONFIG": str(config), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}


@pytest.mark.parametrize("login", [f"svc:{SECRET}", SECRET, f":{SECRET}", f"svc:a@{SECRET}"])
@pytest.mark.parametrize("words", [("customer", "list"), ("customer", "list", "-v", "--json")])
def test_a_login_in_an_endpoint_of_aws_is_not_shown(
    environ: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    login: str,
    words: tuple[str, ...],
):
    """It is refused, with the host, before anything is called; neither output nor result has it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", f"http://{login}@127.0.0.1:9/")
    result = tmp_path / "result.json"
    assert main([*words, "--result", str(result)], environ=environ) == 2
    shown = "".join(capsys.readouterr()) + result.read_text()
    assert SECRET not in shown
    assert "http://127.0.0.1:9" in shown
    assert "contains a login" in shown


@pytest.mark.parametrize("service", ["ecr", "iam", "ecs", "ssm", "s3", "kms", "secretsmanager"])
@pytest.mark.usefixtures("environ")
def test_no_client_of_aws_takes_a_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, service: str):
    """From a variable for all services, for one of them, and from the shared configuration."""
    name = service.upper()
    for variable in (
        "AWS_ENDPOINT_URL",
        f"AWS_ENDPOINT_URL_{'SECRETS_MANAGER' if name[:3] == 'SEC' else name}",
    ):
        with monkeypatch.context() as place:
            place.setenv(variable, f"https://svc:{SECRET}@aws.example")
            with pytest.raises(ConfigurationError, match="contains a login") as caught:
                aws_client(service, "eu-central-1")
            assert SECRET not in str(caught.value.diagnostics())
    shared = tmp_path / "config"
    shared.write_text(f"[default]\nendpoint_url = https://svc:{SECRET}@aws.example\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(shared))
    with pytest.raises(ConfigurationError, match="contains a login"):
        aws_client(service, "eu-central-1")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"https://svc:{SECRET}@host/a", "https://[redacted]@host/a"),
        (f"https://{SECRET}@host", "https://[redacted]@host"),
        (f"https://svc:p@{SECRET}@host:8443/a?b", "https://[redacted]@host:8443/a?b"),
        (f"('http://svc:{SECRET}@proxy:3128', 1)", "('http://[redacted]@proxy:3128', 1)"),
        (
            f"a https://svc:{SECRET}@a b https://svc:{SECRET}@b",
            "a https://[redacted]@a b https://[redacted]@b",
        ),
        (f"/f?X-Amz-Signature={SECRET}&X-Amz-Date=1", "/f?X-Amz-Signature=[redacted]&X-Amz-Date=1"),
        (f"/f?X-Amz-Security-Token={SECRET}'", "/f?X-Amz-Security-Token=[redacted]'"),
        (f"/f?a=1&access_token={SECRET}", "/f?a=1&access_token=[redacted]"),
        (f"/f?a=1&amp;sig={SECRET})", "/f?a=1&amp;sig=[redacted])"),
        (f"https://ssh:{SECRET}@host", "https://[redacted]@host"),
        (f"ssh://git:{SECRET}@host/repository", "ssh://[redacted]@host/repository"),
        ("ssh://git@host/repository", "ssh://git@host/repository"),
        ("https://host/a@b and somebody@example.com", "https://host/a@b and somebody@example.com"),
        ("https://host/?version=8.1.0&page=2", "https://host/?version=8.1.0&page=2"),
    ],
)
def test_what_an_error_says_holds_no_login_and_no_token(text: str, shown: str):
    """Whoever raises it and wherever the text comes from: message, hint, reasons, and the JSON of them."""
    assert without_secrets(text) == shown
    error = RemoteError(text, hint=text, reasons=[text])
    assert (error.message, error.hint, error.reasons, str(error)) == (shown, shown, (shown,), shown)
    assert error.diagnostics()["reasons"] == [shown]
    assert Redaction([])(text) == shown


def test_long_texts_are_looked_at_in_no_time():
    """No text of somebody else's makes the search slow."""
    for text in ("https://" * 50_000, "?" * 300_000, "&token" * 50_000, "a" * 500_000, "://a:" * 60_000):
        assert without_secrets(text)


def test_what_is_logged_holds_no_login_and_no_secret(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    """Of this program and of a library, with its traceback."""
    environ |= {"JENKINS_RELEASE_SMB_PASSWORD": SECRET, "JENKINS_RELEASE_JENKINS_TOKEN": f"{SECRET}-2"}
    configure_logging(logging.INFO, environ)
    logging.getLogger("jenkins_release.x").info("GET %s with %s", "https://a:b@h/?sig=0123abcd", SECRET)
    logging.getLogger("urllib3").warning(
        "Retrying after %r: %s", OSError(f"//h/{SECRET}-2"), "/x?token=abcdef"
    )
    try:
        raise ValueError(f"http://svc:{SECRET}@h")
    except ValueError:
        logging.getLogger("jenkins_release").exception("unexpected")
    shown = capsys.readouterr().err
    assert SECRET not in shown
    assert "abcd" not in shown
    assert "GET https://[redacted]@h/?sig=[redacted] with [redacted]" in shown
    assert "ValueError: http://[redacted]@h" in shown


def test_a_result_holds_no_login_but_the_address_that_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A presigned address is what somebody wants to have; a login in a URL is never."""
    runtime = Runtime({})
    runtime.result_file = tmp_path / "result.json"
    address = "https://bucket/a.msi?X-Amz-Signature=0123456789"
    runtime.succeed(
        {"url": address, "build": f"https://svc:{SECRET}@ci/1"}, f"built by https://{SECRET}@ci/1"
    )
    shown = capsys.readouterr().out
    document = json.loads(runtime.result_file.read_text())
    assert document == {"url": address, "build": "https://[redacted]@ci/1"}
    assert shown == "built by https://[redacted]@ci/1\n"


def test_an_error_holds_no_secret_of_the_environment(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """The last net: no text is made from a secret, and if one was, it is not printed."""
    runtime = Runtime({"JENKINS_RELEASE_KEY_PASSPHRASE": SECRET})
    runtime.as_json, runtime.result_file = True, tmp_path / "result.json"
    error = ReleaseError(f"a {SECRET}", hint=f"b {SECRET}", reasons=[f"c {SECRET}"])
    assert runtime.fail(error) == 70
    assert SECRET not in "".join(capsys.readouterr()) + runtime.result_file.read_text()


def test_the_build_url_is_recorded_without_a_login(environ: dict[str, str]):
    """It goes into records, notifications and leases, all through the services."""
    environ["BUILD_URL"] = f"https://svc:{SECRET}@ci.example/job/x/1/"
    with Services(load_configuration(environ=environ), environ=environ) as services:
        assert services.environ["BUILD_URL"] == "https://ci.example/job/x/1/"
        assert SECRET not in services.holder()


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("before", [None, 0o644, 0o666])
def test_a_result_file_is_private_from_the_start(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int | None
):
    """Whatever the umask is, and whatever was there: it may hold presigned addresses."""
    result, modes = tmp_path / "result.json", []
    if before is not None:
        result.touch()
        result.chmod(before)
    replace = Path.replace

    def looked_at(self: Path, target: Path) -> Path:
        modes.append(mode(self))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", looked_at)
    umask = os.umask(0)
    try:
        assert main(["candidate", "list", "--result", str(result)], environ=environ) == 0
    finally:
        os.umask(umask)
    assert modes == [0o600]
    assert mode(result) == 0o600
    assert json.loads(result.read_text()) == {"candidates": []}
    assert [path.name for path in tmp_path.iterdir() if "result" in path.name] == ["result.json"]


def test_no_link_that_waits_in_the_folder_is_written_through(environ: dict[str, str], tmp_path: Path):
    """A name that can be guessed, in a folder that others write to, may lead to a file of the user's."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".result.json.part").symlink_to(victim)
    (tmp_path / "result.json").symlink_to(victim)
    assert main(["candidate", "list", "--result", str(tmp_path / "result.json")], environ=environ) == 0
    assert victim.read_text() == "precious"
    assert not (tmp_path / "result.json").is_symlink()


def test_a_result_that_cannot_be_written_fails_nothing(
    environ: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """It warns, with the file and the reason."""
    result = tmp_path / "none" / "result.json"
    assert main(["candidate", "list", "--result", str(result)], environ=environ) == 0
    assert f"warning: the result {result} cannot be written: No such file" in capsys.readouterr().err
