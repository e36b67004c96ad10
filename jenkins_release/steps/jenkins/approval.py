"""Answers the approval of a waiting build, for a user whose approval the gate would count.

Jenkins lets its administrators answer every question, whatever the job says, and lets the person who started
a build answer its question. The gate does not count either for that reason, so it is asked here first.
"""

from __future__ import annotations

from collections.abc import Callable

from jenkins_release.base.errors import GateRefused, RemoteError
from jenkins_release.base.people import names_someone
from jenkins_release.jenkins.controller import Controller
from jenkins_release.jenkins.errors import AnswerRefused, ItemNotFound
from jenkins_release.jenkins.model import Build, PendingInput
from jenkins_release.steps.context.services import Services


def answer_refusals(user: str, started_by: tuple[str, ...], services: Services) -> list[str]:
    """Say why the gate would not count an approval by ``user``; empty if nothing is known against it.

    Who built and who tested the candidate is not known here; the build asks the whole gate.

    Args:
        user: Who would answer.
        started_by: Who started the build: the requester.
        services: The policy.
    """
    policy = services.policy
    if not names_someone(user):
        return [f"Jenkins names no user for this token: its user id is {user!r}"]
    found = []
    if not policy.may_approve(user):
        found.append(f"{user} is not among policy.approvers: {', '.join(policy.approvers)}")
    if policy.directory.listed and policy.directory.person(user) is None:
        found.append(f"{user} is not in policy.people")
    if "requester" in policy.separate and any(policy.directory.same(user, each) for each in started_by):
        found.append(f"{user} started the build: the approver must be someone else")
    return found


def who_may_answer(build: Build, services: Services) -> str:
    """Describe from whom the gate accepts the approval of a build."""
    policy = services.policy
    same = policy.directory.same
    started = build.started_by if "requester" in policy.separate else ()
    able = [name for name in policy.named_approvers if not any(same(name, each) for each in started)]
    if not policy.approvers:
        return f"anyone but {', '.join(started)}" if started else "anyone whom the job accepts"
    return ", ".join(able) if able else "no one: policy.approvers names only who started it"


def answer_question(
    job: str,
    build: Build,
    question: PendingInput,
    services: Services,
    ask: Callable[[str, Callable[[], object]], object],
) -> str:
    """Answer the question of a build with yes.

    Args:
        job: Full name of the job.
        build: The build that waits.
        question: What it asks.
        services: The policy, and Jenkins.
        ask: Calls under the retry policy of whoever follows the build.

    Returns:
        The user in whose name it was answered; empty if somebody else was faster.

    Raises:
        GateRefused: The gate, or Jenkins, would not take this user's answer; the build waits on.
        RemoteError: The question wants values that only a person can give.
    """
    user = str(ask("ask who this user is", services.jenkins.user))
    against = answer_refusals(user, build.started_by, services)
    if against:
        raise GateRefused(
            f"{user} cannot approve {job} #{build.number}, which waits on: {against[0]}",
            hint="someone else must answer: launch with --request-id and --approve under their token",
            reasons=against,
        )
    if question.asks_for:
        raise RemoteError(
            f"{job} #{build.number} asks for {', '.join(question.asks_for)} with the answer",
            hint=f"answer it on its page: {build.url}input/",
        )
    try:
        ask(f"answer {job} #{build.number}", _Approval(job, build, question, user, services.jenkins).give)
    except ItemNotFound:
        return ""
    except AnswerRefused as error:
        raise GateRefused(
            f"Jenkins does not accept the approval of {job} #{build.number} by {user}: {error.message}",
            hint=error.hint,
        ) from error
    return user


class _Approval:
    """An answer that is given once: where Jenkins' word on it was lost, the build is asked whether it has it.

    The question may be gone then, or another one may have its id.
    """

    def __init__(
        self, job: str, build: Build, question: PendingInput, user: str, jenkins: Controller
    ) -> None:
        self._job = job
        self._number = build.number
        self._ident = question.ident
        self._user = user
        self._before = build.approved_by.count(user)
        self._jenkins = jenkins
        self._sent = False

    def give(self) -> None:
        again, self._sent = self._sent, True
        if again and self._arrived():
            return
        try:
            self._jenkins.proceed(self._job, self._number, self._ident)
        except (ItemNotFound, AnswerRefused):
            # The earlier one may have come to Jenkins since it was asked.
            if not (again and self._arrived()):
                raise

    def _arrived(self) -> bool:
        build = self._jenkins.build(self._job, self._number)
        return build.approved_by.count(self._user) > self._before
