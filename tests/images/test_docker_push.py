"""Pushing through a real daemon, to real registries and to one that refuses."""

from __future__ import annotations

import base64
import json
import logging
import urllib.request

import pytest

from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.images import DockerEngine
from jenkins_release.images.push_answer import PushRefused, push_error, read_push_answer
from jenkins_release.registry import RegistryLogin
from jenkins_release.registry.protocol import RepositoryNotFound, TagConflict
from jenkins_release.sandbox.process import free_port

PASSWORD = "correct horse"


@pytest.fixture
def pushable(engine, demo_images):
    """Tag the first demo image for a registry host; the tags go when the test ends."""
    tagged = []

    def tag(host: str, name: str = "skydrm/rms:8.1.0") -> str:
        tagged.append(f"{host}/{name}")
        engine.tag(demo_images[0], tagged[-1])
        return tagged[-1]

    yield tag
    for reference in tagged:
        engine.untag(reference)


def _login(host: str, password: str = PASSWORD) -> RegistryLogin:
    return RegistryLogin(host, "jenkins", password)


def _manifest(host: str, digest: str) -> dict:
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    request = urllib.request.Request(f"http://{host}/v2/skydrm/rms/manifests/{digest}", headers=accept)
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return json.load(answer)


def test_push_returns_the_digest_that_the_registry_has(engine, pushable, open_registry, demo_images):
    """The manifest behind the digest names the image's config."""
    digest = engine.push(pushable(open_registry.host), _login(open_registry.host))
    manifest = _manifest(open_registry.host, digest)
    assert manifest["config"]["digest"] == engine.config_digest(demo_images[0])


def test_push_again_gives_the_same_digest(engine, pushable, open_registry):
    """A repeated push, all layers there already, is no error."""
    reference = pushable(open_registry.host)
    login = _login(open_registry.host)
    assert engine.push(reference, login) == engine.push(reference, login)


def test_push_logs_in_with_the_credentials_of_the_call(engine, pushable, closed_registry):
    """The right password is let in; a wrong one is refused, and worth another login."""
    reference = pushable(closed_registry.host)
    with pytest.raises(RemoteError, match=r"push of .* failed") as caught:
        engine.push(reference, _login(closed_registry.host, "wrong"))
    assert caught.value.retryable
    assert engine.push(reference, _login(closed_registry.host)).startswith("sha256:")


def test_password_is_never_shown(engine, pushable, closed_registry, caplog):
    """Neither log, message nor repr has it, not even encoded, at any log level."""
    caplog.set_level(logging.DEBUG)
    with DockerEngine(engine.url) as fresh:
        fresh.push(pushable(closed_registry.host), _login(closed_registry.host))
        with pytest.raises(RemoteError) as caught:
            fresh.push(pushable(closed_registry.host), _login(closed_registry.host, "wrong secret"))
    shown = f"{caplog.text} {caught.value!r} {caught.value.diagnostics()} {_login('h')!r}"
    encoded = base64.urlsafe_b64encode(b'"password": "correct horse"').decode().strip("=")
    for secret in (PASSWORD, "wrong secret", encoded[2:-4]):
        assert secret not in shown


def test_login_for_another_registry_is_not_sent(engine, pushable, open_registry):
    """Credentials go only to the registry that they are for."""
    with pytest.raises(ConfigurationError, match=r"the login is for 127\.0\.0\.1:9"):
        engine.push(pushable(open_registry.host), _login("127.0.0.1:9"))


def test_image_that_the_daemon_lacks_is_a_matter_of_configuration(engine, open_registry):
    """The error names the reference."""
    reference = f"{open_registry.host}/skydrm/rms:nope"
    with pytest.raises(ConfigurationError, match=f"push of {reference} failed"):
        engine.push(reference, _login(open_registry.host))


def test_registry_that_is_down_is_worth_a_retry(engine, pushable):
    """Nobody listens on the port: the daemon's answer is read, although its status is 200."""
    host = f"127.0.0.1:{free_port()}"
    with pytest.raises(RemoteError, match="connection refused") as caught:
        engine.push(pushable(host), _login(host))
    assert caught.value.retryable


def test_registry_without_a_name_is_not_worth_a_retry(engine, pushable):
    """A host that no DNS knows stays unknown."""
    host = "registry.invalid"
    with pytest.raises(RemoteError, match=r"push of .* failed") as caught:
        engine.push(pushable(host), _login(host))
    assert host in caught.value.message


def test_read_only_registry_is_not_worth_a_retry(engine, pushable, read_only_registry):
    """A registry under maintenance refuses every push."""
    with pytest.raises(RemoteError, match=r"push of .* failed") as caught:
        engine.push(pushable(read_only_registry.host), _login(read_only_registry.host))
    assert not caught.value.retryable
    assert "read-only" in caught.value.hint


CONTAINERD = "failed to push: unexpected status from"
ECR_IMMUTABLE = (
    "The image tag '8.1.0' already exists in the 'skydrm/rms' repository and cannot be overwritten "
    "because the tag is immutable."
)
ECR_NO_REPOSITORY = (
    "The repository with name 'skydrm/rms' does not exist in the registry with id '123456789012'"
)
ECR_EXPIRED = "Your authorization token has expired. Reauthenticate and try again."
ECR_DENIED = (
    "User: arn:aws:iam::123456789012:user/x is not authorized to perform: ecr:PutImage on resource: "
    "arn:aws:ecr:eu-west-1:123456789012:repository/skydrm/rms because no identity-based policy allows it"
)


@pytest.mark.parametrize(
    ("status", "code", "message", "kind", "retryable"),
    [
        (400, "TAG_INVALID", ECR_IMMUTABLE, TagConflict, False),
        (404, "NAME_UNKNOWN", ECR_NO_REPOSITORY, RepositoryNotFound, False),
        (403, "DENIED", ECR_EXPIRED, PushRefused, True),
        (403, "DENIED", ECR_DENIED, PushRefused, False),
        (401, "UNAUTHORIZED", "authentication required", PushRefused, True),
        (429, "TOOMANYREQUESTS", "Rate exceeded", PushRefused, True),
        (500, "UNKNOWN", "unknown error", PushRefused, True),
        (503, "", "", PushRefused, True),
        (502, "", "", PushRefused, True),
        (403, "", "", PushRefused, False),
        (400, "MANIFEST_INVALID", "manifest invalid", PushRefused, False),
        (405, "UNSUPPORTED", "The operation is unsupported.", PushRefused, False),
    ],
)
def test_refusals_are_told_apart(engine, pushable, refusing_registry, status, code, message, kind, retryable):
    """What a registry answers becomes the error that a caller can act on."""
    refusing_registry.refuse(status, code, message)
    with pytest.raises(RemoteError, match=r"push of .*/skydrm/rms:8\.1\.0 failed") as caught:
        engine.push(pushable(refusing_registry.host), _login(refusing_registry.host))
    assert type(caught.value) is kind
    assert caught.value.retryable is retryable


@pytest.mark.parametrize(
    ("message", "kind", "retryable"),
    [
        ("denied: " + ECR_EXPIRED, PushRefused, True),
        ("denied: requested access to the resource is denied", PushRefused, False),
        ("no basic auth credentials", PushRefused, True),
        ("unauthorized: incorrect username or password", PushRefused, True),
        ("name unknown: " + ECR_NO_REPOSITORY, RepositoryNotFound, False),
        ("tag invalid: " + ECR_IMMUTABLE, TagConflict, False),
        ('Get "https://r/v2/": net/http: TLS handshake timeout', PushRefused, True),
        ('Put "https://r/v2/": dial tcp 1.2.3.4:443: i/o timeout', PushRefused, True),
        ("write tcp 1.2.3.4:1->5.6.7.8:443: write: connection reset by peer", PushRefused, True),
        ("write: broken pipe", PushRefused, True),
        ("EOF", PushRefused, True),
        ("unexpected EOF", PushRefused, True),
        ("context deadline exceeded", PushRefused, True),
        ("received unexpected HTTP status: 503 Service Unavailable", PushRefused, True),
        ("error parsing HTTP 429 response body: invalid character", PushRefused, True),
        ("toomanyrequests: Rate exceeded", PushRefused, True),
        ("blob upload unknown", PushRefused, True),
        ('Get "https://r/v2/": dial tcp: lookup r: no such host', PushRefused, False),
        ('Get "https://r/v2/": x509: certificate signed by unknown authority', PushRefused, False),
        ("http: server gave HTTP response to HTTPS client", PushRefused, False),
        ("something nobody has seen before", PushRefused, False),
        (
            f"{CONTAINERD} HEAD request to https://r/v2/skydrm/rms/blobs/sha256:0: 401 Unauthorized",
            PushRefused,
            True,
        ),
        (
            f"{CONTAINERD} PUT request to https://r/v2/skydrm/rms/manifests/8.1.0: 403 Forbidden",
            PushRefused,
            False,
        ),
        (
            f"{CONTAINERD} PUT request to https://r/v2/skydrm/rms/manifests/8.1.0: 400 Bad Request",
            PushRefused,
            False,
        ),
        (
            f"{CONTAINERD} PUT request to https://r/v2/skydrm/rms/manifests/8.1.0: 503 Service",
            PushRefused,
            True,
        ),
        (
            f"{CONTAINERD} POST request to https://r/v2/a/blobs/uploads/: 404 Not Found",
            RepositoryNotFound,
            False,
        ),
        (
            f"{CONTAINERD} POST request to https://r/v2/a/blobs/uploads/: 405 Method Not Allowed",
            PushRefused,
            False,
        ),
        ("unknown: Method not allowed\n", PushRefused, False),
    ],
)
def test_messages_of_daemons_are_told_apart(message, kind, retryable):
    """The sentences of Docker and ECR, word for word."""
    error = push_error("r/skydrm/rms:8.1.0", message)
    assert (type(error), error.retryable) == (kind, retryable)
    assert message in error.message


@pytest.mark.parametrize(
    "line",
    [
        {"progressDetail": {}, "aux": {"Tag": "8.1.0", "Digest": f"sha256:{'1' * 64}", "Size": 581}},
        {"status": f"8.1.0: digest: sha256:{'1' * 64} size: 581"},
    ],
    ids=["classic store", "containerd store"],
)
def test_digest_is_found_in_either_form(line):
    """A containerd store gives it in a sentence only; another tag's digest is not taken."""
    other = {"status": f"8.0.0: digest: sha256:{'2' * 64} size: 581", "aux": None}
    task = _Recorder()
    assert (
        read_push_answer("r/rms:8.1.0", "8.1.0", [{"status": "Pushed"}, line, other], task)
        == f"sha256:{'1' * 64}"
    )
    with pytest.raises(RemoteError, match="ended without the manifest's digest") as caught:
        read_push_answer("r/rms:8.1.0", "8.1.0", [{"status": "Pushed"}, other], task)
    assert caught.value.retryable


def test_names_in_a_message_do_not_decide():
    """A repository called like an error is still just not there."""
    text = "name unknown: The repository with name 'denied/eof-expired' does not exist in the registry"
    assert isinstance(push_error("r/denied/eof-expired:1", text), RepositoryNotFound)


class _Recorder:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.title, self.bytes, self.ended = "", 0, False

    def task(self, title, total=None):
        self.title = title
        return self

    def advance(self, count):
        self.bytes += count

    def waits_for(self, what):
        assert what == "the Docker daemon"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.ended = True


def test_push_reports_its_bytes(engine, demo_images, pushable, refusing_registry):
    """Progress counts what the daemon sends, and ends with the push."""
    progress = _Recorder()
    with DockerEngine(engine.url, progress=progress) as reporting, pytest.raises(RemoteError):
        refusing_registry.refuse(503)
        reporting.push(pushable(refusing_registry.host), _login(refusing_registry.host))
    assert progress.ended
    assert progress.bytes > 1 << 20
