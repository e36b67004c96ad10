"""Installers in a candidate: picked, checked, streamed, verified, fetched."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.command import Outcome, fails
from tests.fixtures.release import SERVICES, Product

MSI, RPM = "SkyDRM-8.1.0.msi", "skydrm-8.1.0-42.x86_64.rpm"


def export(product: Product, *words: str, version: str = "8.1.0", **environ: str) -> Outcome:
    command = ("candidate", "export", "--version", version, "--build", "42", "--from", str(product.folder))
    return product.run(*command, *words, **environ)


def nothing_is_left(product: Product) -> None:
    """No candidate, and no unfinished folder either."""
    for folder in product.share.glob("SkyDRM/*"):
        if folder.name != ".leases":
            assert [*folder.iterdir()] == []


class TestExport:
    def test_installers_alone(self, product: Product) -> None:
        """A product without images makes a candidate of its files; no daemon is asked."""
        product.installers(MSI, RPM, images=False)
        done = export(product, "--json", DOCKER_HOST="unix:///nowhere.sock")
        assert done.status == 0, done.text
        record = json.loads((product.candidate() / "candidate.json").read_bytes())
        assert record["images"] == []
        paths = [f"installers/{name}" for name in (MSI, RPM)]
        assert [file["path"] for file in record["files"]] == paths
        for file in record["files"]:
            data = (product.candidate() / file["path"]).read_bytes()
            assert (file["size"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert [i["path"] for i in record["installers"]] == paths
        product.ok("candidate", "verify", "8.1.0/42")
        shown = product.ok("candidate", "show", "8.1.0/42")
        assert [i["name"] for i in shown["installers"]] == [MSI, RPM]

    def test_images_and_installers(self, product: Product) -> None:
        """One candidate holds both, and all of it is verified and fetched."""
        product.installers(MSI)
        product.export()
        record = json.loads((product.candidate() / "candidate.json").read_bytes())
        assert len(record["images"]) == len(SERVICES)
        assert record["files"][-1]["path"] == f"installers/{MSI}"
        assert product.ok("candidate", "verify", "8.1.0/42")["files"] == 2
        target = product.folder / "fetched"
        product.ok("candidate", "fetch", "8.1.0/42", str(target))
        assert (target / "installers" / MSI).read_bytes() == (product.folder / "out" / MSI).read_bytes()
        assert product.ok("candidate", "list")["candidates"][0]["installers"] == 1

    def test_a_dry_run_names_them(self, product: Product) -> None:
        """What would be exported is shown, nothing is written."""
        product.installers(MSI, images=False)
        done = export(product, "--dry-run")
        assert done.status == 0, done.text
        assert MSI in done.out
        assert not (product.share / "SkyDRM").exists()

    def test_a_file_that_was_altered_on_the_share(self, product: Product) -> None:
        """`candidate verify` and `fetch` tell which one, and nothing of it is kept."""
        product.installers(MSI, images=False)
        product.export()
        altered = product.candidate() / "installers" / MSI
        altered.write_bytes(altered.read_bytes()[:-1] + b"x")
        fails(product.run("candidate", "verify", "8.1.0/42"), 4, MSI, "was altered")
        target = product.folder / "fetched"
        fails(product.run("candidate", "fetch", "8.1.0/42", str(target)), 4, MSI)
        assert not (target / "installers" / MSI).exists()

    def test_read_back(self, product: Product) -> None:
        """`export.read_back` reads installers back too."""
        product.installers(MSI, images=False)
        done = export(product, "--json", JENKINS_RELEASE_EXPORT_READ_BACK="true")
        assert done.status == 0, done.text

    def test_there_is_nothing_to_load_or_promote(self, product: Product) -> None:
        """The commands for images say what to do in place of them."""
        product.installers(MSI, images=False)
        product.export()
        fails(product.run("candidate", "load", "8.1.0/42"), 2, "has no images", "candidate fetch")
        fails(product.run("promote", "run", "8.1.0/42"), 2, "has no images", "release publish")


class TestPicking:
    def test_every_mistake_at_once(self, product: Product) -> None:
        """A pattern without files, a wrong version, names that clash or are impossible on Windows."""
        folder = product.installers("SkyDRM-8.0.9.msi", "skydrm-8.1.0.zip", "aux-8.1.0.", images=False)
        (folder / "deep").mkdir()
        (folder / "deep" / "SKYDRM-8.1.0.ZIP").write_bytes(b"other")
        product.append("[[installers]]\nfiles = 'out/deep/*'\n[[installers]]\nfiles = 'dist/*.deb'\n")
        done = export(product)
        fails(
            done,
            2,
            "SkyDRM-8.0.9.msi: the name does not contain the version 8.1.0",
            "have the same name (upper and lower case are one on SMB)",
            "dist/*.deb matches no file",
            "ends with a space or a full stop",
        )
        nothing_is_left(product)

    def test_a_waived_version_and_an_optional_pattern(self, product: Product) -> None:
        """Both are said in the configuration, section by section."""
        product.installers("latest.msi", images=False)
        product.append("version_in_name = false\n[[installers]]\nfiles = 'dist/*.deb'\noptional = true\n")
        assert [i["name"] for i in product.export()["installers"]] == ["latest.msi"]

    def test_only_optional_patterns_that_match_nothing(self, product: Product) -> None:
        """An empty candidate is none."""
        product.installers(images=False)
        product.append("optional = true\n")
        fails(export(product), 2, "there is nothing to export")

    def test_fields_in_a_pattern(self, product: Product) -> None:
        """Version and build are filled in; other versions beside it stay where they are."""
        product.installers("SkyDRM-8.1.0-42.msi", "SkyDRM-8.1.0-41.msi", images=False)
        product.edit("files = 'out/*'", "files = 'out/*-{version}-{build}.msi'")
        assert [i["name"] for i in product.export()["installers"]] == ["SkyDRM-8.1.0-42.msi"]

    def test_a_link_that_leads_out(self, product: Product, tmp_path: Path) -> None:
        """Only what the build left in its own folder is released."""
        outside = tmp_path / "secret-8.1.0.msi"
        outside.write_bytes(b"x")
        (product.installers(images=False) / outside.name).symlink_to(outside)
        fails(export(product), 2, "is a link that leads out of")

    def test_a_path_that_windows_cannot_open(self, product: Product) -> None:
        """The length is checked with the folders on the share."""
        product.installers(f"{'x' * 110}-8.1.0.msi", images=False)
        version = "8.1.0-" + "a" * 90
        product.append("version_in_name = false\n")
        fails(export(product, version=version), 2, "characters, at most 220 are")

    def test_a_file_that_changes_while_it_is_exported(self, product: Product) -> None:
        """Nothing becomes visible of a build that was still writing."""
        product.installers(MSI, images=False)
        product.append("check = ['sh', '-c', 'echo more >> \"$0\"', '{file}']\n")
        fails(export(product), 4, MSI, "was changed while it was exported")
        nothing_is_left(product)


class TestSignatures:
    @pytest.fixture
    def signing(self, product: Product) -> Path:
        """A command that finds a file signed where a `.sig` stands beside it."""
        product.installers(MSI, RPM, images=False)
        script = product.folder / "check-signature"
        script.write_text(
            "#!/bin/sh\nenv > \"$0.env\"\necho 'Subject: CN=NextLabs, Inc.'\n"
            'test -e "../sigs/$(basename "$1").sig" || test -e "$(dirname "$0")/sigs/$(basename "$1").sig" '
            "|| { echo 'no signature found' >&2; exit 3; }\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        product.append(f"check = ['{script}', '{{file}}']\ncheck_expects = 'CN=NextLabs'\n")
        (product.folder / "sigs").mkdir()
        return script

    def sign(self, product: Product, *names: str) -> None:
        for name in names:
            (product.folder / "sigs" / f"{name}.sig").touch()

    def test_a_verdict_in_the_manifest(self, product: Product, signing: Path) -> None:
        """What the command said stands in candidate.json, which QA signs."""
        self.sign(product, MSI, RPM)
        assert all(i["signed"] for i in product.export()["installers"])
        record = json.loads((product.candidate() / "candidate.json").read_bytes())
        assert record["installers"][0]["signature"] == {
            "command": [str(signing), "{file}"],
            "expects": "CN=NextLabs",
            "output": "Subject: CN=NextLabs, Inc.",
        }

    def test_a_real_detached_signature(self, product: Product) -> None:
        """OpenSSL checks the file beside it; one byte more, and nothing is exported."""
        folder = product.installers(MSI, images=False)
        key, public = product.folder / "key.pem", product.folder / "public.pem"
        file = folder / MSI
        for words in (
            ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key)],
            ["pkey", "-in", str(key), "-pubout", "-out", str(public)],
            ["dgst", "-sha256", "-sign", str(key), "-out", f"{file}.sig", str(file)],
        ):
            subprocess.run(["openssl", *words], check=True, capture_output=True)
        product.edit("files = 'out/*'", "files = 'out/*.msi'")
        check = ["openssl", "dgst", "-sha256", "-verify", str(public), "-signature", "{file}.sig", "{file}"]
        product.append(f"check = {json.dumps(check)}\ncheck_expects = 'Verified OK'\n")
        assert product.export()["installers"][0]["signed"]
        with file.open("ab") as opened:
            opened.write(b"x")
        done = product.run(
            *("candidate", "export", "--version", "8.1.0", "--build", "43", "--from", str(product.folder))
        )
        fails(done, 4, "1 of 1 installers are not signed", "Verification failure")

    def test_unsigned_files(self, product: Product, signing: Path) -> None:
        """Each is named with what the command said; nothing is exported."""
        self.sign(product, RPM)
        done = export(product)
        fails(done, 4, "1 of 2 installers are not signed", MSI, "ended with status 3: no signature found")
        nothing_is_left(product)

    def test_signed_by_somebody_else(self, product: Product, signing: Path) -> None:
        """Status 0 is not enough: the output has to name the signer."""
        self.sign(product, MSI, RPM)
        product.edit("CN=NextLabs", "CN=Another")
        fails(export(product), 4, "2 of 2 installers are not signed", "did not print 'CN=Another'")

    def test_no_secret_reaches_the_command(self, product: Product, signing: Path) -> None:
        """Neither the share's password nor AWS keys are in its environment."""
        self.sign(product, MSI, RPM)
        product.export()
        seen = Path(f"{signing}.env").read_text()
        assert "JENKINS_RELEASE_" not in seen
        assert "AWS_" not in seen
        assert "PATH=" in seen

    def test_a_command_that_is_not_there(self, product: Product, signing: Path) -> None:
        """It is a mistake of the machine, not of the file."""
        signing.unlink()
        fails(export(product), 2, "cannot be run", "install it on the build machine")

    def test_a_command_that_hangs(self, product: Product, signing: Path) -> None:
        """Its time is bounded."""
        signing.write_text("#!/bin/sh\nexec sleep 60\n")
        product.append("check_timeout_s = 0.3\n")
        fails(export(product), 4, "did not end within 0.3 s")
