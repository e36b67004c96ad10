"""AWS regions and their partitions, from botocore's data.

A new region matches the pattern of its partition; a new partition comes with a newer botocore. The file is
read without importing botocore, which is slow.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from jenkins_release.base.dataclass import dataclass


@dataclass(frozen=True)
class Partition:
    """A group of regions with its own endpoints and ARNs.

    Attributes:
        ident: What follows ``arn:`` in ARNs, such as ``aws-cn``.
        dns_suffix: What the names of its endpoints end with, such as ``amazonaws.com.cn``.
    """

    ident: str
    dns_suffix: str


def partition_of(region: str) -> Partition | None:
    """Return the partition of a region such as ``eu-central-1``, or None if it is not a region."""
    for named, pattern, partition in _partitions():
        if region in named or pattern.fullmatch(region):
            return partition
    return None


@cache
def _partitions() -> list[tuple[frozenset[str], re.Pattern[str], Partition]]:
    spec = find_spec("botocore")
    (folder,) = spec.submodule_search_locations or [] if spec else []
    document = json.loads(Path(folder, "data", "partitions.json").read_bytes())
    return [
        (
            # A partition's pseudo-region, such as aws-cn-global, holds nothing.
            frozenset(name for name in each["regions"] if not name.endswith("-global")),
            re.compile(each["regionRegex"]),
            Partition(each["id"], each["outputs"]["dnsSuffix"]),
        )
        for each in document["partitions"]
    ]
