"""A product to rehearse with: SkyDRM's ``release.toml`` and keys for every role."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr

from jenkins_release.keys import generate_key
from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION
from jenkins_release.sandbox.sample_images import SERVICES

ROLES = ("build", "qa", "approval", "override", "promotion")
_OWNERS = {
    "qa": "Quinn Adams",
    "request": "Riley Moss",
    "approval": "Alex Baker",
    "override": "Dana Cole",
}

_HEAD = """\
# SkyDRM in the sandbox. examples/skydrm/release.toml explains every key.
[product]
name = "SkyDRM"

[share]
release_candidate = {share}
releases = {releases}

[ecr]
region = "{region}"
account = "{account}"
create_repositories = true
repository_tags = {{ product = "SkyDRM" }}
"""
_IMAGE = """
[[images]]
name = "{name}"
source = "skydrm/{name}:{{version}}-{{build}}"
repository = "skydrm/{name}"
"""
_KEY = """
[[trusted_keys]]
name = "{role}"
roles = ["{role}"]
public_key = "keys/{role}.pem.pub"
"""
_POLICY = """
[policy]
people."Alex Baker" = ["alex"]
people."Dana Cole" = ["dana"]
people."Quinn Adams" = ["quinn"]
people."Riley Moss" = [{riley}]
machines = ["jenkins"]
"""


def write_product(
    folder: Path,
    share: str,
    passphrase: SecretStr,
    *,
    releases: str = "",
    names: Sequence[str] = SERVICES,
    user: str = "",
    ledger: Path | None = None,
) -> Path:
    """Write ``release.toml`` and the keys that it trusts; existing files are kept.

    Args:
        folder: The folder.
        share: Location of the share for release candidates.
        passphrase: Encrypts the private keys.
        releases: Location of the release area; empty for none.
        names: The product's images.
        user: Who rehearses, in the role of Riley Moss, who builds and requests: the policy then lists people,
            and the keys have owners. Empty: names are compared by spelling.
        ledger: Folder of the ledger, created if missing; None for no ledger.

    Returns:
        Path of ``release.toml``.
    """
    keys = folder / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    roles = (*ROLES, "request") if user else ROLES
    for role in roles:
        if not (keys / f"{role}.pem").exists():
            generate_key(keys / f"{role}.pem", "ed25519", passphrase)
    text = _HEAD.format(
        share=json.dumps(share), releases=json.dumps(releases), region=REGION, account=ACCOUNT
    )
    text += "".join(_IMAGE.format(name=name) for name in names)
    text += "\n[signing]\n" + "".join(f'{role}_key = "file2:{keys / role}.pem"\n' for role in roles)
    if user:
        riley = dict.fromkeys(["riley", user])
        text += _POLICY.format(riley=", ".join(json.dumps(name) for name in riley))
    for role in roles:
        text += _KEY.format(role=role)
        if user and role != "build":
            text += f'owner = "{_OWNERS[role]}"\n' if role in _OWNERS else "notary = true\n"
    if ledger is not None:
        ledger.mkdir(parents=True, exist_ok=True)
        text += f'\n[ledger]\nkind = "folder"\nlocation = {json.dumps(str(ledger))}\n'
    target = folder / "release.toml"
    target.write_text(text, encoding="utf-8")
    return target
