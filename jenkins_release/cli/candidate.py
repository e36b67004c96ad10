"""``jenkins-release candidate``: release candidates on the share."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jenkins_release.base.moments import minute
from jenkins_release.cli.command import Group
from jenkins_release.cli.documents import document_json, documents_table
from jenkins_release.cli.gate import gate_json, gate_shown, gate_text, gate_word
from jenkins_release.cli.output import counted, plain, rate, size, styled, table
from jenkins_release.cli.runtime import (
    Runtime,
    candidate_argument,
    common_options,
    docker_option,
    pass_runtime,
    share_option,
)
from jenkins_release.cli.waits import wait_json, wait_text
from jenkins_release.share.candidates import CandidateRef

if TYPE_CHECKING:
    from jenkins_release.records.attestation import Statement
    from jenkins_release.records.candidate import Candidate, CandidateImage


@click.group(cls=Group, example="jenkins-release candidate export --version 8.1.0 --build 42")
def candidate() -> None:
    """Export, list, check and load release candidates."""


@candidate.command()
@click.option("--version", required=True, help="Product version, such as 8.1.0.")
@click.option("--build", required=True, help="Build number.")
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder of the build's output, with the files of [[installers]]  [default: .]",
)
@click.option("--revision", default="", help="Source revision  [default: $GIT_COMMIT]")
@click.option("--key", default="", help="Build key, file2: or awskms:  [default: signing.build_key]")
@click.option("--dry-run", is_flag=True, help="Check everything, write nothing.")
@share_option
@docker_option
@common_options
@pass_runtime
def export(
    runtime: Runtime, version: str, build: str, folder: Path, revision: str, key: str, dry_run: bool
) -> None:
    """Save the configured images and installers as one candidate, completely or not at all."""
    from jenkins_release.steps.candidate.export import ExportRequest, export_candidate

    request = ExportRequest(version, build, revision, key, dry_run, folder)
    report = export_candidate(request, runtime.services)
    if report.candidate is None:
        rows = [[i.reference, i.platform, size(i.size)] for i in report.images]
        rows += [[i.name, i.section.kind, size(i.local.size)] for i in report.installers]
        rows += [[d.record.path, d.record.kind, size(d.local.size)] for d in report.documents]
        result: dict[str, Any] = {
            "dryRun": True,
            "location": report.location,
            "images": [{"reference": i.reference, "platform": i.platform} for i in report.images],
            "installers": [
                {"name": i.name, "kind": i.section.kind, "bytes": i.local.size} for i in report.installers
            ],
            "documents": [document_json(d.record, d.local.size, d.sha256) for d in report.documents],
        }
        heads = ["image, installer or document", "platform or kind", "size"]
        text = f"would export to {report.location}\n{table(heads, rows)}"
        runtime.succeed(result, text)
        return
    result = _candidate_json(report.candidate, report.digest, report.location)
    result |= {"bytes": report.bytes, "reusedBytes": report.reused, "seconds": round(report.seconds, 3)}
    result |= {"attested": report.attested, "head": report.head, "source": report.source, "why": report.why}
    reused = f", {size(report.reused)} of it copied on the share" if report.reused else ""
    summary = (
        f"exported {report.candidate.product} {report.candidate.ident} to {report.location}\n"
        f"{_contents(report.candidate)}\n"
        f"{size(report.bytes)} in {report.seconds:.1f} s, {rate(report.bytes, report.seconds)}{reused}\n"
        f"{_left_by(report.source, report.why)}"
        f"candidate.json {report.digest}"
    )
    runtime.succeed(result, summary)


def _left_by(source: str, why: str) -> str:
    return f"images by docker {source}: {why}\n" if source else ""


@candidate.command("list")
@click.option("--version", default=None, help="Only candidates of this version.")
@share_option
@common_options
@pass_runtime
def list_(runtime: Runtime, version: str | None) -> None:
    """List the candidates, their states, and what each waits for."""
    from jenkins_release.steps.candidate.listing import list_candidates

    found = list_candidates(runtime.services, version=version)
    rows, documents = [], []
    for item in found:
        document: dict[str, Any] = {"candidate": str(item.ref)}
        if item.record is None or item.decision is None:
            rows.append(
                [
                    str(item.ref),
                    "-",
                    "-",
                    "-",
                    "-",
                    f"{styled('unusable:', 'bad')} {item.problem}",
                    wait_text(item.wait),
                ]
            )
            document["problem"] = item.problem
        else:
            record = item.record
            total = sum(file.size for file in record.files)
            when = f"{record.exported_at.astimezone(UTC):%Y-%m-%d %H:%M}"
            rows.append(
                [
                    str(item.ref),
                    when,
                    str(len(record.images)),
                    str(len(record.installers)),
                    size(total),
                    gate_shown(item.decision, gate_word(item.decision).split(",")[0]),
                    wait_text(item.wait),
                ]
            )
            document |= {
                "exportedAt": record.exported_at.isoformat(),
                "builtBy": record.built_by,
                "images": len(record.images),
                "installers": len(record.installers),
                "bytes": total,
                "gate": gate_json(item.decision),
            }
        documents.append(document | wait_json(item.wait))
    heads = ["candidate", "exported (UTC)", "images", "installers", "size", "gate", "waits for"]
    text = table(heads, rows) if rows else "no candidates"
    runtime.succeed({"candidates": documents}, text)


@candidate.command()
@candidate_argument
@share_option
@common_options
@pass_runtime
def show(runtime: Runtime, ref: CandidateRef) -> None:
    """Show one candidate: images, attestations, and what the gate says."""
    from jenkins_release.rules.gate.binding import binding
    from jenkins_release.steps.candidate.listing import show_candidate

    shown = show_candidate(ref, runtime.services)
    record = shown.record
    result = _candidate_json(record, shown.digest, shown.location)
    rows, result["attestations"] = [], []
    for item in shown.attestations:
        said = item.statement
        what = item.problem or _said(said) if said else item.problem
        who = item.signer or "unknown"
        when = f"{said.signed_at.astimezone(UTC):%Y-%m-%d %H:%M}" if said else "-"
        rows.append([item.file, said.kind if said else "?", who, when, plain(what)])
        result["attestations"].append(
            {
                "file": item.file,
                "kind": said.kind if said else None,
                "signer": item.signer,
                "signedAt": said.signed_at.isoformat() if said else None,
                "problem": item.problem,
                **({"tested": binding(said)} if said and said.kind == "qa" else {}),
            }
        )
    result["gate"] = gate_json(shown.decision)
    headers = ["attestation", "kind", "key", "signed (UTC)", "says"]
    text = "\n".join(
        [
            f"{record.product} {record.ident} at {shown.location}",
            f"exported {minute(record.exported_at)} by {record.built_by} with {record.exporter}",
            f"revision {record.revision or 'unknown'}, build {record.build_url or 'outside Jenkins'}",
            f"candidate.json {shown.digest}",
            _contents(record),
            table(headers, rows) if rows else "no attestations",
            gate_text(shown.decision),
        ]
    )
    runtime.succeed(result, text)


@candidate.command()
@candidate_argument
@click.option("--head", default="", metavar="SHA256", help="The chain must contain this attestation.")
@share_option
@common_options
@pass_runtime
def verify(runtime: Runtime, ref: CandidateRef, head: str) -> None:
    """Read every byte of a candidate on the share again, and check it."""
    from jenkins_release.steps.candidate.verify import verify_candidate

    report = verify_candidate(ref, runtime.services, head=head)
    result = {
        "candidate": str(ref),
        "digest": report.digest,
        "files": report.files,
        "bytes": report.bytes,
        "attestations": report.attestations,
        "head": report.head,
    }
    found = [counted(report.files, "file"), size(report.bytes), counted(report.attestations, "attestation")]
    text = f"candidate {ref} is what was recorded: {', '.join(found)}"
    if report.head:
        text += f"\nthe chain of attestations ends with SHA-256 {report.head}"
    runtime.succeed(result, text)


@candidate.command()
@candidate_argument
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@share_option
@common_options
@pass_runtime
def fetch(runtime: Runtime, ref: CandidateRef, folder: Path) -> None:
    """Copy a candidate to FOLDER, and check it on the way."""
    from jenkins_release.steps.candidate.fetch import fetch_candidate

    report = fetch_candidate(ref, folder, runtime.services)
    result = {
        "candidate": str(ref),
        "digest": report.digest,
        "folder": str(folder),
        "files": report.files,
        "bytes": report.bytes,
        "receipt": _shown(report.receipt),
    }
    fetched = f"{counted(report.files, 'file')}, {size(report.bytes)}"
    runtime.succeed(result, f"fetched {ref} to {folder}: {fetched}\ncandidate.json {report.digest}")


@candidate.command()
@candidate_argument
@click.option("--platform", default="", help="Which of several platforms  [default: that of the daemon]")
@share_option
@docker_option
@common_options
@pass_runtime
def load(runtime: Runtime, ref: CandidateRef, platform: str) -> None:
    """Load a candidate's images into the Docker daemon, and compare the config digests."""
    from jenkins_release.records.candidate import config_digests
    from jenkins_release.steps.candidate.load import load_candidate

    report = load_candidate(ref, runtime.services, platform=platform)
    images, rows = [], []
    for image in report.images:
        chosen = report.platforms.get(image.name)
        digest = config_digests(image)[chosen] if chosen else image.identity
        images.append({"reference": image.reference, "configDigest": digest})
        if chosen:
            images[-1]["platform"] = chosen
        rows.append([image.reference, digest, *([chosen or image.platform] if report.platforms else [])])
    headers = ["image", "config digest", *(["platform"] if report.platforms else [])]
    text = f"loaded {ref}, {size(report.bytes)} read from the share; config digests as recorded\n"
    text += table(headers, rows) + f"\ncandidate.json {report.digest}"
    result = {"candidate": str(ref), "digest": report.digest, "bytes": report.bytes, "images": images}
    runtime.succeed({**result, "receipt": _shown(report.receipt)}, text)


@candidate.command()
@click.option("--version", required=True, help="Product version, such as 8.1.0.")
@click.option("--build", required=True, help="Build number.")
@click.option(
    "--for",
    "minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    help="Longest time, in minutes.",
)
@docker_option
@common_options
@pass_runtime
def warm(runtime: Runtime, version: str, build: str, minutes: float | None) -> None:
    """Let the Docker daemon learn the digests of its layers, so that exports need not read them.

    Run it after the first export on an agent, when nobody waits. Writes nothing.
    """
    from jenkins_release.steps.candidate.warm import warm_daemon

    seconds = None if minutes is None else 60 * minutes
    report = warm_daemon(version, build, runtime.services, seconds=seconds)
    result = {
        "images": list(report.images),
        "layers": report.layers,
        "bytes": report.bytes,
        "seconds": round(report.seconds, 3),
        "complete": report.complete,
    }
    end = "it knows every layer now" if report.complete else "the rest comes with the next run"
    learnt = f"{counted(report.layers, 'layer')}, {size(report.bytes)} compressed"
    runtime.succeed(result, f"the daemon learnt {learnt} in {report.seconds:.1f} s; {end}")


@candidate.command()
@candidate_argument
@click.option(
    "--port", type=click.IntRange(1, 65535), default=None, help="Port on 127.0.0.1  [default: a free one]"
)
@share_option
@common_options
@pass_runtime
def serve(runtime: Runtime, ref: CandidateRef, port: int | None) -> None:
    """Serve a candidate's images from the share on 127.0.0.1, read only, until Ctrl-C.

    Everybody on this machine may pull, unless JENKINS_RELEASE_SERVE_PASSWORD is set.
    """
    from jenkins_release.steps.candidate.serve import serve_candidate

    with serve_candidate(ref, runtime.services, port=port or 0) as serving:
        rows = [[each.reference, each.digest, each.image.platform] for each in serving.images]
        login = f"clients log in as {serving.username}"
        who = login if serving.username else "everybody on this machine may pull"
        text = f"serving {ref} at {serving.host}, read only, until Ctrl-C; {who}\n"
        text += table(["image", "digest", "platform"], rows) + f"\ncandidate.json {serving.opened.digest}"
        result = {
            "candidate": str(ref),
            "digest": serving.opened.digest,
            "host": serving.host,
            "images": [
                {"name": each.image.name, "reference": each.reference, "digest": each.digest}
                for each in serving.images
            ],
        }
        runtime.succeed(result, text)
        serving.wait()


def _shown(receipt: Path | None) -> str:
    return str(receipt or "")


def _candidate_json(record: Candidate, digest: str, location: str) -> dict[str, Any]:
    return {
        "candidate": record.ident,
        "product": record.product,
        "version": record.version,
        "build": record.build,
        "digest": digest,
        "location": location,
        "images": [
            {
                "name": image.name,
                "reference": image.reference,
                "archive": image.archive,
                **_identity_json(image),
                "bytes": image.size,
            }
            for image in record.images
        ],
        "installers": [
            {
                "name": installer.name,
                "kind": installer.kind,
                "sha256": record.file(installer.path).sha256,
                "bytes": record.file(installer.path).size,
                "signed": installer.signature is not None,
            }
            for installer in record.installers
        ],
        "documents": [
            document_json(each, record.file(each.path).size, record.file(each.path).sha256)
            for each in record.documents
        ],
    }


def _identity_json(image: CandidateImage) -> dict[str, Any]:
    from jenkins_release.records.candidate import MultiPlatformRecord

    if not isinstance(image, MultiPlatformRecord):
        return {"platform": image.platform, "configDigest": image.config_digest}
    platforms = [
        {"platform": p.platform, "digest": p.manifest.digest, "configDigest": p.config_digest}
        for p in image.platforms
    ]
    return {"indexDigest": image.index.digest, "platforms": platforms}


def _contents(record: Candidate) -> str:
    parts = []
    if record.images:
        rows = [[i.reference, i.identity, i.platform, size(i.size)] for i in record.images]
        parts.append(table(["image", record.identities, "platform", "size"], rows))
    if record.installers:
        rows = []
        for installer in record.installers:
            file = record.file(installer.path)
            signed = "signed" if installer.signature else "-"
            rows.append([installer.name, file.sha256, installer.kind, signed, size(file.size)])
        parts.append(table(["installer", "SHA-256", "kind", "signature", "size"], rows))
    if record.documents:
        parts.append(documents_table(record.documents))
    return "\n".join(parts)


def _said(said: Statement) -> str:
    from jenkins_release.rules.gate.binding import tested_text

    predicate, extension = said.predicate, said.extension
    words = []
    if "result" in predicate:
        words.append(str(predicate["result"]).lower())
    tests = extension.get("tests")
    if isinstance(tests, dict):
        words.append(f"{tests.get('passed')} tests passed, {tests.get('failed')} failed")
    shown = ("tester", "approver", "by", "promotedBy", "withdrawnBy", "reason", "note", "acceptedFailures")
    words += [f"{key}: {extension[key]}" for key in shown if extension.get(key)]
    words += [tested_text(said)] if said.kind == "qa" else []
    return ", ".join(words)
