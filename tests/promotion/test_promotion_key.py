"""The holder of the promotion key alone releases nothing: readers ask for what the policy asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from jenkins_release.base.errors import GateRefused
from jenkins_release.keys import generate_key
from jenkins_release.records.attestation import PROMOTION, read_envelope
from jenkins_release.sandbox.saas import saas_toml
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.context.trust_root import PIN_VARIABLE
from tests.fixtures.approval import REF, Release
from tests.fixtures.command import fails
from tests.fixtures.configuration import trusted_key
from tests.fixtures.portal import Shop
from tests.fixtures.saas import EARLIER, SaasStack
from tests.fixtures.setup_zip import write_templates
from tests.fixtures.trust import Ceremony

UNTESTED = "1 passing QA sign-off by trusted keys required for this candidate, found 0"
UNAPPROVED = "1 approval of this plan required, found 0"
OTHER_IMAGES = "the promotion names other images than candidate.json"
NO_DOCUMENT = "the publication names no trust document: its policy came from a workspace"


@pytest.fixture
def ceremony(shop: Shop, tmp_path: Path) -> Ceremony:
    """A trust root for the shop, not begun yet."""
    return Ceremony(shop, tmp_path / "root")


def attack(shop: Shop, version: str, build: str) -> None:
    """Publish a build that QA never saw, as somebody can who holds the promotion key and no other.

    The attacker's own workspace trusts the attacker's own tester.
    """
    kept, environ = shop.config.read_text(), dict(shop.environ)
    evil = shop.folder / "evil.pem"
    if not evil.exists():
        generate_key(evil, "ed25519", SecretStr(shop.environ["JENKINS_RELEASE_KEY_PASSPHRASE"]))
    entry = trusted_key("evil", f"{evil}.pub", "qa")
    text = kept.replace("[policy]", f"{entry}\n[policy]")
    text = text.replace(str(shop.folder / "keys" / "qa.pem"), str(evil))
    shop.config.write_text(text)
    shop.environ.pop(PIN_VARIABLE, None)
    shop.publish(version, build=build)
    shop.ok("release", "portal", version)
    shop.config.write_text(kept)
    shop.environ.update(environ)


def listed(shop: Any) -> dict[str, Any]:
    """Version to its line of ``release list``."""
    return {each["version"]: each for each in shop.run("release", "list", "--json").json["releases"]}


class TestPortal:
    @pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "no root"])
    def test_what_only_the_promotion_key_released_is_nowhere_in_force(
        self, shop: Shop, ceremony: Ceremony, pinned: bool
    ) -> None:
        """Not on the page, not uploaded, no links, listed with the reason; and it opens no line."""
        if pinned:
            ceremony.begin()
        shop.publish("8.1.0", build="42")
        shop.ok("release", "portal", "8.1.0")
        attack(shop, "8.2.0", "50")
        done = shop.ok("release", "portal", "8.1.0")
        assert done["supported"] == ["8.1.0"]
        first = NO_DOCUMENT if pinned else UNTESTED
        assert first in done["unprovenThere"]["8.2.0"]
        assert "8.2.0" not in (shop.www / "SkyDRM" / "index.html").read_text()
        fails(shop.run("release", "portal", "8.2.0"), 3, UNTESTED)
        told = shop.run("release", "list")
        fails(told, 4, "not every release is provable: 8.2.0/50")
        assert sum("in force" in line for line in told.out.splitlines()) == 1
        lines = listed(shop)
        assert lines["8.1.0"]["problem"] == ""
        assert lines["8.2.0"]["problem"].startswith("not provable: ")
        assert first in lines["8.2.0"]["problem"]
        history = shop.run("release", "history", "8.2.0")
        fails(history, 4, "NOT PROVABLE", UNTESTED)
        (story,) = shop.run("release", "history", "8.2.0", "--json").json["candidates"]
        assert first in story["unproven"][0]
        assert UNTESTED in story["unproven"][-1]
        assert shop.run("release", "history", "8.1.0").status == 0
        assert shop.ok("release", "portal", "8.2.0", "--remove")["why"] == "not provable"

    def test_a_withdrawn_release_is_listed_as_withdrawn_whatever_it_rested_on(
        self, shop: Shop, ceremony: Ceremony
    ) -> None:
        """Nobody has to prove any more that it was allowed."""
        ceremony.begin()
        attack(shop, "8.2.0", "50")
        shop.withdraw("8.2.0", build="50")
        told = shop.run("release", "list")
        assert told.status == 0, told.text
        assert "withdrawn: bad" in told.out

    def test_an_older_version_of_the_trust_document_goes_on_to_count(
        self, shop: Shop, ceremony: Ceremony
    ) -> None:
        """What was released under version 1 is in force under version 2, until the pin says otherwise."""
        ceremony.begin()
        shop.publish("8.1.0", build="42")
        shop.ok("release", "portal", "8.1.0")
        shop.edit("[policy]\n", "[policy]\nsign_offs = 2\n")
        pin = ceremony.change()
        assert shop.ok("release", "portal", "8.1.0")["supported"] == ["8.1.0"]
        assert shop.run("release", "list").status == 0
        ceremony.pin(pin)
        fails(shop.run("release", "portal", "8.1.0"), 3, "names version 1 of a trust document that is none")
        assert listed(shop)["8.1.0"]["problem"].startswith("not provable: ")

    def test_a_release_from_before_the_trust_root_counts_under_its_very_policy(
        self, shop: Shop, ceremony: Ceremony
    ) -> None:
        """Whoever drafts version 1 from the release.toml in use loses nothing."""
        shop.publish("8.1.0", build="42")
        ceremony.begin()
        assert shop.ok("release", "portal", "8.1.0")["supported"] == ["8.1.0"]

    def test_a_release_from_before_under_another_policy_is_published_again(
        self, shop: Shop, ceremony: Ceremony
    ) -> None:
        """It is refused with the reason; the same command as then signs it under the document."""
        shop.publish("8.1.0", build="42")
        shop.edit("[policy]\n", "[policy]\nallow_downgrade = true\n")
        ceremony.begin()
        fails(shop.run("release", "portal", "8.1.0"), 3, NO_DOCUMENT, "'release publish' again")
        done = shop.ok("release", "publish", "8.1.0/42")
        assert done["changed"] is True
        assert shop.ok("release", "portal", "8.1.0")["supported"] == ["8.1.0"]
        assert shop.ok("release", "publish", "8.1.0/42")["changed"] is False


class TestPromotion:
    """A candidate that QA passed and nobody approved, promoted with the genuine key past the policy."""

    @pytest.fixture
    def promoted(self, tested: Release, tmp_path: Path) -> Release:
        """Promoted from a workspace that asks for no approval; then the root is pinned again."""
        product = tested.product
        write_templates(product.folder / "bundle")
        product.append(saas_toml(["rms"], lambda cluster, name: "http://127.0.0.1:9/", deadline_s=5))
        Ceremony(product, tmp_path / "root").begin()
        pin = product.environ.pop(PIN_VARIABLE)
        tested.policy("approvals = 0")
        done = tested.promote()
        assert done.status == 0, done.text
        product.environ[PIN_VARIABLE] = pin
        tested.policy("approvals = 1")
        return tested

    def test_no_reader_takes_it_for_a_release(self, promoted: Release, tmp_path: Path) -> None:
        """Refresh, bundle, list, history, status: each says what is missing."""
        product = promoted.product
        told = "the promotion names no trust document"
        fails(product.run("saas", "refresh", "8.1.0", "--dry-run"), 3, told, UNAPPROVED)
        out = tmp_path / "x.zip"
        fails(product.run("bundle", "build", "8.1.0", "--out", str(out)), 3, told, UNAPPROVED)
        assert not out.exists()
        fails(product.run("release", "list"), 4, "not provable", told)
        fails(product.run("release", "history", "8.1.0"), 4, "NOT PROVABLE", UNAPPROVED)
        shown = product.ok("promote", "status", REF)
        assert (shown["state"], shown["attestation"]) == ("released", "")
        zipped = self._bundle_of_the_attacker(promoted, out)
        fails(product.run("bundle", "verify", str(zipped)), 4, told, UNAPPROVED)
        pin = product.environ[PIN_VARIABLE]
        trust = ("--trust-root", pin, "--trust", str(product.share / "SkyDRM" / ".trust"))
        fails(product.run("bundle", "verify", str(zipped), *trust), 4, told, UNAPPROVED)
        assert product.run("bundle", "verify", str(zipped), *trust[:2]).status == 2
        keys = ("--trusted-keys", str(product.config))
        assert product.run("bundle", "verify", str(zipped), *keys).status == 0
        made = product.ok("release", "attestations", "8.1.0", "--out", str(tmp_path / "x.jsonl"))
        assert any(UNAPPROVED in line for line in made["problems"])

    def _bundle_of_the_attacker(self, promoted: Release, out: Path) -> Path:
        """Build the setup zip where no root is pinned and no approval is asked for."""
        product = promoted.product
        pin = product.environ.pop(PIN_VARIABLE)
        promoted.policy("approvals = 0")
        product.ok("bundle", "build", "8.1.0", "--out", str(out))
        product.environ[PIN_VARIABLE] = pin
        promoted.policy("approvals = 1")
        return out

    def test_it_is_promoted_again_with_an_approval(self, promoted: Release) -> None:
        """The way out: nothing is pushed and no tag moves, and a promotion under the document is signed."""
        fails(promoted.promote(), 3, UNAPPROVED)
        tags = promoted.product.tags()
        promoted.approved()
        done = promoted.promote()
        assert done.status == 0, done.text
        assert done.json["changed"] is True
        assert promoted.product.tags() == tags
        with promoted.services() as services:
            attestations = services.candidates.attestations(CandidateRef.parse(REF))
        last = [name for name in attestations if "promotion" in name][-1]
        assert read_envelope(attestations[last], last)[1].predicate["trust"]["version"] == 1
        assert promoted.product.run("release", "list").status == 0
        assert promoted.promote().json["changed"] is False
        out = promoted.product.folder / "x.zip"
        promoted.product.ok("bundle", "build", "8.1.0", "--out", str(out))
        assert promoted.product.run("bundle", "verify", str(out)).status == 0


class TestStack:
    """Without a pinned root, and a workspace whose policy is another one by now."""

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"signed_off": False}, UNTESTED),
            (
                {"images": {"rms": f"sha256:{'1' * 64}"}},
                "the promotion names other images than candidate.json",
            ),
        ],
        ids=["untested", "other images"],
    )
    def test_it_is_not_refreshed_to(self, stack: SaasStack, change: dict[str, Any], told: str) -> None:
        """The chain itself shows what it lacks; what runs is marked."""
        stack.release("8.1.2/60", **change)
        with pytest.raises(GateRefused, match=r"8\.1\.2/60") as caught:
            stack.refresh("8.1.2")
        assert any(told in line for line in caught.value.reasons)
        stack.refresh("8.1.1")

    def test_a_stack_that_runs_it_is_marked(self, stack: SaasStack) -> None:
        """And a rollback does not return to it."""
        stack.refresh("8.1.0")
        stack.refresh("8.1.1")
        for file in stack.chain("8.1.0/42").iterdir():
            file.unlink()
        stack.attest("8.1.0/42", PROMOTION, _promotion(stack, "8.1.0/42"), promotedBy="mallory")
        fails(stack.run("saas", "rollback"), 4, "8.1.0/42")


def _promotion(stack: SaasStack, release: str) -> dict[str, Any]:
    images = [
        {
            "name": name,
            "repository": f"skydrm/{name}",
            "configDigest": stack.digest(name, release),
            "digest": stack.digest(name, release),
            "tags": ["8.1.0"],
        }
        for name in ("rms", "viewer")
    ]
    return {"registry": stack.front.host, "policy": EARLIER, "images": images}


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("promote", "run", "8.1.0/42"), 2),  # that it holds no images is looked at later
        (("release", "publish", "8.1.0/42"), 0),
        (("release", "portal", "8.1.0"), 0),
        (("release", "portal", "8.1.0", "--remove", "--force", "a test"), 0),
        (("release", "withdraw", "8.1.0", "--reason", "a test"), 0),
        (("release", "retire"), 0),
    ],
)
def test_a_dry_run_needs_no_promotion_key(shop: Shop, words: tuple[str, ...], status: int):
    """It signs nothing: who only looks does not have to hold the key. One that is given is looked at."""
    shop.publish("8.1.0")
    shop.ok("release", "portal", "8.1.0")
    told = "no promotion key to sign with"
    shop.environ["JENKINS_RELEASE_SIGNING_PROMOTION_KEY"] = ""
    done = shop.run(*words, "--dry-run")
    assert told not in done.text
    assert done.status == status, done.text
    fails(shop.run(*words), 2, told)
    fails(shop.run(*words, "--dry-run", "--key", "file2:/nowhere.pem"), 2, "/nowhere.pem")
