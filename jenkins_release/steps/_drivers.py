"""The driver of the strategy that the configuration names."""

from __future__ import annotations

from jenkins_release.steps._stack_driver import Driver, saas_section
from jenkins_release.steps.services import Services
from jenkins_release.steps.watcher import StackWatcher


def open_driver(services: Services, watcher: StackWatcher) -> Driver:
    """Return the driver of the configured strategy."""
    if saas_section(services).strategy == "ecs":
        from jenkins_release.steps._ecs_stack import EcsStack

        return EcsStack(services, watcher)
    from jenkins_release.steps._ssm_stack import SsmStack

    return SsmStack(services, watcher)
