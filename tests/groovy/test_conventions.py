"""What holds for every step of the library: its help, its shell scripts, its arguments, its Groovy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest

from jenkins_release.cli.main import cli
from jenkins_release.version import __version__
from tests.groovy.jenkins import ROOT, VARS, Jenkins, Job

STEPS = sorted(VARS.glob("*.groovy"))
WHOLE = [path for path in STEPS if path.stem.endswith("Pipeline")]
"""Steps that are a whole pipeline."""
INTERNAL = [path for path in STEPS if path.stem.startswith("jenkinsRelease")]
PUBLIC = [path for path in STEPS if path not in INTERNAL]
VERBS = [path for path in PUBLIC if path not in WHOLE]
"""Steps that are one verb of the command line."""
PIPELINES = [ROOT / "Jenkinsfile", *sorted((ROOT / "jobs").glob("*.Jenkinsfile"))]
# Steps that take a body: the closure is not kept, it is the body.
BODIES = {"withEnv", "withCredentials", "dir", "lock"}
# Sections and directives of a declarative pipeline: Jenkins takes them apart, nothing is kept.
SECTIONS = {
    *("pipeline", "agent", "options", "parameters", "stages", "stage", "steps", "script", "when"),
    *("expression", "input", "post", "always"),
}


_ACTION = re.compile(r"^        (\w+): (\[(?:'--.*')?\]),$", re.MULTILINE)
"""An action of a step and the options that go with it."""


def names(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


@pytest.fixture(params=STEPS, ids=names(STEPS))
def facts(request: pytest.FixtureRequest, jenkins: Jenkins) -> Any:
    """The syntax tree of each step in turn."""
    return jenkins.facts(request.param)


def called(step: str, arguments: str) -> str:
    """A call of a step, with a body where it takes one."""
    source = (VARS / f"{step}.groovy").read_text()
    return f"{step}({arguments})" + (" { }" if "Closure" in source else "")


def accepted(jenkins: Jenkins, job: Job, step: str) -> list[str]:
    """The arguments that a step says it accepts."""
    failure = jenkins.run(job, f"node('x') {{ {called(step, 'noSuchArgument: 1')} }}").failed()
    told = re.search(r"noSuchArgument: there is no such argument; accepted are (.*)", failure)
    assert told is not None, failure
    return told[1].split(", ")


def documented(text: str) -> list[str]:
    """The arguments with a bullet of their own."""
    return re.findall(r"^- (\w+): \S", text, flags=re.MULTILINE)


@pytest.mark.parametrize("path", PUBLIC, ids=names(PUBLIC))
def test_every_argument_has_its_bullet_and_no_other_has(jenkins: Jenkins, empty_job: Job, path: Path):
    """The help names the arguments that the step accepts, in the same order."""
    text = path.with_suffix(".txt").read_text()
    assert documented(text) == accepted(jenkins, empty_job, path.stem)
    assert text.index("\n\n") == text.index("\n"), "the first line is the summary"
    assert re.search(rf"^Example:\n    {path.stem}[ (]", text, flags=re.MULTILINE)


@pytest.mark.parametrize("path", PUBLIC, ids=names(PUBLIC))
def test_the_help_names_every_kind_of_credentials(jenkins: Jenkins, empty_job: Job, path: Path):
    """And no other kind."""
    call = "node('x') { " + called(path.stem, "credentials: [none: 'x']") + " }"
    told = re.search(r"no such kind; accepted are (.*)", jenkins.run(empty_job, call).failed())
    assert told is not None
    bullet = re.search(r"^- credentials: (.*)", path.with_suffix(".txt").read_text(), flags=re.MULTILINE)
    assert bullet is not None
    assert re.findall(r"\b(\w+) \(", bullet[1]) == told[1].split(", ")


@pytest.mark.parametrize("path", INTERNAL, ids=names(INTERNAL))
def test_an_internal_step_says_that_it_is_internal(path: Path):
    """People read the help in Jenkins, not the source."""
    assert path.with_suffix(".txt").read_text().startswith("Internal: ")


def test_every_step_has_help_and_every_help_a_step():
    """Jenkins lists the help on its page of global variables."""
    assert names(STEPS) == sorted(path.stem for path in VARS.glob("*.txt"))


def test_shell_scripts_are_constants_in_single_quotes(facts: Any):
    """Groovy interpolates nothing into a shell script."""
    for script in facts["shells"]:
        assert script["constant"], script["text"]
        assert script["quote"] == "'"


@pytest.mark.parametrize("path", PIPELINES, ids=[path.name for path in PIPELINES])
def test_the_pipelines_keep_the_same_rule(path: Path):
    """The reference pipelines are what others copy."""
    text = path.read_text()
    assert re.findall(r"\bsh\b(?! '[^'$]*')", text) == []
    assert not re.search(r"[\"'][^\"'\n]*\$\{?\w*(password|secret|passphrase)", text, flags=re.IGNORECASE)


def test_shell_scripts_do_not_trace(facts: Any):
    """Without a first line of its own a script runs under sh -xe, which shows values."""
    for script in facts["shells"]:
        assert script["text"].startswith("#!/bin/sh\nset -eu +x\n")


def test_a_step_keeps_no_state(facts: Any):
    """Scripts of vars are singletons: no field, and nothing outside of a method."""
    assert facts["fields"] == []
    assert facts["loose"] == 0


def test_a_step_holds_only_what_survives_a_restart(facts: Any):
    """No Matcher, no GString, and no closure but the body of a step."""
    for method in facts["methods"]:
        assert method["matchers"] == 0, method["name"]
        assert method["interpolated"] == [], method["name"]
        assert set(method["closuresTo"]) <= BODIES | SECTIONS, method["name"]


def test_pure_functions_call_only_pure_functions(facts: Any):
    """A step or a transformed method inside @NonCPS does not run as written."""
    pure = {method["name"] for method in facts["methods"] if method["nonCps"]}
    for method in facts["methods"]:
        if method["nonCps"]:
            assert set(method["calls"]) <= pure, method["name"]


@pytest.mark.parametrize("path", VERBS, ids=names(VERBS))
def test_the_command_line_has_every_verb_and_option(path: Path):
    """A step cannot ask for what the program does not know."""
    text = path.read_text()
    verb = re.search(r"verb: \['(\w+)', (?:'([\w-]+)'|given\.action)\]", text)
    assert verb is not None
    group = cli.get_command(click.Context(cli), verb[1])
    assert isinstance(group, click.Group)
    used = set(re.findall(r"'(--[\w-]+)':", text))
    # A step with an action names, for each one, the options that go with it.
    actions = {name: set(re.findall(r"'(--[\w-]+)'", line)) for name, line in _ACTION.findall(text)}
    wanted = {verb[2]: used} if verb[2] else {name: more | {"--config"} for name, more in actions.items()}
    assert wanted
    assert set().union(*wanted.values()) == used
    for name, options in wanted.items():
        command = group.commands[name]
        known = {option for parameter in command.params for option in parameter.opts}
        assert options | {"--result"} <= known, name
        if "'key'" in text:
            assert "--key" in known
        if verb[2]:
            operands = [each for each in command.params if isinstance(each, click.Argument)]
            assert len(operands) == ("operands:" in text)


def test_the_library_asks_for_its_own_version(jenkins: Jenkins, empty_job: Job):
    """A tag of the repository holds steps and program of one version."""
    assert jenkins.run(empty_job, "jenkinsReleaseCli.version()").ok() == __version__
    for path in PIPELINES:
        assert f"@Library('jenkins-release@v{__version__}') _" in path.read_text()
