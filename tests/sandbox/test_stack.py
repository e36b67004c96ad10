"""The sandbox as people use it: start, work, stop, start again, remove."""

from __future__ import annotations

import json
import os
import signal
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.cli.entry import main
from jenkins_release.sandbox.dockerd import DockerDaemon
from jenkins_release.sandbox.process import Server, alive, find_program, free_port, listening
from jenkins_release.sandbox.registry import RegistryServer
from jenkins_release.sandbox.shared_daemon import SharedDaemon
from jenkins_release.sandbox.stack import Sandbox
from tests.fixtures.raw_server import RawServer, Request, answer
from tests.fixtures.share import eventually


@pytest.fixture(scope="module")
def users_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerDaemon]:
    """A Docker daemon that was there before, with images of its user."""
    daemon = DockerDaemon(tmp_path_factory.mktemp("theirs"))
    daemon.start(tied=True)
    yield daemon
    daemon.stop()
    daemon.remove_data()


@pytest.fixture
def environ(users_daemon: DockerDaemon, tmp_path: Path) -> dict[str, str]:
    return {"DOCKER_HOST": users_daemon.base_url, "PATH": os.environ["PATH"], "HOME": str(tmp_path)}


def test_a_stopped_sandbox_goes_on_where_it_was(tmp_path, environ, monkeypatch, capsys):
    """Keys, passwords, ports, candidates and images survive; nothing runs in between."""
    folder = tmp_path / "box"
    words = ["--folder", str(folder)]
    try:
        assert main(["sandbox", "start", *words], environ=environ) == 0
        first = dict(line[7:].split("=", 1) for line in capsys.readouterr().out.splitlines())
        inner = environ | {name: value.strip("'") for name, value in first.items()}
        for name, value in inner.items():
            if name.startswith("AWS_"):
                monkeypatch.setenv(name, value)
        export = ["candidate", "export", "--version", "8.1.0", "--build", "42"]
        assert main(export, environ=inner) == 0
        pids = [pid for pid in Sandbox(folder, environ=environ).servers().values() if pid]
        assert len(pids) == 4
        assert main(["sandbox", "stop", *words], environ=environ) == 0
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        capsys.readouterr()
        assert main(["sandbox", "start", *words], environ=environ) == 0
        again = dict(line[7:].split("=", 1) for line in capsys.readouterr().out.splitlines())
        assert again == first
        revoke = ["qa", "revoke", "8.1.0/42", "--reason", "signing works with the old keys"]
        assert main(revoke, environ=inner) == 0
        assert main(["sandbox", "status", *words], environ=environ) == 0
    finally:
        assert main(["sandbox", "stop", "--remove", *words], environ=environ) == 0
    assert not folder.exists()


def test_nothing_listens_beyond_loopback(sandbox: Sandbox):
    """Every listening socket of the sandbox's processes is bound to 127.0.0.1."""
    pids = {pid for pid in sandbox.servers().values() if pid}
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            target = str(link.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    bound = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:  # 0A: listening (proc_net_tcp)
                bound.append(fields[1].split(":")[0])
    assert len(bound) >= 4
    assert set(bound) == {"0100007F"}


def test_a_server_that_does_not_start_is_reported_with_its_log(tmp_path):
    """And is not left running."""
    server = Server("false", tmp_path)
    with pytest.raises(RemoteError, match="ended with status 3: no luck"):
        server.start(["/bin/sh", "-c", "echo no luck; exit 3"], lambda: False)
    assert server.pid() is None


def test_a_server_that_is_never_ready_is_ended(tmp_path):
    """After the time-out, by its pid."""
    server = Server("sleeper", tmp_path)
    with pytest.raises(RemoteError, match="was not ready"):
        server.start([find_program("sleep", "coreutils"), "60"], lambda: False, timeout_s=0.2)
    assert server.pid() is None


def test_a_server_that_ignores_sigterm_is_killed(tmp_path):
    """SIGKILL for its whole session after the grace."""
    server = Server("stubborn", tmp_path)
    ready = tmp_path / "ready"
    script = f"trap '' TERM; touch {ready}; while :; do sleep 0.1; done"
    pid = server.start(["/bin/sh", "-c", script], ready.exists)
    server.stop(timeout_s=0.3)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    assert server.pid() is None


def test_a_free_port_is_free():
    """Nothing listens on it, and a server can."""
    port = free_port()
    assert not listening(port)
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen()
        assert listening(port)


def test_commands_without_a_sandbox_say_how_to_start_one(tmp_path, capsys):
    """No sandbox is no crash, and nothing is said to have been stopped."""
    folder = ["--folder", str(tmp_path / "none")]
    assert main(["sandbox", "status", *folder], environ={}) == 2
    assert "sandbox start" in capsys.readouterr().err
    for words in (["stop"], ["stop", "--remove"]):
        assert main(["sandbox", *words, *folder], environ={}) == 0
        assert capsys.readouterr().out == f"nothing to do: no sandbox in {tmp_path / 'none'}\n"


def test_a_server_that_died_is_started_again_beside_the_others(tmp_path, environ, capsys):
    """Those that still run are neither started twice nor forgotten."""
    folder = ["--folder", str(tmp_path / "box")]
    seen: set[int] = set()
    try:
        assert main(["sandbox", "start", *folder], environ=environ) == 0
        stack = Sandbox(tmp_path / "box", environ=environ)
        first = stack.servers()
        seen |= {pid for pid in first.values() if pid}
        for dead in ("ecr-front", "moto"):
            before = stack.servers()
            os.kill(before[dead], signal.SIGKILL)
            assert eventually(lambda pid=before[dead]: not alive(pid))
            assert main(["sandbox", "start", *folder], environ=environ) == 0
            after = stack.servers()
            seen |= {pid for pid in after.values() if pid}
            assert after[dead] not in {None, before[dead]}
            assert {**after, dead: before[dead]} == before
    finally:
        assert main(["sandbox", "stop", "--remove", *folder], environ=environ) == 0
    assert len(seen) == 6
    assert not [pid for pid in seen if alive(pid)]


def test_a_rehearsal_with_trust_root_and_ledger(tmp_path, environ, monkeypatch, capsys):
    """What a share writer cuts off, and what somebody takes out of release.toml, is missed."""
    folder = tmp_path / "box"
    words = ["--folder", str(folder), "--trust", "--ledger"]
    (tmp_path / "junit.xml").write_text('<testsuite name="smoke"><testcase name="t"/></testsuite>')
    monkeypatch.chdir(tmp_path)
    try:
        assert main(["sandbox", "start", *words], environ=environ) == 0
        told = dict(line[7:].split("=", 1) for line in capsys.readouterr().out.splitlines())
        inner = environ | {name: value.strip("'") for name, value in told.items()}
        for name, value in inner.items():
            if name.startswith("AWS_"):
                monkeypatch.setenv(name, value)

        def run(*command: str) -> tuple[int, str]:
            status = main(command, environ=inner)
            captured = capsys.readouterr()
            return status, captured.out + captured.err

        assert run("candidate", "export", "--version", "8.1.0", "--build", "42")[0] == 0
        assert run("candidate", "load", "8.1.0/42")[0] == 0
        results = ("--results", "junit.xml")
        sign_off = ("qa", "sign-off", "8.1.0/42", "--tester", "Quinn Adams", *results, "--verdict")
        assert run(*sign_off, "pass")[0] == 0
        assert run(*sign_off, "fail")[0] == 0
        attestations = folder / "shares/release_candidate/SkyDRM/8.1.0/42/attestations"
        max(attestations.iterdir()).unlink()
        status, text = run("promote", "run", "8.1.0/42")
        assert status == 4
        assert "the share lacks the attestation 0003 that the ledger" in text
        assert run("ledger", "verify")[0] == 4
        config = Path(inner["JENKINS_RELEASE_CONFIG"])
        config.write_text(config.read_text().partition("[ledger]")[0])
        status, text = run("promote", "run", "8.1.0/42")
        assert status == 3, text
        assert "ledger.kind is 'none', but the trust document requires 'folder'" in text
        assert main(["sandbox", "stop", *words[:2]], environ=environ) == 0
        # Without the option: the ledger that is there is kept.
        assert main(["sandbox", "start", *words[:2]], environ=environ) == 0
        assert "[ledger]" in config.read_text()
    finally:
        assert main(["sandbox", "stop", "--remove", "--folder", str(folder)], environ=environ) == 0
    assert not folder.exists()


def _far_away(request: Request) -> bytes:
    """Answer as a Docker daemon on another machine does."""
    if request.target.endswith("/version"):
        return answer(200, b'{"ApiVersion": "1.41", "Version": "20.10.24"}')
    return answer(500, b'{"message": "connection refused"}', Content_Type="application/json")


def test_a_first_start_that_fails_keeps_no_daemon(tmp_path: Path, raw_server: RawServer):
    """The next one may use another, as the hint says."""
    raw_server.speech = _far_away
    environ = {"DOCKER_HOST": f"tcp://{raw_server.host}", "HOME": str(tmp_path)}
    box = Sandbox(tmp_path / "box", environ=environ)
    with pytest.raises(ConfigurationError, match="does not reach the sandbox's registry") as caught:
        box.start(tied=True)
    assert "set DOCKER_HOST to use another daemon" in caught.value.hint
    assert not (box.samba.pid() or box.registry.pid() or box.ecr.pid() or box.moto.pid())
    assert not box.exists
    assert not Sandbox(box.folder, environ=environ).exists


def test_images_that_stay_are_known_to_the_next_removal(tmp_path: Path, raw_server: RawServer):
    """The daemon does not answer for the moment."""
    raw_server.speech = _far_away
    box = tmp_path / "box"
    box.mkdir()
    state = {
        **dict.fromkeys(("samba_port", "registry_port", "ecr_port", "moto_port"), 1),
        "own_docker": False,
        "docker_host": f"tcp://{raw_server.host}",
        **dict.fromkeys(("smb_user", "smb_password", "key_passphrase"), "x"),
    }
    (box / "sandbox.json").write_text(json.dumps(state))
    (box / "images.json").write_text('["skydrm/rms:9.9.9-1"]')
    with pytest.raises(RemoteError, match="images of the sandbox stay in the Docker daemon"):
        Sandbox(box, environ={}).remove()
    assert json.loads((box / "images.json").read_text()) == ["skydrm/rms:9.9.9-1"]
    raw_server.speech = lambda request: answer(
        200,
        b"[]" if "/images/" in request.target else b'{"ApiVersion": "1.41", "Version": "20.10.24"}',
        Content_Type="application/json",
    )
    Sandbox(box, environ={}).remove()
    assert not box.exists()


class TestASharedDaemon:
    """A daemon that belongs to its user: the sandbox is a guest."""

    def test_images_of_the_user_are_left_alone(self, tmp_path, environ, users_daemon, capsys):
        """A name that is taken is refused, and the sandbox takes away what it put, and only that."""
        folder = tmp_path / "box"
        words = ["--folder", str(folder), "--images", "9.9.9/1"]
        client = docker.from_env(environment=environ)
        theirs = _user_image(client, "skydrm/viewer:9.9.9-1", tmp_path)
        other = _user_image(client, "skydrm/rms:1.0.0-7", tmp_path)
        try:
            assert main(["sandbox", "start", *words], environ=environ) == 2
            assert "skydrm/viewer:9.9.9-1" in capsys.readouterr().err
            assert not any(Sandbox(folder, environ=environ).servers().values())
            assert client.images.get("skydrm/viewer:9.9.9-1").id == theirs
            client.images.remove("skydrm/viewer:9.9.9-1")
            assert main(["sandbox", "start", *words], environ=environ) == 0
            assert client.images.get("skydrm/viewer:9.9.9-1").id != theirs
            pulled = f"127.0.0.1:{Sandbox(folder, environ=environ).ecr.port}/skydrm/rms"
            client.images.get("skydrm/rms:9.9.9-1").tag(pulled, "9")
            assert main(["sandbox", "stop", "--remove", *words[:2]], environ=environ) == 0
            names = [name for image in client.images.list() for name in image.tags]
            assert names == ["skydrm/rms:1.0.0-7"]
            assert client.images.get("skydrm/rms:1.0.0-7").id == other
        finally:
            Sandbox(folder, environ=environ).remove()
            client.images.remove("skydrm/rms:1.0.0-7")
            client.close()

    @pytest.mark.root
    def test_a_daemon_with_a_network_of_its_own_reaches_the_registry(self, tmp_path, tmp_path_factory):
        """As rootless Docker: its 127.0.0.1 is another one. Without the relay, the sandbox says so."""
        daemon = DockerDaemon(tmp_path_factory.mktemp("apart"), own_network=True)
        daemon.start(tied=True)
        registry = RegistryServer(tmp_path / "registry")
        registry.start(tied=True)
        environ = {"DOCKER_HOST": daemon.base_url, "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        folder = tmp_path / "box"
        try:
            shared = SharedDaemon(daemon.base_url)
            assert shared.foreign_network() == daemon.pid()
            with pytest.raises(ConfigurationError, match=r"does not reach .* connection refused"):
                shared.check_reach(registry.host)
            assert main(["sandbox", "start", "--folder", str(folder)], environ=environ) == 0
            stack = Sandbox(folder, environ=environ)
            relay = stack.servers()["relay"]
            shared.check_reach(stack.registry.host)
            assert main(["sandbox", "stop", "--folder", str(folder)], environ=environ) == 0
            assert relay is not None and not alive(relay)
        finally:
            Sandbox(folder, environ=environ).remove()
            registry.stop()
            daemon.stop()
            daemon.remove_data()

    def test_a_daemon_that_is_gone_is_named(self, tmp_path, environ, capsys):
        """A sandbox that began with a daemon of the user's does not go on with another one."""
        folder = ["--folder", str(tmp_path / "box")]
        assert main(["sandbox", "start", *folder], environ=environ) == 0
        assert main(["sandbox", "stop", *folder], environ=environ) == 0
        state = tmp_path / "box" / "sandbox.json"
        gone = f"unix://{tmp_path}/none.sock"
        state.write_text(state.read_text().replace(environ["DOCKER_HOST"], gone))
        assert main(["sandbox", "start", *folder], environ=environ) == 2
        assert f"no Docker daemon answers at {gone}" in capsys.readouterr().err
        assert main(["sandbox", "stop", "--remove", *folder], environ=environ) == 5
        assert "images of the sandbox stay in the Docker daemon" in capsys.readouterr().err
        state.write_text(state.read_text().replace(gone, environ["DOCKER_HOST"]))
        assert main(["sandbox", "stop", "--remove", *folder], environ=environ) == 0
        assert not (tmp_path / "box").exists()


def _user_image(client: docker.DockerClient, reference: str, folder: Path) -> str:
    """Give the daemon an image of its user's; returns its id."""
    (folder / "content").write_text(reference)
    archive = folder / "content.tar"
    with tarfile.open(archive, "w") as file:
        file.add(folder / "content", "content")
    repository, tag = reference.split(":")
    client.api.import_image_from_file(str(archive), repository=repository, tag=tag)
    return str(client.images.get(reference).id)
