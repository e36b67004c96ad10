"""Objects and stores without the checksum that we asked for: read back, or refused by name."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.ledger import S3Ledger
from jenkins_release.portal import S3Portal
from jenkins_release.portal.s3_upload import MIN_PART
from jenkins_release.sandbox.process import LOOPBACK, Server, free_port, listening
from jenkins_release.steps.context.trust_store import S3TrustStore
from tests.docs.pages import ROOT
from tests.fixtures.damage import flipped
from tests.fixtures.s3 import REGION, Call, S3Double
from tests.portal.test_contract import LARGE, SMALL, ignore, upload

KEY = upload(LARGE).path
DATA = pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
CONDITIONS = "If-None-Match of PutObject, If-Match of PutObject, If-None-Match of CompleteMultipartUpload"


@pytest.fixture
def portal(bucket: str) -> S3Portal:
    """A portal that sends one part of the smallest size at a time."""
    return S3Portal(bucket, REGION, part_size=MIN_PART, workers=1)


def metadata(data: bytes) -> dict[str, str]:
    """Return an upload's own metadata, which a copy keeps."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "part-size": str(MIN_PART)}


class TestCopies:
    """A migration copies objects: the bytes stay the same, the checksum often does not."""

    @DATA
    @pytest.mark.parametrize("checksum", ["none", "of the whole"])
    def test_a_copy_in_one_piece_is_the_file(
        self, portal: S3Portal, client: Any, bucket: str, data: bytes, checksum: str
    ) -> None:
        """CopyObject makes one checksum of the whole; a tool that downloads and uploads makes no SHA-256."""
        asked = {} if checksum == "none" else {"ChecksumAlgorithm": "SHA256"}
        client.put_object(Bucket=bucket, Key=KEY, Body=data, Metadata=metadata(data), **asked)
        assert portal.put(upload(data), ignore).kept == len(data)

    def test_a_copy_in_parts_of_another_size_is_the_file(
        self, portal: S3Portal, client: Any, bucket: str
    ) -> None:
        """Its metadata speaks of the parts that the original had."""
        copy_in_parts(client, bucket, LARGE, MIN_PART + 1024)
        assert portal.put(upload(LARGE), ignore).kept == len(LARGE)

    @DATA
    @pytest.mark.parametrize("how", ["plain", "checksum", "parts"])
    def test_other_bytes_are_told_by_their_own_hash(
        self, portal: S3Portal, client: Any, bucket: str, data: bytes, how: str
    ) -> None:
        """What the object claims is not believed: "expected X, found X" helps nobody."""
        other = b"x" * len(data)
        if how == "parts":
            copy_in_parts(client, bucket, other, MIN_PART + 1024, metadata(data))
        else:
            asked = {"ChecksumAlgorithm": "SHA256"} if how == "checksum" else {}
            client.put_object(Bucket=bucket, Key=KEY, Body=other, Metadata=metadata(data), **asked)
        with pytest.raises(IntegrityError, match="exists with different content") as caught:
            portal.put(upload(data), ignore)
        assert (
            f"found {len(data)} bytes with SHA-256 {hashlib.sha256(other).hexdigest()}"
            in caught.value.message
        )


def copy_in_parts(
    client: Any, bucket: str, data: bytes, size: int, claimed: dict[str, str] | None = None
) -> None:
    """Upload in parts of a size, with S3's checksums, as a tool that copies does."""
    start = client.create_multipart_upload(
        Bucket=bucket, Key=KEY, Metadata=claimed or metadata(data), ChecksumAlgorithm="SHA256"
    )
    given = {"Bucket": bucket, "Key": KEY, "UploadId": start["UploadId"]}
    named = []
    for number, at in enumerate(range(0, len(data), size), 1):
        part = client.upload_part(
            **given, PartNumber=number, Body=data[at : at + size], ChecksumAlgorithm="SHA256"
        )
        fields = {name: part[name] for name in ("ETag", "ChecksumSHA256")}
        named.append({"PartNumber": number, **fields})
    client.complete_multipart_upload(**given, MultipartUpload={"Parts": named})


class TestStoresWithoutChecksums:
    @DATA
    def test_what_it_keeps_is_read_back(
        self, portal: S3Portal, s3: S3Double, client: Any, bucket: str, data: bytes
    ) -> None:
        """An upload, a second one and a page work; nothing is left of what was tried out."""
        s3.server, s3.keeps_checksums = "MinIO", False
        assert portal.put(upload(data), ignore).sent == len(data)
        assert portal.put(upload(data), ignore).kept == len(data)
        assert portal.write_page("SkyDRM/index.html", lambda: b"page", "text/html")
        with pytest.raises(IntegrityError, match="exists with different content"):
            portal.put(upload(b"x" * len(data)), ignore)
        assert [file.path for file in portal.files("SkyDRM")] == [KEY, "SkyDRM/index.html"]
        assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
        tried = [call for call in s3.calls if ".store-check-" in call.key]
        assert tried[-1].action == "DeleteObject"
        assert len({call.key for call in tried}) == 1

    @DATA
    def test_what_was_damaged_on_the_way_does_not_stay(
        self, portal: S3Portal, s3: S3Double, data: bytes
    ) -> None:
        """The store takes it for good; it is removed, and the next attempt succeeds."""
        s3.server, s3.keeps_checksums = "MinIO", False

        def damage(call: Call) -> bytes:
            hit = call.key == KEY and call.action in {"PutObject", "UploadPart"} and call.part in {0, 2}
            return flipped(call.body, 0) if hit else call.body

        s3.damage = damage
        counted: list[int] = []
        with pytest.raises(RemoteError, match="arrived with different bytes than were sent") as caught:
            portal.put(upload(data), counted.append)
        assert caught.value.retryable
        assert (portal.files("SkyDRM"), sum(counted)) == ([], 0)
        s3.damage = None
        portal.put(upload(data), ignore)
        assert portal.read_small(KEY) == data

    def test_a_checksum_that_is_kept_without_a_look_is_not_believed(
        self, portal: S3Portal, s3: S3Double, client: Any, bucket: str
    ) -> None:
        """A store that does not refuse a wrong checksum says nothing by repeating it."""
        s3.server, s3.verifies = "S3Proxy", False
        claimed = upload(SMALL).sha256
        checksum = b64encode(bytes.fromhex(claimed)).decode()
        client.put_object(
            Bucket=bucket,
            Key=KEY,
            Body=b"x" * len(SMALL),
            ChecksumSHA256=checksum,
            ChecksumAlgorithm="SHA256",
        )
        with pytest.raises(RemoteError, match="does not match S3's checksum"):
            portal.put(upload(SMALL), ignore)


class TestStoresThatOverwrite:
    @DATA
    def test_they_are_refused_before_anything_is_sent(
        self, portal: S3Portal, s3: S3Double, data: bytes
    ) -> None:
        """By name, with all that is missing: of two uploads at once the later one would win."""
        s3.server, s3.conditions = "Ceph Object Gateway", False
        host = s3.endpoint.removeprefix("http://")
        with pytest.raises(ConfigurationError) as caught:
            portal.put(upload(data), ignore)
        assert caught.value.message == (
            f"Ceph Object Gateway at {host} cannot keep a release from being overwritten: "
            f"it ignores {CONDITIONS}"
        )
        assert "docs/portal.md" in caught.value.hint
        assert portal.files("SkyDRM") == []
        assert [call for call in s3.calls if call.key == KEY] == []

    def test_no_ledger_is_kept_there(self, bucket: str, s3: S3Double) -> None:
        """A ledger takes each line once, or is none."""
        s3.server = "Ceph Object Gateway"
        S3Ledger(bucket, REGION).add("SkyDRM/a.json", b"{}\n")
        s3.conditions = False
        with pytest.raises(ConfigurationError, match=r"Gateway at \S+ cannot be used for the ledger"):
            S3Ledger(bucket, REGION).add("SkyDRM/b.json", b"{}\n")

    def test_no_trust_document_is_published_there(self, bucket: str, s3: S3Double) -> None:
        """A published version is never replaced."""
        s3.server = "Ceph Object Gateway"
        S3TrustStore(bucket, "trust", REGION).write(1, b"one")
        s3.conditions = False
        with pytest.raises(ConfigurationError, match=r"Gateway at \S+ cannot be used for the trust"):
            S3TrustStore(bucket, "trust", REGION).write(2, b"two")

    def test_amazon_is_not_tried_out(self, portal: S3Portal, s3: S3Double) -> None:
        """It is known."""
        portal.put(upload(SMALL), ignore)
        assert [call for call in s3.calls if ".store-check-" in call.key] == []


@pytest.fixture
def s3rver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Another store, npm's s3rver, with a bucket ``downloads``; yields host and port."""
    program = ROOT / "build" / "s3rver" / "node_modules" / "s3rver" / "bin" / "s3rver.js"
    assert program.exists(), "s3rver is not installed: 'make build/s3rver/.installed' does it"
    port = free_port()
    server = Server("s3rver", tmp_path)
    at = ("--address", LOOPBACK, "--port", str(port), "--directory", str(tmp_path / "objects"))
    server.start(
        ["node", str(program), *at, "--configure-bucket", "downloads", "--silent"],
        lambda: listening(port),
        tied=True,
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{LOOPBACK}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "S3RVER")
    yield f"{LOOPBACK}:{port}"
    server.stop()


def test_s3rver_is_refused_by_name(no_aws: None, s3rver: str) -> None:
    """It passes over conditions and checksums; "expected X, found X" was said of every file in it."""
    portal = S3Portal("downloads", REGION, part_size=MIN_PART, workers=1)
    with pytest.raises(ConfigurationError) as caught:
        portal.put(upload(LARGE), ignore)
    assert caught.value.message == (
        f"the S3 store at {s3rver} cannot keep a release from being overwritten: it ignores {CONDITIONS}"
    )
    assert portal.files("SkyDRM") == []
    with pytest.raises(ConfigurationError, match="does not support ListObjectVersions"):
        S3Ledger("downloads", REGION).read("SkyDRM")
