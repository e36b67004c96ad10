"""Releases on the share, and what proves one."""
