"""What an access key can do at ECR at this moment: tried for real, with the key itself.

The answer is the account's own: IAM's, with every policy, boundary and delay that applies. A pull is
tried as Docker does it: a token, the manifest from the registry, a layer from where the registry
sends the client (ECR user guide, "Amazon ECR private image manifest": layers come from S3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from jenkins_release.aws.answers import check_answers
from jenkins_release.aws.errors import error_code, translate
from jenkins_release.aws.iam import Credentials
from jenkins_release.aws.session import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, check_endpoint
from jenkins_release.errors import RemoteError
from jenkins_release.registry.manifests import ACCEPTED_TYPES
from jenkins_release.registry.protocol import RegistryLogin, RepositoryNotFound
from jenkins_release.registry.shapes import MANIFEST
from jenkins_release.registry.token import read_token
from jenkins_release.registry.transport import refusal, root_url
from jenkins_release.strict_json import check_shape, strict_json

if TYPE_CHECKING:
    from requests import Response

Verdict = Literal["allowed", "denied", "unknown key", "no such thing"]
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_UNKNOWN = frozenset({"UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"})
_ABSENT = frozenset({"RepositoryNotFoundException", "ImageNotFoundException"})
_ATTEMPTS = 2
_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Tried:
    """One thing that was tried with a key.

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
        now: Tells the time; a token's lifetime is measured against it.
        client: A boto3 ``ecr`` client made with the key, instead of one made here.
    """

    def __init__(
        self,
        credentials: Credentials,
        region: str,
        account: str,
        *,
        now: Callable[[], datetime],
        client: Any = None,
    ) -> None:
        self._account = account
        self._now = now
        self._client = client if client is not None else _client(credentials, region)
        self._login: RegistryLogin | None = None

    def token(self) -> Tried:
        """Try ``ecr:GetAuthorizationToken``: what ``docker login`` needs. The token is kept for a pull."""
        tried, answer = self._try("ecr:GetAuthorizationToken", "get_authorization_token")
        if answer is not None:
            self._login = read_token(answer, self._now(), self._account)[1]
        return tried

    def pull(self, repository: str, reference: str = "latest") -> Tried:
        """Try ``ecr:BatchGetImage``: the first call of a pull. An image that is missing counts as allowed."""
        tried, _ = self._try(
            "ecr:BatchGetImage",
            "batch_get_image",
            registryId=self._account,
            repositoryName=repository,
            imageIds=[{"imageDigest" if reference.startswith("sha256:") else "imageTag": reference}],
        )
        return tried

    def push(self, repository: str) -> Tried:
        """Try ``ecr:InitiateLayerUpload``: the first call of a push. It leaves nothing behind."""
        tried, _ = self._try(
            "ecr:InitiateLayerUpload",
            "initiate_layer_upload",
            registryId=self._account,
            repositoryName=repository,
        )
        return tried

    def fetch(self, repository: str, reference: str) -> Tried:
        """Pull for real with the token of :meth:`token`: the manifest, and the first byte of a layer.

        A token outlives the key that minted it by up to twelve hours; what it may do is decided anew
        for each request.

        Args:
            repository: Repository.
            reference: Tag or digest; one that is missing shows all the same whether it may be pulled.

        Raises:
            RemoteError: No token was minted, or registry or layer host do not answer.
        """
        action = f"GET /v2/{repository}/manifests/{reference}"
        if self._login is None:
            raise RemoteError(f"cannot {action}: there is no token")
        what = f"pull {self._login.registry}/{repository}:{reference}"
        accepted = {"Accept": ", ".join(ACCEPTED_TYPES)}
        answer = self._get(self._login, f"/v2/{repository}/manifests/{reference}", what, accepted)
        status = answer.status_code
        if status in {401, 403}:
            return Tried(action, "denied", str(refusal(answer, what)))
        if status == 404:
            missing = isinstance(refusal(answer, what), RepositoryNotFound)
            return Tried(action, "no such thing" if missing else "allowed", str(refusal(answer, what)))
        if status != 200:
            raise refusal(answer, what)
        self._first_byte(self._login, repository, answer.content)
        return Tried(action, "allowed")

    def _first_byte(self, login: RegistryLogin, repository: str, manifest: bytes) -> None:
        """Read from a layer, or from the configuration where there is none; of an index nothing."""
        import requests

        what = f"read a layer of {repository}"
        document = strict_json(manifest, f"the manifest of {repository}", maps=True)
        if isinstance(document, dict) and "manifests" in document:
            return
        check_shape(document, MANIFEST, f"the manifest of {repository}")
        blobs = document["layers"] or [document["config"]]
        first = {"Range": "bytes=0-0"}
        answer = self._get(login, f"/v2/{repository}/blobs/{blobs[0]['digest']}", what, first)
        if answer.is_redirect:
            place = answer.headers["Location"]
            host = urlsplit(place).netloc.rpartition("@")[2]
            try:
                with requests.get(place, headers=first, timeout=_TIMEOUT_S, stream=True) as layer:
                    found = layer.status_code
            except (requests.RequestException, OSError) as error:
                # Not the text: it quotes the address, whose signature opens the layer.
                raise RemoteError(
                    f"cannot {what}: {host} serves the layers and does not answer: {type(error).__name__}",
                    hint=f"firewall and proxy have to let {host} through",
                    retryable=True,
                ) from None
            if found >= 400:
                raise RemoteError(f"cannot {what}: {host} serves the layers and answers {found}")
        elif answer.status_code >= 400:
            raise refusal(answer, what)

    def _get(self, login: RegistryLogin, target: str, what: str, headers: Mapping[str, str]) -> Response:
        """Ask the registry once; a refused login is an answer here, not a reason to log in again."""
        import requests
        from requests.auth import HTTPBasicAuth

        try:
            with requests.get(
                root_url(login.registry) + target,
                headers=dict(headers),
                auth=HTTPBasicAuth(login.username, login.password),
                timeout=_TIMEOUT_S,
                allow_redirects=False,
                stream="Range" in headers,
            ) as answer:
                if answer.status_code >= 400:
                    answer.content  # noqa: B018 - reads it before the connection is closed
                return answer
        except (requests.RequestException, OSError) as error:
            raise RemoteError(
                f"cannot {what}: the connection to {login.registry} broke: {type(error).__name__}",
                hint="check the network, HTTPS_PROXY, and REQUESTS_CA_BUNDLE for a proxy's certificate",
                retryable=True,
            ) from error

    def _try(self, action: str, call: str, **given: Any) -> tuple[Tried, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = getattr(self._client, call)(**given)
        except (BotoCoreError, ClientError) as error:
            code = error_code(error)
            said = str(translate(error, f"try {action}"))
            if code in _DENIED:
                return Tried(action, "denied", said), None
            if code in _UNKNOWN:
                return Tried(action, "unknown key", said), None
            if code in _ABSENT:
                return Tried(action, "no such thing", said), None
            raise translate(error, f"try {action} with the key") from error
        return Tried(action, "allowed"), answer


def _client(credentials: Credentials, region: str) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
    )
    # Every credential is given: a session token of the caller's own would not belong to this key.
    session = boto3.session.Session(
        aws_access_key_id=credentials.key_id,
        aws_secret_access_key=credentials.secret.get_secret_value(),
        region_name=region,
    )
    client = session.client("ecr", config=config)
    check_endpoint("ecr", client.meta.endpoint_url)
    check_answers(client, _ATTEMPTS)
    return client
