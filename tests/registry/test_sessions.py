"""Sessions of roles: an OIDC token file survives their end, and without one the error says what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.registry import EcrRegistry
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION, PolicyStatement
from jenkins_release.sandbox.front.front import EcrFront

ALL = [PolicyStatement(actions=["ecr:*"])]
ASSUME = "sts:AssumeRoleWithWebIdentity"


@dataclass
class TokenFile:
    """A role, and the file with the token for which it can be assumed."""

    ecr: EcrFront
    role: str
    path: Path

    def renew(self, role: str = "", **seconds: float) -> None:
        """Write a new token into the file; the tokens so far expire."""
        self.ecr.state.end_identity_tokens()
        self.path.write_text(self.ecr.state.issue_identity_token(role or self.role, **seconds))


@pytest.fixture
def token_file(ecr: EcrFront, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TokenFile:
    """An environment in which boto3 has nothing but an OIDC token file."""
    role = ecr.state.add_role("push", ALL)
    made = TokenFile(ecr, role, tmp_path / "id-token")
    made.renew()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", ecr.endpoint)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(made.path))
    monkeypatch.setenv("AWS_ROLE_ARN", role)
    monkeypatch.setenv("AWS_ROLE_SESSION_NAME", "jenkins-promote-7")
    return made


def login(ecr: EcrFront) -> Callable[[], object]:
    return EcrRegistry(REGION, account=ACCOUNT).login


def bind(ecr: EcrFront, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give boto3 a session that nobody renews, as AWS Credentials of Jenkins binds it."""
    key, secret, session = ecr.state.start_session(ecr.state.add_role("push", ALL), "jenkins-7", 3600.0)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("AWS_SESSION_TOKEN", session.token)


def test_a_token_file_opens_its_role(ecr: EcrFront, token_file: TokenFile) -> None:
    """Under the name that AWS_ROLE_SESSION_NAME gives, once for many calls."""
    ask = login(ecr)
    ask()
    ask()
    assert ecr.requests.labels() == [ASSUME, "GetAuthorizationToken", "GetAuthorizationToken"]
    assert ecr.requests.all()[1].principal == f"arn:aws:sts::{ACCOUNT}:assumed-role/push/jenkins-promote-7"


def test_the_role_is_assumed_again_with_what_is_in_the_file_then(
    ecr: EcrFront, token_file: TokenFile
) -> None:
    """The first session and the first token are over: botocore begins another 10 minutes before the end."""
    token_file.renew(session_s=300)
    ask = login(ecr)
    ask()
    ecr.state.end_sessions()
    token_file.renew()
    ask()
    assert ecr.requests.count(ASSUME) == 2


def test_an_expired_token_is_named_and_not_shown(ecr: EcrFront, token_file: TokenFile) -> None:
    """It is the token that has expired, not a session, and Jenkins issued it for too short a time."""
    token_file.renew(lifetime_s=-1)
    with pytest.raises(
        RemoteError, match=r"the OIDC token in AWS_WEB_IDENTITY_TOKEN_FILE has expired"
    ) as caught:
        login(ecr)()
    assert "Token Lifetime (Manage Jenkins, Security, OpenID Connect)" in caught.value.hint
    assert not caught.value.retryable
    assert token_file.path.read_text() not in f"{caught.value} {caught.value.diagnostics()}"


def test_a_token_for_another_role_names_the_trust_policy(ecr: EcrFront, token_file: TokenFile) -> None:
    """STS only says that it is not authorized."""
    token_file.renew(ecr.state.add_role("read", ALL))
    with pytest.raises(RemoteError, match="does not open its role: Not authorized to perform sts:") as caught:
        login(ecr)()
    assert "the trust policy of the role" in caught.value.hint


@pytest.mark.parametrize("text", [None, "", "not-one-of-jenkins"])
def test_a_file_without_a_token_opens_nothing(ecr: EcrFront, token_file: TokenFile, text: str | None) -> None:
    """Missing, empty, or of somebody else: an error, and no other credentials instead."""
    token_file.path.unlink() if text is None else token_file.path.write_text(text)
    with pytest.raises((ConfigurationError, RemoteError)) as caught:
        login(ecr)()
    assert not caught.value.retryable
    assert "not-one-of-jenkins" not in f"{caught.value} {caught.value.diagnostics()}"


def test_a_session_that_ends_says_which_credentials_and_what_to_do(
    ecr: EcrFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A binding of Jenkins is fixed for the whole step: nothing here can renew it."""
    bind(ecr, monkeypatch)
    ask = login(ecr)
    ask()
    ecr.state.end_sessions()
    with pytest.raises(
        RemoteError, match=r"the session credentials in AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN have expired"
    ) as caught:
        ask()
    assert "longer duration, or an OIDC token file" in caught.value.hint
    assert not caught.value.retryable


def test_a_session_without_its_token_is_none(ecr: EcrFront, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in AWS: key and secret alone open nothing."""
    bind(ecr, monkeypatch)
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    with pytest.raises(RemoteError, match="does not know this access key"):
        login(ecr)()


def test_a_role_may_do_what_its_policy_allows(ecr: EcrFront, token_file: TokenFile) -> None:
    """And nothing else, under the name of the session."""
    ecr.state.add_role("push", [])
    with pytest.raises(RemoteError, match=r"assumed-role/push/jenkins-promote-7 is not authorized"):
        login(ecr)()


def test_a_fault_ends_the_sessions_behind_one_request(ecr: EcrFront, monkeypatch: pytest.MonkeyPatch) -> None:
    """That request is answered; the next one is refused."""
    bind(ecr, monkeypatch)
    ecr.faults.add(Fault(action="GetAuthorizationToken", end_sessions=True))
    ask = login(ecr)
    ask()
    with pytest.raises(RemoteError, match="have expired"):
        ask()
