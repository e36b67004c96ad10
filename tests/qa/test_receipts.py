"""QA signs what it tested: receipts of what was loaded, and what becomes of a sign-off without one."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jenkins_release.images import DockerEngine
from jenkins_release.records.attestation import read_envelope
from tests.fixtures.command import fails
from tests.fixtures.release import Product

REF = "8.1.0/42"
NONE = f"sha256:{'0' * 64}"


def swap(product: Product) -> str:
    """Put another complete candidate, with other images, in the place of 8.1.0/42; return its digest."""
    shutil.rmtree(product.candidate())
    text = product.config.read_text()
    product.config.write_text(text.replace("{version}-{build}", "{version}-43"))
    product.export()
    product.config.write_text(text)
    return product.digest()


def words(product: Product, *more: str, verdict: str = "pass") -> tuple[str, ...]:
    """The command that signs a verdict."""
    said = ("--verdict", verdict, "--tester", "Quinn", "--results", str(product.folder / "junit.xml"))
    return ("qa", "sign-off", REF, *said, *more)


def signed(product: Product) -> list[Any]:
    """What the sign-offs say was tested, as it is signed."""
    files = sorted((product.candidate() / "attestations").glob("*-qa.dsse.json"))
    return [read_envelope(file.read_bytes(), file.name)[1].extension["tested"] for file in files]


@pytest.fixture
def loaded(exported: Product) -> Product:
    """A product whose candidate QA has loaded."""
    exported.ok("candidate", "load", REF)
    return exported


@pytest.mark.parametrize("option", ["--accept-failures", "--without-receipt"])
def test_a_reason_that_says_nothing_is_none(option: str, exported: Product):
    """Nor is one that is no line of text; the message names the option."""
    fails(exported.run(*words(exported, option, "  ")), 2, f"the reason of {option} is empty")
    fails(
        exported.run(*words(exported, option, "a\nb")),
        *(2, f"the reason of {option} contains control characters"),
    )
    assert signed(exported) == []


def receipt(product: Product) -> Path:
    """The only receipt in the state folder of the user."""
    (found,) = Path(product.environ["HOME"], ".local/state/jenkins-release/receipts").rglob("*.json")
    return found


def test_a_pass_is_not_signed_over_a_candidate_that_moved_since_it_was_loaded(loaded: Product):
    """A was loaded and tested, the files were swapped: B is not signed until it was loaded itself."""
    tested = loaded.digest()
    swapped = swap(loaded)
    fails(loaded.run(*words(loaded)), 4, tested, swapped, "load it and test it again")
    fails(loaded.run(*words(loaded, "--digest", tested)), 4, tested, swapped)
    fails(loaded.run(*words(loaded, "--without-receipt", "in a hurry")), 4, tested, swapped)
    assert signed(loaded) == []
    again = loaded.run("candidate", "load", REF)
    assert again.status == 0, again.text
    assert f"candidate.json was {tested}, and now is {swapped}" in again.err
    assert loaded.ok(*words(loaded))["tested"]["digest"] == swapped


def test_what_was_loaded_is_told_and_kept_for_the_user_alone(exported: Product):
    """Digest in text and JSON; folders 0700, file 0600; images with config digests, daemon, host, user."""
    assert f"candidate.json {exported.digest()}" in exported.run("candidate", "load", REF).out
    report = exported.ok("candidate", "load", REF)
    assert report["digest"] == exported.digest()
    path = receipt(exported)
    assert report["receipt"] == str(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [folder.stat().st_mode & 0o777 for folder in (path.parent, *path.parents[1:3])] == [0o700] * 3
    kept = json.loads(path.read_bytes())
    assert (kept["product"], kept["version"], kept["build"]) == ("SkyDRM", "8.1.0", "42")
    assert kept["candidate"] == exported.digest()
    assert kept["host"] == socket.gethostname()
    assert kept["daemon"] == exported.environ["DOCKER_HOST"]
    assert {each["reference"]: each["config_digest"] for each in kept["images"]} == {
        each["reference"]: each["configDigest"] for each in report["images"]
    }
    assert kept["by"]
    assert kept["received_at"]


def test_what_was_fetched_counts_as_well(exported: Product, tmp_path: Path):
    """With the SHA-256 of each file, in the folder that a variable names."""
    exported.environ["JENKINS_RELEASE_RECEIPTS"] = str(tmp_path / "receipts")
    report = exported.ok("candidate", "fetch", REF, str(tmp_path / "candidate"))
    assert report["digest"] == exported.digest()
    (path,) = (tmp_path / "receipts").rglob("*.json")
    assert report["receipt"] == str(path)
    (file,) = json.loads(path.read_bytes())["files"]
    assert (exported.candidate() / "SHA256SUMS").read_text().splitlines()[1].startswith(file["sha256"])
    assert exported.ok(*words(exported))["tested"]["how"] == "fetch"


def test_the_signed_statement_says_how_it_is_bound(loaded: Product):
    """By the receipt with its time and machine, by the digest, or not at all, with the reason."""
    digest = loaded.digest()
    loaded.ok(*words(loaded))
    loaded.ok(*words(loaded, "--digest", digest))
    receipt(loaded).unlink()
    loaded.ok(*words(loaded, "--without-receipt", "tested the running system"))
    by_receipt, by_digest, unknown = signed(loaded)
    assert by_receipt.pop("loadedAt")
    assert by_receipt == {"digest": digest, "by": "receipt", "how": "load", "host": socket.gethostname()}
    assert by_digest == {"digest": digest, "by": "digest"}
    assert unknown == {"by": "unknown", "reason": "tested the running system"}


def test_a_pass_is_refused_if_nothing_says_what_was_tested(exported: Product):
    """It says so, and what to do; nothing is signed."""
    told = ("it is unknown what was tested", "no receipt", "candidate load", "--digest", "--without-receipt")
    fails(exported.run(*words(exported)), 2, *told)
    assert signed(exported) == []


def test_a_fail_is_always_possible(exported: Product):
    """Without a receipt, and over a candidate that moved: both shut the gate, and both are told."""
    done = exported.run(*words(exported, verdict="fail"))
    assert done.status == 0, done.text
    assert "it is unknown what was tested" in done.err
    exported.ok("candidate", "load", REF)
    tested = exported.digest()
    swap(exported)
    done = exported.run(*words(exported, verdict="fail"))
    assert done.status == 0, done.text
    assert f"is not what was tested: tested candidate.json {tested}" in done.err
    assert signed(exported)[0]["digest"] == tested
    assert (
        f"unknown what was tested: {tested}, which is not this candidate"
        in exported.run("candidate", "show", REF).out
    )


@pytest.mark.parametrize("digest", ["abc", "sha256:abc", "SHA256:" + "0" * 64, "sha256:" + "A" * 64])
def test_a_digest_is_given_whole(exported: Product, digest: str):
    """A few digits could be those of another candidate."""
    fails(exported.run(*words(exported, "--digest", digest)), 2, "is not the digest of a candidate")


def test_both_ways_to_say_it_contradict_each_other(exported: Product):
    """A digest says what was tested; the other option says that it is unknown."""
    more = ("--digest", exported.digest(), "--without-receipt", "why")
    fails(exported.run(*words(exported, *more)), 2, "give one of the two")


def as_link(path: Path) -> None:
    """Put a link in place of the file."""
    other = path.rename(path.with_name("other"))
    path.symlink_to(other)


def as_pipe(path: Path) -> None:
    """Put a pipe in place of the file, which nobody ever writes to."""
    path.unlink()
    os.mkfifo(path, 0o600)


def changed(**fields: Any) -> Any:
    """Replace fields of the receipt."""

    def change(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_bytes()) | fields))

    return change


HARMS: list[tuple[Callable[[Path], Any], str]] = [
    (lambda path: path.chmod(0o620), "can be written by others (mode 0620)"),
    (lambda path: path.chmod(0o602), "can be written by others (mode 0602)"),
    (lambda path: path.parent.chmod(0o770), "can be written by others (mode 0770)"),
    (lambda path: os.chown(path, 12345, -1), "belongs to another user (uid 12345)"),
    (lambda path: os.chown(path.parent, 12345, -1), "belongs to another user (uid 12345)"),
    (as_link, "is a symbolic link"),
    (as_pipe, "is not a file"),
    (lambda path: path.write_bytes(b"{"), "is not valid JSON"),
    (lambda path: path.write_bytes(b"{}"), "expected a record of schema"),
    (lambda path: path.write_bytes(b" " * (17 << 20)), "at most"),
    (changed(candidate="sha256:0"), "fields are wrong"),
    (changed(build="43"), "about another candidate"),
    (changed(share="elsewhere"), "about another candidate"),
    (changed(host="elsewhere"), "about another candidate or machine"),
    (changed(received_at="2999-01-01T00:00:00Z"), "dated in the future"),
]


def test_a_receipt_that_others_could_have_made_is_none(loaded: Product):
    """It says why, and a pass is refused as without any; whatever is wrong with it."""
    path = receipt(loaded)
    folder, data = path.parent, path.read_bytes()
    for harm, told in HARMS:
        harm(path)
        fails(loaded.run(*words(loaded)), 2, "it is unknown what was tested", told)
        os.chown(folder, os.geteuid(), -1)
        folder.chmod(0o700)
        for file in folder.iterdir():
            file.unlink()
        path.touch(0o600)
        path.write_bytes(data)
    path.chmod(0o620)
    done = loaded.run(*words(loaded, "--without-receipt", "the receipt is unusable"))
    assert done.status == 0, done.text
    assert "not counted: the receipt's file" in done.err


def test_a_receipt_of_another_share_is_not_found(loaded: Product, tmp_path: Path):
    """The same product and build elsewhere is another candidate."""
    shutil.copytree(loaded.share, tmp_path / "copy")
    share = ("--share", str(tmp_path / "copy"))
    fails(loaded.run(*words(loaded, *share)), 2, "no receipt of the candidate on this machine")


def test_a_candidate_is_loaded_even_if_no_receipt_can_be_kept(exported: Product, tmp_path: Path):
    """The warning has the digest that the sign-off then needs."""
    (tmp_path / "file").touch()
    exported.environ["JENKINS_RELEASE_RECEIPTS"] = str(tmp_path / "file")
    done = exported.run("candidate", "load", REF, "--json")
    assert done.status == 0, done.text
    assert f"sign off with --digest {exported.digest()}" in done.err
    assert done.json["receipt"] == ""


def no_home(product: Product, tmp_path: Path) -> str:
    """A home folder of somebody who is not on this machine, as for a user id that no passwd names."""
    product.environ["JENKINS_RELEASE_RECEIPTS"] = "~nobody-of-that-name/receipts"
    return "the home folder of ~nobody-of-that-name/receipts is unknown"


def loose(product: Product, tmp_path: Path) -> str:
    """A folder that others may write to: a receipt there would not count."""
    place = tmp_path / "loose" / re.sub(r"[^A-Za-z0-9_-]", "_", socket.gethostname())
    place.mkdir(parents=True)
    place.chmod(0o777)
    product.environ["JENKINS_RELEASE_RECEIPTS"] = str(place.parent)
    return f"{place} can be written by others (mode 0777)"


@pytest.mark.parametrize("place", [no_home, loose])
def test_a_place_where_a_receipt_would_not_count_is_told_at_once(
    place: Callable[[Product, Path], str], exported: Product, tmp_path: Path
):
    """With the digest that the sign-off then needs; the sign-off says the same."""
    told = place(exported, tmp_path)
    done = exported.run("candidate", "load", REF, "--json")
    assert done.status == 0, done.text
    assert told in done.err
    assert f"sign off with --digest {exported.digest()}" in done.err
    assert done.json["receipt"] == ""
    fails(exported.run(*words(exported)), 2, "it is unknown what was tested")
    assert exported.ok(*words(exported, "--digest", exported.digest()))["tested"]["by"] == "digest"


def test_other_images_in_the_daemon_are_told(loaded: Product, engine: DockerEngine):
    """Another job loaded its images under the same names; images that are gone are none of that."""
    engine.tag("skydrm/rms:8.1.0-43", "skydrm/rms:8.1.0-42")
    try:
        done = loaded.run(*words(loaded))
    finally:
        loaded.ok("candidate", "load", REF)
    assert done.status == 0, done.text
    assert "the Docker daemon holds other images by now than were loaded: skydrm/rms:8.1.0-42;" in done.err
    assert loaded.run(*words(loaded)).err == ""
    for image in json.loads(receipt(loaded).read_bytes())["images"]:
        engine.untag(image["reference"])
    assert loaded.run(*words(loaded)).err == ""
    assert loaded.run(*words(loaded), DOCKER_HOST="unix:///nowhere").err == ""


def test_a_pass_that_is_not_bound_is_shown_everywhere_and_shuts_the_gate(exported: Product):
    """The default; a policy may let it count, and then every listing says so."""
    exported.ok(*words(exported, "--without-receipt", "tested the running system"))
    told = "unknown what was tested"
    reason = f"{told} [tested: load the candidate, test it, and sign off there or with its digest]"
    refused = exported.run("promote", "run", REF)
    fails(refused, 3, reason)
    assert f"{told}: tested the running system" in exported.run("candidate", "show", REF).out
    assert f"{told}: tested the running system" in exported.run("release", "history", "8.1.0").out
    shown = exported.ok("candidate", "show", REF)
    assert [each.get("tested") for each in shown["attestations"]] == [None, "unknown"]
    assert [verdict["tested"] for verdict in shown["gate"]["verdicts"]] == ["unknown"]
    assert [unmet["condition"] for unmet in shown["gate"]["unmet"]] == ["tested"]
    exported.edit("approvals = 0", "approvals = 0\ntested = false")
    status = exported.run("promote", "status", REF)
    assert f"{told} by Quinn (0002-qa.dsse.json)" in status.out
    assert exported.run("promote", "run", REF).status == 0
