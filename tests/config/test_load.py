"""``release.toml``: precedence, every mistake at once, no secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.config import load_configuration, read_key_sections, secret
from jenkins_release.keys import load_signer

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
        assert any("has nothing to release" in line for line in mistakes(write(text)))


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
        ("files = 'o/*'\ncheck = ['true']", "does not contain {file}"),
        ("files = 'o/*'\ncheck_expects = 'x'", "needs check"),
        ("files = 'o/*'\ncheck = ['a', '{file}']\ncheck_expects = '('", "is not a regular expression"),
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


def test_names_that_others_chose_are_no_secrets(write):
    """Tags of AWS, containers of a service, parameters of a document."""
    text = GOOD.replace(
        "[[images]]", "[ecr.repository_tags]\n\"credential-owner\" = 'platform'\n[[images]]", 1
    )
    text += """[saas]
kind = "ecs"
[saas.ecs]
cluster = "c"
[[saas.services]]
name = "token-service"
containers = { token-service = "rms", password-reset = "rms" }
"""
    found = mistakes(write(text + "[unknown]\n"))
    assert not any("secrets do not belong" in reason for reason in found)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("AKIAIOSFODNN7EXAMPLE", "an AWS access key"),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "an AWS secret access key"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\\nMIIB", "a private key"),
        ("AGE-SECRET-KEY-1QQQQ", "an age identity"),
        ("ghp_" + "a1" * 18, "a GitHub token"),
        ("https://hooks.slack.com/services/T0/B0/x", "a webhook's address with its token"),
        ("11" + "0a" * 16, "a Jenkins API token"),
    ],
)
def test_a_value_that_looks_like_a_secret_is_refused_wherever_it_stands(write, value, what):
    """Also under a name that somebody chose, and in a list; the value is not shown."""
    for place in ('[ecr.repository_tags]\nowner = "V"\n', '[[images]]\nname = "V"\n', '[x]\ny = [["V"]]\n'):
        path = write(GOOD + place.replace("V", value))
        with pytest.raises(ConfigurationError) as caught:
            load_configuration(path, environ={})
        assert any(f"it looks like {what}" in reason for reason in caught.value.reasons), place


@pytest.mark.parametrize(
    "value", ["da39a3ee5e6b4b0d3255bfef95601890afd80709", "sha256:" + "0" * 64, "skydrm/rms"]
)
def test_hashes_and_names_look_like_no_secret(write, value):
    """A commit has forty characters too."""
    found = mistakes(write(GOOD + f"[x]\ny = '{value}'\n"))
    assert not any("secret" in reason for reason in found)


def test_a_byte_order_mark_is_passed_over(write, tmp_path):
    """Notepad writes one; in a password it would cost a login."""
    path = write("\ufeff" + GOOD)
    assert load_configuration(path, environ={}).product.name == "SkyDRM"
    file = tmp_path / "password"
    file.write_bytes(b"\xef\xbb\xbfhunter2\r\n")
    found = secret("JENKINS_RELEASE_SMB_PASSWORD", {"JENKINS_RELEASE_SMB_PASSWORD_FILE": str(file)})
    assert found is not None
    assert found.get_secret_value() == "hunter2"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_what_is_not_utf_8_is_told_as_that(tmp_path, write, encoding):
    """``>`` of Windows PowerShell writes UTF-16; as a password it would cost a login."""
    path = write(GOOD)
    path.write_bytes(path.read_text().replace("SkyDRM", "Skyé").encode(encoding))
    told = "is not UTF-8" if encoding == "latin-1" else "it is UTF-16, as Windows programs write it"
    with pytest.raises(ConfigurationError, match=rf"release\.toml is not TOML: .*{told}: save it as UTF-8"):
        load_configuration(path, environ={})
    file = tmp_path / "password"
    file.write_bytes("hunté2".encode(encoding))
    with pytest.raises(ConfigurationError, match=f"cannot be read: .*{told}") as raised:
        secret("JENKINS_RELEASE_SMB_PASSWORD", {"JENKINS_RELEASE_SMB_PASSWORD_FILE": str(file)})
    assert "hunt" not in str(raised.value.diagnostics())


@pytest.mark.parametrize("text", ["", "\n", "user\nhunter2\n", "user\rhunter2"])
def test_a_file_with_a_secret_has_one_line(tmp_path, text):
    """Another one costs a login each time."""
    file = tmp_path / "password"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="expected one") as raised:
        secret("JENKINS_RELEASE_SMB_PASSWORD", {"JENKINS_RELEASE_SMB_PASSWORD_FILE": str(file)})
    assert "hunter2" not in str(raised.value.diagnostics())


def test_a_missing_file_and_broken_toml_are_told_apart(tmp_path, write):
    """Both messages name the file."""
    with pytest.raises(ConfigurationError, match=r"there is no configuration file .*nowhere\.toml"):
        load_configuration(tmp_path / "nowhere.toml", environ={})
    with pytest.raises(ConfigurationError, match=r"release\.toml is not TOML"):
        load_configuration(write("[product\n"), environ={})


def test_toml_that_is_nested_too_deeply_is_a_mistake(write):
    """In release.toml, and in a file of trusted keys."""
    path = write(f"x = {'[' * 50_000}")
    with pytest.raises(ConfigurationError, match="is not TOML: it is nested too deeply"):
        load_configuration(path, environ={})
    with pytest.raises(ConfigurationError) as caught:
        read_key_sections((path,))
    assert "is not TOML: it is nested too deeply" in caught.value.reasons[0]


def test_public_keys_are_relative_to_the_file(write):
    """A command works from every folder."""
    keys = '[[trusted_keys]]\nname = "a"\nroles = ["qa"]\npublic_key = "keys/a.pub"\n'
    path = write(GOOD + keys)
    found = load_configuration(path, environ={}).trusted_keys[0].public_key
    assert found == str(path.parent / "keys" / "a.pub")


def test_a_zero_byte_is_a_mistake(write):
    """No file, server or image has one in its name."""
    text = GOOD.replace('"skydrm/rms"', '"skydrm/\\u0000rms"') + 'x = ["a\\u0000"]\n'
    found = [mistake for mistake in mistakes(write(text)) if "control character" in mistake]
    assert [mistake.partition(",")[0] for mistake in found] == [
        "images[0].repository: contains the control character U+0000 (null)",
        "images[0].x[0]: contains the control character U+0000 (null)",
    ]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (r"\\\\srv\release", "U+000D (carriage return)"),
        (r"\\\\srv\new", "U+000A (line feed)"),
        (r"\\\\srv\temp", "U+0009 (tab)"),
        (r"\\srv\bin", "U+0008 (backspace)"),
    ],
)
def test_a_backslash_in_double_quotes_is_named(write, written, told):
    """TOML makes another character of it; single quotes keep it."""
    text = GOOD.replace("'\\\\nextlabs.com\\share\\data\\release_candidate'", f'"{written}"')
    (mistake, *_) = mistakes(write(text))
    assert mistake.startswith(
        f"share.release_candidate: contains the control character {told}, which TOML makes"
    )
    assert "single quotes" in mistake


@pytest.mark.parametrize(
    "line",
    [
        '[signing]\nqa_key = "file2:~no-such-user/qa.pem"',
        '[[trusted_keys]]\nname = "qa"\nroles = ["qa"]\npublic_key = "~no-such-user/qa.pem.pub"',
        '[bundle]\ntemplates = "~no-such-user/bundle"',
    ],
)
def test_a_home_folder_that_nobody_knows_is_a_mistake(write, line):
    """Of a user who does not exist, or without HOME for a user id that no passwd file names."""
    with pytest.raises(ConfigurationError, match=r"the home folder of ~no-such-user/.* is unknown"):
        load_configuration(write(f"{GOOD}\n{line}\n"), environ={})
    with pytest.raises(ConfigurationError, match=r"the home folder of ~no-such-user/.* is unknown"):
        load_signer("file2:~no-such-user/qa.pem", None)


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


def test_a_mistake_in_a_variable_is_no_mistake_in_the_file(write):
    """Jenkins sets parameters of a job that nobody filled in to an empty text."""
    environ = {"JENKINS_RELEASE_SHARE_TIMEOUT_S": "", "JENKINS_RELEASE_ECR_REGION": "nowhere"}
    with pytest.raises(ConfigurationError) as raised:
        load_configuration(write(GOOD), environ=environ)
    assert raised.value.message == "the environment: 2 mistakes in the configuration"
    timeout, region = raised.value.reasons
    assert timeout.endswith(
        "from the variable JENKINS_RELEASE_SHARE_TIMEOUT_S, which is empty; unset it to take the file's value"
    )
    assert region.endswith("(found 'nowhere') from the variable JENKINS_RELEASE_ECR_REGION")
    with pytest.raises(ConfigurationError, match=r"release\.toml: 3 mistakes"):
        load_configuration(write(GOOD.replace("SkyDRM", "a/b")), environ=environ)


def test_a_file_of_any_size_is_not_read(tmp_path):
    """`--config /dev/zero`, or an archive in its place."""
    file = tmp_path / "release.toml"
    with file.open("wb") as stream:
        stream.truncate(1 << 33)
    for path in (file, Path("/dev/zero")):
        with pytest.raises(ConfigurationError, match="has more than 4194304 bytes"):
            load_configuration(path, environ={})
