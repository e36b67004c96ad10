"""The registry that customers pull from: Amazon ECR."""

from jenkins_release.registry.ecr import EcrRegistry
from jenkins_release.registry.protocol import (
    Registry,
    RegistryLogin,
    Repository,
    RepositoryNotFound,
    Scan,
    StoredImage,
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
