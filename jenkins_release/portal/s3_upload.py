"""Uploads one file to S3: in verified parts, several at a time, resumable, without overwriting.

S3 compares each part with the SHA-256 that is sent with it, and keeps both. An interrupted upload is found
among the bucket's unfinished ones, and its parts are compared with the source by their hash: only what is
missing or different is sent. The object becomes visible with CompleteMultipartUpload, after the whole source
was read and its hash compared.

Sources: Amazon S3 User Guide, "Checking object integrity" (the composite checksum of an upload in
parts is the SHA-256 of the parts' SHA-256, with ``-`` and their number), "Multipart upload limits",
and "Conditional writes".
"""

from __future__ import annotations

import logging
from base64 import b64encode
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from jenkins_release.aws.s3 import Bucket, Denied, Unsupported, UploadGone
from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError, ReleaseError
from jenkins_release.base.waits import Stopped, ThreadGroup
from jenkins_release.portal.protocol import Advance, Sent, Upload, check_read

_log = logging.getLogger(__name__)
_LEFT = "parts of it stay in the bucket until a lifecycle rule removes them (docs/portal.md)"
MAX_PARTS = 10_000
MIN_PART = 5 * 1024 * 1024
"""Smallest part that S3 accepts, except the last one."""
NEARLY_THERE_S = 5.0
"""Seconds that parts under way may still take after another one failed: what arrives is not sent again."""
SHA256 = "sha256"
PART_SIZE = "part-size"
"""Names of our object metadata: hash of the whole, and bytes of each part except the last."""


class OtherContent(Exception):
    """A part of the unfinished upload does not belong to this source."""


@dataclass(frozen=True)
class StoredPart:
    """A part in S3: number, tag, checksum as S3 writes it, and whether it was there before."""

    number: int
    etag: str
    checksum: str
    size: int
    kept: bool


class Multipart:
    """An upload in parts.

    Args:
        bucket: The bucket.
        key: Key of the object.
        upload: The file.
        part_size: Bytes of each part except the last.
        workers: Parts under way at a time. Memory: ``workers + 1`` parts.
        settings: More parameters of CreateMultipartUpload.
    """

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        upload: Upload,
        *,
        part_size: int,
        workers: int,
        settings: Mapping[str, Any],
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._upload = upload
        self._part_size = part_size
        self._workers = workers
        self._settings = settings
        self._what = f"upload s3://{bucket.name}/{key}"

    def send(self, advance: Advance) -> tuple[str, list[StoredPart]]:
        """Upload every part, continuing an earlier call's upload.

        Returns:
            Id of the upload, and its parts in order.

        Raises:
            IntegrityError: The source is not what the upload says; the upload was aborted.
            RemoteError: S3 or the source failed; what arrived stays for the next call.
        """
        upload_id, present = self._unfinished()
        if present:
            _log.info("continuing the upload of %s: it has %d parts", self._key, len(present))
        try:
            return upload_id, self._parts(upload_id, present, advance)
        except OtherContent:
            _log.warning("an unfinished upload of %s has different content: starting again", self._key)
            self.give_up(upload_id)
        except IntegrityError:
            self.give_up(upload_id)
            raise
        upload_id = self._begin()
        try:
            return upload_id, self._parts(upload_id, {}, advance)
        except IntegrityError:
            self.give_up(upload_id)
            raise

    def complete(self, upload_id: str, parts: list[StoredPart]) -> str:
        """Make the object from its parts, unless it exists, and return its tag.

        Raises:
            Precondition: It exists, or someone is writing it.
            UploadGone: The upload was completed or aborted.
        """
        named = [{"PartNumber": p.number, "ETag": p.etag, "ChecksumSHA256": p.checksum} for p in parts]
        answer = self._bucket.call(
            "complete_multipart_upload",
            f"complete the {self._what}",
            Key=self._key,
            UploadId=upload_id,
            MultipartUpload={"Parts": named},
            IfNoneMatch="*",
        )
        return str(answer["ETag"])

    def give_up(self, upload_id: str) -> None:
        """Let S3 delete the parts; failures are only logged."""
        try:
            self._bucket.call(
                "abort_multipart_upload", f"give up the {self._what}", Key=self._key, UploadId=upload_id
            )
        except UploadGone:
            return
        except ReleaseError as error:
            _log.warning("%s", error.message)

    def _begin(self) -> str:
        answer = self._bucket.call(
            "create_multipart_upload",
            self._what,
            Key=self._key,
            ChecksumAlgorithm="SHA256",
            ChecksumType="COMPOSITE",
            **self._settings,
        )
        return str(answer["UploadId"])

    def _unfinished(self) -> tuple[str, dict[int, StoredPart]]:
        """Return the newest unfinished upload that this one may continue, or a new one."""
        try:
            pages = self._bucket.pages(
                "list_multipart_uploads", f"look for unfinished parts of {self._what}", Prefix=self._key
            )
            found = [each for page in pages for each in page.get("Uploads", []) if each["Key"] == self._key]
            for each in sorted(found, key=lambda one: one["Initiated"], reverse=True):
                parts = self._present(str(each["UploadId"]))
                if parts and all(self._fits(part) for part in parts.values()):
                    return str(each["UploadId"]), parts
        except (Denied, Unsupported) as error:
            _log.info("%s; an interrupted upload is not continued, and %s", error.message, _LEFT)
        return self._begin(), {}

    def _present(self, upload_id: str) -> dict[int, StoredPart]:
        pages = self._bucket.pages(
            "list_parts", f"list the parts of {self._what}", Key=self._key, UploadId=upload_id
        )
        return {
            part["PartNumber"]: StoredPart(
                part["PartNumber"], part["ETag"], part.get("ChecksumSHA256", ""), part["Size"], kept=True
            )
            for page in pages
            for part in page.get("Parts", [])
        }

    def _fits(self, part: StoredPart) -> bool:
        """Whether a part has our number, size and kind of checksum.

        S3 accepts no SHA-256 in an upload that another program began without one.
        """
        start = (part.number - 1) * self._part_size
        fits = start < self._upload.size and part.size == min(self._part_size, self._upload.size - start)
        return fits and bool(part.checksum)

    def _parts(self, upload_id: str, present: Mapping[int, StoredPart], advance: Advance) -> list[StoredPart]:
        whole, size, done = sha256(), 0, list[StoredPart]()
        under_way: deque[Future[StoredPart]] = deque()
        group, stopped = ThreadGroup(), None

        def send(number: int, data: bytearray) -> StoredPart:
            try:
                return self._part(upload_id, number, data, present.get(number))
            except BaseException:
                group.end(NEARLY_THERE_S)
                raise

        def settle() -> None:
            done.append(under_way[0].result())
            under_way.popleft()
            advance(done[-1].size)

        def feed() -> None:
            nonlocal size
            for number, data in enumerate(split(self._upload.read(), self._part_size), 1):
                size += len(data)
                if size > self._upload.size or any(map(_failure, under_way)):
                    break
                if len(under_way) == self._workers:
                    settle()
                under_way.append(pool.submit(group.run, send, number, data))
                whole.update(data)
            while under_way:
                settle()

        try:
            with ThreadPoolExecutor(self._workers, thread_name_prefix="portal") as pool:
                try:
                    group.run(feed)
                except BaseException as error:
                    stopped = error if isinstance(error, Stopped) else None
                    group.end(NEARLY_THERE_S if isinstance(error, Exception) else 0.0)
                    pool.shutdown(wait=False, cancel_futures=True)
                    if stopped is None:
                        raise
            if stopped is not None:
                # The first real failure ended the wait for the others, or for the source.
                failures = filter(None, map(_failure, under_way))
                raise next((each for each in failures if not isinstance(each, Stopped)), stopped)
            check_read(self._upload, self._upload.path, size, whole.hexdigest())
        except BaseException:
            advance(-sum(part.size for part in done))
            raise
        return done

    def _part(self, upload_id: str, number: int, data: bytearray, present: StoredPart | None) -> StoredPart:
        checksum = b64encode(sha256(data).digest()).decode()
        if present is not None:
            if present.checksum != checksum:
                raise OtherContent
            return present
        answer = self._bucket.call(
            "upload_part",
            f"send part {number} of the {self._what}",
            Key=self._key,
            UploadId=upload_id,
            PartNumber=number,
            Body=data,
            ContentLength=len(data),
            ChecksumSHA256=checksum,
        )
        return StoredPart(number, str(answer["ETag"]), checksum, len(data), kept=False)


def _failure(part: Future[StoredPart]) -> BaseException | None:
    """Return the failure of sending a part, if it is known by now."""
    return part.exception() if part.done() and not part.cancelled() else None


def sent(parts: list[StoredPart]) -> Sent:
    """Count the bytes of sent parts, and of existing ones."""
    kept = sum(part.size for part in parts if part.kept)
    return Sent(sum(part.size for part in parts) - kept, kept)


def give_up_unfinished(bucket: Bucket, prefix: str, *, key: str = "") -> int:
    """Abort unfinished uploads.

    Args:
        bucket: The bucket.
        prefix: What their keys begin with.
        key: Only uploads of this key; by default, all with the prefix.

    Returns:
        How many there were; 0 if the rights are missing, which is logged.
    """
    what = f"give up unfinished uploads to s3://{bucket.name}/{prefix}"
    given_up = 0
    try:
        for page in bucket.pages("list_multipart_uploads", what, Prefix=prefix):
            for each in page.get("Uploads", []):
                if key and each["Key"] != key:
                    continue
                try:
                    bucket.call("abort_multipart_upload", what, Key=each["Key"], UploadId=each["UploadId"])
                except UploadGone:
                    continue
                given_up += 1
    except (Denied, Unsupported) as error:
        _log.info("%s; %s", error.message, _LEFT)
    return given_up


def split(source: Iterator[bytes], part_size: int) -> Iterator[bytearray]:
    """Yield the bytes of a source in parts of one size, except the last; the caller owns the parts."""
    part = bytearray()
    for piece in source:
        view = memoryview(piece)
        while len(part) + len(view) >= part_size:
            room = part_size - len(part)
            part += view[:room]
            view = view[room:]
            full, part = part, bytearray()
            yield full
            del full  # or it would stay in memory until the next one is full
        part += view
    if part:
        yield part


def part_size_for(size: int, wished: int) -> int:
    """Return the part size for a file: the given one, or a larger one if there would be too many parts."""
    least = -(-size // MAX_PARTS)
    return max(wished, -(-least // MIN_PART) * MIN_PART) if least > wished else wished


def disposition(name: str) -> str:
    """Return a Content-Disposition that saves under a name (RFC 6266, with RFC 8187 for other letters)."""
    plain = "".join(letter if letter.isascii() and letter not in '"\\' else "_" for letter in name)
    other = f"; filename*=UTF-8''{quote(name, safe='')}" if plain != name else ""
    return f'attachment; filename="{plain}"{other}'
