"""Tests with small objects whether a store other than Amazon's supports what keeps a release safe.

On request, Amazon S3 never overwrites an object, and it stores nothing that differs from its checksum. Many
stores with the same protocol accept such calls, but ignore what they do not know.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from jenkins_release.aws.s3 import Bucket, Damaged, Precondition, Unsupported
from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, ReleaseError


@dataclass(frozen=True)
class Store:
    """What a store can do.

    Attributes:
        checksums: Whether it compares what it receives with a SHA-256, so that its checksums can be trusted.
    """

    checksums: bool


AMAZON = Store(checksums=True)


def try_store(bucket: Bucket, key: str) -> Store:
    """Try out what uploads rely on.

    Args:
        bucket: A bucket of the store.
        key: Key of an object to write and remove.

    Raises:
        ConfigurationError: The store lacks something; the message names everything.
        RemoteError: It cannot be reached, or refuses what it should allow.
    """
    what = f"try out {bucket.store}"

    def call(action: str, **given: Any) -> dict[str, Any]:
        return bucket.call(action, what, Key=key, **given)

    checksums = _refuses_other_bytes(call)
    try:
        missing = [name for name, trial in _TRIALS.items() if not _refused(trial, call)]
    finally:
        call("delete_object")
    if missing:
        raise ConfigurationError(
            f"{bucket.store} cannot keep a release from being overwritten: it ignores {', '.join(missing)}",
            hint="docs/portal.md lists what a store must support",
        )
    return Store(checksums)


_Call = Callable[..., dict[str, Any]]


def _refuses_other_bytes(call: _Call) -> bool:
    """Write the object; return whether bytes that do not match their checksum were refused."""
    other = b64encode(sha256(b"other").digest()).decode()
    try:
        call("put_object", Body=b"try", ChecksumAlgorithm="SHA256", ChecksumSHA256=other)
    except (Unsupported, Damaged):
        pass
    except ReleaseError as error:
        if error.retryable:
            raise
    else:
        return False
    call("put_object", Body=b"try", ChecksumAlgorithm="SHA256", ChecksumSHA256=_sum(b"try"))
    return True


def _sum(data: bytes) -> str:
    return b64encode(sha256(data).digest()).decode()


def _refused(trial: Callable[[_Call], None], call: _Call) -> bool:
    try:
        trial(call)
    except Precondition:
        return True
    except Unsupported:
        return False
    return False


def _write_new(call: _Call) -> None:
    call("put_object", Body=b"try", IfNoneMatch="*")


def _replace_other(call: _Call) -> None:
    call("put_object", Body=b"try", IfMatch='"00000000000000000000000000000000"')


def _complete_new(call: _Call) -> None:
    upload = call("create_multipart_upload", ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE")["UploadId"]
    part = call("upload_part", UploadId=upload, PartNumber=1, Body=b"try", ChecksumSHA256=_sum(b"try"))
    named = {"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": _sum(b"try")}
    try:
        call(
            "complete_multipart_upload",
            UploadId=upload,
            MultipartUpload={"Parts": [named]},
            IfNoneMatch="*",
        )
    except Precondition:
        call("abort_multipart_upload", UploadId=upload)
        raise


_TRIALS = {
    "If-None-Match of PutObject": _write_new,
    "If-Match of PutObject": _replace_other,
    "If-None-Match of CompleteMultipartUpload": _complete_new,
}
