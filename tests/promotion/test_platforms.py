"""An image for several platforms, from the archive that the build wrote to what customers pull."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jenkins_release import CandidateRef, RetireReport, RetireRequest, Services, retire_releases
from jenkins_release.config import load_configuration
from jenkins_release.images import DockerEngine
from jenkins_release.oci.manifests import sha256_digest
from jenkins_release.records.base import canonical_json
from jenkins_release.records.candidate import Candidate, FileRecord, checksum_lines
from jenkins_release.sandbox.aws.ecs_state import Misbehaviour
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import ScanOrder
from jenkins_release.sandbox.process import find_program
from jenkins_release.sandbox.sample_layout import PLATFORMS, write_layout
from tests.fixtures.archives import OciLayout, bend, join, open_layout, to_json
from tests.fixtures.command import fails
from tests.fixtures.damage import flip
from tests.fixtures.raw_server import RawServer, Request, Speech, answer
from tests.fixtures.release import Begin, Make, Product, make_images
from tests.fixtures.setup_zip import write_templates
from tests.fixtures.share import eventually
from tests.promotion.test_direct import _login, uploaded
from tests.release.boundaries import Moment, watched_services

BASE, OWN = 3 << 20, 2 << 20
EXPORT = ("candidate", "export", "--version", "8.1.0", "--build", "42")


@pytest.fixture
def image_names() -> tuple[str, ...]:
    """The image that is built for several platforms."""
    return ("rms",)


def build(product: Product, version: str = "8.1.0", number: str = "42", **options: Any) -> Path:
    """Let the build write the image's archive."""
    file = product.folder / "out" / "rms.tar"
    file.parent.mkdir(exist_ok=True)
    write_layout(file, "rms", version, number, **{"base_size": BASE, "own_size": OWN, **options})
    return file


def build_for_platforms(product: Product) -> None:
    """Let the build write the image to an OCI layout, and configure it."""
    build(product)
    product.edit('name = "rms"\n', 'name = "rms"\narchive = "out/rms.tar"\n')
    product.append(f"\n[export]\nplatforms = {json.dumps(PLATFORMS)}\n")


def sign(product: Product) -> None:
    """Build, export and sign off."""
    build_for_platforms(product)
    product.export()
    product.sign_off()


def release(product: Product) -> None:
    """Build, export, sign off and promote."""
    sign(product)
    product.ok("promote", "run", "8.1.0/42")


@pytest.fixture
def built(product: Product) -> Product:
    """SkyDRM, whose image the build wrote to an OCI layout."""
    build_for_platforms(product)
    return product


@pytest.fixture
def signed(begin: Begin) -> Product:
    """Its candidate, signed off."""
    return begin("signed for platforms", sign)


@pytest.fixture
def released(begin: Begin) -> Product:
    """Its release."""
    return begin("released for platforms", release)


def image_of(product: Product, ident: str = "8.1.0/42") -> dict[str, Any]:
    (found,) = json.loads((product.candidate(ident) / "candidate.json").read_text())["images"]
    return dict(found)


def manifests_of(image: dict[str, Any]) -> list[dict[str, Any]]:
    return [each["manifest"] for each in (*image["platforms"], *image["attestations"])]


def held(product: Product) -> dict[str, bytes]:
    """Return digest to manifest of everything in the repository."""
    repository = f"{product.prefix}/rms"
    client = product.client()
    ids = [
        {"imageDigest": each["imageDigest"]}
        for each in client.describe_images(repositoryName=repository)["imageDetails"]
    ]
    if not ids:
        return {}
    answer = client.batch_get_image(repositoryName=repository, imageIds=ids)
    return {each["imageId"]["imageDigest"]: each["imageManifest"].encode() for each in answer["images"]}


def write_record(folder: Path, record: Candidate) -> None:
    """Replace what a candidate says of itself."""
    checksums = checksum_lines(record.to_bytes(), record.files)
    for name, data in (("candidate.json", record.to_bytes()), ("SHA256SUMS", checksums)):
        (folder / name).chmod(0o644)
        (folder / name).write_bytes(data)


def uri(product: Product) -> str:
    return f"{product.sandbox.ecr.host}/{product.prefix}/rms"


def index_of(archive: Path) -> str:
    """Return the digest that ``index.json`` of an archive lists."""
    with tarfile.open(archive) as layout:
        file = layout.extractfile("index.json")
        assert file is not None
        return str(json.loads(file.read())["manifests"][0]["digest"])


def containerd(archive: bytes, image_id: str = "") -> Speech:
    """Say what Docker 29 says of an image in containerd's store (moby, daemon/containerd/image_inspect.go).

    Args:
        archive: What it saves.
        image_id: What it calls the image; by default, what ``index.json`` of the archive lists.
    """
    with tarfile.open(fileobj=io.BytesIO(archive)) as layout:
        file = layout.extractfile("index.json")
        assert file is not None
        listed = json.loads(file.read())["manifests"][0]["digest"]
    store = {"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
    image = {"Id": image_id or listed, "Os": "linux", "Architecture": "amd64", "Size": 1, "RootFS": {}}

    def speech(request: Request) -> bytes:
        if "/images/get" in request.target:
            return answer(200, archive, Content_Type="application/x-tar")
        said: object = {"ApiVersion": "1.44", "Version": "29.0.0"}
        if "/info" in request.target:
            said = store
        elif request.target.endswith("/json"):
            said = image
        return answer(200, json.dumps(said).encode(), Content_Type="application/json")

    return speech


class TestExport:
    def test_the_archive_is_carried_byte_for_byte(self, built: Product):
        """The candidate says what is where, and every digest of it leads to the bytes."""
        exported = built.export()
        image = image_of(built)
        data = (built.candidate() / image["archive"]).read_bytes()
        assert data == (built.folder / "out" / "rms.tar").read_bytes()
        assert exported["images"][0]["indexDigest"] == image["index"]["digest"]
        assert [each["platform"] for each in exported["images"][0]["platforms"]] == [*PLATFORMS]
        blobs = [blob for each in image["attestations"] for blob in each["blobs"]]
        for place in (image["index"], *manifests_of(image), *blobs):
            assert sha256_digest(data[place["offset"] : place["offset"] + place["size"]]) == place["digest"]
        assert built.ok("candidate", "verify", "8.1.0/42")["files"] == 3
        assert built.ok("candidate", "show", "8.1.0/42")["images"] == exported["images"]
        for command in ("show", "verify"):
            assert built.run("candidate", command, "8.1.0/42").status == 0

    def test_an_image_for_one_platform_is_carried_too(self, built: Product, engine: DockerEngine):
        """Without attestations, the layout lists a manifest: QA signs it, and the registry gets it."""
        build(built, platforms=["linux/amd64"], attested=False, indexed=False)
        built.edit(f"platforms = {json.dumps(PLATFORMS)}", 'platforms = ["linux/amd64"]')
        built.export()
        image = image_of(built)
        assert image["layout"] == "oci"
        (loaded,) = built.ok("candidate", "load", "8.1.0/42")["images"]
        assert engine.config_digest(loaded["reference"]) == image["config_digest"]
        built.ok("candidate", "verify", "8.1.0/42")
        built.sign_off()
        built.ok("promote", "run", "8.1.0/42")
        assert held(built) == {image["manifest"]["digest"]: image["manifest"]["data"].encode()}

    def test_layers_that_the_share_has_are_not_sent_again(self, built: Product):
        """The next build shares the base; the server copies it, compressed as it is."""
        built.export()
        build(built, number="43")
        assert built.export("43")["reusedBytes"] > BASE * 0.9
        built.ok("candidate", "verify", "8.1.0/43")

    def test_a_daemon_with_containerds_store_gives_every_platform(self, product: Product, tmp_path: Path):
        """It names the image by its index; the archive that it saves is carried as it is."""
        archive = tmp_path / "saved.tar"
        write_layout(archive, "rms", "8.1.0", "42")
        product.append(f"\n[export]\nplatforms = {json.dumps(PLATFORMS)}\n")
        other = f"sha256:{'0' * 64}"
        with RawServer(containerd(archive.read_bytes(), other)) as daemon:
            product.environ["DOCKER_HOST"] = f"tcp://{daemon.host}"
            done = product.run("candidate", "export", "--version", "8.1.0", "--build", "42")
            fails(done, 4, f"it was {other}, but the archive has {index_of(archive)}")
            daemon.speech = containerd(archive.read_bytes())
            product.export()
        image = image_of(product)
        assert (product.candidate() / image["archive"]).read_bytes() == archive.read_bytes()
        assert image["index"]["digest"] == index_of(archive)

    def test_what_containerds_store_has_not_pulled_is_named(self, product: Product, tmp_path: Path):
        """Docker leaves blobs out of the archive without a word."""
        archive, cut = tmp_path / "saved.tar", io.BytesIO()
        write_layout(archive, "rms", "8.1.0", "42", attested=False)
        with tarfile.open(archive) as saved, tarfile.open(fileobj=cut, mode="w") as left:
            arm = json.loads(saved.extractfile(f"blobs/sha256/{index_of(archive)[7:]}").read())["manifests"][
                1
            ]
            lost = json.loads(saved.extractfile(f"blobs/sha256/{arm['digest'][7:]}").read())["layers"][1]
            for member in saved:
                if lost["digest"][7:] not in member.name:
                    left.addfile(member, saved.extractfile(member))
        product.append(f"\n[export]\nplatforms = {json.dumps(PLATFORMS)}\n")
        with RawServer(containerd(cut.getvalue(), index_of(archive))) as daemon:
            product.environ["DOCKER_HOST"] = f"tcp://{daemon.host}"
            done = product.run("candidate", "export", "--version", "8.1.0", "--build", "42")
        told = fails(done, 4, f"lacks what its index lists: {lost['digest']} (linux/arm64)")
        assert "--output type=oci" in told
        assert not product.candidate().exists()

    WRONG = (
        ("no archive", "image rms: the archive out/rms.tar matches no file in", 2),
        ("another name", "holds skydrm/rms:8.1.0-41, expected skydrm/rms:8.1.0-42", 4),
        ("a platform too few", "is in the archive for linux/amd64, expected linux/amd64, linux/arm64", 2),
        ("cut off", "out/rms.tar: the archive is truncated", 4),
    )

    @pytest.mark.parametrize(("what", "told", "status"), WRONG, ids=[each[0] for each in WRONG])
    def test_wrong_input_leaves_nothing(self, built: Product, what: str, told: str, status: int):
        """One error, and no candidate."""
        file = built.folder / "out" / "rms.tar"
        if what == "no archive":
            file.unlink()
        elif what == "another name":
            build(built, number="41")
        elif what == "a platform too few":
            build(built, platforms=["linux/amd64"])
        else:
            file.write_bytes(file.read_bytes()[: BASE // 2])
        words = ("candidate", "export", "--version", "8.1.0", "--build", "42", "--from", str(built.folder))
        fails(built.run(*words), status, told)
        assert not built.candidate().exists()

    def test_the_classic_image_store_has_one_platform(self, product: Product):
        """The message says how to build for several."""
        product.append(f"\n[export]\nplatforms = {json.dumps(PLATFORMS)}\n")
        done = product.run("candidate", "export", "--version", "8.1.0", "--build", "42")
        told = fails(done, 2, "is in the daemon for linux/amd64 only, export.platforms requires linux/amd64")
        assert "docker buildx build --platform linux/amd64,linux/arm64 --output type=oci" in told

    def test_an_altered_archive_is_noticed(self, built: Product, engine: DockerEngine):
        """By 'verify', by 'load' where it matters there, and by 'promote run' before anything is visible."""
        built.export()
        image = image_of(built)
        built.sign_off()
        file = built.candidate() / image["archive"]
        place = image["attestations"][0]["blobs"][1]
        flip(file, place["offset"] + 5)
        fails(built.run("candidate", "verify", "8.1.0/42"), 4, place["digest"].removeprefix("sha256:"))
        built.ok("candidate", "load", "8.1.0/42")  # attests nothing that QA runs
        fails(built.run("promote", "run", "8.1.0/42"), 4, place["digest"])
        assert built.tags().get(f"{built.prefix}/rms", {}) == {}
        flip(file, place["offset"] + 5)
        flip(file, image["platforms"][0]["layers"][1]["offset"] + 5)
        engine.untag(image["reference"])  # the daemon does not read what it has
        fails(built.run("candidate", "load", "8.1.0/42"), 4, image["platforms"][0]["layers"][1]["digest"])

    def test_images_for_several_platforms_and_for_one_are_released_together(
        self, make: Make, engine: DockerEngine
    ):
        """One from the build's archive, one from a daemon with the classic image store."""
        make_images(engine, ("viewer",))
        product = make("")
        product.append('\n[[images]]\nname = "viewer"\nsource = "skydrm/viewer:{version}-{build}"\n')
        product.append(f'repository = "{product.prefix}/viewer"\n')
        build(product)
        several = f'archive = "out/rms.tar"\nplatforms = {json.dumps(PLATFORMS)}\n'
        product.edit('name = "rms"\n', f'name = "rms"\n{several}')
        product.export()
        product.sign_off()
        product.ok("promote", "run", "8.1.0/42")
        rms, viewer = json.loads((product.candidate() / "candidate.json").read_text())["images"]
        assert [each["8.1.0"] for each in product.tags().values()] == [
            rms["index"]["digest"],
            viewer["manifest"]["digest"],
        ]
        loaded = product.ok("candidate", "load", "8.1.0/42")["images"]
        assert [each.get("platform") for each in loaded] == ["linux/amd64", None]


def forget_type(document: dict[str, Any]) -> None:
    """As programs write that go by what lists a document."""
    del document["mediaType"]


def without_types(layout: OciLayout) -> OciLayout:
    """Return what programs write that go by what lists a document."""
    return bend(layout, "all", forget_type)


def with_artifacts(layout: OciLayout) -> OciLayout:
    """Return attestations as BuildKit writes them with ``oci-artifact=true``."""
    (top,) = layout.index
    listed = json.loads(layout.blobs[top["digest"]])["manifests"]
    images = iter(entry for entry in listed if entry["platform"]["os"] != "unknown")
    replaced: list[str] = []
    empty = {**layout.put(b"{}", "application/vnd.oci.empty.v1+json"), "data": "e30="}

    def change(document: dict[str, Any]) -> None:
        about = next(images)
        document["artifactType"] = "application/vnd.docker.attestation.manifest.v1+json"
        document["subject"] = {name: about[name] for name in ("mediaType", "digest", "size")}
        replaced.append(document["config"]["digest"])
        document["config"] = empty

    bent = bend(layout, "attestation", change)
    for digest in replaced:
        del bent.blobs[digest]
    return bent


def with_one_attestation(layout: OciLayout) -> OciLayout:
    """Return a layout whose index lists the same attestation for both images."""
    same = layout.put(b'{"_type": "https://in-toto.io/Statement/v0.1"}', "application/vnd.in-toto+json")

    def change(document: dict[str, Any]) -> None:
        unnamed.extend(each["digest"] for each in (document["config"], *document["layers"]))
        document |= {"config": same, "layers": [same]}

    unnamed: list[str] = []
    bent = bend(layout, "attestation", change)
    for digest in unnamed:
        bent.blobs.pop(digest, None)
    return bent


class TestOddLayouts:
    """What the export accepts, the promotion takes; and whoever reads it afterwards."""

    @pytest.mark.parametrize("odd", [without_types, with_artifacts, with_one_attestation])
    def test_it_is_carried_to_the_end(
        self, built: Product, odd: Callable[[OciLayout], OciLayout], tmp_path: Path
    ):
        """Byte for byte, through every check."""
        file = built.folder / "out" / "rms.tar"
        file.write_bytes(join(odd(open_layout(file.read_bytes())).members()))
        built.export()
        image = image_of(built)
        for words in (("candidate", "verify"), ("candidate", "load")):
            built.ok(*words, "8.1.0/42")
        built.sign_off()
        built.ok("promote", "run", "8.1.0/42")
        data = file.read_bytes()
        assert held(built) == {
            each["digest"]: data[each["offset"] : each["offset"] + each["size"]]
            for each in (image["index"], *manifests_of(image))
        }
        assert built.tags()[f"{built.prefix}/rms"] == {"8.1.0": image["index"]["digest"]}
        assert not built.ok("promote", "run", "8.1.0/42")["changed"]
        login = _login(built)
        environ = {
            "JENKINS_RELEASE_REGISTRY_USER": login["username"],
            "JENKINS_RELEASE_REGISTRY_PASSWORD": login["password"],
        }
        bundle = tmp_path / "attestations.jsonl"
        built.ok("release", "attestations", "8.1.0", "--out", str(bundle))
        keys = ("--trusted-keys", str(built.folder / "keys"), "--bundle", str(bundle))
        archive = ("--archive", str(built.candidate() / image["archive"]))
        names = [f"{uri(built)}:8.1.0", f"{uri(built)}@{image['platforms'][0]['manifest']['digest']}"]
        images = [word for name in names for word in ("--image", name)]
        assert built.run("verify", *keys, *images, *archive, **environ).status == 0
        built.ok("release", "attach", "8.1.0")
        words = ("release", "withdraw", "8.1.0", "--reason", "holds a customer's data")
        built.ok(*words)
        built.ok(*words, "--delete", "--confirm", "8.1.0/42")
        assert held(built) == {}

    def test_an_image_for_one_platform_without_media_types(self, built: Product):
        """QA signs its manifest as it is."""
        file = build(built, platforms=["linux/amd64"], attested=False, indexed=False)
        layout = open_layout(file.read_bytes())
        (entry,) = layout.index
        document = json.loads(layout.blobs.pop(entry["digest"]))
        forget_type(document)
        layout.index = [{**entry, **layout.put(to_json(document), entry["mediaType"])}]
        file.write_bytes(join(layout.members()))
        built.edit(f"platforms = {json.dumps(PLATFORMS)}", 'platforms = ["linux/amd64"]')
        built.export()
        built.sign_off()
        built.ok("promote", "run", "8.1.0/42")
        assert held(built) == {layout.index[0]["digest"]: to_json(document)}

    def test_what_no_registry_takes_is_refused_before_qa_tests_it(self, built: Product):
        """The message names file, image, document and what to do."""
        file = built.folder / "out" / "rms.tar"
        layout = open_layout(file.read_bytes())
        bent = bend(layout, "index", lambda index: index.update(artifactType="application/vnd.example"))
        file.write_bytes(join(bent.members()))
        done = built.run(*EXPORT, "--from", str(built.folder))
        digest = bent.index[0]["digest"]
        fails(
            done,
            4,
            f"out/rms.tar: skydrm/rms:8.1.0-42: the index {digest} cannot be used: it has 'artifactType'",
            "build the image again",
        )
        assert not built.candidate().exists()


class TestLoad:
    def test_qa_gets_the_platform_of_its_machine(self, signed: Product, engine: DockerEngine):
        """The classic image store does not load an OCI layout: it gets an archive of the same blobs."""
        loaded = signed.ok("candidate", "load", "8.1.0/42")
        here = next(p for p in image_of(signed)["platforms"] if p["platform"] == "linux/amd64")
        assert loaded["images"] == [
            {
                "reference": "skydrm/rms:8.1.0-42",
                "configDigest": here["config_digest"],
                "platform": "linux/amd64",
            }
        ]
        assert engine.inspect("skydrm/rms:8.1.0-42").diff_ids == tuple(
            layer["diff_id"] for layer in here["layers"]
        )
        assert loaded["bytes"] < (signed.candidate() / image_of(signed)["archive"]).stat().st_size

    def test_another_platform_by_its_name(self, signed: Product, engine: DockerEngine):
        """As for a machine with QEMU's emulation."""
        signed.ok("candidate", "load", "8.1.0/42", "--platform", "linux/arm64")
        assert engine.inspect("skydrm/rms:8.1.0-42").platform == "linux/arm64"
        told = fails(
            signed.run("candidate", "load", "8.1.0/42", "--platform", "linux/s390x"),
            2,
            "skydrm/rms:8.1.0-42 is for linux/amd64, linux/arm64, not for linux/s390x",
        )
        assert "--platform" in told


class TestPromotion:
    def test_the_registry_gets_all_that_the_index_lists(self, signed: Product):
        """Index, manifests and attestations by their digests, and the release tag on the index."""
        image = image_of(signed)
        data = (signed.candidate() / image["archive"]).read_bytes()
        done = signed.ok("promote", "run", "8.1.0/42")
        expected = {
            each["digest"]: data[each["offset"] : each["offset"] + each["size"]]
            for each in (image["index"], *manifests_of(image))
        }
        assert held(signed) == expected
        assert signed.tags()[f"{signed.prefix}/rms"] == {"8.1.0": image["index"]["digest"]}
        (said,) = done["images"]
        assert said["indexDigest"] == said["digest"] == image["index"]["digest"]
        assert said["configDigests"] == {p["platform"]: p["config_digest"] for p in image["platforms"]}
        again = signed.ok("promote", "run", "8.1.0/42")
        assert not again["changed"]
        for words in (("promote", "plan", "8.1.0/42"), ("release", "history", "8.1.0"), ("release", "list")):
            assert signed.run(*words).status == 0

    def test_skopeo_copies_it_and_docker_pulls_each_platform(
        self, released: Product, engine: DockerEngine, tmp_path: Path
    ):
        """With all platforms, the digest stays; by digest, a daemon gets the image of any platform."""
        image = image_of(released)
        login = _login(released)
        source = f"docker://{uri(released)}:8.1.0"
        subprocess.run(
            [
                find_program("skopeo", "skopeo"),
                "copy",
                "--all",
                "--src-tls-verify=false",
                f"--src-creds={login['username']}:{login['password']}",
                source,
                f"oci:{tmp_path}/copy:8.1.0",
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        (entry,) = json.loads((tmp_path / "copy" / "index.json").read_text())["manifests"]
        assert entry["digest"] == image["index"]["digest"]
        client = engine._client(streaming=True)
        for platform in image["platforms"]:
            target = f"{uri(released)}@{platform['manifest']['digest']}"
            name, digest = target.split("@")
            told = [*client.pull(name, digest, auth_config=login, stream=True, decode=True)]
            assert not [line for line in told if "error" in line]
            assert engine.config_digest(target) == platform["config_digest"]
            engine.untag(target)

    def test_the_forecast_is_what_is_sent_and_a_patch_sends_only_what_is_new(self, signed: Product):
        """To the byte, manifests aside."""
        (planned,) = signed.ok("promote", "plan", "8.1.0/42")["images"]
        assert planned["index_digest"] == image_of(signed)["index"]["digest"]
        assert "config_digest" not in planned
        signed.sandbox.ecr.forget_requests()
        signed.ok("promote", "run", "8.1.0/42")
        assert planned["push_exact"]
        assert uploaded(signed) == planned["push_bytes"]
        build(signed, "8.1.1", "43")
        signed.ok("candidate", "export", "--version", "8.1.1", "--build", "43", "--from", str(signed.folder))
        signed.sign_off("8.1.1/43")
        (patch,) = signed.ok("promote", "plan", "8.1.1/43")["images"]
        signed.sandbox.ecr.forget_requests()
        signed.ok("promote", "run", "8.1.1/43")
        assert uploaded(signed) == patch["push_bytes"] < planned["push_bytes"] - BASE // 2

    def test_what_a_dead_run_left_is_completed(self, signed: Product):
        """Some manifests without the index, which ECR refuses as long as one is missing."""
        signed.sandbox.ecr.order(Fault(method="PUT", path="/manifests/", skip=2, status=500, count=None))
        assert signed.run("promote", "run", "8.1.0/42").status == 5
        signed.sandbox.ecr.cancel_faults()
        assert 0 < len(held(signed)) < 5
        signed.ok("promote", "run", "8.1.0/42")
        assert len(held(signed)) == 5

    def test_another_index_under_the_tag_is_in_the_way(self, signed: Product):
        """Whether it is for several platforms or one, the message names both."""
        build(signed, number="41")
        words = [find_program("skopeo", "skopeo"), "copy", "--all", "--dest-tls-verify=false"]
        login = _login(signed)
        signed.client().create_repository(repositoryName=f"{signed.prefix}/rms")
        words += [f"--dest-creds={login['username']}:{login['password']}"]
        words += [f"oci-archive:{signed.folder}/out/rms.tar", f"docker://{uri(signed)}:8.1.0"]
        subprocess.run(words, check=True, capture_output=True, timeout=120)
        told = fails(signed.run("promote", "run", "8.1.0/42"), 4, "a release tag is taken by other content")
        assert re.search(r"names sha256:\w{64} for linux/amd64, linux/arm64", told)
        assert f"has the index {image_of(signed)['index']['digest']}" in told

    def test_each_platform_is_scanned(self, signed: Product):
        """A finding in one of them shuts the gate; attestations have no scan, and need none."""
        signed.edit("approvals = 0\n", 'approvals = 0\nscan = ["CRITICAL"]\n')
        image = image_of(signed)
        arm = next(p for p in image["platforms"] if p["platform"] == "linux/arm64")
        repository, digest = f"{signed.prefix}/rms", arm["manifest"]["digest"]
        signed.sandbox.ecr.order_scan(ScanOrder(repository=repository, findings={"HIGH": 1}))
        found = ScanOrder(repository=repository, image=digest, findings={"CRITICAL": 2})
        signed.sandbox.ecr.order_scan(found)
        told = fails(
            signed.run("promote", "run", "8.1.0/42"), 3, "ECR's scan of the image rms for linux/arm64"
        )
        assert "found 2 critical" in told

    def test_no_altered_byte_gets_a_release_tag(self, signed: Product):
        """Whatever part of the archive is altered after QA signed, the promotion ends with status 4."""
        image = image_of(signed)
        file = signed.candidate() / image["archive"]
        arm, proof = image["platforms"][1], image["attestations"][1]
        places = {
            "the index": image["index"]["offset"],
            "a manifest": arm["manifest"]["offset"],
            "a config": arm["config_offset"],
            "a layer": arm["layers"][1]["offset"],
            "the manifest of an attestation": proof["manifest"]["offset"],
            "an attestation": proof["blobs"][1]["offset"],
        }
        for what, offset in places.items():
            flip(file, offset + 3)
            told = fails(signed.run("promote", "run", "8.1.0/42"), 4, "rms-8.1.0-42.oci.tar")
            assert "do not use this candidate" in told, what
            assert "8.1.0" not in signed.tags().get(f"{signed.prefix}/rms", {}), what
            flip(file, offset + 3)
            signed.sandbox.ecr.forget_repositories(signed.prefix)
        signed.ok("promote", "run", "8.1.0/42")


class TestRelease:
    def test_consumers_verify_the_index_a_platform_and_the_archive(
        self, released: Product, engine: DockerEngine, tmp_path: Path
    ):
        """By the bundle alone, with the promotion key."""
        bundle = tmp_path / "attestations.jsonl"
        released.ok("release", "attestations", "8.1.0", "--out", str(bundle))
        image = image_of(released)
        arm = next(p for p in image["platforms"] if p["platform"] == "linux/arm64")
        login = _login(released)
        environ = {
            "JENKINS_RELEASE_REGISTRY_USER": login["username"],
            "JENKINS_RELEASE_REGISTRY_PASSWORD": login["password"],
        }
        keys = ("--trusted-keys", str(released.folder / "keys"), "--bundle", str(bundle))
        released.ok("candidate", "load", "8.1.0/42")
        done = released.run(
            *("verify", *keys, "--json"),
            *("--image", f"{uri(released)}:8.1.0"),
            *("--image", f"{uri(released)}@{arm['manifest']['digest']}"),
            *("--local-image", "skydrm/rms:8.1.0-42"),
            *("--archive", str(released.candidate() / image["archive"])),
            **environ,
        )
        assert done.status == 0, done.text
        notes = [each["note"] for each in done.json["verified"]]
        assert notes[0] == "the promoted index, for linux/amd64, linux/arm64"
        assert notes[1] == "the linux/arm64 image of the promoted index"
        other = build(released, number="41")
        fails(released.run("verify", *keys, "--archive", str(other)), 4, "is not an image of SkyDRM 8.1.0/42")

    def test_attestations_are_attached_to_the_index(self, released: Product):
        """They name it as their subject, the SBOMs the platform that they describe; they go with it."""
        done = released.ok("release", "attach", "8.1.0")
        image = image_of(released)
        subjects = {image["index"]["digest"], *(each["manifest"]["digest"] for each in image["platforms"])}
        assert {each["digest"] for each in done["statements"]} == subjects
        words = ("release", "withdraw", "8.1.0", "--reason", "holds a customer's data")
        released.ok(*words)
        released.ok(*words, "--delete", "--confirm", "8.1.0/42")
        assert held(released) == {}

    def test_two_builds_are_compared_platform_by_platform(self, signed: Product):
        """What changed in each, by its layers."""
        build(signed, number="43")
        signed.export("43")
        done = signed.ok("release", "compare", "8.1.0/42", "8.1.0/43")
        assert [each["name"] for each in done["images"]] == [f"rms for {each}" for each in PLATFORMS]

    @pytest.mark.parametrize("kind", ["manifest", "index"])
    def test_an_image_that_gets_a_platform_is_compared_with_what_it_was(self, product: Product, kind: str):
        """Each platform with itself, in either direction, whether one platform has an index or not."""
        build_for_platforms(product)
        several = f"platforms = {json.dumps(PLATFORMS)}"
        attested = kind == "index"
        build(product, platforms=["linux/amd64"], attested=attested, indexed=attested)
        product.edit(several, 'platforms = ["linux/amd64"]')
        product.export()
        product.edit('platforms = ["linux/amd64"]', several)
        build(product, "8.1.1", "43")
        words = ("candidate", "export", "--version", "8.1.1", "--build", "43")
        product.ok(*words, "--from", str(product.folder))
        page = product.folder / "compare.html"
        for sides, state in ((("8.1.0", "8.1.1"), "added"), (("8.1.1", "8.1.0"), "removed")):
            done = product.run("release", "compare", *sides, "--page", str(page))
            assert done.status == 0, done.text
            found = product.ok("release", "compare", *sides)
            amd, arm = found["images"]
            assert (amd["name"], amd["state"]) == ("rms for linux/amd64", "changed")
            assert (amd["layers"]["shared"], amd["layers"]["added"], amd["layers"]["removed"]) == (1, 1, 1)
            assert (amd["packages"] is not None) == attested
            assert (arm["name"], arm["state"]) == ("rms for linux/arm64", state)
            assert arm["layers"] is None
            html = page.read_text()
            for name, was in (("rms for linux/amd64", "changed"), ("rms for linux/arm64", state)):
                assert re.search(rf"^{name} +{was} ", done.out, re.MULTILINE), done.out
                assert f"Image {name}: {was}</h2>" in html
            assert "<p>skydrm/rms:8.1.1-43, config digest" in html

    def test_withdrawn_it_is_kept_until_it_is_deleted(self, released: Product):
        """Deletion takes the index first, then what it lists."""
        words = ("release", "withdraw", "8.1.0", "--reason", "holds a customer's data")
        released.ok(*words)
        assert len(held(released)) == 5
        assert "8.1.0" not in released.tags()[f"{released.prefix}/rms"]
        released.ok(*words, "--delete", "--confirm", "8.1.0/42")
        assert held(released) == {}

    @pytest.mark.parametrize("reported", ["index", "platform"])
    def test_the_stack_runs_the_index_whichever_digest_ecs_reports(self, released: Product, reported: str):
        """Task definitions pin the index; an agent may report the manifest that it chose from it.

        What a candidate that was never promoted says of the same index does not count.
        """
        image = image_of(released)
        other = released.candidate("9.0.0/1")
        shutil.copytree(released.candidate(), other, ignore=shutil.ignore_patterns("attestations"))
        (other / "attestations").mkdir()
        document = json.loads((other / "candidate.json").read_bytes())
        document |= {"version": "9.0.0", "build": "1"}
        (forged,) = document["images"]
        forged["attestations"] = []
        for number, each in enumerate(forged["platforms"]):
            each["manifest"]["digest"] = f"sha256:{number:064x}"
        write_record(other, Candidate.from_bytes(canonical_json(document), "candidate.json"))
        released.append(released.sandbox.add_saas(("rms",), cluster=f"{released.prefix}-{reported}"))
        if reported == "platform":
            released.sandbox.ecr.misbehave(Misbehaviour(kind="platform", image=f"{released.prefix}/rms"))
        words = ("saas", "refresh", "8.1.0")
        try:
            # The services were just created: ECS starts what they run so far.
            assert eventually(lambda: released.run(*words, "--dry-run").status == 0)
            done = released.ok(*words)
            assert done["after"]["parts"][0]["images"] == {"rms": image["index"]["digest"]}
            status = released.ok("saas", "status")
            assert status["parts"][0]["verdict"] == "8.1.0/42"
        finally:
            released.sandbox.ecr.behave()

    def test_the_setup_zip_pins_the_index(self, released: Product, tmp_path: Path):
        """And knows which machines can run it."""
        templates = released.folder / "bundle"
        write_templates(templates)
        compose = b"services:\n  rms:\n    image: {{image.rms}}\n    ports: ['${ACME_PORT}:8080']\n"
        (templates / "docker-compose.yml").write_bytes(compose)
        zipped = tmp_path / "setup.zip"
        released.ok("bundle", "build", "8.1.0", "--out", str(zipped))
        with zipfile.ZipFile(zipped) as archive:
            names = {name.rpartition("/")[2]: name for name in archive.namelist()}
            pinned = archive.read(names["docker-compose.yml"]).decode()
            release = archive.read(names["release.env"]).decode()
            members = {name: archive.read(name) for name in archive.namelist()}
        assert f"{uri(released)}@{image_of(released)['index']['digest']}" in pinned
        assert "PLATFORM='linux/amd64 linux/arm64'" in release
        keys = ("--trusted-keys", str(released.folder / "release.toml"))
        released.ok("bundle", "verify", str(zipped), *keys)
        index = image_of(released)["index"]["digest"].encode()
        one = image_of(released)["platforms"][0]["manifest"]["digest"].encode()
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data.replace(index, one) if name.endswith("compose.yml") else data)
        fails(released.run("bundle", "verify", str(tmp_path / "other.zip"), *keys), 4, "docker-compose.yml")


def release_lines(product: Product) -> None:
    """Promote 7.9.0, 8.0.0 and 8.1.0."""
    build_for_platforms(product)
    for number, version in enumerate(("7.9.0", "8.0.0", "8.1.0"), start=1):
        build(product, version, str(number))
        export_as(product, f"{version}/{number}")
        product.ok("promote", "run", f"{version}/{number}")


def export_as(product: Product, ident: str, source: str = "{version}-{build}") -> None:
    """Export what was built last, which ``source`` names, and sign it off."""
    product.config.write_text(
        re.sub(r'source = "skydrm/rms:.*"', f'source = "skydrm/rms:{source}"', product.config.read_text())
    )
    version, number = ident.split("/")
    words = ("candidate", "export", "--version", version, "--build", number)
    product.ok(*words, "--from", str(product.folder))
    product.sign_off(ident)


def share_manifests(product: Product, ident: str) -> None:
    """Export the images of 7.9.0/1 as another candidate, with the same index."""
    build(product, "7.9.0", "1")
    export_as(product, ident, "7.9.0-1")


def lock_of(product: Product, ident: str) -> Path:
    """Return the lock file of a candidate's lease."""
    return product.share / "SkyDRM" / ".leases" / f"{ident.replace('/', '-')}.promote"


def services_of(product: Product) -> Services:
    """Open what the steps work with."""
    return Services(load_configuration(product.config, environ=product.environ), environ=product.environ)


@contextlib.contextmanager
def leased(product: Product, ident: str) -> Iterator[None]:
    """Hold a candidate's lease, as its promotion does."""
    with services_of(product) as services, services.holding_candidate(CandidateRef.parse(ident)):
        yield


DENIED = Fault(action="BatchDeleteImage", skip=3, count=None, status=400, code="AccessDeniedException")
"""The index goes with its tag, after the two tags for what refers to it, and nothing else."""


class TestRetirement:
    """Outside the support window, what an index listed goes after it, unless another candidate needs it."""

    @pytest.fixture
    def lines(self, begin: Begin) -> Product:
        """7.9.0, which is outside the window, 8.0.0 and 8.1.0."""
        return begin("lines for platforms", release_lines)

    @pytest.fixture
    def died(self, lines: Product) -> Product:
        """A retirement of 7.9.0 died after the index."""
        lines.sandbox.ecr.order(DENIED)
        assert lines.run("release", "retire").status == 5
        lines.sandbox.ecr.cancel_faults()
        return lines

    @staticmethod
    def listed(product: Product) -> set[str]:
        """Return what the index of 7.9.0 lists."""
        return {each["digest"] for each in manifests_of(image_of(product, "7.9.0/1"))}

    def test_everything_that_the_index_lists_goes(self, lines: Product):
        """Also what a run that died after the index has left; a layer of a supported release stays."""
        old = image_of(lines, "7.9.0/1")
        before = held(lines)
        assert self.listed(lines) < {*before}
        lines.sandbox.ecr.order(DENIED.model_copy(update={"skip": 6}))
        assert lines.run("release", "retire").status == 5
        lines.sandbox.ecr.cancel_faults()
        assert old["index"]["digest"] not in held(lines)
        assert lines.ok("release", "retire")["removed"] == []
        gone = {old["index"]["digest"], *self.listed(lines)}
        assert held(lines) == {digest: data for digest, data in before.items() if digest not in gone}
        lines.ok("promote", "run", "7.9.0/1")
        assert held(lines) == before

    def test_a_promotion_between_manifests_and_index_keeps_them(self, lines: Product):
        """They have no tag then, and no index lists them: only the share tells who needs them."""
        share_manifests(lines, "8.1.1/4")
        reports: list[RetireReport] = []

        def retire() -> None:
            with services_of(lines) as services:
                reports.append(retire_releases(RetireRequest(), services))

        moment = Moment("blobs.put_manifest", len(self.listed(lines)), retire)
        with watched_services(moment):
            done = lines.run("promote", "run", "8.1.1/4")
        assert moment.came
        assert done.status == 0, done.text
        assert "sending its layers again" not in done.text
        (report,) = reports
        kept = report.kept_listed
        assert [each.tag for each in report.removed] == ["7.9.0"]
        assert {each.digest for each in kept} == self.listed(lines)
        assert {each.reason for each in kept} == {"8.1.1/4 names it too, and may be promoted"}
        assert self.listed(lines) < {*held(lines)}

    def test_a_promotion_that_died_there_keeps_them_until_it_is_retired(self, lines: Product):
        """Each run says so; a candidate that is withdrawn, retired or gone needs nothing."""
        share_manifests(lines, "7.9.1/4")
        lines.sandbox.ecr.order(Fault(method="PUT", path="/manifests/", skip=4, status=500, count=None))
        assert lines.run("promote", "run", "7.9.1/4").status == 5
        lines.sandbox.ecr.cancel_faults()
        for _ in range(2):
            done = lines.run("release", "retire")
            assert done.status == 0, done.text
            for digest in self.listed(lines):
                told = f"kept {lines.prefix}/rms@{digest}: 7.9.1/4 names it too, and may be promoted"
                assert told in done.out
            assert self.listed(lines) < {*held(lines)}
        lines.ok("promote", "run", "7.9.1/4")
        assert lines.ok("release", "retire")["keptListed"] == []
        assert not self.listed(lines) & {*held(lines)}

    def test_a_retired_release_that_is_promoted_again_keeps_them(self, lines: Product):
        """Its lease says so: no record on the share does yet."""
        share_manifests(lines, "7.9.1/4")
        lines.ok("promote", "run", "7.9.1/4")
        lines.sandbox.ecr.order(DENIED.model_copy(update={"skip": 6}))
        assert lines.run("release", "retire").status == 5
        lines.sandbox.ecr.cancel_faults()
        assert self.listed(lines) < {*held(lines)}
        with leased(lines, "7.9.1/4"):
            done = lines.ok("release", "retire")
            told = {each["digest"]: each["reason"].partition(":")[0] for each in done["keptListed"]}
            reason = "7.9.1/4 names it too, and may be promoted right now"
            assert told == dict.fromkeys(self.listed(lines), reason)
            assert self.listed(lines) < {*held(lines)}
        assert lines.ok("release", "retire")["keptListed"] == []
        assert not self.listed(lines) & {*held(lines)}

    def test_a_candidate_that_cannot_be_read_by_then_keeps_them(self, lines: Product):
        """Whether it was retired is unknown."""
        share_manifests(lines, "7.9.1/4")
        strange = lines.candidate("7.9.1/4") / "attestations" / "strange"

        def hide() -> None:
            strange.mkdir()

        lines.sandbox.ecr.order(Fault(method="PUT", path="/manifests/", skip=4, status=500, count=None))
        assert lines.run("promote", "run", "7.9.1/4").status == 5
        lines.sandbox.ecr.cancel_faults()
        # After the candidates were listed twice and read: then it is read once more.
        with watched_services(Moment("share.list_each", 3, hide)):
            done = lines.ok("release", "retire")
        assert strange.is_dir()
        assert {each["digest"] for each in done["keptListed"]} == self.listed(lines)
        assert all("it is unknown whether it was retired" in each["reason"] for each in done["keptListed"])

    def test_an_index_that_another_tag_names_by_then_stays_with_all_of_it(self, lines: Product):
        """Somebody set it while the run was at work."""
        index, name = image_of(lines, "7.9.0/1")["index"], f"{lines.prefix}/rms"
        manifest = held(lines)[index["digest"]].decode()

        def tag() -> None:
            lines.client().put_image(
                repositoryName=name,
                imageManifest=manifest,
                imageManifestMediaType=index["media_type"],
                imageTag="mine",
            )

        with watched_services(Moment("share.lease enter", 1, tag)):
            done = lines.ok("release", "retire")
        (kept,) = done["keptListed"]
        assert kept["digest"] == index["digest"]
        assert kept["reason"] == "the tag mine names it by now; what it lists stays with it"
        assert self.listed(lines) < {*held(lines)}

    def test_an_answer_from_before_is_asked_for_again(self, lines: Product):
        """ECR may still list an index whose last tag was removed."""
        late = Fault(action="DescribeImages", after="BatchDeleteImage", stale=1)
        lines.sandbox.ecr.order(late)
        done = lines.run("release", "retire")
        assert done.status == 0, done.text
        assert "was removed, and the registry still shows it" in done.err
        assert not self.listed(lines) & {*held(lines)}

    def test_an_index_that_stays_in_the_list_fails_the_run(self, lines: Product):
        """Nothing of it is deleted, and the message says how to go on."""
        late = Fault(action="DescribeImages", after="BatchDeleteImage", stale=1, count=None)
        lines.sandbox.ecr.order(late)
        told = fails(lines.run("release", "retire"), 5, "the registry still shows it")
        assert "run the retirement again: it deletes what the index listed" in told
        lines.sandbox.ecr.cancel_faults()
        assert self.listed(lines) < {*held(lines)}
        lines.ok("release", "retire")
        assert not self.listed(lines) & {*held(lines)}

    def test_without_its_lease_nothing_more_is_deleted(self, lines: Product):
        """Someone else may have taken it in the middle."""
        lock = lock_of(lines, "7.9.0/1")
        moment = Moment("registry.remove_image", 1, lambda: lock.write_text("someone else\n" * 9))
        with watched_services(moment):
            fails(lines.run("release", "retire"), 5, "was lost before the work under it was done")
        assert moment.came
        assert len(self.listed(lines) & {*held(lines)}) == 3

    def test_a_lease_that_is_held_delays_only_the_clean_up_of_an_earlier_run(self, died: Product):
        """The run's own work is done; a release that is retired now has to be free."""
        with leased(died, "7.9.0/1"):
            done = died.run("release", "retire")
            assert done.status == 0, done.text
            assert "what an index of the retired 7.9.0/1 listed stays: the lease on" in done.err
            assert "run 'release retire' again then" in done.err
            assert self.listed(died) < {*held(died)}
        died.ok("release", "retire")
        assert not self.listed(died) & {*held(died)}
        died.ok("promote", "run", "7.9.0/1")
        with leased(died, "7.9.0/1"):
            fails(died.run("release", "retire"), 6, "the lease on")

    def test_nothing_is_asked_for_each_earlier_release(self, lines: Product):
        """Each repository is listed once to find the window, and once to find what runs that died left."""
        lines.append("[support]\nlines = 1\n")
        lines.ok("release", "retire")
        lines.sandbox.ecr.forget_requests()
        with leased(lines, "7.9.0/1"), leased(lines, "8.0.0/2"):
            done = lines.run("release", "retire")
        assert (done.status, "stays" in done.text) == (0, False), done.text
        actions = [each.action for each in lines.sandbox.ecr.requests()]
        assert actions.count("DescribeImages") == 2


class TestDeletion:
    """Deleting a withdrawn release, while another candidate with the same manifests is promoted."""

    def test_nothing_is_deleted_meanwhile(self, released: Product):
        """Its manifests may be there without a tag or an index."""
        export_as(released, "8.1.1/43", "8.1.0-42")
        words = ("release", "withdraw", "8.1.0", "--reason", "holds a customer's data")
        released.ok(*words)
        before = held(released)
        with leased(released, "8.1.1/43"):
            told = fails(released.run(*words, "--delete", "--confirm", "8.1.0/42"), 6, "the lease on")
            assert "8.1.1-43.promote" in told
        assert held(released) == before
        released.ok(*words, "--delete", "--confirm", "8.1.0/42")
        assert held(released) == {}

    def test_without_its_lease_nothing_more_is_deleted(self, released: Product):
        """Someone else may have taken it in the middle."""
        words = ("release", "withdraw", "8.1.0", "--reason", "holds a customer's data")
        released.ok(*words)
        lock = lock_of(released, "8.1.0/42")
        moment = Moment("registry.remove_image", 1, lambda: lock.write_text("someone else\n" * 9))
        with watched_services(moment):
            done = released.run(*words, "--delete", "--confirm", "8.1.0/42")
        fails(done, 5, "was lost before the work under it was done")
        assert moment.came
        assert len(held(released)) == 3


def forge(product: Product, change: Callable[[dict[str, Any]], None]) -> Product:
    """Export a candidate whose record is changed afterwards; the archive is not."""
    # No build key is trusted: QA's signature is the first.
    text = product.config.read_text()
    text = re.sub(r'\n\[\[trusted_keys\]\]\nname = "build"\n(.+\n)+', "\n", text)
    product.config.write_text(re.sub(r"build_key = .*\n", "", text))
    product.export()
    folder = product.candidate()
    document = json.loads((folder / "candidate.json").read_bytes())
    (image,) = document["images"]
    change(image)
    document["documents"] = []
    document["files"] = [each for each in document["files"] if not each["path"].startswith("sbom/")]
    data = canonical_json(document)
    files = tuple(FileRecord.model_validate(each) for each in document["files"])
    for name, written in (("candidate.json", data), ("SHA256SUMS", checksum_lines(data, files))):
        (folder / name).chmod(0o644)
        (folder / name).write_bytes(written)
    for attestation in (folder / "attestations").iterdir():
        attestation.unlink()
    return product


class TestForgedRecord:
    """Whoever writes to the share before QA does: `candidate.json` must say what the index says."""

    @staticmethod
    def swap_platforms(image: dict[str, Any]) -> None:
        """QA would get the config and layers of another platform."""
        first, second = image["platforms"]
        for name in ("config_digest", "config_offset", "config_size", "layers"):
            first[name], second[name] = second[name], first[name]

    @staticmethod
    def swap_names(image: dict[str, Any]) -> None:
        """The testers of one platform would get the image of another."""
        first, second = image["platforms"]
        first["platform"], second["platform"] = second["platform"], first["platform"]

    @staticmethod
    def hide_a_platform(image: dict[str, Any]) -> None:
        """It would be released untested and unscanned, as if it were an attestation."""
        first, second = image["platforms"]
        blobs = {
            each["digest"]: {"digest": each["digest"], "offset": each["offset"], "size": each["size"]}
            for each in second["layers"]
        }
        config = {"offset": second["config_offset"], "size": second["config_size"]}
        blobs[second["config_digest"]] = {"digest": second["config_digest"], **config}
        hidden = {
            "of": first["manifest"]["digest"],
            "manifest": second["manifest"],
            "blobs": [{**each, "media_type": "application/octet-stream"} for each in blobs.values()],
            "predicates": [""] * len(blobs),
        }
        kept = [each for each in image["attestations"] if each["of"] == first["manifest"]["digest"]]
        image["platforms"], image["attestations"] = [first], [*kept, hidden]

    @pytest.fixture(params=["swap_platforms", "swap_names", "hide_a_platform"])
    def forged(self, built: Product, request: pytest.FixtureRequest) -> Product:
        """A candidate whose record was changed after the export; the archive was not."""
        return forge(built, getattr(self, request.param))

    def test_qa_does_not_get_it(self, forged: Product):
        """What is loaded must be what the index lists."""
        fails(forged.run("candidate", "load", "8.1.0/42"), 4, "rms", "the index")

    def test_it_is_not_released(self, forged: Product):
        """Even if somebody signed it off without a look; nothing is put into the registry."""
        forged.sign_off()
        fails(forged.run("promote", "run", "8.1.0/42"), 4, "rms", "the index")
        assert "8.1.0" not in forged.tags().get(f"{forged.prefix}/rms", set())
        assert held(forged) == {}


class TestForgedManifest:
    """The same for an image for one platform, whose manifest the build wrote to its archive."""

    @staticmethod
    def annotate(image: dict[str, Any]) -> None:
        """Lazy snapshotters such as stargz's mount what annotations say; QA would not see that."""
        manifest = json.loads(image["manifest"]["data"])
        manifest["layers"][1]["annotations"] = {
            "containerd.io/snapshot/stargz/toc.digest": f"sha256:{1:064x}"
        }
        TestForgedManifest.fix(image, manifest)

    @staticmethod
    def mislabel(image: dict[str, Any]) -> None:
        """Customers could not unpack it."""
        manifest = json.loads(image["manifest"]["data"])
        manifest["layers"][1]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd"
        TestForgedManifest.fix(image, manifest)

    @staticmethod
    def hide(image: dict[str, Any]) -> None:
        """As if the export had made another manifest."""
        TestForgedManifest.annotate(image)
        image.pop("layout")
        image["manifest"].pop("offset", None)

    @staticmethod
    def drop(image: dict[str, Any]) -> None:
        """As if the promotion was to make one."""
        image.pop("manifest")

    @staticmethod
    def rename(image: dict[str, Any]) -> None:
        """It would be released for a platform that it does not run on."""
        image["platform"] = "linux/arm64"

    @staticmethod
    def fix(image: dict[str, Any], manifest: dict[str, Any]) -> None:
        data = json.dumps(manifest)
        image["manifest"] |= {"data": data, "digest": sha256_digest(data.encode())}

    @pytest.fixture(params=["annotate", "mislabel", "hide", "drop", "rename"])
    def forged(self, built: Product, request: pytest.FixtureRequest) -> Product:
        build(built, platforms=["linux/amd64"], attested=False, indexed=False)
        built.edit(f"platforms = {json.dumps(PLATFORMS)}", 'platforms = ["linux/amd64"]')
        return forge(built, getattr(self, request.param))

    def test_qa_does_not_get_it(self, forged: Product):
        """Nothing is loaded."""
        fails(forged.run("candidate", "load", "8.1.0/42"), 4, "rms")

    def test_it_is_not_valid(self, forged: Product):
        """Whoever looks finds it."""
        assert forged.run("candidate", "verify", "8.1.0/42").status != 0

    def test_it_is_not_released(self, forged: Product):
        """Even if somebody signed it off without a look; nothing is put into the registry."""
        words = ("--verdict", "pass", "--tester", "Quinn", "--results", str(forged.folder / "junit.xml"))
        signed = forged.run("qa", "sign-off", "8.1.0/42", *words, "--digest", forged.digest())
        assert signed.status in {0, 4}, signed.text
        fails(forged.run("promote", "run", "8.1.0/42"), 4, "rms")
        assert not any(forged.tags().values())
