"""Configuration: ``release.toml``, its overrides, and secrets from the environment."""

from jenkins_release.config.load import load_configuration
from jenkins_release.config.model import Configuration, TrustedKeySection
from jenkins_release.config.secrets import KEY_PASSPHRASE, SMB_PASSWORD, SMB_USER, secret

__all__ = [
    "KEY_PASSPHRASE",
    "SMB_PASSWORD",
    "SMB_USER",
    "Configuration",
    "TrustedKeySection",
    "load_configuration",
    "secret",
]
