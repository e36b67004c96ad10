"""Uploading a published release to a portal, and taking it from there."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.docs.pages import ROOT, marked
from tests.fixtures.damage import flipped
from tests.fixtures.portal import Shop
from tests.fixtures.s3 import Call, Fault, S3Double
from tests.fixtures.trust import Ceremony
from tests.portal.test_page import LOGO
from tests.release.boundaries import Moment, watched_services

MIB = 1024 * 1024
FILES = [
    "SHA256SUMS",
    "installers/SkyDRM-8.1.0.msi",
    "installers/SkyDRM-8.1.0.x86_64.rpm",
    "release.json",
]


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder by its path; hidden ones are no part of a portal."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def page(shop: Shop) -> str:
    """Return the product's page of a portal that is a folder."""
    return (shop.www / "SkyDRM" / "index.html").read_text()


def events(shop: Shop, version: str = "8.1.0") -> list[dict[str, Any]]:
    """Return what the candidate's chain says of the portal."""
    found = shop.ok("release", "history", version)["candidates"][0]["events"]
    return [event for event in found if event["kind"] == "portal"]


class TestUpload:
    def test_exactly_what_was_published_is_at_the_portal(self, shop: Shop) -> None:
        """Byte for byte, and the page; nothing else."""
        shop.publish()
        done = shop.ok("release", "portal", "8.1.0")
        there = tree(shop.www / "SkyDRM")
        assert {name: data for name, data in there.items() if name != "index.html"} == {
            f"8.1.0/{name}": data for name, data in tree(shop.releases / "SkyDRM" / "8.1.0").items()
        }
        assert sorted(each["path"] for each in done["files"]) == FILES
        assert done["changed"]
        assert done["supported"] == ["8.1.0"]
        assert done["page"] == "https://downloads.example/products/SkyDRM/index.html"
        assert done["files"][0]["address"].startswith("https://downloads.example/products/SkyDRM/8.1.0/")
        for file in json.loads(there["8.1.0/release.json"])["files"]:
            assert file["sha256"] in page(shop)

    def test_a_dry_run_changes_nothing(self, shop: Shop) -> None:
        """It tells what would be sent."""
        shop.publish()
        done = shop.ok("release", "portal", "8.1.0", "--dry-run")
        assert done["changed"]
        assert done["dryRun"]
        assert all(each["sent"] == each["size"] for each in done["files"])
        assert done["supported"] == ["8.1.0"]
        assert tree(shop.www) == {}
        assert events(shop) == []
        assert "would upload 8.1.0" in shop.run("release", "portal", "8.1.0", "--dry-run").out

    def test_a_second_run_has_nothing_to_do(self, shop: Shop) -> None:
        """Nothing is sent, nothing is recorded twice."""
        shop.publish()
        first = shop.ok("release", "portal", "8.1.0")
        before = tree(shop.www)
        again = shop.ok("release", "portal", "8.1.0")
        assert not again["changed"]
        assert again["attestation"] == first["attestation"]
        assert all(each["sent"] == 0 for each in again["files"])
        assert tree(shop.www) == before
        assert len(events(shop)) == 1
        assert "nothing to do" in shop.run("release", "portal", "8.1.0").out

    def test_what_was_uploaded_is_recorded(self, shop: Shop) -> None:
        """Signed, in the candidate's chain, and told by the history."""
        shop.publish()
        done = shop.ok("release", "portal", "8.1.0")
        event = events(shop)[0]
        assert event["counts"]
        assert event["facts"]["action"] == "upload"
        assert event["facts"]["portal"] == str(shop.www)
        assert event["facts"]["uploadedBy"] == "sam"
        record = (shop.releases / "SkyDRM" / "8.1.0" / "release.json").read_bytes()
        assert event["facts"]["releaseDigest"] == f"sha256:{hashlib.sha256(record).hexdigest()}"
        assert event["file"] == done["attestation"]
        told = shop.run("release", "history", "8.1.0").out
        assert f"uploaded by sam to the portal {shop.www}" in told

    def test_what_customers_download_is_proven_to_them(self, shop: Shop) -> None:
        """As the page tells: bundle, keys and file; the portal's records in the chain change nothing."""
        shop.publish()
        shop.ok("release", "portal", "8.1.0")
        bundle = str(shop.folder / "SkyDRM-8.1.0.jsonl")
        shop.ok("release", "attestations", "8.1.0", "--out", bundle)
        file = str(shop.www / "SkyDRM" / "8.1.0" / "installers" / "SkyDRM-8.1.0.msi")
        keys = str(shop.folder / "keys")
        done = shop.run("verify", "--bundle", bundle, "--trusted-keys", keys, "--files", file)
        assert done.status == 0, done.text
        assert "SkyDRM-8.1.0.msi" in done.out

    def test_the_first_failure_leaves_no_page(self, s3_shop: Shop, s3: S3Double) -> None:
        """A page never names a file that is not there: it is written last."""
        s3_shop.publish()
        s3.faults.append(Fault(lambda call: call.key.endswith("release.json"), 403, "AccessDenied", "no"))
        done = s3_shop.run("release", "portal", "8.1.0", "--json")
        assert done.status == 5
        assert "s3:" in done.json["error"]["hint"]
        assert [call for call in s3.named("PutObject") if call.key.endswith("index.html")] == []
        s3.reset()
        assert s3_shop.ok("release", "portal", "8.1.0")["changed"]


class TestRefusals:
    @pytest.mark.parametrize("how", ["changed", "missing", "shorter"])
    def test_a_release_area_that_was_altered(self, shop: Shop, how: str) -> None:
        """A file that is not what was published never reaches the portal; every one is named."""
        shop.publish()
        for name in FILES[1:3]:
            file = shop.releases / "SkyDRM" / "8.1.0" / name
            data = file.read_bytes()
            file.unlink()
            if how != "missing":
                file.write_bytes(flipped(data, 0) if how == "changed" else data[:-1])
        done = shop.run("release", "portal", "8.1.0", "--json")
        assert done.status == 4
        assert "SkyDRM-8.1.0.msi" in done.json["error"]["message"]
        assert how == "changed" or len(done.json["error"]["reasons"]) == 2
        assert not (shop.www / "SkyDRM" / "index.html").exists()
        assert not any(name.endswith(".msi") for name in tree(shop.www))

    def test_a_record_that_nobody_attested(self, shop: Shop) -> None:
        """Whoever can write to the release area cannot put anything on the portal."""
        shop.publish()
        folder = shop.releases / "SkyDRM" / "8.1.0"
        record = json.loads((folder / "release.json").read_text())
        msi = folder / "installers" / "SkyDRM-8.1.0.msi"
        evil = b"evil" * 100_000
        msi.unlink()
        msi.write_bytes(evil)
        record["files"][0] |= {"size": len(evil), "sha256": hashlib.sha256(evil).hexdigest()}
        data = json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        sums = [f"{hashlib.sha256(data).hexdigest()} *release.json"]
        sums += [f"{file['sha256']} *{file['path']}" for file in record["files"]]
        for name, content in (("release.json", data), ("SHA256SUMS", ("\n".join(sums) + "\n").encode())):
            (folder / name).unlink()
            (folder / name).write_bytes(content)
        done = shop.run("release", "portal", "8.1.0", "--json")
        assert done.status == 4
        assert "is not what was published" in done.json["error"]["message"]
        assert tree(shop.www) == {}

    def test_checksums_that_say_something_else(self, shop: Shop) -> None:
        """SHA256SUMS is what customers compare with: it has to match release.json."""
        shop.publish()
        sums = shop.releases / "SkyDRM" / "8.1.0" / "SHA256SUMS"
        text = sums.read_text()
        sums.unlink()
        sums.write_text(text.replace("a", "b"))
        assert "does not match release.json" in shop.run("release", "portal", "8.1.0").err

    def test_a_withdrawn_release(self, shop: Shop) -> None:
        """Customers are not to get it."""
        shop.publish()
        shop.withdraw("8.1.0")
        done = shop.run("release", "portal", "8.1.0", "--json")
        assert done.status == 3
        assert "8.1.0/42 was withdrawn by" in done.json["error"]["message"]
        assert tree(shop.www) == {}

    def test_a_withdrawal_that_nobody_known_signed(self, shop: Shop) -> None:
        """It is not ignored: somebody has to find out who made it."""
        shop.publish()
        config = shop.config
        before = config.read_text()
        shop.ok("keys", "generate", str(shop.folder / "other.pem"), "--type", "ed25519")
        text = before.replace("keys/promotion.pem.pub", "other.pem.pub")
        config.write_text(
            re.sub("promotion_key = .*", f'promotion_key = "file2:{shop.folder}/other.pem"', text)
        )
        shop.withdraw("8.1.0")
        config.write_text(before)
        done = shop.run("release", "portal", "8.1.0", "--json")
        assert done.status == 3
        assert "something speaks against 8.1.0/42" in done.json["error"]["message"]

    def test_a_key_that_is_revoked_while_it_is_uploaded(self, shop: Shop) -> None:
        """The trust document is read once more before the page is made."""
        ceremony = Ceremony(shop, shop.folder / "roots")
        ceremony.begin()
        shop.publish()
        shop.edit('name = "promotion"', 'name = "promotion"\nrevoked = true')
        draft = ceremony.update()
        ceremony.sign(draft, "alice", "bob")
        moment = Moment("release_share.read piece", 1, lambda: ceremony.try_publish(draft))
        with watched_services(moment):
            done = shop.run("release", "portal", "8.1.0", "--json")
        assert moment.came
        assert done.status == 4
        assert "no publication attestation names it" in done.json["error"]["message"]
        assert not (shop.www / "SkyDRM" / "index.html").exists()
        assert not list(shop.share.rglob("*-portal.dsse.json"))

    def test_a_version_that_is_not_published(self, shop: Shop) -> None:
        """Exit status 2, and where to look."""
        done = shop.run("release", "portal", "9.9.9", "--json")
        assert done.status == 2
        assert "is not published" in done.json["error"]["message"]
        assert "release list" in done.json["error"]["hint"]

    def test_without_a_portal(self, shop: Shop) -> None:
        """The key that is missing is named."""
        shop.publish()
        shop.configure("")
        done = shop.run("release", "portal", "8.1.0", "--json")
        assert done.status == 2
        assert "portal.kind" in done.json["error"]["hint"]

    def test_another_file_of_the_version_at_the_portal(self, shop: Shop) -> None:
        """Nothing is sent where something stands that the release does not name."""
        shop.publish()
        (shop.www / "SkyDRM" / "8.1.0" / "installers").mkdir(parents=True)
        (shop.www / "SkyDRM" / "8.1.0" / "installers" / "extra.exe").write_bytes(b"x")
        (shop.www / "SkyDRM" / "8.1.0" / "installers" / "SkyDRM-8.1.0.msi").write_bytes(b"x")
        done = shop.run("release", "portal", "8.1.0", "--json")
        assert done.status == 4
        assert len(done.json["error"]["reasons"]) == 2
        assert len(tree(shop.www)) == 2

    def test_a_record_at_the_portal_that_was_altered(self, shop: Shop) -> None:
        """The page is not made from what somebody wrote there; removing it is possible."""
        shop.publish()
        shop.ok("release", "portal", "8.1.0")
        shop.publish("8.1.1", build="43")
        record = shop.www / "SkyDRM" / "8.1.0" / "release.json"
        record.write_bytes(record.read_bytes().replace(b"SkyDRM-8.1.0.msi", b"SkyDRM-8.1.0.exe"))
        done = shop.run("release", "portal", "8.1.1", "--json")
        assert done.status == 4
        assert "is not the one in the release area" in done.json["error"]["message"]
        assert "--remove" in done.json["error"]["hint"]
        shop.ok("release", "portal", "8.1.0", "--remove", "--force", "altered")
        assert shop.ok("release", "portal", "8.1.1")["supported"] == ["8.1.1"]

    def test_a_failure_in_jenkins_is_told(self, shop: Shop) -> None:
        """As that of every step that was to change a release: here to a channel that nobody listens at."""
        shop.publish()
        (shop.releases / "SkyDRM" / "8.1.0" / "installers" / "SkyDRM-8.1.0.msi").unlink()
        with shop.config.open("a") as file:
            file.write("[[notify]]\nname = 'team'\nkind = 'webhook'\nevents = ['failed']\n")
        shop.environ |= {
            "JENKINS_RELEASE_WEBHOOK_URL": "http://127.0.0.1:9/hook",
            "BUILD_URL": "http://jenkins.example/job/portal/1/",
        }
        done = shop.run("release", "portal", "8.1.0", "--json")
        assert done.status == 4
        assert [each["event"] for each in done.json["notified"]] == ["failed"]

    def test_notes_that_are_missing_stop_the_upload_before_it_begins(self, shop: Shop) -> None:
        """A configured file has to be there."""
        shop.publish()
        shop.configure(
            f"kind = 'share'\naccess = 'public'\nlocation = '{shop.www}'\n"
            "release_notes = 'docs/notes/{version}.md'\n"
        )
        done = shop.run("release", "portal", "8.1.0", "--json")
        assert done.status == 2
        assert "docs/notes/8.1.0.md" in done.json["error"]["message"]
        assert tree(shop.www) == {}


class TestPage:
    def test_the_two_newest_lines_with_all_their_patches(self, shop: Shop) -> None:
        """N and N-1; older ones are named to the operator, withdrawn ones too."""
        for build, version in enumerate(("7.9.0", "8.0.0", "8.0.1", "8.1.0", "8.1.1"), 42):
            shop.publish(version, build=str(build))
            shop.ok("release", "portal", version)
        found = re.findall(r'id="version-([^"]+)"', page(shop))
        assert found == ["8.1.1", "8.1.0", "8.0.1", "8.0.0"]
        shop.withdraw("8.0.1", build="44")
        done = shop.ok("release", "portal", "8.1.1")
        assert done["supported"] == ["8.1.1", "8.1.0", "8.0.0"]
        assert (done["withdrawnThere"], done["unsupportedThere"]) == (["8.0.1"], ["7.9.0"])
        assert "8.0.1" not in page(shop)

    def test_an_old_version_is_uploaded_but_not_listed(self, shop: Shop) -> None:
        """The operator is told."""
        for build, version in enumerate(("8.0.0", "8.1.0", "7.0.0"), 42):
            shop.publish(version, build=str(build))
            done = shop.run("release", "portal", version)
        assert "7.0.0 is outside N and N-1 and not on the page" in done.out
        assert "7.0.0" not in page(shop)

    def test_a_release_of_which_a_file_is_missing_is_not_on_the_page(self, shop: Shop) -> None:
        """The page never names a file that is not there."""
        for build, version in enumerate(("8.1.0", "8.1.1"), 42):
            shop.publish(version, build=str(build))
            shop.ok("release", "portal", version)
        (shop.www / "SkyDRM" / "8.1.0" / "installers" / "SkyDRM-8.1.0.msi").unlink()
        assert shop.ok("release", "portal", "8.1.1")["supported"] == ["8.1.1"]
        assert "SkyDRM-8.1.0.msi" not in page(shop)

    def test_notes_and_guide_stay_without_the_checkout(self, shop: Shop) -> None:
        """They are kept at the portal: a later run elsewhere makes the same page."""
        portal = f"kind = 'share'\naccess = 'public'\nlocation = '{shop.www}'\n"
        shop.configure(portal + "release_notes = 'docs/notes/{version}.md'\nsetup_guide = 'docs/setup.md'\n")
        shop.notes("8.1.0", "\ufeff# What is new\n\nFaster *decryption*.\n")
        (shop.folder / "docs" / "setup.md").write_text("1. Run the installer.\n")
        shop.publish()
        shop.ok("release", "portal", "8.1.0")
        assert "<em>decryption</em>" in page(shop)
        assert "\ufeff" not in page(shop), "a byte order mark hides the first heading"
        shop.configure(portal)
        shop.publish("8.1.1", build="43")
        shop.ok("release", "portal", "8.1.1")
        assert "<em>decryption</em>" in page(shop)
        assert "Run the installer." in page(shop)
        shop.ok("release", "portal", "8.1.0", "--remove", "--force", "test")
        assert "decryption" not in page(shop)
        assert not (shop.www / "SkyDRM" / "page" / "8.1.0.md").exists()

    def test_upgrade_notes_logo_colour_and_systems_are_on_the_page(self, shop: Shop) -> None:
        """Uploaded beside the other texts; a second run sends nothing, a removal takes the notes along."""
        portal = f"kind = 'share'\naccess = 'public'\nlocation = '{shop.www}'\n"
        own = portal + (
            "upgrade_notes = 'docs/upgrade/{version}.md'\nlogo = 'docs/logo.SVG'\ncolour = '#ffd400'\n"
            "systems = { '*-agent.zip' = 'linux', '*.bin' = 'AIX' }\n"
        )
        shop.configure(own)
        (shop.folder / "docs" / "upgrade").mkdir(parents=True)
        (shop.folder / "docs" / "upgrade" / "8.1.0.md").write_text("Save your data.\n")
        (shop.folder / "docs" / "logo.SVG").write_text(LOGO)
        names = ("SkyDRM-8.1.0.msi", "SkyDRM-8.1.0-agent.zip", "SkyDRM-8.1.0.bin", "SkyDRM-8.1.0-tools.zip")
        shop.publish(files={name: name.encode() for name in names})
        shop.ok("release", "portal", "8.1.0")
        assert (shop.www / "SkyDRM" / "page" / "logo.svg").read_text() == LOGO
        html = page(shop)
        groups = re.findall(r'<h3>([^<]+)</h3>\s*<ul class="files">\s*<li>\s*<a [^>]+>([^<]+)<', html)
        assert groups == [
            ("Windows", "SkyDRM-8.1.0.msi"),
            ("Linux", "SkyDRM-8.1.0-agent.zip"),
            ("AIX", "SkyDRM-8.1.0.bin"),
            ("Other files", "SkyDRM-8.1.0-tools.zip"),
        ]
        assert "Upgrade notes of 8.1.0" in html
        assert "Save your data." in html
        assert '<img class="logo" src="./page/logo.svg" alt="">' in html
        assert "--brand: #ffd400;" in html
        before = tree(shop.www)
        assert not shop.ok("release", "portal", "8.1.0")["changed"]
        assert tree(shop.www) == before
        shop.ok("release", "portal", "8.1.0", "--remove", "--force", "test")
        assert sorted(tree(shop.www)) == ["SkyDRM/index.html", "SkyDRM/page/logo.svg"]

    def test_a_logo_goes_to_a_bucket_with_its_type(self, s3_shop: Shop, client: Any, bucket: str) -> None:
        """A browser shows an SVG only if the store says that it is one."""
        config = s3_shop.config.read_text()
        s3_shop.config.write_text(config + "logo = 'logo.svg'\n")
        (s3_shop.folder / "logo.svg").write_text(LOGO)
        s3_shop.publish()
        s3_shop.ok("release", "portal", "8.1.0")
        head = client.head_object(Bucket=bucket, Key="onprem/SkyDRM/page/logo.svg")
        assert (head["ContentType"], head["CacheControl"]) == ("image/svg+xml", "no-cache")

    def test_a_logo_that_is_refused_stops_the_upload_before_it_begins(self, shop: Shop) -> None:
        """Also in a dry run."""
        shop.publish()
        shop.configure(f"kind = 'share'\naccess = 'public'\nlocation = '{shop.www}'\nlogo = 'logo.svg'\n")
        (shop.folder / "logo.svg").write_text(LOGO.replace("<rect", "<script>alert(1)</script><rect"))
        for words in ((), ("--dry-run",)):
            done = shop.run("release", "portal", "8.1.0", "--json", *words)
            assert done.status == 2
            assert "logo.svg cannot be used: it contains the element script" in done.json["error"]["message"]
        assert tree(shop.www) == {}

    def test_each_line_has_its_end_of_support(self, shop: Shop) -> None:
        """The configured day, or when the window moves on."""
        config = shop.config.read_text()
        shop.config.write_text("[support]\nends = { '8.0' = 2999-03-31 }\n" + config)
        for build, version in enumerate(("8.0.0", "8.1.0"), 42):
            shop.publish(version, build=str(build))
            done = shop.run("release", "portal", version)
        text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page(shop)))
        assert "Supported until two newer lines are released." in text
        assert "Supported until 31 March 2999." in text
        assert "support.ends" not in done.err

    def test_a_line_stays_until_the_last_day_of_its_support(self, shop: Shop) -> None:
        """Customers read that day on the page: a newer line does not push it out before."""
        config = shop.config.read_text()
        ends = "{ '8.0' = 2999-03-31, '7.9' = 2000-01-01 }"
        shop.config.write_text(f"[support]\nlines = 1\nends = {ends}\n" + config)
        for build, version in enumerate(("7.9.0", "8.0.0", "8.1.0"), 42):
            shop.publish(version, build=str(build))
            shop.ok("release", "portal", version)
        assert "SkyDRM 8.0.0" in page(shop)
        assert "SkyDRM 7.9.0" not in page(shop)
        assert shop.run("release", "portal", "8.0.0", "--remove").status != 0
        assert (shop.www / "SkyDRM" / "8.0.0").exists()


class TestRemoval:
    def test_a_withdrawn_release_goes(self, shop: Shop) -> None:
        """A dry run shows it first; page entry, files and notes go; the release area keeps it."""
        for build, version in enumerate(("8.1.0", "8.1.1"), 42):
            shop.publish(version, build=str(build))
            shop.ok("release", "portal", version)
        shop.withdraw("8.1.0")
        before = tree(shop.www)
        shown = shop.ok("release", "portal", "8.1.0", "--remove", "--dry-run")
        assert (shown["why"], shown["changed"]) == ("withdrawn", True)
        assert sorted(each["path"] for each in shown["files"]) == FILES
        assert tree(shop.www) == before
        done = shop.ok("release", "portal", "8.1.0", "--remove")
        assert done["supported"] == ["8.1.1"]
        assert not (shop.www / "SkyDRM" / "8.1.0").exists()
        assert "8.1.0" not in page(shop)
        assert (shop.releases / "SkyDRM" / "8.1.0" / "release.json").exists()
        event = events(shop)[-1]
        assert (event["facts"]["action"], event["facts"]["reason"]) == ("removal", "withdrawn")
        assert "removed from the portal" in shop.run("release", "history", "8.1.0").out

    def test_an_unsupported_release_goes(self, shop: Shop) -> None:
        """What lies outside N and N-1, and no reason is asked for."""
        for build, version in enumerate(("7.9.0", "8.0.0", "8.1.0"), 42):
            shop.publish(version, build=str(build))
            shop.ok("release", "portal", version)
        assert shop.ok("release", "portal", "7.9.0", "--remove")["why"] == "unsupported"
        assert not (shop.www / "SkyDRM" / "7.9.0").exists()

    def test_retiring_takes_unsupported_releases_from_the_portal_on_request(self, shop: Shop) -> None:
        """Only with --portal, first as a dry run; supported ones and the release area stay."""
        for build, version in enumerate(("7.8.0", "7.9.0", "8.0.0", "8.1.0"), 42):
            shop.publish(version, build=str(build))
            shop.ok("release", "portal", version)
        before = tree(shop.www)
        assert shop.ok("release", "retire")["portal"] == []
        shown = shop.ok("release", "retire", "--portal", "--dry-run")
        assert [each["version"] for each in shown["portal"]] == ["7.8.0", "7.9.0"]
        assert tree(shop.www) == before
        done = shop.run("release", "retire", "--portal")
        assert done.status == 0, done.text
        assert f"removed 7.9.0 from {shop.www}: unsupported" in done.out
        there = {name.split("/")[1] for name in tree(shop.www)}
        assert there == {"8.0.0", "8.1.0", "index.html"}
        assert shop.ok("release", "retire", "--portal")["portal"] == []

    def test_a_supported_release_stays_unless_a_reason_is_given(self, shop: Shop) -> None:
        """Refused with exit status 3; with a reason it goes, and the reason is recorded."""
        shop.publish()
        shop.ok("release", "portal", "8.1.0")
        before = tree(shop.www)
        done = shop.run("release", "portal", "8.1.0", "--remove", "--json")
        assert done.status == 3
        assert len(done.json["error"]["reasons"]) == 2
        assert tree(shop.www) == before
        shop.ok("release", "portal", "8.1.0", "--remove", "--force", "legal asked for it")
        event = events(shop)[-1]
        assert (event["facts"]["reason"], event["facts"]["forced"]) == ("legal asked for it", True)
        assert "There is currently no version of SkyDRM to download" in page(shop)

    def test_a_second_removal_has_nothing_to_do(self, shop: Shop) -> None:
        """Nothing is recorded twice; a version that never was there is a mistake."""
        shop.publish()
        shop.ok("release", "portal", "8.1.0")
        shop.ok("release", "portal", "8.1.0", "--remove", "--force", "test")
        again = shop.ok("release", "portal", "8.1.0", "--remove")
        assert not again["changed"]
        assert len(events(shop)) == 2
        shop.publish("8.1.1", build="43")
        assert shop.run("release", "portal", "8.1.1", "--remove").status == 2

    @pytest.mark.parametrize("place", range(7))
    def test_a_removal_that_died_is_finished_by_the_next(
        self, s3_shop: Shop, s3: S3Double, place: int
    ) -> None:
        """Whatever failed: the page never names what is gone, the end is the same, one record is made."""
        s3_shop.publish()
        s3_shop.ok("release", "portal", "8.1.0")
        s3.reset()
        changes = 0

        def hit(call: Call) -> bool:
            nonlocal changes
            if call.action not in {"PutObject", "DeleteObject"}:
                return False
            changes += 1
            return changes > place

        s3.faults.append(Fault(hit, 403, "AccessDenied", "no"))
        words = ("release", "portal", "8.1.0", "--remove", "--force", "test")
        broken = s3_shop.run(*words)
        assert broken.status == (5 if changes > place else 0)
        keys = [call.key for call in s3.calls if call.action in {"PutObject", "DeleteObject"}]
        assert keys[0].endswith("index.html")
        assert len(keys) < 2 or keys[1].endswith("release.json")
        s3.reset()
        s3_shop.ok(*words)
        with s3_shop.services() as services:
            assert [file.path for file in services.portal.files("SkyDRM")] == ["SkyDRM/index.html"]
        assert [event["facts"]["action"] for event in events(s3_shop)] == ["upload", "removal"]

    def test_a_release_comes_back_by_another_upload(self, shop: Shop) -> None:
        """Recorded as a further upload."""
        shop.publish()
        shop.ok("release", "portal", "8.1.0")
        shop.ok("release", "portal", "8.1.0", "--remove", "--force", "test")
        shop.ok("release", "portal", "8.1.0")
        assert [event["facts"]["action"] for event in events(shop)] == ["upload", "removal", "upload"]
        assert "8.1.0" in page(shop)


_RIGHTS = {
    "HeadBucket": "s3:ListBucket",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectsV2": "s3:ListBucket",
    "ListParts": "s3:ListMultipartUploadParts",
    "PutObject": "s3:PutObject",
    "UploadPart": "s3:PutObject",
}
"""Call to the right that it needs (Amazon S3 User Guide, "Required permissions for S3 API operations")."""


class TestS3:
    def test_the_rights_on_the_page_are_those_that_are_used(self, s3_shop: Shop, s3: S3Double) -> None:
        """Upload, interruption, repetition and removal need every right of docs/portal.md, and no other."""
        policy = json.loads(marked(ROOT / "docs" / "portal.md", "portal-policy")[0].text)
        granted = {action for statement in policy["Statement"] for action in statement["Action"]}
        s3_shop.publish(files={"SkyDRM-8.1.0.msi": os.urandom(6 * MIB)})
        s3.faults.append(Fault(lambda call: call.part == 2, 403, "AccessDenied", "no", times=1))
        assert s3_shop.run("release", "portal", "8.1.0").status == 5
        s3_shop.ok("release", "portal", "8.1.0")
        files = {"A-8.1.1.msi": b"small", "SkyDRM-8.1.1.msi": os.urandom(6 * MIB)}
        s3_shop.publish("8.1.1", files, build="43")
        s3.faults.append(Fault(lambda call: call.part == 2, 403, "AccessDenied", "no", times=1))
        assert s3_shop.run("release", "portal", "8.1.1").status == 5
        s3_shop.ok("release", "portal", "8.1.1", "--remove", "--force", "test")
        assert {_RIGHTS[call.action] for call in s3.calls} == granted

    def test_killed_at_every_part_and_run_again(self, s3_shop: Shop, s3: S3Double, warm_python: str) -> None:
        """SIGKILL while part after part arrives: in the end each part was sent once, or was in flight."""
        content = os.urandom(16 * MIB)
        s3_shop.publish(files={"SkyDRM-8.1.0.msi": content})
        sent: list[int] = []
        for number in range(1, 5):
            s3.reset()
            child = subprocess.Popen(
                [warm_python, "-m", "jenkins_release", "release", "portal", "8.1.0"],
                env={**os.environ, **s3_shop.environ},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )

            def before(call: Call, number: int = number, child: subprocess.Popen[bytes] = child) -> None:
                if call.action == "UploadPart" and call.part == number + 1:
                    child.send_signal(signal.SIGKILL)
                    child.wait()
                if call.action == "CompleteMultipartUpload" and number == 4:
                    child.send_signal(signal.SIGKILL)
                    child.wait()
                    raise ConnectionResetError

            s3.before = before
            assert child.wait(timeout=60) == -signal.SIGKILL, child.communicate()[1]
            sent += [call.part for call in s3.named("UploadPart")]
        s3.reset()
        done = s3_shop.ok("release", "portal", "8.1.0")
        sent += [call.part for call in s3.named("UploadPart")]
        assert sent == [1, 2, 3, 4]
        assert next(f for f in done["files"] if f["path"].endswith(".msi"))["sent"] == 0
        with s3_shop.services() as services:
            assert services.portal.read_small("SkyDRM/8.1.0/installers/SkyDRM-8.1.0.msi") == content
        assert len(events(s3_shop)) == 1

    def test_a_failure_that_passes_is_overcome_with_the_missing_parts_only(
        self, s3_shop: Shop, s3: S3Double
    ) -> None:
        """A damaged part is refused by S3; the step's own retry sends that part again."""
        s3_shop.publish(files={"SkyDRM-8.1.0.msi": os.urandom(16 * MIB)})
        s3.faults.append(Fault(lambda call: call.part == 3, 400, "BadDigest", "did not match", times=1))
        s3_shop.ok("release", "portal", "8.1.0")
        assert [call.part for call in s3.named("UploadPart")] == [1, 2, 3, 3, 4]

    def test_memory_does_not_grow_with_the_file(self, s3_shop: Shop) -> None:
        """Two parts of 5 MiB beside the program itself, whatever is uploaded."""
        s3_shop.publish(files={"SkyDRM-8.1.0.msi": os.urandom(80 * MIB)})
        peaks = []
        for words in (["--dry-run"], []):
            code = (
                "import re; from pathlib import Path; from jenkins_release.cli.entry import main; "
                f"assert main(['release', 'portal', '8.1.0', *{words!r}]) == 0; "
                "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
            )
            done = subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, **s3_shop.environ},
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            )
            peaks.append(int(done.stdout.splitlines()[-1]) * 1024)
        assert peaks[1] - peaks[0] < 40 * MIB

    def test_a_link_is_the_only_line_on_stdout(self, s3_shop: Shop) -> None:
        """Nothing of it in the log, which names file and customer."""
        s3_shop.publish()
        s3_shop.ok("release", "portal", "8.1.0")
        words = ("release", "portal", "8.1.0", "--link", "SkyDRM-8.1.0.msi", "--customer", "ACME")
        done = s3_shop.run(*words, "--expires", "7d", "-v")
        assert done.status == 0, done.err
        assert re.fullmatch(r"http://\S+x-customer=ACME\S*\n", done.out)
        assert "X-Amz-Expires=604800" in done.out
        assert "X-Amz-" not in done.err
        assert "SkyDRM/8.1.0/installers/SkyDRM-8.1.0.msi for ACME" in done.err
        result = s3_shop.ok(*words)
        assert (result["customer"], result["path"]) == ("ACME", "SkyDRM/8.1.0/installers/SkyDRM-8.1.0.msi")

    def test_a_link_says_when_the_session_ends_that_signs_it(
        self, s3_shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not the time that was asked for; what customers download is kept by their browsers for a day."""
        s3_shop.publish()
        s3_shop.ok("release", "portal", "8.1.0")
        end = datetime.now(UTC) + timedelta(hours=1)
        monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
        monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", end.isoformat())
        words = ("--link", "SkyDRM-8.1.0.msi", "--customer", "ACME", "--expires", "12h")
        link = s3_shop.ok("release", "portal", "8.1.0", *words)
        assert abs(datetime.fromisoformat(link["expiresAt"]) - end) < timedelta(seconds=30)
        with urlopen(link["url"]) as answer:  # noqa: S310 - loopback
            assert answer.headers["Cache-Control"] == "private, max-age=86400, immutable"

    def test_words_that_do_not_fit(self, s3_shop: Shop) -> None:
        """Exit status 2, and what is wrong."""
        s3_shop.publish()
        s3_shop.ok("release", "portal", "8.1.0")
        link = ("--link", "SkyDRM-8.1.0.msi", "--customer")
        expected = {
            ("--link", "no.msi", "--customer", "ACME"): "names no file",
            ("--link", "SkyDRM-8.1.0.msi"): "--link needs --customer",
            (*link, "a\nb"): "control characters",
            (*link, "A" * 101): "at most 100",
            (*link, "ACME", "--expires", "8d"): "at most 7 days",
            (*link, "ACME", "--expires", "7"): "is not a length of time",
            (*link, "ACME", "--remove"): "exclude each other",
            ("--force", "x"): "--force needs --remove",
            ("--expires", "7d"): "need --link",
        }
        done = {words: s3_shop.run("release", "portal", "8.1.0", *words) for words in expected}
        wrong = {
            words: done[words].text
            for words, said in expected.items()
            if done[words].status != 2 or said not in done[words].err
        }
        assert wrong == {}

    def test_no_link_to_a_withdrawn_release(self, s3_shop: Shop) -> None:
        """Refused with exit status 3."""
        s3_shop.publish()
        s3_shop.ok("release", "portal", "8.1.0")
        s3_shop.withdraw("8.1.0")
        words = ("--link", "SkyDRM-8.1.0.msi", "--customer", "ACME")
        assert s3_shop.run("release", "portal", "8.1.0", *words).status == 3

    def test_a_folder_makes_no_links(self, shop: Shop) -> None:
        """And says what does."""
        shop.publish()
        shop.ok("release", "portal", "8.1.0")
        done = shop.run("release", "portal", "8.1.0", "--link", "SkyDRM-8.1.0.msi", "--customer", "ACME")
        assert done.status == 2
        assert "cannot make expiring links" in done.err

    def test_a_missing_bucket(self, s3_shop: Shop) -> None:
        """Before anything is sent, exit status 2."""
        s3_shop.publish()
        s3_shop.configure("kind = 's3'\nbucket = 'no-such-bucket'\nregion = 'eu-central-1'\n")
        done = s3_shop.run("release", "portal", "8.1.0", "--json")
        assert done.status == 2
        assert "there is no bucket no-such-bucket" in done.json["error"]["message"]
