"""How a missing repository is created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError

MAX_FILTERS = 5
"""Maximum exclusion filters of one repository (ECR API, ``ImageTagMutabilityExclusionFilters``)."""


@dataclass(frozen=True)
class RepositorySettings:
    """Properties of a repository that :meth:`EcrRegistry.create_repository` creates.

    Encryption cannot be changed once the repository exists (ECR user guide, "Encryption at rest").

    Attributes:
        immutable: Whether a tag can never be moved once it is set.
        exclusions: Wildcard filters of tags that may still be moved, such as ``latest*``.
        scan_on_push: Whether ECR scans each image for vulnerabilities as it arrives.
        encryption: ``AES256``, ``KMS`` or ``KMS_DSSE``; empty: ``KMS`` with a key, ``AES256`` without.
        kms_key: ARN, id or alias of the KMS key; with ``KMS`` and no key, ECR uses the AWS managed key.
        tags: AWS resource tags of the repository.
    """

    immutable: bool = True
    exclusions: tuple[str, ...] = ()
    scan_on_push: bool = True
    encryption: str = ""
    kms_key: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.exclusions) > MAX_FILTERS:
            raise ConfigurationError(
                f"{len(self.exclusions)} tag exclusions are configured, but ECR allows at most {MAX_FILTERS}",
                hint="use wildcards: one filter 'latest*' covers several tags",
            )
        if self.kms_key and self.encryption == "AES256":
            raise ConfigurationError(
                "a KMS key is configured, but the repositories' encryption is AES256",
                hint="set the encryption to KMS, or remove the key",
            )

    def parameters(self) -> dict[str, Any]:
        """Return the arguments of ``CreateRepository``, except the name."""
        encryption = {"encryptionType": self.encryption or ("KMS" if self.kms_key else "AES256")}
        if self.kms_key:
            encryption["kmsKey"] = self.kms_key
        parameters: dict[str, Any] = {
            "imageTagMutability": "IMMUTABLE" if self.immutable else "MUTABLE",
            "imageScanningConfiguration": {"scanOnPush": self.scan_on_push},
            "encryptionConfiguration": encryption,
            "tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
        }
        if self.immutable and self.exclusions:
            parameters |= mutability(self.exclusions)
        return parameters


def mutability(filters: Sequence[str]) -> dict[str, Any]:
    """Return the arguments that make a repository immutable, except for the tags of some filters."""
    return {
        "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": [
            {"filterType": "WILDCARD", "filter": pattern} for pattern in filters
        ],
    }


def make_room(filters: Sequence[str], tag: str, repository: str) -> tuple[str, ...]:
    """Add a tag to a repository's exclusion filters; if there are too many, drop the oldest plain ones.

    Raises:
        ConfigurationError: There are already too many wildcard filters.
    """
    wanted = [*filters, tag]
    while len(wanted) > MAX_FILTERS:
        plain = [each for each in wanted[:-1] if "*" not in each]
        if not plain:
            raise ConfigurationError(
                f"{repository} has {MAX_FILTERS} wildcard filters of moving tags, and none left for {tag!r}",
                hint="remove one of them from the repository",
            )
        wanted.remove(plain[0])
    return tuple(wanted)
