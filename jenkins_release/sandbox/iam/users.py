"""The users in the sandbox's IAM, for the ECR front: keys, policies, boundary.

Each check asks IAM again, so changes there apply to the next call and the next layer. A new key may be
refused for some seconds, as in AWS, where IAM is eventually consistent.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from jenkins_release.base.dataclass import dataclass
from jenkins_release.rules.customers.iam_evaluate import Answer, IamCall, evaluate
from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.iam.moto import SNAPSHOT


@dataclass(frozen=True)
class IamKey:
    """An access key in IAM."""

    arn: str
    secret: str = field(repr=False)
    active: bool


class IamUsers:
    """IAM behind the front.

    Args:
        endpoint: URL of the sandbox's IAM.
        key_delay_s: Seconds until a new key is known.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, endpoint: str, *, key_delay_s: float = 0.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._netloc = urlsplit(endpoint).netloc
        self._key_delay_s = key_delay_s
        self._clock = clock

    def key(self, key_id: str) -> IamKey | None:
        """Return an access key, None where IAM has none, or none yet."""
        for arn, user in self._ask("GET").items():
            for key in user["keys"]:
                if key["id"] == key_id and self._clock() - key["created"] >= self._key_delay_s:
                    return IamKey(arn, key["secret"], key["active"])
        return None

    def note_use(self, key_id: str) -> None:
        """Let IAM know that a key was used."""
        self._ask("POST", {"access_key": key_id, "at": self._clock()})

    def answer(self, arn: str, action: str, resource: str, address: str) -> Answer | None:
        """Return IAM's decision about a user's call; None if the user does not exist."""
        user = self._ask("GET").get(arn)
        if user is None:
            return None
        moment = datetime.fromtimestamp(self._clock(), UTC)
        call = IamCall(action, resource, {"aws:SourceIp": address, "aws:CurrentTime": moment.isoformat()})
        return evaluate(user["policies"], call, user["boundary"])

    def _ask(self, method: str, document: Any = None) -> Mapping[str, Any]:
        connection = http.client.HTTPConnection(self._netloc, timeout=10)
        try:
            body = None if document is None else json.dumps(document)
            connection.request(method, SNAPSHOT, body, {"Content-Type": "application/json"})
            found: Mapping[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ApiFault("ServerException", f"IAM does not answer: {error}", 500) from error
        finally:
            connection.close()
        return found
