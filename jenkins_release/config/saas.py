"""The section ``[saas]`` of ``release.toml``: the stack that clients of the service use. No secret."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from jenkins_release.base.names import name_problem
from jenkins_release.base.regions import partition_of
from jenkins_release.base.tags import template_problem
from jenkins_release.config.section import Section

# ECS API reference, CreateService and CreateCluster: both allow the same names.
_ECS_NAME = r"^[A-Za-z0-9_-]{1,255}$"
_LONGEST_STACK_NAME = 60  # it goes into the comment of a command, which allows 100 characters


def _stack_name(value: str) -> str:
    problem = name_problem(value) if value else None
    if problem is None and len(value) > _LONGEST_STACK_NAME:
        problem = f"has {len(value)} characters, at most {_LONGEST_STACK_NAME} are allowed"
    if problem is not None:
        raise ValueError(f"{value!r} {problem}")
    return value


def _region(value: str) -> str:
    if value and partition_of(value) is None:
        raise ValueError("is not an AWS region, such as us-east-1")
    return value


def _template(value: str) -> str:
    problem = template_problem(value)
    if problem is not None:
        raise ValueError(problem)
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("contains a login, but health checks do not log in")
    if parts.fragment:
        raise ValueError("has a fragment, which is never sent to a server")
    return value


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    return value


Share = Annotated[str, Field(pattern=r"^(100%|[1-9][0-9]?%|[1-9][0-9]{0,6})$")]
Errors = Annotated[str, Field(pattern=r"^(100%|[0-9]{1,2}%|[0-9]{1,7})$")]


class ServiceSection(Section):
    """``[[saas.services]]``: an ECS service; ``containers`` maps its containers to image names."""

    name: Annotated[str, Field(pattern=_ECS_NAME)]
    containers: Annotated[dict[str, str], Field(min_length=1)]


class SsmSection(Section):
    """``[saas.ssm]``: the Run Command document that installs a version on the instances with certain tags.

    Values of ``parameters`` are templates. ``max_concurrency`` and ``max_errors`` are a number of
    instances or a percentage (SSM API reference, SendCommand). ``delivery_s`` is how long an instance may
    take to pick up the command.
    """

    document: Annotated[str, Field(min_length=1)]
    document_version: str = "$DEFAULT"
    targets: Annotated[dict[str, tuple[str, ...]], Field(min_length=1, max_length=5)]
    parameters: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    max_concurrency: Share = "1"
    max_errors: Errors = "0"
    delivery_s: Annotated[int, Field(ge=30, le=2592000)] = 600

    @field_validator("parameters")
    @classmethod
    def _templates(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, words in value.items():
            for word in words:
                if (problem := template_problem(word)) is not None:
                    raise ValueError(f"{name}: {word!r} {problem}; write {{{{ and }}}} for braces")
        return value


class HealthSection(Section):
    """``[[saas.health]]``: a URL that must give ``successes`` good answers in a row.

    ``version_field`` is the path of a field in a JSON answer, with dots between its names; it must equal
    ``version``. Times in seconds.
    """

    url: Annotated[str, AfterValidator(_url)]
    status: Annotated[int, Field(ge=100, le=599)] = 200
    contains: str = ""
    matches: Annotated[str, AfterValidator(_pattern)] = ""
    version_field: str = ""
    version: Annotated[str, AfterValidator(_template)] = "{version}"
    successes: Annotated[int, Field(ge=1, le=100)] = 3
    interval_s: Annotated[float, Field(ge=0.01, le=600)] = 5.0
    timeout_s: Annotated[float, Field(ge=0.1, le=120)] = 10.0
    deadline_s: Annotated[float, Field(ge=1, le=7200)] = 300.0


class SaasSection(Section):
    """``[saas]``: how the stack is refreshed, and how its health is checked.

    ``deadline_s`` limits the wait for the stack to settle, and again on a return; ``poll_s`` is the polling
    interval. Both in seconds.
    """

    strategy: Literal["none", "ecs", "ssm"] = "none"
    stack: Annotated[str, AfterValidator(_stack_name)] = "saas"
    region: Annotated[str, AfterValidator(_region)] = ""
    cluster: Annotated[str, Field(pattern=r"^$|" + _ECS_NAME)] = ""
    deadline_s: Annotated[float, Field(ge=1, le=86400)] = 1800.0
    poll_s: Annotated[float, Field(ge=0.01, le=300)] = 5.0
    services: tuple[ServiceSection, ...] = ()
    ssm: SsmSection | None = None
    health: tuple[HealthSection, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> SaasSection:
        missing = []
        if self.strategy == "ecs":
            missing += [] if self.cluster else ["cluster"]
            missing += [] if self.services else ["services"]
        elif self.strategy == "ssm" and self.ssm is None:
            missing.append("ssm")
        if missing:
            raise ValueError(f"the strategy {self.strategy!r} needs {' and '.join(missing)}")
        if self.strategy != "none" and not self.health:
            raise ValueError("health is missing: without a check, a refresh cannot know whether to return")
        names = [service.name for service in self.services]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"services names {twice[0]} more than once")
        return self
