"""Whoever may push can store anything beside an image: none of it holds up what has to go or fills memory."""

from __future__ import annotations

import gc
import json
from hashlib import sha256
from typing import Any

import pytest

from jenkins_release.images import DockerEngine
from jenkins_release.oci.referrers import Subject
from jenkins_release.records.sigstore import ImageStatement, read_sigstore, sign_about_image
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.steps.referrers.artifacts import ImageArtifacts
from tests.end_of_life.test_withdraw import leave_window, publish
from tests.fixtures.attached import BUNDLE, OCI_MANIFEST, RegistryView
from tests.fixtures.command import fails
from tests.fixtures.notify import Hook, hook_section
from tests.fixtures.release import Product
from tests.referrers.test_attach import ATTACH, make_mutable, without_api
from tests.referrers.test_ends import OCI_INDEX, attach
from tests.referrers.test_removal import WITHDRAW, foreign, left

DELETE = (*WITHDRAW, "--delete", "--confirm", "8.1.0/42")


@pytest.fixture
def view(promoted: Product) -> RegistryView:
    """A release with statements in both forms; every tag may change."""
    make_mutable(promoted)
    promoted.append("\n[attestations]\nlegacy_tags = true\n")
    promoted.ok(*ATTACH)
    return RegistryView(promoted)


def list_tag(digest: str) -> str:
    """Return the tag of the list that clients keep for an image."""
    return digest.replace(":", "-")


def listing(*digests: str) -> dict[str, Any]:
    """Return a list of artifacts, without their types."""
    entries = [{"mediaType": OCI_MANIFEST, "digest": each, "size": 7} for each in digests]
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}


def spoil(view: RegistryView, repository: str, digest: str) -> None:
    """Let both tags of an image name what they should not: an image, and an index."""
    (first, *_) = view.entries(repository, digest)
    artifact = view.manifest(repository, first["digest"])
    del artifact["subject"]
    tag = list_tag(digest)
    assert view.put(f"{repository}/manifests/{tag}", artifact, OCI_MANIFEST).status_code == 201
    gone = [{"imageTag": f"{tag}.att"}]
    view.product.client().batch_delete_image(repositoryName=repository, imageIds=gone)
    assert view.put(f"{repository}/manifests/{tag}.att", listing(), OCI_INDEX).status_code == 201


def foreign_on_list(view: RegistryView) -> None:
    """Attach something of another program to each image, on the list that clients keep."""
    for repository, digest in view.images():
        place = f"{repository}/manifests/{list_tag(digest)}"
        index = view.get(place).json()
        manifest = view.manifest(repository, index["manifests"][0]["digest"])
        manifest |= {"artifactType": "application/vnd.example"}
        data = json.dumps(manifest).encode()
        named = f"sha256:{sha256(data).hexdigest()}"
        assert view.put(f"{repository}/manifests/{named}", manifest, OCI_MANIFEST).status_code == 201
        index["manifests"].append({"mediaType": OCI_MANIFEST, "digest": named, "size": len(data)})
        assert view.put(place, index, OCI_INDEX).status_code == 201


class TestWithdrawal:
    """Tags go first, and of what refers to the images whatever can be removed."""

    def test_bad_lists_of_one_image_hold_up_nothing_else(self, view: RegistryView, hook: Hook) -> None:
        """They are named at the end; once they are gone, there is nothing left to do."""
        product = view.product
        product.append(hook_section())
        product.environ["JENKINS_RELEASE_WEBHOOK_URL"] = hook.url
        (repository, digest), (other, second) = view.images()
        spoil(view, repository, digest)
        tag = list_tag(digest)
        done = product.run(*WITHDRAW, "--json")
        said = (f"{repository}:{tag} is '{OCI_MANIFEST}', expected an index", f"{repository}:{tag}.att")
        fails(done, 4, "not everything that refers to the images", *said)
        assert len(json.loads(done.out)["error"]["reasons"]) == 2
        assert [view.entries(*image) for image in ((repository, digest), (other, second))] == [[], []]
        assert left(product)[other][0] == 1
        assert view.images() == []
        assert any("withdrew" in repr(each) or "withdrawn" in repr(each) for each in hook.documents)
        fails(product.run(*WITHDRAW), 4, *said)
        gone = [{"imageTag": tag}, {"imageTag": f"{tag}.att"}]
        product.client().batch_delete_image(repositoryName=repository, imageIds=gone)
        assert product.ok(*WITHDRAW)["changed"] is False
        assert {count for count, _ in left(product).values()} == {1}

    def test_a_dry_run_names_bad_lists_too(self, view: RegistryView) -> None:
        """It tells what would remain."""
        repository, digest = view.images()[0]
        spoil(view, repository, digest)
        fails(view.product.run(*WITHDRAW, "--dry-run"), 4, f"{repository}:{list_tag(digest)}.att")

    def test_bad_lists_do_not_keep_another_run_from_the_rest(self, view: RegistryView) -> None:
        """The first run ended after the tags; the second one finds nothing else to do."""
        product, images = view.product, view.images()
        product.sandbox.ecr.order(Fault(path="/referrers/|/manifests/sha256-", status=403, count=None))
        assert product.run(*WITHDRAW).status == 5
        product.sandbox.ecr.cancel_faults()
        assert [len(view.entries(*image)) for image in images] == [2, 2]
        spoil(view, *images[0])
        fails(product.run(*WITHDRAW), 4, f"{list_tag(images[0][1])}.att")
        assert [view.entries(*image) for image in images] == [[], []]
        assert left(product)[images[1][0]][0] == 1

    def test_an_outage_in_one_repository_holds_up_no_other(self, view: RegistryView) -> None:
        """Where it fails after all attempts, the rest is not tried; another run does it."""
        product, images = view.product, view.images()
        repository, other = (name for name, _ in images)
        denied = Fault(action="BatchDeleteImage", repository=repository, skip=2, status=503, count=None)
        product.sandbox.ecr.order(denied)
        done = product.run(*WITHDRAW)
        fails(done, 5, "not everything that refers to the images", f"cannot delete the image {repository}@")
        tried = [each for each in view.entries(*images[0]) if f"remove {each['digest']}" in done.err]
        assert len(tried) == 1
        assert [len(view.entries(*image)) for image in images] == [2, 0]
        assert left(product)[other][0] == 1
        product.sandbox.ecr.cancel_faults()
        product.ok(*WITHDRAW)
        assert {count for count, _ in left(product).values()} == {1}

    def test_too_many_legacy_layers_are_refused(self, view: RegistryView) -> None:
        """And nothing of them is read."""
        product = view.product
        repository, digest = view.images()[0]
        tag = f"{list_tag(digest)}.att"
        manifest = view.manifest(repository, tag)
        manifest["layers"] = manifest["layers"] * 501
        assert view.put(f"{repository}/manifests/{tag}", manifest, OCI_MANIFEST).status_code == 201
        layers = {each["digest"] for each in manifest["layers"]}
        product.sandbox.ecr.forget_requests()
        said = f"{repository}:{tag} has 1002 layers, expected at most 1000"
        fails(product.run(*WITHDRAW), 4, said)
        assert not [each for each in product.sandbox.ecr.requests() if each.path[-71:] in layers]
        assert view.entries(repository, digest) == []

    def test_a_repeated_legacy_layer_is_read_once(self, view: RegistryView) -> None:
        """It is removed wherever it is listed."""
        product = view.product
        repository, digest = view.images()[0]
        tag = f"{list_tag(digest)}.att"
        manifest = view.manifest(repository, tag)
        layers = {each["digest"] for each in manifest["layers"]}
        manifest["layers"] = manifest["layers"] * 50
        assert view.put(f"{repository}/manifests/{tag}", manifest, OCI_MANIFEST).status_code == 201
        product.sandbox.ecr.forget_requests()
        assert product.ok(*WITHDRAW)["statementsRemoved"] == 8
        read = [each.path[-71:] for each in product.sandbox.ecr.requests() if each.method == "GET"]
        assert {each: read.count(each) for each in layers} == dict.fromkeys(layers, 1)
        assert view.get(f"{repository}/manifests/{tag}").status_code == 404

    def test_more_referrers_than_are_listed(
        self, view: RegistryView, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those that were listed go, and the error says that there are more."""
        product, images = view.product, view.images()
        for number in range(12):
            foreign(view, str(number), BUNDLE)
        monkeypatch.setattr("jenkins_release.registry.referrers.MOST_REFERRERS", 13)
        fails(product.run(*ATTACH), 5, "there are more than")
        # A page of the sandbox has 50 entries.
        fails(product.run(*WITHDRAW), 5, "there are more than")
        assert [len(view.entries(*image)) for image in images] == [0, 0]


class TestAttaching:
    """What others stored is read one by one."""

    def test_copies_of_a_statement_are_not_kept(self, view: RegistryView) -> None:
        """However many say the same by our own key: one of each is enough, and each content is read once."""
        product = view.product
        repository, digest = view.images()[0]
        entry = view.summary(repository, digest)
        manifest = view.manifest(repository, entry["digest"])
        (layer,) = manifest["layers"]
        said = read_sigstore(view.get(f"{repository}/blobs/{layer['digest']}").content, "the bundle")
        copies(product, repository, digest, said, 30)
        for number in range(10):
            manifest["annotations"] |= {"copy": str(number)}
            name = f"sha256:{sha256(json.dumps(manifest).encode()).hexdigest()}"
            assert view.put(f"{repository}/manifests/{name}", manifest, OCI_MANIFEST).status_code == 201
        assert len(view.entries(repository, digest)) == 42
        product.sandbox.ecr.forget_requests()
        counter = Counter()
        attach(product, counter)
        assert counter.most <= 8
        read = [each.path[-71:] for each in product.sandbox.ecr.requests() if each.method == "GET"]
        assert read.count(layer["digest"]) == 1
        assert len(view.entries(repository, digest)) == 42

    def test_legacy_layers_are_not_read(self, view: RegistryView) -> None:
        """What is attached is told from the descriptors."""
        repository, digest = view.images()[0]
        layers = view.manifest(repository, f"{list_tag(digest)}.att")["layers"]
        ecr = view.product.sandbox.ecr
        ecr.forget_requests()
        assert view.product.ok(*ATTACH)["changed"] is False
        read = {each.path[-71:] for each in ecr.requests()}
        assert not read & {each["digest"] for each in layers}

    def test_too_many_legacy_layers_are_refused(self, view: RegistryView) -> None:
        """The message says which tag, and what to do."""
        repository, digest = view.images()[0]
        tag = f"{list_tag(digest)}.att"
        manifest = view.manifest(repository, tag)
        manifest["layers"] = manifest["layers"] * 501
        assert view.put(f"{repository}/manifests/{tag}", manifest, OCI_MANIFEST).status_code == 201
        said = f"{repository}:{tag} has 1002 layers, expected at most 1000"
        fails(view.product.run(*ATTACH), 4, said, "remove the tag")

    def test_a_full_legacy_list_takes_no_more(self, view: RegistryView) -> None:
        """What is written can be read again."""
        repository, digest = view.images()[0]
        tag = f"{list_tag(digest)}.att"
        manifest = view.manifest(repository, tag)
        manifest["layers"] = manifest["layers"][:1] * 1000
        assert view.put(f"{repository}/manifests/{tag}", manifest, OCI_MANIFEST).status_code == 201
        fails(view.product.run(*ATTACH), 4, f"{repository}:{tag} has 1001 layers", "remove the tag")


class Counter:
    """Counts the statements that are in memory whenever the content of an artifact has been read."""

    def __init__(self) -> None:
        self.most = 0
        self._before = self._statements()
        gc.freeze()  # what is there already need not be looked through each time

    def passed(self, what: str) -> None:
        """Count."""
        if what == "referrers.blob":
            self.most = max(self.most, self._before + self._statements())

    @staticmethod
    def _statements() -> int:
        return sum(type(each) is ImageStatement for each in gc.get_objects())


def copies(product: Product, repository: str, digest: str, said: ImageStatement, number: int) -> None:
    """Attach statements by our key that say the same as another one, and are other bytes."""
    from jenkins_release.config import load_configuration
    from jenkins_release.steps.candidate.attest import trusted_key
    from jenkins_release.steps.context.services import Services

    configuration = load_configuration(None, environ=product.environ, options={})
    with Services(configuration, environ=product.environ) as services:
        signer = services.promotion_signer("", dry_run=False)
        manifest = services.referrers.manifest(repository, digest)
        assert signer is not None and manifest is not None
        artifacts = ImageArtifacts(repository, Subject.of(manifest), services)
        for each in range(number):
            again = sign_about_image(said.predicate_type, said.predicate, f"copy-{each}", digest, signer)
            artifacts.attach(again, trusted_key(signer, services).key)


class TestEnd:
    """A deletion and a retirement remove everything, whoever stored it."""

    @pytest.mark.parametrize("api", [True, False], ids=["API", "tags"])
    def test_bad_lists_go_with_a_deleted_image(self, view: RegistryView, api: bool) -> None:
        """Nothing in them is read."""
        product = view.product
        for image in view.images():
            spoil(view, *image)
        product.run(*WITHDRAW)
        if not api:
            without_api(product)
        product.ok(*DELETE)
        assert {tags == [] for _, tags in left(product).values()} == {True}
        assert {count for count, _ in left(product).values()} == {0}

    def test_bad_lists_go_with_a_retired_image(self, view: RegistryView, engine: DockerEngine) -> None:
        """The images are gone, and nothing of theirs is left."""
        product = view.product
        for image in view.images():
            spoil(view, *image)
        leave_window(product, engine)
        product.ok("release", "retire")
        assert [(count, tags) for count, tags in left(product).values()] == [(1, ["8.2.0"])] * 2

    @pytest.mark.parametrize("api", [True, False], ids=["API", "tags"])
    def test_a_list_that_names_another_image_does_not_delete_it(
        self, view: RegistryView, engine: DockerEngine, api: bool
    ) -> None:
        """Only what says itself that it refers to the image goes."""
        product, images = view.product, view.images()
        newer = publish(product, engine, "8.2.0", "1")
        for repository, digest in images:
            document = listing(newer[repository])
            name = f"{repository}/manifests/{list_tag(digest)}"
            assert view.put(name, document, OCI_INDEX).status_code == 201
        product.run(*WITHDRAW)
        if not api:
            without_api(product)
        product.ok(*DELETE)
        assert {name: tags["8.2.0"] for name, tags in product.tags().items()} == newer

    def test_a_list_that_the_registry_does_not_send_stays(self, promoted: Product) -> None:
        """Nothing else names what is on it: another run needs it."""
        make_mutable(promoted)
        without_api(promoted)
        promoted.ok(*ATTACH)
        foreign_on_list(RegistryView(promoted))
        promoted.ok(*WITHDRAW)
        promoted.sandbox.ecr.cancel_faults()
        denied = Fault(method="GET", path="/manifests/sha256-", status=403, count=None)
        promoted.sandbox.ecr.order(denied)
        without_api(promoted)
        assert promoted.run(*DELETE).status == 5
        promoted.sandbox.ecr.cancel_faults()
        without_api(promoted)
        promoted.ok(*DELETE)
        assert {count for count, _ in left(promoted).values()} == {0}

    def test_more_referrers_than_are_listed_at_once(
        self, view: RegistryView, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They go in rounds."""
        product = view.product
        for number in range(60):
            foreign(view, str(number))
        product.ok(*WITHDRAW)
        monkeypatch.setattr("jenkins_release.registry.referrers.MOST_REFERRERS", 10)
        product.ok(*DELETE)
        assert {count for count, _ in left(product).values()} == {0}

    def test_what_cannot_be_removed_keeps_its_image_and_no_other(self, view: RegistryView) -> None:
        """Another index lists an artifact: the image stays, so that another run finds what is left."""
        product = view.product
        foreign(view)
        (repository, digest), (other, _) = view.images()
        (artifact,) = (
            each["digest"] for each in view.entries(repository, digest) if each["artifactType"] != BUNDLE
        )
        assert view.put(f"{repository}/manifests/x", listing(artifact), OCI_INDEX).status_code == 201
        product.ok(*WITHDRAW)
        done = product.run(*DELETE)
        fails(done, 5, "not everything that refers to the images", f"{repository}@{artifact}")
        assert left(product)[other] == (0, [])
        count, tags = left(product)[repository]
        assert (count, len(tags)) == (3, 2)  # the image, the artifact and the index that lists it
        product.client().batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": "x"}])
        product.ok(*DELETE)
        assert {count for count, _ in left(product).values()} == {0}

    def test_a_retirement_does_the_others(self, view: RegistryView, engine: DockerEngine) -> None:
        """The image whose artifact is listed elsewhere keeps its tag; another run finishes."""
        product = view.product
        (repository, digest), (other, _) = view.images()
        artifact = view.entries(repository, digest)[0]["digest"]
        assert view.put(f"{repository}/manifests/x", listing(artifact), OCI_INDEX).status_code == 201
        leave_window(product, engine)
        done = product.run("release", "retire")
        fails(done, 5, "not everything that refers to the images", f"{repository}@{artifact}")
        assert left(product)[other] == (1, ["8.2.0"])
        assert left(product)[repository][1] == ["8.1.0", "8.2.0", "x"]
        product.client().batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": "x"}])
        product.ok("release", "retire")
        assert {*map(repr, left(product).values())} == {repr((1, ["8.2.0"]))}
