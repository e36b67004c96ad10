"""What an access key can do at ECR at this moment: tried for real, with the key itself.

The answer is the account's own: IAM's, with every policy, boundary and delay that applies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from jenkins_release.aws.errors import error_code, translate
from jenkins_release.aws.iam import Credentials
from jenkins_release.aws.session import CONNECT_TIMEOUT_S, READ_TIMEOUT_S

Verdict = Literal["allowed", "denied", "unknown key", "no such thing"]
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_UNKNOWN = frozenset({"UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"})
_ABSENT = frozenset({"RepositoryNotFoundException", "ImageNotFoundException"})


@dataclass(frozen=True)
class Tried:
    """One call that was tried with a key.

    Attributes:
        action: Such as ``ecr:BatchGetImage``.
        verdict: ``unknown key`` is also what AWS answers to a key that is inactive, deleted, or
            too new to be known everywhere.
        said: What AWS said where it refused.
    """

    action: str
    verdict: Verdict
    said: str = ""


class KeyAccess:
    """ECR as the holder of a key sees it.

    Args:
        credentials: The key.
        region: AWS region of the registry.
        account: Account that owns it.
        client: A boto3 ``ecr`` client made with the key, instead of one made here.
    """

    def __init__(self, credentials: Credentials, region: str, account: str, *, client: Any = None) -> None:
        self._account = account
        self._client = client if client is not None else _client(credentials, region)

    def token(self) -> Tried:
        """Try ``ecr:GetAuthorizationToken``: what ``docker login`` needs."""
        return self._try("ecr:GetAuthorizationToken", "get_authorization_token")

    def pull(self, repository: str, reference: str = "latest") -> Tried:
        """Try ``ecr:BatchGetImage``: the first call of a pull. An image that is missing counts as allowed."""
        return self._try(
            "ecr:BatchGetImage",
            "batch_get_image",
            registryId=self._account,
            repositoryName=repository,
            imageIds=[{"imageDigest" if reference.startswith("sha256:") else "imageTag": reference}],
        )

    def push(self, repository: str) -> Tried:
        """Try ``ecr:InitiateLayerUpload``: the first call of a push. It leaves nothing behind."""
        return self._try(
            "ecr:InitiateLayerUpload",
            "initiate_layer_upload",
            registryId=self._account,
            repositoryName=repository,
        )

    def _try(self, action: str, call: str, **given: Any) -> Tried:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            getattr(self._client, call)(**given)
        except (BotoCoreError, ClientError) as error:
            code = error_code(error)
            said = str(translate(error, f"try {action}"))
            if code in _DENIED:
                return Tried(action, "denied", said)
            if code in _UNKNOWN:
                return Tried(action, "unknown key", said)
            if code in _ABSENT:
                return Tried(action, "no such thing", said)
            raise translate(error, f"try {action} with the key") from error
        return Tried(action, "allowed")


def _client(credentials: Credentials, region: str) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 2},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
    )
    # Every credential is given: a session token of the caller's own would not belong to this key.
    session = boto3.session.Session(
        aws_access_key_id=credentials.key_id,
        aws_secret_access_key=credentials.secret.get_secret_value(),
        region_name=region,
    )
    return session.client("ecr", config=config)
