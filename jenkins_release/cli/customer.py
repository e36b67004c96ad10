"""``jenkins-release customer``: who may pull the product's images."""

from __future__ import annotations

import json
from typing import Any

import click

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.cli.command import Group
from jenkins_release.cli.customers import keys_json, keys_text, list_json, list_text
from jenkins_release.cli.handover import handover_of, handover_options
from jenkins_release.cli.output import bullets, counted, plain, table
from jenkins_release.cli.runtime import Runtime, common_options, pass_runtime, region_option

_kind_option = click.option(
    "--kind",
    type=click.Choice(["iam-user", "aws-account"]),
    default="iam-user",
    show_default=True,
    help="A user with a key, or the customer's own AWS account, without any secret.",
)


@click.group(cls=Group, example="jenkins-release customer issue ACME --ticket DEVOPS-123 --file handover")
def customer() -> None:
    """Give customers access to the images, or take it back."""


@customer.command()
@click.argument("name", metavar="CUSTOMER")
@click.option("--ticket", required=True, help="Ticket that asks for the access, such as DEVOPS-123.")
@_kind_option
@click.option("--account-id", default="", help="The customer's AWS account, for --kind aws-account.")
@click.option(
    "--source-ip", "networks", multiple=True, help="Network that may pull, or any; may be repeated."
)
@click.option(
    "--expires-days",
    type=click.IntRange(1, 3650),
    help="Days from now until the access ends; renews an existing one.  [default: customers.expires_days]",
)
@handover_options
@click.option("--dry-run", is_flag=True, help="Show what would be done, change nothing.")
@region_option
@common_options
@pass_runtime
def issue(
    runtime: Runtime, /, name: str, ticket: str, networks: tuple[str, ...], dry_run: bool, **given: Any
) -> None:
    """Give a customer access, finish an issue that died, or show what exists."""
    from jenkins_release.steps.customers.issue import IssueRequest, issue_customer

    kind, account, expires = (given.pop(name) for name in ("kind", "account_id", "expires_days"))
    if kind == "aws-account":
        if networks or expires or any(given.values()):
            raise ConfigurationError("--kind aws-account allows only --ticket and --account-id")
        _issue_account(runtime, name, ticket, account, dry_run)
        return
    if account:
        raise ConfigurationError("--account-id needs --kind aws-account")
    handover = handover_of(runtime, **given)
    request = IssueRequest(name, ticket, handover, networks, expires, dry_run)
    report = issue_customer(request, runtime.services)
    result = {
        "customer": report.customer,
        "user": report.user,
        "ticket": report.ticket,
        "keys": keys_json(report.keys),
        "expires": report.expires,
        "networks": list(report.networks),
        "policy": report.policy,
        "done": list(report.done),
        "dryRun": dry_run,
        "keyId": report.key_id,
        "place": report.place,
    }
    if not report.done:
        head = f"nothing to do: {report.customer} has access as {report.user} until {report.expires}"
        runtime.succeed(result, f"{head}, by {plain(report.ticket)}\n{keys_text(report.keys)}")
        return
    head = "would issue" if dry_run else "issued"
    lines = [f"{head} {report.customer} as {report.user} until {report.expires}", bullets(report.done)]
    lines += [f"the key {report.key_id} is in {report.place}"] if report.key_id else []
    lines += ["the policy:", json.dumps(report.policy, indent=2)] if dry_run else []
    runtime.succeed(result, "\n".join(lines))


@customer.command()
@click.argument("name", metavar="CUSTOMER")
@handover_options
@click.option("--undo", is_flag=True, help="Switch the old key on again.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, change nothing.")
@region_option
@common_options
@pass_runtime
def rotate(runtime: Runtime, /, name: str, undo: bool, dry_run: bool, **given: Any) -> None:
    """Advance the rotation of a key by one state: new key, old key off, old key deleted."""
    from jenkins_release.steps.customers.rotate import RotateRequest, rotate_customer

    handover = handover_of(runtime, **given)
    report = rotate_customer(RotateRequest(name, handover, undo, dry_run), runtime.services)
    result = {
        "customer": report.customer,
        "state": report.state,
        "old": report.old,
        "new": report.new,
        "keys": keys_json(report.keys),
        "next": report.next,
        "place": report.place,
        "done": list(report.done),
        "dryRun": dry_run,
    }
    key = report.new if report.state in {"handed over", "waiting"} else report.old
    lines = [f"{report.customer}: {'would be ' if dry_run else ''}{report.state} {key}".rstrip()]
    lines += [f"the key is in {report.place}"] if report.place else []
    lines += [keys_text(report.keys)] + ([f"next: {report.next}"] if report.next else [])
    runtime.succeed(result, "\n".join(lines))


@customer.command()
@click.argument("name", metavar="CUSTOMER")
@click.option("--reason", default="", help="Why; kept with the user.")
@_kind_option
@click.option("--undo", is_flag=True, help="Give the access back.")
@click.option("--delete", is_flag=True, help="Delete keys, policies and user, after the grace period.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, change nothing.")
@region_option
@common_options
@pass_runtime
def revoke(
    runtime: Runtime, /, name: str, reason: str, kind: str, undo: bool, delete: bool, dry_run: bool
) -> None:
    """End a customer's access, and prove it: first a deny, then the keys, then a refused pull."""
    from jenkins_release.base.errors import RemoteError
    from jenkins_release.steps.customers.revoke import RevokeRequest, revoke_customer

    if kind == "aws-account":
        if reason or undo or delete:
            raise ConfigurationError("--reason, --undo and --delete need --kind iam-user")
        _revoke_account(runtime, name, dry_run)
        return
    report = revoke_customer(RevokeRequest(name, reason, undo, delete, dry_run), runtime.services)
    result = {
        "customer": report.customer,
        "state": report.state,
        "keys": list(report.keys),
        "proof": list(report.proof),
        "unproven": report.unproven,
        "deleteFrom": report.delete_from,
        "done": list(report.done),
        "dryRun": dry_run,
    }
    lines = [f"{report.customer}: {'would be ' if dry_run else ''}{report.state}"]
    lines += [bullets(report.done)] if dry_run and report.done else []
    lines += [f"this cannot be proven: {report.unproven}"] if dry_run and report.unproven else []
    lines += [bullets(report.proof)] if report.proof else []
    lines += [f"may be deleted from {report.delete_from}"] if report.delete_from else []
    failed = report.unproven and not dry_run
    problem = RemoteError(f"revoked, but not proven: {report.unproven}") if failed else None
    runtime.conclude(result, "\n".join(lines), problem)


@customer.command("list")
@region_option
@common_options
@pass_runtime
def list_command(runtime: Runtime) -> None:
    """Show who has access: keys, age, last use, expiry, and the supported lines."""
    from jenkins_release.steps.customers.audit import list_customers

    found = list_customers(runtime.services)
    runtime.succeed(list_json(found), list_text(found))


@customer.command()
@region_option
@common_options
@pass_runtime
def audit(runtime: Runtime) -> None:
    """Find drift, console access, additional rights, and old and unused keys. Exit status 3 on findings."""
    from jenkins_release.steps.customers.audit import audit_customers

    report = audit_customers(runtime.services)
    findings = [
        {"user": each.user, "check": each.check, "message": each.message, "hint": each.hint}
        for each in report.findings
    ]
    rows = [[plain(each[name]) for name in ("user", "check", "message", "hint")] for each in findings]
    text = table(["user", "check", "found", "what to do"], rows) if rows else "no findings"
    result = {"users": report.users, "findings": findings}
    runtime.conclude(result, f"{counted(report.users, 'customer')}\n{text}", report.problem())


@customer.command()
@click.argument("name", metavar="CUSTOMER")
@click.option("--address", default="", help="Public address of the customer, if networks are limited.")
@click.option("--tag", default="latest", show_default=True, help="Tag to pull with the customer's key.")
@region_option
@common_options
@pass_runtime
def doctor(runtime: Runtime, name: str, address: str, tag: str) -> None:
    """Show whether a customer can pull, and if not, why. Exit status 3 if not."""
    from jenkins_release.steps.customers.doctor import examine_customer

    report = examine_customer(name, runtime.services, address=address, reference=tag)
    result = {
        "customer": report.customer,
        "canPull": report.can_pull,
        "checks": [
            {"name": each.name, "good": each.good, "said": each.said, "hint": each.hint}
            for each in report.checks
        ],
        "remarks": list(report.remarks),
    }
    rows = [["ok" if each.good else "NO", each.name, plain(each.said)] for each in report.checks]
    lines = [f"{report.customer} {'can pull' if report.can_pull else 'cannot pull'}"]
    lines.append(table(["", "check", "found"], rows))
    lines += [f"to do: {each.hint}" for each in report.checks if each.hint][:1]
    lines += ["remarks:", bullets(report.remarks)] if report.remarks else []
    runtime.conclude(result, "\n".join(lines), report.problem())


def _issue_account(runtime: Runtime, name: str, ticket: str, account: str, dry_run: bool) -> None:
    from jenkins_release.steps.customers.account import AccountRequest, issue_account

    report = issue_account(AccountRequest(name, ticket, account, dry_run), runtime.services)
    result = {
        "customer": report.customer,
        "account": report.account,
        "changed": list(report.changed),
        "statement": report.statement,
        "done": list(report.done),
        "dryRun": dry_run,
    }
    who = f"the account {report.account} of {report.customer}"
    if not report.changed:
        runtime.succeed(result, f"nothing to do: {who} may pull")
        return
    head = f"{who} {'could' if dry_run else 'can now'} pull from"
    runtime.succeed(result, f"{head}\n{bullets(report.changed)}")


def _revoke_account(runtime: Runtime, name: str, dry_run: bool) -> None:
    from jenkins_release.steps.customers.account import revoke_account

    report = revoke_account(name, runtime.services, dry_run=dry_run)
    result = {
        "customer": report.customer,
        "state": "revoked",
        "account": report.account,
        "changed": list(report.changed),
        "done": list(report.done),
        "dryRun": dry_run,
    }
    head = f"the account {report.account} of {report.customer} {'would' if dry_run else 'can'} no longer pull"
    runtime.succeed(result, f"{head} from\n{bullets(report.changed)}")
