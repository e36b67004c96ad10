"""The stage of the matrix, one for each worker, and where its results go."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from jenkins_release.sandbox.dockerd import DockerDaemon
from tests.docs.pages import ROOT
from tests.faults.catalogue import Fault
from tests.faults.commands import Command
from tests.faults.matrix import Result, play, write
from tests.faults.stage import Stage
from tests.fixtures.cross import ALL

RESULTS = ROOT / "build" / "faults"


@pytest.fixture(scope="session")
def stage(
    tmp_path_factory: pytest.TempPathFactory, docker_daemon: DockerDaemon, warm_python: str
) -> Iterator[Stage]:
    """Servers behind wires, with products before and after their first release."""
    made = Stage(tmp_path_factory.mktemp("faults"), docker_daemon.base_url, warm_python)
    yield made
    made.close()


@pytest.fixture
def cell(stage: Stage) -> Cell:
    """Play a cell, and check that it holds."""
    return Cell(stage)


class Cell:
    """Plays cells on a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def holds(self, fault: Fault, command: Command, *, number: str = "", twice: bool = False) -> Result:
        """Play a cell, keep its result where all are played, and check that it holds."""
        for _ in range(5):
            result = play(self._stage, fault, command, number=number, twice=twice)
            if not number or result.status != 6:
                break
            # The server has not noticed yet that the process of the cell before has gone.
            time.sleep(1)
        if ALL:
            write(result, RESULTS)
        assert not result.problems, result
        return result


def chosen(cells: list[tuple[Fault, Command]], some: set[tuple[str, str]]) -> pytest.MarkDecorator:
    """Parametrize a test with the cells that are played in every test run, or with all of them."""
    known = {(fault.ident, command.name) for fault, command in cells}
    assert some <= known, some - known
    return pytest.mark.parametrize(
        ("fault", "command"),
        [
            pytest.param(fault, command, id=f"{fault.ident}/{command.name}")
            for fault, command in cells
            if ALL or (fault.ident, command.name) in some
        ],
    )
