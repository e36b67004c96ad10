"""Amazon S3 calls for one bucket, with errors that say which setting is wrong."""

from __future__ import annotations

from base64 import b64encode
from contextlib import ExitStack
from functools import cached_property
from hashlib import sha256
from typing import Any, TypedDict, Unpack
from urllib.parse import urlsplit

from jenkins_release.aws.errors import error_answer, error_code, is_transient, translate
from jenkins_release.aws.session import aws_client
from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.base.regions import partition_of
from jenkins_release.base.waits import Limits

_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_OTHER_REGION = frozenset(
    {"301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
_DAMAGED = frozenset(
    {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
)
_DAMAGED_HINT = "something on the way changes data: a proxy, or faulty memory or network hardware"
_PAGES = {"portal": "docs/portal.md", "ledger": "docs/ledger.md", "trust": "docs/trust.md"}
"""Section of ``release.toml`` to the page with the required rights."""
_AMAZON = "AmazonS3"
"""Amazon S3's value of the header ``Server``."""
_UNKNOWN_CALL = frozenset({"NotImplemented", "501", "MethodNotAllowed", "405"})
_KMS_CODES = "KMS."
_KMS_RIGHTS = "kms:"
_KMS_HINTS = {
    "KMS.NotFoundException": "set {section}.kms_key to the ARN, id or alias of a key in the bucket's region",
    "KMS.DisabledException": "enable the key",
    "KMS.KMSInvalidStateException": "the key must be enabled: it is disabled, or about to be deleted",
}
_WRITES = frozenset({"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"})


class Precondition(RemoteError):
    """The object changed after it was read; nothing was written."""


class UploadGone(RemoteError):
    """The multipart upload was completed or aborted, by us with the answer lost, or by someone else."""


class Denied(RemoteError):
    """S3 refused a call because a right is missing."""


class Damaged(RemoteError):
    """S3 received different bytes than were sent, and refused them."""


class Unsupported(ConfigurationError):
    """A store other than Amazon's does not support a call, or a part of it."""


def regional_client(region: str, limits: Limits | None = None) -> Any:
    """Return a client whose presigned links work in every region.

    boto3 signs links for the region, but with S3's global host, which newer regions refuse and which
    redirects while a bucket is new. With the ``virtual`` style, it uses the host of the region, and keeps the
    path style for buckets with a dot. Other stores have their own host, and often no host for each bucket.
    """
    # In some regions, boto3's default for presigned URLs is the older signature.
    client = aws_client("s3", region, signature_version="s3v4", limits=limits)
    partition = partition_of(region)
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    if partition is None or not host.endswith(f".{partition.dns_suffix}"):
        return client
    return aws_client("s3", region, signature_version="s3v4", addressing_style="virtual", limits=limits)


class BucketSettings(TypedDict, total=False):
    """How a bucket is used.

    Attributes:
        default_region: Region to ask first if none is configured.
        encryption: Encryption at rest: ``bucket`` for the bucket's default, else ``AES256`` or ``aws:kms``.
        kms_key: KMS key for it; a key alone means ``aws:kms``.
        limits: How long a call may take.
    """

    default_region: str
    encryption: str
    kms_key: str
    limits: Limits | None


class Bucket:
    """A bucket and its calls.

    Args:
        name: Its name.
        region: Configured AWS region; empty for the bucket's actual one.
        section: Section of ``release.toml`` that names it, for messages: ``portal``, ``ledger`` or ``trust``.
        missing: The error for a missing object.
        settings: How it is used.
    """

    def __init__(
        self,
        name: str,
        region: str,
        *,
        section: str,
        missing: type[RemoteError],
        **settings: Unpack[BucketSettings],
    ) -> None:
        self.name = name
        self.region = region or settings.get("default_region", "")
        self._configured = region
        self._kms_key = settings.get("kms_key", "")
        self.encryption = _encryption(settings.get("encryption", "bucket"), self._kms_key)
        """Parameters of a write; an explicit "none" would replace the bucket's default."""
        self._section = section
        self._missing = missing
        self._server = ""
        self._once = False
        self._limits = settings.get("limits")

    @cached_property
    def client(self) -> Any:
        """The client for the bucket's region, according to S3 itself.

        botocore silently follows S3 to another region, but links are signed for the region of the client.
        HeadBucket names the region even if it refuses (Amazon S3 API reference, "HeadBucket"). A store that
        names none is assumed to be in the configured region.

        Raises:
            ConfigurationError: The bucket does not exist, or is not in the configured region.
            RemoteError: S3 cannot be reached, or is busy.
        """
        with ExitStack() as unused:
            client = regional_client(self.region, self._limits)
            unused.callback(client.close)
            headers = self._head(client)
            self._server = headers.get("server", "")
            found = headers.get("x-amz-bucket-region") or self.region
            if found == self.region:
                unused.pop_all()
                return client
        if self._configured:
            raise ConfigurationError(
                f"the bucket {self.name} is in {found}, but {self._section}.region is {self.region}",
                hint=f"set {self._section}.region to {found}, or remove it: S3 names the region",
            )
        self.region = found
        return regional_client(found, self._limits)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        if "client" in self.__dict__:
            self.client.close()

    @property
    def is_amazon(self) -> bool:
        """Whether it is Amazon S3: by its host, or by the server name that a proxy passes on."""
        host = urlsplit(self.client.meta.endpoint_url).hostname or ""
        partition = partition_of(self.region)
        at_home = partition is not None and host.endswith(f".{partition.dns_suffix}")
        return at_home or _AMAZON in {name.strip() for name in self._server.split(",")}

    @property
    def store(self) -> str:
        """The readable name of the store, such as ``MinIO at minio.corp``; never with a login."""
        host = urlsplit(self.client.meta.endpoint_url).netloc.rpartition("@")[2]
        return f"{self._server or 'the S3 store'} at {host}"

    def _head(self, client: Any) -> dict[str, str]:
        from botocore.exceptions import BotoCoreError, ClientError

        what = f"look at the bucket {self.name}"
        try:
            answer = client.head_bucket(Bucket=self.name)
        except BotoCoreError as error:
            raise self.explain(error, what) from error
        except ClientError as error:
            answer = error.response
            if error_code(error) in {*_MISSING, "NoSuchBucket"}:
                raise self._no_bucket(f"cannot {what}") from error
            if (told := self.explain(error, what)).retryable:
                raise told from error
        headers: dict[str, str] = answer["ResponseMetadata"].get("HTTPHeaders", {})
        return headers

    def call(self, action: str, what: str, **given: Any) -> dict[str, Any]:
        """Make a call.

        Args:
            action: boto3's name of it, such as ``put_object``.
            what: The attempted action, as an infinitive.
            given: Its parameters, except the bucket.

        Raises:
            ReleaseError: See :meth:`explain`.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self.client, action)(Bucket=self.name, **given)
        except (BotoCoreError, ClientError) as error:
            raise self.explain(error, what) from error
        return answer

    def put_once(self, what: str, key: str, data: bytes) -> None:
        """Write a small JSON document that is never replaced.

        In a store other than Amazon's, the first one is written twice: a store that accepts the same bytes
        again would also accept others.

        Raises:
            Precondition: It already exists.
            ConfigurationError: The store replaces existing objects.
        """

        def put() -> None:
            self.call(
                "put_object",
                what,
                Key=key,
                Body=data,
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=b64encode(sha256(data).digest()).decode(),
                ContentType="application/json",
                IfNoneMatch="*",
                **self.encryption,
            )

        put()
        if self._once or self.is_amazon:
            return
        try:
            put()
        except Precondition:
            self._once = True
            return
        raise ConfigurationError(
            f"{self.store} cannot be used for the {self._section}: it ignores If-None-Match of "
            "PutObject, and replaces existing objects",
            hint=f"{_PAGES[self._section]} lists what a store must support",
        )

    def pages(self, action: str, what: str, **given: Any) -> list[dict[str, Any]]:
        """Make a listing call, and return all pages of its answer."""
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
        from botocore.exceptions import FlexibleChecksumError

        code = error_code(error)
        start = f"cannot {what}"
        if isinstance(error, FlexibleChecksumError):
            return Damaged(
                f"{start}: what arrived does not match S3's checksum",
                hint=_DAMAGED_HINT,
                retryable=True,
            )
        if code == "NoSuchBucket":
            return self._no_bucket(start)
        if code in _OTHER_REGION:
            return ConfigurationError(
                f"{start}: the bucket {self.name} is not in {self.region}{_told_region(error)}",
                hint=f"set {self._section}.region to the region of the bucket",
            )
        if code in _MISSING:
            return self._missing(f"{start}: it does not exist")
        if code == "NoSuchUpload":
            return UploadGone(f"{start}: the upload was completed or aborted by someone else", retryable=True)
        if code in {"PreconditionFailed", "412"}:
            return Precondition(f"{start}: someone else has written it", retryable=True)
        if code in {"ConditionalRequestConflict", "409"}:
            return Precondition(f"{start}: someone else is writing it right now", retryable=True)
        if code in _DAMAGED:
            return Damaged(
                f"{start}: S3 received different bytes than were sent ({code}), and refused them",
                hint=_DAMAGED_HINT,
                retryable=True,
            )
        return self._refused(error, code, start, what)

    def _no_bucket(self, start: str) -> ConfigurationError:
        return ConfigurationError(
            f"{start}: there is no bucket {self.name}",
            hint=f"check {'trust.location' if self._section == 'trust' else f'{self._section}.bucket'}; "
            "commands do not create buckets",
        )

    def _refused(self, error: Exception, code: str, start: str, what: str) -> ReleaseError:
        said = str(error_answer(error).get("Error", {}).get("Message", ""))
        if code.startswith(_KMS_CODES) and is_transient(code.removeprefix(_KMS_CODES), said, 0):
            return RemoteError(
                f"{start}: AWS KMS is busy: {code}: {said}",
                hint="KMS asks to try again later",
                retryable=True,
            )
        if code.startswith(_KMS_CODES) or (code == "AccessDenied" and _KMS_RIGHTS in said):
            rights = (
                "the uploader needs kms:GenerateDataKey and kms:Decrypt on the key, which must be enabled"
            )
            return RemoteError(
                f"{start}: the KMS key {self._kms_key or 'of the bucket'} cannot be used: {code}: {said}",
                hint=_KMS_HINTS.get(code, rights).format(section=self._section),
            )
        operation = str(getattr(error, "operation_name", ""))
        if code in _UNKNOWN_CALL or "nsupported header" in said:
            return Unsupported(
                f"{start}: {self._server or 'the S3 store'} does not support {operation} as required: "
                f"{code}: {said}",
                hint=f"{_PAGES[self._section]} lists what a store must support",
            )
        if code in {"AccessDenied", "403", "AllAccessDisabled"}:
            plain = translate(error, what)
            return Denied(
                plain.message if code != "403" else f"{start}: S3 refused it without a reason",
                hint=f"{_PAGES[self._section]} lists the required rights for the bucket {self.name}; "
                + self._denial(operation, said),
            )
        if code in {"RequestTimeTooSkewed", "RequestInTheFuture"}:
            return RemoteError(
                f"{start}: this machine's clock is wrong{_told_time(error)}",
                hint="AWS refuses calls whose time is more than 15 minutes off: set the clock by NTP",
            )
        return translate(error, what)

    def _denial(self, operation: str, said: str) -> str:
        """Say what else a refusal may mean: at best, S3 itself names the right."""
        if operation not in _WRITES:
            return "without s3:ListBucket, a missing file is refused too"
        if self._section == "trust":
            return "a policy of the bucket may deny it"
        asked = self.encryption.get("ServerSideEncryption", "none in particular")
        denies = "denies it" if "explicit deny" in said else "may deny it"
        return (
            f"a policy of the bucket {denies}: if it requires encryption, set {self._section}.encryption "
            f"and {self._section}.kms_key accordingly (requested now: {asked})"
        )


class BucketFolder:
    """A folder of a bucket.

    Args:
        bucket: The bucket.
        prefix: Name of the folder; empty for the whole bucket.
    """

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    @property
    def name(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self._bucket.name}/{self._prefix}".rstrip("/")

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._bucket.close()

    def _key(self, path: str) -> str:
        return f"{self._prefix}{path}"

    def _shown(self, path: str) -> str:
        return f"{self.name}/{path}"


def _encryption(encryption: str, kms_key: str) -> dict[str, str]:
    if kms_key:
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key}
    return {} if encryption == "bucket" else {"ServerSideEncryption": encryption}


def _told_region(error: Exception) -> str:
    response: dict[str, Any] = error_answer(error)
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    told = headers.get("x-amz-bucket-region") or response.get("Error", {}).get("Region")
    return f", but in {told}" if told else ""


def _told_time(error: Exception) -> str:
    response: dict[str, Any] = error_answer(error)
    told = response.get("Error", {}).get("ServerTime")
    told = told or response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return f": AWS's time is {told}" if told else ""
