"""What an access key can do in ECR right now, tried with the key itself.

The answer comes from the account itself: from IAM, with every policy, boundary and delay that applies. A pull
is tried like Docker's: a token, the manifest from the registry, and a layer from where the registry sends the
client (ECR user guide, "Amazon ECR private image manifest": layers come from S3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal

from requests.auth import HTTPBasicAuth

from jenkins_release.aws.errors import error_code, translate
from jenkins_release.aws.iam import Credentials
from jenkins_release.aws.session import CONNECT_TIMEOUT_S, boto_session, check_endpoint
from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import RemoteError
from jenkins_release.base.strict_json import check_shape, strict_json
from jenkins_release.base.waits import Limits
from jenkins_release.http.exchange import Exchange, NoAnswer, exchange, location, open_session
from jenkins_release.oci.manifests import ACCEPTED_TYPES, MAX_MANIFEST_BYTES
from jenkins_release.oci.shapes import MANIFEST
from jenkins_release.registry.protocol import RegistryLogin, RepositoryNotFound
from jenkins_release.registry.token import read_token
from jenkins_release.registry.transport import is_protected, refusal, root_url

Verdict = Literal["allowed", "denied", "unknown key", "no such thing"]
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_UNKNOWN = frozenset({"UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"})
_ABSENT = frozenset({"RepositoryNotFoundException", "ImageNotFoundException"})
_ATTEMPTS = 2


@dataclass(frozen=True)
class Tried:
    """One thing that was tried with a key.

    Attributes:
        action: For example ``ecr:BatchGetImage``.
        verdict: ``unknown key`` is also AWS's answer for a key that is inactive, deleted, or too new to be
            known everywhere.
        said: AWS's message if it refused.
    """

    action: str
    verdict: Verdict
    said: str = ""


class KeyAccess:
    """ECR, used with a customer's key.

    Args:
        credentials: The key.
        region: AWS region of the registry.
        account: Account that owns it.
        now: Returns the current time, to check a token's lifetime.
        client: A boto3 ``ecr`` client with the key, instead of one created here.
        limits: How long an answer from the registry or the layers' host may take.
    """

    def __init__(
        self,
        credentials: Credentials,
        region: str,
        account: str,
        *,
        now: Callable[[], datetime],
        client: Any = None,
        limits: Limits | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._account = account
        self._now = now
        self._client = client if client is not None else _client(credentials, region, self._limits)
        self._login: RegistryLogin | None = None

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._client.close()

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

        A token outlives its key by up to twelve hours; its rights are checked on each request.

        Args:
            repository: Repository.
            reference: Tag or digest; even a missing one shows whether pulls are allowed.

        Raises:
            RemoteError: There is no token, or the registry or layer host does not answer.
        """
        action = f"GET /v2/{repository}/manifests/{reference}"
        if self._login is None:
            raise RemoteError(f"cannot {action}: there is no token")
        what = f"pull {self._login.registry}/{repository}:{reference}"
        accepted = {"Accept": ", ".join(ACCEPTED_TYPES)}
        with self._get(self._login, f"/v2/{repository}/manifests/{reference}", what, accepted) as answer:
            if answer.status == 200:
                manifest = answer.body(MAX_MANIFEST_BYTES)
            else:
                refused = refusal(answer.told(), what)
                if answer.status in {401, 403}:
                    return Tried(action, "denied", str(refused))
                if answer.status == 404:
                    missing = isinstance(refused, RepositoryNotFound)
                    return Tried(action, "no such thing" if missing else "allowed", str(refused))
                raise refused
        self._first_byte(self._login, repository, manifest)
        return Tried(action, "allowed")

    def _first_byte(self, login: RegistryLogin, repository: str, manifest: bytes) -> None:
        """Read from a layer, or from the config if there is none; read nothing for an index."""
        what = f"read a layer of {repository}"
        document = strict_json(manifest, f"the manifest of {repository}", maps=True)
        if isinstance(document, dict) and "manifests" in document:
            return
        check_shape(document, MANIFEST, f"the manifest of {repository}")
        blobs = document["layers"] or [document["config"]]
        first = {"Range": "bytes=0-0"}
        with self._get(login, f"/v2/{repository}/blobs/{blobs[0]['digest']}", what, first) as answer:
            if answer.status >= 400:
                raise refusal(answer.told(), what)
            if answer.status >= 300:
                self._first_byte_elsewhere(answer, login, what, first)

    def _first_byte_elsewhere(
        self, answer: Exchange, login: RegistryLogin, what: str, headers: Mapping[str, str]
    ) -> None:
        place = location(answer.headers.get("Location", ""), root_url(login.registry), answer.host)
        host = place.netloc.rpartition("@")[2]
        if not is_protected(place):
            raise RemoteError(f"cannot {what}: the registry redirects to {host}, a server without TLS")
        try:
            with (
                open_session() as session,
                exchange(session, "GET", place.geturl(), what, self._limits, headers=headers) as layer,
            ):
                found = layer.status
        except NoAnswer as error:
            # The text has no URL: its signature gives access to the layer.
            raise RemoteError(
                f"cannot {what}: {host}, which serves the layers, does not answer: {error}",
                hint=f"allow {host} in firewall and proxy",
                retryable=True,
            ) from None
        if found >= 400:
            raise RemoteError(f"cannot {what}: {host}, which serves the layers, answers {found}")

    @contextmanager
    def _get(
        self, login: RegistryLogin, target: str, what: str, headers: Mapping[str, str]
    ) -> Iterator[Exchange]:
        """Ask the registry once; a refused login is an answer here, not a reason to log in again."""
        auth, url = HTTPBasicAuth(login.username, login.password), root_url(login.registry) + target
        try:
            with (
                open_session() as session,
                exchange(session, "GET", url, what, self._limits, headers=headers, auth=auth) as answer,
            ):
                yield answer
        except NoAnswer as error:
            raise RemoteError(
                f"cannot {what}: {error}",
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


def _client(credentials: Credentials, region: str, limits: Limits) -> Any:
    from botocore.config import Config

    from jenkins_release.aws.exchange import AwsExchange

    config = Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=min(CONNECT_TIMEOUT_S, limits.answer_s),
        read_timeout=limits.answer_s,
    )
    # All credentials are set: the caller's own session token would not belong to this key.
    client = boto_session(region=region).create_client(
        "ecr",
        config=config,
        aws_access_key_id=credentials.key_id,
        aws_secret_access_key=credentials.secret.get_secret_value(),
    )
    check_endpoint("ecr", client.meta.endpoint_url)
    AwsExchange(client, _ATTEMPTS, limits)
    return client
