"""What every section of ``release.toml`` has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section: frozen, and unknown keys are errors."""

    # They are built with the whole configuration, or not at all.
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, defer_build=True)
