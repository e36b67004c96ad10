"""AWS as the steps see it: a part of :class:`jenkins_release.steps.context.services.Services`."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from jenkins_release.base.tags import moving_filters
from jenkins_release.base.waits import Limits
from jenkins_release.config import Configuration

if TYPE_CHECKING:
    from jenkins_release.aws.iam import IamAccount
    from jenkins_release.aws.secrets import SecretStore
    from jenkins_release.registry.protocol import BlobStore, Registry


class AwsServices:
    """The registry that customers pull from, and the account that owns it; opened on first use."""

    configuration: Configuration

    @property
    def limits(self) -> Limits:
        """How long a call of the registry, of AWS or of the portal's storage may take."""
        section = self.configuration.network
        return Limits(section.answer_s, section.least_rate, "network.answer_s")

    @cached_property
    def registry(self) -> Registry:
        """Amazon ECR."""
        from jenkins_release.registry import EcrRegistry, RepositorySettings

        section = self.configuration.ecr
        settings = RepositorySettings(
            immutable=section.immutable,
            exclusions=moving_filters(section.moving_tags, section.tags),
            scan_on_push=section.scan_on_push,
            kms_key=section.kms_key,
            tags=section.repository_tags,
        )
        return EcrRegistry(
            section.region,
            account=section.account,
            platform=self.configuration.export.platform,
            create=settings,
            limits=self.limits,
        )

    @cached_property
    def blobs(self) -> BlobStore:
        """The registry's blobs and manifests, for a promotion without a Docker daemon."""
        from jenkins_release.registry.transport import Transport
        from jenkins_release.registry.uploads import RegistryUploads

        return RegistryUploads(Transport(lambda: self.registry.login(), limits=self.limits))

    @cached_property
    def iam(self) -> IamAccount:
        """IAM of the account that owns the registry."""
        from jenkins_release.aws.iam import IamAccount

        section = self.configuration.ecr
        return IamAccount(section.region, section.account, limits=self.limits)

    @cached_property
    def secret_store(self) -> SecretStore:
        """AWS Secrets Manager in the registry's region."""
        from jenkins_release.aws.secrets import SecretStore

        return SecretStore(self.configuration.ecr.region, limits=self.limits)
