"""Who calls the ECR front, and with which rights: SigV4 signatures, registry tokens, policies."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from jenkins_release.aws.identity import Caller
from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.ecr.state import EcrState, PrincipalKey, Session
from jenkins_release.sandbox.iam.users import IamKey
from jenkins_release.sandbox.process import LOOPBACK

MAX_SKEW_S = 15 * 60
"""Maximum clock skew of a request in seconds (IAM user guide, "Signature Version 4")."""
DOWNLOADS = "/_sandbox/layers/"
"""Path of the URLs from GetDownloadUrlForLayer."""
DOWNLOAD_S = 3600
"""Seconds that such a URL is valid."""

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/(?P<date>\d{8})/(?P<region>[\w-]+)/(?P<service>[\w-]+)"
    r"/aws4_request,\s*SignedHeaders=(?P<signed>[\w;-]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
_TIME = "%Y%m%dT%H%M%SZ"


def caller(state: EcrState, url: str, headers: Mapping[str, str], body: bytes, service: str = "ecr") -> str:
    """Check the SigV4 signature of an API call and return the ARN of its principal.

    The signature is computed again with botocore's own signer ("Create a signed AWS API request" in
    the IAM user guide describes the algorithm).

    Args:
        state: Has the access keys.
        url: URL that was called.
        headers: Headers as received, names in lower case.
        body: Body as received.
        service: The service that is called, as signatures name it.

    Raises:
        ApiFault: MissingAuthenticationTokenException, UnrecognizedClientException,
            InvalidSignatureException, ExpiredTokenException.
    """
    stated = headers.get("authorization", "")
    if not stated:
        raise ApiFault("MissingAuthenticationTokenException", "Missing Authentication Token")
    parts = _AUTHORIZATION.fullmatch(stated)
    if parts is None:
        raise ApiFault("IncompleteSignatureException", "Authorization header is malformed.")
    with state.read() as document:
        session = document.sessions.get(parts["key"])
        key: PrincipalKey | Session | IamKey | None = session or document.keys.get(parts["key"])
    if key is None and state.iam is not None:
        key = state.iam.key(parts["key"])
    token = headers.get("x-amz-security-token", "")
    forged = session is not None and not hmac.compare_digest(session.token, token)
    if key is None or not key.active or forged:
        raise ApiFault(
            "UnrecognizedClientException", "The security token included in the request is invalid."
        )
    if session is not None and session.expires_at <= state.clock():
        raise ApiFault("ExpiredTokenException", "The security token included in the request is expired")
    _check_scope(state, parts, headers, service)
    signed = set(parts["signed"].split(";"))
    claimed_body = headers.get("x-amz-content-sha256")
    # REST has no target: its action is in the path, which is always signed.
    if not {"host", "x-amz-date", *({"x-amz-target", "x-amz-security-token"} & set(headers))} <= signed or (
        claimed_body is not None and claimed_body != hashlib.sha256(body).hexdigest()
    ):
        raise _invalid("The request signature does not cover the request.")
    request = AWSRequest(
        method="POST",
        url=url,
        headers={name: value for name, value in headers.items() if name in signed},
        data=body,
    )
    request.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(Credentials(parts["key"], key.secret), parts["service"], parts["region"])
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    if not hmac.compare_digest(signer.signature(to_sign, request), parts["signature"]):
        raise _invalid(
            "The request signature we calculated does not match the signature you provided. Check your "
            "AWS Secret Access Key and signing method. Consult the service documentation for details."
        )
    if state.iam is not None and isinstance(key, IamKey):
        state.iam.note_use(parts["key"])
    return key.arn


def token_holder(state: EcrState, authorization: str | None, expired_status: int) -> str:
    """Check the Basic credentials of a ``/v2/`` call and return the ARN of the token's principal.

    Raises:
        ApiFault: UNAUTHORIZED without a known token; DENIED, with ``expired_status``, when it expired.
    """
    kind, _, encoded = (authorization or "").partition(" ")
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        user, password = "", ""
    token = state.token(password) if kind.lower() == "basic" and user == "AWS" else None
    if token is None:
        raise ApiFault("UNAUTHORIZED", "Not Authorized", 401)
    if token.expires_at <= state.clock():
        message = "Your authorization token has expired. Reauthenticate and try again."
        raise ApiFault("DENIED", message, expired_status)
    return token.arn


def authorize(
    state: EcrState, arn: str, action: str, repository: str | None = None, *, address: str = LOOPBACK
) -> None:
    """Check that a principal may do something, as IAM evaluates identity policies.

    Args:
        state: Has the principals.
        arn: The principal.
        action: For example ``ecr:PutImage``.
        repository: The repository; None for actions on the whole registry.
        address: Address of the caller.

    Raises:
        ApiFault: AccessDeniedException, with AWS's text.
    """
    resource = "*" if repository is None else state.repository_arn(repository)
    authorize_on(state, arn, action, resource, repository=repository, address=address)


def authorize_on(
    state: EcrState,
    arn: str,
    action: str,
    resource: str,
    *,
    repository: str | None = None,
    address: str = LOOPBACK,
) -> None:
    """Check that a principal may do something to a resource with an ARN.

    Args:
        state: Has the principals.
        arn: The principal.
        action: For example ``ecs:UpdateService``.
        resource: The resource's ARN.
        repository: Its repository, whose own policy counts too.
        address: Address of the caller.

    Raises:
        ApiFault: AccessDeniedException, with AWS's text.
    """
    # The policies of a session are those of its role.
    principal = Caller(state.account, arn).principal
    with state.read() as document:
        own = principal in document.principals
        matching = [
            each.effect
            for each in document.principals.get(principal, [])
            if any(fnmatchcase(action.lower(), pattern.lower()) for pattern in each.actions)
            and any(fnmatchcase(resource, pattern) for pattern in each.resources)
        ]
    answer = None if own or state.iam is None else state.iam.answer(arn, action, resource, address)
    if answer == "allow":
        return
    if "Deny" in matching or answer == "explicit deny":
        reason = "with an explicit deny in an identity-based policy"
    elif not _shared(state, arn, action, repository):
        reason = f"because no resource-based policy allows the {action} action"
    elif "Allow" not in matching:
        reason = f"because no identity-based policy allows the {action} action"
    else:
        return
    raise ApiFault(
        "AccessDeniedException",
        f"User: {arn} is not authorized to perform: {action} on resource: {resource} {reason}",
    )


def _shared(state: EcrState, arn: str, action: str, repository: str | None) -> bool:
    """Whether a repository's policy allows a principal of another account; our own principals need none."""
    account = arn.split(":")[4]
    if account == state.account or repository is None:
        return True
    with state.read() as document:
        found = document.repositories.get(repository)
    policy = json.loads(found.policy) if found is not None and found.policy else {}
    return any(
        each.get("Effect") == "Allow"
        and each.get("Principal", {}).get("AWS") == f"arn:aws:iam::{account}:root"
        and action in each.get("Action", [])
        for each in policy.get("Statement", [])
    )


def download_path(state: EcrState, storage: str, digest: str) -> str:
    """Return a path that serves one layer without credentials for an hour, like S3's presigned URLs."""
    expires = str(int(state.clock()) + DOWNLOAD_S)
    signature = _download_signature(state, storage, digest, expires)
    return f"{DOWNLOADS}{storage}/{digest}?expires={expires}&signature={signature}"


def check_download(state: EcrState, path: str, query: Mapping[str, str]) -> tuple[str, str]:
    """Return storage and digest of a path that :func:`download_path` made.

    Raises:
        ApiFault: AccessDenied: it was not made here, or has expired.
    """
    storage, _, digest = path.removeprefix(DOWNLOADS).rpartition("/")
    expires = query.get("expires", "")
    expected = _download_signature(state, storage, digest, expires)
    if not hmac.compare_digest(expected, query.get("signature", "")) or int(expires) <= state.clock():
        raise ApiFault("AccessDenied", "Request has expired", 403)
    return storage, digest


def _download_signature(state: EcrState, storage: str, digest: str, expires: str) -> str:
    with state.read() as document:
        key = document.download_key.encode()
    return hmac.new(key, f"{storage} {digest} {expires}".encode(), hashlib.sha256).hexdigest()


def _check_scope(state: EcrState, parts: re.Match[str], headers: Mapping[str, str], service: str) -> None:
    if (parts["region"], parts["service"]) != (state.region, service):
        raise _invalid(
            f"Credential should be scoped to a valid region: {state.region}, and to service: '{service}'."
        )
    stamp = headers.get("x-amz-date", "")
    try:
        at = datetime.strptime(stamp, _TIME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise _invalid("Date must be in ISO-8601 'basic format'.") from None
    if not stamp.startswith(parts["date"]):
        raise _invalid("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date.")
    if abs(at - state.clock()) > MAX_SKEW_S:
        raise _invalid(
            f"Signature expired: {stamp} is not within {MAX_SKEW_S // 60} min. of the current time."
        )


def _invalid(message: str) -> ApiFault:
    return ApiFault("InvalidSignatureException", message)
