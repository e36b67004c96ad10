"""A download portal in an Amazon S3 bucket."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from typing import Any

from jenkins_release.errors import IntegrityError, RemoteError
from jenkins_release.portal.protocol import (
    MAX_SMALL_FILE,
    Advance,
    NotAtPortal,
    PortalFile,
    Sent,
    Upload,
    check_expiry,
    check_read,
    taken,
)
from jenkins_release.portal.s3_calls import Bucket, Precondition, UploadGone
from jenkins_release.portal.s3_link import LONGEST_LINK, presigned
from jenkins_release.portal.s3_upload import (
    MIN_PART,
    PART_SIZE,
    SHA256,
    Multipart,
    composite,
    disposition,
    part_size_for,
    sent,
    split,
)


class S3Portal:
    """A folder of an S3 bucket.

    Args:
        bucket: Name of the bucket; it has to exist.
        region: AWS region that it is in.
        prefix: Folder in it; empty for all of it.
        kms_key: KMS key for the encryption at rest; empty for S3's own AES-256.
        part_size: Bytes of each part but the last, at least 5 MiB.
        workers: Parts under way at a time. Memory: ``workers + 1`` parts.
    """

    def __init__(
        self,
        bucket: str,
        region: str,
        *,
        prefix: str = "",
        kms_key: str = "",
        part_size: int = 16 * 1024 * 1024,
        workers: int = 4,
    ) -> None:
        self._names = (bucket, region, kms_key)
        self._prefix = f"{prefix}/" if prefix else ""
        self._kms_key = kms_key
        self._part_size = max(part_size, MIN_PART)
        self._workers = workers

    @cached_property
    def _bucket(self) -> Bucket:
        return Bucket(*self._names)

    @property
    def name(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self._names[0]}/{self._prefix}".rstrip("/")

    def put(self, upload: Upload, advance: Advance) -> Sent:
        """Put a file there; see :class:`jenkins_release.portal.Portal`.

        Files of one part are sent with their SHA-256 in one call; larger ones as
        :mod:`jenkins_release.portal.s3_upload` tells.
        """
        if (there := self._head(upload.path)) is not None:
            self._same(upload, there)
            advance(upload.size)
            return Sent(0, upload.size)
        part_size = part_size_for(upload.size, self._part_size)
        if upload.size <= part_size:
            return self._put_whole(upload, advance)
        settings = self._settings(upload, {SHA256: upload.sha256, PART_SIZE: str(part_size)})
        job = Multipart(
            self._bucket,
            self._key(upload.path),
            upload,
            part_size=part_size,
            workers=self._workers,
            settings=settings,
        )
        upload_id, parts = job.send(advance)
        checksum = composite([b64decode(part.checksum) for part in parts])
        try:
            job.complete(upload_id, parts)
        except (UploadGone, Precondition):
            if not self._is_there(upload, checksum):
                advance(-upload.size)
                job.give_up(upload_id)
                raise
            job.give_up(upload_id)
        if not self._is_there(upload, checksum):
            raise self._vanished(upload)
        return sent(parts)

    def _put_whole(self, upload: Upload, advance: Advance) -> Sent:
        data = bytearray()
        for piece in upload.read():
            data += piece
            if len(data) > upload.size:
                break
        digest = sha256(data)
        check_read(upload, self._shown(upload.path), len(data), digest.hexdigest())
        checksum = b64encode(digest.digest()).decode()
        try:
            self._bucket.call(
                "put_object",
                f"upload {self._shown(upload.path)}",
                Key=self._key(upload.path),
                Body=bytes(data),
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=checksum,
                IfNoneMatch="*",
                **self._settings(upload, {SHA256: upload.sha256}),
            )
        except Precondition:
            if not self._is_there(upload, checksum):
                raise
        if not self._is_there(upload, checksum):
            raise self._vanished(upload)
        advance(upload.size)
        return Sent(upload.size, 0)

    def write_page(self, path: str, make: Callable[[], bytes], content_type: str) -> bool:
        """Write a page; a conditional write fails where somebody else was quicker, and is retryable."""
        condition, before = self._page(path)
        data = make()
        if data == before:
            return False
        self._bucket.call(
            "put_object",
            f"write {self._shown(path)}",
            Key=self._key(path),
            Body=data,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=b64encode(sha256(data).digest()).decode(),
            ContentType=content_type,
            # A browser asks each time whether the page is still the same: a withdrawn release goes at once.
            CacheControl="no-cache",
            **condition,
            **self._encryption(),
        )
        return True

    def files(self, folder: str) -> list[PortalFile]:
        """List the objects below a folder."""
        pages = self._bucket.pages(
            "list_objects_v2", f"list {self._shown(folder)}", Prefix=f"{self._key(folder)}/"
        )
        found = [
            PortalFile(each["Key"].removeprefix(self._prefix), each["Size"])
            for page in pages
            for each in page.get("Contents", [])
            if not each["Key"].endswith("/")  # what the console makes for an empty folder
        ]
        return sorted(found, key=lambda file: file.path)

    def read_small(self, path: str) -> bytes:
        """Read a record or page."""
        return self._get(path)[0]

    def remove(self, path: str) -> None:
        """Remove an object; in a bucket with versioning its last version stays behind a delete marker."""
        self._bucket.call("delete_object", f"remove {self._shown(path)}", Key=self._key(path))

    def discard_unfinished(self, folder: str) -> int:
        """Abort the multipart uploads below a folder."""
        what = f"give up unfinished uploads to {self._shown(folder)}"
        pages = self._bucket.pages("list_multipart_uploads", what, Prefix=f"{self._key(folder)}/")
        found = [each for page in pages for each in page.get("Uploads", [])]
        for each in found:
            self._bucket.call("abort_multipart_upload", what, Key=each["Key"], UploadId=each["UploadId"])
        return len(found)

    def link(self, path: str, *, customer: str, expires: timedelta) -> str:
        """Presign a download; see :mod:`jenkins_release.portal.s3_link`."""
        check_expiry(expires, LONGEST_LINK)
        if self._head(path) is None:
            raise NotAtPortal(f"there is no {self._shown(path)}", hint="'release portal' uploads a release")
        return presigned(self._bucket, self._key(path), customer, expires)

    def _key(self, path: str) -> str:
        return f"{self._prefix}{path}"

    def _shown(self, path: str) -> str:
        return f"{self.name}/{path}"

    def _encryption(self) -> dict[str, str]:
        if not self._kms_key:
            return {"ServerSideEncryption": "AES256"}
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self._kms_key}

    def _settings(self, upload: Upload, metadata: dict[str, str]) -> dict[str, Any]:
        settings: dict[str, Any] = {"ContentType": upload.content_type, "Metadata": metadata}
        if upload.download_as:
            settings["ContentDisposition"] = disposition(upload.download_as)
        return settings | self._encryption()

    def _head(self, path: str) -> dict[str, Any] | None:
        try:
            return self._bucket.call(
                "head_object",
                f"look at {self._shown(path)}",
                Key=self._key(path),
                ChecksumMode="ENABLED",
            )
        except NotAtPortal:
            return None

    def _is_there(self, upload: Upload, checksum: str) -> bool:
        """Whether S3 has an object of these bytes under the path: ours, with its answer lost or not."""
        there = self._head(upload.path)
        return there is not None and _is(upload, there, checksum)

    def _vanished(self, upload: Upload) -> RemoteError:
        return RemoteError(
            f"{self._shown(upload.path)} is not what was uploaded a moment ago",
            hint="somebody else removes or writes objects of the portal",
            retryable=True,
        )

    def _same(self, upload: Upload, there: dict[str, Any]) -> None:
        """Check that an object is the file: S3's checksum of it against one computed from the source."""
        part_size = str(there.get("Metadata", {}).get(PART_SIZE, "0"))
        size = int(part_size) if part_size.isdigit() else 0
        whole, parts, count = sha256(), list[bytes](), 0
        for part in split(upload.read(), size or MIN_PART):
            whole.update(part)
            parts.append(sha256(part).digest() if size else b"")
            count += len(part)
        check_read(upload, self._shown(upload.path), count, whole.hexdigest())
        checksum = composite(parts) if size else b64encode(whole.digest()).decode()
        if not _is(upload, there, checksum):
            told = there.get("Metadata", {}).get(SHA256) or "unknown"
            raise taken(self._shown(upload.path), upload, f"{there['ContentLength']} bytes, SHA-256 {told}")

    def _page(self, path: str) -> tuple[dict[str, str], bytes | None]:
        try:
            data, etag = self._get(path)
        except NotAtPortal:
            return {"IfNoneMatch": "*"}, None
        return {"IfMatch": etag}, data

    def _get(self, path: str) -> tuple[bytes, str]:
        what = f"read {self._shown(path)}"
        answer = self._bucket.call("get_object", what, Key=self._key(path))
        if answer["ContentLength"] > MAX_SMALL_FILE:
            answer["Body"].close()
            raise IntegrityError(f"{self._shown(path)} has {answer['ContentLength']} bytes: it is no record")
        from botocore.exceptions import BotoCoreError

        try:
            return answer["Body"].read(), str(answer["ETag"])
        except BotoCoreError as error:
            raise self._bucket.explain(error, what) from error


def _is(upload: Upload, there: dict[str, Any], checksum: str) -> bool:
    # What S3 adds to the checksum of an object in parts, a hyphen and their number, is no part of the hash.
    told = str(there.get("ChecksumSHA256", "")).partition("-")[0]
    found = (there["ContentLength"], there.get("Metadata", {}).get(SHA256), told)
    return found == (upload.size, upload.sha256, checksum)
