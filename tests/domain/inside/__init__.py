"""Tests that run in the network of a domain, as clients of its servers."""
