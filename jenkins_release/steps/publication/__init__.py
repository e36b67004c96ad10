"""Publishes installers to the release area."""
