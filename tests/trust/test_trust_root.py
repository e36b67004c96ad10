"""Where the pin comes from, and where the documents are published."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.rules.gate.trust import Pin
from jenkins_release.share.folder.share import DirectoryShare
from jenkins_release.steps.context.trust_root import PIN_FILE, PIN_VARIABLE, PinFile, pinned
from jenkins_release.steps.context.trust_store import S3TrustStore, ShareTrustStore, TrustStore, read_versions
from tests.fixtures.s3 import REGION, Fault, S3Double

ONE, TWO = Pin(f"sha256:{'1' * 64}", 1), Pin(f"sha256:{'2' * 64}", 7)


def pin_file(folder: Path, *pins: Pin, text: str = "") -> PinFile:
    path = folder / "trust.toml"
    path.write_text(text or f"roots = [{', '.join(f'{str(pin)!r}' for pin in pins)}]\n")
    path.chmod(0o644)
    return PinFile(path, os.getuid())


def test_the_file_of_the_machine_belongs_to_root_and_no_variable_leads_elsewhere():
    """The default is a constant."""
    assert PinFile() == PinFile(Path("/etc/jenkins-release/trust.toml"), 0)
    assert Path("/etc/jenkins-release/trust.toml") == PIN_FILE


def test_without_file_and_variable_no_root_is_pinned(tmp_path: Path):
    """As before there were trust roots."""
    assert pinned({}, PinFile(tmp_path / "none.toml", os.getuid())) == ((), "")


def test_pins_come_from_the_file_or_from_jenkins_global_environment(tmp_path: Path):
    """Several products, several pins."""
    none = PinFile(tmp_path / "none.toml", os.getuid())
    assert pinned({PIN_VARIABLE: f"{ONE} {TWO}"}, none) == ((ONE, TWO), PIN_VARIABLE)
    file = pin_file(tmp_path, ONE, TWO)
    assert pinned({}, file) == ((ONE, TWO), str(file.path))
    assert pinned({PIN_VARIABLE: f"{TWO} {ONE}"}, file)[0] == (ONE, TWO)


@pytest.mark.parametrize("value", [str(TWO), f"{ONE} {TWO}"])
def test_a_variable_that_differs_from_the_file_is_an_error(tmp_path: Path, value: str):
    """Whoever sets it in a Jenkinsfile gains nothing, and an administrator's mistake shows."""
    with pytest.raises(ConfigurationError, match="pin different trust roots"):
        pinned({PIN_VARIABLE: value}, pin_file(tmp_path, ONE))


def test_a_variable_that_is_no_pin_is_an_error_and_not_no_pin(tmp_path: Path):
    """It fails closed."""
    with pytest.raises(ConfigurationError, match=f"{PIN_VARIABLE} holds 'none', expected sha256"):
        pinned({PIN_VARIABLE: "none"}, PinFile(tmp_path / "none.toml", os.getuid()))


@pytest.mark.parametrize(
    "text",
    [
        "\n",
        "roots = []",
        "root = 'x'",
        "roots = 'x'",
        "roots = ['x']",
        "{",
        "\xff",
        f"roots = {'[' * 50_000}",
    ],
    ids=range(8),
)
def test_a_file_without_a_pin_is_an_error_and_not_no_pin(tmp_path: Path, text: str):
    """An emptied file does not switch the trust root off."""
    with pytest.raises(ConfigurationError, match=r"trust\.toml"):
        pin_file(tmp_path, text=text).read()


def test_a_file_that_others_can_write_is_refused(tmp_path: Path):
    """The file itself, a folder above it, a link, a folder in its place, or one of another owner."""
    file = pin_file(tmp_path, ONE)
    file.path.chmod(0o664)
    with pytest.raises(ConfigurationError, match=r"can be written by others \(mode 0664\)"):
        file.read()
    file.path.chmod(0o644)
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigurationError, match=r"can be written by others \(mode 0777\)"):
        file.read()
    tmp_path.chmod(0o755)
    assert file.read() == (ONE,)
    link = tmp_path / "link.toml"
    link.symlink_to(file.path)
    with pytest.raises(ConfigurationError, match="is a link"):
        PinFile(link, os.getuid()).read()
    with pytest.raises(ConfigurationError, match="is a link"):
        PinFile(tmp_path, os.getuid()).read()
    folder = tmp_path / "folder"
    folder.symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match="is a link"):
        PinFile(folder / "trust.toml", os.getuid()).read()


def test_a_file_of_another_user_is_refused(tmp_path: Path):
    """Whoever owns it could write it, whatever its mode."""
    file = pin_file(tmp_path, ONE)
    with pytest.raises(ConfigurationError, match="belongs to the user id"):
        PinFile(file.path, owner=os.getuid() + 1).read()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> TrustStore:
    """A place of each kind, empty."""
    if request.param == "folder":
        return ShareTrustStore(DirectoryShare(tmp_path), "SkyDRM/.trust")
    request.getfixturevalue("s3")
    return S3TrustStore(request.getfixturevalue("bucket"), "trust/SkyDRM", REGION)


def test_a_version_is_published_once_and_never_replaced(store: TrustStore):
    """The same bytes again are no error; others are, and what is there stays."""
    assert store.read() == {}
    store.write(1, b"one")
    store.write(2, b"two")
    store.write(1, b"one")
    with pytest.raises(IntegrityError, match=r"1\.root\.json already exists with different content"):
        store.write(1, b"other")
    assert store.read() == {1: b"one", 2: b"two"}


def test_a_version_whose_answer_was_lost_is_published(s3: S3Double, bucket: str):
    """The repeated call is refused for what the first one wrote."""
    lost = Fault(lambda call: call.action == "PutObject", status=0, times=1)
    s3.faults.append(lost)
    store = S3TrustStore(bucket, "trust/SkyDRM", REGION)
    store.write(1, b"one")
    assert lost.times == 0
    assert store.read() == {1: b"one"}


def test_other_files_beside_the_versions_are_passed_over(tmp_path: Path):
    """Hidden ones of a writer that died, folders, other names."""
    folder = tmp_path / "SkyDRM" / ".trust"
    (folder / "9.root.json").mkdir(parents=True)
    for name in (".1.root.json.ab12", "01.root.json", "readme.md", "0.root.json", "1.root.json.bak"):
        (folder / name).write_text("x")
    assert ShareTrustStore(DirectoryShare(tmp_path), "SkyDRM/.trust").read() == {}


def test_a_published_file_is_read_only(tmp_path: Path):
    """Against mistakes; an attacker gains nothing by writing it."""
    ShareTrustStore(DirectoryShare(tmp_path), "t").write(1, b"one")
    assert (tmp_path / "t" / "1.root.json").stat().st_mode & 0o222 == 0


def test_failures_of_s3_are_told(s3: S3Double, bucket: str):
    """A bucket that is not there, and a service that refuses."""
    with pytest.raises(ConfigurationError, match="there is no bucket no-such-bucket"):
        S3TrustStore("no-such-bucket", "", REGION).read()
    s3.faults.append(Fault(lambda call: True, 403, "AccessDenied", "no"))
    with pytest.raises((RemoteError, ConfigurationError), match="list s3://"):
        S3TrustStore(bucket, "", REGION).read()


@pytest.mark.root
def test_the_real_file_is_read_by_the_real_program(tmp_path: Path):
    """In a mount namespace that has /etc/jenkins-release: a broken pin there stops every decision."""
    (tmp_path / "trust.toml").write_text("roots = ['broken']\n")
    (tmp_path / "release.toml").write_text(
        "[product]\nname = 'P'\n[share]\nrelease_candidate = '/tmp'\n[[installers]]\nfiles = 'x'\n"
    )
    script = (
        "mount -t tmpfs none /etc && mkdir /etc/jenkins-release && "
        f"cp {tmp_path}/trust.toml /etc/jenkins-release/ && "
        f"exec {sys.executable} -m jenkins_release trust show --config {tmp_path}/release.toml"
    )
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), PIN_VARIABLE: str(ONE)}
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script],
        capture_output=True,
        text=True,
        env=environ,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "/etc/jenkins-release/trust.toml holds 'broken'" in done.stderr


def test_a_folder_of_versions_that_cannot_be_listed_is_named(tmp_path: Path):
    """As another user than root, whom nothing stops."""
    place = tmp_path / "versions"
    place.mkdir()
    place.chmod(0)
    program = (
        "import os, sys, pathlib\n"
        "from jenkins_release.base.errors import ConfigurationError\n"
        "from jenkins_release.steps.trust.document import read_version_files\n"
        "os.getuid() or os.setuid(65534)\n"
        "try:\n    read_version_files((pathlib.Path(sys.argv[1]),))\n"
        "except ConfigurationError as error:\n    print(error.message)\n"
    )
    # A folder that others may enter, above the one that they may not.
    for above in (tmp_path, *tmp_path.parents):
        if above.stat().st_uid == os.getuid() and above.stat().st_mode & 0o005 != 0o005:
            above.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", program, str(place)], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"the folder {place} cannot be listed: Permission denied\n", done.stderr


def test_a_place_that_fails_says_that_a_root_is_pinned_only_if_one_is(tmp_path: Path):
    """Who drafts the first version has none."""
    store = ShareTrustStore(DirectoryShare(tmp_path / "none"), "trust")

    def fail(what: str, read: object) -> dict[int, bytes]:
        raise RemoteError("the share is gone", hint="look at it")

    for pinned_root, hint in ((True, "a root is pinned, and nothing can be decided"), (False, "look at it")):
        with pytest.raises(RemoteError, match="the share is gone") as caught:
            read_versions(store, fail, pinned=pinned_root)
        assert caught.value.hint.startswith(hint)
