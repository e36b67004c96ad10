"""With a ledger no command believes a chain whose newest attestation was deleted, and lists say so."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.fixtures.command import fails
from tests.fixtures.configuration import trusted_key
from tests.fixtures.ledger import folder_ledger, with_ledger
from tests.fixtures.portal import Shop
from tests.fixtures.saas import SaasStack
from tests.ledger.test_chains import REF, export, sign_off

LACKS = "the share lacks the attestation"


def newest(chain: Path) -> Path:
    return max(chain.iterdir())


def adopt(stack: SaasStack, *releases: str) -> None:
    for release in releases:
        stack.ok("ledger", "adopt", release)


@pytest.fixture
def cut(stack: SaasStack) -> SaasStack:
    """8.1.0/42 and 8.1.1/50 ran one after the other; then 8.1.0 was withdrawn, and the withdrawal deleted."""
    return stack.begin("cut", _cut)


def _cut(stack: SaasStack) -> None:
    with_ledger(stack, folder_ledger(stack.folder / "ledger"))
    (stack.folder / "releases").mkdir()
    shutil.copytree(ROOT / "examples" / "skydrm" / "bundle", stack.folder / "bundle")
    adopt(stack, "8.1.0/42", "8.1.1/50")
    stack.refresh("8.1.0")
    stack.refresh("8.1.1")
    stack.withdraw("8.1.0/42")
    adopt(stack, "8.1.0/42")
    fails(stack.run("saas", "refresh", "8.1.0"), 3, "was withdrawn")
    gone = newest(stack.chain("8.1.0/42"))
    assert "withdrawal" in gone.name
    gone.unlink()


@pytest.mark.parametrize(
    "words",
    [
        ("saas", "refresh", "8.1.0"),
        ("saas", "rollback"),
        ("bundle", "build", "8.1.0"),
        ("release", "attestations", "8.1.0"),
        ("release", "list"),
        ("release", "history", "8.1.0"),
    ],
    ids=" ".join,
)
def test_a_release_whose_withdrawal_was_deleted_is_refused(cut: SaasStack, words: tuple[str, ...]) -> None:
    """With the number and the kind of what is missing; nothing is signed, deployed or written."""
    before = sorted(cut.share.rglob("*.json")), cut.running()
    out = cut.folder / "out.file"
    more = ("--out", str(out)) if words[1] in {"build", "attestations"} else ()
    fails(cut.run(*words, *more), 4, LACKS, "withdrawal, SHA-256")
    assert (sorted(cut.share.rglob("*.json")), cut.running()) == before
    assert not out.exists()


def test_it_opens_no_line_of_the_support_window(cut: SaasStack) -> None:
    """`release retire` passes it over, says so, and removes no tag of it."""
    done = cut.run("release", "retire", "--json")
    assert done.status == 0, done.text
    assert "8.1.0/42 is ignored: the share lacks the attestation" in done.err
    assert done.json["removed"] == []
    assert "8.1.0/42" not in done.json["attestations"]
    only = cut.chain("8.1.1/50").parent
    shutil.rmtree(only)
    assert cut.ok("release", "retire")["supported"] == []


def test_candidate_list_shows_it_as_altered(cut: SaasStack) -> None:
    """And the sound one beside it as what it is."""
    rows = {line.split()[0]: line for line in cut.run("candidate", "list").out.splitlines() if line}
    assert "altered" in rows["8.1.0/42"]
    assert "altered" not in rows["8.1.1/50"]


def refreshed(stack: SaasStack, ledger: Path, *versions: str) -> None:
    """Refresh a stack with a ledger to some versions, and then to 8.1.2."""
    with_ledger(stack, folder_ledger(ledger))
    adopt(stack, "8.1.0/42", "8.1.1/50")
    for version in versions:
        stack.refresh(version)
    stack.release("8.1.2/60")
    adopt(stack, "8.1.2/60")
    stack.refresh("8.1.2")


def test_a_rollback_misses_what_the_stack_ran_last(stack: SaasStack, tmp_path: Path) -> None:
    """The newest records of the stack are deleted: it would return to the state before the wrong one."""
    refreshed(stack, tmp_path / "ledger", "8.1.1", "8.1.0", "8.1.1")
    before = stack.running()
    for _ in range(2):
        newest(stack.chain("8.1.2/60")).unlink()
    fails(stack.run("saas", "rollback"), 4, "8.1.2/60", LACKS, "refresh, SHA-256")
    assert stack.running() == before


def test_publish_misses_a_deleted_fail(shop: Shop, tmp_path: Path) -> None:
    """Nothing comes into the release area."""
    with_ledger(shop, folder_ledger(tmp_path / "ledger"))
    export(shop)
    assert sign_off(shop).status == 0
    assert sign_off(shop, "fail").status == 0
    newest(shop.candidates / "SkyDRM" / REF / "attestations").unlink()
    fails(shop.run("release", "publish", REF), 4, LACKS, "qa, SHA-256")
    assert [path for path in shop.releases.rglob("*") if path.is_file()] == []


def end_of(chain: Path) -> str:
    return sha256(newest(chain).read_bytes()).hexdigest()


def test_commands_of_the_way_of_installers_tell_the_chains_end(shop: Shop) -> None:
    """From the export to the withdrawal; a second run, which adds nothing, tells it too."""
    chain = shop.candidates / "SkyDRM" / REF / "attestations"
    out = shop.folder / "out"
    out.mkdir()
    (out / "SkyDRM-8.1.0.msi").write_bytes(b"msi" * 10_000)
    words = ("candidate", "export", "--version", "8.1.0", "--build", "42", "--from", str(shop.folder))
    assert shop.ok(*words)["head"] == end_of(chain)
    shop.edit("approvals = 0", "approvals = 1")
    plan = str(shop.folder / "plan.json")
    assert "head" not in shop.ok("promote", "plan", REF)
    assert sign_off(shop).status == 0
    for words in (
        ("promote", "override", plan, "--condition", "soak", "--by", "Olga", "--reason", "x"),
        ("promote", "approve", plan, "--approver", "Ann", "--reason", "x"),
    ):
        shop.ok("promote", "plan", REF, "--out", plan)
        assert shop.ok(*words)["head"] == end_of(chain)
        before = end_of(chain)
        assert shop.ok(*words, "--dry-run")["head"] == before == end_of(chain)
    for words in (
        ("release", "publish", REF),
        ("release", "publish", REF),
        ("release", "attestations", "8.1.0", "--out", str(shop.folder / "a.jsonl")),
        ("release", "portal", "8.1.0"),
        ("release", "portal", "8.1.0"),
        ("release", "withdraw", "8.1.0", "--reason", "bad"),
        ("release", "withdraw", "8.1.0", "--reason", "bad"),
        ("release", "portal", "8.1.0", "--remove"),
    ):
        assert shop.ok(*words)["head"] == end_of(chain), words
    kinds = [path.name.split("-")[1].split(".")[0] for path in sorted(chain.iterdir())]
    expected = "build qa override approval publication summary portal withdrawal portal"
    assert kinds == expected.split()


def test_a_signed_request_for_a_plan_tells_the_chains_end(shop: Shop) -> None:
    """Also if the same person asked for it before."""
    export(shop)
    chain = shop.candidates / "SkyDRM" / REF / "attestations"
    key = shop.folder / "sam.pem"
    shop.ok("keys", "generate", str(key))
    shop.append(trusted_key("sam", f"{key}.pub", "request"))
    words = ("promote", "plan", REF, "--out", str(shop.folder / "plan.json"), "--key", f"file2:{key}")
    for _ in range(2):
        assert shop.ok(*words)["head"] == end_of(chain)
    assert "request" in newest(chain).name


def test_commands_of_a_stack_tell_the_chains_end(stack: SaasStack) -> None:
    """A refresh that changes nothing adds nothing, and tells none."""
    chain = stack.chain("8.1.0/42")
    stack.refresh("8.1.1")
    assert stack.refresh("8.1.0").head == end_of(chain)
    assert stack.refresh("8.1.0").head == ""
    assert stack.rollback().head == end_of(chain)


@pytest.mark.parametrize("removed", ["folder", "manifest"])
def test_a_rollback_misses_a_candidate_that_is_gone(stack: SaasStack, tmp_path: Path, removed: str) -> None:
    """With its folder, or its ``candidate.json``, all records of the stack in its chain are gone."""
    refreshed(stack, tmp_path / "ledger", "8.1.0", "8.1.1")
    before = stack.running()
    folder = stack.chain("8.1.2/60").parent
    shutil.rmtree(folder) if removed == "folder" else (folder / "candidate.json").unlink()
    told = "nobody can tell what rehearsal ran before: 8.1.2/60: the share lacks the candidate"
    fails(stack.run("saas", "rollback"), 4, told)
    assert stack.running() == before
