"""Archives that are damaged, incomplete or made to mislead."""

from __future__ import annotations

import gzip
import json
import random
import tarfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jenkins_release.base.errors import ConfigurationError, IntegrityError, ReleaseError
from jenkins_release.images import ArchiveLimits, ArchiveReader
from tests.fixtures.archives import (
    END,
    OciLayout,
    config_json,
    docker_members,
    header_with,
    join,
    layer_tar,
    member,
    read,
    sha256,
    star,
    to_json,
)

BASE, OWN = layer_tar("base"), layer_tar("own")
IMAGES = {"skydrm/rms:8.1.0-42": [BASE, OWN], "skydrm/viewer:8.1.0-42": [BASE]}
DOCKER = join(docker_members(IMAGES))


def _oci() -> bytes:
    layout = OciLayout()
    image = layout.image([BASE, OWN], compression="gzip")
    layout.name(image, "skydrm/rms:8.1.0-42")
    layout.name_docker(image, "skydrm/rms:8.1.0-42")
    return join(layout.members())


OCI = _oci()


def _identity(data: bytes) -> set[tuple[str, tuple[str, ...]]]:
    return {(image.config_digest, image.diff_ids) for image in read(data).images}


def _refused(message: str, *extra: bytes) -> None:
    """Read a good archive with further members, which must be refused."""
    with pytest.raises(IntegrityError, match=message):
        read(join([*docker_members(IMAGES).values(), *extra]))


@pytest.mark.parametrize("data", [DOCKER, OCI], ids=["docker", "oci"])
def test_every_truncation_is_noticed(data):
    """Cut at any block boundary, or a byte beside one, the archive is refused: also without its end."""
    assert len(data) % 512 == 0
    for boundary in range(0, len(data), 512):
        for cut in {max(boundary - 1, 0), boundary, boundary + 1, boundary + 100}:
            if cut < len(data):
                with pytest.raises(IntegrityError, match=r"truncated|is empty"):
                    read(data[:cut])


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (100, "in a header, 100 of 512 bytes exist"),
        (512 + 10, "in the data of '.*json', .* bytes are missing"),
        (len(DOCKER) - 1024, "expected two zero blocks, found 0"),
        (len(DOCKER) - 512, "expected two zero blocks, found 1"),
    ],
)
def test_truncation_says_where(cut, message):
    """The message tells in which member the archive ends, and how much is missing."""
    data = join(sorted(docker_members(IMAGES).values(), key=lambda part: b"Config" not in part))
    with pytest.raises(IntegrityError, match=message):
        read(data[:cut])


@pytest.mark.parametrize("data", [DOCKER, OCI], ids=["docker", "oci"])
def test_a_flipped_bit_never_changes_the_identity(data):
    """Any single bit: the archive is refused, or its images are the same and its hash is another."""
    good, whole = _identity(data), read(data)
    draw = random.Random(20)  # noqa: S311
    refused = 0
    for position in range(0, len(data), 13):
        damaged = bytearray(data)
        damaged[position] ^= 1 << draw.randrange(8)
        try:
            index = read(bytes(damaged))
        except IntegrityError:
            refused += 1
            continue
        assert _identity(bytes(damaged)) == good
        assert index.sha256 != whole.sha256
    assert refused > 100


@pytest.mark.parametrize("data", [DOCKER, OCI], ids=["docker", "oci"])
def test_a_flipped_bit_in_a_header_is_refused(data):
    """The checksum covers the header: names, sizes and types cannot change unnoticed."""
    for offset in (0, 50, 100, 124, 130, 156, 157, 257, 345):
        damaged = bytearray(data)
        damaged[offset] ^= 4
        with pytest.raises(IntegrityError, match="no valid tar header at byte 0"):
            read(bytes(damaged))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/etc/passwd", "has an absolute name"),
        ("../outside", "has '..' in its name"),
        ("a/../../outside", "has '..' in its name"),
        ("manifest.json", "'manifest.json' occurs twice"),
        ("./manifest.json", "'manifest.json' occurs twice"),
        (".", "has no proper name"),
        ("manifest.json/below", "is below 'manifest.json', which is not a folder"),
    ],
)
def test_names_that_mislead_are_refused(name, message):
    """Names that leave the archive, or that another member has."""
    _refused(message, member(name, b"x"))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/etc/passwd", "expected a name inside the archive"),
        ("", "expected a name inside the archive"),
        ("../../etc/passwd", "which is outside the archive"),
        ("missing", "which is not in the archive"),
        ("link", "which is a link itself"),
        (".", "which is not in the archive"),
    ],
)
def test_links_that_lead_nowhere_are_refused(target, message):
    """A link must lead to a file of the archive, also when nothing uses it."""
    _refused(message, member("link", kind=tarfile.SYMTYPE, target=target))


def test_link_to_a_folder_is_refused():
    """Only files can stand behind a link."""
    folder = member("folder/", kind=tarfile.DIRTYPE)
    _refused(
        "leads to 'folder', which is a folder", folder, member("link", kind=tarfile.SYMTYPE, target="folder")
    )


def test_link_in_place_of_a_blob_must_have_its_bytes():
    """A link named like a blob cannot stand for other bytes."""
    name = f"blobs/sha256/{'0' * 64}"
    link = member(name, kind=tarfile.SYMTYPE, target="../../manifest.json")
    _refused("do not match its name", link)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (tarfile.LNKTYPE, "is a hard link"),
        (b"g", "is a global pax header"),
        (tarfile.CHRTYPE, "is a character device"),
        (tarfile.BLKTYPE, "is a block device"),
        (tarfile.FIFOTYPE, "is a fifo"),
        (tarfile.CONTTYPE, "is a contiguous file"),
        (tarfile.GNUTYPE_SPARSE, "is a sparse file"),
        (b"Z", "of the unknown type"),
    ],
)
def test_members_that_no_image_has_are_refused(kind, message):
    """Devices, fifos, sparse files and unknown kinds."""
    _refused(message, member("strange", kind=kind))


@pytest.mark.parametrize(
    ("offset", "field", "message"),
    [
        (257, b"ustar\x0001", "neither POSIX's nor GNU's mark"),
        (257, b"ustar\0  ", "neither POSIX's nor GNU's mark"),
        (257, b"USTAR  \0", "neither POSIX's nor GNU's mark"),
        (257, bytes(8) + b"root", "neither POSIX's nor GNU's mark"),
        (345, b"prefix", "GNU's format has no prefix"),
        (508, b"tar\0", "GNU's format has no prefix"),
        (100, b"\x80" + bytes(7), "the mode .* expected an octal number"),
        (108, b"\xff" * 8, "the owner .* is negative or invalid"),
        (116, b"0000x\0", "the group .* expected an octal number"),
        (136, b"\xff" * 12, "the time .* is negative or invalid"),
        (329, b"\x80" + bytes(7), "the device .* expected an octal number"),
        (124, b"\xff" * 12, "is negative or invalid"),
        (124, b"\x80" + b"\xff" * 11, "is negative or invalid"),
        (124, b"-0000000001\0", "expected an octal number"),
        (124, b"0000000009x\0", "expected an octal number"),
        (0, b"\xff\xfe", "is not UTF-8"),
        (157, b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_header_fields_that_cannot_be_understood_are_refused(offset, field, message):
    """Negative, huge and malformed numbers, and names that are no text; the checksum is right."""
    _refused(message, header_with(member("odd"), offset, field))


def test_folder_with_data_is_refused():
    """Readers differ in whether data follows the header of a folder with a size."""
    _refused("is a directory of 8 bytes", member("folder/", b"contents", kind=tarfile.DIRTYPE))


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (b"", "expected 1 to"),
        (b"garbage", "malformed record"),
        (b"99 path=short\n", "malformed record"),
        (b"13 path=short", "malformed record"),
        (b"12 size=abc\n", "expected a number of bytes"),
        (b"11 size=-1\n", "expected a number of bytes"),
        (b"10 path=a\n10 path=b\n", "twice or to an empty value"),
        (b"8 path=\n", "twice or to an empty value"),
        (b"22 GNU.sparse.major=1\n", "sparse file"),
        (b"13 comment=a\n13 comment=b\n", "twice or to an empty value"),
        (b"13 mtime=nan\n", "which saved images do not have"),
        (b"9 uid=-1\n", "which saved images do not have"),
        (b"27 SCHILY.xattr.user.a=abc\n", "which saved images do not have"),
        (b"10 Path=a\n", "which saved images do not have"),
        (b"10 path=\xff\n", "is not UTF-8"),
        (b"12 path=a\0b\n", "contains a zero byte"),
    ],
)
def test_pax_headers_that_mislead_are_refused(records, message):
    """Malformed records, two names for one member, sparse files."""
    _refused(message, member("pax", records, kind=b"x"), member("file"))


@pytest.mark.parametrize(
    "kinds", [b"LL", b"KK", b"xx", b"Lx", b"xL", b"Kx", b"LKx"], ids=lambda kinds: kinds.decode()
)
def test_two_long_names_for_one_member_are_refused(kinds):
    """For Go a second pax header replaces the first, and GNU's name wins over a pax header's."""
    data = {b"L": b"one\0", b"K": b"two\0", b"x": b"13 comment=a\n"}
    headers = [bytes([kind]) for kind in kinds]
    _refused("is duplicate", *(member("l", data[kind], kind=kind) for kind in headers), member("f"))


def test_long_name_without_a_member_is_refused():
    """An extension header at the end announces a member that is missing."""
    _refused("where a member was expected", member("l", b"one\0", kind=b"L"))


@pytest.mark.parametrize("rest", [b"x", bytes(511) + b"x", bytes(5000) + b"x", member("late", b"data")])
def test_bytes_after_the_end_are_refused(rest):
    """Nothing but zeros may follow: another reader could find members there."""
    with pytest.raises(IntegrityError, match="goes on after its end"):
        read(DOCKER + rest)


def test_padding_that_is_cut_short_is_noticed():
    """Zeros may follow the end, in whole blocks: every writer of archives pads to them."""
    with pytest.raises(IntegrityError, match="not a multiple of 512"):
        read(DOCKER + bytes(700))
    with pytest.raises(IntegrityError, match="509 bytes of padding are missing"):
        read(member("VERSION", b"1.0")[:515])


def test_folder_of_the_old_kind_is_a_folder():
    """Before POSIX a folder was a file whose name ends with a slash: nothing can be read from it."""
    members = docker_members(IMAGES)
    folder = next(name for name in members if f"{name}/VERSION" in members)
    members[folder] = member(f"{folder}/", kind=tarfile.AREGTYPE)
    assert _identity(join(members)) == _identity(DOCKER)
    _refused("occurs twice", member(folder, b"x"))
    _refused("is a file with the name of a folder", member("folder/", kind=tarfile.REGTYPE))


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (member("notes.txt", b"x"), "notes.txt"),
        (member("link", kind=tarfile.SYMTYPE, target="manifest.json"), "link"),
        (member("folder/", kind=tarfile.DIRTYPE), "folder"),
        (member("blobs/sha256/" + sha256(b"x")[7:], b"x"), "blobs/sha256/2d711642"),
        (member("index.json.bak", b"{}"), "index.json.bak"),
    ],
)
def test_members_that_no_document_names_are_refused(extra, named):
    """Another reader could find a use for them, or another name."""
    _refused(f"no document of the archive names '{named}", extra)


def test_tags_of_the_old_document_must_be_those_of_the_new():
    """`repositories` is what Docker before 1.10 read: it cannot name other images."""
    members = docker_members({"a:1": [BASE]})
    folder = next(name for name in members if f"{name}/VERSION" in members)
    fine = members | {"repositories": member("repositories", to_json({"a": {"1": folder}}))}
    assert read(join(fine)).images[0].references == ("a:1",)
    other = members | {"repositories": member("repositories", to_json({"b": {"1": folder}}))}
    with pytest.raises(IntegrityError, match=r"repositories names b:1, but manifest\.json does not"):
        read(join(other))


def test_end_inside_the_archive_is_refused():
    """A single zero block between members hides those that follow from some readers."""
    with pytest.raises(IntegrityError, match="expected a second zero block"):
        read(DOCKER[:-1024] + bytes(512) + member("late") + END)


def test_error_message_in_the_stream_is_shown():
    """A daemon that fails half-way writes its error into the archive; the message shows it."""
    said = b'{"errorDetail":{"message":"no space left on device"},"error":"no space left on device"}\r\n'
    with pytest.raises(IntegrityError, match="no space left on device"):
        read(DOCKER[:512] + (said + bytes(2000))[:1024])


def test_limits_hold():
    """Members, documents and extension headers are bounded; the message names the limit."""
    many = [member(f"f{number}") for number in range(60)]
    big = member("manifest.json", to_json([" " * 5000]))
    cases = [
        (join([*docker_members(IMAGES).values(), *many]), ArchiveLimits(members=50), "more than 50 members"),
        (join([big]), ArchiveLimits(document_bytes=1000), "manifest.json has .* expected at most 1000"),
        (
            join([member("l", b"n" * 2000, kind=b"L")]),
            ArchiveLimits(extension_bytes=1000),
            "expected 1 to 1000",
        ),
        (DOCKER, ArchiveLimits(documents_bytes=300), "documents are too large in total"),
    ]
    for data, limits, message in cases:
        with pytest.raises(IntegrityError, match=message):
            read(data, limits=limits)


def test_oversized_config_is_refused():
    """A config is only kept up to the limit, whatever its name."""
    data = join(_with_config(config_json([BASE], padding="x" * 5000)))
    with pytest.raises(IntegrityError, match=r"should be a JSON document but has .* at most 1000"):
        read(data, limits=ArchiveLimits(document_bytes=1000))


def _with_config(config: bytes, *, layers: tuple[bytes, ...] = (BASE,), name: str = "") -> list[bytes]:
    name = name or f"{sha256(config)[7:]}.json"
    paths = [f"{number}.tar" for number in range(len(layers))]
    manifest = [{"Config": name, "RepoTags": ["a:1"], "Layers": paths}]
    return [
        member(name, config),
        *(member(path, layer) for path, layer in zip(paths, layers, strict=True)),
        member("manifest.json", to_json(manifest)),
    ]


GOOD = json.loads(config_json([BASE]))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"{", "is not valid JSON"),
        (b"[]", "expected an object"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"os": "linux", "os": "windows"}', "the key 'os' occurs twice"),
        (b"{" + b'"a":{' * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not valid JSON"),
        (b'{"a": "\xff"}', "is not UTF-8"),
        (b"\xef\xbb\xbf{}", "should be a JSON document|is not valid JSON"),
        (to_json({**GOOD, "OS": "windows"}), "has 'OS' instead of 'os'"),
        (to_json({**GOOD, "os": 5}), "'os' of config .* is 5, expected a string"),
        (to_json({**GOOD, "rootfs": {"type": "layers"}}), "has 0 diff_ids"),
        (to_json({**GOOD, "rootfs": None}), "has no 'rootfs'"),
        (to_json({**GOOD, "rootfs": {"type": "other", "diff_ids": []}}), "expected 'layers'"),
        (to_json({**GOOD, "rootfs": {"type": "layers", "diff_ids": ["sha256:1"]}}), "64 hexadecimal digits"),
        (to_json({**GOOD, "rootfs": {"type": "layers", "diff_ids": [1]}}), "expected a string"),
    ],
)
def test_configs_that_no_docker_writes_are_refused(config, message):
    """Invalid, ambiguous and incomplete configs, each by name."""
    with pytest.raises(IntegrityError, match=message):
        read(join(_with_config(config)))


def test_config_must_have_the_hash_in_its_name():
    """``<hex>.json`` is a promise."""
    with pytest.raises(IntegrityError, match=r"config 0000.*\.json do not match its name: found sha256:"):
        read(join(_with_config(config_json([BASE]), name="0" * 64 + ".json")))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((OWN,), "layer 1 of .*a:1.*0.tar, is not in the config: expected sha256:.*, found sha256:"),
        ((BASE, OWN), "lists 2 layers, but its config .* has 1 diff_ids"),
        ((), "lists 0 layers, but its config .* has 1 diff_ids"),
    ],
)
def test_layers_must_be_the_configs(layers, message):
    """A foreign layer, one too many, one too few."""
    with pytest.raises(IntegrityError, match=message):
        read(join(_with_config(config_json([BASE]), layers=layers)))


def test_archive_of_something_else_is_refused():
    """A tar without images is not an image archive; nor is a file that is no tar, or empty."""
    for data, message in [
        (join([member("readme.txt", b"hello")]), "neither manifest.json nor index.json"),
        (b"PK\3\4" + bytes(2000), "compressed with zip, expected a plain tar archive"),
        (gzip.compress(DOCKER), "compressed with gzip, expected a plain tar archive"),
        (b"no tar" + bytes(2000), "no valid tar header at byte 0"),
        (b"", "the archive is empty"),
        (END, "neither manifest.json nor index.json"),
    ]:
        with pytest.raises(IntegrityError, match=message):
            read(data)


def test_a_refusal_is_final():
    """Whatever is fed afterwards, the first error stands: it cannot be overlooked."""
    reader = ArchiveReader()
    with pytest.raises(IntegrityError) as first:
        reader.feed(b"x" * 512)
    for call in (lambda: reader.feed(DOCKER), reader.finish):
        with pytest.raises(IntegrityError) as again:
            call()
        assert again.value is first.value


def test_feeding_a_finished_reader_is_a_mistake():
    """The index would no longer be that of the bytes."""
    reader = ArchiveReader()
    reader.feed(DOCKER)
    assert reader.finish() is reader.finish()
    with pytest.raises(ReleaseError, match="has finished"):
        reader.feed(b"\0")


@settings(max_examples=300)
@given(st.binary(max_size=3000))
@example(b"\0" * 512)
def test_garbage_is_refused_and_nothing_else(data):
    """No bytes make the reader raise anything but its own errors."""
    with pytest.raises((IntegrityError, ConfigurationError)):
        read(data, step=600)


@settings(max_examples=300)
@given(
    base=st.sampled_from([DOCKER, OCI]),
    edits=st.lists(
        st.tuples(st.floats(0, 0.9999), st.binary(max_size=40), st.integers(0, 600)), min_size=1, max_size=4
    ),
)
def test_edited_archives_are_refused_or_the_same(base, edits):
    """Pieces cut out and put in: the reader's own errors, or the same identity."""
    data = base
    for place, insert, removed in edits:
        start = int(place * len(data))
        data = data[:start] + insert + data[start + removed :]
    try:
        found = {(image.config_digest, image.diff_ids) for image in read(data).images}
    except (IntegrityError, ConfigurationError):
        return
    assert found <= _identity(base)


_json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=10)
    | st.sampled_from([sha256(BASE), "0.tar", "c"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Config",
                    "RepoTags",
                    "Layers",
                    "manifests",
                    "digest",
                    "size",
                    "mediaType",
                    "platform",
                    "annotations",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(name=st.sampled_from(["manifest.json", "index.json", "c"]), document=_json_values)
def test_any_document_is_understood_or_refused(name, document):
    """Documents of any shape never raise anything but the reader's own errors."""
    files = {
        "c": config_json([BASE]),
        "0.tar": BASE,
        "manifest.json": to_json([{"Config": "c", "RepoTags": ["a:1"], "Layers": ["0.tar"]}]),
        "oci-layout": to_json({"imageLayoutVersion": "1.0.0"}),
    }
    files[name] = to_json(document)
    try:
        read(join([member(path, data) for path, data in files.items()]))
    except (IntegrityError, ConfigurationError):
        return
    assert name not in {"manifest.json", "index.json"} or document


@pytest.mark.parametrize("dialect", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_a_header_of_stars_format_is_refused(dialect):
    """Attack F3: Go reads a prefix of 131 bytes from it, and ``manifest.json`` as the name."""
    block = tarfile.TarInfo("manifest.json").tobuf(dialect)
    _refused("programs read different names", star(block))


@pytest.mark.parametrize(
    "reference",
    [
        *("a", "A:1", "a@sha256:" + "0" * 64, "a:1@sha256:" + "0" * 64, "", ":1", "a:", "a b:1", "a:\n1"),
        *(
            "x" * 256 + ":1",
            "0" * 64 + ":1",
            "a:" + "1" * 129,
            "host_.example/a:1",
            "a//b:1",
            "a/:1",
            "../a:1",
        ),
    ],
)
def test_names_that_docker_does_not_take_are_refused(reference):
    """What is read here as an image's name has to be its name for `docker load`."""
    with pytest.raises(IntegrityError, match="expected a name with a tag"):
        read(_named(reference))


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("docker.io/library/a:1", "a:1"),
        ("index.docker.io/a:1", "a:1"),
        ("library/a:1", "a:1"),
        ("docker.io/a/b:1", "a/b:1"),
        ("localhost/a:1", "localhost/a:1"),
        ("r.example.com:5000/library/a:1", "r.example.com:5000/library/a:1"),
    ],
)
def test_names_are_shown_as_docker_shows_them(reference, shown):
    """The short form, whatever the archive has."""
    assert read(_named(reference)).images[0].references == (shown,)


def _named(reference: str) -> bytes:
    parts = _with_config(config_json([BASE]), name="c.json")
    manifest = [{"Config": "c.json", "RepoTags": [reference], "Layers": ["0.tar"]}]
    return join([*parts[:-1], member("manifest.json", to_json(manifest))])
