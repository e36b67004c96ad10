"""Input that is wrong: one clear error each, the right exit status, and nothing half-done."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from jenkins_release.images import DockerEngine
from jenkins_release.records.attestation import read_envelope
from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION, PolicyStatement
from jenkins_release.sandbox.process import as_root, free_port
from jenkins_release.sandbox.samba import SambaServer, SambaShare
from tests.fixtures.command import fails
from tests.fixtures.damage import flip
from tests.fixtures.release import BOTH_ENGINES, BY_DAEMON, DEFAULT_WAY, SERVICES, Product

EXPORT = ("candidate", "export", "--version", "8.1.0", "--build", "42")
RUN = ("promote", "run", "8.1.0/42")


def mount(folder: Path, size: str) -> None:
    """Mount a small file system of our own."""
    subprocess.run(
        as_root(["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "x", str(folder)]), check=True
    )


def unmount(folder: Path) -> None:
    """Take it away again, also while something still holds it."""
    subprocess.run(as_root(["umount", "-l", str(folder)]), check=True)


def nothing_exported(product: Product) -> None:
    left = [path for path in product.share.rglob("*") if ".leases" not in path.parts and path.is_file()]
    assert left == []
    assert product.ok("candidate", "list")["candidates"] == []


# --- images ---------------------------------------------------------------------------------------


def test_unknown_images_are_named_all_at_once(product: Product):
    """Every missing image is in the reasons."""
    product.edit("skydrm/rms:{version}-{build}", "skydrm/rms:{version}-nightly")
    product.edit("skydrm/viewer:{version}-{build}", "skydrm/nowhere:{version}")
    fails(product.run(*EXPORT), 2, "skydrm/rms:8.1.0-nightly", "skydrm/nowhere:8.1.0", "2 of 2 images")
    nothing_exported(product)


def test_an_image_for_another_platform_names_both(product: Product):
    """The configured platform and the image's own."""
    product.append('[export]\nplatform = "linux/arm64"\n')
    fails(product.run(*EXPORT), 2, "linux/amd64", "linux/arm64")
    nothing_exported(product)


def test_a_configuration_without_images_and_installers(product: Product):
    """A candidate without images is none."""
    product.keep_images(0)
    product.config.write_text(f"images = []\n{product.config.read_text()}")
    fails(product.run(*EXPORT), 2, "has nothing to release")


@pytest.mark.parametrize(
    ("version", "build", "told"),
    [
        ("8.1.0/../9", "42", "version '8.1.0/../9' contains '/'"),
        ("..", "42", "version '..' names a folder above"),
        ("8.1.0\\x", "42", "contains '\\\\'"),
        ("8", "42", "version '8' is not two to four numbers"),
        ("8.1.0", "..", "build '..' names a folder above"),
        ("8.1.0", "con", "build 'con' is a device name that Windows reserves"),
        ("8.1.0", "4 2", "build '4 2' must begin with a letter or digit"),
        ("8.1.0", "4" * 121, "at most 120"),
        ("8.1.0", "", "build '' is empty"),
    ],
)
def test_a_bad_version_or_build(product: Product, version, build, told):
    """Separators, parents, reserved and over-long names never reach the share."""
    fails(product.run("candidate", "export", "--version", version, "--build", build), 2, told)
    assert list(product.share.iterdir()) == []


def test_the_daemon_is_not_reachable(product: Product, tmp_path):
    """The URL is named."""
    done = product.run(*EXPORT, "--docker-host", f"unix://{tmp_path}/no.sock")
    fails(done, 5, f"{tmp_path}/no.sock")
    nothing_exported(product)


# --- the share ------------------------------------------------------------------------------------


def test_the_share_is_not_reachable(product: Product):
    """Tried again, then reported with its address."""
    done = product.run(*EXPORT, "--share", f"smb://127.0.0.1:{free_port()}/release_candidate")
    fails(done, 5, "127.0.0.1")
    assert "attempt 2 of 3" in done.err


def test_a_wrong_password_is_tried_once(product: Product):
    """A second attempt could lock the account; the password is not shown."""
    done = product.run(*EXPORT, JENKINS_RELEASE_SMB_PASSWORD="hunter2-wrong")
    fails(done, 5, "password")
    assert "attempt 1" not in done.err
    assert "hunter2" not in done.text


def test_a_missing_share(product: Product):
    """The share's name is in the message."""
    done = product.run(*EXPORT, "--share", product.sandbox.samba.location("releases_2019"))
    fails(done, 5, "releases_2019")


def test_a_missing_folder_on_the_share(product: Product):
    """A folder in the location that is not there is told by its name."""
    done = product.run(*EXPORT, "--share", product.sandbox.samba.location("release_candidate", "no/such"))
    fails(done, 5, "no")


@pytest.fixture
def other_share(tmp_path: Path, product: Product):
    """Start a further Samba server with one share."""
    servers: list[SambaServer] = []

    def start(**options: object) -> str:
        share = SambaShare(tmp_path / "other", **options)  # type: ignore[arg-type]
        password = product.environ["JENKINS_RELEASE_SMB_PASSWORD"]
        server = SambaServer(tmp_path / "samba", {"other": share}, user="release", password=password)
        server.start(tied=True)
        servers.append(server)
        return server.location("other")

    yield start
    for server in servers:
        server.stop()


def test_a_read_only_share(product: Product, other_share, tmp_path):
    """Access denied, with the place."""
    fails(product.run(*EXPORT, "--share", other_share(read_only=True)), 5, "other")
    assert list((tmp_path / "other").iterdir()) == []


def test_a_share_that_is_certainly_too_small_is_refused_before_the_transfer(
    product: Product, other_share, tmp_path
):
    """The server tells its free space (smb.conf's dfree command): 1 MiB here."""
    script = tmp_path / "dfree"
    script.write_text("#!/bin/sh\necho 4096 1024\n")
    script.chmod(0o755)
    location = other_share(options={"dfree command": str(script)})
    fails(product.run(*EXPORT, "--share", location), 5, "free", "nothing was written")
    assert not list((tmp_path / "other").rglob("*.tar"))


@pytest.mark.root
def test_a_share_that_fills_up_half_way_shows_no_candidate(product: Product, tmp_path):
    """The write fails, the staging folder goes, and the error says what to do."""
    small = tmp_path / "small"
    small.mkdir()
    # Less than the smallest candidate: images may share a layer that another test has built.
    mount(small, "1000k")
    password = product.environ["JENKINS_RELEASE_SMB_PASSWORD"]
    # The server promises room that is not there, as a quota that others fill does.
    script = tmp_path / "dfree"
    script.write_text("#!/bin/sh\necho 99999999 9999999\n")
    script.chmod(0o755)
    share = SambaShare(small, options={"dfree command": str(script)})
    server = SambaServer(tmp_path / "samba", {"small": share}, user="release", password=password)
    try:
        server.start(tied=True)
        fails(product.run(*EXPORT, "--share", server.location("small")), 5, "full")
        assert [path for path in small.rglob("*") if path.is_file() and ".leases" not in path.parts] == []
    finally:
        server.stop()
        unmount(small)


def test_a_candidate_is_never_overwritten(product: Product):
    """The second export of a build is refused; the first stays byte for byte."""
    product.export()
    before = (product.candidate() / "candidate.json").read_bytes()
    fails(product.run(*EXPORT), 2, "8.1.0/42", "another build number")
    assert (product.candidate() / "candidate.json").read_bytes() == before


# --- a candidate that was altered -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "where"),
    [
        (DEFAULT_WAY, "first layer"),
        (DEFAULT_WAY, "config"),
        # Docker reads the whole file, a direct push no byte that is no part of an image.
        *((BY_DAEMON, where) for where in ("first layer", "config", "end")),
    ],
    indirect=["way"],
)
def test_one_altered_byte_of_the_tar_stops_the_promotion(validated: Product, engine: DockerEngine, where):
    """Nothing is loaded, nothing is pushed, and the archive is named."""
    record = json.loads((validated.candidate() / "candidate.json").read_text())
    image = record["images"][0]
    tar = validated.candidate() / image["archive"]
    place = {
        "first layer": image["layers"][0]["offset"] + 1000,
        "config": image["config_offset"] + 20,
        "end": tar.stat().st_size - 1,
    }[where]
    for each in record["images"]:
        engine.untag(each["reference"])
    flip(tar, place)
    fails(validated.run(*RUN), 4, "skydrm-8.1.0-42.tar", "do not use this candidate")
    # A daemon that pulls reads only what it lacks: see candidate/test_load_by_pull.py.
    done = validated.run("candidate", "load", "8.1.0/42", JENKINS_RELEASE_LOAD_SOURCE="load")
    fails(done, 4, "skydrm-8.1.0-42.tar", "do not use this candidate")
    fails(validated.run("candidate", "verify", "8.1.0/42"), 4, "skydrm-8.1.0-42.tar")
    held = engine_references(validated)
    assert not {each["reference"] for each in record["images"]} & set(held)
    assert all(tags == {} for tags in validated.tags().values())
    flip(tar, place)
    validated.ok("candidate", "load", "8.1.0/42")


def engine_references(product: Product) -> list[str]:
    command = [
        "docker",
        "-H",
        product.environ["DOCKER_HOST"],
        "images",
        "--format",
        "{{.Repository}}:{{.Tag}}",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_one_altered_byte_of_the_manifest(validated: Product):
    """The sign-off names the manifest's digest: a valid JSON with another letter shows too."""
    path = validated.candidate() / "candidate.json"
    text = path.read_text()
    altered = text.replace('"built_by":"', '"built_by":"x', 1)
    assert altered != text
    path.write_text(altered)
    fails(validated.run(*RUN), 4, "candidate.json")
    fails(validated.run("candidate", "verify", "8.1.0/42"), 4, "candidate.json")
    assert validated.tags() == {}


def test_a_manifest_that_is_no_json_any_more(validated: Product):
    """The file is named."""
    flip(validated.candidate() / "candidate.json", 0)
    fails(validated.run(*RUN), 4, "candidate.json is not valid JSON")
    listed = validated.ok("candidate", "list")["candidates"]
    assert "not valid JSON" in listed[0]["problem"]


def test_one_altered_byte_of_an_attestation(validated: Product):
    """The payload no longer fits its signature."""
    path = validated.candidate() / "attestations" / "0002-qa.dsse.json"
    flip(path, path.read_bytes().index(b'"payload":"') + 60)
    fails(validated.run(*RUN), 4, "0002-qa.dsse.json")
    assert validated.tags() == {}


@BOTH_ENGINES
def test_a_truncated_archive(validated: Product):
    """Recorded and found size are in the message."""
    tar = validated.candidate() / "images" / "skydrm-8.1.0-42.tar"
    size = tar.stat().st_size
    os.truncate(tar, size - 512)
    fails(validated.run(*RUN), 4, f"expected {size} bytes, found {size - 512}")
    fails(validated.run("candidate", "load", "8.1.0/42"), 4, "skydrm-8.1.0-42.tar")


@pytest.mark.parametrize("name", ["candidate.json", "images/skydrm-8.1.0-42.tar", "SHA256SUMS"])
def test_an_incomplete_candidate(validated: Product, name):
    """The missing file is named; SHA256SUMS is for people, so only `verify` asks for it."""
    (validated.candidate() / name).unlink()
    verb = ("candidate", "verify", "8.1.0/42") if name == "SHA256SUMS" else RUN
    fails(validated.run(*verb), 4, name.rsplit("/", 1)[-1], "missing")


def test_a_candidate_that_is_not_there(product: Product):
    """How to look for it is in the hint."""
    fails(product.run(*RUN), 2, "there is no candidate 8.1.0/42", "candidate list")


def test_a_candidate_moved_by_hand(validated: Product):
    """A folder with another number does not become another build."""
    validated.candidate().rename(validated.candidate("8.1.0/99"))
    fails(validated.run("promote", "run", "8.1.0/99"), 4, "expected SkyDRM 8.1.0/99, found SkyDRM 8.1.0/42")


# --- the registry ---------------------------------------------------------------------------------


def test_a_missing_repository_is_named_before_anything_is_pushed(validated: Product):
    """All of them, and what to do."""
    validated.edit("create_repositories = true", "create_repositories = false")
    names = [f"{validated.prefix}/{name}" for name in SERVICES]
    fails(validated.run(*RUN), 2, *names, "create_repositories")
    assert validated.tags() == {}


def test_no_aws_credentials(validated: Product, monkeypatch):
    """boto3's chain found nothing."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    fails(validated.run(*RUN), 2, "credentials")


def test_wrong_aws_credentials(validated: Product, monkeypatch):
    """The key is refused; its secret is not shown."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2-not-the-secret")
    done = validated.run(*RUN)
    fails(done, 5)
    assert "hunter2" not in done.text


def test_aws_credentials_without_rights(validated: Product, monkeypatch):
    """The action that is missing is named; no release tag is set."""
    resource = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/*"
    reading = ["DescribeRepositories", "ListImages", "BatchGetImage", "BatchCheckLayerAvailability"]
    key, secret = validated.sandbox.ecr.add_user(
        f"reader-{validated.prefix}",
        [
            PolicyStatement(actions=["ecr:GetAuthorizationToken"], resources=["*"]),
            PolicyStatement(actions=[f"ecr:{action}" for action in reading], resources=[resource]),
        ],
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    done = validated.run(*RUN)
    fails(done, 5, "ecr:CreateRepository")
    assert secret not in done.text


@BOTH_ENGINES
def test_a_release_tag_taken_by_other_content_is_a_hard_stop_with_both_digests(promoted: Product):
    """Build 43 under the version that build 42 was released as: nothing is pushed."""
    promoted.export("43")
    promoted.sign_off("8.1.0/43")
    before = promoted.tags()
    done = promoted.run("promote", "run", "8.1.0/43", "--json")
    old = json.loads((promoted.candidate() / "candidate.json").read_text())["images"]
    new = json.loads((promoted.candidate("8.1.0/43") / "candidate.json").read_text())["images"]
    fails(done, 4, *(image["config_digest"] for image in [*old, *new]))
    assert promoted.tags() == before


@pytest.mark.root
@pytest.mark.parametrize("way", [BY_DAEMON], indirect=True)
def test_a_full_disk_on_the_promoting_machine(validated: Product, tmp_path, engine: DockerEngine):
    """The daemon has no room to load: the place is named, and nothing was pushed."""
    from jenkins_release.sandbox.dockerd import DockerDaemon

    folder = tmp_path / "docker"
    (folder / "data").mkdir(parents=True)
    mount(folder / "data", "4m")
    daemon = DockerDaemon(folder)
    try:
        daemon.start(tied=True)
        fails(validated.run(*RUN, "--docker-host", daemon.base_url), 5, "space")
        assert all(tags == {} for tags in validated.tags().values())
    finally:
        daemon.stop()
        unmount(folder / "data")


# --- QA -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "told"),
    [
        (None, "there is no test report /"),
        ("not xml", "is not a JUnit report"),
        ("<testsuite/>", "no test that ran"),
        ('<testsuite><testcase name="x"><failure/></testcase></testsuite>', "1 test failed"),
        ('<testsuite tests="2"><testcase name="x"/></testsuite>', "counts other tests than it holds"),
    ],
)
def test_a_pass_without_proof(exported: Product, tmp_path, report, told):
    """A verdict needs a report that supports it."""
    path = tmp_path / "junit.xml"
    if report is not None:
        path.write_text(report)
    words = ("qa", "sign-off", "8.1.0/42", "--verdict", "pass", "--tester", "Q", "--results", str(path))
    fails(exported.run(*words), 2, told)
    assert len(list((exported.candidate() / "attestations").iterdir())) == 1


def test_every_report_of_a_test_run_counts(exported: Product, tmp_path):
    """One that failed is not hidden by one that passed, however they are named."""
    for name, inside in (("a", "<failure/>"), ("b", "")):
        (tmp_path / f"{name}.xml").write_text(
            f'<testsuite><testcase name="{name}">{inside}</testcase></testsuite>'
        )
    words = (
        "qa",
        "sign-off",
        "8.1.0/42",
        "--verdict",
        "pass",
        "--tester",
        "Q",
        "--digest",
        exported.digest(),
    )
    both = ("--results", f"{tmp_path}/a.xml", "--results", f"{tmp_path}/b.xml")
    done = exported.run(*words, *both)
    fails(done, 2, "1 test failed in 2 reports", "failed: a")
    fails(exported.run(*words, "--results", f"{tmp_path}/*.xml"), 2, "1 test failed in 2 reports")
    exported.ok(*words, *both, "--accept-failures", "known")
    (file,) = (exported.candidate() / "attestations").glob("*-qa.dsse.json")
    said = read_envelope(file.read_bytes(), file.name)[1]
    assert [report["name"] for report in said.predicate["configuration"]] == [
        f"{tmp_path}/a.xml",
        f"{tmp_path}/b.xml",
    ]
    assert (said.predicate["failedTests"], said.predicate["passedTests"]) == (["a"], ["b"])


def test_a_key_that_the_gate_would_not_count_cannot_sign(exported: Product):
    """Told while signing, not on the evening of the release."""
    key = f"file2:{exported.folder}/keys/build.pem"
    words = ("qa", "sign-off", "8.1.0/42", "--verdict", "fail", "--tester", "Q", "--key", key)
    fails(exported.run(*words), 2, "not trusted for the role 'qa'")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"JENKINS_RELEASE_KEY_PASSPHRASE": "hunter2-wrong"}, "passphrase is wrong"),
        ({"JENKINS_RELEASE_KEY_PASSPHRASE": ""}, "no passphrase is set"),
    ],
)
def test_a_key_that_does_not_open(product: Product, change, told):
    """The passphrase is not shown."""
    done = product.run(*EXPORT, **change)
    fails(done, 2, told)
    assert "hunter2" not in done.text
    nothing_exported(product)
