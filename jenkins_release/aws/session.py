"""boto3 clients from boto3's own credential chain, with timeouts and retries that are stated.

Nothing here reads, keeps or shows a credential: environment, profile, web identity and instance
role are boto3's business. ``AWS_ENDPOINT_URL`` and ``AWS_ENDPOINT_URL_<SERVICE>`` send the calls
elsewhere, as in the sandbox.
"""

from __future__ import annotations

from typing import Any

from jenkins_release.aws.errors import aws_errors
from jenkins_release.errors import ConfigurationError

ATTEMPTS = 5
"""Attempts of one API call, the first included; botocore's standard mode waits between them."""
CONNECT_TIMEOUT_S = 5
"""Seconds until a connection attempt is given up."""
CONNECTIONS = 16
"""Connections that a client keeps: as many as calls are made at a time (:mod:`jenkins_release.parallel`)."""
READ_TIMEOUT_S = 60
"""Seconds without a byte until an answer is given up."""


def aws_client(
    service: str,
    region: str,
    *,
    profile: str | None = None,
    attempts: int = ATTEMPTS,
    signature_version: str | None = None,
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

    Returns:
        The boto3 client. It is safe to share between threads.

    Raises:
        ConfigurationError: The region is empty, or the profile does not exist.
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
    )
    with aws_errors(f"open a client of AWS {service}"):
        # A session of its own: boto3's default session is shared and not safe between threads.
        session = boto3.session.Session(profile_name=profile, region_name=region)
        return session.client(service, config=config)
