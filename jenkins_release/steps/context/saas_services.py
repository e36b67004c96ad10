"""The SaaS stack as the steps see it: a part of :class:`jenkins_release.steps.context.services.Services`."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from jenkins_release.config import Configuration

if TYPE_CHECKING:
    from jenkins_release.aws.ecs import EcsCluster
    from jenkins_release.aws.ssm import RunCommand
    from jenkins_release.base.waits import Limits
    from jenkins_release.http.probe import Prober


class SaasServices:
    """What runs the stack, and who asks whether it is well; opened on first use."""

    configuration: Configuration

    if TYPE_CHECKING:

        @property
        def limits(self) -> Limits: ...

    @property
    def saas_region(self) -> str:
        """The region of the stack: ``saas.region``, or that of the registry."""
        return self.configuration.saas.region or self.configuration.ecr.region

    @cached_property
    def ecs(self) -> EcsCluster:
        """The cluster of the stack."""
        from jenkins_release.aws.ecs import Ecs

        return Ecs(self.saas_region, self.configuration.saas.cluster, limits=self.limits)

    @cached_property
    def run_command(self) -> RunCommand:
        """Run Command in the region of the stack."""
        from jenkins_release.aws.ssm import Ssm

        return Ssm(self.saas_region, limits=self.limits)

    @cached_property
    def prober(self) -> Prober:
        """Asks the health checks' URLs."""
        from jenkins_release.http.probe import HttpProber

        return HttpProber()
