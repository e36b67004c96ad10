"""Descriptors and threads: whatever fails, and however often, all of them are given back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from jenkins_release.base.errors import IntegrityError, ReleaseError, RemoteError
from jenkins_release.base.parallel import map_parallel
from jenkins_release.base.stream import fan_out
from jenkins_release.base.waits import Limits
from jenkins_release.config import load_configuration
from jenkins_release.http.exchange import exchange, open_session
from jenkins_release.http.probe import HttpProber
from jenkins_release.images import DockerEngine
from jenkins_release.images.archive import ArchiveReader
from jenkins_release.images.gzip_archive import GzipArchive
from jenkins_release.jenkins import Controller
from jenkins_release.notify import Message
from jenkins_release.notify.mail import MailNotifier
from jenkins_release.notify.webhook import WebhookNotifier
from jenkins_release.registry.protocol import RegistryLogin
from jenkins_release.registry.transport import Transport
from jenkins_release.sandbox.samba import SambaServer
from jenkins_release.sandbox.sample_images import demo_archive
from jenkins_release.share import SmbAddress, SmbShare
from jenkins_release.steps.context.services import Services
from tests.fixtures.held import again, all_given_back, held
from tests.fixtures.raw_server import RawServer, answer
from tests.fixtures.share import USER, OpenSmb

MANY = 12
LIMITS = Limits(20.0)
LONG = 3 << 20
MESSAGE = Message("a", datetime(2026, 11, 5, tzinfo=UTC), "title", "text", document=b"{}")

ANSWERS = {
    "success": answer(200, b"{}", Content_Type="application/json"),
    "an error": answer(500, b"no"),
    "a refusal": answer(404, b"no"),
    "a redirect": answer(302, b"no", Location="http://127.0.0.1:1/"),
    "a body that breaks off": b"HTTP/1.1 200 x\r\n\r\n{",
    "an error that breaks off": answer(500, b"no", Content_Length="99"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a long body": answer(200, b"x" * LONG),
}


def _exchanged(server: RawServer) -> Callable[[], object]:
    session = open_session()

    def ask() -> object:
        with exchange(session, "GET", f"http://{server.host}/x", "ask", LIMITS) as found:
            return next(found.pieces())

    return ask


def _docker(server: RawServer) -> Callable[[], object]:
    def ask() -> object:
        with DockerEngine(f"tcp://{server.host}", timeout_s=20, environ={}) as engine:
            return engine.inspect("a:1")

    return ask


def _jenkins(server: RawServer) -> Callable[[], object]:
    def ask() -> object:
        controller = Controller(f"http://{server.host}/", "ada", SecretStr("t"), timeout_s=20)
        try:
            return controller.user()
        finally:
            controller.close()

    return ask


def _webhook(server: RawServer) -> Callable[[], object]:
    url = SecretStr(f"http://{server.host}/hook")
    return lambda: WebhookNotifier(url, "WEBHOOK").deliver(MESSAGE, 20)


CLIENTS: dict[str, Callable[[RawServer], Callable[[], object]]] = {
    "exchange": _exchanged,
    "probe": lambda server: lambda: HttpProber().ask(f"http://{server.host}/", 20),
    "docker": _docker,
    "jenkins": _jenkins,
    "webhook": _webhook,
}


@pytest.mark.parametrize("what", ANSWERS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_connection_is_given_back_whatever_comes(raw_server: RawServer, client: str, what: str):
    """One for each call, or one for all of them; never one for each error."""
    raw_server.speech = lambda _: ANSWERS[what]
    ask = CLIENTS[client](raw_server)
    with suppress(Exception):
        ask()
    with all_given_back() as kept:
        again(MANY, ask, kept)


def test_a_mail_server_that_refuses_each_time(raw_server: RawServer):
    """It has hung up, or says nothing that it should."""
    host, _, port = raw_server.host.partition(":")
    refusing = MailNotifier(host, int(port), "none", sender="a@b.example", to=["c@d.example"])
    with all_given_back() as kept:
        again(3, lambda: refusing.deliver(MESSAGE, 0.2), kept)
    assert len(kept) == 3


def test_threads_that_come_and_go_leave_no_connections_to_the_registry(raw_server: RawServer):
    """There are as many as calls at the same time, however many threads there were."""
    login = RegistryLogin(raw_server.host, "AWS", "hunter2")
    transport = Transport(lambda: login, limits=LIMITS)
    raw_server.speech = lambda _: answer(404)
    before = held()["socket"]
    with all_given_back():
        for _ in range(MANY // 4):
            map_parallel(lambda _: transport.request("GET", "/v2/", "ask"), range(8))
        assert held()["socket"] <= before + 1 + 2 * 8
        transport.close()


TOML = """\
[product]
name = "SkyDRM"
[share]
release_candidate = "/nowhere"
[ecr]
region = "eu-central-1"
account = "123456789012"
[[images]]
name = "rms"
source = "skydrm/rms:{version}-{build}"
repository = "skydrm/rms"
[portal]
kind = "s3"
bucket = "portal"
[ledger]
kind = "s3"
bucket = "ledger"
[trust]
location = "s3://trust/skydrm"
[jenkins]
git_url = "https://git.nextlabs.com/skydrm.git"
[saas]
strategy = "ecs"
cluster = "skydrm"
[[saas.services]]
name = "rms"
containers = { rms = "rms" }
[[saas.health]]
url = "http://127.0.0.1/health"
"""


@pytest.fixture
def services(
    raw_server: RawServer, no_aws: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[], Services]]:
    """Make services whose servers all answer with an error."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{raw_server.host}")
    raw_server.speech = lambda _: answer(400)
    file = tmp_path / "release.toml"
    file.write_text(TOML)
    environ = {
        "JENKINS_RELEASE_CONFIG": str(file),
        "JENKINS_RELEASE_JENKINS_URL": f"http://{raw_server.host}/",
        "JENKINS_RELEASE_JENKINS_USER": "ada",
        "JENKINS_RELEASE_JENKINS_TOKEN": "t",
    }
    configuration = load_configuration(environ=environ)
    yield lambda: Services(configuration, environ=environ)


CALLS: dict[str, Callable[[Services], Any]] = {
    "registry": lambda services: services.registry.tags("skydrm/rms"),
    "iam": lambda services: services.iam.users("/skydrm/"),
    "secrets": lambda services: services.secret_store.owner("acme"),
    "ecs": lambda services: services.ecs.services(["rms"]),
    "ssm": lambda services: services.run_command.command("7" * 36),
    "portal": lambda services: services.portal.files("SkyDRM"),
    "ledger": lambda services: services.ledger and services.ledger.read("SkyDRM"),
    "trust": lambda services: services.trust_store.read(),
    "key": lambda services: services.signer("qa", "awskms:alias/qa"),
    "jenkins": lambda services: services.jenkins.user(),
}


@pytest.mark.parametrize("call", CALLS)
def test_services_give_back_what_they_opened(
    services: Callable[[], Services], raw_server: RawServer, call: str
):
    """A client of boto3 holds itself: its connections were for the garbage collector."""

    def use() -> None:
        with services() as made:
            CALLS[call](made)

    with suppress(ReleaseError):
        use()
    raw_server.requests.clear()
    with all_given_back() as kept:
        again(5, use, kept)
    assert len(kept) == 5
    assert raw_server.requests


def test_connections_to_a_share_that_are_lost(samba: SambaServer, smb_folder: Path, open_smb: OpenSmb):
    """Each has a socket and a thread."""
    (smb_folder / "file").write_bytes(bytes(LONG))
    share = open_smb(samba, "data", smb_folder.name)
    share.list("")
    with all_given_back() as kept:
        for number in range(MANY):
            idle = share._pool._idle[0]
            idle.wire.transport._sock.shutdown(2)
            again(1, lambda number=number: share.list("" if number % 2 else "missing"), kept)
            again(1, lambda: next(share.read("file")), kept)
            again(1, lambda: share.list(""), kept)


@pytest.mark.parametrize("what", ["no server", "no SMB", "another password"])
def test_shares_that_cannot_be_used(raw_server: RawServer, samba: SambaServer, smb_password: str, what: str):
    """Neither the connect nor the login leaves anything behind."""
    port = {"no server": 1, "no SMB": int(raw_server.host.partition(":")[2]), "another password": samba.port}
    address = SmbAddress("127.0.0.1", "data", (), port[what])
    share = SmbShare(address, USER, f"{smb_password}!", timeout_s=1.0, resume=None)
    with suppress(RemoteError):
        share.list("")
    with all_given_back() as kept:
        again(3 if what == "no SMB" else MANY // 4, lambda: share.list(""), kept)
    assert kept


def _broken(archive: bytes) -> Iterator[bytes]:
    for start in range(0, len(archive) - (1 << 20), 1 << 20):
        yield archive[start : start + (1 << 20)]
    raise RemoteError("the share failed")


@pytest.fixture(scope="module")
def archive() -> bytes:
    """An archive of some images."""
    return b"".join(demo_archive("8.1.0", "42", base_size=4 << 20, own_size=1 << 20))


def test_an_archive_that_breaks_off_leaves_no_threads(archive: bytes):
    """Those that hash and compress end with whoever started them."""

    def convert() -> None:
        for _ in GzipArchive("linux/amd64").convert(_broken(archive)):
            pass

    def read() -> None:
        with ArchiveReader() as reader:
            fan_out(_broken(archive), [reader.feed])

    def left() -> None:
        with closing(GzipArchive("linux/amd64").convert(itertools.repeat(archive))) as converted:
            next(converted)
            raise IntegrityError("it is not wanted")

    with all_given_back() as kept:
        again(10, convert, kept)
        again(10, read, kept)
        again(10, left, kept)
    assert len(kept) == 30
