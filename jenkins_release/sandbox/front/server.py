"""The ECR front as a separate process, identified by its pid, and controlled over its control paths."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from jenkins_release.base.errors import RemoteError
from jenkins_release.sandbox.aws.ecs_state import Misbehaviour
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.http import RequestRecord
from jenkins_release.sandbox.ecr.state import REGION, SESSION_S, EcrState, PolicyStatement, ScanOrder
from jenkins_release.sandbox.front.front import boto_environment
from jenkins_release.sandbox.front.router import CONTROL
from jenkins_release.sandbox.process import LOOPBACK, LoopbackServer


class EcrServer(LoopbackServer):
    """An ECR front in a separate process.

    Args:
        folder: State folder of the front.
        registry_port: Loopback port of the registry that holds blobs and manifests.
        port: Loopback port; a free one by default.
        region: Its AWS region.
        blob_mounting: Whether the account opted in to blob mounting.
        iam: URL of the sandbox's IAM, whose users may call too.
    """

    def __init__(
        self,
        folder: Path,
        registry_port: int,
        *,
        port: int | None = None,
        region: str = REGION,
        blob_mounting: bool = False,
        iam: str = "",
    ) -> None:
        super().__init__("ecr-front", folder, port)
        self.region = region
        self._registry_port = registry_port
        self._blob_mounting = blob_mounting
        self._iam = iam

    def _command(self) -> list[str]:
        folder = self._server.folder
        command = [sys.executable, "-m", "jenkins_release.sandbox.front.front", "--state", str(folder)]
        command += ["--port", str(self.port), "--registry-port", str(self._registry_port)]
        command += ["--region", self.region]
        if self._blob_mounting:
            command.append("--blob-mounting")
        if self._iam:
            command += ["--iam", self._iam]
        return command

    def environment(self) -> dict[str, str]:
        """Return the environment that directs boto3 here, as the principal that may do everything."""
        key, secret = self._admin_key
        return boto_environment(self.endpoint, self.region, key, secret)

    @cached_property
    def _admin_key(self) -> tuple[str, str]:
        return EcrState(self._server.folder, region=self.region).admin_key()

    def order(self, fault: Fault) -> None:
        """Order a fault."""
        self._control("POST", "faults", fault.model_dump())

    def pending_faults(self) -> list[Fault]:
        """Return the remaining faults."""
        return [Fault(**fault) for fault in self._control("GET", "faults")]

    def cancel_faults(self) -> None:
        """Cancel all ordered faults."""
        self._control("DELETE", "faults")

    def requests(self) -> list[RequestRecord]:
        """Return the requests so far, oldest first."""
        return [RequestRecord(**record) for record in self._control("GET", "requests")]

    def forget_requests(self) -> None:
        """Forget the requests so far."""
        self._control("DELETE", "requests")

    def saved_repositories(self, prefix: str) -> dict[str, Any]:
        """Return the repositories below a prefix, for :meth:`restore_repositories`."""
        return dict(self._control("GET", f"repositories/{prefix}"))

    def restore_repositories(self, prefix: str, saved: Mapping[str, Any]) -> None:
        """Restore the saved repositories below a prefix."""
        self._control("PUT", f"repositories/{prefix}", dict(saved))

    def forget_repositories(self, prefix: str) -> None:
        """Forget the repositories below a prefix, with the images in them."""
        self._control("DELETE", f"repositories/{prefix}")

    def add_user(self, user: str, statements: list[PolicyStatement]) -> tuple[str, str]:
        """Create a user with these statements; return a new access key id and its secret."""
        given = [each.model_dump() for each in statements]
        answer = self._control("POST", "users", {"user": user, "statements": given})
        return answer["access_key"], answer["secret"]

    def set_key_active(self, access_key: str, active: bool) -> None:
        """Switch an access key on or off."""
        self._control("POST", "keys", {"access_key": access_key, "active": active})

    def add_role(self, role: str, statements: list[PolicyStatement]) -> str:
        """Let a role exist that may do this; return its ARN."""
        given = [each.model_dump() for each in statements]
        return str(self._control("POST", "roles", {"role": role, "statements": given})["arn"])

    def issue_identity_token(self, role_arn: str, *, session_s: float = SESSION_S) -> str:
        """Return what an OIDC provider would issue: a token for sessions of a role that last so long."""
        return str(self._control("POST", "tokens", {"role": role_arn, "session_s": session_s})["token"])

    def end_identity_tokens(self) -> None:
        """Let all identity tokens expire."""
        self._control("DELETE", "tokens")

    def start_session(self, role_arn: str, name: str, duration_s: float = SESSION_S) -> dict[str, str]:
        """Start a session of a role; return the environment that boto3 takes it from."""
        asked = {"role": role_arn, "name": name, "duration_s": duration_s}
        answer = self._control("POST", "sessions", asked)
        return {
            "AWS_ACCESS_KEY_ID": answer["access_key"],
            "AWS_SECRET_ACCESS_KEY": answer["secret"],
            "AWS_SESSION_TOKEN": answer["token"],
        }

    def end_sessions(self) -> None:
        """End all sessions of roles."""
        self._control("DELETE", "sessions")

    def order_scan(self, order: ScanOrder) -> None:
        """Order the result of an image's scan."""
        self._control("POST", "scans", order.model_dump())

    def application(self, cluster: str, service: str) -> str:
        """Return the URL at which an ECS service of the sandbox answers."""
        return f"{self.endpoint}{CONTROL}app/{cluster}/{service}"

    def misbehave(self, order: Misbehaviour) -> None:
        """Order a misbehaviour of ECS tasks."""
        self._control("POST", "misbehaviours", order.model_dump())

    def behave(self) -> None:
        """Cancel the misbehaviours of ECS tasks."""
        self._control("DELETE", "misbehaviours")

    def _answers(self) -> bool:
        try:
            # Another server may have taken the port: ours is the one with our state.
            return bool(self._control("GET", "health")["state"] == str(self._server.folder.resolve()))
        except RemoteError:
            return False

    def _control(self, method: str, what: str, document: Any = None) -> Any:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)
        try:
            body = None if document is None else json.dumps(document)
            connection.request(method, CONTROL + what, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            read = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise RemoteError(f"the ECR front on {self.host} does not answer: {error}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise RemoteError(f"the ECR front refused {method} {what}: {read}")
        return read
