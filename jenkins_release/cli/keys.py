"""``jenkins-release keys``: signing keys."""

from __future__ import annotations

from pathlib import Path

import click
from pydantic import SecretStr

from jenkins_release.cli.runtime import Runtime, common_options, pass_runtime
from jenkins_release.config import KEY_PASSPHRASE, secret
from jenkins_release.keys import KeyType, generate_key, load_public_key, public_key_of


@click.group()
def keys() -> None:
    """Make and show signing keys."""


@keys.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--type",
    "kind",
    type=click.Choice(["ed25519", "ecdsa-p256"]),
    default="ed25519",
    show_default=True,
    help="Kind of key.",
)
@common_options
@pass_runtime
def generate(runtime: Runtime, path: Path, kind: KeyType) -> None:
    """Write a new key pair: PATH (encrypted) and PATH.pub.

    The passphrase comes from JENKINS_RELEASE_KEY_PASSPHRASE or the file that
    JENKINS_RELEASE_KEY_PASSPHRASE_FILE names; on a terminal it is asked for.
    """
    passphrase = secret(KEY_PASSPHRASE, runtime.environ)
    if passphrase is None:
        asked = click.prompt("Passphrase of the new key", hide_input=True, confirmation_prompt=True, err=True)
        passphrase = SecretStr(asked)
    key = generate_key(path, kind, passphrase)
    public = path.with_name(path.name + ".pub")
    result = {"privateKey": str(path), "publicKey": str(public), "keyid": key.keyid, "type": kind}
    runtime.succeed(result, f"wrote {path} (encrypted) and {public}\nkey id {key.keyid}")


@keys.command()
@click.argument("key", metavar="PATH|awskms:KEY")
@click.option("--region", default="", help="AWS region of a KMS key  [default: AWS_REGION]")
@common_options
@pass_runtime
def show(runtime: Runtime, key: str, region: str) -> None:
    """Show the id of a public key; of one in AWS KMS also the PEM that [[trusted_keys]] needs."""
    if key.startswith("awskms:"):
        found = public_key_of(key, region=region)
        pem = str(found.keyval["public"])
        result = {"publicKey": key, "keyid": found.keyid, "scheme": found.scheme, "pem": pem}
        runtime.succeed(result, f"key id {found.keyid}\n{pem}".rstrip())
        return
    found = load_public_key(Path(key))
    runtime.succeed({"publicKey": key, "keyid": found.keyid, "scheme": found.scheme}, f"key id {found.keyid}")
