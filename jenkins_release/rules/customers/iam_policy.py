"""The IAM policies of customers, made from the product's repositories.

A customer may get a registry token and pull from the product's repositories, and nothing else in the account.
``ecr:GetAuthorizationToken`` takes no resource, so it is allowed on ``*``; a pull needs the three actions of
"Amazon ECR Pull only" (ECR user guide, "Required permissions"). AWS's managed
``AmazonEC2ContainerRegistryPullOnly`` opens every repository of the account and is not used. ECR has no
access control by tag, so retention decides which versions there are, and neither a new release nor a new
customer changes a policy.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.regions import partition_of
from jenkins_release.base.tags import repository_problem

TOKEN_ACTION = "ecr:GetAuthorizationToken"  # noqa: S105 - the name of an action
PULL_ACTIONS = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
"""Actions of a pull, on a repository."""
VERSION = "2012-10-17"
"""Version of the policy language (IAM user guide, "Version" element)."""
MAX_INLINE = 2048
"""Most characters in a user's inline policies, without spaces (IAM user guide, "IAM and STS quotas")."""
MAX_TAG = 256
"""Maximum characters of a tag value (IAM API reference, Tag)."""
MAX_MANAGED = 6144
"""Maximum characters of a managed policy, without white space (same page)."""

Policy = Mapping[str, Any]
_SPACE = re.compile(r"\s")
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10")
)
"""Addresses that no request comes from over the internet: RFC 1918, 6598, 4193 and 4291."""
ANY_NETWORK = "any"
"""Removes the limit to networks."""


@dataclass(frozen=True)
class PullScope:
    """What customers of a product may pull.

    Attributes:
        region: AWS region of the registry.
        account: Account that owns it.
        repositories: The product's repositories.
    """

    region: str
    account: str
    repositories: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self.repositories:
            problem = repository_problem(name)
            if problem is not None:
                # A wildcard here would open more than the product's repositories.
                raise ConfigurationError(f"the repository {name!r} is not allowed in a policy: it {problem}")
        if not self.repositories:
            raise ConfigurationError("the product has no repository, so there is nothing to pull")

    @property
    def resources(self) -> tuple[str, ...]:
        """ARNs of the repositories, sorted: equal scopes make equal policies."""
        partition = arn_partition(self.region)
        return tuple(
            f"arn:{partition}:ecr:{self.region}:{self.account}:repository/{name}"
            for name in sorted(set(self.repositories))
        )


def arn_partition(region: str) -> str:
    """Return what follows ``arn:`` in the ARNs of a region. Raises ConfigurationError."""
    partition = partition_of(region)
    if partition is None:
        raise ConfigurationError(f"{region!r} is not an AWS region", hint="such as eu-central-1")
    return partition.ident


def source_networks(given: Sequence[str]) -> tuple[str, ...]:
    """Check and normalise networks for ``aws:SourceIp``.

    Args:
        given: Addresses or networks in CIDR form, IPv4 or IPv6; ``any`` alone means no limit.

    Raises:
        ConfigurationError: One is not a network, is the whole internet, or is private: AWS sees the
            public address that a customer's requests come from. Or there are too many for a tag.
    """
    if tuple(given) == (ANY_NETWORK,):
        return ()
    found = set()
    for text in given:
        try:
            network = ipaddress.ip_network(text.strip(), strict=True)
        except ValueError as error:
            raise ConfigurationError(
                f"{text!r} is not an address or a network: {error}",
                hint="write 203.0.113.7 or 203.0.113.0/24",
            ) from error
        if network.prefixlen == 0:
            raise ConfigurationError(f"{text!r} is the whole internet", hint="leave the option out instead")
        if any(network.version == each.version and network.subnet_of(each) for each in _PRIVATE):  # type: ignore[arg-type]
            raise ConfigurationError(
                f"{text!r} is private: AWS sees the public address that requests come from",
                hint="ask the customer for the public address of the network",
            )
        found.add(str(network))
    if len(" ".join(found)) > MAX_TAG:
        raise ConfigurationError(
            f"{len(found)} networks are too many for an IAM tag: they have more than {MAX_TAG} characters",
            hint="give fewer, larger networks",
        )
    return tuple(sorted(found))


def pull_policy(
    scope: PullScope, networks: Sequence[str] = (), *, expires: date | None = None
) -> dict[str, Any]:
    """Return the policy of a customer.

    Args:
        scope: What may be pulled.
        networks: Networks that requests must come from; any if empty. Layers come from S3 through signed
            URLs, which do not check the address again.
        expires: Last day of the access, in UTC; None for no end. IAM compares the time of each call (IAM user
            guide, "Date condition operators"), so earlier registry tokens end with it too.
    """
    conditions: dict[str, Any] = {}
    if networks:
        conditions["IpAddress"] = {"aws:SourceIp": list(networks)}
    if expires is not None:
        end = expires + timedelta(days=1) if expires < date.max else expires
        conditions["DateLessThan"] = {"aws:CurrentTime": f"{end.isoformat()}T00:00:00Z"}
    condition = {"Condition": conditions} if conditions else {}
    return {
        "Version": VERSION,
        "Statement": [
            {"Sid": "Token", "Effect": "Allow", "Action": TOKEN_ACTION, "Resource": "*", **condition},
            {
                "Sid": "Pull",
                "Effect": "Allow",
                "Action": list(PULL_ACTIONS),
                "Resource": list(scope.resources),
                **condition,
            },
        ],
    }


def boundary_policy(scope: PullScope) -> dict[str, Any]:
    """Return the permissions boundary: the most that any customer may do, whatever is attached later."""
    return pull_policy(scope)


def deny_policy() -> dict[str, Any]:
    """Return the policy of a revoked customer: an explicit deny wins over every allow.

    It also covers registry tokens that were issued earlier, which outlive an access key.
    """
    return {
        "Version": VERSION,
        "Statement": [{"Sid": "Revoked", "Effect": "Deny", "Action": "*", "Resource": "*"}],
    }


def room_for_pull() -> int:
    """Return the maximum length of the pull policy: the inline policies of a user share one quota.

    A revocation adds its deny to the pull policy, and must find enough quota left.
    """
    return MAX_INLINE - len(json.dumps(deny_policy(), separators=(",", ":")))


def repository_statement(user: str, account: str, partition: str = "aws") -> dict[str, Any]:
    """Return the statement of a repository policy that lets another AWS account pull.

    Its administrator decides which principals may, and grants ``GetAuthorizationToken`` there.

    Args:
        user: Name of the statement, made from product and customer.
        account: The customer's account, twelve digits.
        partition: Partition of both accounts.

    Raises:
        ConfigurationError: The account is not twelve digits.
    """
    if not re.fullmatch(r"[0-9]{12}", account):
        raise ConfigurationError(
            f"{account!r} is not an AWS account id", hint="give --account-id and twelve digits"
        )
    return {
        "Sid": user,
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{partition}:iam::{account}:root"},
        "Action": list(PULL_ACTIONS),
    }


def policy_text(policy: Policy, limit: int) -> str:
    """Return a policy as IAM stores it.

    Raises:
        ConfigurationError: It is longer than IAM allows.
    """
    text = json.dumps(policy, separators=(",", ":"))
    length = len(_SPACE.sub("", text))
    if length > limit:
        raise ConfigurationError(
            f"the policy has {length} characters, IAM allows at most {limit}",
            hint="give the product fewer repositories: one can hold several images under different tags",
        )
    return text


def same_policy(one: Policy, other: Policy) -> bool:
    """Whether two documents are the same, apart from order and single values."""
    return bool(_canonical(one) == _canonical(other))


def _canonical(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {name: _canonical(inner, name) for name, inner in sorted(value.items())}
    many = value if isinstance(value, list | tuple) else [value]
    if key == "Statement" or (key and isinstance(value, list | tuple)):
        return sorted((_canonical(each) for each in many), key=lambda each: json.dumps(each, sort_keys=True))
    if key in {"Action", "Resource", "NotAction", "NotResource", "aws:SourceIp"}:
        return [_canonical(each) for each in many]
    return value
