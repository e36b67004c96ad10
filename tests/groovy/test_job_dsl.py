"""``jobs show``: the text for Job DSL means what ``jobs apply`` writes, whatever a description holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jenkins_release.jenkins.job_dsl import casc, job_dsl
from jenkins_release.jenkins.job_xml import FOLDER, PIPELINE, Item, Source, new_config, read_item
from jenkins_release.jenkins.model import Parameter, ParameterKind
from tests.fixtures.jenkins import Desk
from tests.groovy.jenkins import Jenkins
from tests.jenkins.test_job_kinds import EVERY_KIND

_KINDS: dict[str, ParameterKind] = {
    "stringParam": "string",
    "textParam": "text",
    "booleanParam": "boolean",
    "choiceParam": "choice",
}
# Beginnings of what Groovy, YAML and Configuration as Code take for more than text.
_ODD = st.sampled_from(
    [
        *("'", '"', "'''", "$", "${HOME}", "^${HOME}", "\\", "\\u0041", "\\\\u0041", "\n", "\t", "\r"),
        *(
            "*/",
            "/*",
            "//",
            "#",
            "- ",
            ": ",
            "|",
            "{",
            "}",
            "end",
            "\u2028",
            "\u0085",
            "\u00e9",
            "\U0001f600",
        ),
        *("\x01", "\x7f"),
    ]
)
_TEXT = st.lists(
    _ODD | st.characters(exclude_categories=["Cs"]).filter(lambda c: c != "\0"), max_size=12
).map("".join)
_PARAMETERS = st.lists(
    st.one_of(
        st.builds(Parameter, _TEXT, st.sampled_from(["string", "text"]), _TEXT, description=_TEXT),
        st.builds(
            Parameter, _TEXT, st.just("boolean"), st.sampled_from(["true", "false"]), description=_TEXT
        ),
        st.builds(
            Parameter,
            _TEXT,
            st.just("choice"),
            st.none(),
            st.lists(_TEXT, min_size=1, max_size=3).map(tuple),
            _TEXT,
        ),
    ),
    max_size=3,
).map(tuple)
_ITEMS = st.dictionaries(
    _TEXT.filter(bool),
    st.one_of(
        st.builds(Item, st.just(FOLDER), _TEXT),
        st.builds(Item, st.just(PIPELINE), _TEXT, _PARAMETERS, st.builds(Source, _TEXT, _TEXT, _TEXT, _TEXT)),
    ),
    min_size=1,
    max_size=3,
)


def within(calls: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    """The calls in nested blocks."""
    for name in names:
        calls = [inner for call in calls if call["name"] == name for inner in call["calls"]]
    return calls


def value(calls: list[dict[str, Any]], name: str) -> str:
    return next((str(call["values"][0]) for call in calls if call["name"] == name), "")


def defined(calls: list[dict[str, Any]]) -> Iterator[tuple[str, Item]]:
    """The items that the calls of a script define."""
    for call in calls:
        inner = call["calls"]
        description = value(inner, "description")
        if call["name"] == "folder":
            yield call["values"][0], Item(FOLDER, description)
            continue
        scm = within(inner, "definition", "cpsScm")
        git = within(scm, "scm", "git")
        assert [each["name"] for each in git] == ["remote", "branch", "extensions"]
        source = Source(
            value(within(git, "remote"), "url"),
            value(within(git, "remote"), "credentials"),
            value(git, "branch").removeprefix("*/"),
            value(scm, "scriptPath"),
        )
        parameters = tuple(map(parameter, within(inner, "parameters")))
        yield call["values"][0], Item(PIPELINE, description, parameters, source)


def parameter(call: dict[str, Any]) -> Parameter:
    kind = _KINDS[call["name"]]
    name, given_value, description = call["values"]
    if kind == "choice":
        return Parameter(name, kind, None, tuple(given_value), description)
    default = json.dumps(given_value) if kind == "boolean" else given_value
    return Parameter(name, kind, default, description=description)


@given(_ITEMS)
@settings(max_examples=150, deadline=None)
def test_whatever_is_in_a_text_arrives_unchanged(jenkins: Jenkins, items: dict[str, Item]):
    """Quotes, dollars, backslashes, line breaks: nothing ends a string, and nothing is replaced."""
    text = job_dsl(items)
    assert dict(defined(jenkins.job_dsl(text))) == items
    assert text.isascii()
    assert "$" not in text
    assert yaml.safe_load(casc(items)) == {"jobs": [{"script": text}]}


@pytest.fixture
def desk_of_all(empty_desk: Desk) -> Desk:
    """A ``release.toml`` with a job of every kind, and a description that tries to break out."""
    empty_desk.append(EVERY_KIND)
    empty_desk.edit('git_url = "https://git.nextlabs.com/skydrm.git"', 'git_url = "https://git/it\'s.git"')
    empty_desk.edit("[jenkins]", '[jenkins]\ngit_login = "git-${reader}"')
    return empty_desk


def test_the_three_formats_say_the_same(jenkins: Jenkins, desk_of_all: Desk):
    """From one table: the seed job would make what `jobs apply` writes. No controller is asked."""
    script = desk_of_all.ok("jobs", "show", "--format", "job-dsl")
    config = {
        each["path"]: read_item(each["path"], each["text"])
        for each in desk_of_all.ok("jobs", "show", "--format", "xml")["items"]
    }
    assert dict(defined(jenkins.job_dsl(script["text"]))) == config
    assert len(config) == 14
    assert yaml.safe_load(desk_of_all.ok("jobs", "show", "--format", "jcasc")["text"]) == {
        "jobs": [{"script": script["text"]}]
    }
    assert desk_of_all.double.requests == []
    desk_of_all.ok("jobs", "apply")
    made = desk_of_all.double.controller.items
    assert {path: read_item(path, item.config) for path, item in made.items()} == config


def test_one_item_can_be_shown_alone(desk_of_all: Desk):
    """As it goes to another program: the text, the whole text and nothing but the text."""
    shown = desk_of_all.run("jobs", "show", "SkyDRM/release/promote", "--format", "xml")
    assert shown.out == desk_of_all.ok("jobs", "show", "SkyDRM/release/promote", "--format", "xml")["text"]
    assert read_item("x", shown.out).kind == PIPELINE
    done = desk_of_all.run("jobs", "show", "SkyDRM/promote")
    assert done.status == 2
    assert "SkyDRM/promote is neither a folder nor a job of release.toml" in done.err


def test_a_token_in_the_repository_is_not_shown(desk_of_all: Desk):
    """Results hide it, and a hidden one would be a definition that does not work."""
    desk_of_all.edit("https://git/it's.git", "https://ghp_abcdef@git/it.git")
    done = desk_of_all.run("jobs", "show")
    assert done.status == 2
    assert "jenkins.git_url names a user, who may be a token" in done.err
    assert "ghp_abcdef" not in done.text
    desk_of_all.edit("https://ghp_abcdef@git/it.git", "ssh://git@git/it.git")
    assert "url('ssh://git@git/it.git')" in desk_of_all.run("jobs", "show").out


def test_a_definition_is_valid_xml_too(desk_of_all: Desk):
    """`--format xml` is what `jobs apply` would create."""
    for each in desk_of_all.ok("jobs", "show", "--format", "xml")["items"]:
        item = read_item(each["path"], each["text"])
        assert new_config(item) == each["text"]


@pytest.mark.parametrize(
    "script",
    ["folder('a') { descripton('x') }", "pipelineJob('a') { parameters { stringParam('A', true, 'x') } }"],
)
def test_a_method_that_the_plugin_does_not_have_is_found(jenkins: Jenkins, script: str):
    """The stub would otherwise prove nothing."""
    assert jenkins.job_dsl(script)["error"].startswith("No signature of method")
