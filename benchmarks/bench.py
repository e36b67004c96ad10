"""Where the benchmarks run: a sandbox, products in it, the command line, and images to move."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr

from benchmarks.child import Usage, run_child
from benchmarks.peers import Peers
from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.demo_images import build_images
from jenkins_release.sandbox.product import write_product
from jenkins_release.sandbox.stack import CANDIDATE_SHARE, Sandbox

T = TypeVar("T")

_IMAGES = re.compile(r"\n\[\[images\]\]\n(?:\w+ = .*\n)+")
_IMAGE = """
[[images]]
name = "{name}"
source = "skydrm/{name}:{{version}}-{{build}}"
repository = "skydrm/{name}"
"""
_JUNIT = '<testsuite name="smoke"><testcase classname="bench" name="starts"/></testsuite>\n'


@dataclass(frozen=True)
class Scale:
    """How much is moved, and how often.

    Attributes:
        factor: What the sizes of a full run are multiplied with.
        repetitions: How many pairs are measured.
    """

    factor: float = 1.0
    repetitions: int = 3

    def bytes(self, mib: int) -> int:
        """Return the size that stands for ``mib`` MiB in a full run: whole blocks of 64 KiB."""
        return max(1, round(mib * 16 * self.factor)) << 16


@dataclass(frozen=True)
class Build:
    """A build of some images, known to the daemon.

    Attributes:
        version: Product version.
        build: Build number.
        names: The images.
        references: Their names in the daemon.
    """

    version: str
    build: str
    names: tuple[str, ...]
    references: tuple[str, ...]

    @property
    def ref(self) -> str:
        """Version and build as the command line takes them."""
        return f"{self.version}/{self.build}"

    @property
    def archive(self) -> str:
        """Path of its archive below the share's root, once it is exported."""
        return f"SkyDRM/{self.ref}/images/skydrm-{self.version}-{self.build}.tar"


class Bench:
    """The servers of one run, and the real command line on them.

    Args:
        stack: The sandbox, started.
        folder: Where everything of the run stands; on the disk that is to be measured.
        scale: Sizes and repetitions.
        environ: The environment.
        say: Told what happens, a line at a time.
    """

    def __init__(
        self,
        stack: Sandbox,
        folder: Path,
        scale: Scale,
        environ: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self.stack = stack
        self.folder = folder
        self.scale = scale
        self.say = say
        self.environ = {**environ, **stack.environment(), "BUILD_USER_ID": "jenkins"}
        self.engine = DockerEngine(stack.docker_host)
        self.peers = Peers(stack, folder, self.environ)
        self._builds = 0
        self._references: set[str] = set()
        self._junit = folder / "junit.xml"
        self._junit.write_text(_JUNIT)

    def warm_up(self) -> None:
        """Release one tiny build: byte code is compiled, servers and caches are warm for both sides."""
        with self.build(["rms"]) as build:
            self.cli(build, "candidate", "export", "--version", build.version, "--build", build.build)
            self.cli(build, "candidate", "verify", build.ref)
            self.cli(build, "candidate", "load", build.ref)
            self.sign_off(build)
            self.cli(build, "promote", "run", build.ref)

    @contextmanager
    def build(self, names: Sequence[str], *, base_size: int = 0, own_size: int = 0) -> Iterator[Build]:
        """Make images of a new version; daemon and share forget them at the end of the block.

        No two builds share an own layer, so no registry and no daemon has seen its bytes before.

        Args:
            names: The images.
            base_size: Bytes of the layer that all of them share.
            own_size: Bytes of each image's own layer.
        """
        self._builds += 1
        version, number = f"8.1.{self._builds}", str(self._builds)
        made = build_images(self.engine, version, number, names=names, base_size=base_size, own_size=own_size)
        self._references.update(made)
        build = Build(version, number, tuple(names), tuple(made))
        self._config(build.names)
        try:
            yield build
        finally:
            self.forget(build)
            self.remove_candidate(build)

    def cli(self, build: Build, *words: str) -> Usage:
        """Run our command line in a process of its own, as a Jenkins agent does.

        Raises:
            RemoteError: It did not end with status 0.
        """
        environ = {**self.environ, "JENKINS_RELEASE_CONFIG": str(self._config(build.names))}
        return run_child([sys.executable, "-m", "jenkins_release", *words], environ, self.folder)

    def export(self, build: Build) -> Usage:
        """Export a build with our command line."""
        return self.cli(build, "candidate", "export", "--version", build.version, "--build", build.build)

    def sign_off(self, build: Build) -> None:
        """Let QA pass a candidate, so that it may be promoted."""
        tested = ("--tester", "Quinn Adams", "--results", str(self._junit))
        self.cli(build, "qa", "sign-off", build.ref, "--verdict", "pass", *tested)

    def forget(self, build: Build) -> None:
        """Remove the images from the daemon, layers included."""
        for reference in build.references:
            self.engine.untag(reference)

    def remove_candidate(self, build: Build) -> None:
        """Remove the exported candidate, where there is one."""
        shutil.rmtree(self.stack.share_folder / "SkyDRM" / build.version, ignore_errors=True)

    def close(self) -> None:
        """Remove what a run left in a daemon that may not be the sandbox's own."""
        for reference in self._references:
            self.engine.untag(reference)
        self.engine.close()

    def _config(self, names: Sequence[str]) -> Path:
        """Return the configuration of the product with just these images; the keys are the same."""
        folder = self.folder / "product"
        target = folder / f"release-{'-'.join(names)}.toml"
        if not target.exists():
            passphrase = SecretStr(self.environ["JENKINS_RELEASE_KEY_PASSPHRASE"])
            whole = write_product(folder, self.stack.samba.location(CANDIDATE_SHARE), passphrase)
            images = "".join(_IMAGE.format(name=name) for name in names)
            # What is measured is moving images; nobody has to approve a benchmark.
            target.write_text(_IMAGES.sub("", whole.read_text()) + images + "[policy]\napprovals = 0\n")
        return target
