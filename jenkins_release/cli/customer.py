"""``jenkins-release customer``: who may pull the product's images."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from jenkins_release.cli.handover import handover_of, handover_options
from jenkins_release.cli.output import bullets, plain, table
from jenkins_release.cli.runtime import Runtime, common_options, pass_runtime, region_option
from jenkins_release.errors import ConfigurationError

if TYPE_CHECKING:
    from jenkins_release.aws.iam import AccessKey


@click.group()
def customer() -> None:
    """Give customers access to the images, and take it back."""


@customer.command()
@click.argument("name", metavar="CUSTOMER")
@click.option("--ticket", required=True, help="Ticket that asks for the access, such as DEVOPS-123.")
@click.option(
    "--kind",
    type=click.Choice(["iam-user", "aws-account"]),
    default="iam-user",
    show_default=True,
    help="A user with a key, or an AWS account of the customer's own: no secret at all.",
)
@click.option("--account-id", default="", help="The customer's AWS account, for --kind aws-account.")
@click.option(
    "--source-ip", "networks", multiple=True, help="Network that may pull, or any; may be repeated."
)
@click.option(
    "--expires-days",
    type=click.IntRange(1, 3650),
    help="Days from now; renews an existing access.  [default: customers.expires_days]",
)
@handover_options
@click.option("--dry-run", is_flag=True, help="Tell what would be done, change nothing.")
@region_option
@common_options
@pass_runtime
def issue(
    runtime: Runtime, /, name: str, ticket: str, networks: tuple[str, ...], dry_run: bool, **given: Any
) -> None:
    """Give a customer access, finish an issue that died, or say what exists."""
    from jenkins_release.steps.customer_issue import IssueRequest, issue_customer

    kind, account, expires = (given.pop(name) for name in ("kind", "account_id", "expires_days"))
    if kind == "aws-account":
        if networks or expires or any(given.values()):
            raise ConfigurationError("--kind aws-account goes with --ticket and --account-id only")
        _issue_account(runtime, name, ticket, account, dry_run)
        return
    if account:
        raise ConfigurationError("--account-id goes with --kind aws-account")
    handover = handover_of(runtime, **given)
    request = IssueRequest(name, ticket, handover, networks, expires, dry_run)
    report = issue_customer(request, runtime.services)
    result = {
        "customer": report.customer,
        "user": report.user,
        "ticket": report.ticket,
        "keys": _keys_json(report.keys),
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
        runtime.succeed(result, f"{head}, by {plain(report.ticket)}\n{_keys_text(report.keys)}")
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
@click.option("--dry-run", is_flag=True, help="Tell what would be done, change nothing.")
@region_option
@common_options
@pass_runtime
def rotate(runtime: Runtime, /, name: str, undo: bool, dry_run: bool, **given: Any) -> None:
    """Bring the rotation of a key one state further: new key, old key off, old key deleted."""
    from jenkins_release.steps.customer_rotate import RotateRequest, rotate_customer

    handover = handover_of(runtime, **given)
    report = rotate_customer(RotateRequest(name, handover, undo, dry_run), runtime.services)
    result = {
        "customer": report.customer,
        "state": report.state,
        "old": report.old,
        "new": report.new,
        "keys": _keys_json(report.keys),
        "next": report.next,
        "place": report.place,
        "dryRun": dry_run,
    }
    key = report.new if report.state in {"handed over", "waiting"} else report.old
    lines = [f"{report.customer}: {'would be ' if dry_run else ''}{report.state} {key}".rstrip()]
    lines += [f"the key is in {report.place}"] if report.place else []
    lines += [_keys_text(report.keys)] + ([f"next: {report.next}"] if report.next else [])
    runtime.succeed(result, "\n".join(lines))


@customer.command()
@click.argument("name", metavar="CUSTOMER")
@click.option("--reason", default="", help="Why; kept with the user.")
@click.option("--undo", is_flag=True, help="Give the access back.")
@click.option("--delete", is_flag=True, help="Delete keys, policies and user, after the grace period.")
@click.option("--dry-run", is_flag=True, help="Tell what would be done, change nothing.")
@region_option
@common_options
@pass_runtime
def revoke(runtime: Runtime, name: str, reason: str, undo: bool, delete: bool, dry_run: bool) -> None:
    """End a customer's access, and prove it: deny first, then the keys, then a pull that is refused."""
    from jenkins_release.errors import RemoteError
    from jenkins_release.steps.customer_revoke import RevokeRequest, revoke_customer

    report = revoke_customer(RevokeRequest(name, reason, undo, delete, dry_run), runtime.services)
    result = {
        "customer": report.customer,
        "state": report.state,
        "keys": list(report.keys),
        "proof": list(report.proof),
        "unproven": report.unproven,
        "deleteFrom": report.delete_from,
        "dryRun": dry_run,
    }
    lines = [f"{report.customer}: {'would be ' if dry_run else ''}{report.state}"]
    lines += [bullets(report.proof)] if report.proof else []
    lines += [f"may be deleted from {report.delete_from}"] if report.delete_from else []
    problem = RemoteError(f"revoked, but not proven: {report.unproven}") if report.unproven else None
    runtime.conclude(result, "\n".join(lines), problem)


@customer.command("list")
@region_option
@common_options
@pass_runtime
def list_command(runtime: Runtime) -> None:
    """Show who has access: keys, age, last use, expiry."""
    from jenkins_release.steps.customer_list import list_customers

    found = list_customers(runtime.services)
    result = {
        "customers": [
            {
                "user": each.user,
                "customer": each.customer,
                "ticket": each.ticket,
                "state": each.state,
                "expires": each.expires,
                "ageDays": each.age_days,
                "keys": _keys_json(each.keys),
            }
            for each in found
        ]
    }
    rows = []
    for each in found:
        for key in each.keys or (None,):
            state = "-" if key is None else "active" if key.active else "inactive"
            used = f"{key.last_used:%Y-%m-%d}" if key is not None and key.last_used else "never"
            age = "-" if each.age_days is None else f"{each.age_days} d"
            key_id = "-" if key is None else key.key_id
            who = plain(each.customer) or each.user
            rows.append([who, plain(each.ticket), each.state, each.expires, key_id, state, age, used])
    titles = ["customer", "ticket", "state", "expires", "key", "key is", "age", "last used"]
    runtime.succeed(result, table(titles, rows) if rows else "nobody has access")


@customer.command()
@region_option
@common_options
@pass_runtime
def audit(runtime: Runtime) -> None:
    """Find drift, console access, further rights, old and unused keys. Exit status 3 on findings."""
    from jenkins_release.steps.customer_list import audit_customers

    report = audit_customers(runtime.services)
    findings = [
        {"user": each.user, "check": each.check, "message": each.message, "hint": each.hint}
        for each in report.findings
    ]
    rows = [[plain(each[name]) for name in ("user", "check", "message", "hint")] for each in findings]
    text = table(["user", "check", "found", "what to do"], rows) if rows else "no findings"
    result = {"users": report.users, "findings": findings}
    runtime.conclude(result, f"{report.users} customers\n{text}", report.problem())


@customer.command()
@click.argument("name", metavar="CUSTOMER")
@click.option("--address", default="", help="Public address of the customer, where networks are limited.")
@click.option("--tag", default="latest", show_default=True, help="Tag to pull with the customer's key.")
@region_option
@common_options
@pass_runtime
def doctor(runtime: Runtime, name: str, address: str, tag: str) -> None:
    """Tell whether a customer can pull, and if not, why. Exit status 3 where not."""
    from jenkins_release.steps.customer_doctor import examine_customer

    report = examine_customer(name, runtime.services, address=address, reference=tag)
    result = {
        "customer": report.customer,
        "canPull": report.can_pull,
        "checks": [
            {"name": each.name, "good": each.good, "said": each.said, "hint": "" if each.good else each.hint}
            for each in report.checks
        ],
        "remarks": list(report.remarks),
    }
    rows = [["ok" if each.good else "NO", each.name, plain(each.said)] for each in report.checks]
    lines = [f"{report.customer} {'can pull' if report.can_pull else 'cannot pull'}"]
    lines.append(table(["", "check", "found"], rows))
    lines += [f"to do: {each.hint}" for each in report.checks if not each.good and each.hint][:1]
    lines += ["remarks:", bullets(report.remarks)] if report.remarks else []
    runtime.conclude(result, "\n".join(lines), report.problem())


def _issue_account(runtime: Runtime, name: str, ticket: str, account: str, dry_run: bool) -> None:
    from jenkins_release.steps.customer_account import AccountRequest, issue_account

    report = issue_account(AccountRequest(name, ticket, account, dry_run), runtime.services)
    result = {
        "customer": report.customer,
        "account": report.account,
        "changed": list(report.changed),
        "statement": report.statement,
        "dryRun": dry_run,
    }
    who = f"the account {report.account} of {report.customer}"
    if not report.changed:
        runtime.succeed(result, f"nothing to do: {who} may pull")
        return
    head = f"{who} {'could' if dry_run else 'can now'} pull from"
    runtime.succeed(result, f"{head}\n{bullets(report.changed)}")


def _keys_json(keys: tuple[AccessKey, ...]) -> list[dict[str, Any]]:
    return [
        {
            "id": key.key_id,
            "active": key.active,
            "created": key.created.isoformat(),
            "lastUsed": key.last_used.isoformat() if key.last_used else None,
        }
        for key in keys
    ]


def _keys_text(keys: tuple[AccessKey, ...]) -> str:
    rows = [
        [
            key.key_id,
            "active" if key.active else "inactive",
            f"{key.created:%Y-%m-%d}",
            f"{key.last_used:%Y-%m-%d}" if key.last_used else "never",
        ]
        for key in keys
    ]
    return table(["key", "state", "created", "last used"], rows) if rows else "no access key"
