"""Sign-off: adds QA's signed verdict to the candidate's attestations."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.records.attestation import TEST_RESULT
from jenkins_release.records.base import timestamp
from jenkins_release.records.junit import TestResults
from jenkins_release.rules.gate.conditions import unheard_verdict
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.attest import AttestationReport, Claim, attest, named, report
from jenkins_release.steps.candidate.opened import OpenCandidate, check_sizes, open_candidate
from jenkins_release.steps.candidate.receipt import read_receipt, replaced_images
from jenkins_release.steps.candidate.speaker import speaker
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.notices.announce import Happened, announced, by_candidate
from jenkins_release.steps.qa.results import read_results

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SignOffRequest:
    """QA's verdict on a candidate.

    Attributes:
        candidate: The candidate.
        verdict: ``pass`` or ``fail``.
        tester: Who tested; the key's owner by default.
        results: JUnit reports: a file, or several files and patterns; required for a pass.
        key: URI of the tester's key; ``signing.qa_key`` by default.
        note: Remark for the record.
        accept_failures: Why to pass the candidate although tests failed; recorded. If empty, it is refused.
        dry_run: Check everything, write nothing.
        digest: Digest of the ``candidate.json`` that was tested. If empty, the digest in the receipt that
            loading or fetching left for this user on this machine.
        without_receipt: Why to pass the candidate although neither says what was tested; recorded. If empty,
            it is refused.
    """

    candidate: CandidateRef
    verdict: Literal["pass", "fail"]
    tester: str
    results: Path | Sequence[str | Path] | None = None
    key: str = ""
    note: str = ""
    accept_failures: str = ""
    dry_run: bool = False
    digest: str = ""
    without_receipt: str = ""


def _happened(request: SignOffRequest, report: AttestationReport, services: Services) -> Happened | None:
    """QA gave its verdict: it is release management's turn, unless it failed or something else is missing."""
    if report.found:
        return None
    ref, decision = report.candidate, report.decision
    next_step, command = "The gate is still shut: see what is missing.", ""
    if request.verdict == "fail":
        next_step = "It is not released like this."
    elif decision.allowed:
        next_step = "Release management plans its promotion, and has the plan approved:"
        command = f"jenkins-release promote plan {ref} --out plan.json"
    return Happened(
        "signed-off",
        ref.version,
        ref.build,
        by=request.tester,
        location=services.candidates.shown(ref),
        verdict=request.verdict,
        facts=[
            ("tests", report.results.summary() if report.results else ""),
            ("note", request.note),
            ("accepted failures", request.accept_failures),
            ("candidate.json", report.digest),
            ("recorded in", report.file),
            *(("missing", reason) for reason in (*decision.altered, *decision.reasons)),
        ],
        next_step=next_step,
        command=command,
    )


@announced("qa sign-off", by_candidate, _happened)
def sign_off(request: SignOffRequest, services: Services) -> AttestationReport:
    """Add QA's signed verdict to a candidate.

    Raises:
        ConfigurationError: No such candidate, unusable results, a pass with failed tests, a pass for which
            it is unknown what was tested, or a key that the gate would not count.
        GateRefused: The gate would not count it, because the key may not sign for the tester, or
            ``policy.sign_off_keys`` does not name the key. Nothing is signed.
        IntegrityError: The candidate is incomplete or altered, or is not the one that was tested and
            passed.
    """
    _check_options(request)
    results = _read_results(request)
    signer = services.signer("qa", request.key)
    tester = speaker("tester", request.tester, "qa", signer, services)
    opened = open_candidate(request.candidate, services)
    tested = _tested(request, opened, services)
    check_sizes(opened)
    predicate: dict[str, Any] = {
        "result": "PASSED" if request.verdict == "pass" else "FAILED",
        "configuration": [],
    }
    extension: dict[str, Any] = {"tester": tester, "tested": tested}
    if results is not None:
        predicate |= results.predicate()
        extension["tests"] = results.counts()
    if request.note:
        extension["note"] = request.note
    if request.accept_failures:
        extension["acceptedFailures"] = request.accept_failures

    claim = Claim(TEST_RESULT, predicate, extension, {})
    policy, now = services.policy, services.now()
    done = attest(
        opened,
        claim,
        signer,
        services,
        dry_run=request.dry_run,
        unheard=lambda evidence, item: unheard_verdict(item, evidence, policy, now),
    )
    return replace(report(done, tester, results), tested=tested)


def _check_options(request: SignOffRequest) -> None:
    if request.digest and not _DIGEST.fullmatch(request.digest):
        raise ConfigurationError(
            f"{request.digest!r} is not the digest of a candidate",
            hint="give --digest sha256: with all 64 hexadecimal digits, as 'candidate load' prints it",
        )
    if request.digest and request.without_receipt:
        raise ConfigurationError(
            "--digest says what was tested, --without-receipt that it is unknown",
            hint="give one of the two",
        )
    if request.without_receipt:
        named("reason", request.without_receipt, option="without-receipt")
    if request.accept_failures:
        named("reason", request.accept_failures, option="accept-failures")


def _tested(request: SignOffRequest, opened: OpenCandidate, services: Services) -> Mapping[str, Any]:
    """Return what was tested and how that is known; refuse a pass if that is not the candidate.

    A fail shuts the gate, so it is always accepted.
    """
    if request.digest:
        tested: dict[str, Any] = {"digest": request.digest, "by": "digest"}
    else:
        found = read_receipt(opened.ref, services)
        if found.receipt is None:
            return _unknown(request, found.problem)
        receipt = found.receipt
        tested = {
            "digest": receipt.candidate,
            "by": "receipt",
            "how": receipt.verb,
            "loadedAt": timestamp(receipt.received_at),
            "host": receipt.host,
        }
        if replaced := replaced_images(receipt, services):
            _log.warning(
                "the Docker daemon holds other images by now than were loaded: %s; did the tests run before?",
                ", ".join(replaced),
            )
    if tested["digest"] == opened.digest:
        return tested
    message = (
        f"candidate {opened.ref} is not what was tested: tested candidate.json {tested['digest']}, "
        f"found {opened.digest} on the share"
    )
    if request.verdict == "pass":
        raise IntegrityError(
            message, hint="find out who changed the share; then load it and test it again, and sign off that"
        )
    _log.warning("%s", message)
    return tested


def _unknown(request: SignOffRequest, problem: str) -> Mapping[str, Any]:
    if problem:
        _log.warning("not counted: %s", problem)
    if request.verdict == "pass" and not request.without_receipt:
        why = problem or "this user has no receipt of the candidate on this machine"
        raise ConfigurationError(
            f"it is unknown what was tested: {why}, and no digest was given",
            hint="sign off where you loaded it with 'candidate load' or 'candidate fetch'; or give the "
            "--digest that they printed; or say why with --without-receipt REASON (recorded)",
        )
    _log.warning("it is unknown what was tested: the verdict is recorded so")
    return {"by": "unknown", **({"reason": request.without_receipt} if request.without_receipt else {})}


def _read_results(request: SignOffRequest) -> TestResults | None:
    if not request.results:
        if request.verdict == "pass":
            raise ConfigurationError(
                "a pass needs test results", hint="give --results with the JUnit XML of the test run"
            )
        return None
    results = read_results(request.results)
    if request.verdict != "pass" or request.accept_failures:
        for reason in results.contradictions:
            _log.warning("%s", reason)
        return results
    if results.contradictions:
        raise ConfigurationError(
            "the verdict is pass, but a report counts other tests than it holds",
            hint="a test run that was cut off leaves such a report: run it again, or say why it passes with "
            "--accept-failures REASON (recorded)",
            reasons=results.contradictions,
        )
    if results.failed:
        names = [name for name, _ in results.reports]
        where = names[0] if len(names) == 1 else f"{len(names)} reports"
        raise ConfigurationError(
            f"the verdict is pass, but {_counted(len(results.failed))} failed in {where}",
            hint="sign off with --verdict fail, or say why with --accept-failures REASON (recorded)",
            reasons=[f"failed: {failure}" for failure in results.failures()],
        )
    return results


def _counted(tests: int) -> str:
    return "1 test" if tests == 1 else f"{tests} tests"
