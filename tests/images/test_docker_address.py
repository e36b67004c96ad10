"""Where a daemon listens: found as the Docker command line does, and refused if it cannot work."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.images import DockerEngine
from jenkins_release.images.docker_address import DEFAULT_URL, find_daemon
from tests.fixtures.listener import talking
from tests.fixtures.raw_server import answer

WRONG = {
    "fd://": ("systemd", "write unix:///var/run/docker.sock"),
    "/var/run/docker.sock": ("it is a path", "write unix:///var/run/docker.sock"),
    "docker.sock": ("it is a path", "write unix://"),
    "unix://var/run/docker.sock": ("begins with /", "write unix:///var/run/docker.sock"),
    "unix:///run/docker.sock?x=1": ("? or #", ""),
    f"unix:///{'d' * 107}": ("has 108 bytes", "shorter"),
    "tcp://": ("names no host", ""),
    "tcp://:2375": ("names no host", ""),
    "tcp://build.example": ("names no port", "tcp://build.example:2376"),
    "tcp://build.example:port": ("Port could not be cast", ""),
    "tcp://build.example:99999": ("Port out of range", ""),
    "tcp://[::1": ("Invalid IPv6 URL", ""),
    "tcp://build..example:2375": ("its host name is invalid", ""),
    "tcp://build.example:2375?tls=1": ("? or #", ""),
    "build.example": ("names no scheme", "tcp://host:2376"),
    "npipe:////./pipe/docker_engine": ("only on Windows", ""),
    "carrier-pigeon://loft": ("carrier-pigeon:// is not supported", "unix:///var/run/docker.sock"),
    "'unix:///var/run/docker.sock'": ("it is in quotes", "without quotes"),
    '"tcp://build.example:2376"': ("it is in quotes", "without quotes"),
    "tcp://build.example :2375": ("a space", ""),
    "ssh://": ("names no host", ""),
    "ssh://build.example/run/docker.sock": ("must not have a path", "DOCKER_HOST of the account"),
}


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.parametrize("given", [True, False], ids=["docker.host", "DOCKER_HOST"])
def test_an_address_of_a_wrong_form_says_what_to_write(text: str, given: bool):
    """Nothing is connected. The variable is named if the address came from there."""
    why, hint = WRONG[text]
    with pytest.raises(ConfigurationError) as caught:
        find_daemon(*((text, {}) if given else (None, {"DOCKER_HOST": text})))
    place = "" if given else " in DOCKER_HOST"
    assert caught.value.message.startswith(f"the Docker daemon's address {text!r}{place} cannot be used: ")
    assert why in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", DEFAULT_URL),
        (" ", DEFAULT_URL),
        ("unix://", DEFAULT_URL),
        (" unix:///run/user/1000/docker.sock\n", "unix:///run/user/1000/docker.sock"),
        ("http+unix:///run/docker.sock", "unix:///run/docker.sock"),
        ("unix:///a path/docker.sock".replace(" ", "%20"), "unix:///a%20path/docker.sock"),
        ("build.example:2375", "tcp://build.example:2375"),
        ("[::1]:2375", "tcp://[::1]:2375"),
        ("tcp://build_1.example:2375/proxy", "tcp://build_1.example:2375/proxy"),
    ],
)
def test_an_address_that_docker_takes_is_taken(text: str, url: str):
    """Spaces around it do no harm; an empty one is none."""
    assert find_daemon(text, {}).url == url
    assert find_daemon(None, {"DOCKER_HOST": text}).url == url


def test_ssh_without_its_package_is_told_at_once(monkeypatch: pytest.MonkeyPatch):
    """The SDK needs paramiko for it, which is an extra."""
    monkeypatch.setitem(sys.modules, "paramiko", None)
    with pytest.raises(ConfigurationError, match="needs the package paramiko") as caught:
        DockerEngine("ssh://ci@build.example").ping()
    assert "jenkins-release[ssh]" in caught.value.hint


def test_a_context_is_found_as_docker_finds_it(tmp_path: Path):
    """DOCKER_HOST goes before DOCKER_CONTEXT, that before `docker context use`."""
    environ = {"DOCKER_CONFIG": str(tmp_path / "docker"), "HOME": str(tmp_path)}

    def docker(*words: str) -> None:
        command = ["docker", "context", *words]
        subprocess.run(command, check=True, capture_output=True, env={**environ, "PATH": os.environ["PATH"]})

    for name in ("one", "two"):
        docker("create", name, "--docker", f"host=unix:///run/{name}.sock")
    assert find_daemon(None, environ).url == DEFAULT_URL
    docker("use", "one")
    assert find_daemon(None, environ).url == "unix:///run/one.sock"
    assert find_daemon(None, {"HOME": str(tmp_path)}).url == DEFAULT_URL
    assert find_daemon(None, {**environ, "DOCKER_CONTEXT": "two"}).url == "unix:///run/two.sock"
    assert find_daemon(None, {**environ, "DOCKER_CONTEXT": "default"}).url == DEFAULT_URL
    stated = {**environ, "DOCKER_CONTEXT": "two", "DOCKER_HOST": "unix:///run/host.sock"}
    assert find_daemon(None, stated).url == "unix:///run/host.sock"
    assert find_daemon("unix:///run/given.sock", stated).url == "unix:///run/given.sock"
    with pytest.raises(ConfigurationError, match=r"no Docker context 'three' \(DOCKER_CONTEXT\)") as caught:
        find_daemon(None, {**environ, "DOCKER_CONTEXT": "three"})
    assert "docker context ls" in caught.value.hint
    with pytest.raises(ConfigurationError, match="no Docker context 'three'"):
        find_daemon(None, {"DOCKER_CONTEXT": "three"})
    docker("create", "four", "--docker", "host=tcp://four.example:2376")
    assert find_daemon(None, {**environ, "DOCKER_CONTEXT": "four"}).tls is None


def certificates(folder: Path, *, passphrase: bytes = b"") -> None:
    """Write ca.pem, cert.pem and key.pem: one certificate that signed itself."""
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    certificate = built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        protection = serialization.BestAvailableEncryption(passphrase)
    kinds = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    (folder / "ca.pem").write_bytes(certificate)
    (folder / "cert.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key.private_bytes(*kinds, protection))


def test_tls_needs_certificates_that_fit(tmp_path: Path):
    """What is missing is named. A key with a passphrase asks nobody for it."""
    folder = tmp_path / ".docker"
    home = {"HOME": str(tmp_path), "DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_TLS_VERIFY": "1"}
    with pytest.raises(
        ConfigurationError, match=r"DOCKER_TLS_VERIFY: \S+/.docker has no ca\.pem, cert\.pem, key\.pem"
    ):
        find_daemon(None, home)
    certificates(folder)
    assert find_daemon(None, home).tls is not None
    assert find_daemon("tcp://127.0.0.1:1", home).tls is not None
    assert find_daemon("unix:///run/docker.sock", home).tls is None
    assert find_daemon(None, {**home, "DOCKER_TLS_VERIFY": ""}).tls is None
    (folder / "ca.pem").unlink()
    with pytest.raises(ConfigurationError, match=r"has no ca\.pem"):
        find_daemon(None, home)
    other = {**home, "DOCKER_CERT_PATH": str(tmp_path / "other")}
    certificates(tmp_path / "other", passphrase=b"secret")
    with pytest.raises(ConfigurationError, match=r"DOCKER_CERT_PATH: the certificates in .* cannot be read"):
        find_daemon(None, other)
    (tmp_path / "other" / "cert.pem").write_text("none")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        find_daemon(None, other)


@pytest.fixture
def answering() -> Iterator[tuple[str, list[bytes]]]:
    """A server that sends the same answer to everybody; yields its address, and the answer to be set."""
    said = [b""]

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)  # be it HTTP or TLS
        connection.sendall(said[0])

    with talking(talk) as port:
        yield f"tcp://127.0.0.1:{port}", said


def test_what_listens_there_may_be_no_daemon_or_want_tls(answering, tmp_path: Path):
    """No other attempt mends either, and the hint says what does."""
    url, said = answering
    plain = {"Content_Type": "text/plain", "Connection": "close"}
    said[0] = answer(400, b"Client sent an HTTP request to an HTTPS server.\n", **plain)
    with pytest.raises(ConfigurationError, match=f"the Docker daemon at {url} requires TLS") as caught:
        DockerEngine(url, environ={}).ping()
    assert "DOCKER_TLS_VERIFY=1" in caught.value.hint
    certificates(tmp_path)
    stated = {"DOCKER_HOST": url, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    with pytest.raises(ConfigurationError, match=f"the TLS settings do not match the Docker daemon at {url}"):
        DockerEngine(environ=stated).ping()
    others = [b"<h1>Welcome</h1>", b'{"name": "something else"}', b"[]", b'{"ApiVersion": "x"}']
    for status, body in (*((200, body) for body in others), (404, b"<h1>Nothing</h1>")):
        said[0] = answer(status, body, **plain)
        with pytest.raises(ConfigurationError, match="cannot be used"):
            DockerEngine(url, environ={}).ping()


def test_a_path_that_is_no_socket_is_a_mistake(tmp_path: Path):
    """A folder, or a file that is left where a socket was."""
    for path in (tmp_path, tmp_path / "docker.sock"):
        if path != tmp_path:
            path.touch()
        with pytest.raises(ConfigurationError, match=f"{path} is not a socket"):
            DockerEngine(f"unix://{path}").ping()
