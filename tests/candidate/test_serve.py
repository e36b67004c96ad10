"""``candidate serve``: whatever pulls images on this machine gets them straight from the share."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.dockerd import DockerDaemon
from jenkins_release.sandbox.process import find_program
from tests.fixtures.damage import flip
from tests.fixtures.release import SERVICES, WITHOUT_DAEMON, Product, Shelf

PASSWORD = "open-sesame-42"


@contextlib.contextmanager
def serving(product: Product, *words: str, ident: str = "8.1.0/42") -> Iterator[dict[str, Any]]:
    """Serve a candidate in a process, and yield what it printed."""
    command = [sys.executable, "-m", "jenkins_release", "candidate", "serve", ident, "--json", *words]
    with subprocess.Popen(
        command, env=product.environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            text = ""
            while not text.endswith("}\n") or text.count("{") != text.count("}"):
                line = process.stdout.readline()
                assert line, process.communicate()
                text += line
            yield json.loads(text) | {"process": process}
        finally:
            process.terminate()
            process.communicate(timeout=30)


def ask(host: str, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    with contextlib.closing(http.client.HTTPConnection(host, timeout=30)) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()


@pytest.fixture
def exported(product: Product, shelf: Shelf, demo_images: list[str]) -> Product:
    shelf.on_share("candidate", product, Product.export)
    return product


@WITHOUT_DAEMON
def test_other_tools_pull_it(exported: Product, engine: DockerEngine, tmp_path: Path):
    """Docker, and skopeo, which checks every digest; archives with plain layers, and with gzip layers."""
    with serving(exported) as served:
        assert list(served) == ["candidate", "digest", "host", "images", "process"]
        assert served["digest"] == exported.digest()
        assert [each["reference"] for each in served["images"]] == [
            f"{served['host']}/skydrm/{name}:8.1.0-42" for name in SERVICES
        ]
        record = json.loads((exported.candidate() / "candidate.json").read_text())
        for image, recorded in zip(served["images"], record["images"], strict=True):
            copy = tmp_path / image["name"]
            skopeo = [find_program("skopeo", "skopeo"), "copy", "--src-tls-verify=false"]
            subprocess.run(
                [*skopeo, f"docker://{image['reference']}", f"dir:{copy}"], check=True, capture_output=True
            )
            manifest = (copy / "manifest.json").read_bytes()
            assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == image["digest"]
            docker = [find_program("docker", "docker.io"), "pull", image["reference"]]
            subprocess.run(
                docker, check=True, capture_output=True, env={**os.environ, "DOCKER_HOST": engine.url}
            )
            assert engine.config_digest(image["reference"]) == recorded["config_digest"]
            engine.untag(image["reference"])
        repository = "skydrm/rms"
        status, _, body = ask(served["host"], "GET", f"/v2/{repository}/tags/list")
        assert (status, json.loads(body)) == (200, {"name": repository, "tags": ["8.1.0-42"]})
        status, _, body = ask(served["host"], "GET", "/v2/_catalog")
        assert json.loads(body) == {"repositories": [f"skydrm/{name}" for name in sorted(SERVICES)]}


COMPOSE = """version: "2.4"
services:
  rms: {{image: "{}", network_mode: none}}
  viewer: {{image: "{}@{}", network_mode: none}}
"""


def test_compose_pulls_it_by_tag_and_by_digest_after_a_login(
    exported: Product, engine: DockerEngine, tmp_path: Path
):
    exported.environ["JENKINS_RELEASE_SERVE_PASSWORD"] = PASSWORD
    environ = {**os.environ, "DOCKER_HOST": engine.url, "DOCKER_CONFIG": str(tmp_path)}

    def call(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, env=environ, cwd=tmp_path, input=given, capture_output=True, text=True, check=False
        )

    with serving(exported) as served:
        rms, viewer = served["images"]
        names = [rms["reference"], f"{viewer['reference'].rpartition(':')[0]}@{viewer['digest']}"]
        (tmp_path / "docker-compose.yml").write_text(
            COMPOSE.format(names[0], *names[1].split("@")), encoding="utf-8"
        )
        assert "no basic auth credentials" in call("docker-compose", "pull").stderr
        login = ("docker", "login", "--username", "jenkins-release", "--password-stdin", served["host"])
        assert call(*login, given="other").returncode == 1
        assert call(*login, given=PASSWORD).returncode == 0
        pulled = call("docker-compose", "pull")
        assert pulled.returncode == 0, pulled.stderr
        assert set(names) <= set(engine.names())
    for name in names:
        engine.untag(name)


@pytest.mark.root
def test_containerd_pulls_it(exported: Product, docker_daemon: DockerDaemon, tmp_path: Path):
    """As the nodes of Kubernetes do."""
    ctr = ["ctr", "--address", str(docker_daemon.containerd), "--namespace", "k8s.io", "images"]
    with serving(exported) as served:
        host = f"http://{served['host']}"
        (tmp_path / served["host"]).mkdir()
        (tmp_path / served["host"] / "hosts.toml").write_text(
            f'server = "{host}"\n[host."{host}"]\n  capabilities = ["pull", "resolve"]\n'
        )
        rms, viewer = served["images"]
        by_digest = f"{viewer['reference'].rpartition(':')[0]}@{viewer['digest']}"
        subprocess.run([*ctr, "pull", "--plain-http", rms["reference"]], check=True, capture_output=True)
        subprocess.run([*ctr, "pull", "--hosts-dir", tmp_path, by_digest], check=True, capture_output=True)
        listed = subprocess.run([*ctr, "check"], check=True, capture_output=True, text=True).stdout
        for name in (rms["reference"], by_digest):
            assert f"{name} " in listed
            subprocess.run([*ctr, "remove", "--sync", name], check=True, capture_output=True)
        assert listed.count(" complete ") == 2


def test_it_answers_as_the_distribution_specification_says(exported: Product):
    with serving(exported) as served:
        host = served["host"]
        name = "/v2/skydrm/rms"
        status, headers, body = ask(host, "GET", f"{name}/manifests/8.1.0-42")
        digest = headers["docker-content-digest"]
        assert (status, f"sha256:{hashlib.sha256(body).hexdigest()}") == (200, digest)
        layer = json.loads(body)["layers"][0]
        blob = f"{name}/blobs/{layer['digest']}"
        head, headers, nothing = ask(host, "HEAD", blob)
        assert (head, headers["content-length"], nothing) == (200, str(layer["size"]), b"")
        status, _, whole = ask(host, "GET", blob)
        assert (status, f"sha256:{hashlib.sha256(whole).hexdigest()}") == (200, layer["digest"])
        for asked, first, last in [("10-19", 10, 19), ("10-", 10, layer["size"] - 1), ("0-0", 0, 0)]:
            status, headers, part = ask(host, "GET", blob, Range=f"bytes={asked}")
            assert (status, part) == (206, whole[first : last + 1])
            assert headers["content-range"] == f"bytes {first}-{last}/{layer['size']}"
        assert ask(host, "GET", blob, Range=f"bytes={layer['size']}-")[0] == 416
        for path, code in [
            (f"{name}/blobs/sha256:{'0' * 64}", "BLOB_UNKNOWN"),
            (f"{name}/manifests/8.0.0", "MANIFEST_UNKNOWN"),
            (f"{name}/manifests/sha256:{'0' * 64}", "MANIFEST_UNKNOWN"),
            ("/v2/other/tags/list", "NAME_UNKNOWN"),
            ("/v2/../etc/passwd", "NAME_INVALID"),
            ("/", "NAME_INVALID"),
        ]:
            status, _, body = ask(host, "GET", path)
            assert (status, json.loads(body)["errors"][0]["code"]) == (404, code), path
        for method, path in [
            ("POST", f"{name}/blobs/uploads/"),
            ("PUT", f"{name}/manifests/8.1.0-42"),
            ("DELETE", f"{name}/manifests/{digest}"),
        ]:
            status, _, body = ask(host, method, path)
            assert (status, json.loads(body)["errors"][0]["code"]) == (405, "UNSUPPORTED")


def test_a_page_in_a_browser_gets_nothing_by_a_name_of_its_own(exported: Product):
    """A name of an attacker's that leads to 127.0.0.1 ("DNS rebinding")."""
    with serving(exported) as served:
        port = served["host"].partition(":")[2]
        assert ask(served["host"], "GET", "/v2/_catalog", Host=f"evil.example:{port}")[0] == 421
        assert ask(served["host"], "GET", "/v2/_catalog", Host=f"localhost:{port}")[0] == 200


def test_with_a_password_clients_log_in(exported: Product):
    exported.environ["JENKINS_RELEASE_SERVE_PASSWORD"] = PASSWORD
    with serving(exported) as served:
        status, headers, _ = ask(served["host"], "GET", "/v2/")
        assert (status, headers["www-authenticate"]) == (401, 'Basic realm="jenkins-release"')
        for login, expected in [(f"jenkins-release:{PASSWORD}", 200), ("jenkins-release:other", 401)]:
            given = f"Basic {b64encode(login.encode()).decode()}"
            assert ask(served["host"], "GET", "/v2/", Authorization=given)[0] == expected
        process = served["process"]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 128 + signal.SIGINT
        assert PASSWORD not in out + err


def test_an_altered_layer_ends_it(exported: Product):
    """Its last bytes are not sent, and nothing more is served."""
    layer = json.loads((exported.candidate() / "candidate.json").read_text())["images"][0]["layers"][0]
    with serving(exported) as served:
        flip(exported.candidate() / "images/skydrm-8.1.0-42.tar", layer["offset"] + 100)
        with pytest.raises(http.client.IncompleteRead):
            ask(served["host"], "GET", f"/v2/skydrm/rms/blobs/{layer['digest']}")
        process = served["process"]
        _, err = process.communicate(timeout=30)
        assert process.returncode == 4
        assert f"expected {layer['digest']} of {layer['size']} bytes, found" in err
        with pytest.raises(ConnectionRefusedError):
            ask(served["host"], "GET", "/v2/")


def test_a_candidate_that_is_removed_ends_it(exported: Product):
    record = json.loads((exported.candidate() / "candidate.json").read_text())
    layer = record["images"][0]["layers"][0]
    with serving(exported) as served:
        shutil.rmtree(exported.candidate())
        with pytest.raises(http.client.IncompleteRead):
            ask(served["host"], "GET", f"/v2/skydrm/rms/blobs/{layer['digest']}")
        process = served["process"]
        _, err = process.communicate(timeout=30)
        assert process.returncode == 5, err
        assert "skydrm-8.1.0-42.tar" in err


def test_a_port_that_is_taken(exported: Product):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = exported.run("candidate", "serve", "8.1.0/42", "--port", port)
    assert done.status == 2
    assert f"port {port} of 127.0.0.1 cannot be used: Address already in use" in done.err
