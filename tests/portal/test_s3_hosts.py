"""The host that a customer's link names: that of the region, whatever else is configured."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from jenkins_release.aws.s3 import regional_client


@pytest.fixture
def keys(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x" * 40)


def link(bucket: str, region: str) -> str:
    client = regional_client(region)
    seconds = int(timedelta(hours=1).total_seconds())
    signed: str = client.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "a/b.msi"}, ExpiresIn=seconds
    )
    assert f"%2F{region}%2Fs3%2Faws4_request" in signed
    return urlsplit(signed).netloc + urlsplit(signed).path


@pytest.mark.parametrize(
    ("bucket", "region", "variables", "expected"),
    [
        ("acme", "eu-central-2", {}, "acme.s3.eu-central-2.amazonaws.com/a/b.msi"),
        ("acme", "me-central-1", {}, "acme.s3.me-central-1.amazonaws.com/a/b.msi"),
        ("acme", "us-east-1", {}, "acme.s3.amazonaws.com/a/b.msi"),
        ("acme", "cn-north-1", {}, "acme.s3.cn-north-1.amazonaws.com.cn/a/b.msi"),
        # A certificate of S3 has no dot in the part for the bucket.
        ("acme.downloads", "eu-central-2", {}, "s3.eu-central-2.amazonaws.com/acme.downloads/a/b.msi"),
        (
            "acme",
            "eu-central-2",
            {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
            "acme.s3.dualstack.eu-central-2.amazonaws.com/a/b.msi",
        ),
        (
            "acme",
            "us-east-2",
            {"AWS_USE_FIPS_ENDPOINT": "true"},
            "acme.s3-fips.us-east-2.amazonaws.com/a/b.msi",
        ),
        (
            "acme",
            "eu-central-2",
            {"AWS_ENDPOINT_URL_S3": "https://minio.corp:9000"},
            "minio.corp:9000/acme/a/b.msi",
        ),
    ],
)
def test_a_link_names_the_host_of_the_region(
    keys: None,
    monkeypatch: pytest.MonkeyPatch,
    bucket: str,
    region: str,
    variables: dict[str, str],
    expected: str,
):
    """us-east-1 is where the global host is at home; another store has one host for all buckets."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert link(bucket, region) == expected
