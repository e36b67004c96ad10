"""Doctor: whether a machine has all that it needs, in the order in which a release needs it. Changes nothing.

On a share, it tries its rights in a folder that it removes again: see :mod:`jenkins_release.share.rights`.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable

from jenkins_release.base.checks import Check, Examination, Found, Status, failed, shown_by
from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import (
    BY_CATEGORY,
    Category,
    ConfigurationError,
    ReleaseError,
)
from jenkins_release.base.version import PROGRAM
from jenkins_release.base.waits import Limits
from jenkins_release.config import Configuration
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.doctor.docker import examine_docker
from jenkins_release.steps.doctor.elsewhere import examine_elsewhere
from jenkins_release.steps.doctor.jenkins import examine_jenkins
from jenkins_release.steps.doctor.keys import examine_keys
from jenkins_release.steps.doctor.machines import MACHINES, Machine
from jenkins_release.steps.doctor.registry import examine_registry
from jenkins_release.steps.doctor.share import examine_release_area, examine_share

CHECK_S = 30.0
"""Longest time of a check, in seconds."""
ANSWER_S = 10.0
"""Longest wait for one answer, in seconds."""
_USER = re.compile(r"((?<=://)|(?<=ssh ))[^/?#\s\"'<>\\@]*@")
"""A user in a URL or after ``ssh``, with a password or without: a token may stand there."""


@dataclass(frozen=True)
class MachineRequest:
    """What to look at.

    Attributes:
        machine: What is done on this machine.
    """

    machine: Machine = "all"


@dataclass(frozen=True)
class MachineReport:
    """Whether a machine has what it needs.

    Attributes:
        machine: What is done on it.
        checks: All checks, in the order in which a release needs them.
    """

    machine: Machine
    checks: tuple[Check, ...]

    def count(self, status: Status) -> int:
        """Return how many checks ended so."""
        return sum(check.status is status for check in self.checks)

    def problem(self) -> ReleaseError | None:
        """Return the failure of the first check that failed, None if there is none."""
        bad = [check for check in self.checks if not check.good]
        if not bad:
            return None
        kind = BY_CATEGORY.get(bad[0].category or Category.BUG, ReleaseError)
        return kind(
            f"{len(bad)} of {len(self.checks)} checks failed: {', '.join(check.name for check in bad)}",
            hint=bad[0].hint,
            reasons=[f"{check.name}: {check.said}" for check in bad],
        )


class _Quick(Services):
    """Services that do not try long: people wait for the answer."""

    @property
    def limits(self) -> Limits:
        """How long a call may take."""
        section = self.configuration.network
        return Limits(section.answer_s, section.least_rate)


def examine_machine(request: MachineRequest, services: Services) -> MachineReport:
    """Look at everything that a machine needs.

    Args:
        request: What is done on the machine.
        services: Configuration, environment, clock. They are not used otherwise: the checks have shorter
            limits than a release.
    """
    needs = MACHINES[request.machine]
    examination = Examination(CHECK_S)
    with _Quick(
        _hurried(services.configuration),
        environ=services.environ,
        now=services.now,
        sleep=services.sleep,
        pin_file=services.pin_file,
    ) as quick:
        examination.check("program", _program)
        examination.check("configuration", lambda: _configuration(quick.configuration))
        examine_share(examination, quick)
        if needs.releases:
            examine_release_area(examination, quick)
        if needs.docker:
            examine_docker(examination, quick, only_to_push=needs.docker == "push")
        if needs.registry:
            examine_registry(examination, quick, push=needs.registry == "push")
        if needs.jenkins:
            examine_jenkins(examination, quick)
        examine_keys(examination, quick, needs.roles, everywhere=needs.elsewhere)
        if needs.elsewhere:
            examine_elsewhere(examination, quick)
    redact = _redaction(services)
    return MachineReport(request.machine, tuple(shown_by(check, redact) for check in examination.checks))


def unreadable_configuration(request: MachineRequest, error: ConfigurationError) -> MachineReport:
    """Return the report of a machine whose configuration cannot be read: nothing else was looked at."""
    examination = Examination(CHECK_S)
    examination.check("program", _program)
    found = [*examination.checks, failed("configuration", error)]
    rest = Check("everything else", Status.SKIPPED, "not checked: needs configuration", needs="configuration")
    return MachineReport(request.machine, (*found, rest))


def _program() -> Found:
    return Found(f"{PROGRAM}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")


def _configuration(configuration: Configuration) -> Found:
    parts = {"image": len(configuration.images), "installer": len(configuration.installers)}
    told = [f"{count} {noun}{'' if count == 1 else 's'}" for noun, count in parts.items() if count]
    return Found(f"{configuration.product.name} with {' and '.join(told)}")


def _hurried(configuration: Configuration) -> Configuration:
    """Return a configuration with short waits, and without retries."""
    network, share, jenkins = configuration.network, configuration.share, configuration.jenkins
    return configuration.model_copy(
        update={
            "network": network.model_copy(update={"answer_s": min(ANSWER_S, network.answer_s)}),
            "share": share.model_copy(update={"timeout_s": min(ANSWER_S, share.timeout_s)}),
            "jenkins": jenkins.model_copy(update={"timeout_s": min(ANSWER_S, jenkins.timeout_s)}),
            "retry": configuration.retry.model_copy(update={"attempts": 1, "deadline_s": ANSWER_S}),
        }
    )


def _redaction(services: Services) -> Callable[[str], str]:
    secrets = services.redaction
    return lambda text: _USER.sub("", secrets(text))
