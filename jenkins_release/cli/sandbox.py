"""``jenkins-release sandbox``: a rehearsal on loopback."""

from __future__ import annotations

import functools
import os
import shlex
import sys
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


@click.group(cls=Group, example="jenkins-release sandbox demo")
def sandbox() -> None:
    """Rehearse on loopback: Docker, Samba, registry, ECR and AWS.

    Nothing listens or connects beyond this machine. Needs the Debian packages samba, docker-registry and
    busybox-static, the extra jenkins-release[sandbox], and either a Docker daemon that you may use, or
    docker.io with root or sudo.
    """


_DOMAIN = click.option(
    "--domain",
    is_flag=True,
    help="Put the share into an Active Directory domain, in a network of its own; needs root.",
)


@sandbox.command()
@_FOLDER
@_DOMAIN
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
def start(
    runtime: Runtime, folder: Path, domain: bool, images: tuple[str, ...], trust: bool, ledger: bool
) -> None:
    """Start the servers, and print the environment for them, for eval."""
    from jenkins_release.sandbox.process import cleaned_up_after_failure
    from jenkins_release.sandbox.stack import Sandbox
    from jenkins_release.share.candidates import CandidateRef

    wanted = [CandidateRef.parse(text) for text in images]
    stack = Sandbox(folder, environ=runtime.environ, in_domain=domain)
    ran = stack.running
    if not ran:
        _enter(stack)
    # If killed on the way, it leaves no server behind.
    stack.start(tied=True)
    with cleaned_up_after_failure(lambda: None if ran else stack.stop()):
        environment = _fill(runtime, stack, wanted, trust=trust, ledger=ledger)
    stack.untie()
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    tell(f"sandbox in {stack.folder}: share {stack.share_location}, registry {stack.ecr.host}", err=True)
    runtime.succeed({"folder": str(stack.folder), "environment": environment}, "\n".join(lines))


def _enter(stack: Sandbox) -> None:
    """Go on in the network of the sandbox's domain, if it has one: this process becomes another one there."""
    words = [sys.executable, "-m", "jenkins_release", *sys.argv[1:]]
    inside = stack.enter(words)
    if inside != words:
        os.execvp(inside[0], inside)  # noqa: S606 - no shell


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


@sandbox.command(context_settings={"ignore_unknown_options": True})
@_FOLDER
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]...")
@common_options
@pass_runtime
def enter(runtime: Runtime, folder: Path, words: tuple[str, ...]) -> None:
    """Run a command, or a shell, with the environment of a sandbox and in the network of its domain."""
    from jenkins_release.sandbox.stack import Sandbox

    stack = Sandbox(folder, environ=runtime.environ)
    environment = {**runtime.environ, **stack.environment()}
    command = stack.enter(words or [runtime.environ.get("SHELL", "/bin/sh")])
    os.execvpe(command[0], command, environment)  # noqa: S606 - no shell


@sandbox.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Keep the sandbox in this folder  [default: a temporary folder, removed]",
)
@_DOMAIN
@common_options
@pass_runtime
def demo(runtime: Runtime, folder: Path | None, domain: bool) -> None:
    """Run a whole release for real, from the images to a customer's pull, and explain it."""
    from jenkins_release.sandbox.demo.story import run_demo
    from jenkins_release.sandbox.stack import Sandbox

    if domain:
        _enter(Sandbox(folder or Path("new"), environ=runtime.environ, in_domain=True))
    # With --json, stdout is one document.
    say = functools.partial(tell, err=runtime.as_json)
    steps = run_demo(say, folder, environ=runtime.environ, in_domain=domain)
    runtime.succeed({"steps": steps}, f"\n{steps} steps, all as expected.")
