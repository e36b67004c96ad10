"""How a repository is created where the registry has none yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jenkins_release.errors import ConfigurationError

MAX_FILTERS = 5
"""Exclusion filters of one repository (ECR API, ``ImageTagMutabilityExclusionFilters``)."""


@dataclass(frozen=True)
class RepositorySettings:
    """Properties of a repository that :meth:`EcrRegistry.create_repository` creates.

    Encryption cannot be changed once the repository exists (ECR user guide, "Encryption at rest").

    Attributes:
        immutable: Whether a tag that is set can never be moved.
        exclusions: Wildcard filters of tags that may be moved nevertheless, such as ``latest*``.
        scan_on_push: Whether ECR scans each image for vulnerabilities as it arrives.
        encryption: ``AES256``, ``KMS`` or ``KMS_DSSE``; empty: ``KMS`` with a key, ``AES256`` without.
        kms_key: ARN, id or alias of the KMS key; with ``KMS`` and no key ECR takes AWS's managed one.
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
                f"{len(self.exclusions)} exclusions of tags are given, ECR takes at most {MAX_FILTERS}",
                hint="use wildcards: one filter 'latest*' covers several tags",
            )
        if self.kms_key and self.encryption == "AES256":
            raise ConfigurationError(
                "a KMS key is given, but the repositories' encryption is AES256",
                hint="set the encryption to KMS, or leave out the key",
            )

    def parameters(self) -> dict[str, Any]:
        """Return the arguments of ``CreateRepository`` besides the name."""
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
            parameters["imageTagMutability"] = "IMMUTABLE_WITH_EXCLUSION"
            parameters["imageTagMutabilityExclusionFilters"] = [
                {"filterType": "WILDCARD", "filter": pattern} for pattern in self.exclusions
            ]
        return parameters
