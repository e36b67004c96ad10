"""The doctor at the customer's: nothing but the key, and everything that may be in a pull's way."""

from __future__ import annotations

from typing import Any

import pytest

from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.process import free_port
from tests.fixtures.customers import CustomerLab


def doctor(lab: CustomerLab, key: dict[str, str], *words: str) -> tuple[int, dict[str, Any]]:
    """Run the doctor with a customer's key; returns the status, and the checks by name."""
    own = {
        "JENKINS_RELEASE_CUSTOMER_KEY_ID": key["accessKeyId"],
        "JENKINS_RELEASE_CUSTOMER_KEY_SECRET": key["secretAccessKey"],
    }
    done = lab.run("customer", "doctor", "ACME", "--json", *words, **own)
    assert key["secretAccessKey"] not in done.text
    return done.status, {each["name"]: each for each in done.json["checks"]}


@pytest.fixture
def key(lab: CustomerLab) -> dict[str, str]:
    return lab.opened(lab.issue().place)


def test_a_pull_goes_as_far_as_a_layer(
    lab: CustomerLab, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    """Token, right, manifest and the first byte of a layer, without IAM and without anybody else's key."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", f"http://127.0.0.1:{free_port()}")
    lab.front.requests.clear()
    status, checks = doctor(lab, key, "--tag", "8.1.0")
    assert (status, {each["good"] for each in checks.values()}) == (0, {True})
    rms, viewer = ((f"right to pull {name}", f"pull of {name}") for name in ("skydrm/rms", "skydrm/viewer"))
    assert list(checks) == ["docker login", *rms, *viewer]
    paths = [each.path for each in lab.front.requests.all()]
    assert len([path for path in paths if "/blobs/sha256:" in path]) == 2


def test_a_tag_that_is_missing_shows_all_the_same_whether_it_may_be_pulled(
    lab: CustomerLab, key: dict[str, str]
):
    """Nobody tells a customer which tags there are."""
    assert doctor(lab, key)[0] == 0


@pytest.mark.parametrize("wrong", ["secret", "id"])
def test_a_mistyped_key_is_told_on_the_page(lab: CustomerLab, key: dict[str, str], wrong: str):
    """The commonest reason; what needs a login is not tried then."""
    if wrong == "secret":
        key["secretAccessKey"] = key["secretAccessKey"][:-1] + "#"
    else:
        key["accessKeyId"] = "AKIANOBODYHASTHISKEY"
    status, checks = doctor(lab, key)
    assert status == 3
    assert list(checks) == ["docker login"]
    expected = "secret access key does not belong" if wrong == "secret" else "mistyped"
    assert expected in checks["docker login"]["hint"]


def test_a_firewall_before_the_layers_is_told_by_the_name_of_the_host(lab_factory):
    """Customers open the registry's host and forget the one that serves the layers."""
    host = f"127.0.0.1:{free_port()}"
    lab = lab_factory(layer_host=host)
    status, checks = doctor(lab, lab.opened(lab.issue().place), "--tag", "8.1.0")
    assert status == 3
    broken = checks["pull of skydrm/rms"]
    assert host in broken["said"]
    assert "firewall" in broken["hint"]
    assert "signature=" not in str(checks)
    lab.front.state.layer_host = lab.front.host
    assert doctor(lab, lab.opened(lab.files()[0]), "--tag", "8.1.0")[0] == 0


def test_a_registry_that_does_not_answer_is_told(lab: CustomerLab, key: dict[str, str]):
    """A proxy that breaks connections is no crash."""
    lab.front.faults.add(Fault(path="/v2/", reset_response_after=0, count=None))
    status, checks = doctor(lab, key)
    assert status == 3
    assert "the connection to" in checks["pull of skydrm/rms"]["said"]


def test_half_a_key_is_a_mistake(lab: CustomerLab):
    """Both variables or none."""
    done = lab.run("customer", "doctor", "ACME", JENKINS_RELEASE_CUSTOMER_KEY_ID="AKIA")
    assert done.status == 2
    assert "half" in done.err
