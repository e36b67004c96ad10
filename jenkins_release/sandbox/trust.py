"""A trust root for the rehearsal: one root key, which signs the product's trust document."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from jenkins_release.config import load_configuration
from jenkins_release.keys import generate_key
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.trust_root import PIN_VARIABLE
from jenkins_release.steps.trust.document import (
    SignTrustRequest,
    TrustDraftRequest,
    init_trust,
    publish_trust,
    show_trust,
    sign_trust,
)


def begin_trust(config: Path, environ: Mapping[str, str], passphrase: SecretStr) -> str:
    """Publish version 1 of the trust document of the sandbox's product; an existing one is kept.

    Args:
        config: The product's ``release.toml``.
        environ: The sandbox's environment.
        passphrase: Encrypts the root key.

    Returns:
        The pin of version 1, for :data:`PIN_VARIABLE`.
    """
    unpinned = {name: value for name, value in environ.items() if name != PIN_VARIABLE}
    key, draft = config.parent / "keys" / "root.pem", config.parent / "trust-1.json"
    with Services(load_configuration(config, environ=unpinned), environ=unpinned) as services:
        if not services.trust_store.read():
            if not key.exists():
                generate_key(key, "ed25519", passphrase)
            draft.unlink(missing_ok=True)
            init_trust(TrustDraftRequest(draft, (key.with_name("root.pem.pub"),), 1), services)
            sign_trust(SignTrustRequest(draft, f"file2:{key}"), environ=unpinned)
            publish_trust(draft, services)
        return str(show_trust(services, number=1).pin)
