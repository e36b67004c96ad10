"""A download portal in an Amazon S3 bucket."""

from __future__ import annotations

import logging
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any, Unpack

from jenkins_release.aws.s3 import Bucket, BucketFolder, BucketSettings, Precondition, UploadGone
from jenkins_release.aws.s3_store import AMAZON, Store, try_store
from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.base.numbers import whole_number
from jenkins_release.portal.protocol import (
    MAX_SMALL_FILE,
    Advance,
    Link,
    NotAtPortal,
    PortalFile,
    Sent,
    Upload,
    check_expiry,
    check_read,
    taken,
)
from jenkins_release.portal.s3_link import LONGEST_LINK, presigned
from jenkins_release.portal.s3_proof import by_checksum, read_sha256
from jenkins_release.portal.s3_upload import (
    MIN_PART,
    PART_SIZE,
    SHA256,
    Multipart,
    disposition,
    give_up_unfinished,
    part_size_for,
    sent,
    split,
)

_log = logging.getLogger(__name__)
_MAX_PART = 512 * 1024 * 1024
"""Largest part that is sent (``portal.part_size_mib``)."""


class S3Portal(BucketFolder):
    """A folder of an S3 bucket.

    Args:
        bucket: Name of the bucket, which must exist.
        region: Configured AWS region; empty for the bucket's actual one.
        prefix: Folder in it; empty for the whole bucket.
        cache_control: ``Cache-Control`` of downloads; shown files are always revalidated.
        part_size: Bytes of each part except the last, at least 5 MiB.
        workers: Parts under way at a time. Memory: ``workers + 1`` parts.
        settings: How the bucket is used.
    """

    def __init__(
        self,
        bucket: str,
        region: str,
        *,
        prefix: str = "",
        cache_control: str = "no-cache",
        part_size: int = 16 * 1024 * 1024,
        workers: int = 4,
        **settings: Unpack[BucketSettings],
    ) -> None:
        super().__init__(Bucket(bucket, region, section="portal", missing=NotAtPortal, **settings), prefix)
        self._cache_control = cache_control
        self._seen: Store | None = None
        self._part_size = max(part_size, MIN_PART)
        self._workers = workers

    def put(self, upload: Upload, advance: Advance) -> Sent:
        """Upload a file; see :class:`jenkins_release.portal.Portal`.

        Files of one part are sent with their SHA-256 in one call; for larger ones, see
        :mod:`jenkins_release.portal.s3_upload`.
        """
        self._store(upload.path)
        part_size = part_size_for(upload.size, self._part_size)
        if (there := self._head(upload.path)) is not None:
            self._same(upload, there)
            if upload.size > part_size:
                self._give_up_others(upload)
            advance(upload.size)
            return Sent(0, upload.size)
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
        checksums = [b64decode(part.checksum) for part in parts]
        try:
            etag = job.complete(upload_id, parts)
        except (UploadGone, Precondition):
            job.give_up(upload_id)
            if not self._is_there(upload, checksums):
                advance(-upload.size)
                raise
        else:
            if not self._is_there(upload, checksums):
                advance(-upload.size)
                raise self._arrived_otherwise(upload, etag)
        self._give_up_others(upload)
        return sent(parts)

    def _put_whole(self, upload: Upload, advance: Advance) -> Sent:
        data = bytearray()
        for piece in upload.read():
            data += piece
            if len(data) > upload.size:
                break
        digest = sha256(data)
        check_read(upload, self._shown(upload.path), len(data), digest.hexdigest())
        try:
            answer = self._bucket.call(
                "put_object",
                f"upload {self._shown(upload.path)}",
                Key=self._key(upload.path),
                Body=bytes(data),
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=b64encode(digest.digest()).decode(),
                IfNoneMatch="*",
                **self._settings(upload, {SHA256: upload.sha256}),
            )
        except Precondition:
            if not self._is_there(upload):
                raise
        else:
            if not self._is_there(upload):
                raise self._arrived_otherwise(upload, str(answer["ETag"]))
        advance(upload.size)
        return Sent(upload.size, 0)

    def write_page(self, path: str, make: Callable[[], bytes], content_type: str) -> bool:
        """Write a page; a conditional write fails if another writer was faster, and is retryable."""
        self._store(path)
        condition, before = self._page(path)
        data = make()
        if data == before:
            return False
        try:
            self._bucket.call(
                "put_object",
                f"write {self._shown(path)}",
                Key=self._key(path),
                Body=data,
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=b64encode(sha256(data).digest()).decode(),
                ContentType=content_type,
                # Browsers revalidate the page each time, so a withdrawn release disappears at once.
                CacheControl="no-cache",
                **condition,
                **self._bucket.encryption,
            )
        except Precondition:
            # The answer to an earlier attempt may have been lost.
            if self._page(path)[1] != data:
                raise
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
            if not each["Key"].endswith("/")  # what the console creates for an empty folder
        ]
        return sorted(found, key=lambda file: file.path)

    def read_small(self, path: str) -> bytes:
        """Read a record or page."""
        return self._get(path)[0]

    def remove(self, path: str) -> None:
        """Remove an object; with versioning, its last version is kept behind a delete marker."""
        self._bucket.call("delete_object", f"remove {self._shown(path)}", Key=self._key(path))

    def discard_unfinished(self, folder: str) -> int:
        """Abort the multipart uploads below a folder."""
        return give_up_unfinished(self._bucket, f"{self._key(folder)}/")

    def link(self, path: str, *, customer: str, expires: timedelta) -> Link:
        """Presign a download; see :mod:`jenkins_release.portal.s3_link`."""
        check_expiry(expires, LONGEST_LINK)
        if self._head(path) is None:
            raise NotAtPortal(
                f"{self._shown(path)} does not exist", hint="'release portal' uploads a release"
            )
        return presigned(self._bucket, self._key(path), customer, expires)

    def _settings(self, upload: Upload, metadata: dict[str, str]) -> dict[str, Any]:
        settings: dict[str, Any] = {"ContentType": upload.content_type, "Metadata": metadata}
        settings["CacheControl"] = self._cache_control if upload.download_as else "no-cache"
        if upload.download_as:
            settings["ContentDisposition"] = disposition(upload.download_as)
        return settings | self._bucket.encryption

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

    def _store(self, path: str) -> Store:
        """Return what the store supports; stores other than Amazon's are tested before they are used."""
        if self._seen is None:
            key = self._key(f"{path.partition('/')[0]}/.store-check-{secrets.token_hex(4)}")
            self._seen = AMAZON if self._bucket.is_amazon else try_store(self._bucket, key)
        return self._seen

    def _is_there(self, upload: Upload, parts: Sequence[bytes] = ()) -> bool:
        """Whether S3 has an object with these bytes at the path: ours, even if the answer was lost."""
        there = self._head(upload.path)
        return there is not None and not self._other(upload, there, parts)

    def _other(self, upload: Upload, there: Mapping[str, Any], parts: Sequence[bytes]) -> str:
        """Describe an object if it is not the file; empty if it is."""
        size = there["ContentLength"]
        if size != upload.size:
            return f"{size} bytes"
        if self._store(upload.path).checksums and by_checksum(there, upload.sha256, parts):
            return ""
        found = read_sha256(self._bucket, self._key(upload.path), there, self._shown(upload.path))
        return "" if found == upload.sha256 else f"{size} bytes with SHA-256 {found}"

    def _arrived_otherwise(self, upload: Upload, etag: str) -> RemoteError:
        """Remove what we have just written if it has other bytes; what others wrote is kept."""
        shown, there = self._shown(upload.path), self._head(upload.path)
        if there is None or there["ETag"] != etag:
            return RemoteError(
                f"{shown} is not what was just uploaded",
                hint="someone else removes or writes objects of the portal",
                retryable=True,
            )
        self.remove(upload.path)
        return RemoteError(
            f"{shown} arrived with different bytes than were sent, and was removed",
            hint="something on the way changes data: a proxy, or faulty memory or network hardware",
            retryable=True,
        )

    def _give_up_others(self, upload: Upload) -> None:
        """Abort earlier uploads: the object exists, so no other upload of it can be completed."""
        key = self._key(upload.path)
        try:
            give_up_unfinished(self._bucket, key, key=key)
        except RemoteError as error:
            _log.info("%s", error.message)

    def _same(self, upload: Upload, there: Mapping[str, Any]) -> None:
        """Check that an object is the file, by comparing S3's checksum with one computed from the source."""
        size = whole_number(str(there.get("Metadata", {}).get(PART_SIZE, "0"))) or 0
        if not MIN_PART <= size <= _MAX_PART:
            # Not one of ours: a part is kept in memory, and each has a digest.
            size = 0
        whole, parts, count = sha256(), list[bytes](), 0
        for part in split(upload.read(), size or MIN_PART):
            whole.update(part)
            if size:
                parts.append(sha256(part).digest())
            count += len(part)
        check_read(upload, self._shown(upload.path), count, whole.hexdigest())
        if found := self._other(upload, there, parts):
            raise taken(self._shown(upload.path), upload, found)

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
            raise IntegrityError(
                f"{self._shown(path)} has {answer['ContentLength']} bytes, so it is not a record"
            )
        from botocore.exceptions import BotoCoreError

        try:
            return answer["Body"].read(), str(answer["ETag"])
        except BotoCoreError as error:
            raise self._bucket.explain(error, what) from error
        finally:
            answer["Body"].close()
