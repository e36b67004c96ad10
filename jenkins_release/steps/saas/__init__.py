"""Refreshes the SaaS stack, rolls it back, and compares it with what was released."""
