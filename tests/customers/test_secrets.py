"""A customer's secret is in the hand-over and nowhere else: not in the log, the records or the folder."""

from __future__ import annotations

import json
import logging

import pytest

from jenkins_release.aws import aws_client
from jenkins_release.sandbox.ecr.state import REGION
from tests.fixtures.customers import CustomerLab


def test_no_secret_is_left_anywhere(lab: CustomerLab, caplog: pytest.LogCaptureFixture):
    """From issue to a proven revocation, everything logged as it can be."""
    caplog.set_level(logging.INFO)
    where = ("--file", str(lab.folder), "--recipient", str(lab.identity.to_public()), "-v")
    shown = [lab.run("customer", "issue", "ACME", "--ticket", "DEVOPS-7", *where)]
    first = lab.opened(lab.files()[0])
    name = "skydrm/customers/acme"
    shown.append(lab.run("customer", "rotate", "ACME", "--secret", name, "--json", "-v"))
    second = json.loads(aws_client("secretsmanager", REGION).get_secret_value(SecretId=name)["SecretString"])
    own = {
        "JENKINS_RELEASE_CUSTOMER_KEY_ID": first["accessKeyId"],
        "JENKINS_RELEASE_CUSTOMER_KEY_SECRET": first["secretAccessKey"],
    }
    shown.append(lab.run("customer", "doctor", "ACME", "-v", **own))
    shown.append(lab.run("customer", "list", "--json", "-v"))
    shown.append(lab.run("customer", "revoke", "ACME", "--reason", "contract ended", "-v", **own))
    assert [done.status for done in shown] == [0] * 5, "\n".join(done.text for done in shown)
    tags = lab.iam.list_user_tags(UserName="skydrm-acme")["Tags"]
    places = [*(done.text for done in shown), caplog.text, json.dumps(tags, default=str)]
    places += [
        path.read_bytes().decode(errors="replace") for path in lab.folder.parent.rglob("*") if path.is_file()
    ]
    for key in (first, second):
        assert not [place for place in places if key["secretAccessKey"] in place]


def test_a_secret_of_somebody_else_is_not_overwritten(lab: CustomerLab):
    """A slip in the name would take another customer's key away."""
    words = ("--ticket", "DEVOPS-7", "--secret", "skydrm/customers/acme")
    assert lab.run("customer", "issue", "ACME", *words).status == 0
    client = aws_client("secretsmanager", REGION)
    before = client.get_secret_value(SecretId="skydrm/customers/acme")["SecretString"]
    refused = lab.run("customer", "issue", "OTHER", *words)
    assert refused.status == 2
    assert "the secret skydrm/customers/acme belongs to skydrm-acme" in refused.err
    assert client.get_secret_value(SecretId="skydrm/customers/acme")["SecretString"] == before
    assert list(lab.state()) == ["skydrm-acme"]
    client.create_secret(Name="foreign", SecretString="x")
    assert "was not made by this program" in lab.run("customer", "issue", "OTHER", *words[:-1], "foreign").err
