"""What other tools make of our attestations: securesystemslib, and in-toto's own definitions."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult as ResultMessage
from in_toto_attestation.predicates.vsa.v1.vsa_pb2 import VerificationSummary
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError

from jenkins_release.keys import load_public_key
from jenkins_release.records import attestation as records
from jenkins_release.records.attestation import PROVENANCE, SUMMARY, TEST_RESULT, extension_field
from tests.fixtures.release import Product

DEFINED: Mapping[str, type[Message]] = {
    PROVENANCE: Provenance,
    TEST_RESULT: ResultMessage,
    SUMMARY: VerificationSummary,
}
KINDS = ("build", "qa", "revocation", "qa", "approval", "override", "promotion", "summary")
KEYS = {"revocation": "qa", "summary": "promotion"}
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
"""RFC 3339 in UTC with ``Z`` (in-toto attestation, field_types.md, "Timestamp")."""


@pytest.fixture
def lines(product: Product, tmp_path: Path) -> list[bytes]:
    """The envelopes in the bundle of a release with every kind of attestation."""
    product.edit("approvals = 0", "approvals = 1\nsoak_hours = 1000")
    environ = {"BUILD_URL": "https://Jenkins.Example.com/ci/job/skydrm/42/", "GIT_COMMIT": "f" * 40}
    export = ("candidate", "export", "--version", "8.1.0", "--build", "42")
    assert product.run(*export, **environ).status == 0
    product.sign_off()
    product.ok("qa", "revoke", "8.1.0/42", "--tester", "Quinn", "--reason", "once more")
    product.sign_off()
    plan, out = tmp_path / "plan.json", tmp_path / "attestations.jsonl"
    product.approve(plan, reason="go")
    why = ("--condition", "soak", "--by", "Grace", "--reason", "a customer waits")
    product.ok("promote", "override", str(plan), *why)
    product.ok("promote", "run", "8.1.0/42")
    product.ok("release", "attestations", "8.1.0", "--out", str(out))
    return out.read_bytes().splitlines()[1:]


def statement_of(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(json.loads(line)["payload"]))
    return found


def standard(statement: Mapping[str, Any]) -> dict[str, Any]:
    """Return a predicate without the one field that is our own."""
    own = extension_field(statement["predicateType"])
    return {key: value for key, value in statement["predicate"].items() if key != own}


def descriptors(value: Any) -> list[dict[str, Any]]:
    """Return everything in a predicate that is a resource descriptor."""
    if isinstance(value, list):
        return [found for item in value for found in descriptors(item)]
    if not isinstance(value, dict):
        return []
    inside = [found for item in value.values() for found in descriptors(item)]
    return [value, *inside] if isinstance(value.get("digest"), dict) else inside


def test_other_tools_verify_and_read_every_attestation(lines: list[bytes], product: Product):
    """Signatures, statements and predicates of a whole release, by others' code."""
    kinds = [records.KINDS[statement_of(line)["predicateType"]] for line in lines]
    assert kinds == list(KINDS)
    for line, kind in zip(lines, kinds, strict=True):
        signed_by_the_key_of_its_role(line, product.folder / "keys" / f"{KEYS.get(kind, kind)}.pem.pub")
        a_statement_as_defined(line)
        a_predicate_as_defined(line)
        digests_uris_and_times_as_specified(line)
    provenance_names_the_platform_and_the_source(lines[0])
    summary_covers_every_attestation(lines)


def signed_by_the_key_of_its_role(line: bytes, path: Path) -> None:
    """Securesystemslib verifies the envelope with that key, and with no other one."""
    key = load_public_key(path)
    envelope = Envelope.from_dict(json.loads(line))
    assert envelope.payload_type == "application/vnd.in-toto+json"
    assert list(envelope.verify([key], 1)) == [key.keyid]
    others = [file for file in path.parent.glob("*.pub") if file != path]
    assert len(others) == 4
    for other in others:
        with pytest.raises(VerificationError):
            Envelope.from_dict(json.loads(line)).verify([load_public_key(other)], 1)


def a_statement_as_defined(line: bytes) -> None:
    """Every field is one of Statement v1, and in-toto's own check passes."""
    message = ParseDict(statement_of(line), statement_pb2.Statement())
    Statement.copy_from_pb(message).validate()


def a_predicate_as_defined(line: bytes) -> None:
    """Every field of a standard predicate is defined, and the required ones are there."""
    statement = statement_of(line)
    kind = DEFINED.get(statement["predicateType"])
    if kind is None:
        assert statement["predicateType"].startswith("tag:nextlabs.com,2026:")
        return
    predicate = standard(statement)
    if kind is VerificationSummary:
        # The definition of 0.9.3 has one string for the specification's list, which is authoritative
        # (in-toto/attestation #425).
        assert isinstance(predicate["verifiedLevels"], list)
        (predicate["verifiedLevels"],) = predicate["verifiedLevels"]
    message = ParseDict(predicate, kind())
    required = {
        Provenance: (
            "build_definition.build_type",
            "build_definition.external_parameters",
            "run_details.builder.id",
        ),
        ResultMessage: ("result",),
        VerificationSummary: (
            *("verifier.id", "time_verified", "resource_uri", "policy.uri"),
            *("verification_result", "verified_levels"),
        ),
    }[kind]
    for path in required:
        value: Any = message
        for name in path.split("."):
            value = getattr(value, name)
        assert value, path


def digests_uris_and_times_as_specified(line: bytes) -> None:
    """Digests in hex of the right length, absolute URIs, times in UTC."""
    statement = statement_of(line)
    if statement["predicateType"] not in DEFINED:
        return
    predicate = standard(statement)
    found = descriptors(predicate)
    for descriptor in found:
        known = ResourceDescriptor(
            **{name: descriptor.get(name, "") for name in ("name", "uri")}, digest=descriptor["digest"]
        )
        known.validate()
        if "uri" in descriptor:
            assert urlsplit(descriptor["uri"]).scheme in {"pkg", "tag"}, descriptor
    text = json.dumps(predicate)
    for name in ("startedOn", "finishedOn", "timeVerified"):
        for value in re.findall(rf'"{name}": "([^"]*)"', text):
            assert TIMESTAMP.fullmatch(value), value


def provenance_names_the_platform_and_the_source(line: bytes) -> None:
    """The builder is the controller, the build is the invocation, the source a commit."""
    predicate = statement_of(line)["predicate"]
    assert predicate["runDetails"]["builder"]["id"] == "https://jenkins.example.com/ci/"
    assert predicate["runDetails"]["metadata"]["invocationId"].endswith("/job/skydrm/42/")
    resolved = {item["name"]: item for item in predicate["buildDefinition"]["resolvedDependencies"]}
    assert resolved["source"]["digest"] == {"gitCommit": "f" * 40}
    assert resolved["rms"]["uri"] == "pkg:docker/skydrm/rms@8.1.0-42"


def summary_covers_every_attestation(lines: list[bytes]) -> None:
    """All of them as inputs, every manifest and config as a subject, one level, PASSED."""
    statement = statement_of(lines[-1])
    predicate = statement["predicate"]
    inputs = [item["digest"]["sha256"] for item in predicate["inputAttestations"]]
    assert inputs == [sha256(line + b"\n").hexdigest() for line in lines[:-1]]
    assert predicate["verificationResult"] == "PASSED"
    assert predicate["verifiedLevels"] == ["SLSA_BUILD_LEVEL_1"]
    promotion = statement_of(lines[-2])["predicate"]
    wanted = {image[key][7:] for image in promotion["images"] for key in ("digest", "configDigest")}
    named = {item["digest"]["sha256"] for item in statement["subject"] if item["name"] != "candidate.json"}
    assert named == wanted
    assert predicate["policy"]["digest"]["sha256"] == promotion["policy"][7:]


def test_the_definitions_notice_what_is_not_defined():
    """An unknown field and a wrong type: the checks above can fail."""
    for wrong in ({"verifer": {}}, {"verifiedLevels": {}}, {"timeVerified": "yesterday"}):
        with pytest.raises(ParseError):
            ParseDict(wrong, VerificationSummary())
    assert not TIMESTAMP.fullmatch("2026-11-20T10:00:00+00:00")
