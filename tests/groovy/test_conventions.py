"""What holds for every step of the library: its help, its shell scripts, its arguments, its Groovy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest

from jenkins_release.base.version import __version__
from jenkins_release.cli.main import cli
from tests.groovy.jenkins import ROOT, VARS, Jenkins, Job

STEPS = sorted(VARS.glob("*.groovy"))
WHOLE = [path for path in STEPS if path.stem.endswith("Pipeline")]
"""Steps that are a whole pipeline."""
INTERNAL = [path for path in STEPS if path.stem.startswith("jenkinsRelease")]
PUBLIC = [path for path in STEPS if path not in INTERNAL]
VERBS = [path for path in PUBLIC if path not in WHOLE]
"""Steps that are one verb of the command line."""
PIPELINES = [ROOT / "Jenkinsfile", *sorted((ROOT / "jobs").glob("*.Jenkinsfile"))]


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


def help_problems(step: str, text: str, arguments: list[str], kinds: list[str]) -> list[str]:
    """What is wrong with the help of a public step that accepts these arguments and kinds of credentials."""
    found = []
    if documented(text) != arguments:
        found.append(f"describes {documented(text)}, accepted are {arguments}")
    if text.index("\n\n") != text.index("\n"):
        found.append("the first line is no summary")
    if not re.search(rf"^Example:\n    {step}[ (]", text, flags=re.MULTILINE):
        found.append("has no example")
    bullet = re.search(r"^- credentials: (.*)", text, flags=re.MULTILINE)
    named = re.findall(r"\b(\w+) \(", bullet[1]) if bullet else []
    if named != kinds:
        found.append(f"names the credentials {named}, accepted are {kinds}")
    return found


@pytest.mark.parametrize("path", PUBLIC, ids=names(PUBLIC))
def test_the_help_names_what_the_step_accepts(jenkins: Jenkins, empty_job: Job, path: Path):
    """Every argument in the same order, every kind of credentials, and no other."""
    call = "node('x') { " + called(path.stem, "credentials: [none: 'x']") + " }"
    told = re.search(r"no such kind; accepted are (.*)", jenkins.run(empty_job, call).failed())
    assert told is not None
    arguments = accepted(jenkins, empty_job, path.stem)
    text = path.with_suffix(".txt").read_text()
    assert help_problems(path.stem, text, arguments, told[1].split(", ")) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("- build: ", "- number: ", "describes"),
        ("- dryRun: ", "  dryRun: ", "describes"),
        ("\n\nArguments:", "\nArguments:", "the first line is no summary"),
        ("    exportCandidate ", "    qaSignOff ", "has no example"),
        ("smb (", "aws (", "names the credentials"),
    ],
)
def test_a_help_that_is_wrong_is_found(old: str, new: str, told: str):
    """Another argument, a missing one, no summary, somebody else's example, another kind."""
    text = (VARS / "exportCandidate.txt").read_text()
    bullet = text.partition("- credentials: ")[2].partition("\n")[0]
    accepted = documented(text), re.findall(r"\b(\w+) \(", bullet)
    assert help_problems("exportCandidate", text, *accepted) == []
    (problem,) = help_problems("exportCandidate", text.replace(old, new, 1), *accepted)
    assert problem.startswith(told)


@pytest.mark.parametrize("path", INTERNAL, ids=names(INTERNAL))
def test_an_internal_step_says_that_it_is_internal(path: Path):
    """People read the help in Jenkins, not the source."""
    assert path.with_suffix(".txt").read_text().startswith("Internal: ")


def test_every_step_has_help_and_every_help_a_step():
    """Jenkins lists the help on its page of global variables."""
    assert names(STEPS) == sorted(path.stem for path in VARS.glob("*.txt"))


@pytest.mark.parametrize("path", INTERNAL, ids=names(INTERNAL))
def test_the_help_of_an_internal_step_names_its_arguments_too(jenkins: Jenkins, path: Path):
    """Those that are read of the request, those of the call in its order, or its methods."""
    facts = jenkins.facts(path)
    found = documented(path.with_suffix(".txt").read_text())
    if facts["signature"] == ["request"]:
        assert sorted(found) == sorted(facts["reads"]["request"])
    else:
        # One without a call is a set of methods.
        assert found == (facts["signature"] or facts["methods"])


def shell_problems(shells: list[Any]) -> list[str]:
    """What is wrong with calls of ``sh``: Groovy interpolates nothing, and the shell does not trace.

    Without a first line of its own a script runs under ``sh -xe``, which shows values.
    """
    found = []
    for script in shells:
        if not script["constant"] or script["quote"] != "'":
            found.append(f"interpolated: {script['text']}")
        elif not script["text"].startswith("#!/bin/sh\nset -eu +x\n"):
            found.append(f"traced: {script['text']}")
    return found


def test_shell_scripts_are_constants_that_do_not_trace(facts: Any):
    """In single quotes, with a first line of their own."""
    assert shell_problems(facts["shells"]) == []


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("""sh "#!/bin/sh\\nset -eu +x\\necho ${env.PASSWORD}\"""", "interpolated"),
        ("""sh(returnStatus: true, script: "#!/bin/sh\\nset -eu +x\\necho $x")""", "interpolated"),
        ("sh '#!/bin/sh\\nset -eu +x\\necho ' + env.PASSWORD", "interpolated"),
        ('sh "true"', "interpolated"),
        ("sh script: given.command", "interpolated"),
        ("sh 'echo $PASSWORD'", "traced"),
        ("sh '#!/bin/sh\\nset -eux\\ntrue'", "traced"),
    ],
)
def test_a_shell_script_that_is_wrong_is_found(jenkins: Jenkins, tmp_path: Path, call: str, told: str):
    """Whatever form the call has."""
    sample = tmp_path / "sample.groovy"
    sample.write_text(f"void call(Map given) {{\n    {call}\n}}\n")
    (problem,) = shell_problems(jenkins.facts(sample)["shells"])
    assert problem.startswith(told)


def quoting_problems(text: str) -> list[str]:
    """Calls of ``sh`` in a reference pipeline that are no plain constant, and strings with a secret."""
    return re.findall(r"\bsh\b(?! '[^'$]*').*", text) + [
        match[0]
        for match in re.finditer(
            r"[\"'][^\"'\n]*\$\{?[\w.]*(password|secret|passphrase|token)", text, flags=re.IGNORECASE
        )
    ]


@pytest.mark.parametrize("path", PIPELINES, ids=[path.name for path in PIPELINES])
def test_the_pipelines_keep_the_same_rules(jenkins: Jenkins, path: Path):
    """The reference pipelines are what others copy."""
    assert quoting_problems(path.read_text()) == []
    found = jenkins.facts(path)["findings"]
    # The body of a pipeline that is one step is a closure of its own.
    pipeline = re.search(r"^(\w+Pipeline)\(", path.read_text(), flags=re.MULTILINE)
    assert [each for each in found if not (pipeline and each["rule"] == "closure")] == []


@pytest.mark.parametrize(
    "line",
    ['sh "make $TARGET"', "sh 'echo $PASSWORD'", 'echo "it is ${env.PASSWORD}"', "sh script: command"],
)
def test_a_pipeline_that_breaks_them_is_found(line: str):
    """Values in a script, and a secret in a message."""
    assert quoting_problems(f"pipeline {{\n    {line}\n}}\n")


def test_a_step_runs_as_it_is_written(facts: Any):
    """No state, no closure out of place, nothing that no restart survives, no secret in Groovy's hands."""
    assert facts["findings"] == []
    assert facts["loose"] == 0


def verb_problems(text: str) -> list[str]:
    """What the source of a step asks the command line for that it does not know."""
    group, verbs = verbs_of(text)
    known = cli.get_command(click.Context(cli), group)
    if not isinstance(known, click.Group):
        return [f"there is no group {group}"]
    always = {"--config", "--result", *(["--key"] if "'key'" in text else [])}
    found, operands = [], False
    for verb, options in verbs.items():
        command = known.commands.get(verb)
        if command is None:
            found.append(f"there is no verb {group} {verb}")
            continue
        missing = (options | always) - {name for each in command.params for name in each.opts}
        found += [f"{group} {verb} has no option {name}" for name in sorted(missing)]
        operand = any(isinstance(each, click.Argument) for each in command.params)
        operands |= operand
        if operand and "operands:" not in text:
            found.append(f"{group} {verb} takes an operand")
    if "operands:" in text and not operands:
        found.append(f"{group} takes no operand")
    unused = set(re.findall(r"'(--[\w-]+)':", text)) - set().union(*verbs.values()) - {"--config"}
    return found + [f"no verb takes {name}" for name in sorted(unused)]


def verbs_of(text: str) -> tuple[str, dict[str, set[str]]]:
    """The group and the verbs that a step runs, each with its options.

    A step with an argument that chooses the verb has a Map of them: ``issue: ['--ticket', '--secret'],``.
    """
    verb = re.search(r"verb: \['(\w+)', (?:'([\w-]+)'|given\.\w+)\]", text)
    assert verb is not None, "the step names no verb"
    if verb[2]:
        return verb[1], {verb[2]: set(re.findall(r"'(--[\w-]+)':", text))}
    rows = re.findall(r"^ {8}(\w+): (\[(?:'--[^\]]*')?\]),$", text, re.MULTILINE)
    return verb[1], {name: set(re.findall(r"'(--[\w-]+)'", row)) for name, row in rows}


@pytest.mark.parametrize("path", VERBS, ids=names(VERBS))
def test_the_command_line_has_every_verb_and_option(path: Path):
    """A step cannot ask for what the program does not know."""
    assert verb_problems(path.read_text()) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("'qa', 'sign-off'", "'q', 'sign-off'", "there is no group q"),
        ("'qa', 'sign-off'", "'qa', 'sign'", "there is no verb qa sign"),
        ("'--note'", "'--remark'", "qa sign-off has no option --remark"),
        ("operands: ", "operand: ", "qa sign-off takes an operand"),
    ],
)
def test_a_verb_that_the_command_line_does_not_know_is_found(old: str, new: str, told: str):
    """Group, verb, option and operand."""
    text = (VARS / "qaSignOff.groovy").read_text()
    assert verb_problems(text) == []
    assert told in verb_problems(text.replace(old, new))


def test_of_a_step_with_several_verbs_each_is_looked_up():
    """With the options that the step says go with it."""
    step = """\
        verify: ['--public-key'],
        lost: [],
        list: ['--engine'],
    verb: ['candidate', given.action],
    operands: [],
    '--engine': given.engine, '--note': given.note,
"""
    assert verb_problems(step) == [
        "candidate verify has no option --public-key",
        "there is no verb candidate lost",
        "candidate list has no option --engine",
        "no verb takes --note",
    ]


def test_the_console_of_every_pipeline_is_kept_for_people():
    """A test with "whole_run" in its name runs it with the real program: see ``make groovy-logs``."""
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    kept = re.findall(r'^    keep_log\("(\w+)", ', tests, flags=re.MULTILINE)
    assert sorted(kept) == sorted([*names(WHOLE), "Jenkinsfile"])


def test_the_library_asks_for_its_own_version(jenkins: Jenkins, empty_job: Job):
    """A commit of the repository holds steps and program of one version; a tag could be moved."""
    assert jenkins.run(empty_job, "jenkinsReleaseCli.version()").ok() == __version__
    for path in PIPELINES:
        (pinned,) = re.findall(
            r"^(.*)\n@Library\('jenkins-release@(.*)'\) _$", path.read_text(), re.MULTILINE
        )
        assert f"v{__version__}" in pinned[0]
        assert re.fullmatch(r"[0-9a-f]{40}", pinned[1]), path
