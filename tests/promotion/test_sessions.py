"""A promotion outlives its AWS session with an OIDC token; with a fixed one, the next run finishes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import PolicyStatement
from tests.fixtures.release import DEFAULT_WAY
from tests.fixtures.resume import ONCE, Lane, OpenLane

ALL = [PolicyStatement(actions=["ecr:*"])]
FIXED = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def lane(open_lane: OpenLane) -> Iterator[Lane]:
    """A candidate in a folder with nothing promoted; its environment is put back."""
    lane = open_lane("folder-0", DEFAULT_WAY)
    before = dict(lane.environ)
    yield lane
    lane.environ.clear()
    lane.environ.update(before)


def ends(lane: Lane) -> list[int]:
    """Return the number of the last request of each action: there the session ends."""
    assert lane.promote().status == 0
    actions = {
        record.action: number
        for number, record in enumerate(
            record for record in lane.front.requests() if record.action and ":" not in record.action
        )
    }
    assert {"PutImage", "BatchDeleteImage", "BatchGetImage", "CreateRepository"} <= set(actions)
    return list(actions.values())


def end_at(lane: Lane, number: int) -> None:
    lane.put_back()
    lane.front.order(Fault(action="*", skip=number, end_sessions=True))


def test_a_fixed_session_that_ends_leaves_nothing_half_done(lane: Lane):
    """The error names the credentials and the remedy; with new ones, the same command finishes."""
    role = lane.front.add_role("push", ALL)
    broken = []
    for number in ends(lane):
        end_at(lane, number)
        lane.environ.update(lane.front.start_session(role, "jenkins-7"))
        ended = lane.promote(by="rita")
        assert not lane.look().missing
        if ended.status:
            assert ended.status == 5, ended.text
            assert "session credentials in AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN have expired" in ended.text
            assert "in Jenkins, give credentials.aws a role and a longer duration, or an OIDC" in ended.text
            broken.append(number)
        lane.environ.update(lane.front.start_session(role, "jenkins-8"))
        lane.settled(lane.promote(by="sam"))
        assert lane.pushes() == ONCE
    assert len(broken) > 3


def test_a_token_file_carries_a_promotion_over_the_end_of_its_sessions(lane: Lane, tmp_path: Path):
    """The role is assumed again, at whatever request a session ends."""
    moments = ends(lane)
    token = tmp_path / "id-token"
    role = lane.front.add_role("push", ALL)
    for name in FIXED:
        del lane.environ[name]
    lane.environ |= {
        "AWS_ENDPOINT_URL_STS": lane.front.endpoint,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ROLE_ARN": role,
        "AWS_ROLE_SESSION_NAME": "jenkins-promote-7",
    }
    for number in moments:
        end_at(lane, number)
        token.write_text(lane.front.issue_identity_token(role, session_s=300))
        lane.settled(lane.promote())
        assert lane.front.pending_faults() == []
        assert lane.pushes() == ONCE
