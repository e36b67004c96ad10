"""Whether an object in S3 holds the bytes that it should: by S3's checksum of it, or by reading it back.

S3 keeps the SHA-256 of an object that was sent in one piece, and for one that was sent in parts the
SHA-256 of the parts' SHA-256, with ``-`` and their number. A copy may have another kind of checksum than
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
    """Return the checksum that S3 computes of an object in parts, from the parts' SHA-256."""
    return b64encode(sha256(b"".join(checksums)).digest()).decode()


def by_checksum(there: Mapping[str, Any], whole: str, parts: Sequence[bytes]) -> bool:
    """Say whether S3's checksum proves what an object holds; if not, reading it back decides.

    Args:
        there: Answer to HeadObject with ``ChecksumMode``.
        whole: SHA-256 in hex of all bytes.
        parts: SHA-256 of each part that they were sent in; empty if that is not known.
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
        there: Answer to HeadObject; another object that somebody writes meanwhile is not read for it.
        shown: The object as people know it.

    Raises:
        ReleaseError: It cannot be read, or was changed meanwhile (retryable).
    """
    from botocore.exceptions import BotoCoreError

    _log.info("reading back %s: no checksum of S3 proves what it holds", shown)
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
