"""Regions of AWS: botocore's own data decides."""

from __future__ import annotations

import botocore.session
import pytest
from botocore.exceptions import UnknownRegionError

from jenkins_release.base.regions import partition_of
from jenkins_release.config.bundle import BundleSection

SESSION = botocore.session.Session()
PARTITIONS = SESSION.get_available_partitions()


@pytest.mark.parametrize("ident", PARTITIONS)
def test_every_region_of_ecr_is_one(ident: str):
    """Also those of China, of the US government and of the European Sovereign Cloud."""
    regions = SESSION.get_available_regions("ecr", ident)
    assert regions
    for region in regions:
        found = partition_of(region)
        assert found is not None
        assert found.ident == ident
        client = SESSION.create_client("ecr", region, aws_access_key_id="a", aws_secret_access_key="b")
        assert client.meta.endpoint_url.endswith(f".{found.dns_suffix}")


@pytest.mark.parametrize(
    "region", ["", "eu-central", "eu_central_1", "xx-west-1", "EU-CENTRAL-1", "us-east-1 "]
)
def test_what_is_no_region(region: str):
    """As botocore says."""
    assert partition_of(region) is None
    if region:
        with pytest.raises(UnknownRegionError):
            assert SESSION.get_partition_for_region(region) is None


def test_a_new_region_of_a_known_partition_is_one():
    """Botocore knows the pattern before it knows the region."""
    found = partition_of("eu-nowhere-7")
    assert found is not None
    assert found.ident == "aws"


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "prod-eu-central-1-starport-layer-bucket.s3.eu-central-1.amazonaws.com"),
        ("cn-north-1", "prod-cn-north-1-starport-layer-bucket.s3.cn-north-1.amazonaws.com.cn"),
        ("eusc-de-east-1", "prod-eusc-de-east-1-starport-layer-bucket.s3.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_layers_come_from_a_host_of_the_region(region: str, host: str):
    """A customer's firewall needs its name."""
    assert BundleSection().layers_in(region) == host
