"""Calls of Amazon S3 for one bucket, with errors that say what of the portal is wrong."""

from __future__ import annotations

from typing import Any

from jenkins_release.aws import aws_client, error_code, translate
from jenkins_release.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.portal.protocol import NotAtPortal

_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_OTHER_REGION = frozenset(
    {"301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
_DAMAGED = frozenset(
    {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
)
_KMS_CODES = "KMS."
_KMS_RIGHTS = "kms:"


class Precondition(RemoteError):
    """The object changed between our looking at it and our writing it; nothing was written."""


class UploadGone(RemoteError):
    """The multipart upload was completed or given up, by us with the answer lost, or by someone else."""


class Bucket:
    """A bucket and the calls on it.

    Args:
        name: Its name.
        region: AWS region that it is in.
        kms_key: KMS key that objects are encrypted with, for messages.
    """

    def __init__(self, name: str, region: str, kms_key: str = "") -> None:
        self.name = name
        self.region = region
        self.kms_key = kms_key
        # boto3's default for presigned URLs is the older signature in some regions.
        self.client = aws_client("s3", region, signature_version="s3v4")

    def call(self, action: str, what: str, **given: Any) -> dict[str, Any]:
        """Make a call.

        Args:
            action: boto3's name of it, such as ``put_object``.
            what: What is attempted, as an infinitive.
            given: Its parameters besides the bucket.

        Raises:
            ReleaseError: See :meth:`explain`.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self.client, action)(Bucket=self.name, **given)
        except (BotoCoreError, ClientError) as error:
            raise self.explain(error, what) from error
        return answer

    def pages(self, action: str, what: str, **given: Any) -> list[dict[str, Any]]:
        """Make a call that lists something, and return all pages of its answer."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return list(self.client.get_paginator(action).paginate(Bucket=self.name, **given))
        except (BotoCoreError, ClientError) as error:
            raise self.explain(error, what) from error

    def explain(self, error: Exception, what: str) -> ReleaseError:
        """Turn an error of S3 into one of ours.

        Codes: Amazon S3 API reference, "Error responses", and the pages of PutObject and
        CompleteMultipartUpload for 409 and 412. An answer to HEAD has no body: its code is the status.
        """
        code = error_code(error)
        start = f"cannot {what}"
        if code == "NoSuchBucket":
            return ConfigurationError(
                f"{start}: there is no bucket {self.name}",
                hint="check portal.bucket; the bucket of a portal is never created by an upload",
            )
        if code in _OTHER_REGION:
            return ConfigurationError(
                f"{start}: the bucket {self.name} is not in {self.region}{_told_region(error)}",
                hint="set portal.region to the region of the bucket",
            )
        if code in _MISSING:
            return NotAtPortal(f"{start}: it is not there")
        if code == "NoSuchUpload":
            return UploadGone(f"{start}: the upload was completed or given up by someone", retryable=True)
        if code in {"PreconditionFailed", "412"}:
            return Precondition(f"{start}: somebody else wrote it meanwhile", retryable=True)
        if code in {"ConditionalRequestConflict", "409"}:
            return Precondition(f"{start}: somebody else is writing it at this moment", retryable=True)
        if code in _DAMAGED:
            return RemoteError(
                f"{start}: S3 received other bytes than were sent ({code}), and refused them",
                hint="something on the way changes data: a proxy, or faulty memory or network hardware",
                retryable=True,
            )
        return self._refused(error, code, start, what)

    def _refused(self, error: Exception, code: str, start: str, what: str) -> ReleaseError:
        said = str(getattr(error, "response", {}).get("Error", {}).get("Message", ""))
        if code.startswith(_KMS_CODES) or (code == "AccessDenied" and _KMS_RIGHTS in said):
            return RemoteError(
                f"{start}: the KMS key {self.kms_key or 'of the bucket'} cannot be used: {code}: {said}",
                hint="the uploader needs kms:GenerateDataKey and kms:Decrypt on the key, in the region of "
                "the bucket, and the key has to be enabled",
            )
        if code in {"AccessDenied", "403", "AllAccessDisabled"}:
            plain = translate(error, what)
            return RemoteError(
                plain.message if code != "403" else f"{start}: S3 refused it, without a reason",
                hint=f"docs/portal.md lists the rights that an uploader needs in the bucket {self.name}; "
                "without s3:ListBucket a missing file is refused as well",
            )
        if code in {"RequestTimeTooSkewed", "RequestInTheFuture"}:
            return RemoteError(
                f"{start}: this machine's clock is wrong{_told_time(error)}",
                hint="AWS refuses calls whose time is more than 15 minutes off: set the clock by NTP",
            )
        return translate(error, what)


def _told_region(error: Exception) -> str:
    response: dict[str, Any] = getattr(error, "response", {})
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    told = headers.get("x-amz-bucket-region") or response.get("Error", {}).get("Region")
    return f", it is in {told}" if told else ""


def _told_time(error: Exception) -> str:
    response: dict[str, Any] = getattr(error, "response", {})
    told = response.get("Error", {}).get("ServerTime")
    told = told or response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return f": AWS says that it is {told}" if told else ""
