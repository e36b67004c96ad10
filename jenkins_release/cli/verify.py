"""``jenkins-release verify``: prove without the share that images and files are those that QA validated."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from jenkins_release.base.moments import minute
from jenkins_release.cli.command import Command
from jenkins_release.cli.output import plain, styled
from jenkins_release.cli.progress import progress_for
from jenkins_release.cli.runtime import Runtime, pass_runtime, result_options
from jenkins_release.records.release import ReleasedImage
from jenkins_release.rules.gate.attested_release import AttestedRelease
from jenkins_release.rules.gate.binding import UNKNOWN
from jenkins_release.rules.gate.evidence import Counted
from jenkins_release.rules.release.matching import Match

_EXISTING = click.Path(path_type=Path, exists=True)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(cls=Command)
@click.option("--bundle", type=_FILE, required=True, help="File that 'release attestations' wrote.")
@click.option(
    "--trusted-keys",
    "keys",
    type=_EXISTING,
    multiple=True,
    help="Folder with public keys such as qa.pem.pub, or TOML file with [[trusted_keys]]; may be repeated.",
)
@click.option(
    "--trust-root",
    default="",
    metavar="sha256:DIGEST:VERSION",
    help="Pin of the vendor's trust root: its trust document names keys and policy.",
)
@click.option(
    "--trust",
    "trust",
    type=_EXISTING,
    multiple=True,
    help="Version of the trust document, or a folder of them  [default: those in the bundle]",
)
@click.option(
    "--image",
    "--images",
    "images",
    multiple=True,
    metavar="REGISTRY/REPOSITORY[:TAG|@DIGEST]",
    help="Image in a registry, the release's own tag by default; may be repeated.",
)
@click.option(
    "--local-image", "local_images", multiple=True, help="Image of the Docker daemon; may be repeated."
)
@click.option("--archive", "archives", type=_FILE, multiple=True, help="Image archive; may be repeated.")
@click.option("--files", "files", type=_FILE, multiple=True, help="File of the candidate; may be repeated.")
@click.option("--release", default="", help="Refuse a bundle of another VERSION or VERSION/BUILD.")
@click.option("--docker-host", default="", help="Docker daemon  [default: $DOCKER_HOST]")
@result_options
@pass_runtime
def verify(
    runtime: Runtime,
    bundle: Path,
    keys: tuple[Path, ...],
    trust_root: str,
    trust: tuple[Path, ...],
    images: tuple[str, ...],
    local_images: tuple[str, ...],
    archives: tuple[Path, ...],
    files: tuple[Path, ...],
    release: str,
    docker_host: str,
) -> None:
    """Prove without the share that images and files are those that QA validated, and were promoted.

    Needs no release.toml either: only the bundle, and public keys or a trust root. The login for a registry
    comes from JENKINS_RELEASE_REGISTRY_USER and JENKINS_RELEASE_REGISTRY_PASSWORD, or the file that
    JENKINS_RELEASE_REGISTRY_PASSWORD_FILE names. Each registry response must start within 60 s and arrive at
    16 KiB/s or more; failed requests are tried up to three times.
    """
    from jenkins_release.steps.release.verify import VerifyReleaseRequest, verify_release

    if bool(trust_root) == bool(keys) or (trust and not trust_root):
        raise click.UsageError("give either --trusted-keys, or --trust-root and optionally --trust")
    request = VerifyReleaseRequest(
        bundle, keys, images, local_images, archives, files, docker_host, release, trust_root, trust
    )
    done = verify_release(request, environ=runtime.environ, progress=progress_for(sys.stderr))
    authority = done.authority
    result = {
        "release": _release_json(done.release),
        "verified": [_match_json(m) for m in done.matches],
        "trust": {"version": authority.number, "digest": authority.digest, "policy": authority.policy_digest}
        if authority
        else None,
        "notChecked": list(done.unchecked),
    }
    lines = [*_release_lines(done.release), *map(_match_line, done.matches)]
    if authority is not None:
        lines.append(f"trust document version {authority.number}, {authority.digest}: its policy is met")
    lines += [plain(f"not checked: {line}") for line in done.unchecked]
    runtime.succeed(result, "\n".join(lines))


def _release_lines(release: AttestedRelease) -> list[str]:
    record, promoted = release.record, release.promotion
    lines = [f"release {record.product} {record.ident}, candidate.json {release.digest}"]
    if release.attested is not None:
        lines.append(
            f"built by {record.built_by} from revision {record.revision or 'unknown'}{_by(release.attested)}"
        )
    else:
        lines.append("build attestation: none by a trusted key")
    lines += [
        f"validated by {verdict.tester} at {minute(verdict.signed_at)} (key {verdict.key})"
        + ("" if verdict.tested != "unknown" else f", {UNKNOWN}")
        for verdict in release.passes
    ]
    lines += [
        f"approved by {own.get('approver')}{_by(item)}: {own.get('reason')}"
        for item, own in ((item, item.statement.extension) for item in release.approvals)
    ]
    if promoted is not None and release.promoted is not None:
        who = promoted.statement.extension.get("promotedBy")
        lines.append(f"promoted by {who} to {release.promoted.registry}{_by(promoted)}")
    if release.publication is not None and release.published is not None:
        who = release.publication.statement.extension.get("publishedBy")
        lines.append(f"published by {who} in {release.published.location}{_by(release.publication)}")
    if release.summary is not None:
        levels = ", ".join(release.summary.statement.predicate["verifiedLevels"])
        lines.append(f"summary: PASSED, {levels}{_by(release.summary)}")
    overridden = styled("*** OVERRIDDEN ***", "bad")
    return [*map(plain, lines), *(f"{overridden} {plain(line)}" for line in release.overridden)]


def _by(item: Counted) -> str:
    return f" at {minute(item.statement.signed_at)} (key {item.key.name})"


def _match_line(match: Match) -> str:
    kind = match.kind.replace("-", " ")
    parts = plain(f"{kind} {match.name}: {', '.join(match.parts)}, {match.note}, {match.digest}")
    return f"{styled('verified', 'good')} {parts}"


def _release_json(release: AttestedRelease) -> dict[str, Any]:
    record = release.record
    return {
        "candidate": record.ident,
        "product": record.product,
        "version": record.version,
        "build": record.build,
        "digest": release.digest,
        "revision": record.revision,
        "builtBy": record.built_by,
        "buildAttested": release.attested is not None,
        "signOffs": [
            {"tester": v.tester, "key": v.key, "signedAt": v.signed_at.isoformat()} for v in release.passes
        ],
        "approvals": [
            {
                "approver": item.statement.extension.get("approver"),
                "reason": item.statement.extension.get("reason"),
                **_signed(item),
            }
            for item in release.approvals
        ],
        "registry": release.promoted.registry if release.promoted else None,
        "images": [_image_json(image) for image in (release.promoted.images if release.promoted else ())],
        "promotion": _signed(release.promotion) if release.promotion else None,
        "location": release.published.location if release.published else None,
        "files": [
            file.model_dump(mode="json") for file in (release.published.files if release.published else ())
        ],
        "publication": _signed(release.publication) if release.publication else None,
        "summary": _summary_json(release.summary) if release.summary else None,
        "overridden": list(release.overridden),
        "notCounted": list(release.evidence.ignored),
    }


def _image_json(image: ReleasedImage) -> dict[str, Any]:
    found = image.model_dump(mode="json", by_alias=True)
    for name in ("indexDigest", "configDigests") if image.config_digest else ("configDigest",):
        del found[name]
    return found


def _signed(item: Counted) -> dict[str, Any]:
    return {"key": item.key.name, "signedAt": item.statement.signed_at.isoformat()}


def _summary_json(summary: Counted) -> dict[str, Any]:
    said = summary.statement.predicate
    return {
        "verificationResult": said["verificationResult"],
        "verifiedLevels": said["verifiedLevels"],
        **_signed(summary),
    }


def _match_json(match: Match) -> dict[str, Any]:
    return {
        "kind": match.kind,
        "name": match.name,
        "digest": match.digest,
        "parts": list(match.parts),
        "note": match.note,
    }
