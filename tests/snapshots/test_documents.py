"""What an earlier version signed and wrote is read, verified, and would be written in the same bytes now."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from jenkins_release.keys import load_public_key
from jenkins_release.records.attestation import (
    KINDS,
    PAYLOAD_TYPE,
    RETIREMENT,
    ROLES,
    Place,
    TrustedKey,
    extension_field,
    open_envelope,
    read_envelope,
    sign_statement,
    verified_by,
)
from jenkins_release.records.base import Record, canonical_json
from jenkins_release.records.bundle import read_bundle, write_bundle
from jenkins_release.records.candidate import Candidate
from jenkins_release.records.event import ReleaseEvent
from jenkins_release.records.journal import read_journal
from jenkins_release.records.ledger import LedgerEntry
from jenkins_release.records.plan import Plan
from jenkins_release.records.published_release import PublishedRelease
from jenkins_release.records.receipt import Receipt
from jenkins_release.records.setup import RECORD, SetupBundle
from jenkins_release.records.setup_zip import read_zip
from jenkins_release.records.trust import TrustVersion
from jenkins_release.rules.setup_zip.proof import prove_setup_zip
from tests.fixtures.command import run
from tests.fixtures.configuration import release_toml, trusted_key
from tests.snapshots.documents import CANDIDATE, INSTALLER, KEPT, RELEASE, installer

ROLE_NAMES = ("build", "qa", "request", "approval", "override", "promotion")


@pytest.fixture(params=sorted(path.name for path in KEPT.iterdir()))
def kept(request: pytest.FixtureRequest) -> Path:
    """The documents of each version."""
    return KEPT / str(request.param)


@pytest.fixture
def trusted(kept: Path) -> tuple[TrustedKey, ...]:
    """The public keys, each for its role."""
    return tuple(
        TrustedKey(role, frozenset({role}), load_public_key(kept / "keys" / f"{role}.pem.pub"))
        for role in ROLE_NAMES
    )


def attestations(kept: Path) -> Mapping[str, bytes]:
    """The attestations of the candidate, in order."""
    folder = kept / "share" / CANDIDATE / "attestations"
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_attestation_is_verified_and_in_its_place(kept: Path, trusted: tuple[TrustedKey, ...]) -> None:
    """Signature, role, number and predecessor; nearly every kind is among them."""
    kinds = set()
    before: dict[str, bytes] = {}
    for name, data in attestations(kept).items():
        envelope, statement = read_envelope(data, name)
        key = verified_by(envelope, trusted)
        assert key is not None
        assert key.roles == {ROLES[statement.predicate_type]}
        assert Place(statement.sequence, statement.previous) == Place.after(before)
        before[name] = data
        kinds.add(statement.predicate_type)
    assert kinds == set(KINDS) - {RETIREMENT}


def test_an_attestation_that_is_altered_is_noticed(kept: Path, trusted: tuple[TrustedKey, ...]) -> None:
    """The verification above can fail."""
    name, data = next(iter(attestations(kept).items()))
    document = json.loads(data)
    payload = base64.b64decode(document["payload"]).replace(b'"8.1.0"', b'"8.1.1"')
    document["payload"] = base64.b64encode(payload).decode()
    envelope = open_envelope(canonical_json(document), PAYLOAD_TYPE, name)
    with pytest.raises(Exception, match="does not match the statement"):
        verified_by(envelope, trusted)


def test_the_same_statement_is_signed_in_the_same_bytes(kept: Path) -> None:
    """Another key signs the very payload that was signed then, in an envelope of the same form."""
    signer = CryptoSigner.generate_ed25519()
    for name, data in attestations(kept).items():
        envelope, statement = read_envelope(data, name)
        assert canonical_json(envelope.to_dict()) == data
        own = extension_field(statement.predicate_type)
        predicate = {each: value for each, value in statement.predicate.items() if each != own}
        again = sign_statement(
            statement.predicate_type,
            predicate,
            statement.subjects,
            place=Place(statement.sequence, statement.previous),
            signed_at=statement.signed_at,
            signer=signer,
            extension=statement.extension,
        )
        assert Envelope.from_dict(json.loads(again)).payload == envelope.payload


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        (Candidate, f"share/{CANDIDATE}/candidate.json"),
        (Plan, "plan.json"),
        (PublishedRelease, f"releases/{RELEASE}/release.json"),
        (LedgerEntry, "ledger/**/*.json"),
        (Receipt, ".local/**/*.json"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_record_is_read_and_written_in_the_same_bytes(kept: Path, kind: type[Record], pattern: str) -> None:
    """Its digest is what others signed."""
    paths = list(kept.glob(pattern))
    assert paths
    for path in paths:
        assert kind.from_bytes(path.read_bytes(), path.name).to_bytes() == path.read_bytes()


def test_the_record_of_a_setup_zip_is_written_in_the_same_bytes(kept: Path) -> None:
    """It names every file of the zip."""
    _, members = read_zip((kept / "setup.zip").read_bytes(), "setup.zip")
    data = members[RECORD].data
    assert SetupBundle.from_bytes(data, RECORD).to_bytes() == data


def test_the_journal_is_genuine(kept: Path, trusted: tuple[TrustedKey, ...]) -> None:
    """Every entry of it, under the candidate's digest."""
    folder = kept / "share" / CANDIDATE
    digest = f"sha256:{sha256((folder / 'candidate.json').read_bytes()).hexdigest()}"
    files = {path.name: path.read_bytes() for path in (folder / "journal").iterdir()}
    reading = read_journal(files, digest, None, trusted)
    assert reading.ignored == ()
    assert len(reading.entries) == len(files) > 2


def test_the_bundle_is_written_in_the_same_bytes(kept: Path) -> None:
    """The evidence of customers: candidate.json, and each attestation that there was."""
    data = (kept / "8.1.0.jsonl").read_bytes()
    bundle = read_bundle(data, "8.1.0.jsonl")
    assert write_bundle(bundle.candidate, list(bundle.attestations.values()), bundle.trust) == data
    assert [*attestations(kept).values()][: len(bundle.attestations)] == [*bundle.attestations.values()]


def test_the_trust_document_is_signed_and_written_in_the_same_bytes(kept: Path) -> None:
    """Its first version, by two of three root keys."""
    (path,) = (kept / "share" / "SkyDRM" / ".trust").glob("*.json")
    version = TrustVersion.read(path.read_bytes(), path.name)
    assert version.number == 1
    assert version.self_signed()
    assert version.to_bytes() == path.read_bytes()


def test_the_notifications_are_events(kept: Path) -> None:
    """What a webhook got is what a program for webhooks reads."""
    events: list[Any] = json.loads((kept / "events.json").read_text())
    assert events
    for event in events:
        found = ReleaseEvent.model_validate(event)
        assert json.loads(found.to_bytes()).keys() <= event.keys()


def test_customers_still_prove_an_installer(kept: Path, tmp_path: Path) -> None:
    """With the bundle that they have, and this version of the program."""
    (tmp_path / INSTALLER).write_bytes(installer())
    words = ("--bundle", str(kept / "8.1.0.jsonl"), "--files", str(tmp_path / INSTALLER))
    done = run("verify", *words, "--trusted-keys", str(kept / "keys"), environ={"HOME": str(tmp_path)})
    assert done.status == 0, done.text


def test_customers_still_prove_a_setup_zip(kept: Path, trusted: tuple[TrustedKey, ...]) -> None:
    """Every file of it; this version's own scripts may be others."""
    data = (kept / "setup.zip").read_bytes()
    proof = prove_setup_zip(data, "setup.zip", trusted, datetime.now(UTC), scripts={})
    assert proof.bundle.version == "8.1.0"


def test_the_whole_story_is_still_told(kept: Path, tmp_path: Path) -> None:
    """Every statement counts, and nothing looks altered."""
    shutil.copytree(kept / "share", tmp_path / "share")
    keys = [trusted_key(role, kept / "keys" / f"{role}.pem.pub") for role in ROLE_NAMES]
    (tmp_path / "release.toml").write_text(release_toml(tmp_path / "share", *keys, images=("rms", "viewer")))
    environ = {"JENKINS_RELEASE_CONFIG": str(tmp_path / "release.toml"), "HOME": str(tmp_path)}
    done = run("release", "history", "8.1.0", "--json", environ=environ)
    assert done.status == 0, done.text
    (told,) = done.json["candidates"]
    assert not told["altered"]
    assert len(told["events"]) >= len(attestations(kept))
    assert done.json["altered"] == []
