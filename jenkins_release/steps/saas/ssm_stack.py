"""A stack of instances, on which Run Command installs a version, a few instances at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from jenkins_release.aws.ssm import FINAL, CommandOrder, Invocation, SentCommand
from jenkins_release.base.errors import ReleaseError
from jenkins_release.base.tags import fill
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.config.saas import SsmSection
from jenkins_release.records.refresh import InstanceResult, RunningPart, StackState, Strategy
from jenkins_release.rules.gate.evidence import CLOCK_SKEW
from jenkins_release.rules.saas.stack import StackEntry
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.watcher import StackWatcher
from jenkins_release.steps.publication.standing import require_intact
from jenkins_release.steps.saas.driver import RolloutFailed, StackBusy, StackWait

if TYPE_CHECKING:
    from jenkins_release.steps.saas.target import Released

MAX_OUTPUT = 2000
"""How many characters a failure shows of the end of an instance's output."""
_SHOWN = 5
"""How many instances' output a failure shows."""
_LATE_S = 10.0
"""Seconds until SSM's list, which lags behind, would have a command that may have been sent."""
_SETTLE_S = 60.0
"""Seconds that SSM may take to report the outcome on each instance after a command ended."""
_CANCEL_S = 120.0
"""Seconds that a cancelled command may take to end, since SSM lets what runs on an instance finish."""


class SsmStack:
    """The instances that ``saas.ssm.targets`` names.

    Args:
        services: The outside world.
        watcher: Hears how the instances are doing.
    """

    strategy: Strategy = "ssm"

    def __init__(self, services: Services, watcher: StackWatcher) -> None:
        self.touched = False
        self.guard: Callable[[], None] = lambda: None
        self.listed: Mapping[str, frozenset[str]] = {}
        self.instances: tuple[InstanceResult, ...] = ()
        self._unsure = False  # whether we may have sent a command that SSM does not list yet
        self._services = services
        self._watcher = watcher
        self._section = services.configuration.saas
        assert self._section.ssm is not None
        self._ssm: SsmSection = self._section.ssm

    def observe(self) -> StackState:
        """Return a state without parts: Run Command does not know which version an instance has."""
        return StackState()

    def require_alone(self, own: StackEntry | None) -> None:
        """Refuse while someone else's command for the same instances is under way."""
        command = self._services.run_command
        running = self._services.retry("look for running commands", command.unfinished, self._ssm.document)
        for each in running:
            if own is not None and each.comment.startswith(f"{self._comment(str(own.record.number))} "):
                continue
            if self._same_instances(each):
                raise StackBusy(
                    f"the command {each.ident} of somebody else is running on these instances: "
                    f"{each.comment or each.document}",
                    hint="wait until it has ended, or cancel it",
                )

    def prepare(self, target: Released, *, dry_run: bool) -> StackState:  # noqa: ARG002
        """Return the state; there is nothing to create, since the document fetches what it installs."""
        return StackState(release=target.release)

    def check(self, state: StackState) -> None:
        """Accept any state: a version that was installed once can be installed again."""

    def runs(self, state: StackState) -> bool:  # noqa: ARG002
        """Return True: only the records know what the instances run."""
        return True

    def bring(self, state: StackState, origin: StackState, run: str, since: StackEntry | None) -> StackState:  # noqa: ARG002
        """Send the command, and wait until it has ended on every instance.

        Before that, what the instances will fetch is read, and a release area that was altered is refused.
        """
        require_intact(CandidateRef.parse(state.release), self._services)
        version, _, build = state.release.partition("/")
        parsed = ReleaseVersion.parse(version)
        order = CommandOrder(
            document=self._ssm.document,
            version=self._ssm.document_version,
            targets=self._ssm.targets,
            parameters={
                name: [fill(word, parsed, build) for word in words]
                for name, words in self._ssm.parameters.items()
            },
            max_concurrency=self._ssm.max_concurrency,
            max_errors=self._ssm.max_errors,
            delivery_s=self._ssm.delivery_s,
            comment=f"{self._comment(run)} {state.release}"[:100],
        )
        began = since.when if since is not None else self._services.now()
        self._unsure = since is not None
        ident = self._sent(order, began - CLOCK_SKEW)
        command, invocations = self._until_ended(ident)
        self.instances = tuple(
            InstanceResult(instance=each.instance, status=each.detail or each.status) for each in invocations
        )
        if command.status != "Success" or not invocations or any(i.status != "Success" for i in invocations):
            raise self._failure(command, invocations)
        parts = tuple(RunningPart(name=each.instance) for each in invocations)
        return state.model_copy(update={"parts": parts})

    def _comment(self, run: str) -> str:
        return f"jenkins-release {self._section.stack} #{run}"

    def _same_instances(self, command: SentCommand) -> bool:
        """Whether a command may reach one of our instances, judging by its targets."""
        ours = {tag: frozenset(values) for tag, values in self._ssm.targets.items()}
        return all(command.tags[tag] & values for tag, values in ours.items() if tag in command.tags)

    def _sent(self, order: CommandOrder, since: datetime) -> str:
        """Send the command, unless an attempt whose answer was lost, or a run that died, has sent it."""
        command = self._services.run_command

        def attempt() -> str:
            earlier = self._listed(order, since)
            found = next((each for each in earlier if not each.ended or each.status == "Success"), None)
            if found is not None:
                self.touched = True
                self._watcher.event(found.ident, "was sent already: it is followed")
                return found.ident
            self.guard()
            self._unsure = True
            try:
                ident = command.send(order)
            except ReleaseError as error:
                self._unsure = error.retryable  # the request may have arrived
                self.touched |= error.retryable
                raise
            self._unsure, self.touched = False, True
            self._watcher.event(ident, f"sent: {order.comment}")
            return ident

        try:
            return self._services.retry(f"send the command {order.document}", attempt)
        except BaseException as error:
            if not isinstance(error, ReleaseError):  # an abort: the command may have been sent anyway
                self._cancel_sent(order, since)
            raise

    def _listed(self, order: CommandOrder, since: datetime) -> list[SentCommand]:
        """List the commands that were sent like this, and wait for one that may have been sent just now."""
        end = self._services.now() + timedelta(seconds=_LATE_S)
        while True:
            found = self._services.run_command.sent(order.document, order.comment, since)
            if found or not self._unsure or self._services.now() >= end:
                return found
            self._services.wait(min(1.0, self._section.poll_s), "SSM to list the command")

    def _cancel_sent(self, order: CommandOrder, since: datetime) -> None:
        try:
            sent = self._listed(order, since)
        except ReleaseError as error:
            self._watcher.event(order.document, f"may have been sent, and was not found: {error.message}")
            return
        for each in sent:
            if not each.ended:
                self._cancel(each.ident)

    def _until_ended(self, ident: str) -> tuple[SentCommand, list[Invocation]]:
        wait = StackWait(self._services, self._section, self._watcher)
        try:
            command = self._follow(ident, wait)
            if command is None:
                seconds = self._section.deadline_s
                self._watcher.event(ident, f"has not ended after {seconds:g} s: it is cancelled")
                self._cancel(ident)
                wait.end = self._services.now() + timedelta(seconds=_CANCEL_S)
                command = self._follow(ident, wait)
            if command is None:
                raise RolloutFailed(
                    f"the command {ident} was cancelled, and has not ended after {_CANCEL_S:g} s more",
                    hint="it may still run on instances: look at it in the console before anything else",
                )
        except BaseException as error:
            if not isinstance(error, ReleaseError):  # an abort: nobody would watch the command any more
                self._cancel(ident)
            raise
        return command, self._ended(command, wait)

    def _ended(self, command: SentCommand, wait: StackWait) -> list[Invocation]:
        """Return the outcome of a command that ended, for each of its instances.

        Raises:
            RolloutFailed: SSM did not report all of them in time.
        """
        run_command, ident = self._services.run_command, command.ident
        wait.end = self._services.now() + timedelta(seconds=_SETTLE_S)
        while True:
            found = wait.look(ident, lambda: run_command.invocations(ident)) or []
            told = [each for each in found if each.status in FINAL]
            if len(told) == len(found) >= command.instances:
                return found
            if wait.over():
                raise RolloutFailed(
                    f"the command {ident} ended with {command.detail or command.status}, and SSM tells of "
                    f"{len(told)} of {max(len(found), command.instances)} instances that it ended there",
                    hint="look at the command in the console of Run Command",
                    reasons=[self._shown(ident, each) for each in told if each.status != "Success"],
                )
            wait.pause()

    def _follow(self, ident: str, wait: StackWait) -> SentCommand | None:
        """Wait until a command has ended; return None if the deadline came first."""
        run_command, told = self._services.run_command, dict[str, str]()
        while True:
            command = wait.look(ident, lambda: run_command.command(ident))
            for each in wait.look(ident, lambda: run_command.invocations(ident)) or []:
                if told.get(each.instance) != each.status:
                    told[each.instance] = each.status
                    self._watcher.event(each.instance, each.detail or each.status)
            if command is not None and command.ended:
                return command
            if wait.over():
                return None
            wait.pause()

    def _cancel(self, ident: str) -> None:
        run_command = self._services.run_command
        policy = replace(self._services.retry_policy, deadline_s=_LATE_S, setting="")
        try:
            self._services.retry(f"cancel {ident}", run_command.cancel, ident, policy=policy)
        except ReleaseError as error:
            # The caller has to see why the command was cancelled, not that cancelling failed.
            self._watcher.event(ident, f"could not be cancelled: {error.message}")

    def _failure(self, command: SentCommand, invocations: list[Invocation]) -> RolloutFailed:
        bad = [each for each in invocations if each.status != "Success"]
        if not invocations:
            self.touched = False
            tags = ", ".join(f"{tag}={'|'.join(values)}" for tag, values in self._ssm.targets.items())
            return RolloutFailed(
                f"the command {command.ident} reached no instance: {command.detail or command.status}",
                hint=f"no managed instance has the tags {tags}: check saas.ssm.targets and saas.region",
            )
        reasons = [self._shown(command.ident, each) for each in bad[:_SHOWN]]
        if len(bad) > _SHOWN:
            reasons.append(f"and {len(bad) - _SHOWN} more: " + ", ".join(i.instance for i in bad[_SHOWN:]))
        return RolloutFailed(
            f"the command {command.ident} ended with {command.detail or command.status}: "
            f"{len(bad)} of {len(invocations)} instances did not succeed",
            hint="the output of each instance stands in its reason; all of it in the console of Run Command",
            reasons=reasons,
        )

    def _shown(self, ident: str, invocation: Invocation) -> str:
        state = invocation.detail or invocation.status
        try:
            what = f"read the output on {invocation.instance}"
            output = self._services.retry(what, self._services.run_command.output, ident, invocation.instance)
        except ReleaseError as error:
            return f"{invocation.instance}: {state}; its output cannot be read: {error.message}"
        output = self._services.redaction(output)
        if not output:
            return f"{invocation.instance}: {state}, without output"
        cut = "..." if len(output) > MAX_OUTPUT else ""
        return f"{invocation.instance}: {state}: {cut}{output[-MAX_OUTPUT:]}"
