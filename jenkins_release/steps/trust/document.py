"""Trust: draft a version of the trust document, sign it with root keys, publish it, show it.

A draft is a file that the holders of the root keys pass on and sign one after the other, offline. Once enough
of them have signed, it can be published.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused, IntegrityError
from jenkins_release.base.files import read_named
from jenkins_release.base.moments import minute
from jenkins_release.base.public_keys import public_pem
from jenkins_release.base.signing import Signer, SSlibKey
from jenkins_release.base.strict_json import NotText
from jenkins_release.base.text import did_you_mean
from jenkins_release.config import KEY_PASSPHRASE, Configuration, secret
from jenkins_release.config.model import TrustedKeySection
from jenkins_release.keys import load_public_key, load_signer
from jenkins_release.records.trust import (
    MAX_TRUST_BYTES,
    TrustDocument,
    TrustVersion,
    draft_version,
    named_key,
    with_signature,
)
from jenkins_release.rules.gate.trust import Pin, configured, differences, known_keys, misfits, walk
from jenkins_release.steps.context.local_files import write_file
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.trust_root import SOON, pinned
from jenkins_release.steps.context.trust_store import file_name, read_versions, version_number
from jenkins_release.steps.context.trusted_keys import load_trusted_keys, public_key

FIXED = ("ecr.region", "ecr.account", "ecr.tags", "ecr.moving_tags")
"""Keys of ``release.toml`` that a trust document fixes for a product with images: where images go, and the
tags that they get, from which the gate also reads what is released."""


@dataclass(frozen=True)
class TrustDraftRequest:
    """The next version of the trust document, from ``release.toml``'s policy and trusted keys.

    Attributes:
        draft: File to write.
        root_keys: Files with the public root keys. An update without any keeps those of the version before.
        threshold: How many of them have to sign. An update without root keys may leave it at 0 to keep it.
        expires_days: Days until the version expires.
        fixed: Further keys of ``release.toml`` that it fixes at their current values.
        dry_run: Check everything, write nothing.
    """

    draft: Path
    root_keys: tuple[Path, ...] = ()
    threshold: int = 0
    expires_days: int = 365
    fixed: tuple[str, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True)
class TrustDraft:
    """A draft.

    Attributes:
        version: Its content.
        changes: What it changes in the version before, which the draft includes; empty for the first version.
        missing: The signatures that are missing; empty if it can be published.
        file: The file; None after a dry run.
        note: A note for its signer; may be empty.
        found: Whether the draft had the signature already, so that nothing was written.
    """

    version: TrustVersion
    changes: tuple[str, ...]
    missing: tuple[str, ...]
    file: Path | None
    note: str = ""
    found: bool = False


@dataclass(frozen=True)
class SignTrustRequest:
    """Which draft to sign, and how. Needs neither ``release.toml`` nor the share.

    Attributes:
        draft: The draft; the signature is added to it.
        key: URI of the root key, ``file2:PATH`` or ``awskms:KEY``.
        region: AWS region of a KMS key.
        dry_run: Check everything, write nothing.
    """

    draft: Path
    key: str
    region: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class TrustPublication:
    """What was published.

    Attributes:
        version: The version.
        location: Where it was published.
        pin: The pin of this version.
        changed: Whether it is new there.
    """

    version: TrustVersion
    location: str
    pin: Pin
    changed: bool


@dataclass(frozen=True)
class TrustShown:
    """The trust document.

    Attributes:
        version: The version that was asked for, the newest by default.
        newest: Number of the newest version.
        location: Where the versions are.
        pin: The pin of this version.
        pins: The pins of this machine; empty if no root is pinned.
        pinned_in: Where the pins come from.
        pinned: The pinned version that trust starts from; 0 if no root is pinned.
        against: The version that it was compared with; 0 for none.
        changes: What it changes in that version.
        warnings: What will soon keep it from being in force.
    """

    version: TrustVersion
    newest: int
    location: str
    pin: Pin
    pins: tuple[Pin, ...]
    pinned_in: str
    pinned: int
    against: int
    changes: tuple[str, ...]
    warnings: tuple[str, ...]


def init_trust(request: TrustDraftRequest, services: Services) -> TrustDraft:
    """Draft the first version of a product's trust document.

    Raises:
        ConfigurationError: There is a trust document already, no root keys are given, they cannot meet the
            threshold, a key cannot be read, or the file cannot be written.
        RemoteError: The place of the trust document cannot be reached, after the retries.
    """
    if not request.root_keys:
        raise ConfigurationError(
            "no root key is given", hint="give --root-key PATH.pub for each, and --threshold"
        )
    store = services.trust_store
    found = services.retry(f"read the trust document in {store.name}", store.read)
    if found:
        raise ConfigurationError(
            f"there is a trust document in {store.name} already: version {max(found)}",
            hint="'jenkins-release trust update' drafts the next version",
        )
    return _draft(request, None, services)


def update_trust(request: TrustDraftRequest, services: Services) -> TrustDraft:
    """Draft the next version, from the current ``release.toml``, with the same or new root keys.

    Raises:
        ConfigurationError: There is no trust document, the threshold cannot be met, a key cannot be read, or
            the file cannot be written.
        IntegrityError: The published versions do not follow each other.
        RemoteError: The place of the trust document cannot be reached, after the retries.
    """
    return _draft(request, _published(services)[-1], services)


def sign_trust(request: SignTrustRequest, *, environ: Mapping[str, str] = os.environ) -> TrustDraft:
    """Add the signature of a root key to a draft, unless the draft has it already.

    Raises:
        ConfigurationError: The draft or the key cannot be read, or the key is not a root key of the draft
            or of the version before it.
        IntegrityError: The draft is not a version of a trust document.
    """
    version = read_draft(request.draft)
    signer = load_signer(request.key, secret(KEY_PASSPHRASE, environ), region=request.region, environ=environ)
    with ExitStack() as closing:
        if hasattr(signer, "close"):  # one in AWS KMS
            closing.callback(signer.close)
        return _signed(version, signer, request)


def _signed(version: TrustVersion, signer: Signer, request: SignTrustRequest) -> TrustDraft:
    previous = version.previous
    keyid = signer.public_key.keyid
    owners = [each for each in (version, previous) if each is not None and keyid in each.root_keys]
    if not owners:
        raise ConfigurationError(
            f"{request.key} is no root key of {request.draft}, nor of the version before it",
            hint="'jenkins-release trust show --draft' lists the root keys",
        )
    name = owners[0].root_keys[keyid]
    numbers = " and ".join(str(owner.number) for owner in reversed(owners))
    file = None if request.dry_run else request.draft
    if version.signed_with(owners[0], keyid):
        note = f"{name} has signed it already, as root key of version {numbers}: nothing was signed"
        return replace(_told(version, file, note), found=True)
    signed = with_signature(version, signer)
    if file is not None:
        write_file(file, signed.to_bytes(draft=True), "the draft")
    return _told(signed, file, f"{name} signed as root key of version {numbers}")


def publish_trust(draft: Path, services: Services, *, dry_run: bool = False) -> TrustPublication:
    """Publish a version that enough root keys have signed. A published version is never replaced.

    Args:
        draft: The draft.
        services: Configuration and share.
        dry_run: Check everything, write nothing.

    Raises:
        ConfigurationError: The draft cannot be read.
        GateRefused: Signatures are missing, it has expired, or it is for another product.
        IntegrityError: It does not follow the newest published version, or its number is taken.
        RemoteError: The place of the trust document cannot be reached, after the retries.
    """
    version = TrustVersion.read(read_draft(draft).to_bytes(), str(draft))
    store = services.trust_store
    there = read_versions(store, services.retry)
    pin = Pin(version.digest, version.number)
    if version.number in there:
        taken = TrustVersion.read(there[version.number], f"{file_name(version.number)} in {store.name}")
        if taken.digest != version.digest:
            raise IntegrityError(
                f"{taken.where} is another version {version.number}: it was published before {draft}",
                hint="draft the next version from it: 'jenkins-release trust update'",
            )
        return TrustPublication(version, store.name, pin, changed=False)
    previous = _published(services)[-1] if there else None
    missing = version.unsigned(previous)
    if missing:
        raise GateRefused(
            f"{draft} cannot be published: it has {missing[0]}",
            hint="'jenkins-release trust sign' adds a signature",
            reasons=missing,
        )
    if services.now() >= version.expires:
        raise GateRefused(f"{draft} expired at {minute(version.expires)}", hint="draft it again")
    product = services.configuration.product.name
    if version.document.product != product:
        raise GateRefused(
            f"{draft} is the trust document of {version.document.product}, not of {product}",
            hint="run the command with that product's release.toml",
        )
    if not dry_run:
        data = version.to_bytes()
        services.retry(f"publish {store.name}", store.write, version.number, data)
        read_back = read_versions(store, services.retry).get(version.number)
        if read_back != data:
            raise IntegrityError(
                f"{file_name(version.number)} in {store.name} is not what was written a moment ago",
                hint="find out who changed it",
            )
    return TrustPublication(version, store.name, pin, changed=True)


def show_trust(services: Services, *, number: int = 0, against: int = 0) -> TrustShown:
    """Show a published version, and what it changes in another one.

    Args:
        services: Configuration, pin and share.
        number: The version; 0 for the newest.
        against: The version to compare with; 0 for the one before.

    Raises:
        ConfigurationError: There is no such version.
        GateRefused: A root is pinned, and the document is missing or was rolled back.
        IntegrityError: The published versions do not follow each other, or do not match the pin.
        RemoteError: The place of the trust document cannot be reached, after the retries.
    """
    pins, source = pinned(services.environ, services.pin_file)
    store = services.trust_store
    versions = {version.number: version for version in _published(services)}
    newest = max(versions)
    shown = versions.get(number or newest)
    other = against or (shown.number - 1 if shown else 0)
    if shown is None or (against and against not in versions):
        raise ConfigurationError(
            f"there is no believed version {against if shown else number} of the trust document in "
            f"{store.name}",
            hint=f"versions {min(versions)} to {newest} are there",
        )
    changes = differences(versions[other], shown) if other in versions else []
    warnings = [f"release.toml is against it: {line}" for line in misfits(shown, services.configuration)]
    left = shown.expires - services.now()
    if shown.number == newest and left < SOON:
        warnings.append("it has expired" if left <= timedelta() else f"it expires in {left.days} days")
    return TrustShown(
        shown,
        newest,
        store.name,
        Pin(shown.digest, shown.number),
        pins,
        source,
        min(versions) if pins else 0,
        other if other in versions else 0,
        tuple(changes),
        tuple(warnings),
    )


def show_draft(draft: Path) -> TrustDraft:
    """Show a draft, what it changes, and which signatures it lacks. Needs no configuration."""
    return _told(read_draft(draft), draft)


def read_draft(path: Path) -> TrustVersion:
    """Read a draft, or a published version. Raises ConfigurationError and IntegrityError."""
    data = read_named(
        path, MAX_TRUST_BYTES, what="the draft", hint="'trust init' and 'trust update' write one"
    )
    try:
        return TrustVersion.read(data, str(path))
    except NotText as error:
        raise ConfigurationError(error.message, hint="get the file again from whoever made it") from error


def read_version_files(places: tuple[Path, ...]) -> dict[int, bytes]:
    """Read versions from files, and from folders with files such as ``1.root.json``.

    Raises:
        ConfigurationError: A file cannot be read, or there are none.
        IntegrityError: Two files have the same number, but different content.
    """
    found: dict[int, bytes] = {}
    for place in places:
        files = [place]
        if place.is_dir():
            try:
                files = [file for file in sorted(place.iterdir()) if version_number(file.name)]
            except OSError as error:
                raise ConfigurationError(
                    f"the folder {place} cannot be listed: {error.strerror}",
                    hint="give it to this user, or name the files in it",
                ) from error
        for file in files:
            version = read_draft(file)
            data = version.to_bytes()
            if found.setdefault(version.number, data) != data:
                raise IntegrityError(
                    f"{file} is another version {version.number} of the trust document than the file before",
                    hint="give the files of one product",
                )
    if places and not found:
        raise ConfigurationError(
            f"{places[0]} holds no version of a trust document", hint="give 1.root.json and the ones after it"
        )
    return found


def numbered(documents: Sequence[bytes], where: str) -> dict[int, bytes]:
    """Return versions by number. Raises IntegrityError if one cannot be read, or occurs twice."""
    found: dict[int, bytes] = {}
    for data in documents:
        number = TrustVersion.read(data, f"a trust document in {where}").number
        if found.setdefault(number, data) != data:
            raise IntegrityError(f"{where} holds two versions {number} of a trust document")
    return found


def _published(services: Services) -> tuple[TrustVersion, ...]:
    """Return the published versions, from the pinned one on; without a pin, from the first one on."""
    store = services.trust_store
    pins, _ = pinned(services.environ, services.pin_file)
    there = read_versions(store, services.retry, pinned=bool(pins))
    if not there:
        raise ConfigurationError(
            f"there is no trust document in {store.name}", hint="'jenkins-release trust init' drafts one"
        )
    if not pins:
        first = TrustVersion.read(there[min(there)], f"{file_name(min(there))} in {store.name}")
        pins = (Pin(first.digest, first.number),)
    return walk(pins, there, store.name)


def _draft(request: TrustDraftRequest, previous: TrustVersion | None, services: Services) -> TrustDraft:
    configuration = services.configuration
    keys = [named_key(load_public_key(path), _owner(path)) for path in request.root_keys]
    if not keys and previous is not None:
        keys = [_root_key(previous, keyid) for keyid in previous.root_keys]
    if request.root_keys and not request.threshold:
        raise ConfigurationError(
            "root keys are given, and no threshold", hint="give --threshold: how many of them have to sign"
        )
    threshold = request.threshold or (previous.threshold if previous is not None else 0)
    now = services.now().astimezone(UTC).replace(microsecond=0)
    version = draft_version(
        _document(configuration, request.fixed, now),
        keys,
        threshold,
        now + timedelta(days=request.expires_days),
        previous,
        str(request.draft),
    )
    if not request.dry_run:
        if request.draft.exists():
            raise ConfigurationError(
                f"{request.draft} exists already; nothing was changed",
                hint="it may hold signatures: choose another name, or remove it",
            )
        write_file(request.draft, version.to_bytes(draft=True), "the draft")
    return _told(version, None if request.dry_run else request.draft)


def _told(version: TrustVersion, file: Path | None, note: str = "") -> TrustDraft:
    previous = version.previous
    if previous is not None and not previous.self_signed():
        raise IntegrityError(
            f"{previous.where} is not signed by its root keys: what the draft changes cannot be told",
            hint="draft the version again from what is published: 'jenkins-release trust update'",
        )
    changes = differences(previous, version) if previous is not None else []
    if previous is None and version.number > 1:
        changes = ["the version before it is not in the file: compare with 'trust show --against'"]
        missing = [] if version.self_signed() else ["too few signatures by its own root keys"]
    else:
        missing = version.unsigned(previous)
    return TrustDraft(version, tuple(changes), tuple(missing), file, note)


def _document(configuration: Configuration, more: tuple[str, ...], now: datetime) -> TrustDocument:
    load_trusted_keys(configuration.trusted_keys)  # raises with every unusable key at once
    names = [*(FIXED if configuration.images else ()), *more]
    if configuration.installers and configuration.share.releases:
        names.append("share.releases")
    # Otherwise, a workspace could go on without the ledger, or with one of its own.
    ledger = {"s3": ("kind", "bucket", "region", "prefix"), "folder": ("kind", "location")}
    names += [f"ledger.{key}" for key in ledger.get(configuration.ledger.kind, ())]
    fixed = {name: configured(configuration, name) for name in dict.fromkeys(names)}
    unknown = sorted(name for name, value in fixed.items() if value is None)
    if unknown:
        raise ConfigurationError(
            f"release.toml has no key {unknown[0]!r} to fix",
            hint=did_you_mean(unknown[0], known_keys(configuration)) or "name a key such as ecr.account",
        )
    folders = {
        f"{first}/" if rest else first
        for first, _, rest in (image.repository.partition("/") for image in configuration.images)
    }
    return TrustDocument(
        product=configuration.product.name,
        made_at=now,
        policy=configuration.policy,
        trusted_keys=tuple(map(_inlined, configuration.trusted_keys)),
        fixed=fixed,
        repositories=tuple(sorted(folders)),
    )


def _inlined(section: TrustedKeySection) -> TrustedKeySection:
    pem = public_pem(public_key(section)).decode().strip()
    return section.model_copy(update={"public_key": pem})


def _root_key(version: TrustVersion, keyid: str) -> SSlibKey:
    key = version.root.keys[keyid]
    return SSlibKey(keyid, key.keytype, key.scheme, dict(key.keyval), dict(key.unrecognized_fields))


def _owner(path: Path) -> str:
    """Return the name of a root key, which is that of its file."""
    return path.name.removesuffix(".pub").removesuffix(".pem")


__all__ = [
    "FIXED",
    "SignTrustRequest",
    "TrustDraft",
    "TrustDraftRequest",
    "TrustPublication",
    "TrustShown",
    "init_trust",
    "numbered",
    "publish_trust",
    "read_draft",
    "read_version_files",
    "show_draft",
    "show_trust",
    "sign_trust",
    "update_trust",
]
