"""SLSA provenance: the platform, the invocation, and dependencies by digest."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jenkins_release.records.candidate import Candidate
from jenkins_release.records.provenance import OUTSIDE_JENKINS, builder_id, image_uri, provenance
from tests.rules.test_consumer import candidate

WHEN = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
RECORD = Candidate.from_bytes(candidate(), "candidate.json")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Jenkins.Example.com/job/skydrm/42/", "https://jenkins.example.com/"),
        ("HTTP://j:8080/ci/job/a/job/b/7/", "http://j:8080/ci/"),
        ("https://user:secret@j.example/job/a/1/", "https://j.example/"),
        ("", OUTSIDE_JENKINS),
        ("42", OUTSIDE_JENKINS),
        ("http://[/job", OUTSIDE_JENKINS),
    ],
)
def test_the_builder_is_the_controller(url: str, expected: str):
    """In normal form, and without what a URL may carry before the host."""
    assert builder_id(RECORD.model_copy(update={"build_url": url})) == expected


@pytest.mark.parametrize("revision", ["f" * 40, "0" * 64])
def test_a_commit_is_a_dependency(revision: str):
    """By its digest."""
    said = provenance(RECORD.model_copy(update={"revision": revision}), started=WHEN, finished=WHEN)
    resolved = said["buildDefinition"]["resolvedDependencies"]
    assert resolved[-1] == {"name": "source", "digest": {"gitCommit": revision}}


def test_a_revision_that_is_no_commit_is_a_parameter():
    """A digest has to be hexadecimal."""
    said = provenance(RECORD.model_copy(update={"revision": "r4711"}), started=WHEN, finished=WHEN)
    assert said["buildDefinition"]["externalParameters"]["revision"] == "r4711"
    assert [d["name"] for d in said["buildDefinition"]["resolvedDependencies"]] == ["rms", "viewer"]


def test_images_have_package_urls():
    """With and without a tag or a registry's port."""
    names = {
        "skydrm/rms:8.1.0-42": "pkg:docker/skydrm/rms@8.1.0-42",
        "skydrm/rms": "pkg:docker/skydrm/rms",
        "localhost:5000/rms": "pkg:docker/localhost%3A5000/rms",
        "localhost:5000/rms:1+2": "pkg:docker/localhost%3A5000/rms@1%2B2",
    }
    for name, expected in names.items():
        assert image_uri(RECORD.images[0].model_copy(update={"reference": name})) == expected
