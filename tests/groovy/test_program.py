"""How the program gets onto the agent: preinstalled, or a virtual environment beside the workspace."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import pydantic
import pytest

from jenkins_release.version import __version__
from tests.groovy.agent import build_wheel, write_program
from tests.groovy.jenkins import VARS, Jenkins, Job

EXPORT = "node('docker') { exportCandidate version: '8.1.0', credentials: [smb: 'share'] }"
PASSWORD = "correct horse battery staple"
NO_CONFIGURATION = "configuration: there is no configuration file release.toml"


@pytest.fixture
def bare_job(empty_job: Job, tmp_path: Path) -> Job:
    """An agent with Python and a wheel: no program, no package index, the wheel's requirements at hand."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nenv >>'{tmp_path}/seen'\nexec '{sys.executable}' \"$@\"\n")
    python.chmod(0o755)
    wheel = build_wheel(tmp_path / "wheels")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return dataclasses.replace(
        empty_job,
        environment={
            **empty_job.environment,
            "JENKINS_RELEASE_PYTHON": str(python),
            "JENKINS_RELEASE_REQUIREMENT": f"{wheel.as_uri()}#sha256={digest}",
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            # pip and venv run isolated and do not see it; the program does.
            "PYTHONPATH": str(Path(pydantic.__file__).parents[1]),
        },
        credentials={"share": {"kind": "usernamePassword", "username": "release", "password": PASSWORD}},
    )


def with_variables(job: Job, **variables: str) -> Job:
    return dataclasses.replace(job, environment={**job.environment, **variables})


def scratch(job: Job) -> Path:
    return Path(f"{job.workspace}@tmp", "jenkins-release")


def test_two_branches_at_once_install_it_once(jenkins: Jenkins, bare_job: Job, tmp_path: Path):
    """One installs while the other waits; a half-made environment and another version do not count."""
    write_program(tmp_path / "old", "#!/bin/sh\necho 'jenkins-release, version 0.0.9'\n")
    job = with_variables(bare_job, PATH=f"{tmp_path}/old:/usr/bin:/bin")
    requirement = job.environment["JENKINS_RELEASE_REQUIREMENT"].encode()
    checksum = subprocess.run(["cksum"], input=requirement, capture_output=True, check=True).stdout.split()[0]
    half_made = scratch(job) / f"{__version__}-{checksum.decode()}"
    write_program(half_made / "bin", f"#!/bin/sh\necho 'jenkins-release, version {__version__}'\n")

    specification = job.specification(EXPORT)
    outcomes = jenkins.together(specification, specification)
    assert [outcome.failed().splitlines()[0] for outcome in outcomes] == [NO_CONFIGURATION] * 2
    log = "".join(outcome.console for outcome in outcomes)
    assert log.count("jenkins-release: installing ") == 1
    assert (half_made / ".complete").exists()
    later = jenkins.run(job, EXPORT)
    assert later.failed().splitlines()[0] == NO_CONFIGURATION
    assert "installing" not in later.console
    assert PASSWORD not in (tmp_path / "seen").read_text(), "pip saw a credential"


def test_what_cannot_be_installed_is_not_used(jenkins: Jenkins, bare_job: Job, tmp_path: Path):
    """A requirement that pip does not find, and one of another version than the library's."""
    missing = f"jenkins-release=={__version__}"
    newer = str(build_wheel(tmp_path / "newer", "9.9.9"))
    jobs = [with_variables(bare_job, JENKINS_RELEASE_REQUIREMENT=wanted) for wanted in (missing, newer)]
    unfound, wrong = jenkins.together(*(job.specification(EXPORT) for job in jobs))
    told = f": jenkins-release {__version__} is not on this agent and cannot be installed\nhint: "
    assert unfound.failed().startswith(f"remote{told}")
    assert "pip cannot install what JENKINS_RELEASE_REQUIREMENT names" in unfound.console
    assert wrong.failed().startswith(f"configuration{told}")
    assert f"JENKINS_RELEASE_REQUIREMENT does not name version {__version__}" in wrong.console
    assert list(scratch(bare_job).glob("*/.complete")) == []
    assert not any("withCredentials" in call for call in unfound.calls + wrong.calls)


def test_nothing_is_installed_that_nobody_chose(jenkins: Jenkins, empty_job: Job):
    """A program of the same name on a public index is not taken for this one."""
    outcome = jenkins.run(empty_job, EXPORT)
    assert outcome.failed().startswith("configuration: ")
    assert (
        f"version {__version__} is not on PATH, and JENKINS_RELEASE_REQUIREMENT is not set" in outcome.console
    )


def test_an_agent_without_python_is_told(jenkins: Jenkins, empty_job: Job):
    """The log names the interpreter and the variable that chooses another."""
    job = with_variables(
        empty_job, JENKINS_RELEASE_PYTHON="/opt/python3.9/bin/python", JENKINS_RELEASE_REQUIREMENT="x"
    )
    outcome = jenkins.run(job, EXPORT)
    assert outcome.failed().startswith("configuration: ")
    told = "/opt/python3.9/bin/python is not Python 3.11 or newer with venv; set JENKINS_RELEASE_PYTHON"
    assert told in outcome.console


@pytest.mark.parametrize(
    ("death", "status"), [("kill -9 $$", 137), ("exit 0", 0)], ids=["killed", "silent success"]
)
def test_a_program_that_leaves_no_result_fails_the_build(
    jenkins: Jenkins, empty_job: Job, tmp_path: Path, death: str, status: int
):
    """A killed program is never taken for a success, and neither is one that says nothing."""
    programs = tmp_path / "programs"
    version = f"echo 'jenkins-release, version {__version__}'"
    write_program(programs, f'#!/bin/sh\n[ "$1" != --version ] || {{ {version}; exit; }}\n{death}\n')
    job = with_variables(empty_job, PATH=f"{programs}:/usr/bin:/bin")
    failure = jenkins.run(job, "node('docker') { exportCandidate version: '8.1.0' }").failed()
    told = f"bug: jenkins-release candidate export ended with status {status} and left no result"
    assert failure.splitlines()[0] == told


def test_the_scripts_pass_shellcheck(jenkins: Jenkins, tmp_path: Path):
    """Both are POSIX sh."""
    scripts = jenkins.facts(VARS / "jenkinsReleaseCli.groovy")["shells"]
    assert len(scripts) == 2
    for number, script in enumerate(scripts):
        path = tmp_path / f"{number}.sh"
        path.write_text(script["text"])
        done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
