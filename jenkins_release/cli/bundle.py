"""``jenkins-release bundle``: the setup zip with which customers deploy a release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from jenkins_release.cli.command import Group
from jenkins_release.cli.output import counted, size, styled, table
from jenkins_release.cli.runtime import Runtime, common_options, pass_runtime, share_option


@click.group(cls=Group, example="jenkins-release bundle build 8.1.0")
def bundle() -> None:
    """Build the setup zip that customers deploy with, or prove one."""


@bundle.command()
@click.argument("version")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write  [default: PRODUCT-setup-VERSION.zip]",
)
@click.option("--build", default="", help="Build, if several of the version were promoted.")
@click.option("--key", default="", help="Promotion key, file2: or awskms:  [default: signing.promotion_key]")
@click.option("--dry-run", is_flag=True, help="Check everything, write nothing.")
@share_option
@common_options
@pass_runtime
def build(runtime: Runtime, version: str, out: Path | None, build: str, key: str, dry_run: bool) -> None:
    """Build the setup zip of a promoted version: always the same bytes, on every machine.

    Its images are pinned by the digests of the signed promotion. The product's files come from the folder
    bundle.templates. The first build attests every file with the promotion key.
    """
    from jenkins_release.steps.setup_zip.build import BundleRequest, build_bundle

    report = build_bundle(BundleRequest(version, out, build, key, dry_run), runtime.services)
    result: dict[str, Any] = {
        "candidate": str(report.candidate),
        "file": str(report.out),
        "sha256": report.sha256,
        "size": report.size,
        "dryRun": dry_run,
        "added": report.added,
        "attested": report.attested,
        "head": report.head,
        "bundle": report.bundle.model_dump(mode="json", by_alias=True),
    }
    files = counted(len(report.bundle.files) + 2, "file")
    images = counted(len(report.bundle.images), "image")
    done = "would write" if dry_run else "wrote"
    lines = [f"{done} {report.out}: {files}, {images} of {report.candidate}, {size(report.size)}"]
    lines.append(table(("image", "digest"), [(i.repository, i.digest) for i in report.bundle.images]))
    lines += [f"added {report.added}"] if report.added else []
    lines += [f"attested by {report.attested}"] if report.attested else []
    lines += [f"sha256:{report.sha256}"] if report.sha256 else []
    runtime.succeed(result, "\n".join(lines))


@bundle.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--trusted-keys",
    "keys",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="Folder with public keys such as qa.pem.pub, or TOML file with [[trusted_keys]]; may be repeated  "
    "[default: release.toml, or the pinned trust root]",
)
@click.option(
    "--trust-root", default="", metavar="PIN", help="Pin of the vendor's trust root: its policy decides."
)
@click.option(
    "--trust",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="Version of the trust document such as 1.root.json, or a folder of them; may be repeated.",
)
@common_options
@pass_runtime
def verify(
    runtime: Runtime, file: Path, keys: tuple[Path, ...], trust_root: str, trust: tuple[Path, ...]
) -> None:
    """Prove a setup zip: check every file and digest in it against its attestations.

    Needs no share and, with --trusted-keys or --trust-root, no release.toml. If the same version of this
    program wrote the zip, the scripts are compared with its own. With a trust root, its policy must allow the
    promotion.
    """
    from jenkins_release.steps.setup_zip.verify import BundleVerifyRequest, prove_setup_file, verify_bundle

    if bool(trust_root) != bool(trust) or (keys and trust_root):
        raise click.UsageError("give either --trusted-keys, or --trust-root and --trust")
    if keys or trust_root:
        proof = verify_bundle(BundleVerifyRequest(file, keys, trust_root, trust))
    else:
        services = runtime.services
        proof, _ = prove_setup_file(file, services.trusted_keys, services.now(), services.authorities)
    record = proof.bundle
    result: dict[str, Any] = {
        "file": str(file),
        "sha256": proof.sha256,
        "size": proof.size,
        "candidate": proof.release.record.ident,
        "scriptsCompared": proof.scripts_compared,
        "attestedBy": proof.attested.key.name,
        "bundle": record.model_dump(mode="json", by_alias=True),
    }
    compared = (
        "compared with this program's" if proof.scripts_compared else f"of {record.writer}, not compared"
    )
    by = proof.attested.key.name
    lines = [
        f"{styled('verified', 'good')} {file}: {record.product} {proof.release.record.ident}, "
        "validated, promoted, in force",
        f"{counted(len(record.files) + 2, 'file')}, attested with the key {by}; scripts {compared}",
        table(("image", "digest"), [(i.repository, i.digest) for i in record.images]),
        f"sha256:{proof.sha256}",
    ]
    runtime.succeed(result, "\n".join(lines))
