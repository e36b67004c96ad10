"""AWS besides ECR: moto in a separate process, on a loopback port.

``python -m jenkins_release.sandbox.aws.moto_server --port N`` runs it. moto keeps everything in memory, and
checks neither signatures nor permissions. Its IAM users can use the ECR front, which checks both.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Sequence
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
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server
    except ImportError as error:
        raise ConfigurationError(
            "the sandbox needs moto, which is not installed", hint="pip install 'jenkins-release[sandbox]'"
        ) from error
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    complete_iam()
    late = Late(DomainDispatcherApplication(create_backend_app), _states(), _CHANGING)
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


def _handler() -> Any:
    """Return moto's request handler, without its log and with S3's server name."""
    from moto.moto_server.werkzeug_app import MotoRequestHandler

    own = {"log": lambda *_: None, "version_string": lambda _: "AmazonS3"}
    return type("Quiet", (MotoRequestHandler,), own)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ConfigurationError as error:
        sys.exit(f"error: {error}; {error.hint}")
