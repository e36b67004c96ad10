"""The sections ``[[installers]]`` of ``release.toml``: files of the build's output to release."""

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


FilePattern = Annotated[str, AfterValidator(_pattern)]
"""A pattern for files of the build's output, with the placeholders of :mod:`jenkins_release.base.tags`."""


class InstallerSection(Section):
    """``[[installers]]``: files of the build's output, selected by a pattern.

    ``kind`` is ``setup`` for the zip with which a customer deploys the images. ``check`` is a command, run
    without a shell, that must exit with status 0 for each file; ``{file}`` is its path.
    """

    files: FilePattern
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
            raise ValueError(f"is not a regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _names_the_file(self) -> InstallerSection:
        if self.check and not any("{file}" in word for word in self.check):
            raise ValueError("check does not contain {file}: its result would be the same for every file")
        if self.check_expects and not self.check:
            raise ValueError("check_expects needs check")
        return self
