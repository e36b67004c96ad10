"""Many candidates at once, written behind a share as an export would leave them, without any image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr
from securesystemslib.signer import Signer

from jenkins_release.base.version import PROGRAM
from jenkins_release.keys import load_signer
from jenkins_release.records.attestation import PROVENANCE, TEST_RESULT, Place, sign_statement
from jenkins_release.records.candidate import (
    Candidate,
    FileRecord,
    ImageRecord,
    LayerRecord,
    checksum_lines,
    manifest_digest,
)
from jenkins_release.records.provenance import provenance

LAYERS = 4
"""Layers of each image."""
_LAYER_BYTES = 40 << 20


def write_candidates(
    folder: Path,
    keys: Path,
    passphrase: SecretStr,
    *,
    versions: int,
    builds: int,
    images: Sequence[str],
    signed_off_every: int = 5,
) -> list[str]:
    """Write candidates with a build attestation each, and a sign-off for some.

    Their archives are not there: they are for commands that read records.

    Args:
        folder: The folder behind the share.
        keys: Folder with the private keys ``build.pem`` and ``qa.pem``.
        passphrase: Opens the keys.
        versions: Versions, ``9.0.1`` and on.
        builds: Builds of each version.
        images: Names of the images of each candidate.
        signed_off_every: Each that many candidates one has QA's verdict.

    Returns:
        The candidates as the command line takes them.
    """
    build_key, qa_key = (load_signer(f"file2:{keys / name}.pem", passphrase) for name in ("build", "qa"))
    written = []
    for number in range(versions * builds):
        version, build = f"9.0.{number // builds + 1}", str(number % builds + 1)
        place = folder / "SkyDRM" / version / build
        verdict = None if number % signed_off_every else qa_key
        _write(place, _record(version, build, images), build_key, verdict)
        written.append(f"{version}/{build}")
    return written


def _record(version: str, build: str, images: Sequence[str]) -> Candidate:
    archive = f"images/skydrm-{version}-{build}.tar"
    return Candidate(
        product="SkyDRM",
        version=version,
        build=build,
        revision=hashlib.sha1(f"{version} {build}".encode(), usedforsecurity=False).hexdigest(),
        build_url=f"https://jenkins.example.com/job/skydrm/{build}/",
        built_by="jenkins",
        exported_at=datetime.now(UTC) - timedelta(hours=1),
        exporter=PROGRAM,
        files=(
            FileRecord(path=archive, size=(len(images) * LAYERS + 1) * _LAYER_BYTES, sha256=_hex(archive)),
        ),
        images=tuple(_image(name, version, build, archive) for name in images),
    )


def _image(name: str, version: str, build: str, archive: str) -> ImageRecord:
    layers = [f"{name} {version} {build} {number}" for number in range(LAYERS)]
    return ImageRecord(
        name=name,
        reference=f"skydrm/{name}:{version}-{build}",
        archive=archive,
        platform="linux/amd64",
        config_digest=f"sha256:{_hex(name + version + build)}",
        config_offset=512,
        config_size=2000,
        layers=tuple(
            LayerRecord(
                diff_id=f"sha256:{_hex(layer)}",
                digest=f"sha256:{_hex(layer)}",
                offset=4096 + number * _LAYER_BYTES,
                size=_LAYER_BYTES,
                compression="none",
            )
            for number, layer in enumerate(layers)
        ),
    )


def _write(place: Path, record: Candidate, build_key: Signer, qa_key: Signer | None) -> None:
    manifest = record.to_bytes()
    subjects = {"candidate.json": manifest_digest(manifest).removeprefix("sha256:")}
    told = provenance(record, started=record.exported_at, finished=record.exported_at)
    found = {
        "0001-build.dsse.json": sign_statement(
            PROVENANCE, told, subjects, place=Place(1, ""), signed_at=record.exported_at, signer=build_key
        )
    }
    if qa_key is not None:
        results = {"name": "junit.xml", "digest": {"sha256": _hex("junit")}}
        found["0002-qa.dsse.json"] = sign_statement(
            TEST_RESULT,
            {"result": "PASSED", "configuration": [results]},
            subjects,
            place=Place.after(found),
            signed_at=record.exported_at + timedelta(minutes=10),
            signer=qa_key,
            extension={"tester": "Quinn Adams"},
        )
    (place / "attestations").mkdir(parents=True)
    for name, data in found.items():
        (place / "attestations" / name).write_bytes(data)
    (place / "SHA256SUMS").write_bytes(checksum_lines(manifest, record.files))
    (place / "candidate.json").write_bytes(manifest)


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
