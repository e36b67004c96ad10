"""``jenkins-release notify``: tests the notifications."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import click

from jenkins_release.base.errors import RemoteError
from jenkins_release.cli.command import Group
from jenkins_release.cli.notices import notified_json
from jenkins_release.cli.output import table
from jenkins_release.cli.runtime import Runtime, common_options, pass_runtime

if TYPE_CHECKING:
    from jenkins_release.config.notify import EventKind
    from jenkins_release.notify import Message
    from jenkins_release.steps.notices.try_out import NotifyTestReport

EVENTS = (
    *("candidate", "signed-off", "revoked", "waiting", "promoted", "published", "refreshed"),
    *("withdrawn", "failed"),
)
"""The kinds of events, repeated here: reading them from the configuration would slow down the help."""


@click.group(cls=Group, example="jenkins-release notify test --dry-run")
def notify() -> None:
    """Test the notifications by mail and webhook."""


@notify.command()
@click.option(
    "--event",
    type=click.Choice(EVENTS),
    default="candidate",
    show_default=True,
    help="Event that the test message is about.",
)
@click.option("--only", multiple=True, metavar="NAME", help="Only this notifier; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Show the messages, send nothing.")
@common_options
@pass_runtime
def test(runtime: Runtime, event: str, only: tuple[str, ...], dry_run: bool) -> None:
    """Send a test message to each notifier of release.toml. Exit status 5 if one fails."""
    from jenkins_release.steps.notices.try_out import NotifyTestRequest, try_notifiers

    request = NotifyTestRequest(cast("EventKind", event), only, dry_run)
    report = try_notifiers(request, runtime.services)
    if dry_run:
        messages = {name: _message_json(message) for name, message in report.messages.items()}
        text = "\n\n".join(f"== {name}\n{_message_text(m)}" for name, m in report.messages.items())
        runtime.succeed({"dryRun": True, "messages": messages}, text)
        return
    rows = [
        [
            each.notifier,
            each.shown or "-",
            "delivered" if each.delivered else f"failed: {each.problem}",
        ]
        for each in report.deliveries
    ]
    result = {"dryRun": False, "deliveries": notified_json(report.deliveries)}
    runtime.conclude(result, table(["notifier", "server", "test message"], rows), _problem(report))


def _problem(report: NotifyTestReport) -> RemoteError | None:
    failed = [each for each in report.deliveries if not each.delivered]
    if not failed:
        return None
    return RemoteError(
        f"{len(failed)} of {len(report.deliveries)} notifiers failed",
        hint=failed[0].hint,
        reasons=[f"{each.notifier}: {each.problem}" for each in failed],
    )


def _message_json(message: Message) -> dict[str, Any]:
    if message.document:
        return {"document": json.loads(message.document)}
    return {"subject": message.subject, "text": message.text, "html": message.html}


def _message_text(message: Message) -> str:
    if message.document:
        return json.dumps(json.loads(message.document), indent=2, ensure_ascii=False)
    return f"Subject: {message.subject}\n\n{message.text}"
