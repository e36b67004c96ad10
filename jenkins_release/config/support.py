"""The section ``[support]`` of ``release.toml``: which released versions customers may rely on."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from jenkins_release.config.section import Section


def _day(value: Any) -> date:
    if type(value) is not date:
        raise ValueError("is not a day: write it without quotes and time, such as 2027-03-31")
    return value


class SupportSection(Section):
    """``[support]``: how many lines are supported, what a line is, and what ``retire`` keeps.

    ``ends`` has the last day of support of a line. Until it is over (UTC), the line is supported.
    """

    lines: Annotated[int, Field(ge=1, le=20)] = 2
    line: Literal["major.minor", "major"] = "major.minor"
    protect_pulled_days: Annotated[int, Field(ge=0, le=3650)] = 0
    ends: dict[str, Annotated[date, BeforeValidator(_day)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _lines_of_this_kind(self) -> SupportSection:
        number = r"(0|[1-9]\d{0,8})"
        form, such = (rf"{number}\.{number}", "8.0") if self.line == "major.minor" else (number, "8")
        wrong = [line for line in self.ends if not re.fullmatch(form, line)]
        if wrong:
            raise ValueError(
                f'ends names {wrong[0]!r}; with line = "{self.line}" write a line such as "{such}"'
            )
        return self
