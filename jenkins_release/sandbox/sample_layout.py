"""A demo image for several platforms, in an archive as ``docker buildx build --output type=oci`` writes it.

No BuildKit is needed: it is made from the same parts as the other demo images. Its index has an image
for each platform, and the SBOM and provenance of each, as BuildKit attests them (its
docs/attestations/attestation-storage.md). The program in it is that of this machine, whatever the platform.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isal import igzip

from jenkins_release.images.docker_archive import BLOCK, END, blob_path, file_header
from jenkins_release.oci.manifests import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, UNKNOWN, sha256_digest
from jenkins_release.oci.platforms import Platform, parse_platform
from jenkins_release.sandbox.sample_images import base_layer, demo_references, image_config, own_layer

PLATFORMS = ("linux/amd64", "linux/arm64")
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_IN_TOTO = "application/vnd.in-toto+json"
_SPDX = "https://spdx.dev/Document"
_PROVENANCE = "https://slsa.dev/provenance/v1"


def write_layout(
    path: Path,
    name: str,
    version: str,
    build: str,
    *,
    platforms: Sequence[str] = PLATFORMS,
    base_size: int = 0,
    own_size: int = 0,
    attested: bool = True,
    indexed: bool = True,
) -> None:
    """Write the archive.

    Args:
        path: The file.
        name: Service.
        version: Product version.
        build: Build.
        platforms: Its platforms.
        base_size: Bytes of incompressible filler in the layer that the platforms share.
        own_size: Bytes of incompressible filler in the layer of each platform.
        attested: Whether SBOM and provenance of each image are in the index.
        indexed: Whether there is an index: BuildKit makes none for one platform without attestations.

    Raises:
        ConfigurationError: busybox-static is not installed.
    """
    layout = _Layout(path)
    base = layout.layer(base_layer(base_size).chunks())
    entries = []
    for each in platforms:
        platform = parse_platform(each)
        own = layout.layer(own_layer(f"{name}-{platform.architecture}", version, build, own_size).chunks())
        entries.append(layout.image(name, version, build, platform, [base, own]))
    if attested:
        entries += [layout.attestation(entry, name, version, build) for entry in entries]
    listed = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    index = layout.document(listed, OCI_INDEX) if indexed else entries[0]
    (reference,) = demo_references(version, build, names=[name])
    index["annotations"] = {
        "io.containerd.image.name": f"docker.io/{reference}",
        "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
    }
    layout.finish(index)


class _Layout:
    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._written: set[str] = set()
        self._diff_ids: dict[str, str] = {}

    def layer(self, chunks: Any) -> dict[str, Any]:
        """Write a layer, and return its descriptor."""
        data = b"".join(chunks)
        entry = self._blob(igzip.compress(data, 1, mtime=0), _LAYER)
        self._diff_ids[entry["digest"]] = f"sha256:{hashlib.sha256(data).hexdigest()}"
        return entry

    def image(
        self, name: str, version: str, build: str, platform: Platform, layers: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """Write the image of a platform, and return the descriptor of its manifest."""
        diff_ids = [self._diff_ids[layer["digest"]] for layer in layers]
        config = self._blob(image_config(name, version, build, diff_ids, platform), OCI_CONFIG)
        entry = self.document(
            {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}, OCI_MANIFEST
        )
        stated = {"os": platform.os, "architecture": platform.architecture, "variant": platform.variant}
        return {**entry, "platform": {key: value for key, value in stated.items() if value}}

    def attestation(self, image: dict[str, Any], name: str, version: str, build: str) -> dict[str, Any]:
        """Write what BuildKit attests about an image, and return the descriptor of its manifest."""
        layers = []
        for kind, predicate in ((_SPDX, _sbom(name, version)), (_PROVENANCE, _provenance(name, build))):
            digest = image["digest"].removeprefix("sha256:")
            statement = {
                "_type": "https://in-toto.io/Statement/v0.1",
                "predicateType": kind,
                "subject": [
                    {"name": f"pkg:docker/skydrm/{name}@{version}-{build}", "digest": {"sha256": digest}}
                ],
                "predicate": predicate,
            }
            layer = self.document(statement, _IN_TOTO)
            layers.append({**layer, "annotations": {"in-toto.io/predicate-type": kind}})
        os, architecture = UNKNOWN.split("/")
        diff_ids = [layer["digest"] for layer in layers]
        rootfs = {"type": "layers", "diff_ids": diff_ids}
        config = self.document(
            {"architecture": architecture, "os": os, "config": {}, "rootfs": rootfs}, OCI_CONFIG
        )
        entry = self.document(
            {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}, OCI_MANIFEST
        )
        return {
            **entry,
            "annotations": {
                "vnd.docker.reference.digest": image["digest"],
                "vnd.docker.reference.type": "attestation-manifest",
            },
            "platform": {"architecture": architecture, "os": os},
        }

    def document(self, document: dict[str, Any], kind: str) -> dict[str, Any]:
        """Write a JSON document as a blob, and return its descriptor."""
        return self._blob(json.dumps(document, separators=(",", ":")).encode(), kind)

    def finish(self, index: dict[str, Any]) -> None:
        """Write what every OCI layout ends with."""
        listed = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [index]}
        self._member("index.json", json.dumps(listed).encode())
        self._member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        self._file.write(END)
        self._file.close()

    def _blob(self, data: bytes, kind: str) -> dict[str, Any]:
        digest = sha256_digest(data)
        if digest not in self._written:
            self._written.add(digest)
            self._member(blob_path(digest), data)
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    def _member(self, name: str, data: bytes) -> None:
        self._file.write(file_header(name, len(data)) + data + bytes(-len(data) % BLOCK))


def _sbom(name: str, version: str) -> dict[str, Any]:
    packages = [("busybox", "1.35.0"), (f"skydrm-{name}", version)]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"skydrm/{name}",
        "documentNamespace": f"https://skydrm.example/spdx/{name}-{version}",
        "creationInfo": {"created": "2026-01-01T00:00:00Z", "creators": ["Tool: demo"]},
        "packages": [
            {
                "name": package,
                "SPDXID": f"SPDXRef-Package-{package}",
                "versionInfo": number,
                "downloadLocation": "NOASSERTION",
                "filesAnalyzed": False,
                "externalRefs": [
                    {
                        "referenceCategory": "PACKAGE-MANAGER",
                        "referenceType": "purl",
                        "referenceLocator": f"pkg:generic/{package}@{number}",
                    }
                ],
            }
            for package, number in packages
        ],
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": f"SPDXRef-Package-{package}",
            }
            for package, _ in packages
        ],
    }


def _provenance(name: str, build: str) -> dict[str, Any]:
    return {
        "buildDefinition": {
            "buildType": "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md",
            "externalParameters": {"request": {"frontend": "dockerfile.v0", "args": {"label:build": build}}},
            "resolvedDependencies": [],
        },
        "runDetails": {"builder": {"id": f"https://jenkins.example/job/{name}/"}},
    }
