"""Taking a bad release back: no customer gets it any more, and everything stays on record."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import docker
import pytest

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION, PolicyStatement
from jenkins_release.sandbox.sample_images import build_images, demo_references
from tests.fixtures.command import fails
from tests.fixtures.release import SERVICES, Begin, Product, another_registry, in_its_folder
from tests.release.boundaries import Moment, Witness, contents, deaths, watched_services
from tests.release.runner import Ended, Runner

WITHDRAW = ("release", "withdraw", "8.1.2", "--reason", "loses documents")
MOVING = 'moving_tags = ["{major}.{minor}", "latest"]'


def publish(product: Product, engine: DockerEngine, version: str, build: str) -> dict[str, str]:
    """Release a version of its own content, and return repository to manifest digest."""
    try:
        for reference in demo_references(version, build, names=SERVICES):
            engine.inspect(reference)
    except ConfigurationError:
        build_images(engine, version, build, names=SERVICES)
    product.ok("candidate", "export", "--version", version, "--build", build)
    product.sign_off(f"{version}/{build}")
    images = product.ok("promote", "run", f"{version}/{build}")["images"]
    return {image["repository"]: image["digest"] for image in images}


def leave_window(product: Product, engine: DockerEngine) -> None:
    """Release 8.2.0 where one line is supported: 8.1 is outside the support window."""
    product.append("[support]\nlines = 1\n")
    publish(product, engine, "8.2.0", "1")


def same_images(product: Product, old: tuple[str, str], new: tuple[str, str]) -> None:
    """Let a build consist of the images of an older one; both are version and build."""
    daemon = docker.DockerClient(base_url=product.environ["DOCKER_HOST"])
    befores, afters = (demo_references(*each, names=SERVICES) for each in (old, new))
    for before, after in zip(befores, afters, strict=True):
        name, _, tag = after.partition(":")
        daemon.images.get(before).tag(name, tag)
    daemon.close()


def move_tags(product: Product) -> None:
    product.edit("create_repositories = true", f"create_repositories = true\n{MOVING}")


def attestations(product: Product, ident: str = "8.1.2/2") -> list[str]:
    return sorted(path.name for path in (product.candidate(ident) / "attestations").iterdir())


def predicate(product: Product, name: str, ident: str = "8.1.2/2") -> dict[str, Any]:
    envelope = json.loads((product.candidate(ident) / "attestations" / name).read_text())
    found: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
    return found


def pin(digest: str, ident: str = "8.1.2-2") -> str:
    return f"withdrawn-{ident}-{digest[7:19]}"


@pytest.fixture
def released(begin: Begin, engine: DockerEngine) -> Product:
    """8.1.1, and 8.1.2 after it, with tags that move."""
    return begin("8.1.1 and 8.1.2", lambda product: release_both(product, engine))


def release_both(product: Product, engine: DockerEngine) -> None:
    move_tags(product)
    product.old = publish(product, engine, "8.1.1", "1")  # type: ignore[attr-defined]
    product.bad = publish(product, engine, "8.1.2", "2")  # type: ignore[attr-defined]


Held = dict[tuple[str, str], tuple[frozenset[str], str]]


def everything_held(product: Product) -> Held:
    """Return repository and digest of every image to its tags and media type, as the registry has them."""
    found: Held = {}
    for name, repository in product.sandbox.ecr.saved_repositories(product.prefix).items():
        for digest, image in repository["images"].items():
            tags = frozenset(tag for tag, named in repository["tags"].items() if named == digest)
            found[name, digest] = (tags, image["media_type"])
    return found


def withdrawn_tags(product: Product) -> dict[str, dict[str, str]]:
    """What the registry has to hold after 8.1.2 was withdrawn."""
    old, bad = product.old, product.bad  # type: ignore[attr-defined]
    return {
        name: {"8.1.1": old[name], "8.1": old[name], "latest": old[name], pin(bad[name]): bad[name]}
        for name in bad
    }


def test_a_dry_run_tells_exactly_what_would_be_done_and_does_nothing(released: Product):
    """Tags to remove, tags to move and where to, and under which tag the image stays."""
    before, files = released.tags(), attestations(released)
    done = released.run(*WITHDRAW, "--dry-run", "--json")
    assert done.status == 0, done.text
    assert (done.json["dryRun"], done.json["changed"], done.json["attestation"]) == (True, False, "")
    assert done.json["returns"] == {"8.1": "8.1.1/1", "latest": "8.1.1/1"}
    old, bad = released.old, released.bad  # type: ignore[attr-defined]
    for image in done.json["images"]:
        name = image["repository"]
        way = {"from": bad[name], "to": old[name]}
        assert image["tagsRemoved"] == ["8.1.2"]
        assert image["movedTags"] == {"8.1": way, "latest": way}
        assert (image["digest"], image["pinnedBy"]) == (bad[name], pin(bad[name]))
    assert len(done.json["images"]) == len(SERVICES)
    assert released.tags() == before
    assert attestations(released) == files
    shown = released.run(*WITHDRAW, "--dry-run").out
    assert "would withdraw 8.1.2/2" in shown
    assert "latest returns to 8.1.1/1" in shown


def test_a_withdrawal_removes_release_tags_moves_others_back_and_keeps_the_images(released: Product):
    """The registry afterwards, the record, and what status and history say before and after."""
    assert "build 2 promoted" in released.run("release", "history", "8.1.2").out
    done = released.ok(*WITHDRAW)
    assert done["changed"] is True
    assert done["attestation"] == "0004-withdrawal.dsse.json"
    assert released.tags() == withdrawn_tags(released)
    said = predicate(released, done["attestation"])
    assert said["images"] == done["images"]
    assert said["registry"] == done["registry"] == released.sandbox.ecr.host
    assert said["promotion"] == "0003-promotion.dsse.json"
    assert said["jenkinsRelease"]["reason"] == "loses documents"
    assert said["jenkinsRelease"]["withdrawnBy"]
    status = released.ok("promote", "status", "8.1.2/2")
    assert (status["state"], status["attestation"]) == ("withdrawn", "")
    page = released.run("release", "history", "8.1.2")
    assert page.status == 0
    assert "build 2 withdrawn" in page.out
    assert ": loses documents [0004-withdrawal.dsse.json, key promotion]" in page.out
    released.ok("candidate", "verify", "8.1.2/2")


def test_withdrawing_again_does_nothing_and_says_so(released: Product):
    """Exit status 0, the same tags, one record; also after an answer from before the last change."""
    name = f"{released.prefix}/{SERVICES[-1]}"
    late = Fault(action="BatchGetImage", repository=name, after="BatchDeleteImage", skip=6, stale=1)
    released.sandbox.ecr.order(late)
    first = released.run(*WITHDRAW)
    assert first.status == 0, first.text
    assert "still shows the tag 8.1.2" in first.err
    tags, files = released.tags(), attestations(released)
    again = released.run(*WITHDRAW)
    assert again.status == 0
    assert "nothing to do: 8.1.2/2 is withdrawn" in again.out
    assert "0004-withdrawal.dsse.json" in again.out
    document = released.ok(*WITHDRAW)
    assert (document["changed"], document["images"]) == (False, [])
    assert (released.tags(), attestations(released)) == (tags, files)


def test_a_customer_cannot_pull_the_tag_any_more_but_still_the_digest(
    released: Product, engine: DockerEngine
):
    """The digest in the history can still be examined, and `latest` is the release before."""
    released.ok(*WITHDRAW)
    answer = released.client().get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, token = base64.b64decode(answer).decode().partition(":")
    login = {"username": user, "password": token}
    daemon = docker.DockerClient(base_url=released.environ["DOCKER_HOST"])
    records = {
        ident: json.loads((released.candidate(ident) / "candidate.json").read_text())
        for ident in ("8.1.1/1", "8.1.2/2")
    }
    configs = {
        ident: {image["name"]: image["config_digest"] for image in record["images"]}
        for ident, record in records.items()
    }
    name = f"{released.sandbox.ecr.host}/{released.prefix}/rms"
    with pytest.raises(docker.errors.NotFound):
        daemon.images.pull(f"{name}:8.1.2", auth_config=login)
    digest = released.bad[f"{released.prefix}/rms"]  # type: ignore[attr-defined]
    assert daemon.images.pull(f"{name}@{digest}", auth_config=login).id == configs["8.1.2/2"]["rms"]
    daemon.images.pull(f"{name}:latest", auth_config=login)
    assert engine.config_digest(f"{name}:latest") == configs["8.1.1/1"]["rms"]
    engine.untag(f"{name}:latest")
    daemon.close()


def test_moving_tags_go_without_a_release_to_return_to(released: Product):
    """A withdrawn release is none to return to; the last tags are removed."""
    released.ok(*WITHDRAW)
    done = released.ok("release", "withdraw", "8.1.1", "--reason", "the same defect")
    assert done["returns"] == {}
    for image in done["images"]:
        assert image["tagsRemoved"] == ["8.1.1", "8.1", "latest"]
        assert image["movedTags"] == {}
    for tags in released.tags().values():
        assert all(tag.startswith("withdrawn-") for tag in tags)
        assert len(tags) == 2


def test_a_tag_that_returns_to_the_same_image_stays(released: Product, engine: DockerEngine):
    """Nothing changed between the two versions but the number: only the number goes."""
    same_images(released, ("8.1.2", "2"), ("8.1.3", "3"))
    again = publish(released, engine, "8.1.3", "3")
    assert again == released.bad  # type: ignore[attr-defined]
    done = released.ok("release", "withdraw", "8.1.3", "--reason", "x")
    for image in done["images"]:
        assert (image["tagsRemoved"], image["movedTags"]) == (["8.1.3"], {})
    for name, tags in released.tags().items():
        there = {"8.1.1", "8.1.2", "8.1", "latest", pin(again[name], "8.1.3-3")}
        assert (set(tags), tags["8.1"], tags["latest"]) == (there, again[name], again[name])
    assert released.ok("release", "withdraw", "8.1.3", "--reason", "x")["changed"] is False


def test_tags_that_have_moved_on_stay(released: Product, engine: DockerEngine):
    """`latest` names 8.2.0 already: only the tags of the line return."""
    new = publish(released, engine, "8.2.0", "3")
    done = released.ok(*WITHDRAW)
    assert done["returns"] == {"8.1": "8.1.1/1"}
    for name, tags in released.tags().items():
        assert tags["latest"] == tags["8.2"] == tags["8.2.0"] == new[name]
        assert tags["8.1"] == tags["8.1.1"]
        assert "8.1.2" not in tags


def test_a_release_that_the_registry_lost_is_none_to_return_to(released: Product):
    """8.1.1 was deleted in ECR by hand: the moving tags are removed, nothing half is set."""
    client = released.client()
    name = f"{released.prefix}/{SERVICES[-1]}"
    client.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": "8.1.1"}])
    done = released.run(*WITHDRAW, "--json")
    assert done.status == 0, done.text
    assert done.json["returns"] == {}
    assert "does not return to 8.1.1/1" in done.err
    assert all("latest" not in tags and "8.1" not in tags for tags in released.tags().values())


def test_an_altered_release_is_none_to_return_to(released: Product):
    """What cannot be proven gets no tag."""
    (released.candidate("8.1.1/1") / "attestations" / "0002-qa.dsse.json").unlink()
    done = released.run(*WITHDRAW, "--json")
    assert done.status == 0, done.text
    assert done.json["returns"] == {}


def test_a_withdrawn_release_is_not_promoted_again_by_accident(released: Product, tmp_path: Path):
    """Only an override for a new plan with a new approval brings it back; then it can be withdrawn again."""
    released.edit("approvals = 0", "approvals = 1")
    old = str(tmp_path / "old.json")
    released.ok("promote", "plan", "8.1.2/2", "--out", old)
    approve = ("--approver", "Ada", "--reason", "wanted")
    override = (
        "--condition",
        "withdrawn",
        "--by",
        "Grace",
        "--reason",
        "customers need it, the loss is mended",
    )
    released.ok("promote", "approve", old, *approve)
    released.ok("promote", "override", old, *override)
    released.ok(*WITHDRAW)
    refused = released.run("promote", "run", "8.1.2/2", "--json")
    assert refused.status == 3, refused.text
    assert any("withdrew this release: loses documents" in line for line in refused.json["error"]["reasons"])
    assert any("[approvals:" in line for line in refused.json["error"]["reasons"])
    assert released.tags() == withdrawn_tags(released)
    new = str(tmp_path / "new.json")
    released.ok("promote", "plan", "8.1.2/2", "--out", new)
    released.ok("promote", "approve", new, *approve)
    assert released.run("promote", "run", "8.1.2/2").status == 3
    released.ok("promote", "override", new, *override)
    done = released.run("promote", "run", "8.1.2/2")
    assert done.status == 0, done.text
    assert "OVERRIDDEN" in done.out
    assert released.ok("promote", "status", "8.1.2/2")["state"] == "recorded"
    bad = released.bad  # type: ignore[attr-defined]
    assert all(tags["8.1.2"] == tags["latest"] == bad[name] for name, tags in released.tags().items())
    released.ok(*WITHDRAW)
    assert released.tags() == withdrawn_tags(released)
    assert [name for name in attestations(released) if "withdrawal" in name] == [
        "0006-withdrawal.dsse.json",
        "0010-withdrawal.dsse.json",
    ]
    assert released.run("promote", "run", "8.1.2/2").status == 3


def test_a_withdrawal_that_was_removed_from_the_chain_still_counts(released: Product):
    """The registry remembers: nobody releases it again by removing the last attestation."""
    released.ok(*WITHDRAW)
    (released.candidate("8.1.2/2") / "attestations" / "0004-withdrawal.dsse.json").unlink()
    done = released.run("promote", "run", "8.1.2/2", "--json")
    assert done.status == 3, done.text
    assert any(
        "but the share has no record of a withdrawal" in line for line in done.json["error"]["reasons"]
    )
    assert released.tags() == withdrawn_tags(released)
    released.ok(*WITHDRAW)
    assert attestations(released)[-1] == "0004-withdrawal.dsse.json"


# --- faults and kills -----------------------------------------------------------------------------

FAULTS = {
    "the API is throttled": Fault(action="*", status=400, code="ThrottlingException", count=3),
    "the answer to a tag is lost": Fault(action="PutImage", reset_response_after=0, count=2),
    "the answer to a removal is lost": Fault(action="BatchDeleteImage", reset_response_after=0, count=2),
    "a removal answers 500": Fault(action="BatchDeleteImage", status=500, skip=2, count=2),
}


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What AWS refuses for now is asked for again at once."""
    monkeypatch.setattr("jenkins_release.aws.exchange.THROTTLED_S", 0.02)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_passing_fault_is_survived_in_one_run(released: Product, fault: Fault, soon: None):
    """Each fault happens, and the withdrawal ends as if it had not."""
    released.sandbox.ecr.order(fault)
    done = released.run(*WITHDRAW)
    assert done.status == 0, done.text
    assert released.sandbox.ecr.pending_faults() == []
    assert released.tags() == withdrawn_tags(released)


def test_what_a_lasting_fault_interrupts_is_finished_by_the_same_command(released: Product, soon: None):
    """The record stands before the first tag goes: meanwhile nobody can promote, and it is made once."""
    released.sandbox.ecr.order(Fault(action="BatchDeleteImage", status=500, skip=2, count=None))
    done = released.run(*WITHDRAW)
    assert done.status == 5, done.text
    assert attestations(released)[-1] == "0004-withdrawal.dsse.json"
    assert all("8.1.2" in tags for tags in released.tags().values())
    assert released.ok("promote", "status", "8.1.2/2")["state"] == "withdrawn"
    assert released.run("promote", "run", "8.1.2/2").status == 3
    released.sandbox.ecr.cancel_faults()
    again = released.ok("release", "withdraw", "8.1.2", "--reason", "go on")
    assert again["changed"] is True
    assert again["attestation"] == "0004-withdrawal.dsse.json"
    assert released.tags() == withdrawn_tags(released)
    assert attestations(released)[-1] == "0004-withdrawal.dsse.json"


def test_a_withdrawal_killed_after_any_change_is_finished_by_the_same_command(
    released: Product, warm_python: str, tmp_path: Path
):
    """At each death `latest` names a release, no image is lost, and no tag goes before it is on record."""
    environ = in_its_folder(released)
    folder, template = released.candidate("8.1.2/2"), tmp_path / "promoted"
    shutil.copytree(folder, template)
    files = [*attestations(released), "0004-withdrawal.dsse.json"]
    registry = released.sandbox.ecr.saved_repositories(released.prefix)
    runner = Runner(warm_python)

    def withdraw(kill_after: int = 0) -> Ended:
        return runner.run(*WITHDRAW, environ=environ, kill_after=kill_after)

    def undo() -> None:
        released.sandbox.ecr.restore_repositories(released.prefix, registry)
        shutil.rmtree(folder)
        shutil.copytree(template, folder)

    def done(ended: Ended) -> tuple[str, ...]:
        assert ended.status == 0, ended.text
        assert released.tags() == withdrawn_tags(released)
        assert attestations(released) == files
        return ended.calls

    try:
        calls = done(withdraw())
        undo()
        calls = min(calls, done(withdraw()), key=len)  # one of them may have tried something again
        changing = deaths(calls)
        assert {"registry.set_tag", "registry.remove_tag", "share.rename"} <= {*calls}
        assert len(changing) > 3 * 2
        states = set()
        for number in changing:
            undo()
            killed = withdraw(kill_after=number)
            assert killed.killed, killed.text
            recorded = attestations(released) == files
            states.add(recorded)
            assert whole_at_any_time(released, released.tags(), recorded), f"killed after {killed.calls[-1]}"
            done(withdraw())
        assert states == {False, True}
    finally:
        runner.close()


def test_what_is_said_to_read_only_changes_nothing(released: Product):
    """Deaths after such calls need not be tried."""
    witness = Witness(lambda: (contents(released.share), everything_held(released)))
    with watched_services(witness):
        released.ok(*WITHDRAW)
    assert witness.changed == []
    assert len(deaths(witness.calls)) < len(witness.calls) / 2


def whole_at_any_time(product: Product, tags: dict[str, dict[str, str]], recorded: bool) -> bool:
    """Whether `latest` names a release, the image is there, and no tag is gone before the record stands."""
    old, bad = product.old, product.bad  # type: ignore[attr-defined]
    return all(
        found["latest"] in {old[name], bad[name]}
        and bad[name] in found.values()
        and (recorded or found["8.1.2"] == found["latest"] == bad[name])
        for name, found in tags.items()
    )


# --- wrong input ----------------------------------------------------------------------------------


def test_what_is_not_released_cannot_be_withdrawn(exported: Product):
    """Unknown versions and builds, no version at all, and a candidate that was never promoted."""
    run = ("--reason", "x")
    fails(exported.run("release", "withdraw", "9.9.9", *run), 2, "there is no candidate of SkyDRM 9.9.9")
    fails(exported.run("release", "withdraw", "../8", *run), 2, "version '../8' contains '/'")
    fails(exported.run("release", "withdraw", "8.1.0", *run), 2, "no build of 8.1.0 was promoted")
    fails(exported.run("release", "withdraw", "8.1.0", "--build", "42", *run), 2, "was not promoted")
    fails(
        exported.run("release", "withdraw", "8.1.0", "--build", "7", *run),
        2,
        "there is no candidate 8.1.0/7",
    )


@pytest.mark.parametrize("reason", [(), ("--reason", ""), ("--reason", "  "), ("--reason", "a\nb")])
def test_a_withdrawal_needs_a_reason(promoted: Product, reason):
    """One that can be read, on one line."""
    before = promoted.tags()
    fails(promoted.run("release", "withdraw", "8.1.0", *reason), 2, "reason")
    assert promoted.tags() == before


def test_a_withdrawal_needs_the_promotion_key(promoted: Product):
    """No key, a missing file, and a key with another role: nothing is touched."""
    before = promoted.tags()
    run = ("release", "withdraw", "8.1.0", "--reason", "x")
    missing = f"file2:{promoted.folder}/keys/nobody.pem"
    fails(promoted.run(*run, "--key", missing), 2, "nobody.pem")
    qa = f"file2:{promoted.folder}/keys/qa.pem"
    fails(promoted.run(*run, "--key", qa), 2, "is not trusted for the role 'promotion'")
    text = promoted.config.read_text()
    promoted.config.write_text(
        "\n".join(line for line in text.splitlines() if not line.startswith("promotion_key"))
    )
    fails(promoted.run(*run), 2, "no promotion key to sign with")
    assert len(promoted.ok(*run, "--dry-run")["images"]) == len(SERVICES)  # it signs nothing
    assert promoted.tags() == before


@pytest.mark.parametrize("action", ["ecr:PutImage", "ecr:BatchDeleteImage"])
def test_without_the_rights_nothing_is_recorded_and_no_tag_goes(
    promoted: Product, monkeypatch: pytest.MonkeyPatch, action: str
):
    """Whether tags may be set and removed shows before anything is signed."""
    resource = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{promoted.prefix}/*"
    key, secret = promoted.sandbox.ecr.add_user(
        f"reader-{promoted.prefix}",
        [
            PolicyStatement(actions=["ecr:*"], resources=["*"]),
            PolicyStatement(effect="Deny", actions=[action], resources=[resource]),
        ],
    )
    before = promoted.tags()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    done = promoted.run("release", "withdraw", "8.1.0", "--reason", "x")
    monkeypatch.undo()
    fails(done, 5, action)
    assert attestations(promoted, "8.1.0/42")[-1] == "0003-promotion.dsse.json"
    left = {
        name: {tag: digest for tag, digest in tags.items() if not tag.startswith("withdrawn-")}
        for name, tags in promoted.tags().items()
    }
    assert left == before


def test_a_release_tag_that_names_something_else_stops_everything(promoted: Product):
    """Both digests are named; not one tag is touched, and nothing is recorded."""
    client = promoted.client()
    name = f"{promoted.prefix}/viewer"
    client.put_image_tag_mutability(repositoryName=name, imageTagMutability="MUTABLE")
    recorded = promoted.tags()[name]["8.1.0"]
    manifest = client.batch_get_image(repositoryName=name, imageIds=[{"imageTag": "8.1.0"}])["images"][0]
    changed = json.dumps(json.loads(manifest["imageManifest"]))
    put = client.put_image(
        repositoryName=name,
        imageManifest=changed,
        imageManifestMediaType=manifest["imageManifestMediaType"],
        imageTag="8.1.0",
    )
    found = put["image"]["imageId"]["imageDigest"]
    assert found != recorded
    before = promoted.tags()
    done = promoted.run("release", "withdraw", "8.1.0", "--reason", "x")
    fails(done, 4, f"{name}:8.1.0 names {found}, but the promotion recorded {recorded}")
    assert promoted.tags() == before
    assert attestations(promoted, "8.1.0/42")[-1] == "0003-promotion.dsse.json"


def test_of_several_released_builds_one_has_to_be_named(product: Product, engine: DockerEngine):
    """With the build in the tag, two builds of a version may be out; `latest` returns to the other one."""
    product.edit(
        "create_repositories = true",
        'create_repositories = true\ntags = ["{version}-{build}"]\nmoving_tags = ["latest"]',
    )
    first = publish(product, engine, "8.1.0", "42")
    publish(product, engine, "8.1.0", "43")
    fails(product.run("release", "withdraw", "8.1.0", "--reason", "x"), 2, "42, 43", "--build")
    done = product.ok("release", "withdraw", "8.1.0", "--build", "43", "--reason", "x")
    assert done["returns"] == {"latest": "8.1.0/42"}
    for name, tags in product.tags().items():
        assert tags["latest"] == tags["8.1.0-42"] == first[name]
        assert "8.1.0-43" not in tags
    assert product.ok("release", "withdraw", "8.1.0", "--reason", "x")["candidate"] == "8.1.0/42"


def test_a_new_build_may_take_the_place_of_a_withdrawn_one(promoted: Product):
    """Its tags are free again, and finishing the old withdrawal does not touch the new release."""
    promoted.ok("release", "withdraw", "8.1.0", "--reason", "x")
    promoted.export("43")
    promoted.sign_off("8.1.0/43")
    promoted.ok("promote", "run", "8.1.0/43")
    before = promoted.tags()
    again = promoted.ok("release", "withdraw", "8.1.0", "--build", "42", "--reason", "x")
    assert again["changed"] is False
    assert promoted.tags() == before
    page = promoted.run("release", "history", "8.1.0").out
    assert page.startswith("SkyDRM 8.1.0: build 42 withdrawn, build 43 promoted")


@pytest.mark.parametrize("lost", ["image", "repository"])
def test_what_the_registry_lost_is_recorded_as_gone(promoted: Product, lost: str):
    """Somebody deleted it by hand: the withdrawal still closes the release."""
    client, name = promoted.client(), f"{promoted.prefix}/rms"
    if lost == "image":
        client.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": "8.1.0"}])
    else:
        client.delete_repository(repositoryName=name, force=True)
    done = promoted.ok("release", "withdraw", "8.1.0", "--reason", "x")
    kept = {image["name"]: bool(image["pinnedBy"]) for image in done["images"]}
    assert kept == {"rms": False, "viewer": True}
    assert promoted.ok("promote", "status", "8.1.0/42")["state"] == "withdrawn"
    assert promoted.ok("release", "withdraw", "8.1.0", "--reason", "x")["changed"] is False


def test_another_registry_than_the_promotions_is_refused(
    promoted: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """The record names the registry: a configuration that leads elsewhere is a mistake."""
    with another_registry(tmp_path, monkeypatch) as other:
        done = promoted.run("release", "withdraw", "8.1.0", "--reason", "x")
    fails(done, 2, f"8.1.0/42 was promoted to {promoted.sandbox.ecr.host}", f"leads to {other.host}")
    assert attestations(promoted, "8.1.0/42")[-1] == "0003-promotion.dsse.json"


def test_two_at_once_exclude_each_other(promoted: Product):
    """Whoever comes second is told who is at work."""
    from jenkins_release.config import load_configuration
    from jenkins_release.share.candidates import CandidateRef
    from jenkins_release.steps.context.services import Services

    configuration = load_configuration(None, environ=promoted.environ, options={})
    before = promoted.tags()
    with Services(configuration, environ=promoted.environ) as services:
        ref = CandidateRef("8.1.0", "42")
        with services.candidates.lease(ref, "promote", "rita@build1 pid 7"):
            done = promoted.run("release", "withdraw", "8.1.0", "--reason", "x")
    fails(done, 6, "rita@build1 pid 7")
    assert promoted.tags() == before


def test_without_its_lease_nothing_more_is_removed(released: Product):
    """Someone else may have taken it in the middle."""
    lock = released.share / "SkyDRM" / ".leases" / "8.1.2-2.promote"
    before = everything_held(released)
    # The first two remove the temporary tags.
    moment = Moment("registry.remove_tag", 3, lambda: lock.write_text("someone else\n" * 9))
    with watched_services(moment):
        fails(released.run(*WITHDRAW), 5, "was lost before the work under it was done")
    assert moment.came
    assert before != everything_held(released)
    assert ["8.1.2" in tags for tags in released.tags().values()] == [False, True]
    released.ok(*WITHDRAW)
    assert not any("8.1.2" in tags for tags in released.tags().values())


def test_a_withdrawn_build_shuts_no_other(product: Product, engine: DockerEngine):
    """The tags that keep build 42-7 begin like those of build 42: only an exact one counts."""
    version = "8.1.6"
    publish(product, engine, version, "42-7")
    product.ok("release", "withdraw", version, "--build", "42-7", "--reason", "bad")
    build_images(engine, version, "42", names=SERVICES)
    product.ok("candidate", "export", "--version", version, "--build", "42")
    product.sign_off(f"{version}/42")
    gate = product.ok("promote", "plan", f"{version}/42")["gate"]
    assert [each["condition"] for each in gate["unmet"]] == []
    assert product.run("promote", "run", f"{version}/42").status == 0


def test_a_pin_of_exactly_this_candidate_shuts_it(released: Product):
    """The withdrawal was removed from the share: the registry remembers what it was about."""
    released.ok(*WITHDRAW)
    (released.candidate("8.1.2/2") / "attestations" / attestations(released)[-1]).unlink()
    fails(released.run("promote", "run", "8.1.2/2"), 3, "the registry holds the tag withdrawn-8.1.2-2-")
