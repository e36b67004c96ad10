"""The scripts of the setup zip in every shell that a customer may have; the bats files tell the promises."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from securesystemslib.signer import CryptoSigner

from jenkins_release.records.candidate import Candidate
from jenkins_release.records.setup_zip import write_zip
from jenkins_release.sandbox.process import find_program
from tests.fixtures.customer import USER
from tests.fixtures.setup_zip import SETTINGS, TEMPLATES, setup_files
from tests.fixtures.story import SIGNERS, Story, candidate

FILES = ("setup.bats", "upgrade.bats", "verify.bats", "hmac.bats")
HERE = Path(__file__).parent
SHELLS = ("dash", "bash", "busybox sh")
APPLETS = """
    awk basename cat chmod cksum cmp cp cut date df dirname env find grep head hostname id kill ln ls mkdir
    mktemp mv od printf rm rmdir sed seq sha256sum sleep sort stat tail test touch tr true uniq wc base64
"""
"""What the scripts use, as busybox has it: other options than in GNU's."""


def of_version(version: str) -> bytes:
    """Return candidate.json of another version."""
    record = Candidate.from_bytes(candidate(), "candidate.json")
    return record.model_copy(update={"version": version}).to_bytes()


def unpacked(folder: Path, story: Story, settings: bytes = SETTINGS) -> Path:
    """Unpack a setup zip with the program that a customer uses."""
    story.built().tested().promoted().summary()
    bundle, members = setup_files(story, {**TEMPLATES, "settings.txt": settings})
    folder.mkdir(exist_ok=True)
    file = folder / f"{bundle.folder}.zip"
    file.write_bytes(write_zip(bundle.folder, members, bundle.promoted_at))
    subprocess.run(["unzip", "-q", str(file), "-d", str(folder)], check=True)
    return folder / bundle.folder


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder that every user may read: pytest's own is root's alone."""
    base = Path(tempfile.mkdtemp(prefix="scripts-", dir="/tmp"))
    base.chmod(0o755)
    for file in [*HERE.glob("*.bats"), HERE / "helper.bash"]:
        shutil.copy(file, base)
    bundles = base / "the customer's files"
    unpacked(bundles, Story())
    unpacked(bundles, Story(of_version("8.1.1")), SETTINGS + b"ACME_NEW|number|7|New in 8.1.1\n")
    # The other kind of key that `keys generate` makes; OpenSSL 1.1.1 verifies no other.
    private, stranger = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    signers = {**SIGNERS, "promotion": CryptoSigner(private)}
    ecdsa = base / "ecdsa"
    unpacked(ecdsa, Story(signers=signers))
    unpacked(ecdsa, Story(of_version("8.1.1"), signers=signers), SETTINGS + b"ACME_NEW|number|7|New\n")
    (ecdsa / "promotion.pub").write_bytes(_pem(private.public_key()))
    (ecdsa / "stranger.pub").write_bytes(_pem(stranger.public_key()))
    tools = base / "busybox"
    tools.mkdir()
    for name in APPLETS.split():
        (tools / name).symlink_to(find_program("busybox", "busybox-static"))
    for role in ("promotion", "stranger"):
        raw = bytes.fromhex(SIGNERS[role].public_key.keyval["public"])
        (base / f"{role}.pub").write_bytes(_pem(ed25519.Ed25519PublicKey.from_public_bytes(raw)))
    work = base / "work"
    work.mkdir()
    os.chown(work, USER, USER)
    yield base
    shutil.rmtree(base)


def _pem(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, kind)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("file", FILES)
def test_the_scripts_keep_their_promises(file: str, shell: str, place: Path):
    """As a user without rights; with busybox's tools in busybox's shell.

    Bash takes whatever the other two take, and has dash's tools: it sees every third test, and only the first
    kind of each damage (``some`` in helper.bash). ``CASES=all`` for everything.
    """
    options = chosen_for(shell, HERE / file)
    told = keep_their_promises(place, file, shell, place / "the customer's files", place, *options)
    assert told.startswith(f"1..{len(_names(HERE / file)[:: 3 if options else 1])}\n"), told


def _names(file: Path) -> list[str]:
    return re.findall(r'^@test "(.*)" \{$', file.read_text(), re.MULTILINE)


def chosen_for(shell: str, file: Path) -> list[str]:
    """Return the options of bats for every third test of a file in bash, none for the other shells."""
    if shell != "bash" or os.environ.get("CASES") == "all":
        return []
    names = _names(file)
    escaped = [re.sub(r"[][\\.*^$()+?{}|]", r"\\\g<0>", name) for name in names[::3]]
    return ["--filter", f"^({'|'.join(escaped)})$"]


def test_an_ecdsa_key_proves_the_same(place: Path):
    """What is about signatures; with the openssl of another folder, ``OPENSSL_FOLDER``, everything.

    OpenSSL 1.1.1 verifies no other kind.
    """
    ecdsa = place / "ecdsa"
    tags = "!ed25519" if os.environ.get("OPENSSL_FOLDER") else "signature"
    keep_their_promises(place, "verify.bats", "dash", ecdsa, ecdsa, "--filter-tags", tags)


def keep_their_promises(place: Path, file: str, shell: str, bundles: Path, keys: Path, *options: str) -> str:
    """Run a bats file over unpacked setup zips, check that nothing failed or was skipped; return its TAP."""
    tools = place / "busybox"
    environ = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "UNDER": shell,
        "BUNDLE": str(bundles / "SkyDRM-setup-8.1.0"),
        "NEXT": str(bundles / "SkyDRM-setup-8.1.1"),
        "KEYS": str(keys),
        "CASES": os.environ.get("CASES", ""),
        "TMPDIR": str(place / "work"),
        "HOME": str(place / "work"),
    }
    if folder := os.environ.get("OPENSSL_FOLDER"):
        environ["PATH"] = f"{folder}:{environ['PATH']}"
    if shell.startswith("busybox"):
        environ |= {"PATH": f"{tools}:{environ['PATH']}", "TOOLS": str(tools)}
    command = [find_program("setpriv", "util-linux"), f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    command += [find_program("bats", "bats"), "--tap", *options, str(place / file)]
    done = subprocess.run(
        command, env=environ, cwd=place / "work", capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# skip" not in done.stdout
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_somebody_at_a_terminal_is_asked(shell: str, place: Path, tmp_path: Path):
    """A wrong answer is asked for again, an empty one is the default, a secret is not shown while typed."""
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    typed = ["a_b", "docs.acme.example", "", "8443", "", "", "", "", "correct-horse-battery", "many", "8"]
    typed += ["My files", "", "AKIAIOSFODNN7EXAMPLE", secret]
    home = tmp_path / "home"
    ours, theirs = pty.openpty()
    script = str(place / "the customer's files" / "SkyDRM-setup-8.1.0" / "setup.sh")
    process = subprocess.Popen(
        [*shell.split(), script, "--dir", str(home), "--offline"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_ENDPOINT_URL_ECR": "http://127.0.0.1:1"},
    )
    os.close(theirs)
    shown = ""
    with contextlib.suppress(OSError):  # a terminal ends with EIO
        while part := os.read(ours, 4096).decode():
            shown += part
            if shown.endswith(": ") and typed:
                os.write(ours, f"{typed.pop(0)}\n".encode())
    assert process.wait(timeout=60) == 0, shown
    os.close(ours)
    assert not typed
    assert "is no host name" in shown
    assert "is the port of ACME_PORT already" in shown
    assert "is no number" in shown
    assert "correct-horse" not in shown
    assert secret not in shown
    assert "with --offline, it is not checked whether SkyDRM 8.1.0 was withdrawn" in shown
    settings = (home / ".env").read_text()
    for line in ("ACME_HOST='docs.acme.example'", "ACME_PORT='8443'", "ACME_TITLE='My files'"):
        assert line in settings
    assert "ACME_PASSWORD='correct-horse-battery'" in settings
    assert secret in (home / "secrets" / "aws-credentials").read_text()
