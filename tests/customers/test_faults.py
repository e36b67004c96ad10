"""Runs that die or fail at every call of AWS, and the run after them: the same end, no orphan key."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jenkins_release.aws import aws_client
from jenkins_release.aws.iam import IamAccount
from jenkins_release.errors import ReleaseError
from jenkins_release.sandbox.ecr_state import ACCOUNT, REGION
from jenkins_release.steps.customer_revoke import RevokeRequest, revoke_customer
from jenkins_release.steps.customer_rotate import RotateRequest, rotate_customer
from tests.fixtures.customers import CustomerLab

READS = ("Get", "List")


class Killed(BaseException):
    """The process is gone: no handler of errors runs."""


class Calls:
    """Counts the changing calls of IAM; dies after one of them, or lets one be refused."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.kill_after = self.refuse = 0
        self.client = aws_client("iam", REGION, attempts=1)
        self.client.meta.events.register("before-send.iam", self._before)
        self.client.meta.events.register("after-call.iam", self._after)

    def _before(self, request: Any, event_name: str, **_: Any) -> Any:
        name = event_name.rpartition(".")[2]
        if name.startswith(READS):
            return None
        self.names.append(name)
        if len(self.names) == self.refuse:
            from botocore.awsrequest import AWSResponse

            answer = AWSResponse(request.url, 403, {"Content-Type": "text/xml"}, None)
            answer._content = b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
            return answer
        return None

    def _after(self, event_name: str, **_: Any) -> None:
        if not event_name.rpartition(".")[2].startswith(READS) and len(self.names) == self.kill_after:
            raise Killed


@contextlib.contextmanager
def watched(lab: CustomerLab, *, kill_after: int = 0, refuse: int = 0) -> Iterator[Calls]:
    calls = Calls()
    calls.kill_after, calls.refuse = kill_after, refuse
    plain = lab.services.iam
    lab.services.iam = IamAccount(REGION, ACCOUNT, client=calls.client)
    try:
        yield calls
    finally:
        lab.services.iam = plain


def wipe(lab: CustomerLab) -> None:
    """Remove everything: cheaper than another account."""
    import requests

    requests.post(f"{lab.moto.endpoint}/moto-api/reset", timeout=10)
    for file in lab.files():
        file.unlink()


def rotate(lab: CustomerLab) -> None:
    rotate_customer(RotateRequest("ACME", lab.handover()), lab.services)


def revoke(lab: CustomerLab) -> None:
    revoke_customer(RevokeRequest("ACME", "contract ended"), lab.services)


def delete(lab: CustomerLab) -> None:
    lab.clock.pass_days(40)
    revoke_customer(RevokeRequest("ACME", delete=True), lab.services)
    lab.clock.pass_days(-40)


def rotated_off(lab: CustomerLab) -> None:
    lab.clock.pass_days(20)
    rotate(lab)
    lab.clock.pass_days(-20)


JOURNEYS: dict[str, tuple[list[Callable[[CustomerLab], Any]], Callable[[CustomerLab], Any]]] = {
    "issue": ([], lambda lab: lab.issue()),
    "rotate": ([lambda lab: lab.issue()], rotate),
    "rotate off": ([lambda lab: lab.issue(), rotate], rotated_off),
    "rotate end": ([lambda lab: lab.issue(), rotate, rotated_off], rotated_off),
    "revoke": ([lambda lab: lab.issue()], revoke),
    "delete": ([lambda lab: lab.issue(), revoke], delete),
}


@pytest.mark.parametrize("journey", JOURNEYS)
def test_a_run_that_died_or_failed_at_any_call_is_finished_by_the_next(lab: CustomerLab, journey: str):
    """For every changing call of IAM: killed right after it, and refused at it; then run again."""
    before, action = JOURNEYS[journey]

    def prepare() -> None:
        wipe(lab)
        lab.clock.ahead -= lab.clock.ahead
        for step in before:
            step(lab)

    prepare()
    with watched(lab) as calls:
        action(lab)
    expected, count = lab.state(), len(calls.names)
    assert count >= 1
    tried = [(number, how) for number in range(1, count + 1) for how in ("kill_after", "refuse")]
    for number, how in tried:
        prepare()
        with watched(lab, **{how: number}) as calls, contextlib.suppress(Killed, ReleaseError):
            action(lab)
        lab.clock.ahead -= lab.clock.ahead
        if not finished(lab, journey, expected):
            action(lab)
        assert lab.state() == expected, f"{how} {number}: {calls.names}"


def finished(lab: CustomerLab, journey: str, expected: dict[str, Any]) -> bool:
    """Whether the last call was the last one: another state of a rotation would begin otherwise."""
    return journey != "issue" and lab.state() == expected
