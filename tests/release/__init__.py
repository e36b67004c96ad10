"""Tests of the release path, end to end."""
