"""The portal in S3: resumed uploads, what S3 is asked for, how it fails, and links."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit
from urllib.request import urlopen

import pytest

from jenkins_release.base.errors import ConfigurationError, IntegrityError, ReleaseError, RemoteError
from jenkins_release.config.portal import Encryption
from jenkins_release.portal import NotAtPortal, S3Portal
from jenkins_release.portal.s3_upload import MAX_PARTS, MIN_PART, disposition, part_size_for, split
from tests.fixtures.damage import flipped
from tests.fixtures.s3 import REGION, Call, Fault, S3Double
from tests.fixtures.silence import GENEROUS_S
from tests.portal.test_contract import LARGE, SMALL, ignore, upload

KEY = upload(LARGE).path
PARTS = 3


def parts(s3: S3Double) -> list[int]:
    """Return the numbers of the parts that were sent."""
    return [call.part for call in s3.named("UploadPart")]


def denied(action: str, part: int = 0) -> Fault:
    """Return a refusal from a part on, or of a call: not repeated by anyone."""
    return Fault(
        lambda call: call.action == action and call.part >= part, 403, "AccessDenied", "Access Denied"
    )


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let botocore repeat a call at once."""
    monkeypatch.setattr("random.uniform", lambda low, _: low)


@pytest.fixture
def portal(bucket: str) -> S3Portal:
    """A portal that sends one part of the smallest size at a time."""
    return S3Portal(bucket, REGION, part_size=MIN_PART, workers=1)


class TestResuming:
    @pytest.mark.parametrize("arrived", range(PARTS + 1))
    def test_an_upload_that_broke_off_sends_only_what_is_missing(
        self, portal: S3Portal, s3: S3Double, arrived: int
    ) -> None:
        """At every border between parts, and before the object is made of them."""
        s3.faults.append(
            denied("UploadPart", arrived + 1) if arrived < PARTS else denied("CompleteMultipartUpload")
        )
        with pytest.raises(RemoteError):
            portal.put(upload(LARGE), ignore)
        assert portal.files("SkyDRM") == []
        s3.reset()
        counted: list[int] = []
        done = portal.put(upload(LARGE), counted.append)
        assert parts(s3) == list(range(arrived + 1, PARTS + 1))
        assert done.kept == min(arrived * MIN_PART, len(LARGE))
        assert done.sent + done.kept == len(LARGE) == sum(counted)
        assert portal.read_small(KEY) == LARGE
        assert len(s3.named("CreateMultipartUpload")) == (0 if arrived else 1)

    def test_a_part_in_the_middle_that_is_missing_is_sent_alone(
        self, bucket: str, s3: S3Double, client: Any
    ) -> None:
        """Parts arrive in any order: what counts is which of them are there."""
        s3.faults.append(Fault(lambda call: call.part == 2, 403, "AccessDenied", "no"))

        kept = s3.parts_kept()

        def others_first(call: Call) -> None:
            end = time.monotonic() + GENEROUS_S
            while call.part == 2 and s3.parts_kept() < kept + 2:
                assert time.monotonic() < end
                time.sleep(0.01)

        s3.before = others_first
        portal = S3Portal(bucket, REGION, part_size=MIN_PART, workers=3)
        with pytest.raises(RemoteError):
            portal.put(upload(LARGE), ignore)
        s3.reset()
        portal.put(upload(LARGE), ignore)
        assert parts(s3) == [2]
        assert portal.read_small(KEY) == LARGE

    def test_an_unfinished_upload_of_other_content_is_not_continued(
        self, portal: S3Portal, s3: S3Double, client: Any, bucket: str
    ) -> None:
        """Its first part equals ours, the second does not: it is given up, and all is sent anew."""
        other = LARGE[:MIN_PART] + bytes(len(LARGE) - MIN_PART)
        s3.faults.append(denied("CompleteMultipartUpload"))
        with pytest.raises(RemoteError):
            portal.put(upload(other), ignore)
        s3.reset()
        counted: list[int] = []
        done = portal.put(upload(LARGE), counted.append)
        assert (done.sent, done.kept, sum(counted)) == (len(LARGE), 0, len(LARGE))
        assert portal.read_small(KEY) == LARGE
        assert client.head_object(Bucket=bucket, Key=KEY)["Metadata"]["sha256"] == upload(LARGE).sha256
        assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)

    def test_another_part_size_begins_anew(self, portal: S3Portal, s3: S3Double, bucket: str) -> None:
        """Parts of another size are of no use; what cannot be compared is not believed."""
        s3.faults.append(denied("CompleteMultipartUpload"))
        with pytest.raises(RemoteError):
            portal.put(upload(LARGE), ignore)
        s3.reset()
        larger = S3Portal(bucket, REGION, part_size=MIN_PART + 1024, workers=1)
        assert larger.put(upload(LARGE), ignore).kept == 0
        assert larger.read_small(KEY) == LARGE

    def test_a_part_without_a_checksum_is_sent_again(
        self, portal: S3Portal, s3: S3Double, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A size proves nothing."""
        s3.faults.append(denied("CompleteMultipartUpload"))
        with pytest.raises(RemoteError):
            portal.put(upload(LARGE), ignore)
        s3.reset()
        monkeypatch.setattr("tests.fixtures.s3._with_checksums", lambda data, of: data)
        assert portal.put(upload(LARGE), ignore).kept == 0
        assert parts(s3) == [1, 2, 3]

    @pytest.mark.parametrize("algorithm", ["CRC64NVME", ""])
    def test_the_upload_of_another_program_is_not_continued(
        self, portal: S3Portal, s3: S3Double, client: Any, bucket: str, algorithm: str
    ) -> None:
        """S3 takes no SHA-256 for an upload that began without: its parts fit, and it was tried for ever."""
        asked = {"ChecksumAlgorithm": algorithm} if algorithm else {}
        begun = client.create_multipart_upload(Bucket=bucket, Key=KEY, **asked)
        client.upload_part(
            Bucket=bucket, Key=KEY, UploadId=begun["UploadId"], PartNumber=1, Body=LARGE[:MIN_PART]
        )
        assert portal.put(upload(LARGE), ignore).sent == len(LARGE)
        assert _unfinished(client, bucket) == []

    def test_a_lost_answer_of_the_last_call_is_success(self, portal: S3Portal, s3: S3Double) -> None:
        """S3 made the object, nobody heard of it: the repeated call finds no upload, but the object."""
        s3.faults.append(Fault(lambda call: call.action == "CompleteMultipartUpload", status=0, times=1))
        assert portal.put(upload(LARGE), ignore).sent == len(LARGE)
        assert len(s3.named("CompleteMultipartUpload")) == 2
        assert parts(s3) == [1, 2, 3]

    @pytest.mark.parametrize(
        ("action", "data"),
        [
            ("PutObject", SMALL),
            ("CreateMultipartUpload", LARGE),
            ("UploadPart", LARGE),
            ("CompleteMultipartUpload", LARGE),
        ],
    )
    def test_a_lost_answer_is_no_reason_to_fail(
        self, portal: S3Portal, s3: S3Double, client: Any, bucket: str, action: str, data: bytes
    ) -> None:
        """S3 did it, nobody heard of it: the object is there once, and nothing else is left."""
        lost = Fault(lambda call: call.action == action, status=0, times=1)
        s3.faults.append(lost)
        counted: list[int] = []
        portal.put(upload(data), counted.append)
        assert lost.times == 0
        assert sum(counted) == len(data)
        assert portal.read_small(KEY) == data
        assert _unfinished(client, bucket) == []

    @pytest.mark.parametrize("before", [b"", b"the page before"], ids=["new", "replaced"])
    def test_a_page_whose_answer_was_lost_was_written(
        self, portal: S3Portal, s3: S3Double, before: bytes
    ) -> None:
        """The repeated call is refused for what the first one wrote; others' bytes are another matter."""
        path = "SkyDRM/index.html"
        if before:
            portal.write_page(path, lambda: before, "text/html")
        lost = Fault(lambda call: call.action == "PutObject", status=0, times=1)
        s3.faults.append(lost)
        assert portal.write_page(path, lambda: b"the page", "text/html")
        assert lost.times == 0
        assert portal.read_small(path) == b"the page"

    def test_a_removal_whose_answer_was_lost_is_one(
        self, portal: S3Portal, s3: S3Double, client: Any, bucket: str
    ) -> None:
        """Of an object, and of the parts of an upload that broke off."""
        portal.put(upload(SMALL), ignore)
        client.create_multipart_upload(Bucket=bucket, Key=KEY)
        lost = [
            Fault(lambda call, name=name: call.action == name, status=0, times=1)
            for name in ("DeleteObject", "AbortMultipartUpload")
        ]
        s3.faults.extend(lost)
        portal.remove(KEY)
        portal.discard_unfinished("SkyDRM")
        assert [each.times for each in lost] == [0, 0]
        assert portal.files("SkyDRM") == []
        assert _unfinished(client, bucket) == []

    @pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
    @pytest.mark.parametrize("theirs", ["the same", "other"])
    def test_someone_who_was_quicker_is_never_overwritten(
        self, portal: S3Portal, s3: S3Double, client: Any, bucket: str, data: bytes, theirs: str
    ) -> None:
        """The conditional write fails; only the same bytes are success."""
        quicker = S3Portal(bucket, REGION, part_size=MIN_PART, workers=1)
        content = data if theirs == "the same" else b"x" * len(data)
        last = "PutObject" if data is SMALL else "CompleteMultipartUpload"

        def before(call: Call) -> None:
            if call.action == last:
                s3.before = None
                quicker.put(upload(content), ignore)

        s3.before = before
        counted: list[int] = []
        if theirs == "the same":
            portal.put(upload(data), counted.append)
            assert sum(counted) == len(data)
        else:
            with pytest.raises(RemoteError, match="someone else has written it") as caught:
                portal.put(upload(data), counted.append)
            assert caught.value.retryable
            assert sum(counted) == 0
            with pytest.raises(IntegrityError, match="exists with different content"):
                portal.put(upload(data), ignore)
        assert portal.read_small(KEY) == content
        assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


class TestLeftovers:
    """Uploads that broke off keep their parts, and cost money, until somebody gives them up."""

    @pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
    def test_what_broke_off_is_given_up_once_the_object_is_there(
        self, portal: S3Portal, client: Any, bucket: str, done: bool
    ) -> None:
        """Also one without parts, and one that a run left that died behind its last call; others stay."""
        if done:
            portal.put(upload(LARGE), ignore)
        for key in (KEY, f"{KEY}.other"):
            client.create_multipart_upload(Bucket=bucket, Key=key)
        portal.put(upload(LARGE), ignore)
        assert _unfinished(client, bucket) == [f"{KEY}.other"]

    @pytest.mark.parametrize("action", ["ListMultipartUploads", "AbortMultipartUpload"])
    @pytest.mark.parametrize("times", [None, 1])
    def test_missing_rights_are_a_note(
        self,
        portal: S3Portal,
        s3: S3Double,
        client: Any,
        bucket: str,
        action: str,
        times: int | None,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """The upload succeeds; the log says what stays, and what removes it."""
        client.create_multipart_upload(Bucket=bucket, Key=KEY)
        s3.faults.append(Fault(lambda call: call.action == action, 403, "AccessDenied", "no", times=times))
        with caplog.at_level(logging.INFO):
            assert portal.put(upload(LARGE), ignore).sent == len(LARGE)
            if times is None:
                assert portal.discard_unfinished("SkyDRM") == 0
        assert "a lifecycle rule removes them" in caplog.text


def _unfinished(client: Any, bucket: str) -> list[str]:
    return [each["Key"] for each in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


class TestWhatIsAsked:
    def test_parts_go_at_the_same_time(self, bucket: str, s3: S3Double) -> None:
        """Three workers have three parts under way: none is answered before all are there."""
        import threading

        together = threading.Barrier(3)

        def before(call: Call) -> None:
            if call.action == "UploadPart":
                together.wait(timeout=20)

        s3.before = before
        S3Portal(bucket, REGION, part_size=MIN_PART, workers=3).put(upload(LARGE), ignore)
        assert sorted(parts(s3)) == [1, 2, 3]

    def test_every_part_goes_with_its_hash_and_s3_keeps_the_hash(
        self, portal: S3Portal, s3: S3Double, client: Any, bucket: str
    ) -> None:
        """SHA-256 of each part; the object has the composite one, and the whole hash as metadata."""
        portal.put(upload(LARGE), ignore)
        for call in s3.named("UploadPart"):
            expected = base64.b64encode(hashlib.sha256(call.body).digest()).decode()
            assert call.headers["x-amz-checksum-sha256"] == expected
        assert s3.named("CreateMultipartUpload")[0].headers["x-amz-checksum-algorithm"] == "SHA256"
        assert s3.named("CompleteMultipartUpload")[0].headers["if-none-match"] == "*"
        head = client.head_object(Bucket=bucket, Key=KEY, ChecksumMode="ENABLED")
        digests = b"".join(hashlib.sha256(c.body).digest() for c in s3.named("UploadPart"))
        assert head["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(digests).digest()).decode() + "-3"
        assert head["Metadata"] == {"sha256": upload(LARGE).sha256, "part-size": str(MIN_PART)}

    @pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
    def test_type_and_name(self, bucket: str, client: Any, data: bytes) -> None:
        """With the media type, and saved under its own name; what is shown is asked for each time."""
        portal = S3Portal(bucket, REGION, prefix="p", part_size=MIN_PART, workers=1)
        portal.put(upload(data), ignore)
        portal.put(replace(upload(b"sums", "SkyDRM/8.1.0/SHA256SUMS"), download_as=""), ignore)
        portal.write_page("SkyDRM/index.html", lambda: b"page", "text/html; charset=utf-8")
        head = client.head_object(Bucket=bucket, Key=f"p/{KEY}")
        assert head["ContentType"] == "application/x-msi"
        assert head["ContentDisposition"] == 'attachment; filename="SkyDRM-8.1.0.msi"'
        page = client.head_object(Bucket=bucket, Key="p/SkyDRM/index.html")
        assert (page["ContentType"], page["CacheControl"]) == ("text/html; charset=utf-8", "no-cache")
        sums = client.head_object(Bucket=bucket, Key="p/SkyDRM/8.1.0/SHA256SUMS")
        assert sums["CacheControl"] == "no-cache"

    @pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
    def test_a_bucket_encrypts_as_its_own_default_says(
        self, portal: S3Portal, s3: S3Double, client: Any, bucket: str, data: bytes
    ) -> None:
        """Nothing is sent that would replace the default: its administrator chose a key."""
        rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/theirs"}
        client.put_bucket_encryption(
            Bucket=bucket,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": rule, "BucketKeyEnabled": True}]
            },
        )
        portal.put(upload(data), ignore)
        portal.write_page("SkyDRM/index.html", lambda: b"page", "text/html; charset=utf-8")
        assert [name for call in s3.calls for name in call.headers if "server-side-encryption" in name] == []
        if data is SMALL:  # moto applies the default to objects of one part only
            assert client.head_object(Bucket=bucket, Key=KEY)["ServerSideEncryption"] == "aws:kms"

    @pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
    @pytest.mark.parametrize(
        ("encryption", "key", "expected"),
        [
            ("AES256", "", ("AES256", None)),
            ("aws:kms", "", ("aws:kms", None)),
            ("aws:kms", "alias/downloads", ("aws:kms", "alias/downloads")),
            ("bucket", "alias/downloads", ("aws:kms", "alias/downloads")),
        ],
    )
    def test_an_encryption_that_is_configured_is_asked_for(
        self,
        bucket: str,
        s3: S3Double,
        data: bytes,
        encryption: Encryption,
        key: str,
        expected: tuple[str, str | None],
    ) -> None:
        """With files and with the page; a key alone means KMS."""
        portal = S3Portal(bucket, REGION, encryption=encryption, kms_key=key, part_size=MIN_PART, workers=1)
        portal.put(upload(data), ignore)
        portal.write_page("SkyDRM/index.html", lambda: b"page", "text/html; charset=utf-8")
        calls = [*s3.named("PutObject"), *s3.named("CreateMultipartUpload")]
        assert len(calls) == 2
        for call in calls:
            found = call.headers.get("x-amz-server-side-encryption-aws-kms-key-id")
            assert (call.headers["x-amz-server-side-encryption"], found) == expected

    @pytest.mark.parametrize(
        ("name", "header"),
        [
            ("a b.msi", 'attachment; filename="a b.msi"'),
            ('a"b\\.msi', "attachment; filename=\"a_b_.msi\"; filename*=UTF-8''a%22b%5C.msi"),
            ("Über.zip", "attachment; filename=\"_ber.zip\"; filename*=UTF-8''%C3%9Cber.zip"),
        ],
    )
    def test_names_in_the_disposition(self, name: str, header: str) -> None:
        """RFC 6266: quoted, and in UTF-8 beside it where it needs more."""
        assert disposition(name) == header

    def test_a_file_of_more_parts_than_s3_takes_has_larger_ones(self) -> None:
        """Ten thousand parts at most, of whole multiples of 5 MiB."""
        assert part_size_for(100 * MIN_PART, MIN_PART) == MIN_PART
        for size in (MAX_PARTS * MIN_PART, MAX_PARTS * MIN_PART + 1, 5 * 2**40):
            found = part_size_for(size, MIN_PART)
            assert -(-size // found) <= MAX_PARTS
            assert found % MIN_PART == 0

    def test_a_source_is_split_whatever_the_size_of_its_pieces(self) -> None:
        """Larger than parts, smaller, empty."""
        pieces = [b"abcdefg", b"", b"h", b"ijklmnopqrs"]
        assert list(split(iter(pieces), 4)) == [b"abcd", b"efgh", b"ijkl", b"mnop", b"qrs"]
        assert list(split(iter([b"abcd"]), 4)) == [b"abcd"]
        assert list(split(iter([]), 4)) == []


class TestFailures:
    @pytest.mark.parametrize("action", ["put", "files", "read_small", "write_page"])
    def test_a_missing_bucket(self, s3: S3Double, action: str) -> None:
        """It is named, whatever is done first, and it is the configuration that is wrong."""
        portal = S3Portal("no-such-bucket", REGION, part_size=MIN_PART)
        arguments: dict[str, tuple[Any, ...]] = {
            "put": (upload(SMALL), ignore),
            "files": ("SkyDRM",),
            "read_small": (KEY,),
            "write_page": ("SkyDRM/index.html", lambda: b"x", "text/html"),
        }
        with pytest.raises(ConfigurationError, match="there is no bucket no-such-bucket") as caught:
            getattr(portal, action)(*arguments[action])
        assert "portal.bucket" in caught.value.hint

    @pytest.mark.parametrize(
        ("fault", "kind", "message", "hint"),
        [
            (
                Fault(
                    lambda _: True,
                    403,
                    "AccessDenied",
                    "User: arn:aws:iam::1:user/up is not authorized to perform: s3:PutObject",
                ),
                RemoteError,
                "s3:PutObject",
                "docs/portal.md",
            ),
            (
                Fault(lambda _: True, 403, "AccessDenied", "not authorized to perform: kms:GenerateDataKey"),
                RemoteError,
                "KMS key alias/k cannot be used",
                "kms:GenerateDataKey and kms:Decrypt",
            ),
            (
                Fault(lambda _: True, 400, "KMS.DisabledException", "is disabled"),
                RemoteError,
                "KMS key alias/k cannot be used",
                "enable the key",
            ),
            (
                Fault(
                    lambda _: True,
                    403,
                    "RequestTimeTooSkewed",
                    "The difference is too large",
                    {"ServerTime": "2026-11-24T10:00:00Z"},
                ),
                RemoteError,
                "this machine's clock is wrong: AWS's time is 2026-11-24T10:00:00Z",
                "NTP",
            ),
            (
                Fault(
                    lambda _: True, 400, "AuthorizationHeaderMalformed", "expecting", {"Region": "us-east-1"}
                ),
                ConfigurationError,
                "is not in eu-central-1, but in us-east-1",
                "portal.region",
            ),
        ],
        ids=["rights", "KMS rights", "KMS disabled", "clock", "region"],
    )
    def test_refusals_say_what_to_do(
        self, bucket: str, s3: S3Double, fault: Fault, kind: type[ReleaseError], message: str, hint: str
    ) -> None:
        """Which right, which key, which clock, which region; none is worth another attempt."""
        portal = S3Portal(bucket, REGION, kms_key="alias/k", part_size=MIN_PART)
        s3.faults.append(
            Fault(
                lambda call: call.action == "PutObject", fault.status, fault.code, fault.message, fault.extra
            )
        )
        with pytest.raises(kind) as caught:
            portal.put(upload(SMALL), ignore)
        assert message in caught.value.message
        assert hint in caught.value.hint
        assert not caught.value.retryable
        assert portal.files("SkyDRM") == []

    def test_a_refusal_without_a_body(self, portal: S3Portal, s3: S3Double) -> None:
        """HEAD tells a status only; without s3:ListBucket a missing object is refused too."""
        s3.faults.append(Fault(lambda call: call.action == "HeadObject", 403, "", ""))
        with pytest.raises(RemoteError, match="refused") as caught:
            portal.put(upload(SMALL), ignore)
        assert "s3:ListBucket" in caught.value.hint

    @pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
    @pytest.mark.parametrize(
        "said",
        [
            "Access Denied",
            "User: arn:aws:iam::1:user/up is not authorized to perform: s3:PutObject on resource: x with an "
            "explicit deny in a resource-based policy",
        ],
    )
    def test_a_bucket_that_demands_an_encryption(
        self, portal: S3Portal, s3: S3Double, bucket: str, data: bytes, said: str
    ) -> None:
        """Its policy refuses what does not ask for KMS: the hint names the keys, and no right to list."""

        def refused(call: Call) -> bool:
            wanted = call.headers.get("x-amz-server-side-encryption") == "aws:kms"
            return call.action in {"PutObject", "CreateMultipartUpload"} and not wanted

        s3.faults.append(Fault(refused, 403, "AccessDenied", said))
        with pytest.raises(RemoteError, match="AccessDenied") as caught:
            portal.put(upload(data), ignore)
        assert "portal.encryption" in caught.value.hint
        assert "ListBucket" not in caught.value.hint
        wanted = S3Portal(bucket, REGION, encryption="aws:kms", part_size=MIN_PART, workers=1)
        assert wanted.put(upload(data), ignore).sent == len(data)

    @pytest.mark.parametrize(
        ("code", "hint"),
        [
            ("KMS.NotFoundException", "portal.kms_key"),
            ("KMS.DisabledException", "enable the key"),
            ("KMS.KMSInvalidStateException", "must be enabled"),
        ],
    )
    def test_a_key_that_cannot_be_used(self, bucket: str, s3: S3Double, code: str, hint: str) -> None:
        """What is the matter with the key decides what to do."""
        s3.faults.append(Fault(lambda call: call.action == "PutObject", 400, code, "Invalid arn"))
        portal = S3Portal(bucket, REGION, kms_key="alias/k", part_size=MIN_PART)
        with pytest.raises(RemoteError, match="KMS key alias/k cannot be used") as caught:
            portal.put(upload(SMALL), ignore)
        assert hint in caught.value.hint
        assert not caught.value.retryable

    def test_a_busy_kms_is_asked_again(self, bucket: str, s3: S3Double) -> None:
        """Too many calls of a key are no mistake in the configuration."""
        s3.faults.append(
            Fault(lambda call: call.action == "PutObject", 400, "KMS.ThrottlingException", "Rate exceeded")
        )
        with pytest.raises(RemoteError, match="ThrottlingException") as caught:
            S3Portal(bucket, REGION, part_size=MIN_PART).put(upload(SMALL), ignore)
        assert caught.value.retryable

    @pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
    def test_bytes_that_are_damaged_on_the_way_are_refused_by_s3(
        self, portal: S3Portal, s3: S3Double, data: bytes
    ) -> None:
        """A broken proxy: nothing becomes visible, and the next attempt sends the part again."""

        def damage(call: Call) -> bytes:
            hit = call.action == "PutObject" or call.part == 2
            return flipped(call.body, 0) if hit else call.body

        s3.damage = damage
        with pytest.raises(RemoteError, match="received different bytes than were sent") as caught:
            portal.put(upload(data), ignore)
        assert caught.value.retryable
        assert portal.files("SkyDRM") == []
        s3.reset()
        portal.put(upload(data), ignore)
        assert portal.read_small(KEY) == data
        assert data is SMALL or parts(s3) == [2, 3]

    def test_a_busy_s3_is_asked_again(self, portal: S3Portal, s3: S3Double) -> None:
        """Botocore repeats the one call, nothing else is sent twice."""
        s3.faults.append(Fault(lambda call: call.part == 2, times=1))
        portal.put(upload(LARGE), ignore)
        assert parts(s3) == [1, 2, 2, 3]

    @pytest.mark.parametrize(
        ("action", "status", "code"),
        [
            ("HeadBucket", 503, ""),
            ("HeadObject", 503, ""),
            ("HeadObject", 429, ""),
            ("ListMultipartUploads", 503, "SlowDown"),
            ("ListMultipartUploads", 400, "RequestTimeout"),
            ("CreateMultipartUpload", 409, "OperationAborted"),
            ("UploadPart", 400, "ThrottlingException"),
            ("UploadPart", 500, "InternalError"),
            ("CompleteMultipartUpload", 503, "ServiceUnavailable"),
        ],
    )
    def test_a_busy_s3_is_no_mistake_in_the_configuration(
        self, portal: S3Portal, s3: S3Double, action: str, status: int, code: str, no_wait: None
    ) -> None:
        """After botocore's attempts the step repeats it, whatever the call. HEAD tells a status only."""
        s3.faults.append(Fault(lambda call: call.action == action, status, code, "later"))
        with pytest.raises(RemoteError) as caught:
            portal.put(upload(LARGE), ignore)
        assert caught.value.retryable

    def test_an_object_that_someone_else_put_there_is_not_believed(
        self, portal: S3Portal, client: Any, bucket: str
    ) -> None:
        """Also where it claims the right hash: what counts is the checksum that S3 computed."""
        claimed = {"sha256": upload(SMALL).sha256}
        client.put_object(
            Bucket=bucket, Key=KEY, Body=b"x" * len(SMALL), Metadata=claimed, ChecksumAlgorithm="SHA256"
        )
        with pytest.raises(IntegrityError, match="exists with different content"):
            portal.put(upload(SMALL), ignore)


class TestLinks:
    def test_a_link_downloads_the_file_and_names_the_customer(self, portal: S3Portal, s3: S3Double) -> None:
        """Without a login; the customer stands in the request, which S3 logs."""
        portal.put(upload(SMALL), ignore)
        s3.calls.clear()
        link = portal.link(KEY, customer="ACME & Söhne", expires=timedelta(days=7)).url
        with urlopen(link) as answer:  # noqa: S310 - loopback
            assert answer.read() == SMALL
        call = s3.named("GetObject")[0]
        query = dict(parse_qsl(call.query))
        assert query["x-customer"] == "ACME & Söhne"
        assert query["X-Amz-Expires"] == "604800"
        assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"

    def test_customer_and_time_are_part_of_what_is_signed(self, portal: S3Portal, s3: S3Double) -> None:
        """The signature is that of Signature Version 4 over the whole query, computed here anew."""
        portal.put(upload(SMALL), ignore)
        link = portal.link(KEY, customer="ACME", expires=timedelta(hours=12)).url
        assert (
            _signature(link, "portal-secret-access-key")
            == dict(parse_qsl(urlsplit(link).query))["X-Amz-Signature"]
        )
        other = link.replace("x-customer=ACME", "x-customer=EVIL")
        assert _signature(other, "portal-secret-access-key") not in other

    def test_customers_do_not_mix(self, portal: S3Portal) -> None:
        """Each link has the customer it is for, and nothing else the portal does is marked."""
        portal.put(upload(SMALL), ignore)
        links = [
            portal.link(KEY, customer=name, expires=timedelta(hours=1)).url for name in ("ACME", "Globex")
        ]
        assert ["x-customer=ACME" in link for link in links] == [True, False]
        assert ["x-customer=Globex" in link for link in links] == [False, True]

    @pytest.mark.parametrize("expires", [timedelta(0), timedelta(days=-1), timedelta(days=7, seconds=1)])
    def test_times_that_are_not_possible(self, portal: S3Portal, expires: timedelta) -> None:
        """Seven days at most, as Signature Version 4 has it."""
        with pytest.raises(ConfigurationError, match="at most 7 days"):
            portal.link(KEY, customer="ACME", expires=expires)

    def test_a_missing_file(self, portal: S3Portal) -> None:
        """No link to nothing: it would work as soon as somebody puts something there."""
        with pytest.raises(NotAtPortal, match=r"SkyDRM-8\.1\.0\.msi"):
            portal.link(KEY, customer="ACME", expires=timedelta(hours=1))

    def test_temporary_credentials_make_no_long_link(
        self,
        portal: S3Portal,
        bucket: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It would end with them, long before the customer expects; a short one is made, with a warning."""
        portal.put(upload(SMALL), ignore)
        monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
        with_role = S3Portal(bucket, REGION)
        with pytest.raises(ConfigurationError, match="temporary AWS credentials"):
            with_role.link(KEY, customer="ACME", expires=timedelta(days=1))
        with caplog.at_level(logging.WARNING):
            link = with_role.link(KEY, customer="ACME", expires=timedelta(hours=12))
        assert "X-Amz-Security-Token" in link.url
        assert link.lasts == timedelta(hours=12)
        assert "do not say when they expire" in caplog.text

    @pytest.mark.parametrize("source", ["variable", "program", "role"])
    def test_a_link_ends_with_the_session_that_signs_it(
        self,
        portal: S3Portal,
        bucket: str,
        source: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """What is told and what is signed is the sooner end; else only the customer learns of it."""
        portal.put(upload(SMALL), ignore)
        _session(monkeypatch, tmp_path, source, timedelta(hours=1))
        with caplog.at_level(logging.WARNING):
            link = S3Portal(bucket, REGION).link(KEY, customer="ACME", expires=timedelta(hours=12))
        assert timedelta(minutes=55) < link.lasts <= timedelta(hours=1)
        assert dict(parse_qsl(link.url))["X-Amz-Expires"] == str(int(link.lasts.total_seconds()))
        assert "not 12:00:00: the credentials that sign it expire then" in caplog.text

    def test_a_session_that_lasts_longer_changes_nothing(
        self, portal: S3Portal, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
    ) -> None:
        """The time that was asked for is what counts."""
        portal.put(upload(SMALL), ignore)
        _session(monkeypatch, tmp_path, "variable", timedelta(hours=2))
        link = S3Portal(bucket, REGION).link(KEY, customer="ACME", expires=timedelta(hours=1))
        assert link.lasts == timedelta(hours=1)
        assert caplog.text == ""

    def test_a_session_that_ends_very_soon_makes_no_link(
        self, portal: S3Portal, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The customer would not get around to using it."""
        portal.put(upload(SMALL), ignore)
        _session(monkeypatch, tmp_path, "variable", timedelta(minutes=12))
        soon = S3Portal(bucket, REGION)
        with pytest.raises(ConfigurationError, match=r"expire at \d\d:\d\d UTC, and the link with them"):
            soon.link(KEY, customer="ACME", expires=timedelta(hours=12))
        assert soon.link(KEY, customer="ACME", expires=timedelta(minutes=5)).lasts == timedelta(minutes=5)

    def test_a_link_stands_in_no_log(self, portal: S3Portal, caplog: pytest.LogCaptureFixture) -> None:
        """Not even in the most talkative one."""
        portal.put(upload(SMALL), ignore)
        with caplog.at_level(logging.DEBUG, "jenkins_release"):
            portal.link(KEY, customer="ACME", expires=timedelta(hours=1))
        assert "X-Amz-Signature" not in caplog.text


def _session(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str, lasts: timedelta) -> None:
    """Lead boto3 to temporary credentials that say when they end."""
    end = (datetime.now(UTC) + lasts).isoformat()
    if source == "variable":
        monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
        monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", end)
        return
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    if source == "role":
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", os.environ["AWS_ENDPOINT_URL_S3"])
        (folder / "config").write_text(
            "[default]\nrole_arn = arn:aws:iam::123456789012:role/portal\nsource_profile = base\n"
            f"duration_seconds = {int(lasts.total_seconds())}\n"
            "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = base\n"
        )
        return
    told = {"AccessKeyId": "ASIA", "SecretAccessKey": "s", "SessionToken": "session", "Expiration": end}
    (folder / "told.json").write_text(json.dumps({"Version": 1, **told}))
    (folder / "config").write_text(f"[default]\ncredential_process = cat {folder / 'told.json'}\n")


def _signature(link: str, secret: str) -> str:
    """Compute the signature of a presigned GET (AWS Signature Version 4, query string authentication)."""
    parts = urlsplit(link)
    query = {name: value for name, value in parse_qsl(parts.query) if name != "X-Amz-Signature"}
    line = "&".join(f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}" for n, v in sorted(query.items()))
    request = f"GET\n{parts.path}\n{line}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    scope = query["X-Amz-Credential"].partition("/")[2]
    text = f"AWS4-HMAC-SHA256\n{query['X-Amz-Date']}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for piece in scope.split("/"):
        key = hmac.new(key, piece.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
