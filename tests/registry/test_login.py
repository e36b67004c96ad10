"""Tokens: minted fresh, checked, sent nowhere unsafe, and never shown."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from botocore.stub import Stubber

from jenkins_release.aws import aws_client
from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.registry import EcrRegistry
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION, PolicyStatement
from jenkins_release.sandbox.front.front import EcrFront


def everything_said(error: RemoteError | ConfigurationError, log: pytest.LogCaptureFixture) -> str:
    """Return all that a person could get to see of an error, its causes included."""
    said = [repr(error), str(error), error.hint, str(error.diagnostics()), log.text]
    cause: BaseException | None = error
    while cause is not None:
        said.append(f"{cause!r} {cause}")
        cause = cause.__cause__ or cause.__context__
    return "\n".join(said)


def test_a_token_opens_the_registry_it_names(registry: EcrRegistry, ecr: EcrFront) -> None:
    """The login is for the endpoint that ECR names, and works there."""
    login = registry.login()
    assert (login.registry, login.username) == (ecr.host, "AWS")
    answer = requests.get(f"{ecr.endpoint}/v2/", auth=(login.username, login.password), timeout=10)
    assert answer.status_code == 200


def test_every_login_is_a_fresh_token(registry: EcrRegistry, ecr: EcrFront) -> None:
    """A token is never kept: each login asks ECR again."""
    assert registry.login().password != registry.login().password
    assert ecr.requests.count("GetAuthorizationToken") == 2


def test_host_is_what_ecr_says_and_is_asked_once(registry: EcrRegistry, ecr: EcrFront) -> None:
    """The host needs no configuration, and one call."""
    assert registry.host == registry.host == ecr.host
    assert registry.endpoint == ecr.endpoint
    assert ecr.requests.count("GetAuthorizationToken") == 1


def test_a_login_does_not_show_its_token(registry: EcrRegistry) -> None:
    """Neither repr nor str of a login holds the password."""
    login = registry.login()
    assert login.password not in f"{login!r} {login} {registry!r}"


def test_without_credentials_nothing_is_sent(
    ecr: EcrFront, no_aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No credentials is a mistake of the caller, with advice."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(ConfigurationError, match="found no AWS credentials") as caught:
        EcrRegistry(REGION).login()
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint
    assert ecr.requests.all() == []


def test_half_the_credentials_are_no_credentials(ecr: EcrFront, monkeypatch: pytest.MonkeyPatch) -> None:
    """An access key without its secret is named as incomplete."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigurationError, match="incomplete"):
        EcrRegistry(REGION).login()


def test_an_unknown_profile_is_named(ecr: EcrFront) -> None:
    """A profile that does not exist is a mistake of the caller."""
    with pytest.raises(ConfigurationError, match="nobody-has-this"):
        EcrRegistry(REGION, profile="nobody-has-this").login()


def test_no_region_is_a_mistake_of_the_caller(ecr: EcrFront) -> None:
    """The region is never guessed."""
    with pytest.raises(ConfigurationError, match="no AWS region"):
        EcrRegistry("").login()


def test_a_wrong_secret_is_refused_without_showing_it(
    ecr: EcrFront, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong secret access key is told from other failures, is final, and appears nowhere."""
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-very-secret")
    with pytest.raises(RemoteError, match="InvalidSignatureException") as caught:
        EcrRegistry(REGION).login()
    assert not caught.value.retryable
    assert "secret access key does not belong" in caught.value.hint
    assert "wrong-and-very-secret" not in everything_said(caught.value, caplog)


def test_an_unknown_access_key_is_refused(ecr: EcrFront, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that AWS does not know, or that is switched off, is named as such and is final."""
    key, _ = ecr.state.admin_key()
    ecr.state.set_key_active(key, False)
    with pytest.raises(RemoteError, match="UnrecognizedClientException") as caught:
        EcrRegistry(REGION).login()
    assert not caught.value.retryable


def test_a_call_for_another_region_is_refused(ecr: EcrFront) -> None:
    """The signature is bound to the region."""
    with pytest.raises(RemoteError, match="InvalidSignatureException"):
        EcrRegistry("eu-central-1").login()


def test_missing_rights_name_the_action_and_the_principal(
    ecr: EcrFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal says who may not do what, and what would have to be allowed."""
    key, secret = ecr.state.add_user("nobody", [PolicyStatement(actions=["ecr:DescribeImages"])])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    with pytest.raises(RemoteError, match="user/nobody is not authorized") as caught:
        EcrRegistry(REGION).login()
    assert not caught.value.retryable
    assert "must allow ecr:GetAuthorizationToken" in caught.value.hint
    assert ecr.state.user_arn("nobody") in caught.value.hint


def test_expired_session_credentials_are_final(single_try: EcrRegistry, ecr: EcrFront) -> None:
    """An expired session is told from a wrong key; trying again does not help."""
    ecr.faults.add(Fault(action="GetAuthorizationToken", status=400, code="ExpiredTokenException"))
    with pytest.raises(RemoteError, match="have expired") as caught:
        single_try.login()
    assert not caught.value.retryable


def test_a_token_that_has_expired_on_arrival_is_not_used(ecr: EcrFront, boto_ecr: Any) -> None:
    """A token without a minute left means that a clock is wrong."""
    late = datetime.now(UTC) + timedelta(hours=12)
    with pytest.raises(RemoteError, match="expires at") as caught:
        EcrRegistry(REGION, client=boto_ecr, now=lambda: late).login()
    assert "clock" in caught.value.hint


@pytest.fixture
def answering(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., EcrRegistry]:
    """A registry over a client of which the test makes up AWS's answer."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")

    def build(endpoint: str, token: str = "AWS:the-token", encoded: str = "", **settings: Any) -> EcrRegistry:  # noqa: S107
        client = aws_client("ecr", REGION)
        data = {
            "authorizationToken": encoded or base64.b64encode(token.encode()).decode(),
            "expiresAt": datetime.now(UTC) + timedelta(hours=12),
            "proxyEndpoint": endpoint,
        }
        stub = Stubber(client)
        stub.add_response("get_authorization_token", {"authorizationData": [data]}, {})
        stub.activate()
        return EcrRegistry(REGION, client=client, **settings)

    return build


def test_the_real_endpoint_is_the_host_of_the_account(answering: Callable[..., EcrRegistry]) -> None:
    """In AWS the host is <account>.dkr.ecr.<region>.amazonaws.com."""
    registry = answering(f"https://{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com")
    assert registry.login().registry == f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"


def test_time_outs_and_retries_are_those_that_are_stated(ecr: EcrFront) -> None:
    """Nothing is left to the environment or to botocore's defaults."""
    config = aws_client("ecr", REGION).meta.config
    assert (config.connect_timeout, config.read_timeout) == (5, 60)
    assert (config.retries["mode"], config.retries["total_max_attempts"]) == ("standard", 5)


def test_another_accounts_registry_is_reached_with_ones_own_token(
    answering: Callable[..., EcrRegistry],
) -> None:
    """ECR names the caller's own registry; the token works for the configured account's as well."""
    registry = answering("https://111122223333.dkr.ecr.us-east-1.amazonaws.com", account="999988887777")
    assert registry.login().registry == "999988887777.dkr.ecr.us-east-1.amazonaws.com"


def test_a_token_is_never_sent_in_the_clear(answering: Callable[..., EcrRegistry]) -> None:
    """An endpoint without TLS is only accepted on loopback."""
    with pytest.raises(ConfigurationError, match="sent only over https"):
        answering("http://registry.example.com").login()


@pytest.mark.parametrize("token", ["no-colon-in-it", "AWS:"])
def test_an_unusable_token_is_not_quoted(
    answering: Callable[..., EcrRegistry], token: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What ECR sent instead of a token stays out of the message."""
    with pytest.raises(RemoteError, match="no usable token") as caught:
        answering("https://x.example", token).login()
    assert base64.b64encode(token.encode()).decode() not in everything_said(caught.value, caplog)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://[::1",
        "https://x:99999999",
        "https://x:y",
        "https://a b",
        "https://\u00e4",
        "x",
        "",
        "ftp://x",
    ],
)
def test_an_endpoint_that_is_none_is_named(answering: Callable[..., EcrRegistry], endpoint: str) -> None:
    """Not a bug of ours with status 70."""
    with pytest.raises(ConfigurationError, match="ECR names the registry"):
        answering(endpoint).login()


def test_a_token_that_is_no_ascii_is_none(answering: Callable[..., EcrRegistry]) -> None:
    """And not quoted."""
    with pytest.raises(RemoteError, match="no usable token"):
        answering("https://x.example", encoded="\u00e4").login()


def test_something_that_is_no_base64_is_not_quoted(answering: Callable[..., EcrRegistry]) -> None:
    """The same for an answer that cannot be decoded at all."""
    with pytest.raises(RemoteError, match="no usable token") as caught:
        answering("https://x.example", encoded="%%SECRET%%").login()
    assert "SECRET" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"


def test_no_debug_log_of_ours_shows_the_token(
    registry: EcrRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Even at the most talkative level the package's own log is silent about tokens and secrets."""
    caplog.set_level(logging.DEBUG, "jenkins_release")
    login = registry.login()
    own = "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith("jenkins_release")
    )
    assert login.password not in own
