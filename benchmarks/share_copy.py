"""One file to or from an SMB share through our share: ``python -m benchmarks.share_copy put|get ...``.

No command copies a bare file, so this is the process to compare with smbclient. It imports the share
and little else; user and password come from the environment, as the command line takes them.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from jenkins_release.share import open_share

_PIECE = 1 << 20


@click.command()
@click.argument("direction", type=click.Choice(["put", "get"]))
@click.argument("local", type=click.Path(path_type=Path))
@click.argument("location")
@click.argument("path")
@click.option("--encrypt/--sign", default=True)
def main(direction: str, local: Path, location: str, path: str, encrypt: bool) -> None:
    """Copy LOCAL to PATH on the share at LOCATION, or back."""
    user, password = (os.environ[f"JENKINS_RELEASE_SMB_{name}"] for name in ("USER", "PASSWORD"))
    with open_share(location, username=user, password=password, encrypt=encrypt) as share:
        if direction == "get":
            with local.open("wb") as file:
                for piece in share.read(path):
                    file.write(piece)
            return
        buffer = bytearray(_PIECE)
        with local.open("rb", buffering=0) as source, share.create(path) as writer:
            while count := source.readinto(buffer):
                writer.write(memoryview(buffer)[:count])


if __name__ == "__main__":
    main()
