"""Calls of the ECR API: batched, checked, and with every error translated.

The batches respect these quotas (Amazon ECR user guide, "Service quotas", and the API reference):
100 identifiers in BatchGetImage, BatchCheckLayerAvailability and BatchDeleteImage; per second and
region 2,000 BatchGetImage, 1,000 BatchCheckLayerAvailability and about 10 PutImage. Calls above the rate are
throttled: the client repeats them with back-off, and raises a retryable RemoteError if they still fail.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jenkins_release.aws import aws_client, error_code, translate
from jenkins_release.aws.answers import next_page
from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.base.parallel import map_parallel
from jenkins_release.base.waits import Limits
from jenkins_release.oci.manifests import ACCEPTED_TYPES, RawManifest, is_digest, sha256_digest
from jenkins_release.records.scan import Scan
from jenkins_release.registry.inspector import Inspector, severity_in_ecr
from jenkins_release.registry.protocol import RepositoryNotFound

_log = logging.getLogger(__name__)
_NOT_TOLD = frozenset(
    {"AccessDeniedException", "ValidationException", "InvalidParameterException", "UnknownOperationException"}
)
"""Errors of an account that does not allow reading the setting, or a region that does not know it."""
BATCH = 100
"""Maximum identifiers in one batch call (ECR API reference)."""


class EcrCalls:
    """The ECR API of one account and region.

    Args:
        region: AWS region, such as ``eu-central-1``.
        account: Account that owns the registry; the credentials' own account when None.
        profile: Profile of the shared AWS configuration.
        client: A boto3 ``ecr`` client instead of one from boto3's credential chain.
        limits: How long a call may take.
    """

    def __init__(
        self,
        region: str,
        account: str | None,
        profile: str | None,
        client: Any,
        limits: Limits | None = None,
    ) -> None:
        self.region = region
        self.account = account
        self._profile = profile
        self._made = client
        self._limits = limits
        self._inspector = Inspector(region, profile, limits=limits)
        self._lock = threading.Lock()

    def client(self) -> Any:
        """Return the boto3 client, created on first use."""
        with self._lock:
            if self._made is None:
                self._made = aws_client("ecr", self.region, profile=self._profile, limits=self._limits)
            return self._made

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._inspector.close()
        if self._made is not None:
            self._made.close()

    def call(self, action: str, what: str, *, passing: Sequence[str] = (), **parameters: Any) -> Any:
        """Call one API action of the registry.

        Args:
            action: boto3's name of the action, such as ``put_image``.
            what: The purpose, as an infinitive, for messages.
            passing: Error codes that are raised untranslated, as botocore's ``ClientError``.
            **parameters: The action's arguments; the registry is added.

        Raises:
            RepositoryNotFound: The repository does not exist.
            ReleaseError: Any other failure, translated.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        client = self.client()
        if self.account is not None:
            parameters["registryId"] = self.account
        try:
            return getattr(client, action)(**parameters)
        except (BotoCoreError, ClientError) as error:
            code = error_code(error)
            if code in passing:
                raise
            if code == "RepositoryNotFoundException":
                raise self._no_repository(parameters) from error
            raise translate(error, what) from error

    def manifests(self, repository: str, references: Sequence[str]) -> dict[str, RawManifest]:
        """Read manifests by tag or digest (``BatchGetImage``), and recompute each digest.

        Returns:
            The existing manifests, by requested reference.

        Raises:
            RepositoryNotFound: The repository does not exist.
            IntegrityError: Bytes do not match their digest, or the digest is not the requested one.
            RemoteError: ECR refused or failed, or left a reference out of its answer.
        """
        found: dict[str, RawManifest] = {}
        for batch in batches(references):
            found.update(self._manifests(repository, batch))
        return found

    def repositories(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Describe repositories; those that do not exist are left out.

        ECR refuses the whole call if one repository is missing, and names only one (ECR API reference,
        DescribeRepositories). It may also refuse if the caller's policy covers only some of the names. Then
        each repository is described by a separate call.
        """
        found: list[dict[str, Any]] = []
        for batch in batches(names):
            try:
                found += self._described(batch)
            except RemoteError as error:
                if error.retryable:
                    raise
                for single in map_parallel(self._described_or_nothing, batch):
                    found += single
        return found

    def _described(self, names: Sequence[str]) -> list[dict[str, Any]]:
        what = f"describe the repositor{'y' if len(names) == 1 else 'ies'} {', '.join(names)}"
        answer = self.call("describe_repositories", what, repositoryNames=[*names])
        return list(answer["repositories"])

    def _described_or_nothing(self, name: str) -> list[dict[str, Any]]:
        try:
            return self._described([name])
        except RepositoryNotFound:
            return []

    def tags(self, repository: str) -> list[str]:
        """Return every tag of a repository."""
        found: list[str] = []
        page: dict[str, Any] = {}
        while True:
            answer = self.call(
                "list_images",
                f"list the tags of {repository}",
                repositoryName=repository,
                filter={"tagStatus": "TAGGED"},
                **page,
            )
            found += [each["imageTag"] for each in answer["imageIds"] if each.get("imageTag")]
            if not (token := next_page(answer.get("nextToken"), page.get("nextToken"), "ListImages")):
                return sorted(set(found))
            page = {"nextToken": token}

    def blob_mounting(self) -> bool:
        """Return the account setting ``BLOB_MOUNTING``; False if the caller may not read it."""
        from botocore.exceptions import BotoCoreError, ClientError

        what = "ask whether blobs can be mounted"
        try:
            # Not through call(): the action takes no registryId.
            answer = self.client().get_account_setting(name="BLOB_MOUNTING")
        except (BotoCoreError, ClientError) as error:
            found = translate(error, what)
            if error_code(error) in _NOT_TOLD and not found.retryable:
                _log.info("cannot %s: %s", what, error_code(error))
                return False
            raise found from error
        return str(answer.get("value", "")).upper() == "ENABLED"

    def described(self, repository: str) -> list[dict[str, Any]]:
        """Describe every image of a repository, tagged or not (``DescribeImages``, all pages)."""
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {}
        while True:
            what = f"describe the images of {repository}"
            answer = self.call("describe_images", what, repositoryName=repository, **page)
            found += answer["imageDetails"]
            if not (token := next_page(answer.get("nextToken"), page.get("nextToken"), "DescribeImages")):
                return found
            page = {"nextToken": token}

    def scan(self, repository: str, digest: str) -> Scan:
        """Return the status and findings of an image's scan.

        If ECR counts the findings, its answer is used. An enhanced scan without counts says nothing:
        Inspector has not scanned yet, or has found nothing.
        """
        from botocore.exceptions import ClientError

        what = f"read the scan of {repository}@{digest}"
        try:
            answer = self.call(
                "describe_image_scan_findings",
                what,
                passing=("ScanNotFoundException", "ImageNotFoundException"),
                repositoryName=repository,
                imageId={"imageDigest": digest},
            )
        except ClientError as error:
            if error_code(error) == "ScanNotFoundException":
                return Scan("none")
            refused = translate(error, what)
            refused.retryable = True  # Inspector may not know an image yet that was just pushed
            raise refused from error
        status = str((answer.get("imageScanStatus") or {}).get("status") or "none")
        found = answer.get("imageScanFindings") or {}
        counts = found.get("findingSeverityCounts")
        findings: Counter[str] = Counter()
        for name, number in (counts or {}).items():
            findings[severity_in_ecr(name)] += int(number)
        listed = [*(found.get("findings") or ()), *(found.get("enhancedFindings") or ())]
        findings |= Counter(severity_in_ecr(each.get("severity")) for each in listed)
        if status not in {"COMPLETE", "ACTIVE"}:
            return Scan(status)
        if counts or (status == "COMPLETE" and counts is not None):
            return Scan(status, findings, counted=True)
        return self._inspected(repository, digest, Scan(status, findings))

    def _inspected(self, repository: str, digest: str, scan: Scan) -> Scan:
        described = self.repositories([repository])
        arn = str(described[0]["repositoryArn"]) if described else ""
        seen = self._inspector.scan(repository, arn, digest)
        status = scan.status if seen.status == "ACTIVE" else seen.status
        return Scan(status, Counter(scan.findings) | Counter(seen.findings), counted=seen.counted)

    def tag_digest(self, repository: str, tag: str) -> str | None:
        """Return the digest that a tag names, or None if there is no such tag."""
        found = self.manifests(repository, [tag])
        return found[tag].digest if tag in found else None

    def _manifests(self, repository: str, batch: Sequence[str]) -> dict[str, RawManifest]:
        what = f"read images of {repository}"
        answer = self.call(
            "batch_get_image",
            what,
            repositoryName=repository,
            imageIds=[{"imageDigest" if is_digest(each) else "imageTag": each} for each in batch],
            acceptedMediaTypes=list(ACCEPTED_TYPES),
        )
        found: dict[str, RawManifest] = {}
        strangers: list[str] = []
        for image in answer.get("images", []):
            tag, raw = image["imageId"].get("imageTag"), _checked(repository, image)
            names = [name for name in (tag, raw.digest) if name in batch]
            found.update(dict.fromkeys(names, raw))
            if not names:
                strangers.append(raw.digest)
        unanswered = set(batch) - set(found)
        for failure in answer.get("failures", []):
            if failure.get("failureCode") != "ImageNotFound":
                raise failed(what, str(failure.get("imageId")), failure)
            ids = failure.get("imageId", {})
            unanswered -= {ids.get("imageTag"), ids.get("imageDigest")}
        if strangers:
            asked = ", ".join(sorted(unanswered) or batch)
            raise IntegrityError(
                f"{repository}: requested {asked}, but ECR answered with {', '.join(strangers)}",
                hint="do not release it: something on the way from ECR changes its answers",
            )
        if unanswered:
            raise RemoteError(
                f"cannot {what}: ECR's answer leaves out {', '.join(sorted(unanswered))}", retryable=True
            )
        return found

    def _no_repository(self, parameters: Mapping[str, Any]) -> RepositoryNotFound:
        names = parameters.get("repositoryName") or ", ".join(parameters.get("repositoryNames", []))
        owner = f"account {self.account}" if self.account else "the account of these credentials"
        return RepositoryNotFound(
            f"Amazon ECR in {self.region} has no repository {names} in {owner}",
            hint="create it first, or check region and account",
        )


def batches(items: Sequence[str]) -> Iterator[list[str]]:
    """Yield the items in order, each once, in lists of at most :data:`BATCH`."""
    once = list(dict.fromkeys(items))
    for start in range(0, len(once), BATCH):
        yield once[start : start + BATCH]


def changed(what: str, expected: str, found: str) -> IntegrityError:
    """Return the error for content that does not match its digest."""
    return IntegrityError(
        f"{what}: the manifest has the digest {found}, expected {expected}",
        hint="do not release it: the manifest was changed, here or on the way",
    )


def failed(what: str, which: str, failure: Mapping[str, Any]) -> RemoteError:
    """Return the error for one item that failed in a batch call."""
    code = failure.get("failureCode", "unknown")
    return RemoteError(f"cannot {what}: {which}: ECR answered {code}: {failure.get('failureReason', '')}")


def _checked(repository: str, image: Mapping[str, Any]) -> RawManifest:
    stated = str(image["imageId"].get("imageDigest"))
    data = str(image.get("imageManifest", "")).encode()
    actual = sha256_digest(data)
    if actual != stated:
        raise changed(f"{repository}:{image['imageId'].get('imageTag', '(by digest)')}", stated, actual)
    return RawManifest(actual, str(image.get("imageManifestMediaType", "")), data)
