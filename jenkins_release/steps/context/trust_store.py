"""Where the versions of a trust document are published: ``1.root.json``, ``2.root.json``, ... each once.

The place proves nothing: what is read there is trusted only from a pinned version on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol

from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.records.trust import MAX_TRUST_BYTES

if TYPE_CHECKING:
    from jenkins_release.base.waits import Limits
    from jenkins_release.share.protocol import Share

FOLDER = ".trust"
MAX_VERSIONS = 1000
"""Maximum versions that are read from one place."""
_NAME = re.compile(r"([1-9][0-9]{0,5})\.root\.json")


class TrustStore(Protocol):
    """A place with the versions of one product's trust document."""

    @property
    def name(self) -> str:
        """The readable name of the place."""
        ...

    def read(self) -> dict[int, bytes]:
        """Return number to bytes of every published version.

        Raises:
            IntegrityError: There are far too many, or one is far too large.
            RemoteError: The place cannot be reached.
        """
        ...

    def write(self, number: int, data: bytes) -> None:
        """Publish a version; existing ones are never replaced.

        Raises:
            IntegrityError: The number has another version.
            RemoteError: The place cannot be reached.
        """
        ...


def file_name(number: int) -> str:
    """Return the name of a version's file, as TUF names it."""
    return f"{number}.root.json"


def version_number(name: str) -> int | None:
    """Return which version a file holds; None for other files."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def read_versions(
    store: TrustStore,
    retry: Callable[[str, Callable[[], dict[int, bytes]]], dict[int, bytes]],
    *,
    pinned: bool = False,
) -> dict[int, bytes]:
    """Read every published version.

    Args:
        store: The place.
        retry: Calls the second argument until it succeeds; the first names it.
        pinned: Whether a root is pinned, for the hint.

    Raises:
        IntegrityError: There are far too many, or one is far too large.
        RemoteError: The place cannot be reached; the message names the trust document.
    """
    try:
        return retry(f"read the trust document in {store.name}", store.read)
    except RemoteError as error:
        raise RemoteError(
            f"the trust document in {store.name} cannot be read: {error.message}",
            hint=("a root is pinned, and nothing can be decided without its document. " if pinned else "")
            + (error.hint or "make sure that the place can be reached"),
        ) from error


class ShareTrustStore:
    """A folder of a share.

    Args:
        share: The share.
        folder: Path below its root; empty for the root.
    """

    def __init__(self, share: Share, folder: str) -> None:
        self._share = share
        self._folder = folder

    @property
    def name(self) -> str:
        """The readable path of the folder."""
        from jenkins_release.share.staging import shown_path

        return shown_path(self._share, self._folder)

    def read(self) -> dict[int, bytes]:
        """See :class:`TrustStore`."""
        from jenkins_release.share.protocol import PathNotFound
        from jenkins_release.share.staging import not_listed, read_bounded, unlisted

        try:
            names = [entry.name for entry in self._share.list(self._folder) if not entry.is_folder]
        except PathNotFound:
            return {}
        numbers = _bounded([number for name in names if (number := version_number(name))], self.name)
        if hidden := unlisted(self._share, self._folder, [file_name(max(numbers, default=0) + 1)]):
            raise not_listed(self._share, self._path(hidden[0]))
        return {number: read_bounded(self._share, self._path(file_name(number))) for number in numbers}

    def write(self, number: int, data: bytes) -> None:
        """See :class:`TrustStore`; renamed into place in one step, then read-only if that is possible."""
        from jenkins_release.share.protocol import PathExists
        from jenkins_release.share.staging import read_bounded, write_new

        name = file_name(number)
        self._share.make_folder(self._folder)
        try:
            write_new(self._share, self._folder, name, data)
        except PathExists as error:
            if read_bounded(self._share, self._path(name)) != data:
                raise _other(f"{self.name}: {name}") from error
        self._share.protect(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}" if self._folder else name


class S3TrustStore:
    """A folder of an S3 bucket, written with ``If-None-Match``.

    Args:
        bucket: The bucket.
        prefix: Folder in it; empty for the whole bucket.
        region: Configured AWS region; empty for the bucket's actual one.
        default_region: Region to ask first if ``region`` is empty.
        limits: How long a call may take.
    """

    SCHEME: ClassVar = "s3://"

    def __init__(
        self,
        bucket: str,
        prefix: str,
        region: str,
        *,
        default_region: str = "",
        limits: Limits | None = None,
    ) -> None:
        from jenkins_release.aws.s3 import Bucket

        self._bucket = Bucket(
            bucket,
            region,
            default_region=default_region,
            section="trust",
            missing=RemoteError,
            limits=limits,
        )
        self._prefix = f"{prefix}/" if prefix else ""

    @property
    def name(self) -> str:
        """``s3://bucket/prefix``."""
        return f"{self.SCHEME}{self._bucket.name}/{self._prefix}".rstrip("/")

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._bucket.close()

    def read(self) -> dict[int, bytes]:
        """See :class:`TrustStore`."""
        listed = self._bucket.call("list_objects_v2", f"list {self.name}", Prefix=self._prefix, Delimiter="/")
        if listed.get("IsTruncated"):
            raise IntegrityError(
                f"{self.name} holds more than {MAX_VERSIONS} files: give it a separate folder"
            )
        names = [str(each["Key"]).removeprefix(self._prefix) for each in listed.get("Contents", [])]
        numbers = _bounded([number for name in names if (number := version_number(name))], self.name)
        return {number: self._get(file_name(number)) for number in numbers}

    def write(self, number: int, data: bytes) -> None:
        """See :class:`TrustStore`."""
        from jenkins_release.aws.s3 import Precondition

        name = file_name(number)
        try:
            self._bucket.put_once(f"write {self.name}/{name}", f"{self._prefix}{name}", data)
        except Precondition as error:
            if self._get(name) != data:
                raise _other(f"{self.name}/{name}") from error

    def _get(self, name: str) -> bytes:
        from botocore.exceptions import BotoCoreError

        what = f"read {self.name}/{name}"
        answer = self._bucket.call("get_object", what, Key=f"{self._prefix}{name}")
        try:
            data: bytes = answer["Body"].read(MAX_TRUST_BYTES + 1)
        except BotoCoreError as error:
            raise self._bucket.explain(error, what) from error
        finally:
            answer["Body"].close()
        return data


def _bounded(numbers: list[int], where: str) -> list[int]:
    if len(numbers) > MAX_VERSIONS:
        raise IntegrityError(
            f"{where} holds {len(numbers)} versions of a trust document, expected at most {MAX_VERSIONS}",
            hint="find out who wrote them",
        )
    return sorted(numbers)


def _other(where: str) -> IntegrityError:
    return IntegrityError(
        f"{where} already exists with different content: versions are never replaced",
        hint="draft the next version from the published one: 'trust update'",
    )
