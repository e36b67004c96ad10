"""``[[notify]]`` in release.toml, and secrets that must not leave the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from jenkins_release import ConfigurationError, load_configuration
from jenkins_release.config.notify import mail_address
from jenkins_release.config.redaction import REDACTED, Redaction, known_secrets
from tests.fixtures.configuration import release_toml

MAIL = {
    "name": '"qa"',
    "kind": '"mail"',
    "to": '["qa@nextlabs.com"]',
    "sender": '"release@nextlabs.com"',
    "host": '"mail.nextlabs.com"',
}
HOOK = {"name": '"channel"', "kind": '"webhook"'}


def load(folder: Path, *sections: dict[str, str]):
    text = "".join("[[notify]]\n" + "".join(f"{k} = {v}\n" for k, v in each.items()) for each in sections)
    (folder / "release.toml").write_text(release_toml("/srv/candidates", text))
    return load_configuration(folder / "release.toml", environ={})


def mistakes(folder: Path, *sections: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, *sections)
    return "\n".join(caught.value.reasons)


def test_a_notifier_takes_every_event_unless_some_are_named(tmp_path: Path):
    """And files that it names are relative to release.toml."""
    few = {**HOOK, "events": '["promoted", "failed"]', "ca_file": '"ca.pem"', "template_file": '"t.json"'}
    mail, hook = load(tmp_path, MAIL, few).notify
    assert mail.wants("candidate")
    assert (hook.wants("failed"), hook.wants("candidate")) == (True, False)
    assert (hook.ca_file, hook.template_file) == (str(tmp_path / "ca.pem"), str(tmp_path / "t.json"))
    assert mail.ca_file == ""


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({**MAIL, "events": '["published!"]'}, "notify[0].events[0]: "),
        ({**MAIL, "to": "[]"}, "to must be given for the kind 'mail'"),
        ({"name": '"qa"', "kind": '"mail"'}, "to and sender and host must be given"),
        ({**MAIL, "to": '["qa"]'}, "'qa' is not a mail address"),
        ({**MAIL, "sender": '"a@b\\r\\nBcc: c@d"'}, "is not a mail address"),
        ({**MAIL, "sender": '"qä@nextlabs.com"'}, "is not a mail address in ASCII"),
        ({**MAIL, "host": '"mail.nextlabs.com:25"'}, "notify[0].host: is not the name of a mail server"),
        ({**MAIL, "host": '"bad:25"'}, "notify[0].host: is not the name of a mail server"),
        ({**MAIL, "template": '"slack"'}, "template has no effect with the kind 'mail'"),
        ({**HOOK, "port": "25"}, "port has no effect with the kind 'webhook'"),
        ({**HOOK, "timeout_s": "0"}, "notify[0].timeout_s"),
        ({**HOOK, "name": '"two\\nlines"'}, "notify[0].name"),
        ({**HOOK, "webhook_token": '"x"'}, "notify[0].webhook_token: secrets do not belong in this file"),
    ],
)
def test_a_mistake_is_named_with_its_key(tmp_path: Path, section: dict[str, str], said: str):
    """What has no meaning for a kind is a mistake too: nobody believes in vain that it does something."""
    assert said in mistakes(tmp_path, section)


def test_two_notifiers_have_two_names(tmp_path: Path):
    """Results and warnings name them."""
    assert "notify.name must be unique" in mistakes(tmp_path, MAIL, {**HOOK, "name": '"QA"'})


@pytest.mark.parametrize("key", ["url_variable", "url"])
def test_a_url_in_the_file_is_refused_and_not_quoted(tmp_path: Path, key: str):
    """Who misunderstands the key writes the secret itself there; the message goes into a build's log."""
    url = '"https://hooks.slack.example/services/T0/B0/hunter2"'
    said = mistakes(tmp_path, {**HOOK, key: url})
    assert f"notify[0].{key}: " in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("written", "name", "address"),
    [
        ("qa@nextlabs.com", "", "qa@nextlabs.com"),
        ("QA <qa@nextlabs.com>", "QA", "qa@nextlabs.com"),
        ('"Adams, Quinn" <quinn@nextlabs.com>', "Adams, Quinn", "quinn@nextlabs.com"),
        ("Größe <qa@nextlabs.com>", "Größe", "qa@nextlabs.com"),
    ],
)
def test_mail_addresses_may_have_a_name(written: str, name: str, address: str):
    """As people write them."""
    found = mail_address(written)
    assert (found.display_name, found.addr_spec) == (name, address)


@pytest.mark.parametrize(
    "written", ["qa", "@b", "a@", "a@b, c@d", "a b@c", "<a@b> <c@d>", "a@b>", "a@b\n", ""]
)
def test_what_is_no_mail_address_is_refused(written: str):
    """One address each."""
    with pytest.raises(ValueError, match="is not a mail address"):
        mail_address(written)


def test_every_known_secret_is_taken_out(tmp_path: Path):
    """From variables and from the files that they name, as it is, in a URL, and in JSON."""
    file = tmp_path / "smtp"
    file.write_text('from-a-file&"\n')
    environ = {
        "JENKINS_RELEASE_SMB_PASSWORD": "smb pass/word",
        "JENKINS_RELEASE_SMTP_PASSWORD_FILE": str(file),
        "AWS_SECRET_ACCESS_KEY": "aws-secret",
        "NEXUS_PASSWORD": "bound-by-somebody",
        "HOOK": "https://hooks.example/services/T0/B0?sig=hunter2",
        "JENKINS_RELEASE_SMTP_USER": "release-bot",
    }
    redact = Redaction(known_secrets(environ, ["HOOK"]))
    text = (
        'smb pass/word smb%20pass%2Fword from-a-file&" from-a-file&\\" aws-secret bound-by-somebody '
        "https://hooks.example/services/T0/B0?sig=hunter2 /services/T0/B0?sig=hunter2 https://bob:pw@git.example/x"
    )
    assert redact(text).replace(REDACTED, "*") == "* * * * * * * * https://*@git.example/x"
    assert redact("release-bot says 8.1.0") == "release-bot says 8.1.0"
    assert "hunter2" not in repr(redact)


def test_short_values_and_paths_of_files_are_no_secrets():
    """A message is still to be read."""
    redact = Redaction(
        known_secrets({"A_TOKEN": "8.1.0", "B_TOKEN_FILE": "/run/secrets/b", "C_PASSWORD": ""})
    )
    assert redact("8.1.0 /run/secrets/b") == "8.1.0 /run/secrets/b"


def test_a_secret_within_another_one_leaves_no_rest():
    """The longest first."""
    assert Redaction(["hunter2", "hunter2-and-more"])("hunter2-and-more") == REDACTED
