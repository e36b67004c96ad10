"""A layer on its way to the registry: in one request, and after a break in parts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import SecretStr

from benchmarks.scenes import write_candidates
from jenkins_release import CandidateRef, Services, load_configuration
from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.images import gzip_blocks
from jenkins_release.images.gzip_blocks import BlockGzip, compression_pool
from jenkins_release.oci.manifests import sha256_digest
from jenkins_release.registry import EcrRegistry
from jenkins_release.registry.protocol import PART
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.http import RequestRecord
from jenkins_release.sandbox.front.front import EcrFront
from jenkins_release.sandbox.product import write_product
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidate
from jenkins_release.steps.promotion.blob_jobs import BlobSender, Job
from jenkins_release.steps.promotion.blob_source import BlobContent
from jenkins_release.steps.promotion.missing_blobs import MissingBlobs
from tests.fixtures.ecr_push import Pusher

REF = CandidateRef("9.0.1", "1")
ARCHIVE = "layers.tar"
BEFORE = 1000
"""Bytes in the archive before the layer."""
SIZE = (17 << 20) + 12_345
PARTS = 4
RMS, VIEWER = "skydrm/rms", "skydrm/viewer"
QUICK = {
    "JENKINS_RELEASE_RETRY_FIRST_WAIT_S": "0.05",
    "JENKINS_RELEASE_RETRY_MAX_WAIT_S": "0.1",
    "JENKINS_RELEASE_RETRY_ATTEMPTS": "3",
}
UPLOADS = "/blobs/uploads/"


def plain(seed: int) -> bytes:
    """Return a layer; what is compressed of it is hardly smaller."""
    return random.Random(seed).randbytes(SIZE)  # noqa: S311  # no secret


def packed(data: bytes) -> bytes:
    """Return what a registry stores of a plain layer."""
    pool = compression_pool(2)
    made = BlockGzip(pool)
    found = b"".join([*made.update(data), *made.finish()])
    pool.shutdown()
    return found


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product, and one candidate of it."""
    folder, passphrase = tmp_path_factory.mktemp("layers"), SecretStr("a passphrase")
    share = folder / "share"
    config = write_product(folder, str(share), passphrase, names=["rms", "viewer"])
    write_candidates(share, folder / "keys", passphrase, versions=1, builds=1, images=["rms", "viewer"])
    return config


@dataclass
class Sending:
    """Sends layers of a candidate to two empty repositories.

    Attributes:
        workers: Layers at a time.
        read: Bytes read from the share, less those of attempts that started over.
        again: What happens when an attempt starts over.
    """

    config: Path
    ecr: EcrFront
    pusher: Pusher
    workers: int = 2
    read: int = 0
    again: Callable[[], None] = lambda: None
    _services: list[Services] = field(default_factory=list)
    _opened: OpenCandidate | None = None
    _sender: BlobSender | None = None

    def __call__(self, content: BlobContent, *repositories: str) -> None:
        if self._sender is None:
            environ = {**QUICK, "JENKINS_RELEASE_PROMOTE_WORKERS": str(self.workers)}
            services = Services(load_configuration(self.config, environ=environ), environ={})
            self._services.append(services)
            opened = open_candidate(REF, services)
            self._sender = BlobSender(opened, MissingBlobs([RMS, VIEWER], services), services)
        self._sender.send(Job(content, repositories or (RMS,)), self._advance)

    def layer(self, data: bytes, *, compress: bool = False) -> BlobContent:
        """Put a layer on the share."""
        (archive,) = self.config.parent.glob(f"share/**/{REF.build}/candidate.json")
        (archive.parent / ARCHIVE).write_bytes(bytes(BEFORE) + data)
        digest = sha256_digest(data)
        known = ("", 0) if compress else (digest, len(data))
        return BlobContent(digest, len(data), ARCHIVE, BEFORE, *known, plain=compress)

    def requests(self, method: str, repository: str = RMS) -> list[RequestRecord]:
        """Return the requests about uploads to a repository."""
        found = self.ecr.requests.all()
        return [r for r in found if r.method == method and r.repository == repository and UPLOADS in r.path]

    def count(self, repository: str = RMS) -> dict[str, int]:
        """Return how many requests about uploads there were, by method."""
        methods = [
            r.method for r in self.ecr.requests.all() if UPLOADS in r.path and r.repository == repository
        ]
        return {method: methods.count(method) for method in dict.fromkeys(methods)}

    def stored(self, data: bytes, repository: str = RMS) -> bool:
        """Whether the repository has exactly these bytes."""
        return self.pusher.call("GET", f"{repository}/blobs/{sha256_digest(data)}").content == data

    def close(self) -> None:
        if self._sender is not None:
            self._sender.close()
        for each in self._services:
            each.close()

    def _advance(self, count: int) -> None:
        self.read += count
        if count < 0:
            self.again()


@pytest.fixture
def sending(config: Path, ecr: EcrFront, registry: EcrRegistry, pusher: Pusher) -> Iterator[Sending]:
    """What is tested, between a share and a registry."""
    for name in (RMS, VIEWER):
        registry.create_repository(name)
    made = Sending(config, ecr, pusher)
    yield made
    made.close()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("compress", [False, True], ids=["as it is", "compressed on the way"])
def test_a_layer_is_one_request(sending: Sending, compress: bool, workers: int):
    """With its length if that is known; otherwise in chunks."""
    sending.workers = workers
    data = plain(1)
    sending(sending.layer(data, compress=compress))
    assert sending.count() == {"POST": 1, "PATCH": 1, "PUT": 1}
    assert sending.stored(packed(data) if compress else data)
    assert sending.read == len(data)


@pytest.mark.parametrize("size", [0, 1, PART])
def test_what_fits_into_a_part_is_not_read_again_after_a_break(sending: Sending, size: int):
    """It is in memory as a whole."""
    sending.ecr.faults.add(Fault(method="PATCH", path=UPLOADS, reset_request_after=0))
    sending.again = lambda: pytest.fail("it was read again")
    data = plain(1)[:size]
    sending(sending.layer(data))
    assert sending.stored(data)
    assert sending.read == size
    assert len(sending.requests("PATCH")) == (2 if size else 0)


@pytest.mark.parametrize("after", [0, 1, 300_000, 7 << 20, SIZE - 1])
@pytest.mark.parametrize("compress", [False, True], ids=["as it is", "compressed on the way"])
def test_a_broken_layer_goes_on_in_parts(sending: Sending, compress: bool, after: int):
    """The registry is asked how much it has. What it has is read and compressed again, but not sent again."""
    sending.ecr.faults.add(Fault(method="PATCH", path=UPLOADS, reset_request_after=after))
    data = plain(1)
    sending(sending.layer(data, compress=compress))
    stored = packed(data) if compress else data
    assert sending.stored(stored)
    assert sending.count()["POST"] == sending.count()["GET"] == sending.count()["PUT"] == 1
    received = [r.received for r in sending.requests("PATCH")]
    # The front throws away what came with the byte that broke the connection.
    assert len(stored) <= sum(received) <= len(stored) + (1 << 20)
    assert all(count == PART for count in received[1:-1])
    assert sending.read == len(data)


@pytest.mark.parametrize("status", [500, 503])
def test_a_layer_that_the_registry_fails_at_goes_on_in_parts(sending: Sending, status: int):
    """The next one is tried in one request again."""
    sending.ecr.faults.add(Fault(method="PATCH", path=UPLOADS, status=status))
    data, other = plain(1), plain(2)
    sending(sending.layer(data))
    sending(sending.layer(other))
    assert sending.stored(data)
    assert sending.stored(other)
    assert len(sending.requests("PATCH")) == 1 + PARTS + 1


def test_a_lost_answer_sends_nothing_twice(sending: Sending):
    """All of it had arrived."""
    sending.ecr.faults.add(Fault(method="PATCH", path=UPLOADS, reset_response_after=0))
    data = plain(1)
    sending(sending.layer(data))
    assert sending.stored(data)
    assert sending.count() == {"POST": 1, "PATCH": 1, "GET": 1, "PUT": 1}


@pytest.mark.parametrize("status", [400, 411, 413, 501])
def test_a_registry_that_refuses_the_long_request_gets_parts_from_then_on(sending: Sending, status: int):
    """A proxy may limit the length of requests, or want it stated. It is asked once."""
    sending.ecr.faults.add(Fault(method="PATCH", path=UPLOADS, status=status, code="UNSUPPORTED"))
    data, other = plain(1), plain(2)
    sending(sending.layer(data))
    sending(sending.layer(other))
    assert sending.stored(data)
    assert sending.stored(other)
    assert len(sending.requests("PATCH")) == 1 + 2 * PARTS


def test_a_registry_that_refuses_this_layer_is_not_asked_again(sending: Sending):
    """403 means the user, not the request."""
    sending.ecr.faults.add(Fault(method="PATCH", path=UPLOADS, status=403, code="DENIED"))
    with pytest.raises(RemoteError, match="DENIED"):
        sending(sending.layer(plain(1)))
    assert sending.count() == {"POST": 1, "PATCH": 1, "DELETE": 1}


def test_an_upload_that_was_forgotten_begins_again_in_parts(sending: Sending):
    """After a break the registry does not know it any more."""
    sending.ecr.faults.add(Fault(method="PATCH", path=UPLOADS, reset_request_after=7 << 20))
    sending.ecr.faults.add(Fault(method="GET", path=UPLOADS, status=404, code="BLOB_UPLOAD_UNKNOWN"))
    data = plain(1)
    sending(sending.layer(data))
    assert sending.stored(data)
    assert sending.count() == {"POST": 2, "PATCH": 1 + PARTS, "GET": 1, "PUT": 1}


def test_bytes_that_do_not_fit_are_never_kept(sending: Sending, monkeypatch: pytest.MonkeyPatch):
    """If the rest was compressed in another way, the digest tells; the layer is sent from its beginning."""
    sending.ecr.faults.add(Fault(method="PATCH", path=UPLOADS, reset_request_after=7 << 20))
    data = plain(1).translate(bytes(number & 0x3F for number in range(256)))
    sending.again = lambda: monkeypatch.setattr(gzip_blocks, "LEVEL", 2)
    first = packed(data)
    sending(sending.layer(data, compress=True))
    second = packed(data)
    assert first != second
    assert sending.stored(second)
    assert [r.status for r in sending.requests("PUT")] == [400, 201]


@pytest.mark.parametrize("compress", [False, True], ids=["as it is", "compressed on the way"])
def test_two_repositories_get_a_layer_at_once_with_one_read(sending: Sending, compress: bool):
    """In one request each."""
    data = plain(1)
    sending(sending.layer(data, compress=compress), RMS, VIEWER)
    for name in (RMS, VIEWER):
        assert sending.count(name) == {"POST": 1, "PATCH": 1, "PUT": 1}
        assert sending.stored(packed(data) if compress else data, name)
    assert sending.read == len(data)


def test_one_worker_sends_to_two_repositories_in_a_fixed_order(sending: Sending):
    """In parts, which a single thread can take turns with."""
    sending.workers = 1
    data = plain(1)
    sending(sending.layer(data), RMS, VIEWER)
    patches = [r.repository for r in sending.ecr.requests.all() if r.method == "PATCH"]
    assert patches == [RMS, VIEWER] * PARTS
    assert sending.stored(data, RMS)
    assert sending.stored(data, VIEWER)


def test_a_break_in_one_repository_leaves_the_other_alone(sending: Sending):
    """That one is finished; only the first gets the rest in parts."""
    fault = Fault(method="PATCH", path=UPLOADS, repository=VIEWER, reset_request_after=7 << 20)
    sending.ecr.faults.add(fault)
    data = plain(1)
    sending(sending.layer(data), RMS, VIEWER)
    assert sending.count(RMS) == {"POST": 1, "PATCH": 1, "PUT": 1}
    assert sending.count(VIEWER) == {"POST": 1, "PATCH": 4, "GET": 1, "PUT": 1}
    assert sending.stored(data, RMS)
    assert sending.stored(data, VIEWER)


def test_breaks_in_both_repositories_at_different_bytes(sending: Sending):
    """Each goes on where it broke off."""
    for name, after in ((RMS, 3 << 20), (VIEWER, 9 << 20)):
        sending.ecr.faults.add(
            Fault(method="PATCH", path=UPLOADS, repository=name, reset_request_after=after)
        )
    data = plain(1)
    sending(sending.layer(data), RMS, VIEWER)
    assert sending.stored(data, RMS)
    assert sending.stored(data, VIEWER)
    received = sum(r.received for r in sending.requests("PATCH"))
    assert received <= len(data) + (1 << 20)


@pytest.mark.parametrize("repositories", [(RMS,), (RMS, VIEWER)], ids=["one", "two"])
def test_an_altered_layer_is_not_finished(sending: Sending, repositories: tuple[str, ...]):
    """Its last bytes are not sent, and the registry is not told to keep it."""
    content = sending.layer(plain(1))
    sending.layer(plain(2))
    with pytest.raises(IntegrityError, match="expected sha256"):
        sending(content, *repositories)
    for name in repositories:
        assert "PUT" not in sending.count(name)
        assert sending.count(name)["DELETE"] == 1
