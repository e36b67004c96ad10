"""``jenkins-release keys``: signing keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr

from jenkins_release.cli.command import Group
from jenkins_release.cli.runtime import Runtime, common_options, pass_runtime
from jenkins_release.config import KEY_PASSPHRASE, secret
from jenkins_release.config.load import CONFIG_VARIABLE, DEFAULT_FILE
from jenkins_release.keys import KeyType, generate_key, load_public_key, public_key_of
from jenkins_release.records.attestation import TrustedKey


@click.group(cls=Group, example="jenkins-release keys generate keys/qa.pem")
def keys() -> None:
    """Create and show signing keys."""


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
    JENKINS_RELEASE_KEY_PASSPHRASE_FILE names; otherwise, the terminal asks for it.
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
    """Show the id of a public key, and its owner if release.toml trusts it.

    For a key in AWS KMS, also show the PEM that [[trusted_keys]] needs.
    """
    found = public_key_of(key, region=region) if key.startswith("awskms:") else load_public_key(Path(key))
    trusted = _trusted(found.keyid, runtime)
    result: dict[str, Any] = {"publicKey": key, "keyid": found.keyid, "scheme": found.scheme}
    lines = [f"key id {found.keyid}"]
    if trusted is not None:
        people = runtime.services.policy.people
        aliases = list(people.get(trusted.owner, ()))
        result["trusted"] = {
            "name": trusted.name,
            "roles": sorted(trusted.roles),
            "owner": trusted.owner,
            "aliases": aliases,
            "notary": trusted.notary,
            "revoked": trusted.revoked,
        }
        lines.append(f"trusted as {trusted.name!r} for {', '.join(sorted(trusted.roles))}")
        if trusted.owner:
            also = f", also written {', '.join(aliases)}" if aliases else ""
            lines.append(f"speaks for {trusted.owner}{also}")
        elif trusted.notary:
            accepted = ", ".join(runtime.services.policy.accept_notary) or "nothing"
            lines.append(f"a notary's key: says whom Jenkins authenticated, accepted for {accepted}")
        if trusted.revoked:
            lines.append("REVOKED: nothing that it ever signed counts")
    if key.startswith("awskms:"):
        result["pem"] = pem = str(found.keyval["public"])
        lines.append(pem.rstrip())
    runtime.succeed(result, "\n".join(lines))


def _trusted(keyid: str, runtime: Runtime) -> TrustedKey | None:
    """Return what release.toml says about a key; None without the file, or if it does not trust the key."""
    path = runtime.config or Path(runtime.environ.get(CONFIG_VARIABLE) or DEFAULT_FILE)
    if not path.exists():
        return None
    return next((each for each in runtime.services.trusted_keys if each.key.keyid == keyid), None)
