"""A failing ECR: what is worth another attempt, what boto3 repeats by itself, and what is final."""

from __future__ import annotations

from typing import Any

import pytest
from boto3.session import Session
from botocore.config import Config

from jenkins_release.aws import exchange
from jenkins_release.base.errors import RemoteError
from jenkins_release.base.retry import RetryPolicy, retry_call
from jenkins_release.http.exchange import Answer
from jenkins_release.registry import EcrRegistry
from jenkins_release.registry.transport import refusal
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import REGION
from jenkins_release.sandbox.front.front import EcrFront
from jenkins_release.sandbox.process import free_port

REPOSITORY = "skydrm/rms"


@pytest.fixture(autouse=True)
def repository(registry: EcrRegistry, ecr: EcrFront) -> None:
    """The repository that the tests use."""
    registry.create_repository(REPOSITORY)
    ecr.requests.clear()


def test_a_passing_fault_is_not_seen(registry: EcrRegistry, ecr: EcrFront) -> None:
    """boto3's standard mode repeats a 5xx by itself."""
    ecr.faults.add(Fault(action="DescribeRepositories", status=500, count=2))
    assert registry.repository(REPOSITORY).name == REPOSITORY
    assert [record.status for record in ecr.requests.all()] == [500, 500, 200]


def test_a_lasting_fault_is_given_up_after_five_attempts(registry: EcrRegistry, ecr: EcrFront) -> None:
    """The number of attempts is stated, and the error says that a later call may succeed."""
    ecr.faults.add(Fault(action="DescribeRepositories", status=503, count=None))
    with pytest.raises(RemoteError) as caught:
        registry.repository(REPOSITORY)
    assert caught.value.retryable
    assert ecr.requests.count("DescribeRepositories") == 5


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "ServerException"), (400, "ThrottlingException"), (429, "TooManyRequestsException")],
)
def test_throttling_and_server_errors_are_retryable(
    single_try: EcrRegistry, ecr: EcrFront, status: int, code: str
) -> None:
    """They say "later", and the wait that the server asked for is handed on."""
    ecr.faults.add(Fault(action="*", status=status, code=code, retry_after=7))
    with pytest.raises(RemoteError, match=code) as caught:
        single_try.repository(REPOSITORY)
    assert caught.value.retryable
    assert caught.value.retry_after == 7
    assert "request " in caught.value.message


def test_the_retry_layer_waits_as_long_as_ecr_asks(single_try: EcrRegistry, ecr: EcrFront) -> None:
    """Retry-After reaches the sleep of the package's one retry layer."""
    ecr.faults.add(Fault(action="*", status=429, code="ThrottlingException", retry_after=42))
    waits: list[float] = []
    retry_call(
        lambda: single_try.repository(REPOSITORY),
        what="describe",
        policy=RetryPolicy(attempts=2),
        sleep=waits.append,
    )
    assert waits == [42]


def test_any_other_answer_is_final(single_try: EcrRegistry, ecr: EcrFront) -> None:
    """An error that is not known to pass is not repeated; code and request id help AWS's support."""
    ecr.faults.add(Fault(action="*", status=400, code="InvalidParameterException", message="no such"))
    with pytest.raises(
        RemoteError, match=r"InvalidParameterException \(request [0-9a-f]{32}\): no such"
    ) as caught:
        single_try.repository(REPOSITORY)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "fault", [{"reset_response_after": 0}, {"reset_response_after": 20}, {"reset_request_after": 5}]
)
def test_a_reset_connection_is_retryable(
    single_try: EcrRegistry, ecr: EcrFront, fault: dict[str, int]
) -> None:
    """A connection that breaks before or inside the answer may work the next time."""
    ecr.faults.add(Fault(action="DescribeRepositories", **fault))
    with pytest.raises(RemoteError) as caught:
        single_try.repository(REPOSITORY)
    assert caught.value.retryable


def test_a_silent_server_is_retryable(ecr: EcrFront) -> None:
    """An answer that does not come within the read timeout may come the next time."""
    ecr.faults.add(Fault(action="*", latency_s=60))
    impatient: Any = Session().client(
        "ecr", region_name=REGION, config=Config(read_timeout=0.2, retries={"total_max_attempts": 1})
    )
    with pytest.raises(RemoteError, match="timeout") as caught:
        EcrRegistry(REGION, client=impatient).repository(REPOSITORY)
    assert caught.value.retryable


def test_an_endpoint_that_nobody_listens_on_is_retryable(
    ecr: EcrFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network may come back; the hint names what stands between here and AWS."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(exchange, "_UNREACHABLE_S", 0.01)
    with pytest.raises(RemoteError, match="Could not connect") as caught:
        EcrRegistry(REGION).repository(REPOSITORY)
    assert caught.value.retryable
    assert "firewall" in caught.value.hint


@pytest.mark.parametrize("wait", ["\u00b2", "9" * 400, "soon"])
def test_a_wait_that_is_no_number_is_as_if_it_were_not_there(wait: str):
    """As every answer of the distribution API is read."""
    error = refusal(Answer(503, {"Retry-After": wait}), "push it")
    assert (error.retryable, error.retry_after) == (True, None)
