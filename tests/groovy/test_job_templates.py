"""What ``jobs apply`` writes into a job is what the job's pipeline declares."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from jenkins_release.jenkins.model import Parameter
from jenkins_release.jenkins.templates import TEMPLATES
from tests.groovy.jenkins import ROOT, VARS, Jenkins

PIPELINES = sorted(VARS.glob("*Pipeline.groovy"))
_KINDS = {"string": "string", "text": "text", "booleanParam": "boolean", "choice": "choice"}


def kind_of(path: Path) -> str:
    """The kind of job of a pipeline: customerAccessPipeline is that of customer-access."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", path.stem.removesuffix("Pipeline")).lower()


def declared(found: list[dict[str, Any]]) -> tuple[Parameter, ...]:
    """The parameters of a ``parameters`` section, as Jenkins puts them into the job."""
    return tuple(
        Parameter(
            each["name"],
            _KINDS[each["kind"]],  # type: ignore[arg-type]
            None
            if each["kind"] == "choice"
            else each.get("defaultValue", "false" if each["kind"] == "booleanParam" else ""),
            tuple(each.get("choices", ())),
            each["description"],
        )
        for each in found
    )


@pytest.mark.parametrize("path", PIPELINES, ids=[path.stem for path in PIPELINES])
def test_the_template_has_the_parameters_of_the_pipeline(jenkins: Jenkins, path: Path):
    """Names, kinds, defaults, choices and words, in the same order: a run changes nothing in the job."""
    found = declared(jenkins.facts(path)["parameters"])
    template = TEMPLATES[kind_of(path)]
    assert found == (template.parameters or ())


def test_a_parameter_that_differs_is_found(jenkins: Jenkins, tmp_path: Path):
    """In its name, its kind, its default or its words."""
    text = (VARS / "promotePipeline.groovy").read_text()
    sample = tmp_path / "sample.groovy"
    for old, new in {
        "'TICKET'": "'ISSUE'",
        "booleanParam": "string",
        "defaultValue: false": "defaultValue: true",
        "'Plan only'": "'Only plan'",
    }.items():
        assert old in text
        sample.write_text(text.replace(old, new, 1))
        assert declared(jenkins.facts(sample)["parameters"]) != TEMPLATES["promote"].parameters


@pytest.mark.parametrize("path", PIPELINES, ids=[path.stem for path in PIPELINES])
def test_every_pipeline_has_a_script_that_calls_it(path: Path):
    """Where ``jobs apply`` looks for it by default; that of a candidate is the reference, spelled out."""
    template = TEMPLATES[kind_of(path)]
    text = (ROOT / template.script).read_text()
    assert (f"\n{path.stem}(" in text) == (template.kind != "candidate")
