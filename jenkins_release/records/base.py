"""What all records share: frozen models, canonical JSON, a versioned schema name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.strict_json import MAX_JSON_BYTES, check_names, fold, strict_json

MAX_RECORD_BYTES = MAX_JSON_BYTES
"""Largest record that is read."""


def canonical_json(value: Any) -> bytes:
    """Return the canonical bytes of a JSON value: sorted keys, no spaces, UTF-8, a final newline.

    For what records hold (strings, integers, booleans, lists, objects with ASCII keys) this is
    RFC 8785's form, plus the newline that text tools expect of a file.

    Raises:
        IntegrityError: A string is not text, such as a file name that is not UTF-8.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError as error:
        raise IntegrityError(
            f"cannot write {text[max(error.start - 20, 0) : error.end + 20]!a}: it is not text",
            hint="half a surrogate pair, or bytes that are not UTF-8, came from outside",
        ) from error


def _in_utc(value: datetime) -> datetime:
    try:
        value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("in UTC, it is outside the years 1 to 9999") from error
    return value


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A moment with a time zone, which every reader can show in UTC."""


def timestamp(moment: datetime) -> str:
    """Return a moment as in-toto writes it: RFC 3339 in UTC with ``Z`` (field_types.md, "Timestamp")."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


class Part(BaseModel):
    """A part of a record. Unknown fields are kept when it is read, and never used."""

    # A command reads few of the records that it imports: the others are never built.
    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _no_name_alike(cls, value: Any) -> Any:
        if isinstance(value, dict):
            try:
                check_names(value, _names(cls), "it")
            except IntegrityError as error:
                raise ValueError(error.message) from error
        return value


@cache
def _names(part: type[Part]) -> Mapping[str, str]:
    """Return the names of a part's fields in a document, as a case-insensitive reader sees them."""
    names = [info.alias or name for name, info in part.model_fields.items()]
    return {fold(name): name for name in names}


class Record(Part):
    """A document with a schema name such as ``jenkins-release/candidate/v1``."""

    SCHEMA: ClassVar[str]

    schema_name: str = Field(default="", alias="schema")

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.schema_name:
            object.__setattr__(self, "schema_name", self.own_schema())
        return self

    def own_schema(self) -> str:
        """Return the schema that this record needs."""
        return self.SCHEMA

    @classmethod
    def schemas(cls) -> tuple[str, ...]:
        """Return the schemas that can be read."""
        return (cls.SCHEMA,)

    def to_bytes(self) -> bytes:
        """Return the record's canonical JSON."""
        return canonical_json(self.model_dump(mode="json", by_alias=True, exclude_none=True))

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Self:
        """Read a record back.

        Args:
            data: The bytes of the file.
            where: Where they come from, for the message.

        Raises:
            IntegrityError: Not JSON, of another schema or major version, or a field is wrong.
        """
        value = strict_json(data, where)
        found = value.get("schema") if isinstance(value, dict) else None
        if found not in cls.schemas():
            raise IntegrityError(
                f"{where}: expected a record of schema {' or '.join(map(repr, cls.schemas()))}, "
                f"found {found!r}",
                hint="it is another file, or a newer jenkins-release wrote it: upgrade",
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
