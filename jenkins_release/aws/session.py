"""boto3 clients from boto3's own credential chain, with explicit timeouts and retries.

The clients and the chain of boto3 are botocore's, and are made by botocore here: boto3 itself adds only
resources and transfers to S3, which nothing here uses and each command would import.

Nothing here reads, keeps or shows a credential: botocore handles environment, profile, web identity and
instance role. ``AWS_ENDPOINT_URL`` and ``AWS_ENDPOINT_URL_<SERVICE>`` send the calls elsewhere, as in the
sandbox.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit

from jenkins_release.aws.errors import SOURCE, aws_errors
from jenkins_release.base.child_process import run_child
from jenkins_release.base.errors import ConfigurationError, ReleaseError
from jenkins_release.base.waits import Limits

ATTEMPTS = 5
"""Attempts of one API call, including the first."""
CONNECT_TIMEOUT_S = 5
"""Seconds until a connection attempt is abandoned."""
CONNECTIONS = 16
"""Connections that a client keeps: as many as concurrent calls.

See :mod:`jenkins_release.base.parallel`.
"""
_ENDPOINT_HINT = "check AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_<SERVICE>, and endpoint_url of the AWS profile"
_MOST_PRINTED = 1024 * 1024
"""Maximum output of a credential program in bytes; credentials have about 2 KiB."""


def aws_client(
    service: str,
    region: str,
    *,
    profile: str | None = None,
    attempts: int = ATTEMPTS,
    signature_version: str | None = None,
    addressing_style: str | None = None,
    limits: Limits | None = None,
) -> Any:
    """Build a client of one AWS service.

    Throttled calls, 5xx answers and broken connections are repeated with exponential back-off and jitter
    (AWS SDKs and Tools Reference Guide, "Retry behavior"); see :mod:`jenkins_release.aws.exchange`.

    Args:
        service: boto3's name of the service, such as ``ecr``.
        region: AWS region, such as ``eu-central-1``; never guessed.
        profile: Profile of the shared configuration; the chain's default if None.
        attempts: Maximum attempts of one call, including the first.
        signature_version: How calls are signed; boto3's choice for the service if None.
        addressing_style: Whether S3's bucket is in the host (``virtual``) or in the path; boto3's choice if
            None.
        limits: How long an attempt may take; by default, 60 s without an answer.

    Returns:
        The boto3 client. It is safe to share between threads.

    Raises:
        ConfigurationError: The region is empty, the profile does not exist, a setting or the credentials
            cannot be read, or the endpoint that environment or profile name contains a login.
    """
    limits = limits or Limits()
    # botocore takes a noticeable part of a second to import, which commands without AWS do not need.
    from botocore.config import Config

    from jenkins_release.aws.exchange import AwsExchange

    if not region:
        raise ConfigurationError(
            f"no AWS region is set for {service}", hint="set the region in the configuration: eu-central-1"
        )
    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=min(CONNECT_TIMEOUT_S, limits.answer_s),
        read_timeout=limits.answer_s,
        max_pool_connections=CONNECTIONS,
        signature_version=signature_version,
        s3={"addressing_style": addressing_style} if addressing_style else None,
    )
    with aws_errors(f"open a client of AWS {service}"):
        session = boto_session(profile=profile, region=region)
        settle_credentials(session, limits)
        try:
            client = session.create_client(service, config=config)
        except ValueError as error:
            # The text quotes the whole value.
            if str(error).startswith("Invalid endpoint"):
                raise ConfigurationError(
                    f"the endpoint of AWS {service} is not a usable URL", hint=_ENDPOINT_HINT
                ) from error
            raise _unreadable(error) from error
    check_endpoint(service, client.meta.endpoint_url)
    AwsExchange(client, attempts, limits)
    credentials = session.get_credentials()
    client.meta.events.register("after-call", partial(_note_source, str(getattr(credentials, "method", ""))))
    return client


def _note_source(method: str, http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
    """Let the error of a refused call know where its credentials come from, in botocore's word for it."""
    if http_response.status_code >= 300:
        parsed[SOURCE] = method


def boto_session(*, profile: str | None = None, region: str) -> Any:
    """Open a session of botocore: its sessions are not safe between threads.

    It shares with others only the descriptions of the services, which come with botocore or are in the
    folders of ``AWS_DATA_PATH``, and the names of events, and begins with a copy of botocore's own event
    handlers: the process reads, translates and registers each once.

    Args:
        profile: Profile of the shared configuration; the chain's default when None.
        region: AWS region of its clients.

    Raises:
        BotoCoreError: The profile does not exist.
    """
    from botocore.session import Session

    from jenkins_release.aws.descriptions import Descriptions
    from jenkins_release.aws.events import EventNames

    events = copy.copy(_handlers())
    session = Session(profile=profile, event_hooks=events, include_builtin_handlers=False)
    session.register_component("event_emitter", EventNames(events))
    session.set_config_variable("region", region)
    paths = session.get_config_variable("data_path")
    loader = Descriptions(paths)
    # botocore has no public access to what it has read.
    loader._cache = _descriptions(paths)
    session.register_component("data_loader", loader)
    return session


@cache
def _handlers() -> Any:
    """Event handlers of botocore itself: registering them takes longer than the rest of a session."""
    from botocore.session import Session

    from jenkins_release.aws.events import OwnHandlers

    emitter = OwnHandlers()
    Session(event_hooks=emitter)
    return emitter


@cache
def _descriptions(_paths: str | None) -> dict[Any, Any]:
    """What was read from these folders; two threads may read the same, with the same result."""
    return {}


def settle_credentials(session: Any, limits: Limits) -> None:
    """Find the session's credentials, and turn errors of fetching them into botocore errors.

    Programs, files and prompts for credentials raise all kinds of errors: ``FileNotFoundError`` for a missing
    program, ``EOFError`` for a prompt without a terminal.

    Args:
        session: One of :func:`boto_session`.
        limits: How long fetching them may take, from any source: a role, SSO, the machine's metadata.

    Raises:
        ConfigurationError: An AWS setting cannot be read, or the credential program prints too much.
        CredentialRetrievalError: The credentials cannot be fetched.
        HTTPClientError: They did not come in time.
    """
    from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError

    from jenkins_release.aws.exchange import AnswerError

    def told(action: Callable[[], Any]) -> Any:
        try:
            with limits.call("AWS credentials"):
                return action()
        except (BotoCoreError, ClientError, ReleaseError):
            raise
        except TimeoutError as error:
            raise AnswerError(error=f"the AWS credentials did not come in time ({limits.told})") from error
        except Exception as error:
            if isinstance(error, ValueError) and "invalid literal" in str(error):
                raise _unreadable(error) from error
            # The text may quote a program's output.
            raise CredentialRetrievalError(provider="chain", error_msg=type(error).__name__) from error

    def find() -> Any:
        # botocore waits for a profile's program without a limit, and has no public way to change that.
        chain = session.get_component("credential_provider")
        run = partial(_Program, limit_s=limits.answer_s)
        chain.get_provider("custom-process")._popen = run
        # A role has a separate provider for the program of its source_profile.
        builder = chain.get_provider("assume-role")._profile_provider_builder
        make = builder._create_process_provider

        def bounded(profile_name: str) -> Any:
            provider = make(profile_name)
            provider._popen = run
            return provider

        builder._create_process_provider = bounded
        return session.get_credentials()

    credentials = told(find)
    if credentials is not None:
        fetch = credentials.get_frozen_credentials
        # Every call signs with its result: it fetches them, and refreshes them before they expire.
        credentials.get_frozen_credentials = lambda: told(fetch)


class _Program:
    """A program that prints credentials, with the part of ``subprocess.Popen`` that botocore uses."""

    def __init__(self, words: Sequence[str], *, limit_s: float, **_: Any) -> None:
        self._words = words
        self._limit_s = limit_s
        self.returncode = -1

    def communicate(self) -> tuple[bytes, bytes]:
        """Run it, and return its output; its stderr may also contain a secret, and is left out.

        Raises:
            TimeoutError: It took too long.
            ConfigurationError: It prints too much.
            OSError: It cannot be started.
            Stopped: The process was asked to stop.
        """
        ran = run_child(self._words, limit_s=self._limit_s, most=_MOST_PRINTED, stdin=None)
        if ran.late:
            raise TimeoutError("the program that prints the credentials")
        if ran.status is None:
            raise ConfigurationError(
                f"the program of credential_process prints more than {_MOST_PRINTED >> 20} MiB",
                hint="it must print only JSON with Version, AccessKeyId and SecretAccessKey",
            )
        self.returncode = ran.status
        return ran.output, b""


def session_end(client: Any) -> datetime | None:
    """Return when a client's temporary credentials expire; None if that is unknown.

    botocore knows it for credentials that it fetches itself (roles, SSO, instance profiles, credential
    programs, ``AWS_CREDENTIAL_EXPIRATION``), but not for a session token in a file or variable.
    """
    # botocore has no public access to it.
    credentials = client._request_signer._credentials
    end = getattr(credentials, "_expiry_time", None)
    return end if isinstance(end, datetime) else None


def _unreadable(error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"an AWS setting cannot be read ({type(error).__name__})",
        hint="look for an invalid number or address in the variables AWS_... and in the profile",
    )


def check_endpoint(service: str, endpoint: str) -> None:
    """Refuse an endpoint with a login. Raises ConfigurationError."""
    # AWS uses signatures, not logins: a login would only be quoted in errors and kept in image names.
    parts = urlsplit(endpoint)
    if "@" in parts.netloc:
        host = parts.netloc.rpartition("@")[2]
        raise ConfigurationError(
            f"the endpoint of AWS {service} ({parts.scheme}://{host}) contains a login: remove it",
            hint=_ENDPOINT_HINT,
        )
