"""Translation of botocore's errors at the edge where they appear.

What AWS says is passed on only where it cannot hold a secret: the answer to a wrong signature
quotes the request's headers, a session token among them, and is therefore left out.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from jenkins_release.errors import ConfigurationError, ReleaseError, RemoteError

THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
"""Codes that mean "later": AWS SDKs and Tools Reference Guide, "Retry behavior"."""

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized"})
_WRONG_KEY = frozenset(
    {"UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "AuthFailure"}
)
_WRONG_SIGNATURE = frozenset(
    {
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "IncompleteSignature",
        "IncompleteSignatureException",
    }
)
_NO_SIGNATURE = frozenset({"MissingAuthenticationToken", "MissingAuthenticationTokenException"})
_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
_TRANSIENT = frozenset({"RequestTimeout", "RequestTimeoutException", "InternalError", "ServiceUnavailable"})
_DENIAL = re.compile(r"(?P<who>arn:\S+) is not authorized to perform: (?P<action>[\w-]+:\w+)")
_ENCODED = re.compile(r"\s*Encoded authorization failure message:.*", re.DOTALL)
_VALUE = re.compile(r", value: .*?(?=, (?:type|valid))", re.DOTALL)
_CHAIN_HINT = (
    "give boto3 credentials: a role of the agent, AWS_PROFILE, "
    "or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY from the credential store"
)


@contextlib.contextmanager
def aws_errors(what: str) -> Iterator[None]:
    """Translate every botocore error that leaves the block.

    Args:
        what: What is attempted, as an infinitive: ``read the images of skydrm/rms``.

    Raises:
        ReleaseError: See :func:`translate`.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise translate(error, what) from error


def error_code(error: Exception) -> str:
    """Return the code of AWS's answer, or an empty string where the error is none."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def translate(error: Exception, what: str, *, clock: Callable[[], float] = time.time) -> ReleaseError:
    """Turn a botocore error into one of ours.

    Args:
        error: A botocore ``ClientError`` or ``BotoCoreError``.
        what: What was attempted, as an infinitive.
        clock: Seconds since the epoch; only a Retry-After that is a date needs it.

    Returns:
        ConfigurationError where no usable credentials, profile or region are set; RemoteError for
        everything else: retryable for throttling, 5xx and broken connections, not for refusals.
    """
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        return _answered(error.response, what, clock)
    return _unanswered(error, what)


def retry_after(headers: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> float | None:
    """Return the seconds that a server asks to wait, or None.

    ``Retry-After`` is a number of seconds or an HTTP date (RFC 9110, section 10.2.3);
    ``x-amz-retry-after`` is a number of milliseconds (botocore's ``retries/standard.py``).
    """
    by_name = {name.lower(): value.strip() for name, value in headers.items()}
    if (value := by_name.get("x-amz-retry-after", "")).isdigit():
        return int(value) / 1000
    value = by_name.get("retry-after", "")
    if value.isdigit():
        return float(value)
    with contextlib.suppress(ValueError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - clock())
    return None


def _answered(response: dict[str, Any], what: str, clock: Callable[[], float]) -> ReleaseError:
    error = response.get("Error", {})
    code, said = str(error.get("Code", "unknown")), str(error.get("Message", "") or "no reason given")
    meta = response.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode", 0))
    request = f" (request {meta['RequestId']})" if meta.get("RequestId") else ""
    start = f"cannot {what}: AWS answered {code}"
    if code in _EXPIRED:
        return RemoteError(
            f"{start}{request}: the session credentials have expired", hint="sign in again, then repeat"
        )
    if code in _DENIED:
        return _denied(start, said, request)
    if code in _WRONG_KEY:
        return RemoteError(
            f"{start}{request}: it does not know this access key",
            hint="check which credentials boto3 finds; a key that was just created needs some 15 seconds",
        )
    if code in _WRONG_SIGNATURE or code in _NO_SIGNATURE or code in _CLOCK:
        return RemoteError(
            f"{start}{request}: it does not accept the signature of the call",
            hint="the secret access key does not belong to the access key, or this machine's clock is wrong",
        )
    later = code in THROTTLED or code in _TRANSIENT or status >= 500 or status == 429
    return RemoteError(
        f"{start}{request}: {said}",
        hint="AWS asks to come back later" if later else "",
        retryable=later,
        retry_after=retry_after(meta.get("HTTPHeaders", {}), clock=clock) if later else None,
    )


def _denied(start: str, said: str, request: str) -> RemoteError:
    said = _ENCODED.sub("", said)
    hint = "ask the administrator of the account for the permission that the call needs"
    if found := _DENIAL.search(said):
        hint = f"a policy of {found['who']} must allow {found['action']}, and none may deny it"
    return RemoteError(f"{start}{request}: {said}", hint=hint)


def _unanswered(error: Exception, what: str) -> ReleaseError:
    from botocore import exceptions as known

    kind = type(error).__name__
    start = f"cannot {what}"
    if isinstance(error, known.ProfileNotFound):
        return ConfigurationError(f"{start}: {error}", hint="check AWS_PROFILE and the shared configuration")
    if isinstance(error, known.PartialCredentialsError):
        return ConfigurationError(f"{start}: the AWS credentials are incomplete: {error}", hint=_CHAIN_HINT)
    if isinstance(error, known.NoCredentialsError | known.NoAuthTokenError):
        return ConfigurationError(f"{start}: boto3 found no AWS credentials", hint=_CHAIN_HINT)
    if isinstance(error, known.CredentialRetrievalError | known.SSOError | known.TokenRetrievalError):
        # The text may quote the output of a credential program: only the kind is named.
        return ConfigurationError(f"{start}: the AWS credentials cannot be had ({kind})", hint=_CHAIN_HINT)
    if isinstance(error, known.NoRegionError | known.InvalidRegionError | known.UnknownRegionError):
        return ConfigurationError(f"{start}: {error}", hint="set the region in the configuration")
    if isinstance(error, known.ParamValidationError):
        return ConfigurationError(f"{start}: {_VALUE.sub('', str(error))}")
    if isinstance(error, known.ConfigParseError | known.InvalidConfigError):
        return ConfigurationError(f"{start}: {error}", hint="mend the shared AWS configuration")
    if isinstance(error, known.SSLError):
        return RemoteError(
            f"{start}: the TLS certificate is not accepted: {error}",
            hint="behind an intercepting proxy set AWS_CA_BUNDLE to its certificate",
        )
    broken = (known.HTTPClientError, known.ConnectionError, known.IncompleteReadError)
    if isinstance(error, broken):
        return RemoteError(
            f"{start}: {error}", hint="check region, proxy and firewall on the way to AWS", retryable=True
        )
    return RemoteError(f"{start}: {kind}: {error}")
