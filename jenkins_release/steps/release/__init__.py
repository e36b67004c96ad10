"""Finds releases on the share, writes their attestations, and verifies them without the share."""
