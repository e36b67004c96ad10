"""Manifests, indexes and configs as the OCI specifications have them."""
