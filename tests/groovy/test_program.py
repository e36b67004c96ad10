"""How the program gets onto the agent: preinstalled, or a virtual environment of hashed packages."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import pydantic
import pytest

from jenkins_release.base.version import __version__
from tests.groovy.agent import build_wheel, write_program, write_wheel
from tests.groovy.jenkins import VARS, Jenkins, Job

EXPORT = "node('docker') { exportCandidate version: '8.1.0', credentials: [smb: 'share'] }"
PASSWORD = "correct horse battery staple"
NO_CONFIGURATION = "configuration: there is no configuration file release.toml"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder that pip takes packages from, with the one that the wheel of the tests asks for."""
    folder = tmp_path / "packages"
    for name in ("needed", "tickets"):
        write_wheel(folder, name, "1.0", {f"{name}.py": b""})
    return folder


@pytest.fixture
def bare_job(empty_job: Job, packages: Path, tmp_path: Path) -> Job:
    """An agent with Python and a wheel: no program, no package index, what the wheel imports at hand."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nenv >>'{tmp_path}/seen'\nexec '{sys.executable}' \"$@\"\n")
    python.chmod(0o755)
    needed, tickets = (
        f"{name}==1.0 --hash=sha256:{sha256(next(packages.glob(f'{name}-*')))}\n"
        for name in ("needed", "tickets")
    )
    wheel = build_wheel(tmp_path / "wheels", locked=needed, kerberos=tickets)
    return dataclasses.replace(
        empty_job,
        environment={
            **empty_job.environment,
            "HOME": str(tmp_path / "home"),
            "JENKINS_RELEASE_PYTHON": str(python),
            "JENKINS_RELEASE_REQUIREMENT": f"{wheel.as_uri()}#sha256={sha256(wheel)}",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(packages),
            # pip and venv run isolated and do not see it; the program does.
            "PYTHONPATH": str(Path(pydantic.__file__).parents[1]),
        },
        credentials={"share": {"kind": "usernamePassword", "username": "release", "password": PASSWORD}},
    )


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def with_variables(job: Job, **variables: str) -> Job:
    return dataclasses.replace(job, environment={**job.environment, **variables})


def environments(job: Job) -> Path:
    """Where the virtual environments are: beside no workspace."""
    return Path(job.environment["HOME"], ".cache", "jenkins-release")


def test_two_branches_at_once_install_it_once(jenkins: Jenkins, bare_job: Job, tmp_path: Path):
    """One installs while the other waits; a half-made environment and another version do not count.

    Who wants Kerberos has an environment of its own.
    """
    write_program(tmp_path / "old", "#!/bin/sh\necho 'jenkins-release, version 0.0.9'\n")
    job = with_variables(bare_job, PATH=f"{tmp_path}/old:/usr/bin:/bin")
    requirement = job.environment["JENKINS_RELEASE_REQUIREMENT"].encode()
    half_made = environments(job) / f"{__version__}-{hashlib.sha256(requirement).hexdigest()}"
    write_program(half_made / "bin", f"#!/bin/sh\necho 'jenkins-release, version {__version__}'\n")

    specification = job.specification(EXPORT)
    with_kerberos = with_variables(job, JENKINS_RELEASE_KERBEROS="1").specification(EXPORT)
    *outcomes, kerberos = jenkins.together(specification, specification, with_kerberos)
    assert kerberos.failed().splitlines()[0] == NO_CONFIGURATION
    assert [outcome.failed().splitlines()[0] for outcome in outcomes] == [NO_CONFIGURATION] * 2
    log = "".join(outcome.console for outcome in outcomes)
    assert log.count("jenkins-release: installing ") == 1
    assert (half_made / ".complete").exists()
    later = jenkins.run(job, EXPORT)
    assert later.failed().splitlines()[0] == NO_CONFIGURATION
    assert "installing" not in later.console
    assert PASSWORD not in (tmp_path / "seen").read_text(), "pip saw a credential"
    assert list(half_made.glob("lib/*/site-packages/needed.py"))
    assert not list(half_made.glob("lib/*/site-packages/tickets.py"))
    assert list(half_made.parent.glob(f"{half_made.name}-kerberos/lib/*/site-packages/tickets.py"))
    assert not list(Path(f"{job.workspace}@tmp").rglob("site-packages"))


def test_what_cannot_be_installed_is_not_used(jenkins: Jenkins, bare_job: Job, tmp_path: Path):
    """A requirement that pip does not find, and one of another version than the library's."""
    missing = f"jenkins-release=={__version__} --hash=sha256:{'0' * 64}"
    wheel = build_wheel(tmp_path / "newer", "9.9.9", locked="")
    newer = f"{wheel} --hash=sha256:{sha256(wheel)}"
    jobs = [with_variables(bare_job, JENKINS_RELEASE_REQUIREMENT=wanted) for wanted in (missing, newer)]
    unfound, wrong = jenkins.together(*(job.specification(EXPORT) for job in jobs))
    told = f": jenkins-release {__version__} is not on this agent and cannot be installed\nhint: "
    assert unfound.failed().startswith(f"remote{told}")
    assert "pip cannot get what JENKINS_RELEASE_REQUIREMENT names" in unfound.console
    assert wrong.failed().startswith(f"configuration{told}")
    assert f"JENKINS_RELEASE_REQUIREMENT does not name version {__version__}" in wrong.console
    assert list(environments(bare_job).glob("*/.complete")) == []
    assert not any("withCredentials" in call for call in unfound.calls + wrong.calls)


def test_every_package_has_the_hash_that_was_chosen(
    jenkins: Jenkins, bare_job: Job, packages: Path, tmp_path: Path
):
    """Refused: a wheel without a hash, another wheel at its place, and another package that it needs."""
    wheel = next((tmp_path / "wheels").iterdir())
    chosen = bare_job.environment["JENKINS_RELEASE_REQUIREMENT"]
    without = jenkins.run(with_variables(bare_job, JENKINS_RELEASE_REQUIREMENT=str(wheel)), EXPORT)
    assert without.failed().startswith("remote: ")
    assert "Hashes are required in --require-hashes mode" in without.console
    assert "it takes a wheel with its --hash" in without.console

    write_wheel(packages, "needed", "1.0", {"needed.py": b"evil = True"})
    dependency = jenkins.run(bare_job, EXPORT)
    assert dependency.failed().startswith("remote: ")
    assert "DO NOT MATCH THE HASHES" in dependency.console
    assert f"pip cannot install the packages that version {__version__} needs" in dependency.console

    build_wheel(tmp_path / "wheels", locked="")
    replaced = jenkins.run(with_variables(bare_job, JENKINS_RELEASE_REQUIREMENT=chosen), EXPORT)
    assert replaced.failed().startswith("remote: ")
    assert "DO NOT MATCH THE HASHES" in replaced.console
    assert list(environments(bare_job).glob("*/.complete")) == []


def test_the_environment_is_nobody_elses(jenkins: Jenkins, bare_job: Job, tmp_path: Path):
    """Neither in the workspace nor in a folder that other users may write to."""
    inside = jenkins.run(with_variables(bare_job, JENKINS_RELEASE_HOME=f"{bare_job.workspace}/cache"), EXPORT)
    assert inside.failed().startswith("configuration: ")
    assert "is in the workspace; set JENKINS_RELEASE_HOME to a folder outside" in inside.console
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    open_to_all = jenkins.run(with_variables(bare_job, JENKINS_RELEASE_HOME=str(shared)), EXPORT)
    assert open_to_all.failed().startswith("configuration: ")
    assert f"{shared} belongs to another user, or others may write to it" in open_to_all.console
    assert list(shared.iterdir()) == []


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
