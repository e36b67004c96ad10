"""The sections ``[[installers]]`` of ``release.toml``: files of the build's output that are released."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from jenkins_release.base.tags import pattern_problem
from jenkins_release.config.section import Section


def _pattern(value: str) -> str:
    problem = pattern_problem(value)
    if problem is not None:
        raise ValueError(f"{value!r} {problem}")
    return value


class InstallerSection(Section):
    """``[[installers]]``: files of the build's output, picked by a pattern.

    ``kind`` is ``setup`` for the zip with which a customer deploys the images. ``check`` is a command,
    without a shell, that has to end with status 0 for each file; ``{file}`` stands for its path.
    """

    files: Annotated[str, AfterValidator(_pattern)]
    kind: Literal["installer", "setup"] = "installer"
    optional: bool = False
    version_in_name: bool = True
    check: tuple[str, ...] = ()
    check_expects: str = ""
    check_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 120.0

    @field_validator("check_expects")
    @classmethod
    def _expression(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _names_the_file(self) -> InstallerSection:
        if self.check and not any("{file}" in word for word in self.check):
            raise ValueError("check names no {file}: it would say the same of every file")
        if self.check_expects and not self.check:
            raise ValueError("check_expects is given without check")
        return self
