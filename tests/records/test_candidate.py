"""``candidate.json``: canonical, checked on reading, consistent in itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.strict_json import fold
from jenkins_release.oci.manifests import Descriptor, build_manifest
from jenkins_release.records.base import canonical_json, strict_json
from jenkins_release.records.candidate import (
    BlobRecord,
    Candidate,
    FileRecord,
    ImageRecord,
    LayerRecord,
    checksum_lines,
)

DIGEST = "sha256:" + "a" * 64


def candidate(**changes) -> Candidate:
    layer = LayerRecord(diff_id=DIGEST, digest=DIGEST, offset=512, size=100, compression="none")
    image = ImageRecord(
        name="rms",
        reference="skydrm/rms:8.1.0-42",
        archive="images/skydrm-8.1.0-42.tar",
        platform="linux/amd64",
        config_digest=DIGEST,
        config_offset=700,
        config_size=50,
        layers=(layer,),
    )
    values = {
        "product": "SkyDRM",
        "version": "8.1.0",
        "build": "42",
        "revision": "",
        "build_url": "",
        "built_by": "jenkins",
        "exported_at": datetime(2026, 11, 20, tzinfo=UTC),
        "exporter": "jenkins-release/0",
        "files": (FileRecord(path=image.archive, size=2048, sha256="a" * 64),),
        "images": (image,),
    }
    return Candidate(**(values | changes))


def changed(**changes) -> bytes:
    value = json.loads(candidate().to_bytes())
    value |= changes
    return canonical_json(value)


def test_a_record_survives_the_round_trip_byte_for_byte():
    """The digest of candidate.json is its identity, so writing is deterministic."""
    data = candidate().to_bytes()
    assert Candidate.from_bytes(data, "x").to_bytes() == data
    assert json.loads(data)["schema"] == "jenkins-release/candidate/v1"


def test_unknown_fields_are_kept():
    """A newer minor version may add fields; reading and writing loses none."""
    data = changed(colour="blue")
    assert Candidate.from_bytes(data, "x").to_bytes() == data


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schema": "jenkins-release/candidate/v2"}, "v2"),
        ({"schema": "jenkins-release/plan/v1"}, "plan"),
        ({"version": "../8.1.0"}, "version"),
        ({"files": []}, "not a file"),
        ({"files": [{"path": "../x", "size": 1, "sha256": "a" * 64}]}, "files.0.path"),
        (
            {"files": [{"path": "images/skydrm-8.1.0-42.tar", "size": 600, "sha256": "a" * 64}]},
            "beyond the end",
        ),
        ({"files": [{"path": "images/skydrm-8.1.0-42.tar", "size": -1, "sha256": "A" * 64}]}, "files.0"),
        ({"exported_at": "yesterday"}, "exported_at"),
    ],
)
def test_a_wrong_record_is_refused_by_name(changes, told):
    """The message has the file and the field."""
    with pytest.raises(IntegrityError, match="where it stands") as caught:
        Candidate.from_bytes(changed(**changes), "where it stands")
    assert told in str(caught.value.reasons) + caught.value.message


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"null", b"{", b"\xff\xfe", b'{"a":1,"a":2}', b'{"a":NaN}', b'{"schema":1}', b"[" * 100_000],
)
def test_what_is_no_record_is_refused(data):
    """Not JSON, not UTF-8, a key twice, NaN, nested too deep: all one kind of error."""
    with pytest.raises(IntegrityError):
        Candidate.from_bytes(data, "x")


def test_a_huge_record_is_not_parsed():
    """Size is looked at before anything else."""
    with pytest.raises(IntegrityError, match="at most 10"):
        strict_json(b" " * 11, "x", limit=10)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner).filter(
            lambda found: len({fold(key) for key in found}) == len(found)
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_canonical_json_is_read_back_unchanged(value):
    """Whatever is written is JSON that reads back to the same value."""
    assert strict_json(canonical_json(value), "x") == value


def test_checksums_are_what_sha256sum_reads():
    """Two spaces' worth of format: hash, space, star, path."""
    record = candidate()
    lines = checksum_lines(b"{}", record.files).decode().splitlines()
    assert lines[0].endswith(" *candidate.json")
    assert lines[1] == f"{'a' * 64} *images/skydrm-8.1.0-42.tar"


def test_the_time_of_the_export_needs_a_time_zone():
    """Without one nobody could tell how long a candidate has rested."""
    data = candidate().to_bytes().replace(b"2026-11-20T00:00:00Z", b"2026-11-20T00:00:00")
    with pytest.raises(IntegrityError, match="exported_at"):
        Candidate.from_bytes(data, "candidate.json")


OTHER = "sha256:" + "b" * 64


def with_manifest(**changes: str) -> bytes:
    """A record whose image fixes a manifest, with fields of the manifest replaced."""
    value = json.loads(candidate().to_bytes())
    made = build_manifest(Descriptor(DIGEST, 50), [Descriptor(DIGEST, 100)])
    fixed = {"media_type": made.media_type, "digest": made.digest, "data": made.data.decode()}
    value["images"][0]["manifest"] = fixed | changes
    value["images"][0]["layers"][0]["compression"] = "gzip"
    return canonical_json(value)


def test_a_fixed_manifest_survives_the_round_trip():
    """Its exact text; what a registry stores of a compressed layer is the layer itself."""
    record = Candidate.from_bytes(with_manifest(), "x")
    assert record.to_bytes() == with_manifest()
    assert record.images[0].layers[0].blob == BlobRecord(digest=DIGEST, size=100)


def test_a_fixed_manifest_has_to_be_the_images():
    """Its digest, its config, its layers, their sizes."""
    other = build_manifest(Descriptor(DIGEST, 50), [Descriptor(OTHER, 100)])
    longer = build_manifest(Descriptor(DIGEST, 50), [Descriptor(DIGEST, 101)])
    for made in (other, longer):
        with pytest.raises(IntegrityError, match="another image"):
            Candidate.from_bytes(with_manifest(digest=made.digest, data=made.data.decode()), "x")
    with pytest.raises(IntegrityError, match="does not match its digest"):
        Candidate.from_bytes(with_manifest(digest=OTHER), "x")
    with pytest.raises(IntegrityError, match="not valid JSON"):
        Candidate.from_bytes(with_manifest(digest="sha256:" + sha256(b"{").hexdigest(), data="{"), "x")


def test_a_plain_layer_tells_what_a_registry_stores_only_where_that_was_recorded():
    """Records of before have no compressed digests."""
    (layer,) = candidate().images[0].layers
    assert layer.blob is None
    packed = BlobRecord(digest=OTHER, size=7)
    assert layer.model_copy(update={"gzip": packed}).blob == packed


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_that_has_no_place_in_utc_is_refused(moment: str):
    """Nobody has to sign it: one such file must not end every list that shows the moment."""
    with pytest.raises(IntegrityError, match=r"exported_at: .* outside the years 1 to 9999"):
        Candidate.from_bytes(changed(exported_at=moment), "candidate.json")
