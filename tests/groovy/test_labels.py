"""Which key is on which agents: read from the call stacks of whole runs, which other tests compare."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.groovy.jenkins import ROOT, Jenkins, Job

GOLDEN = Path(__file__).parent / "golden"
BUILDS = ("Jenkinsfile", "candidatePipeline")
RELEASES = ("promote.Jenkinsfile", "publish.Jenkinsfile")
BUILD_KEY = {"skydrm-build-key", "skydrm-build-passphrase"}
APPROVAL = {"skydrm-approval-key", "skydrm-approval-passphrase"}
PROMOTION = {"skydrm-promotion-key", "skydrm-promotion-passphrase", "skydrm-ecr-push"}


def bound(stack: str) -> dict[str, set[str]]:
    """Label of the agents to the ids of the credentials that are bound there."""
    found: dict[str, set[str]] = {}
    open_nodes: list[tuple[int, str]] = []
    for line in stack.splitlines():
        depth = len(line) - len(line.lstrip())
        open_nodes = [each for each in open_nodes if each[0] < depth]
        if match := re.match(r"\s*node\(label: '([^']*)'", line):
            open_nodes.append((depth, match[1]))
            found.setdefault(match[1], set())
        elif line.lstrip().startswith("withCredentials("):
            found[open_nodes[-1][1]] |= set(re.findall(r"credentialsId: '([^']*)'", line))
    return found


def golden(name: str) -> dict[str, set[str]]:
    return bound((GOLDEN / f"{name}.txt").read_text())


@pytest.mark.parametrize("name", RELEASES)
def test_the_approval_key_is_never_where_something_is_promoted(name: str):
    """Each stage has a label of its own, and only what it needs: one agent never holds both keys."""
    found = golden(name)
    assert found["release-plan"] == {"release-share", "skydrm-ecr-read"}
    assert found["release-approve"] == {"release-share", "skydrm-ecr-read", *APPROVAL}
    aws = "skydrm-ecr-push" if name.startswith("promote") else "skydrm-ecr-read"
    assert found["release-promote"] == {"release-share", aws, *(PROMOTION - {"skydrm-ecr-push"})}
    assert len(found) == 3


def test_nothing_that_releases_is_bound_where_products_are_built():
    """A product's build runs code of everybody who may push to it."""
    building = {label for name in BUILDS for label in golden(name)}
    assert building == {"docker"}
    for name in (path.stem for path in GOLDEN.glob("*Jenkinsfile.txt")):
        for label, ids in golden(name).items():
            assert label not in building or ids <= {"release-share", *BUILD_KEY}, name


def test_a_key_in_the_wrong_place_is_found():
    """The reader of stacks sees nested nodes and several bindings."""
    stack = (
        "    node(label: 'one')\n"
        "        withCredentials(bindings: [[credentialsId: 'a'], [credentialsId: 'b']])\n"
        "    node(label: 'two')\n"
        "        dir(path: 'x')\n"
        "            withCredentials(bindings: [[credentialsId: 'c']])\n"
    )
    assert bound(stack) == {"one": {"a", "b"}, "two": {"c"}}


@pytest.mark.parametrize("step", ["promotePipeline", "publishPipeline"])
@pytest.mark.parametrize(
    ("labels", "shared"),
    [
        ("approve: 'a', promote: 'a'", "a"),
        ("promote: 'release-approve'", "release-approve"),
        ("plan: 'b', approve: 'b'", "b"),
        ("plan: 'c', promote: 'c'", "c"),
    ],
)
def test_one_label_for_two_stages_is_refused(
    jenkins: Jenkins, empty_job: Job, step: str, labels: str, shared: str
):
    """Before any agent is taken."""
    outcome = jenkins.run(empty_job, f"{step}(product: 'SkyDRM', submitter: 'x', labels: [{labels}])")
    failure = outcome.failed()
    assert failure.startswith(f"configuration: {step} cannot run with these labels")
    assert f"labels: {shared} is the label of two stages" in failure
    assert "node(" not in "".join(outcome.calls)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("label: 'docker'", "label: there is no such argument"),
        ("labels: 'docker'", "labels: must be a Map of labels: plan, approve, promote"),
        (
            "labels: [publish: 'x']",
            "labels.publish: there is no such kind; accepted are plan, approve",
        ),
        ("labels: [plan: ['x']]", "labels.plan: must be text"),
    ],
)
def test_labels_that_do_not_exist_are_told(jenkins: Jenkins, empty_job: Job, given: str, told: str):
    """With what is accepted."""
    script = f"promotePipeline(product: 'SkyDRM', submitter: 'x', {given})"
    assert told in jenkins.run(empty_job, script).failed()


def test_the_help_and_the_page_name_the_labels():
    """Whoever sets up agents reads it there."""
    for page in ("vars/promotePipeline.txt", "vars/publishPipeline.txt", "docs/jenkins.md"):
        text = (ROOT / page).read_text()
        assert all(f"release-{stage}" in text for stage in ("plan", "approve", "promote")), page
