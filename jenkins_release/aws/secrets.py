"""AWS Secrets Manager as a place to hand over an access key.

The caller chooses the version id of a secret (Secrets Manager API reference, ``ClientRequestToken``). It is
made from the id of the access key, so that a run that died can be repeated: the same version is written at
most once, and it can be checked without reading it.
"""

from __future__ import annotations

import hashlib
from typing import Any

from jenkins_release.aws.errors import error_code, translate
from jenkins_release.aws.session import aws_client
from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.base.waits import Limits

OWNER = "customer-user"
"""Tag of a secret with the IAM user whose key it holds."""
_GONE = "ResourceNotFoundException"
_EXISTS = "ResourceExistsException"
_DELETED = "restore the secret ('aws secretsmanager restore-secret'), or give another name"


class SecretStore:
    """Secrets of one account and region.

    Args:
        region: AWS region.
        client: A boto3 ``secretsmanager`` client instead of one from boto3's credential chain.
        limits: How long a call may take.
    """

    def __init__(self, region: str, *, client: Any = None, limits: Limits | None = None) -> None:
        self._client = client if client is not None else aws_client("secretsmanager", region, limits=limits)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._client.close()

    def owner(self, name: str) -> str | None:
        """Return the user that a secret is for (``DescribeSecret``); None if the secret does not exist.

        The user is empty if the secret has no such tag.

        Raises:
            ConfigurationError: The secret is about to be deleted.
            RemoteError: Secrets Manager refused or failed.
        """
        answer = self._call("describe_secret", f"look at the secret {name}", (_GONE,), SecretId=name)
        if answer is None:
            return None
        if answer.get("DeletedDate"):
            raise ConfigurationError(f"the secret {name} is about to be deleted", hint=_DELETED)
        return next((str(tag["Value"]) for tag in answer.get("Tags", []) if tag["Key"] == OWNER), "")

    def holds(self, name: str, key_id: str) -> bool:
        """Whether the version for an access key is in force (``DescribeSecret``)."""
        answer = self._call("describe_secret", f"look at the secret {name}", (_GONE,), SecretId=name)
        stages = (answer or {}).get("VersionIdsToStages", {}).get(version_of(key_id), [])
        return "AWSCURRENT" in stages

    def put(self, name: str, key_id: str, text: str, *, owner: str, description: str) -> None:
        """Write the version for an access key; a missing secret is created for its owner."""
        what = f"write the secret {name}"
        given = {"ClientRequestToken": version_of(key_id), "SecretString": text}
        new = {"Name": name, "Description": description, "Tags": [{"Key": OWNER, "Value": owner}]}
        made = self._call("create_secret", what, (_EXISTS,), **new, **given)
        if made is None and self._call("put_secret_value", what, (_GONE,), SecretId=name, **given) is None:
            raise RemoteError(
                f"cannot {what}: Secrets Manager has a secret of that name, but does not find it",
                hint="a new one takes a moment: run the command again",
                retryable=True,
            )

    def _call(self, action: str, what: str, passing: tuple[str, ...], **given: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, action)(**given)
        except (BotoCoreError, ClientError) as error:
            code, found = error_code(error), translate(error, what)
            if code in passing:
                return None
            if code == "InvalidRequestException" and "deletion" in found.message:
                raise ConfigurationError(found.message, hint=_DELETED) from error
            raise found from error


def version_of(key_id: str) -> str:
    """Return the version id that belongs to an access key: 32 to 64 characters, as the API requires."""
    return hashlib.sha256(key_id.encode()).hexdigest()
