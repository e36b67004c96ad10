"""The published JSON Schemas are those of the code, and real records are valid."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import Any

import jsonschema
import pytest

from tests.docs.pages import ROOT
from tests.fixtures.release import Product

FOLDER = ROOT / "docs" / "schema"


def _validator(name: str) -> jsonschema.Draft202012Validator:
    schema: dict[str, Any] = json.loads((FOLDER / name).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schemas_are_current():
    """After a change of a record, scripts/write-schemas has to be run."""
    command = [sys.executable, str(ROOT / "scripts" / "write-schemas"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_plan_file_and_the_journal_of_a_real_promotion_are_valid(promoted: Product):
    """The plan file is a plan and nothing else; each entry of the journal holds one of its records."""
    plan = promoted.folder / "plan.json"
    promoted.ok("promote", "plan", "8.1.0/42", "--out", str(plan))
    _validator("plan-v1.json").validate(json.loads(plan.read_text()))
    assert "gate" not in json.loads(plan.read_text())
    files = sorted((promoted.candidate() / "journal").glob("*.json"))
    assert len(files) > 2
    for file in files:
        payload = base64.b64decode(json.loads(file.read_text())["payload"])
        _validator("journal-v1.json").validate(json.loads(payload))


def test_real_records_are_valid(exported: Product):
    """What the program writes fits its schema; what it would not write does not."""
    candidate = json.loads((exported.candidate() / "candidate.json").read_text())
    _validator("candidate-v1.json").validate(candidate)
    _validator("plan-v1.json").validate(exported.ok("promote", "plan", "8.1.0/42"))
    wrong = {"schema": "jenkins-release/candidate/v3"}, {"files": [{"path": "x", "size": -1, "sha256": "0"}]}
    for change in wrong:
        with pytest.raises(jsonschema.ValidationError):
            _validator("candidate-v1.json").validate(candidate | change)
