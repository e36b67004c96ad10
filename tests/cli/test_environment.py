"""The environment holds text, or is a mistake with a name: no byte of it ends in a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.cli.entry import main
from jenkins_release.config import load_configuration
from jenkins_release.config.redaction import Redaction, known_secrets
from jenkins_release.steps.context.services import Services
from tests.fixtures.configuration import release_toml

NO_TEXT = os.fsdecode(b"Zo\xeb")
"""Latin-1, as PEP 383 hands it over."""
READ = [
    *("BUILD_USER_ID", "BUILD_USER", "BUILD_URL", "GIT_COMMIT", "JENKINS_URL", "USER", "LOGNAME"),
    *(
        "JENKINS_RELEASE_SHARE_RELEASE_CANDIDATE",
        "JENKINS_RELEASE_KEY_PASSPHRASE",
        "JENKINS_RELEASE_SMB_USER",
    ),
    *("AWS_PROFILE", "AWS_SECRET_ACCESS_KEY", "DOCKER_HOST", "HTTPS_PROXY"),
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with an empty share in a folder."""
    share = tmp_path / "share"
    share.mkdir()
    path = tmp_path / "release.toml"
    path.write_text(release_toml(share))
    return path


@pytest.mark.parametrize("name", READ)
def test_a_variable_that_is_read_and_is_no_text_is_a_mistake(
    name: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, with the name and never the value, on the terminal and in the result."""
    result = config.with_name("result.json")
    words = ["candidate", "list", "--config", str(config), "--json", "--result", str(result), "-v"]
    assert main(words, environ={name: NO_TEXT}) == 2
    told = f"the environment variable {name} is not UTF-8"
    out, err = capsys.readouterr()
    assert told in err
    assert "Zo" not in out + err
    for document in (out, result.read_text()):
        error = json.loads(document)["error"]
        assert (error["category"], error["message"]) == ("configuration", told)


def test_every_one_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One run tells all of them."""
    environ = {"BUILD_URL": NO_TEXT, "BUILD_USER_ID": NO_TEXT}
    assert main(["candidate", "list", "--config", str(config)], environ=environ) == 2
    err = capsys.readouterr().err
    assert "BUILD_URL" in err
    assert "BUILD_USER_ID" in err


@pytest.mark.parametrize("name", ["NOTES", "SOMEBODYS_TOKEN", "HOME"])
def test_a_variable_that_is_not_read_may_be_anything(name: str, config: Path) -> None:
    """Jenkins puts every parameter of a build there."""
    assert main(["candidate", "list", "--config", str(config), "-v"], environ={name: NO_TEXT * 5}) == 0


def test_a_secret_that_is_no_text_is_taken_out_of_texts() -> None:
    """Of a variable that only its name makes a secret, and that nobody checked."""
    value = NO_TEXT * 5
    assert value not in Redaction(known_secrets({"SOMEBODYS_TOKEN": value}))(f"it is {value}.")


@pytest.mark.parametrize("name", ["BUILD_USER_ID", "BUILD_URL", "GIT_COMMIT"])
def test_the_library_is_told_too(name: str, config: Path) -> None:
    """Before anything is recorded."""
    configuration = load_configuration(config, environ={})
    with pytest.raises(ConfigurationError, match=name):
        Services(configuration, environ={name: NO_TEXT})


def run(words: list[str], **environ: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run the program in a process of its own."""
    own = {os.fsencode(name): value for name, value in environ.items()}
    words = [sys.executable, "-m", "jenkins_release", *words]
    return subprocess.run(words, env={b"PATH": b"/usr/bin:/bin", **own}, capture_output=True, check=False)


@pytest.mark.parametrize("name", ["USER", "BUILD_USER_ID", "MY_NOTES"])
def test_a_process_with_such_a_variable(name: str, config: Path) -> None:
    """As Jenkins on an old agent starts it."""
    done = run(["candidate", "list", "--config", str(config)], **{name: b"Zo\xeb", "HOME": b"/tmp"})
    assert done.returncode == (0 if name == "MY_NOTES" else 2), done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "how",
    [
        {"LC_ALL": b"C"},
        {"LC_ALL": b"C", "PYTHONUTF8": b"0", "PYTHONCOERCECLOCALE": b"0"},
        {"PYTHONIOENCODING": b"ascii"},
        {"PYTHONIOENCODING": b"latin-1:strict"},
    ],
    ids=["C", "ascii", "io-ascii", "io-latin-1"],
)
def test_a_terminal_that_cannot_show_it(how: dict[str, bytes], config: Path) -> None:
    """What a message quotes is escaped; no encoding of the terminal ends the program."""
    folder = config.with_name("Überraschung\N{SNOWMAN}")
    config.write_text(config.read_text().replace("/share", f"/{folder.name}"), encoding="utf-8")
    done = run(["candidate", "list", "--config", str(config), "-v", "--json"], HOME=b"/tmp", **how)
    assert done.returncode in {2, 5}, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"berraschung" in done.stderr
    assert json.loads(done.stdout.decode("latin-1"))["error"]["category"] in {"configuration", "remote"}
