"""Notifications: messages to people by mail and webhook."""

from jenkins_release.notify.protocol import Notifier
from jenkins_release.records.message import Message

__all__ = ["Message", "Notifier"]
