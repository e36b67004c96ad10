"""Where the benchmarks run: a sandbox, products in it, the command line, and images to move."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import SecretStr

from benchmarks.child import Usage, run_child
from benchmarks.images import Image, image_archive, image_references, one_image
from benchmarks.line import slow_line
from benchmarks.network import own_network, shaped
from benchmarks.peers import Peers
from jenkins_release.base.errors import RemoteError
from jenkins_release.cli.entry import main
from jenkins_release.config.model import Configuration
from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.product import write_product
from jenkins_release.sandbox.stack import CANDIDATE_SHARE, Sandbox

GIGABIT = 1_000_000_000 // 8
"""Bytes per second of a line of 1 Gbit/s."""
_IMAGES = re.compile(r"\n\[\[images\]\]\n(?:\w+ = .*\n)+")
_IMAGE = """
[[images]]
name = "{name}"
source = "skydrm/{name}:{{version}}-{{build}}"
repository = "{prefix}/{name}"
"""
_JUNIT = '<testsuite name="smoke"><testcase classname="bench" name="starts"/></testsuite>\n'


@dataclass(frozen=True)
class Scale:
    """How much is moved, how often, and in which forms.

    Attributes:
        factor: What the sizes of a full run are multiplied with.
        repetitions: How many rounds are measured.
        layers: How exports keep layers where each form has rows: see :class:`Setup`.
    """

    factor: float = 1.0
    repetitions: int = 3
    layers: tuple[str, ...] = ("plain", "gzip")

    def bytes(self, mib: int) -> int:
        """Return the size that stands for ``mib`` MiB in a full run: whole blocks of 64 KiB."""
        return max(1, round(mib * 16 * self.factor)) << 16

    def count(self, number: int) -> int:
        """Return how many things stand for ``number`` of them in a full run."""
        return max(4, round(number * min(1.0, self.factor * 8)))


@dataclass(frozen=True)
class Setup:
    """How our command line is configured for a run.

    Attributes:
        names: The product's images.
        layers: ``plain`` or ``gzip``: how an export keeps layers.
        engine: ``docker`` or ``registry``: how a promotion brings them to the registry.
        prefix: Prefix of the repositories.
        share: Location of the share, where it is not the sandbox's own.
        platforms: Platforms of the images, where they are several.
        archive: File in the bench's folder that holds the only image; empty for images of the daemon.
        source: ``auto``, ``push`` or ``save``: how images leave the daemon for an export.
    """

    names: tuple[str, ...]
    layers: str = "plain"
    engine: str = "docker"
    prefix: str = "bench"
    share: str = ""
    platforms: tuple[str, ...] = ()
    archive: str = ""
    source: str = "auto"

    @property
    def missing(self) -> str:
        """What this release cannot be configured to do; empty where it can do all of it."""
        for section, key in (("export", "layers"), ("promote", "engine")):
            default = {"layers": "plain", "engine": "docker"}[key]
            if getattr(self, key) != default and not _has_key(section, key):
                return f"{section}.{key} = {getattr(self, key)!r}"
        return ""

    def lines(self) -> str:
        """Return its lines of ``release.toml``."""
        archive = f'archive = "{self.archive}"\n' if self.archive else ""
        several = f"platforms = {json.dumps(self.platforms)}\n" if self.platforms else ""
        export = f'[export]\nlayers = "{self.layers}"\n' if _has_key("export", "layers") else ""
        source = f'source = "{self.source}"\n' if self.source != "auto" else ""
        promote = f'[promote]\nengine = "{self.engine}"\n' if _has_key("promote", "engine") else ""
        return f"{archive}{export}{source}{several}{promote}"


def fastest_engine() -> str:
    """Return the engine that a promotion uses where it has the choice."""
    return "registry" if _has_key("promote", "engine") else "docker"


@dataclass(frozen=True)
class Build:
    """A build of some images, known to the daemon.

    Attributes:
        version: Product version.
        build: Build number.
        names: The images.
        references: Their names in the daemon.
        size: Bytes of its layers, shared ones once.
    """

    version: str
    build: str
    names: tuple[str, ...]
    references: tuple[str, ...]
    size: int

    @property
    def ref(self) -> str:
        """Version and build as the command line takes them."""
        return f"{self.version}/{self.build}"

    @property
    def folder(self) -> str:
        """Path of its candidate below the share's root, once it is exported."""
        return f"SkyDRM/{self.ref}"

    @property
    def archive(self) -> str:
        """Path of its archive below the share's root."""
        return f"{self.folder}/images/skydrm-{self.version}-{self.build}.tar"


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
        self._prefixes = 0
        self._references: set[str] = set()
        self._junit = folder / "junit.xml"
        self._junit.write_text(_JUNIT)

    def warm_up(self) -> None:
        """Release one tiny build: servers and caches are warm for both sides."""
        with self.build(one_image("warm-up", 1 << 20)) as build:
            setup = Setup(build.names)
            self.export(build, setup)
            self.cli(setup, "candidate", "verify", build.ref)
            self.cli(setup, "candidate", "load", build.ref)
            self.sign_off(build, setup)
            self.cli(setup, "promote", "run", build.ref)

    @contextlib.contextmanager
    def build(self, images: Sequence[Image]) -> Iterator[Build]:
        """Load images of a new version; daemon and share forget them at the end of the block."""
        self._builds += 1
        version, number = f"8.1.{self._builds}", str(self._builds)
        names = tuple(image.name for image in images)
        references = tuple(image_references(names, version, number))
        self.engine.load(image_archive(images, version, number))
        self._references.update(references)
        size = sum(layer.content for layer in {layer for image in images for layer in image.layers})
        build = Build(version, number, names, references, size)
        try:
            yield build
        finally:
            self.forget(build)
            self.remove_candidate(build)

    def new_prefix(self) -> str:
        """Return a prefix of repositories that no registry and no daemon has seen."""
        self._prefixes += 1
        return f"bench{self._prefixes}"

    @contextlib.contextmanager
    def gigabit(self) -> Iterator[tuple[int, str]]:
        """Put a line of 1 Gbit/s before share and registry, see :meth:`line`."""
        with self.line(1) as found:
            yield found

    @contextlib.contextmanager
    def line(self, gigabits: int) -> Iterator[tuple[int, str]]:
        """Put a line before share and registry for the length of the block.

        Args:
            gigabits: Its rate, in Gbit/s.

        Yields:
            The port of the SMB server, and what made the line, in words.
        """
        samba, ecr, rate = self.stack.samba.port, self.stack.ecr.port, gigabits * GIGABIT
        if own_network():
            with shaped([samba, ecr], rate):
                yield samba, f"{gigabits} Gbit/s to share and registry: tc-htb in a network namespace"
            return
        with slow_line(samba, rate=rate) as port:
            yield port, f"{gigabits} Gbit/s to the share only: a relay, since tc could not be used"

    def location(self, port: int) -> str:
        """Return the share behind another port than the server's own."""
        return self.stack.share_location.replace(f":{self.stack.samba.port}/", f":{port}/")

    def cli(self, setup: Setup, *words: str, environ: Mapping[str, str] | None = None) -> Usage:
        """Run our command line in a process of its own, as a Jenkins agent does.

        Raises:
            RemoteError: It did not end with status 0.
        """
        return self.run(setup, [sys.executable, "-m", "jenkins_release", *words], environ or {})

    def run(self, setup: Setup, command: Sequence[str], environ: Mapping[str, str]) -> Usage:
        """Run a command with the environment of our command line, as :meth:`cli` does."""
        return run_child(command, {**self._environ(setup), **environ}, self.folder)

    def _environ(self, setup: Setup) -> dict[str, str]:
        return {**self.environ, "JENKINS_RELEASE_CONFIG": str(self.config(setup))}

    def prepare(self, setup: Setup, *words: str) -> None:
        """Run our command line in this process: what a measurement needs to be there before.

        Raises:
            RemoteError: It did not end with status 0.
        """
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = main(words, environ=self._environ(setup))
        if status != 0:
            raise RemoteError(f"{' '.join(words)} ended with status {status}: {said.getvalue().strip()}")

    def export(self, build: Build, setup: Setup) -> Usage:
        """Export a build with our command line."""
        return self.cli(setup, *_export(build))

    def prepare_export(self, build: Build, setup: Setup) -> None:
        """Export a build, unmeasured."""
        self.prepare(setup, *_export(build))

    def sign_off(self, build: Build, setup: Setup) -> None:
        """Let QA pass a candidate, so that it may be promoted."""
        record = self.stack.share_folder / build.folder / "candidate.json"
        digest = f"sha256:{sha256(record.read_bytes()).hexdigest()}"
        tested = ("--tester", "Quinn Adams", "--results", str(self._junit), "--digest", digest)
        self.prepare(setup, "qa", "sign-off", build.ref, "--verdict", "pass", *tested)

    def forget(self, build: Build) -> None:
        """Remove the images from the daemon, layers included."""
        for reference in build.references:
            self.engine.untag(reference)

    def remove_candidate(self, build: Build) -> None:
        """Remove the exported candidate, where there is one."""
        shutil.rmtree(self.stack.share_folder / build.folder, ignore_errors=True)

    def as_signed_off(self, build: Build) -> None:
        """Take back what a promotion left in the candidate: its attestation and its journal."""
        folder = self.stack.share_folder / build.folder
        shutil.rmtree(folder / "journal", ignore_errors=True)
        for path in (folder / "attestations").glob("*-promotion.dsse.json"):
            path.unlink()

    def close(self) -> None:
        """Remove what a run left in a daemon that may not be the sandbox's own."""
        for reference in self._references:
            self.engine.untag(reference)
        self.engine.close()

    def config(self, setup: Setup) -> Path:
        """Return the configuration of the product for a setup; the keys are the same in all of them."""
        folder = self.folder / "product"
        whole = folder / "release.toml"
        if not whole.exists():
            passphrase = SecretStr(self.environ["JENKINS_RELEASE_KEY_PASSPHRASE"])
            write_product(folder, self.stack.samba.location(CANDIDATE_SHARE), passphrase)
        images = "".join(_IMAGE.format(name=name, prefix=setup.prefix) for name in setup.names)
        text = _IMAGES.sub("", whole.read_text()) + images + setup.lines()
        if setup.share:
            text = text.replace(self.stack.share_location, setup.share)
        target = folder / f"release-{abs(hash(setup)):x}.toml"
        # What is measured is moving images; nobody has to approve a benchmark.
        target.write_text(f"{text}[policy]\napprovals = 0\n")
        return target


def _export(build: Build) -> tuple[str, ...]:
    return ("candidate", "export", "--version", build.version, "--build", build.build)


def _has_key(section: str, key: str) -> bool:
    field = Configuration.model_fields.get(section)
    return field is not None and key in getattr(field.annotation, "model_fields", {})
