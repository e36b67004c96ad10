"""``jenkins-release keys``: signing keys."""

from __future__ import annotations

from pathlib import Path

import click
from pydantic import SecretStr

from jenkins_release.cli.runtime import Runtime, common_options, pass_runtime
from jenkins_release.config import KEY_PASSPHRASE, secret
from jenkins_release.keys import KeyType, generate_key, load_public_key


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
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@common_options
@pass_runtime
def show(runtime: Runtime, path: Path) -> None:
    """Show the key id of a public key."""
    key = load_public_key(path)
    runtime.succeed({"publicKey": str(path), "keyid": key.keyid, "scheme": key.scheme}, f"key id {key.keyid}")
