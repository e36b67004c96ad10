"""What refers to an image goes when the release that it vouches for goes."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import pytest

from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.ecr.faults import Fault
from tests.end_of_life.test_withdraw import leave_window
from tests.fixtures.attached import BUNDLE, OCI_MANIFEST, SUMMARY, RegistryView, statement_of
from tests.fixtures.release import Product, in_its_folder
from tests.referrers.test_attach import ATTACH, make_mutable, without_api
from tests.referrers.test_ends import OCI_INDEX, Died, Dying
from tests.release.boundaries import watched_services

WITHDRAW = ("release", "withdraw", "8.1.0", "--reason", "loses documents")


def left(product: Product) -> dict[str, tuple[int, list[str]]]:
    """Return repository to the number of its images and artifacts, and its tags."""
    client = product.client()
    found = {}
    for name in product.tags():
        details = client.describe_images(repositoryName=name)["imageDetails"]
        found[name] = (len(details), sorted(tag for each in details for tag in each.get("imageTags", [])))
    return found


@pytest.fixture(params=[False, True], ids=["API", "tags"])
def attached(promoted: Product, request: pytest.FixtureRequest) -> RegistryView:
    """A release with statements, also in the legacy form; in a registry with the API, and in one without."""
    make_mutable(promoted)
    promoted.append("\n[attestations]\nlegacy_tags = true\n")
    if request.param:
        without_api(promoted)
    promoted.ok(*ATTACH)
    return RegistryView(promoted)


def test_a_withdrawal_removes_what_vouches_for_the_release(attached: RegistryView) -> None:
    """The images stay under their pinning tags; nothing says of them any more that they passed."""
    product = attached.product
    dry = product.ok(*WITHDRAW, "--dry-run")
    assert dry["statementsRemoved"] == 8  # two images, two statements, two forms
    before = left(product)
    report = product.ok(*WITHDRAW)
    assert report["statementsRemoved"] == 8
    for name, (_, tags) in left(product).items():
        (pin,) = tags
        assert pin.startswith("withdrawn-8.1.0-42-"), (name, before)
    images = product.client().describe_images
    for name in product.tags():
        assert len(images(repositoryName=name)["imageDetails"]) == 1
    assert product.ok(*WITHDRAW)["changed"] is False


@pytest.fixture(params=[True, False], ids=["listed", "not listed"])
def upgraded(promoted: Product, request: pytest.FixtureRequest) -> RegistryView:
    """A release with statements in a list that clients keep; then the registry gets the referrers API.

    It must list what the list has ("Enabling the Referrers API"). Whether it does is not relied on.
    """
    make_mutable(promoted)
    promoted.append("\n[attestations]\nlegacy_tags = true\n")
    ecr = promoted.sandbox.ecr
    without_api(promoted)
    promoted.ok(*ATTACH)
    ecr.cancel_faults()
    if not request.param:
        saved = ecr.saved_repositories(promoted.prefix)
        for repository in saved.values():
            for image in repository["images"].values():
                image["subject"] = ""
        ecr.restore_repositories(promoted.prefix, saved)
    return RegistryView(promoted)


def test_a_registry_that_has_the_api_by_now_keeps_no_list(upgraded: RegistryView) -> None:
    """A withdrawal removes what either of the two lists, and the list."""
    product = upgraded.product
    assert product.ok(*WITHDRAW, "--dry-run")["statementsRemoved"] == 8
    assert product.ok(*WITHDRAW)["statementsRemoved"] == 8
    for count, tags in left(product).values():
        (pin,) = tags
        assert (count, pin.startswith("withdrawn-8.1.0-42-")) == (1, True)
    assert product.ok(*WITHDRAW)["changed"] is False


def test_a_deletion_in_a_registry_that_has_the_api_by_now(upgraded: RegistryView) -> None:
    """Also what others put on the list, which the withdrawal left."""
    product = upgraded.product
    product.ok(*WITHDRAW)
    for repository, tags in product.tags().items():
        ((_, digest),) = tags.items()
        kind = "application/vnd.example"
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": kind} | upgraded.send(repository, b"{}"),
            "layers": [{"mediaType": kind} | upgraded.send(repository, b"x")],
            "subject": {"mediaType": OCI_MANIFEST, "digest": digest, "size": 7},
        }
        data = json.dumps(manifest).encode()
        named = f"sha256:{sha256(data).hexdigest()}"
        assert upgraded.put(f"{repository}/manifests/{named}", manifest, OCI_MANIFEST).status_code == 201
        entry = {"mediaType": OCI_MANIFEST, "digest": named, "size": len(data)}
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        place = f"{repository}/manifests/{digest.replace(':', '-')}"
        assert upgraded.put(place, index, OCI_INDEX).status_code == 201
    product.ok(*WITHDRAW, "--delete", "--confirm", "8.1.0/42")
    assert {count for count, _ in left(product).values()} == {0}


def test_a_retirement_in_a_registry_that_has_the_api_by_now(
    upgraded: RegistryView, engine: DockerEngine
) -> None:
    """Nothing of the retired release is left, its list included."""
    product = upgraded.product
    leave_window(product, engine)
    product.ok("release", "retire")
    assert [(count, tags) for count, tags in left(product).values()] == [(1, ["8.2.0"])] * 2


def test_attaching_in_a_registry_that_has_the_api_by_now(upgraded: RegistryView) -> None:
    """What verifiers find by the API counts: they read no list there."""
    listed = [len(upgraded.entries(*image)) for image in upgraded.images()]
    assert upgraded.product.ok(*ATTACH)["changed"] is (listed == [0, 0])
    assert [len(upgraded.entries(*image)) for image in upgraded.images()] == [2, 2]


@pytest.mark.parametrize("upgraded", [True], indirect=True)
def test_a_withdrawal_that_died_in_a_registry_that_has_the_api_by_now(
    upgraded: RegistryView,
) -> None:
    """Whatever it has changed last, another run finishes it."""
    product = upgraded.product
    product.environ = in_its_folder(product)
    kept = product.sandbox.ecr.saved_repositories(product.prefix)
    product.ok(*WITHDRAW)
    done = product.sandbox.ecr.saved_repositories(product.prefix)
    product.sandbox.ecr.restore_repositories(product.prefix, kept)
    watcher = Dying()
    with watched_services(watcher):
        product.ok(*WITHDRAW)
    calls = watcher.calls
    removals = [
        n for n, each in enumerate(calls, 1) if each in {"registry.remove_tag", "registry.remove_image"}
    ]
    assert len(removals) >= 8
    for number in removals:
        product.sandbox.ecr.restore_repositories(product.prefix, kept)
        with watched_services(Dying(number)), pytest.raises(Died):
            product.run(*WITHDRAW)
        product.ok(*WITHDRAW)
        assert sizes(product.sandbox.ecr.saved_repositories(product.prefix)) == sizes(done)


def sizes(repositories: Any) -> dict[str, tuple[list[str], list[str]]]:
    """Return repository to its images and its tags."""
    return {name: (sorted(each["images"]), sorted(each["tags"])) for name, each in repositories.items()}


def test_a_withdrawal_that_could_not_remove_them_is_finished_by_another(promoted: Product) -> None:
    """The tags are gone already then: nothing holds that up."""
    promoted.ok(*ATTACH)
    view = RegistryView(promoted)
    images = view.images()
    promoted.sandbox.ecr.order(Fault(path="/referrers/", status=403, count=None))
    assert promoted.run(*WITHDRAW).status == 5
    promoted.sandbox.ecr.cancel_faults()
    assert view.images() == []
    assert [len(view.entries(*image)) for image in images] == [2, 2]
    report = promoted.ok(*WITHDRAW)
    assert (report["statementsRemoved"], report["changed"]) == (4, True)
    assert [view.entries(*image) for image in images] == [[], []]


def test_another_release_of_the_same_image_keeps_its_statements(promoted: Product) -> None:
    """A withdrawal removes only those that name the release itself, in each form."""
    promoted.append("\n[attestations]\nlegacy_tags = true\n")
    make_mutable(promoted)
    promoted.ok(*ATTACH)
    promoted.ok("candidate", "export", "--version", "8.1.1", "--build", "42", *images_of(promoted))
    promoted.sign_off("8.1.1/42")
    promoted.ok("promote", "run", "8.1.1/42")
    promoted.ok("release", "attach", "8.1.1")
    view = RegistryView(promoted)
    assert [len(view.entries(*image)) for image in view.images()] == [4, 4]
    images = view.images()
    promoted.ok(*WITHDRAW)
    for repository, digest in images:
        said = [statement_of(each) for each in view.bundles(repository, digest).values()]
        assert {each["predicateType"] for each in said if release(each) == "8.1.1"} >= {SUMMARY}
        assert {release(each) for each in said} == {"8.1.1"}
        legacy = view.manifest(repository, f"{digest.replace(':', '-')}.att")["layers"]
        envelopes = [view.get(f"{repository}/blobs/{layer['digest']}").json() for layer in legacy]
        assert [release(statement_of(each)) for each in envelopes] == ["8.1.1"] * 2


def release(statement: Any) -> str:
    """Return the version that a statement is about."""
    own = next(each for name, each in statement["predicate"].items() if "jenkins" in name)
    return str(own["release"].partition("@")[2].partition("?")[0])


def images_of(product: Product) -> tuple[str, ...]:
    """Let the configuration name the images of 8.1.0/42, whatever is exported."""
    product.edit(":{version}-{build}", ":8.1.0-42")
    return ()


def foreign(view: RegistryView, by: str = "another", kind: str = "application/vnd.example") -> None:
    """Attach something of another program to each image."""
    for repository, digest in view.images():
        bundles = view.get(f"{repository}/referrers/{digest}?{urlencode({'artifactType': BUNDLE})}").json()
        manifest = view.manifest(repository, bundles["manifests"][0]["digest"])
        manifest |= {"artifactType": kind, "annotations": {"by": by}}
        data = f"sha256:{sha256(json.dumps(manifest).encode()).hexdigest()}"
        assert view.put(f"{repository}/manifests/{data}", manifest, OCI_MANIFEST).status_code == 201


def test_a_deletion_removes_everything_that_refers_to_the_images(promoted: Product) -> None:
    """What others attached too: it would refer to nothing."""
    promoted.ok(*ATTACH)
    view = RegistryView(promoted)
    foreign(view)
    promoted.ok(*WITHDRAW)
    assert {images for images, _ in left(promoted).values()} == {2}
    promoted.ok(*WITHDRAW, "--delete", "--confirm", "8.1.0/42")
    assert {images for images, _ in left(promoted).values()} == {0}


def test_a_deletion_that_died_after_the_statements_is_finished(promoted: Product) -> None:
    """They go before the image, so that there is something left to find."""
    promoted.ok(*ATTACH)
    foreign(RegistryView(promoted))
    promoted.ok(*WITHDRAW)
    delete = (*WITHDRAW, "--delete", "--confirm", "8.1.0/42")
    denied = Fault(action="BatchDeleteImage", status=400, skip=1, code="AccessDeniedException")
    promoted.sandbox.ecr.order(denied)
    assert promoted.run(*delete).status == 5
    promoted.ok(*delete)
    assert {images for images, _ in left(promoted).values()} == {0}


def test_a_retirement_removes_everything_that_refers_to_the_images(
    attached: RegistryView, engine: DockerEngine
) -> None:
    """8.1 leaves the support window; the newer release keeps its statements."""
    product = attached.product
    leave_window(product, engine)
    product.ok("release", "attach", "8.2.0")
    newer = {name: tags["8.2.0"] for name, tags in product.tags().items()}
    report = product.ok("release", "retire")
    assert [each["tag"] for each in report["removed"]] == ["8.1.0", "8.1.0"]
    for name, (_, tags) in left(product).items():
        listed = newer[name].replace(":", "-")
        assert set(tags) <= {"8.2.0", listed, f"{listed}.att"}
    assert product.ok("release", "attach", "8.2.0")["changed"] is False
