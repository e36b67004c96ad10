"""The sections of ``release.toml``, without secrets: see :mod:`jenkins_release.config.secrets`."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.names import check_identifier, name_problem
from jenkins_release.base.people import People
from jenkins_release.base.regions import partition_of
from jenkins_release.base.tags import repository_problem, template_problem
from jenkins_release.base.waits import LEAST_RATE
from jenkins_release.config.attestations import AttestationsSection
from jenkins_release.config.board import BoardSection
from jenkins_release.config.bundle import BundleSection
from jenkins_release.config.customers import CustomersSection
from jenkins_release.config.installers import FilePattern, InstallerSection
from jenkins_release.config.jenkins import JenkinsSection
from jenkins_release.config.ledger import LedgerSection
from jenkins_release.config.notify import NotifySection
from jenkins_release.config.portal import PortalSection
from jenkins_release.config.saas import SaasSection
from jenkins_release.config.section import Section, optional
from jenkins_release.config.support import SupportSection


def _template(value: str) -> str:
    problem = template_problem(value)
    if problem is not None:
        raise ValueError(problem)
    return value


def _repository(value: str) -> str:
    problem = repository_problem(value)
    if problem is not None:
        raise ValueError(f"{value!r} {problem}")
    return value


def _file_name(value: str) -> str:
    problem = name_problem(value)
    if problem is not None:
        raise ValueError(f"{value!r} {problem}")
    return value


def _product_name(value: str) -> str:
    try:
        return check_identifier("product", value)
    except ConfigurationError as error:
        raise ValueError(error.message) from error


def _zoned(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("needs a time zone, such as 2026-01-01T00:00:00Z")
    return value


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"names {twice[0]} twice")
    return names


Template = Annotated[str, AfterValidator(_template)]
PlatformName = Annotated[str, Field(pattern=r"^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$")]
Platforms = Annotated[tuple[PlatformName, ...], AfterValidator(_once)]
Role = Literal["build", "qa", "request", "approval", "override", "promotion"]
Severity = Literal["CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "UNDEFINED"]


class ProductSection(Section):
    """``[product]``: what is released."""

    name: Annotated[str, AfterValidator(_product_name)]


DfsTarget = Annotated[str, Field(pattern=r"^\.?[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?$")]


class ShareSection(Section):
    r"""``[share]``: where candidates and published releases are stored.

    Each is a UNC path (``\\server\share\folder``), a URL (``smb://server:port/share/folder``) or a local or
    mounted folder. Without ``releases`` nothing is published.
    """

    release_candidate: Annotated[str, Field(min_length=1)]
    releases: str = ""
    encrypt: bool = True
    timeout_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    auth: Literal["negotiate", "kerberos", "ntlm"] = "negotiate"
    domain_controller: Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)?$")] = ""
    dfs_targets: tuple[DfsTarget, ...] = ()


class DockerSection(Section):
    """``[docker]``: the daemon; ``DOCKER_HOST`` or the local socket if ``host`` is empty.

    ``timeout_s`` is the longest silence of the daemon while it saves, loads or pushes: it may take minutes
    before the first byte of a large image.
    """

    host: str = ""
    timeout_s: Annotated[float, Field(gt=0, le=7200)] = 900.0


class ImageSection(Section):
    """``[[images]]``: one image of the product.

    ``archive`` is a file of the build's output, such as an OCI layout of ``docker buildx build``; without it,
    the image comes from a Docker daemon. ``platforms`` are those of this image, if they are not those of
    ``[export]``.
    ``sbom`` and ``vex`` are patterns for files of the build's output that describe it.
    """

    name: Annotated[str, AfterValidator(_file_name)]
    source: Template
    repository: Annotated[str, AfterValidator(_repository)]
    archive: FilePattern | Literal[""] = ""
    platforms: Platforms = ()
    sbom: tuple[FilePattern, ...] = ()
    vex: tuple[FilePattern, ...] = ()


class ExportSection(Section):
    """``[export]``: how a candidate is written.

    ``push`` lets the daemon push to this machine's loopback, and only layers that the share lacks leave the
    daemon; ``save`` reads whole images from it; ``auto`` decides by what the daemon and the share know.
    """

    source: Literal["auto", "push", "save"] = "auto"
    platform: PlatformName = "linux/amd64"
    platforms: Platforms = ()
    archives: Literal["single", "per-image"] = "single"
    layers: Literal["plain", "gzip"] = "gzip"
    gzip_digests: bool = False
    reuse: bool = True
    read_back: bool = False

    @model_validator(mode="after")
    def _one_setting(self) -> ExportSection:
        if self.platforms and "platform" in self.model_fields_set:
            raise ValueError("has both platform and platforms: leave out platform")
        return self

    @property
    def all_platforms(self) -> tuple[str, ...]:
        """The platforms of every image that names none of its own."""
        return self.platforms or (self.platform,)


class LoadSection(Section):
    """``[load]``: how images reach a Docker daemon.

    ``pull`` lets the daemon pull from this machine's loopback, and only layers that it lacks are read from
    the share; ``load`` sends it whole archives; ``auto`` tries the first and falls back to the second.
    """

    source: Literal["auto", "pull", "load"] = "auto"


class PromoteSection(Section):
    """``[promote]``: how images reach the registry.

    ``docker`` loads, tags and pushes with a Docker daemon; ``registry`` sends layers from the share
    straight to the registry, ``workers`` of them at a time.
    """

    engine: Literal["docker", "registry"] = "registry"
    workers: Annotated[int, Field(ge=1, le=16)] = 2


class EcrSection(Section):
    """``[ecr]``: the registry that customers pull from; images need its region and account."""

    region: str = ""
    account: str = ""
    tags: Annotated[tuple[Template, ...], Field(min_length=1)] = ("{version}",)
    moving_tags: tuple[Template, ...] = ()
    create_repositories: bool = False
    immutable: bool = True
    scan_on_push: bool = True
    scan_wait_s: Annotated[float, Field(ge=0, le=7200)] = 600.0
    kms_key: str = ""
    repository_tags: dict[str, str] = Field(default_factory=dict)

    @field_validator("region")
    @classmethod
    def _region(cls, value: str) -> str:
        if value and partition_of(value) is None:
            raise ValueError("is not an AWS region, such as us-east-1")
        return value

    @field_validator("account")
    @classmethod
    def _account(cls, value: str) -> str:
        if value and not re.fullmatch(r"\d{12}", value):
            raise ValueError("is not an AWS account id: twelve digits, in quotes")
        return value


class FreezeSection(Section):
    """``[[policy.freezes]]``: a period in which nothing is released."""

    start: datetime
    end: datetime
    reason: Annotated[str, Field(min_length=1)]

    @field_validator("start", "end")
    @classmethod
    def _with_zone(cls, value: datetime) -> datetime:
        return _zoned(value)

    @model_validator(mode="after")
    def _forward(self) -> FreezeSection:
        if self.end <= self.start:
            raise ValueError(f"ends at {self.end}, before it begins")
        return self


class PolicySection(Section):
    """``[policy]``: what the gate requires."""

    sign_offs: Annotated[int, Field(ge=1, le=20)] = 1
    sign_off_keys: tuple[str, ...] = ()
    sign_off_max_age_days: Annotated[int, Field(ge=0, le=3650)] = 0
    soak_hours: Annotated[float, Field(ge=0, le=8760)] = 0.0
    tested: bool = True
    required_suites: tuple[str, ...] = ()
    approvals: Annotated[int, Field(ge=0, le=20)] = 1
    approvers: tuple[str, ...] = ()
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    separate: tuple[Literal["requester", "builder", "tester"], ...] = ("requester", "builder", "tester")
    allow_downgrade: bool = False
    freezes: tuple[FreezeSection, ...] = ()
    scan: tuple[Severity, ...] = ()
    sbom: Annotated[bool, Field(exclude_if=operator.not_)] = False  # a policy without it is written as before
    people: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    machines: tuple[str, ...] = ()
    accept_notary: tuple[Literal["request", "qa", "approval", "override"], ...] = ()

    @model_validator(mode="after")
    def _people(self) -> PolicySection:
        who = People(self.people, self.machines)
        problems = who.problems()
        if who.listed:
            approvers = [(f"approvers names {name!r}", name) for name in self.approvers]
            members = [
                (f"groups.{group} names {n!r}", n) for group, names in self.groups.items() for n in names
            ]
            problems += [
                f"{what}, who is not in policy.people"
                for what, name in (*approvers, *members)
                if not name.startswith("group:") and who.person(name) is None
            ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _known_groups(self) -> PolicySection:
        for name in self.approvers:
            group = name.removeprefix("group:")
            if name.startswith("group:") and group not in self.groups:
                raise ValueError(f"approvers names the group {group!r}, which policy.groups does not define")
        return self


class SigningSection(Section):
    """``[signing]``: URIs of the keys that steps sign with, such as ``file2:/run/keys/promotion.pem``."""

    build_key: str = ""
    qa_key: str = ""
    request_key: str = ""
    approval_key: str = ""
    override_key: str = ""
    promotion_key: str = ""

    def key_for(self, role: Role) -> str:
        """Return the URI of the key that a role signs with; empty if none is set."""
        return {
            "build": self.build_key,
            "qa": self.qa_key,
            "request": self.request_key,
            "approval": self.approval_key,
            "override": self.override_key,
            "promotion": self.promotion_key,
        }[role]


class TrustedKeySection(Section):
    """``[[trusted_keys]]``: a public key that the gate trusts, and its roles."""

    name: Annotated[str, Field(min_length=1)]
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    public_key: Annotated[str, Field(min_length=1)]
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    revoked: bool = False
    owner: str = ""
    notary: bool = False

    @model_validator(mode="after")
    def _one_voice(self) -> TrustedKeySection:
        if self.owner and self.notary:
            raise ValueError("has an owner, but notary = true: a person's key speaks only for that person")
        return self

    @field_validator("valid_from", "valid_until")
    @classmethod
    def _with_zone(cls, value: datetime | None) -> datetime | None:
        return None if value is None else _zoned(value)


def key_problems(policy: PolicySection, keys: Sequence[TrustedKeySection]) -> list[str]:
    """Say which trusted keys do not match the people of a policy.

    Args:
        policy: The policy, with its people.
        keys: The keys.

    Returns:
        Full sentences: owners whom the policy does not list, and keys that would speak for no one.
    """
    who = People(policy.people, policy.machines)
    found = []
    for key in keys:
        if key.owner and key.owner not in policy.people:
            found.append(f"trusted_keys {key.name!r}: its owner {key.owner!r} is not a name in policy.people")
        elif who.listed and not (key.owner or key.notary or key.revoked) and {*key.roles} - {"build"}:
            found.append(
                f"trusted_keys {key.name!r}: policy.people lists people, so the key needs an owner, "
                "or notary = true if Jenkins holds it"
            )
    return found


class TrustSection(Section):
    """``[trust]``: where the versions of the trust document are published, with a pinned root.

    Empty for ``<product>/.trust`` on the share of the candidates; else a share, a folder or
    ``s3://bucket/prefix``. ``region`` is that of the bucket; ``ecr.region`` if empty.
    """

    location: str = ""
    region: str = ""


class NetworkSection(Section):
    """``[network]``: limits for the answers of the registry, AWS, the portal's storage and the webhooks.

    ``answer_s`` is the longest wait for an answer. Bytes that are sent or received meanwhile extend it, at
    ``least_rate`` bytes a second: a slower server counts as silent. The rate also applies to transfers with
    the share, the Docker daemon and Jenkins, in addition to their own ``timeout_s``.
    """

    answer_s: Annotated[float, Field(ge=0.5, le=3600)] = 60.0
    least_rate: Annotated[int, Field(ge=1, le=1 << 30)] = LEAST_RATE


class RetrySection(Section):
    """``[retry]``: how long a step retries before it gives up."""

    attempts: Annotated[int, Field(ge=1, le=20)] = 5
    deadline_s: Annotated[float, Field(gt=0, le=86400)] = 1800.0
    first_wait_s: Annotated[float, Field(ge=0, le=300)] = 1.0
    max_wait_s: Annotated[float, Field(ge=0, le=600)] = 60.0


class Configuration(Section):
    """All of ``release.toml``."""

    product: ProductSection
    share: ShareSection
    images: tuple[ImageSection, ...] = ()
    installers: tuple[InstallerSection, ...] = ()
    ecr: EcrSection = optional()
    docker: DockerSection = optional()
    export: ExportSection = optional()
    load: LoadSection = optional()
    promote: PromoteSection = optional()
    attestations: AttestationsSection = optional()
    policy: PolicySection = optional()
    signing: SigningSection = optional()
    trusted_keys: tuple[TrustedKeySection, ...] = ()
    trust: TrustSection = optional()
    ledger: LedgerSection = optional()
    portal: PortalSection = optional()
    board: BoardSection = optional()
    jenkins: JenkinsSection = optional()
    customers: CustomersSection = optional()
    support: SupportSection = optional()
    notify: tuple[NotifySection, ...] = ()
    saas: SaasSection = optional()
    bundle: BundleSection = optional()
    network: NetworkSection = optional()
    retry: RetrySection = optional()

    def platforms_of(self, image: ImageSection) -> tuple[str, ...]:
        """Return the platforms that an image is to be for."""
        return image.platforms or self.export.all_platforms

    @model_validator(mode="after")
    def _something(self) -> Configuration:
        if not self.images and not self.installers:
            raise ValueError("has nothing to release: add [[images]] or [[installers]]")
        missing = [key for key in ("region", "account") if not getattr(self.ecr, key)]
        if self.images and missing:
            raise ValueError(" and ".join(f"ecr.{key}" for key in missing) + " missing: images go to ECR")
        return self

    @model_validator(mode="after")
    def _kept_board(self) -> Configuration:
        private = self.portal.kind == "s3" and self.portal.access == "presigned"
        if found := self.board.problems(self.product.name, self.share.releases, private_bucket=private):
            raise ValueError("; ".join(found))
        return self

    @model_validator(mode="after")
    def _unique(self) -> Configuration:
        for what, values in {
            "images.name": [image.name.casefold() for image in self.images],
            "images.source": [image.source for image in self.images],
            "images.repository": [image.repository for image in self.images],
            "trusted_keys.name": [key.name for key in self.trusted_keys],
            "notify.name": [notifier.name.casefold() for notifier in self.notify],
        }.items():
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{what} must be unique; given more than once: {', '.join(twice)}")
        problems = key_problems(self.policy, self.trusted_keys)
        if problems:
            raise ValueError("; ".join(problems))
        unknown = set(self.policy.sign_off_keys) - {key.name for key in self.trusted_keys}
        if unknown:
            raise ValueError(f"policy.sign_off_keys names {min(unknown)!r}, which is not a trusted key")
        images = {image.name for image in self.images}
        for service in self.saas.services:
            for container, image in service.containers.items():
                if image not in images:
                    raise ValueError(
                        f"saas.services: the container {container} of {service.name} should run the image "
                        f"{image!r}, which is not in [[images]]"
                    )
        return self
