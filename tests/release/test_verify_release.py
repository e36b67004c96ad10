"""Offline verification: a real release, its bundle, and everything that can be held against it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

import jenkins_release
from jenkins_release import (
    AttestationsRequest,
    Services,
    VerifyReleaseRequest,
    load_configuration,
    verify_release,
    write_attestations,
)
from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.images import DockerEngine
from jenkins_release.registry import RegistryLogin
from jenkins_release.sandbox.process import free_port
from jenkins_release.sandbox.stack import Sandbox
from tests.fixtures.command import Outcome, run
from tests.fixtures.configuration import trusted_key
from tests.fixtures.docker import Registry
from tests.fixtures.release import Product, make_images, make_product

PACKAGE = Path(jenkins_release.__file__).parent.parent
REFERENCE = "skydrm/rms:8.1.0-42"
_CHILD = """
import json, sys
sys.path.insert(0, sys.argv[1])
allowed = json.loads(sys.argv[2])
WATCHED = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"}

def watch(event, arguments):
    if event in WATCHED:
        place = arguments[0] if event.startswith("socket.get") else arguments[1]
        port = arguments[1] if event == "socket.getaddrinfo" else place[1]
        host = place if isinstance(place, str) else place[0]
        if [host, port] not in allowed:
            print("CONNECTS TO", event, host, port)
            raise RuntimeError("no network here")

sys.addaudithook(watch)
from jenkins_release.cli.entry import main
sys.exit(main(sys.argv[3:]))
"""


@dataclass(frozen=True)
class Consumer:
    """Somebody with the bundle and the public keys, and nothing else."""

    folder: Path
    bundle: Path
    keys: Path
    product: Product

    @property
    def image(self) -> str:
        """An image of the release in the registry that it was promoted to."""
        return f"{self.product.sandbox.ecr.host}/{self.product.prefix}/rms"

    @property
    def archive(self) -> Path:
        """A copy of the release's archive."""
        target = self.folder / "skydrm-8.1.0-42.tar"
        if not target.exists():
            target.write_bytes((self.product.candidate() / "images" / target.name).read_bytes())
        return target

    def login(self) -> dict[str, str]:
        """The environment with a login for the registry."""
        answer = self.product.client().get_authorization_token()["authorizationData"][0]
        user, _, token = base64.b64decode(answer["authorizationToken"]).decode().partition(":")
        return {"JENKINS_RELEASE_REGISTRY_USER": user, "JENKINS_RELEASE_REGISTRY_PASSWORD": token}

    def verify(self, *words: str, environ: dict[str, str] | None = None, **changed: Path) -> Outcome:
        """Run ``verify`` with nothing in the environment but what is given."""
        bundle, keys = changed.get("bundle", self.bundle), changed.get("keys", self.keys)
        command = ("verify", "--bundle", str(bundle), "--trusted-keys", str(keys), *words)
        return run(*command, environ=environ or {})

    def with_lines(self, name: str, lines: list[bytes]) -> Path:
        """Write another bundle."""
        path = self.folder / name
        path.write_bytes(b"".join(lines))
        return path


def consumer_of(product: Product, folder: Path) -> Consumer:
    """Hand over the bundle and the public keys."""
    folder.mkdir(exist_ok=True)
    bundle = folder / "attestations.jsonl"
    product.ok("release", "attestations", "8.1.0", "--out", str(bundle))
    keys = folder / "keys"
    keys.mkdir(exist_ok=True)
    for file in (product.folder / "keys").glob("*.pub"):
        (keys / file.name).write_bytes(file.read_bytes())
    return Consumer(folder, bundle, keys, product)


@pytest.fixture(scope="module")
def consumer(
    tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox, engine: DockerEngine, role_keys: Path
) -> Consumer:
    """A customer of a promoted release that the tests leave as it is."""
    make_images(engine)
    base = tmp_path_factory.mktemp("released")
    with pytest.MonkeyPatch.context() as patch:
        product = make_product(base, sandbox, role_keys, patch)
        product.export()
        product.sign_off()
        product.ok("promote", "run", "8.1.0/42")
        return consumer_of(product, base / "customer")


def refused(done: Outcome, *expected: str) -> None:
    """Check that nothing was believed, and that each reason is there."""
    assert done.status == 4, done.text
    assert not done.out
    for text in expected:
        assert text in done.err, done.err


def test_every_kind_of_thing_is_proven(consumer: Consumer, images_42: list[str]):
    """An image in the registry by tag and digest, a local image, an archive, and files: one line each."""
    digest = consumer.product.tags()[f"{consumer.product.prefix}/rms"]["8.1.0"]
    docker = consumer.product.environ["DOCKER_HOST"]
    words = [
        *("--image", consumer.image, "--images", f"{consumer.image}:8.1.0", "--image"),
        *(f"{consumer.image}@{digest}", "--local-image", REFERENCE, "--archive", str(consumer.archive)),
        *("--files", str(consumer.archive), "--files", str(consumer.product.candidate() / "candidate.json")),
        *("--docker-host", docker),
    ]
    done = consumer.verify(*words, environ=consumer.login())
    assert done.status == 0, done.text
    verified = [line for line in done.out.splitlines() if line.startswith("verified ")]
    assert len(verified) == 7
    assert sum(": rms, the promoted manifest," in line for line in verified) == 3
    assert any(": rms, the validated config, sha256:" in line for line in verified)
    assert any("rms, viewer, the validated archive, byte for byte" in line for line in verified)
    assert "validated by Quinn" in done.out
    assert "summary: PASSED, SLSA_BUILD_LEVEL_1" in done.out
    document = consumer.verify(*words, "--json", environ=consumer.login()).json
    assert [item["kind"] for item in document["verified"]] == [
        *("image", "image", "image", "local-image", "archive", "file", "file")
    ]
    assert document["release"]["signOffs"][0]["tester"] == "Quinn"
    assert document["release"]["summary"]["verificationResult"] == "PASSED"


def test_a_bundle_of_another_release_than_expected_is_refused(consumer: Consumer):
    """An older release with its older bundle is genuine too; who expects another one is told."""
    words = ("--files", str(consumer.archive), "--release")
    for expected in ("8.1.0", "8.1.0/42"):
        assert consumer.verify(*words, expected).status == 0
    for other in ("8.2.0", "8.1.0/43", "8.1"):
        refused(consumer.verify(*words, other), f"is of SkyDRM 8.1.0/42, not of {other}")


def test_the_python_api_returns_what_was_proven(consumer: Consumer):
    """And raises with every reason."""
    request = VerifyReleaseRequest(consumer.bundle, (consumer.keys,), archives=(consumer.archive,))
    report = verify_release(request, environ={})
    assert report.release.record.ident == "8.1.0/42"
    assert [match.parts for match in report.matches] == [("rms", "viewer")]
    with pytest.raises(ConfigurationError, match="nothing to verify"):
        verify_release(VerifyReleaseRequest(consumer.bundle, (consumer.keys,)), environ={})
    with pytest.raises(IntegrityError) as raised:
        verify_release(
            VerifyReleaseRequest(consumer.bundle, (consumer.keys,), files=(consumer.bundle,)), environ={}
        )
    assert "is not a file of SkyDRM 8.1.0/42" in raised.value.reasons[0]


@pytest.mark.parametrize("kind", ["image", "offline"])
def test_a_process_with_an_empty_environment_connects_to_nothing_but_the_registry(
    consumer: Consumer, kind: str, tmp_path: Path
):
    """Not a single connection or look-up of a name for an archive and files."""
    if kind == "image":
        host, _, port = consumer.product.sandbox.ecr.host.partition(":")
        words, allowed = ["--image", consumer.image], [[host, int(port)]]
    else:
        words, allowed = ["--archive", str(consumer.archive), "--files", str(consumer.archive)], []
    command = [sys.executable, "-c", _CHILD, str(PACKAGE), json.dumps(allowed), "verify"]
    command += ["--bundle", str(consumer.bundle), "--trusted-keys", str(consumer.keys), *words]
    environ = consumer.login() if kind == "image" else {}
    empty = tmp_path / "empty"
    empty.mkdir()
    done = subprocess.run(command, env=environ, cwd=empty, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified " in done.stdout
    assert list(empty.iterdir()) == []
    if kind == "image":
        command[4] = "[]"
        caught = subprocess.run(command, env=environ, cwd=empty, capture_output=True, text=True, check=False)
        assert "CONNECTS TO" in caught.stdout, "the watch does not see connections: it proves nothing"


def test_the_bundle_is_reproducible_and_needs_the_key_once(promoted: Product, tmp_path: Path):
    """Afterwards everybody who can read the share writes the same bytes."""
    out, again = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    words = ("release", "attestations", "8.1.0", "--out", str(out), "--dry-run")
    dry = promoted.ok(*words)
    assert (dry["added"], dry["verificationResult"]) == ("", "PASSED")
    promoted.edit("promotion_key", "# promotion_key")
    assert promoted.ok(*words)["verificationResult"] == "PASSED"
    promoted.edit("# promotion_key", "promotion_key")
    assert not out.exists()
    assert len(list((promoted.candidate() / "attestations").iterdir())) == 3
    first = promoted.ok("release", "attestations", "8.1.0", "--out", str(out))
    assert first["added"] == "0004-summary.dsse.json"
    promoted.edit("promotion_key", "# promotion_key")
    second = promoted.ok("release", "attestations", "8.1.0", "--out", str(again))
    assert second["added"] == ""
    assert out.read_bytes() == again.read_bytes()
    assert first["sha256"] == second["sha256"] == sha256(out.read_bytes()).hexdigest()
    files = sorted((promoted.candidate() / "attestations").iterdir())
    assert out.read_bytes().splitlines(keepends=True)[1:] == [file.read_bytes() for file in files]


def test_an_attestation_that_comes_between_is_covered_too(promoted: Product, tmp_path: Path):
    """Somebody signs off while the summary is made: a second summary covers all of it."""
    pending = ["Ray"]

    def now() -> datetime:
        if pending and sys._getframe(1).f_code.co_name == "_claim":
            promoted.sign_off(tester=pending.pop())
        return datetime.now(UTC)

    configuration = load_configuration(promoted.config, environ=promoted.environ)
    with Services(configuration, environ=promoted.environ, now=now) as services:
        request = AttestationsRequest("8.1.0", tmp_path / "a.jsonl", build="42")
        report = write_attestations(request, services)
    assert (report.added, report.attestations, report.problems) == ("0006-summary.dsse.json", 6, ())
    names = sorted(path.name for path in (promoted.candidate() / "attestations").iterdir())
    assert [name[5:].partition(".")[0] for name in names[2:]] == ["promotion", "qa", "summary", "summary"]


def test_what_was_not_promoted_has_no_bundle(validated: Product, tmp_path: Path):
    """Status 2, and nothing is written."""
    out = tmp_path / "a.jsonl"
    for words in (("8.1.0",), ("8.1.0", "--build", "42"), ("8.2.0",)):
        assert validated.run("release", "attestations", *words, "--out", str(out)).status == 2
    assert not out.exists()


def test_a_candidate_that_was_altered_on_the_share_has_no_bundle(promoted: Product, tmp_path: Path):
    """Status 4: nobody signs a summary of it."""
    (promoted.candidate() / "attestations" / "0002-qa.dsse.json").unlink()
    done = promoted.run("release", "attestations", "8.1.0", "--out", str(tmp_path / "a.jsonl"))
    assert done.status == 4, done.text


def test_wrong_keys_prove_nothing(consumer: Consumer, tmp_path: Path):
    """Keys of somebody else, keys in another role, no keys at all."""
    others = tmp_path / "others"
    others.mkdir()
    for name in ("qa.pem.pub", "promotion.pem.pub"):
        consumer.product.ok("keys", "generate", str(others / name.removesuffix(".pub")))
        (others / name.removesuffix(".pub")).unlink()
    words = ("--files", str(consumer.archive))
    refused(consumer.verify(*words, keys=others), "found 0", "no promotion", "signed by an unknown key")
    swapped = tmp_path / "swapped"
    swapped.mkdir()
    for role, other in (("qa", "promotion"), ("promotion", "qa")):
        (swapped / f"{role}.pub").write_bytes((consumer.keys / f"{other}.pem.pub").read_bytes())
    refused(consumer.verify(*words, keys=swapped), "needs a key with the role")
    (tmp_path / "none").mkdir()
    assert consumer.verify(*words, keys=tmp_path / "none").status == 2
    (swapped / "customer.pub").write_text("x")
    assert "does not begin with a role" in consumer.verify(*words, keys=swapped).err
    (swapped / "customer.pub").rename(swapped / "qa-2.pub")
    done = consumer.verify(*words, keys=swapped)
    assert done.status == 2
    assert "is not a public key" in done.err


def test_trusted_keys_may_stand_in_a_small_file(consumer: Consumer):
    """Several roles for one key, validity, and a revocation, as in release.toml; paths are relative to it."""
    qa, promotion = (trusted_key(role, f"keys/{role}.pem.pub") for role in ("qa", "promotion"))
    file = consumer.folder / "trusted.toml"
    words = ("--files", str(consumer.archive))
    file.write_text(qa + promotion)
    done = consumer.verify(*words, keys=file)
    assert done.status == 0, done.text
    assert "build attestation: none by a trusted key" in done.out
    file.write_text(f"{qa}revoked = true\n{promotion}")
    refused(consumer.verify(*words, keys=file), "which is revoked")
    for wrong in ("", "[[trusted_keys]]\nname = 7\n", "not toml", qa * 2):
        file.write_text(wrong)
        assert consumer.verify(*words, keys=file).status == 2, wrong
    assert consumer.verify(*words, keys=consumer.product.config).status == 0


def test_an_altered_bundle_proves_nothing(consumer: Consumer):
    """Lines changed, removed, cut off, repeated or moved; too large; keys twice; no summary."""
    first, *lines = consumer.bundle.read_bytes().splitlines(keepends=True)
    payload = base64.b64decode(json.loads(lines[1])["payload"]).replace(b"Quinn", b"Quint")
    forged = json.loads(lines[1]) | {"payload": base64.b64encode(payload).decode()}
    forged_line = json.dumps(forged, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    cases = {
        "changed": ([first, lines[0], forged_line, *lines[2:]], "does not match"),
        "removed": ([first, lines[0], *lines[2:]], "was removed"),
        "cut": ([first, *lines[:-1], lines[-1][:-40]], "truncated"),
        "short": ([first, *lines[:-1]], "no verification summary"),
        "shorter": ([first, *lines[:2]], "no promotion by a trusted promotion key"),
        "repeated": ([first, *lines, lines[1]], "was copied"),
        "headless": (lines, "expected a bundle"),
        "large": ([first, b'{"payload":"' + b"A" * (5 << 20) + b'"}\n', *lines], "bytes, expected at most"),
        "twice": ([first, lines[0].replace(b"{", b'{"payload":"",', 1), *lines[1:]], "occurs twice"),
        "empty": ([], "truncated"),
    }
    for name, (changed, expected) in cases.items():
        bundle = consumer.with_lines(f"{name}.jsonl", changed)
        refused(consumer.verify("--files", str(consumer.archive), bundle=bundle), expected)
    shuffled = consumer.with_lines("order.jsonl", [first, *reversed(lines)])
    assert consumer.verify("--files", str(consumer.archive), bundle=shuffled).status == 0


def test_other_images_archives_and_files_are_refused_all_at_once(
    consumer: Consumer, engine: DockerEngine, images_42: list[str], open_registry: Registry, tmp_path: Path
):
    """Every reason in one answer, beside what is right."""
    login = RegistryLogin(open_registry.host, "", "")
    other, mine = "skydrm/rms:8.1.0-43", f"{open_registry.host}/mirror/rms"
    for reference, tag in ((other, "wrong"), (REFERENCE, "right")):
        engine.tag(reference, f"{mine}:{tag}")
        engine.push(f"{mine}:{tag}", login)
        engine.untag(f"{mine}:{tag}")
    archive = tmp_path / "other.tar"
    archive.write_bytes(b"".join(engine.save([REFERENCE, other])))
    broken = tmp_path / "broken.tar"
    broken.write_bytes(consumer.archive.read_bytes()[:5000])
    changed = tmp_path / consumer.archive.name
    changed.write_bytes(consumer.archive.read_bytes()[:-1] + b"x")
    words = ["--image", f"{mine}:wrong", "--image", f"{mine}:right", "--local-image", other]
    words += ["--local-image", REFERENCE, "--archive", str(archive), "--archive", str(broken)]
    words += ["--files", str(changed), "--docker-host", consumer.product.environ["DOCKER_HOST"]]
    done = consumer.verify(*words, "--json")
    assert done.status == 4, done.text
    reasons = done.json["error"]["reasons"]
    for start in (
        f"{mine}:wrong: config",
        f"{other}: config",
        f"{archive}: {other} with",
        str(broken),
        str(changed),
    ):
        assert any(reason.startswith(start) for reason in reasons), (start, reasons)
    assert len(reasons) == 5
    good = consumer.verify("--image", f"{mine}:right")
    assert good.status == 0, good.text
    assert "another registry than the promotion's" in good.out


def test_the_registry_asks_for_the_login_that_is_given(
    consumer: Consumer, closed_registry: Registry, engine, tmp_path
):
    """From the environment or from a file; it goes to one registry only, and is never shown."""
    name = f"{closed_registry.host}/mirror/rms"
    engine.tag(REFERENCE, f"{name}:8.1.0")
    engine.push(f"{name}:8.1.0", RegistryLogin(closed_registry.host, "jenkins", "correct horse"))
    engine.untag(f"{name}:8.1.0")
    asked = consumer.verify("--image", name)
    assert asked.status == 2
    assert "JENKINS_RELEASE_REGISTRY_USER" in asked.err
    wrong = {"JENKINS_RELEASE_REGISTRY_USER": "jenkins", "JENKINS_RELEASE_REGISTRY_PASSWORD": "hunter2"}
    done = consumer.verify("--image", name, "-v", environ=wrong)
    assert done.status == 2
    assert "refuses the login" in done.err
    assert "hunter2" not in done.text
    file = tmp_path / "password"
    file.write_text("correct horse\n")
    right = {"JENKINS_RELEASE_REGISTRY_USER": "jenkins", "JENKINS_RELEASE_REGISTRY_PASSWORD_FILE": str(file)}
    assert consumer.verify("--image", name, environ=right).status == 0
    both = consumer.verify("--image", name, "--image", consumer.image, environ=right)
    assert both.status == 2
    assert "several registries" in both.err
    del right["JENKINS_RELEASE_REGISTRY_USER"]
    assert "only one of" in consumer.verify("--image", name, environ=right).err


def test_usage_and_unreachable_services_have_their_own_status(consumer: Consumer, tmp_path: Path):
    """2 for what the caller mistyped, 5 for what does not answer."""
    nowhere = f"127.0.0.1:{free_port()}"
    done = consumer.verify("--image", f"{nowhere}/skydrm/rms:8.1.0", "--json")
    assert done.status == 5, done.text
    assert nowhere in done.json["error"]["message"]
    assert (
        consumer.verify("--local-image", REFERENCE, "--docker-host", f"unix://{tmp_path}/no.sock").status == 5
    )
    for words in (
        (),
        ("--image", "skydrm/rms"),
        ("--image", "https://x.example/y"),
        ("--image", f"{consumer.image}:no-such-tag"),
        ("--archive", str(tmp_path / "missing.tar")),
        ("--local-image", "no/such:image", "--docker-host", consumer.product.environ["DOCKER_HOST"]),
    ):
        assert consumer.verify(*words, environ=consumer.login()).status == 2, words
    assert consumer.verify("--files", str(consumer.archive), bundle=tmp_path / "missing").status == 2
    assert consumer.verify("--files", str(consumer.archive), keys=tmp_path / "missing").status == 2
    missing = ("--local-image", "no/such:image", "--local-image", "nor/such:image")
    done = consumer.verify(*missing, "--docker-host", consumer.product.environ["DOCKER_HOST"])
    assert done.status == 2
    assert "no image no/such:image" in done.err
    assert "no image nor/such:image" in done.err
    done = consumer.verify(*missing, "--docker-host", "/var/run/docker.sock")
    assert done.status == 2
    assert done.err.count("it is a path, expected a URL") == 1
    # What is wrong counts more than what could not be checked.
    mixed = consumer.verify("--image", f"{nowhere}/a/b", "--files", str(consumer.bundle))
    refused(mixed, "is not a file of", "could not be checked")


def test_a_release_that_was_taken_back_is_refused_with_the_new_bundle(promoted: Product, tmp_path: Path):
    """Revoked by QA: the summary says FAILED; tested and promoted again: it passes again."""
    before = consumer_of(promoted, tmp_path / "before")
    promoted.ok("qa", "revoke", "8.1.0/42", "--tester", "Quinn", "--reason", "wrong database used")
    out = tmp_path / "b.jsonl"
    done = promoted.run("release", "attestations", "8.1.0", "--out", str(out))
    assert done.status == 0
    assert "*** FAILED ***" in done.out
    words = ("--files", str(before.archive))
    refused(before.verify(*words, bundle=out), "wrong database used", "says FAILED")
    promoted.sign_off()
    after = consumer_of(promoted, tmp_path / "after")
    assert after.verify(*words).status == 0
    lines = after.bundle.read_bytes().splitlines()
    assert len(lines) == len(out.read_bytes().splitlines()) + 2


def test_a_withdrawn_release_is_refused_with_the_new_bundle(promoted: Product, tmp_path: Path):
    """The reason is the one that was given for the withdrawal."""
    promoted.ok("release", "withdraw", "8.1.0", "--reason", "it deletes files")
    consumer = consumer_of(promoted, tmp_path / "customer")
    words = ("--files", str(consumer.archive))
    refused(consumer.verify(*words), "withdrew this release: it deletes files", "says FAILED")


def test_approvals_are_told(validated: Product, tmp_path: Path):
    """Who approved the plan that was promoted, and why; not who approved one that had moved since."""
    validated.edit("approvals = 0", "approvals = 1")
    plan = tmp_path / "plan.json"
    validated.approve(plan, "Olga", "old policy")
    validated.edit("approvals = 1", "approvals = 1\nsign_off_max_age_days = 30")
    validated.approve(plan, reason="go")
    validated.ok("promote", "run", "8.1.0/42")
    consumer = consumer_of(validated, tmp_path / "customer")
    done = consumer.verify("--files", str(consumer.archive))
    assert done.status == 0, done.text
    assert re.search(r"^approved by Ada at .* UTC \(key approval.*\): go$", done.out, re.MULTILINE)
    assert "Olga" not in done.out
    named = consumer.verify("--files", str(consumer.archive), "--json").json["release"]["approvals"]
    assert [approval["approver"] for approval in named] == ["Ada"]
