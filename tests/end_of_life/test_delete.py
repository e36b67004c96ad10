"""Deleting the images of a withdrawn release: for good, on record, and nothing that anybody needs."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import requests

from jenkins_release.aws import aws_client
from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import REGION
from jenkins_release.sandbox.saas import CLUSTER
from jenkins_release.sandbox.sample_images import build_images
from tests.end_of_life.test_withdraw import (
    attestations,
    everything_held,
    pin,
    predicate,
    publish,
    release_both,
    released,
    same_images,
)
from tests.fixtures.command import fails
from tests.fixtures.ecr_push import OCI_INDEX, digest_of
from tests.fixtures.release import LAYERS, SERVICES, Begin, Product, in_its_folder
from tests.fixtures.saas import SaasStack
from tests.promotion.test_foreign_manifest import push_first_image
from tests.release.boundaries import Moment, Witness, contents, deaths, watched_services
from tests.release.runner import Runner

__all__ = ["released"]
WORDS = ("release", "withdraw", "8.1.2", "--reason", "holds a customer's data", "--delete")
CONFIRMED = (*WORDS, "--confirm", "8.1.2/2")


@pytest.fixture
def taken(begin: Begin, engine: DockerEngine) -> Product:
    """8.1.1 of two images is in force, 8.1.2 was withdrawn."""

    def prepare(product: Product) -> None:
        release_both(product, engine)
        product.ok("release", "withdraw", "8.1.2", "--reason", "loses documents")

    return begin("8.1.2 withdrawn", prepare)


def digests(product: Product) -> set[str]:
    """Return the digest of every image in the product's repositories, tagged or not."""
    client = product.client()
    held = [client.list_images(repositoryName=name)["imageIds"] for name in product.tags()]
    return {each["imageDigest"] for ids in held for each in ids}


def pull(product: Product, name: str, reference: str) -> int:
    """Pull a manifest as a customer does; return the status."""
    answer = product.client().get_authorization_token()["authorizationData"][0]["authorizationToken"]
    token = base64.b64decode(answer).decode().partition(":")[2]
    url = f"{product.sandbox.ecr.endpoint}/v2/{name}/manifests/{reference}"
    return requests.get(url, auth=("AWS", token), timeout=10).status_code


Entry = dict[str, Any]


def stored(product: Product, name: str, digest: str) -> Entry:
    """Return how ``PutImage`` would store an image again."""
    client = product.client()
    (image,) = client.batch_get_image(repositoryName=name, imageIds=[{"imageDigest": digest}])["images"]
    return {
        "repositoryName": name,
        "imageManifest": image["imageManifest"],
        "imageManifestMediaType": image["imageManifestMediaType"],
    }


def put_index(
    product: Product, name: str, children: list[tuple[str, str]], tag: str = "", **more: Any
) -> str:
    """Put an index into a repository, and return its digest.

    Args:
        product: Whose.
        name: The repository.
        children: Digest and architecture of what it lists; ``unknown`` for an attestation's.
        tag: Its tag; none if empty.
        more: Further members of the document.
    """
    entries = []
    for digest, architecture in children:
        image = stored(product, name, digest)
        system = "unknown" if architecture == "unknown" else "linux"
        entries.append(
            {
                "mediaType": image["imageManifestMediaType"],
                "digest": digest,
                "size": len(image["imageManifest"]),
                "platform": {"architecture": architecture, "os": system},
            }
        )
    text = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, **more})
    named = {"imageTag": tag} if tag else {}
    product.client().put_image(
        repositoryName=name, imageManifest=text, imageManifestMediaType=OCI_INDEX, **named
    )
    return digest_of(text.encode())


def put_copy(product: Product, name: str, digest: str) -> str:
    """Put an image of the same layers and another manifest into a repository; return its digest."""
    image = stored(product, name, digest)
    image["imageManifest"] = json.dumps(json.loads(image["imageManifest"]), indent=1)
    product.client().put_image(**image)
    return digest_of(image["imageManifest"].encode())


@pytest.fixture
def indexed(released: Product, engine: DockerEngine) -> Product:
    """8.1.3 is withdrawn: its first image is an index of a platform's image and of an attestation.

    ``index``, ``platform`` and ``attested`` are their digests, ``name`` their repository.
    """
    product, ref = released, "8.1.3/3"
    build_images(engine, "8.1.3", "3", names=SERVICES)
    product.environ[LAYERS] = "plain"  # then an index in the place of a fixed manifest is proven too
    product.ok("candidate", "export", "--version", "8.1.3", "--build", "3")
    product.sign_off(ref)
    made: Any = product
    made.platform = push_first_image(product, ref, "@", packed=True)
    made.name = next(name for name in product.tags() if made.platform in held(product, name))
    made.attested = put_copy(product, made.name, made.platform)
    made.index = put_index(
        product, made.name, [(made.platform, "amd64"), (made.attested, "unknown")], "8.1.3"
    )
    images = product.ok("promote", "run", ref)["images"]
    made.newest = {image["repository"]: image["digest"] for image in images}
    assert made.newest[made.name] == made.index
    product.ok("release", "withdraw", "8.1.3", "--reason", "loses documents")
    return product


def held(product: Product, name: str) -> set[str]:
    """Return the digest of every image in a repository, tagged or not."""
    return {each["imageDigest"] for each in product.client().list_images(repositoryName=name)["imageIds"]}


def deletion(version: str, build: str) -> tuple[str, ...]:
    """Return the words that delete a withdrawn release."""
    confirm = ("--confirm", f"{version}/{build}")
    return ("release", "withdraw", version, "--build", build, "--reason", "bad", "--delete", *confirm)


class TestDeletion:
    def test_first_it_is_shown_then_it_is_confirmed(self, taken: Product) -> None:
        """The last pull as ECR has it, nothing changed; confirmed, the images are gone, and others stay."""
        bad, old = taken.bad, taken.old  # type: ignore[attr-defined]
        name = next(iter(bad))
        before, recorded = taken.tags(), attestations(taken)
        assert pull(taken, name, bad[name]) == 200
        shown = taken.ok(*WORDS)
        assert (shown["changed"], shown["confirmed"], shown["attestation"]) == (False, False, "")
        images = {each["repository"]: each for each in shown["images"]}
        assert {repository: each["digest"] for repository, each in images.items()} == bad
        assert images[name]["tags"] == [pin(bad[name])]
        assert images[name]["lastPulled"]
        assert {each["lastPulled"] for repository, each in images.items() if repository != name} == {None}
        assert (taken.tags(), attestations(taken)) == (before, recorded)
        text = taken.run(*WORDS).out
        assert "none recorded" in text
        assert "CloudTrail" in text
        assert "nothing was deleted: --confirm 8.1.2/2 deletes them" in text
        assert taken.ok(*CONFIRMED, "--dry-run")["changed"] is False
        assert taken.tags() == before
        # The last look at the last repository is answered as it was before.
        taken.sandbox.ecr.order(Fault(action="DescribeImages", after="BatchDeleteImage", skip=2, stale=1))
        ended = taken.run(*CONFIRMED, "--json")
        assert ended.status == 0, ended.text
        assert "was deleted, but the registry still has it" in ended.err
        done = ended.json
        assert (done["changed"], done["attestation"]) == (True, "0005-deletion.dsse.json")
        assert digests(taken) == set(old.values())
        assert pull(taken, name, bad[name]) == 404
        history = taken.run("release", "history", "8.1.2")
        assert history.status == 0, history.text
        assert "images DELETED by" in history.out
        assert "build 2 withdrawn" in history.out
        again = taken.ok(*CONFIRMED)
        assert (again["changed"], again["images"], again["attestation"]) == (False, [], done["attestation"])
        assert "nothing to do" in taken.run(*CONFIRMED).out
        fails(taken.run("promote", "run", "8.1.2/2"), 3, "withdrew this release: loses documents")

    @pytest.mark.parametrize("place", range(2))
    def test_a_deletion_that_died_is_finished_by_the_next(self, taken: Product, place: int) -> None:
        """Whichever call to ECR fails: one record, and in the end nothing is left."""
        taken.sandbox.ecr.order(
            Fault(action="BatchDeleteImage", skip=place, status=400, code="AccessDeniedException")
        )
        first = taken.run(*CONFIRMED)
        taken.sandbox.ecr.cancel_faults()
        assert first.status == 5, first.text
        assert taken.ok(*CONFIRMED)["attestation"] == "0005-deletion.dsse.json"
        assert digests(taken) == set(taken.old.values())  # type: ignore[attr-defined]
        assert [name for name in attestations(taken) if "deletion" in name] == ["0005-deletion.dsse.json"]


class TestRefusals:
    def test_a_release_in_force(self, released: Product) -> None:
        """Withdrawing comes first: customers are told before anything is gone."""
        before = released.tags()
        fails(
            released.run(*CONFIRMED), 3, "was not withdrawn", "run 'release withdraw' without --delete first"
        )
        assert released.tags() == before

    def test_a_wrong_confirmation(self, taken: Product) -> None:
        """What is deleted is typed once more, and belongs to --delete only."""
        before = taken.tags()
        fails(taken.run(*WORDS, "--confirm", "8.1.1/1"), 2, "--confirm names '8.1.1/1'")
        words = ("release", "withdraw", "8.1.2", "--reason", "x", "--confirm", "8.1.2/2")
        fails(taken.run(*words), 2, "--confirm needs --delete")
        assert taken.tags() == before

    def test_an_image_that_another_release_shares(self, product: Product, engine: DockerEngine) -> None:
        """Two versions of one image: the one that is in force keeps it, and is named."""
        publish(product, engine, "8.1.4", "4")
        same_images(product, ("8.1.4", "4"), ("8.1.5", "5"))
        publish(product, engine, "8.1.5", "5")
        product.ok("release", "withdraw", "8.1.5", "--reason", "bad")
        before = product.tags()
        words = ("release", "withdraw", "8.1.5", "--reason", "bad", "--delete", "--confirm", "8.1.5/5")
        done = product.run(*words)
        fails(done, 3, "of 8.1.4/4, which is in force", ":8.1.4 names it, but is not a tag of 8.1.5/5")
        assert product.tags() == before

    def test_a_tag_that_somebody_set(self, taken: Product) -> None:
        """It speaks for a release that nobody can read, or for whoever set it."""
        name, digest = next(iter(taken.bad.items()))  # type: ignore[attr-defined]
        client = taken.client()
        image = client.batch_get_image(repositoryName=name, imageIds=[{"imageDigest": digest}])["images"][0]
        client.put_image(repositoryName=name, imageManifest=image["imageManifest"], imageTag="mine")
        before = taken.tags()
        fails(taken.run(*CONFIRMED), 3, f"{name}:mine names it, but is not a tag of 8.1.2/2")
        assert taken.tags() == before

    def test_without_the_promotion_key(self, taken: Product) -> None:
        """What cannot be recorded is not done."""
        for path in Path(taken.folder / "keys").glob("promotion.pem"):
            path.unlink()
        before = taken.tags()
        assert taken.run(*CONFIRMED).status == 2
        assert taken.tags() == before

    def test_an_altered_candidate(self, taken: Product) -> None:
        """Whether it was withdrawn at all has to be proven."""
        (taken.candidate("8.1.2/2") / "attestations" / "0002-qa.dsse.json").unlink()
        before = taken.tags()
        assert taken.run(*CONFIRMED).status == 4
        assert taken.tags() == before


class TestOthers:
    """What another release, an index or the stack needs stays, and is named."""

    def test_an_index_that_lists_the_image(self, taken: Product) -> None:
        """Tagged or not: ECR would refuse it half-way, and its owner would miss a part."""
        name, digest = next(iter(taken.bad.items()))  # type: ignore[attr-defined]
        tagged = put_index(taken, name, [(digest, "amd64")], "nightly")
        bare = put_index(taken, name, [(digest, "arm64")])
        before = everything_held(taken)
        done = taken.run(*CONFIRMED)
        fails(done, 3, f"{name} {digest} is listed by the index {tagged}, tagged nightly")
        fails(done, 3, f"{name} {digest} is listed by the index {bare}, which has no tag")
        assert everything_held(taken) == before
        assert attestations(taken)[-1] == "0004-withdrawal.dsse.json"
        client = taken.client()
        for each in (tagged, bare):
            client.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": each}])
        taken.ok(*CONFIRMED)
        assert digests(taken) == set(taken.old.values())  # type: ignore[attr-defined]

    def test_a_platform_that_another_index_lists(self, indexed: Product) -> None:
        """The content would still be there: nothing is called deleted."""
        made = vars(indexed)
        other = put_index(indexed, made["name"], [(made["platform"], "amd64")], "nightly")
        before = everything_held(indexed)
        done = indexed.run(*deletion("8.1.3", "3"))
        fails(done, 3, f"{made['platform']} is listed by the index {other}, tagged nightly")
        assert everything_held(indexed) == before

    def test_a_platform_with_a_tag_of_its_own(self, indexed: Product) -> None:
        """Somebody runs it by that tag."""
        made = vars(indexed)
        image = stored(indexed, made["name"], made["platform"])
        indexed.client().put_image(**image, imageTag="mine")
        before = everything_held(indexed)
        fails(indexed.run(*deletion("8.1.3", "3")), 3, f"{made['name']}:mine names it")
        assert everything_held(indexed) == before

    def test_a_release_in_force_whose_index_lists_the_image(self, taken: Product) -> None:
        """It was promoted as an index around the image of the withdrawn one."""
        name, digest = next(iter(taken.bad.items()))  # type: ignore[attr-defined]
        same_images(taken, ("8.1.2", "2"), ("8.1.6", "6"))
        taken.environ[LAYERS] = "plain"
        taken.ok("candidate", "export", "--version", "8.1.6", "--build", "6")
        taken.sign_off("8.1.6/6")
        index = put_index(taken, name, [(digest, "amd64")], "8.1.6")
        taken.ok("promote", "run", "8.1.6/6")
        before = everything_held(taken)
        done = taken.run(*CONFIRMED)
        fails(done, 3, f"{name} {digest} is listed by the index {index}, tagged 8.1, 8.1.6, latest")
        assert everything_held(taken) == before

    def test_two_withdrawn_releases_of_one_image(self, taken: Product, engine: DockerEngine) -> None:
        """Each gives up its own tags; the image goes with the last one, and is not called deleted before."""
        bad = taken.bad  # type: ignore[attr-defined]
        same_images(taken, ("8.1.2", "2"), ("8.1.6", "6"))
        assert publish(taken, engine, "8.1.6", "6") == bad
        taken.ok("release", "withdraw", "8.1.6", "--reason", "the same")
        shown = taken.ok(*WORDS)
        assert [each["keptFor"] for each in shown["images"]] == [["8.1.6/6"]] * len(bad)
        first = taken.run(*CONFIRMED)
        assert first.status == 0, first.text
        assert "stays for 8.1.6/6, which is withdrawn too: delete its images as well" in first.out
        for name, digest in bad.items():
            assert taken.tags()[name][pin(digest, "8.1.6-6")] == digest
            assert pin(digest) not in taken.tags()[name]
        again = taken.ok(*CONFIRMED)
        assert (again["changed"], again["images"]) == (False, [])
        taken.ok(*deletion("8.1.6", "6"))
        assert digests(taken) == set(taken.old.values())  # type: ignore[attr-defined]
        assert attestations(taken, "8.1.6/6")[-1] == "0005-deletion.dsse.json"

    def test_a_release_that_shares_the_image_and_cannot_be_read(
        self, taken: Product, engine: DockerEngine
    ) -> None:
        """Whoever alters it on the share does not get its images deleted."""
        same_images(taken, ("8.1.2", "2"), ("8.1.6", "6"))
        publish(taken, engine, "8.1.6", "6")
        (taken.candidate("8.1.6/6") / "attestations" / "0002-qa.dsse.json").unlink()
        before = everything_held(taken)
        fails(taken.run(*CONFIRMED), 3, ":8.1.6 names it, but is not a tag of 8.1.2/2")
        assert everything_held(taken) == before

    def test_a_later_build_of_the_version_that_shares_the_image_and_cannot_be_read(
        self, taken: Product, engine: DockerEngine
    ) -> None:
        """The version's tag is the later build's."""
        same_images(taken, ("8.1.2", "2"), ("8.1.2", "7"))
        publish(taken, engine, "8.1.2", "7")
        (taken.candidate("8.1.2/7") / "attestations" / "0002-qa.dsse.json").unlink()
        before = everything_held(taken)
        fails(taken.run(*CONFIRMED), 3, ":8.1.2 names it: finish the withdrawal, or find out which release")
        assert everything_held(taken) == before

    def test_a_record_that_is_removed_under_the_lease(self, taken: Product) -> None:
        """What was withdrawn when it was looked at has to be so when it is deleted."""
        path = taken.candidate("8.1.2/2") / "attestations" / "0004-withdrawal.dsse.json"
        before = taken.tags()
        moment = Moment("share.lease enter", 1, path.unlink)
        with watched_services(moment):
            fails(taken.run(*CONFIRMED), 4, "0004-withdrawal.dsse.json")
        assert moment.came
        assert taken.tags() == before


class TestLeftovers:
    """What is still there is deleted, whatever names it, and nothing without a record of it."""

    def test_an_image_that_lost_its_tags(self, taken: Product) -> None:
        """A digest without a tag can still be pulled."""
        name, digest = next(iter(taken.bad.items()))  # type: ignore[attr-defined]
        client = taken.client()
        client.put_image_tag_mutability(repositoryName=name, imageTagMutability="MUTABLE")
        copy = stored(taken, name, put_copy(taken, name, digest))
        client.put_image(**copy, imageTag=pin(digest))  # the tag moves away, and the image has none
        assert pull(taken, name, digest) == 200
        client.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": pin(digest)}])
        done = taken.ok(*CONFIRMED)
        assert {each["digest"] for each in done["images"]} == set(taken.bad.values())  # type: ignore[attr-defined]
        assert pull(taken, name, digest) == 404
        assert digests(taken) == set(taken.old.values())  # type: ignore[attr-defined]

    def test_what_the_record_does_not_name_gets_a_record(self, indexed: Product) -> None:
        """The index was pushed once more after the deletion, around something else of the release."""
        made = vars(indexed)
        words = deletion("8.1.3", "3")
        index = stored(indexed, made["name"], made["index"])
        platforms = [stored(indexed, made["name"], made[each]) for each in ("platform", "attested")]
        other = next(name for name in made["newest"] if name != made["name"])
        client = indexed.client()
        for each in ("index", "platform", "attested"):
            client.batch_delete_image(repositoryName=made["name"], imageIds=[{"imageDigest": made[each]}])
        first = indexed.ok(*words)
        assert {each["repository"] for each in first["images"]} == {other}
        for image in [*platforms, index]:
            client.put_image(**image)
        again = indexed.ok(*words)
        assert again["attestation"] == "0006-deletion.dsse.json"
        named = {each["digest"] for each in predicate(indexed, again["attestation"], "8.1.3/3")["images"]}
        assert named == {made["index"], made["platform"], made["attested"]}
        assert held(indexed, made["name"]).isdisjoint(named)


class TestStack:
    """What the SaaS stack runs, or would start, stays and is named."""

    def withdraw(self, stack: SaasStack) -> tuple[str, ...]:
        """Withdraw 8.1.0/42, and return the words that delete its images."""
        stack.withdraw("8.1.0/42")
        with stack.front.state.change() as document:
            for repository in document.repositories.values():
                digest = repository.tags.pop("8.1.0")
                repository.tags[pin(digest, "8.1.0-42")] = digest
        return deletion("8.1.0", "42")

    def test_what_runs(self, stack: SaasStack) -> None:
        """The services by name, with the digests that they run."""
        stack.refresh("8.1.0")
        done = stack.run(*self.withdraw(stack))
        digest = stack.digest("viewer", "8.1.0/42")
        fails(done, 3, "viewer of the stack rehearsal runs viewer", digest)
        fails(done, 3, "the stack rehearsal was refreshed to 8.1.0/42")

    def test_what_a_service_without_tasks_would_start(self, stack: SaasStack) -> None:
        """Scaled to nothing over the weekend: on Monday it pulls the image."""
        stack.refresh("8.1.0")
        stack.refresh("8.1.1")
        ecs = stack.front.ecs
        old = next(arn for arn in ecs.definitions if arn.endswith("skydrm-rms:2"))
        ecs.deploy(ecs.services[CLUSTER, "rms"], old)
        stack.settle()
        ecs.services[CLUSTER, "rms"].tasks.clear()
        ecs.services[CLUSTER, "rms"].desired = 0
        done = stack.run(*self.withdraw(stack))
        fails(done, 3, f"rms of the stack rehearsal starts {stack.digest('rms', '8.1.0/42')}", old)

    def test_what_nobody_knows(self, stack: SaasStack) -> None:
        """Tasks that were started by tag, and do not tell the digest, may run any image."""
        ecs = aws_client("ecs", REGION)
        image = f"{stack.front.host}/skydrm/rms:8.1.0"
        containers = [{"name": "rms", "image": image}]
        made = ecs.register_task_definition(family="by-tag", containerDefinitions=containers)
        arn = made["taskDefinition"]["taskDefinitionArn"]
        ecs.update_service(cluster=CLUSTER, service="rms", taskDefinition=arn)
        stack.settle()
        words = self.withdraw(stack)
        fails(stack.run(*words), 3, "it is unknown which image rms of the stack rehearsal runs as rms")

    def test_what_does_not_run_goes(self, stack: SaasStack) -> None:
        """Another release runs: nothing holds the withdrawn one back."""
        stack.refresh("8.1.1")
        assert stack.ok(*self.withdraw(stack))["changed"] is True
        with stack.front.state.read() as document:
            assert set(document.repositories["skydrm/rms"].images) == {stack.digest("rms", "8.1.1/50")}


class TestDeath:
    def test_what_is_said_to_read_only_changes_nothing(self, taken: Product) -> None:
        """Deaths after such calls need not be tried."""
        witness = Witness(lambda: (contents(taken.share), everything_held(taken)))
        with watched_services(witness):
            taken.ok(*CONFIRMED)
        assert witness.changed == []
        assert {"registry.inventory", "share.list_each"} <= {*witness.calls}

    @pytest.mark.timeout(900)
    def test_a_deletion_killed_after_any_change_is_finished_by_the_same_command(
        self, indexed: Product, warm_python: str, tmp_path: Path
    ) -> None:
        """Nothing is gone before the record, and nothing of others ever."""
        product, made = indexed, vars(indexed)
        environ = in_its_folder(product)
        folder, template = product.candidate("8.1.3/3"), tmp_path / "withdrawn"
        shutil.copytree(folder, template)
        recorded = [*attestations(product, "8.1.3/3"), "0005-deletion.dsse.json"]
        registry = product.sandbox.ecr.saved_repositories(product.prefix)
        everything = everything_held(product)
        own = {(made["name"], made[each]) for each in ("index", "platform", "attested")}
        own |= set(made["newest"].items())
        others = {key: image for key, image in everything.items() if key not in own}
        runner = Runner(warm_python)
        words = deletion("8.1.3", "3")
        try:
            whole = runner.run(*words, environ=environ)
            assert whole.status == 0, whole.text
            assert {"registry.remove_tag", "registry.remove_image", "share.rename"} <= {*whole.calls}
            states = set()
            for number in deaths(whole.calls):
                product.sandbox.ecr.restore_repositories(product.prefix, registry)
                shutil.rmtree(folder)
                shutil.copytree(template, folder)
                first = runner.run(*words, environ=environ, kill_after=number)
                assert first.killed, first.text
                left = everything_held(product)
                on_record = attestations(product, "8.1.3/3") == recorded
                states.add((on_record, left == everything))
                assert on_record or left == everything, f"killed after {first.calls[-1]}"
                assert others.items() <= left.items(), f"killed after {first.calls[-1]}"
                again = runner.run(*words, environ=environ)
                assert again.status == 0, (number, again.text)
                assert everything_held(product) == others
                assert attestations(product, "8.1.3/3") == recorded
            assert states == {(False, True), (True, True), (True, False)}
        finally:
            runner.close()
