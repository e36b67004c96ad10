"""Whoever can write to the shares and has no key: changes one between any two calls, and back later.

A scene holds a candidate that was validated and approved, in memory. A play is one run of a step while the
adversary makes one change before a certain call to the share, and takes it back before a later one. What
counts is what customers see afterwards.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from securesystemslib.signer import Signer

from jenkins_release.base.errors import IntegrityError, ReleaseError, RemoteError
from jenkins_release.config import KEY_PASSPHRASE, load_configuration
from jenkins_release.config.model import Role
from jenkins_release.oci.manifests import Descriptor, build_manifest, sha256_digest
from jenkins_release.portal import SharePortal
from jenkins_release.records.attestation import (
    PORTAL,
    PROMOTION,
    PUBLICATION,
    REFRESH,
    SUMMARY,
    TEST_RESULT,
    WITHDRAWAL,
    Statement,
    read_envelope,
)
from jenkins_release.records.base import canonical_json
from jenkins_release.records.bundle import read_bundle
from jenkins_release.records.candidate import Candidate, manifest_digest
from jenkins_release.records.published_release import PublishedRelease, release_checksum_lines
from jenkins_release.records.refresh import RefreshRecord
from jenkins_release.registry.protocol import TagConflict
from jenkins_release.sandbox.product import write_product
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.export import ExportRequest, export_candidate
from jenkins_release.steps.candidate.fetch import fetch_candidate
from jenkins_release.steps.candidate.load import load_candidate
from jenkins_release.steps.candidate.receipt import RECEIPTS, read_receipt
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.end_of_life.withdraw import WithdrawRequest, withdraw_release
from jenkins_release.steps.overview.listing import list_releases
from jenkins_release.steps.portal.upload import PortalRequest, upload_release
from jenkins_release.steps.promotion.approve import ApprovalRequest, approve_plan
from jenkins_release.steps.promotion.plan import plan_promotion, write_plan
from jenkins_release.steps.promotion.promote import PromoteRequest, promote
from jenkins_release.steps.publication.publish import PublishRequest, publish_release
from jenkins_release.steps.qa.sign_off import SignOffRequest, sign_off
from jenkins_release.steps.release.attestations import AttestationsRequest, write_attestations
from jenkins_release.steps.saas.refresh import RefreshRequest, refresh_stack
from tests.fixtures.archives import docker_members, join, layer_tar
from tests.fixtures.memory import (
    HOST,
    Fault,
    MemoryCluster,
    MemoryCommands,
    MemoryEngine,
    MemoryProber,
    MemoryRegistry,
    MemoryShare,
)
from tests.fixtures.release import JUNIT
from tests.release.boundaries import in_turn

REF = CandidateRef("8.1.0", "42")
FOLDER = "SkyDRM/8.1.0/42"
NAMES = ("rms", "viewer")
_SAAS = """
[saas]
strategy = "ecs"
stack = "memory"
cluster = "skydrm"
[[saas.services]]
name = "rms"
containers = { rms = "rms" }
[[saas.services]]
name = "viewer"
containers = { viewer = "viewer" }
[[saas.health]]
url = "http://stack.example/health"
successes = 1
"""
_INSTANCES = """
[saas]
strategy = "ssm"
stack = "memory"
[saas.ssm]
document = "Install"
targets = { product = ["SkyDRM"] }
parameters = { version = ["{version}"], build = ["{build}"] }
[[saas.health]]
url = "http://stack.example/health"
successes = 1
"""
Files = dict[str, bytes]
Overlay = dict[str, bytes | None]
"""What the adversary writes: path to bytes, or to None for what it removes."""
AREA = "/releases/"
"""Begins the paths of the release area, beside those of the share with the candidates."""
RELEASED = f"{AREA}SkyDRM/8.1.0/"
STAGED = f"{AREA}SkyDRM/.incoming-8.1.0-"


class FastServices(Services):
    """Services whose keys are opened once; everything that is asked for several at a time comes in turn."""

    opened_keys: dict[tuple[str, str], Signer]

    def signer(self, role: Role, uri: str = "") -> Signer:
        """Open a key once: to decrypt it is made slow on purpose."""
        found = self.opened_keys.get((role, uri))
        if found is None:
            found = self.opened_keys[role, uri] = super().signer(role, uri)
        return found

    each = in_turn


@dataclass
class World:
    """Everything that a step can reach.

    Attributes:
        share: The share with the candidates.
        releases: The release area.
        registry: What customers pull from.
        services: All of it, as the steps see it.
        portal: What customers download from.
        cluster: The SaaS stack.
        commands: Run Command, with which a stack of instances is refreshed.
        changed: What the adversary changed.
        unread: Whether the step read nothing of that afterwards: then it could not know.
    """

    share: MemoryShare
    releases: MemoryShare
    registry: MemoryRegistry
    services: Services
    portal: MemoryShare
    cluster: MemoryCluster
    commands: MemoryCommands
    changed: Mapping[str, bytes | None] = field(default_factory=dict)
    unread: bool = True


class Scene:
    """A product with an approved candidate, and an evil one of the same name.

    Args:
        folder: For the configuration and the keys.
        engine: ``registry`` or ``docker``.
        layers: ``plain`` or ``gzip``.
    """

    def __init__(self, folder: Path, engine: str, layers: str) -> None:
        self.folder = folder
        passphrase = SecretStr("only for this test")
        config = write_product(folder, "/share", passphrase, releases="/releases", names=NAMES)
        text = config.read_text() + "\n[[installers]]\nfiles = 'out/*'\n[policy]\napprovals = 1\n"
        text += f'[promote]\nengine = "{engine}"\nworkers = 1\n[export]\nlayers = "{layers}"\n'
        text += "[retry]\nattempts = 2\nfirst_wait_s = 0.001\nmax_wait_s = 0.001\n"
        config.write_text(text + _SAAS)
        (folder / "instances.toml").write_text(text + _INSTANCES)
        self.environ = {
            KEY_PASSPHRASE: passphrase.get_secret_value(),
            "BUILD_USER_ID": "rita",
            RECEIPTS: str(folder),
        }
        self.configuration = load_configuration(config, environ=self.environ)
        self.instances = load_configuration(folder / "instances.toml", environ=self.environ)
        self._keys: dict[tuple[str, str], Signer] = {}
        (folder / "junit.xml").write_text(JUNIT)
        self.files = self._approved("honest", "42")
        self.evil = self._exported("evil", "42")
        self._other = self._approved("other", "43")
        self.other = {path.replace("/43", "/42", 1): data for path, data in self._other.items()}
        promoted = self._promoted()
        self.journal = {path: data for path, data in promoted.items() if "/journal/" in path}
        (self.promotion,) = (data for path, data in promoted.items() if path.endswith("-promotion.dsse.json"))
        self.released = self._released(self.files, "42")
        self.other_release = self._released(self._other, "43")
        self.honest = self.record(self.files)
        self.digest = manifest_digest(self.files[f"{FOLDER}/candidate.json"])

    @cached_property
    def trusted_keys(self) -> Any:
        """The trusted keys, read once."""
        return Services(self.configuration, environ=self.environ).trusted_keys

    def world(self, files: Mapping[str, bytes], before: Callable[[str], None] = lambda _: None) -> World:
        """Make a world of its own around a share with these files."""
        share = MemoryShare("/share", dict(files), before)
        releases = MemoryShare("/releases", before=lambda call: before(call.replace(" ", f" {AREA}", 1)))
        registry, portal = MemoryRegistry(), MemoryShare("/portal")
        cluster, commands = MemoryCluster(NAMES), MemoryCommands()
        services = FastServices(self.configuration, environ=self.environ, sleep=lambda _: None)
        services.opened_keys = self._keys
        for name, service in (
            ("share", share),
            ("release_share", releases),
            ("registry", registry),
            ("blobs", registry),
            ("referrers", registry),
            ("engine", MemoryEngine(registry)),
            ("portal", SharePortal(portal, "rita")),
            ("ecs", cluster),
            ("run_command", commands),
            ("prober", MemoryProber()),
            ("trusted_keys", self.trusted_keys),
        ):
            services.__dict__[name] = service
        return World(share, releases, registry, services, portal, cluster, commands)

    @staticmethod
    def record(files: Mapping[str, bytes]) -> Candidate:
        """Read the candidate."""
        return Candidate.from_bytes(files[f"{FOLDER}/candidate.json"], "candidate.json")

    def _exported(self, text: str, build: str) -> Files:
        """Export a build whose images and installer hold a text."""
        world = self.world({})
        base, own = layer_tar(text), {name: layer_tar(f"{text} {name}") for name in NAMES}
        images = {f"skydrm/{name}:8.1.0-{build}": (base, own[name]) for name in NAMES}
        world.services.engine.load([join(docker_members(images))])
        out = self.folder / text
        (out / "out").mkdir(parents=True)
        (out / "out" / "setup-8.1.0.exe").write_bytes(f"{text} installer".encode() * 300)
        export_candidate(ExportRequest("8.1.0", build, folder=out), world.services)
        return world.share.files

    def _approved(self, text: str, build: str) -> Files:
        """Export, validate, plan and approve a build."""
        world = self.world(self._exported(text, build))
        ref = CandidateRef("8.1.0", build)
        digest = manifest_digest(world.share.files[f"SkyDRM/8.1.0/{build}/candidate.json"])
        request = SignOffRequest(ref, "pass", "Quinn", self.folder / "junit.xml", digest=digest)
        sign_off(request, world.services)
        plan = self.folder / f"{text}.json"
        write_plan(plan_promotion(ref, world.services)[0], plan)
        approve_plan(ApprovalRequest(plan, "Ada", "tested"), world.services)
        return world.share.files

    def _promoted(self) -> Files:
        """Return the other build, promoted, where the honest one would be."""
        world = self.world(self._other)
        promote(PromoteRequest(CandidateRef("8.1.0", "43")), world.services)
        return {path.replace("/43", "/42", 1): data for path, data in world.share.files.items()}

    def _released(self, files: Mapping[str, bytes], build: str) -> Files:
        """Publish a build, and return the release as it stands in the release area."""
        world = self.world(files)
        publish_release(PublishRequest(CandidateRef("8.1.0", build)), world.services)
        found = {f"{AREA}{path}": data for path, data in world.releases.files.items()}
        return {path: data for path, data in found.items() if path.startswith(RELEASED)}

    def release(self, installers: Mapping[str, bytes], **said: object) -> Files:
        """Return a release of the honest candidate as the adversary makes it: complete, and in itself right.

        Args:
            installers: Path to bytes.
            said: Other values of ``release.json``.
        """
        record = PublishedRelease.from_bytes(self.released[f"{RELEASED}release.json"], "release.json")
        made = tuple(
            file.model_copy(
                update={
                    "size": len(installers[f"{RELEASED}{file.path}"]),
                    "sha256": sha256(installers[f"{RELEASED}{file.path}"]).hexdigest(),
                }
            )
            for file in record.files
        )
        record = record.model_copy(update={"files": made, **said})
        data = record.to_bytes()
        sums = release_checksum_lines(data, made)
        return {**installers, f"{RELEASED}release.json": data, f"{RELEASED}SHA256SUMS": sums}

    @property
    def installers(self) -> Files:
        """The installers of the honest release."""
        return {path: data for path, data in self.released.items() if "/installers/" in path}

    @cached_property
    def elsewhere(self) -> Files:
        """Return the evil candidate, its files under names of their own: only candidate.json is swapped."""
        document = json.loads(self.evil[f"{FOLDER}/candidate.json"])
        moved = {path: f"{path}-evil" for path in (file["path"] for file in document["files"])}
        for file in document["files"]:
            file["path"] = moved[file["path"]]
        for image in document["images"]:
            image["archive"] = moved[image["archive"]]
        for installer in document["installers"]:
            installer["path"] = moved[installer["path"]]
        found = {f"{FOLDER}/{moved[path]}": self.evil[f"{FOLDER}/{path}"] for path in moved}
        return {**found, f"{FOLDER}/candidate.json": canonical_json(document)}


Attack = Callable[[Scene, Mapping[str, bytes]], Overlay]


def attestations(files: Mapping[str, bytes]) -> list[str]:
    """Return the paths of the attestations, in order."""
    return sorted(path for path in files if path.startswith(f"{FOLDER}/attestations/0"))


def swap_the_manifest(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """Another candidate.json of the same name, whose files lie beside the genuine ones."""
    del files
    return {**scene.elsewhere}


def swap_everything(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """Another candidate in the place of the genuine one, under the genuine attestations."""
    kept = {*attestations(files)}
    return {path: data for path, data in scene.evil.items() if path.startswith(FOLDER) and path not in kept}


def swap_with_its_own_attestations(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """Another candidate, with the only attestation that it has: its build's."""
    gone: Overlay = dict.fromkeys(attestations(files))
    return {**gone, **{path: data for path, data in scene.evil.items() if path.startswith(FOLDER)}}


def swap_with_copied_attestations(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """Another candidate, with the attestations of an approved one."""
    copied = {path: scene.other[path] for path in attestations(scene.other)}
    return {**swap_everything(scene, files), **copied}


def swap_with_another_build(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """An approved candidate of another build in the place of this one, complete."""
    del files
    return {path: data for path, data in scene.other.items() if path.startswith(FOLDER)}


def swap_the_files(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """Other archives and installers under the genuine candidate.json."""
    return {
        path: scene.evil[path]
        for path in files
        if path.startswith((f"{FOLDER}/images/", f"{FOLDER}/installers/"))
    }


def remove_the_last(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """The newest attestation is gone."""
    del scene
    return {attestations(files)[-1]: None}


def replace_the_last(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """The newest attestation is that of another candidate."""
    return {attestations(files)[-1]: scene.other[attestations(scene.other)[-1]]}


def replace_the_first(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """The build's attestation is the evil build's."""
    first = attestations(files)[0]
    return {first: scene.evil[first]}


def add_a_copy(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """An attestation stands there twice."""
    del scene
    names = attestations(files)
    return {f"{FOLDER}/attestations/{len(names) + 1:04d}-qa.dsse.json": files[names[1]]}


def add_another_promotion(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """The promotion of another build stands at the end."""
    name = f"{len(attestations(files)) + 1:04d}-promotion.dsse.json"
    return {f"{FOLDER}/attestations/{name}": scene.promotion}


def replace_with_another_promotion(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """The newest attestation is the promotion of another build."""
    return {attestations(files)[-1]: scene.promotion}


def add_rubbish(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """A file that is no attestation stands among them."""
    del scene
    return {f"{FOLDER}/attestations/{len(attestations(files)) + 1:04d}-qa.dsse.json": b"{}"}


def remove_the_candidate(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """The whole folder is gone."""
    del scene
    return dict.fromkeys(path for path in files if path.startswith(f"{FOLDER}/"))


def forge_the_journal(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """The journal is gone, and another build's genuine journal stands in its place."""
    gone: Overlay = {path: None for path in files if path.startswith(f"{FOLDER}/journal/")}
    return {**gone, **scene.journal}


def backwards(files: Mapping[str, bytes]) -> Files:
    """Return files of the same size that hold something else."""
    return {path: data[::-1] for path, data in files.items()}


def swap_the_release(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """The genuine release of another build stands in the release area."""
    gone: Overlay = {path: None for path in files if path.startswith(RELEASED)}
    return {**gone, **scene.other_release}


def swap_the_record_and_the_installers(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """Other installers, and records that fit them and name the honest candidate."""
    del files
    return {**scene.release(backwards(scene.installers))}


def swap_the_record(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """Records of other installers beside the genuine ones."""
    made = swap_the_record_and_the_installers(scene, files)
    return {path: data for path, data in made.items() if "/installers/" not in path}


def forge_the_revision(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """The right files, and records that name another revision."""
    del files
    return {**scene.release(scene.installers, revision="e" * 40)}


def forge_the_facts(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """The right files, and records that say that another one published them, elsewhere and earlier."""
    del files
    said = {"published_by": "mallory", "build_url": "https://evil.example/1", "publisher": "evil 1"}
    return {**scene.release(scene.installers, published_at=datetime(2020, 1, 1, tzinfo=UTC), **said)}


def swap_the_installers(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """Other installers of the same size beside the genuine records."""
    del files
    return {**backwards(scene.installers)}


def swap_the_checksums(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """``SHA256SUMS`` of another release."""
    path = f"{RELEASED}SHA256SUMS"
    return {path: swap_the_record(scene, files)[path]}


def remove_the_record(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """``release.json`` is gone."""
    del scene, files
    return {f"{RELEASED}release.json": None}


def remove_the_release(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """The release is gone."""
    del files
    return dict.fromkeys(scene.released)


def add_an_installer(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """One more installer stands in the release area."""
    del scene, files
    return {f"{RELEASED}installers/another.exe": b"another"}


def swap_the_staged_installers(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """Other installers of the same size in the folder of a publication under way."""
    del scene
    return {
        **backwards({p: data for p, data in files.items() if p.startswith(STAGED) and "/installers/" in p})
    }


def swap_the_staged_record(scene: Scene, files: Mapping[str, bytes]) -> Overlay:
    """Other records in the folder of a publication under way."""
    made = swap_the_record(scene, files)
    staged = [path for path in files if path.startswith(STAGED)]
    return {
        path: made[f"{RELEASED}{name}"] for path in staged if (name := path.rpartition("/")[2]) in RECORDS
    }


RECORDS = ("release.json", "SHA256SUMS")
ON_THE_SHARE: dict[str, Attack] = {
    function.__name__: function
    for function in (
        swap_the_manifest,
        swap_everything,
        swap_with_its_own_attestations,
        swap_with_copied_attestations,
        swap_with_another_build,
        swap_the_files,
        remove_the_last,
        replace_the_last,
        replace_the_first,
        add_a_copy,
        add_another_promotion,
        replace_with_another_promotion,
        add_rubbish,
        remove_the_candidate,
        forge_the_journal,
    )
}
IN_THE_AREA: dict[str, Attack] = {
    function.__name__: function
    for function in (
        swap_the_release,
        swap_the_record_and_the_installers,
        swap_the_record,
        forge_the_revision,
        forge_the_facts,
        swap_the_installers,
        swap_the_checksums,
        remove_the_record,
        remove_the_release,
        add_an_installer,
    )
}
ON_THE_WAY: dict[str, Attack] = {
    function.__name__: function for function in (swap_the_staged_installers, swap_the_staged_record)
}
ATTACKS = {**ON_THE_SHARE, **IN_THE_AREA, **ON_THE_WAY}


class Adversary:
    """Makes one change before a call to a share, and takes it back before a later one.

    Args:
        scene: What it knows.
        attack: What it does.
        first: Number of the call before which it acts, from 1.
        last: Number of the call before which it undoes that; beyond the last call it never does.
    """

    def __init__(self, scene: Scene, attack: Attack, first: int, last: int) -> None:
        self._scene, self._attack = scene, attack
        self._first, self._last = first, last
        self.shares = {"": Files(), AREA: Files()}
        self.calls: list[str] = []
        self.changed: Overlay = {}
        self._saved: Overlay = {}
        self._since = 0

    def before(self, call: str) -> None:
        """Act where it is time; the step does not see who comes between its calls."""
        self.calls.append(call)
        number = len(self.calls)
        if number == self._first:
            files = reachable(self.shares[""], self.shares[AREA])
            self.changed = self._attack(self._scene, files)
            self._saved = {path: files.get(path) for path in self.changed}
            self._write(self.changed)
        elif number == self._last:
            self._write(self._saved)

    @property
    def unread(self) -> bool:
        """Whether the step read nothing of what was changed after the last change."""
        paths = {in_the_area(path): path for path in self.changed}
        names = {path for path, own in paths.items() if None in {self.changed[own], self._saved[own]}}
        folders = {path.rpartition("/")[0] for path in names}
        later = (call.partition(" ") for call in self.calls[self._since :])
        found = ((what, in_the_area(path)) for what, _, path in later)
        return not any(
            (what == "open" and p in paths) or (what == "list" and p in folders) for what, p in found
        )

    def _write(self, overlay: Overlay) -> None:
        self._since = len(self.calls) - 1
        for path, data in overlay.items():
            files = self.shares[AREA if path.startswith(AREA) else ""]
            if data is None:
                files.pop(path.removeprefix(AREA), None)
            else:
                files[path.removeprefix(AREA)] = data


def in_the_area(path: str) -> str:
    """Return where a file of a publication under way will be."""
    return RELEASED + path.removeprefix(STAGED).partition("/")[2] if path.startswith(STAGED) else path


def reachable(share: Files, area: Files) -> Files:
    """Return what the adversary can change."""
    return {**share, **{f"{AREA}{path}": data for path, data in area.items()}}


class Pusher:
    """May push to the registry, and has no key: puts the right config around other layers under a tag.

    Args:
        scene: What it knows.
        tag: The tag.
        first: Number of the call to the share before which it does so.
    """

    def __init__(self, scene: Scene, tag: str, first: int) -> None:
        self._scene, self._tag, self._first = scene, tag, first
        self.registry: MemoryRegistry | None = None
        self.calls = 0

    def before(self, call: str) -> None:
        """Push where it is time; a tag that is taken stays as it is."""
        del call
        self.calls += 1
        if self.calls != self._first:
            return
        assert self.registry is not None
        image = self._scene.honest.images[-1]
        name = f"skydrm/{image.name}"
        self.registry.create_repository(name)
        archive = self._scene.files[f"{FOLDER}/{image.archive}"]
        config = archive[image.config_offset : image.config_offset + image.config_size]
        layers = [gzip.compress(layer_tar(f"evil {n}"), mtime=0) for n in range(len(image.layers))]
        self.registry.content[name].blobs.update({sha256_digest(data): data for data in (config, *layers)})
        made = build_manifest(
            Descriptor(sha256_digest(config), len(config)),
            [Descriptor(sha256_digest(data), len(data)) for data in layers],
        )
        with suppress(TagConflict):
            self.registry.put_manifest(name, self._tag, made.media_type, made.data)


FAILED, ALTERED = f"refused ({RemoteError.category})", f"refused ({IntegrityError.category})"
"""How a step ends that the outside fails, or that finds something else than was approved."""


@dataclass(frozen=True)
class Step:
    """A step of the release process under attack.

    Attributes:
        name: Its command.
        run: Runs it.
        wrong: Says what must never be, from the world afterwards and whether the step succeeded.
        after: The steps that have to be done before it.
        ends: How it ends without an adversary.
        attacks: What is tried.
    """

    name: str
    run: Callable[[Scene, World], object]
    wrong: Callable[[Scene, World, bool], Iterator[str]]
    after: tuple[Callable[[Scene, World], object], ...] = ()
    ends: str = "done"
    attacks: Mapping[str, Attack] = field(default_factory=lambda: ON_THE_SHARE)


@dataclass
class Counts:
    """What many plays ended with.

    Attributes:
        boundaries: Calls to the share of an undisturbed run.
        pairs: Pairs of boundaries that the plays stand for; in all others the step sees no change.
        through: Pairs that let something through.
        runs: Plays.
        ended: How each ended: ``done``, or the error's category.
        violations: What must never be, each with its play.
    """

    boundaries: int = 0
    pairs: int = 0
    through: int = 0
    runs: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {what}" for what, count in sorted(self.ended.items()))
        played = f"{self.boundaries} boundaries, {self.pairs} pairs, {self.runs} runs"
        return f"{played}: {ends}; {self.through} pairs let something through"


def wrong_images(scene: Scene, world: World, done: bool) -> Iterator[str]:
    """Say which release tags name anything but what was approved, or only some of the images."""
    tagged = set()
    for image in scene.honest.images:
        held = world.registry.content.get(f"skydrm/{image.name}")
        for tag, digest in (held.tags if held else {}).items():
            if tag.startswith("candidate-"):
                continue
            assert held is not None
            tagged.add(image.name)
            found = json.loads(held.manifests[digest].data)
            if found["config"]["digest"] != image.config_digest:
                yield f"{image.name}:{tag} is another image"
            plain = tuple(
                sha256_digest(gzip.decompress(held.blobs[layer["digest"]])) for layer in found["layers"]
            )
            if plain != image.diff_ids:
                yield f"{image.name}:{tag} has other layers"
    if tagged and len(tagged) < len(scene.honest.images):
        yield f"only {sorted(tagged)} have a release tag"
    if done and not tagged:
        yield "it says that it is done, and there is no release tag"


def signed(world: World, kind: str) -> Iterator[tuple[str, Statement]]:
    """Return the statements of a kind that the step signed, whatever became of their files."""
    for path, data in world.share.written:
        if path.startswith(f"{FOLDER}/attestations/"):
            _, statement = read_envelope(data, path)
            if statement.predicate_type == kind:
                yield path, statement


def wrong_statements(scene: Scene, world: World, kind: str) -> Iterator[str]:
    """Say which new statements of a kind are about anything but the honest candidate."""
    for path, statement in signed(world, kind):
        if statement.subjects.get("candidate.json") != scene.digest.removeprefix("sha256:"):
            yield f"{path} signs another candidate"


def wrong_promotion(scene: Scene, world: World, done: bool) -> Iterator[str]:
    """Say what a promotion must never leave."""
    yield from wrong_images(scene, world, done)
    yield from wrong_statements(scene, world, PROMOTION)


def run_promote(scene: Scene, world: World) -> object:
    """Promote the candidate."""
    del scene
    return promote(PromoteRequest(REF), world.services)


def wrong_publication(scene: Scene, world: World, done: bool) -> Iterator[str]:
    """Say what a publication must never leave: other files, or only some of them."""
    yield from wrong_statements(scene, world, PUBLICATION)
    place = "SkyDRM/8.1.0/"
    there = {path: data for path, data in world.releases.files.items() if path.startswith(place)}
    wanted = {
        f"{place}{installer.path}": scene.files[f"{FOLDER}/{installer.path}"]
        for installer in scene.honest.installers
    }
    if done and not there:
        yield "it says that it is done, and nothing is published"
    if not there:
        return
    if {**there, **wanted} != there or len(there) != len(wanted) + 2:
        yield f"published is {sorted(there)}, which is not what was validated"
    record = PublishedRelease.from_bytes(there[f"{place}release.json"], "release.json")
    if record.candidate_digest != scene.digest:
        yield "release.json names another candidate"


def run_publish(scene: Scene, world: World) -> object:
    """Publish the installers."""
    del scene
    return publish_release(PublishRequest(REF), world.services)


def wrong_page(scene: Scene, world: World, done: bool) -> Iterator[str]:
    """Say what must never be at the portal: other files, or a page that names what is not there."""
    yield from wrong_statements(scene, world, PORTAL)
    place = "SkyDRM/8.1.0/"
    found = world.portal.files
    there = {path.removeprefix(place): found[path] for path in found if path.startswith(place)}
    there = {path: data for path, data in there.items() if not path.rpartition("/")[2].startswith(".")}
    wanted = {
        installer.path: scene.files[f"{FOLDER}/{installer.path}"] for installer in scene.honest.installers
    }
    hashes = {path: sha256(data).hexdigest() for path, data in wanted.items()}
    for path, data in there.items():
        if path not in RECORDS and wanted.get(path) != data:
            yield f"{path} at the portal is not what was validated"
    if "release.json" in there:
        yield from wrong_record(scene, there["release.json"], hashes)
    if "SHA256SUMS" in there:
        lines = there["SHA256SUMS"].decode().splitlines()[1:]
        if lines != [f"{digest} *{path}" for path, digest in hashes.items()]:
            yield f"SHA256SUMS at the portal has {lines}"
    page = found.get("SkyDRM/index.html", b"")
    if b"8.1.0" in page and there.keys() != {*wanted, *RECORDS}:
        yield f"the page shows a release of which only {sorted(there)} are there"
    if b"8.1.0" in page and any(digest.encode() not in page for digest in hashes.values()):
        yield "the page has another SHA-256 than what was validated"
    if done and b"8.1.0" not in page:
        yield "it says that it is done, and the page does not show it"
    for path, statement in signed(world, PORTAL):
        said = dict(statement.subjects)
        if said.pop("release.json") != sha256(there.get("release.json", b"")).hexdigest():
            yield f"{path} names another release.json than the portal has"
        if said != {"candidate.json": scene.digest.removeprefix("sha256:"), **hashes}:
            yield f"{path} names other files than were validated"


def wrong_record(scene: Scene, data: bytes, hashes: Mapping[str, str]) -> Iterator[str]:
    """Say what a ``release.json`` names that is not the honest candidate's."""
    record = PublishedRelease.from_bytes(data, "release.json")
    if (record.candidate, record.candidate_digest) != (str(REF), scene.digest):
        yield f"release.json names {record.candidate} {record.candidate_digest}"
    if record.revision != scene.honest.revision:
        yield f"release.json names the revision {record.revision}"
    if {file.path: file.sha256 for file in record.files} != hashes:
        yield f"release.json names {record.files}"


def wrong_later(scene: Scene, world: World, done: bool) -> Iterator[str]:
    """Say what a publication must never lead to, however the release area was changed meanwhile.

    Whoever can write there can do so later too. What counts is what the step signed, what it found or
    could have found, and what an upload that nobody disturbs puts before customers.
    """
    yield from wrong_statements(scene, world, PUBLICATION)
    wrong = [*wrong_area(scene, world)]
    if done and wrong and not world.unread:
        yield f"it says that it is done, and {wrong[0]}"
    if wrong and world.changed and all(path.startswith(STAGED) for path in world.changed):
        yield f"what became visible stays: {wrong[0]}"
    own = {
        sha256(data).hexdigest() for path, data in world.releases.written if path.endswith("/release.json")
    }
    for path, statement in signed(world, PUBLICATION):
        if statement.subjects["release.json"] not in own:
            yield f"{path} signs a release.json that another one wrote"
        said = {name: digest for name, digest in statement.subjects.items() if name != "release.json"}
        hashes = {file.path: file.sha256 for file in scene.honest.files}
        wanted = {installer.path: hashes[installer.path] for installer in scene.honest.installers}
        if said != {"candidate.json": scene.digest.removeprefix("sha256:"), **wanted}:
            yield f"{path} names other files than were validated"
    world.share.before = world.releases.before = lambda _: None
    listed = [each for each in list_releases(world.services) if each.version == "8.1.0"]
    hidden = [each for each in wrong if not each.endswith("another file of that size")]
    if hidden and any(each.location and not each.problem for each in listed):
        yield f"the list tells of no problem, and {hidden[0]}"
    try:
        run_portal(scene, world)
    except ReleaseError:
        uploaded = False
    else:
        uploaded = True
    yield from wrong_page(scene, world, uploaded)


def wrong_area(scene: Scene, world: World) -> Iterator[str]:
    """Say what is in the release area and was not validated or signed; an empty one is fine."""
    place = RELEASED.removeprefix(AREA)
    files = world.releases.files
    there = {path.removeprefix(place): files[path] for path in files if path.startswith(place)}
    if not there:
        return
    wanted = {each.path: scene.files[f"{FOLDER}/{each.path}"] for each in scene.honest.installers}
    if there.keys() != {*wanted, *RECORDS}:
        yield f"the release area has {sorted(there)}"
    for path in wanted.keys() & there.keys():
        alike = len(there[path]) == len(wanted[path])
        if there[path] != wanted[path]:
            yield f"{path} in the release area is another file" + (" of that size" if alike else "")
    record, sums = there.get("release.json", b""), there.get("SHA256SUMS", b"")
    if record and sha256(record).hexdigest() != published_record(world):
        yield "release.json in the release area is not what was signed"
    elif record:
        named = PublishedRelease.from_bytes(record, "release.json").files
        expected = release_checksum_lines(record, named)
        if sums != expected:
            yield "SHA256SUMS in the release area is another file" + (
                " of that size" if len(sums) == len(expected) else ""
            )


def published_record(world: World) -> str:
    """Return the SHA-256 of the ``release.json`` that the last publication names."""
    found = [path for path in attestations(world.share.files) if path.endswith("-publication.dsse.json")]
    if not found:
        return ""
    return read_envelope(world.share.files[found[-1]], found[-1])[1].subjects.get("release.json", "")


def run_portal(scene: Scene, world: World) -> object:
    """Upload the release to the portal."""
    del scene
    return upload_release(PortalRequest("8.1.0"), world.services)


def wrong_load(scene: Scene, world: World, done: bool) -> Iterator[str]:
    """Say whether the daemon holds images of two candidates, or others than it was told."""
    engine = world.services.engine
    assert isinstance(engine, MemoryEngine)
    held = {reference: engine.config_digest(reference) for reference in engine.images}
    if not done:
        return
    receipt = read_receipt(REF, world.services).receipt
    told = receipt.candidate if receipt else ""
    for files in (scene.files, scene.evil, scene.elsewhere):
        images = {image.reference: image.config_digest for image in scene.record(files).images}
        if held == images and told == manifest_digest(files[f"{FOLDER}/candidate.json"]):
            return
    yield f"the daemon holds {held}, and the receipt names {told}"


def run_load(scene: Scene, world: World) -> object:
    """Load the images for QA."""
    del scene
    return load_candidate(REF, world.services)


def wrong_fetch(scene: Scene, world: World, done: bool) -> Iterator[str]:
    """Say whether the folder holds files of two candidates, others than it was told, or half a candidate."""
    folder = fetched(scene)
    there = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    shutil.rmtree(folder, ignore_errors=True)
    candidates = (scene.files, scene.evil, scene.elsewhere)
    for path, data in there.items():
        known = any(files.get(f"{FOLDER}/{path}") == data for files in candidates)
        if not known and not path.startswith("attestations/") and path != "SHA256SUMS":
            yield f"{path} in the folder is no candidate's"
    if not done:
        if "candidate.json" in there:
            yield "it is refused, and the folder holds a candidate"
        return
    record = Candidate.from_bytes(there.get("candidate.json", b""), "candidate.json")
    receipt = read_receipt(REF, world.services).receipt
    if receipt is None or receipt.candidate != manifest_digest(there["candidate.json"]):
        yield f"the receipt names {receipt.candidate if receipt else None}, the folder is another candidate"
    for file in record.files:
        if sha256(there.get(file.path, b"")).hexdigest() != file.sha256:
            yield f"{file.path} in the folder is not that of its candidate.json"
    more = {path for path in there if not path.startswith("attestations/")}
    more -= {"candidate.json", "SHA256SUMS", *(file.path for file in record.files)}
    if more:
        yield f"the folder has {sorted(more)} too"


def fetched(scene: Scene) -> Path:
    """Return the folder to fetch to."""
    return scene.folder / "fetched"


def run_fetch(scene: Scene, world: World) -> object:
    """Fetch the candidate for QA."""
    return fetch_candidate(REF, fetched(scene), world.services)


def wrong_sign_off(scene: Scene, world: World, done: bool) -> Iterator[str]:
    """Say whether anything else is signed than was tested."""
    del done
    yield from wrong_statements(scene, world, TEST_RESULT)


def run_sign_off(scene: Scene, world: World) -> object:
    """Sign off what was tested."""
    junit = scene.folder / "junit.xml"
    return sign_off(SignOffRequest(REF, "pass", "Robin", junit, digest=scene.digest), world.services)


def wrong_withdrawal(scene: Scene, world: World, done: bool) -> Iterator[str]:
    """Say whether only some of the release tags are gone, or another candidate is withdrawn."""
    yield from wrong_statements(scene, world, WITHDRAWAL)
    left = {name for name in NAMES if "8.1.0" in world.registry.content[f"skydrm/{name}"].tags}
    if left and len(left) < len(NAMES):
        yield f"only {sorted(left)} have a release tag"
    if done and left:
        yield "it says that it is done, and the release tags are there"
    if left:
        yield from wrong_images(scene, world, done=False)


def run_withdraw(scene: Scene, world: World) -> object:
    """Withdraw the release."""
    del scene
    return withdraw_release(WithdrawRequest("8.1.0", "bad"), world.services)


def wrong_bundle(scene: Scene, world: World, done: bool) -> Iterator[str]:
    """Say whether the bundle for customers, or its summary, is about another candidate."""
    yield from wrong_statements(scene, world, SUMMARY)
    if done:
        found = read_bundle((scene.folder / "bundle.jsonl").read_bytes(), "the bundle")
        if found.candidate != scene.files[f"{FOLDER}/candidate.json"]:
            yield "the bundle is another candidate's"


def run_attestations(scene: Scene, world: World) -> object:
    """Write the attestation bundle."""
    return write_attestations(AttestationsRequest("8.1.0", scene.folder / "bundle.jsonl"), world.services)


def wrong_refresh(scene: Scene, world: World, done: bool) -> Iterator[str]:
    """Say what the stack must never be told to run, or a statement about that must never say."""
    cluster, approved = world.cluster, pinned(world)
    digests = {name: image.partition("@")[2] for name, image in approved.items()}
    first = {name: cluster.images(arn) for name, arn in cluster.first.items()}
    wanted = {name: {**first[name], name: approved[name]} for name in NAMES}
    for service, images in cluster.told:
        if images not in (wanted[service], first[service]):
            yield f"the stack was told to run {images}, approved is {approved[service]}"
    running = {name: cluster.images(arn) for name, arn in cluster.current.items()}
    if done and running != wanted:
        yield f"it says that it is done, and the stack runs {running}"
    if running not in (wanted, first):
        yield f"the stack is left with a mixture: {running}"
    yield from wrong_statements(scene, world, REFRESH)
    records = [RefreshRecord.of(statement, path) for path, statement in signed(world, REFRESH)]
    for record in records:
        said = {part.name: part.images for part in record.after.parts}
        if (record.release, record.after.release) != (str(REF), str(REF)):
            yield f"a statement says that {record.release} or {record.after.release} is to run"
        if said != {name: {name: digest} for name, digest in digests.items()}:
            yield f"a statement names {said}, approved is {digests}"
    if cluster.told and not records:
        yield "the stack was told to run something, and no statement says so"
    if done and [record.outcome for record in records] != ["started", "done"]:
        yield f"it says that it is done, and the statements say {[record.outcome for record in records]}"


def pinned(world: World) -> dict[str, str]:
    """Service to the image that was approved and promoted, before the adversary came."""
    content = world.registry.content
    return {name: f"{HOST}/skydrm/{name}@{content[f'skydrm/{name}'].tags['8.1.0']}" for name in NAMES}


def run_refresh(fault: Fault) -> Callable[[Scene, World], object]:
    """Refresh a stack that works well, or has a fault."""

    def run(scene: Scene, world: World) -> object:
        del scene
        world.cluster.fault = fault
        return refresh_stack(RefreshRequest(str(REF)), world.services)

    return run


def wrong_command(scene: Scene, world: World, done: bool) -> Iterator[str]:
    """Say what instances must never be told to install, or a statement about that must never say."""
    orders = world.commands.orders
    for order in orders:
        if order.parameters != {"version": ["8.1.0"], "build": ["42"]}:
            yield f"the instances were told to install {order.parameters}"
    wrong = [*wrong_area(scene, world)]
    if orders and wrong and not world.unread and any(path.startswith(AREA) for path in world.changed):
        yield f"the instances were told to install what they find, and {wrong[0]}"
    if done and len(orders) != 1:
        yield f"it says that it is done, and {len(orders)} commands were sent"
    yield from wrong_statements(scene, world, REFRESH)
    records = [RefreshRecord.of(statement, path) for path, statement in signed(world, REFRESH)]
    if any((record.release, record.after.release) != (str(REF), str(REF)) for record in records):
        yield f"the statements name {[record.release for record in records]}"
    if orders and not records:
        yield "the instances were told to install something, and no statement says so"
    if done and [record.outcome for record in records] != ["started", "done"]:
        yield f"it says that it is done, and the statements say {[record.outcome for record in records]}"


def run_command(fault: Fault) -> Callable[[Scene, World], object]:
    """Refresh a stack of instances that works well, or has a fault."""

    def run(scene: Scene, world: World) -> object:
        world.services.configuration = scene.instances
        world.commands.fault = fault
        return refresh_stack(RefreshRequest(str(REF)), world.services)

    return run


IN_BOTH = {**ON_THE_SHARE, **IN_THE_AREA}
STEPS = {
    step.name: step
    for step in (
        Step("promote run", run_promote, wrong_promotion),
        Step("release publish", run_publish, wrong_publication),
        Step("release publish, area", run_publish, wrong_later, attacks={**IN_THE_AREA, **ON_THE_WAY}),
        Step("release publish, again", run_publish, wrong_later, (run_publish,), attacks=IN_THE_AREA),
        Step("release portal", run_portal, wrong_page, (run_publish,)),
        Step("release portal, area", run_portal, wrong_page, (run_publish,), attacks=IN_THE_AREA),
        Step("candidate load", run_load, wrong_load),
        Step("candidate fetch", run_fetch, wrong_fetch),
        Step("qa sign-off", run_sign_off, wrong_sign_off),
        Step("release withdraw", run_withdraw, wrong_withdrawal, (run_promote,)),
        Step("release attestations", run_attestations, wrong_bundle, (run_promote,)),
        Step("saas refresh", run_refresh(""), wrong_refresh, (run_promote,)),
        Step("saas refresh, lost answer", run_refresh("lost"), wrong_refresh, (run_promote,)),
        Step("saas refresh, given up", run_refresh("given up"), wrong_refresh, (run_promote,), FAILED),
        Step("saas refresh, other pulled", run_refresh("pulled"), wrong_refresh, (run_promote,), ALTERED),
        Step("saas refresh, ssm", run_command(""), wrong_command, (run_publish,), attacks=IN_BOTH),
        Step(
            "saas refresh, ssm, lost answer",
            run_command("lost"),
            wrong_command,
            (run_publish,),
            attacks=IN_BOTH,
        ),
        Step(
            "saas refresh, ssm, given up",
            run_command("given up"),
            wrong_command,
            (run_publish,),
            FAILED,
            IN_BOTH,
        ),
    )
}


class Stage:
    """Plays a step again and again, each time from the same beginning.

    Args:
        scene: The candidates.
        step: The step.
    """

    def __init__(self, scene: Scene, step: Step) -> None:
        self.scene, self.step = scene, step
        world = scene.world(scene.files)
        for each in step.after:
            each(scene, world)
        self._begin = world
        honest = self._play(next(iter(step.attacks)), 0, 0)
        assert honest[0] == step.ends, honest
        assert not honest[1], honest
        self.calls = honest[2]

    def every_pair(self, attack: str) -> Counts:
        """Play an attack at every pair of boundaries: acting before one call, undoing that before a later."""
        counts = Counts(len(self.calls))
        for first in range(1, len(self.calls) + 1):
            calls = self._count(attack, first, sys.maxsize, counts)
            for last in range(first + 1, len(calls) + 1):
                self._count(attack, first, last, counts)
        return counts

    def each_difference(self, attack: str, most: int = sys.maxsize) -> Counts:
        """Play an attack at every pair of boundaries that makes a difference.

        Between two calls that touch what the adversary changes, it does not matter when it does so: of such
        boundaries one is played. What a disturbed run would call next is known from the run in which the
        adversary undoes nothing, which is the same up to there.

        Args:
            attack: Its name.
            most: Plays about so many, spread evenly.
        """
        counts = Counts(len(self.calls))
        begin_files = reachable(self._begin.share.files, self._begin.releases.files)
        changed = {*ATTACKS[attack](self.scene, begin_files)} or {STAGED}
        seen = [number for number, call in enumerate(self.calls, start=1) if touches(call, changed)]
        begin, some = 0, max(1, len(seen) * 2 // most)
        for first in seen[::some]:
            calls = self._count(attack, first, sys.maxsize, counts, first - begin)
            alike, begin, last = first - begin, first, first + 1
            ends = [n for n in range(first + 1, len(calls)) if touches(calls[n - 1], changed)] + [len(calls)]
            step = max(1, len(ends) * len(seen) // some // most)
            for number, end in enumerate(ends):
                if not (number + first) % step:
                    self._count(attack, first, last, counts, alike * (end + 1 - last))
                last = end + 1
        return counts

    def push(self, tag: str, first: int) -> tuple[str, list[str]]:
        """Play the step while another one pushes, and return how it ended and what was wrong."""
        pusher = Pusher(self.scene, tag, first)
        world = self.scene.world(self._begin.share.files, pusher.before)
        pusher.registry = world.registry
        try:
            self.step.run(self.scene, world)
        except ReleaseError as error:
            signed = [path for path in world.share.files if path.endswith("-promotion.dsse.json")]
            return f"refused ({error.category})", [f"{path} was signed" for path in signed]
        return "done", [*self.step.wrong(self.scene, world, True)]

    def outcome(self, attack: str, first: int, last: int) -> tuple[str, tuple[str, ...]]:
        """Play an attack once, and return how it ended and what was wrong."""
        ended, wrong, _ = self._play(attack, first, last)
        return ended, tuple(wrong)

    def _count(self, attack: str, first: int, last: int, counts: Counts, pairs: int = 1) -> list[str]:
        ended, wrong, calls = self._play(attack, first, last)
        counts.runs += 1
        counts.pairs += pairs
        counts.ended[ended] += 1
        if wrong:
            counts.through += pairs
            begin, end = (calls[n - 1] if n <= len(calls) else "the end" for n in (first, last))
            counts.violations.append(f"{attack} before '{begin}' until '{end}': {wrong[0]}")
        return calls

    def _play(self, attack: str, first: int, last: int) -> tuple[str, list[str], list[str]]:
        adversary = Adversary(self.scene, ATTACKS[attack], first, last)
        world = self.scene.world(self._begin.share.files, adversary.before)
        world.share.folders |= self._begin.share.folders
        world.releases.files.update(self._begin.releases.files)
        world.registry.content.update(deepcopy(self._begin.registry.content))
        world.releases.folders |= self._begin.releases.folders
        adversary.shares = {"": world.share.files, AREA: world.releases.files}
        try:
            self.step.run(self.scene, world)
        except ReleaseError as error:
            ended = f"refused ({error.category})"
        else:
            ended = "done"
        world.changed, world.unread = adversary.changed, adversary.unread
        return ended, [*self.step.wrong(self.scene, world, ended == "done")], adversary.calls


def touches(call: str, changed: set[str]) -> bool:
    """Whether a call to the share can see a change of these paths, or change what there is to change."""
    what, _, path = call.partition(" ")
    folder = path.rpartition("/")[0]
    for each in changed:
        # The name of a folder on its way is chosen anew in each run.
        if each == STAGED and path.startswith((STAGED, RELEASED[:-1])):
            return True
        if each == path or each.startswith(f"{path}/"):
            return True
        if what in {"create", "close", "rename", "remove"} and each.rpartition("/")[0] == folder:
            return True
    return False


def main() -> int:
    """Play the attacks at the pairs of boundaries of each step, and say how that ended."""
    parser = argparse.ArgumentParser(prog="make adversary", description=main.__doc__)
    parser.add_argument("--every", action="store_true", help="play the pairs too that make no difference")
    parser.add_argument("--step", action="append", choices=STEPS, help="only this step; may be repeated")
    ways = {f"{engine}, {layers}": (engine, layers) for engine, layers in WAYS}
    parser.add_argument("--way", action="append", choices=ways, help="only this engine and these layers")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for engine, layers in (ways[name] for name in asked.way or ways):
            scene = Scene(Path(folder) / f"{engine}-{layers}", engine, layers)
            for step in (STEPS[name] for name in asked.step or STEPS):
                stage = Stage(scene, step)
                for attack in step.attacks:
                    begin = time.monotonic()
                    counts = stage.every_pair(attack) if asked.every else stage.each_difference(attack)
                    bad += len(counts.violations)
                    took = time.monotonic() - begin
                    sys.stdout.write(f"{step.name}, {engine}, {layers}, {attack}: {counts} ({took:.0f} s)\n")
                    for line in counts.violations[:3]:
                        sys.stdout.write(f"  {line}\n")
    return 1 if bad else 0


WAYS = (("registry", "plain"), ("registry", "gzip"), ("docker", "plain"))
"""Engine and layers of the scenes."""

if __name__ == "__main__":
    sys.exit(main())
