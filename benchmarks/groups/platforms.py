"""``platforms-*``: an image for two platforms beside ``skopeo copy --all oci-archive:``.

From the archive that the build wrote to the share, and from the share to the registry, attestations included.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from benchmarks.bench import Bench, Build, Setup
from benchmarks.child import Usage
from benchmarks.pairs import OURS, take_turns
from benchmarks.results import MIB, Row, ratio_row
from jenkins_release.sandbox.sample_layout import PLATFORMS, write_layout

SIZE_MIB = 480
SCRIPT, SKOPEO = "script", "skopeo"
GOALS = {"platforms-export": 1.0, "platforms-promote": 1.2}
_EXPORT = "sha256sum; smbclient put, encrypted, then fsync on the server; no checks"
_PROMOTE = "smbclient get, encrypted; skopeo copy --all oci-archive:; no checks"


def platforms(bench: Bench) -> Iterator[Row]:
    """``platforms-export-script``, ``platforms-promote-skopeo``: 480 MiB, of which a third is shared."""
    name, part = "platforms", bench.scale.bytes(SIZE_MIB) // 3
    file = bench.folder / "platforms.oci.tar"
    build = Build("8.2.1", "1", ("platforms",), (), part * 3)
    write_layout(file, name, build.version, build.build, base_size=part, own_size=part)
    bench.say(f"{name}: {file.stat().st_size / MIB:.0f} MiB for {' and '.join(PLATFORMS)}")
    setup = Setup(build.names, "gzip", "registry", platforms=PLATFORMS, archive=file.name)
    words = ("candidate", "export", "--version", build.version, "--build", build.build)
    script = "script-platforms.oci.tar"

    def export(_: int) -> Usage:
        bench.remove_candidate(build)
        return bench.cli(setup, *words, "--from", str(bench.folder))

    def put(_: int) -> Usage:
        return bench.peers.sha256sum(file).plus(bench.peers.put(file, script, encrypt=True))

    rounds = take_turns(bench.scale.repetitions, {OURS: export, SCRIPT: put})
    yield ratio_row(
        f"{name}-export-{SCRIPT}",
        file.stat().st_size,
        GOALS[f"{name}-export"],
        rounds,
        SCRIPT,
        words=_EXPORT,
        note=rounds.disk(SCRIPT),
    )
    bench.sign_off(build, setup)

    def promote(_: int) -> Usage:
        mine = dataclasses.replace(setup, prefix=_repositories(bench, name))
        usage = bench.cli(mine, "promote", "run", build.ref)
        bench.as_signed_off(build)
        return usage

    def copy(_: int) -> Usage:
        target = f"{bench.peers.registry}/{_repositories(bench, name)}/{name}:{build.version}"
        local = bench.folder / "script.tar"
        total = bench.peers.get(script, local, encrypt=True)
        total = total.plus(bench.peers.skopeo_copy_all(local, target))
        local.unlink()
        return total

    rounds = take_turns(bench.scale.repetitions, {OURS: promote, SKOPEO: copy})
    yield ratio_row(
        f"{name}-promote-{SKOPEO}",
        file.stat().st_size,
        GOALS[f"{name}-promote"],
        rounds,
        SKOPEO,
        words=_PROMOTE,
        note=rounds.disk(SKOPEO),
    )
    file.unlink()
    (bench.stack.share_folder / script).unlink()
    bench.remove_candidate(build)


def _repositories(bench: Bench, name: str) -> str:
    prefix = bench.new_prefix()
    bench.peers.make_repositories(prefix, [name])
    bench.peers.log_in()
    return prefix
