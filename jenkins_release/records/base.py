"""What all records share: frozen models, canonical JSON, a versioned schema name."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from jenkins_release.errors import IntegrityError

MAX_RECORD_BYTES = 16 * 1024 * 1024
"""Largest record that is read; a candidate with 40 images of 60 layers has about 1 MiB."""


def canonical_json(value: Any) -> bytes:
    """Return the one byte form of a JSON value: sorted keys, no spaces, UTF-8, a final newline.

    For what records hold (strings, integers, booleans, lists, objects with ASCII keys) this is
    RFC 8785's form, plus the newline that text tools expect of a file.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def timestamp(moment: datetime) -> str:
    """Return a moment as in-toto writes it: RFC 3339 in UTC with ``Z`` (field_types.md, "Timestamp")."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def strict_json(data: bytes, what: str, *, limit: int = MAX_RECORD_BYTES) -> Any:
    """Parse JSON that someone else may have written.

    Args:
        data: The bytes.
        what: What they are, for the message.
        limit: Most bytes that are looked at.

    Raises:
        IntegrityError: Too large, not UTF-8, not JSON, a key twice in one object, or NaN.
    """
    if len(data) > limit:
        raise IntegrityError(f"{what} has {len(data)} bytes, at most {limit} are expected")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            raise ValueError("a key stands twice in one object")
        return found

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{what} is not valid JSON: {error}", hint="it was altered or written only in part"
        ) from error


class Part(BaseModel):
    """A piece of a record. Unknown fields read back are kept and never looked at."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class Record(Part):
    """A document with a schema name such as ``jenkins-release/candidate/v1``."""

    SCHEMA: ClassVar[str]

    schema_name: str = Field(default="", alias="schema")

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.schema_name:
            object.__setattr__(self, "schema_name", self.SCHEMA)
        return self

    def to_bytes(self) -> bytes:
        """Return the record's canonical JSON."""
        return canonical_json(self.model_dump(mode="json", by_alias=True, exclude_none=True))

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Self:
        """Read a record back.

        Args:
            data: The bytes of the file.
            where: Where they stand, for the message.

        Raises:
            IntegrityError: Not JSON, of another schema or major version, or a field is wrong.
        """
        value = strict_json(data, where)
        found = value.get("schema") if isinstance(value, dict) else None
        if found != cls.SCHEMA:
            raise IntegrityError(
                f"{where}: expected a record of schema {cls.SCHEMA!r}, found {found!r}",
                hint="another file, or written by a newer release of jenkins-release: upgrade it",
            )
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            mistakes = [
                f"{'.'.join(str(part) for part in item['loc']) or 'record'}: {item['msg']}"
                for item in error.errors(include_url=False, include_input=False)
            ]
            raise IntegrityError(
                f"{where}: {len(mistakes)} fields are wrong; first: {mistakes[0]}",
                hint="it was altered or written by another program",
                reasons=mistakes,
            ) from error
