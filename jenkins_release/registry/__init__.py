"""The registry that customers pull from: Amazon ECR.

What calls ECR is imported on first use: speaking about its images does not need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jenkins_release.base.lazy_imports import imported_on_use
from jenkins_release.records.registry_image import StoredImage
from jenkins_release.records.scan import Scan
from jenkins_release.registry.protocol import (
    Registry,
    RegistryLogin,
    Repository,
    RepositoryNotFound,
    TagConflict,
)
from jenkins_release.registry.settings import RepositorySettings

if TYPE_CHECKING:
    from jenkins_release.registry.ecr import EcrRegistry

__all__ = [
    "EcrRegistry",
    "Registry",
    "RegistryLogin",
    "Repository",
    "RepositoryNotFound",
    "RepositorySettings",
    "Scan",
    "StoredImage",
    "TagConflict",
]

__getattr__ = imported_on_use(__name__, {"EcrRegistry": "ecr"})
