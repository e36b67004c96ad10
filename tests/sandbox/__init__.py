"""Tests of the sandbox as a product."""
