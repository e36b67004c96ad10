"""Bundle verify: proves that a setup zip is complete, unaltered, and of a release that is in force."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.files import read_named
from jenkins_release.config import read_key_sections
from jenkins_release.records.attestation import TrustedKey
from jenkins_release.records.setup_zip import MAX_ZIP_BYTES
from jenkins_release.rules.gate.authority import Authority
from jenkins_release.rules.setup_zip.proof import SetupProof, prove_setup_zip
from jenkins_release.steps.context.trust_root import authorities
from jenkins_release.steps.context.trusted_keys import load_trusted_keys
from jenkins_release.steps.setup_zip.sources import setup_scripts


@dataclass(frozen=True)
class BundleVerifyRequest:
    """Which setup zip to verify, and whom to trust.

    Attributes:
        file: The zip.
        trusted_keys: Folders of public keys, or TOML files with ``[[trusted_keys]]``, such as
            ``release.toml``; none with a trust root.
        trust_root: Pin of the trust root, ``sha256:DIGEST:VERSION``, whose trust document has the keys and
            the policy.
        trust: Versions of the trust document, or folders of them.
    """

    file: Path
    trusted_keys: tuple[Path, ...] = ()
    trust_root: str = ""
    trust: tuple[Path, ...] = ()


def _now() -> datetime:
    return datetime.now(UTC)


def verify_bundle(request: BundleVerifyRequest, *, now: Callable[[], datetime] = _now) -> SetupProof:
    """Prove a setup zip from the zip itself and trusted keys or a trust root.

    Raises:
        ConfigurationError: The zip, a key or the trust document cannot be read.
        IntegrityError: The zip is not proven; ``reasons`` lists every finding.
    """
    if not request.trust_root:
        trusted = load_trusted_keys(read_key_sections(request.trusted_keys))
        return prove_setup_file(request.file, trusted, now())[0]
    from jenkins_release.rules.gate.trust import Pin, walk
    from jenkins_release.steps.trust.document import read_version_files

    versions = read_version_files(request.trust)
    where = ", ".join(map(str, request.trust))
    believed = authorities(walk([Pin.parse(request.trust_root, "--trust-root")], versions, where))
    return prove_setup_file(request.file, believed[-1].trusted, now(), believed)[0]


def prove_setup_file(
    file: Path, trusted: Sequence[TrustedKey], moment: datetime, believed: Sequence[Authority] = ()
) -> tuple[SetupProof, bytes]:
    """Prove a setup zip with the given keys, and return the bytes that were proven.

    Steps that pass the zip on send these bytes, even if the file changes meanwhile.

    Raises:
        ConfigurationError: The zip cannot be read.
        IntegrityError: It is not proven; ``reasons`` lists every finding.
    """
    hint = "'jenkins-release bundle build' makes one"
    data = read_named(file, MAX_ZIP_BYTES, what="the setup zip", hint=hint)
    name = os.fspath(file)
    proof = prove_setup_zip(data, name, trusted, moment, scripts=setup_scripts(), authorities=believed)
    return proof, data
