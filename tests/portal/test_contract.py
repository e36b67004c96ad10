"""What every portal promises: run against S3, a folder, and a real Samba."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from jenkins_release.base.errors import ConfigurationError, IntegrityError, LeaseHeld, RemoteError
from jenkins_release.portal import NotAtPortal, Portal, S3Portal, SharePortal, Upload
from jenkins_release.portal.s3_upload import MIN_PART
from jenkins_release.share import DirectoryShare
from tests.fixtures.damage import flipped
from tests.fixtures.s3 import REGION

KINDS = ["s3", "folder", "samba"]
SMALL = os.urandom(300_000)
LARGE = os.urandom(2 * MIN_PART + 12_345)


@pytest.fixture(params=KINDS)
def portal(request: pytest.FixtureRequest) -> Portal:
    """The portal under test."""
    if request.param == "s3":
        bucket = request.getfixturevalue("bucket")
        return S3Portal(bucket, REGION, prefix="products/onprem", part_size=MIN_PART, workers=2)
    if request.param == "folder":
        root = request.getfixturevalue("tmp_path") / "www"
        root.mkdir()
        return SharePortal(DirectoryShare(root), "tester")
    return SharePortal(request.getfixturevalue("smb_share"), "tester")


def upload(data: bytes, path: str = "SkyDRM/8.1.0/installers/SkyDRM-8.1.0.msi") -> Upload:
    """Return an upload of some bytes, read in pieces of odd size."""

    def read() -> Iterator[bytes]:
        for start in range(0, len(data), 700_001):
            yield data[start : start + 700_001]

    sha256 = hashlib.sha256(data).hexdigest()
    return Upload(path, len(data), sha256, read, "application/x-msi", path.rpartition("/")[2])


def ignore(_: int) -> None:
    return None


class TestPut:
    @pytest.mark.parametrize(
        "data", [b"", SMALL, LARGE[:MIN_PART], LARGE], ids=["0", "small", "1 part", "large"]
    )
    def test_what_is_put_is_there(self, portal: Portal, data: bytes) -> None:
        """Every byte, listed with its size, counted once by the progress."""
        counted: list[int] = []
        wanted = upload(data)
        assert portal.put(wanted, counted.append).sent == len(data)
        assert sum(counted) == len(data)
        assert [(f.path, f.size) for f in portal.files("SkyDRM")] == [(wanted.path, len(data))]
        assert portal.read_small(wanted.path) == data

    @pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
    def test_putting_it_again_sends_nothing(self, portal: Portal, data: bytes) -> None:
        """The same bytes under the same path are success, and proven by reading the source again."""
        portal.put(upload(data), ignore)
        counted: list[int] = []
        again = portal.put(upload(data), counted.append)
        assert (again.sent, again.kept, sum(counted)) == (0, len(data), len(data))

    @pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
    def test_nothing_is_overwritten(self, portal: Portal, data: bytes) -> None:
        """Other bytes under the path are refused, also of the same size; what is there stays."""
        portal.put(upload(data), ignore)
        for other in (flipped(data, -1), data + b"x"):
            with pytest.raises(IntegrityError, match="exists with different content") as caught:
                portal.put(upload(other), ignore)
            assert "SkyDRM-8.1.0.msi" in caught.value.message
            assert portal.read_small(upload(data).path) == data

    @pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
    @pytest.mark.parametrize("wrong", ["other byte", "shorter", "longer"])
    def test_a_source_that_is_not_what_it_should_be_never_becomes_visible(
        self, portal: Portal, data: bytes, wrong: str
    ) -> None:
        """Hash and size are compared before the file has its name; the progress goes back."""
        bad = {
            "other byte": flipped(data, -1),
            "shorter": data[:-1],
            "longer": data + b"x",
        }[wrong]
        counted: list[int] = []
        with pytest.raises(IntegrityError, match="was not uploaded") as caught:
            portal.put(replace(upload(data), read=upload(bad).read), counted.append)
        assert hashlib.sha256(data).hexdigest() in caught.value.message
        assert portal.files("SkyDRM") == []
        assert sum(counted) == 0
        portal.put(upload(data), ignore)
        assert portal.read_small(upload(data).path) == data

    def test_a_changed_source_is_noticed_where_the_file_is_there_already(self, portal: Portal) -> None:
        """A second run proves both: what is there, and what the release area holds."""
        portal.put(upload(SMALL), ignore)
        with pytest.raises(IntegrityError, match="was not uploaded"):
            portal.put(replace(upload(SMALL), read=upload(b"y" * len(SMALL)).read), ignore)

    def test_a_source_that_breaks_leaves_nothing_visible(self, portal: Portal) -> None:
        """The error of the source comes out as it is, and the next call succeeds."""

        def broken() -> Iterator[bytes]:
            yield LARGE[: MIN_PART + 5]
            raise RemoteError("the share is gone", retryable=True)

        counted: list[int] = []
        with pytest.raises(RemoteError, match="the share is gone"):
            portal.put(replace(upload(LARGE), read=broken), counted.append)
        assert portal.files("SkyDRM") == []
        assert sum(counted) == 0
        portal.put(upload(LARGE), ignore)
        assert portal.read_small(upload(LARGE).path) == LARGE

    def test_names_of_every_kind(self, portal: Portal) -> None:
        """Spaces, other letters and signs that mean something in addresses and HTML."""
        names = ["Sky DRM 8.1.0.msi", "Überblick & mehr.zip", "50%+#1.zip", "日本語.zip", "it's.zip"]
        for name in names:
            portal.put(upload(name.encode(), f"SkyDRM/8.1.0/{name}"), ignore)
        assert {f.path for f in portal.files("SkyDRM")} == {f"SkyDRM/8.1.0/{name}" for name in names}

    def test_of_two_at_once_none_is_damaged(self, portal: Portal) -> None:
        """The same release uploaded twice at the same time: each succeeds, or is told of the other."""
        failures: list[BaseException] = []
        start = threading.Barrier(2)

        def run() -> None:
            start.wait()
            try:
                portal.put(upload(LARGE), ignore)
            except (LeaseHeld, RemoteError) as error:
                if isinstance(error, RemoteError) and not error.retryable:
                    failures.append(error)
            except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
                failures.append(error)

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        portal.put(upload(LARGE), ignore)
        assert portal.read_small(upload(LARGE).path) == LARGE


class TestPages:
    def test_a_page_replaces_the_one_before(self, portal: Portal) -> None:
        """Written, replaced, and left alone where nothing changed."""
        path = "SkyDRM/index.html"
        assert portal.write_page(path, lambda: b"one", "text/html")
        assert portal.write_page(path, lambda: b"two", "text/html")
        assert not portal.write_page(path, lambda: b"two", "text/html")
        assert portal.read_small(path) == b"two"
        assert [f.path for f in portal.files("SkyDRM")] == [path]

    def test_a_page_that_cannot_be_made_leaves_the_one_before(self, portal: Portal) -> None:
        """The error comes out as it is."""

        def fail() -> bytes:
            raise IntegrityError("no page")

        portal.write_page("SkyDRM/index.html", lambda: b"one", "text/html")
        with pytest.raises(IntegrityError, match="no page"):
            portal.write_page("SkyDRM/index.html", fail, "text/html")
        assert portal.read_small("SkyDRM/index.html") == b"one"

    @pytest.mark.parametrize("before", [None, b"old"])
    def test_a_writer_that_was_overtaken_is_told(self, portal: Portal, before: bytes | None) -> None:
        """It never replaces what it has not seen: it fails in a way that is worth another attempt."""
        path = "SkyDRM/index.html"
        if before is not None:
            portal.write_page(path, lambda: before, "text/html")

        def overtaken() -> bytes:
            try:
                portal.write_page(path, lambda: b"theirs", "text/html")
            except LeaseHeld as error:
                assert error.retryable
            return b"ours"

        try:
            portal.write_page(path, overtaken, "text/html")
        except RemoteError as error:
            assert error.retryable
            assert portal.read_small(path) == b"theirs"
        else:
            assert portal.read_small(path) == b"ours"


class TestReading:
    def test_a_missing_file(self, portal: Portal) -> None:
        """Reading names it; a folder without files is empty, whether it is there or not."""
        with pytest.raises(NotAtPortal, match=r"release\.json"):
            portal.read_small("SkyDRM/8.1.0/release.json")
        assert portal.files("SkyDRM") == []

    def test_only_what_is_below_the_folder_is_listed(self, portal: Portal) -> None:
        """A product whose name begins like another one is another one."""
        for path in ("SkyDRM/8.1.0/a", "SkyDRM2/8.1.0/b"):
            portal.put(upload(b"x", path), ignore)
        assert [f.path for f in portal.files("SkyDRM")] == ["SkyDRM/8.1.0/a"]


class TestRemove:
    def test_a_file_goes_and_others_stay(self, portal: Portal) -> None:
        """Removing twice is no error."""
        for path in ("SkyDRM/8.1.0/installers/a", "SkyDRM/8.1.0/b"):
            portal.put(upload(b"x", path), ignore)
        portal.remove("SkyDRM/8.1.0/installers/a")
        portal.remove("SkyDRM/8.1.0/installers/a")
        assert [f.path for f in portal.files("SkyDRM")] == ["SkyDRM/8.1.0/b"]

    def test_unfinished_uploads_are_given_up(self, portal: Portal) -> None:
        """Afterwards nothing of them is left; without any there is nothing to do."""

        def broken() -> Iterator[bytes]:
            yield LARGE[: MIN_PART + 5]
            raise RemoteError("the share is gone", retryable=True)

        with pytest.raises(RemoteError, match="the share is gone"):
            portal.put(replace(upload(LARGE), read=broken), ignore)
        portal.discard_unfinished("SkyDRM/8.1.0")
        assert portal.discard_unfinished("SkyDRM/8.1.0") == 0
        assert portal.discard_unfinished("SkyDRM/9.9.9") == 0


class TestLinks:
    def test_a_link_or_a_clear_refusal(self, portal: Portal) -> None:
        """A folder cannot make links that end, and says what can."""
        portal.put(upload(SMALL), ignore)
        if isinstance(portal, S3Portal):
            link = portal.link(upload(SMALL).path, customer="ACME", expires=timedelta(days=7))
            assert "SkyDRM-8.1.0.msi" in link.url
            assert "SkyDRM-8.1.0.msi" not in repr(link)
        else:
            with pytest.raises(ConfigurationError, match="cannot make expiring links") as caught:
                portal.link(upload(SMALL).path, customer="ACME", expires=timedelta(days=1))
            assert "portal.kind" in caught.value.hint
