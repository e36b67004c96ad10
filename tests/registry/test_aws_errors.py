"""Translation of botocore's errors: the right tree, the right advice, and no secret."""

from __future__ import annotations

import subprocess
import sys
from string import Formatter
from typing import Any

import botocore.exceptions as known
import pytest

from jenkins_release.aws import aws_errors, error_code, retry_after, translate
from jenkins_release.aws.s3 import Bucket
from jenkins_release.base.errors import ConfigurationError, RemoteError

NOW = 1_750_000_000.0


def answered(code: str, message: str = "said", status: int = 400, **headers: str) -> known.ClientError:
    """Return AWS's answer as botocore raises it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    meta = {"HTTPStatusCode": status, "RequestId": "r-1", "HTTPHeaders": named}
    return known.ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": meta}, "Op")


@pytest.mark.parametrize(
    "error",
    [
        answered("ThrottlingException"),
        answered("RequestLimitExceeded", status=503),
        answered("SlowDown", status=503),
        answered("Anything", status=500),
        answered("Anything", status=429),
        answered("RequestTimeout"),
        known.EndpointConnectionError(endpoint_url="http://x"),
        known.ConnectTimeoutError(endpoint_url="http://x"),
        known.ReadTimeoutError(endpoint_url="http://x"),
        known.ConnectionClosedError(endpoint_url="http://x"),
        known.ProxyConnectionError(proxy_url="http://x"),
        known.ResponseStreamingError(error="x"),
    ],
)
def test_what_may_pass_is_retryable(error: Exception) -> None:
    """Throttling, 5xx and broken connections are remote errors that another attempt may overcome."""
    found = translate(error, "do it")
    assert isinstance(found, RemoteError)
    assert found.retryable
    assert found.message.startswith("cannot do it: ")


@pytest.mark.parametrize(
    "error",
    [
        answered("AccessDenied", status=403),
        answered("ExpiredToken"),
        answered("InvalidClientTokenId"),
        answered("SignatureDoesNotMatch", status=403),
        answered("RequestTimeTooSkewed"),
        answered("ValidationError"),
        known.SSLError(endpoint_url="https://x", error="self-signed"),
        known.WaiterError(name="w", reason="r", last_response={}),
    ],
)
def test_what_will_not_pass_is_final(error: Exception) -> None:
    """Refusals and unknown answers are remote errors that another attempt does not mend."""
    found = translate(error, "do it")
    assert isinstance(found, RemoteError)
    assert not found.retryable
    assert found.retry_after is None


@pytest.mark.parametrize(
    "error",
    [
        known.NoCredentialsError(),
        known.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        known.ProfileNotFound(profile="none"),
        known.NoRegionError(),
        known.UnauthorizedSSOTokenError(),
        known.CredentialRetrievalError(provider="process", error_msg="x"),
        known.ConfigParseError(path="/etc/x"),
    ],
)
def test_what_the_caller_has_to_mend_is_a_configuration_error(error: Exception) -> None:
    """Credentials, profile and region are the caller's, and there is advice."""
    found = translate(error, "do it")
    assert isinstance(found, ConfigurationError)
    assert found.hint


@pytest.mark.parametrize(
    ("code", "message", "kind", "advice"),
    [
        ("LayersNotFoundException", "said", RemoteError, "sends them again"),
        ("ReferencedImagesNotFoundException", "said", RemoteError, "push them first"),
        ("ImageTagAlreadyExistsException", "said", RemoteError, "under a new version"),
        ("KmsException", "said", ConfigurationError, "its policy must let"),
        ("EncryptionFailure", "said", ConfigurationError, "its policy must let"),
        ("LimitExceededException", "said", ConfigurationError, "Service Quotas"),
        ("LimitExceeded", "Cannot exceed quota for UsersPerAccount", ConfigurationError, "Service Quotas"),
        ("ServiceQuotaExceededException", "said", ConfigurationError, "Service Quotas"),
        ("EntityAlreadyExists", "said", ConfigurationError, "another name"),
        ("MalformedPolicyDocument", "said", ConfigurationError, "does not exist"),
        ("MalformedPolicyDocument", "Invalid principal in policy: AIDAX", ConfigurationError, "a minute"),
        (
            "InvalidParameterException",
            "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Principal not found'",
            ConfigurationError,
            "an account, user or role",
        ),
        (
            "InvalidParameterException",
            "failed to satisfy constraint: 'Invalid repository policy provided'",
            ConfigurationError,
            "an account, user or role",
        ),
    ],
)
def test_a_refusal_comes_with_what_to_do(code: str, message: str, kind: type, advice: str) -> None:
    """And with the status of what has to be mended: by the caller, or by running it again."""
    found = translate(answered(code, message), "do it")
    assert type(found) is kind
    assert not found.retryable
    assert advice in found.hint
    assert message in found.message


def test_what_kms_said_is_told() -> None:
    """ECR hides it in a field of its own; there KMS may ask for patience too."""
    error = answered("KmsException", "The operation failed due to a KMS exception.")
    error.response["kmsError"] = "KMS.DisabledException"
    assert "KMS exception. (KMS.DisabledException)" in translate(error, "do it").message
    error.response["kmsError"] = "KMS.ThrottlingException"
    assert translate(error, "do it").retryable


def test_a_denial_names_principal_and_permission() -> None:
    """The hint is what to put into a policy; the encoded message is left out."""
    said = "User: arn:aws:iam::1:user/x is not authorized to perform: ecs:UpdateService on resource: *"
    found = translate(
        answered("AccessDeniedException", f"{said}. Encoded authorization failure message: zzz"), "deploy"
    )
    assert said in found.message
    assert "zzz" not in found.message
    assert (
        found.hint == "a policy of arn:aws:iam::1:user/x must allow ecs:UpdateService, and none may deny it"
    )


def test_the_canonical_request_is_not_quoted() -> None:
    """AWS quotes the request's headers, a session token among them, when a signature is wrong."""
    found = translate(answered("InvalidSignatureException", "x-amz-security-token:SECRET"), "do it")
    assert "SECRET" not in f"{found} {found!r} {found.hint} {found.diagnostics()}"


def test_the_output_of_a_credential_program_is_not_quoted() -> None:
    """credential_process may print anything."""
    found = translate(known.CredentialRetrievalError(provider="process", error_msg="SECRET"), "do it")
    assert "SECRET" not in found.message


def test_the_value_of_a_wrong_parameter_is_not_quoted() -> None:
    """Botocore shows the value; it may be a secret."""
    report = (
        "Invalid type for parameter SecretString, value: ['SECRET'], type: <class 'list'>, valid types: str"
    )
    found = translate(known.ParamValidationError(report=report), "do it")
    assert "SECRET" not in found.message
    assert "SecretString, type" in found.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "Sun, 15 Jun 2025 15:07:30 GMT"}, 50.0),
        ({"retry-after": "Sun, 15 Jun 2025 15:00:00 GMT"}, 0.0),
        ({"x-amz-retry-after": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "\u00b2"}, None),
        ({"x-amz-retry-after": "\u00b2"}, None),
        ({"x-amz-retry-after": "9" * 400}, None),
        ({}, None),
    ],
)
def test_retry_after_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    """A number, a date, AWS's milliseconds, or nothing."""
    assert retry_after(headers, clock=lambda: NOW) == seconds


def test_the_wait_is_handed_on_with_the_error() -> None:
    """The retry layer sees what the server asked for."""
    assert translate(answered("Throttling", retry_after="3"), "do it").retry_after == 3


def test_the_block_translates_and_keeps_the_cause() -> None:
    """Leaving the block, a botocore error is one of ours, with the original as its cause."""
    original = answered("Throttling")
    with pytest.raises(RemoteError) as caught, aws_errors("do it"):
        raise original
    assert caught.value.__cause__ is original


def test_other_errors_pass_through_the_block() -> None:
    """Only botocore's errors are translated: a bug stays a bug."""
    with pytest.raises(ZeroDivisionError), aws_errors("do it"):
        raise ZeroDivisionError


@pytest.mark.parametrize(("error", "code"), [(answered("Some"), "Some"), (ValueError("x"), "")])
def test_the_code_of_an_answer(error: Any, code: str) -> None:
    """Callers tell answers apart by code; anything else has none."""
    assert error_code(error) == code


def test_boto3_is_imported_when_a_client_is_made_and_not_before() -> None:
    """Commands that stay off AWS do not pay for boto3."""
    program = "import sys, jenkins_release.registry; print({'boto3', 'botocore'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def _every_error() -> list[Exception]:
    """One of each class that botocore raises."""
    found: list[Exception] = [answered(code) for code in ("", "AccessDenied", "NoSuchKey", "SlowDown")]
    for kind in vars(known).values():
        if not isinstance(kind, type) or not issubclass(kind, known.BotoCoreError):
            continue
        fields = {name: "x" for _, name, _, _ in Formatter().parse(kind.fmt) if name}
        if kind is known.WaiterError:
            fields["last_response"] = "x"
        found.append(kind(**fields))
    return found


@pytest.mark.parametrize("error", _every_error(), ids=lambda error: type(error).__name__)
def test_every_error_is_translated(error: Exception):
    """Those of a connection have a response that is None: S3's explanation took it for an answer."""
    bucket = Bucket("b", "eu-central-1", section="portal", missing=RemoteError)
    for found in (translate(error, "do it"), bucket.explain(error, "do it")):
        assert isinstance(found, ConfigurationError | RemoteError)
        assert found.message.startswith("cannot do it")


def test_there_are_errors_to_translate():
    """The list above is made of botocore's module."""
    assert len(_every_error()) > 90


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ("x", "the proxy proxy:3128 cannot be reached"),
        ("Tunnel connection failed: 407 No", "refuses: 407 No"),
    ],
)
def test_a_proxy_that_refuses(cause: str, said: str):
    """Its login is not in the message."""
    error = known.ProxyConnectionError(proxy_url="http://hunter:two@proxy:3128", error=cause)
    found = translate(error, "do it")
    assert said in found.message
    assert "two" not in found.message
    assert "HTTPS_PROXY" in found.hint
