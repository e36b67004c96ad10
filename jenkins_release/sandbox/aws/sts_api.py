"""AWS STS, as far as sessions need it: a role for an identity token, and who a caller is.

It speaks the query protocol: a form in the request, XML in the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.ecr.state import EcrState

_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


class StsApi:
    """STS of the front.

    Args:
        state: Has the roles, the identity tokens and the sessions.
        identify: Checks the signature of the request, and returns the ARN of its principal.
    """

    def __init__(self, state: EcrState, identify: Callable[[], str]) -> None:
        self._state = state
        self._identify = identify

    def answer(self, form: Mapping[str, str]) -> str:
        """Run an action and return its answer.

        Raises:
            ApiFault: STS's error.
        """
        action = form.get("Action", "")
        if action == "AssumeRoleWithWebIdentity":
            return _document(action, self._assume(form))
        if action == "GetCallerIdentity":
            arn = self._identify()
            return _document(action, {"Arn": arn, "UserId": "sandbox", "Account": self._state.account})
        raise ApiFault("InvalidAction", f"Could not find operation {action} for version 2011-06-15")

    def _assume(self, form: Mapping[str, str]) -> dict[str, Any]:
        role, name = form.get("RoleArn", ""), form.get("RoleSessionName", "")
        token = self._state.identity_token(form.get("WebIdentityToken", ""))
        if token is None:
            raise ApiFault("InvalidIdentityToken", "No OpenIDConnect provider found for the token's issuer")
        if token.expires_at <= (now := self._state.clock()):
            raise ApiFault(
                "ExpiredTokenException",
                f"Token expired: current date/time {now:.0f} must be before the expiration date/time "
                f"{token.expires_at:.0f}",
            )
        if token.role != role:
            raise ApiFault("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", 403)
        key, secret, session = self._state.start_session(role, name, token.session_s)
        return {
            "AssumedRoleUser": {"AssumedRoleId": f"AROASANDBOX:{name}", "Arn": session.arn},
            "Credentials": {
                "AccessKeyId": key,
                "SecretAccessKey": secret,
                "SessionToken": session.token,
                "Expiration": datetime.fromtimestamp(session.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
        }


def refusal(error: ApiFault) -> str:
    """Return STS's document for an error."""
    found = {
        "Error": {"Type": "Sender", "Code": error.code, "Message": error.message},
        "RequestId": "sandbox",
    }
    return f'<ErrorResponse xmlns="{_NAMESPACE}">{_xml(found)}</ErrorResponse>'


def _document(action: str, result: Mapping[str, Any]) -> str:
    found = {f"{action}Result": result, "ResponseMetadata": {"RequestId": "sandbox"}}
    return f'<{action}Response xmlns="{_NAMESPACE}">{_xml(found)}</{action}Response>'


def _xml(values: Mapping[str, Any]) -> str:
    inner = {name: _xml(each) if isinstance(each, Mapping) else escape(each) for name, each in values.items()}
    return "".join(f"<{name}>{text}</{name}>" for name, text in inner.items())
