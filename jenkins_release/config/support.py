"""The section ``[support]`` of ``release.toml``: which released versions customers may rely on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jenkins_release.config.section import Section


class SupportSection(Section):
    """``[support]``: how many lines are supported, what a line is, and what ``retire`` keeps."""

    lines: Annotated[int, Field(ge=1, le=20)] = 2
    line: Literal["major.minor", "major"] = "major.minor"
    protect_pulled_days: Annotated[int, Field(ge=0, le=3650)] = 0
