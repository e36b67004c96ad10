"""A plain registry of the sandbox: Debian's docker-registry 2.8, with its files in a folder."""

from __future__ import annotations

import http.client
from pathlib import Path

from jenkins_release.sandbox.process import LOOPBACK, LoopbackServer, find_program

_CONFIG = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: "{root}"}}
  delete: {{enabled: true}}
http: {{addr: "{host}:{port}", headers: {{X-Content-Type-Options: [nosniff]}}}}
"""


class RegistryServer(LoopbackServer):
    """A registry without credentials, on a loopback port.

    Args:
        folder: State folder: ``data`` has what was pushed, next to configuration and log.
        port: Loopback port; a free one by default.
    """

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        super().__init__("docker-registry", folder, port)

    def _command(self) -> list[str]:
        program = find_program("docker-registry", "docker-registry")
        folder = self._server.folder
        config = folder / "config.yml"
        config.write_text(_CONFIG.format(root=folder / "data", host=LOOPBACK, port=self.port))
        return [program, "serve", str(config)]

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=2)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
