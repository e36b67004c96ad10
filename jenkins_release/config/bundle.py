"""The section ``[bundle]`` of ``release.toml``: the setup zip with which customers deploy the images."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from jenkins_release.base.regions import partition_of
from jenkins_release.config.section import Section

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?")
_REGION, _SUFFIX = "{region}", "{dns_suffix}"


def _host(value: str) -> str:
    if not _HOST.fullmatch(_filled(value, "eu-central-1")):
        raise ValueError(
            "is not a host, such as layers.example.com; its fields are {region} and {dns_suffix}"
        )
    return value


def _filled(host: str, region: str) -> str:
    partition = partition_of(region)
    suffix = partition.dns_suffix if partition else ""
    return host.replace(_REGION, region).replace(_SUFFIX, suffix)


Version = Annotated[str, Field(pattern=r"^\d{1,4}(\.\d{1,4}){0,2}$")]


class BundleSection(Section):
    """``[bundle]``: templates of the product, and the requirements for a customer's machine.

    ``templates`` is a folder. ``layer_host`` is where the registry sends clients for layers; ECR's own
    (ECR user guide, "Required permissions and endpoints") by default. ``docker_version`` and
    ``compose_version`` are minimum versions; ``disk_gb`` and ``memory_gb`` are in 10^9 bytes.
    ``openssl_version`` is the oldest with which ``verify.sh`` must work: below 3.0 it cannot check Ed25519.
    """

    templates: Annotated[str, Field(min_length=1)] = "bundle"
    layer_host: Annotated[str, AfterValidator(_host)] = (
        "prod-{region}-starport-layer-bucket.s3.{region}.{dns_suffix}"
    )
    docker_version: Version = "20.10"
    compose_version: Version = "1.29"
    openssl_version: Version = "3.0"
    disk_gb: Annotated[int, Field(ge=0, le=100_000)] = 20
    memory_gb: Annotated[int, Field(ge=0, le=10_000)] = 4

    @property
    def reads_ed25519(self) -> bool:
        """Whether customers' OpenSSL verifies Ed25519: openssl-pkeyutl(1) has ``-rawin`` from 3.0 on."""
        return int(self.openssl_version.partition(".")[0]) >= 3

    def layers_in(self, region: str) -> str:
        """Return the host that serves layers in a region."""
        return _filled(self.layer_host, region)
