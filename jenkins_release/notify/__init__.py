"""Notifications: messages to people by mail and webhook."""

from jenkins_release.notify.protocol import Message, Notifier

__all__ = ["Message", "Notifier"]
