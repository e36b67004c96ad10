"""The journal on the share: who pushed what; whatever happens to it, the promotion is the same."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from jenkins_release.config import KEY_PASSPHRASE
from jenkins_release.keys import load_signer
from jenkins_release.records.journal import JournalEntry, sign_entry
from tests.fixtures.resume import ONCE, Kept, Lane, OpenLane


@pytest.fixture
def lane(open_lane: OpenLane) -> Lane:
    """A candidate on SMB with nothing promoted."""
    return open_lane("smb-0")


@pytest.fixture(scope="module")
def kept() -> dict[Lane, Kept]:
    """What :func:`half` is once it was made."""
    return {}


@pytest.fixture
def half(lane: Lane, kept: dict[Lane, Kept]) -> Lane:
    """A promotion by Rita that died when the first of two images was pushed and noted."""
    if lane in kept:
        lane.begin_with(kept[lane])
        return lane
    whole = lane.promote()
    lane.put_back()
    proven = [n for n, call in enumerate(whole.calls, start=1) if call == "share.rename"]
    noted = [n for n in proven if n > whole.calls.index("blobs.put_manifest")]
    assert lane.promote(kill_after=noted[0]).killed
    assert [path.name for path in lane.journal()] == [
        "0001-started.json",
        "0002-pushing-rms.json",
        "0003-pushed-rms.json",
    ]
    kept[lane] = lane.keep()
    return lane


def test_the_record_of_a_resumed_promotion_names_both_runs(half: Lane):
    """Who pushed which image, when, on which machine, in which build, by which plan."""
    claim = half.settled(half.promote(by="sam"))
    rita, sam = claim["runs"]
    assert (rita["by"], sam["by"]) == ("rita", "sam")
    assert rita["buildUrl"] == "https://jenkins.example/job/promote/rita/"
    assert rita["startedOn"] < sam["startedOn"]
    assert rita["planDigest"] != sam["planDigest"]  # the second found one image there
    assert [image["pushedByRun"] for image in claim["images"]] == [rita["id"], sam["id"]]
    assert rita["startedOn"] < claim["images"][0]["pushedOn"] < sam["startedOn"]
    assert claim["startedOn"] == sam["startedOn"] < claim["images"][1]["pushedOn"] < claim["finishedOn"]


def test_status_shows_the_last_lines(half: Lane):
    """What happened last, when, by whom, where, in which build; all of it as JSON."""
    text = half.run("promote", "status", half.ref).text
    assert "pushing" in text
    (line,) = [line for line in text.splitlines() if "pushed rms" in line]
    assert "by rita on " in line
    assert "(https://jenkins.example/job/promote/rita/)" in line
    result = half.root / "status.json"
    half.run("promote", "status", half.ref, "--result", str(result))
    found = json.loads(result.read_text())["journal"]
    assert [(entry["event"], entry["image"]) for entry in found] == [
        ("started", None),
        ("pushing", "rms"),
        ("pushed", "rms"),
    ]
    assert half.services.registry.images("skydrm/rms", [found[2]["digest"]])


def truncate(lane: Lane) -> None:
    for path in lane.journal():
        path.write_bytes(path.read_bytes()[:-30])


def empty(lane: Lane) -> None:
    for path in lane.journal():
        path.write_bytes(b"")


def remove(lane: Lane) -> None:
    shutil.rmtree(lane.folder / "journal")


def replace_by_a_file(lane: Lane) -> None:
    remove(lane)
    (lane.folder / "journal").write_text("not a folder")


def claim_for_another(lane: Lane) -> None:
    """Change the name in what was signed."""
    for path in lane.journal():
        path.write_bytes(path.read_bytes().replace(*_payloads(path, "rita", "evil")))


def sign_by_another_key(lane: Lane) -> None:
    """QA's key is trusted, and not for promotions."""
    key = lane.root / "product" / "keys" / "qa.pem"
    signer = load_signer(f"file2:{key}", SecretStr(lane.environ[KEY_PASSPHRASE]))
    for path in lane.journal():
        changed = json.loads(_payload(path).replace(b"rita", b"evil"))
        path.write_bytes(sign_entry(JournalEntry.model_validate(changed), signer))


def fill_with_rubbish(lane: Lane) -> None:
    folder = lane.folder / "journal"
    for path in lane.journal():
        path.unlink()
    (folder / "0001-started.json").mkdir()
    (folder / "0002-pushing-rms.json").write_bytes(bytes(100_000))
    (folder / "0003-pushed-rms.json").symlink_to("/etc/hostname")
    (folder / "999999999-x.json").write_bytes(b"{}")
    (folder / "readme.txt").write_bytes(b"hello")
    (folder / ".0004-pushed.json.1234").write_bytes(b"{")


DAMAGE = [
    truncate,
    empty,
    remove,
    replace_by_a_file,
    claim_for_another,
    sign_by_another_key,
    fill_with_rubbish,
]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_journal_neither_stops_nor_falsifies_a_promotion(
    half: Lane, damage: Callable[[Lane], None]
):
    """The image that is there is not pushed again; who pushed it is unknown, never somebody else."""
    damage(half)
    assert half.run("candidate", "verify", half.ref).status in {0, 4}
    done = half.promote(by="sam")
    assert done.status == 0, done.text
    assert half.pushes() == ONCE
    assert half.tags() == half.released()
    claim = half.claim()
    rms, viewer = claim["images"]
    assert (rms["pushedOn"], rms["pushedByRun"]) == (None, None)
    assert viewer["pushedByRun"] is not None
    assert [run["by"] for run in claim["runs"]] == ["sam"]
    assert "evil" not in json.dumps(claim)


def test_the_journal_is_no_part_of_the_candidate(half: Lane):
    """Neither checksums nor verification nor listing nor fetch look at it."""
    half.settled(half.promote(by="sam"))
    assert "journal" not in (half.folder / "SHA256SUMS").read_text()
    for words in (["candidate", "verify", half.ref], ["candidate", "show", half.ref], ["candidate", "list"]):
        done = half.run(*words)
        assert done.status == 0, done.text
    target = half.root / "fetched"
    shutil.rmtree(target, ignore_errors=True)
    assert half.run("candidate", "fetch", half.ref, str(target)).status == 0
    assert not (target / "journal").exists()


def _payload(path: Path) -> bytes:
    return base64.b64decode(json.loads(path.read_bytes())["payload"])


def _payloads(path: Path, old: str, new: str) -> tuple[bytes, bytes]:
    was = _payload(path)
    return base64.b64encode(was), base64.b64encode(was.replace(old.encode(), new.encode()))
