"""The sandbox's daemon and the demo images in it."""

from __future__ import annotations

import os
import subprocess
import tracemalloc
from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.images import ArchiveReader
from jenkins_release.sandbox.dockerd import DockerDaemon
from jenkins_release.sandbox.process import alive, as_root
from jenkins_release.sandbox.sample_images import SERVICES, demo_archive, demo_references
from jenkins_release.sandbox.shared_daemon import Look, look_for_daemon


def _run(daemon: DockerDaemon, image: str, *words: str) -> str:
    command = ["docker", "run", "--rm", "--network", "none", image, *words]
    environ = {**os.environ, **daemon.environ}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environ).stdout


def test_demo_images_say_what_they_are(docker_daemon, demo_images):
    """``docker run --network none`` prints product, service and version."""
    assert demo_images == [f"skydrm/{name}:8.1.0-42" for name in SERVICES]
    for name, image in zip(SERVICES, demo_images, strict=True):
        assert _run(docker_daemon, image) == f"SkyDRM {name} 8.1.0\n"


def test_demo_archive_is_the_same_every_time():
    """Same arguments, same bytes; another build shares the base layer only."""
    first, second, other = (
        b"".join(demo_archive("8.1.0", build, base_size=10_000, own_size=5000)) for build in ("1", "1", "2")
    )
    assert first == second

    def images(data):
        reader = ArchiveReader()
        reader.feed(data)
        return reader.finish().images

    for one, two in zip(images(first), images(other), strict=True):
        assert one.layers[0].diff_id == two.layers[0].diff_id
        assert one.layers[1].diff_id != two.layers[1].diff_id
        assert one.config_digest != two.config_digest


def test_demo_archive_has_the_asked_size_without_the_memory():
    """Filler is made as it is sent."""
    tracemalloc.start()
    reader, total = ArchiveReader(parallel=False), 0
    for chunk in demo_archive("1", "1", names=["rms", "viewer"], base_size=30_000_001, own_size=10_000_000):
        reader.feed(chunk)
        total += len(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    images = reader.finish().images
    assert [image.references[0] for image in images] == demo_references("1", "1", names=["rms", "viewer"])
    assert total > 50_000_000
    assert peak < 15_000_000


def test_reachable_daemon_is_recognised(docker_daemon, tmp_path):
    """The check takes DOCKER_HOST from the given environment."""
    assert look_for_daemon(docker_daemon.environ) == Look(docker_daemon.base_url)
    none = look_for_daemon({"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert "no Docker daemon answers" in none.trouble


@pytest.mark.root
@pytest.mark.parametrize("depth", [1, 8])
def test_daemon_leaves_nothing_behind(tmp_path, depth):
    """Also below a long path: daemon and containerd end, data and sockets can be removed, a restart works."""
    folder = tmp_path.joinpath(*["a-rather-long-folder-name"] * depth)
    daemon = DockerDaemon(folder)
    assert len(daemon.base_url) < 100
    for _ in range(2):
        daemon.start(tied=True)
        pid = daemon.pid()
        children = _descendants(pid)
        assert any(b"containerd" in command for command in children.values())
        daemon.start(tied=True)
        assert daemon.pid() == pid
        with pytest.raises(ConfigurationError, match="is still running"):
            daemon.remove_data()
        daemon.stop()
        assert daemon.pid() is None
        # Who takes in the status of an orphan, and when, is the matter of the machine's init.
        assert not [children.get(child, b"dockerd") for child in (pid, *children) if alive(child)]
    daemon.remove_data()
    assert not (folder / "data").exists()
    assert not Path(daemon.base_url.removeprefix("unix://")).exists()


@pytest.mark.root
def test_killed_daemon_is_cleared_away(tmp_path):
    """After ``kill -9`` its containerd is an orphan, and its data folder a mount: both are dealt with."""
    daemon = DockerDaemon(tmp_path)
    daemon.start(tied=True)
    pid = daemon.pid()
    children = _descendants(pid)
    subprocess.run(as_root(["kill", "-9", str(pid)]), check=True)
    daemon.stop()
    assert not [children.get(child, b"dockerd") for child in (pid, *children) if alive(child)]
    daemon.remove_data()
    assert not (tmp_path / "data").exists()


def test_runtime_folder_of_someone_else_is_refused(tmp_path):
    """A socket folder that others may write to could be anyone's."""
    daemon = DockerDaemon(tmp_path.joinpath(*["a-rather-long-folder-name"] * 8))
    runtime = Path(daemon.base_url.removeprefix("unix://")).parent
    runtime.mkdir(mode=0o777)
    runtime.chmod(0o777)
    try:
        with pytest.raises(ConfigurationError, match="not a private folder"):
            daemon.start()
    finally:
        runtime.rmdir()


def _descendants(pid: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    waiting = [pid]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found[child] = Path(f"/proc/{child}/cmdline").read_bytes()
                waiting.append(child)
    return found
