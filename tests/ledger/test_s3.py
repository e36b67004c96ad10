"""The ledger in S3: lost answers, versions, object lock, and what its errors say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.ledger import S3Ledger
from tests.fixtures.s3 import REGION, Fault, S3Double

PATH = "SkyDRM/8.1.0/42/" + 64 * "a" + "/0003.json"


@pytest.fixture
def ledger(bucket: str) -> S3Ledger:
    """A ledger in a bucket of the test's own."""
    return S3Ledger(bucket, REGION, prefix="ledger")


@pytest.fixture
def versioned(client: Any, bucket: str, ledger: S3Ledger) -> S3Ledger:
    """The same in a bucket that keeps versions."""
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return ledger


class TestWrite:
    def test_a_line_is_written_only_if_there_is_none(self, s3: S3Double, ledger: S3Ledger) -> None:
        """S3 itself decides: the request carries If-None-Match, and the checksum that it compares."""
        ledger.add(PATH, b"line\n")
        (call,) = s3.named("PutObject")
        assert call.headers["if-none-match"] == "*"
        assert call.headers["x-amz-checksum-sha256"]
        assert "x-amz-server-side-encryption" not in call.headers

    def test_a_lost_answer_is_looked_up_and_not_repeated(self, s3: S3Double, ledger: S3Ledger) -> None:
        """S3 took the line, the connection broke: the line is read back, and written once."""
        s3.faults.append(Fault(lambda call: call.action == "PutObject", status=0, times=1))
        assert ledger.add(PATH, b"line\n").data == b"line\n"
        assert [line.data for line in ledger.read("SkyDRM")] == [b"line\n"]

    def test_a_lost_answer_to_another_writers_line_is_a_refusal(self, s3: S3Double, ledger: S3Ledger) -> None:
        """What is read back is compared, not taken for ours."""
        ledger.add(PATH, b"theirs\n")
        s3.faults.append(
            Fault(lambda call: call.action == "PutObject", status=503, code="SlowDown", times=None)
        )
        with pytest.raises(IntegrityError, match="theirs"):
            ledger.add(PATH, b"ours\n")

    def test_a_write_that_fails_says_why(self, s3: S3Double, ledger: S3Ledger) -> None:
        """Nothing is there: the failure of the write is what is told, with the rights that are missing."""
        s3.faults.append(
            Fault(lambda call: call.action == "PutObject", status=403, code="AccessDenied", message="no")
        )
        with pytest.raises(RemoteError, match="cannot write s3://") as caught:
            ledger.add(PATH, b"line\n")
        assert "docs/ledger.md" in caught.value.hint
        assert "AccessDenied" in str(caught.value.__cause__)

    def test_a_bucket_that_is_not_there_is_named(self, s3: S3Double) -> None:
        """The hint names the key of release.toml."""
        with pytest.raises(ConfigurationError, match="no bucket no-such-ledger") as caught:
            S3Ledger("no-such-ledger", REGION).add(PATH, b"line\n")
        assert "ledger.bucket" in caught.value.hint


class TestVersions:
    def test_the_first_version_is_read_when_a_line_was_written_over(
        self, client: Any, bucket: str, versioned: S3Ledger
    ) -> None:
        """An administrator without If-None-Match changes what is seen, and it shows."""
        versioned.add(PATH, b"first\n")
        client.put_object(Bucket=bucket, Key=f"ledger/{PATH}", Body=b"second\n")
        (line,) = versioned.read("SkyDRM")
        assert line.data == b"first\n"
        assert line.problem.endswith("was overwritten: it has 2 versions")

    def test_a_deleted_line_is_still_read_and_shows(
        self, client: Any, bucket: str, versioned: S3Ledger
    ) -> None:
        """A delete marker hides nothing; neither does a line that was written after it."""
        versioned.add(PATH, b"first\n")
        client.delete_object(Bucket=bucket, Key=f"ledger/{PATH}")
        (line,) = versioned.read("SkyDRM")
        assert (line.data, line.problem.endswith("was deleted")) == (b"first\n", True)
        versioned.add(PATH, b"second\n")
        (line,) = versioned.read("SkyDRM")
        assert (line.data, line.problem.endswith("was deleted")) == (b"first\n", True)

    def test_the_default_retention_of_a_bucket_holds_each_line(self, client: Any, s3: S3Double) -> None:
        """Object lock needs no setting of ours; the write is one that such a bucket takes."""
        name = "locked-ledger"
        client.create_bucket(
            Bucket=name,
            CreateBucketConfiguration={"LocationConstraint": REGION},
            ObjectLockEnabledForBucket=True,
        )
        rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 30}}
        client.put_object_lock_configuration(
            Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
        )
        ledger = S3Ledger(name, REGION)
        ledger.add(PATH, b"line\n")
        kept = client.head_object(Bucket=name, Key=PATH)
        assert kept["ObjectLockMode"] == "COMPLIANCE"
        assert kept["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=29)
        with pytest.raises(Exception, match="AccessDenied"):
            client.delete_object(Bucket=name, Key=PATH, VersionId=kept["VersionId"])


class TestRead:
    def test_more_than_a_page_of_lines_is_read(self, s3: S3Double, ledger: S3Ledger) -> None:
        """Every page counts: a second page that was dropped would be a shorter chain."""
        for number in range(1, 13):
            ledger.add(f"P/1/42/x/{number:04d}.json", json.dumps(number).encode())
        ledger._bucket.client.meta.events.register(
            "provide-client-params.s3.ListObjectVersions",
            lambda params, **_: {**params, "MaxKeys": 5},
        )
        assert [json.loads(line.data) for line in ledger.read("P/1/42")] == [*range(1, 13)]
        assert len(s3.named("ListObjectVersions")) == 3

    def test_an_unreachable_bucket_is_a_failure_and_no_empty_ledger(
        self, s3: S3Double, ledger: S3Ledger
    ) -> None:
        """Fail closed: what cannot be read is not as if nothing was recorded."""
        ledger.add(PATH, b"line\n")
        s3.faults.append(Fault(lambda call: call.action == "ListObjectVersions", status=503))
        with pytest.raises(RemoteError, match="cannot list s3://"):
            ledger.read("SkyDRM")
