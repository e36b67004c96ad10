"""`bundle build` and `bundle verify`: of promoted versions only, the same everywhere, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from jenkins_release import Services, load_configuration
from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.images import DockerEngine
from jenkins_release.keys import load_signer
from jenkins_release.records.attestation import PUBLICATION, Place, read_envelope, sign_statement
from jenkins_release.records.candidate import manifest_digest
from jenkins_release.records.published_release import PublishedRelease, release_checksum_lines
from jenkins_release.records.setup import RECORD, SUMS, SetupBundle, setup_checksum_lines
from jenkins_release.records.setup_zip import Member, read_zip, write_zip
from jenkins_release.rules.setup_zip.files import file_records
from jenkins_release.sandbox.sample_images import SERVICES
from jenkins_release.sandbox.stack import Sandbox
from jenkins_release.steps.setup_zip.verify import prove_setup_file
from tests.docs.pages import ROOT
from tests.fixtures.command import Outcome
from tests.fixtures.release import Product, make_images, make_product
from tests.fixtures.setup_zip import write_templates

TEMPLATES = ROOT / "examples" / "skydrm" / "bundle"
COMPOSES = sorted({shutil.which("docker-compose") or "", str(Path(sys.executable).parent / "docker-compose")})
"""Debian's Docker Compose, of version 1 or 2, and that of today."""


@pytest.fixture(scope="module")
def ready(
    tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox, engine: DockerEngine, role_keys: Path
) -> Iterator[Product]:
    """A product of which 8.1.0/42 is promoted and 43 is not, with SkyDRM's templates."""
    make_images(engine, SERVICES)
    with pytest.MonkeyPatch.context() as patch:
        product = make_product(tmp_path_factory.mktemp("bundle"), sandbox, role_keys, patch, names=SERVICES)
        shutil.copytree(TEMPLATES, product.folder / "bundle")
        product.export()
        product.export("43")
        product.sign_off()
        product.ok("promote", "run", "8.1.0/42")
        yield product


def build(product: Product, *words: str, version: str = "8.1.0") -> Outcome:
    return product.run("bundle", "build", version, *words)


def verify(product: Product, file: Path) -> Outcome:
    return product.run("bundle", "verify", str(file), "--trusted-keys", str(product.config))


def test_the_same_bytes_anywhere_and_at_any_time(ready: Product, tmp_path: Path):
    """Another user's home, time zone, umask, language, folder and copy of the templates."""
    first = tmp_path / "first.zip"
    done = build(ready, "--out", str(first))
    assert done.status == 0, done.text
    for path in sorted(TEMPLATES.rglob("*"), reverse=True):
        os.utime(ready.folder / "bundle" / path.relative_to(TEMPLATES), (1, 1))
    ready.folder.joinpath("bundle", ".git").mkdir()  # hidden files are nobody's templates
    child = {**ready.environ, "TZ": "Asia/Kolkata", "HOME": "/", "LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "7"}
    script = 'umask 077; exec "$0" -m jenkins_release bundle build 8.1.0 --result result.json'
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    child |= {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
    ran = subprocess.run(
        ["sh", "-c", script, sys.executable], cwd=elsewhere, env=child, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    second = elsewhere / "SkyDRM-setup-8.1.0.zip"
    assert first.read_bytes() == second.read_bytes()
    assert str(tmp_path).encode() not in first.read_bytes()
    proven = verify(ready, second)
    assert proven.status == 0, proven.text
    assert "8.1.0/42, validated, promoted, in force" in proven.out
    assert "compared with this program's" in proven.out


def test_a_dry_run_changes_nothing(ready: Product, tmp_path: Path):
    """Neither a file nor an attestation; and it says what the zip would have."""
    before = sorted((ready.candidate() / "attestations").iterdir())
    out = tmp_path / "x.zip"
    ready.edit("promotion_key", "# promotion_key")  # it signs nothing
    done = ready.ok("bundle", "build", "8.1.0", "--out", str(out), "--dry-run")
    ready.edit("# promotion_key", "promotion_key")
    assert not out.exists()
    assert sorted((ready.candidate() / "attestations").iterdir()) == before
    assert "setup.sh" in {file["path"] for file in done["bundle"]["files"]}
    assert {image["digest"] for image in done["bundle"]["images"]} == {
        digest for tags in ready.tags().values() for digest in tags.values()
    }


def test_what_was_not_promoted_gets_no_bundle(ready: Product):
    """Another build, and another version."""
    assert "was not released" in build(ready, "--build", "43").err
    assert build(ready, version="8.2.0").status == 2


def test_a_withdrawn_release_gets_no_bundle(promoted: Product, tmp_path: Path):
    """Status 3, with the reason of the withdrawal."""
    write_templates(promoted.folder / "bundle")
    out = tmp_path / "x.zip"
    promoted.ok("release", "withdraw", "8.1.0", "--reason", "it deletes files")
    done = build(promoted, "--out", str(out))
    assert done.status == 3, done.text
    assert "it deletes files" in done.err
    assert not out.exists()


def test_templates_that_cannot_be_used_are_told_all_at_once(ready: Product, tmp_path: Path):
    """Status 2, every reason, and no file."""
    folder = tmp_path / "templates"
    shutil.copytree(TEMPLATES, folder)
    out = tmp_path / "x.zip"
    compose = folder / "docker-compose.yml"
    compose.write_text(compose.read_text().replace("{{image.rms}}", "nginx:latest"))
    (folder / "notes.md").write_text("{{colour}}")
    there = {"JENKINS_RELEASE_BUNDLE_TEMPLATES": str(folder)}
    words = ("bundle", "build", "8.1.0", "--out", str(out))
    done = ready.run(*words, "--json", **there)
    assert done.status == 2
    reasons = done.json["error"]["reasons"]
    assert [reason for reason in reasons if "nginx:latest is not one of the release" in reason]
    assert "notes.md: there is no value for {{colour}}" in reasons
    (folder / "config" / "link.in").symlink_to("/etc/passwd")
    done = ready.run(*words, **there)
    assert done.status == 2
    assert "config/link.in is a link" in done.err
    shutil.rmtree(folder)
    done = ready.run(*words, **there)
    assert done.status == 2
    assert "there is no folder" in done.err
    assert not out.exists()


def test_an_altered_zip_is_refused_and_others_can_ask(ready: Product, tmp_path: Path):
    """By the command with status 4, and for other steps by a function that returns the proven bytes."""
    out = tmp_path / "SkyDRM-setup-8.1.0.zip"
    ready.ok("bundle", "build", "8.1.0", "--out", str(out))
    trusted = Services(load_configuration(ready.config, environ=ready.environ)).trusted_keys
    proof, data = prove_setup_file(out, trusted, datetime.now(UTC))
    assert data == out.read_bytes()
    assert proof.bundle.version == "8.1.0"
    out.write_bytes(data.replace(b"set -eu", b"set -ex", 1))
    done = verify(ready, out)
    assert done.status == 4
    assert "Bad CRC-32" in done.err or "sha256" in done.err
    with pytest.raises(IntegrityError):
        prove_setup_file(out, trusted, datetime.now(UTC))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        prove_setup_file(tmp_path / "missing.zip", trusted, datetime.now(UTC))


def forged(data: bytes, changes: dict[str, bytes]) -> bytes:
    """A zip with other files, whose own record and checksums fit: what no key is needed for."""
    folder, members = read_zip(data, "x.zip")
    bundle = SetupBundle.from_bytes(members.pop(RECORD).data, RECORD)
    del members[SUMS]
    members |= {path: replace(members[path], data=text) for path, text in changes.items()}
    bundle = bundle.model_copy(update={"files": file_records(members)})
    members[RECORD] = Member(bundle.to_bytes())
    members[SUMS] = Member(setup_checksum_lines(members[RECORD].data, bundle.files))
    return write_zip(folder, members, bundle.promoted_at)


def attestations(product: Product) -> list[str]:
    return sorted(path.name for path in (product.candidate() / "attestations").iterdir())


def test_a_zip_whose_hashes_were_mended_is_neither_verified_nor_published(promoted: Product, tmp_path: Path):
    """Status 4 from both, whoever holds no key: another image in the override, root, other settings."""
    write_templates(promoted.folder / "bundle")
    out = tmp_path / "SkyDRM-setup-8.1.0.zip"
    promoted.ok("bundle", "build", "8.1.0", "--out", str(out))
    good = out.read_bytes()
    override = b"services: {rms: {image: evil.example/rms, privileged: true, entrypoint: [/bin/evil]}}\n"
    settings = (TEMPLATES / "settings.txt").read_bytes().replace(b"|generate|", b"|correct-horse-battery|")
    for path, text in (("docker-compose.override.yml", override), ("settings.txt", settings)):
        out.write_bytes(forged(good, {path: text}))
        done = verify(promoted, out)
        assert done.status == 4, done.text
        assert f"{path} is not the file that" in done.err
        done = promoted.run("release", "publish", "8.1.0/42", "--setup-zip", str(out))
        assert done.status == 4, done.text
        assert f"{path} is not the file that" in done.err
    assert not [name for name in attestations(promoted) if "publication" in name]
    out.write_bytes(good)
    promoted.ok("release", "publish", "8.1.0/42", "--setup-zip", str(out))


def test_the_portal_gets_no_setup_zip_that_was_published_unproven(promoted: Product, tmp_path: Path):
    """Published by an older program, that is: with every record and the promotion key's publication."""
    write_templates(promoted.folder / "bundle")
    out = tmp_path / "SkyDRM-setup-8.1.0.zip"
    promoted.ok("bundle", "build", "8.1.0", "--out", str(out))
    promoted.ok("release", "publish", "8.1.0/42", "--setup-zip", str(out))
    promoted.append(f'[portal]\nkind = "share"\nlocation = "{tmp_path / "portal"}"\naccess = "public"\n')
    (tmp_path / "portal").mkdir()
    promoted.ok("release", "portal", "8.1.0", "--dry-run")
    bad = forged(out.read_bytes(), {"docker-compose.override.yml": b"services: {rms: {privileged: true}}\n"})
    area = promoted.releases / "SkyDRM" / "8.1.0"
    record = PublishedRelease.from_bytes((area / "release.json").read_bytes(), "release.json")
    files = tuple(
        file.model_copy(update={"size": len(bad), "sha256": hashlib.sha256(bad).hexdigest()})
        for file in record.files
    )
    record = record.model_copy(update={"files": files})
    published = record.to_bytes()
    for name, data in (
        (out.name, bad),
        ("release.json", published),
        ("SHA256SUMS", release_checksum_lines(published, files)),
    ):
        (area / name).unlink()
        (area / name).write_bytes(data)
    folder = promoted.candidate() / "attestations"
    chain = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    *before, last = chain
    said = read_envelope(chain[last], last)[1]
    predicate = {
        **said.predicate,
        "release": manifest_digest(published),
        "files": [file.model_dump(mode="json", by_alias=True) for file in files],
    }
    own = predicate.pop("jenkinsRelease")
    subjects = {
        "candidate.json": said.subjects["candidate.json"],
        "release.json": hashlib.sha256(published).hexdigest(),
        out.name: files[0].sha256,
    }
    passphrase = SecretStr(promoted.environ["JENKINS_RELEASE_KEY_PASSPHRASE"])
    forged_publication = sign_statement(
        PUBLICATION,
        predicate,
        subjects,
        place=Place.after({name: chain[name] for name in before}),
        signed_at=said.signed_at,
        signer=load_signer(f"file2:{promoted.folder / 'keys' / 'promotion.pem'}", passphrase),
        extension={key: own[key] for key in own if key not in {"sequence", "previous", "signedAt"}},
    )
    (folder / last).write_bytes(forged_publication)
    done = promoted.run("release", "portal", "8.1.0")
    assert done.status == 4, done.text
    assert "docker-compose.override.yml is not the file that" in done.err
    assert not list((tmp_path / "portal").iterdir())


def test_a_key_that_customers_cannot_verify_is_refused(promoted: Product, tmp_path: Path):
    """By the least OpenSSL of `[bundle]`: Ed25519 needs 3.0. Nothing is signed."""
    write_templates(promoted.folder / "bundle")
    before = attestations(promoted)
    old = {"JENKINS_RELEASE_BUNDLE_OPENSSL_VERSION": "1.1.1"}
    words = ("bundle", "build", "8.1.0", "--out", str(tmp_path / "x.zip"))
    for more in (("--dry-run",), ()):
        done = promoted.run(*words, *more, **old)
        assert done.status == 2, done.text
        assert "customers' OpenSSL 1.1.1 cannot verify" in done.err
    assert attestations(promoted) == before
    promoted.ok(*words)
    assert promoted.run(*words, **old).status == 2


def test_files_are_attested_once_and_again_when_they_change(promoted: Product, tmp_path: Path):
    """The key is needed for that only; a build of the earlier files is the earlier zip, byte for byte."""
    folder = promoted.folder / "bundle"
    write_templates(folder)
    before = attestations(promoted)
    out, there = tmp_path / "x.zip", ("--out", str(tmp_path / "x.zip"))
    done = build(promoted, *there, "--key", "file2:/nowhere.pem")
    assert done.status == 2, done.text
    assert attestations(promoted) == before
    first = promoted.ok("bundle", "build", "8.1.0", *there)
    after = attestations(promoted)
    number = len(before) + 1
    assert after == [*before, f"{number:04d}-setup.dsse.json", f"{number + 1:04d}-summary.dsse.json"]
    assert (first["attested"], first["added"]) == tuple(after[-2:])
    again = promoted.ok("bundle", "build", "8.1.0", *there, "--key", "file2:/nowhere.pem")
    assert (again["sha256"], again["attested"], again["added"]) == (first["sha256"], first["attested"], "")
    notes = (folder / "notes.md").read_bytes()
    (folder / "notes.md").write_bytes(b"Other notes.\n")
    other = promoted.ok("bundle", "build", "8.1.0", *there)
    assert other["attested"] == f"{number + 2:04d}-setup.dsse.json"
    assert verify(promoted, out).status == 0
    (folder / "notes.md").write_bytes(notes)
    assert promoted.ok("bundle", "build", "8.1.0", *there)["sha256"] == first["sha256"]
    assert len(attestations(promoted)) == number + 3


@pytest.mark.parametrize("compose", COMPOSES, ids=lambda path: path.split("/")[-3])
def test_compose_takes_the_file_with_and_without_changes(compose: str, ready: Product, tmp_path: Path):
    """Compose of Debian and of today: images by digest, limits, health, the customer's own changes."""
    out = tmp_path / "x.zip"
    ready.ok("bundle", "build", "8.1.0", "--out", str(out))
    subprocess.run(["unzip", "-q", str(out), "-d", str(tmp_path)], check=True)
    unpacked = tmp_path / "SkyDRM-setup-8.1.0"
    place = tmp_path / "a customer's folder"
    words = ["--dir", str(place), "--set", "SKYDRM_HOST=a.example", "--non-interactive", "--offline"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    subprocess.run([str(unpacked / "setup.sh"), *words], check=True, env=environ, capture_output=True)
    override = place / "docker-compose.override.yml"
    changed = "services:\n  rms:\n    mem_limit: 4g\n    restart: always\n"
    for text in (override.read_text(), changed):
        override.write_text(text)
        done = subprocess.run(
            [compose, "config"], cwd=place, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("@sha256:") == 4
        assert "rms-data" in done.stdout
        assert "read_only: true" in done.stdout
        assert ("restart: always" in done.stdout) == (text == changed)
        assert bool(re.search(r"mem_limit: \W?(4g|4294967296)", done.stdout)) == (text == changed)
