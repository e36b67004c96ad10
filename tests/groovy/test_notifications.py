"""The steps bind what notifications need, and hand on who was told."""

from __future__ import annotations

import dataclasses

from tests.fixtures.notify import HOOK_PATH, SMTP_LOGIN, Hook, hook_section, mail_section, mail_server
from tests.groovy.conftest import SkyDrm
from tests.groovy.jenkins import Jenkins, Job

NOTIFIERS = "mail: 'release-mail', webhook: 'release-channel'"
EXPORT = f"""
node('docker') {{
    checkout scm
    exportCandidate version: '8.1.0', credentials: [smb: 'release-share', key: 'skydrm-build-key',
        passphrase: 'skydrm-build-passphrase', {NOTIFIERS}]
}}
"""
REFUSED = f"""
node('docker') {{
    checkout scm
    promoteCandidate version: '8.1.0', build: 42, credentials: [smb: 'release-share', aws: 'skydrm-ecr-push',
        key: 'skydrm-promotion-key', passphrase: 'skydrm-promotion-passphrase', {NOTIFIERS}]
}}
"""


def with_notifiers(skydrm: SkyDrm, hook: Hook, port: int) -> Job:
    """The job with two more credentials in Jenkins, and two notifiers in the sources' release.toml."""
    user, password = SMTP_LOGIN.values()
    credentials = {
        **skydrm.job.credentials,
        "release-mail": {"kind": "usernamePassword", "username": user, "password": password},
        "release-channel": {"kind": "string", "secret": hook.url},
    }
    release = skydrm.product.folder.parent / "sources" / "release.toml"
    release.write_text(release.read_text() + mail_section(port) + hook_section("channel", "teams"))
    return dataclasses.replace(skydrm.job, credentials=credentials)


def test_a_build_tells_by_mail_and_channel_what_it_did(jenkins: Jenkins, skydrm: SkyDrm, hook: Hook):
    """With the URL of the build; a failed step is told too. No secret is an argument or in the console."""
    with mail_server(login=True) as mailbox:
        job = with_notifiers(skydrm, hook, mailbox.port)
        exported = jenkins.run(job, EXPORT)
        assert {each["notifier"]: each["delivered"] for each in exported.ok()["notified"]} == {
            "qa-mail": True,
            "channel": True,
        }
        refused = jenkins.run(job, REFUSED)
        assert refused.failed().startswith("refused: ")
        assert [mail["Subject"] for mail, _ in mailbox.mails] == [
            "SkyDRM 8.1.0/42 is ready to be tested",
            "SkyDRM 8.1.0/42: promote run failed",
        ]
    buttons = [each["attachments"][0]["content"]["actions"][0]["url"] for each in hook.documents]
    assert buttons == ["https://jenkins.example/job/skydrm/42/"] * 2
    for secret in (SMTP_LOGIN["JENKINS_RELEASE_SMTP_PASSWORD"], HOOK_PATH):
        assert secret not in exported.console + refused.console
        assert not [word for word in skydrm.arguments if secret in word]
