"""Whatever a server answers, a call ends: done, or with an error that is documented, within its limits.

``make fuzz`` runs many more cases: ``FUZZ_CASES`` of each server, from the number ``FUZZ_SEED``.
"""

from __future__ import annotations

import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

import pytest

from jenkins_release.aws import aws_errors
from jenkins_release.base.errors import ReleaseError
from tests.fixtures.raw_server import Part, RawServer, Request
from tests.fuzz.mutations import Said, mutated
from tests.fuzz.wire import (
    Calls,
    aws_answer,
    aws_calls,
    jenkins_answer,
    jenkins_calls,
    registry_answer,
    registry_calls,
    s3_answer,
    s3_calls,
)

CASES = int(os.environ.get("FUZZ_CASES", "80"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
REGRESSIONS: dict[str, tuple[int, ...]] = {
    "aws": (106, 797, 5274, 6497, 7527, 11808, 14343, 18594),
    "s3": (818,),
}
"""Numbers of cases that ended otherwise once."""
DOCUMENTED = {2, 3, 4, 5, 6}
LONGEST_S = 30.0
SHARE = 0.6
"""How many of the answers in a case are mutated."""


class Server:
    """Answers as a real one, or nearly so.

    Attributes:
        random: Decides what is wrong; None for nothing.
    """

    def __init__(self, answer: Callable[[Request], Said]) -> None:
        self._answer = answer
        self.random: Random | None = None
        self.said: list[bytes] = []

    def __call__(self, request: Request) -> Iterator[Part]:
        """Say the answer to a request."""
        found = self._answer(request)
        if self.random is not None and self.random.random() < SHARE:
            found = mutated(found, self.random)
        raw = found.raw(head=request.method == "HEAD")
        self.said.append(raw)
        yield raw
        if found.stalls:
            yield 5.0


@pytest.fixture(params=["registry", "aws", "s3", "jenkins"])
def kind(
    request: pytest.FixtureRequest, no_aws: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Server, Calls]]:
    """A server, and what is asked of it."""
    # Waits between attempts are no part of this.
    monkeypatch.setattr("random.uniform", lambda low, _: low)
    name = str(request.param)
    answers = {"registry": registry_answer, "aws": aws_answer, "s3": s3_answer, "jenkins": jenkins_answer}
    server = Server(answers[name])
    with RawServer(server, closes=True) as raw:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        monkeypatch.setenv("AWS_ENDPOINT_URL", raw.url)
        yield name, server, _calls(name, raw)


def _calls(name: str, raw: RawServer) -> Calls:
    if name == "registry":
        return registry_calls(raw.url)
    if name == "jenkins":
        return jenkins_calls(raw.url)
    return aws_calls() if name == "aws" else s3_calls()


def test_right_answers_are_taken(kind: tuple[str, Server, Calls]):
    """Or the mutations would not get far."""
    name, _, calls = kind
    failed = {}
    for what, call in calls.items():
        try:
            call()
        except ReleaseError as error:
            failed[what] = error.message
    # Jenkins refused some on record, and a store that takes the same line twice is none.
    assert len(failed) <= (3 if name in {"jenkins", "s3"} else 0), failed


@pytest.mark.timeout(0)
def test_every_answer_ends_as_documented(kind: tuple[str, Server, Calls]):
    """Status, headers, length, chunks and content are each wrong in some."""
    name, server, calls = kind
    ended: Counter[str] = Counter()
    wrong = []
    for number in [*REGRESSIONS.get(name, ()), *range(SEED, SEED + CASES)]:
        random = Random(f"{name} {number}")  # noqa: S311 - no secret
        what = random.choice(sorted(calls))
        server.random, server.said = random, []
        begun = time.monotonic()
        outcome = _outcome(calls[what])
        took = time.monotonic() - begun
        ended[outcome.splitlines()[0]] += 1
        if (outcome != "done" and not outcome.isdigit()) or took > LONGEST_S:
            answers = [said[:300] for said in server.said]
            wrong.append(f"{name} {number} {what}: {outcome} after {took:.1f} s\n{answers}")
            print(f"\n{wrong[-1]}", flush=True)  # noqa: T201
        if ended.total() % 5000 == 0:
            print(f"\n{name}: {dict(ended)}", flush=True)  # noqa: T201
    print(f"\n{name}: {dict(ended)}", flush=True)  # noqa: T201
    assert wrong == []
    assert ended["done"]
    assert ended["5"]


def _outcome(call: Callable[[], object]) -> str:
    try:
        with aws_errors("do it"):  # as those who read a stream of S3 have it around them
            call()
    except ReleaseError as error:
        f"{error.message}{error.hint}".encode()  # it is written to files and logs
        if error.exit_status in DOCUMENTED:
            return str(error.exit_status)
        return f"status {error.exit_status}: {error.message[:300]!r}"
    except Exception:  # noqa: BLE001 - what it is is the question
        return traceback.format_exc(limit=-6)
    return "done"
