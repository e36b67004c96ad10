"""Checks of the Jenkins controller: whether it answers, the login, and the promote job."""

from __future__ import annotations

from functools import partial

from jenkins_release.base.checks import Examination, Found
from jenkins_release.base.clocks import compared, http_date
from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.config import JENKINS_TOKEN, JENKINS_USER, secret
from jenkins_release.http.exchange import Answer
from jenkins_release.steps.context.services import Services

_VERSION = "X-Jenkins"
"""The header in which every answer of Jenkins says its version."""


def examine_jenkins(examination: Examination, services: Services) -> None:
    """Check the controller; without jenkins.url or JENKINS_URL there is none."""
    if not services.configuration.jenkins.url and not services.environ.get("JENKINS_URL"):
        examination.skip("jenkins", "not configured: jenkins.url")
        return
    answers: list[Answer] = []
    controller, login, job = "jenkins: controller", "jenkins: login", "jenkins: promote job"
    examination.check(controller, partial(_controller, services, answers))
    examination.check("jenkins: clock", lambda: _clock(services, answers[0]), controller)
    if secret(JENKINS_USER, services.environ) is None and secret(JENKINS_TOKEN, services.environ) is None:
        examination.skip(login, f"not configured: {JENKINS_USER}, which launching and writing jobs needs")
        return
    examination.check(login, lambda: Found(f"{services.jenkins.user()}, by token"), controller)
    examination.check(job, partial(_job, services), login)


def _controller(services: Services, answers: list[Answer]) -> Found:
    from jenkins_release.http.exchange import NoAnswer, Untrusted, exchange, open_session

    url = services.jenkins_url
    try:
        with (
            open_session() as session,
            exchange(session, "GET", f"{url}api/json", "see whether it is Jenkins", services.limits) as found,
        ):
            answer = found.told()
    except Untrusted as error:
        raise ConfigurationError(
            f"the TLS certificate of {url} is not accepted: {error.cause}",
            hint="set REQUESTS_CA_BUNDLE to the certificate of your authority",
        ) from error
    except NoAnswer as error:
        raise RemoteError(
            f"no answer from {url}: {error}", hint="check jenkins.url, the network, and whether Jenkins runs"
        ) from error
    answers.append(answer)
    version = answer.headers.get(_VERSION)
    if not version:
        raise RemoteError(
            f"{url} answers with status {answer.status}, but not as Jenkins does",
            hint="is jenkins.url the root of the controller, and not the login page of a proxy?",
        )
    if answer.status >= 500:
        raise RemoteError(
            f"Jenkins {version} at {url} answers with status {answer.status}",
            hint="it is starting or restarting: try again",
        )
    return Found(f"Jenkins {version} at {url}")


def _clock(services: Services, answer: Answer) -> Found:
    return compared("Jenkins", http_date(answer.headers.get("Date", "")), services.now())


def _job(services: Services) -> Found:
    from jenkins_release.jenkins.errors import ItemNotFound

    path = services.promote_job
    try:
        services.jenkins.job(path)
    except ItemNotFound:
        return Found(
            f"there is no job {path}, or this user may not see it",
            "'jenkins-release jobs apply' creates it; or correct jenkins.folder and jenkins.promote_job",
        )
    return Found(path)
