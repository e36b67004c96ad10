"""What a listing costs on the share: a query for each folder, and each file is only read, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr

from benchmarks.scenes import write_candidates
from jenkins_release import Services, list_candidates, load_configuration
from jenkins_release.base.errors import RemoteError
from jenkins_release.sandbox.product import write_product
from jenkins_release.share import DirectoryShare, Entry
from jenkins_release.share.protocol import AHEAD, Listed

VERSIONS, BUILDS, EVERY = 3, 10, 5


class Counted(DirectoryShare):
    """A folder that counts what it is asked; the real answers."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: list[str] = []  # type: ignore[valid-type]  # the built-in one
        self.batches = 0

    def list(self, path: str) -> list[Entry]:
        self.asked.append(f"list {path}")
        return super().list(path)

    def read_heads(self, paths: Sequence[str]) -> Sequence[bytes | RemoteError]:
        self.asked += [f"read {path}" for path in paths]
        self.batches += 1
        return super().read_heads(paths)

    def list_each(self, paths: Sequence[str]) -> Sequence[Listed]:
        self.batches += 1
        return super().list_each(paths)

    def stat(self, path: str) -> Entry:
        self.asked.append(f"stat {path}")
        return super().stat(path)

    def read(
        self, path: str, *, offset: int = 0, length: int | None = None, ahead: int = AHEAD
    ) -> Iterator[bytes]:
        self.asked.append(f"read {path}")
        return super().read(path, offset=offset, length=length, ahead=ahead)


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """Thirty candidates, each fifth with a sign-off."""
    share, passphrase = tmp_path / "share", SecretStr("a passphrase")
    config = write_product(tmp_path, str(share), passphrase)
    keys = tmp_path / "keys"
    write_candidates(
        share, keys, passphrase, versions=VERSIONS, builds=BUILDS, images=["rms"], signed_off_every=EVERY
    )
    services = Services(load_configuration(config, environ={}))
    services.share = Counted(share)
    return services


def test_a_listing_asks_for_each_folder_once_and_reads_each_record_once(services: Services):
    """Folders of the product, versions and attestations; manifests and attestations; all in five batches."""
    found = list_candidates(services)
    total = VERSIONS * BUILDS
    assert len(found) == total
    assert all(item.decision is not None and not item.decision.altered for item in found)
    asked = services.share.asked  # type: ignore[attr-defined]  # the double above
    assert max(Counter(asked).values()) == 1
    assert Counter(line.split()[0] for line in asked) == {
        "list": 1 + VERSIONS + total,
        "read": total + total + total // EVERY,
    }
    assert services.share.batches == 4  # type: ignore[attr-defined]


def test_a_folder_whose_name_is_no_number_is_one_bad_line(services: Services, tmp_path: Path):
    """A superscript is a digit for Python; whoever writes to the share may make such a folder."""
    (tmp_path / "share" / "SkyDRM" / "9.0.2" / "\u00b2").mkdir()
    found = list_candidates(services)
    assert [str(item.ref) for item in found if item.problem] == ["9.0.2/\u00b2"]


def test_a_listing_is_in_order_and_one_bad_candidate_is_one_bad_line(services: Services, tmp_path: Path):
    """Read several at a time, shown newest first; what cannot be read says so in its own line."""
    (tmp_path / "share" / "SkyDRM" / "9.0.2" / "7" / "candidate.json").write_text("{")
    found = list_candidates(services)
    assert [str(item.ref) for item in found[:2]] == ["9.0.3/10", "9.0.3/9"]
    assert [str(item.ref) for item in found if item.problem] == ["9.0.2/7"]
    assert list_candidates(services, version="9.0.1") == [i for i in found if i.ref.version == "9.0.1"]
