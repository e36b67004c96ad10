"""What was changed on the share shows: which file, since when, and which attestation is missing."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jenkins_release.steps.candidate.opened import OpenCandidate
from tests.fixtures.damage import flipped
from tests.fixtures.release import Product

BUILD, QA, PROMOTION = "0001-build.dsse.json", "0002-qa.dsse.json", "0003-promotion.dsse.json"
TAR = "images/skydrm-8.1.0-42.tar"


def verify(product: Product) -> list[str]:
    """Verify a candidate that has to fail, and return all reasons."""
    done = product.run("candidate", "verify", "8.1.0/42", "--json")
    assert done.status == 4, done.text
    reasons: list[str] = done.json["error"]["reasons"]
    assert done.json["error"]["message"].endswith(reasons[0])
    return reasons


def told(product: Product) -> list[str]:
    """Tell a history that has to end with status 4, and return all findings."""
    done = product.run("release", "history", "8.1.0", "--json")
    assert done.status == 4, done.text
    assert done.json["altered"] == done.json["error"]["reasons"]
    assert done.json["error"]["category"] == "integrity"
    found: list[str] = done.json["altered"]
    return found


def attestation(product: Product, name: str) -> Path:
    return product.candidate() / "attestations" / name


def rename_in_circle(product: Product) -> None:
    first, second = attestation(product, BUILD), attestation(product, QA)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def replace_by_a_later_one(product: Product) -> None:
    """A genuine sign-off made for the same place, in the place of another."""
    saved = {path.name: path.read_bytes() for path in attestation(product, BUILD).parent.iterdir()}
    for name in (QA, PROMOTION):
        attestation(product, name).unlink()
    product.sign_off(tester="Robin")
    attestation(product, PROMOTION).write_bytes(saved[PROMOTION])


def copy_from_another(product: Product) -> None:
    product.export("43")
    product.sign_off("8.1.0/43")
    source = product.candidate("8.1.0/43") / "attestations" / QA
    shutil.copyfile(source, attestation(product, "0004-qa.dsse.json"))


def alter(product: Product, name: str) -> None:
    path = attestation(product, name)
    value = json.loads(path.read_text())
    value["payload"] = flipped(value["payload"].encode(), 40).decode()
    path.write_text(json.dumps(value))


ALTERED: dict[str, tuple[Callable[[Product], object], str]] = {
    "the first is removed": (
        lambda p: attestation(p, BUILD).unlink(),
        f"the attestation 0001 between the beginning and {QA} was removed",
    ),
    "a middle one is removed": (
        lambda p: attestation(p, QA).unlink(),
        f"the attestation 0002 between {BUILD} and {PROMOTION} was removed",
    ),
    "two change places": (rename_in_circle, f"{BUILD} was signed as {QA}: it was renamed or copied"),
    "one is replaced": (
        replace_by_a_later_one,
        f"{PROMOTION} does not follow {QA}: one of the two was replaced",
    ),
    "one of another candidate is added": (
        copy_from_another,
        "0004-qa.dsse.json is about another candidate.json",
    ),
    "a copy is added": (
        lambda p: shutil.copyfile(attestation(p, QA), attestation(p, "0004-qa.dsse.json")),
        "0004-qa.dsse.json has the number 2, which is taken: it was copied",
    ),
    "one is altered": (lambda p: alter(p, QA), QA),
    "one is cut short": (
        lambda p: os.truncate(attestation(p, QA), 100),
        f"{QA} is not valid JSON",
    ),
}


@pytest.mark.parametrize(("act", "finding"), ALTERED.values(), ids=ALTERED.keys())
def test_an_altered_chain_shows(promoted: Product, act, finding):
    """In `candidate verify` with the time, in the history with the whole story, and nothing is promoted."""
    act(promoted)
    assert any(finding in reason and "last modified 20" in reason for reason in verify(promoted))
    assert any(finding in line for line in told(promoted))
    assert promoted.run("promote", "run", "8.1.0/42").status == 4
    assert promoted.run("release", "withdraw", "8.1.0", "--reason", "x").status == 4


def test_a_removed_last_attestation_leaves_no_trace_in_the_chain_itself(validated: Product):
    """The limit: a shorter chain is a whole one. Only its head, kept elsewhere, tells the difference."""
    head = validated.ok("candidate", "verify", "8.1.0/42")["head"]
    attestation(validated, QA).unlink()
    after = validated.ok("candidate", "verify", "8.1.0/42")
    assert after["attestations"] == 1
    assert after["head"] != head


def test_a_last_attestation_shows_once_an_approval_or_a_promotion_follows_it(validated: Product, tmp_path):
    """What is signed later stands for all that was there: the sign-off cannot be removed any more."""
    validated.edit("approvals = 0", "approvals = 1")
    validated.approve(tmp_path / "plan.json")
    attestation(validated, QA).unlink()
    approval = "0003-approval.dsse.json"
    assert any(f"between {BUILD} and {approval} was removed" in reason for reason in verify(validated))
    assert validated.run("promote", "run", "8.1.0/42").status == 4
    assert validated.tags() == {}


def test_a_removed_promotion_attestation_shows_in_the_journal(promoted: Product):
    """The journal's signed entry says that it was recorded, and when."""
    attestation(promoted, PROMOTION).unlink()
    for finding in (verify(promoted), told(promoted)):
        assert any(
            PROMOTION in line and "according to the journal, and was removed since" in line
            for line in finding
        )


def test_what_is_removed_while_a_step_signs_stops_the_step(
    exported: Product, monkeypatch: pytest.MonkeyPatch
):
    """A revocation cannot vanish between the decision and its record."""
    exported.sign_off(verdict="fail")
    signed = OpenCandidate.require_unaltered

    def and_remove(opened):
        signed(opened)
        attestation(exported, QA).unlink()

    monkeypatch.setattr(OpenCandidate, "require_unaltered", and_remove)
    results = str(exported.folder / "junit.xml")
    words = ("--verdict", "pass", "--tester", "Quinn", "--results", results, "--digest", exported.digest())
    done = exported.run("qa", "sign-off", "8.1.0/42", *words)
    assert done.status == 4, done.text
    assert "changed while it was in use" in done.err
    assert f"{QA}: expected SHA-256" in done.err
    assert "it was removed" in done.err
    assert [path.name for path in attestation(exported, QA).parent.iterdir()] == [BUILD]


@pytest.mark.parametrize("path", ["SHA256SUMS", "candidate.json", TAR])
def test_an_altered_file_is_named_with_its_time(promoted: Product, path):
    """The time that the share tells, and the attestations around it."""
    target = promoted.candidate() / path
    data = target.read_bytes()
    place = data.index(b"jenkins-release/0") if path == "candidate.json" else len(data) // 2
    signed = [
        json.loads(line)["predicate"]
        for line in (attestation_payload(attestation(promoted, name)) for name in (QA, PROMOTION))
    ]
    times = [datetime.fromisoformat(each["jenkinsRelease"]["signedAt"]) for each in signed]
    target.write_bytes(flipped(data, place))
    between = (times[0].timestamp() + times[1].timestamp()) / 2
    os.utime(target, (between, between))
    reasons = verify(promoted)
    about = [reason for reason in reasons if path.replace("/", "\\") in reason]
    moment = f"{datetime.fromtimestamp(between, UTC):%Y-%m-%d %H:%M:%S} UTC"
    assert about, reasons
    assert f"last modified {moment}, after {QA} was signed" in about[0]
    assert f"and before {PROMOTION} was signed" in about[0]


def attestation_payload(path: Path) -> bytes:
    import base64

    return base64.b64decode(json.loads(path.read_text())["payload"])


def test_an_altered_candidate_json_is_told_from_altered_attestations(promoted: Product):
    """All signers name the same other bytes: it is the file that was changed, and it comes first."""
    target = promoted.candidate() / "candidate.json"
    target.write_bytes(target.read_bytes().replace(b'"built_by":"', b'"built_by":"x'))
    first, *others = verify(promoted)
    assert "candidate.json was altered: every signed attestation names SHA-256" in first
    assert any(f"{QA} is about another candidate.json" in line for line in others)
    assert told(promoted)


def test_a_candidate_json_that_cannot_be_read_is_named_with_its_time(promoted: Product):
    """Verify names it; the history still tells what the attestations say."""
    (promoted.candidate() / "candidate.json").write_text("{")
    (reason,) = verify(promoted)
    assert "candidate.json is not valid JSON" in reason
    assert "last modified 20" in reason
    done = promoted.run("release", "history", "8.1.0")
    assert done.status == 4
    assert "candidate.json cannot be read" in done.out
    assert "validated by Quinn" in done.out


def test_missing_files_are_named(promoted: Product):
    """An archive and SHA256SUMS that are gone."""
    for path in (TAR, "SHA256SUMS"):
        (promoted.candidate() / path).unlink()
    reasons = verify(promoted)
    assert any("skydrm-8.1.0-42.tar is missing" in reason for reason in reasons)
    assert any("SHA256SUMS is missing" in reason for reason in reasons)


@pytest.mark.parametrize(
    "path",
    [
        "notes.txt",
        "images/extra.tar",
        "installers/setup.exe",
        "attestations/.hidden",
        "attestations/old/x.json",
    ],
)
def test_a_foreign_file_is_named(promoted: Product, path):
    """Wherever it was put; the journal's folder is none."""
    target = promoted.candidate() / path
    target.parent.mkdir(exist_ok=True)
    target.write_text("x")
    (reason,) = verify(promoted)
    assert "that does not belong there; last modified 20" in reason
    assert f"after {PROMOTION} was signed" in reason


def test_what_a_step_that_died_left_is_no_foreign_file(promoted: Product):
    """A hidden, unfinished attestation, and the journal."""
    attestation(promoted, ".0004-qa.dsse.json.0a1b2c3d").write_text("{")
    (promoted.candidate() / "journal").mkdir(exist_ok=True)
    (promoted.candidate() / "journal" / "anything").write_text("x")
    assert promoted.ok("candidate", "verify", "8.1.0/42")["attestations"] == 3


LITTER = [
    *("Thumbs.db", "desktop.ini", ".DS_Store", "._0002-qa.dsse.json", "0002-qa.dsse - Copy.json"),
    *("x - Copy.json", "~$notes.docx", ".smbdelete0012ab"),
]


def test_what_operating_systems_leave_is_named_and_passed_over(validated: Product):
    """Somebody looked into the folder, with a Mac or with Windows. The candidate is what it was."""
    for folder in (validated.candidate(), validated.candidate() / "attestations"):
        for name in LITTER:
            (folder / name).write_bytes(b"\0litter")
        (folder / "@eaDir").mkdir()
    done = validated.run("candidate", "verify", "8.1.0/42")
    assert done.status == 0, done.text
    for name in (*LITTER, "@eaDir"):
        assert f"attestations\\{name}" in done.err
    assert validated.ok("promote", "plan", "8.1.0/42")["gate"]["altered"] == []
    assert [each["candidate"] for each in validated.ok("candidate", "list")["candidates"]] == ["8.1.0/42"]
    validated.ok("qa", "revoke", "8.1.0/42", "--tester", "Quinn", "--reason", "x")


def test_a_copy_of_an_attestation_is_litter_and_one_that_was_renamed_is_not(validated: Product):
    """Who renames a verdict hides it."""
    copy = attestation(validated, "0002-qa.dsse - Copy.json")
    shutil.copyfile(attestation(validated, QA), copy)
    assert validated.run("candidate", "verify", "8.1.0/42").status == 0
    attestation(validated, QA).unlink()
    assert any(copy.name in reason for reason in verify(validated))
    copy.rename(attestation(validated, ".DS_Store"))
    assert any(".DS_Store is a file that does not belong there" in reason for reason in verify(validated))


@pytest.mark.parametrize("name", [".hidden", ".0003-qa.dsse.json"])
def test_a_hidden_file_that_no_system_makes_counts_against(validated: Product, name: str):
    """Somebody has put it there."""
    attestation(validated, name).write_bytes(b"{}")
    assert any(f"{name} is a file that does not belong there" in reason for reason in verify(validated))


@pytest.mark.parametrize("name", [TAR, "installers/SkyDRM-8.1.0.msi"])
def test_a_file_that_is_far_larger_than_recorded_is_not_read_to_its_end(product: Product, name: str):
    """Whoever writes to the share puts a file of terabytes there."""
    product.installers("SkyDRM-8.1.0.msi")
    product.export()
    product.sign_off()
    file = product.candidate() / name
    file.chmod(0o644)
    with file.open("ab") as stream:
        stream.truncate(1 << 42)
    done = product.run("candidate", "verify", "8.1.0/42")
    assert done.status == 4
    assert f"{file.name}: " in done.text
    assert "bytes" in done.text
    assert product.run("candidate", "fetch", "8.1.0/42", str(product.folder / "here")).status == 4


def test_an_archive_that_somebody_compressed_is_told_as_that(exported: Product):
    """Under its own name and beside it: what to do, and decompressed it is the candidate again."""
    tar = exported.candidate() / TAR
    plain = tar.read_bytes()
    tar.write_bytes(gzip.compress(plain, 1))
    assert any(
        "the archive is compressed with gzip, expected a plain tar archive" in line
        for line in verify(exported)
    )
    done = exported.run("candidate", "load", "8.1.0/42")
    assert done.status == 4
    assert f"expected {len(plain)} bytes, found {tar.stat().st_size}, compressed with gzip" in done.text
    assert "'gunzip' gives the same bytes back" in done.text
    tar.rename(f"{tar}.gz")
    done = exported.run("candidate", "load", "8.1.0/42")
    assert done.status == 4
    assert "skydrm-8.1.0-42.tar.gz is there" in done.text
    Path(f"{tar}.gz").unlink()
    tar.write_bytes(plain)
    exported.ok("candidate", "verify", "8.1.0/42")
