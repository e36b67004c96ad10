"""Runs that die or fail at every call of IAM, and the run after them: the same end, no orphan key."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session

from jenkins_release.aws import aws_client
from jenkins_release.aws.iam import IamAccount
from jenkins_release.base.errors import ReleaseError
from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION
from jenkins_release.steps.customers.revoke import RevokeRequest, revoke_customer
from jenkins_release.steps.customers.rotate import RotateRequest, rotate_customer
from tests.fixtures.customers import CustomerLab

READS = ("Get", "List")
MADE_LATELY = ("CreateUser", "PutUserPolicy", "CreateAccessKey", "TagUser")
"""Calls about what was made a moment ago: IAM may not know it everywhere yet."""


class Calls:
    """Counts the changing calls of IAM, and lets one of them go wrong.

    ``lose``: it is done, and the connection breaks before the answer. ``refuse``: it is refused. ``late``:
    IAM does not know the user yet.

    Args:
        fault: What goes wrong.
        number: With which call, from 1.
        done: Called after each call that was done, before anything else can be.
    """

    def __init__(self, fault: str = "", number: int = 0, done: Callable[[], object] | None = None) -> None:
        self.names: list[str] = []
        self.done = done
        self.fault, self.number = fault, number
        self.lose = ""
        """Name of the call that goes wrong the first time, instead of a number."""
        self.client = aws_client("iam", REGION, attempts=1)
        self.client.meta.events.register("before-send.iam", self._before)
        self.client.meta.events.register("after-call.iam", self._after)

    def _before(self, request: Any, event_name: str, **_: Any) -> Any:
        name = event_name.rpartition(".")[2]
        if name.startswith(READS):
            return None
        self.names.append(name)
        if name == self.lose and self.names.count(name) == 1:
            self.number = len(self.names)
        if len(self.names) != self.number:
            return None
        if self.fault == "lose":
            URLLib3Session().send(request)
            raise ConnectionClosedError(endpoint_url=request.url)
        if self.fault == "refuse":
            return _answer(request, 403, "AccessDenied")
        return _answer(request, 404, "NoSuchEntity") if self.fault == "late" else None

    def _after(self, event_name: str, **_: Any) -> None:
        name = event_name.rpartition(".")[2]
        if self.done is not None and not name.startswith(READS):
            self.done()


def _answer(request: Any, status: int, code: str) -> Any:
    answer = AWSResponse(request.url, status, {"Content-Type": "text/xml"}, None)
    answer._content = f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>".encode()
    return answer


@contextlib.contextmanager
def watched(
    lab: CustomerLab, fault: str = "", number: int = 0, done: Callable[[], object] | None = None
) -> Iterator[Calls]:
    calls = Calls(fault, number, done)
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


@pytest.fixture
def small(lab: CustomerLab) -> CustomerLab:
    """A product of one image: what is done many times is done faster."""
    images = lab.services.configuration.images[:1]
    lab.services.configuration = lab.services.configuration.model_copy(update={"images": images})
    return lab


def prepare(lab: CustomerLab, journey: str) -> Callable[[], None]:
    """Bring the account to where a journey begins, and return what brings it back there."""
    wipe(lab)
    lab.clock.ahead -= lab.clock.ahead
    for step in JOURNEYS[journey][0]:
        step(lab)
    put_back = lab.keep()

    def begin() -> None:
        lab.clock.ahead -= lab.clock.ahead
        put_back()

    return begin


def test_what_was_kept_comes_back_as_often_as_it_is_put_back(small: CustomerLab):
    """Users, keys, groups, policies, secrets and files are as they were, and not shared with what follows."""
    lab = small
    secrets = aws_client("secretsmanager", REGION)
    lab.issue()
    secrets.create_secret(Name="before", SecretString="x")
    lab.iam.create_group(GroupName="staff")
    lab.iam.add_user_to_group(GroupName="staff", UserName="skydrm-acme")
    before, handed, put_back = lab.state(), lab.files(), lab.keep()
    for _ in range(2):
        lab.iam.remove_user_from_group(GroupName="staff", UserName="skydrm-acme")
        rotate(lab)
        secrets.create_secret(Name="after", SecretString="x")
        assert lab.state() != before
        put_back()
        assert (lab.state(), lab.files()) == (before, handed)
        assert [each["Name"] for each in secrets.list_secrets()["SecretList"]] == ["before"]
        (member,) = lab.iam.get_group(GroupName="staff")["Users"]
        assert member["UserName"] == "skydrm-acme"


@pytest.mark.parametrize("journey", JOURNEYS)
def test_a_run_that_died_at_any_call_is_finished_by_the_next(small: CustomerLab, journey: str):
    """After every changing call of IAM: what was done by then stays, and nothing of the run goes on."""
    lab, action = small, JOURNEYS[journey][1]
    prepare(lab, journey)
    left: list[Callable[[], None]] = []
    with watched(lab, done=lambda: left.append(lab.keep())) as calls:
        action(lab)
    expected, names = lab.state(), calls.names
    assert len(left) == len(names) > 0
    for number, die in enumerate(left, 1):
        die()
        if not finished(lab, journey, expected):
            action(lab)
        assert lab.state() == expected, f"killed after {number}: {names}"


@pytest.mark.parametrize("journey", [journey for journey in JOURNEYS if journey != "delete"])
def test_a_run_that_failed_at_any_call_is_finished_by_the_next(small: CustomerLab, journey: str):
    """For every changing call of IAM: refused, or its answer lost; then run again."""
    lab, action = small, JOURNEYS[journey][1]
    begin = prepare(lab, journey)
    with watched(lab) as calls:
        action(lab)
    expected, names = lab.state(), calls.names
    assert names
    tried = [(fault, number) for number in range(1, len(names) + 1) for fault in ("refuse", "lose")]
    # Whatever is not made anew by doing it twice ends as it does after a kill.
    tried = [(fault, n) for fault, n in tried if fault != "lose" or names[n - 1].startswith("Create")]
    for fault, number in tried:
        begin()
        with watched(lab, fault, number) as calls, contextlib.suppress(ReleaseError):
            action(lab)
        lab.clock.ahead -= lab.clock.ahead
        if not finished(lab, journey, expected):
            action(lab)
        assert lab.state() == expected, f"{fault} {number}: {calls.names}"


def finished(lab: CustomerLab, journey: str, expected: dict[str, Any]) -> bool:
    """Whether the last call was the last one: another state of a rotation would begin otherwise."""
    return journey != "issue" and lab.state() == expected


@pytest.mark.parametrize("journey", ["issue", "rotate", "revoke"])
def test_what_iam_does_not_know_yet_is_asked_for_again(small: CustomerLab, journey: str):
    """IAM is eventually consistent: a call about what was just made may find nothing, and is repeated."""
    lab, action = small, JOURNEYS[journey][1]
    begin = prepare(lab, journey)
    with watched(lab) as calls:
        action(lab)
    expected, names = lab.state(), calls.names
    made = names.index("CreateUser") if "CreateUser" in names else names.index("CreateAccessKey")
    late = [n for n, name in enumerate(names, 1) if n > made and name in MADE_LATELY]
    assert late
    for number in late:
        begin()
        with watched(lab, "late", number) as calls:
            action(lab)
        assert lab.state() == expected, f"{number}: {calls.names}"
        assert len(calls.names) == len(names) + 1
