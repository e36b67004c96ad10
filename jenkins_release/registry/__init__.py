"""The registry that customers pull from: Amazon ECR."""

from jenkins_release.records.registry_image import StoredImage
from jenkins_release.records.scan import Scan
from jenkins_release.registry.ecr import EcrRegistry
from jenkins_release.registry.protocol import (
    Registry,
    RegistryLogin,
    Repository,
    RepositoryNotFound,
    TagConflict,
)
from jenkins_release.registry.settings import RepositorySettings

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
