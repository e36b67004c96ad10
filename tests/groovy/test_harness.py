"""The harness itself notices what Jenkins would do and what the steps must not do."""

from __future__ import annotations

import dataclasses

import pytest

from tests.groovy.jenkins import Jenkins, Job

SECRET = "tr0ub4dor&3"
BIND = "withCredentials([string(credentialsId: 'token', variable: 'TOKEN')])"


@pytest.fixture
def job(empty_job: Job) -> Job:
    """A job with one secret."""
    return dataclasses.replace(empty_job, credentials={"token": {"kind": "string", "secret": SECRET}})


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ("sh 'echo $TOKEN'", ["console"]),
        ("sh '#!/bin/sh\\ntest $TOKEN'", []),
        ("sh 'test $TOKEN'", ["console"]),
        ('sh "#!/bin/sh\\n: ${TOKEN}"', ["scripts"]),
        ("sh '#!/bin/sh\\nprintf %s $TOKEN | base64'", ["console"]),
        ("error TOKEN", ["calls", "console", "failure"]),
        ("return env.TOKEN", ["answer"]),
    ],
)
def test_a_secret_is_seen_wherever_it_shows(jenkins: Jenkins, job: Job, body: str, places: list[str]):
    """Also traced by sh -x, and in base64, which Jenkins' masking misses."""
    outcome = jenkins.run(job, f"node('x') {{ {BIND} {{ {body} }} }}")
    assert outcome.leaks == places, outcome.story()


def test_with_env_expands_variables(jenkins: Jenkins, job: Job):
    """As EnvStep does, which is why arguments do not cross in it."""
    script = """node('x') { withEnv(['A=$PATH ${PATH} $$PATH $NONE', 'HOME=']) {
        sh(returnStdout: true, script: 'echo $A; echo ${HOME-unset}')
    } }"""
    path = job.environment["PATH"]
    assert jenkins.run(job, script).ok() == f"{path} {path} $PATH $NONE\nunset\n"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("noSuchStep 'x'", "No such DSL method 'noSuchStep'"),
        ("echo mesage: 'x'", "echo: unknown parameters [mesage]"),
        ("sh 'true'", "Required context class hudson.FilePath is missing"),
        ("node('x') { sh 'exit 3' }", "script returned exit code 3"),
        ("pipeline { agent none\n stages { stage('A') { step { } } } }", 'Undefined section "step"'),
        ("pipeline { stages { } }", 'Missing required section "agent"'),
        (
            """pipeline { agent none
            stages { stage('A') { steps { error 'x' } }
                     stage('B') { steps { echo 'B' } } } }""",
            "x",
        ),
        ("new Object()", "java.lang.Object"),
    ],
)
def test_wrong_pipelines_fail(jenkins: Jenkins, job: Job, script: str, told: str):
    """Unknown steps, parameters and sections, steps without a node, values that no restart survives."""
    outcome = jenkins.run(job, script)
    assert outcome.status == "FAILURE"
    assert told in outcome.failure
    assert "stage(name: 'B')" not in outcome.calls


def test_a_stash_brings_back_what_was_stashed(jenkins: Jenkins, job: Job):
    """The bytes of then, on another node; a name that was never stashed and a missing file fail."""
    script = """node('x') {
        writeFile file: 'plan', text: 'as it was'
        stash name: 'kept', includes: 'plan'
        writeFile file: 'plan', text: 'changed'
    }
    node('y') { unstash 'kept'; return readFile('plan') }"""
    assert jenkins.run(job, script).ok() == "as it was"
    assert jenkins.run(job, "node('x') { unstash 'kept' }").failed() == "No such saved stash \u2018kept\u2019"
    missing = jenkins.run(job, "node('x') { stash name: 'kept', includes: 'none' }")
    assert missing.failed() == "No files included in stash 'kept'"


def test_a_step_returns_what_jenkins_returns(jenkins: Jenkins, job: Job):
    """Status, output and files."""
    script = """node('x') {
        writeFile file: 'a/b', text: 'é'
        dir('a') { assert readFile('b') == 'é' && fileExists('b') && !fileExists('c') }
        return [sh(returnStatus: true, script: 'exit 7'), sh(returnStdout: true, script: 'printf abc'),
                env.WORKSPACE]
    }"""
    assert jenkins.run(job, script).ok() == [7, "abc", str(job.workspace)]


@pytest.mark.parametrize(
    ("step", "status", "ran"),
    [
        ("echo 'x'", "SUCCESS", ["always", "success", "cleanup"]),
        ("unstable 'x'", "UNSTABLE", ["always", "unstable", "unsuccessful", "cleanup"]),
        ("currentBuild.result = 'UNSTABLE'", "UNSTABLE", ["always", "unstable", "unsuccessful", "cleanup"]),
        ("error 'x'", "FAILURE", ["always", "failure", "unsuccessful", "cleanup"]),
        ("input 'x'", "ABORTED", ["always", "aborted", "unsuccessful", "cleanup"]),
    ],
)
def test_post_conditions_run_in_their_own_order(
    jenkins: Jenkins, job: Job, step: str, status: str, ran: list[str]
):
    """Whatever the script's; those that do not apply to the result do not run."""
    conditions = ["cleanup", "unsuccessful", "unstable", "success", "failure", "aborted", "always"]
    post = "\n".join(f"{each} {{ echo 'post {each}' }}" for each in conditions)
    stages = f"stages {{ stage('A') {{ steps {{ script {{ {step} }} }} }} }}"
    script = f"pipeline {{ agent none\n{stages}\npost {{ {post} }} }}"
    outcome = jenkins.run(job, script)
    assert outcome.status == status, outcome.story()
    assert [line[5:] for line in outcome.console.splitlines() if line.startswith("post ")] == ran


def test_a_result_gets_no_better_and_a_name_is_kept(jenkins: Jenkins, job: Job):
    """As RunWrapper has it: no result before something set one."""
    script = """def first = [currentBuild.displayName, currentBuild.result, currentBuild.currentResult]
    currentBuild.displayName = 'a'
    currentBuild.keepLog = true
    unstable 'x'
    currentBuild.result = 'SUCCESS'
    return first + [currentBuild.result]"""
    outcome = jenkins.run(job, script)
    assert outcome.unstable() == ["#42", None, "SUCCESS", "UNSTABLE"]
    assert (outcome.name, outcome.kept) == ("a", True)


def test_several_patterns_are_archived(jenkins: Jenkins, job: Job):
    """A folder is everything in it; a pattern that finds nothing does not fail beside one that does."""
    script = """node('x') { for (name in ['a/b/c', 'a/d', 'e.css']) { writeFile file: name, text: name }
        archiveArtifacts artifacts: 'a/, *.css, none' }"""
    assert set(jenkins.run(job, script).artifacts) == {"a/b/c", "a/d", "e.css"}
    none = jenkins.run(job, "node('x') { archiveArtifacts artifacts: 'none, *.txt' }")
    assert none.failed().startswith("No artifacts found")


def test_the_sandbox_does_not_tell_why_a_build_was_interrupted(jenkins: Jenkins, job: Job):
    """A global library may ask."""
    script = "try { input 'x' } catch (failure) { return failure.causes[0].user.id }"
    refused = jenkins.run(job, script, sandboxed=True)
    assert "Scripts not permitted to use" in refused.failure
    assert jenkins.run(job, script, sandboxed=True, trusted=True).ok() == "alice"
