"""The release path end to end: real Docker, Samba and registry behind an ECR front."""

from __future__ import annotations

import json
import subprocess

import pytest

from jenkins_release.images import DockerEngine
from tests.fixtures.release import BY_DAEMON, SERVICES, Product


def test_export_writes_a_candidate_that_people_can_use_by_hand(product: Product, engine: DockerEngine):
    """`sha256sum -c` passes on the share and `docker load -i` reads the tar there."""
    report = product.export()
    folder = product.candidate()
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert names == [
        "SHA256SUMS",
        "attestations/0001-build.dsse.json",
        "candidate.json",
        "images/skydrm-8.1.0-42.tar",
    ]
    done = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["candidate.json: OK", "images/skydrm-8.1.0-42.tar: OK"]
    tar = folder / report["images"][0]["archive"]
    command = ["docker", "-H", product.environ["DOCKER_HOST"], "load", "-i", str(tar)]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert sorted(loaded.split()[2::3]) == sorted(image["reference"] for image in report["images"])
    for image in report["images"]:
        assert engine.config_digest(image["reference"]) == image["configDigest"]


def test_export_keeps_shared_layers_once_and_leaves_nothing_behind(product: Product):
    """One archive for all images; no staging folder stays."""
    report = product.export()
    record = json.loads((product.candidate() / "candidate.json").read_text())
    offsets = {(layer["diff_id"], layer["offset"]) for image in record["images"] for layer in image["layers"]}
    assert len(offsets) == len({diff_id for diff_id, _ in offsets})
    assert report["bytes"] < sum(image["bytes"] for image in report["images"])
    assert [path.name for path in product.candidate().parent.iterdir()] == ["42"]


def test_a_layer_stands_where_the_record_says(product: Product):
    """Offset and length in candidate.json are those of the layer's bytes in the archive."""
    import hashlib

    product.export()
    record = json.loads((product.candidate() / "candidate.json").read_text())
    for image in record["images"]:
        with (product.candidate() / image["archive"]).open("rb") as archive:
            archive.seek(image["config_offset"])
            config = archive.read(image["config_size"])
            assert "sha256:" + hashlib.sha256(config).hexdigest() == image["config_digest"]
            assert json.loads(config)["rootfs"]["diff_ids"] == [la["diff_id"] for la in image["layers"]]
            for layer in image["layers"]:
                archive.seek(layer["offset"])
                found = hashlib.sha256(archive.read(layer["size"])).hexdigest()
                assert "sha256:" + found == layer["digest"]


def test_one_archive_per_image_where_qa_wants_them_apart(product: Product):
    """`archives = "per-image"` writes a tar for each image, and all of it works the same."""
    product.append('[export]\narchives = "per-image"\n')
    report = product.export()
    assert sorted(image["archive"] for image in report["images"]) == sorted(
        f"images/{name}-8.1.0-42.tar" for name in SERVICES
    )
    product.ok("candidate", "verify", "8.1.0/42")
    product.sign_off()
    assert all(image["pushed"] for image in product.ok("promote", "run", "8.1.0/42")["images"])


def test_list_and_show_tell_where_a_candidate_stands(exported: Product):
    """Gate, verdicts and attestations show."""
    exported.export("43")
    exported.sign_off()
    listed = exported.ok("candidate", "list")["candidates"]
    assert [(c["candidate"], c["gate"]["open"]) for c in listed] == [("8.1.0/43", False), ("8.1.0/42", True)]
    shown = exported.ok("candidate", "show", "8.1.0/42")
    assert [(a["kind"], a["signer"]) for a in shown["attestations"]] == [("build", "build"), ("qa", "qa")]
    assert shown["gate"]["verdicts"][0]["tester"] == "Quinn"


def test_load_brings_the_images_with_the_recorded_identity(product: Product, engine: DockerEngine):
    """QA's daemon holds the recorded config digests afterwards."""
    report = product.export("43")
    for image in report["images"]:
        engine.untag(image["reference"])
    loaded = product.ok("candidate", "load", "8.1.0/43")
    for image in report["images"]:
        assert engine.config_digest(image["reference"]) == image["configDigest"]
    assert len(loaded["images"]) == len(SERVICES)


def test_fetch_copies_the_candidate(exported: Product, tmp_path):
    """The folder is complete, checked, and not overwritten."""
    target = tmp_path / "fetched"
    exported.ok("candidate", "fetch", "8.1.0/42", str(target))
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=target, check=True)
    assert exported.run("candidate", "fetch", "8.1.0/42", str(target)).status == 2


def test_promotion_is_refused_before_a_sign_off_with_every_reason(exported: Product):
    """Exit status 3, and ECR was not touched."""
    done = exported.run("promote", "run", "8.1.0/42", "--json")
    assert done.status == 3
    assert done.json["error"]["category"] == "refused"
    assert done.json["error"]["reasons"]
    assert exported.tags() == {}


def test_promotion_ends_with_proven_release_tags_and_no_temporary_ones(product: Product):
    """ECR names exactly the validated configs under 8.1.0; the candidate's tags are gone."""
    report = product.export()
    product.sign_off()
    done = product.ok("promote", "run", "8.1.0/42")
    validated = {image["name"]: image["configDigest"] for image in report["images"]}
    assert {image["name"]: image["configDigest"] for image in done["images"]} == validated
    tags = product.tags()
    assert {name: list(found) for name, found in tags.items()} == {
        f"{product.prefix}/{n}": ["8.1.0"] for n in SERVICES
    }
    client = product.client()
    for image in done["images"]:
        answer = client.batch_get_image(
            repositoryName=image["repository"],
            imageIds=[{"imageTag": "8.1.0"}],
            acceptedMediaTypes=["application/vnd.docker.distribution.manifest.v2+json"],
        )["images"][0]
        assert json.loads(answer["imageManifest"])["config"]["digest"] == validated[image["name"]]
    assert done["attestation"] == "0003-promotion.dsse.json"


def test_promoting_again_does_nothing_and_says_so(promoted: Product):
    """Exit status 0, no push, no second attestation."""
    before, tags = sorted((promoted.candidate() / "attestations").iterdir()), promoted.tags()
    again = promoted.run("promote", "run", "8.1.0/42")
    assert again.status == 0
    assert "nothing to do" in again.out
    assert promoted.ok("promote", "run", "8.1.0/42")["changed"] is False
    assert sorted((promoted.candidate() / "attestations").iterdir()) == before
    assert promoted.tags() == tags


def test_status_follows_the_promotion(validated: Product):
    """Not started, then recorded."""
    assert validated.ok("promote", "status", "8.1.0/42")["state"] == "not started"
    validated.ok("promote", "run", "8.1.0/42")
    assert validated.ok("promote", "status", "8.1.0/42")["state"] == "recorded"


def test_the_plan_says_what_is_there_and_what_would_be_pushed(exported: Product):
    """Before: absent with bytes. Afterwards: released, nothing to push."""
    before = exported.ok("promote", "plan", "8.1.0/42")
    assert {image["state"] for image in before["images"]} == {"absent"}
    assert all(image["push_bytes"] > 0 and not image["repository_exists"] for image in before["images"])
    exported.sign_off()
    exported.ok("promote", "run", "8.1.0/42")
    after = exported.ok("promote", "plan", "8.1.0/42")
    assert {image["state"] for image in after["images"]} == {"released"}
    assert sum(image["push_bytes"] for image in after["images"]) == 0


@pytest.mark.parametrize(
    "words", [("promote", "run"), ("qa", "revoke"), ("qa", "sign-off"), ("candidate", "export")]
)
def test_a_dry_run_changes_nothing(product: Product, words):
    """Every command that changes something can be tried."""
    if words[1] == "export":
        done = product.run(*words, "--version", "8.1.0", "--build", "42", "--dry-run")
        assert done.status == 0, done.text
        assert list(product.share.iterdir()) == []
        return
    product.export()
    product.sign_off()
    options = {
        "run": (),
        "revoke": ("--tester", "Quinn", "--reason", "x"),
        "sign-off": ("--tester", "Robin", "--verdict", "fail"),
    }[words[1]]
    before = sorted(product.share.rglob("*.dsse.json"))
    done = product.run(*words, "8.1.0/42", *options, "--dry-run")
    assert done.status == 0, done.text
    assert sorted(product.share.rglob("*.dsse.json")) == before
    assert product.tags() == {}


@pytest.mark.parametrize("way", [BY_DAEMON], indirect=True)
def test_promotion_leaves_no_image_behind_on_the_agent(product: Product, engine: DockerEngine):
    """What the daemon did not have before is removed again; nothing under ECR's name stays."""
    import docker

    references = {image["reference"] for image in product.export("43")["images"]}
    for reference in references:
        engine.untag(reference)
    product.sign_off("8.1.0/43")
    product.ok("promote", "run", "8.1.0/43")
    daemon = docker.DockerClient(base_url=product.environ["DOCKER_HOST"])
    left = [tag for image in daemon.images.list() for tag in image.tags]
    daemon.close()
    assert not [tag for tag in left if tag in references or product.prefix in tag]
    product.ok("candidate", "load", "8.1.0/43")


def test_the_customer_pulls_and_runs_what_qa_validated(promoted: Product, engine: DockerEngine):
    """A pull with an ECR token gives the validated config, and the container runs."""
    import base64

    import docker

    record = json.loads((promoted.candidate() / "candidate.json").read_text())
    answer = promoted.client().get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, token = base64.b64decode(answer).decode().partition(":")
    daemon = docker.DockerClient(base_url=promoted.environ["DOCKER_HOST"])
    for image in record["images"]:
        reference = f"{promoted.sandbox.ecr.host}/{promoted.prefix}/{image['name']}:8.1.0"
        daemon.images.pull(reference, auth_config={"username": user, "password": token})
        assert engine.config_digest(reference) == image["config_digest"]
        said = daemon.containers.run(reference, network_mode="none", remove=True).decode().strip()
        assert said == f"SkyDRM {image['name']} 8.1.0"
        engine.untag(reference)
    daemon.close()
