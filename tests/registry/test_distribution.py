"""Reading manifests from any registry: what is believed, and to whom a password is sent."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest

from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.base.waits import Limits
from jenkins_release.oci.manifests import DOCKER_CONFIG, DOCKER_MANIFEST, OCI_INDEX, sha256_digest
from jenkins_release.registry.distribution import (
    MAX_MANIFEST_BYTES,
    DistributionRegistry,
    ImageReference,
)
from jenkins_release.registry.protocol import RegistryLogin
from jenkins_release.sandbox.process import LOOPBACK, free_port
from tests.fixtures.raw_server import RawServer, Request, answer

DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
CONFIG = {"mediaType": DOCKER_CONFIG, "digest": f"sha256:{'1' * 64}", "size": 7}
LAYER = {"mediaType": DOCKER_LAYER, "digest": f"sha256:{'2' * 64}", "size": 9}
MANIFEST = json.dumps(
    {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": CONFIG, "layers": [LAYER]}
).encode()
DIGEST = sha256_digest(MANIFEST)


@dataclass
class Scripted:
    """A registry that answers manifests as it is told, and remembers who asked."""

    status: int = 200
    body: bytes = MANIFEST
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": DOCKER_MANIFEST})
    challenge: str = ""
    accepted: str = ""
    tokens: bytes = b'{"token": "abc"}'
    others: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)
    host: str = ""

    def answer(self, request: Request) -> bytes:
        sent = request.header("Authorization")
        self.seen.append((request.target, sent))
        if request.target.startswith("/token"):
            return answer(200 if sent or not self.accepted else 401, self.tokens)
        if self.challenge and sent != self.accepted:
            return answer(401, b"{}", WWW_Authenticate=self.challenge)
        if (name := request.target.rpartition("/")[2]) in self.others:
            body, kind = self.others[name]
            return answer(200, body, Content_Type=kind)
        return answer(self.status, self.body, **self.headers)


@pytest.fixture
def scripted(raw_server: RawServer) -> Scripted:
    """A scripted registry on loopback."""
    script = Scripted(host=raw_server.host)
    raw_server.speech = script.answer
    return script


def read(scripted: Scripted, reference: str = "8.1.0", login: RegistryLogin | None = None):
    registry = DistributionRegistry(scripted.host, login, limits=Limits(5))
    try:
        return registry.manifest("skydrm/rms", reference)
    finally:
        registry.close()


def test_a_manifest_is_hashed_here(scripted: Scripted):
    """By tag and by digest, whatever headers the registry sends or leaves out."""
    assert read(scripted).digest == DIGEST
    assert read(scripted, DIGEST).data == MANIFEST
    scripted.headers["Docker-Content-Digest"] = DIGEST
    assert read(scripted).media_type == DOCKER_MANIFEST
    assert scripted.seen[0] == ("/v2/skydrm/rms/manifests/8.1.0", "")


def test_another_digest_than_asked_for_or_named_is_refused(scripted: Scripted):
    """Something between here and the registry changed the bytes."""
    with pytest.raises(IntegrityError, match="expected sha256:0000"):
        read(scripted, f"sha256:{'0' * 64}")
    scripted.headers["Docker-Content-Digest"] = f"sha256:{'0' * 64}"
    with pytest.raises(IntegrityError, match="have the digest"):
        read(scripted)


def test_a_manifest_that_is_too_large_is_not_read_to_its_end(scripted: Scripted):
    """Four MiB is what registries have to take."""
    scripted.body = b"x" * (MAX_MANIFEST_BYTES + 1)
    with pytest.raises(IntegrityError, match="more than"):
        read(scripted)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [(404, ConfigurationError, False), (403, ConfigurationError, False), (400, RemoteError, False)]
    + [(status, RemoteError, True) for status in (429, 500, 503)],
)
def test_each_status_has_its_error(scripted: Scripted, status: int, kind: type, retryable: bool):
    """What is missing or forbidden is the caller's; what may pass is worth another attempt."""
    scripted.status, scripted.headers["Retry-After"] = status, "3"
    with pytest.raises(kind) as raised:
        read(scripted)
    assert raised.value.retryable is retryable
    assert raised.value.retry_after == (3.0 if kind is RemoteError else None)


@pytest.mark.parametrize("wait", ["\u00b2", "9" * 400, "soon"])
def test_a_wait_that_is_no_number_is_as_if_it_were_not_there(scripted: Scripted, wait: str):
    """A superscript is a digit for Python, and no number."""
    scripted.status, scripted.headers["Retry-After"] = 503, wait
    with pytest.raises(RemoteError) as raised:
        read(scripted)
    assert (raised.value.retryable, raised.value.retry_after) == (True, None)
    assert "answers with status 503" in raised.value.message


def test_a_password_is_sent_only_when_it_is_asked_for(scripted: Scripted):
    """Basic: the first request has none, the second has it, and later ones too."""
    basic = "Basic " + base64.b64encode(b"AWS:secret").decode()
    login = RegistryLogin(scripted.host, "AWS", "secret")
    read(scripted, login=login)
    assert [sent for _, sent in scripted.seen] == [""]
    scripted.challenge, scripted.accepted = 'Basic realm="x"', basic
    assert read(scripted, login=login).digest == DIGEST
    assert [sent for _, sent in scripted.seen[1:]] == ["", basic]
    with pytest.raises(ConfigurationError, match="requires a login"):
        read(scripted)
    with pytest.raises(ConfigurationError, match="refuses the login") as raised:
        read(scripted, login=RegistryLogin(scripted.host, "AWS", "hunter2"))
    assert "hunter2" not in f"{raised.value}{raised.value.hint}{raised.value.__cause__}"


def test_a_token_is_fetched_where_the_registry_says(scripted: Scripted):
    """Bearer: for this repository, to pull only; with the password where there is one."""
    realm = f"http://{scripted.host}/token"
    scripted.challenge = f'Bearer realm="{realm}",service="reg"'
    scripted.accepted = "Bearer abc"
    assert read(scripted, login=RegistryLogin(scripted.host, "u", "p")).digest == DIGEST
    path, sent = scripted.seen[1]
    assert parse_qs(urlsplit(path).query) == {"service": ["reg"], "scope": ["repository:skydrm/rms:pull"]}
    assert sent == "Basic " + base64.b64encode(b"u:p").decode()
    with pytest.raises(ConfigurationError, match="requires a login"):
        read(scripted)
    for tokens in (b"[]", b"{}", b"no json", b'{"token": 7}'):
        scripted.tokens = tokens
        with pytest.raises(RemoteError):
            read(scripted, login=RegistryLogin(scripted.host, "u", "p"))


def test_a_password_never_goes_where_others_can_read_it(scripted: Scripted):
    """A registry that sends the login to a host without TLS is refused before anything is sent."""
    scripted.challenge = 'Bearer realm="http://auth.example.com/token",service="reg"'
    scripted.accepted = "Bearer abc"
    with pytest.raises(RemoteError, match="not https"):
        read(scripted, login=RegistryLogin(scripted.host, "u", "p"))
    assert DistributionRegistry("registry.example.com")._root == "https://registry.example.com"


def test_an_index_leads_to_its_only_platform(scripted: Scripted):
    """As pushes with build attestations leave it; another platform is refused."""
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {
                "mediaType": DOCKER_MANIFEST,
                "digest": DIGEST,
                "size": len(MANIFEST),
                "platform": {"os": "linux", "architecture": "amd64"},
            }
        ],
    }
    scripted.others["8.1.0"] = (json.dumps(index).encode(), OCI_INDEX)
    registry = DistributionRegistry(scripted.host)
    raw = registry.manifest("skydrm/rms", "8.1.0")
    assert raw.is_index
    assert registry.content("skydrm/rms", raw, "linux/amd64").config_digest == CONFIG["digest"]
    with pytest.raises(IntegrityError, match="linux/arm64"):
        registry.content("skydrm/rms", raw, "linux/arm64")
    registry.close()


def test_nobody_answers_and_nonsense_answers():
    """Both are the network's fault, and worth another attempt."""
    with pytest.raises(RemoteError) as raised:
        DistributionRegistry(f"{LOOPBACK}:{free_port()}", limits=Limits(5)).manifest("a", "b")
    assert raised.value.retryable
    with RawServer(lambda _: b"SSH-2.0-OpenSSH\r\n") as server, pytest.raises(RemoteError):
        DistributionRegistry(server.host, limits=Limits(5)).manifest("a", "b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost/a", ImageReference("localhost", "a")),
        ("127.0.0.1:5000/a/b:8.1.0", ImageReference("127.0.0.1:5000", "a/b", "8.1.0")),
        ("r.example.com/a_b/c__d-e.f", ImageReference("r.example.com", "a_b/c__d-e.f")),
        (f"r.example.com/a@{DIGEST}", ImageReference("r.example.com", "a", "", DIGEST)),
        (f"r.example.com/a:1@{DIGEST}", ImageReference("r.example.com", "a", "1", DIGEST)),
        ("[::1]:5000/a", ImageReference("[::1]:5000", "a")),
    ],
)
def test_references_are_read_as_docker_reads_them(text: str, expected: ImageReference):
    """Registry, repository, tag, digest."""
    assert ImageReference.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rms",
        "skydrm/rms",
        "r.example.com/",
        "r.example.com/A",
        "https://r.example.com/a",
        "u:p@r.example.com/a",
        "r.example.com/a:",
        "r.example.com/a@sha256:00",
        "r.example.com/a/../b",
        "r.example.com/a b",
        "r.e\n/a",
    ],
)
def test_what_names_no_image_in_a_registry_is_the_callers_mistake(text: str):
    """A name without a registry is no guess at Docker Hub."""
    with pytest.raises(ConfigurationError, match="does not name an image"):
        ImageReference.parse(text)
