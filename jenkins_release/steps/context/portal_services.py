"""The download portal as the steps see it: a part of :class:`jenkins_release.steps.context.services.Services`."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.config import Configuration

if TYPE_CHECKING:
    from jenkins_release.aws.s3 import BucketSettings
    from jenkins_release.base.waits import Limits
    from jenkins_release.config.ledger import LedgerSection
    from jenkins_release.config.portal import PortalSection
    from jenkins_release.portal import Portal
    from jenkins_release.share.factory import ClosableShare


class PortalServices:
    """The portal that customers download from, opened on first use."""

    configuration: Configuration

    if TYPE_CHECKING:

        def _open_share(self, location: str) -> ClosableShare: ...
        def holder(self) -> str: ...
        @property
        def limits(self) -> Limits: ...

    def bucket_settings(self, section: LedgerSection | PortalSection) -> BucketSettings:
        """Return how the bucket that a section names is used."""
        return {
            "default_region": self.configuration.ecr.region,
            "encryption": section.encryption,
            "kms_key": section.kms_key,
            "limits": self.limits,
        }

    @cached_property
    def portal(self) -> Portal:
        """The portal. Raises ConfigurationError where none is configured."""
        section = self.configuration.portal
        if section.kind == "share":
            from jenkins_release.portal import SharePortal

            return SharePortal(self._open_share(section.location), self.holder())
        if section.kind == "s3":
            from jenkins_release.portal import S3Portal

            return S3Portal(
                section.bucket,
                section.region,
                prefix=section.prefix,
                cache_control=section.caching,
                part_size=section.part_size_mib * 1024 * 1024,
                workers=section.workers,
                **self.bucket_settings(section),
            )
        raise ConfigurationError(
            "there is no download portal",
            hint='set portal.kind to "s3" or "share"; docs/portal.md tells more',
        )
