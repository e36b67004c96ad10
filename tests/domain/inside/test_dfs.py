"""Domain-based DFS: the domain, the root, links, and their targets."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError, LeaseHeld, ReleaseError, RemoteError
from jenkins_release.base.retry import RetryPolicy
from jenkins_release.sandbox.domain.domain import Domain
from jenkins_release.share import SmbShare
from jenkins_release.share.smb import domain as smb_domain
from jenkins_release.share.smb.address import SmbAddress
from jenkins_release.share.smb.domain import find_controllers
from jenkins_release.share.smb.errors import LoginRefused
from tests.domain.inside.conftest import on
from tests.fixtures.domain import LOCATION, Open

NOBODY = "10.88.0.9"
"""An address of the network that no server has."""


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="jenkins_release")


def put(share: object, path: str, data: bytes) -> None:
    with share.create(path) as writer:
        writer.write(data)


# --- the domain -----------------------------------------------------------------------------------


def test_dns_names_the_controllers() -> None:
    """As Windows finds them."""
    assert find_controllers("corp.example") == ["dc1.corp.example"]
    assert find_controllers("fs1.corp.example") == []
    assert find_controllers("nowhere.corp.example") == []
    assert find_controllers("10.88.0.1") == []


@pytest.mark.parametrize("auth", ["kerberos", "negotiate", "ntlm"])
def test_the_share_of_the_mission(open_domain: Open, caplog: pytest.LogCaptureFixture, auth: str) -> None:
    r"""``\\domain\root\link``, as people write it, in every message; the real server in the log."""
    share = open_domain(auth=auth)
    assert share.name == LOCATION
    with pytest.raises(RemoteError) as caught:
        share.stat("nothing/here")
    assert rf"{LOCATION}\nothing\here" in caught.value.message
    assert "corp.example is a domain; dc1.corp.example refers to" in caplog.text
    assert rf"{LOCATION} is \\fs1.corp.example\data" in caplog.text


@pytest.mark.parametrize("location", [r"\\CORP\share\data", r"\\corp.example\share\data"])
def test_a_controller_that_is_configured(
    open_domain: Open, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    """It knows the short name of the domain too, and DNS is not asked."""
    monkeypatch.setattr(smb_domain, "find_controllers", None)
    share = open_domain(
        location,
        auth="kerberos",
        domain_controller="dc1.corp.example",
        dfs_targets=[".corp.example"],
    )
    share.list("")
    assert share.name == location


def test_a_server_is_no_domain(open_domain: Open, caplog: pytest.LogCaptureFixture) -> None:
    """A controller is configured, but the location is on a server that it does not know as a domain."""
    share = open_domain(r"\\fs1.corp.example\data", domain_controller="dc1.corp.example")
    share.list("")
    assert "is a domain" not in caplog.text


def test_a_controller_that_is_down(open_domain: Open, caplog: pytest.LogCaptureFixture) -> None:
    """The next one of those that DNS names is asked; here there is none."""
    with pytest.raises(RemoteError, match=NOBODY):
        open_domain(domain_controller=NOBODY, timeout_s=1.0).list("")


def test_the_next_controller_is_asked(
    open_domain: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that DNS names and that is down does not stop anything."""
    found = ["gone.corp.example", "dc1.corp.example"]
    monkeypatch.setattr(
        smb_domain, "find_controllers", lambda name: list(found) if name == "corp.example" else []
    )
    open_domain(timeout_s=2.0).list("")
    assert "domain controller gone.corp.example" in caplog.text


def test_a_controller_of_another_domain_is_not_asked(
    open_domain: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever answers DNS does not get the account's login."""
    monkeypatch.setattr(smb_domain, "find_controllers", lambda _: ["dc.elsewhere.example"])
    with pytest.raises(RemoteError, match="is a domain, and none of its controllers"):
        open_domain().list("")
    assert "dc.elsewhere.example is said to be a controller" in caplog.text


def test_a_domain_whose_dns_is_silent_for_a_while(domain: Domain, open_domain: Open) -> None:
    """The next attempt asks again: it was not taken for a server once and for all."""
    share = open_domain(auth="kerberos", timeout_s=3.0)
    domain.controller.freeze()
    try:
        with pytest.raises(RemoteError, match="did not answer in time") as caught:
            share.list("")
    finally:
        domain.controller.thaw()
    assert caught.value.retryable
    share.list("")


def test_a_root_that_nobody_serves(open_domain: Open) -> None:
    """It is told which controllers do not know it."""
    with pytest.raises(RemoteError) as caught:
        open_domain(r"\\corp.example\nothing\data").list("")
    assert caught.value.message == (
        r"cannot use \\corp.example\nothing\data: corp.example is a domain, and none of its controllers "
        "(dc1.corp.example) knows a DFS root nothing"
    )


# --- links and their targets ----------------------------------------------------------------------


@pytest.mark.parametrize("depth", ["deep", "very/deep", "very/deep/indeed"])
def test_a_link_at_any_depth(links: Domain, open_domain: Open, depth: str) -> None:
    """And folders behind it."""
    real = on(links, "fs2") / "behind" / "it"
    real.mkdir(parents=True, exist_ok=True)
    links.link(depth, r"fs2.corp.example\data\behind")
    share = open_domain("\\\\corp.example\\share\\" + depth.replace("/", "\\") + r"\it")
    put(share, "file", b"data")
    share.rename("file", "renamed")
    assert (real / "renamed").read_bytes() == b"data"
    share.remove("renamed")


def test_a_link_below_the_location(links: Domain, open_domain: Open) -> None:
    """It is not followed, and the message says what to configure instead."""
    links.link("folder/product", r"fs2.corp.example\data")
    share = open_domain(r"\\corp.example\share\folder")
    assert [entry.name for entry in share.list("")] == ["product"]
    for ask in (lambda: share.list("product"), lambda: share.make_folder("product/8.1.0")):
        with pytest.raises(RemoteError) as caught:
            ask()
        assert r"\\corp.example\share\folder\product" in caught.value.message
        assert "a DFS link leads to another share there" in caught.value.message
        assert "configure the link" in caught.value.hint
        assert not caught.value.retryable


def test_a_link_to_another_root(links: Domain, open_domain: Open) -> None:
    """Referrals follow each other."""
    links.link("again", r"corp.example\share\data")
    share = open_domain(r"\\corp.example\share\again")
    put(share, "again.bin", b"data")
    assert (on(links, "fs1") / "again.bin").read_bytes() == b"data"
    share.remove("again.bin")


def test_links_in_a_circle(links: Domain, open_domain: Open) -> None:
    """They end with an error."""
    links.link("circle", r"corp.example\share\circle")
    with pytest.raises(RemoteError, match="more than 8 DFS referrals follow each other"):
        open_domain(r"\\corp.example\share\circle").list("")


@pytest.mark.parametrize("first", ["gone.corp.example", "fs1.corp.example\\no-such-share"])
def test_the_next_target(
    links: Domain, open_domain: Open, caplog: pytest.LogCaptureFixture, first: str
) -> None:
    """A target that does not exist, or has no such share, is told, and the next one is taken."""
    first = first if "\\" in first else rf"{first}\data"
    links.link("two", first, r"fs2.corp.example\data")
    share = open_domain(r"\\corp.example\share\two", timeout_s=3.0)
    put(share, "two.bin", b"data")
    assert (on(links, "fs2") / "two.bin").read_bytes() == b"data"
    share.remove("two.bin")
    assert rf"DFS target \\{first} of \\corp.example\share\two" in caplog.text


def test_a_target_that_goes_down(links: Domain, open_domain: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Who only reads goes to the next one; who has written something stays where it is."""
    links.link("both", r"fs2.corp.example\data", r"fs1.corp.example\data")
    place = r"\\corp.example\share\both"
    # How long a server may be away is the retry policy's deadline.
    reader, writer = (open_domain(place, timeout_s=3.0, resume=RetryPolicy(deadline_s=2.0)) for _ in range(2))
    reader.list("")
    writer.make_folder("began")
    links.file_servers["fs2"].stop()
    try:
        (on(links, "fs1") / "other").mkdir(exist_ok=True)
        assert "other" in [entry.name for entry in reader.list("")]
        for _ in range(2):
            with pytest.raises(RemoteError) as caught:
                writer.make_folder("more")
        assert "goes on there" in caught.value.hint
        assert not (on(links, "fs1") / "more").exists()
    finally:
        links.file_servers["fs2"].start("", tied=True)
    writer.make_folder("more")
    assert (on(links, "fs2") / "more").is_dir()
    writer.remove("more")
    writer.remove("began")


def test_a_target_that_is_silent(links: Domain, open_domain: Open, caplog: pytest.LogCaptureFixture) -> None:
    """It takes connections and never answers: the next one is taken when its time is over."""
    links.link("silent", r"fs2.corp.example\data", r"fs1.corp.example\data")
    links.file_servers["fs2"].freeze()
    try:
        open_domain(r"\\corp.example\share\silent", timeout_s=2.0).list("")
    finally:
        links.file_servers["fs2"].thaw()
    assert r"DFS target \\fs2.corp.example\data of" in caplog.text
    assert "did not answer in time" in caplog.text


@pytest.mark.parametrize("other", ["older", "missing"])
def test_a_download_does_not_go_on_in_another_file(
    links: Domain, tickets: Path, caplog: pytest.LogCaptureFixture, other: str
) -> None:
    """If the next target has not got the same file, the one where it began is waited for."""
    links.link("pair", r"fs2.corp.example\data", r"fs1.corp.example\data")
    data = bytes(range(256)) * 65536
    copies = [on(links, server) / "pair.bin" for server in ("fs2", "fs1")]
    copies[0].write_bytes(data)
    if other == "older":
        copies[1].write_bytes(b"old")
    waits = []

    def sleep(_: float) -> None:
        waits.append(None)
        if len(waits) == 3:
            links.file_servers["fs2"].start("", tied=True)

    address = SmbAddress.parse(r"\\corp.example\share\pair")
    account = ("release@corp.example", links.password)
    policy = RetryPolicy(attempts=20, first_wait_s=0.1, max_wait_s=0.1)
    with SmbShare(address, *account, auth="kerberos", resume=policy, sleep=sleep) as share:
        pieces = share.read("pair.bin", ahead=1)
        got = [next(pieces)]
        links.file_servers["fs2"].stop()
        try:
            got += pieces
        finally:
            links.file_servers["fs2"].start("", tied=True)
            for copy in copies:
                copy.unlink(missing_ok=True)
    assert b"".join(got) == data
    assert r"\\fs1.corp.example\data has another file or none" in caplog.text


def test_a_target_elsewhere_is_not_followed(links: Domain, open_domain: Open) -> None:
    """Only the domain's own hosts, unless the configuration names more."""
    links.link("stranger", r"fs.elsewhere.example\data")
    with pytest.raises(ConfigurationError, match=r"refers to fs\.elsewhere\.example, which is neither"):
        open_domain(r"\\corp.example\share\stranger").list("")


def test_a_referral_counts_for_as_long_as_it_says(links: Domain, open_domain: Open) -> None:
    """Until then nobody asks again; after that, a link that was changed leads elsewhere."""
    links.link("moved", r"fs1.corp.example\data")
    share = open_domain(r"\\corp.example\share\moved")
    now = [0.0]
    share._access.referrals.clock = lambda: now[0]
    share.list("")
    (on(links, "fs2") / "here").mkdir(exist_ok=True)
    links.link("moved", r"fs2.corp.example\data")
    share._pool.close()
    now[0] = 599.0
    assert "here" not in [entry.name for entry in share.list("")]
    share._pool.close()
    now[0] = 601.0
    assert "here" in [entry.name for entry in share.list("")]


def test_targets_of_which_none_works(links: Domain, open_domain: Open) -> None:
    """Each is told with its own failure, whichever came last, and one that is down may be up again later."""
    links.link("none", r"fs2.corp.example\data", r"fs1.corp.example\no-such-share")
    links.file_servers["fs2"].freeze()
    try:
        with pytest.raises(RemoteError) as caught:
            open_domain(r"\\corp.example\share\none", timeout_s=1.0).list("")
    finally:
        links.file_servers["fs2"].thaw()
    assert "did not answer in time" in caught.value.message
    assert caught.value.retryable
    first, second = caught.value.reasons
    assert first.startswith(r"DFS target \\fs2.corp.example\data: ")
    assert "did not answer in time" in first
    assert second.startswith(r"DFS target \\fs1.corp.example\no-such-share: ")
    assert "the server has no such share" in second


# --- what people read -----------------------------------------------------------------------------


def test_a_refused_login_names_what_people_wrote(links: Domain, open_domain: Open) -> None:
    """And the server that refused it: a controller, or a target."""
    with pytest.raises(LoginRefused) as caught:
        open_domain(password="no-such-password").list("")
    assert caught.value.message.startswith(
        rf"cannot log in to {LOCATION} at dc1.corp.example with Kerberos as release@CORP.EXAMPLE for cifs/dc1"
    )
    links.link("strict", r"fs2.corp.example\data")
    with pytest.raises(LoginRefused) as caught:
        open_domain(r"\\corp.example\share\strict", auth="ntlm").list("")
    assert caught.value.message.startswith(
        r"cannot log in to \\corp.example\share\strict at fs2.corp.example with NTLM as release@corp.example"
    )


@pytest.mark.parametrize(("name", "length"), [("gone.bin", None), ("short.bin", 100)])
def test_a_copy_names_what_people_wrote(open_domain: Open, name: str, length: int | None) -> None:
    """Of what is missing, or too short, on the real server."""
    share = open_domain()
    put(share, "short.bin", b"short")
    with (
        pytest.raises(ReleaseError) as caught,
        share.create("partial.bin") as writer,
    ):
        share.copy_into(writer, name, length=length)
    share.remove("short.bin")
    assert rf"{LOCATION}\{name}" in caught.value.message
    assert "fs1" not in caught.value.message


# --- what happens on a target ---------------------------------------------------------------------


def test_a_lease_says_where_it_is(open_domain: Open) -> None:
    """Each target has leases of its own."""
    with (
        open_domain().lease("some.lock", "me"),
        pytest.raises(LeaseHeld, match=r"\(target \\\\fs1\.corp\.example\\data\) is held by me$"),
        open_domain().lease("some.lock", "you"),
    ):
        pass


@pytest.mark.parametrize(("other", "copied"), [("fs1", True), ("fs2", False)])
def test_a_copy_by_the_server(links: Domain, open_domain: Open, other: str, copied: bool) -> None:
    """Where both ends lead to the same server; otherwise the caller sends the bytes through the wire."""
    links.link("releases", rf"{other}.corp.example\data\releases")
    (on(links, other) / "releases").mkdir(exist_ok=True)
    source, target = open_domain(), open_domain(r"\\corp.example\share\releases")
    put(source, "source.bin", b"x" * 100_000)
    with target.create("copy.bin") as writer:
        assert source.copy_into(writer, "source.bin") is copied
    assert len(b"".join(target.read("copy.bin"))) == (100_000 if copied else 0)
    target.remove("copy.bin")
    source.remove("source.bin")
