"""Routes requests to the ECR front: to the API, ``/v2/``, a layer's URL, or the control paths.

The control paths under ``/_sandbox/`` need no credentials: only this machine can reach them.

=========================  ==========================================================
``GET health``             the state folder, to tell this front from another server
``GET requests``           the log of requests; ``DELETE`` forgets it
``POST faults``            orders a :class:`Fault`; ``GET`` lists, ``DELETE`` cancels
``POST users``             ``{user, statements, access_key?, secret?}``: lets a user exist
``POST keys``              ``{access_key, active}``: switches an access key on or off
``POST roles``             ``{role, statements}``: lets a role exist
``POST tokens``            ``{role, session_s}``: issues an identity token for it; ``DELETE`` lets all expire
``POST sessions``          ``{role, name, duration_s}``: starts a session of it; ``DELETE`` ends all
``POST scans``             orders a :class:`ScanOrder`: what the scan of an image is to be
``GET repositories/P``     the repositories below the prefix P; ``PUT`` puts them back as they were
``DELETE repositories/P``  forgets them, with their images
``GET app/C/S``            answers as the ECS service S of the cluster C does, with its version
``POST misbehaviours``     orders a :class:`Misbehaviour` of ECS tasks; ``DELETE`` cancels them
``POST instances``         lets a managed :class:`Instance` exist
=========================  ==========================================================
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.aws.api import JsonApi
from jenkins_release.sandbox.aws.ecs_api import EcsApi
from jenkins_release.sandbox.aws.ecs_state import EcsState, Misbehaviour
from jenkins_release.sandbox.aws.inspector_api import InspectorApi
from jenkins_release.sandbox.aws.ssm_api import Instance, SsmApi, SsmState
from jenkins_release.sandbox.aws.sts_api import StsApi, refusal
from jenkins_release.sandbox.ecr.access import DOWNLOADS, authorize, authorize_on, caller
from jenkins_release.sandbox.ecr.api import (
    CONTENT_TYPE,
    TARGET,
    ApiCall,
    check_registry,
    parse,
    repository_of,
)
from jenkins_release.sandbox.ecr.faults import NO_FAULT, Fault, Faults, RequestLog
from jenkins_release.sandbox.ecr.http import ConnectionReset, ServedRequest
from jenkins_release.sandbox.ecr.images import ACTIONS, PERMISSIONS
from jenkins_release.sandbox.ecr.state import EcrState, PolicyStatement, RepositoryState, ScanOrder
from jenkins_release.sandbox.ecr.store import RegistryStore
from jenkins_release.sandbox.ecr.v2 import V2Api, repository_name

CONTROL = "/_sandbox/"
"""Prefix of the control paths."""


class UserRequest(BaseModel):
    """Body of ``POST /_sandbox/users``; see :meth:`EcrState.add_user`."""

    model_config = ConfigDict(extra="forbid")

    user: str
    statements: list[PolicyStatement]
    access_key: str = ""
    secret: str = Field("", repr=False)


class KeyRequest(BaseModel):
    """Body of ``POST /_sandbox/keys``."""

    model_config = ConfigDict(extra="forbid")

    access_key: str
    active: bool


class RoleRequest(BaseModel):
    """Body of ``POST /_sandbox/roles``; see :meth:`EcrState.add_role`."""

    model_config = ConfigDict(extra="forbid")

    role: str
    statements: list[PolicyStatement]


class TokenRequest(BaseModel):
    """Body of ``POST /_sandbox/tokens``: the ARN of a role."""

    model_config = ConfigDict(extra="forbid")

    role: str
    session_s: float


class SessionRequest(BaseModel):
    """Body of ``POST /_sandbox/sessions``: the ARN of a role, and a name."""

    model_config = ConfigDict(extra="forbid")

    role: str
    name: str
    duration_s: float


class Router:
    """Answers requests.

    Args:
        state: The front's state.
        store: The registry behind.
        host: Returns host and port of the front.
        stopping: Set when the front stops; ends ordered latencies early.
        blob_mounting: Whether the account opted in to blob mounting.
        expired_status: HTTP status for an expired registry token.
    """

    def __init__(
        self,
        state: EcrState,
        store: RegistryStore,
        host: Callable[[], str],
        stopping: threading.Event,
        *,
        blob_mounting: bool,
        expired_status: int,
    ) -> None:
        self.faults = Faults()
        self.requests = RequestLog()
        self._state = state
        self._store = store
        self._host = host
        self._stopping = stopping
        self._blob_mounting = blob_mounting
        self.ecs, self.ssm = EcsState(state), SsmState(state)
        self._others: tuple[JsonApi, ...] = (EcsApi(self.ecs), SsmApi(self.ssm), InspectorApi(state))
        self._v2 = V2Api(state, store, host, blob_mounting=blob_mounting, expired_status=expired_status)

    def serve(self, exchange: ServedRequest) -> None:
        """Answer one request.

        Raises:
            ConnectionReset: A fault resets the connection.
            BadRequest: The request cannot be read.
        """
        if exchange.path.startswith(CONTROL) and not exchange.path.startswith(DOWNLOADS):
            self._control(exchange)
            return
        record, body = exchange.record, b""
        target = exchange.headers.get("x-amz-target", "")
        # The descriptions of the other services are read when one of them is called.
        mine = target.startswith(TARGET) or exchange.path.startswith("/v2/")
        others = () if mine else self._others
        other = next((api for api in others if api.action(target, exchange.path)), None)
        if not target and not other and exchange.path == "/" and exchange.method == "POST":
            self._sts(exchange)
            return
        if target or other:
            record.action = (
                f"{other.service}:{other.action(target, exchange.path)}"
                if other
                else target.removeprefix(TARGET)
            )
            try:
                body = exchange.body()
            except ApiFault as error:
                self._refuse(exchange, error)
                return
            record.repository = "" if other else _peek(record.action, body)
        else:
            record.repository = repository_name(exchange.path)
        self.requests.add(record)
        fault = self.faults.take(record)
        record.fault = fault is not NO_FAULT
        self._begin(exchange, fault)
        if fault.status is not None:
            self._fail(exchange, fault, fault.status)
        elif other is not None:
            self._other(exchange, other, body)
        elif record.action:
            with self._state.earlier(fault.stale) if fault.stale else nullcontext():
                self._api(exchange, body, fault)
        elif exchange.path.startswith(DOWNLOADS):
            self._v2.download(exchange)
        else:
            with self._state.earlier(fault.stale) if fault.stale else nullcontext():
                self._v2.answer(exchange, fault)

    def _begin(self, exchange: ServedRequest, fault: Fault) -> None:
        if fault.latency_s:
            self._stopping.wait(fault.latency_s)
        if fault.expire_tokens:
            self._state.expire_tokens()
        exchange.reset_request_after = fault.reset_request_after
        exchange.reset_response_after = fault.reset_response_after
        if exchange.record.action and fault.reset_request_after is not None:
            raise ConnectionReset("a fault resets the connection here")

    def _fail(self, exchange: ServedRequest, fault: Fault, status: int) -> None:
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        if exchange.record.action:
            self._refuse(exchange, ApiFault(fault.code, fault.message, status), headers)
        else:
            self._v2.refuse(exchange, status, fault.code, fault.message, headers)

    def _other(self, exchange: ServedRequest, api: JsonApi, body: bytes) -> None:
        action = exchange.record.action.partition(":")[2]
        try:
            url = f"http://{exchange.headers.get('host', '')}{exchange.path}"
            arn = exchange.record.principal = caller(self._state, url, exchange.headers, body, api.service)
            arguments = api.parse(action, body)
            for resource in api.resources(action, arguments):
                authorize_on(self._state, arn, f"{api.service}:{action}", resource)
            answer = json.dumps(api.answer(action, arguments)).encode()
        except ApiFault as error:
            self._refuse(exchange, error)
            return
        exchange.reply(200, answer, _api_headers())

    def _sts(self, exchange: ServedRequest) -> None:
        record = exchange.record
        self.requests.add(record)

        def identify() -> str:
            url = f"http://{exchange.headers.get('host', '')}/"
            record.principal = caller(self._state, url, exchange.headers, body, "sts")
            return record.principal

        try:
            body = exchange.body()
            form = dict(parse_qsl(body.decode("ascii", "replace"), keep_blank_values=True))
            record.action = f"sts:{form.get('Action', '')}"
            answer, status = StsApi(self._state, identify).answer(form), 200
        except ApiFault as error:
            answer, status = refusal(error), error.status
        exchange.reply(status, answer.encode(), {**_api_headers(), "Content-Type": "text/xml"})

    def _api(self, exchange: ServedRequest, body: bytes, fault: Fault) -> None:
        action = exchange.record.action
        try:
            url = f"http://{exchange.headers.get('host', '')}{exchange.path}"
            arn = exchange.record.principal = caller(self._state, url, exchange.headers, body)
            if fault.end_sessions:
                self._state.end_sessions()
            parameters = parse(action, body)
            if action not in ACTIONS:
                raise ApiFault("UnknownOperationException", f"the sandbox does not know {action}")
            permission = f"ecr:{PERMISSIONS.get(action, action)}"
            authorize(self._state, arn, permission, repository_of(action, parameters))
            call = ApiCall(
                self._state, self._store, self._host(), arn, parameters, fault, self._blob_mounting
            )
            check_registry(call)
            answer = json.dumps(ACTIONS[action](call)).encode()
        except ApiFault as error:
            self._refuse(exchange, error)
            return
        exchange.reply(200, answer, _api_headers())

    def _refuse(
        self, exchange: ServedRequest, error: ApiFault, headers: dict[str, str] | None = None
    ) -> None:
        body = json.dumps({"__type": error.code, "message": error.message}).encode()
        exchange.reply(error.status, body, {**_api_headers(), **(headers or {})})

    def _control(self, exchange: ServedRequest) -> None:
        what = f"{exchange.method} {exchange.path.removeprefix(CONTROL)}"
        if what.startswith("GET app/"):
            cluster, _, service = what.removeprefix("GET app/").partition("/")
            exchange.json(*self.ecs.application(cluster, service))
            return
        try:
            answer = self._controlled(what, exchange.body())
        except (ValidationError, KeyError) as error:
            # Without the text, which would quote the body and may contain a secret.
            exchange.json(400, {"error": f"{what}: the body is not valid ({type(error).__name__})"})
            return
        if answer is None:
            exchange.json(404, {"error": f"there is no control path {what}"})
            return
        exchange.json(200, answer)

    def _controlled(self, what: str, body: bytes) -> Any:
        match what:
            case "GET health":
                return {"state": str(self._state.file.parent.resolve())}
            case "GET requests":
                return [vars(record) for record in self.requests.all()]
            case "DELETE requests":
                self.requests.clear()
            case "GET faults":
                return [fault.model_dump() for fault in self.faults.pending()]
            case "POST faults":
                self.faults.add(Fault.model_validate_json(body))
            case "DELETE faults":
                self.faults.clear()
            case "POST users":
                given = UserRequest.model_validate_json(body)
                key, secret = self._state.add_user(
                    given.user, given.statements, access_key=given.access_key, secret=given.secret
                )
                return {"access_key": key, "secret": secret}
            case "POST keys":
                switch = KeyRequest.model_validate_json(body)
                self._state.set_key_active(switch.access_key, switch.active)
            case "POST roles":
                role = RoleRequest.model_validate_json(body)
                return {"arn": self._state.add_role(role.role, role.statements)}
            case "POST tokens":
                token = TokenRequest.model_validate_json(body)
                return {"token": self._state.issue_identity_token(token.role, session_s=token.session_s)}
            case "DELETE tokens":
                self._state.end_identity_tokens()
            case "POST sessions":
                asked = SessionRequest.model_validate_json(body)
                key, secret, session = self._state.start_session(asked.role, asked.name, asked.duration_s)
                return {"access_key": key, "secret": secret, "token": session.token}
            case "DELETE sessions":
                self._state.end_sessions()
            case "POST scans":
                self._state.order_scan(ScanOrder.model_validate_json(body))
            case "POST misbehaviours":
                self.ecs.misbehaviours.append(Misbehaviour.model_validate_json(body))
            case "DELETE misbehaviours":
                self.ecs.misbehaviours.clear()
            case "POST instances":
                instance = Instance.model_validate_json(body)
                self.ssm.instances[instance.ident] = instance
            case _ if " repositories/" in what:
                method, _, prefix = what.partition(" repositories/")
                return self._repositories(method, prefix, body)
            case _:
                return None
        return {}

    def _repositories(self, method: str, prefix: str, body: bytes) -> Any:
        """Show, replace or forget the repositories below a prefix; blobs and manifests stay."""
        with self._state.read() as document:
            below = {n: each for n, each in document.repositories.items() if n.startswith(f"{prefix}/")}
        if method == "GET":
            return {name: each.model_dump() for name, each in below.items()}
        if method not in {"PUT", "DELETE"}:
            return None
        saved = json.loads(body) if method == "PUT" else {}
        with self._state.change() as document:
            for name in below:
                del document.repositories[name]
            for name, each in saved.items():
                document.repositories[name] = RepositoryState.model_validate(each)
        return {}


def _api_headers() -> dict[str, str]:
    return {"Content-Type": CONTENT_TYPE, "x-amzn-RequestId": secrets.token_hex(16)}


def _peek(action: str, body: bytes) -> str:
    """Return the repository of a call, before the call is checked."""
    try:
        return str(repository_of(action, json.loads(body)) or "")
    except (ValueError, AttributeError, TypeError, LookupError):
        return ""
