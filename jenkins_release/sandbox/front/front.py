"""The ECR front: Amazon ECR's JSON API and its registry on one loopback port, with ECS and Run Command.

``python -m jenkins_release.sandbox.front.front --state DIR --port N --registry-port N`` runs it as a process,
which :class:`jenkins_release.sandbox.front.server.EcrServer` starts; :class:`EcrFront` runs it inside a test.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from jenkins_release.endpoint.plain_http import PlainHttpHandler
from jenkins_release.sandbox.aws.ecs_state import EcsState
from jenkins_release.sandbox.aws.ssm_api import SsmState
from jenkins_release.sandbox.ecr.faults import Faults, RequestLog
from jenkins_release.sandbox.ecr.http import BadRequest, ConnectionReset, ServedRequest
from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION, TOKEN_LIFETIME_S, EcrState
from jenkins_release.sandbox.ecr.store import RegistryStore
from jenkins_release.sandbox.front.router import Router
from jenkins_release.sandbox.iam.users import IamUsers
from jenkins_release.sandbox.process import LOOPBACK, OnLoopback

MAX_CONNECTIONS = 128
"""Maximum concurrent connections; more wait to be accepted."""
IDLE_S = 60
"""Seconds without a byte after which a connection is closed."""

_log = logging.getLogger(__name__)


class EcrFront(OnLoopback):
    """A private ECR, in a thread of this process.

    Args:
        folder: State folder; a front that starts on the same folder has the same state.
        registry_port: Loopback port of the registry that holds blobs and manifests.
        port: Loopback port to listen on; 0 takes a free one.
        region: Its AWS region.
        account: Account that owns it.
        token_lifetime_s: Seconds that a registry token is valid.
        blob_mounting: Whether the account opted in to blob mounting; ECR's default is False.
        expired_status: HTTP status for an expired registry token; ECR's own is 403.
        iam: URL of the sandbox's IAM, whose users may call too.
        key_delay_s: Seconds until a new IAM key is known.
        layer_host: Host and port to which clients are sent for layers, as ECR sends them to S3; if empty, the
            front serves layers itself.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        registry_port: int,
        *,
        port: int = 0,
        region: str = REGION,
        account: str = ACCOUNT,
        token_lifetime_s: float = TOKEN_LIFETIME_S,
        blob_mounting: bool = False,
        expired_status: int = 403,
        iam: str = "",
        key_delay_s: float = 0.0,
        layer_host: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.state = EcrState(
            folder, account=account, region=region, token_lifetime_s=token_lifetime_s, clock=clock
        )
        self.state.layer_host = layer_host
        if iam:
            self.state.iam = IamUsers(iam, key_delay_s=key_delay_s, clock=clock)
        self._stopping = threading.Event()
        self._store = RegistryStore(registry_port)
        self._router = Router(
            self.state,
            self._store,
            lambda: self.host,
            self._stopping,
            blob_mounting=blob_mounting,
            expired_status=expired_status,
        )
        self._server = _ThreadingServer((LOOPBACK, port), self._router)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def faults(self) -> Faults:
        """The ordered faults."""
        return self._router.faults

    @property
    def ecs(self) -> EcsState:
        """Its ECS."""
        return self._router.ecs

    @property
    def ssm(self) -> SsmState:
        """Its Run Command."""
        return self._router.ssm

    @property
    def requests(self) -> RequestLog:
        """The requests so far."""
        return self._router.requests

    def environment(self) -> dict[str, str]:
        """Return the environment that directs boto3 here, as the principal that may do everything."""
        key, secret = self.state.admin_key()
        return boto_environment(self.endpoint, self.state.region, key, secret)

    def start(self) -> EcrFront:
        """Start answering."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop, and close every connection."""
        self._stopping.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.close_connections()
        self._store.close()

    def __enter__(self) -> EcrFront:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def boto_environment(endpoint: str, region: str, access_key: str, secret: str) -> dict[str, str]:
    """Return the environment variables that direct boto3's clients to a front, for all its services."""
    return {
        "AWS_ENDPOINT_URL_ECR": endpoint,
        "AWS_ENDPOINT_URL_ECS": endpoint,
        "AWS_ENDPOINT_URL_SSM": endpoint,
        "AWS_ENDPOINT_URL_INSPECTOR2": endpoint,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


class _Handler(PlainHttpHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        exchange: ServedRequest | None = None
        try:
            exchange = ServedRequest(self)
            self.server.router.serve(exchange)  # type: ignore[attr-defined]  # the server is a _Server
        except ConnectionReset:
            if exchange is not None:
                exchange.reset()
        except BadRequest as error:
            self.close_connection = True
            _log.debug("%s %s: %s", self.command, self.path.split("?")[0], error)
            with contextlib.suppress(OSError):
                self.send_error(400)
        except OSError as error:
            self.close_connection = True
            _log.debug("%s %s: the client went away: %s", self.command, self.path.split("?")[0], error)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  # http.server's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name
        _log.debug("%s", format % args)


class _ThreadingServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], router: Router) -> None:
        self.router = router
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._places.acquire()
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            known = request in self._open
            self._open.discard(request)
        if known:
            self._places.release()
        super().shutdown_request(request)

    def close_connections(self) -> None:
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        _log.exception("the ECR front failed on a request")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a front until SIGTERM or SIGINT. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="ecr_front", description="Amazon ECR for the sandbox, on loopback.")
    parser.add_argument("--state", type=Path, required=True, help="state folder")
    parser.add_argument("--port", type=int, required=True, help="loopback port to listen on")
    parser.add_argument("--registry-port", type=int, required=True, help="port of the registry behind")
    parser.add_argument("--region", default=REGION)
    parser.add_argument("--token-lifetime", type=float, default=TOKEN_LIFETIME_S, help="seconds")
    parser.add_argument("--blob-mounting", action="store_true", help="the account opted in")
    parser.add_argument("--iam", default="", help="URL of the sandbox's IAM")
    options = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with EcrFront(
        options.state,
        options.registry_port,
        port=options.port,
        region=options.region,
        token_lifetime_s=options.token_lifetime,
        blob_mounting=options.blob_mounting,
        iam=options.iam,
    ):
        ended.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
