"""What a build says of itself on Jenkins' pages: in its name, its description and its question."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from tests.fixtures.release import Product
from tests.groovy.conftest import SkyDrm
from tests.groovy.jenkins import ROOT, VARS, Jenkins, Job
from tests.groovy.test_pipelines import BUILD, PARAMETERS, PROMOTE, asked, calls, evidence
from tests.groovy.test_qa_pipeline import CANDIDATE, QA, TESTED

SAY = "jenkinsReleaseOutcome.say({}); return [currentBuild.displayName, currentBuild.description]"


def test_the_question_has_what_an_approver_needs(jenkins: Jenkins, promoting: SkyDrm):
    """Each line is a sentence, so a page that joins them can be read too."""
    params = PARAMETERS | {"TICKET": "REL-810"}
    outcome = jenkins.run(promoting.job, PROMOTE, params=params, approver="bob")
    promotion = json.loads(outcome.artifacts["promotion.json"])
    digest = json.loads(outcome.artifacts["approval.json"])["planDigest"]
    lines = asked(outcome).splitlines()
    qa = lines.pop(1)
    assert re.fullmatch(r"QA: pass by Quinn, \S+ \S+ UTC: 2 passed, 0 failed, 0 skipped\.", qa)
    assert lines == [
        "Promote SkyDRM 8.1.0/42?",
        f"4 images to {promotion['registry']}, tags 8.1.0.",
        "Requested by alice.",
        f"Plan {digest}.",
        'Reason: "8.1.0 is what the customers wait for".',
        'Ticket: "REL-810".',
        "The whole plan: https://jenkins.example/job/skydrm/7/artifact/plan.html",
    ]
    assert {"plan.json", "plan.html", "plan.css"} <= set(outcome.artifacts)


def test_text_of_the_form_cannot_forge_the_question(jenkins: Jenkins, promoting: SkyDrm):
    """Quotes end no quotation, marks are no markup, and what changes the direction of text is gone."""
    reason = 'late". Plan sha256:0. QA: <b>all</b> passed &amp;\u202egreen now'
    outcome = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS | {"REASON": reason}, approver="bob")
    outcome.ok()
    (line,) = [each for each in asked(outcome).splitlines() if "late" in each]
    assert line == (
        'Reason: "late\'. Plan sha256:0. QA: \u2039b\u203aall\u2039/b\u203a passed \uff06amp; green now".'
    )
    assert len([each for each in asked(outcome).splitlines() if each.startswith("Plan ")]) == 1


def test_nobody_is_asked_for_a_plan_that_is_approved(jenkins: Jenkins, promoting: SkyDrm):
    """The approval came from the approver's own machine: no reason, no person, no question."""
    job, product = promoting.job, promoting.product
    plan = jenkins.run(job, PROMOTE, params=PARAMETERS | {"DRY_RUN": True})
    product.environ["BUILD_USER_ID"] = "alice"
    (product.folder / "plan.json").write_text(plan.artifacts["plan.json"])
    product.ok("promote", "approve", str(product.folder / "plan.json"), "--approver", "bob", "--reason", "go")
    again = dataclasses.replace(job, build="8")
    outcome = jenkins.run(again, PROMOTE, params={"VERSION": "8.1.0", "BUILD": "42"})
    outcome.ok()
    assert "input" not in calls(outcome)
    assert outcome.name == "#8 8.1.0/42 promoted"
    assert "- already approved by bob (0003-approval.dsse.json): nobody is asked" in outcome.description
    assert evidence(promoting) == ["build", "qa", "approval", "promotion"]


def test_a_policy_without_approvals_leaves_the_answer_to_jenkins(jenkins: Jenkins, promoting: SkyDrm):
    """The gate is open, but nobody approved: whom ``submitter`` names is asked as before."""
    sources = Path(promoting.job.checkout["folder"], "release.toml")
    sources.write_text(sources.read_text().replace("[policy]\n", "[policy]\napprovals = 0\n"))
    outcome = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS)
    assert outcome.status == "ABORTED"
    assert asked(outcome).startswith("Promote SkyDRM 8.1.0/42?")


@pytest.mark.parametrize(
    ("how", "trusted", "told"),
    [
        ("", True, "rejected by alice"),
        ("abort", True, "aborted by alice"),
        ("timeout", True, "nobody answered in 3 days"),
        ("timeout", False, "aborted, or nobody answered in 3 days"),
    ],
    ids=["rejected", "aborted", "timeout", "sandbox"],
)
def test_a_question_without_an_answer_says_why(
    jenkins: Jenkins, promoting: SkyDrm, how: str, trusted: bool, told: str
):
    """As far as Jenkins tells: the script sandbox does not. What was to be approved stays on the page."""
    outcome = jenkins.run(
        promoting.job, PROMOTE, params=PARAMETERS, unanswered=how, trusted=trusted, restarted=True
    )
    assert outcome.status == "ABORTED"
    assert outcome.name == f"#7 8.1.0/42 {told}"
    first, second = outcome.description.splitlines()
    assert first == f"8.1.0/42 {told}"
    assert second.startswith("- SkyDRM 8.1.0/42 to ")


def test_a_verdict_that_nobody_gave_says_so(jenkins: Jenkins, skydrm: SkyDrm, exported: Product):
    """After the seven days of QA's question."""
    outcome = jenkins.run(skydrm.job, QA, params=TESTED, unanswered="timeout", trusted=True)
    assert outcome.name == "#42 8.1.0/42 nobody answered in 7 days"
    assert "- Tests: 1 passed, 0 failed, 0 skipped." in outcome.description


def test_a_refusal_of_the_approver_is_on_the_page(jenkins: Jenkins, promoting: SkyDrm):
    """With every reason and the hint, not only in the console."""
    outcome = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS, approver="alice")
    _, *reasons, hint = outcome.failed().splitlines()
    assert outcome.name == "#7 8.1.0/42 refused: the approver is the requester too"
    told = outcome.description.splitlines()
    assert told[1 : len(reasons) + 2] == [f"- {each.removeprefix('  - ')}" for each in [*reasons, hint]]
    assert outcome.kept is False


def test_a_form_that_is_wrong_names_the_build_too(jenkins: Jenkins, skydrm: SkyDrm):
    """There is no candidate yet."""
    outcome = jenkins.run(skydrm.job, PROMOTE)
    assert outcome.name == "#42 configuration: this job cannot run with what its form says"
    assert "- VERSION is missing\n- BUILD is missing" in outcome.description


@pytest.mark.parametrize(
    ("script", "name"),
    [
        (
            CANDIDATE.replace("sh 'make images'", "sh 'exit 3'"),
            "8.1.0/1201 failed: script returned exit code 3",
        ),
        (BUILD.replace("make images'", "exit 3'"), "8.1.0 failed"),
    ],
    ids=["candidatePipeline", "Jenkinsfile"],
)
def test_a_build_that_fails_says_where(jenkins: Jenkins, skydrm: SkyDrm, script: str, name: str):
    """What the product's own steps said."""
    outcome = jenkins.run(dataclasses.replace(skydrm.job, build="1201"), script)
    outcome.failed()
    assert outcome.name == f"#1201 {name}"


def test_what_fails_outside_of_a_stage_is_said_too(jenkins: Jenkins, promoting: SkyDrm):
    """The checkout of an agent: why is in the console."""
    job = dataclasses.replace(promoting.job, checkout={"folder": "/nowhere", "commit": "1"})
    outcome = jenkins.run(job, PROMOTE, params=PARAMETERS)
    assert outcome.status == "FAILURE"
    assert (outcome.name, outcome.description) == (
        "#7 8.1.0/42 failed, see the console",
        "8.1.0/42 failed, see the console",
    )


@pytest.mark.parametrize("first", ["refused: nobody is asked", "8.1.0/42 refused: <script>alert(1)</script>"])
def test_a_description_is_harmless_for_every_formatter(jenkins: Jenkins, empty_job: Job, first: str):
    """One for plain text shows it as it is, one for HTML finds no markup, entity or line that is forged."""
    facts = [
        "<img src=x onerror=alert(1)>",
        "&lt;b&gt; &#8238;",
        "one\ntwo\r\n- three",
        "a\u2028b\u0085c\u202ed",
    ]
    call = f"'', {json.dumps(first)}, {json.dumps(facts)}".replace("$", "\\$")
    name, description = jenkins.run(empty_job, SAY.format(call)).ok()
    assert not set("<>&") & set(name + description)
    lines = description.splitlines()
    assert name == f"#42 {lines[0]}"
    assert lines[1:] == [
        "- \u2039img src=x onerror=alert(1)\u203a",
        "- \uff06lt;b\uff06gt; \uff06#8238;",
        "- one two - three",
        "- a b c d",
    ]


def test_what_fails_after_a_promotion_does_not_hide_it(jenkins: Jenkins, promoting: SkyDrm):
    """The release is out, whatever becomes of the history: a name that says only 'failed' would be wrong."""
    Path(promoting.job.checkout["folder"], "history.txt").mkdir()
    outcome = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS, approver="bob")
    outcome.failed()
    assert outcome.name.startswith("#7 8.1.0/42 promoted, then configuration: ")
    assert outcome.description.startswith("8.1.0/42 promoted, then configuration: ")
    assert outcome.kept
    assert evidence(promoting)[-1] == "promotion"


def test_name_and_description_have_a_limit(jenkins: Jenkins, empty_job: Job):
    """A form takes any text, and a failure may have thousands of reasons; the console has them."""
    call = "'8' * 5000, 'x' * 5000, (1..200).collect { it + ' ' + ('y' * 5000) }"
    name, description = jenkins.run(empty_job, SAY.format(call)).ok()
    assert len(name) == 250
    lines = description.splitlines()
    assert (len(lines), max(map(len, lines))) == (50, 502)
    assert lines[-1] == "- and more, see the console"


@pytest.mark.parametrize("text", ["'\\n'", "' '", "''"])
def test_a_failure_without_a_text_is_said_too(jenkins: Jenkins, empty_job: Job, text: str):
    """A step of the product's own may throw anything."""
    script = (
        f"try {{ jenkinsReleaseOutcome('8.1.0/42') {{ error {text} }} }} catch (e) {{ }}\n"
        "return currentBuild.displayName"
    )
    assert jenkins.run(empty_job, script).ok().startswith("#42 8.1.0/42 failed: ")


def test_every_pipeline_has_times_and_fingerprints():
    """Also the reference pipelines; a question or a failure is named in each."""
    for path in [*VARS.glob("*Pipeline.groovy"), ROOT / "Jenkinsfile"]:
        text = path.read_text()
        assert "            timestamps()\n" in text or "        timestamps()\n" in text, path
        assert re.findall(r"\n {8}(failure|aborted) \{\n|\n {12}(failure|aborted) \{\n", text), path
    for path in [*VARS.glob("*.groovy"), ROOT / "Jenkinsfile"]:
        for call in re.findall(r"archiveArtifacts .*", path.read_text()):
            assert call.endswith("fingerprint: true"), (path, call)


def test_the_console_has_times(jenkins: Jenkins, promoting: SkyDrm):
    """All but what Jenkins itself says before and after the pipeline."""
    outcome = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS | {"DRY_RUN": True})
    first, *between, last = outcome.raw.splitlines()
    assert (first, last) == ("Started by user alice", "Finished: SUCCESS")
    assert all(re.match(r"\[\d{4}-\d\d-\d\dT[\d:.]+Z\] ", line) for line in between)
