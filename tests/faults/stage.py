"""A product on real servers that the matrix plays on, each of them behind a wire and a proxy.

The servers are Samba, docker-registry behind the sandbox's ECR, and moto; a command reaches them through the
wires only, an observer goes to the servers and to the folders behind the shares.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyrage
from pydantic import SecretStr

from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.ecr.state import REGION
from jenkins_release.sandbox.process import LOOPBACK, free_port
from jenkins_release.sandbox.product import write_product
from jenkins_release.sandbox.samba import SambaServer, SambaShare
from jenkins_release.sandbox.sample_images import build_images, demo_references
from jenkins_release.sandbox.stack import CANDIDATE_SHARE, RELEASE_SHARE, Sandbox
from tests.docs.pages import ROOT
from tests.faults.http_proxy import HttpProxy, bad_digest
from tests.faults.wire import Wire
from tests.fixtures.release import JUNIT
from tests.fixtures.setup_zip import TEMPLATES
from tests.fixtures.share import in_own_mounts
from tests.release.runner import Ended, Runner

NAMES = ("rms", "viewer")
OLDER, VERSION, NEWER = "8.0.0", "8.1.0", "8.2.0"
BUILDS = {OLDER: "41", VERSION: "42", NEWER: "43"}
REF = f"{VERSION}/{BUILDS[VERSION]}"
BUCKET = "downloads"
SMALL = 4 << 20
"""Bytes of a share that is too small for a candidate; an eighth of it is too small for a release."""
LIMITS = """
[policy]
approvals = 1
[docker]
timeout_s = 8
[network]
answer_s = 2
least_rate = 1048576
[retry]
attempts = 8
first_wait_s = 0.2
max_wait_s = 2
deadline_s = 9
"""
"""Limits of a release, scaled down: what takes minutes there takes seconds here."""
TIMEOUT_S = 2.0
"""``share.timeout_s``, likewise."""
PEOPLE = {"candidate": "bob", "qa": "quinn", "approve": "ada"}
"""Who runs what; anything else is Rita's."""
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"


class Stage:
    """Servers, wires, and three products, each made for the first cell that needs it.

    Attributes:
        smb: The wire before Samba.
        ecr: The wire before ECR and its registry.
        ecr_proxy: The proxy behind that wire.
        aws: The wire before IAM and S3.
        aws_proxy: The proxy behind that wire.
    """

    def __init__(self, root: Path, docker_host: str, python: str) -> None:
        self.root = root
        self.sandbox = Sandbox(root / "sandbox", environ={"DOCKER_HOST": docker_host})
        self.sandbox.start(tied=True)
        sandbox = self.sandbox
        self.smb = Wire(sandbox.samba.port, smb=True)
        self.ecr_proxy, self.aws_proxy = HttpProxy(sandbox.ecr.port), HttpProxy(sandbox.moto.port)
        self.aws_proxy.check = bad_digest
        self.ecr, self.aws = Wire(self.ecr_proxy.port), Wire(self.aws_proxy.port)
        self.ecr_proxy.shown_port, self.aws_proxy.shown_port = self.ecr.port, self.aws.port
        here = {sandbox.ecr.port: self.ecr.port, sandbox.moto.port: self.aws.port}
        environ = sandbox.environment()
        for behind, before in here.items():
            led = f"{LOOPBACK}:{before}"
            environ = {name: text.replace(f"{LOOPBACK}:{behind}", led) for name, text in environ.items()}
        self.environ = {
            **environ,
            "PATH": "/usr/bin:/bin",
            "HOME": str(root),
            "JENKINS_RELEASE_SHARE_ENCRYPT": "false",
            "JENKINS_RELEASE_SHARE_TIMEOUT_S": str(TIMEOUT_S),
            "PYTHONPATH": str(ROOT),
        }
        self.runner = Runner(python)
        self.numbers = itertools.count(1)
        self._small: tuple[SambaServer, Wire] | None = None
        self.identity = pyrage.x25519.Identity.generate()
        self.engine = DockerEngine(docker_host)
        for version, build in BUILDS.items():
            # The older one shares no layer with the others: a daemon without it has to pull all of it.
            base = (3 if version == OLDER else 2) << 20
            build_images(self.engine, version, build, names=NAMES, base_size=base, own_size=1 << 20)
        self.client("s3").create_bucket(Bucket=BUCKET)
        self._keys = root / "keys"

    @cached_property
    def fresh(self) -> Product:
        """On its way to its first release."""
        return self._product("fresh", VERSION, until="approve")

    @cached_property
    def plain(self) -> Product:
        """On its way to its first release too, with layers that a Docker daemon pushes."""
        return self._product("plain", VERSION, until="approve", JENKINS_RELEASE_EXPORT_LAYERS="plain")

    @cached_property
    def exported(self) -> Product:
        """Has candidates of two versions, and exports the third. The daemon no longer has the oldest one."""
        made = self._product("exported", OLDER, VERSION, until="export")
        made.forget_loaded()
        return made

    @cached_property
    def released(self) -> Product:
        """Has released two versions."""
        return self._product("released", VERSION, NEWER, until="publish")

    def _product(self, name: str, *versions: str, until: str, **more: str) -> Product:
        made = Product(self, name, self._keys, **more)
        made.story(*versions, until=until)
        return made

    def close(self) -> None:
        """Stop everything."""
        self.runner.close()
        for each in (self.smb, self.ecr, self.aws, self.ecr_proxy, self.aws_proxy):
            each.close()
        self._close_small()
        self.engine.close()
        self.sandbox.stop()

    def heal(self) -> None:
        """End every trouble, and every connection of the command before."""
        self.sandbox.samba.thaw()
        if self.sandbox.samba.pid() is None:
            self.sandbox.samba.start(tied=True)
        if self.sandbox.ecr.pid() is None:
            self.sandbox.ecr.start(tied=True)
        for wire in (self.smb, self.ecr, self.aws):
            wire.heal()
        self.ecr_proxy.heal()
        self.aws_proxy.heal()

    def forget(self) -> None:
        """End every connection, and count from one."""
        for wire in (self.smb, self.ecr, self.aws):
            wire.forget()
        self.ecr_proxy.seen.clear()
        self.aws_proxy.seen.clear()

    def client(self, service: str) -> Any:
        """A boto3 client of the servers themselves."""
        import boto3
        from botocore.config import Config

        environ = self.sandbox.environment()
        endpoint = self.sandbox.ecr.endpoint if service in {"ecr", "ecs"} else self.sandbox.moto.endpoint
        session = boto3.session.Session(
            environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], region_name=REGION
        )
        config = Config(retries={"max_attempts": 8}, s3={"addressing_style": "path"})
        return session.client(service, endpoint_url=endpoint, config=config)

    @cached_property
    def registry(self) -> Any:
        """A boto3 client of ECR."""
        return self.client("ecr")

    @cached_property
    def bucket(self) -> Any:
        """A boto3 client of S3."""
        return self.client("s3")

    @cached_property
    def iam(self) -> Any:
        """A boto3 client of IAM."""
        return self.client("iam")

    @cached_property
    def services(self) -> Any:
        """A boto3 client of ECS."""
        return self.client("ecs")

    def small_share(self, name: str, product: str, *, size: int, told: int | None) -> Wire:
        """Start a Samba whose share has little room, in place of the one before.

        Args:
            name: Name of the share.
            product: A folder that is there in it.
            size: Its room, in bytes.
            told: The free space that it tells, in bytes; None for the truth.

        Returns:
            A wire before it.
        """
        self._close_small()
        folder = self.root / f"small{next(self.numbers)}"
        (folder / "data").mkdir(parents=True)
        options = {}
        if told is not None:
            # smb.conf(5), "dfree command": prints total and free blocks of 1024 bytes.
            script = folder / "dfree"
            script.write_text(f"#!/bin/sh\necho {told >> 9} {told >> 10}\n")
            script.chmod(0o755)
            options["dfree command"] = str(script)
        environ = self.sandbox.environment()
        mount = f"mount -t tmpfs -o size={size},mode=0777 none {{0}}; mkdir {{0}}/{product}"
        samba = SambaServer(
            folder / "state",
            {name: SambaShare(folder / "data", options=options)},
            user=environ["JENKINS_RELEASE_SMB_USER"],
            password=environ["JENKINS_RELEASE_SMB_PASSWORD"],
            port=free_port(),
            launcher=in_own_mounts(mount, str(folder / "data")),
        )
        samba.start(tied=True)
        self._small = samba, Wire(samba.port, smb=True)
        return self._small[1]

    def _close_small(self) -> None:
        if self._small is not None:
            samba, wire = self._small
            wire.close()
            samba.stop()
            self._small = None


@dataclass(frozen=True)
class Sum:
    """A file as it was when its hash was computed."""

    stamp: tuple[int, int, int]
    sha256: str


class Product:
    """One product: its configuration, and the folders behind its shares.

    Attributes:
        folder: Where ``release.toml`` is.
        share: The folder behind the share of its candidates.
        releases: The folder behind its release area.
        snapshots: State to copies of both folders.
        config_digests: Repository to the config digest of each version that QA validated.
    """

    def __init__(self, stage: Stage, name: str, keys: Path, **more: str) -> None:
        self.stage, self.name, self._more = stage, name, more
        self.folder = stage.root / name
        self.folder.mkdir()
        keys.mkdir(exist_ok=True)
        (self.folder / "keys").symlink_to(keys)
        self.share = stage.sandbox.share_folder / name
        self.releases = stage.sandbox.release_folder / name
        for each in (self.share, self.releases):
            each.mkdir()
        self.location = f"smb://{LOOPBACK}:{stage.smb.port}/{CANDIDATE_SHARE}/{name}"
        passphrase = SecretStr(stage.environ["JENKINS_RELEASE_KEY_PASSPHRASE"])
        config = write_product(
            self.folder,
            self.location,
            passphrase,
            releases=f"smb://{LOOPBACK}:{stage.smb.port}/{RELEASE_SHARE}/{name}",
            names=NAMES,
        )
        text = config.read_text().replace('repository = "skydrm/', f'repository = "{name}/')
        text += LIMITS + "\n[[installers]]\nfiles = 'out/*-{version}*'\n"
        text += "[support]\nlines = 1\n"
        text += f"[portal]\nkind = 's3'\nbucket = '{BUCKET}'\nregion = '{REGION}'\npart_size_mib = 5\n"
        text += f'[bundle]\nlayer_host = "{LOOPBACK}:{stage.ecr.port}"\ndisk_gb = 1\nmemory_gb = 1\n'
        config.write_text(text)
        self.config = config
        for path, data in TEMPLATES.items():
            target = self.folder / "bundle" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        (self.folder / "out").mkdir()
        for version in BUILDS:
            (self.folder / "out" / f"SkyDRM-{version}.msi").write_bytes(
                version.encode() + os.urandom(1 << 20)
            )
        (self.folder / "junit.xml").write_text(JUNIT)
        self.repositories = tuple(f"{name}/{image}" for image in NAMES)
        self.snapshots: dict[str, Path] = {}
        self.config_digests: dict[str, dict[str, str]] = {}
        self._candidate_tags: dict[str, str] = {}
        self._sums: dict[Path, Sum] = {}
        self.manifests: dict[tuple[str, str], tuple[str, str]] = {}

    def environ(self, *words: str, **more: str) -> dict[str, str]:
        """Return the environment of a command."""
        person = next((who for what, who in PEOPLE.items() if what in words[:2]), "rita")
        return {
            **self.stage.environ,
            "JENKINS_RELEASE_CONFIG": str(self.config),
            "BUILD_USER_ID": person,
            "BUILD_URL": f"https://jenkins.example/job/{words[0]}/1/",
            **self._more,
            **more,
        }

    def run(self, *words: str, **more: str) -> Ended:
        """Run a command without trouble."""
        return self.stage.runner.run(*words, environ=self.environ(*words, **more))

    def ok(self, *words: str, **more: str) -> None:
        """Run a command that has to succeed."""
        done = self.run(*words, **more)
        assert done.status == 0, (words, done.text)

    def words(self, step: str, version: str = VERSION) -> list[str]:
        """Return the command line of a step for a version."""
        ref = f"{version}/{BUILDS[version]}"
        plan = str(self.folder / f"plan-{version}.json")
        source = ("--from", str(self.folder))
        results = ("--results", str(self.folder / "junit.xml"))
        return {
            "export": [*("candidate", "export", "--version", version, "--build", BUILDS[version]), *source],
            "fetch": ["candidate", "fetch", ref, str(self.folder / f"tested-{version}")],
            "sign-off": ["qa", "sign-off", ref, "--verdict", "pass", "--tester", "Quinn", *results],
            "plan": ["promote", "plan", ref, "--out", plan],
            "approve": ["promote", "approve", plan, "--approver", "Ada", "--reason", "tested and wanted"],
            "promote": ["promote", "run", ref],
            "publish": ["release", "publish", ref],
            "portal": ["release", "portal", version],
            "withdraw": ["release", "withdraw", version, "--reason", "it is wrong"],
            "retire": ["release", "retire"],
            "bundle": ["bundle", "build", version, "--out", str(self.folder / "setup.zip")],
            "refresh": ["saas", "refresh", version],
        }[step]

    def story(self, *versions: str, until: str = "publish") -> None:
        """Tell the story of versions up to a step, with a snapshot after each step."""
        for version in versions:
            for step in ("export", "fetch", "sign-off", "plan", "approve", "promote", "publish"):
                self.ok(*self.words(step, version))
                self.keep(step)
                if step == "plan":
                    made = json.loads((self.folder / f"plan-{version}.json").read_text())
                    digests = {i["repository"]: i["config_digest"] for i in made["images"]}
                    self.config_digests[version] = digests
                    self._candidate_tags[version] = made["images"][0]["candidate_tag"]
                if step == until:
                    break
        if until in {"promote", "publish"}:
            self._keep_manifests()

    def keep(self, state: str) -> None:
        """Keep copies of both folders."""
        place = self.stage.root / "snapshots" / self.name / state
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.share, place / "share")
        shutil.copytree(self.releases, place / "releases")
        self.snapshots[state] = place

    def put_back(self, state: str) -> None:
        """Make both folders what they were."""
        for name, folder in (("share", self.share), ("releases", self.releases)):
            for each in folder.iterdir():
                shutil.rmtree(each)
            if state:
                shutil.copytree(self.snapshots[state] / name, folder, dirs_exist_ok=True)

    def empty_registry(self) -> None:
        """Delete the repositories."""
        client = self.stage.registry
        for name in self.repositories:
            try:
                client.delete_repository(repositoryName=name, force=True)
            except client.exceptions.RepositoryNotFoundException:
                continue

    def refill_registry(self) -> None:
        """Let every release tag of the story be there again, and no other."""
        client = self.stage.registry
        there = {name: self.tags(name) for name in self.repositories}
        for (name, version), (digest, manifest) in self.manifests.items():
            found = there[name].get(version)
            if found not in {None, digest}:
                client.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": version}])
            if found != digest:
                client.put_image(repositoryName=name, imageManifest=manifest, imageTag=version)
        for name, tags in there.items():
            wrong = [{"imageTag": tag} for tag in tags if (name, tag) not in self.manifests]
            if wrong:
                client.batch_delete_image(repositoryName=name, imageIds=wrong)

    def tags(self, repository: str) -> dict[str, str]:
        """Return tag to digest of a repository; empty where there is none."""
        client = self.stage.registry
        try:
            found = client.list_images(repositoryName=repository)["imageIds"]
        except client.exceptions.RepositoryNotFoundException:
            return {}
        return {each["imageTag"]: each["imageDigest"] for each in found if "imageTag" in each}

    def _keep_manifests(self) -> None:
        for name in self.repositories:
            for version, digest in self.tags(name).items():
                (image,) = self.stage.registry.batch_get_image(
                    repositoryName=name, imageIds=[{"imageTag": version}]
                )["images"]
                self.manifests[name, version] = (digest, image["imageManifest"])

    def look_at_registry(self, *, whole: bool = True) -> list[str]:
        """Say what a customer who pulls would find wrong: a tag on another image, or half a release.

        Args:
            whole: Whether a release is there in all repositories or in none; false while it is removed.
        """
        wrong: list[str] = []
        there = {name: self._images(name) for name in self.repositories}
        for version, digests in self.config_digests.items():
            released = [name for name in self.repositories if version in there[name]]
            wrong += [
                f"{name}:{version} is {there[name][version]}, QA validated {digests[name]}"
                for name in released
                if there[name][version] != digests[name]
            ]
            again = {name: self._images(name) for name in self.repositories} if released and whole else {}
            wrong += [
                f"{version} is released and {name} has no such image"
                for name, images in again.items()
                if digests[name] not in images.values()
            ]
        return wrong

    def released(self, version: str = VERSION) -> list[str]:
        """Return the repositories that have the release tag."""
        return [name for name in self.repositories if version in self.tags(name)]

    def _images(self, repository: str) -> dict[str, str]:
        """Return tag or digest to the config digest that its manifest names."""
        client = self.stage.registry
        try:
            ids = client.list_images(repositoryName=repository)["imageIds"]
            images = client.batch_get_image(repositoryName=repository, imageIds=ids)["images"] if ids else []
        except client.exceptions.RepositoryNotFoundException:
            return {}
        found = {}
        for image in images:
            config = json.loads(image["imageManifest"])["config"]["digest"]
            found[image["imageId"].get("imageTag", image["imageId"]["imageDigest"])] = config
        return found

    def look_at_share(self) -> list[str]:
        """Say what a reader of the share would find wrong: folders that are visible and not complete."""
        wrong: list[str] = []
        for root, name, depth in ((self.share, "candidate.json", 2), (self.releases, "release.json", 1)):
            wrong += look_at_folders(root / "SkyDRM", name, depth, self._hash)
        return wrong

    def visible(self) -> list[str]:
        """Return the candidates and releases that a reader sees."""
        found = []
        for root, depth in ((self.share, 2), (self.releases, 1)):
            found += [str(each.relative_to(root)) for each in folders(root / "SkyDRM", depth)]
        return found

    def loaded(self) -> dict[str, str]:
        """Return which images of the oldest candidate the daemon has: name to digest of the config."""
        there = {*self.stage.engine.names()}
        return {
            name: self.stage.engine.inspect(name).config_digest for name in self._oldest() if name in there
        }

    def expected(self) -> dict[str, str]:
        """Return what :meth:`loaded` is once the candidate is loaded."""
        record = json.loads((self.share / "SkyDRM" / OLDER / BUILDS[OLDER] / "candidate.json").read_text())
        return {image["reference"]: image["config_digest"] for image in record["images"]}

    def forget_loaded(self) -> None:
        """Remove the oldest candidate's images from the daemon."""
        for name in self._oldest():
            self.stage.engine.untag(name)

    def _oldest(self) -> list[str]:
        return demo_references(OLDER, BUILDS[OLDER], names=NAMES)

    def attestations(self, kind: str, version: str = VERSION) -> list[str]:
        """Return the names of the attestations of one kind on a candidate."""
        folder = self.share / "SkyDRM" / version / BUILDS[version] / "attestations"
        return sorted(path.name for path in folder.glob(f"[0-9]*-{kind}.dsse.json"))

    def _hash(self, path: Path) -> str:
        found = path.stat()
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        known = self._sums.get(path)
        if known is None or known.stamp != stamp:
            known = Sum(stamp, hashlib.sha256(path.read_bytes()).hexdigest())
            self._sums[path] = known
        return known.sha256


def folders(root: Path, depth: int) -> list[Path]:
    """Return the folders that a reader sees, so many levels below one."""
    found = [root] if root.is_dir() else []
    for _ in range(depth):
        found = [each for folder in found for each in _visible(folder)]
    return found


def _visible(folder: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):  # it has gone meanwhile
        return [each for each in sorted(folder.iterdir()) if each.is_dir() and not each.name.startswith(".")]
    return []


def look_at_folders(root: Path, record: str, depth: int, hashed: Any) -> list[str]:
    """Say which folders are visible without being complete, and which signed statements are half there."""
    wrong = []
    for folder in folders(root, depth):
        try:
            sums = (folder / "SHA256SUMS").read_text()
            json.loads((folder / record).read_text())
            for line in sums.splitlines():
                expected, _, name = re.sub(r" \*", "  ", line, count=1).partition("  ")
                if hashed(folder / name) != expected:
                    wrong.append(f"{folder.name}/{name} has other bytes than SHA256SUMS says")
            for path in folder.glob("attestations/[0-9]*.dsse.json"):
                envelope = json.loads(path.read_text())
                if not envelope["payload"] or not envelope["signatures"]:
                    wrong.append(f"{path.name} is half a statement")
        except (OSError, ValueError, KeyError) as error:
            if folder.is_dir():  # put back meanwhile otherwise
                wrong.append(f"{folder} is visible and not complete: {error}")
    return wrong
