"""Whether an object in S3 has the right bytes: by S3's checksum, or by reading it back.

S3 keeps the SHA-256 of an object that was sent in one piece. For one that was sent in parts, it keeps the
SHA-256 of the parts' SHA-256, with ``-`` and their number. A copy may have a different kind of checksum than
its original, or none, and other stores often keep none. Source: Amazon S3 User Guide, "Checking object
integrity".
"""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from jenkins_release.aws.s3 import Bucket

_log = logging.getLogger(__name__)
_PIECE = 1024 * 1024


def composite(checksums: Sequence[bytes]) -> str:
    """Return the checksum that S3 computes for an object in parts, from the parts' SHA-256."""
    return b64encode(sha256(b"".join(checksums)).digest()).decode()


def by_checksum(there: Mapping[str, Any], whole: str, parts: Sequence[bytes]) -> bool:
    """Say whether S3's checksum proves the content of an object; if not, it has to be read back.

    Args:
        there: Answer to HeadObject with ``ChecksumMode``.
        whole: SHA-256 in hex of all bytes.
        parts: SHA-256 of each part; empty if unknown.
    """
    checksum, _, count = str(there.get("ChecksumSHA256", "")).partition("-")
    if not count:
        return checksum == b64encode(bytes.fromhex(whole)).decode()
    return count == str(len(parts)) and checksum == composite(parts)


def read_sha256(bucket: Bucket, key: str, there: Mapping[str, Any], shown: str) -> str:
    """Read an object and return its SHA-256 in hex.

    Args:
        bucket: Where it is.
        key: Its key.
        there: Answer to HeadObject; an object that replaces it meanwhile is not read instead.
        shown: The readable name of the object.

    Raises:
        ReleaseError: It cannot be read, or was changed meanwhile (retryable).
    """
    from botocore.exceptions import BotoCoreError

    _log.info("reading back %s: no S3 checksum proves its content", shown)
    what = f"read back {shown}"
    body = bucket.call("get_object", what, Key=key, IfMatch=there["ETag"])["Body"]
    whole = sha256()
    try:
        for piece in body.iter_chunks(_PIECE):
            whole.update(piece)
    except BotoCoreError as error:
        raise bucket.explain(error, what) from error
    finally:
        body.close()
    return whole.hexdigest()
