"""Notifiers as the steps see them: a part of :class:`jenkins_release.steps.context.services.Services`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.config import SMTP_PASSWORD, SMTP_USER, Configuration, secret
from jenkins_release.config.notify import NotifySection
from jenkins_release.config.redaction import Redaction, known_secrets
from jenkins_release.notify.protocol import Delivery

if TYPE_CHECKING:
    from pydantic import SecretStr

    from jenkins_release.notify import Notifier


class NotifyServices:
    """Who is told what happened, and who was told so far."""

    configuration: Configuration
    environ: Mapping[str, str]

    @cached_property
    def notified(self) -> list[Delivery]:
        """Every notification so far, in its order, whether it was delivered or not."""
        return []

    @property
    def redaction(self) -> Redaction:
        """Takes every secret that the environment holds out of a text."""
        variables = [section.url_variable for section in self.configuration.notify]
        return Redaction(known_secrets(self.environ, variables))

    def notifier(self, section: NotifySection) -> Notifier:
        """Open a notifier. Nothing is connected before it delivers.

        Raises:
            ConfigurationError: A secret is missing or cannot be used.
        """
        if section.kind == "mail":
            from jenkins_release.notify.mail import MailNotifier

            return MailNotifier(
                section.host,
                section.port,
                section.tls,
                sender=section.sender,
                to=section.to,
                login=self._smtp_login(),
                ca_file=section.ca_file,
            )
        from jenkins_release.notify.webhook import WebhookNotifier

        url = secret(section.url_variable, self.environ)
        if url is None:
            raise ConfigurationError(
                f"{section.url_variable} is not set: it has to hold the URL of the webhook",
                hint="the URL is a secret; in Jenkins it is the credential 'webhook' of a step",
            )
        return WebhookNotifier(url, section.url_variable, ca_file=section.ca_file)

    def _smtp_login(self) -> tuple[str, SecretStr] | None:
        user, password = secret(SMTP_USER, self.environ), secret(SMTP_PASSWORD, self.environ)
        if user is None and password is None:
            return None
        if user is None or password is None:
            missing = SMTP_USER if user is None else SMTP_PASSWORD
            raise ConfigurationError(
                f"{missing} is not set: a login at a mail server takes user and password",
                hint="set both, or neither for a server that asks for none",
            )
        return user.get_secret_value(), password
