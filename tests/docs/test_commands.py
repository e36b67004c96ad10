"""Every command line that a page quotes is one that the program takes."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

import jenkins_release
from jenkins_release.base.errors import EXIT_STATUS
from jenkins_release.cli.main import cli
from jenkins_release.cli.runtime import Runtime
from tests.docs.pages import ROOT, fences, inline_code, name, pages, read, table

README = ROOT / "README.md"
PROGRAM = "jenkins-release"
_END = re.compile(r"\s(?:\|\|?|&&|;|>|<|2>)\s.*|[;)]\s*$|\)\"$")
_EXAMPLES = sorted((ROOT / "examples").rglob("*.toml"))


def _commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    found = {}
    for first in cli.list_commands(context):
        command = cli.get_command(context, first)
        assert command is not None
        found[first] = command
    return found


COMMANDS = _commands()


def _lines(text: str) -> Iterator[str]:
    """Yield the command lines in a shell block or in a console's output."""
    for line in text.replace("\\\n", " ").splitlines():
        _, program, rest = line.partition(f"{PROGRAM} ")
        before = line[: line.index(program)].strip() if program else "no"
        if program and (not before or before == "$" or before.endswith(("$(", "&&", "||", "|"))):
            yield _END.sub("", rest)


def _parse(line: str, *, complete: bool) -> None:
    """Check one command line against the click tree.

    Args:
        line: What stands after the program's name.
        complete: Whether required options and arguments have to be there.

    Raises:
        click.UsageError: The program would not take it.
    """
    words = shlex.split(line)
    if words and words[0] in {"--help", "-h", "--version"}:
        return
    command = COMMANDS.get(words[0]) if words else None
    if command is None:
        raise click.UsageError(f"no command {words[:1]}")
    given = words[1:]
    if not given or given[0] in {"--help", "-h"}:
        return
    if isinstance(command, click.Group):
        verb = command.commands.get(given[0])
        if verb is None:
            raise click.UsageError(f"no verb {given[0]}")
        command, given = verb, given[1:]
    context = click.Context(command, obj=Runtime({}))
    values, left, _ = command.make_parser(context).parse_args(list(given))
    if left:
        raise click.UsageError(f"{left} is too much")
    for parameter in command.params:
        value = values.get(str(parameter.name))
        if not isinstance(value, str | bool | list | tuple) or value == ():
            if complete and parameter.required:
                raise click.UsageError(f"{parameter.name} is missing")
            continue
        if not isinstance(parameter.type, click.Path):  # the files of an example need not be here
            parameter.type_cast_value(context, value)


@pytest.mark.parametrize("page", pages(), ids=name)
def test_command_lines_in_blocks_are_taken_as_they_stand(page: Path):
    """Groups, verbs, options and values; required ones are there."""
    for fence in fences(page):
        if fence.language in {"sh", "text", ""}:
            for line in _lines(fence.text):
                _parse(line, complete=fence.language == "sh" or "--" not in line)


@pytest.mark.parametrize("page", [*pages(), *_EXAMPLES], ids=name)
def test_commands_in_the_text_exist(page: Path):
    """`jenkins-release candidate list` as well as `candidate list`."""
    for code in inline_code(page):
        line = code.removeprefix(f"{PROGRAM} ")
        first, _, rest = line.partition(" ")
        if line != code or (first in COMMANDS and re.match(r"[a-z]|--", rest)):
            _parse(line.replace("VERSION/BUILD", "8.1.0/42"), complete=False)


def test_a_wrong_command_line_is_noticed():
    """The check can fail."""
    for line in (
        "candidate exprot",
        "promote run",
        "promote run 8.1.0/42 --force",
        "promote run 8.1.0/42 43",
        "qa sign-off 8.1.0/42 --tester Q --verdict maybe",
        "customer issue",
        "verify --bundle bundle.jsonl 8.1.0",
        "release withdraw 8.1.0",
    ):
        with pytest.raises(click.UsageError):
            _parse(line, complete=True)


def test_the_readme_lists_every_command():
    """Groups and verbs in the table are those of the program, in its order; `verify` has no verbs."""
    rows = {
        cells[0].strip("`"): set(re.findall(r"`([\w-]+)`", cells[1]))
        for cells in table(README, "group", "verbs")
    }
    assert list(rows) == list(COMMANDS)
    verbs = {
        first: set(command.commands) if isinstance(command, click.Group) else set()
        for first, command in COMMANDS.items()
    }
    assert rows == verbs


@pytest.mark.parametrize("page", ["README.md", "docs/pipeline-author.md"])
def test_exit_statuses_on_the_page_are_those_of_the_program(page: str):
    """Number and category of each, and 0."""
    rows = {cells[1].strip("`"): int(cells[0]) for cells in table(ROOT / page, "status", "category")}
    assert rows == {"": 0} | {str(category): status for category, status in EXIT_STATUS.items()}


def test_the_python_api_on_the_page_is_the_packages():
    """Every verb that the package exports is in the table, with a request and a report that exist."""
    page = ROOT / "docs" / "pipeline-author.md"
    rows = table(page, "verb", "takes", "returns")
    verbs = {cells[0].strip("`") for cells in rows}
    exported = {n for n in jenkins_release.__all__ if n.islower() and not n.startswith("_")}
    assert verbs == exported - {"load_configuration"}
    named = {n for cells in rows for cell in cells[1:] for n in re.findall(r"`([A-Z]\w+)`", cell)}
    assert named <= set(jenkins_release.__all__)
    assert all(hasattr(jenkins_release, n) for n in jenkins_release.__all__)


def _leaves(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for each in command.list_commands(context := click.Context(command)):
            found = command.get_command(context, each)
            assert found is not None
            yield from _leaves(found, f"{path} {each}".strip())
    else:
        yield path, command


def _called(command: click.Command) -> set[str]:
    """Return what a command imports from the steps, itself or through functions of its module."""
    assert command.callback is not None
    callback = inspect.unwrap(command.callback)
    body = ast.parse(Path(inspect.getfile(callback)).read_text()).body
    functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
    todo, seen, found = [callback.__name__], set(), set()
    while todo:
        each = todo.pop()
        if each in seen or each not in functions:
            continue
        seen.add(each)
        for node in ast.walk(functions[each]):
            if isinstance(node, ast.Name):
                todo.append(node.id)
            elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("jenkins_release.steps."):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _is_verb(path: str) -> bool:
    """Whether it is a function that takes services, and nothing that only steps can make."""
    module, _, each = path.rpartition(".")
    thing = getattr(import_module(module), each)
    if not inspect.isfunction(thing):
        return False
    annotations = inspect.get_annotations(thing)
    return "services" in annotations and "OpenCandidate" not in str(annotations)


@pytest.mark.parametrize(
    ("path", "command"), [*_leaves(cli)], ids=lambda value: str(getattr(value, "name", value))
)
def test_what_a_command_does_is_in_the_python_api(path: str, command: click.Command):
    """Its verb, and every request and report that it builds or shows; keys and sandbox use no steps."""
    called = _called(command)
    shown = {each.rpartition(".")[2] for each in called}
    assert {each.rpartition(".")[2] for each in called if _is_verb(each)} <= set(jenkins_release.__all__)
    assert {each for each in shown if each.endswith(("Request", "Report"))} <= set(jenkins_release.__all__)
    if path.split()[0] not in {"keys", "sandbox"}:
        assert {each for each in shown if each.islower()} & set(jenkins_release.__all__), called


def test_the_targets_of_make_are_the_ones_described():
    """CONTRIBUTING.md's table and the Makefile's help."""
    rows = {cells[0].strip("`") for cells in table(ROOT / "CONTRIBUTING.md", "target", "what it does")}
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert rows == set(targets) - {"help"}


def test_the_rights_for_a_first_release_are_those_of_the_policy():
    """The page names the actions of docs/devops.md, no more and no less."""
    first_use = read(ROOT / "docs" / "first-use.md").partition("9. Promote.")[2].partition("<!--")[0]
    policy = next(f.text for f in fences(ROOT / "docs" / "devops.md") if f.mark == "promoter-policy")
    assert set(re.findall(r"ecr:[A-Z]\w+", first_use)) == set(re.findall(r"ecr:[A-Z]\w+", policy))
