"""A trust root outside the workspace: who writes release.toml decides nothing any more (attack F7)."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from jenkins_release import PromoteRequest, promote
from jenkins_release.aws import exchange
from jenkins_release.base.errors import GateRefused
from jenkins_release.base.progress import SilentProgress
from jenkins_release.keys import generate_key, load_public_key
from jenkins_release.records.attestation import PROMOTION, read_envelope
from jenkins_release.records.trust import TrustVersion
from jenkins_release.sandbox.trust import begin_trust
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.context.trust_root import PIN_VARIABLE
from tests.fixtures.approval import REF, Release
from tests.fixtures.command import Outcome, fails, run
from tests.fixtures.configuration import trusted_key
from tests.fixtures.trust import Ceremony


@pytest.fixture
def ceremony(tested: Release, tmp_path: Path) -> Ceremony:
    """Version 1 of the trust document asks for one approval; its root is pinned."""
    made = Ceremony(tested.product, tmp_path / "root")
    made.begin()
    return made


def test_a_workspace_that_asks_for_no_approval_is_refused(tested: Release, ceremony: Ceremony):
    """The first half of F7: the policy of release.toml is not used, and the decision says so."""
    tested.policy("approvals = 0")
    reasons = tested.refused("approvals")
    assert any("1 approval of this plan required, found 0" in line for line in reasons)
    gate = tested.ok("promote", "plan", REF)["gate"]
    assert "trust document version 1, sha256:" in gate["trust"]
    assert "release.toml's policy is not used: version 1 is in force" in gate["trust"]


def test_a_workspace_that_trusts_other_keys_is_refused(tested: Release, ceremony: Ceremony):
    """The second way: a key of the attacker's own, trusted for every role in that release.toml."""
    product = tested.product
    path = product.folder / "keys" / "evil.pem"
    generate_key(path, "ed25519", SecretStr(ceremony.passphrase))
    text = product.config.read_text()
    head, _, rest = text.partition("[[trusted_keys]]")
    rest = rest[rest.index("[policy]") :]
    entry = trusted_key("evil", "keys/evil.pem.pub", "build", "qa", "approval", "promotion")
    product.config.write_text(f"{head}{entry}\n{rest}")
    tested.policy("approvals = 0")
    fails(tested.promote("--key", f"file2:{path}"), 2, "is not trusted for the role 'promotion'")
    fails(tested.promote(), 3, "1 approval of this plan required, found 0")


def test_without_policy_and_keys_in_release_toml_it_works_the_same(tested: Release, ceremony: Ceremony):
    """They may be absent: the trust document has them, and the note does not complain."""
    product = tested.product
    text = product.config.read_text()
    head, _, rest = text.partition("[[trusted_keys]]")
    product.config.write_text(head + rest[rest.index("[retry]") :])
    tested.approved()
    done = tested.promote()
    assert done.status == 0, done.text
    assert done.json["gate"]["trust"].endswith(
        TrustVersion.read((ceremony.place / "1.root.json").read_bytes(), "x").digest
    )


def test_without_a_pinned_root_every_decision_says_where_its_policy_comes_from(tested: Release):
    """Plan, approve, run, status, and sign-off, as text and as JSON."""
    line = "release.toml of the workspace"
    plan = tested.run("promote", "plan", REF, "--out", str(tested.plan))
    assert f"\ntrust: {line}\n" in plan.out + "\n"
    assert tested.approve().json["gate"]["trust"] == line
    done = tested.promote()
    assert done.json["gate"]["trust"] == line
    assert f"trust: {line}" in tested.run("promote", "status", REF).out
    assert f"trust: {line}" in tested.run("promote", "run", REF).out
    assert tested.product.sign_off(verdict="pass")["gate"]["trust"] == line


def test_a_promotion_records_the_version_that_was_in_force(tested: Release, ceremony: Ceremony):
    """Number and digest, beside the policy's digest, in what the promotion key signs."""
    ceremony.change("--expires-days", "9")
    assert "; it expires at 20" in tested.approved()["gate"]["trust"]
    assert tested.promote().status == 0
    newest = TrustVersion.read((ceremony.place / "2.root.json").read_bytes(), "x")
    said = tested.ok("candidate", "show", REF)
    assert said
    services = tested.services()
    attestations = services.candidates.attestations(CandidateRef.parse(REF))
    name = next(name for name in attestations if "promotion" in name)
    predicate = read_envelope(attestations[name], name)[1].predicate
    assert predicate["trust"] == {"version": 2, "digest": newest.digest}
    assert predicate["policy"].startswith("sha256:")


class Interrupting(SilentProgress):
    """Does something as soon as the first bytes are on their way."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action
        self.done = False

    @contextlib.contextmanager
    def task(self, name: str, total: int | None = None) -> Iterator[Any]:
        with super().task(name, total) as task:
            if not self.done:
                self.done = True
                self.action()
            yield task


@dataclass(frozen=True)
class Customer:
    """Somebody with a bundle, the vendor's pin, and nothing else."""

    bundle: Path
    archive: Path
    pin: str

    def verify(self, *words: str) -> Outcome:
        """Run ``verify`` with an empty environment."""
        command = ["verify", "--bundle", str(self.bundle), "--files", str(self.archive), *words]
        if "--trusted-keys" not in words:
            command += ["--trust-root", self.pin]
        return run(*command, environ={})


def customer_of(tested: Release, pin: str) -> Customer:
    """Hand over the bundle; the archive is one that QA validated."""
    product = tested.product
    bundle = product.folder / "release.jsonl"
    product.ok("release", "attestations", "8.1.0", "--out", str(bundle))
    return Customer(bundle, product.candidate() / "images" / "skydrm-8.1.0-42.tar", pin)


def test_a_customer_with_the_trust_root_checks_policy_and_approvals(tested: Release, ceremony: Ceremony):
    """The documents travel in the bundle, or are given; another root, or a later floor, is refused."""
    pin = tested.product.environ[PIN_VARIABLE]
    tested.approved()
    assert tested.promote().status == 0
    customer = customer_of(tested, pin)
    done = customer.verify()
    assert done.status == 0, done.text
    assert "approved by Alex Baker" in done.out
    assert "trust document version 1, sha256:" in done.out
    assert "its policy is met" in done.out
    assert customer.verify("--json").json["trust"]["version"] == 1
    assert customer.verify("--trust", str(ceremony.place)).status == 0
    assert customer.verify("--trust", str(ceremony.place / "1.root.json")).status == 0
    other = Customer(customer.bundle, customer.archive, f"sha256:{'0' * 64}:1")
    fails(other.verify(), 4, "is not the pinned one: expected sha256:0000")
    late = Customer(customer.bundle, customer.archive, f"sha256:{'0' * 64}:2")
    fails(late.verify(), 3, "the pin requires version 2 or a newer one: it was rolled back")


def test_a_promotion_under_a_workspace_policy_is_refused_by_the_official_root(
    tested: Release, ceremony: Ceremony
):
    """F7 whole: no pin where it ran, approvals = 0, and the genuine promotion key signed all the same."""
    pin = tested.product.environ.pop(PIN_VARIABLE)
    tested.policy("approvals = 0")
    done = tested.promote()
    assert done.status == 0, done.text
    customer = customer_of(tested, pin)
    done = customer.verify("--trust", str(ceremony.place))
    fails(done, 3, "FAILED", "names no trust document: its policy came from a workspace")
    assert "1 approval of this plan required, found 0" in done.err
    keys = tested.product.folder / "keys"
    told = customer.verify("--trusted-keys", str(keys))
    assert told.status == 0, told.text
    assert "not checked: 0004-promotion" not in told.out
    assert "the promotion rests on no approval" in told.out
    assert "not checked: how many approvals the policy asks for" in told.out


def test_a_forged_claim_of_the_trust_document_is_refused(tested: Release, ceremony: Ceremony):
    """The holder of the promotion key may sign that the document was in force; its policy is asked anyway."""
    pin = tested.product.environ[PIN_VARIABLE]
    newest = TrustVersion.read((ceremony.place / "1.root.json").read_bytes(), "x")
    tested.product.environ.pop(PIN_VARIABLE)
    tested.policy("approvals = 0")
    assert tested.promote().status == 0
    services = tested.services()
    attestations = services.candidates.attestations(CandidateRef.parse(REF))
    name = next(name for name in attestations if "promotion" in name)
    said = read_envelope(attestations[name], name)[1]
    forged = {
        **{key: value for key, value in said.predicate.items() if key != "jenkinsRelease"},
        "trust": {"version": 1, "digest": newest.digest},
    }
    subjects = {key: value for key, value in said.subjects.items() if key != "candidate.json"}
    tested.forge(PROMOTION, "promotion", forged, subjects=subjects, promotedBy="riley")
    customer = customer_of(tested, pin)
    done = customer.verify("--trust", str(ceremony.place))
    fails(done, 3, "was made under the policy sha256:", "1 approval of this plan required, found 0")


def test_missing_rolled_back_expired_and_unreachable_documents_stop_every_decision(
    tested: Release, ceremony: Ceremony
):
    """Each with its own message and status; nothing falls back to release.toml."""
    product = tested.product
    late = ceremony.change()
    first, second = (ceremony.place / f"{number}.root.json" for number in (1, 2))
    kept = second.read_bytes()
    ceremony.pin(late)
    second.unlink()
    fails(tested.promote(), 3, "the pin requires version 2 or a newer one: it was rolled back")
    first.rename(product.folder / "first")
    fails(tested.promote(), 3, "a trust root is pinned, but there is no trust document in")
    second.write_bytes(kept.replace(b"alice", b"alibi"))
    fails(tested.promote(), 4, "is not the pinned one")
    second.write_bytes(kept)
    tested.planned()
    product.append('\n[trust]\nlocation = "s3://bucket/x"\nregion = "eu-central-1"\n')
    away = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in away.items():
            patch.setenv(name, value)
        patch.setattr(exchange, "_UNREACHABLE_S", 0.01)
        fails(tested.promote(), 5, "the trust document in s3://bucket/x cannot be read")


def test_release_toml_cannot_leave_what_the_document_fixes(tested: Release, ceremony: Ceremony):
    """Account, tags and repositories: every decision is refused, with all reasons."""
    product = tested.product
    text = product.config.read_text()
    product.config.write_text(
        text.replace(f'"{product.prefix}/rms"', '"evil/rms"').replace(
            "create_repositories = true", 'create_repositories = true\ntags = ["{version}-x"]'
        )
    )
    done = tested.promote()
    fails(done, 3, "release.toml contradicts version 1 of the trust document")
    assert "ecr.tags is ['{version}-x'], but the trust document requires ['{version}']" in done.err
    assert "the repository evil/rms is not one of" in done.err


def test_the_ceremony_refuses_what_is_not_signed_as_it_has_to_be(tested: Release, tmp_path: Path):
    """Too few signatures, a stranger's key, a number that is taken, an edited draft, a dry run."""
    made = Ceremony(tested.product, tmp_path / "root")
    product = tested.product
    fails(product.run("trust", "show"), 2, "there is no trust document in", "'jenkins-release trust init'")
    draft = made.init()
    fails(made.try_publish(draft), 3, "0 of the 2 signatures by root keys of version 1 (alice, bob, carol")
    made.sign(draft, "alice")
    before = draft.read_bytes()
    again = product.run("trust", "sign", str(draft), "--key", f"file2:{made.folder}/alice.pem")
    assert "alice has signed it already, as root key of version 1: nothing was signed" in again.text
    assert "wrote nothing" in again.text
    assert draft.read_bytes() == before
    fails(made.try_publish(draft), 3, "1 of the 2 signatures by root keys of version 1 (bob")
    stranger = product.folder / "keys" / "qa.pem"
    fails(product.run("trust", "sign", str(draft), "--key", f"file2:{stranger}"), 2, "is no root key of")
    before = draft.read_bytes()
    product.ok("trust", "sign", str(draft), "--key", f"file2:{made.folder}/bob.pem", "--dry-run")
    assert draft.read_bytes() == before
    made.sign(draft, "bob")
    edited = draft.read_bytes()
    draft.write_bytes(edited.replace(b'approvals\\":1', b'approvals\\":0'))
    assert draft.read_bytes() != edited
    fails(made.try_publish(draft), 3, "0 of the 2 signatures")
    draft.write_bytes(edited)
    assert product.ok("trust", "publish", str(draft), "--dry-run")["changed"] is True
    assert not made.place.exists()
    assert made.try_publish(draft).json["changed"] is True
    assert made.try_publish(draft).json["changed"] is False
    fails(product.run("trust", "init", "--draft", "x", "--threshold", "1", *made.roots("bob")), 2, "already")
    two = made.update()
    kept = two.read_bytes()
    two.write_bytes(kept.replace(b'approvals\\":1', b'approvals\\":0'))
    fails(
        product.run("trust", "show", "--draft", str(two)), 4, "is not signed by its root keys: what the draft"
    )
    two.write_bytes(kept)
    other = made.update("--expires-days", "9")
    made.publish(two, "bob", "carol")
    made.sign(other, "bob", "carol")
    fails(made.try_publish(other), 4, "is another version 2: it was published before")
    shown = product.ok("trust", "show", "1")
    assert (shown["version"], shown["newest"], shown["pinned"]) == (1, 2, None)


def test_a_pin_that_is_set_and_empty_is_refused(tested: Release, ceremony: Ceremony):
    """As it is when the command failed that was to print the pin: the workspace does not decide then."""
    for empty in ("", "  "):
        done = tested.product.run("promote", "plan", REF, **{PIN_VARIABLE: empty})
        fails(done, 2, f"{PIN_VARIABLE} is set, but contains no pin")


def test_new_root_keys_need_a_threshold(tested: Release, ceremony: Ceremony):
    """The one before was about other keys; the message does not speak of a threshold of 0."""
    words = ("trust", "update", "--draft", str(ceremony.next_draft()), *ceremony.roots("bob", "carol"))
    done = tested.product.run(*words)
    fails(done, 2, "root keys are given, and no threshold", "--threshold")


def test_who_signs_is_shown_every_key_in_full(tested: Release, tmp_path: Path):
    """Whoever drafts a version may put another key under a name that is known: only the key id tells."""
    made = Ceremony(tested.product, tmp_path / "root")
    draft = made.init()
    done = tested.product.run("trust", "show", "--draft", str(draft))
    assert done.status == 0, done.text
    for name in made.names:
        assert f"- {name}: key id {load_public_key(made.public(name)).keyid}\n" in done.out
    qa = load_public_key(tested.product.folder / "keys" / "qa.pem.pub").keyid
    assert f"- qa: qa, key id {qa}\n" in done.out


def test_a_key_that_is_revoked_during_the_push_no_longer_counts(tested: Release, ceremony: Ceremony):
    """The gate before the release tags reads the trust document again."""
    tested.approved()
    product = tested.product
    tested.product.edit('name = "approval"', 'name = "approval"\nrevoked = true')
    draft = ceremony.update()
    ceremony.sign(draft, "alice", "bob")
    services = tested.services(progress=Interrupting(lambda: ceremony.try_publish(draft)))
    with services, pytest.raises(GateRefused) as caught:
        promote(PromoteRequest(CandidateRef.parse(REF)), services)
    assert any("signed by the key 'approval', which is revoked" in line for line in caught.value.reasons)
    assert tested.release_tags() == set()
    assert services.trust.version is not None
    assert services.trust.version.number == 2
    assert product.tags() != {}


def test_the_sandbox_makes_a_trust_root_to_rehearse_with(tested: Release):
    """The same pin each time; decisions rest on it."""
    product = tested.product
    passphrase = SecretStr(product.environ["JENKINS_RELEASE_KEY_PASSPHRASE"])
    pin = begin_trust(product.config, product.environ, passphrase)
    assert begin_trust(product.config, {**product.environ, PIN_VARIABLE: pin}, passphrase) == pin
    product.environ[PIN_VARIABLE] = pin
    assert "trust document version 1" in tested.planned()["gate"]["trust"]


def test_a_document_of_another_product_does_not_serve(tested: Release, ceremony: Ceremony):
    """A release.toml that names another product finds no document, or one that is not its own."""
    product = tested.product
    product.edit('name = "SkyDRM"', 'name = "Other"')
    fails(product.run("trust", "show"), 2, "there is no trust document in")
    shutil.copytree(ceremony.place, product.share / "Other" / ".trust")
    (product.share / "Other" / "8.1.0").mkdir()
    shutil.copytree(product.share / "SkyDRM" / "8.1.0" / "42", product.share / "Other" / "8.1.0" / "42")
    done = product.run("promote", "launch", REF)
    assert done.status != 0
    found = product.run("qa", "sign-off", REF, "--verdict", "fail", "--tester", "Q")
    fails(found, 3, "product.name is 'Other', the trust document is that of 'SkyDRM'")
