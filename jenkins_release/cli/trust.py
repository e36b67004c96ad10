"""``jenkins-release trust``: policy and trusted keys, signed by root keys, outside the workspace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jenkins_release.base.moments import minute
from jenkins_release.cli.command import Group
from jenkins_release.cli.output import bullets, plain
from jenkins_release.cli.runtime import Runtime, common_options, pass_runtime, result_options, share_option

if TYPE_CHECKING:
    from jenkins_release.records.trust import TrustVersion
    from jenkins_release.steps.trust.document import TrustDraft

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_DRAFT = click.option(
    "--draft",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Write the draft to this file, for the holders of the root keys to sign.",
)
_ROOT_KEYS = click.option(
    "--root-key",
    "root_keys",
    type=_FILE,
    multiple=True,
    help="Public root key, a .pub file; may be repeated.",
)
_EXPIRES = click.option(
    "--expires-days",
    type=click.IntRange(min=1, max=3650),
    default=365,
    show_default=True,
    help="Days until this version expires.",
)
_FIXED = click.option(
    "--fix",
    "fixed",
    multiple=True,
    metavar="SECTION.KEY",
    help="Also fix this key of release.toml at its current value; may be repeated.",
)
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Check everything, write nothing.")


@click.group(cls=Group, example="jenkins-release trust show")
def trust() -> None:
    """Sign policy and trusted keys with root keys, outside the workspace."""


@trust.command()
@_DRAFT
@_ROOT_KEYS
@click.option("--threshold", type=click.IntRange(min=1), required=True, help="How many root keys must sign.")
@_EXPIRES
@_FIXED
@_DRY_RUN
@share_option
@common_options
@pass_runtime
def init(
    runtime: Runtime,
    draft: Path,
    root_keys: tuple[Path, ...],
    threshold: int,
    expires_days: int,
    fixed: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Draft the first version, from release.toml's [policy] and [[trusted_keys]]."""
    from jenkins_release.steps.trust.document import TrustDraftRequest, init_trust

    request = TrustDraftRequest(draft, root_keys, threshold, expires_days, fixed, dry_run)
    _tell_draft(runtime, init_trust(request, runtime.services))


@trust.command()
@_DRAFT
@_ROOT_KEYS
@click.option(
    "--threshold",
    type=click.IntRange(min=0),
    default=0,
    help="How many root keys must sign from this version on; required with --root-key  [default: as before]",
)
@_EXPIRES
@_FIXED
@_DRY_RUN
@share_option
@common_options
@pass_runtime
def update(
    runtime: Runtime,
    draft: Path,
    root_keys: tuple[Path, ...],
    threshold: int,
    expires_days: int,
    fixed: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Draft the next version, from the current policy and keys in release.toml.

    With --root-key, the root keys are replaced by the given ones; both the old and the new threshold must
    sign.
    """
    from jenkins_release.steps.trust.document import TrustDraftRequest, update_trust

    request = TrustDraftRequest(draft, root_keys, threshold, expires_days, fixed, dry_run)
    _tell_draft(runtime, update_trust(request, runtime.services))


@trust.command()
@click.argument("draft", type=_FILE)
@click.option("--key", required=True, help="Root key, file2:PATH or awskms:KEY.")
@click.option("--region", default="", help="AWS region of a KMS key  [default: AWS_REGION]")
@_DRY_RUN
@result_options
@pass_runtime
def sign(runtime: Runtime, draft: Path, key: str, region: str, dry_run: bool) -> None:
    """Sign a draft with a root key. Needs no release.toml, and a network only for a key in AWS KMS."""
    from jenkins_release.steps.trust.document import SignTrustRequest, sign_trust

    _tell_draft(runtime, sign_trust(SignTrustRequest(draft, key, region, dry_run), environ=runtime.environ))


@trust.command()
@click.argument("draft", type=_FILE)
@_DRY_RUN
@share_option
@common_options
@pass_runtime
def publish(runtime: Runtime, draft: Path, dry_run: bool) -> None:
    """Publish a version with enough root signatures; it is never overwritten."""
    from jenkins_release.steps.trust.document import publish_trust

    done = publish_trust(draft, runtime.services, dry_run=dry_run)
    word = "would publish" if dry_run else "published" if done.changed else "nothing to do: there is"
    result = version_json(done.version) | {
        "location": done.location,
        "pin": str(done.pin),
        "changed": done.changed,
        "dryRun": dry_run,
    }
    runtime.succeed(result, f"{word} version {done.version.number} in {done.location}\npin {done.pin}")


@trust.command()
@click.argument("number", metavar="[VERSION]", type=click.IntRange(min=1), required=False)
@click.option(
    "--against", type=click.IntRange(min=1), help="Compare with this version  [default: the one before]"
)
@click.option("--draft", type=_FILE, help="Show a draft instead.")
@share_option
@common_options
@pass_runtime
def show(runtime: Runtime, number: int | None, against: int | None, draft: Path | None) -> None:
    """Show a version, the newest by default: root keys, policy, trusted keys, pin, and what it changes."""
    from jenkins_release.steps.trust.document import show_draft, show_trust

    if draft is not None:
        if number or against:
            raise click.UsageError("--draft shows one file: leave out VERSION and --against")
        _tell_draft(runtime, show_draft(draft))
        return
    shown = show_trust(runtime.services, number=number or 0, against=against or 0)
    result = version_json(shown.version) | {
        "newest": shown.newest,
        "location": shown.location,
        "pin": str(shown.pin),
        "pinned": {"from": shown.pinned_in, "version": shown.pinned, "pins": [str(p) for p in shown.pins]}
        if shown.pins
        else None,
        "against": shown.against or None,
        "changes": list(shown.changes),
        "warnings": list(shown.warnings),
    }
    pinned = (
        f"pinned at version {shown.pinned} in {shown.pinned_in}"
        if shown.pins
        else "no root is pinned on this machine: release.toml decides"
    )
    lines = [
        f"trust document of {plain(shown.version.document.product)} in {shown.location}, "
        f"newest version {shown.newest}",
        *version_lines(shown.version),
        f"pin {shown.pin}",
        pinned,
    ]
    if shown.against:
        lines += [
            f"changes against version {shown.against}:",
            bullets([*map(plain, shown.changes)] or ["nothing"]),
        ]
    lines += [f"warning: {warning}" for warning in shown.warnings]
    runtime.succeed(result, "\n".join(lines))


def version_json(version: TrustVersion) -> dict[str, Any]:
    """Return a version for programs."""
    document = version.document
    return {
        "product": document.product,
        "version": version.number,
        "digest": version.digest,
        "madeAt": document.made_at.isoformat(),
        "expires": version.expires.isoformat(),
        "threshold": version.threshold,
        "rootKeys": [{"keyid": keyid, "name": name} for keyid, name in version.root_keys.items()],
        "policy": document.policy.model_dump(mode="json"),
        "trustedKeys": [key.model_dump(mode="json") for key in document.trusted_keys],
        "fixed": document.fixed,
        "repositories": list(document.repositories),
    }


def version_lines(version: TrustVersion) -> list[str]:
    """Return a version for people: everything that its signers have to agree with."""
    from jenkins_release.rules.gate.trust import key_words

    document = version.document
    policy = document.policy.model_dump(mode="json")
    default = type(document.policy)().model_dump(mode="json")
    keys = [f"{plain(key.name)}: {plain(key_words(key))}" for key in document.trusted_keys]
    asked = [f"{name} = {value!r}" for name, value in policy.items() if value != default[name]]
    asked = [f"approvals = {policy['approvals']}", f"sign_offs = {policy['sign_offs']}"] + [
        line for line in asked if not line.startswith(("approvals =", "sign_offs ="))
    ]
    fixed = [f"{plain(name)} = {value!r}" for name, value in sorted(document.fixed.items())]
    if document.repositories:
        fixed.append(f"repositories: {plain(', '.join(document.repositories))}")
    return [
        f"version {version.number}, {version.digest}",
        f"made {minute(document.made_at)}, expires {minute(version.expires)}",
        f"root keys, {version.threshold} of {len(version.root_keys)} must sign:",
        bullets([f"{plain(name)}: key id {plain(keyid)}" for keyid, name in version.root_keys.items()]),
        "policy:",
        bullets(asked),
        "trusted keys:",
        bullets(keys or ["none"]),
        *(["fixed in release.toml:", bullets(fixed)] if fixed else []),
    ]


def _tell_draft(runtime: Runtime, draft: TrustDraft) -> None:
    version = draft.version
    result = version_json(version) | {
        "draft": str(draft.file) if draft.file else None,
        "pin": f"{version.digest}:{version.number}",
        "previous": version.previous.digest if version.previous else None,
        "changes": list(draft.changes),
        "missing": list(draft.missing),
        "complete": not draft.missing,
    }
    lines = [*version_lines(version)]
    if draft.changes:
        before = version.previous
        against = f"version {version.number - 1}" + (f", {before.digest}" if before else "")
        lines += [f"changes against {against}:", bullets([*map(plain, draft.changes)])]
    if draft.note:
        lines.append(plain(draft.note))
    if draft.missing:
        lines += ["signatures so far:", bullets([*map(plain, draft.missing)])]
    else:
        lines.append("signed as required: 'jenkins-release trust publish' publishes it")
    lines.append(f"wrote {draft.file}" if draft.file and not draft.found else "wrote nothing")
    runtime.succeed(result, "\n".join(lines))
