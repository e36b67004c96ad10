"""Tests of the share."""
