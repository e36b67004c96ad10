"""docs/jenkins.md: its examples run as they stand, one after the other."""

from __future__ import annotations

import dataclasses
import re

from jenkins_release.base.errors import Category
from jenkins_release.sandbox.ecr.state import PolicyStatement
from tests.groovy.conftest import SkyDrm
from tests.groovy.jenkins import ROOT, VARS, Jenkins

TEXT = (ROOT / "docs" / "jenkins.md").read_text()
EXAMPLES = re.findall(r"^```groovy\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_the_examples_release_a_version(jenkins: Jenkins, skydrm: SkyDrm):
    """Load the library, export, plan too early, and after QA's sign-off plan, approve, promote, refresh."""
    library, with_token, export, plan, approve, promote, refresh = EXAMPLES
    assert library.strip() in (ROOT / "Jenkinsfile").read_text()
    ecr = skydrm.product.sandbox.ecr
    token = ecr.issue_identity_token(ecr.add_role("skydrm-push", [PolicyStatement(actions=["ecr:*"])]))
    known = {**skydrm.job.credentials, "skydrm-oidc": {"kind": "file", "name": "token", "content": token}}
    environment = {**skydrm.job.environment, "AWS_ENDPOINT_URL_STS": ecr.endpoint}
    job = dataclasses.replace(skydrm.job, credentials=known, environment=environment)

    def run(example: str, after: str = "") -> str:
        script = f"{library}\nnode('docker') {{\ncheckout scm\n{example}\n}}\n{after}"
        outcome = jenkins.run(job, script, approver="bob")
        outcome.ok()
        return outcome.console

    assert r"QA finds 8.1.0/42 in \\127.0.0.1" in run(export)
    assert "Not yet. sign-offs: " in run(plan)
    skydrm.product.sign_off()
    told = run(plan, approve)
    assert re.findall("Not yet. ([a-z-]+): ", told) == ["approvals"]
    assert "Not yet. " not in run(plan)
    told = run(promote)
    for repository, tags in skydrm.product.tags().items():
        assert f"{repository}@{tags['8.1.0']}" in told
    assert run(with_token)
    skydrm.add_stack()
    assert "rehearsal runs 8.1.0/42" in run(refresh)


def test_every_step_and_category_is_described():
    """A new one cannot be forgotten."""
    names = sorted(path.stem for path in VARS.glob("*.groovy"))
    steps = [name for name in names if not name.startswith("jenkinsRelease")]
    assert re.findall(r"^\| `(\w+)` \| .*\.txt\) \|$", TEXT, flags=re.MULTILINE) == steps
    failures = TEXT.split("## Failures")[1].split("##")[0]
    assert re.findall(r"^\| `(\w+)` \|", failures, flags=re.MULTILINE) == [str(c) for c in Category]


def test_every_link_leads_somewhere():
    """Files and sections exist."""
    anchors = [line.lstrip("# ").lower().replace(" ", "-") for line in TEXT.splitlines() if line[:2] == "##"]
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in anchors
        else:
            page = target.partition("#")[0]  # its sections are for tests/docs to check
            assert (ROOT / "docs" / page).exists(), target
