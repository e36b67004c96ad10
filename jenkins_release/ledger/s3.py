"""A ledger in an Amazon S3 bucket: one object for each line, written with ``If-None-Match: *``.

S3 accepts such a write only if the key has no object, and reports by its own clock when each object was
created (``LastModified``). In a bucket with versioning, an object that was deleted or overwritten keeps its
first version: that one is read, and the line says what happened. A bucket's default retention (object lock)
applies to each line.

Sources: Amazon S3 User Guide, "Conditional requests" and "Retaining multiple versions of objects".
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Unpack

from jenkins_release.aws.s3 import Bucket, BucketFolder, BucketSettings
from jenkins_release.base.errors import ReleaseError, RemoteError
from jenkins_release.base.parallel import map_parallel
from jenkins_release.ledger.protocol import (
    MAX_LINE_BYTES,
    MAX_LINES,
    NotInLedger,
    check_count,
    check_line,
    other_line,
)
from jenkins_release.records.ledger_line import Line


class S3Ledger(BucketFolder):
    """A folder of an S3 bucket that accepts each line once.

    Args:
        bucket: Name of the bucket, which must exist.
        region: Configured AWS region; empty for the bucket's actual one.
        prefix: Folder in it; empty for the whole bucket.
        settings: How the bucket is used.
    """

    def __init__(
        self, bucket: str, region: str, *, prefix: str = "", **settings: Unpack[BucketSettings]
    ) -> None:
        super().__init__(Bucket(bucket, region, section="ledger", missing=NotInLedger, **settings), prefix)

    def add(self, path: str, data: bytes) -> Line:
        """Write a line once; if S3 refuses or does not answer, the existing object is read and compared."""
        try:
            self._bucket.put_once(f"write {self._shown(path)}", self._key(path), data)
        except RemoteError as error:
            return self._looked_up(path, data, error)
        return self._same(path, data, self._get(path))

    def read(self, folder: str) -> list[Line]:
        """Return every line below a folder, in its first version."""
        versions = self._versions(folder)
        check_count(len(versions), self._shown(folder))
        return map_parallel(lambda item: self._first(*item), sorted(versions.items()))

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders directly below a folder, including those of deleted lines."""
        prefix = self._key(folder) + ("/" if folder else "")
        what = f"list {self._shown(folder)}"
        pages = self._bucket.pages("list_object_versions", what, Prefix=prefix, Delimiter="/")
        found = {each["Prefix"] for page in pages for each in page.get("CommonPrefixes", [])}
        return sorted(name for each in found if (name := each.removeprefix(prefix).strip("/")))

    def _looked_up(self, path: str, data: bytes, error: ReleaseError) -> Line:
        """Distinguish a write that was refused or failed from one whose answer was lost."""
        try:
            found = self._get(path)
        except ReleaseError:
            raise error from error.__cause__  # the better message: why the write failed
        return self._same(path, data, found)

    def _same(self, path: str, data: bytes, found: Line) -> Line:
        if found.data != data:
            raise other_line(self._shown(path), data, found.data)
        return found

    def _versions(self, folder: str) -> dict[str, list[dict[str, Any]]]:
        """List the versions of each key below a folder, including delete markers."""
        from botocore.exceptions import BotoCoreError, ClientError

        found: dict[str, list[dict[str, Any]]] = {}
        what = f"list {self._shown(folder)}"
        prefix = self._key(folder) + ("/" if folder else "")
        try:
            pages = self._bucket.client.get_paginator("list_object_versions").paginate(
                Bucket=self._bucket.name, Prefix=prefix
            )
            for page in pages:
                for each in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
                    if not each["Key"].endswith("/"):  # what the console creates for an empty folder
                        found.setdefault(each["Key"], []).append(each)
                if len(found) > MAX_LINES:
                    break
        except (BotoCoreError, ClientError) as error:
            raise self._bucket.explain(error, what) from error
        return found

    def _first(self, key: str, versions: Sequence[dict[str, Any]]) -> Line:
        path = key.removeprefix(self._prefix)
        if len(versions) == 1 and "ETag" in versions[0]:
            return self._get(path)
        # Markers have no content; of two in the same second, the later one is first in the list.
        real = [each for each in versions if "ETag" in each]
        removed = len(versions) - len(real)
        problem = f"{self._shown(path)} was " + (
            "deleted" if removed else f"overwritten: it has {len(real)} versions"
        )
        if not real:
            moment = min(each["LastModified"] for each in versions)
            return Line(path, b"", moment.astimezone(UTC), problem)
        first = min(reversed(real), key=lambda each: each["LastModified"])
        line = self._get(path, VersionId=first["VersionId"])
        return Line(path, line.data, line.arrived, problem)

    def _get(self, path: str, **version: str) -> Line:
        from botocore.exceptions import BotoCoreError

        what = f"read {self._shown(path)}"
        answer = self._bucket.call("get_object", what, Key=self._key(path), **version)
        try:
            data = answer["Body"].read(MAX_LINE_BYTES + 1)
        except BotoCoreError as error:
            raise self._bucket.explain(error, what) from error
        finally:
            answer["Body"].close()
        arrived: datetime = answer["LastModified"]
        return Line(path, check_line(data, self._shown(path)), arrived.astimezone(UTC))
