"""The page of a plan: what an approver sees before the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.sample_images import build_images
from tests.fixtures.browser import FORBIDDEN, jenkins_serves, looked_at
from tests.fixtures.release import SERVICES, Product

POLICY = """[policy]
approvals = 1
sbom = true
required_suites = ["smoke"]
separate = ["requester"]
"""
NEXT = "8.1.1/50"
HOSTILE = "<b>Quinn</b>"


@pytest.fixture
def following(promoted: Product, engine: DockerEngine) -> Product:
    """8.1.0/42 is promoted; 8.1.1/50 is exported with an installer."""
    promoted.edit("[policy]\napprovals = 0\n", POLICY.replace("sbom = true\n", ""))
    promoted.installers("SkyDRM-8.1.1-50.msi")
    build_images(engine, "8.1.1", "50", names=SERVICES)
    words = ("candidate", "export", "--version", "8.1.1", "--build", "50", "--revision", "abc1234")
    promoted.ok(*words, "--from", str(promoted.folder))
    return promoted


def plan(product: Product, ident: str = NEXT, status: int = 0) -> tuple[str, Any, Path]:
    """Plan with a page. Returns the HTML, the result and the file."""
    file = product.folder / "pages" / "plan.html"
    file.parent.mkdir(exist_ok=True)
    done = product.run(
        "promote", "plan", ident, "--page", str(file), "--out", str(product.folder / "plan.json")
    )
    assert done.status == status, done.text
    assert f"wrote {file} and plan.css" in done.out
    return file.read_text(), product.ok("promote", "plan", ident), file


def test_what_an_approver_sees(following: Product, chromium: Any) -> None:
    """Everything that an answer needs: in Jenkins under its policy, on a phone, in the dark."""
    following.sign_off(NEXT, tester=HOSTILE)
    html, result, file = plan(following)
    with (
        jenkins_serves(file.parent) as url,
        looked_at(chromium, f"{url}/plan.html", "plan-jenkins") as tab,
    ):
        text = tab.locator("body").inner_text()
        digest = tab.locator("details.digest").first
        whole = digest.locator(".whole")
        assert not whole.is_visible()
        digest.locator("summary").focus()
        tab.keyboard.press("Enter")
        assert whole.inner_text() == result["planDigest"]
    host, first = result["registry"], result["images"][0]
    for part in (
        "SkyDRM 8.1.1 build 50",
        "It waits for approval. Nothing else is missing.",
        f"Requested by\n{result['requester']}",
        "May be approved by\neveryone with an approval key; never who asked for it",
        "revision abc1234",
        HOSTILE,
        "2 passed, 0 failed, 0 skipped; suites: smoke",
        "tested by the digest that the tester gave",
        f"Images for {host}",
        first["repository"],
        first["config_digest"][:19],
        "SkyDRM-8.1.1-50.msi",
        "What changed since 8.1.0/42",
        "unknown",
        "to push, about ",
        "as in 8.1.0/42",
        "1 person approves this plan",
        "Not asked for: soak, age, sbom, scan, freeze.",
        "As of ",
    ):
        assert part in text, text
    for view, address in (("phone", file.as_uri()), ("dark", file.as_uri())):
        with looked_at(chromium, address, f"plan-{view}", view):
            pass
    for forbidden in (*FORBIDDEN, "<b>Quinn"):
        assert forbidden not in html


def test_without_its_style_sheet_it_can_be_read(following: Product, chromium: Any) -> None:
    """Jenkins keeps the style sheet from a reader whose cookie does not go along."""
    following.sign_off(NEXT)
    _, _, file = plan(following)
    file.with_suffix(".css").unlink()
    context = chromium.new_context()
    try:
        tab = context.new_page()
        tab.goto(file.as_uri())
        text = tab.locator("body").inner_text()
    finally:
        context.close()
    assert text.index("SkyDRM 8.1.1") < text.index("It waits for approval") < text.index("Requested by")


class TestHeadline:
    def test_what_is_missing(self, following: Product) -> None:
        """QA has not spoken: each condition with its hint, and no claim that an approval would help."""
        html, _, _ = plan(following)
        assert "The gate is shut: 3 things are missing." in html
        assert "QA has not signed a verdict that counts." in html
        assert "1 passing QA sign-off by trusted keys required for this candidate, found 0" in html

    def test_what_is_in_the_way(self, following: Product) -> None:
        """The tags of 8.1.0 name other content."""
        (following.folder / "out" / "SkyDRM-8.1.1-50.msi").rename(
            following.folder / "out" / "SkyDRM-8.1.0.msi"
        )
        following.export("43")
        following.sign_off("8.1.0/43")
        html, result, _ = plan(following, "8.1.0/43")
        assert result["occupied"]
        assert f"It cannot be released: {len(result['occupied'])} things are in the way." in html
        assert "now <details" in html

    def test_what_is_altered(self, following: Product) -> None:
        """Nothing else matters then."""
        following.sign_off(NEXT)
        record = next((following.candidate(NEXT) / "attestations").glob("*-qa.dsse.json"))
        record.write_bytes(record.read_bytes().replace(b'"sig":"', b'"sig":"A'))
        html, _, _ = plan(following)
        assert "The candidate was altered. Approve nothing of it." in html

    def test_what_is_done(self, promoted: Product) -> None:
        """Nobody has to look for what is left."""
        html, _, _ = plan(promoted, "8.1.0/42")
        assert "Nothing is left to do: it was released before." in html
        assert "There is nothing to compare with: no older release is known." in html

    def test_what_was_overridden(self, following: Product) -> None:
        """Who, and why."""
        following.edit("[policy]\n", "[policy]\nsbom = true\n")
        following.sign_off(NEXT)
        _, _, _ = plan(following)
        words = (
            "--condition",
            "sbom",
            "--condition",
            "approvals",
            "--by",
            "Olga",
            "--reason",
            "customer down",
        )
        following.ok("promote", "override", str(following.folder / "plan.json"), *words)
        html, _, _ = plan(following)
        assert "The gate is open, although" in html
        assert "Overridden by Olga" in html


def test_an_older_release_that_cannot_be_read_is_told(following: Product) -> None:
    """The plan does not fail over it, and does not compare in silence with another one."""
    (following.candidate("8.1.0/42") / "candidate.json").write_bytes(b"{")
    html, _, _ = plan(following)
    assert "There is nothing to compare with: no older release is known; 8.1.0/42 is left out: " in html


def test_the_question_that_jenkins_asks(following: Product) -> None:
    """A sentence a line: the classic page draws the lines into one."""
    following.sign_off(NEXT)
    result = following.ok("promote", "plan", NEXT)
    qa, images, installers, requester, digest = result["question"].splitlines()
    assert qa.startswith("QA: pass by Quinn, 2")
    assert qa.endswith("UTC: 2 passed, 0 failed, 0 skipped.")
    assert images == f"2 images to {result['registry']}, tags 8.1.1."
    assert installers == f"1 installer to {result['release_area']}."
    assert (requester, digest) == (f"Requested by {result['requester']}.", f"Plan {result['planDigest']}.")
