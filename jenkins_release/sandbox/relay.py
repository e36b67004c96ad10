"""Relays this machine's loopback ports to a daemon in a separate network namespace.

Rootless Docker before version 26 runs in one (``rootlesskit --net=slirp4netns``): it has a different
127.0.0.1, so it does not reach the sandbox's registries. The namespace belongs to the same user, who may
enter it (user_namespaces(7)) and listen there. Connections are relayed to the same port here.

``python -m jenkins_release.sandbox.relay --daemon PID --port N`` runs it.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from jenkins_release.base.errors import ReleaseError, RemoteError
from jenkins_release.sandbox.process import LOOPBACK, OneServer, Server, find_program

_LISTEN = """
import socket, sys
sent = socket.socket(fileno=int(sys.argv[1]))
for port in sys.argv[2:]:
    with socket.create_server(("127.0.0.1", int(port))) as listener:
        socket.send_fds(sent, [b"."], [listener.fileno()])
"""
_CHUNK = 1 << 16
_ENTER_S = 20.0


class Relay(OneServer):
    """The relay as a process.

    Args:
        folder: Folder of its log and pid file.
        ports: Ports on loopback to relay.
    """

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        self._ports = tuple(ports)
        self._server = Server("relay", folder)

    def start(self, daemon: int, *, tied: bool = False) -> int:
        """Start it and wait until it listens. A running one is replaced: the daemon may be a different one.

        Args:
            daemon: Pid of a process in the network namespace.
            tied: End it when the calling process ends.

        Returns:
            The pid.

        Raises:
            RemoteError: This user may not enter the namespace, or a port is taken there.
        """
        self.stop()
        ready = self._server.folder / "ready"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "jenkins_release.sandbox.relay", "--daemon", str(daemon)]
        command += ["--ready", str(ready)]
        for port in self._ports:
            command += ["--port", str(port)]
        return self._server.start(command, ready.exists, tied=tied)

    @property
    def needed(self) -> bool:
        """Whether it was started and not stopped, even if it has ended since."""
        return self._server.pid_file.exists()


def main(arguments: Sequence[str] | None = None) -> int:
    """Relay until SIGTERM. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="relay", description="Loopback ports for another namespace.")
    parser.add_argument("--daemon", type=int, required=True, help="pid of a process in the namespace")
    parser.add_argument("--port", type=int, required=True, action="append", help="port to relay")
    parser.add_argument("--ready", type=Path, required=True, help="file to make when it listens")
    options = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        listeners = _listen(options.daemon, options.port)
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the server's log
        return error.exit_status
    for listener, port in zip(listeners, options.port, strict=True):
        threading.Thread(target=_serve, args=(listener, port), daemon=True).start()
    options.ready.touch()
    ended.wait()
    return 0


def _listen(daemon: int, ports: Sequence[int]) -> list[socket.socket]:
    """Return sockets that listen in the namespace; a socket stays in the namespace where it was created."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        enter = [find_program("nsenter", "util-linux"), f"--target={daemon}", "--net"]
        if _user_namespace(daemon) != _user_namespace("self"):  # one's own cannot be entered: setns(2)
            enter += ["--user", "--preserve-credentials"]
        listen = [sys.executable, "-I", "-S", "-c", _LISTEN, str(theirs.fileno()), *map(str, ports)]
        try:
            done = subprocess.run(
                [*enter, "--", *listen],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_ENTER_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RemoteError(
                f"the network of process {daemon} cannot be entered: no answer within {_ENTER_S:.0f} s"
            ) from error
        if done.returncode != 0:
            why = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            raise RemoteError(f"the network of process {daemon} cannot be entered: {why}")
        return [socket.socket(fileno=socket.recv_fds(ours, 1, 1)[1][0]) for _ in ports]


def _user_namespace(process: int | str) -> str:
    try:
        return str(Path(f"/proc/{process}/ns/user").readlink())
    except OSError as error:
        raise RemoteError(f"the namespaces of process {process} cannot be seen: {error.strerror}") from error


def connections(listener: socket.socket, port: int) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield each connection to a listener, and one to a port on loopback for it, without an end."""
    while True:
        client, _ = listener.accept()
        try:
            server = socket.create_connection((LOOPBACK, port))
        except OSError:
            client.close()
            continue
        yield client, server


def _serve(listener: socket.socket, port: int) -> None:
    for client, server in connections(listener, port):
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    raise SystemExit(main())
