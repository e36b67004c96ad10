"""Whatever a registry answers over HTTP, a call succeeds or ends in an error of ours, in time.

``make fuzz`` runs many more cases: ``FUZZ_CASES``, from the number ``FUZZ_SEED``.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator

import pytest
from pytest_socket import SocketConnectBlockedError

from jenkins_release.base.errors import ReleaseError
from jenkins_release.base.waits import Limits
from jenkins_release.http.probe import HttpProber
from jenkins_release.oci.manifests import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, sha256_digest
from jenkins_release.oci.referrers import Referrer, Subject, index_of, read_artifact
from jenkins_release.registry.distribution import DistributionRegistry
from jenkins_release.registry.protocol import BlobPart, RegistryLogin
from jenkins_release.registry.referrers import RegistryReferrers
from jenkins_release.registry.transport import Transport
from jenkins_release.registry.uploads import RegistryUploads
from tests.fixtures.key_access import key_access
from tests.fixtures.raw_server import RawServer, Request, answer

CASES = int(os.environ.get("FUZZ_CASES", "120"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
REGRESSIONS: tuple[int, ...] = (2014,)
"""Numbers of cases that ended in another exception once, or did not end."""
GENEROUS_S = 30.0
LIMITS = Limits(2.0, 1 << 20)
NAME, DATA = "skydrm/rms", b"a layer"
DIGEST = sha256_digest(DATA)
PLACE = f"/v2/{NAME}/blobs/uploads/1?_state=abc"
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": DIGEST, "size": len(DATA)},
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": DIGEST, "size": len(DATA)}
        ],
    }
).encode()
SUBJECT = {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": len(DATA)}
ARTIFACT = json.dumps({**json.loads(MANIFEST), "subject": SUBJECT}).encode()
LISTED = index_of([Referrer(sha256_digest(MANIFEST), len(MANIFEST), artifact_type="application/json")]).data


def well(request: Request, host: str) -> bytes:
    """Answer as a registry does that takes everything."""
    path, _, query = request.target.partition("?")
    if request.method == "POST":
        return answer(202, Location=PLACE, Range="0-0")
    if request.method == "PATCH":
        return answer(202, Location=f"http://{host}{PLACE}", Range=f"0-{len(request.body) - 1}")
    if request.method == "PUT":
        return answer(201, Location="/v2/x", Docker_Content_Digest=DIGEST)
    if request.method == "HEAD":
        return answer(200, Docker_Content_Digest=DIGEST, Content_Length=str(len(DATA)))
    if path == "/token":
        return answer(200, b'{"token": "abc", "expires_in": 300}', Content_Type="application/json")
    if "/referrers/" in path and "last=" not in query:
        return answer(200, LISTED, Link=f'<{path}?last=1>; rel="next"', Content_Type=OCI_INDEX)
    if "/referrers/" in path:
        return answer(200, LISTED, Content_Type=OCI_INDEX)
    if "/manifests/" in path and "Authorization" not in request.head:
        challenge = f'Bearer realm="http://{host}/token",service="x",scope="y"'
        return answer(401, b'{"errors": [{"code": "UNAUTHORIZED"}]}', WWW_Authenticate=challenge)
    if f"/manifests/{DIGEST.replace(':', '-')}" in path and "Authorization" in request.head:
        return answer(200, LISTED, Content_Type=OCI_INDEX)
    if "/manifests/" in path:
        data = ARTIFACT if path.endswith("/attached") else MANIFEST
        digest = sha256_digest(data)
        return answer(200, data, Content_Type=OCI_MANIFEST, Docker_Content_Digest=digest)
    if path == "/stored":
        return answer(200, DATA, Content_Range=f"bytes 0-{len(DATA) - 1}/{len(DATA)}")
    if "/uploads/" in path:
        return answer(204, Location=PLACE, Range="0-6")
    return answer(307, Location=f"http://{host}/stored")


def _send(host: str) -> None:
    blobs = _blobs(host)
    with blobs.upload(NAME) as upload:
        upload.send(BlobPart([DATA]))
        upload.finish(DIGEST)
    blobs.close()


def _stream(host: str) -> None:
    blobs = _blobs(host)
    with blobs.upload(NAME) as upload:
        upload.stream([DATA[:3], DATA[3:]])
        upload.finish(DIGEST)
    blobs.close()


def _blobs(host: str) -> RegistryUploads:
    login = RegistryLogin(host, "AWS", "hunter2")
    return RegistryUploads(Transport(lambda: login, limits=LIMITS))


def _read(host: str) -> None:
    registry = DistributionRegistry(host, RegistryLogin(host, "ada", "hunter2"), limits=LIMITS)
    registry.content(NAME, registry.manifest(NAME, "8.1.0"), "linux/amd64")
    for _ in registry.blob(NAME, DIGEST):
        continue
    registry.close()


def _refer(host: str) -> None:
    login = RegistryLogin(host, "AWS", "hunter2")
    reader = RegistryReferrers(Transport(lambda: login, limits=LIMITS))
    reader.listing(NAME, Subject(DIGEST), "application/json")
    reader.client_list(NAME, Subject(DIGEST), "application/json")
    found = reader.manifest(NAME, "attached")
    if found is not None:
        read_artifact(found, NAME)
    reader.blob(NAME, DIGEST, len(DATA))
    reader.close()


def _pull(host: str) -> None:
    key_access(host, LIMITS).fetch(NAME, "8.1.0")


CALLS: tuple[Callable[[str], object], ...] = (
    _send,
    _stream,
    lambda host: _blobs(host).holds(NAME, DIGEST, len(DATA)),
    lambda host: _blobs(host).mount(NAME, DIGEST, "skydrm/base"),
    lambda host: _blobs(host).put_manifest(NAME, "8.1.0", OCI_MANIFEST, DATA),
    lambda host: b"".join(_blobs(host).read(NAME, DIGEST)),
    _read,
    _refer,
    _pull,
    lambda host: HttpProber().ask(f"http://{host}/", 2.0),
)
STRANGE = (
    b"http://[::1/\xc3\xa4 x",
    b"http://127.0.0.1:99999999/",
    b"//",
    b"\xb2",
    b"-1",
    b"0-" + b"9" * 5000,
    b"9" * 400,
    b"1e9",
    b"0x10",
    b"Mon, 99 Foo 99999999999 99:99:99 GMT",
    b"\x00\x1b[31m",
    b"gzip, br",
    b"chunked",
    b"a" * 70_000,
    b"",
    b'Bearer realm="',
    b"%00%zz%",
    b"\xff\xfe",
)
STATUSES = (
    0,
    100,
    101,
    103,
    200,
    201,
    202,
    204,
    206,
    301,
    304,
    307,
    400,
    401,
    403,
    404,
    410,
    416,
    429,
    500,
    503,
    999,
)
BODIES = (
    b'{"errors": [{"code": 7, "message": ["x"]}]}',
    b'{"errors": [{"code": "TAG_INVALID", "message": null}]}',
    b'{"errors": {}}',
    b'{"errors": [{"message": "\\ud800"}]}',
    b"[" * 3000,
    b'{"token": {"token": 1}}',
    b'{"token": "a\\r\\nX: y"}',
    b"null",
    b"\xff\xfe\x00",
    b"<html>login</html>",
    b'{"a": NaN, "a": 1e999}',
)


def changed(said: bytes, chance: random.Random) -> bytes:
    """Change an answer in one way or several."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        head, separator, body = said.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        kind = chance.randrange(9)
        if kind == 0:
            lines[0] = b"HTTP/1.1 %d x" % chance.choice(STATUSES)
        elif kind == 1 and len(lines) > 1:
            number = chance.randrange(1, len(lines))
            lines[number] = lines[number].partition(b":")[0] + b": " + chance.choice(STRANGE)
        elif kind == 2:
            names = (b"Location", b"Range", b"Retry-After", b"Content-Length", b"Transfer-Encoding")
            names += (b"Content-Encoding", b"Docker-Content-Digest", b"WWW-Authenticate", b"Set-Cookie")
            lines.append(chance.choice(names) + b": " + chance.choice(STRANGE))
        elif kind == 3:
            body = chance.choice(BODIES)
        elif kind == 4 and len(lines) > 1:
            lines.pop(chance.randrange(1, len(lines)))
        elif kind == 5:
            return said[: chance.randrange(len(said) + 1)] or b"\r\n"
        elif kind == 6:
            at = chance.randrange(len(said))
            said = said[:at] + bytes([chance.randrange(256)]) + said[at + chance.randrange(3) :]
            continue
        elif kind == 7:
            lines = [b"HTTP/1.1 %d x" % chance.choice(STATUSES), b"Content-Length: %d" % len(body)]
        else:
            lines = [line for line in lines if not line.lower().startswith(b"content-length")]
        said = b"\r\n".join(lines) + separator + body
    return said or b"\r\n"


@pytest.fixture
def play(raw_server: RawServer) -> Iterator[Callable[[int], None]]:
    """Run a case by its number."""
    raw_server.closes = True

    def played(number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - the same cases each time
        call = CALLS[number % len(CALLS)]
        spoiled = chance.randrange(3)
        raw_server.requests.clear()

        def say(request: Request) -> bytes:
            said = well(request, raw_server.host)
            return changed(said, chance) if len(raw_server.requests) > spoiled else said

        raw_server.speech = say
        begun = time.monotonic()
        try:
            call(raw_server.host)
        except SocketConnectBlockedError:
            return  # another address of this machine
        except ReleaseError as error:
            assert "hunter2" not in str(error.diagnostics())
            assert len(error.message) < 3000
        except Exception as error:
            raise AssertionError(f"case {number}: {error!r}") from error
        assert time.monotonic() - begun < GENEROUS_S, number

    yield played


def test_the_calls_are_good_ones(raw_server: RawServer):
    """Without a change each of them succeeds."""
    raw_server.speech = lambda request: well(request, raw_server.host)
    for call in CALLS:
        if call is not CALLS[3]:
            call(raw_server.host)


@pytest.mark.timeout(max(300, CASES // 50))
@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_no_answer_is_a_bug_of_ours(play: Callable[[int], None], caplog: pytest.LogCaptureFixture):
    """Nor is a traceback of a library logged."""
    for number in (*REGRESSIONS, *range(SEED, SEED + CASES)):
        play(number)
        assert not [record for record in caplog.records if record.exc_info], number
        caplog.clear()
