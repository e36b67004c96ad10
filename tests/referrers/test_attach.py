"""What ``release attach`` leaves in the registry, and who can verify it with nothing but a public key."""

from __future__ import annotations

import base64
import copy
import json
from hashlib import sha256
from typing import Any

import pytest

from jenkins_release.sandbox.ecr.faults import Fault
from tests.candidate.test_documents import configure, put
from tests.fixtures.attached import (
    BUNDLE,
    OCI_MANIFEST,
    PROVENANCE,
    SUMMARY,
    RegistryView,
    statement_of,
    verify_with_cosign,
    verify_with_sigstore,
)
from tests.fixtures.command import fails
from tests.fixtures.notify import Hook, hook_section
from tests.fixtures.release import Product, promote
from tests.fixtures.sbom import buildkit_spdx, buildkit_statement, openvex, syft_spdx, trivy_cyclonedx
from tests.release.boundaries import watched_services

ATTACH = ("release", "attach", "8.1.0")
NO_API = (
    Fault(path="/referrers/", status=404, code="NOT_FOUND", count=None),
    Fault(method="PUT", path="/manifests/", subject="ignored", count=None),
)


@pytest.fixture
def attached(promoted: Product) -> RegistryView:
    """A release whose images have statements attached."""
    promoted.ok(*ATTACH)
    return RegistryView(promoted)


def writes(product: Product) -> list[str]:
    """Return the requests that changed the registry since they were last forgotten."""
    return [
        each.label
        for each in product.sandbox.ecr.requests()
        if (each.action or each.method) not in {"GET", "HEAD", *_READS}
    ]


_READS = ("GetAuthorizationToken", "DescribeRepositories", "BatchGetImage", "DescribeImages")


def test_each_image_gets_a_summary_and_the_provenance(promoted: Product) -> None:
    """As artifacts in the form of Sigstore's bundle specification, about exactly that image."""
    report = promoted.ok(*ATTACH)
    view = RegistryView(promoted)
    images = view.images()
    assert report["changed"] is True and report["candidate"] == "8.1.0/42"
    assert [(each["repository"], each["predicateType"]) for each in report["statements"]] == [
        (repository, kind) for repository, _ in images for kind in (SUMMARY, PROVENANCE)
    ]
    for repository, digest in images:
        subject = view.get(f"{repository}/manifests/{digest}")
        for entry in view.entries(repository, digest):
            manifest = view.manifest(repository, entry["digest"])
            assert manifest["subject"] == {
                "mediaType": subject.headers["Content-Type"],
                "digest": digest,
                "size": len(subject.content),
            }
            assert entry["artifactType"] == manifest["artifactType"] == BUNDLE
            assert manifest["config"] == {
                "mediaType": "application/vnd.oci.empty.v1+json",
                "digest": f"sha256:{sha256(b'{}').hexdigest()}",
                "size": 2,
            }
            assert [layer["mediaType"] for layer in manifest["layers"]] == [BUNDLE]
            annotations = entry["annotations"]
            assert annotations.pop("org.opencontainers.image.created")
            kind = annotations.pop("dev.sigstore.bundle.predicateType")
            assert (kind in {SUMMARY, PROVENANCE}, annotations) == (
                True,
                {"dev.sigstore.bundle.content": "dsse-envelope"},
            )
        for kind, bundle in view.bundles(repository, digest).items():
            (signature,) = bundle["dsseEnvelope"]["signatures"]
            assert list(signature) == ["sig"]  # cosign skips a signature with a key id that it does not know
            statement = statement_of(bundle)
            assert set(statement) == {"_type", "subject", "predicateType", "predicate"}
            name = f"{report['registry']}/{repository}"
            assert statement["subject"] == [{"name": name, "digest": {"sha256": digest[7:]}}]
            assert statement["predicateType"] == kind


def test_the_statements_say_what_was_verified_and_who_vouches(attached: RegistryView) -> None:
    """The summary relies on the chain up to the promotion; provenance is the build's, and says from where."""
    repository, digest = attached.images()[0]
    bundles = attached.bundles(repository, digest)
    folder = attached.product.candidate() / "attestations"
    chain = {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    summary = statement_of(bundles[SUMMARY])["predicate"]
    assert (summary["verificationResult"], summary["verifiedLevels"]) == ("PASSED", ["SLSA_BUILD_LEVEL_1"])
    release = "pkg:generic/SkyDRM@8.1.0?build=42"
    assert summary["resourceUri"] == release
    named = {each["uri"]: each["digest"]["sha256"] for each in summary["inputAttestations"]}
    assert named == {f"{release}#attestations/{name}": digest for name, digest in chain.items()}
    said = statement_of(bundles[PROVENANCE])["predicate"]
    own = said.pop("nextlabs_jenkinsRelease")
    build = json.loads((folder / "0001-build.dsse.json").read_text())
    built = json.loads(base64.b64decode(build["payload"]))["predicate"]
    del built["nextlabs_jenkinsRelease"]
    assert said == built
    assert own == {
        "release": release,
        "vouchedForBy": "promotion",
        "restates": [
            {
                "uri": f"{release}#attestations/0001-build.dsse.json",
                "digest": {"sha256": chain["0001-build.dsse.json"]},
            }
        ],
    }


def test_sigstores_own_verifier_accepts_what_was_attached(attached: RegistryView) -> None:
    """Read back from the registry, with the public key of the promotion and nothing else."""
    for repository, digest in attached.images():
        for kind, bundle in attached.bundles(repository, digest).items():
            done = verify_with_sigstore(bundle, attached.key(), digest)
            assert (done.returncode, done.stdout) == (0, kind), done.stderr


def test_cosign_accepts_what_was_attached(attached: RegistryView) -> None:
    """Both statements of an image, with the options of docs/verify.md and nothing but the public key."""
    image, other = attached.images()
    for kind, bundle in attached.bundles(*image).items():
        done = verify_with_cosign(attached, image, attached.key(), kind, "--new-bundle-format")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["payload"] == bundle["dsseEnvelope"]["payload"]
    refused = verify_with_cosign(attached, image, attached.key("qa"), SUMMARY, "--new-bundle-format")
    assert refused.returncode != 0
    assert "accepted signatures do not match threshold" in refused.stderr
    refused = verify_with_cosign(attached, other, attached.key(), "openvex", "--new-bundle-format")
    assert refused.returncode != 0


def test_another_promotion_key_adds_its_own_statements(attached: RegistryView) -> None:
    """Each key vouches for itself: here one of ECDSA P-256, after one of Ed25519."""
    product = attached.product
    new = product.folder / "keys" / "promotion2.pem"
    product.ok("keys", "generate", str(new), "--type", "ecdsa-p256")
    old = product.folder / "keys" / "promotion.pem"
    product.edit(f'promotion_key = "file2:{old}"', f'promotion_key = "file2:{new}"')
    product.append(f"\n[[trusted_keys]]\nname = 'new'\nroles = ['promotion']\npublic_key = '{new}.pub'\n")
    report = product.ok(*ATTACH)
    assert {each["added"] for each in report["statements"]} == {True}
    assert product.ok(*ATTACH)["changed"] is False
    for each in report["statements"]:
        repository, digest = each["repository"], each["digest"]
        assert len(attached.entries(repository, digest)) == 4
        (layer,) = attached.manifest(repository, each["artifact"])["layers"]
        bundle = attached.get(f"{repository}/blobs/{layer['digest']}").json()
        done = verify_with_sigstore(bundle, attached.key("promotion2"), digest)
        assert (done.returncode, done.stdout) == (0, each["predicateType"]), done.stderr
    image = attached.images()[0]
    done = verify_with_cosign(attached, image, attached.key("promotion2"), SUMMARY, "--new-bundle-format")
    assert done.returncode == 0, done.stderr


def test_sigstores_own_verifier_refuses_everything_else(attached: RegistryView) -> None:
    """Another payload, key or image, two signatures, and none."""
    (repository, digest), (_, other) = attached.images()
    bundle = attached.bundles(repository, digest)[SUMMARY]

    def refused(why: str, changed: Any, key: str = "promotion", image: str = digest) -> None:
        done = verify_with_sigstore(changed, attached.key(key), image)
        assert done.returncode == 1 and why in done.stderr, done.stderr

    changed = copy.deepcopy(bundle)
    statement = statement_of(bundle)
    statement["predicate"]["verifiedLevels"] = ["SLSA_BUILD_LEVEL_3"]
    changed["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    refused("signature verification failed", changed)
    refused("key not found", bundle, key="qa")
    foreign = copy.deepcopy(bundle)
    spki = "".join(attached.key("qa").splitlines()[1:-1])
    hint = base64.b64encode(sha256(base64.b64decode(spki)).digest()).decode()
    foreign["verificationMaterial"]["publicKey"]["hint"] = hint
    refused("signature verification failed", foreign, key="qa")
    refused("no subject has the digest", bundle, image=other)
    for number in (2, 0):
        changed = copy.deepcopy(bundle)
        changed["dsseEnvelope"]["signatures"] *= number
        refused("invalid bundle", changed)


def test_attaching_again_changes_nothing(attached: RegistryView) -> None:
    """What is there, is about the image and says the same by the same key is left as it is."""
    before = [attached.entries(*image) for image in attached.images()]
    attached.product.sandbox.ecr.forget_requests()
    report = attached.product.ok(*ATTACH)
    assert (report["changed"], {each["added"] for each in report["statements"]}) == (False, {False})
    assert writes(attached.product) == []
    assert [attached.entries(*image) for image in attached.images()] == before
    # A bundle for customers is a further attestation, and no reason for another summary here.
    bundle = str(attached.product.folder / "b.jsonl")
    attached.product.ok("release", "attestations", "8.1.0", "--out", bundle)
    assert attached.product.ok(*ATTACH)["changed"] is False


def test_a_dry_run_needs_no_key_and_attaches_nothing(promoted: Product) -> None:
    """It tells what would be attached, and what is."""
    promoted.edit("promotion_key", "# promotion_key")
    report = promoted.ok(*ATTACH, "--dry-run")
    assert (report["changed"], report["dryRun"]) == (False, True)
    assert {(each["added"], each["artifact"]) for each in report["statements"]} == {(True, "")}
    view = RegistryView(promoted)
    assert [view.entries(*image) for image in view.images()] == [[], []]
    fails(promoted.run(*ATTACH), 2, "no promotion key to sign with")


def test_what_others_attached_is_neither_believed_nor_in_the_way(promoted: Product) -> None:
    """A statement by another key, about another image, and something that is no bundle at all."""
    promoted.ok(*ATTACH)
    view = RegistryView(promoted)
    (repository, digest), (other_repository, other) = view.images()
    theirs = view.manifest(other_repository, view.entries(other_repository, other)[0]["digest"])
    stored = view.get(f"{other_repository}/blobs/{theirs['layers'][0]['digest']}").content
    (mine, second) = view.entries(repository, digest)
    client = promoted.client()
    gone = [{"imageDigest": mine["digest"]}, {"imageDigest": second["digest"]}]
    client.batch_delete_image(repositoryName=repository, imageIds=gone)
    for content in (stored, b"no bundle", stored.replace(b'"sig":"', b'"sig":"AAAA')):
        data = content
        begun = view._http.post(f"{view.endpoint}/v2/{repository}/blobs/uploads/", timeout=30)
        blob = f"sha256:{sha256(data).hexdigest()}"
        place = begun.headers["Location"]
        assert view._http.put(place, params={"digest": blob}, data=data, timeout=30).status_code == 201
        manifest = view.manifest(other_repository, view.entries(other_repository, other)[0]["digest"])
        manifest["subject"]["digest"] = digest
        manifest["layers"][0] |= {"digest": blob, "size": len(data)}
        document = json.dumps(manifest).encode()
        name = f"{repository}/manifests/sha256:{sha256(document).hexdigest()}"
        assert view.put(name, manifest, OCI_MANIFEST).status_code == 201
    done = promoted.run(*ATTACH)
    assert done.status == 0, done.text
    assert "is ignored" in done.err
    assert len(view.entries(repository, digest)) == 5


def test_an_account_that_takes_no_referrers_loses_nothing(promoted: Product) -> None:
    """Status 405: a message that says so, the release as it was, and a second run that attaches all."""
    before = promoted.tags()
    promoted.sandbox.ecr.order(Fault(method="PUT", path="/manifests/sha256", subject="refused"))
    done = promoted.run(*ATTACH)
    fails(done, 5, "the registry does not take what refers to an image", "repeat 'release attach'")
    assert promoted.tags() == before
    assert promoted.ok(*ATTACH)["changed"] is True


def test_a_registry_without_the_api_gets_a_list_under_a_tag(promoted: Product) -> None:
    """The entries keep type and annotations; attaching again adds none."""
    make_mutable(promoted)
    without_api(promoted)
    promoted.ok(*ATTACH)
    view = RegistryView(promoted)
    for repository, digest in view.images():
        index = view.manifest(repository, digest.replace(":", "-"))
        assert [each["artifactType"] for each in index["manifests"]] == [BUNDLE, BUNDLE]
        for entry in index["manifests"]:
            assert entry["annotations"] == view.manifest(repository, entry["digest"])["annotations"]
    assert promoted.ok(*ATTACH)["changed"] is False


def test_an_immutable_list_is_a_clear_message(promoted: Product) -> None:
    """A repository without the API whose tags cannot be set again: what to exclude."""
    without_api(promoted)
    done = promoted.run(*ATTACH)
    fails(done, 2, "cannot be changed, because the repository's tags are immutable", "filter=sha256-*")


def without_api(product: Product) -> None:
    """Let the registry have no referrers API."""
    for fault in NO_API:
        product.sandbox.ecr.order(fault)


def make_mutable(product: Product) -> None:
    """Let every tag of the product's repositories be moved."""
    client = product.client()
    for name in product.tags():
        client.put_image_tag_mutability(repositoryName=name, imageTagMutability="MUTABLE")


def test_a_candidate_that_was_not_promoted_gets_no_statements(validated: Product) -> None:
    """There are no images to attach them to."""
    fails(validated.run(*ATTACH), 2, "was not released")


def test_a_withdrawn_release_gets_no_statements(promoted: Product) -> None:
    """They would say that it passed."""
    promoted.ok("release", "withdraw", "8.1.0", "--reason", "bad")
    fails(promoted.run(*ATTACH), 3, "nothing is attached to the images of 8.1.0/42")


class Withdrawing:
    """Withdraws the release while its statements are attached."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self.status: int | None = None

    def passed(self, what: str) -> None:
        """Begin once the first statement is there."""
        if what == "blobs.put_manifest" and self.status is None:
            self.status = -1  # what the withdrawal itself does is no beginning
            self.status = self._product.run("release", "withdraw", "8.1.0", "--reason", "bad").status


def test_a_release_is_not_withdrawn_while_statements_are_attached(promoted: Product) -> None:
    """Otherwise the withdrawal would remove those that are there, and another would follow it."""
    withdrawing = Withdrawing(promoted)
    with watched_services(withdrawing):
        promoted.ok(*ATTACH)
    assert withdrawing.status == 6
    report = promoted.ok("release", "withdraw", "8.1.0", "--reason", "bad")
    assert report["statementsRemoved"] == 4
    view = RegistryView(promoted)
    assert all(not view.entries(*image) for image in view.images())


def test_a_statement_that_cosign_would_not_accept_is_attached_again(attached: RegistryView) -> None:
    """Cosign skips a signature with the id of another key; what was signed is the same."""
    product = attached.product
    repository, digest = attached.images()[0]
    old = attached.summary(repository, digest)
    manifest = attached.manifest(repository, old["digest"])
    bundle = attached.get(f"{repository}/blobs/{manifest['layers'][0]['digest']}").json()
    bundle["dsseEnvelope"]["signatures"][0]["keyid"] = "of another key"
    manifest["layers"][0] |= attached.send(repository, json.dumps(bundle).encode())
    client = product.client()
    ids = [{"imageDigest": old["digest"]}]
    assert not client.batch_delete_image(repositoryName=repository, imageIds=ids)["failures"]
    name = f"sha256:{sha256(json.dumps(manifest).encode()).hexdigest()}"
    assert attached.put(f"{repository}/manifests/{name}", manifest, OCI_MANIFEST).status_code == 201
    added = [each for each in product.ok(*ATTACH)["statements"] if each["added"]]
    assert [(each["digest"], each["predicateType"]) for each in added] == [(digest, SUMMARY)]
    assert product.ok(*ATTACH)["changed"] is False


def attaching(product: Product, legacy: bool = False) -> None:
    """Let promotions of a product attach statements."""
    product.append(f"\n[attestations]\nattach = true\nlegacy_tags = {str(legacy).lower()}\n")


def test_a_promotion_attaches_as_its_last_step(validated: Product) -> None:
    """If it is configured; a second run finds nothing to do."""
    attaching(validated)
    report = validated.ok("promote", "run", "8.1.0/42")
    view = RegistryView(validated)
    assert {kind for image in view.images() for kind in view.bundles(*image)} == {SUMMARY, PROVENANCE}
    assert {each["added"] for each in report["attached"]} == {True}
    assert (report["attachProblem"], report["attachCommand"]) == ("", "")
    again = validated.ok("promote", "run", "8.1.0/42")
    assert (again["changed"], {each["added"] for each in again["attached"]}) == (False, {False})


def test_a_promotion_is_complete_whether_or_not_statements_can_be_attached(
    validated: Product, hook: Hook
) -> None:
    """A warning, with the command that tries again; the exit status is that of the promotion."""
    attaching(validated)
    validated.append(hook_section())
    validated.environ["JENKINS_RELEASE_WEBHOOK_URL"] = hook.url
    refused = Fault(method="PUT", path="/manifests/sha256", subject="refused", count=2)
    validated.sandbox.ecr.order(refused)
    for changed in (True, False):
        done = validated.run("promote", "run", "8.1.0/42", "--json")
        assert done.status == 0, done.text
        command = "jenkins-release release attach 8.1.0 --build 42"
        assert f"not everything is attached to its images: {done.json['attachProblem']}" in done.err
        assert f"to try again: {command}" in done.err
        assert done.json["attachCommand"] == command
        assert (done.json["changed"], done.json["attached"]) == (changed, [])
    (promoted,) = hook.documents  # a second run that promotes nothing tells nobody
    assert command in repr(promoted)
    view = RegistryView(validated)
    assert len(view.images()) == 2
    assert validated.ok(*["release", "attach", "8.1.0", "--build", "42"])["changed"] is True


def test_tools_that_read_no_bundles_get_legacy_tags(validated: Product) -> None:
    """The same envelopes as layers of an image, and a repository in which these tags may change."""
    attaching(validated, legacy=True)
    validated.ok("promote", "run", "8.1.0/42")
    view = RegistryView(validated)
    client = validated.client()
    for repository, digest in view.images():
        described = client.describe_repositories(repositoryNames=[repository])["repositories"][0]
        (excluded,) = described["imageTagMutabilityExclusionFilters"]
        assert excluded["filter"] == "sha256-*"
        manifest = view.manifest(repository, f"{digest.replace(':', '-')}.att")
        assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
        bundles = view.bundles(repository, digest)
        for layer in manifest["layers"]:
            assert layer["mediaType"] == "application/vnd.dsse.envelope.v1+json"
            envelope = view.get(f"{repository}/blobs/{layer['digest']}").json()
            kind = statement_of(envelope)["predicateType"]
            said = {"dev.cosignproject.cosign/signature": "", "predicateType": kind}
            assert layer["annotations"] == said
            assert envelope == bundles.pop(kind)["dsseEnvelope"]
        assert not bundles
    done = verify_with_cosign(view, view.images()[0], view.key(), SUMMARY)
    assert done.returncode == 0, done.stderr
    validated.sandbox.ecr.forget_requests()
    validated.ok(*ATTACH)
    assert writes(validated) == []


def test_sbom_and_vex_are_attached_as_they_are(product: Product, images_42: list[str]) -> None:
    """Each document is the predicate of a statement; of a statement from BuildKit, its predicate is."""
    del images_42
    spdx, cdx, vex = syft_spdx("skydrm/rms"), trivy_cyclonedx("skydrm/viewer:8.1.0-42"), openvex()
    statement = buildkit_statement(buildkit_spdx(), name="pkg:docker/skydrm/viewer@8.1.0-42")
    put(product, rms__spdx=spdx, rms__vex=vex, viewer__cdx=cdx, viewer__buildkit=statement)
    configure(product, "rms", sbom=["out/rms.spdx.json"], vex=["out/rms.vex.json"])
    configure(product, "viewer", sbom=["out/viewer.*.json"])
    promote(product)
    report = product.ok(*ATTACH)
    view = RegistryView(product)
    found = {
        (repository.rpartition("/")[2], kind): bundle
        for repository, digest in view.images()
        for kind, bundle in view.bundles(repository, digest).items()
        if kind not in {SUMMARY, PROVENANCE}
    }
    assert {place: statement_of(bundle)["predicate"] for place, bundle in found.items()} == {
        ("rms", "https://spdx.dev/Document"): spdx,
        ("rms", "https://openvex.dev/ns"): vex,
        ("viewer", "https://cyclonedx.org/bom"): cdx,
        ("viewer", "https://spdx.dev/Document"): statement["predicate"],
    }
    assert len(report["statements"]) == 2 * 2 + 4
    (_, digest), _ = view.images()
    done = verify_with_sigstore(found["rms", "https://spdx.dev/Document"], view.key(), digest)
    assert done.returncode == 0, done.stderr
    assert product.ok(*ATTACH)["changed"] is False
    document = product.candidate() / "sbom" / "rms.spdx.json"
    document.write_bytes(document.read_bytes().replace(b"name", b"nome", 1))
    fails(product.run(*ATTACH), 4, "rms.spdx.json: expected")


def test_a_dry_run_of_a_promotion_attaches_nothing(promoted: Product) -> None:
    """Not even if it has a key, and everything else is done."""
    attaching(promoted)
    key = f"file2:{promoted.folder / 'keys' / 'promotion.pem'}"
    report = promoted.ok("promote", "run", "8.1.0/42", "--dry-run", "--key", key)
    assert "attached" not in report
    view = RegistryView(promoted)
    assert [view.entries(*image) for image in view.images()] == [[], []]
