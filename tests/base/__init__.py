"""Tests of the ground floor: errors, retries, streams, keys."""
