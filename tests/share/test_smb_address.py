"""SMB addresses as people write them, and the choice between SMB and a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.share import DirectoryShare, SmbAddress, SmbShare, open_share
from jenkins_release.share.smb import kerberos


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (r"\\nextlabs.com\share", SmbAddress("nextlabs.com", "share")),
        (r"\\nextlabs.com\share\data\rc", SmbAddress("nextlabs.com", "share", ("data", "rc"))),
        ("//nextlabs.com/share/data/", SmbAddress("nextlabs.com", "share", ("data",))),
        ("\\\\10.0.0.7\\hidden$\\", SmbAddress("10.0.0.7", "hidden$")),
        ("smb://files/share", SmbAddress("files", "share")),
        ("SMB://Files:1445/share/a%20b", SmbAddress("files", "share", ("a b",), 1445)),
        ("smb://[fe80::7]:1445/share", SmbAddress("fe80::7", "share", (), 1445)),
    ],
)
def test_every_way_to_write_an_address(location: str, expected: SmbAddress) -> None:
    """UNC with either slash, and the URL form with a port."""
    assert SmbAddress.parse(location) == expected


def test_it_is_shown_as_unc() -> None:
    """Messages name a path as people would open it."""
    address = SmbAddress.parse("smb://files:1445/share/data")
    assert str(address) == r"\\files\share\data"
    assert address.path("SkyDRM/8.1.0") == r"\\files\share\data\SkyDRM\8.1.0"


@pytest.mark.parametrize(
    "location",
    [
        "",
        "share",
        r"\server\share",
        r"\\server",
        "\\\\server\\",
        r"\\\share",
        r"\\server\share\..\other",
        r"\\server\share\a\\b",
        r"\\server\sha?re",
        r"\\-server\share",
        r"\\server:1445\share",
        "smb://server",
        "smb:///share",
        "smb://server:port/share",
        "smb://server:99999/share",
        "smb://server/share/%2e%2e/x",
        "smb://server/share/a%2fb",
    ],
)
def test_impossible_addresses(location: str) -> None:
    """What is not an address is an error of the configuration, with the right form in the hint."""
    with pytest.raises(ConfigurationError) as caught:
        SmbAddress.parse(location)
    assert "smb://server" in caught.value.hint


@pytest.mark.parametrize(
    "location",
    [
        "smb://user:hunter2@server/share",
        "smb://server:hunter2@other:x/share",
        "//user:hunter2@server/share",
        "smb://server/share?password=hunter2",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(location: str) -> None:
    """Someone's mistake must not put the password into a log."""
    with pytest.raises(ConfigurationError) as caught:
        SmbAddress.parse(location)
    error = caught.value
    assert "hunter2" not in str(error) + error.hint + repr(error)


def test_the_location_decides(tmp_path: Path) -> None:
    """An SMB address opens SMB, a path opens the folder; neither connects yet."""
    with open_share(r"\\server\share\rc", username="u", password="p") as share:
        assert isinstance(share, SmbShare)
        assert share.name == r"\\server\share\rc"
    with open_share("smb://server/share", username="u", password="p") as share:
        assert isinstance(share, SmbShare)
    with open_share(str(tmp_path)) as share:
        assert isinstance(share, DirectoryShare)
        assert share.name == str(tmp_path)


@pytest.mark.parametrize("location", ["", "relative/folder", "C:\\data"])
def test_a_location_that_is_neither(location: str) -> None:
    """A relative path depends on where the job happens to run: refused."""
    with pytest.raises(ConfigurationError, match="neither an SMB address nor"):
        open_share(location)


@pytest.mark.parametrize(
    "wrong",
    [
        {"username": None, "password": "p"},
        {"username": "u", "password": None},
        {"username": "u", "password": ""},
        {"username": "u", "password": "p", "auth": "basic"},
        {"username": "u", "password": "p", "timeout_s": 0.0},
    ],
)
def test_missing_or_impossible_options(wrong: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told before anything is connected, here on a machine without Kerberos."""
    monkeypatch.setattr(kerberos, "is_available", lambda: False)
    with pytest.raises(ConfigurationError) as caught:
        open_share(r"\\server\share", **wrong)  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.hint
