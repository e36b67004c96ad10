"""Manifests, indexes and configs as the OCI specifications define them."""
