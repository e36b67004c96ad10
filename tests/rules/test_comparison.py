"""What differs between two candidates: packages, layers, settings, statements, installers."""

from __future__ import annotations

from typing import Any

import pytest

from jenkins_release.base.errors import REDACTED
from jenkins_release.records.candidate import (
    Candidate,
    FileRecord,
    ImageRecord,
    InstallerRecord,
    LayerRecord,
)
from jenkins_release.records.sbom import Finding, Package
from jenkins_release.rules.release.comparison import (
    Difference,
    compare_findings,
    compare_installers,
    compare_layers,
    compare_packages,
    compare_settings,
    formats_to_compare,
)
from jenkins_release.rules.release.installers import without_version
from tests.fixtures.gate import CANDIDATE, candidate


def package(name: str, version: str, ecosystem: str = "npm") -> Package:
    return Package(f"pkg:{ecosystem}/{name}", name, ecosystem, version)


class TestPackages:
    def test_added_removed_and_changed(self) -> None:
        """Sorted by ecosystem and name; the rest is counted."""
        old = [package("a", "1"), package("b", "1"), package("same", "1")]
        new = [package("z", "1", "deb"), package("b", "2"), package("c", "1"), package("same", "1")]
        found = compare_packages(old, new)
        assert [(each.name, each.change, each.old, each.new) for each in found.changes] == [
            ("z", "added", (), ("1",)),
            ("a", "removed", ("1",), ()),
            ("b", "changed", ("1",), ("2",)),
            ("c", "added", (), ("1",)),
        ]
        assert found.unchanged == 1
        assert [each.name for each in found.of("added")] == ["z", "c"]

    def test_a_package_with_several_versions_is_one(self) -> None:
        """An application brings some in twice: the versions stand side by side."""
        found = compare_packages(
            [package("ms", "2.0.0"), package("ms", "2.1.3")], [package("ms", "2.1.3"), package("ms", "2.1.3")]
        )
        (change,) = found.changes
        assert (change.old, change.new, change.change) == (("2.0.0", "2.1.3"), ("2.1.3",), "changed")

    @pytest.mark.parametrize(
        ("ecosystem", "old", "new", "rebuilt"),
        [
            ("npm", "1.2.0+build.1", "1.2.0+build.2", True),
            ("golang", "2.0.0", "2.0.0+incompatible", True),
            ("pypi", "2.4.0+cpu", "2.4.0", True),
            ("npm", "1.2.0+1", "1.2.1+1", False),
            ("deb", "1.2+dfsg-1", "1.2+dfsg-2", False),
            ("deb", "1:1.2-3", "1:1.2-3+b1", False),
            ("rpm", "1.2-3.el9", "1.2-4.el9", False),
        ],
    )
    def test_a_version_that_differs_only_in_its_build(
        self, ecosystem: str, old: str, new: str, rebuilt: bool
    ) -> None:
        """It is listed apart, and never left out. Distributions' versions count in full."""
        found = compare_packages([package("a", old, ecosystem)], [package("a", new, ecosystem)])
        assert len(found.changes) == 1
        assert (len(found.rebuilt), len(found.of("changed"))) == (rebuilt, not rebuilt)

    def test_an_unknown_version(self) -> None:
        """It is one, and not the same as none."""
        (change,) = compare_packages([package("a", "")], [package("a", "1")]).changes
        assert (change.old, change.new) == (("?",), ("1",))

    def test_the_same_packages(self) -> None:
        """In another order."""
        packages = [package("a", "1"), package("b", "2")]
        assert compare_packages(packages, packages[::-1]).changes == ()


def image(*layers: tuple[str, int]) -> ImageRecord:
    own = Candidate.from_bytes(CANDIDATE, "candidate.json").images[0]
    made = tuple(
        LayerRecord(
            diff_id="sha256:" + each * 64,
            digest="sha256:" + each * 64,
            offset=0,
            size=size,
            compression="gzip",
        )
        for each, size in layers
    )
    return own.model_copy(update={"layers": made})


def test_layers_by_diff_id() -> None:
    """Compressed anew, a layer is still shared; one that is there twice counts twice."""
    found = compare_layers(
        image(("a", 10), ("b", 5), ("e", 1)), image(("a", 12), ("c", 7), ("e", 1), ("e", 1))
    )
    assert (found.shared, found.shared_bytes) == (2, 13)
    assert (found.added, found.added_bytes) == (2, 8)
    assert (found.removed, found.removed_bytes) == (1, 5)


def settings(**values: Any) -> dict[str, Any]:
    return {"config": {"Labels": {"built": "now"}, **values}, "created": "2026-11-30T10:00:00Z"}


class TestSettings:
    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ({}, {"User": "1000"}, Difference("User", None, "1000")),
            ({"Entrypoint": ["/a", "-x"]}, {"Entrypoint": ["/b"]}, Difference("Entrypoint", "/a -x", "/b")),
            (
                {"ExposedPorts": {"8443/tcp": {}, "80/tcp": {}}},
                {"ExposedPorts": {"8443/tcp": {}}},
                Difference("ExposedPorts", "80/tcp 8443/tcp", "8443/tcp"),
            ),
            ({"Env": ["JAVA=17"]}, {"Env": ["JAVA=21"]}, Difference("Env JAVA", "17", "21")),
            ({"Env": ["A=1"]}, {"Env": None}, Difference("Env A", "1", None)),
            ({}, {"Env": ["EMPTY="]}, Difference("Env EMPTY", None, "")),
            (
                {"Healthcheck": {"Test": ["CMD", "a"]}},
                {"Healthcheck": {"Test": ["CMD", "a"], "Retries": 3}},
                Difference("Healthcheck", "Test=CMD a", "Retries=3, Test=CMD a"),
            ),
        ],
    )
    def test_what_differs(self, old: dict[str, Any], new: dict[str, Any], expected: Difference) -> None:
        """How a container of the image runs."""
        assert compare_settings(settings(**old), settings(**new)) == (expected,)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("Env", ["DATABASE_URL=postgres://app:hunter2@db/x"]),
            ("Env", ["DB_PWD=hunter2"]),
            ("Env", ["JWT_KEY=hunter2"]),
            ("Env", ["SENTRY_DSN=hunter2"]),
            ("Cmd", ["serve", "--db-password=hunter2"]),
            ("Cmd", ["serve", "--api-key=hunter2"]),
            ("Cmd", ["serve", "--connection-string", "hunter2"]),
            ("Entrypoint", ["serve", "--token", "hunter2"]),
            ("Healthcheck", {"Test": ["CMD", "curl", "http://u:hunter2@127.0.0.1/"]}),
        ],
    )
    def test_no_secret_is_shown_wherever_it_stands(self, field: str, value: Any) -> None:
        """Text, JSON and page are made from the same differences."""
        for old, new in (({}, {field: value}), ({field: value}, {})):
            (found,) = compare_settings({"config": old}, {"config": new})
            assert "hunter2" not in f"{found}"
            assert REDACTED in f"{found}"

    @pytest.mark.parametrize("name", ["DB_PASSWORD", "API_KEY", "github_token", "AWS_SECRET_ACCESS_KEY"])
    def test_secrets_are_not_shown(self, name: str) -> None:
        """That one changed is said; a page is kept for years."""
        found = compare_settings(settings(Env=[f"{name}=one"]), settings(Env=[f"{name}=two"]))
        assert found == (Difference(f"Env {name}", REDACTED, REDACTED),)

    def test_what_changes_with_every_build(self) -> None:
        """Labels and times are no differences."""
        other = settings(Labels={"built": "later"}) | {"created": "2026-12-01T10:00:00Z"}
        assert compare_settings(settings(), other) == ()
        assert compare_settings({}, {"config": None}) == ()


def test_statements_about_vulnerabilities() -> None:
    """Those that are new, gone, or of another status."""
    old = [Finding("CVE-1", "affected"), Finding("CVE-2", "fixed"), Finding("CVE-3", "fixed")]
    new = [Finding("CVE-1", "fixed"), Finding("CVE-3", "fixed"), Finding("CVE-4", "affected")]
    new.append(Finding("CVE-4", "not_affected"))
    assert compare_findings(old, new) == (
        Difference("CVE-1", "affected", "fixed"),
        Difference("CVE-2", "fixed", None),
        Difference("CVE-4", None, "affected, not_affected"),
    )


def with_installers(version: str, build: str, **files: str) -> Candidate:
    """A candidate with installers; in names, ``__`` stands for a full stop, ``_V_`` for the version."""
    names = {
        name.replace("_V_", version).replace("_B_", build).replace("__", "."): digest
        for name, digest in files.items()
    }
    records = tuple(
        FileRecord(path=f"installers/{name}", size=100 * int(digest, 16), sha256=digest * 64)
        for name, digest in names.items()
    )
    own = Candidate.from_bytes(CANDIDATE, "candidate.json")
    data = candidate(
        version=version,
        build=build,
        files=(*own.files, *records),
        installers=tuple(InstallerRecord(path=each.path, kind="installer") for each in records),
    )
    return Candidate.from_bytes(data, "candidate.json")


class TestInstallers:
    def test_they_are_paired_without_version_and_build(self) -> None:
        """A new version has a new name."""
        old = with_installers(
            "8.1.0", "42", **{"Sky-_V___msi": "1", "sky-_V_-_B___x86_64__rpm": "2", "a": "3"}
        )
        new = with_installers(
            "8.1.1", "57", **{"Sky-_V___msi": "4", "sky-_V_-_B___x86_64__rpm": "2", "b": "5"}
        )
        assert [(each.old, each.new, each.change) for each in compare_installers(old, new)] == [
            (("Sky-8.1.0.msi", 100, "1" * 64), ("Sky-8.1.1.msi", 400, "4" * 64), "changed"),
            (("a", 300, "3" * 64), None, "removed"),
            (None, ("b", 500, "5" * 64), "added"),
            (
                ("sky-8.1.0-42.x86_64.rpm", 200, "2" * 64),
                ("sky-8.1.1-57.x86_64.rpm", 200, "2" * 64),
                "same",
            ),
        ]

    def test_names_that_only_differ_in_the_version(self) -> None:
        """Two of one candidate cannot be told apart without it: they keep their names."""
        old = with_installers("8.1.0", "42", **{"a-8__1__0": "1", "a-8__1__0-42": "2"})
        new = with_installers("8.1.1", "43", **{"a-8__1__1": "1"})
        assert [each.change for each in compare_installers(old, new)] == ["removed", "removed", "added"]

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("SkyDRM-8.1.0.msi", "SkyDRM-{version}.msi"),
            ("SkyDRM-8.1.0-42.msi", "SkyDRM-{version}.msi"),
            ("SkyDRM_8_1_0.42.msi", "SkyDRM_{version}.msi"),
            ("SkyDRM-18.1.0.msi", "SkyDRM-18.1.0.msi"),
            ("SkyDRM-8.1.01.msi", "SkyDRM-8.1.01.msi"),
            ("8.1.0/SkyDRM", "{version}/SkyDRM"),
        ],
    )
    def test_a_name_without_its_version(self, name: str, expected: str) -> None:
        """Only this version, and a build after it."""
        assert without_version(name, "8.1.0", "42") == expected


@pytest.mark.parametrize(
    ("old", "new", "formats", "noted"),
    [
        (["spdx"], ["spdx"], {"spdx"}, False),
        (["spdx", "cyclonedx"], ["cyclonedx"], {"cyclonedx"}, False),
        (["spdx"], ["cyclonedx"], {"spdx", "cyclonedx"}, True),
    ],
)
def test_like_is_compared_with_like(old: list[str], new: list[str], formats: set[str], noted: bool) -> None:
    """Two scanners differ more than two releases; where nothing else is there, that is said."""
    found, note = formats_to_compare(old, new)
    assert found == formats
    assert bool(note) == noted
