"""JSON is read as Go reads it, or refused."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.strict_json import (
    MAX_DEPTH,
    Fields,
    Items,
    Keyed,
    NotText,
    Scalar,
    check_shape,
    strict_json,
)
from jenkins_release.records.base import Record, canonical_json

SHAPE = Fields(
    {
        "name": Scalar.TEXT,
        "size": Scalar.INTEGER,
        "flag": Scalar.BOOLEAN,
        "at": Scalar.TIME,
        "run": Scalar.WORDS,
        "tasks": Items(Scalar.TEXT),
        "labels": Keyed(Scalar.TEXT),
    },
    required=frozenset({"name"}),
    foreign=frozenset({"other"}),
)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "Expecting value"),
        (b"{} {}", "Extra data"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\uDFFF": 1}', "surrogate"),
        (b'{"a": [{"b": "x\\ud83dy"}]}', "surrogate"),
        (b'{"a": 1, "a": 1}', "'a' occurs twice"),
        (b'{"a": 1, "A": 1}', "'a' and 'A' differ only in case"),
        ('{"k": 1, "\u212a": 1}'.encode(), "differ only in case"),
        ('{"s": 1, "\u017f": 1}'.encode(), "differ only in case"),
        (b'{"a": {"b": 1, "B": 1}}', "differ only in case"),
        (b"NaN", "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"[1e999]", "too large for a number"),
        (b"[" * MAX_DEPTH + b"1" + b"]" * MAX_DEPTH, "nested too deeply"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'"a\nb"', "control character"),
    ],
)
def test_what_programs_read_differently_is_refused(data, why):
    """One clear error, whatever is wrong with it."""
    with pytest.raises(IntegrityError, match=rf"(?s)^the record is not valid JSON: .*{why}"):
        strict_json(data, "the record")


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b'"\\ud800"', "in its only text"),
        (b'{"images": [{"name": "a"}, {"name": "\\ud800"}]}', r"in images\[1\]\.name"),
        (b'{"images": {"\\udfff": 1}}', "in a key of images"),
        (b'{"\\udfff": 1}', "in a key of the outermost object"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
    ],
)
def test_what_is_no_text_is_told_with_its_place(data, where):
    """Whoever handed the file in finds it."""
    with pytest.raises(NotText, match=where):
        strict_json(data, "the record")


def test_what_everybody_reads_the_same_is_taken():
    """Pairs of surrogates, depth within reason, and labels that differ in case if a shape is checked."""
    assert strict_json(b'"\\ud83d\\ude00"', "it") == "\U0001f600"
    assert strict_json(b"[" * 50 + b"]" * 50, "it")
    assert strict_json(b'{"a": 1, "A": 2}', "it", maps=True) == {"a": 1, "A": 2}
    with pytest.raises(IntegrityError, match="it has 4 bytes, expected at most 3"):
        strict_json(b"[1] ", "it", limit=3)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([], r"it is \[\], expected an object"),
        ({}, "it has no 'name', expected a string"),
        ({"name": None}, "it has no 'name'"),
        ({"name": "a", "Name": "b"}, "it has 'Name' instead of 'name'"),
        ({"Name": "b"}, "it has 'Name' instead of 'name'"),
        ({"name": "a", "ta\u017f\u212as": []}, "instead of 'tasks'"),
        ({"name": "a", "Other": None}, "it has 'Other' instead of 'other'"),
        ({"name": "a", "other": None}, "'other', which belongs to another kind of document"),
        ({"name": "a", "size": 1.0}, "'size' of it is 1.0, expected a whole number of 64 bits"),
        ({"name": "a", "size": "1"}, "expected a whole number"),
        ({"name": "a", "size": True}, "expected a whole number"),
        ({"name": "a", "size": 2**63}, "expected a whole number"),
        ({"name": "a", "flag": 1}, "expected true or false"),
        ({"name": "a", "at": "yesterday"}, "expected a time"),
        ({"name": "a", "at": "2026-02-30T00:00:00Z"}, "expected a time"),
        ({"name": "a", "run": ["a", 1]}, "expected a string or a list of strings"),
        ({"name": "a", "tasks": ["a", None]}, "entry 2 of 'tasks' of it is null, expected a string"),
        ({"name": "a", "tasks": {}}, "expected a list"),
        ({"name": "a", "labels": {"x": 1}}, "'x' of 'labels' of it is 1, expected a string"),
    ],
)
def test_a_value_that_go_reads_as_something_else_is_refused(value, why):
    """Names without regard to case, types, null, fields of other documents."""
    with pytest.raises(IntegrityError, match=why):
        check_shape(value, SHAPE, "it")


def test_a_value_that_go_reads_the_same_is_taken():
    """Unknown fields too: nothing reads them."""
    value = {"name": "a", "size": -1, "at": "0001-01-01T00:00:00Z", "run": "x", "labels": {"a": "", "A": ""}}
    check_shape({**value, "unknown": {"Name": 1}, "tasks": None, "flag": False}, SHAPE, "it")


class Example(Record):
    """A record for the tests."""

    SCHEMA: ClassVar[str] = "jenkins-release/example/v1"

    value: int


def test_a_record_has_no_field_that_only_looks_like_its_own():
    """Alone too: a reader in Go would take it, we would take it for absent."""
    good = {"schema": Example.SCHEMA, "value": 1}
    assert Example.from_bytes(canonical_json(good), "it").value == 1
    for bad in (good | {"Value": 2}, good | {"VALUE": 2}):
        with pytest.raises(IntegrityError, match="differ only in case"):
            Example.from_bytes(canonical_json(bad), "it")
    for name, bad in {"Schema": {"Schema": "x"}, "SCHEMA": {"SCHEMA": None}}.items():
        with pytest.raises(IntegrityError, match=r"differ only in case|expected a record"):
            Example.from_bytes(json.dumps(good | bad).encode(), name)
    with pytest.raises(IntegrityError, match="'Value' instead of 'value'"):
        Example.from_bytes(canonical_json({"schema": Example.SCHEMA, "Value": 1}), "it")


def test_what_is_no_text_is_not_written_down():
    """A file name that is not UTF-8, or half a surrogate pair from a server."""
    with pytest.raises(IntegrityError, match="it is not text"):
        canonical_json({"name": "a\udcff"})
