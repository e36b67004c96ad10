"""Verify: proves a consumer's images and files with a bundle and trusted keys, without the share.

It trusts only the given public keys, or a trust root and its trust document. It does not read a
``release.toml``, and connects only to the registries and the Docker daemon that the consumer names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import (
    ConfigurationError,
    GateRefused,
    IntegrityError,
    ReleaseError,
    RemoteError,
)
from jenkins_release.base.files import read_named
from jenkins_release.base.progress import Progress, SilentProgress
from jenkins_release.base.retry import RetryPolicy, retry_call
from jenkins_release.base.waits import pause
from jenkins_release.config import REGISTRY_PASSWORD, REGISTRY_USER, read_key_sections, secret
from jenkins_release.images.archive import ArchiveReader
from jenkins_release.images.decompression import unpacked
from jenkins_release.images.layer_proof import prove_layers
from jenkins_release.records.bundle import MAX_BUNDLE_BYTES, Bundle, read_bundle
from jenkins_release.records.candidate import MultiPlatformRecord
from jenkins_release.registry.protocol import RegistryLogin
from jenkins_release.rules.gate.attested_release import AttestedRelease
from jenkins_release.rules.gate.authority import Authority
from jenkins_release.rules.release.consumer import approval_problems, judge, judge_under
from jenkins_release.rules.release.matching import (
    Match,
    match_archive,
    match_file,
    match_listed,
    match_local,
    match_stored,
    part_of,
    promoted_image,
)
from jenkins_release.steps.context.trust_root import authorities
from jenkins_release.steps.context.trusted_keys import load_trusted_keys

if TYPE_CHECKING:
    from jenkins_release.registry.distribution import DistributionRegistry, ImageReference

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_CHUNK = 1 << 20
_RETRY = RetryPolicy(attempts=3, deadline_s=60.0, first_wait_s=0.5, max_wait_s=5.0, jitter_s=0.5)


@dataclass(frozen=True)
class VerifyReleaseRequest:
    """What to verify, and whom to trust.

    Attributes:
        bundle: File that ``release attestations`` wrote.
        trusted_keys: Folders of public keys, or TOML files with ``[[trusted_keys]]``; none with a trust root.
        images: Images in a registry: ``REGISTRY/REPOSITORY`` with ``:TAG`` or ``@DIGEST``; with neither, the
            release's own tag.
        local_images: Images in the Docker daemon.
        archives: Archives that ``docker save`` wrote.
        files: Files of the candidate.
        docker_host: The daemon's URL; ``DOCKER_HOST`` or the local socket by default.
        release: ``VERSION`` or ``VERSION/BUILD`` that the bundle has to be of; if empty, any. Without it, an
            older release with its older bundle passes too, and nobody notices if both were exchanged.
        trust_root: Pin of the trust root, ``sha256:DIGEST:VERSION``, whose trust document has the keys, and
            the policy that the promotion has to meet.
        trust: Versions of the trust document, or folders of them; if empty, those in the bundle.
    """

    bundle: Path
    trusted_keys: tuple[Path, ...] = ()
    images: tuple[str, ...] = ()
    local_images: tuple[str, ...] = ()
    archives: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    docker_host: str = ""
    release: str = ""
    trust_root: str = ""
    trust: tuple[Path, ...] = ()


@dataclass(frozen=True)
class ReleaseVerification:
    """What was proven.

    Attributes:
        release: The release: validated by QA, promoted, and in force when the bundle was made.
        matches: Which part of the release each image, archive and file is, in the order of the request.
        unchecked: What could not be checked with what was given.
        authority: The version of the trust document that it meets; None without a trust root.
    """

    release: AttestedRelease
    matches: tuple[Match, ...]
    unchecked: tuple[str, ...] = ()
    authority: Authority | None = None


def _now() -> datetime:
    return datetime.now(UTC)


def verify_release(
    request: VerifyReleaseRequest,
    *,
    environ: Mapping[str, str] = os.environ,
    progress: Progress | None = None,
    now: Callable[[], datetime] = _now,
    sleep: Callable[[float], None] = pause,
) -> ReleaseVerification:
    """Prove that images, archives and files are those that QA validated and that were promoted.

    Args:
        request: What to verify.
        environ: The environment, with a login for the registry and ``DOCKER_HOST``.
        progress: Shows how many bytes were read.
        now: Returns the current time, UTC.
        sleep: Waits between attempts, in seconds.

    Raises:
        IntegrityError: The bundle does not prove it, or something is not part of the release;
            ``reasons`` lists every finding.
        GateRefused: All of that is proven, but the policy of the trust root does not allow the promotion.
        ConfigurationError: Keys, files or images are missing or cannot be used.
        RemoteError: A registry or the Docker daemon failed, after the retries.
    """
    return _Verification(request, environ, progress or SilentProgress(), sleep).run(now())


@dataclass(frozen=True)
class _Verification:
    request: VerifyReleaseRequest
    environ: Mapping[str, str] = field(repr=False)
    progress: Progress
    sleep: Callable[[float], None]

    def run(self, now: datetime) -> ReleaseVerification:
        references = self._references()
        request = self.request
        if bool(request.trust_root) == bool(request.trusted_keys):
            raise ConfigurationError(
                "trusted keys and a trust root are both given, or neither",
                hint="give --trust-root, whose document names the keys, or --trusted-keys",
            )
        bundle = read_bundle(_read_small(request.bundle), str(request.bundle))
        release, found, refused, unchecked, authority = self._judged(bundle, now)
        matches: list[Match] = []
        failures: list[ReleaseError] = []
        reasons = [*self._other_release(release), *found]
        for look in self._looks(release, references) if release is not None else []:
            try:
                matches.append(look())
            except IntegrityError as error:
                reasons += error.reasons or [error.message]
            except ReleaseError as error:
                failures.append(error)
        reasons += [problem for match in matches for problem in match.problems]
        if reasons or release is None:
            told = dict.fromkeys(error.message for error in failures)
            reasons += [f"could not be checked: {message}" for message in told]
            raise IntegrityError(
                f"{self.request.bundle} cannot be proven: {reasons[0]}",
                hint="do not use what was verified; ask where it came from for the right files and keys",
                reasons=[*reasons, *refused],
            )
        if refused:
            raise GateRefused(
                f"FAILED: {self.request.bundle} is of a release that the policy does not allow: {refused[0]}",
                hint="do not use what was verified; ask those who hold the root keys",
                reasons=refused,
            )
        if failures:
            raise _together(failures)
        return ReleaseVerification(release, tuple(matches), unchecked, authority)

    def _judged(
        self, bundle: Bundle, now: datetime
    ) -> tuple[AttestedRelease | None, Sequence[str], Sequence[str], tuple[str, ...], Authority | None]:
        """Return the release, what is unproven, what is not allowed, what is unchecked, and the authority."""
        if self.request.trust_root:
            found = judge_under(bundle, self._authorities(bundle), now)
            return found.release, found.problems, found.refused, found.unchecked, found.authority
        trusted = load_trusted_keys(read_key_sections(self.request.trusted_keys))
        release, reasons = judge(bundle, trusted, now)
        unchecked = approval_problems(release, trusted)[1] if release is not None else ()
        return release, reasons, (), unchecked, None

    def _authorities(self, bundle: Bundle) -> list[Authority]:
        from jenkins_release.rules.gate.trust import Pin, walk
        from jenkins_release.steps.trust.document import numbered, read_version_files

        pin = Pin.parse(self.request.trust_root, "--trust-root")
        if self.request.trust:
            where = ", ".join(map(str, self.request.trust))
            versions = read_version_files(self.request.trust)
        else:
            where = str(self.request.bundle)
            versions = numbered(bundle.trust, where)
        return authorities(walk([pin], versions, where))

    def _other_release(self, release: AttestedRelease | None) -> list[str]:
        wanted = self.request.release
        if release is None or wanted in {"", release.record.version, release.record.ident}:
            return []
        return [f"the bundle is of {release.record.product} {release.record.ident}, not of {wanted}"]

    def _references(self) -> list[tuple[str, ImageReference]]:
        """Parse the names of the images. This comes first, so that a typo is not reported as a finding."""
        request = self.request
        if not (request.images or request.local_images or request.archives or request.files):
            raise ConfigurationError(
                "there is nothing to verify", hint="name an image, a local image, an archive or a file"
            )
        if not request.images:
            return []
        from jenkins_release.registry.distribution import ImageReference

        found = [(text, ImageReference.parse(text)) for text in request.images]
        if self._login("") is not None and len({reference.host for _, reference in found}) > 1:
            raise ConfigurationError(
                "images of several registries are named, and a login that is for one of them",
                hint="verify the images of each registry with a separate command",
            )
        return found

    def _login(self, host: str) -> RegistryLogin | None:
        user, password = self.environ.get(REGISTRY_USER), secret(REGISTRY_PASSWORD, self.environ)
        if bool(user) != (password is not None):
            raise ConfigurationError(
                f"only one of {REGISTRY_USER} and {REGISTRY_PASSWORD} is set", hint="set both or neither"
            )
        return RegistryLogin(host, user, password.get_secret_value()) if user and password else None

    def _looks(
        self, release: AttestedRelease, references: list[tuple[str, ImageReference]]
    ) -> Iterator[Callable[[], Match]]:
        for name, reference in references:
            yield partial(self._stored, release, name, reference)
        for name in self.request.local_images:
            yield partial(self._local, release, name)
        for path in self.request.archives:
            yield partial(self._archive, release, path)
        for path in self.request.files:
            yield partial(self._file, release, path)

    def _retry(self, what: str, action: Callable[[*Ts], T], *arguments: *Ts) -> T:
        return retry_call(action, *arguments, what=what, policy=_RETRY, sleep=self.sleep)

    def _stored(self, release: AttestedRelease, name: str, reference: ImageReference) -> Match:
        from jenkins_release.registry.distribution import DistributionRegistry

        registry = DistributionRegistry(reference.host, self._login(reference.host))
        try:
            return self._retry(f"read {name}", _read_stored, release, name, reference, registry)
        finally:
            registry.close()

    def _local(self, release: AttestedRelease, name: str) -> Match:
        from jenkins_release.images import DockerEngine

        host = self.request.docker_host or None
        with DockerEngine(host, environ=self.environ, progress=self.progress) as engine:
            digest = self._retry(f"inspect {name}", engine.config_digest, name)
            diff_ids = self._retry(f"inspect {name}", engine.inspect, name).diff_ids
        return match_local(release, name, digest, diff_ids)

    def _archive(self, release: AttestedRelease, path: Path) -> Match:
        platforms = {part.platform for image in release.record.images for part in image.parts}
        several = any(isinstance(image, MultiPlatformRecord) for image in release.record.images)
        platform = platforms.pop() if len(platforms) == 1 else None
        try:
            with ArchiveReader(platform, every=several) as reader:
                for chunk in unpacked(self._read(path)):
                    reader.feed(chunk)
                index = reader.finish()
        except (IntegrityError, ConfigurationError) as error:
            # An archive for another platform is not the release's, which is a finding like any other.
            if str(path) in error.message:
                raise
            raise IntegrityError(f"{path}: {error.message}", hint=error.hint) from error
        return match_archive(release, str(path), index)

    def _file(self, release: AttestedRelease, path: Path) -> Match:
        hashed, size = sha256(), 0
        for chunk in self._read(path):
            hashed.update(chunk)
            size += len(chunk)
        return match_file(release, str(path), size, hashed.hexdigest())

    def _read(self, path: Path) -> Iterator[bytes]:
        try:
            with path.open("rb") as file, self.progress.task(f"read {path}", path.stat().st_size) as task:
                while chunk := file.read(_CHUNK):
                    yield chunk
                    task.advance(len(chunk))
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error


def _together(failures: Sequence[ReleaseError]) -> ReleaseError:
    """Combine all failed checks into one error; a ConfigurationError if any is one, else a RemoteError."""
    told = tuple(dict.fromkeys(error.message for error in failures))
    first = next((error for error in failures if isinstance(error, ConfigurationError)), failures[0])
    if len(told) == 1:
        return first
    kind = ConfigurationError if isinstance(first, ConfigurationError) else RemoteError
    return kind(f"{len(told)} things could not be checked: {told[0]}", hint=first.hint, reasons=told)


def _read_stored(
    release: AttestedRelease, name: str, reference: ImageReference, registry: DistributionRegistry
) -> Match:
    repository = reference.repository
    promoted = promoted_image(release, reference.host, repository)
    own = promoted or next(iter(release.promoted.images if release.promoted else ()), None)
    tag = reference.tag or (own.tags[0] if own and own.tags else release.record.version)
    manifest = registry.manifest(repository, reference.digest or tag)
    target = (reference.host, repository)
    listed = match_listed(release, name, target, manifest.digest)
    if listed is not None:
        return listed
    images = release.record.images
    platform = next(
        (image.parts[0].platform for image in images if promoted and image.name == promoted.name),
        images[0].parts[0].platform if images else "linux/amd64",
    )
    content = registry.content(repository, manifest, platform)
    image, part = part_of(release.record, content.config_digest)
    if image is not None and part is not None and image.fixed_digest != manifest.digest:
        # The candidate did not fix this manifest, so the bytes of its layers have to prove it.
        prove_layers(
            content, lambda blob: registry.blob(repository, blob.digest), name, known=part.known_layers()
        )
    return match_stored(release, name, target, manifest.digest, content.config_digest, len(content.layers))


def _read_small(path: Path) -> bytes:
    """Read a bundle, up to one byte more than the limit, which the parser then refuses."""
    hint = "'jenkins-release release attestations' writes one"
    return read_named(path, MAX_BUNDLE_BYTES, what="the bundle", hint=hint)
