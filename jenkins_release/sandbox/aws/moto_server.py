"""AWS besides ECR: moto in a separate process, on a loopback port.

``python -m jenkins_release.sandbox.aws.moto_server --port N`` runs it. moto keeps everything in memory, and
checks neither signatures nor permissions. Its IAM users can use the ECR front, which checks both.
"""

from __future__ import annotations

import argparse
import io
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION
from jenkins_release.sandbox.iam.moto import complete_iam, with_snapshot
from jenkins_release.sandbox.iam.moto_kept import Kept
from jenkins_release.sandbox.iam.moto_lag import Late
from jenkins_release.sandbox.process import LOOPBACK, LoopbackServer, listening

_CHANGING = {
    "iam": ("users", "groups", "access_keys", "managed_policies", "tagger"),
    "secretsmanager": ("secrets",),
}
"""Service to the state in moto's backend that calls change."""


class MotoServer(LoopbackServer):
    """moto as a process: every service except ECR.

    Args:
        folder: Folder of its log and pid file.
        port: Loopback port; a free one by default.
    """

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        super().__init__("moto", folder, port)

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "jenkins_release.sandbox.aws.moto_server", "--port", str(self.port)]

    def _answers(self) -> bool:
        return listening(self.port)

    def environment(self) -> dict[str, str]:
        """Return the environment that directs boto3 here for every service without its own endpoint."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run moto until SIGTERM or SIGINT. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="moto_server", description="AWS besides ECR, on loopback.")
    parser.add_argument("--port", type=int, required=True, help="loopback port to listen on")
    options = parser.parse_args(arguments)
    try:
        from werkzeug.serving import make_server

        application = moto_application()
    except ImportError as error:
        raise ConfigurationError(
            "the sandbox needs moto, which is not installed", hint="pip install 'jenkins-release[sandbox]'"
        ) from error
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    complete_iam()
    late = Late(application, _states(), _CHANGING)
    application = with_snapshot(Kept(late, _states(), _CHANGING), ACCOUNT, REGION)
    # Not moto's own server, which serves only moto.
    server = make_server(LOOPBACK, options.port, application, threaded=True, request_handler=_handler())
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    ended.wait()
    server.shutdown()
    thread.join()
    return 0


def _states() -> dict[str, Callable[[], dict[str, Any]]]:
    """Return how to find the state of the services that may be late; moto recreates it at a reset."""
    from moto.iam.models import iam_backends
    from moto.secretsmanager.models import secretsmanager_backends

    return {
        "iam": lambda: vars(iam_backends[ACCOUNT]["aws"]),
        "secretsmanager": lambda: vars(secretsmanager_backends[ACCOUNT][REGION]),
    }


def moto_application() -> Any:
    """Return moto as a WSGI application that remembers which service a host stands for.

    moto itself goes through the folders of its package for each request.
    """
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    application = DomainDispatcherApplication(create_backend_app)
    find = cache(application.get_backend_for_host)
    setattr(application, "get_backend_for_host", find)  # noqa: B010 - mypy takes no other assignment
    return application


def _handler() -> Any:
    """Return moto's request handler, without its log, with S3's server name, and with lasting connections."""
    from moto.moto_server.werkzeug_app import MotoRequestHandler

    def run_wsgi(handler: Any) -> None:
        # werkzeug's own closes each connection, since an application may leave a part of the body unread.
        environ = handler.make_environ()
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(-1 if "wsgi.input_terminated" in environ else length)
        environ["wsgi.input"] = io.BytesIO(body)
        started: list[tuple[str, list[tuple[str, str]]]] = []
        answer = handler.server.app(environ, lambda status, headers, *_: started.append((status, headers)))
        content = b"".join(answer)
        status, headers = started[-1]
        code, _, reason = status.partition(" ")
        handler.send_response(int(code), reason)
        for name, value in headers:
            if name.lower() not in {"connection", "content-length"}:
                handler.send_header(name, value)
        if int(code) not in {204, 304}:
            stated = dict(headers).get("Content-Length") if handler.command == "HEAD" else None
            handler.send_header("Content-Length", stated or str(len(content)))
        if handler.close_connection:
            handler.send_header("Connection", "close")
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)

    own = {
        "log": lambda *_: None,
        "version_string": lambda _: "AmazonS3",
        "run_wsgi": run_wsgi,
        "protocol_version": "HTTP/1.1",
        "disable_nagle_algorithm": True,
    }
    return type("Quiet", (MotoRequestHandler,), own)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ConfigurationError as error:
        sys.exit(f"error: {error}; {error.hint}")
