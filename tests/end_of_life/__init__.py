"""Withdrawing, retiring and deleting releases."""
