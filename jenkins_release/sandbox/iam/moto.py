"""moto's IAM with what it lacks: boundaries, conflicts on deletion, and a snapshot for the ECR front.

moto 5.2 drops the permissions boundary of a user, deletes users that still have access keys, and never shows
a secret again. AWS keeps boundaries and refuses such deletions with ``DeleteConflict`` (IAM API reference,
DeleteUser), and so does this. The snapshot lets the ECR front check signatures and policies; it is served
only on loopback, and its secrets open only this sandbox.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from jenkins_release.sandbox.iam.moto_lag import Application

SNAPSHOT = "/_sandbox/iam"
"""Path of the snapshot; ``POST`` with ``{"access_key": ID, "at": SECONDS}`` notes a use."""


def complete_iam() -> None:
    """Let moto keep boundaries, and refuse deletions of users with something left and duplicate names."""
    from moto.iam.exceptions import DeleteConflictException, EntityAlreadyExists
    from moto.iam.models import IAMBackend
    from moto.iam.responses import IamResponse

    create, delete = IamResponse.create_user, IAMBackend.delete_user

    def create_user(self: Any) -> Any:
        answer = create(self)
        if boundary := self._get_param("PermissionsBoundary"):
            _bound(self.backend.get_user(self._get_param("UserName")), boundary)
        return answer

    def put_user_permissions_boundary(self: Any) -> Any:
        from moto.core.responses import EmptyResult

        _bound(self.backend.get_user(self._get_param("UserName")), self._get_param("PermissionsBoundary"))
        return EmptyResult()

    def delete_user(self: Any, user_name: str) -> None:
        user = self.get_user(user_name)
        if user.access_keys or user.password is not None or self.get_groups_for_user(user_name):
            raise DeleteConflictException(
                "Cannot delete entity, must remove keys, groups and password first."
            )
        delete(self, user_name)

    create_policy = IAMBackend.create_policy

    def create_named_policy(self: Any, *given: Any, **named: Any) -> Any:
        name = named.get("policy_name", given[3] if len(given) > 3 else "")
        if any(policy.name == name for policy in list(self.managed_policies.values())):
            raise EntityAlreadyExists(
                f"A policy called {name} already exists. Duplicate names are not allowed."
            )
        return create_policy(self, *given, **named)

    setattr(IAMBackend, "create_policy", create_named_policy)  # noqa: B010
    setattr(IamResponse, "create_user", create_user)  # noqa: B010 - mypy takes no other assignment
    setattr(IamResponse, "put_user_permissions_boundary", put_user_permissions_boundary)  # noqa: B010
    setattr(IAMBackend, "delete_user", delete_user)  # noqa: B010


def snapshot(account: str) -> dict[str, Any]:
    """Return users with keys, policies and boundary, as the front needs them."""
    backend = _backend(account)
    users = {}
    for user in list(backend.users.values()):
        groups = backend.get_groups_for_user(user.name)
        managed = [*user.managed_policies.values()]
        managed += [policy for group in groups for policy in group.managed_policies.values()]
        inline = [*user.policies.values(), *(text for group in groups for text in group.policies.values())]
        boundary = (getattr(user, "permissions_boundary", None) or {}).get("PermissionsBoundaryArn")
        users[user.arn] = {
            "keys": [
                {
                    "id": key.access_key_id,
                    "secret": key.secret_access_key,
                    "active": key.status == "Active",
                    "created": key.create_date.replace(tzinfo=UTC).timestamp(),
                }
                for key in user.access_keys
            ],
            "policies": [json.loads(text) for text in [*inline, *map(_in_force, managed)]],
            "boundary": json.loads(_in_force(backend.managed_policies[boundary])) if boundary else None,
        }
    return users


def note_use(account: str, key_id: str, region: str, at: float) -> None:
    """Note when a key was used, in seconds since the epoch, for ``GetAccessKeyLastUsed``."""
    from moto.iam.models import AccessKeyLastUsed

    for user in list(_backend(account).users.values()):
        for key in user.access_keys:
            if key.access_key_id == key_id:
                key.last_used = AccessKeyLastUsed(
                    datetime.fromtimestamp(at, UTC).replace(tzinfo=None), "ecr", region
                )


def with_snapshot(application: Application, account: str, region: str) -> Application:
    """Serve the snapshot next to moto."""

    def serve(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != SNAPSHOT:
            return application(environ, start)
        if environ["REQUEST_METHOD"] == "POST":
            length = int(environ.get("CONTENT_LENGTH") or 0)
            given: Mapping[str, Any] = json.loads(environ["wsgi.input"].read(length))
            note_use(account, given["access_key"], region, given["at"])
            body = b"{}"
        else:
            body = json.dumps(snapshot(account)).encode()
        start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return serve


def _backend(account: str) -> Any:
    from moto.iam.models import iam_backends

    return iam_backends[account]["aws"]


def _in_force(policy: Any) -> str:
    return next(str(version.document) for version in policy.versions if version.is_default)


def _bound(user: Any, arn: str) -> None:
    user.permissions_boundary = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}
