"""Fixtures of the shared library's tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from jenkins_release.sandbox.sample_images import SERVICES
from tests.fixtures.release import Product
from tests.groovy import agent
from tests.groovy.jenkins import Jenkins, Job


@pytest.fixture(scope="session")
def jenkins() -> Iterator[Jenkins]:
    """One JVM for all tests: starting it takes longer than most of them."""
    controller = Jenkins()
    yield controller
    controller.close()


@pytest.fixture
def empty_job(tmp_path: Path) -> Job:
    """A job on an agent that has nothing."""
    return Job(tmp_path / "job", {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})


@dataclass(frozen=True)
class SkyDrm:
    """SkyDRM's job with a preinstalled program, and the arguments that the program got."""

    job: Job
    product: Product
    log: Path

    @property
    def arguments(self) -> list[str]:
        """Every argument of the program so far."""
        return agent.arguments(self.log)

    def as_build(self, number: str) -> SkyDrm:
        """The same with another build of the job."""
        return replace(self, job=replace(self.job, build=number))

    def add_stack(self) -> None:
        """Let there be a SaaS stack with one service, in the cloud and in the repository."""
        product = self.product
        section = product.sandbox.add_saas(["rms"], cluster=product.prefix)
        with (product.folder.parent / "sources" / "release.toml").open("a") as file:
            file.write(section)


@pytest.fixture
def image_names() -> tuple[str, ...]:
    """All images of the demo: its build makes them."""
    return SERVICES


@pytest.fixture
def skydrm(product: Product, tmp_path: Path, warm_program: Path) -> SkyDrm:
    """SkyDRM in a workspace with a name that a careless script breaks on."""
    product.edit("approvals = 0\n", "")  # the default: one
    log = tmp_path / "arguments"
    agent.install_program(tmp_path / "programs", log, warm_program)
    return SkyDrm(agent.job(product, tmp_path / "it's a job @2", tmp_path / "programs"), product, log)


@pytest.fixture
def promoting(skydrm: SkyDrm, validated: Product) -> SkyDrm:
    """A job that promotes a candidate which QA signed off."""
    return skydrm.as_build("7")
