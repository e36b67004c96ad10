"""A machine with a ``release.toml``, and what the doctor says about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from jenkins_release.config import load_configuration
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.doctor.machine import MachineReport, MachineRequest, examine_machine
from jenkins_release.steps.doctor.machines import Machine
from tests.fixtures.command import Commands
from tests.fixtures.configuration import release_toml


@dataclass
class Told:
    """What the doctor said.

    Attributes:
        status: Exit status.
        result: The JSON result.
    """

    status: int
    result: dict[str, Any]

    def __getitem__(self, name: str) -> dict[str, str]:
        found = [check for check in self.result["checks"] if check["name"] == name]
        assert len(found) == 1, (name, self.result)
        return found[0]  # type: ignore[no-any-return]

    def ended(self, name: str, status: str, *told: str) -> None:
        """Check how one check ended, and that it said all of this."""
        check = self[name]
        assert check["status"] == status, self.result
        for text in told:
            assert text in f"{check['said']} {check['hint']}", check

    def named(self, *statuses: str) -> set[str]:
        """Return the names of the checks that ended so."""
        return {check["name"] for check in self.result["checks"] if check["status"] in statuses}


@dataclass
class Desk(Commands):
    """A machine on which the share is all that matters.

    Attributes:
        folder: Where ``release.toml`` is.
        more: The rest of the environment.
    """

    folder: Path
    more: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def environ(self) -> dict[str, str]:
        """The environment, which names the configuration."""
        return {
            "JENKINS_RELEASE_CONFIG": str(self.config),
            "DOCKER_HOST": "unix:///nowhere.sock",  # not the machine's own
            **self.more,
        }

    def of(self, share: object, *more: str, releases: object = "") -> Desk:
        """Write ``release.toml`` for a share."""
        self.config.write_text(release_toml(str(share), *more, releases=str(releases)))
        return self


def told(who: Commands, *words: str, **changes: str) -> Told:
    """Ask the doctor, as JSON."""
    done = who.run("doctor", *words, "--json", **changes)
    assert "Traceback" not in done.text, done.text
    return Told(done.status, done.json)


def examined(who: Commands, machine: Machine = "all", *, late: timedelta | None = None) -> MachineReport:
    """Ask the doctor from Python, on a machine whose clock is ``late``."""
    services = Services(load_configuration(environ=who.environ), environ=who.environ)
    if late is not None:
        real = services.now
        services.now = lambda: real() - late
    return examine_machine(MachineRequest(machine), services)
