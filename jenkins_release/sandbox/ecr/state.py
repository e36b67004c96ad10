"""The state of the ECR front: repositories, tags, principals and tokens.

The state is one JSON file, written to a temporary name and renamed, with mode 0600: its secret access keys
are throw-away credentials that open only the sandbox. Of a registry token, only the SHA-256 is kept. Blobs
and manifests are not here: the registry behind the front holds them
(:mod:`jenkins_release.sandbox.ecr.store`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.iam.users import IamUsers

ACCOUNT = "123456789012"
"""Account number of the sandbox, from AWS's own examples."""
REGION = "us-east-1"
"""Region of the sandbox."""
ORPHANED_S = 24 * 3600.0
"""Seconds until the referrers of a deleted image are gone too (ECR user guide, "Lifecycle policies")."""
TOKEN_LIFETIME_S = 12 * 3600.0
"""Seconds that a registry token is valid (ECR API reference, GetAuthorizationToken)."""
SESSION_S = 3600.0
"""Seconds that a session of a role lasts (STS API reference, DurationSeconds)."""
ADMIN = "release"
"""User name of the first principal of a new state, which may do everything."""
_CHANGES = 8
"""Repository changes that are remembered, for late answers."""

Mutability = Literal["MUTABLE", "IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION"]


class Image(BaseModel):
    """A stored image or artifact.

    Attributes:
        digest: Digest of its manifest.
        media_type: Media type of its manifest.
        size: Bytes of what it names; of an index, its own.
        pushed_at: When it was pushed, in seconds since the epoch.
        children: Digests of the manifests that an index lists.
        attesting: Those of them that run nowhere: attestations, by their platform.
        pulled_at: When its manifest was last read.
        subject: Digest of the manifest that it refers to; empty for none.
        artifact_type: The type of an artifact (OCI Distribution Specification 1.1, "Listing Referrers").
        manifest_size: Bytes of its manifest.
        annotations: The annotations of its manifest.
        orphaned_at: When its subject was deleted; None while the subject is there, or never was.
    """

    digest: str
    media_type: str
    size: int
    pushed_at: float
    children: list[str] = []
    attesting: list[str] = []
    pulled_at: float | None = None
    subject: str = ""
    artifact_type: str = ""
    manifest_size: int = 0
    annotations: dict[str, str] = {}
    orphaned_at: float | None = None


class RepositoryState(BaseModel):
    """A repository; ``storage`` is its name in the registry behind, new with every creation."""

    name: str
    storage: str
    created_at: float
    mutability: Mutability = "MUTABLE"
    exclusions: list[str] = []
    scan_on_push: bool = False
    encryption: dict[str, str] = {"encryptionType": "AES256"}
    resource_tags: dict[str, str] = {}
    policy: str = ""
    images: dict[str, Image] = {}
    tags: dict[str, str] = {}

    def is_immutable(self, tag: str) -> bool:
        """Whether a tag cannot be set again."""
        excluded = any(fnmatchcase(tag, pattern) for pattern in self.exclusions)
        return self.mutability.startswith("IMMUTABLE") != excluded

    def tags_of(self, digest: str) -> list[str]:
        """Return the tags that name an image, sorted."""
        return sorted(tag for tag, named in list(self.tags.items()) if named == digest)

    def referrers(self, subject: str, artifact_types: Collection[str] = ()) -> list[Image]:
        """Return the artifacts that refer to a manifest, of all types or of some, in the order of digests."""
        return [
            each
            for _, each in sorted(self.images.items())
            if each.subject == subject and (not artifact_types or each.artifact_type in artifact_types)
        ]

    def orphan(self, subject: str, now: float) -> None:
        """Remember that the subject of some artifacts was deleted."""
        for each in self.referrers(subject):
            each.orphaned_at = now

    def remove_orphans(self, now: float) -> None:
        """Delete the artifacts whose subject was deleted :data:`ORPHANED_S` seconds ago."""
        for digest, each in list(self.images.items()):
            if each.orphaned_at is not None and each.orphaned_at + ORPHANED_S <= now:
                del self.images[digest]
                self.tags = {tag: named for tag, named in self.tags.items() if named != digest}
                self.orphan(digest, now)

    def find(self, reference: str) -> Image | None:
        """Return the image with a tag or a digest."""
        return self.images.get(self.tags.get(reference, reference))


class PolicyStatement(BaseModel):
    """A statement of a policy, as in IAM: ``*`` and ``?`` are wildcards, an explicit Deny wins."""

    effect: Literal["Allow", "Deny"] = "Allow"
    actions: list[str]
    resources: list[str] = ["*"]


class PrincipalKey(BaseModel):
    """An access key of a principal."""

    secret: str = Field(repr=False)
    arn: str
    active: bool = True


class Token(BaseModel):
    """A registry token, known by its SHA-256."""

    arn: str
    expires_at: float


class IdentityToken(BaseModel):
    """What an OIDC provider issued, known by its SHA-256: for a role, until a time, for sessions so long."""

    role: str
    expires_at: float
    session_s: float


class Session(BaseModel):
    """A session of a role, known by its temporary access key.

    Attributes:
        secret: Its secret access key.
        token: Its session token, which every call has to show.
        arn: The ARN of the session; :attr:`jenkins_release.aws.identity.Caller.principal` is the role's.
        expires_at: When it ends, in seconds since the epoch.
    """

    secret: str = Field(repr=False)
    token: str = Field(repr=False)
    arn: str
    expires_at: float
    active: bool = True


class ScanOrder(BaseModel):
    """The ordered result of image scans.

    Attributes:
        repository: Name of the repository.
        image: Digest or tag; any image of the repository if empty.
        status: ECR's ``ImageScanStatus`` (ECR API reference); ``none`` for no scan at all.
        findings: Severity to number of findings.
        pending: How many answers first say PENDING; with ``counts = "none"``, how many of Inspector's say
            PENDING_INITIAL_SCAN.
        counts: Whether ECR's answer counts the findings. AWS leaves out the counts for an enhanced scan that
            has not run yet, or found nothing: with ``none``, its answer is an empty list; with ``listed``,
            the findings are only listed.
        coverage: Inspector's reason for the status of its coverage (Inspector API reference, ScanStatus);
            empty for an image that it does not cover.
    """

    model_config = ConfigDict(extra="forbid")

    repository: str
    image: str = ""
    status: Literal[
        "none",
        "PENDING",
        "IN_PROGRESS",
        "COMPLETE",
        "ACTIVE",
        "FAILED",
        "UNSUPPORTED_IMAGE",
        "SCAN_ELIGIBILITY_EXPIRED",
        "FINDINGS_UNAVAILABLE",
        "LIMIT_EXCEEDED",
        "IMAGE_SIZE_EXCEEDED",
    ] = "COMPLETE"
    findings: dict[str, int] = {}
    pending: int = Field(default=0, ge=0)
    counts: Literal["present", "listed", "none"] = "present"
    coverage: str = "SUCCESSFUL"


class _Document(BaseModel):
    repositories: dict[str, RepositoryState] = {}
    principals: dict[str, list[PolicyStatement]] = {}
    keys: dict[str, PrincipalKey] = {}
    tokens: dict[str, Token] = {}
    sessions: dict[str, Session] = {}
    identity_tokens: dict[str, IdentityToken] = {}
    scans: list[ScanOrder] = []
    download_key: str = Field(default_factory=secrets.token_hex, repr=False)


class EcrState:
    """The state of one front, safe to share between threads.

    Args:
        folder: State folder, with ``ecr.json``.
        account: Account number.
        region: AWS region.
        token_lifetime_s: Seconds that a new registry token is valid.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        *,
        account: str = ACCOUNT,
        region: str = REGION,
        token_lifetime_s: float = TOKEN_LIFETIME_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "ecr.json"
        self.account = account
        self.region = region
        self.token_lifetime_s = token_lifetime_s
        self.clock = clock
        self.iam: IamUsers | None = None
        self.layer_host = ""
        self._lock = threading.RLock()
        self._document = _Document()
        self._before: deque[dict[str, str]] = deque(maxlen=_CHANGES)
        self._latest: dict[str, str] = {}
        if self.file.exists():
            self._document = _Document.model_validate_json(self.file.read_bytes())
            self._latest = self._written()
        else:
            self.add_user(ADMIN, [PolicyStatement(actions=["*"])])

    @contextlib.contextmanager
    def change(self, *, repositories: bool = True) -> Iterator[_Document]:
        """Hold the lock, and write the file if the block ends without an error.

        Args:
            repositories: Whether the block may change repositories, so that late answers know them as they
                were; pull times do not count.
        """
        with self._lock:
            yield self._document
            temporary = self.file.with_suffix(".new")
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w") as out:
                out.write(self._document.model_dump_json())
            temporary.replace(self.file)
            if repositories and (now := self._written()) != self._latest:
                self._before.append(self._latest)
                self._latest = now

    @contextlib.contextmanager
    def earlier(self, changes: int) -> Iterator[None]:
        """Let the block read the state of this many repository changes ago."""
        with self._lock:
            now = self._document.repositories
            then = {} if changes > len(self._before) else self._before[-changes]
            self._document.repositories = {
                name: RepositoryState.model_validate_json(text) for name, text in then.items()
            }
            try:
                yield
            finally:
                self._document.repositories = now

    def _written(self) -> dict[str, str]:
        """Return the current repositories as JSON; pull times do not count as changes."""
        without = {"images": {"__all__": {"pulled_at"}}}
        repositories = self._document.repositories.items()
        return {name: each.model_dump_json(exclude=without) for name, each in repositories}

    @contextlib.contextmanager
    def read(self) -> Iterator[_Document]:
        """Hold the lock while reading."""
        with self._lock:
            yield self._document

    def repository(self, name: str) -> RepositoryState:
        """Return a repository. Raises RepositoryNotFoundException."""
        with self._lock:
            found = self._document.repositories.get(name)
            if found is not None:
                found.remove_orphans(self.clock())
            if found is None:
                raise ApiFault(
                    "RepositoryNotFoundException",
                    f"The repository with name '{name}' does not exist in the registry with id "
                    f"'{self.account}'",
                )
            return found

    def order_scan(self, order: ScanOrder) -> None:
        """Order the result of a scan; of several orders for an image, the last one counts."""
        with self.change(repositories=False) as document:
            document.scans.append(order.model_copy())

    def user_arn(self, user: str) -> str:
        """Return the ARN of a user of the sandbox's account."""
        return f"arn:aws:iam::{self.account}:user/{user}"

    def repository_arn(self, name: str) -> str:
        """Return the ARN of a repository, whether it exists or not."""
        return f"arn:aws:ecr:{self.region}:{self.account}:repository/{name}"

    def add_user(
        self, user: str, statements: list[PolicyStatement], *, access_key: str = "", secret: str = ""
    ) -> tuple[str, str]:
        """Create a user with these statements and one access key; earlier statements are replaced.

        Args:
            user: User name, or a whole ARN.
            statements: What it may do.
            access_key: Access key id; a new one by default.
            secret: Secret access key; a new one by default.

        Returns:
            Access key id and secret.
        """
        arn = user if user.startswith("arn:") else self.user_arn(user)
        access_key = access_key or f"AKIASANDBOX{secrets.token_hex(5)[:9].upper()}"
        secret = secret or secrets.token_urlsafe(30)
        with self.change(repositories=False) as document:
            document.principals[arn] = statements
            document.keys[access_key] = PrincipalKey(secret=secret, arn=arn)
        return access_key, secret

    def set_key_active(self, access_key: str, active: bool) -> None:
        """Switch an access key on or off; its tokens keep working, as in AWS."""
        with self.change(repositories=False) as document:
            document.keys[access_key].active = active

    def admin_key(self) -> tuple[str, str]:
        """Return access key id and secret of the principal that may do everything."""
        with self._lock:
            arn = self.user_arn(ADMIN)
            return next((name, key.secret) for name, key in self._document.keys.items() if key.arn == arn)

    def add_role(self, role: str, statements: list[PolicyStatement]) -> str:
        """Let a role exist that may do this, and return its ARN; earlier statements are replaced."""
        arn = f"arn:aws:iam::{self.account}:role/{role}"
        with self.change(repositories=False) as document:
            document.principals[arn] = statements
        return arn

    def start_session(self, role_arn: str, name: str, duration_s: float) -> tuple[str, str, Session]:
        """Start a session of a role, and return its access key, its secret and the session."""
        key = f"ASIASANDBOX{secrets.token_hex(5)[:9].upper()}"
        role = role_arn.rpartition("/")[2]
        session = Session(
            secret=secrets.token_urlsafe(30),
            token=secrets.token_urlsafe(120),
            arn=f"arn:aws:sts::{self.account}:assumed-role/{role}/{name}",
            expires_at=self.clock() + duration_s,
        )
        with self.change(repositories=False) as document:
            document.sessions[key] = session
        return key, session.secret, session

    def end_sessions(self) -> None:
        """End all sessions that were started so far."""
        with self.change(repositories=False) as document:
            for session in document.sessions.values():
                session.expires_at = 0.0

    def issue_identity_token(
        self, role_arn: str, *, lifetime_s: float = SESSION_S, session_s: float = SESSION_S
    ) -> str:
        """Return what an OIDC provider would issue: a token for which a role can be assumed.

        Args:
            role_arn: The role.
            lifetime_s: Seconds until the token expires.
            session_s: Seconds that a session lasts which it begins.
        """
        token = f"eyJhbGciOiJSUzI1NiJ9.{secrets.token_urlsafe(200)}.{secrets.token_urlsafe(200)}"
        with self.change(repositories=False) as document:
            document.identity_tokens[_hash(token)] = IdentityToken(
                role=role_arn, expires_at=self.clock() + lifetime_s, session_s=session_s
            )
        return token

    def identity_token(self, token: str) -> IdentityToken | None:
        """Return a known identity token, expired or not."""
        with self._lock:
            return self._document.identity_tokens.get(_hash(token))

    def end_identity_tokens(self) -> None:
        """Let all identity tokens that were issued so far expire."""
        with self.change(repositories=False) as document:
            for token in document.identity_tokens.values():
                token.expires_at = 0.0

    def issue_token(self, arn: str) -> tuple[str, float]:
        """Return a new registry token for a principal, and when it expires."""
        token = secrets.token_urlsafe(48)
        expires = self.clock() + self.token_lifetime_s
        with self.change(repositories=False) as document:
            for name in [
                name for name, old in document.tokens.items() if old.expires_at < self.clock() - 86400
            ]:
                del document.tokens[name]
            document.tokens[_hash(token)] = Token(arn=arn, expires_at=expires)
        return token, expires

    def token(self, token: str) -> Token | None:
        """Return a known registry token, expired or not."""
        with self._lock:
            return self._document.tokens.get(_hash(token))

    def expire_tokens(self) -> None:
        """Expire all existing tokens."""
        with self.change(repositories=False) as document:
            for token in document.tokens.values():
                token.expires_at = 0.0


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
