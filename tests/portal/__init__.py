"""Tests of the download portal."""
