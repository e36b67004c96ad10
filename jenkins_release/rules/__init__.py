"""Decisions without I/O: names, versions, tags, the gate."""
