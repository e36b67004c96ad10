"""Answers of the registry API (OCI Distribution Specification 1.1, "Error Codes")."""

from __future__ import annotations

import json
from collections.abc import Mapping

from jenkins_release.endpoint.server import Handler

JSON = "application/json"


def send(
    handler: Handler,
    body: bytes,
    media_type: str = JSON,
    headers: Mapping[str, str] | None = None,
    *,
    status: int = 200,
) -> None:
    """Answer with a whole body."""
    begin(handler, status, len(body), media_type, headers or {})
    if handler.command != "HEAD":
        handler.wfile.write(body)


def send_json(handler: Handler, document: object) -> None:
    """Answer with a document."""
    send(handler, json.dumps(document).encode())


def refuse(handler: Handler, status: int, code: str, message: str) -> None:
    """Answer with an error; after a body that was not read, the connection is closed."""
    headers = {"WWW-Authenticate": 'Basic realm="jenkins-release"'} if status == 401 else {}
    if handler.command not in {"GET", "HEAD"}:
        handler.close_connection = True
        headers["Connection"] = "close"
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    send(handler, body, headers=headers, status=status)


def begin(handler: Handler, status: int, length: int, media_type: str, headers: Mapping[str, str]) -> None:
    """Send the head of an answer, and no body."""
    handler.send_response(status)
    handler.send_header("Content-Type", media_type)
    handler.send_header("Content-Length", str(length))
    handler.send_header("Docker-Distribution-API-Version", "registry/2.0")
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
