"""Customers' access: issued, rotated, revoked, audited."""
