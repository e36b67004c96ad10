"""Reading SBOM and VEX documents: what is valid, and what is said of what is not."""

from __future__ import annotations

import contextlib
import copy
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jenkins_release.records.sbom import BillOfMaterials, Finding
from jenkins_release.sbom import MAX_DOCUMENT_BYTES, InvalidDocument, read_document, read_statement
from tests.fixtures.sbom import (
    MANIFEST,
    OTHER,
    PACKAGES,
    buildkit_spdx,
    buildkit_statement,
    openvex,
    syft_spdx,
    to_bytes,
    trivy_cyclonedx,
)

FOUND = [
    ("pkg:deb/debian/libssl3", "3.0.15-1"),
    ("pkg:golang/golang.org/x/net", "0.30.0"),
    ("pkg:npm/@angular/core", "17.3.1"),
]
SPDX_TYPE = "https://spdx.dev/Document"


def read(value: Any) -> BillOfMaterials:
    return read_document(to_bytes(value), "rms.json")


def refused(value: Any) -> InvalidDocument:
    with pytest.raises(InvalidDocument) as caught:
        read_document(value if isinstance(value, bytes) else to_bytes(value), "rms.json")
    assert all(reason.startswith("rms.json") for reason in caught.value.reasons)
    return caught.value


def keys(found: BillOfMaterials) -> list[tuple[str, str]]:
    return [(each.key, each.version) for each in found.packages]


class TestFormats:
    @pytest.mark.parametrize("version", ["2.2", "2.3"])
    def test_spdx(self, version: str) -> None:
        """Packages by their purls; neither the image nor its files are packages."""
        found = read(syft_spdx(version=version))
        assert (found.format, found.version, found.listed) == ("spdx", version, True)
        assert keys(found) == FOUND
        assert found.subject.names == ("rms:8.1.0-42", "skydrm/rms")
        assert found.subject.digests == (MANIFEST,)

    @pytest.mark.parametrize("version", ["1.4", "1.5", "1.6", "1.7"])
    def test_cyclonedx(self, version: str) -> None:
        """The same packages, and the operating system; files are left out."""
        found = read(trivy_cyclonedx(version=version, image_id=OTHER))
        assert (found.format, found.version) == ("cyclonedx", version)
        assert keys(found) == [("operating-system:debian", "12.8"), *FOUND]
        assert found.subject.names == ("skydrm/rms:8.1.0-42",)
        assert found.subject.image_ids == (OTHER,)

    def test_openvex(self) -> None:
        """Statements, and the image that they are about."""
        found = read(openvex())
        assert found.findings == (Finding("CVE-2026-1111", "not_affected"), Finding("CVE-2026-2222", "fixed"))
        assert found.subject.names == ("registry.example/skydrm/rms",)
        assert not found.listed

    def test_vex_in_cyclonedx(self) -> None:
        """Vulnerabilities with an analysis are statements."""
        document = trivy_cyclonedx()
        document["vulnerabilities"] = [
            {"id": "CVE-2026-1", "analysis": {"state": "not_affected"}},
            {"id": "CVE-2026-2"},
        ]
        assert read(document).findings == (Finding("CVE-2026-1", "not_affected"),)

    def test_components_of_components(self) -> None:
        """A package inside another one counts, as build tools of Java nest them."""
        document = trivy_cyclonedx(packages=())
        inner = {"type": "library", "group": "org.a", "name": "inner", "version": "2"}
        document["components"].append({"type": "application", "name": "outer", "components": [inner]})
        assert keys(read(document))[:2] == [("application:outer", ""), ("library:org.a/inner", "2")]


class TestPackages:
    """What is the same package, and what is not one."""

    def test_a_package_in_several_places(self) -> None:
        """Each version counts once, however often a scanner finds it."""
        found = read(syft_spdx(packages=["pkg:npm/ms@2.0.0", "pkg:npm/ms@2.1.3", "pkg:npm/ms@2.1.3"]))
        assert keys(found) == [("pkg:npm/ms", "2.0.0"), ("pkg:npm/ms", "2.1.3")]

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("pkg:deb/debian/a@1?arch=amd64&distro=debian-12", "pkg:deb/debian/a@1?distro=bookworm&arch=all"),
            ("pkg:rpm/redhat/a@1?upstream=a-1.src.rpm&epoch=0", "pkg:rpm/redhat/a@1?arch=x86_64"),
            ("pkg:golang/example.org/a@v1.2.0", "pkg:golang/example.org/a@1.2.0"),
            ("pkg:npm/%40scope/a@1", "pkg:npm/@scope/a@1"),
            ("pkg:pypi/My_Package@1", "pkg:pypi/my-package@1"),
        ],
    )
    def test_the_same_package(self, one: str, other: str) -> None:
        """How a scanner writes it makes no difference."""
        assert keys(read(syft_spdx(packages=[one]))) == keys(read(trivy_cyclonedx(packages=[other])))[1:]

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("pkg:deb/debian/a@1", "pkg:deb/ubuntu/a@1"),
            ("pkg:deb/debian/a@1", "pkg:apk/debian/a@1"),
            ("pkg:maven/org/a@1?type=jar", "pkg:maven/org/a@1?classifier=sources&type=jar"),
            ("pkg:golang/example.org/a@1#cmd/b", "pkg:golang/example.org/a@1"),
        ],
    )
    def test_different_packages(self, one: str, other: str) -> None:
        """Distribution, ecosystem, classifier and subpath tell packages apart."""
        assert len({key for key, _ in keys(read(syft_spdx(packages=[one, other])))}) == 2

    def test_an_epoch_is_part_of_the_version(self) -> None:
        """RPMs state it as a qualifier; without it, 1:1.0 and 2.0 would be ordered wrongly by readers."""
        assert keys(read(syft_spdx(packages=["pkg:rpm/redhat/a@1.0-1?epoch=2"]))) == [
            ("pkg:rpm/redhat/a", "2:1.0-1")
        ]

    def test_without_a_purl(self) -> None:
        """Name and ecosystem identify it."""
        document = trivy_cyclonedx(packages=())
        component = {"type": "library", "name": "zlib", "version": "1.3"}
        component |= {"properties": [{"name": "syft:package:type", "value": "binary"}]}
        document["components"].append(component)
        assert keys(read(document))[0] == ("binary:zlib", "1.3")


def _without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda document: document.pop(name)


class TestMistakes:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"SPDXVersion: SPDX-2.3\n", "is not valid JSON"),
            (b"<bom/>", "is not valid JSON"),
            (b"", "is not valid JSON"),
            (b"[]", "none of the known formats"),
            (b"{}", "none of the known formats"),
            (b'{"spdxVersion": "SPDX-2.3", "spdxVersion": "SPDX-2.2"}', "occurs twice"),
            (b"\xff\xfe{}", "not UTF-8"),
            (b'{"a":' * 200 + b"1" + b"}" * 200, "nested too deeply"),
        ],
    )
    def test_no_document(self, data: bytes, message: str) -> None:
        """The formats that are supported are named."""
        error = refused(data)
        assert message in error.message
        assert "SPDX 2.2 and 2.3, CycloneDX 1.4 to 1.7" in error.hint

    @pytest.mark.parametrize(
        ("document", "message", "hint"),
        [
            (
                {"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": []},
                "it is SPDX 3, which is not supported",
                "spdx-json@2.3",
            ),
            ({"spdxVersion": "SPDX-2.1"}, "version 'SPDX-2.1', supported are 2.2 and 2.3", "SPDX 2.3"),
            ({"bomFormat": "CycloneDX", "specVersion": "1.3"}, "version '1.3', supported are", "CycloneDX"),
            ({"@context": "https://openvex.dev/ns"}, "version 'unknown', supported is v0.2.0", "vexctl"),
        ],
    )
    def test_a_version_that_is_not_supported(self, document: Any, message: str, hint: str) -> None:
        """It is said which ones are, and how to get one."""
        error = refused(document)
        assert message in error.message
        assert hint in error.hint

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (_without("creationInfo"), "CreationInfo does not exist"),
            (_without("dataLicense"), "data_license"),
            (lambda d: d["packages"][1].pop("downloadLocation"), "download_location"),
            (lambda d: d["packages"][1].update(licenseDeclared=3), "Error while parsing"),
            (lambda d: d["packages"][1].update(supplier="Debian"), "Actor"),
            (lambda d: d["packages"][1].update(SPDXID="SPDXRef-Package-2"), "SPDXID occurs twice"),
            (lambda d: d["packages"][1].update(SPDXID="one"), "SPDXRef"),
            (lambda d: d.update(packages={}), "packages is not a list"),
            (lambda d: d.update(packages=[1]), "packages is not a list"),
            (lambda d: d.update(relationships=[]), "no relationship says what the document describes"),
            (lambda d: d["relationships"].append({"spdxElementId": "SPDXRef-x"}), "names SPDXRef-x"),
            (lambda d: d["packages"][1].update(externalRefs=3), "Error while parsing Package"),
            (lambda d: d["packages"][0].update(checksums=3), "Error while parsing Package"),
            (
                lambda d: d["packages"][1]["externalRefs"][1].update(referenceLocator="pkg:deb"),
                "the purl 'pkg:deb' is not valid",
            ),
        ],
    )
    def test_spdx(self, change: Callable[[dict[str, Any]], Any], message: str) -> None:
        """spdx-tools' findings, and what it does not look for."""
        document = syft_spdx()
        change(document)
        error = refused(document)
        assert message in "\n".join(error.reasons)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda d: d["components"][1].pop("name"), "components[1]: 'name' is a required property"),
            (lambda d: d["components"][0].update(type="os"), "components[0].type: 'os' is not one of"),
            (lambda d: d.update(serialNumber="1"), "serialNumber: '1' does not match"),
            (lambda d: d.update(components={}), "components: {} is not of type 'array'"),
            (lambda d: d["metadata"].update(timestamp="yesterday"), "metadata.timestamp: 'yesterday'"),
            (lambda d: d["components"][3].update({"bom-ref": "os"}), "a bom-ref occurs twice"),
            (lambda d: d["components"].append(dict(d["components"][0])), "components: an entry occurs twice"),
            (lambda d: d["components"][2].update(purl="deb/a"), "the purl 'deb/a' is not valid"),
            (
                lambda d: d["components"][2]["externalReferences"][0].update(url="no address"),
                'components[2].externalReferences[0].url: "no address"',
            ),
        ],
    )
    def test_cyclonedx(self, change: Callable[[dict[str, Any]], Any], message: str) -> None:
        """The place of each mistake is named."""
        document = trivy_cyclonedx()
        change(document)
        assert message in "\n".join(refused(document).reasons)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (_without("author"), "author: expected a string"),
            (_without("statements"), "statements: expected a list"),
            (lambda d: d.update(timestamp="now"), "timestamp: 'now' is not a time"),
            (lambda d: d.update(version="1"), "version: expected a whole number"),
            (lambda d: d["statements"][0].pop("justification"), "needs a justification"),
            (lambda d: d["statements"][1].update(status="ok"), "'ok' is none of not_affected"),
            (lambda d: d["statements"][1].update(status="affected"), "needs an action_statement"),
            (lambda d: d["statements"][1].update(vulnerability="CVE"), "expected an object with a name"),
            (lambda d: d["statements"].append(1), "statements[2]: expected an object"),
        ],
    )
    def test_openvex(self, change: Callable[[dict[str, Any]], Any], message: str) -> None:
        """The rules of the specification's section on statements."""
        document = openvex()
        change(document)
        assert message in "\n".join(refused(document).reasons)

    @pytest.mark.parametrize(
        "words",
        [
            {"licenseDeclared": "GPL-1+"},
            {"licenseConcluded": "GPL-2.0-with-classpath-exception"},
            {"licenseDeclared": "LicenseRef-nowhere"},
            {"homepage": "git://example.org/a"},
            {"downloadLocation": "http://x"},
            {"supplier": "Person: Debian OpenSSL Team (pkg-openssl-devel@alioth-lists.debian.net)"},
            {"copyrightText": ""},
            {"versionInfo": ""},
        ],
        ids=str,
    )
    def test_what_the_authors_of_a_package_wrote_is_no_mistake(self, words: dict[str, str]) -> None:
        """A scanner copies it, and nobody could correct it before the release."""
        document = syft_spdx()
        document["packages"][1] |= words
        assert len(read(document).packages) == 3

    def test_every_mistake_is_listed(self) -> None:
        """Up to ten of a document, then their number: a scanner repeats its mistakes."""
        document = trivy_cyclonedx(packages=[f"pkg:npm/p{number}@1" for number in range(30)])
        for component in document["components"][2:]:
            component["type"] = "wrong"
        reasons = refused(document).reasons
        assert len(reasons) == 11
        assert reasons[-1] == "rms.json: and 20 more"

    def test_a_document_that_is_too_large(self) -> None:
        """It is refused before it is parsed."""
        assert f"expected at most {MAX_DOCUMENT_BYTES}" in refused(b" " * (MAX_DOCUMENT_BYTES + 1)).message

    def test_mistakes_in_a_large_document_have_their_place(self) -> None:
        """It is validated in parts, which nobody sees."""
        document = trivy_cyclonedx(packages=[f"pkg:npm/p{number}@1" for number in range(500)])
        document["components"][450].pop("name")
        assert "components[450]: 'name'" in refused(document).message
        spdx = syft_spdx(packages=[f"pkg:npm/p{number}@1" for number in range(500)])
        spdx["packages"][450].pop("downloadLocation")
        assert "download_location" in "\n".join(refused(spdx).reasons)

    def test_a_document_of_mistakes_is_not_read_to_its_end(self) -> None:
        """A thousand are enough."""
        document = trivy_cyclonedx()
        document["components"] = [{}] * 2000
        assert refused(document).reasons[-1] == "rms.json: and at least 990 more"
        spdx = syft_spdx()
        spdx["relationships"] += [{"spdxElementId": f"SPDXRef-x{number}"} for number in range(2000)]
        assert refused(spdx).reasons[-1] == "rms.json: and at least 990 more"


def _packages(number: int) -> list[str]:
    return [f"pkg:npm/p{each}@1" for each in range(number)]


def _nested(number: int) -> dict[str, Any]:
    document = trivy_cyclonedx()
    document["components"][2]["components"] = [
        {"type": "library", "name": f"q{each}"} for each in range(number)
    ]
    return document


def _beside(number: int) -> dict[str, Any]:
    document = trivy_cyclonedx(packages=_packages(number))
    document["metadata"]["component"]["components"] = [
        {"type": "library", "name": f"q{each}"} for each in range(number)
    ]
    return document


def _of_many(number: int) -> dict[str, Any]:
    document = syft_spdx(packages=_packages(number))
    document["creationInfo"]["creators"] += [f"Tool: t{each}" for each in range(number * 10)]
    return document


class TestWork:
    """What a build got from elsewhere must not keep an export busy for hours."""

    @pytest.mark.parametrize(
        "make",
        [
            lambda number: syft_spdx(packages=_packages(number)),
            _of_many,
            lambda number: trivy_cyclonedx(packages=_packages(number)),
            _nested,
            _beside,
        ],
        ids=["spdx", "spdx of many", "cyclonedx", "nested", "beside"],
    )
    def test_it_grows_with_the_document_and_not_faster(self, make: Callable[[int], dict[str, Any]]) -> None:
        """Both libraries compare each package with all others; twice the packages would be four times it."""
        calls_to_read(make(10))  # loads and remembers what is needed once
        few, many = calls_to_read(make(400)), calls_to_read(make(800))
        assert many < few * 2.4

    @pytest.mark.parametrize(
        "change",
        [
            {"supplier": "Person: " + "(" * 1_000_000},
            {"annotations": [{"annotator": "Person: " + "(" * 1_000_000, "comment": "x"}]},
            {
                "externalRefs": [
                    {
                        "referenceCategory": "SECURITY",
                        "referenceType": "cpe23Type",
                        "referenceLocator": "cpe:2.3:a" + ":aaaaaaaaaa" * 5 + ":*" + ":aaaaaaaaa" * 4 + "!",
                    }
                    for _ in range(1000)
                ]
            },
            {
                "externalRefs": [
                    {
                        "referenceCategory": "PACKAGE-MANAGER",
                        "referenceType": "purl",
                        "referenceLocator": "pkg:npm/a" + "/a@a?a#a" * 1000 + "\n\n",
                    }
                ]
            },
        ],
        ids=["supplier", "annotator", "cpe", "purl"],
    )
    def test_no_text_keeps_spdx_tools_busy(self, change: dict[str, Any]) -> None:
        """Its expressions try every bracket, slash and letter with every other: for hours and more."""
        document = syft_spdx()
        document["packages"][1].update(copy.deepcopy(change))
        with contextlib.suppress(InvalidDocument):
            assert read(document).packages


def calls_to_read(document: dict[str, Any]) -> int:
    """Read a document, and return how many functions were called for that."""
    data, calls = to_bytes(document), 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        read_document(data, "rms.json")
    finally:
        sys.setprofile(None)
    return calls


def _places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value of a document; of long lists, to the first two entries."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield (*above, name)
            yield from _places(item, (*above, name))
    elif isinstance(value, list):
        for number, item in enumerate(value[:2]):
            yield (*above, number)
            yield from _places(item, (*above, number))


@pytest.mark.parametrize(
    "make", [syft_spdx, trivy_cyclonedx, openvex, lambda: buildkit_statement(buildkit_spdx())]
)
def test_any_value_of_another_type(make: Callable[[], Any]) -> None:
    """A document is read or refused, whatever is in the place of a value, and never ends in a traceback."""
    whole = make()
    for place in _places(whole):
        for wrong in (None, 3, "x", [], {}, [None], ["x"], {"x": 1}, True):
            document = copy.deepcopy(whole)
            inner = document
            for part in place[:-1]:
                inner = inner[part]
            inner[place[-1]] = wrong
            try:
                read(document)
            except InvalidDocument as error:
                assert error.reasons


class TestStatements:
    def read(self, value: Any, kind: str = SPDX_TYPE, manifest: str = MANIFEST) -> BillOfMaterials:
        data = json.dumps(value).encode()
        return read_statement(data, "layer", predicate_type=kind, manifest_digest=manifest)

    def test_an_attestation_of_buildkit(self) -> None:
        """Its subject is the manifest that it is attached to; the scanned folder says nothing."""
        found = self.read(buildkit_statement(buildkit_spdx()))
        assert (found.format, found.origin) == ("spdx", "attestation")
        assert keys(found) == FOUND
        assert found.subject.digests == (MANIFEST,)
        assert found.subject.names == ("skydrm/rms:8.1.0-42",)

    def test_a_statement_as_a_file(self) -> None:
        """`docker buildx build --output type=local` writes sbom.spdx.json like this."""
        found = read(buildkit_statement(buildkit_spdx(), name="bin/rms"))
        assert found.origin == "attestation"
        assert found.subject.names == ()

    def test_cyclonedx_in_a_statement(self) -> None:
        """Other scanners for BuildKit write it."""
        statement = buildkit_statement(trivy_cyclonedx())
        statement |= {
            "_type": "https://in-toto.io/Statement/v1",
            "predicateType": "https://cyclonedx.org/bom",
        }
        assert self.read(statement, "https://cyclonedx.org/bom").format == "cyclonedx"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"predicateType": "https://slsa.dev/provenance/v1"}, "its predicateType is"),
            ({"predicateType": "https://cyclonedx.org/bom"}, "expected 'https://spdx.dev/Document'"),
            ({"_type": "https://in-toto.io/Statement/v9"}, "expected a statement v0.1 or v1"),
            ({"subject": []}, f"it is about nothing, expected the manifest {MANIFEST}"),
            ({"subject": "x"}, "its subject is not a list"),
            ({"predicate": None}, "none of the known formats"),
        ],
    )
    def test_mistakes(self, change: dict[str, Any], message: str) -> None:
        """A layer that is not what the attestation manifest says is refused."""
        with pytest.raises(InvalidDocument) as caught:
            self.read(buildkit_statement(buildkit_spdx()) | change)
        assert message in caught.value.message

    def test_another_image(self) -> None:
        """The digest decides, whatever the statement names."""
        with pytest.raises(InvalidDocument, match=f"expected the manifest {OTHER}"):
            self.read(buildkit_statement(buildkit_spdx()), manifest=OTHER)

    def test_a_predicate_of_another_format(self) -> None:
        """A reader that goes by the predicate type would fail."""
        with pytest.raises(InvalidDocument, match="its predicate is cyclonedx"):
            self.read(buildkit_statement(trivy_cyclonedx()))


def test_purls_of_the_samples_are_those_of_real_scanners() -> None:
    """Each ecosystem of the samples has another way to write names."""
    assert len({purl.split("/")[0] for purl in PACKAGES}) == 3
