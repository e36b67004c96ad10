"""``promote-*``: the promotion beside the scripts that it replaces.

``smbclient get; docker load; docker push`` and ``smbclient get; skopeo copy docker-archive:...`` for each
image. Both take the archive that ``docker save`` made, whatever ours takes.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence

from benchmarks.bench import Bench, Build, Setup, fastest_engine
from benchmarks.child import Usage
from benchmarks.images import Image, five_images, one_image
from benchmarks.pairs import OURS, Rounds, Side, take_turns
from benchmarks.results import MIB, Row, ratio_row

ONE_MIB, FIVE_MIB = 1024, 480
DOCKER, SKOPEO = "docker", "skopeo"
GOALS = {
    "promote-plain": {DOCKER: 6.0, SKOPEO: 1.8},
    "promote-gzip": {DOCKER: 18.0, SKOPEO: 5.0},
    "promote-patch": {DOCKER: 20.0, SKOPEO: 5.0},
    "promote-again": {DOCKER: 30.0, SKOPEO: 4.0},
}
_WORDS = {
    DOCKER: "smbclient get, encrypted; docker load; docker tag and docker push of each image; no checks",
    SKOPEO: "smbclient get, encrypted; skopeo copy docker-archive: of each image; no checks",
}


def promote_plain(bench: Bench) -> Iterator[Row]:
    """``promote-plain-docker``, ``promote-plain-skopeo``: 1 GiB, and five images on one base."""
    yield from _new(bench, "promote-plain", "plain")


def promote_gzip(bench: Bench) -> Iterator[Row]:
    """``promote-gzip-docker``, ``promote-gzip-skopeo``: the same with gzip layers on the share."""
    missing = Setup((), layers="gzip", engine="registry").missing
    if missing:
        bench.say(f"promote-gzip: left out, this release has no {missing}")
        return
    yield from _new(bench, "promote-gzip", "gzip")


def promote_patch(bench: Bench) -> Iterator[Row]:
    """``promote-patch-*``: five images, 5 % changed since the last release, at 1 Gbit/s, caches warm."""
    name, size = "promote-patch", bench.scale.bytes(FIVE_MIB)
    with contextlib.ExitStack() as stack:
        before = stack.enter_context(bench.build(five_images(name, size)))
        setup = _fastest(before)
        home = _Home(bench, before.names)
        home.release(_Candidate(bench, before, setup, keep_loaded=True))
        patches = []
        for number in range(bench.scale.repetitions):
            build = stack.enter_context(bench.build(five_images(name, size, patch=number + 1)))
            patches.append(_Candidate(bench, build, setup))
        port, line = stack.enter_context(bench.gigabit())
        bench.say(f"{name}: {before.size / MIB:.0f} MiB, 5 % changed, {line}")
        sides: dict[str, Side] = {
            OURS: lambda n: home.ours(patches[n], port),
            DOCKER: lambda n: home.docker(patches[n], port),
            SKOPEO: lambda n: home.skopeo(patches[n], port),
        }
        rounds = take_turns(bench.scale.repetitions, sides)
    yield from _rows(name, "", before, rounds, f"{_said(setup)}; {line}")


def promote_again(bench: Bench) -> Iterator[Row]:
    """``promote-again-*``: what is promoted already; nothing has to be done."""
    name = "promote-again"
    with bench.build(five_images(name, bench.scale.bytes(FIVE_MIB))) as build:
        setup = _fastest(build)
        candidate, home = _Candidate(bench, build, setup, keep_loaded=True), _Home(bench, build.names)
        home.release(candidate)
        bench.say(f"{name}: {build.size / MIB:.0f} MiB")
        sides: dict[str, Side] = {
            OURS: lambda _: home.ours(candidate),
            DOCKER: lambda _: home.docker(candidate, keep_loaded=True),
            SKOPEO: lambda _: home.skopeo(candidate),
        }
        rounds = take_turns(bench.scale.repetitions, sides)
    yield from _rows(name, "", build, rounds, f"{_said(setup)}; caches of both peers warm")


class _Candidate:
    """A candidate that is signed off, and beside it the archive that the scripts take.

    Args:
        bench: The servers.
        build: The build; the daemon forgets it.
        setup: How it is exported.
        keep_loaded: Let the daemon keep it, as an agent that built it would.
    """

    def __init__(self, bench: Bench, build: Build, setup: Setup, *, keep_loaded: bool = False) -> None:
        self.build = build
        self.setup = setup
        self.archive = f"script-{build.version}.tar"
        bench.prepare_export(build, Setup(build.names))
        folder = bench.stack.share_folder
        shutil.move(folder / build.archive, folder / self.archive)
        bench.remove_candidate(build)
        bench.prepare_export(build, setup)
        bench.sign_off(build, setup)
        if not keep_loaded:
            bench.forget(build)


class _Home:
    """Where each side releases to: repositories of its own.

    Args:
        bench: The servers.
        names: The images.
    """

    def __init__(self, bench: Bench, names: Sequence[str]) -> None:
        self._bench = bench
        self._prefixes = {side: bench.new_prefix() for side in (OURS, DOCKER, SKOPEO)}
        for prefix in self._prefixes.values():
            bench.peers.make_repositories(prefix, names)
        bench.peers.log_in()

    def release(self, candidate: _Candidate) -> None:
        """Let each side release a candidate, unmeasured."""
        self.ours(candidate)
        self.docker(candidate, keep_loaded=True)
        self.skopeo(candidate)

    def ours(self, candidate: _Candidate, port: int | None = None) -> Usage:
        """Promote with our command line."""
        bench, setup = self._bench, candidate.setup
        share = bench.location(port) if port else ""
        mine = Setup(setup.names, setup.layers, setup.engine, self._prefixes[OURS], share)
        return bench.cli(mine, "promote", "run", candidate.build.ref)

    def docker(self, candidate: _Candidate, port: int | None = None, *, keep_loaded: bool = False) -> Usage:
        """Run the script of the docker command line."""
        bench, archive = self._bench, self._bench.folder / "script.tar"
        total = bench.peers.get(candidate.archive, archive, encrypt=True, port=port)
        total = total.plus(bench.peers.docker("load", "-i", str(archive)))
        for reference, target in self._targets(candidate, DOCKER):
            total = total.plus(bench.peers.docker("tag", reference, target))
            total = total.plus(bench.peers.docker("push", target))
            bench.engine.untag(target)
        if not keep_loaded:
            bench.forget(candidate.build)
        archive.unlink()
        return total

    def skopeo(self, candidate: _Candidate, port: int | None = None) -> Usage:
        """Run the script of skopeo."""
        bench, archive = self._bench, self._bench.folder / "script.tar"
        total = bench.peers.get(candidate.archive, archive, encrypt=True, port=port)
        for reference, target in self._targets(candidate, SKOPEO):
            total = total.plus(bench.peers.skopeo_copy(archive, reference, target))
        archive.unlink()
        return total

    def _targets(self, candidate: _Candidate, side: str) -> Iterator[tuple[str, str]]:
        build, prefix = candidate.build, self._prefixes[side]
        for name, reference in zip(build.names, build.references, strict=True):
            yield reference, f"{self._bench.peers.registry}/{prefix}/{name}:{build.version}"


def _new(bench: Bench, name: str, layers: str) -> Iterator[Row]:
    """Promote what neither the daemon nor the registry has: into repositories made for each round."""
    scenes: dict[str, Sequence[Image]] = {
        "one": one_image(name, bench.scale.bytes(ONE_MIB)),
        "five": five_images(name, bench.scale.bytes(FIVE_MIB)),
    }
    for what, images in scenes.items():
        with bench.build(images) as build:
            bench.say(f"{name}, {what}: {build.size / MIB:.0f} MiB")
            setup = Setup(build.names, layers, fastest_engine())
            candidate = _Candidate(bench, build, setup)

            def ours(_: int, candidate: _Candidate = candidate) -> Usage:
                home = _Home(bench, candidate.build.names)
                usage = home.ours(candidate)
                bench.as_signed_off(candidate.build)
                return usage

            sides: dict[str, Side] = {
                OURS: ours,
                DOCKER: lambda _, c=candidate: _Home(bench, c.build.names).docker(c),  # type: ignore[misc]
                SKOPEO: lambda _, c=candidate: _Home(bench, c.build.names).skopeo(c),  # type: ignore[misc]
            }
            rounds = take_turns(bench.scale.repetitions, sides)
        (bench.stack.share_folder / candidate.archive).unlink()
        yield from _rows(name, f"-{what}", build, rounds, _said(setup))


def _rows(name: str, suffix: str, build: Build, rounds: Rounds, note: str) -> Iterator[Row]:
    for peer, goal in GOALS[name].items():
        said = f"{note}; {rounds.disk(peer)}"
        title = f"{name}-{peer}{suffix}"
        yield ratio_row(title, build.size, goal, rounds, peer, words=_WORDS[peer], note=said)


def _fastest(build: Build) -> Setup:
    setup = Setup(build.names, "gzip", "registry")
    return Setup(build.names, "plain", fastest_engine()) if setup.missing else setup


def _said(setup: Setup) -> str:
    return f"layers = {setup.layers}, engine = {setup.engine}"
