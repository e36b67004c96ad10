"""What every attestation says besides the step's own words: the build, the program, and who ran it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jenkins_release.base.version import PROGRAM
from jenkins_release.records.attestation import KINDS, read_envelope
from jenkins_release.steps.end_of_life.withdraw import WithdrawRequest, withdraw_release
from jenkins_release.steps.portal.removal import PortalRemovalRequest, remove_from_portal
from jenkins_release.steps.portal.upload import PortalRequest, upload_release
from jenkins_release.steps.promotion.promote import PromoteRequest, promote
from jenkins_release.steps.publication.publish import PublishRequest, publish_release
from jenkins_release.steps.release.attestations import AttestationsRequest, write_attestations
from jenkins_release.steps.saas.refresh import RefreshRequest, refresh_stack
from jenkins_release.steps.setup_zip.build import BundleRequest, build_bundle
from tests.release.adversary import NAMES, REF, Scene, attestations

BUILD = "https://jenkins.example/job/release/7/"
WHOLE = {"buildUrl": BUILD, "program": PROGRAM}
_BY = {*["promotedBy", "publishedBy", "uploadedBy", "removedBy", "refreshedBy", "builtBy", "withdrawnBy"]}


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, dict[str, Any]]]:
    """Kind and predicate of everything that became of a candidate, in order."""
    scene = Scene(tmp_path_factory.mktemp("scene"), "registry", "gzip")
    _templates(scene.folder / "bundle")
    world = scene.world(scene.files)
    services = world.services
    services.environ = {**scene.environ, "BUILD_URL": BUILD}
    promote(PromoteRequest(REF), services)
    publish_release(PublishRequest(REF), services)
    upload_release(PortalRequest("8.1.0"), services)
    refresh_stack(RefreshRequest(str(REF)), services)
    build_bundle(BundleRequest("8.1.0", scene.folder / "setup.zip"), services)
    write_attestations(AttestationsRequest("8.1.0", scene.folder / "bundle.jsonl"), services)
    remove_from_portal(PortalRemovalRequest("8.1.0", force="by mistake"), services)
    withdraw_release(WithdrawRequest("8.1.0", "bad"), services)
    found = [read_envelope(world.share.files[path], path)[1] for path in attestations(world.share.files)]
    return [(statement.kind, {**statement.predicate}) for statement in found]


def _templates(folder: Path) -> None:
    folder.mkdir()
    services = "".join(f"  {name}:\n    image: {{{{image.{name}}}}}\n" for name in NAMES)
    (folder / "docker-compose.yml").write_text(f"services:\n{services}")
    (folder / "settings.txt").write_text("")


@pytest.mark.parametrize(
    ("kind", "stamps", "by"),
    [
        ("qa", {}, ()),
        ("approval", {}, ()),
        ("promotion", WHOLE, ("promotedBy",)),
        ("publication", WHOLE, ("publishedBy",)),
        ("portal", WHOLE, ("uploadedBy", "removedBy")),
        ("refresh", WHOLE, ("refreshedBy",)),
        ("setup", {"buildUrl": BUILD}, ("builtBy",)),
        ("withdrawal", WHOLE, ("withdrawnBy",)),
    ],
)
def test_each_kind_says_in_which_build_by_which_program_and_who(
    signed: list[tuple[str, dict[str, Any]]], kind: str, stamps: dict[str, str], by: tuple[str, ...]
):
    """The names of the fields are part of what is signed: other programs read them."""
    assert kind in KINDS.values()
    found = [predicate for name, predicate in signed if name == kind]
    named = set()
    for predicate in found:
        assert {name: predicate[name] for name in WHOLE if name in predicate} == stamps
        assert predicate["jenkinsRelease"]["candidate"] == str(REF)
        own = {name for name in predicate["jenkinsRelease"] if name in _BY}
        assert {predicate["jenkinsRelease"][name] for name in own} <= {"rita"}
        named |= own
    assert found
    assert named == {*by}
