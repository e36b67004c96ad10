"""Nothing gets a release tag unless the gate decided about exactly it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from jenkins_release.base.errors import IntegrityError
from jenkins_release.oci.manifests import Content, Descriptor, build_manifest
from jenkins_release.records.candidate import Candidate, manifest_digest
from jenkins_release.records.plan import Plan, PlannedImage, TagNow
from jenkins_release.records.registry_image import StoredImage, StoredManifest
from jenkins_release.rules.gate.clearance import Clearance, ProvenImage
from jenkins_release.rules.gate.decision import Decision
from tests.fixtures.gate import CANDIDATE, candidate

OTHER = "sha256:" + "1" * 64


def stored_image(
    config: str, layer: str = "sha256:" + "2" * 64, repository: str = "skydrm/rms"
) -> StoredImage:
    content = Content(Descriptor(config, 10), (Descriptor(layer, 100),))
    made = build_manifest(content.config, content.blobs)
    return StoredImage(repository, made.digest, made.media_type, made.data, content)


RECORD = Candidate.from_bytes(CANDIDATE, "candidate.json").images[0]
STORED = stored_image(RECORD.config_digest)
PLANNED = PlannedImage(
    name="rms",
    config_digest=RECORD.config_digest,
    repository="skydrm/rms",
    repository_exists=True,
    candidate_tag="candidate",
    state="pushed",
    digest=STORED.digest,
    candidate_tag_set=True,
    tags=(TagNow(tag="8.1.0", moving=False), TagNow(tag="latest", moving=True, digest=OTHER)),
    push_bytes=0,
)
PLAN = Plan(
    product="SkyDRM",
    version="8.1.0",
    build="42",
    candidate=manifest_digest(CANDIDATE),
    policy=OTHER,
    requester="rita",
    registry="registry.example",
    images=(PLANNED,),
)


_BOTH = tuple(StoredManifest(OTHER, each, ()) for each in ("linux/amd64", "linux/arm64"))


@dataclass(frozen=True)
class Case:
    """Everything that a clearance is made of; a change of one piece leaves the others."""

    manifest: bytes
    plan: Plan
    decision: Decision
    images: dict[str, ProvenImage]

    def clear(self) -> Clearance:
        return Clearance(self.manifest, self.plan, self.decision, self.images)

    def planned(self, **changes: object) -> Case:
        """Change the planned image; the gate decided about the changed plan."""
        image = PLANNED.model_copy(update=changes)
        plan = self.plan.model_copy(update={"images": (image,)})
        return replace(self, plan=plan, decision=replace(self.decision, plan=plan.digest))


OPEN = Decision((), (), (), candidate=manifest_digest(CANDIDATE), plan=PLAN.digest)
CASE = Case(CANDIDATE, PLAN, OPEN, {"rms": ProvenImage(RECORD, STORED)})
EVIL = candidate(revision="evil")


def of_another_layer(case: Case) -> Case:
    """The same config around other layers, under the same tag."""
    return replace(case, images={"rms": ProvenImage(RECORD, stored_image(RECORD.config_digest, OTHER))})


WRONG: dict[str, tuple[str, Callable[[Case], Case]]] = {
    "another candidate": ("the plan's candidate", lambda case: replace(case, manifest=EVIL)),
    "a decision about another candidate": (
        "the candidate that the gate decided about",
        lambda case: replace(case, decision=replace(OPEN, candidate=manifest_digest(EVIL))),
    ),
    "a decision about another plan": (
        "the plan that the gate decided about",
        lambda case: replace(case, decision=replace(OPEN, plan=OTHER)),
    ),
    "a decision about no plan": (
        "the plan that the gate decided about",
        lambda case: replace(case, decision=replace(OPEN, plan="")),
    ),
    "a shut gate": ("the gate is shut", lambda case: replace(case, decision=replace(OPEN, altered=("x",)))),
    "a missing image": ("the images in the registry", lambda case: replace(case, images={})),
    "another config in the plan": ("the plan's image", lambda case: case.planned(config_digest=OTHER)),
    "another manifest in the registry": ("the manifest that the registry names", of_another_layer),
    "another repository": (
        "the repository",
        lambda case: replace(
            case, images={"rms": ProvenImage(RECORD, stored_image(RECORD.config_digest, repository="x"))}
        ),
    ),
    "the record of another image": (
        "the record of the image",
        lambda case: replace(
            case, images={"rms": ProvenImage(RECORD.model_copy(update={"reference": "x:1"}), STORED)}
        ),
    ),
    "a release tag that is taken": (
        "the manifest behind the tag 8.1.0",
        lambda case: case.planned(tags=(TagNow(tag="8.1.0", moving=False, digest=OTHER),)),
    ),
}


def test_what_was_decided_about_is_cleared():
    """Each image comes with what the plan says of it; a moving tag may name anything else."""
    assert list(CASE.clear()) == [(PLANNED, STORED)]


@pytest.mark.parametrize(("told", "change"), WRONG.values(), ids=WRONG.keys())
def test_anything_else_is_refused(told: str, change: Callable[[Case], Case]):
    """A clearance of things that do not fit together does not exist."""
    with pytest.raises(IntegrityError, match=told) as caught:
        change(CASE).clear()
    assert "no release tag was set" in caught.value.hint


def test_the_images_of_a_clearance_cannot_be_exchanged():
    """Neither in it nor through what it was made of."""
    images = dict(CASE.images)
    cleared = replace(CASE, images=images).clear()
    images.clear()
    assert list(cleared) == [(PLANNED, STORED)]
    with pytest.raises(TypeError):
        cleared.images["rms"] = CASE.images["rms"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (stored_image(OTHER), "expected config"),
        (replace(STORED, content=replace(STORED.content, blobs=())), "found .* with 0"),
        (replace(STORED, manifest=b"{}"), "does not have this digest"),
        (replace(STORED, listed=(StoredManifest(OTHER, "linux/arm64", ()),)), "for linux/arm64 with config"),
        (replace(STORED, content=None, listed=_BOTH), "for linux/amd64, linux/arm64$"),
    ],
)
def test_an_image_that_was_not_validated_is_never_proven(stored: StoredImage, told: str):
    """Config, number of layers, the digest of the manifest's own bytes, the platform in an index."""
    with pytest.raises(IntegrityError, match=told):
        ProvenImage(RECORD, stored)
