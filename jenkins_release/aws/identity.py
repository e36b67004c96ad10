"""Who AWS takes this machine for, and what time it is there."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from jenkins_release.aws.errors import aws_errors, error_answer
from jenkins_release.aws.session import aws_client
from jenkins_release.base.clocks import http_date
from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.waits import Limits

_ATTEMPTS = 2
_ASSUMED = re.compile(r"arn:(?P<partition>[\w-]+):sts::(?P<account>\d+):assumed-role/(?P<role>[^/]+)/.*")


@dataclass(frozen=True)
class Caller:
    """A principal.

    Attributes:
        account: Its account.
        arn: Its ARN; of an assumed role, that of the session.
    """

    account: str
    arn: str

    @property
    def principal(self) -> str:
        """ARN of the user or role whose policies count; STS omits the path of a role, so IAM may miss it."""
        found = _ASSUMED.fullmatch(self.arn)
        if found is None:
            return self.arn
        return f"arn:{found['partition']}:iam::{found['account']}:role/{found['role']}"


class Identity:
    """AWS STS.

    Args:
        region: AWS region.
        now: Tells the time, UTC.
        limits: How long a call may take.

    Attributes:
        there: AWS's time with its last answer, a refusal too; None without one.
        here: The time here when it came.
    """

    def __init__(self, region: str, now: Callable[[], datetime], limits: Limits) -> None:
        self._region, self._now, self._limits = region, now, limits
        self._client: Any = None
        self.there: datetime | None = None
        self.here: datetime | None = None

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        if self._client is not None:
            self._client.close()

    def caller(self) -> Caller:
        """Return who the credentials belong to (``GetCallerIdentity``, which every principal may call).

        Raises:
            ConfigurationError: There are no credentials.
            RemoteError: AWS refused them, or does not answer.
        """
        from botocore.exceptions import ClientError

        if self._client is None:
            self._client = aws_client("sts", self._region, attempts=_ATTEMPTS, limits=self._limits)
        with aws_errors("ask AWS who this is"):
            try:
                answer = self._client.get_caller_identity()
            except ClientError as error:
                self._note(error_answer(error))
                raise
        self._note(answer)
        return Caller(str(answer["Account"]), str(answer["Arn"]))

    def _note(self, answer: dict[str, Any]) -> None:
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        self.there, self.here = http_date(str(headers.get("date", ""))), self._now()
