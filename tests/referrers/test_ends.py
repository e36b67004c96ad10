"""Attaching that dies or meets somebody else: another run completes it, and nothing is attached twice."""

from __future__ import annotations

import gc
import signal
from typing import Any

import pytest

from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.promotion.promote import PromoteRequest, promote
from jenkins_release.steps.release.attach import AttachRequest, attach_attestations
from tests.fixtures.attached import BUNDLE, RegistryView
from tests.fixtures.process import signalled, started
from tests.fixtures.release import Product, in_its_folder
from tests.referrers.test_attach import ATTACH, attaching, make_mutable, without_api
from tests.release.boundaries import Moment, Witness, deaths, only_reads, watched_services

ENDS_S = 8.0
"""Seconds in which a command has ended that may take two."""
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


class Died(BaseException):
    """The process is gone."""


class Dying:
    """Takes note of calls, and dies after one of them."""

    def __init__(self, after: int = 0) -> None:
        self.calls: list[str] = []
        self._after = after

    def passed(self, what: str) -> None:
        """Take note of a call."""
        self.calls.append(what)
        if len(self.calls) == self._after:
            raise Died


def attach(product: Product, observer: Any) -> None:
    """Run the command in this process, with its services watched."""
    from jenkins_release.config import load_configuration
    from jenkins_release.steps.context.services import Services

    configuration = load_configuration(None, environ=product.environ, options={})
    with watched_services(observer), Services(configuration, environ=product.environ) as services:
        attach_attestations(AttachRequest("8.1.0"), services)


def detach(product: Product) -> None:
    """Remove everything that refers to the images, and the tags of clients."""
    client = product.client()
    for name, tags in product.tags().items():
        details = client.describe_images(repositoryName=name)["imageDetails"]
        # Lists before what they list.
        for each in sorted(details, key=lambda detail: "index" not in detail["imageManifestMediaType"]):
            if each["imageDigest"] != tags["8.1.0"]:
                gone = [{"imageDigest": each["imageDigest"]}]
                assert not client.batch_delete_image(repositoryName=name, imageIds=gone)["failures"]


def complete(view: RegistryView, by_tag: bool) -> None:
    """Check that each image has its two statements, once, and all of them in the legacy form."""
    for repository, digest in view.images():
        tag = digest.replace(":", "-")
        document = view.manifest(repository, tag) if by_tag else {}
        listed = document.get("manifests") or view.entries(repository, digest)
        kinds = [each["annotations"]["dev.sigstore.bundle.predicateType"] for each in listed]
        assert len(kinds) == len({*kinds}) == 2, kinds
        assert len(view.manifest(repository, f"{tag}.att")["layers"]) == 2


@pytest.mark.parametrize("by_tag", [False, True], ids=["API", "tags"])
def test_attaching_that_died_is_completed_by_another_run(promoted: Product, by_tag: bool) -> None:
    """After any change. What was stored and is not listed yet, without the API, does no harm."""
    attaching(promoted, legacy=True)
    make_mutable(promoted)
    # Nothing on the share changes.
    promoted.environ = in_its_folder(promoted)
    if by_tag:
        without_api(promoted)
    view, whole = RegistryView(promoted), Dying()
    attach(promoted, Dying())
    complete(view, by_tag)
    detach(promoted)
    # The registry has the empty config and what is signed the same each time, as it has in what follows.
    attach(promoted, whole)
    moments = deaths(whole.calls)
    assert len(moments) > 10
    gc.freeze()  # the collector need not look through what is there already
    for number in moments:
        detach(promoted)
        with pytest.raises(Died):
            attach(promoted, Dying(number))
        gc.collect()  # the lease of one that died ends with its process; here, with what held it
        promoted.ok(*ATTACH)
        complete(view, by_tag)
    assert promoted.ok(*ATTACH)["changed"] is False


def test_a_list_that_someone_else_changes_at_the_same_time_loses_nothing(promoted: Product) -> None:
    """Without the API, a list is read, changed and written as a whole: it is read back, and changed again."""
    make_mutable(promoted)
    without_api(promoted)
    promoted.ok(*ATTACH)
    view = RegistryView(promoted)
    (repository, digest), _ = view.images()
    tag = digest.replace(":", "-")
    detach(promoted)

    def interfere() -> None:
        """Write another list, as somebody who read it before us."""
        assert len(view.manifest(repository, tag)["manifests"]) == 1
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
        assert view.put(f"{repository}/manifests/{tag}", document, OCI_INDEX).status_code == 201

    # The first manifest is that of the artifact, the second the list.
    moment = Moment("blobs.put_manifest", 2, interfere)
    attach(promoted, moment)
    assert moment.came
    listed = view.manifest(repository, tag)["manifests"]
    assert [each["artifactType"] for each in listed] == [BUNDLE, BUNDLE]


class Broken:
    """A registry client with a defect."""

    def passed(self, what: str) -> None:
        """Fail when it is asked for a manifest."""
        if what == "referrers.manifest":
            raise RuntimeError("hunter2")


def test_a_defect_does_not_fail_a_promotion(validated: Product) -> None:
    """It is named like one, without its text, in which anything may be."""
    from jenkins_release.config import load_configuration
    from jenkins_release.steps.context.services import Services

    attaching(validated)
    configuration = load_configuration(None, environ=validated.environ, options={})
    with watched_services(Broken()), Services(configuration, environ=validated.environ) as services:
        report = promote(PromoteRequest(CandidateRef("8.1.0", "42")), services)
    assert report.changed and report.attestation
    assert report.attachment is not None
    assert report.attachment.problem.startswith("unexpected RuntimeError at test_ends.py")
    assert "hunter2" not in report.attachment.problem
    assert report.attachment.command == "jenkins-release release attach 8.1.0 --build 42"
    assert len(RegistryView(validated).images()) == 2


def test_reading_changes_nothing(promoted: Product) -> None:
    """Neither a dry run nor a run that finds everything; and what is said to read only does."""
    promoted.ok(*ATTACH)

    def outside() -> object:
        saved = promoted.sandbox.ecr.saved_repositories(promoted.prefix)
        for repository in saved.values():
            for image in repository["images"].values():
                image["pulled_at"] = None
        return saved

    witness = Witness(outside)
    attach(promoted, witness)
    assert not witness.changed
    assert all(only_reads(call) for call in witness.calls if call.startswith(("blobs", "referrers")))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_registry_that_does_not_answer_does_not_hold_up_the_end(
    promoted: Product, warm_python: str, number: signal.Signals
) -> None:
    """The command ends at once, and another one attaches everything."""
    ecr = promoted.sandbox.ecr
    ecr.order(Fault(path="/referrers/", latency_s=30.0))
    ecr.forget_requests()
    process = started([warm_python, "-m", "jenkins_release", *ATTACH], promoted.environ)
    ended = signalled(process, number, lambda: any("/referrers/" in each.path for each in ecr.requests()))
    assert ended.status == (130 if number == signal.SIGINT else 143), ended.err
    assert ended.took_s < ENDS_S
    assert "Traceback" not in ended.err
    assert promoted.ok(*ATTACH)["changed"] is True
