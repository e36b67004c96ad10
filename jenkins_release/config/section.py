"""What every section of ``release.toml`` has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A section: frozen, and unknown keys are errors."""

    # They are built with the whole configuration, or not at all.
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, defer_build=True)


def optional() -> Any:
    """Declare a section that may be left out: it is one without keys then.

    An instance as the default would have each section built once more, when it is imported.
    """
    return Field(default_factory=dict, validate_default=True)
