"""What the steps work with: opened on first use, replaced by other implementations in tests."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlsplit

from jenkins_release.base.environment import require_text
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.moments import second
from jenkins_release.base.parallel import map_parallel
from jenkins_release.base.progress import Progress, SilentProgress
from jenkins_release.base.retry import RetryPolicy, retry_call
from jenkins_release.base.waits import pause
from jenkins_release.config import (
    KEY_PASSPHRASE,
    SMB_PASSWORD,
    SMB_USER,
    Configuration,
    secret,
)
from jenkins_release.records.attestation import TrustedKey
from jenkins_release.rules.gate.policy import Policy, policy_from
from jenkins_release.steps.context.aws_services import AwsServices
from jenkins_release.steps.context.jenkins_services import JenkinsServices
from jenkins_release.steps.context.notify_services import NotifyServices
from jenkins_release.steps.context.portal_services import PortalServices
from jenkins_release.steps.context.saas_services import SaasServices
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
    from securesystemslib.signer import Signer

    from jenkins_release.images.protocol import ImageEngine
    from jenkins_release.ledger import Ledger
    from jenkins_release.rules.gate.authority import Authority
    from jenkins_release.share.candidates import CandidateArea, CandidateRef
    from jenkins_release.share.factory import ClosableShare
    from jenkins_release.share.protocol import Lease, Share
    from jenkins_release.share.releases import ReleaseArea

T = TypeVar("T")
R = TypeVar("R")


class Closable(Protocol):
    """Something with connections."""

    def close(self) -> None:
        """Close the connections."""


C = TypeVar("C", bound=Closable)
_CLOSED = (
    *("share", "release_share", "portal", "ledger", "engine", "blobs", "registry"),
    *("iam", "secret_store", "ecs", "run_command", "trust_store", "_controller"),
)
"""What is closed with the services, where it was opened and has something to close."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Services(AwsServices, JenkinsServices, NotifyServices, SaasServices, PortalServices):
    """The outside world of a step, made from a configuration. A context manager that closes what it opened.

    Attributes:
        configuration: ``release.toml``.
        environ: The environment: secrets, and what Jenkins says of the build.
        progress: Where transfers report to.
        now: Tells the time, UTC.
        sleep: Waits, in seconds.
        pin_file: The file that pins the trust root of this machine.
    """

    configuration: Configuration
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    progress: Progress = field(default_factory=SilentProgress)
    now: Callable[[], datetime] = _now
    sleep: Callable[[float], None] = pause
    _signs_for: str = field(default="", init=False, repr=False)
    pin_file: PinFile = field(default_factory=PinFile)
    _opened: list[Closable] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check that the environment is text, and take a login out of the build's URL.

        That is recorded, sent to people, and shown in leases. Raises ConfigurationError.
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
        """The share with the published releases. Raises ConfigurationError where none is configured."""
        location = self.configuration.share.releases
        if not location:
            raise ConfigurationError(
                "there is no release area", hint="set share.releases to where releases are published"
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
        from jenkins_release.ledger import FolderLedger, S3Ledger

        if section.kind == "folder":
            return FolderLedger(self._open_share(section.location))
        return S3Ledger(
            section.bucket, section.region, prefix=section.prefix, **self.bucket_settings(section)
        )

    @cached_property
    def engine(self) -> ImageEngine:
        """The Docker daemon."""
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
    def retry_policy(self) -> RetryPolicy:
        """How long to insist."""
        section = self.configuration.retry
        return RetryPolicy(
            attempts=section.attempts,
            deadline_s=section.deadline_s,
            first_wait_s=section.first_wait_s,
            max_wait_s=section.max_wait_s,
            setting="retry.deadline_s",
        )

    def wait(self, seconds: float, what: str) -> None:
        """Wait, in seconds; ``what`` says for what. Raises Stopped when the process is asked to stop."""
        if self.sleep is pause:
            pause(seconds, what)
        else:
            self.sleep(seconds)

    def retry(self, what: str, action: Callable[[], T], *, policy: RetryPolicy | None = None) -> T:
        """Call ``action`` under the configured retry policy or another; ``what`` names it in the log."""
        return retry_call(action, what=what, policy=policy or self.retry_policy, sleep=self.sleep)

    @contextmanager
    def holding(self, what: str, take: Callable[[], AbstractContextManager[Lease]]) -> Iterator[Lease]:
        """Hold a lease for the length of the block; a share that fails is asked for it again.

        Args:
            what: The lease, for the log.
            take: Returns the lease, not entered yet.

        Raises:
            LeaseHeld: Someone else holds it.
            RemoteError: The share failed, after the retries.
        """
        with ExitStack() as held:
            yield self.retry(f"take the lease of {what}", lambda: held.enter_context(take()))

    def holding_candidate(self, ref: CandidateRef) -> AbstractContextManager[Lease]:
        """Hold the lease of those who change what became of a candidate; see :meth:`holding`."""
        return self.holding(str(ref), lambda: self.candidates.lease(ref, "promote", self.holder()))

    def each(self, action: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Ask the outside about each item, several at a time, and return the answers in their order.

        For questions only: what changes something is done one after the other. Open what ``action``
        uses before, since it is opened on first use.

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
        """The keys that the gate believes. Raises ConfigurationError with every unusable one."""
        return load_trusted_keys(self.trust.trusted_keys)

    @cached_property
    def authorities(self) -> tuple[Authority, ...]:
        """The versions of the trust document that a release may be made under; none if no root is pinned.

        Raises:
            ConfigurationError: A key in a version cannot be used.
        """
        return tuple(authorities(self.trust.versions))

    def refresh_trust(self) -> None:
        """Read the trust document again on next use: a key that was revoked meanwhile no longer counts."""
        for name in ("trust", "trusted_keys", "authorities"):
            self.__dict__.pop(name, None)

    @property
    def policy(self) -> Policy:
        """What the gate asks for; with a trusted build key, builds have to be attested."""
        return policy_from(self.trust.policy, self.trusted_keys)

    def promotion_signer(self, key: str, *, dry_run: bool) -> Signer | None:
        """Open the promotion key: the given one, or that of the configuration.

        Returns:
            The key, or None for a dry run, which signs nothing: it opens only a key that it is given.

        Raises:
            ConfigurationError: As in :meth:`signer`.
        """
        if dry_run and not key:
            return None
        return self.signer("promotion", key or self.configuration.signing.promotion_key)

    def signer(self, role: str, uri: str) -> Signer:
        """Open a signing key and check that the gate will believe it. From then on its owner is the user.

        Args:
            role: ``build``, ``qa``, ``request``, ``approval``, ``override`` or ``promotion``.
            uri: ``file2:<path>`` or ``awskms:<key>``.

        Raises:
            ConfigurationError: The key cannot be opened, or is not trusted for the role at present.
        """
        from jenkins_release.keys import load_signer

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
            f"the key {uri} is not trusted for the role {role!r} at present, the gate would not count it",
            hint=f"add its public key to [[trusted_keys]] with the role {role!r}, or use a trusted key"
            if self.trust.version is None
            else "the trust document decides which keys are trusted: 'jenkins-release trust show' lists them",
        )

    def close(self) -> None:
        """Close the connections that were opened; a later use opens new ones."""
        with ExitStack() as closing:
            # All of them, also if one is interrupted.
            for opened in (*(self.__dict__.get(name) for name in _CLOSED), *self._opened):
                if opened is not None and hasattr(opened, "close"):
                    closing.callback(opened.close)

    def __enter__(self) -> Services:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def user(self) -> str:
        """Who runs this: the owner of the key that it signs with, Jenkins' user, or the login name.

        The last two are what the environment says. Only a notary's signature makes a proof of them: its key
        is held where Jenkins sets them.
        """
        return (
            self._signs_for
            or self.environ.get("BUILD_USER_ID")
            or self.environ.get("BUILD_USER")
            or login_name()
        )

    def holder(self) -> str:
        """One line that says who holds a lease: user, host, process, since when, Jenkins build."""
        line = f"{self.user()}@{socket.gethostname()} pid {os.getpid()} since {second(self.now())}"
        build = self.environ.get("BUILD_URL")
        return f"{line} ({build})" if build else line


def login_name() -> str:
    """Return the name of the account that runs this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
