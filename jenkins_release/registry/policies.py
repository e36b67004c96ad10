"""Repository policies: who outside the account may use a repository.

Source: ECR user guide, "Private repository policies".
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from jenkins_release.aws.answers import ODD
from jenkins_release.base.errors import RemoteError
from jenkins_release.base.waits import Limits
from jenkins_release.registry.ecr_calls import EcrCalls

_NONE = "RepositoryPolicyNotFoundException"
"""Error code for a repository without a policy."""


class RepositoryPolicies:
    """The policies of the repositories of one account and region.

    Args:
        region: AWS region.
        account: Account that owns the repositories.
        client: A boto3 ``ecr`` client instead of one from boto3's credential chain.
        limits: How long a call may take.
    """

    def __init__(
        self, region: str, account: str, *, client: Any = None, limits: Limits | None = None
    ) -> None:
        self._calls = EcrCalls(region, account, None, client, limits)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._calls.close()

    def read(self, repository: str) -> dict[str, Any]:
        """Return the policy of a repository (``GetRepositoryPolicy``); an empty one if it has none.

        Raises:
            RepositoryNotFound: There is no such repository.
            RemoteError: ECR refused or failed, or the policy cannot be read.
        """
        from botocore.exceptions import ClientError

        try:
            answer = self._calls.call(
                "get_repository_policy",
                f"read the policy of {repository}",
                passing=(_NONE,),
                repositoryName=repository,
            )
        except ClientError:
            return {"Version": "2012-10-17", "Statement": []}
        try:
            policy: Any = json.loads(answer["policyText"])
        except (ValueError, RecursionError) as error:
            raise RemoteError(
                f"ECR answers with a policy of {repository} that is not JSON ({type(error).__name__})",
                hint=ODD,
                retryable=True,
            ) from error
        if not isinstance(policy, dict) or not _are_statements(policy.get("Statement")):
            raise RemoteError(
                f"the policy of {repository} has no list of statements", hint="fix it by hand first"
            )
        return policy

    def write(self, repository: str, policy: dict[str, Any]) -> None:
        """Replace the policy of a repository (``SetRepositoryPolicy``); one without statements is removed."""
        from botocore.exceptions import ClientError

        if not policy["Statement"]:
            # ECR accepts no policy without statements; a missing policy is the wanted result.
            with suppress(ClientError):
                self._calls.call(
                    "delete_repository_policy",
                    f"remove the policy of {repository}",
                    passing=(_NONE,),
                    repositoryName=repository,
                )
            return
        self._calls.call(
            "set_repository_policy",
            f"write the policy of {repository}",
            repositoryName=repository,
            policyText=json.dumps(policy),
        )


def _are_statements(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)
