"""Every example that a page marks is run as it stands there."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from jenkins_release.rules.customers.iam_policy import PullScope, pull_policy
from jenkins_release.sandbox.demo.outsider import MODULES
from jenkins_release.sandbox.sample_images import SERVICES
from jenkins_release.sandbox.stack import Sandbox
from tests.docs import scenarios
from tests.docs.pages import ROOT, fences, marked, name, pages
from tests.fixtures.attached import NODE_MODULES
from tests.fixtures.command import run

README = ROOT / "README.md"
FIRST_USE = ROOT / "docs" / "first-use.md"
_RUN = {"sh", "python"}
_OWN = {"demo", "rehearsal", "first-use", "platforms-settings", "domain"}
_POLICIES = {"promoter-policy", "portal-policy", "customer-policy", "refresher-ecs", "refresher-ssm"}
_FOUND = sorted({(page, fence.mark) for page in pages() for fence in fences(page) if fence.mark})
_OF_A_PRODUCT = [(page, mark) for page, mark in _FOUND if mark in scenarios.OF_A_PRODUCT]


@pytest.fixture
def image_names() -> tuple[str, ...]:
    """All images of the demo: the pages show them."""
    return SERVICES


def test_every_mark_names_a_scenario():
    """A block with a mistyped mark would silently not run."""
    known = {*scenarios.OF_A_PRODUCT, *_OWN, *_POLICIES}
    assert {(name(page), mark) for page, mark in _FOUND if mark not in known} == set()


@pytest.mark.root
@pytest.mark.usefixtures("small_demo", "warm_commands")
def test_the_demo_prints_what_the_readme_shows(tmp_path: Path):
    """What `make demo` runs, with smaller images; a Docker daemon of the machine is left alone.

    With ``--json``, a program reads stdout, and a person follows the same story, but for its last line, on
    stderr.
    """
    result = tmp_path / "result.json"
    environ = scenarios.bare(tmp_path).environ | {MODULES: str(NODE_MODULES)}
    done = run("sandbox", "demo", "--json", "--result", str(result), environ=environ)
    assert done.status == 0, done.err
    document = json.loads(done.out)
    assert list(document) == ["steps"]
    *story, last = marked(README, "demo")[0].text.splitlines()
    scenarios.compare(story, done.err)
    assert last == f"{document['steps']} steps, all as expected."
    commands = [line for line in done.err.splitlines() if line.startswith("$ ")]
    # Not every step is a command.
    assert document["steps"] >= len(commands) > 5
    assert result.read_text() == done.out


@pytest.mark.root
def test_the_rehearsal_runs_as_the_readme_tells(tmp_path: Path, warm_program: Path):
    """A new user's first steps, with a sandbox of their own that is gone afterwards."""
    place = scenarios.bare(tmp_path)
    try:
        scenarios.run(README, "rehearsal", place, warm_program)
        assert not (tmp_path / ".sandbox").exists()
    finally:
        Sandbox(tmp_path / ".sandbox", environ=place.environ).remove()


def test_the_first_release_runs_as_its_page_tells(
    tmp_path: Path, sandbox: Sandbox, images_42: list[str], warm_program: Path
):
    """The same lines against the sandbox's share and ECR, with the rights that docs/devops.md grants."""
    scenarios.run(FIRST_USE, "first-use", scenarios.first_use(tmp_path, sandbox), warm_program)


@pytest.mark.parametrize(("page", "mark"), _OF_A_PRODUCT, ids=lambda value: getattr(value, "stem", value))
def test_the_examples_of_a_page_run(
    page: Path, mark: str, request: pytest.FixtureRequest, warm_program: Path
):
    """Shell and Python end with status 0 and print the lines that the page shows."""
    fixture, scenario = scenarios.OF_A_PRODUCT[mark]
    scenarios.run(page, mark, scenario(request.getfixturevalue(fixture)), warm_program)


def test_outcomes_are_compared_in_their_order():
    """The comparison finds a line that is missing, changed or out of order."""
    scenarios.compare(["one ... three", "four"], "zero\none  two three\nfour\n")
    for lines in (["five"], ["four", "one ... three"], ["one"]):
        with pytest.raises(AssertionError, match="is not printed"):
            scenarios.compare(lines, "one two three\nfour\n")


def test_the_documented_policy_of_a_customer_is_the_generated_one():
    """No wider than what `customer issue` writes, and with an end."""
    documented = json.loads(marked(ROOT / "docs" / "devops.md", "customer-policy")[0].text)
    scope = PullScope("eu-central-1", "123456789012", ("skydrm/rms", "skydrm/viewer"))
    assert documented == pull_policy(scope, expires=date(2027, 11, 30))
