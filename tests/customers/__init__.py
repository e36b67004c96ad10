"""Customers: issue, rotate, revoke, list, audit, doctor."""
