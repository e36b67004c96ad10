"""Translates botocore's errors where they appear.

AWS's text is passed on only if it cannot contain a secret: the answer to a wrong signature quotes the
request's headers, including a session token, so it is left out.
"""

from __future__ import annotations

import contextlib
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from jenkins_release.base.causes import caused_by
from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.base.numbers import whole_number
from jenkins_release.base.retry import asked_wait

_LATER = frozenset(
    {
        "bandwidthlimitexceeded",
        "concurrentmodification",
        "conflict",
        "dependencytimeout",
        "entitytemporarilyunmodifiable",
        "internal",
        "internalfailure",
        "internalserver",
        "internalservice",
        "keyunavailable",
        "kmsinternal",
        "operationaborted",
        "priorrequestnotcomplete",
        "provisionedthroughputexceeded",
        "requestlimitexceeded",
        "requesttimeout",
        "server",
        "servicefailure",
        "serviceunavailable",
        "slowdown",
        "toomanyrequests",
        "toomanyupdates",
        "transactioninprogress",
    }
)
"""Codes that mean "later", in lower case and without a final ``Exception``, ``Error`` or ``Fault``.

AWS SDKs and Tools Reference Guide, "Retry behavior", and the error lists of the services' API references.
"""
_ENDING = re.compile(r"(?:exception|error|fault)+$")
_SAYS_LATER = re.compile(
    r"too many (?:concurrent|requests)|rate exceeded|request rate|throttl|try again later", re.IGNORECASE
)
"""Texts that say so with a generic code, such as ECS's ``ClientException``."""

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
_KMS = (
    "the KMS key must exist in this region and be enabled, and its policy must let both the caller and "
    "the service use it"
)
_QUOTA = "delete what you do not need, or have the quota raised in Service Quotas"
_POLICY = (
    "an account, user or role that the policy names does not exist, or no longer exists; "
    "a new one needs about a minute"
)
_KNOWN: Mapping[str, tuple[type[ReleaseError], str]] = {
    "decryptionfailure": (ConfigurationError, _KMS),
    "encryptionfailure": (ConfigurationError, _KMS),
    "entityalreadyexists": (
        ConfigurationError,
        "it has another owner or path: use another name, or delete it",
    ),
    "imagetagalreadyexists": (RemoteError, "tags are never moved once set: release under a new version"),
    "kms": (ConfigurationError, _KMS),
    "layersnotfound": (
        RemoteError,
        "the repository lacks layers that the manifest names: run the command again, which sends them again",
    ),
    "limitexceeded": (ConfigurationError, _QUOTA),
    "malformedpolicydocument": (ConfigurationError, _POLICY),
    "referencedimagesnotfound": (
        RemoteError,
        "the repository lacks images that the index lists: push them first",
    ),
    "servicequotaexceeded": (ConfigurationError, _QUOTA),
    "toomanytags": (ConfigurationError, "AWS allows 50 tags: set fewer"),
}
"""Code, as :func:`is_transient` reads it, to the kind of the error and what to do."""
_BAD_POLICY = re.compile(r"principal not found|invalid principal|invalid repository policy", re.IGNORECASE)
_REFUSALS = _EXPIRED | _DENIED | _WRONG_KEY | _WRONG_SIGNATURE | _NO_SIGNATURE | _CLOCK
_DENIAL = re.compile(r"(?P<who>arn:\S+) is not authorized to perform: (?P<action>[\w-]+:\w+)")
_ENCODED = re.compile(r"\s*Encoded authorization failure message:.*", re.DOTALL)
_TUNNEL = re.compile(r"Tunnel connection failed: (?P<said>[\x20-\x7e]{1,80})")
_VALUE = re.compile(r", value: .*?(?=, (?:type|valid))", re.DOTALL)
_CHAIN_HINT = (
    "give boto3 credentials: a role of the agent, AWS_PROFILE, "
    "or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY from the credential store"
)


SOURCE = "credentialsSource"
"""Where :func:`translate` finds in an answer which of botocore's providers had the credentials."""
_IDENTITY = "AWS_WEB_IDENTITY_TOKEN_FILE"
_SOURCES = {
    "env": " in AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN",
    "shared-credentials-file": " in the shared credentials file",
    "config-file": " in the AWS profile",
    "custom-process": " from credential_process",
    "assume-role": " of the AWS profile's role",
    "assume-role-with-web-identity": f" of the role for {_IDENTITY}",
}
_AGAIN = "sign in again, then repeat: what was done before is not done again"
_ENDED_HINTS = {
    "env": f"{_AGAIN}; in Jenkins, give credentials.aws a role and a longer duration, or an OIDC token file, "
    "with which the role is assumed again whenever a session ends",
}
_TRUST_HINT = (
    "the trust policy of the role must name the issuer of the token as its provider, and the audience and "
    "subject of the token in its conditions"
)
_LIFETIME_HINT = (
    "write a new token into the file, then repeat: what was done before is not done again; in Jenkins, set "
    "Token Lifetime (Manage Jenkins, Security, OpenID Connect) to more seconds than the longest run takes"
)


_CREDENTIAL_HINTS = {
    "FileNotFoundError": "a program or file that the profile names does not exist: check "
    "credential_process and AWS_WEB_IDENTITY_TOKEN_FILE",
    "PermissionError": "a program or file that the profile names cannot be used by this user",
    "JSONDecodeError": "credential_process must print JSON with Version, AccessKeyId and SecretAccessKey",
    "EOFError": "the profile asks for an MFA code, but there is no terminal: jobs need a role without "
    "mfa_serial",
}


@contextlib.contextmanager
def aws_errors(what: str) -> Iterator[None]:
    """Translate every botocore error that leaves the block.

    Args:
        what: The attempted action, as an infinitive: ``read the images of skydrm/rms``.

    Raises:
        ReleaseError: See :func:`translate`.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise translate(error, what) from error


def error_code(error: Exception) -> str:
    """Return the code of AWS's answer, or an empty string if the error is not an answer."""
    return str(error_answer(error).get("Error", {}).get("Code", ""))


def error_answer(error: Exception) -> dict[str, Any]:
    """Return AWS's answer from botocore; empty if the error is not an answer.

    Connection errors have a ``response`` too, which is None.
    """
    response = getattr(error, "response", None)
    return response if isinstance(response, dict) else {}


def is_transient(code: str, said: str, status: int) -> bool:
    """Whether AWS asks to try again later, in any form.

    Retries and errors both use this: a temporary refusal is never a configuration mistake.

    Args:
        code: The code of its answer.
        said: Its text.
        status: The HTTP status.
    """
    if code in _REFUSALS:
        return False
    name = _plain(code)
    if name in _LATER or "throttl" in name or _SAYS_LATER.search(said):
        return True
    return status >= 500 or status == 429


def translate(error: Exception, what: str, *, clock: Callable[[], float] = time.time) -> ReleaseError:
    """Turn a botocore error into one of ours.

    Args:
        error: A botocore ``ClientError`` or ``BotoCoreError``.
        what: The attempted action, as an infinitive.
        clock: Seconds since the epoch; needed only for a Retry-After date.

    Returns:
        ConfigurationError if no usable credentials, profile or region are set, for an exhausted quota, and
        for something named by the caller that AWS does not have; RemoteError for everything else: retryable
        for throttling, 5xx and broken connections, but not for refusals.
    """
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        return _answered(error.response, what, clock, error.operation_name)
    return _unanswered(error, what)


def _unassumed(code: str, said: str, start: str, request: str) -> RemoteError | None:
    """Return the error of a token with which no role can be assumed; None if it is one like any other."""
    if code in _EXPIRED:
        return RemoteError(
            f"{start}{request}: the OIDC token in {_IDENTITY} has expired, so its role cannot be assumed",
            hint=_LIFETIME_HINT,
        )
    if code in _DENIED | {"InvalidIdentityToken", "IDPRejectedClaim"}:
        return RemoteError(
            f"{start}{request}: the OIDC token in {_IDENTITY} does not open its role: {said}",
            hint=_TRUST_HINT,
        )
    return None


def retry_after(headers: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> float | None:
    """Return the seconds that a server asks to wait, or None.

    ``Retry-After`` is a number of seconds or an HTTP date (RFC 9110, section 10.2.3);
    ``x-amz-retry-after`` is a number of milliseconds (botocore's ``retries/standard.py``).
    """
    by_name = {name.lower(): value.strip() for name, value in headers.items()}
    if (milliseconds := whole_number(by_name.get("x-amz-retry-after", ""))) is not None:
        return milliseconds / 1000
    return asked_wait(by_name.get("retry-after", ""), lambda: datetime.fromtimestamp(clock(), UTC))


def _plain(code: str) -> str:
    """Return a code in lower case, without a final ``Exception`` or the like."""
    return _ENDING.sub("", code.lower())


def _answered(
    response: dict[str, Any], what: str, clock: Callable[[], float], operation: str
) -> ReleaseError:
    error = response.get("Error", {})
    code, said = str(error.get("Code", "unknown")), str(error.get("Message", "") or "no reason given")
    meta = response.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode", 0))
    request = f" (request {meta['RequestId']})" if meta.get("RequestId") else ""
    start = f"cannot {what}: AWS answered {code}"
    if operation == "AssumeRoleWithWebIdentity" and (refused := _unassumed(code, said, start, request)):
        return refused
    if code in _EXPIRED:
        source = str(response.get(SOURCE, ""))
        return RemoteError(
            f"{start}{request}: the session credentials{_SOURCES.get(source, '')} have expired",
            hint=_ENDED_HINTS.get(source, _AGAIN),
        )
    if code in _DENIED:
        return _denied(start, said, request)
    if code in _WRONG_KEY:
        return RemoteError(
            f"{start}{request}: it does not know this access key",
            hint="check which credentials boto3 finds; a new key needs about 15 seconds",
        )
    if code in _WRONG_SIGNATURE or code in _NO_SIGNATURE or code in _CLOCK:
        return RemoteError(
            f"{start}{request}: it does not accept the signature of the call",
            hint="the secret access key does not belong to the access key, or this machine's clock is wrong",
        )
    detail = str(response.get("kmsError") or "")  # ECR's KmsException puts KMS's message there
    if detail:
        said = f"{said} ({detail})"
    if is_transient(code, said, status):
        asked = retry_after(meta.get("HTTPHeaders", {}), clock=clock)
        return RemoteError(
            f"{start}{request}: {said}",
            hint="AWS asks to try again later" + (f", in {asked:.0f} s" if asked else ""),
            retryable=True,
            retry_after=asked,
        )
    kind, hint = _KNOWN.get(_plain(code), (RemoteError, ""))
    if _BAD_POLICY.search(said):
        kind, hint = ConfigurationError, _POLICY
    return kind(f"{start}{request}: {said}", hint=hint)


def _denied(start: str, said: str, request: str) -> RemoteError:
    said = _ENCODED.sub("", said)
    hint = "ask the account's administrator for the permission that the call needs"
    if found := _DENIAL.search(said):
        hint = f"a policy of {found['who']} must allow {found['action']}, and none may deny it"
    return RemoteError(f"{start}{request}: {said}", hint=hint)


def _broke_off(error: Exception) -> bool:
    """Whether TLS failed for a reason other than the certificate."""
    return caused_by(error, ssl.SSLError) and not caused_by(error, ssl.SSLCertVerificationError)


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
    if isinstance(error, known.SSOError | known.TokenRetrievalError):
        return ConfigurationError(
            f"{start}: the sign-in of the AWS profile has expired or is missing ({kind})",
            hint="sign in again with 'aws sso login', or let the job use a role of the agent",
        )
    if isinstance(error, known.CredentialRetrievalError):
        # The text may quote the output of a credential program, so only the type is named.
        cause = type(error.__cause__).__name__ if error.__cause__ else kind
        hint = _CREDENTIAL_HINTS.get(cause, _CHAIN_HINT)
        return ConfigurationError(f"{start}: cannot get the AWS credentials ({cause})", hint=hint)
    if isinstance(error, known.MissingDependencyException):
        return ConfigurationError(
            f"{start}: the profile signs in with 'aws login', which needs a package that is not installed",
            hint="for jobs, use other credentials: a role of the agent, or an access key",
        )
    if isinstance(error, known.NoRegionError | known.InvalidRegionError | known.UnknownRegionError):
        return ConfigurationError(f"{start}: {error}", hint="set the region in the configuration")
    if isinstance(error, known.ParamValidationError):
        return ConfigurationError(f"{start}: {_VALUE.sub('', str(error))}")
    if isinstance(error, known.ConfigParseError | known.InvalidConfigError):
        return ConfigurationError(f"{start}: {error}", hint="fix the shared AWS configuration")
    if isinstance(error, known.ProxyConnectionError):
        named = getattr(error, "kwargs", {})
        host = str(named.get("proxy_url", "")).rpartition("@")[2].rpartition("/")[2]
        reason = _TUNNEL.search(str(named.get("error", "")))
        found = (
            f"the proxy {host} refuses: {reason['said']}" if reason else f"the proxy {host} cannot be reached"
        )
        return RemoteError(
            f"{start}: {found}",
            hint="check HTTPS_PROXY and HTTP_PROXY, and NO_PROXY for hosts that need no proxy",
            retryable=True,
        )
    if isinstance(error, known.SSLError) and not _broke_off(error):
        return RemoteError(
            f"{start}: the TLS certificate is not accepted: {error}",
            hint="behind an intercepting proxy, set AWS_CA_BUNDLE to its certificate",
        )
    if type(getattr(error, "kwargs", {}).get("error")).__name__ == "LocationParseError":
        # The text quotes the address, which may hold a login.
        return ConfigurationError(
            f"{start}: the proxy address is not a valid URL", hint="look at HTTPS_PROXY and HTTP_PROXY"
        )
    broken = (known.HTTPClientError, known.ConnectionError, known.IncompleteReadError)
    if isinstance(error, broken):
        return RemoteError(
            f"{start}: {error}", hint="check region, proxy and firewall on the way to AWS", retryable=True
        )
    return RemoteError(f"{start}: {kind}: {error}")
