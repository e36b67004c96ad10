"""An error response of a sandbox API."""

from __future__ import annotations

from jenkins_release.base.errors import RemoteError


class ApiFault(RemoteError):
    """An error response of a sandbox API.

    Args:
        code: AWS's name of the error, such as ``RepositoryNotFoundException``.
        message: AWS's text.
        status: HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
