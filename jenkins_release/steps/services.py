"""What the steps work with: opened on first use, replaced by other implementations in tests."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from jenkins_release.config import (
    KEY_PASSPHRASE,
    SMB_PASSWORD,
    SMB_USER,
    Configuration,
    secret,
)
from jenkins_release.errors import ConfigurationError
from jenkins_release.parallel import map_parallel
from jenkins_release.progress import Progress, SilentProgress
from jenkins_release.records.attestation import TrustedKey
from jenkins_release.retry import RetryPolicy, retry_call
from jenkins_release.rules.policy import Freeze, Policy
from jenkins_release.steps._aws_services import AwsServices
from jenkins_release.steps._jenkins_services import JenkinsServices
from jenkins_release.steps._notify_services import NotifyServices
from jenkins_release.steps._portal_services import PortalServices
from jenkins_release.steps._saas_services import SaasServices
from jenkins_release.steps._trusted import load_trusted_keys

if TYPE_CHECKING:
    from securesystemslib.signer import Signer

    from jenkins_release.images.protocol import ImageEngine
    from jenkins_release.share.candidates import CandidateArea
    from jenkins_release.share.factory import ClosableShare
    from jenkins_release.share.protocol import Share
    from jenkins_release.share.releases import ReleaseArea

T = TypeVar("T")
R = TypeVar("R")


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
    """

    configuration: Configuration
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    progress: Progress = field(default_factory=SilentProgress)
    now: Callable[[], datetime] = _now
    sleep: Callable[[float], None] = time.sleep

    @cached_property
    def share(self) -> Share:
        """The share with the release candidates."""
        return self._open_share(self.configuration.share.release_candidate)

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
    def engine(self) -> ImageEngine:
        """The Docker daemon."""
        from jenkins_release.images import DockerEngine

        section = self.configuration.docker
        return DockerEngine(
            section.host or None,
            stream_timeout_s=section.timeout_s,
            environ=self.environ,
            progress=self.progress,
        )

    @property
    def retry_policy(self) -> RetryPolicy:
        """How long to insist."""
        section = self.configuration.retry
        return RetryPolicy(section.attempts, section.deadline_s, section.first_wait_s, section.max_wait_s)

    def retry(self, what: str, action: Callable[[], T], *, policy: RetryPolicy | None = None) -> T:
        """Call ``action`` under the configured retry policy or another; ``what`` names it in the log."""
        return retry_call(action, what=what, policy=policy or self.retry_policy, sleep=self.sleep)

    def each(self, action: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Ask the outside about each item, several at a time, and return the answers in their order.

        For questions only: what changes something is done one after the other. Open what ``action``
        uses before, since it is opened on first use.

        Raises:
            ReleaseError: That of the first item whose call failed.
        """
        return map_parallel(action, items)

    @cached_property
    def trusted_keys(self) -> tuple[TrustedKey, ...]:
        """The keys that the gate believes. Raises ConfigurationError with every unusable one."""
        return load_trusted_keys(self.configuration.trusted_keys)

    @property
    def policy(self) -> Policy:
        """What the gate asks for; with a trusted build key, builds have to be attested."""
        section = self.configuration.policy
        freezes = tuple(Freeze(each.start, each.end, each.reason) for each in section.freezes)
        values = section.model_dump(exclude={"freezes"})
        builders = any("build" in key.roles and not key.revoked for key in self.trusted_keys)
        return Policy(**values, freezes=freezes, build_attestation=builders)

    def signer(self, role: str, uri: str) -> Signer:
        """Open a signing key and check that the gate will believe it.

        Args:
            role: ``build``, ``qa``, ``approval``, ``override`` or ``promotion``.
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
        signer = load_signer(uri, passphrase, region=self.configuration.ecr.region, environ=self.environ)
        for trusted in self.trusted_keys:
            same = trusted.key.keyid == signer.public_key.keyid
            usable = trusted.valid_at(self.now()) and not trusted.revoked
            if same and role in trusted.roles and usable:
                return signer
        raise ConfigurationError(
            f"the key {uri} is not trusted for the role {role!r} at present, the gate would not count it",
            hint=f"add its public key to [[trusted_keys]] with the role {role!r}, or use a trusted key",
        )

    def close(self) -> None:
        """Close the connections that were opened; a later use opens new ones."""
        for name in ("share", "release_share", "portal", "engine", "blobs"):
            opened = self.__dict__.get(name)
            if opened is not None and hasattr(opened, "close"):
                opened.close()

    def __enter__(self) -> Services:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def user(self) -> str:
        """Who runs this: the Jenkins user that started the build, or the login name."""
        return self.environ.get("BUILD_USER_ID") or self.environ.get("BUILD_USER") or _login_name()

    def holder(self) -> str:
        """One line that says who holds a lease: user, host, process, since when, Jenkins build."""
        line = (
            f"{self.user()}@{socket.gethostname()} pid {os.getpid()} since {self.now():%Y-%m-%d %H:%M:%S} UTC"
        )
        build = self.environ.get("BUILD_URL")
        return f"{line} ({build})" if build else line


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
