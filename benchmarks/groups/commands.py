"""``start``, ``list-500-10ms``, ``board-500-10ms``, ``plan-40-20ms``: commands that move no image."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator

from pydantic import SecretStr

from benchmarks.bench import Bench, Setup
from benchmarks.child import Usage, run_child
from benchmarks.line import slow_line
from benchmarks.pairs import OURS, take_turns
from benchmarks.results import Row, bound_row
from benchmarks.scenes import write_candidates

START_S, LIST_S, BOARD_S, PLAN_S = 0.150, 3.0, 5.0, 2.0
CANDIDATES, VERSIONS, IMAGES = 500, 10, 40
SHARE_ROUND_TRIP_S, ECR_ROUND_TRIP_S = 0.010, 0.020


def start(bench: Bench) -> Iterator[Row]:
    """``start``: ``--help`` and ``--version``."""
    for option in ("help", "version"):

        def ours(_: int, option: str = option) -> Usage:
            words = [sys.executable, "-m", "jenkins_release", f"--{option}"]
            return run_child(words, bench.environ, bench.folder)

        rounds = take_turns(max(3, bench.scale.repetitions), {OURS: ours})
        yield bound_row(f"start-{option}", 0, START_S, rounds)


def list_500_10ms(bench: Bench) -> Iterator[Row]:
    """``list-500-10ms``: ``candidate list`` of 500 candidates over a round trip of 10 ms."""
    return _over_500(bench, "list-500-10ms", LIST_S, "candidate", "list")


def board_500_10ms(bench: Bench) -> Iterator[Row]:
    """``board-500-10ms``: ``release board`` of 500 candidates over a round trip of 10 ms."""
    out = bench.folder / "board"
    yield from _over_500(bench, "board-500-10ms", BOARD_S, "release", "board", "--out", str(out))
    shutil.rmtree(out)


def _over_500(bench: Bench, name: str, goal_s: float, *words: str) -> Iterator[Row]:
    with candidates(bench) as (written, names):
        bench.say(f"{name}: {written} candidates")
        with slow_line(bench.stack.samba.port, round_trip_s=SHARE_ROUND_TRIP_S) as port:
            setup = Setup(names, share=bench.location(port))
            sides = {OURS: lambda _: bench.cli(setup, *words)}
            rounds = take_turns(bench.scale.repetitions, sides)
    note = f"{written} candidates of 4 images, each attested, each fifth signed off; encrypted"
    yield bound_row(name, 0, goal_s, rounds, note=note)


@contextlib.contextmanager
def candidates(bench: Bench) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Have 500 candidates on the share for the length of the block; yields their number and images."""
    builds = bench.scale.count(CANDIDATES) // VERSIONS or 1
    names = ("rms", "viewer", "router", "dbmigrate")
    written = _write(bench, VERSIONS, builds, names)
    try:
        yield written, names
    finally:
        _remove(bench)


def plan_40_20ms(bench: Bench) -> Iterator[Row]:
    """``plan-40-20ms``: ``promote plan`` of 40 images against ECR with a round trip of 20 ms."""
    names = tuple(f"service-{number:02d}" for number in range(bench.scale.count(IMAGES)))
    _write(bench, 1, 1, names)
    setup = Setup(names, prefix=bench.new_prefix())
    bench.peers.make_repositories(setup.prefix, names)
    bench.say(f"plan-40-20ms: {len(names)} images")
    with slow_line(bench.stack.ecr.port, round_trip_s=ECR_ROUND_TRIP_S) as port:
        environ = {"AWS_ENDPOINT_URL_ECR": f"http://127.0.0.1:{port}"}
        sides = {OURS: lambda _: bench.cli(setup, "promote", "plan", "9.0.1/1", environ=environ)}
        rounds = take_turns(bench.scale.repetitions, sides)
    _remove(bench)
    yield bound_row("plan-40-20ms", 0, PLAN_S, rounds, note=f"{len(names)} images, a repository each")


def _write(bench: Bench, versions: int, builds: int, names: tuple[str, ...]) -> int:
    bench.config(Setup(names))  # makes the keys
    keys = bench.folder / "product" / "keys"
    passphrase = SecretStr(bench.environ["JENKINS_RELEASE_KEY_PASSPHRASE"])
    folder = bench.stack.share_folder
    return len(write_candidates(folder, keys, passphrase, versions=versions, builds=builds, images=names))


def _remove(bench: Bench) -> None:
    for folder in (bench.stack.share_folder / "SkyDRM").glob("9.0.*"):
        shutil.rmtree(folder)
