"""Sign-off: QA's verdict, signed, as an attestation of the candidate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jenkins_release.errors import ConfigurationError
from jenkins_release.records.attestation import TEST_RESULT
from jenkins_release.records.junit import TestResults, read_junit
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps._announce import announced
from jenkins_release.steps._attest import AttestationReport, Claim, attest, named, report
from jenkins_release.steps._events import by_candidate, signed_off
from jenkins_release.steps._open import check_sizes, open_candidate
from jenkins_release.steps.services import Services


@dataclass(frozen=True)
class SignOffRequest:
    """QA's verdict on a candidate.

    Attributes:
        candidate: The candidate.
        verdict: ``pass`` or ``fail``.
        tester: Who tested.
        results: JUnit report; required for a pass.
        key: URI of the tester's key; ``signing.qa_key`` by default.
        note: Remark for the record.
        accept_failures: Why a pass is given although tests failed; recorded. Empty: refused.
        dry_run: Check everything, write nothing.
    """

    candidate: CandidateRef
    verdict: Literal["pass", "fail"]
    tester: str
    results: Path | None = None
    key: str = ""
    note: str = ""
    accept_failures: str = ""
    dry_run: bool = False


@announced("qa sign-off", by_candidate, signed_off)
def sign_off(request: SignOffRequest, services: Services) -> AttestationReport:
    """Add QA's signed verdict to a candidate.

    Raises:
        ConfigurationError: No such candidate, unusable results, a pass with failed tests, or a
            key that the gate would not count.
        IntegrityError: The candidate is incomplete or altered.
    """
    tester = named("tester", request.tester)
    results = _read_results(request)
    signer = services.signer("qa", request.key or services.configuration.signing.qa_key)
    opened = open_candidate(request.candidate, services)
    check_sizes(opened, services)
    predicate: dict[str, Any] = {
        "result": "PASSED" if request.verdict == "pass" else "FAILED",
        "configuration": [],
    }
    extension: dict[str, Any] = {"tester": tester}
    if results is not None:
        predicate["configuration"] = [{"name": results.name, "digest": {"sha256": results.sha256}}]
        predicate |= results.predicate()
        extension["tests"] = results.counts()
    if request.note:
        extension["note"] = request.note
    if request.accept_failures:
        extension["acceptedFailures"] = request.accept_failures

    claim = Claim(TEST_RESULT, predicate, extension, {})
    file = attest(opened, claim, signer, services, dry_run=request.dry_run)
    return report(opened, file, services, results)


def _read_results(request: SignOffRequest) -> TestResults | None:
    if request.results is None:
        if request.verdict == "pass":
            raise ConfigurationError(
                "a pass needs test results", hint="give --results with the JUnit XML of the test run"
            )
        return None
    try:
        data = request.results.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{request.results} cannot be read: {error.strerror}") from error
    results = read_junit(data, request.results.name)
    if request.verdict == "pass" and results.failed and not request.accept_failures:
        raise ConfigurationError(
            f"the verdict is pass, but {_counted(len(results.failed))} failed in {request.results}",
            hint="sign off with --verdict fail, or say why with --accept-failures REASON (recorded)",
            reasons=[f"failed: {name}" for name in results.failed],
        )
    return results


def _counted(tests: int) -> str:
    return "1 test" if tests == 1 else f"{tests} tests"
