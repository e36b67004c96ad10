"""What cannot be read or proven is not in force: nowhere is it shown or served to customers as a release."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jenkins_release.records.published_release import PublishedRelease, release_checksum_lines
from jenkins_release.sandbox.samba import SambaServer
from jenkins_release.steps.overview.history import release_history
from jenkins_release.steps.overview.listing import list_releases
from jenkins_release.steps.portal.page import look_at_portal, window
from tests.fixtures.portal import Shop, build_shop
from tests.fixtures.share import USER

ATTESTATIONS = "attestations"


def candidate(shop: Shop, ident: str = "8.1.0/42") -> Path:
    """Return the folder of a candidate, behind the share."""
    return shop.candidates / "SkyDRM" / ident


def last(shop: Shop, ident: str = "8.1.0/42") -> Path:
    """Return the file of the last attestation of a candidate."""
    return sorted((candidate(shop, ident) / ATTESTATIONS).glob("0*"))[-1]


def gone(shop: Shop) -> None:
    """Remove the whole candidate."""
    shutil.rmtree(candidate(shop))


def moved(shop: Shop) -> None:
    """Give the candidate another name."""
    candidate(shop).rename(candidate(shop, "8.1.0/44"))


def hidden(shop: Shop) -> None:
    """Give the candidate a name that listings pass over."""
    candidate(shop).rename(candidate(shop, "8.1.0/.42"))


def version_gone(shop: Shop) -> None:
    """Put a file in the place of the version's folder."""
    shutil.rmtree(candidate(shop).parent)
    candidate(shop).parent.write_text("")


def attestation_gone(shop: Shop) -> None:
    """Remove the last attestation: what is left is a complete chain."""
    last(shop).unlink()


def attestation_folder(shop: Shop) -> None:
    """Put a folder in the place of the last attestation."""
    file = last(shop)
    file.unlink()
    file.mkdir()


def attestation_hidden(shop: Shop) -> None:
    """Give the last attestation a name that listings pass over."""
    file = last(shop)
    file.rename(file.with_name(f".{file.name}"))


def attestations_gone(shop: Shop) -> None:
    """Remove the folder of the attestations."""
    shutil.rmtree(candidate(shop) / ATTESTATIONS)


def attestations_file(shop: Shop) -> None:
    """Put a file in the place of the attestations' folder."""
    shutil.rmtree(candidate(shop) / ATTESTATIONS)
    (candidate(shop) / ATTESTATIONS).write_text("")


def attestation_garbage(shop: Shop) -> None:
    """Replace the last attestation."""
    file = last(shop)
    file.unlink()
    file.write_bytes(b"{}")


def first_gone(shop: Shop) -> None:
    """Remove the first attestation."""
    (candidate(shop) / ATTESTATIONS / "0001-build.dsse.json").unlink()


def record_gone(shop: Shop) -> None:
    """Remove candidate.json."""
    (candidate(shop) / "candidate.json").unlink()


def record_folder(shop: Shop) -> None:
    """Put a folder in the place of candidate.json."""
    record_gone(shop)
    (candidate(shop) / "candidate.json").mkdir()


def record_altered(shop: Shop) -> None:
    """Change candidate.json."""
    file = candidate(shop) / "candidate.json"
    data = json.loads(file.read_text()) | {"revision": "0" * 40}
    file.unlink()
    file.write_text(json.dumps(data, sort_keys=True, separators=(",", ":")) + "\n")


DAMAGES = [
    gone,
    moved,
    hidden,
    version_gone,
    attestation_gone,
    attestation_folder,
    attestation_hidden,
    attestations_gone,
    attestations_file,
    attestation_garbage,
    first_gone,
    record_gone,
    record_folder,
    record_altered,
]
"""All that somebody with write access to the share and no key can do to the evidence of a release."""
every_damage = pytest.mark.parametrize(
    ("sold", "damage"),
    [
        *(("folder", damage) for damage in DAMAGES),
        *(("samba", damage) for damage in (gone, attestation_gone, attestation_folder, attestation_hidden)),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
    indirect=["sold"],
)


class Scene:
    """8.1.0 and 8.1.1, published and at the portal, to be put back for each test.

    Args:
        shop: Where.
        copy: A folder for the copy.
    """

    def __init__(self, shop: Shop, copy: Path) -> None:
        for build, version in enumerate(("8.1.0", "8.1.1"), 42):
            shop.publish(version, build=str(build))
            shop.ok("release", "portal", version)
        self._shop, self._copy = shop, copy
        copy.mkdir()
        for name in self._PLACES:
            self._copied(shop.folder / name, copy / name)

    _PLACES = ("candidates", "releases", "www")

    def put_back(self) -> Shop:
        """Let everything be as it was."""
        for name in self._PLACES:
            place = (self._shop.folder / name).resolve()
            shutil.rmtree(place)
            self._copied(self._copy / name, place)
        return self._shop

    @staticmethod
    def _copied(source: Path, target: Path) -> None:
        # Files on a share may belong to another user than these tests'.
        subprocess.run(["cp", "--archive", str(source.resolve()), str(target)], check=True)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, shop_keys: Path) -> Scene:
    """Candidates and releases in a folder."""
    base = tmp_path_factory.mktemp("sold")
    return Scene(build_shop(base, shop_keys), base / "copy")


@pytest.fixture(scope="module")
def smb_scene(
    tmp_path_factory: pytest.TempPathFactory, shop_keys: Path, samba: SambaServer, smb_password: str
) -> Scene:
    """Candidates and releases on Samba."""
    base = tmp_path_factory.mktemp("sold-smb")
    shop, there = build_shop(base, shop_keys), samba.shares["data"].path / "sold"
    there.mkdir()
    text = shop.config.read_text()
    for name in ("candidates", "releases"):
        (there / name).mkdir()
        old = f'"{shop.folder / name}"'
        assert old in text
        text = text.replace(old, f'"{samba.location("data", f"sold/{name}")}"')
        (shop.folder / name).rmdir()
        (shop.folder / name).symlink_to(there / name)
    shop.config.write_text(text)
    shop.environ |= {"JENKINS_RELEASE_SMB_USER": USER, "JENKINS_RELEASE_SMB_PASSWORD": smb_password}
    return Scene(shop, base / "copy")


@pytest.fixture(params=["folder"])
def sold(request: pytest.FixtureRequest) -> Shop:
    """8.1.0 and 8.1.1, published and at the portal; candidates and releases in a folder, or on Samba."""
    scene: Scene = request.getfixturevalue("smb_scene" if request.param == "samba" else "scene")
    return scene.put_back()


def page(shop: Shop) -> str:
    """Return the product's page of the portal."""
    return (shop.www / "SkyDRM" / "index.html").read_text()


def shown(shop: Shop) -> str:
    """Have the page made again, as the next command does that changes the portal, and return it."""
    shop.ok("release", "portal", "8.1.1")
    return page(shop)


class TestWithdrawn:
    """Attack F9."""

    @every_damage
    def test_a_withdrawn_release_never_returns_to_the_page(
        self, sold: Shop, damage: Callable[[Shop], None]
    ) -> None:
        """Whatever becomes of the candidate after it was withdrawn and left the page."""
        assert "8.1.0" in page(sold)
        sold.withdraw("8.1.0")
        assert "8.1.0" not in shown(sold)
        damage(sold)
        assert "8.1.0" not in shown(sold)

    @every_damage
    def test_nor_is_it_uploaded_again(self, sold: Shop, damage: Callable[[Shop], None]) -> None:
        """Also after it was removed from the portal."""
        sold.withdraw("8.1.0")
        sold.ok("release", "portal", "8.1.0", "--remove")
        # The removal's own record ends the chain: without it, the withdrawal does.
        last(sold).unlink()
        damage(sold)
        done = sold.run("release", "portal", "8.1.0", "--json")
        assert done.status in {2, 3, 4}, done.text
        assert "8.1.0" not in page(sold)
        assert not (sold.www / "SkyDRM" / "8.1.0").exists()


class TestUnprovable:
    @every_damage
    def test_a_release_whose_evidence_is_damaged(self, sold: Shop, damage: Callable[[Shop], None]) -> None:
        """The page loses it, the list says why, the history does not end with 0, and nothing else suffers."""
        damage(sold)
        done = sold.ok("release", "portal", "8.1.1")
        told = sold.run("release", "list", "--json")
        history = sold.run("release", "history", "8.1.0")
        if damage is attestation_gone:  # the record of the upload: what is left proves the release
            assert done["supported"] == ["8.1.1", "8.1.0"]
            assert (told.status, history.status) == (0, 0)
            return
        assert done["supported"] == ["8.1.1"]
        assert list(done["unprovenThere"]) == ["8.1.0"]
        assert "8.1.0" not in page(sold)
        assert told.status == 4, told.text
        listed = {each["version"]: each for each in told.json["releases"]}
        assert listed["8.1.1"]["problem"] == ""
        assert listed["8.1.0"]["problem"]
        text = sold.run("release", "list").out
        assert sum("in force" in line for line in text.splitlines()) == 1
        lines = [line for line in text.splitlines() if line.startswith("8.1.0 ")]
        assert lines
        assert all("not provable" in line or "altered" in line for line in lines)
        assert history.status in {2, 4}, history.text

    def test_what_is_not_provable_can_be_removed(self, sold: Shop) -> None:
        """The files go from the portal, though nobody can sign that into the candidate."""
        gone(sold)
        done = sold.ok("release", "portal", "8.1.0", "--remove")
        assert done["why"] == "not provable"
        assert not (sold.www / "SkyDRM" / "8.1.0").exists()


class TestReleaseArea:
    """Attack F17."""

    @pytest.mark.parametrize("what", ["size", "sha256"])
    def test_the_list_does_not_repeat_an_altered_record(self, sold: Shop, what: str) -> None:
        """Sizes and hashes of release.json are compared with what was signed."""
        file = sold.releases / "SkyDRM" / "8.1.0" / "release.json"
        record = json.loads(file.read_text())
        signed = sum(each["size"] for each in record["files"])
        record["files"][0][what] = 7 if what == "size" else "0" * 64
        file.unlink()
        file.write_text(json.dumps(record, sort_keys=True, separators=(",", ":")) + "\n")
        done = sold.run("release", "list", "--json")
        assert done.status == 4
        listed = {each["version"]: each for each in done.json["releases"]}
        assert "altered" in listed["8.1.0"]["problem"]
        assert listed["8.1.0"]["bytes"] == signed
        assert listed["8.1.1"]["problem"] == ""
        text = sold.run("release", "list").out
        assert sum("in force" in line for line in text.splitlines()) == 1
        assert sold.run("release", "history", "8.1.0").status == 4


CHANGES = ("keep", "remove", "folder", "garbage", "empty", "hide", "swap")
"""What somebody does to one file."""


def change(file: Path, how: str, other: Path) -> None:
    """Do something to a file of the candidate."""
    data = file.read_bytes()
    file.unlink()
    if how == "folder":
        file.mkdir()
    elif how == "garbage":
        file.write_bytes(data[:-20] + b"0" * 20)
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "hide":
        file.with_name(f".{file.name}").write_bytes(data)
    elif how == "swap":
        file.write_bytes(other.read_bytes())


class TestAnySubset:
    """Whatever is done to whichever files of a candidate."""

    @pytest.mark.parametrize("withdrawn", [False, True], ids=["in force", "withdrawn"])
    def test_nothing_is_in_force_whose_evidence_is_not_complete(self, shop: Shop, withdrawn: bool) -> None:
        """Page and list show only what an unbroken, unchanged chain up to its publication proves.

        Of a withdrawn release the page never does. The list has no memory: cutting the withdrawal off
        the end of the chain is what a head outside the share is for.
        """
        shop.publish()
        shop.ok("release", "portal", "8.1.0")
        if withdrawn:
            shop.withdraw("8.1.0")
            shop.publish("8.1.1", build="43")
            shop.ok("release", "portal", "8.1.1")
        folder, copy = candidate(shop), shop.folder / "copy"
        shutil.copytree(folder, copy)
        files = sorted(each.name for each in (copy / ATTESTATIONS).iterdir())
        names = ["candidate.json", *(f"{ATTESTATIONS}/{name}" for name in files)]
        published = next(index for index, name in enumerate(names) if "publication" in name)

        @given(st.lists(st.sampled_from(CHANGES), min_size=len(names), max_size=len(names)))
        @settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
        def check(ways: list[str]) -> None:
            if ways[1] == "swap":  # for itself
                ways[1] = "keep"
            shutil.rmtree(folder)
            shutil.copytree(copy, folder)
            for name, how in zip(names, ways, strict=True):
                if how != "keep":
                    change(folder / name, how, copy / names[1])
            kept = next((i for i, how in enumerate(ways) if how != "keep"), len(ways))
            proven = kept > published and all(how == "remove" for how in ways[kept:])
            with shop.services() as services:
                supported = "8.1.0" in window(look_at_portal(services), services).supported
                (listed,) = [each for each in list_releases(services) if each.version == "8.1.0"]
                problem = release_history("8.1.0", services).problem()
            in_force = not listed.problem and not listed.withdrawn
            assert supported == (proven and not withdrawn)
            assert not in_force or proven
            assert (problem is None) == proven

        check()


def test_a_record_of_another_revision_is_not_signed(shop: Shop):
    """Whoever writes to the release area does not choose what a publication that is finished later signs."""
    shop.publish()
    last(shop).unlink()  # as a publication leaves it that died before it signed
    folder = shop.releases / "SkyDRM" / "8.1.0"
    record = PublishedRelease.from_bytes((folder / "release.json").read_bytes(), "release.json")
    forged = record.model_copy(update={"revision": "e" * 40}).to_bytes()
    (folder / "release.json").chmod(0o644)
    (folder / "release.json").write_bytes(forged)
    (folder / "SHA256SUMS").chmod(0o644)
    (folder / "SHA256SUMS").write_bytes(release_checksum_lines(forged, record.files))
    done = shop.run("release", "publish", "8.1.0/42")
    assert done.status == 4, done.text
    assert f"revision: expected none, found {'e' * 40}" in done.text
    assert not last(shop).name.endswith("-publication.dsse.json")
