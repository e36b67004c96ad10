"""``jenkins-release sandbox``: a rehearsal on loopback."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jenkins_release.cli.command import Group
from jenkins_release.cli.output import table, tell
from jenkins_release.cli.runtime import Runtime, common_options, pass_runtime

if TYPE_CHECKING:
    from jenkins_release.sandbox.stack import Sandbox
    from jenkins_release.share.candidates import CandidateRef

_FOLDER = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".sandbox"),
    show_default=True,
    help="Folder of the sandbox.",
)


@click.group(cls=Group)
def sandbox() -> None:
    """Rehearse on loopback: Docker, Samba, registry, ECR and AWS.

    Nothing listens or connects beyond 127.0.0.1. Needs the Debian packages samba, docker-registry and
    busybox-static, the extra jenkins-release[sandbox], and either a Docker daemon that you may use, or
    docker.io with root or sudo.
    """


@sandbox.command()
@_FOLDER
@click.option(
    "--images",
    multiple=True,
    metavar="VERSION/BUILD",
    default=("8.1.0/42",),
    show_default=True,
    help="Build the four SkyDRM images of this build; may be repeated.",
)
@click.option("--trust", is_flag=True, help="Create a root key, publish a trust document, and pin it.")
@click.option("--ledger", is_flag=True, help="Keep a ledger in a folder outside the share.")
@common_options
@pass_runtime
def start(runtime: Runtime, folder: Path, images: tuple[str, ...], trust: bool, ledger: bool) -> None:
    """Start the servers, and print the environment for them, for eval."""
    from jenkins_release.sandbox.process import cleaned_up_after_failure
    from jenkins_release.sandbox.stack import Sandbox
    from jenkins_release.share.candidates import CandidateRef

    wanted = [CandidateRef.parse(text) for text in images]
    stack = Sandbox(folder, environ=runtime.environ)
    ran = stack.running
    # If killed on the way, it leaves no server behind.
    stack.start(tied=True)
    with cleaned_up_after_failure(lambda: None if ran else stack.stop()):
        environment = _fill(runtime, stack, wanted, trust=trust, ledger=ledger)
    stack.untie()
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    tell(f"sandbox in {stack.folder}: share {stack.share_location}, registry {stack.ecr.host}", err=True)
    runtime.succeed({"folder": str(stack.folder), "environment": environment}, "\n".join(lines))


def _fill(
    runtime: Runtime, stack: Sandbox, wanted: Sequence[CandidateRef], *, trust: bool, ledger: bool
) -> dict[str, str]:
    """Write the product and load its images; return the environment for all of it."""
    from pydantic import SecretStr

    from jenkins_release.sandbox.product import write_product
    from jenkins_release.steps.context.services import login_name

    environment = stack.environment()
    passphrase = SecretStr(environment["JENKINS_RELEASE_KEY_PASSPHRASE"])
    user = runtime.environ.get("BUILD_USER_ID") or runtime.environ.get("BUILD_USER") or login_name()
    product = stack.folder / "product"
    place = stack.folder / "ledger"
    config = write_product(
        product,
        stack.share_location,
        passphrase,
        releases=stack.release_location,
        user=user,
        # An existing ledger is kept: the releases in it are not in force without it.
        ledger=place if ledger or place.is_dir() else None,
    )
    if trust:
        from jenkins_release.sandbox.trust import begin_trust
        from jenkins_release.steps.context.trust_root import PIN_VARIABLE

        environment[PIN_VARIABLE] = begin_trust(config, environment, passphrase)
    for ref in wanted:
        stack.add_images(ref.version, ref.build)
    return environment


@sandbox.command()
@_FOLDER
@click.option("--remove", is_flag=True, help="Also remove everything that it stored.")
@common_options
@pass_runtime
def stop(runtime: Runtime, folder: Path, remove: bool) -> None:
    """Stop the servers, each by its pid."""
    from jenkins_release.sandbox.stack import Sandbox

    stack = Sandbox(folder, environ=runtime.environ)
    exists = stack.exists
    if remove:
        stack.remove()
    else:
        stack.stop()
    done = "stopped and removed" if remove else "stopped"
    text = f"sandbox in {stack.folder}: {done}" if exists else f"nothing to do: no sandbox in {stack.folder}"
    runtime.succeed({"folder": str(stack.folder), "removed": remove and exists}, text)


@sandbox.command()
@_FOLDER
@common_options
@pass_runtime
def status(runtime: Runtime, folder: Path) -> None:
    """Show which servers run."""
    from jenkins_release.sandbox.stack import Sandbox

    stack = Sandbox(folder, environ=runtime.environ)
    stack.environment()
    servers = stack.servers()
    rows = [[name, str(pid) if pid else "not running"] for name, pid in servers.items()]
    runtime.succeed({"folder": str(stack.folder), "servers": servers}, table(["server", "pid"], rows))


@sandbox.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Keep the sandbox in this folder  [default: a temporary folder, removed]",
)
@common_options
@pass_runtime
def demo(runtime: Runtime, folder: Path | None) -> None:
    """Run a whole release for real, from the images to a customer's pull, and explain it."""
    from jenkins_release.sandbox.demo.story import run_demo

    # With --json, stdout is one document.
    steps = run_demo(lambda line: tell(line, err=runtime.as_json), folder, environ=runtime.environ)
    runtime.succeed({"steps": steps}, f"\n{steps} steps, all as expected.")
