"""Chooses the driver of the configured strategy."""

from __future__ import annotations

from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.watcher import StackWatcher
from jenkins_release.steps.saas.driver import Driver, saas_section


def open_driver(services: Services, watcher: StackWatcher) -> Driver:
    """Return the driver of the configured strategy."""
    if saas_section(services).strategy == "ecs":
        from jenkins_release.steps.saas.ecs_stack import EcsStack

        return EcsStack(services, watcher)
    from jenkins_release.steps.saas.ssm_stack import SsmStack

    return SsmStack(services, watcher)
