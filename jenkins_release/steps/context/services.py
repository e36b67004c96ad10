"""What the steps work with: opened on first use, and replaced by other implementations in tests."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeVar, TypeVarTuple
from urllib.parse import urlsplit

from jenkins_release.base.environment import require_text
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.lazy_imports import left_for_later
from jenkins_release.base.moments import second
from jenkins_release.base.parallel import map_parallel
from jenkins_release.base.progress import Progress, SilentProgress
from jenkins_release.base.retry import RetryPolicy, retry_call
from jenkins_release.base.tags import moving_filters
from jenkins_release.base.waits import Limits, pause
from jenkins_release.config import (
    JENKINS_TOKEN,
    JENKINS_USER,
    KEY_PASSPHRASE,
    SMB_PASSWORD,
    SMB_USER,
    SMTP_PASSWORD,
    SMTP_USER,
    Configuration,
    secret,
)
from jenkins_release.config.jenkins import check_controller_url
from jenkins_release.config.notify import NotifySection
from jenkins_release.config.redaction import Redaction, known_secrets
from jenkins_release.notify.protocol import Delivery
from jenkins_release.records.attestation import TrustedKey
from jenkins_release.rules.gate.policy import Policy, policy_from
from jenkins_release.steps.context.trust_root import (
    PinFile,
    Trust,
    authorities,
    from_workspace,
    load_trust,
    pinned,
)
from jenkins_release.steps.context.trust_store import FOLDER, TrustStore, read_versions
from jenkins_release.steps.context.trusted_keys import load_trusted_keys

if TYPE_CHECKING:
    from pydantic import SecretStr

    from jenkins_release.aws.ecs import EcsCluster
    from jenkins_release.aws.iam import IamAccount
    from jenkins_release.aws.s3 import BucketSettings
    from jenkins_release.aws.secrets import SecretStore
    from jenkins_release.aws.ssm import RunCommand
    from jenkins_release.base.signing import Signer
    from jenkins_release.config.ledger import LedgerSection
    from jenkins_release.config.model import Role
    from jenkins_release.config.portal import PortalSection
    from jenkins_release.http.probe import Prober
    from jenkins_release.images.protocol import ImageEngine
    from jenkins_release.jenkins import Controller
    from jenkins_release.ledger import Ledger
    from jenkins_release.notify import Notifier
    from jenkins_release.portal import Portal
    from jenkins_release.registry.protocol import BlobStore, ReferrerReader, Registry
    from jenkins_release.rules.gate.authority import Authority
    from jenkins_release.share.candidates import CandidateArea, CandidateRef
    from jenkins_release.share.factory import ClosableShare
    from jenkins_release.share.protocol import Lease, Share
    from jenkins_release.share.releases import ReleaseArea

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
R = TypeVar("R")


class Closable(Protocol):
    """Something with connections."""

    def close(self) -> None:
        """Close the connections."""


C = TypeVar("C", bound=Closable)
_CLOSED = (
    *("share", "release_share", "portal", "ledger", "engine", "blobs", "referrers", "registry"),
    *("iam", "secret_store", "ecs", "run_command", "trust_store", "jenkins"),
)
"""What is closed with the services, if it was opened and has something to close."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Services:
    """The outside world of a step, made from a configuration. A context manager that closes what it opened.

    Attributes:
        configuration: ``release.toml``.
        environ: The environment: secrets, and Jenkins' variables about the build.
        progress: Where transfers report to.
        now: Tells the time, UTC.
        sleep: Waits, in seconds.
        pin_file: The file that pins the trust root of this machine.
        changed: Whether a step added a candidate or an attestation: the board has to be written again.
    """

    configuration: Configuration
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    progress: Progress = field(default_factory=SilentProgress)
    now: Callable[[], datetime] = _now
    sleep: Callable[[float], None] = pause
    changed: bool = field(default=False, init=False)
    _signs_for: str = field(default="", init=False, repr=False)
    pin_file: PinFile = field(default_factory=PinFile)
    _opened: list[Closable] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check that the environment is text, and remove a login from the build's URL.

        The URL is recorded, sent to people, and shown in leases. Raises ConfigurationError.
        """
        require_text(self.environ)
        url = self.environ.get("BUILD_URL", "")
        host = urlsplit(url).netloc if "@" in url else ""
        if "@" in host:
            clean = url.replace(host, host.rpartition("@")[2], 1)
            self.environ = {**self.environ, "BUILD_URL": clean}

    @cached_property
    def share(self) -> Share:
        """The share with the release candidates."""
        return self._open_share(self.configuration.share.release_candidate)

    def open_share(self, location: str) -> ClosableShare:
        """Return the share at a location, with the configured login; closed with the services."""
        return self.closed_at_end(self._open_share(location))

    def closed_at_end(self, opened: C) -> C:
        """Return what was opened; it is closed with the services."""
        self._opened.append(opened)
        return opened

    def _open_share(self, location: str) -> ClosableShare:
        from jenkins_release.share import open_share

        section = self.configuration.share
        user, password = secret(SMB_USER, self.environ), secret(SMB_PASSWORD, self.environ)
        return open_share(
            location,
            username=user.get_secret_value() if user else None,
            password=password.get_secret_value() if password else None,
            encrypt=section.encrypt,
            timeout_s=section.timeout_s,
            auth=section.auth,
            domain_controller=section.domain_controller,
            dfs_targets=section.dfs_targets,
            least_rate=self.configuration.network.least_rate,
            resume=self.retry_policy,
        )

    @cached_property
    def candidates(self) -> CandidateArea:
        """The candidates of the configured product."""
        from jenkins_release.share.candidates import CandidateArea

        return CandidateArea(self.share, self.configuration.product.name)

    @cached_property
    def release_share(self) -> ClosableShare:
        """The share with the published releases. Raises ConfigurationError if none is configured."""
        location = self.configuration.share.releases
        if not location:
            raise ConfigurationError(
                "there is no release area", hint="set share.releases to the share for published releases"
            )
        return self._open_share(location)

    @cached_property
    def releases(self) -> ReleaseArea:
        """The published releases of the configured product. Raises ConfigurationError without a place."""
        from jenkins_release.share.releases import ReleaseArea

        return ReleaseArea(self.release_share, self.configuration.product.name)

    @cached_property
    def ledger(self) -> Ledger | None:
        """Where attestations are recorded outside the share; None if no ledger is configured."""
        section = self.configuration.ledger
        if section.kind == "none":
            return None
        if section.kind == "folder":
            from jenkins_release.ledger import FolderLedger

            return FolderLedger(self._open_share(section.location))
        from jenkins_release.ledger import S3Ledger

        return S3Ledger(
            section.bucket, section.region, prefix=section.prefix, **self.bucket_settings(section)
        )

    @cached_property
    def engine(self) -> ImageEngine:
        """The Docker daemon."""
        # For daemons behind SSH only.
        with left_for_later("paramiko"):
            from jenkins_release.images import DockerEngine

        section = self.configuration.docker
        return DockerEngine(
            section.host or None,
            stream_timeout_s=section.timeout_s,
            least_rate=self.configuration.network.least_rate,
            environ=self.environ,
            progress=self.progress,
        )

    @property
    def limits(self) -> Limits:
        """How long a call of the registry, of AWS or of the portal's storage may take."""
        section = self.configuration.network
        return Limits(section.answer_s, section.least_rate, "network.answer_s")

    @cached_property
    def registry(self) -> Registry:
        """Amazon ECR."""
        from jenkins_release.oci.referrers import CLIENT_TAGS
        from jenkins_release.registry import EcrRegistry, RepositorySettings

        section = self.configuration.ecr
        settings = RepositorySettings(
            immutable=section.immutable,
            exclusions=(
                *moving_filters(section.moving_tags, section.tags),
                *((CLIENT_TAGS,) if self.configuration.attestations.legacy_tags else ()),
            ),
            scan_on_push=section.scan_on_push,
            kms_key=section.kms_key,
            tags=section.repository_tags,
        )
        return EcrRegistry(
            section.region,
            account=section.account,
            create=settings,
            limits=self.limits,
        )

    @cached_property
    def blobs(self) -> BlobStore:
        """The registry's blobs and manifests, for a promotion without a Docker daemon."""
        from jenkins_release.registry.transport import Transport
        from jenkins_release.registry.uploads import RegistryUploads

        return RegistryUploads(Transport(lambda: self.registry.login(), limits=self.limits))

    @cached_property
    def referrers(self) -> ReferrerReader:
        """What refers to the registry's images."""
        from jenkins_release.registry.referrers import RegistryReferrers
        from jenkins_release.registry.transport import Transport

        return RegistryReferrers(Transport(lambda: self.registry.login(), limits=self.limits))

    @cached_property
    def iam(self) -> IamAccount:
        """IAM of the account that owns the registry."""
        from jenkins_release.aws.iam import IamAccount

        section = self.configuration.ecr
        return IamAccount(section.region, section.account, limits=self.limits)

    @cached_property
    def secret_store(self) -> SecretStore:
        """AWS Secrets Manager in the registry's region."""
        from jenkins_release.aws.secrets import SecretStore

        return SecretStore(self.configuration.ecr.region, limits=self.limits)

    def bucket_settings(self, section: LedgerSection | PortalSection) -> BucketSettings:
        """Return how the bucket that a section names is used."""
        return {
            "default_region": self.configuration.ecr.region,
            "encryption": section.encryption,
            "kms_key": section.kms_key,
            "limits": self.limits,
        }

    @cached_property
    def portal(self) -> Portal:
        """The portal. Raises ConfigurationError if none is configured."""
        section = self.configuration.portal
        if section.kind == "share":
            from jenkins_release.portal import SharePortal

            return SharePortal(self._open_share(section.location), self.holder())
        if section.kind == "s3":
            from jenkins_release.portal import S3Portal

            return S3Portal(
                section.bucket,
                section.region,
                prefix=section.prefix,
                cache_control=section.caching,
                part_size=section.part_size_mib * 1024 * 1024,
                workers=section.workers,
                **self.bucket_settings(section),
            )
        raise ConfigurationError(
            "there is no download portal",
            hint='set portal.kind to "s3" or "share"; docs/portal.md explains it',
        )

    @property
    def saas_region(self) -> str:
        """The region of the stack: ``saas.region``, or that of the registry."""
        return self.configuration.saas.region or self.configuration.ecr.region

    @cached_property
    def ecs(self) -> EcsCluster:
        """The cluster of the stack."""
        from jenkins_release.aws.ecs import Ecs

        return Ecs(self.saas_region, self.configuration.saas.cluster, limits=self.limits)

    @cached_property
    def run_command(self) -> RunCommand:
        """Run Command in the region of the stack."""
        from jenkins_release.aws.ssm import Ssm

        return Ssm(self.saas_region, limits=self.limits)

    @cached_property
    def prober(self) -> Prober:
        """Asks the health checks' URLs."""
        from jenkins_release.http.probe import HttpProber

        return HttpProber()

    @property
    def jenkins_url(self) -> str:
        """The controller's root: ``jenkins.url``, or ``JENKINS_URL`` in a build.

        Raises:
            ConfigurationError: Neither is set, or the variable is not the URL of a controller.
        """
        url = self.configuration.jenkins.url or self.environ.get("JENKINS_URL", "")
        if not url:
            raise ConfigurationError(
                "no Jenkins controller is named", hint="set jenkins.url to the root of the controller"
            )
        try:
            return check_controller_url(url)
        except ValueError as error:
            raise ConfigurationError(f"JENKINS_URL {error}", hint="or set jenkins.url") from error

    @property
    def jenkins_folder(self) -> str:
        """Full name of the folder with the product's jobs."""
        return self.configuration.jenkins.folder or self.configuration.product.name

    @property
    def promote_job(self) -> str:
        """Full name of the promote job."""
        return f"{self.jenkins_folder}/{self.configuration.jenkins.promote_path}"

    @cached_property
    def jenkins(self) -> Controller:
        """The Jenkins controller. Raises ConfigurationError without a login."""
        from jenkins_release.jenkins import Controller

        user, token = secret(JENKINS_USER, self.environ), secret(JENKINS_TOKEN, self.environ)
        if user is None or token is None:
            missing = " and ".join(n for n, v in ((JENKINS_USER, user), (JENKINS_TOKEN, token)) if v is None)
            raise ConfigurationError(
                f"{missing} is not set: Jenkins needs a login",
                hint="create a token under the user's name in Jenkins, Security, API Token",
            )
        return Controller(
            self.jenkins_url,
            user.get_secret_value(),
            token,
            timeout_s=self.configuration.jenkins.timeout_s,
            least_rate=self.configuration.network.least_rate,
        )

    @cached_property
    def notified(self) -> list[Delivery]:
        """Every notification so far, in order, delivered or not."""
        return []

    @property
    def redaction(self) -> Redaction:
        """Removes every secret of the environment from a text."""
        variables = [section.url_variable for section in self.configuration.notify]
        return Redaction(known_secrets(self.environ, variables))

    def notifier(self, section: NotifySection) -> Notifier:
        """Open a notifier, which connects only when it delivers.

        Raises:
            ConfigurationError: A secret is missing or cannot be used.
        """
        if section.kind == "mail":
            from jenkins_release.notify.mail import MailNotifier

            return MailNotifier(
                section.host,
                section.port,
                section.tls,
                sender=section.sender,
                to=section.to,
                login=self._smtp_login(),
                ca_file=section.ca_file,
            )
        from jenkins_release.notify.webhook import WebhookNotifier

        url = secret(section.url_variable, self.environ)
        if url is None:
            raise ConfigurationError(
                f"{section.url_variable} is not set: it must contain the URL of the webhook",
                hint="the URL is a secret; in Jenkins, it is the credential 'webhook' of a step",
            )
        return WebhookNotifier(url, section.url_variable, ca_file=section.ca_file)

    def _smtp_login(self) -> tuple[str, SecretStr] | None:
        user, password = secret(SMTP_USER, self.environ), secret(SMTP_PASSWORD, self.environ)
        if user is None and password is None:
            return None
        if user is None or password is None:
            missing = SMTP_USER if user is None else SMTP_PASSWORD
            raise ConfigurationError(
                f"{missing} is not set: a login at a mail server needs user and password",
                hint="set both, or neither if the server needs no login",
            )
        return user.get_secret_value(), password

    @property
    def retry_policy(self) -> RetryPolicy:
        """How long to retry."""
        section = self.configuration.retry
        return RetryPolicy(
            attempts=section.attempts,
            deadline_s=section.deadline_s,
            first_wait_s=section.first_wait_s,
            max_wait_s=section.max_wait_s,
            jitter_s=min(RetryPolicy.jitter_s, section.max_wait_s),
            setting="retry.deadline_s",
        )

    def wait(self, seconds: float, what: str) -> None:
        """Wait, in seconds; ``what`` says for what. Raises Stopped when the process is asked to stop."""
        if self.sleep is pause:
            pause(seconds, what)
        else:
            self.sleep(seconds)

    def retry(
        self, what: str, action: Callable[[*Ts], T], *arguments: *Ts, policy: RetryPolicy | None = None
    ) -> T:
        """Call ``action`` with the arguments, under the configured retry policy or another.

        ``what`` names it in the log.
        """
        policy = policy or self.retry_policy
        return retry_call(action, *arguments, what=what, policy=policy, sleep=self.sleep)

    @contextmanager
    def holding(self, what: str, take: Callable[[], AbstractContextManager[Lease]]) -> Iterator[Lease]:
        """Hold a lease for the block, with retries if the share fails.

        Args:
            what: The lease, for the log.
            take: Returns the lease, not yet entered.

        Raises:
            LeaseHeld: Someone else holds it.
            RemoteError: The share failed, after the retries.
        """
        with ExitStack() as held:
            yield self.retry(f"take the lease of {what}", lambda: held.enter_context(take()))

    def holding_candidate(self, ref: CandidateRef) -> AbstractContextManager[Lease]:
        """Hold the lease for changing the state of a candidate; see :meth:`holding`."""
        return self.holding(str(ref), lambda: self.candidates.lease(ref, "promote", self.holder()))

    def each(self, action: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Query the outside about each item, several at a time, and return the answers in order.

        For queries only: changes are made one after the other. Open what ``action`` uses before, since it is
        opened on first use.

        Raises:
            ReleaseError: That of the first item whose call failed.
        """
        return map_parallel(action, items)

    @cached_property
    def trust_store(self) -> TrustStore:
        """Where the versions of the trust document are published. Raises ConfigurationError."""
        from jenkins_release.steps.context.trust_store import S3TrustStore, ShareTrustStore

        section = self.configuration.trust
        if section.location.startswith(S3TrustStore.SCHEME):
            bucket, _, prefix = section.location.removeprefix(S3TrustStore.SCHEME).partition("/")
            default = self.configuration.ecr.region
            return S3TrustStore(
                bucket, prefix.strip("/"), section.region, default_region=default, limits=self.limits
            )
        if section.location:
            return ShareTrustStore(self.open_share(section.location), "")
        return ShareTrustStore(self.share, f"{self.configuration.product.name}/{FOLDER}")

    @cached_property
    def trust(self) -> Trust:
        """Where policy and trusted keys come from. Raises as :func:`pinned` and :func:`load_trust` do."""
        pins, source = pinned(self.environ, self.pin_file)
        if not pins:
            return from_workspace(self.configuration)
        store = self.trust_store
        published = read_versions(store, self.retry, pinned=True)
        return load_trust(self.configuration, pins, source, store.name, published, self.now())

    @cached_property
    def trusted_keys(self) -> tuple[TrustedKey, ...]:
        """The keys that the gate trusts. Raises ConfigurationError with every unusable one."""
        return load_trusted_keys(self.trust.trusted_keys)

    @cached_property
    def authorities(self) -> tuple[Authority, ...]:
        """The versions of the trust document that a release may be made under; none if no root is pinned.

        Raises:
            ConfigurationError: A key in a version cannot be used.
        """
        return tuple(authorities(self.trust.versions))

    def refresh_trust(self) -> None:
        """Read the trust document again on next use: keys that were revoked meanwhile no longer count."""
        for name in ("trust", "trusted_keys", "authorities"):
            self.__dict__.pop(name, None)

    @property
    def policy(self) -> Policy:
        """What the gate requires; with a trusted build key, builds must be attested."""
        return policy_from(self.trust.policy, self.trusted_keys)

    def promotion_signer(self, key: str, *, dry_run: bool) -> Signer | None:
        """Open the promotion key: the given one, or the configured one.

        Returns:
            The key, or None for a dry run, which signs nothing and opens only an explicitly given key.

        Raises:
            ConfigurationError: As in :meth:`signer`.
        """
        if dry_run and not key:
            return None
        return self.signer("promotion", key)

    def signer(self, role: Role, uri: str = "") -> Signer:
        """Open the key that a role signs with, and check that the gate will believe it.

        From then on its owner is the user.

        Args:
            role: ``build``, ``qa``, ``request``, ``approval``, ``override`` or ``promotion``.
            uri: ``file2:<path>`` or ``awskms:<key>``; the role's key in ``[signing]`` if empty.

        Raises:
            ConfigurationError: The key cannot be opened, or is currently not trusted for the role.
        """
        from jenkins_release.keys import load_signer

        uri = uri or self.configuration.signing.key_for(role)
        if not uri:
            raise ConfigurationError(
                f"no {role} key to sign with",
                hint=f"give --key file2:PATH or awskms:KEY, or set signing.{role}_key",
            )
        passphrase = secret(KEY_PASSPHRASE, self.environ)
        signer = load_signer(
            uri,
            passphrase,
            region=self.configuration.ecr.region,
            environ=self.environ,
            limits=self.limits,
        )
        if hasattr(signer, "close"):  # one in AWS KMS
            self.closed_at_end(signer)
        for trusted in self.trusted_keys:
            same = trusted.key.keyid == signer.public_key.keyid
            usable = trusted.valid_at(self.now()) and not trusted.revoked
            if same and role in trusted.roles and usable:
                self._signs_for = trusted.owner
                return signer
        raise ConfigurationError(
            f"the key {uri} is not trusted for the role {role!r} at present: the gate would not count it",
            hint=f"add its public key to [[trusted_keys]] with the role {role!r}, or use a trusted key"
            if self.trust.version is None
            else "the trust document decides which keys are trusted: 'jenkins-release trust show' lists them",
        )

    def close(self) -> None:
        """Close the connections that were opened; a later use opens new ones."""
        with ExitStack() as closing:
            # All of them, even if one is interrupted.
            for opened in (*(self.__dict__.get(name) for name in _CLOSED), *self._opened):
                if opened is not None and hasattr(opened, "close"):
                    closing.callback(opened.close)

    def __enter__(self) -> Services:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def build_url(self) -> str:
        """The Jenkins build that this runs in; empty outside Jenkins."""
        return self.environ.get("BUILD_URL", "")

    def user(self) -> str:
        """Who runs this: the owner of the key that it signs with, Jenkins' user, or the login name.

        The last two come from the environment. Only a notary's signature makes them a proof, because its key
        is kept where Jenkins sets them.
        """
        return (
            self._signs_for
            or self.environ.get("BUILD_USER_ID")
            or self.environ.get("BUILD_USER")
            or login_name()
        )

    def holder(self) -> str:
        """A line that says who holds a lease: user, host, process, since when, Jenkins build."""
        line = f"{self.user()}@{socket.gethostname()} pid {os.getpid()} since {second(self.now())}"
        return f"{line} ({self.build_url})" if self.build_url else line


def login_name() -> str:
    """Return the name of the account that runs this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
