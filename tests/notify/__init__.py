"""Notifiers on real servers: mail and webhook."""
