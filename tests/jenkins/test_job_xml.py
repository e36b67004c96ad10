"""``config.xml``: what is managed in it is read and set, the rest stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jenkins_release.base.errors import RemoteError
from jenkins_release.jenkins.job_xml import PIPELINE, Item, Source, changed_config, new_config, read_item
from jenkins_release.jenkins.model import Parameter
from jenkins_release.jenkins.templates import PROMOTE, folder_item, job_item, managed_for
from tests.docs.pages import ROOT
from tests.fixtures.jenkins_double.items import parse

SOURCE = Source("https://git.nextlabs.com/skydrm.git", "git-reader", "main", "jobs/promote.Jenkinsfile")
ITEM = job_item(PROMOTE, "SkyDRM", SOURCE)
_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30).map(str.strip)


@given(_TEXT, _TEXT, st.lists(_TEXT.filter(bool), min_size=1, max_size=3))
def test_what_is_written_is_read_back(description: str, default: str, choices: list[str]):
    """Whatever characters it has."""
    parameters = (
        Parameter("A", "string", default, description=description),
        Parameter("B", "choice", None, tuple(choices)),
        Parameter("C", "boolean", "true"),
    )
    item = Item(PIPELINE, description, parameters, SOURCE)
    assert read_item("x", new_config(item)) == item
    assert read_item("x", changed_config("x", new_config(ITEM), item)) == item


def recorded_config() -> str:
    """The definition that a real controller stored after a declarative script had run."""
    for line in (ROOT / "tests/data/jenkins/recorded-config.json").read_text().splitlines():
        return str(json.loads(line))
    raise AssertionError


def test_a_definition_of_a_real_controller_is_read():
    """XML 1.1, versions of plugins, what Declarative notes down."""
    item = read_item("decl", recorded_config())
    assert [(each.name, each.kind, each.default, each.choices) for each in item.parameters] == [
        ("VERSION", "string", "0.0.1", ()),
        ("CHANNEL", "choice", None, ("stable", "beta")),
        ("DRY", "boolean", "false", ()),
    ]
    assert item.source is None
    assert item.other == "in the job itself (CpsFlowDefinition)"


def test_what_declarative_noted_down_survives_an_update():
    """Without it the next run would take its parameters for somebody else's."""
    changed = parse(changed_config("decl", recorded_config(), ITEM))
    notes = "actions/org.jenkinsci.plugins.pipeline.modeldefinition.actions.DeclarativeJobAction"
    assert changed.find(notes) is not None
    assert changed.findtext("definition/scriptPath") == "jobs/promote.Jenkinsfile"


def test_a_login_that_is_no_longer_used_is_removed():
    """An empty id would make git ask for one that does not exist."""
    item = job_item(PROMOTE, "SkyDRM", Source(SOURCE.url, "", "main", SOURCE.script))
    changed = changed_config("x", new_config(ITEM), item)
    assert "credentialsId" not in changed
    assert read_item("x", changed) == item


@pytest.mark.parametrize(
    "config",
    ["<flow-definition><oops", "", "<!DOCTYPE a [<!ENTITY b 'c'>]><flow-definition>&b;</flow-definition>"],
)
def test_a_definition_that_cannot_be_read_is_named(config: str):
    """And entities are never resolved."""
    with pytest.raises(RemoteError, match="the definition of a/b on the controller is not readable XML"):
        read_item("a/b", config)


def test_the_mark_says_for_which_product():
    """Nothing else counts as one."""
    assert managed_for(ITEM.description) == "SkyDRM"
    assert managed_for(folder_item("Other").description) == "Other"
    assert managed_for("not managed by jenkins-release for SkyDRM: x") is None


def test_a_default_of_an_unknown_kind_is_not_shown():
    """It may be a password, though an encrypted one."""
    config = (
        "<flow-definition><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>"
        "<hudson.model.PasswordParameterDefinition><name>P</name><defaultValue>{AQAAABAAAA}</defaultValue>"
        "</hudson.model.PasswordParameterDefinition></parameterDefinitions>"
        "</hudson.model.ParametersDefinitionProperty></properties></flow-definition>"
    )
    assert "AQAA" not in "\n".join(read_item("x", config).lines())
