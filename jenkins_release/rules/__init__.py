"""Decisions without I/O: the gate, releases, customers, the SaaS stack, the setup zip, notices."""
