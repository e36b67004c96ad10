"""``/v2/`` of the ECR front: what ECR does differently from a plain registry, and faults on order."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from jenkins_release.registry import EcrRegistry
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.front.front import EcrFront
from jenkins_release.sandbox.process import find_program
from tests.fixtures.ecr import PULL_ONLY
from tests.fixtures.ecr_push import OCI_MANIFEST, Pusher, digest_of

REPOSITORY = "skydrm/rms"
ABSENT = "sha256:" + "0" * 64


@pytest.fixture(autouse=True)
def repository(registry: EcrRegistry) -> None:
    """The immutable repository that the tests use."""
    registry.create_repository(REPOSITORY)


def error_of(answer: requests.Response) -> tuple[int, str, str]:
    """Return status, code and message of a refusal."""
    first = answer.json()["errors"][0]
    return answer.status_code, first["code"], first["message"]


def oci_layout(folder: Path) -> Path:
    """Write an OCI layout with one image of two layers; returns the folder."""
    (folder / "blobs/sha256").mkdir(parents=True)

    def add(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (folder / "blobs/sha256" / digest).write_bytes(data)
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": f"sha256:{digest}",
            "size": len(data),
        }

    plain = [bytes([number]) * 300_000 for number in (1, 2)]
    # Compressed already: skopeo would compress plain layers, and so change the manifest.
    layers = [add(gzip.compress(data, mtime=0), "layer.v1.tar+gzip") for data in plain]
    rootfs = {"type": "layers", "diff_ids": [digest_of(data) for data in plain]}
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
    document |= {"config": add(json.dumps(config).encode(), "config.v1+json"), "layers": layers}
    index = {"schemaVersion": 2, "manifests": [add(json.dumps(document).encode(), "manifest.v1+json")]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def skopeo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Copy with skopeo, a client that knows nothing of this package."""
    command = [find_program("skopeo", "skopeo"), "--insecure-policy", "copy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_real_client_pushes_and_pulls(registry: EcrRegistry, tmp_path: Path) -> None:
    """Skopeo pushes an image; it reads back through the API and comes out again unchanged."""
    login = registry.login()
    layout, target = oci_layout(tmp_path / "in"), f"docker://{login.registry}/{REPOSITORY}:8.1.0"
    creds = f"{login.username}:{login.password}"
    done = skopeo("--dest-tls-verify=false", "--dest-creds", creds, f"oci:{layout}", target)
    assert done.returncode == 0, done.stderr
    pushed = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    image = registry.images(REPOSITORY, ["8.1.0"])["8.1.0"]
    assert image.digest == pushed
    assert registry.missing_layers(REPOSITORY, [*image.layers, image.config_digest]) == set()
    done = skopeo("--src-tls-verify=false", "--src-creds", creds, target, f"dir:{tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    assert digest_of((tmp_path / "out/manifest.json").read_bytes()) == pushed
    again = skopeo("--dest-tls-verify=false", "--dest-creds", creds, f"oci:{layout}", target)
    assert "tag invalid" in again.stderr


def test_without_a_token_there_is_a_challenge(ecr: EcrFront, pusher: Pusher) -> None:
    """No token, a made-up token, and the wrong user name are all refused with ECR's challenge."""
    for credentials in (None, ("AWS", "made-up"), ("root", pusher.http.auth[1])):
        answer = requests.get(f"{ecr.endpoint}/v2/", auth=credentials, timeout=10)
        assert error_of(answer) == (401, "UNAUTHORIZED", "Not Authorized")
        challenge = f'Basic realm="{ecr.endpoint}/",service="ecr.amazonaws.com"'
        assert answer.headers["WWW-Authenticate"] == challenge


def test_a_token_lives_as_long_as_it_was_issued_for(
    front: Callable[..., EcrFront],
) -> None:
    """After its lifetime a token is refused with AWS's text; a new one works."""
    now = [1_000_000.0]
    ecr = front(token_lifetime_s=3600, clock=lambda: now[0])
    arn = ecr.state.user_arn("release")
    pusher = Pusher(ecr.endpoint, ecr.state.issue_token(arn)[0])
    assert pusher.call("GET", "").status_code == 200
    now[0] += 3600
    expired = "Your authorization token has expired. Reauthenticate and try again."
    assert error_of(pusher.call("GET", "")) == (403, "DENIED", expired)
    assert Pusher(ecr.endpoint, ecr.state.issue_token(arn)[0]).call("GET", "").status_code == 200


def test_all_tokens_can_be_made_to_expire(ecr: EcrFront, pusher: Pusher) -> None:
    """The fault takes effect in the middle of a push."""
    ecr.faults.add(Fault(method="PATCH|PUT", path="/blobs/uploads/", expire_tokens=True))
    begun = pusher.call("POST", f"{REPOSITORY}/blobs/uploads/")
    answer = pusher.call("PUT", begun.headers["Location"], params={"digest": digest_of(b"x")}, data=b"x")
    assert answer.status_code == 403
    assert pusher.call("GET", "").status_code == 403


def test_an_expired_token_can_be_answered_with_another_status(front: Callable[..., EcrFront]) -> None:
    """Clients have to understand 401 as well: registries differ."""
    ecr = front(expired_status=401)
    token, _ = ecr.state.issue_token(ecr.state.user_arn("release"))
    ecr.state.expire_tokens()
    answer = Pusher(ecr.endpoint, token).call("GET", "")
    assert error_of(answer)[:2] == (401, "DENIED")


def test_a_repository_has_to_exist_before_the_first_push(pusher: Pusher) -> None:
    """ECR does not create repositories on push."""
    expected = (
        404,
        "NAME_UNKNOWN",
        "The repository with name 'skydrm/none' does not exist in the registry with id '123456789012'",
    )
    assert error_of(pusher.call("POST", "skydrm/none/blobs/uploads/")) == expected
    assert error_of(pusher.call("GET", "skydrm/none/manifests/a")) == expected


def test_a_customer_pulls_and_cannot_push(ecr: EcrFront, pusher: Pusher) -> None:
    """The token has its principal's rights, request by request, also after they changed."""
    pushed = pusher.image(REPOSITORY, "one", "8.1.0")
    ecr.state.add_user("customer", PULL_ONLY)
    arn = ecr.state.user_arn("customer")
    customer = Pusher(ecr.endpoint, ecr.state.issue_token(arn)[0])
    assert customer.call("GET", f"{REPOSITORY}/manifests/8.1.0").content == pushed.manifest
    assert customer.call("GET", f"{REPOSITORY}/blobs/{pushed.layers[0]}").content == b"layer one"
    assert customer.call("HEAD", f"{REPOSITORY}/blobs/{pushed.layers[0]}").status_code == 200
    status, code, message = error_of(customer.call("POST", f"{REPOSITORY}/blobs/uploads/"))
    assert (status, code) == (403, "DENIED")
    assert f"User: {arn} is not authorized to perform: ecr:InitiateLayerUpload" in message
    put = customer.manifest(REPOSITORY, "mine", pushed.manifest, OCI_MANIFEST)
    assert error_of(put)[:2] == (403, "DENIED")
    ecr.state.add_user("customer", [])
    assert error_of(customer.call("GET", f"{REPOSITORY}/manifests/8.1.0"))[:2] == (403, "DENIED")


def test_an_immutable_tag_cannot_be_pushed_again_even_with_the_same_content(pusher: Pusher) -> None:
    """TAG_INVALID, with AWS's text; by digest the same content is fine."""
    pushed = pusher.image(REPOSITORY, "one", "8.1.0")
    assert error_of(pusher.manifest(REPOSITORY, "8.1.0", pushed.manifest, OCI_MANIFEST)) == (
        400,
        "TAG_INVALID",
        f"The image tag '8.1.0' already exists in the '{REPOSITORY}' repository and cannot be overwritten "
        "because the repository is immutable.",
    )
    assert pusher.manifest(REPOSITORY, pushed.digest, pushed.manifest, OCI_MANIFEST).status_code == 201


def test_a_mutable_tag_may_be_pushed_again(pusher: Pusher, boto_ecr: Any) -> None:
    """With the same content, and with other content."""
    boto_ecr.put_image_tag_mutability(repositoryName=REPOSITORY, imageTagMutability="MUTABLE")
    pushed = pusher.image(REPOSITORY, "one", "latest")
    assert pusher.manifest(REPOSITORY, "latest", pushed.manifest, OCI_MANIFEST).status_code == 201
    moved = pusher.image(REPOSITORY, "two", "latest")
    assert pusher.call("GET", f"{REPOSITORY}/manifests/latest").content == moved.manifest
    assert pusher.call("GET", f"{REPOSITORY}/manifests/{pushed.digest}").content == pushed.manifest


def test_only_one_of_many_pushes_gets_an_immutable_tag(ecr: EcrFront, pusher: Pusher) -> None:
    """The tag is decided in one place: of twelve images pushed at once exactly one has it."""
    images = [pusher.image(REPOSITORY, f"{number}") for number in range(12)]

    def push(manifest: bytes) -> int:
        own = Pusher(ecr.endpoint, pusher.http.auth[1])
        return own.manifest(REPOSITORY, "8.1.0", manifest, OCI_MANIFEST).status_code

    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(push, [each.manifest for each in images]))
    assert sorted(statuses) == [201] + [400] * 11
    winner = images[statuses.index(201)]
    assert pusher.call("GET", f"{REPOSITORY}/manifests/8.1.0").content == winner.manifest


def test_a_manifest_is_only_taken_complete(pusher: Pusher) -> None:
    """Missing blobs, a wrong digest and something that is no manifest are refused."""
    config = pusher.blob(REPOSITORY, b"{}")
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []}
    lacking = document | {"layers": [{"mediaType": "x", "digest": ABSENT, "size": 1}]}
    status, code, message = error_of(pusher.manifest(REPOSITORY, "a", lacking, OCI_MANIFEST))
    assert (status, code) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert ABSENT in message
    assert config["digest"] not in message
    assert error_of(pusher.manifest(REPOSITORY, ABSENT, document, OCI_MANIFEST))[1] == "DIGEST_INVALID"
    assert error_of(pusher.manifest(REPOSITORY, "a", b"[]", OCI_MANIFEST))[1] == "MANIFEST_INVALID"


def test_a_layer_is_not_mounted_unless_the_account_opted_in(
    ecr: EcrFront, registry: EcrRegistry, pusher: Pusher
) -> None:
    """ECR's default: the mount is passed over, and an upload begins as usual."""
    registry.create_repository("skydrm/other")
    layer = pusher.blob(REPOSITORY, b"shared")["digest"]
    mount = {"mount": layer, "from": REPOSITORY}
    begun = pusher.call("POST", "skydrm/other/blobs/uploads/", params=mount)
    assert begun.status_code == 202
    assert pusher.call("HEAD", f"skydrm/other/blobs/{layer}").status_code == 404
    assert ecr.requests.all()[-2].query == mount


def test_a_layer_is_mounted_where_the_account_opted_in(
    front: Callable[..., EcrFront], monkeypatch: Any
) -> None:
    """201 at once, for whoever may read the source; 202 where the source lacks the layer."""
    ecr = front(blob_mounting=True)
    for name, value in ecr.environment().items():
        monkeypatch.setenv(name, value)
    registry = EcrRegistry("us-east-1")
    registry.create_repository("skydrm/a")
    registry.create_repository("skydrm/b")
    pusher = Pusher(ecr.endpoint, registry.login().password)
    layer = pusher.blob("skydrm/a", b"shared")["digest"]
    mounted = pusher.call("POST", "skydrm/b/blobs/uploads/", params={"mount": layer, "from": "skydrm/a"})
    assert mounted.status_code == 201
    assert urlsplit(mounted.headers["Location"]).path == f"/v2/skydrm/b/blobs/{layer}"
    assert pusher.call("GET", f"skydrm/b/blobs/{layer}").content == b"shared"
    absent = pusher.call("POST", "skydrm/b/blobs/uploads/", params={"mount": ABSENT, "from": "skydrm/a"})
    assert absent.status_code == 202


def test_clients_are_kept_on_the_front(ecr: EcrFront, pusher: Pusher) -> None:
    """Locations lead back here, and do not show the registry behind."""
    begun = pusher.call("POST", f"{REPOSITORY}/blobs/uploads/")
    location = urlsplit(begun.headers["Location"])
    assert location.netloc == ecr.host
    assert location.path.startswith(f"/v2/{REPOSITORY}/blobs/uploads/")


def test_a_chunked_upload_of_unknown_length(pusher: Pusher) -> None:
    """PATCH with chunks, then PUT with the digest: how layers arrive that are compressed on the way."""
    blocks = [bytes([number]) * 100_000 for number in range(20)]

    def stream() -> Iterator[bytes]:
        yield from blocks

    begun = pusher.call("POST", f"{REPOSITORY}/blobs/uploads/")
    sent = pusher.call("PATCH", begun.headers["Location"], data=stream())
    assert (sent.status_code, sent.headers["Range"]) == (201, "0-1999999")
    digest = digest_of(b"".join(blocks))
    assert pusher.call("PUT", sent.headers["Location"], params={"digest": digest}).status_code == 201
    part = pusher.call("GET", f"{REPOSITORY}/blobs/{digest}", headers={"Range": "bytes=100000-100003"})
    assert (part.status_code, part.content) == (206, b"\x01\x01\x01\x01")


def test_tags_are_listed_and_other_requests_are_unsupported(pusher: Pusher) -> None:
    """tags/list is ours; manifests are deleted through the API only, as with ECR."""
    pusher.image(REPOSITORY, "one", "8.1.0")
    assert pusher.call("GET", f"{REPOSITORY}/tags/list").json() == {"name": REPOSITORY, "tags": ["8.1.0"]}
    assert error_of(pusher.call("DELETE", f"{REPOSITORY}/manifests/8.1.0"))[:2] == (405, "UNSUPPORTED")


def test_a_manifest_is_given_only_to_who_takes_its_media_type(pusher: Pusher) -> None:
    """HEAD has the digest and no body; an unknown tag and an unwanted type are both unknown manifests."""
    pushed = pusher.image(REPOSITORY, "one", "8.1.0")
    head = pusher.call("HEAD", f"{REPOSITORY}/manifests/8.1.0", headers={"Accept": OCI_MANIFEST})
    assert head.headers["Docker-Content-Digest"] == pushed.digest
    assert (head.headers["Content-Length"], head.content) == (str(len(pushed.manifest)), b"")
    other = pusher.call("GET", f"{REPOSITORY}/manifests/8.1.0", headers={"Accept": "text/plain"})
    assert error_of(other)[:2] == (404, "MANIFEST_UNKNOWN")
    assert error_of(pusher.call("GET", f"{REPOSITORY}/manifests/none"))[:2] == (404, "MANIFEST_UNKNOWN")


def test_an_ordered_status_comes_after_the_skipped_requests_and_only_so_often(
    ecr: EcrFront, pusher: Pusher
) -> None:
    """Skip and count say exactly which requests fail, and Retry-After goes along."""
    ecr.faults.add(Fault(path="/blobs/", skip=1, count=2, status=503, code="TOOMANYREQUESTS", retry_after=3))
    answers = [pusher.call("HEAD", f"{REPOSITORY}/blobs/{ABSENT}") for _ in range(4)]
    assert [each.status_code for each in answers] == [404, 503, 503, 404]
    assert answers[1].headers["Retry-After"] == "3"
    assert ecr.faults.pending() == []


def test_a_fault_meets_only_the_requests_it_is_meant_for(ecr: EcrFront, pusher: Pusher) -> None:
    """Method, path, action and repository must all match."""
    ecr.faults.add(Fault(method="PUT", status=500))
    ecr.faults.add(Fault(action="PutImage", status=500))
    ecr.faults.add(Fault(repository="skydrm/other", status=500))
    assert pusher.call("GET", f"{REPOSITORY}/tags/list").status_code == 200
    assert len(ecr.faults.pending()) == 3


def test_an_upload_breaks_off_after_so_many_bytes(ecr: EcrFront, pusher: Pusher) -> None:
    """The connection is reset in the middle of the body; nothing of the blob is there, a new upload works."""
    ecr.faults.add(Fault(method="PUT", path="/blobs/uploads/", reset_request_after=1_000_000))
    data = bytes(3_000_000)
    begun = pusher.call("POST", f"{REPOSITORY}/blobs/uploads/")
    with pytest.raises(requests.ConnectionError):
        pusher.call("PUT", begun.headers["Location"], params={"digest": digest_of(data)}, data=data)
    assert ecr.requests.all()[-1].received == 1_000_000
    assert pusher.call("HEAD", f"{REPOSITORY}/blobs/{digest_of(data)}").status_code == 404
    assert pusher.blob(REPOSITORY, data)["digest"] == digest_of(data)


def test_a_download_breaks_off_after_so_many_bytes(ecr: EcrFront, pusher: Pusher) -> None:
    """The connection is reset in the middle of the answer."""
    digest = pusher.blob(REPOSITORY, bytes(2_000_000))["digest"]
    ecr.faults.add(Fault(method="GET", path="/blobs/", reset_response_after=700_000))
    with pytest.raises(requests.RequestException):
        pusher.call("GET", f"{REPOSITORY}/blobs/{digest}")
    assert ecr.requests.all()[-1].sent == 700_000
    assert len(pusher.call("GET", f"{REPOSITORY}/blobs/{digest}").content) == 2_000_000


@pytest.mark.parametrize("change", ["alter", "truncate"])
def test_a_manifest_can_be_answered_changed(ecr: EcrFront, pusher: Pusher, change: Any) -> None:
    """The digest in the header stays, the bytes do not have it: a client has to notice."""
    pushed = pusher.image(REPOSITORY, "one", "8.1.0")
    ecr.faults.add(Fault(method="GET", manifest=change))
    answer = pusher.call("GET", f"{REPOSITORY}/manifests/8.1.0")
    assert answer.headers["Docker-Content-Digest"] == pushed.digest
    assert digest_of(answer.content) != pushed.digest


def test_a_refused_upload_leaves_the_connection_usable(ecr: EcrFront, pusher: Pusher) -> None:
    """The body of a refused request is read, so that keep-alive goes on."""
    ecr.faults.add(Fault(method="PUT", status=500))
    begun = pusher.call("POST", f"{REPOSITORY}/blobs/uploads/")
    answer = pusher.call("PUT", begun.headers["Location"], data=bytes(2_000_000))
    assert answer.status_code == 500
    assert pusher.call("GET", "").status_code == 200


@pytest.mark.parametrize(
    "head",
    [
        {"Content-Length": "x"},
        {"Transfer-Encoding": "gzip"},
        {"Transfer-Encoding": "chunked", "Content-Length": "3"},
    ],
)
def test_a_request_that_could_be_read_in_two_ways_is_refused(ecr: EcrFront, head: dict[str, str]) -> None:
    """Ambiguous framing ends the connection (RFC 9112, section 6.3)."""
    connection = http.client.HTTPConnection("127.0.0.1", ecr.port, timeout=10)
    connection.putrequest("POST", "/v2/")
    for name, value in head.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()
