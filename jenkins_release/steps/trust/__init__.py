"""Drafts, signs, publishes and shows the trust document."""
