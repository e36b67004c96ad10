"""boto3 clients from boto3's own credential chain, with timeouts and retries that are stated.

Nothing here reads, keeps or shows a credential: environment, profile, web identity and instance
role are boto3's business. ``AWS_ENDPOINT_URL`` and ``AWS_ENDPOINT_URL_<SERVICE>`` send the calls
elsewhere, as in the sandbox.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from jenkins_release.aws.answers import check_answers
from jenkins_release.aws.errors import aws_errors
from jenkins_release.errors import ConfigurationError

ATTEMPTS = 5
"""Attempts of one API call, the first included; botocore's standard mode waits between them."""
CONNECT_TIMEOUT_S = 5
"""Seconds until a connection attempt is given up."""
CONNECTIONS = 16
"""Connections that a client keeps: as many as calls are made at a time (:mod:`jenkins_release.parallel`)."""
_ENDPOINT_HINT = "check AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_<SERVICE>, and endpoint_url of the AWS profile"
READ_TIMEOUT_S = 60
"""Seconds without a byte until an answer is given up."""


def aws_client(
    service: str,
    region: str,
    *,
    profile: str | None = None,
    attempts: int = ATTEMPTS,
    signature_version: str | None = None,
    addressing_style: str | None = None,
) -> Any:
    """Build a client of one AWS service.

    botocore's ``standard`` retry mode repeats throttled calls, 5xx answers and broken connections
    with exponential back-off and jitter (AWS SDKs and Tools Reference Guide, "Retry behavior"), so
    a single call is never wrapped in a retry again.

    Args:
        service: boto3's name of the service, such as ``ecr``.
        region: AWS region, such as ``eu-central-1``; never guessed.
        profile: Profile of the shared configuration; the chain's default when None.
        attempts: Attempts of one call at most, the first included.
        signature_version: How calls are signed; boto3's choice for the service when None.
        addressing_style: Whether S3's bucket stands in the host (``virtual``) or in the path; boto3's
            choice when None.

    Returns:
        The boto3 client. It is safe to share between threads.

    Raises:
        ConfigurationError: The region is empty, the profile does not exist, a setting or the credentials
            cannot be read, or the endpoint that environment or profile name carries a login.
    """
    # boto3 takes a noticeable part of a second to import: commands that stay off AWS do not pay for it.
    import boto3
    from botocore.config import Config

    if not region:
        raise ConfigurationError(
            f"no AWS region is given for {service}", hint="set the region in the configuration: eu-central-1"
        )
    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=CONNECTIONS,
        signature_version=signature_version,
        s3={"addressing_style": addressing_style} if addressing_style else None,
    )
    with aws_errors(f"open a client of AWS {service}"):
        # A session of its own: boto3's default session is shared and not safe between threads.
        session = boto3.session.Session(profile_name=profile, region_name=region)
        settle_credentials(session)
        try:
            client = session.client(service, config=config)
        except ValueError as error:
            # The text quotes the value with all that is in it.
            if str(error).startswith("Invalid endpoint"):
                raise ConfigurationError(
                    f"the endpoint of AWS {service} is no URL that can be called", hint=_ENDPOINT_HINT
                ) from error
            raise _unreadable(error) from error
    check_endpoint(service, client.meta.endpoint_url)
    check_answers(client, attempts)
    return client


def settle_credentials(session: Any) -> None:
    """Find the session's credentials, and let what goes wrong when they are fetched be a botocore error.

    Programs, files and prompts that credentials come from raise whatever they like: ``FileNotFoundError``
    for a missing program, ``EOFError`` for a prompt without a terminal.

    Raises:
        ConfigurationError: A setting of AWS cannot be read.
        CredentialRetrievalError: The credentials cannot be had.
    """
    from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError

    def told(action: Callable[[], Any]) -> Any:
        try:
            return action()
        except (BotoCoreError, ClientError):
            raise
        except Exception as error:
            if isinstance(error, ValueError) and "invalid literal" in str(error):
                raise _unreadable(error) from error
            # The text may quote what a program printed.
            raise CredentialRetrievalError(provider="chain", error_msg=type(error).__name__) from error

    credentials = told(session.get_credentials)
    if credentials is not None:
        fetch = credentials.get_frozen_credentials
        # Every call signs with what this returns: it fetches them, and fetches them anew before they end.
        credentials.get_frozen_credentials = lambda: told(fetch)


def session_end(client: Any) -> datetime | None:
    """Return when the temporary credentials end that a client signed with; None if they do not say.

    botocore knows it of credentials that it fetches itself (roles, SSO, instance profiles, credential
    programs, ``AWS_CREDENTIAL_EXPIRATION``), and of no session token in a file or variable.
    """
    # botocore has no public way to it.
    credentials = client._request_signer._credentials
    end = getattr(credentials, "_expiry_time", None)
    return end if isinstance(end, datetime) else None


def _unreadable(error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"a setting of AWS cannot be read ({type(error).__name__})",
        hint="look for a value that is no number, or no address, in the variables AWS_... and in the profile",
    )


def check_endpoint(service: str, endpoint: str) -> None:
    """Refuse an endpoint with a login. Raises ConfigurationError."""
    # AWS takes signatures, no login: it would only be quoted in errors and kept in names of images.
    parts = urlsplit(endpoint)
    if "@" in parts.netloc:
        host = parts.netloc.rpartition("@")[2]
        raise ConfigurationError(
            f"the endpoint of AWS {service} ({parts.scheme}://{host}) carries a login: take it out",
            hint=_ENDPOINT_HINT,
        )
