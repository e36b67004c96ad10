"""Bundle verify: whether a setup zip is complete, unaltered, and of a release that is in force."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jenkins_release.config import read_key_sections
from jenkins_release.errors import ConfigurationError
from jenkins_release.records.attestation import TrustedKey
from jenkins_release.records.setup_zip import MAX_ZIP_BYTES
from jenkins_release.rules.setup_proof import SetupProof, prove_setup_zip
from jenkins_release.steps._setup_files import setup_scripts
from jenkins_release.steps._trusted import load_trusted_keys


@dataclass(frozen=True)
class BundleVerifyRequest:
    """Which setup zip to verify, and by whose word.

    Attributes:
        file: The zip.
        trusted_keys: Folders of public keys, or TOML files with ``[[trusted_keys]]``, such as
            ``release.toml``.
    """

    file: Path
    trusted_keys: tuple[Path, ...]


def _now() -> datetime:
    return datetime.now(UTC)


def verify_bundle(request: BundleVerifyRequest, *, now: Callable[[], datetime] = _now) -> SetupProof:
    """Prove a setup zip with nothing but the zip and keys that are trusted.

    Raises:
        ConfigurationError: The zip or a key cannot be read.
        IntegrityError: The zip does not prove it; ``reasons`` has every finding.
    """
    trusted = load_trusted_keys(read_key_sections(request.trusted_keys))
    return prove_setup_file(request.file, trusted, now())[0]


def prove_setup_file(file: Path, trusted: Sequence[TrustedKey], moment: datetime) -> tuple[SetupProof, bytes]:
    """Prove a setup zip by keys at hand, and return the bytes that were proven.

    For steps that hand the zip on: what they send is what was looked at, whatever becomes of the file.

    Raises:
        ConfigurationError: The zip cannot be read.
        IntegrityError: It does not prove it; ``reasons`` has every finding.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_ZIP_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"the setup zip {file} cannot be read: {error.strerror}",
            hint="'jenkins-release bundle build' makes one",
        ) from error
    name = os.fspath(file)
    return prove_setup_zip(data, name, trusted, moment, scripts=setup_scripts()), data
