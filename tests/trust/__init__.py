"""The trust root outside the workspace."""
