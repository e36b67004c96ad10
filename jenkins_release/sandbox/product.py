"""A product to rehearse with: SkyDRM's ``release.toml`` and keys for every role."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr

from jenkins_release.keys import generate_key
from jenkins_release.sandbox.demo_images import SERVICES
from jenkins_release.sandbox.ecr_state import ACCOUNT, REGION

ROLES = ("build", "qa", "approval", "override", "promotion")

_HEAD = """\
# SkyDRM in the sandbox. examples/skydrm/release.toml explains every key.
[product]
name = "SkyDRM"

[share]
release_candidate = "{share}"
releases = "{releases}"

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


def write_product(
    folder: Path,
    share: str,
    passphrase: SecretStr,
    *,
    releases: str = "",
    names: Sequence[str] = SERVICES,
) -> Path:
    """Write ``release.toml`` and the keys that it trusts; what is there already is kept.

    Args:
        folder: Where to.
        share: Location of the share for release candidates.
        passphrase: Encrypts the private keys.
        releases: Location of the release area; empty for none.
        names: The product's images.

    Returns:
        Path of ``release.toml``.
    """
    keys = folder / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    for role in ROLES:
        if not (keys / f"{role}.pem").exists():
            generate_key(keys / f"{role}.pem", "ed25519", passphrase)
    text = _HEAD.format(share=share, releases=releases, region=REGION, account=ACCOUNT)
    text += "".join(_IMAGE.format(name=name) for name in names)
    text += "\n[signing]\n" + "".join(f'{role}_key = "file2:{keys / role}.pem"\n' for role in ROLES)
    text += "".join(_KEY.format(role=role) for role in ROLES)
    target = folder / "release.toml"
    target.write_text(text, encoding="utf-8")
    return target
