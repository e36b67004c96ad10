"""Who is told that a stack was refreshed, returned, or that it failed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures.notify import Hook, hook_section
from tests.fixtures.saas import SaasStack


@pytest.fixture
def told(stack: SaasStack, hook: Hook) -> Hook:
    """The stack's notifications as JSON documents."""
    stack.edit("\n[saas]\n", f"{hook_section()}\n[saas]\n")
    return hook


def run(stack: SaasStack, hook: Hook, *words: str) -> list[Any]:
    """Run a command, and return what was told of it."""
    hook.requests.clear()
    stack.run("saas", *words, JENKINS_RELEASE_WEBHOOK_URL=hook.url)
    return hook.documents


def test_a_refresh_and_a_rollback_are_told(stack: SaasStack, told: Hook):
    """What runs now and ran before; nothing of dry runs, nor where there was nothing to do."""
    assert run(stack, told, "refresh", "8.1.0", "--dry-run") == []
    (event,) = run(stack, told, "refresh", "8.1.0")
    assert (event["event"], event["version"], event["build"]) == ("refreshed", "8.1.0", "42")
    assert event["title"] == "SkyDRM 8.1.0/42 runs in the SaaS stack"
    facts = {fact["name"]: fact["value"] for fact in event["facts"]}
    assert (facts["stack"], facts["runs"]) == ("rehearsal, by refresh", "8.1.0/42")
    assert facts["before"] == "what ran before, which is not a release"
    assert facts["rms"] == stack.arn("rms")
    assert run(stack, told, "refresh", "8.1.0") == []
    run(stack, told, "refresh", "8.1.1")
    (event,) = run(stack, told, "rollback")
    facts = {fact["name"]: fact["value"] for fact in event["facts"]}
    assert (event["event"], event["version"]) == ("refreshed", "8.1.0")
    assert (facts["stack"], facts["before"]) == ("rehearsal, by rollback", "8.1.1/50")


def test_a_failure_is_told(stack: SaasStack, told: Hook):
    """With all reasons and what to do."""
    stack.misbehave("pull", "8.1.0/42")
    (event,) = run(stack, told, "refresh", "8.1.0")
    assert (event["event"], event["version"], event["build"]) == ("failed", "8.1.0", "")
    assert event["failure"]["step"] == "saas refresh"
    assert "the stack was returned to what ran before" in event["failure"]["message"]
    assert any("CannotPullContainerError" in reason for reason in event["failure"]["reasons"])
