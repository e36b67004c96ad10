"""Reading referrers from a registry that is not believed: digests, sizes, pages, redirects and lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from jenkins_release.base.errors import IntegrityError, ReleaseError, RemoteError
from jenkins_release.base.waits import Limits
from jenkins_release.oci.manifests import OCI_INDEX, OCI_MANIFEST, RawManifest, sha256_digest
from jenkins_release.oci.referrers import MOST_REFERRERS, Subject, read_artifact
from jenkins_release.registry.protocol import NotSupported, RegistryLogin, RepositoryNotFound
from jenkins_release.registry.referrers import RegistryReferrers
from jenkins_release.registry.transport import Transport
from tests.fixtures.raw_server import RawServer, Request, answer

NAME, KIND = "skydrm/rms", "application/vnd.dev.sigstore.bundle.v0.3+json"
SUBJECT = Subject("sha256:" + "7" * 64, OCI_MANIFEST, 100)
OTHER = "sha256:" + "8" * 64


def entry(number: int, **changes: Any) -> dict[str, Any]:
    """Return the entry of an artifact."""
    digest = f"sha256:{number:064x}"
    return {"mediaType": OCI_MANIFEST, "digest": digest, "size": 7, "artifactType": KIND, **changes}


def index(*entries: dict[str, Any], **changes: Any) -> bytes:
    """Return a list of referrers."""
    return json.dumps(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*entries], **changes}
    ).encode()


@contextmanager
def registry(say: Callable[[Request], bytes]) -> Iterator[tuple[RegistryReferrers, RawServer]]:
    """A client of a registry that says what a test has it say."""
    with RawServer(say) as server:
        login = RegistryLogin(server.host, "AWS", "hunter2")
        reader = RegistryReferrers(Transport(lambda: login, limits=Limits(5.0, 1 << 16)))
        yield reader, server
        reader.close()


def test_all_pages_are_read_and_each_artifact_once() -> None:
    """A page may repeat what another had; the type is looked at here too, as a registry may ignore it."""

    def say(request: Request) -> bytes:
        if "last=" in request.target:
            return answer(200, index(entry(2), entry(3), entry(4, artifactType="application/other")))
        following = f'<{request.target}&last=2>; rel="next"'
        return answer(200, index(entry(1), entry(2)), Link=following)

    with registry(say) as (reader, server):
        found = reader.listing(NAME, SUBJECT, KIND)
    assert found is not None and not found.more
    assert [int(each.digest[7:], 16) for each in found.referrers] == [1, 2, 3]
    assert all("artifactType=application%2Fvnd.dev" in each.target for each in server.requests)


@pytest.mark.parametrize("status", [404, 405])
def test_a_registry_without_the_api_has_a_list_of_its_clients(status: int) -> None:
    """It is the index under the subject's tag; an entry need not tell its type."""
    there = True

    def say(request: Request) -> bytes:
        if "/referrers/" in request.target or not there:
            return answer(status if "/referrers/" in request.target else 404, b"404 page not found")
        assert request.target.endswith(f"/manifests/{SUBJECT.digest.replace(':', '-')}")
        entries = entry(1), entry(1), entry(2, artifactType=""), entry(3, artifactType="application/other")
        return answer(200, index(*entries), Content_Type=OCI_INDEX)

    with registry(say) as (reader, _):
        assert reader.listing(NAME, SUBJECT) is None
        found = reader.client_list(NAME, SUBJECT, KIND)
        there = False
        assert reader.client_list(NAME, SUBJECT) is None
    assert found is not None
    assert [int(each.digest[7:], 16) for each in found] == [1, 2]


def test_a_tag_that_names_no_list_is_refused() -> None:
    """It is not taken for a missing list."""
    wrong = pytest.raises(IntegrityError, match="expected an index of referrers")
    with registry(lambda _: answer(200, b"{}", Content_Type=OCI_MANIFEST)) as (reader, _), wrong:
        reader.client_list(NAME, SUBJECT)


def test_a_missing_repository_is_not_a_missing_api() -> None:
    """Its name is unknown."""
    unknown = b'{"errors": [{"code": "NAME_UNKNOWN", "message": "no such repository"}]}'
    with registry(lambda _: answer(404, unknown)) as (reader, _), pytest.raises(RepositoryNotFound):
        reader.listing(NAME, SUBJECT)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schemaVersion": 2}',
        index(entry(1), schemaVersion=1),
        index(entry(1), config={}),
        index(entry(1, digest="sha512:7")),
        index(entry(1, size=-1)),
        index(entry(1, size="7")),
        index(entry(1, artifactType=7)),
        index(entry(1, annotations={"a": 1})),
        index(*(entry(number) for number in range(MOST_REFERRERS + 1))),
        index(entry(1)).replace(b'"manifests"', b'"Manifests"'),
    ],
)
def test_an_answer_that_is_no_list_is_refused(body: bytes) -> None:
    """It is neither taken for an empty list nor for a missing API."""
    with registry(lambda _: answer(200, body)) as (reader, _), pytest.raises(IntegrityError):
        reader.listing(NAME, SUBJECT)


def _endless_and_empty(request: Request) -> bytes:
    return answer(200, index(), Link=f'<{request.target}a>; rel="next"')


def _endless(request: Request) -> bytes:
    number = len(request.target)
    return answer(200, index(entry(number)), Link=f'<{request.target}a>; rel="next"')


@pytest.mark.parametrize(
    ("say", "why"),
    [
        (lambda r: answer(200, index(), Link=f'<{r.target}>; rel="next"'), "does not end"),
        (_endless_and_empty, "does not end"),
        (lambda _: answer(200, index(), Link='<http://127.0.0.1:1/v2/>; rel="next"'), "the next page is at"),
        (lambda _: answer(200, index(), Link='<ftp://x/>; rel="next"'), "unusable Location"),
        (lambda _: answer(500, b""), "answers 500"),
        (lambda _: answer(307, b"", Location="http://127.0.0.1:1/"), "answers 307"),
    ],
    ids=["loop", "endless and empty", "another host", "no URL", "500", "redirect"],
)
def test_a_list_that_leads_astray_is_an_error(say: Callable[[Request], bytes], why: str) -> None:
    """The login stays with the registry, and the list ends."""
    with registry(say) as (reader, server), pytest.raises(RemoteError) as caught:
        reader.listing(NAME, SUBJECT, KIND)
    assert why in caught.value.message
    assert len(server.requests) <= MOST_REFERRERS + 1


def test_an_endless_list_is_read_up_to_a_limit() -> None:
    """Who asks learns that there are more."""
    with registry(_endless) as (reader, server):
        found = reader.listing(NAME, SUBJECT, KIND)
    assert found is not None and found.more
    assert len(found.referrers) == len(server.requests) == MOST_REFERRERS + 1


def test_other_bytes_are_an_integrity_error() -> None:
    """A manifest or a blob that has not the digest or the size that was requested."""
    with registry(lambda _: answer(200, b"{}", Content_Type=OCI_MANIFEST)) as (reader, _):
        with pytest.raises(IntegrityError, match="have the digest"):
            reader.manifest(NAME, OTHER)
        found = reader.manifest(NAME, "8.1.0")
        assert found == RawManifest(sha256_digest(b"{}"), OCI_MANIFEST, b"{}")
        for digest, size in ((OTHER, 2), (sha256_digest(b"{}"), 1), (sha256_digest(b"{}"), 3)):
            with pytest.raises(IntegrityError, match="has other bytes"):
                reader.blob(NAME, digest, size)
        assert reader.blob(NAME, sha256_digest(b"{}"), 2) == b"{}"


def test_a_missing_manifest_is_none_and_a_refusal_an_error() -> None:
    """405 has an error of its own, for what a registry does not do."""
    status = 404
    with registry(lambda _: answer(status, b"")) as (reader, _):
        assert reader.manifest(NAME, OTHER) is None
        status = 405
        with pytest.raises(NotSupported):
            reader.manifest(NAME, OTHER)


ARTIFACT: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": OCI_MANIFEST,
    "artifactType": KIND,
    "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": OTHER, "size": 2},
    "layers": [{"mediaType": KIND, "digest": OTHER, "size": 7}],
    "subject": {"mediaType": OCI_MANIFEST, "digest": SUBJECT.digest, "size": 100},
}


def test_an_artifact_names_its_subject_and_its_content() -> None:
    """Without a type of its own, it has that of its config."""

    def read(**changes: Any) -> Any:
        document = {name: each for name, each in (ARTIFACT | changes).items() if each is not None}
        data = json.dumps(document).encode()
        return read_artifact(RawManifest(sha256_digest(data), OCI_MANIFEST, data), "a")

    found = read()
    assert (found.subject, found.artifact_type, found.digest) == (SUBJECT.digest, KIND, OTHER)
    assert read(artifactType=None).artifact_type == "application/vnd.oci.empty.v1+json"
    for wrong in (
        {"subject": None},
        {"subject": ARTIFACT["subject"] | {"digest": "x"}},
        {"layers": []},
        {"layers": ARTIFACT["layers"] * 2},
        {"layers": [{"digest": OTHER}]},
        {"manifests": []},
        {"schemaVersion": 1},
    ):
        with pytest.raises(ReleaseError):
            read(**wrong)
