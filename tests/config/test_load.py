"""``release.toml``: precedence, every mistake at once, no secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from jenkins_release.config import load_configuration, secret
from jenkins_release.errors import ConfigurationError

GOOD = """
[product]
name = "SkyDRM"
[share]
release_candidate = '\\\\nextlabs.com\\share\\data\\release_candidate'
[ecr]
region = "us-east-1"
account = "123456789012"
[[images]]
name = "rms"
source = "skydrm/rms:{version}-{build}"
repository = "skydrm/rms"
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        file = tmp_path / "release.toml"
        file.write_text(text)
        return file

    return write


def mistakes(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(path, environ={})
    return caught.value.reasons


def test_defaults_are_safe(write):
    """Encryption and immutable tags are on, repositories are not created unasked."""
    configuration = load_configuration(write(GOOD), environ={})
    assert configuration.share.encrypt
    assert configuration.ecr.immutable
    assert configuration.ecr.scan_on_push
    assert not configuration.ecr.create_repositories
    assert configuration.ecr.tags == ("{version}",)
    assert configuration.policy.sign_offs == 1


def test_options_win_over_the_environment_and_that_over_the_file(write):
    """Defaults < file < environment < options."""
    environ = {"JENKINS_RELEASE_SHARE_RELEASE_CANDIDATE": "/env", "JENKINS_RELEASE_SHARE_ENCRYPT": "false"}
    path = write(GOOD)
    configuration = load_configuration(path, environ=environ)
    assert configuration.share.release_candidate == "/env"
    assert configuration.share.encrypt is False
    options = {"share.release_candidate": "/option", "docker.host": None}
    configuration = load_configuration(path, environ=environ, options=options)
    assert configuration.share.release_candidate == "/option"


def test_no_variable_changes_the_policy(write):
    """A job cannot switch the gate off: what it asks for is reviewed with the file."""
    environ = {"JENKINS_RELEASE_POLICY_APPROVALS": "0", "JENKINS_RELEASE_POLICY_ALLOW_DOWNGRADE": "true"}
    policy = load_configuration(write(GOOD), environ=environ).policy
    assert policy.approvals == 1
    assert not policy.allow_downgrade


def test_the_file_comes_from_the_environment_where_no_option_names_it(write):
    """JENKINS_RELEASE_CONFIG names the file."""
    path = write(GOOD)
    assert load_configuration(environ={"JENKINS_RELEASE_CONFIG": str(path)}).product.name == "SkyDRM"


def test_every_mistake_is_reported_at_once_with_its_key(write):
    """A person mends the file in one go."""
    found = mistakes(
        write(
            GOOD.replace('name = "SkyDRM"', 'name = "Sky/DRM"')
            .replace('"us-east-1"', '"moon"')
            .replace("{build}", "{colour}")
            .replace('repository = "skydrm/rms"', 'repository = "SkyDRM/rms"\nspeed = 3')
            + "[policy]\nsign_offs = 0\n[retry]\nattempts = 'many'\n[unknown]\nx = 1\n"
        )
    )
    for key in (
        "product.name", "ecr.region", "images[0].source", "images[0].repository", "images[0].speed",
        "policy.sign_offs", "retry.attempts", "unknown",
    ):  # fmt: skip
        assert any(line.startswith(f"{key}:") for line in found), (key, found)


def test_nothing_to_release_is_a_mistake(write):
    """A candidate without images and without installers is none."""
    without = GOOD[: GOOD.index("[[images]]")]
    for text in (without, "images = []\n" + without):
        assert any("names nothing to release" in line for line in mistakes(write(text)))


def test_installers_need_no_registry(write):
    """A product that ships installers alone has no account to name."""
    text = "[product]\nname = 'P'\n[share]\nrelease_candidate = '/s'\n[[installers]]\nfiles = 'out/*.msi'\n"
    assert load_configuration(write(text), environ={}).images == ()


def test_images_need_a_registry(write):
    """Both keys are named at once."""
    text = "[product]\nname = 'P'\n[share]\nrelease_candidate = '/s'\n"
    image = "[[images]]\nname = 'a'\nsource = 'a:{version}'\nrepository = 'p/a'\n"
    assert any("ecr.region and ecr.account missing" in line for line in mistakes(write(text + image)))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("files = '/out/*.msi'", "not below the build's output"),
        ("files = 'C:/out/*.msi'", "not below the build's output"),
        ("files = '../*.msi'", "leaves the build's output"),
        ("files = 'out\\*.msi'", "write / between folders"),
        ("files = 'out/{verison}.msi'", "known are"),
        ("files = 'out/'", "names a folder"),
        ("files = ''", "is empty"),
        ("files = 'o/*'\ncheck = ['true']", "names no {file}"),
        ("files = 'o/*'\ncheck_expects = 'x'", "without check"),
        ("files = 'o/*'\ncheck = ['a', '{file}']\ncheck_expects = '('", "is no regular expression"),
        ("files = 'o/*'\nkind = 'other'", "installers"),
    ],
)
def test_a_pattern_that_cannot_work(write, line, why):
    """It is told when the file is read, not on the evening of the export."""
    assert any(why in found for found in mistakes(write(f"{GOOD}\n[[installers]]\n{line}\n")))


def test_names_and_repositories_are_unique(write):
    """Two images cannot share a repository: their release tags would collide."""
    twice = GOOD + GOOD[GOOD.index("[[images]]") :]
    assert "must be unique" in mistakes(write(twice))[0]


@pytest.mark.parametrize("line", ["password = 'hunter2'", "api_token = 'hunter2'", "secret_key = 'hunter2'"])
def test_a_secret_in_the_file_is_refused_and_not_shown(write, line):
    """The key is named, the value is not."""
    path = write(GOOD.replace("[share]", f"[share]\n{line}"))
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(path, environ={})
    assert any("secrets do not belong in this file" in reason for reason in caught.value.reasons)
    assert "hunter2" not in str(caught.value.diagnostics())


def test_a_missing_file_and_broken_toml_are_told_apart(tmp_path, write):
    """Both messages name the file."""
    with pytest.raises(ConfigurationError, match=r"there is no configuration file .*nowhere\.toml"):
        load_configuration(tmp_path / "nowhere.toml", environ={})
    with pytest.raises(ConfigurationError, match=r"release\.toml is not TOML"):
        load_configuration(write("[product\n"), environ={})


def test_public_keys_are_relative_to_the_file(write):
    """A command works from every folder."""
    keys = '[[trusted_keys]]\nname = "a"\nroles = ["qa"]\npublic_key = "keys/a.pub"\n'
    path = write(GOOD + keys)
    found = load_configuration(path, environ={}).trusted_keys[0].public_key
    assert found == str(path.parent / "keys" / "a.pub")


def test_validity_needs_a_time_zone(write):
    """A bound without a zone would mean something else on every machine."""
    key = '[[trusted_keys]]\nname="a"\nroles=["qa"]\npublic_key="a.pub"\nvalid_until=2026-01-01T00:00:00\n'
    assert "time zone" in mistakes(write(GOOD + key))[0]


def test_a_secret_comes_from_the_environment_or_a_file(tmp_path):
    """The last line break of a file is not part of the secret."""
    file = tmp_path / "secret"
    file.write_text("pa ss\n")
    assert secret("X", {}) is None
    assert secret("X", {"X": "value"}).get_secret_value() == "value"
    assert secret("X", {"X_FILE": str(file)}).get_secret_value() == "pa ss"
    assert "pa ss" not in repr(secret("X", {"X_FILE": str(file)}))
    with pytest.raises(ConfigurationError, match="both X and X_FILE"):
        secret("X", {"X": "value", "X_FILE": str(file)})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        secret("X", {"X_FILE": str(tmp_path / "missing")})
