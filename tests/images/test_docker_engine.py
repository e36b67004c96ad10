"""The Docker engine against a real daemon: inspect, save, load, tag."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.images import ArchiveReader, DockerEngine
from jenkins_release.sandbox.dockerd import DockerDaemon
from jenkins_release.sandbox.process import as_root
from jenkins_release.sandbox.sample_images import build_images, demo_archive, demo_references
from tests.fixtures.archives import (
    STARTS,
    OciLayout,
    docker_members,
    join,
    layer_beginning,
    layer_tar,
    member,
    to_json,
)
from tests.fixtures.docker import BASE_SIZE, OWN_SIZE
from tests.fixtures.raw_server import RawServer, answer


def _index(chunks):
    reader = ArchiveReader()
    for chunk in chunks:
        reader.feed(chunk)
    return reader.finish()


def _has(engine: DockerEngine, reference: str) -> bool:
    try:
        engine.inspect(reference)
    except ConfigurationError:
        return False
    return True


@contextlib.contextmanager
def _scripted_daemon(folder: Path, said: bytes) -> Iterator[str]:
    """A socket that answers the version like a daemon, then anything else with ``said``, and hangs up."""
    version = answer(200, b'{"ApiVersion": "1.41"}')
    with RawServer(
        lambda request: version if request.target == "/version" else said, folder / "d.sock"
    ) as server:
        yield server.url


def _chunked(*pieces: bytes, end: bool) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + body + (b"0\r\n\r\n" if end else b"")


def test_inspect_describes_the_image(engine, demo_images):
    """Platform, size and diff_ids, as the archive has them."""
    found = engine.inspect(demo_images[0])
    (image,) = _index(engine.save(demo_images[:1])).images
    assert (found.reference, found.platform, found.diff_ids) == (
        demo_images[0],
        image.platform,
        image.diff_ids,
    )
    assert found.size > BASE_SIZE + OWN_SIZE


def test_unknown_image_is_a_matter_of_configuration(engine, docker_daemon):
    """The error names the image and the daemon."""
    with pytest.raises(ConfigurationError, match=r"no image nope:1") as caught:
        engine.inspect("nope:1")
    assert docker_daemon.base_url in caught.value.message


def test_save_streams_all_images_with_shared_layers_once(engine, demo_images):
    """One archive holds all images; the base is in it once."""
    index = _index(engine.save(demo_images))
    assert {name for image in index.images for name in image.references} == set(demo_images)
    assert len({image.layers[0] for image in index.images}) == 1
    one = _index(engine.save(demo_images[:1]))
    assert index.size < 4 * one.size


def test_save_gives_the_identity_that_was_built(engine, demo_images):
    """Config digest and diff_ids survive load and save."""
    built = _index(demo_archive("8.1.0", "42", base_size=BASE_SIZE, own_size=OWN_SIZE))
    saved = _index(engine.save(demo_images))
    assert {(i.references, i.config_digest, i.diff_ids) for i in saved.images} == {
        (i.references, i.config_digest, i.diff_ids) for i in built.images
    }


def test_save_names_the_image_that_is_missing(engine, demo_images):
    """One of several is unknown: the error says which."""
    with pytest.raises(ConfigurationError, match="no image skydrm/nope:1"):
        list(engine.save([demo_images[0], "skydrm/nope:1"]))
    with pytest.raises(ConfigurationError, match="no images to save"):
        list(engine.save([]))


def test_name_without_a_tag_means_latest(engine, demo_images):
    """Docker would save all tags of the repository."""
    with pytest.raises(ConfigurationError, match="no image skydrm/rms:latest"):
        list(engine.save(["skydrm/rms"]))
    assert len(_index(engine.save([demo_images[0], demo_images[0]])).images) == 1


def test_save_may_be_abandoned(engine, demo_images):
    """Closing the stream early leaves the engine usable."""
    stream = engine.save(demo_images)
    next(stream)
    stream.close()
    assert engine.inspect(demo_images[0]).reference == demo_images[0]


def test_save_that_is_cut_off_is_noticed(tmp_path):
    """A dropped connection, an early end, and an error written into the stream are no archive."""
    whole = join(docker_members({"a:1": [layer_tar("a")]}))
    said = b'{"errorDetail":{"message":"%s"},"error":"%s"}\r\n'
    full, busy = b"write /tmp/x: no space left on device", b"unexpected EOF"
    cases = [
        (_chunked(whole[:2000], end=False), "broke", True),
        (_chunked(whole[:2048], end=True), "ended without the end of an archive", True),
        (_chunked(end=True), "ended without the end of an archive", True),
        (_chunked(whole[:2048], said % (full, full), end=True), "is full", False),
        (_chunked(whole[:2048], said % (busy, busy), end=True), "says: unexpected EOF", True),
    ]
    for number, (stream, message, retryable) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        with _scripted_daemon(folder, stream) as url, DockerEngine(url) as engine:
            with pytest.raises(RemoteError, match=message) as caught:
                list(engine.save(["a:1"]))
            assert caught.value.retryable is retryable


def test_silent_daemon_is_given_up(tmp_path):
    """The time-out of a stream is honoured and worth a retry."""
    path = tmp_path / "d.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with (
            DockerEngine(f"unix://{path}", timeout_s=0.1) as engine,
            pytest.raises(RemoteError, match="did not answer in time") as caught,
        ):
            engine.inspect("a:1")
    assert caught.value.retryable


def test_load_gives_the_references_of_the_archive(engine):
    """A loaded image has the archive's names and identity."""
    build_images(engine, "7.0.0", "1", names=["rms"])
    (image,) = _index(demo_archive("7.0.0", "1", names=["rms"])).images
    assert engine.inspect("skydrm/rms:7.0.0-1").diff_ids == image.diff_ids
    engine.untag("skydrm/rms:7.0.0-1")


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        ([b"x" * 5_000_000], "invalid tar header"),
        ([b""], "does not accept the archive"),
        ([bytes(1024)], "does not accept the archive"),
        ([member("manifest.json", b"[]"), bytes(1024)], "found no image in the archive|filtered out"),
        ([member("manifest.json", b"{"), bytes(1024)], "unexpected E"),
        ([join(docker_members({"cut:1": [layer_tar("cut", size=99_000)]}))[:50_000]], "unexpected EOF"),
        (
            [
                join(
                    [
                        member("c.json", OciLayout().put(b"")["digest"].encode()),
                        member("manifest.json", to_json([{"Config": "c.json", "Layers": ["gone.tar"]}])),
                    ]
                )
            ],
            "invalid character|not found",
        ),
        *(
            (
                [join(docker_members({"taken:1": [layer_beginning(STARTS[kind])]}))],
                "cannot decompress a layer",
            )
            for kind in ("gzip", "bzip2", "xz")
        ),
    ],
)
def test_bad_archives_are_an_integrity_matter(engine, archive, message):
    """What the daemon says of a damaged archive comes out as an error, never as success."""
    with pytest.raises(IntegrityError, match=message) as caught:
        engine.load(archive)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "failure", [IntegrityError("digest differs"), OSError("share gone"), KeyboardInterrupt()]
)
@pytest.mark.parametrize("when", ["middle", "after the last byte"])
def test_failing_source_loads_nothing(engine, failure, when):
    """The source's own error comes out unchanged, and the daemon has no new image."""
    reference = demo_references("6.0.0", "1", names=["rms"])[0]
    chunks = list(demo_archive("6.0.0", "1", names=["rms"]))

    def source() -> Iterator[bytes]:
        for number, chunk in enumerate(chunks):
            if when == "middle" and number == len(chunks) // 2:
                raise failure
            yield chunk
        raise failure

    with pytest.raises(type(failure)) as caught:
        engine.load(source())
    assert caught.value is failure
    assert not _has(engine, reference)
    engine.load(chunks)
    assert _has(engine, reference)
    engine.untag(reference)


def test_config_digest_is_the_archives(engine, demo_images):
    """On the classic store it is the image ID, without a look at the layers."""
    for image in _index(engine.save(demo_images)).images:
        assert engine.config_digest(image.references[0]) == image.config_digest


def test_config_digest_is_read_from_the_bytes_where_the_id_is_something_else(
    engine, demo_images, monkeypatch
):
    """On a containerd store the ID is a manifest digest: the image is saved and its config hashed."""
    expected = engine.config_digest(demo_images[0])
    with DockerEngine(engine.url) as other:
        client = other._client()
        containerd = {
            "Driver": "overlayfs",
            "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
        }
        inspected = {**client.inspect_image(demo_images[0]), "Id": f"sha256:{'0' * 64}"}
        monkeypatch.setattr(client, "info", lambda: containerd)
        monkeypatch.setattr(client, "inspect_image", lambda _: inspected)
        assert other.config_digest(demo_images[0]) == expected


def test_tag_and_untag(engine, demo_images):
    """A second name comes and goes; a missing one is fine; the image stays."""
    engine.tag(demo_images[0], "registry.example.com/rms:1")
    assert engine.config_digest("registry.example.com/rms:1") == engine.config_digest(demo_images[0])
    engine.untag("registry.example.com/rms:1")
    engine.untag("registry.example.com/rms:1")
    assert not _has(engine, "registry.example.com/rms:1")
    assert _has(engine, demo_images[0])
    with pytest.raises(ConfigurationError, match="no image nope:1"):
        engine.tag("nope:1", "other:1")


def test_daemon_is_found_by_the_environment(docker_daemon, demo_images):
    """DOCKER_HOST of the given environment counts, the process's own does not."""
    with DockerEngine(environ={"DOCKER_HOST": docker_daemon.base_url}) as engine:
        assert engine.url == docker_daemon.base_url
        assert engine.inspect(demo_images[0]).platform
    assert DockerEngine(environ={}).url == "unix:///var/run/docker.sock"


def test_a_host_that_is_not_there_is_no_slow_daemon():
    """RFC 2606 gives .invalid to nobody: a host's name with a slip said that the daemon is under load."""
    with (
        DockerEngine("tcp://docker.invalid:2375") as nobody,
        pytest.raises(RemoteError, match=r"'docker\.invalid' of tcp://docker\.invalid:2375") as caught,
    ):
        nobody.ping()
    assert "spelling" in caught.value.hint
    assert caught.value.retryable


def test_absent_daemon_is_worth_a_retry(tmp_path):
    """Nothing is connected before the first call, which names the URL and what to do."""
    for url in (f"unix://{tmp_path}/nobody.sock", "tcp://127.0.0.1:1"):
        engine = DockerEngine(url)
        with pytest.raises(RemoteError, match=f"no Docker daemon answers at {url}") as caught:
            engine.inspect("a:1")
        assert caught.value.retryable
        assert "DOCKER_HOST" in caught.value.hint


def test_url_with_a_password_is_refused_without_showing_it():
    """Docker has no use for one, and the SDK would show it."""
    with pytest.raises(ConfigurationError, match="contains a password") as caught:
        DockerEngine("tcp://user:s3cret@127.0.0.1:1").ping()
    assert "s3cret" not in f"{caught.value} {caught.value.diagnostics()}"


def test_wrong_url_is_a_matter_of_configuration(tmp_path):
    """A URL that is none, and TLS settings without files."""
    with pytest.raises(ConfigurationError, match="cannot be used"):
        DockerEngine("carrier-pigeon://loft").ping()
    settings = {
        "DOCKER_HOST": "tcp://127.0.0.1:1",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(tmp_path),
    }
    with pytest.raises(ConfigurationError, match="TLS settings"):
        DockerEngine(environ=settings).ping()


_AS_NOBODY = """
import os, sys
from jenkins_release.base.errors import RemoteError
from jenkins_release.images import DockerEngine
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    DockerEngine(sys.argv[1]).ping()
except RemoteError as error:
    print(error, error.hint, error.retryable)
"""


def test_forbidden_socket_is_not_worth_a_retry(tmp_path_factory):
    """A user outside the socket's group is told so."""
    folder = tmp_path_factory.mktemp("forbidden")
    for parent in [folder, *folder.parents]:
        if os.access(parent, os.W_OK) and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "d.sock"))
        (folder / "d.sock").chmod(0)
        listener.listen()
        shown = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, f"unix://{folder}/d.sock"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    assert "may not use the Docker daemon's socket" in shown
    assert "group" in shown
    assert shown.strip().endswith("False")


@pytest.fixture
def small_daemon(tmp_path_factory) -> Iterator[DockerDaemon]:
    """A daemon with 24 MiB of disk."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "data").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder / "data")]
    subprocess.run(as_root(mount), check=True)
    daemon = DockerDaemon(folder)
    try:
        daemon.start(tied=True)
        yield daemon
    finally:
        daemon.stop()
        subprocess.run(as_root(["umount", str(folder / "data")]), check=True)
        daemon.remove_data()


def test_full_disk_of_the_daemon_is_named(small_daemon):
    """Not worth a retry; the hint says where to make room, and nothing half-loaded stays."""
    with DockerEngine(small_daemon.base_url) as engine:
        with pytest.raises(RemoteError, match=r"disk of the Docker daemon at .* is full") as caught:
            build_images(engine, "8.1.0", "42", names=["rms"], own_size=60 << 20)
        assert not caught.value.retryable
        assert "data root" in caught.value.hint
        assert not _has(engine, "skydrm/rms:8.1.0-42")
