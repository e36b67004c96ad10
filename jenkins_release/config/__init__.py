"""Configuration: ``release.toml``, its overrides, and secrets from the environment."""

from jenkins_release.config.key_sections import read_key_sections
from jenkins_release.config.load import load_configuration
from jenkins_release.config.model import Configuration, TrustedKeySection
from jenkins_release.config.secrets import (
    CUSTOMER_KEY_ID,
    CUSTOMER_KEY_SECRET,
    HANDOVER_PASSPHRASE,
    JENKINS_TOKEN,
    JENKINS_USER,
    KEY_PASSPHRASE,
    REGISTRY_PASSWORD,
    REGISTRY_USER,
    SERVE_PASSWORD,
    SERVE_USER,
    SMB_PASSWORD,
    SMB_USER,
    SMTP_PASSWORD,
    SMTP_USER,
    secret,
)

__all__ = [
    "CUSTOMER_KEY_ID",
    "CUSTOMER_KEY_SECRET",
    "HANDOVER_PASSPHRASE",
    "JENKINS_TOKEN",
    "JENKINS_USER",
    "KEY_PASSPHRASE",
    "REGISTRY_PASSWORD",
    "REGISTRY_USER",
    "SERVE_PASSWORD",
    "SERVE_USER",
    "SMB_PASSWORD",
    "SMB_USER",
    "SMTP_PASSWORD",
    "SMTP_USER",
    "Configuration",
    "TrustedKeySection",
    "load_configuration",
    "read_key_sections",
    "secret",
]
