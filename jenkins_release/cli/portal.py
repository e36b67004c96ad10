"""``jenkins-release release portal``: uploads to and removals from the download portal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.moments import minute
from jenkins_release.cli.command import Command
from jenkins_release.cli.output import plain, size, table, tell
from jenkins_release.cli.runtime import Runtime, common_options, pass_runtime, releases_option, share_option

if TYPE_CHECKING:
    from jenkins_release.steps.portal.page import PortalSupport
    from jenkins_release.steps.portal.removal import PortalRemoval

_LINK_EXPIRES = "24h"


@click.command(cls=Command)
@click.argument("version")
@click.option("--remove", is_flag=True, help="Remove a withdrawn or unsupported release from the portal.")
@click.option(
    "--force", default="", metavar="REASON", help="Remove even a supported release, and record why."
)
@click.option(
    "--link", "file", default="", metavar="FILE", help="Make a download link to one file for a customer."
)
@click.option("--customer", default="", help="The customer for whom the link is.")
@click.option(
    "--expires", default="", help=f"How long it works, such as 7d or 12h  [default: {_LINK_EXPIRES}]"
)
@click.option("--key", default="", help="Promotion key, file2: or awskms:  [default: signing.promotion_key]")
@click.option("--dry-run", is_flag=True, help="Check everything, show what would be done, change nothing.")
@share_option
@releases_option
@common_options
@pass_runtime
def portal(
    runtime: Runtime,
    version: str,
    remove: bool,
    force: str,
    file: str,
    customer: str,
    expires: str,
    key: str,
    dry_run: bool,
) -> None:
    """Upload a published release to the download portal, or finish an upload that died.

    With --remove, the release is removed from the portal; the release area keeps it. With --link, a download
    link to one file is printed: anyone who has it can download.
    """
    _check_words(remove, force, file, customer, expires, key, dry_run)
    if file:
        _link(runtime, version, file, customer, expires or _LINK_EXPIRES)
    elif remove:
        _remove(runtime, version, force, key, dry_run)
    else:
        _upload(runtime, version, key, dry_run)


def _check_words(
    remove: bool, force: str, file: str, customer: str, expires: str, key: str, dry_run: bool
) -> None:
    wrong = []
    if remove and file:
        wrong.append("--remove and --link exclude each other")
    if force and not remove:
        wrong.append("--force needs --remove")
    if (customer or expires) and not file:
        wrong.append("--customer and --expires need --link")
    if file and not customer:
        wrong.append("--link needs --customer, for whom the link is")
    if file and (key or dry_run):
        wrong.append("--link changes nothing, so --key and --dry-run do not apply")
    if wrong:
        raise ConfigurationError(wrong[0], hint="'release portal --help' explains the options", reasons=wrong)


def _upload(runtime: Runtime, version: str, key: str, dry_run: bool) -> None:
    from jenkins_release.steps.portal.upload import PortalRequest, upload_release

    report = upload_release(PortalRequest(version, key, dry_run), runtime.services)
    result = {
        "candidate": str(report.candidate),
        "version": version,
        "portal": report.portal,
        "page": report.page,
        "releaseDigest": report.release_digest,
        "changed": report.changed,
        "dryRun": dry_run,
        "attestation": report.attestation,
        "head": report.head,
        "files": [
            {
                "path": each.path,
                "size": each.size,
                "sha256": each.sha256,
                "sent": each.sent,
                "address": each.address,
            }
            for each in report.files
        ],
        **_window_json(report.window),
    }
    rows = [[each.path, size(each.size), size(each.sent), each.sha256] for each in report.files]
    where = f"{version} to {report.portal}"
    if not report.changed:
        head = f"nothing to do: {version} is at {report.portal}"
    else:
        head = f"would upload {where}" if dry_run else f"uploaded {where}"
    lines = [head, table(["file", "size", "to send" if dry_run else "sent", "SHA-256"], rows)]
    lines += _window_lines(report.window)
    if version not in report.window.supported:
        lines.append(f"note: {version} is outside N and N-1 and not on the page")
    if not dry_run:
        lines += [f"page: {report.page}", f"recorded in {report.attestation}"]
    runtime.succeed(result, "\n".join(lines))


def _remove(runtime: Runtime, version: str, force: str, key: str, dry_run: bool) -> None:
    from jenkins_release.steps.portal.removal import PortalRemovalRequest, remove_from_portal

    report = remove_from_portal(PortalRemovalRequest(version, force, key, dry_run), runtime.services)
    runtime.succeed(removal_json(report, dry_run), removal_text(report, dry_run))


def removal_json(report: PortalRemoval, dry_run: bool) -> dict[str, Any]:
    """Return a removal for programs."""
    return {
        "version": report.version,
        "portal": report.portal,
        "why": report.why,
        "changed": report.changed,
        "dryRun": dry_run,
        "attestation": report.attestation,
        "head": report.head,
        "files": [{"path": path, "size": count} for path, count in report.files.items()],
        **_window_json(report.window),
    }


def removal_text(report: PortalRemoval, dry_run: bool) -> str:
    """Return a removal for people."""
    version = report.version
    if not report.changed:
        lines = [f"nothing to do: {version} is not at {report.portal}"]
    else:
        done = "would remove" if dry_run else "removed"
        lines = [f"{done} {version} from {report.portal}: {plain(report.why)}"]
        rows = [[f"{version}/{plain(path)}", size(count)] for path, count in report.files.items()]
        lines += [table(["file", "size"], rows)] if rows else []
        lines += _window_lines(report.window)
    lines += [f"recorded in {report.attestation}"] if report.attestation else []
    return "\n".join(lines)


def _link(runtime: Runtime, version: str, file: str, customer: str, expires: str) -> None:
    from jenkins_release.base.durations import parse_duration
    from jenkins_release.steps.portal.link import PortalLinkRequest, portal_link

    request = PortalLinkRequest(version, file, customer, parse_duration(expires))
    link = portal_link(request, runtime.services)
    until = minute(link.expires_at)
    # The link is the result, and is only on stdout, which can be redirected separately from the log.
    tell(f"{link.path} for {plain(link.customer)}, until {until}, SHA-256 {link.sha256}", err=True)
    result = {
        "version": link.version,
        "path": link.path,
        "size": link.size,
        "sha256": link.sha256,
        "customer": link.customer,
        "expiresAt": link.expires_at.isoformat(),
        "url": link.url,
    }
    runtime.succeed(result, link.url)


def _window_json(window: PortalSupport) -> dict[str, Any]:
    return {
        "supported": list(window.supported),
        "withdrawnThere": list(window.withdrawn),
        "unsupportedThere": list(window.outside),
        "unprovenThere": dict(window.unproven),
    }


def _window_lines(window: PortalSupport) -> list[str]:
    lines = [f"on the page: {', '.join(window.supported) or 'no version'}"]
    for versions, word in ((window.withdrawn, "withdrawn"), (window.outside, "unsupported")):
        lines += [f"{word}, still there: {v} ('release portal {v} --remove')" for v in versions]
    lines += [
        f"not on the page, {v} cannot be proven to be in force: {plain(why)}"
        for v, why in window.unproven.items()
    ]
    return lines
