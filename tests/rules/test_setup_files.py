"""The setup zip: the same bytes every time, only what was promoted in it, and every mistake at once."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.rules.setup_zip.files import README
from jenkins_release.rules.setup_zip.settings import read_settings
from tests.fixtures.setup_zip import COMPOSE, SCRIPTS, SETTINGS, TARGET, TEMPLATES, setup_files, setup_zip
from tests.fixtures.story import MANIFESTS, REGISTRY, good


def mistakes(changed: Mapping[str, bytes], without: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return what is wrong with templates."""
    templates = {path: data for path, data in (TEMPLATES | changed).items() if path not in without}
    with pytest.raises(ConfigurationError) as caught:
        setup_files(templates=templates)
    return tuple(caught.value.reasons)


def test_two_builds_make_the_same_bytes():
    """Whatever the order in which files were found; nothing of machine, user or time is in it."""
    story = good()
    turned = dict(reversed(TEMPLATES.items()))
    assert setup_zip(story) == setup_zip(story, turned, scripts=dict(reversed(SCRIPTS.items())))


def test_a_byte_order_mark_in_a_template_is_passed_over():
    """An editor of Windows puts it before the first setting, where ``setup.sh`` would read another name."""
    story = good()
    marked = {path: b"\xef\xbb\xbf" + data for path, data in TEMPLATES.items()}
    assert setup_zip(story, marked) == setup_zip(story)


def test_members_are_stored_with_fixed_modes_order_and_time():
    """Deflate would differ between builds of zlib; the time is that of the promotion."""
    bundle, members = setup_files()
    with zipfile.ZipFile(io.BytesIO(setup_zip())) as archive:
        infos = archive.infolist()
    names = [info.filename for info in infos]
    assert names == sorted(f"SkyDRM-setup-8.1.0/{path}" for path in members)
    promoted = bundle.promoted_at
    for info in infos:
        executable = info.filename.endswith(".sh") and "/lib/" not in info.filename
        assert info.compress_type == zipfile.ZIP_STORED
        assert info.external_attr >> 16 == (0o100755 if executable else 0o100644)
        assert datetime(*info.date_time, tzinfo=UTC).replace(second=0) == promoted.replace(second=0)
    assert {"setup.sh", "upgrade.sh", "verify.sh", "ecr-login.sh", "README.md", "attestations.jsonl"} <= {
        name.partition("/")[2] for name in names
    }


def test_images_are_named_by_the_digests_of_the_promotion():
    """In the Compose file, for the scripts, and in the README."""
    _, members = setup_files()
    compose = members["docker-compose.yml"].data.decode()
    for name, digest in MANIFESTS.items():
        assert f"image: {REGISTRY}/skydrm/{name}@{digest}\n" in compose
        assert f"{REGISTRY}/skydrm/{name}@{digest}" in members[README].data.decode()
        assert f"skydrm/{name}@{digest}" in members["release.env"].data.decode()
    assert "${ACME_PORT}" in compose
    assert "{{" not in compose
    assert members[README].data.decode().endswith("## Notes of SkyDRM\n\n")


def test_every_mistake_in_the_templates_is_told_at_once():
    """Names, placeholders, images and settings."""
    found = mistakes(
        {
            "docker-compose.yml": COMPOSE
            + b"  other:\n    image: nginx:latest\n    build: .\n"
            + b"  x: {image: y}\n  z:\n    image: {{image.z}}\n",
            "settings.txt": SETTINGS + b"lower|host||x\n",
            "notes.md": b"{{nothing}}",
            "config/b.conf.in": b"\xff",
            "config/A.conf.in": b"",
            "config/a.conf.in": b"",
            "config/c.conf": b"",
            "deep/er.txt": b"",
        }
    )
    for expected in (
        "the image nginx:latest is not one of the release",
        "docker-compose.yml: build: is not allowed here",
        "each image must be on a separate line",
        "there is no value for {{image.z}}",
        "'lower' is not a name",
        "notes.md: there is no value for {{nothing}}",
        "config/b.conf.in cannot be read: line 1 is not UTF-8: save it as UTF-8",
        "config/a.conf.in exists in upper and lower case",
        "deep/er.txt is not one of",
        "config/c.conf is not one of",
    ):
        assert any(expected in reason for reason in found), (expected, found)


def test_a_missing_or_empty_compose_file_and_unused_images_are_told():
    """A customer would not get an image that was promoted."""
    found = mistakes({"docker-compose.yml": b"services: {}\n"}, without=("settings.txt",))
    assert "settings.txt is missing" in found
    assert "docker-compose.yml: the image viewer of the release is unused" in found


@pytest.mark.parametrize("name", ["../up.in", "config/..", "config\\x.in", "config/nul.in", "/abs", "a\x00b"])
def test_names_that_no_zip_should_have_are_refused(name: str):
    """Above the folder, absolute, with a backslash, or reserved on Windows."""
    assert mistakes({name: b""})


def test_a_setting_that_a_config_template_names_has_to_exist():
    """The customer would find @NAME@ in a file."""
    assert mistakes({"config/acme.conf.in": b"@ACME_HOST@ @ACME_HOTS@"}) == (
        "config/acme.conf.in: there is no setting ACME_HOTS",
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A_B|host|x", "has 3 parts"),
        ("A_B|host|x|y|z", "has 5 parts"),
        ("a|host||q", "is not a name"),
        ("COMPOSE_FILE|text||q", "Docker, AWS or the scripts use"),
        ("PATH|text||q", "Docker, AWS or the scripts use"),
        ("A_B|hots||q", "is not one of host"),
        ("A_B|choice()||q", "is not one of host"),
        ("A_B|choice(a,b)|c|q", "is not one of a, b"),
        ("A_B|password|hunter2|q", "everyone can read"),
        ("A_B|text|$(reboot)|q", "must not contain"),
        ("A_B|text|`reboot`|q", "must not contain"),
        ("A_B|text|it's|q", "must not contain"),
        ("A_B|text||", "must not contain"),
        ("A_B|host||q\nA_B|port||q", "occurs twice"),
    ],
)
def test_wrong_settings_are_refused(line: str, expected: str):
    """With the line; a shell will read the file."""
    with pytest.raises(ConfigurationError) as caught:
        read_settings(line, "settings.txt")
    assert expected in caught.value.reasons[0]


def test_settings_are_read():
    """Types, optional ones, choices."""
    found = {setting.name: setting for setting in read_settings(SETTINGS.decode(), "settings.txt")}
    assert found["ACME_CERT"].optional
    assert not found["ACME_HOST"].optional
    assert found["ACME_LEVEL"].choices == ("error", "info")
    assert found["ACME_TITLE"].default == "Our documents"


def test_what_goes_to_a_shell_is_checked():
    """A host with a quote would be code."""
    from dataclasses import replace

    with pytest.raises(ConfigurationError, match="cannot be passed to a shell"):
        setup_files(target=replace(TARGET, layer_host="x'; reboot; '"))
