"""A head outside the share: what was removed there shows, and what is not recorded does not count."""

from __future__ import annotations

import json
import shutil
import threading
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

import jenkins_release
from jenkins_release import SignOffRequest, load_configuration
from jenkins_release.ledger import MAX_LINE_BYTES, MAX_LINES
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.share.staging import Staging
from jenkins_release.steps.candidate import attest
from jenkins_release.steps.trust.document import _document
from tests.fixtures.command import Outcome, fails
from tests.fixtures.ledger import folder_ledger, with_ledger, without_ledger
from tests.fixtures.portal import Shop
from tests.fixtures.release import JUNIT, Product

REF = "8.1.0/42"
FAIL = "0003-qa.dsse.json"
LACKS = "the share lacks the attestation 0003 that the ledger"


def attestations(shop: Shop) -> Path:
    return shop.folder / "candidates" / "SkyDRM" / REF / "attestations"


def export(shop: Shop, build: str = "42") -> None:
    out = shop.folder / "out"
    out.mkdir(exist_ok=True)
    (out / "SkyDRM-8.1.0.msi").write_bytes(b"msi" * 10_000)
    shop.ok("candidate", "export", "--version", "8.1.0", "--build", build, "--from", str(shop.folder))


def sign_off(shop: Shop, verdict: str = "pass", *more: str) -> Outcome:
    (shop.folder / "junit.xml").write_text(JUNIT)
    digest = sha256((attestations(shop).parent / "candidate.json").read_bytes()).hexdigest()
    words = ("--results", str(shop.folder / "junit.xml"), "--digest", f"sha256:{digest}", *more)
    return shop.run("qa", "sign-off", REF, "--verdict", verdict, "--tester", "Quinn", *words)


@pytest.fixture
def failed(ledgered: Shop) -> Shop:
    """A candidate that QA passed and then failed."""
    export(ledgered)
    assert sign_off(ledgered).status == 0
    assert sign_off(ledgered, "fail").status == 0
    assert ledgered.run("release", "publish", REF).status == 3
    return ledgered


class TestRemoved:
    def test_the_newest_attestation_is_missed_when_it_was_removed(self, failed: Shop) -> None:
        """A share writer deletes the fail: what is left is a whole chain, and not the ledger's."""
        (attestations(failed) / FAIL).unlink()
        commands = [
            ("release", "publish", REF),
            ("candidate", "verify", REF),
            ("release", "history", "8.1.0"),
            ("qa", "revoke", REF, "--tester", "Quinn", "--reason", "x"),
            ("ledger", "show", REF),
            ("ledger", "verify"),
            ("ledger", "adopt", REF),
        ]
        done = {words: failed.run(*words) for words in commands}
        assert {words: each.text for words, each in done.items() if LACKS not in each.text} == {}
        for each in done.values():
            fails(each, 4)
        assert sorted(path.name for path in attestations(failed).iterdir()) == [
            "0001-build.dsse.json",
            "0002-qa.dsse.json",
        ]

    def test_lists_show_it_as_altered(self, failed: Shop) -> None:
        """`candidate list` and `candidate show` end well, and say so."""
        (attestations(failed) / FAIL).unlink()
        assert "altered" in failed.run("candidate", "list").out
        shown = failed.ok("candidate", "show", REF)
        assert any(LACKS in line for line in shown["gate"]["altered"])

    def test_a_replaced_attestation_names_both_digests(self, failed: Shop) -> None:
        """The fail is replaced by a genuine pass for the same place in the chain."""
        saved = (attestations(failed) / FAIL).read_bytes()
        (attestations(failed) / FAIL).unlink()
        config = failed.config.read_text()
        without_ledger(failed)
        assert sign_off(failed, "pass", "--note", "another statement").status == 0
        failed.config.write_text(config)
        assert (attestations(failed) / FAIL).read_bytes() != saved
        done = failed.run("release", "publish", REF)
        fails(done, 4, f"{FAIL} is not the attestation that the ledger", "under the number 3: expected qa")

    def test_a_candidate_put_in_the_place_of_another_is_unknown(self, failed: Shop) -> None:
        """The whole folder is replaced, with attestations that fit: the ledger knows the other one."""
        config = failed.config.read_text()
        shutil.rmtree(attestations(failed).parent)
        without_ledger(failed)
        export(failed)
        assert sign_off(failed).status == 0
        failed.config.write_text(config)
        fails(failed.run("release", "publish", REF), 4, "it has one of another candidate.json: sha256:")
        fails(failed.run("ledger", "adopt", REF), 4, "cannot be entered in the ledger")

    def test_a_withdrawal_that_is_removed_is_missed(self, ledgered: Shop) -> None:
        """What is withdrawn stays withdrawn: the portal and the release list do not show it again."""
        ledgered.publish()
        ledgered.withdraw("8.1.0")
        newest = max(attestations(ledgered).iterdir())
        assert newest.name.endswith("withdrawal.dsse.json")
        newest.unlink()
        fails(ledgered.run("release", "portal", "8.1.0"), 4, "that the ledger")


class TestBehind:
    def cut_off(self, shop: Shop, monkeypatch: pytest.MonkeyPatch, verdict: str) -> None:
        """Sign a verdict and die between the share and the ledger."""

        class Died(Exception):
            pass

        def die(*_: object, **__: object) -> None:
            raise Died

        with monkeypatch.context() as patch:
            patch.setattr(attest, "record_chain", die)
            assert sign_off(shop, verdict).status == 70

    def test_a_pass_counts_once_it_is_in_the_ledger(
        self, ledgered: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A crash between the two: nothing is lost, and the next command enters it."""
        export(ledgered)
        self.cut_off(ledgered, monkeypatch, "pass")
        done = ledgered.run("release", "publish", REF)
        fails(done, 3, "found 0", "0002-qa.dsse.json (qa) is not in the ledger: it counts once it is there")
        shown = ledgered.ok("ledger", "show", REF)
        assert shown["behind"] == ["0002-qa.dsse.json"]
        assert sign_off(ledgered).status == 0
        assert ledgered.ok("ledger", "show", REF)["behind"] == []
        assert ledgered.run("release", "publish", REF).status == 0

    def test_adopt_enters_what_a_crash_left_out(
        self, ledgered: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without signing anything; a dry run only lists it."""
        export(ledgered)
        self.cut_off(ledgered, monkeypatch, "pass")
        for more in (["--dry-run"], []):
            told = ledgered.ok("ledger", "adopt", REF, *more)
            assert [each["file"] for each in told["entries"]] == ["0002-qa.dsse.json"]
            assert told["adopted"] is False
        assert ledgered.ok("ledger", "adopt", REF)["entries"] == []
        assert ledgered.run("release", "publish", REF).status == 0

    def test_a_fail_counts_at_once(self, ledgered: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        """What speaks against a release does not wait for the ledger."""
        export(ledgered)
        assert sign_off(ledgered).status == 0
        self.cut_off(ledgered, monkeypatch, "fail")
        fails(ledgered.run("release", "publish", REF), 3, "verdict of", "is fail")

    def test_an_export_that_dies_before_the_candidate_is_visible_is_in_nobodys_way(
        self, ledgered: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its entries are of a candidate that never was; the next export has another digest."""

        def die(_: Staging) -> None:
            raise RuntimeError

        with monkeypatch.context() as patch:
            patch.setattr(Staging, "commit", die)
            with pytest.raises(AssertionError):
                export(ledgered)
        export(ledgered)
        assert sign_off(ledgered).status == 0
        assert ledgered.run("release", "publish", REF).status == 0


class TestAdopted:
    def test_a_candidate_from_before_the_ledger_is_entered_deliberately(
        self, shop: Shop, tmp_path: Path
    ) -> None:
        """No command enters it by itself; `ledger adopt` lists what it enters."""
        export(shop)
        assert sign_off(shop).status == 0
        with_ledger(shop, folder_ledger(tmp_path / "ledger"))
        for done in (shop.run("release", "publish", REF), sign_off(shop)):
            fails(done, 4, "has no entry of this candidate", "'jenkins-release ledger adopt' enters")
        assert shop.run("ledger", "verify").status == 4
        listed = shop.run("ledger", "adopt", REF, "--dry-run")
        assert "would enter 3 lines about 8.1.0/42" in listed.out
        assert [*(tmp_path / "ledger").iterdir()] == []
        told = shop.ok("ledger", "adopt", REF)
        assert [(each["number"], each["kind"]) for each in told["entries"]] == [
            (0, "candidate"),
            (1, "build"),
            (2, "qa"),
        ]
        assert all(each["adopted"] for each in shop.ok("ledger", "show", REF)["entries"])
        assert shop.run("ledger", "verify").status == 0
        assert shop.run("release", "publish", REF).status == 0

    def test_an_altered_chain_is_not_adopted(self, shop: Shop, tmp_path: Path) -> None:
        """The ledger starts with what is whole."""
        export(shop)
        assert sign_off(shop).status == 0
        (attestations(shop) / "0001-build.dsse.json").unlink()
        with_ledger(shop, folder_ledger(tmp_path / "ledger"))
        fails(shop.run("ledger", "adopt", REF), 4, "was removed")
        assert [*(tmp_path / "ledger").iterdir()] == []

    def test_without_a_ledger_its_commands_say_so(self, shop: Shop) -> None:
        """With the key to set."""
        for words in (("show", REF), ("verify",), ("adopt", REF)):
            fails(shop.run("ledger", *words), 2, "there is no ledger", "ledger.kind")


class TestUnreachable:
    def test_nothing_is_believed_without_the_ledger(self, shop: Shop, tmp_path: Path) -> None:
        """Fail closed, with the ledger's name; nothing was added on the share."""
        folder = tmp_path / "ledger"
        with_ledger(shop, folder_ledger(folder))
        export(shop)
        folder.rename(tmp_path / "elsewhere")
        for done in (
            sign_off(shop),
            shop.run("release", "publish", REF),
            shop.run("candidate", "list"),
            shop.run("candidate", "verify", REF),
        ):
            fails(done, 5, f"the ledger {folder} cannot be used: ", "nothing is decided without the ledger")
        assert len([*attestations(shop).iterdir()]) == 1

    def test_a_ledger_that_fails_after_the_share_took_it_is_told(
        self, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The attestation is there, does not count yet, and the hint says how it is entered."""
        folder = tmp_path / "ledger"
        with_ledger(shop, folder_ledger(folder))
        export(shop)
        before = attest.record_chain

        def lose(*arguments: object) -> object:
            folder.rename(tmp_path / "elsewhere")
            return before(*arguments)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(attest, "record_chain", lose)
            done = sign_off(shop)
        fails(done, 5, "0002-qa.dsse.json of 8.1.0/42 is on the share and counts once it is in the ledger")
        assert "'jenkins-release ledger adopt 8.1.0/42' enters it" in done.err
        (tmp_path / "elsewhere").rename(folder)
        shop.ok("ledger", "adopt", REF)
        assert shop.run("release", "publish", REF).status == 0

    def test_no_job_points_a_command_at_another_ledger(self, shop: Shop, tmp_path: Path) -> None:
        """The environment overrides no key of `[ledger]`."""
        with_ledger(shop, folder_ledger(tmp_path / "ledger"))
        shop.environ |= {"JENKINS_RELEASE_LEDGER_KIND": "none"}
        export(shop)
        assert shop.ok("ledger", "show", REF)["ledger"] == str(tmp_path / "ledger")


class TestWriters:
    def test_two_writers_at_once_make_one_chain(self, ledgered: Shop) -> None:
        """The lease orders them; each entry is there once, and the chain agrees with the ledger."""
        export(ledgered)
        # On a slow machine one of them may wait for two others.
        ledgered.edit("attempts = 3", "attempts = 20")
        ledgered.edit("max_wait_s = 0.05", "max_wait_s = 1.0")
        (ledgered.folder / "junit.xml").write_text(JUNIT)
        services = [ledgered.services() for _ in range(3)]

        def write(number: int) -> None:
            request = SignOffRequest(CandidateRef("8.1.0", "42"), "fail", f"Tester {number}")
            jenkins_release.sign_off(request, services[number])

        threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        shown = ledgered.ok("ledger", "show", REF)
        assert [each["number"] for each in shown["entries"]] == [0, 1, 2, 3, 4]
        assert shown["behind"] == []

    def test_a_line_that_another_writer_made_up_is_a_refusal_that_names_both(
        self, shop: Shop, tmp_path: Path
    ) -> None:
        """Who may write to the ledger can stop a candidate, and not change what is recorded of it."""
        folder = tmp_path / "ledger"
        with_ledger(shop, folder_ledger(folder))
        export(shop)
        (line,) = folder.glob("SkyDRM/8.1.0/42/*/0001.json")
        forged = json.loads(line.read_bytes()) | {"number": 2, "sha256": "f" * 64}
        line.with_name("0002.json").write_bytes(
            json.dumps(forged, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        )
        fails(sign_off(shop), 4, "the share lacks the attestation 0002", "f" * 64)
        assert len([*attestations(shop).iterdir()]) == 1


def test_the_promotion_misses_a_fail_that_was_removed(product: Product, tmp_path: Path) -> None:
    """F10: nothing is pushed, and `candidate verify` is not clean."""
    with_ledger(product, folder_ledger(tmp_path / "ledger"))
    product.export()
    product.sign_off()
    product.sign_off(verdict="fail")
    (product.candidate() / "attestations" / FAIL).unlink()
    fails(product.run("promote", "run", REF), 4, LACKS)
    fails(product.run("candidate", "verify", REF), 4, LACKS)
    assert not any(product.tags().values())


def test_a_promotion_with_a_ledger(product: Product, tmp_path: Path) -> None:
    """Its attestation is recorded, and a second run finds everything done."""
    with_ledger(product, folder_ledger(tmp_path / "ledger"))
    product.export()
    product.sign_off()
    first = product.ok("promote", "run", REF)
    assert first["changed"]
    again = product.ok("promote", "run", REF)
    assert not again["changed"]
    last = product.ok("ledger", "show", REF)["entries"][-1]["sha256"]
    assert first["head"] == again["head"] == last
    kinds = [each["kind"] for each in product.ok("ledger", "show", REF)["entries"]]
    assert kinds == ["candidate", "build", "qa", "promotion"]


class TestHead:
    def test_a_head_that_was_kept_elsewhere_is_missed(self, shop: Shop) -> None:
        """F10 for those without a ledger: the end of the chain, as the sign-off told it."""
        export(shop)
        assert sign_off(shop).status == 0
        head = shop.ok("qa", "sign-off", REF, "--verdict", "fail", "--tester", "Quinn")["head"]
        assert shop.ok("candidate", "verify", REF, "--head", head)["head"] == head
        (attestations(shop) / FAIL).unlink()
        assert shop.run("candidate", "verify", REF).status == 0  # what is left is a whole chain
        done = shop.run("candidate", "verify", REF, "--head", head)
        fails(done, 4, f"the chain lacks the attestation with SHA-256 {head}", "there are 2 attestations")

    def test_a_chain_that_grew_still_contains_it(self, shop: Shop) -> None:
        """The head of yesterday, in capitals too."""
        export(shop)
        head = shop.ok("candidate", "verify", REF)["head"]
        assert sign_off(shop).status == 0
        assert shop.run("candidate", "verify", REF, "--head", head.upper()).status == 0

    @pytest.mark.parametrize("head", ["abc", "sha256:" + 64 * "a", 63 * "a" + "g"])
    def test_what_is_no_digest_is_refused(self, shop: Shop, head: str) -> None:
        """A mistake is not a finding."""
        export(shop)
        fails(shop.run("candidate", "verify", REF, "--head", head), 2, "is not a SHA-256 in hex")


def test_a_trust_document_fixes_where_the_ledger_is(shop: Shop, tmp_path: Path) -> None:
    """A workspace cannot go on without the ledger, or with one of its own."""
    with_ledger(shop, folder_ledger(tmp_path / "ledger"))
    document = _document(load_configuration(environ=shop.environ), (), datetime.now(UTC))
    assert document.fixed["ledger.kind"] == "folder"
    assert document.fixed["ledger.location"] == str(tmp_path / "ledger")
    without_ledger(shop)
    assert not {
        key
        for key in _document(load_configuration(environ=shop.environ), (), datetime.now(UTC)).fixed
        if key.startswith("ledger.")
    }


class TestGone:
    def test_a_candidate_whose_folder_was_removed_is_reported(self, ledgered: Shop) -> None:
        """Only the ledger knows it: of either kind of ledger."""
        export(ledgered)
        assert sign_off(ledgered, "fail").status == 0
        assert ledgered.ok("ledger", "verify")["candidates"][0]["gone"] is False
        shutil.rmtree(ledgered.candidates / "SkyDRM" / "8.1.0")
        told = "8.1.0/42: the share lacks the candidate, and the ledger"
        done = ledgered.run("ledger", "verify")
        fails(done, 4, told, "the last entry is 0002, qa, SHA-256")
        assert done.out.splitlines()[1].endswith("GONE")
        (found,) = ledgered.run("ledger", "verify", "--json").json["candidates"]
        assert (found["candidate"], found["gone"]) == (REF, True)
        assert [each["kind"] for each in found["entries"]] == ["candidate", "build", "qa"]
        for verb in ("show", "verify"):
            done = ledgered.run("ledger", verb, REF)
            fails(done, 4, told, "hint: find out who changed the share")
            assert "GONE" in done.out
        fails(ledgered.run("ledger", "show", "8.1.0/43"), 2, "there is no candidate 8.1.0/43")

    def test_an_export_that_died_is_no_alteration(self, shop: Shop, tmp_path: Path) -> None:
        """It was never visible: nothing later is recorded of it."""
        with_ledger(shop, folder_ledger(tmp_path / "ledger"))
        export(shop)
        shutil.rmtree(shop.candidates / "SkyDRM" / "8.1.0")
        done = shop.run("ledger", "verify")
        assert done.status == 0, done.text
        assert "missing, its export may have died" in done.out
        shutil.rmtree(tmp_path / "ledger" / "SkyDRM")
        assert shop.run("ledger", "verify").out == "no candidates\n"


class TestOverfull:
    @pytest.fixture
    def two(self, shop: Shop, tmp_path: Path, request: pytest.FixtureRequest) -> Shop:
        """Two candidates; a line of the first one's ledger is far too large, or there are too many."""
        with_ledger(shop, folder_ledger(tmp_path / "ledger"))
        export(shop)
        export(shop, "43")
        lines = tmp_path / "ledger" / "SkyDRM" / REF / "spam"
        lines.mkdir()
        if request.param == "large":
            (lines / "0001.json").write_bytes(bytes(MAX_LINE_BYTES + 1))
        else:
            for number in range(MAX_LINES + 1):
                (lines / f"{number}.json").touch()
        return shop

    @pytest.mark.parametrize(
        ("two", "told"), [("large", "has 16385 bytes"), ("many", "more than 5000 lines")], indirect=["two"]
    )
    def test_it_marks_its_candidate_and_no_other(self, two: Shop, told: str) -> None:
        """In lists; a command about the other one works, one about it is refused."""
        done = two.run("candidate", "list")
        assert done.status == 0, done.text
        rows = {line.split()[0]: line for line in done.out.splitlines() if line}
        assert told in rows[REF]
        assert "unusable" not in rows["8.1.0/43"]
        assert "altered" not in rows["8.1.0/43"]
        fails(two.run("ledger", "verify"), 4, told)
        fails(two.run("release", "history", "8.1.0"), 4, told)
        fails(two.run("candidate", "verify", REF), 4, told)
        assert two.run("candidate", "verify", "8.1.0/43").status == 0
